//! Hashes and ids by which content is known again. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// A random id for one generation of a file: 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u64);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Gives a type that has `to_text`/`from_text` its form in JSON: a string.
macro_rules! as_json_string {
    ($type:ty, $what:literal) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(d)?;
                Self::from_text(&text).ok_or_else(|| serde::de::Error::custom(concat!($what, " is malformed")))
            }
        }
    };
}

impl FileId {
    /// The id behind its 16 hex digits.
    pub fn from_text(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten().map(FileId)
    }
}
as_json_string!(FileId, "file id");

/// The digest of a file's lines so far: d ← XXH3-128(d ‖ line ‖ `\n`), from 16 zero bytes.
/// Big-endian, so independent of where transactions end and of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// Chains one line; `scratch` saves an allocation per line.
    pub fn chain(&mut self, line: &[u8], scratch: &mut Vec<u8>) {
        scratch.clear();
        scratch.extend_from_slice(&self.0);
        scratch.extend_from_slice(line);
        scratch.push(b'\n');
        self.0 = xxh3_128(scratch).to_be_bytes();
    }

    /// Chains the line at `from..to` of `data`. Where a line is before it and a line end behind, it is hashed where it stands: the bytes
    /// before it make room for the digest and are put back.
    pub fn chain_in(&mut self, data: &mut [u8], from: usize, to: usize, scratch: &mut Vec<u8>) {
        const ROOM: usize = size_of::<Digest>();
        match from.checked_sub(ROOM) {
            Some(room) if data.get(to) == Some(&b'\n') => {
                scratch.clear();
                scratch.extend_from_slice(&data[room..from]);
                data[room..from].copy_from_slice(&self.0);
                self.0 = xxh3_128(&data[room..=to]).to_be_bytes();
                data[room..from].copy_from_slice(scratch);
            }
            _ => self.chain(&data[from..to], scratch),
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        from_hex(text)?.try_into().ok().map(Digest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}
as_json_string!(Digest, "digest");

/// A hash of a few of a file's bytes, by which it is known again: their number and XXH3-64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Bytes hashed.
    pub len: u32,
    /// XXH3-64 over them.
    pub hash: u64,
}

impl Mark {
    /// The mark of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Mark { len: bytes.len() as u32, hash: xxh3_64(bytes) }
    }

    fn from_text(text: &str) -> Option<Self> {
        let (len, hash) = text.split_once(':')?;
        Some(Mark { len: len.parse().ok()?, hash: u64::from_str_radix(hash, 16).ok()? })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}", self.len, self.hash)
    }
}
as_json_string!(Mark, "mark");

/// Lower-case hex digits of `bytes`.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The bytes behind hex digits; `None` for anything else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_does_not_depend_on_where_transactions_end() {
        let (mut whole, mut parts, mut scratch) = (Digest::default(), Digest::default(), vec![]);
        whole.chain(b"one", &mut scratch);
        whole.chain(b"two", &mut scratch);
        parts.chain(b"one", &mut scratch);
        let mut resumed = Digest::from_text(&parts.to_string()).unwrap();
        resumed.chain(b"two", &mut scratch);
        assert_eq!(whole, resumed);
        // Golden, computed by another implementation of XXH3: every release and `verify` must agree.
        assert_eq!(whole.to_string(), "76ced0edb33c614602c26a269189602a");
    }

    #[test]
    fn a_line_is_hashed_where_it_stands_as_it_is_elsewhere_and_nothing_is_changed() {
        let text = b"first\na line long enough to make room\r\n\nthe next\nand one more\nthe last";
        let (mut data, mut scratch) = (text.to_vec(), vec![]);
        let (mut within, mut apart) = (Digest::default(), Digest::default());
        let mut from = 0;
        for line in text.split(|b| *b == b'\n') {
            let value = line.strip_suffix(b"\r").unwrap_or(line);
            within.chain_in(&mut data, from, from + value.len(), &mut scratch);
            apart.chain(value, &mut scratch);
            assert_eq!((within, &data[..]), (apart, &text[..]), "at {from}");
            from += line.len() + 1;
        }
    }
}

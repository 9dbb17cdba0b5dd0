//! A file's name as bytes, and how it is shown and stored. Pure.
//!
//! Invariant: what is displayed holds no control character, whatever the file is called.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::{from_hex, to_hex};

/// A file's name: its path relative to the spool directory, as bytes. Shown with control characters escaped.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Name(pub Box<[u8]>);

impl Name {
    /// From the bytes of a directory entry.
    pub fn new(bytes: &[u8]) -> Self {
        Name(bytes.into())
    }

    /// Without the sub-directories.
    pub fn base(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                // Bidirectional marks can make one name look like another.
                let hides =
                    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
                if c.is_control() || hides || c == '\\' {
                    write!(f, "{}", c.escape_default())?
                } else {
                    write!(f, "{c}")?
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// On the topic a name is a string, or `{"hex": ...}` where it is not UTF-8.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum NameForm {
    Text(String),
    Bytes { hex: String },
}

/// Bytes in JSON: a string, or `{"hex": ...}` where they are not UTF-8.
pub struct TextOrHex<'a>(pub &'a [u8]);

impl Serialize for TextOrHex<'_> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => s.serialize_str(text),
            Err(_) => NameForm::Bytes { hex: to_hex(self.0) }.serialize(s),
        }
    }
}

impl Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        TextOrHex(&self.0).serialize(s)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match NameForm::deserialize(d)? {
            NameForm::Text(text) => Ok(Name::new(text.as_bytes())),
            NameForm::Bytes { hex } => {
                from_hex(&hex).map(|b| Name::new(&b)).ok_or_else(|| serde::de::Error::custom("name is not hex"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_without_control_characters() {
        assert_eq!(Name::new(b"a\x1b[31m\n\xff\\\xe2\x80\xae.log").to_string(), r"a\u{1b}[31m\n\xff\\\u{202e}.log");
    }

    #[test]
    fn any_name_survives_the_topic() {
        for bytes in [&b"plain.log"[..], b"\xff\xfe", b"\x1b[0m", b""] {
            let json = serde_json::to_string(&Name::new(bytes)).unwrap();
            assert_eq!(serde_json::from_str::<Name>(&json).unwrap(), Name::new(bytes));
        }
    }
}

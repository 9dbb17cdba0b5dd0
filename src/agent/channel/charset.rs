//! From a file's character set to UTF-8, line by line (`inputCharset`). Pure; encoding_rs decodes.
//!
//! Lines are cut in the file's own bytes and decoded one by one. So positions stay positions of the file, and no decoder's state
//! outlives a line: a restart needs none but the byte order that a UTF-16 file's first bytes told, which is in its progress.

use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use memchr::memchr;
use serde::{Deserialize, Serialize};

use super::splitter::Line;
use crate::pipeline::DecodeErrorPolicy;

/// U+FFFD.
const REPLACED: &[u8] = "\u{fffd}".as_bytes();
/// No character set has longer characters.
const LONGEST_CHARACTER: usize = 4;

/// A character set, and what becomes of bytes that are not of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charset {
    encoding: &'static Encoding,
    /// `UTF-16` without an order in its name: the file's first bytes may tell it.
    ordered_by_file: bool,
    on_error: DecodeErrorPolicy,
}

/// The order of a UTF-16 file's bytes, where the file itself told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ByteOrder {
    /// UTF-16LE.
    Little,
    /// UTF-16BE.
    Big,
}

/// Bytes in a line that are not of the character set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undecodable {
    /// The line's place among those that were to be decoded; it and those behind it were not.
    pub line: usize,
    /// The first bad byte, counted as lines are.
    pub at: usize,
}

/// Bytes that one unit of text takes, and how a line's end looks in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// One byte, in which `\n` and `\r` mean themselves wherever they stand.
    Bytes,
    /// Two bytes, in this order.
    Wide(ByteOrder),
}

impl Charset {
    /// By one of the names of the Encoding Standard; `None` for a name that it does not have.
    pub fn new(name: &str, on_error: DecodeErrorPolicy) -> Option<Charset> {
        let encoding = Encoding::for_label_no_replacement(name.as_bytes())?;
        Some(Charset { encoding, ordered_by_file: name.trim().eq_ignore_ascii_case("utf-16"), on_error })
    }

    /// Its name in the Encoding Standard.
    pub fn name(&self) -> &'static str {
        self.encoding.name()
    }

    /// The same with the byte order that the file told, if it did.
    #[must_use]
    pub fn ordered(self, order: Option<ByteOrder>) -> Charset {
        match order {
            Some(ByteOrder::Little) if self.ordered_by_file => Charset { encoding: UTF_16LE, ..self },
            Some(ByteOrder::Big) if self.ordered_by_file => Charset { encoding: UTF_16BE, ..self },
            _ => self,
        }
    }

    /// The byte order mark that `data`, a file's first bytes, begins with: its length, and what it tells.
    pub fn mark(&self, data: &[u8]) -> (usize, Option<ByteOrder>) {
        match Encoding::for_bom(data) {
            Some((found, len)) if found == self.encoding && found == UTF_8 => (len, None),
            Some((found, len)) if found != UTF_8 && (self.ordered_by_file || found == self.encoding) => {
                (len, Some(if found == UTF_16BE { ByteOrder::Big } else { ByteOrder::Little }))
            }
            _ => (0, None),
        }
    }

    /// How its lines end.
    pub fn units(&self) -> Units {
        match self.encoding {
            e if e == UTF_16LE => Units::Wide(ByteOrder::Little),
            e if e == UTF_16BE => Units::Wide(ByteOrder::Big),
            _ => Units::Bytes,
        }
    }

    /// Bytes at the beginning of `piece` that hold whole characters; all of it where there is no such place near its end.
    pub fn whole(&self, piece: &[u8]) -> usize {
        let width = self.units().width();
        let shortest = piece.len().saturating_sub(LONGEST_CHARACTER - 1).max(width);
        let ends = (shortest..=piece.len()).rev().filter(|end| end % width == 0);
        ends.into_iter().find(|end| self.ends_whole(&piece[..*end])).unwrap_or(piece.len())
    }

    fn ends_whole(&self, mut bytes: &[u8]) -> bool {
        let mut decoder = self.encoding.new_decoder_without_bom_handling();
        let mut out = [0; 4096];
        loop {
            let (result, read, _) = decoder.decode_to_utf8_without_replacement(bytes, &mut out, false);
            bytes = &bytes[read..];
            if result == DecoderResult::InputEmpty {
                return decoder.decode_to_utf8_without_replacement(&[], &mut out, true).0
                    == DecoderResult::InputEmpty;
            }
        }
    }

    /// Decodes `lines` of `body` into `out`, where they then are. The number of bad sequences that were replaced or left out.
    ///
    /// # Errors
    /// `Fail`, and a line has bytes that are not of this character set; the lines before it are decoded.
    pub fn decode(&self, body: &[u8], lines: &mut [Line], out: &mut Vec<u8>) -> Result<u64, Undecodable> {
        let mut bad = 0;
        for (index, line) in lines.iter_mut().enumerate() {
            let (from, start) = (line.start as usize, out.len());
            let bytes = line.of(body);
            match self.encoding.decode_without_bom_handling_and_without_replacement(bytes) {
                Some(text) => out.extend_from_slice(text.as_bytes()),
                None => {
                    let (found, first) = self.mend(bytes, out);
                    if self.on_error == DecodeErrorPolicy::Fail {
                        out.truncate(start);
                        return Err(Undecodable { line: index, at: from + first });
                    }
                    bad += found;
                }
            }
            *line = Line { start: start as u32, len: (out.len() - start) as u32, ..*line };
        }
        Ok(bad)
    }

    /// Decodes what it can: how many sequences were bad, and where the first one is.
    fn mend(&self, bytes: &[u8], out: &mut Vec<u8>) -> (u64, usize) {
        let mut decoder = self.encoding.new_decoder_without_bom_handling();
        let (mut bad, mut first, mut at) = (0, 0, 0);
        let mut text = vec![0; decoder.max_utf8_buffer_length_without_replacement(bytes.len()).unwrap_or(4096)];
        loop {
            let (result, read, written) = decoder.decode_to_utf8_without_replacement(&bytes[at..], &mut text, true);
            at += read;
            out.extend_from_slice(&text[..written]);
            match result {
                DecoderResult::InputEmpty => return (bad, first),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(length, behind) => {
                    if bad == 0 {
                        first = at.saturating_sub(usize::from(length) + usize::from(behind));
                    }
                    bad += 1;
                    if self.on_error == DecodeErrorPolicy::Replace {
                        out.extend_from_slice(REPLACED);
                    }
                }
            }
        }
    }
}

impl Units {
    /// Bytes of one.
    pub fn width(self) -> usize {
        match self {
            Units::Bytes => 1,
            Units::Wide(_) => 2,
        }
    }

    /// True when `bytes` are a line to its end.
    pub fn is_end_of_line(self, bytes: &[u8]) -> bool {
        match self {
            Units::Bytes => bytes.ends_with(b"\n"),
            Units::Wide(ByteOrder::Little) => bytes.ends_with(b"\n\0"),
            Units::Wide(ByteOrder::Big) => bytes.ends_with(b"\0\n"),
        }
    }

    /// The first line's end in `rest`: the bytes before it, and those before what follows it.
    #[inline]
    pub fn line_end(self, rest: &[u8]) -> Option<(usize, usize)> {
        let order = match self {
            Units::Bytes => {
                let newline = memchr(b'\n', rest)?;
                let end = if newline > 0 && rest[newline - 1] == b'\r' { newline - 1 } else { newline };
                return Some((end, newline + 1));
            }
            Units::Wide(order) => order,
        };
        let unit = |byte| if order == ByteOrder::Little { [byte, 0] } else { [0, byte] };
        let mut from = 0;
        while let Some(found) = memchr(b'\n', &rest[from..]) {
            let at = (from + found) & !1;
            if rest.get(at..at + 2) == Some(&unit(b'\n')) {
                let end = if at >= 2 && rest[at - 2..at] == unit(b'\r') { at - 2 } else { at };
                return Some((end, at + 2));
            }
            from += found + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn charset(name: &str, on_error: DecodeErrorPolicy) -> Charset {
        Charset::new(name, on_error).unwrap()
    }

    /// One line, decoded.
    fn decoded(name: &str, on_error: DecodeErrorPolicy, bytes: &[u8]) -> Result<(String, u64), Undecodable> {
        let mut lines = [Line::new(0, bytes.len())];
        let mut out = vec![];
        let bad = charset(name, on_error).decode(bytes, &mut lines, &mut out)?;
        Ok((String::from_utf8(lines[0].of(&out).to_vec()).unwrap(), bad))
    }

    #[test]
    fn names_are_those_of_the_encoding_standard() {
        for (name, known) in [
            ("latin1", Some("windows-1252")),
            ("ISO-8859-15", Some("ISO-8859-15")),
            ("utf8", Some("UTF-8")),
            ("UTF-16", Some("UTF-16LE")),
            ("gb18030", Some("gb18030")),
            ("big5", Some("Big5")),
            ("iso-2022-kr", None),
            ("replacement", None),
            ("ebcdic", None),
            ("", None),
        ] {
            assert_eq!(Charset::new(name, DecodeErrorPolicy::Fail).map(|c| c.name()), known, "{name}");
        }
    }

    #[test]
    fn bad_bytes_fail_or_are_replaced_or_are_left_out() {
        use DecodeErrorPolicy::{Fail, Ignore, Replace};
        let bad = b"a\xffb\xe2\x82";
        assert_eq!(decoded("utf-8", Fail, bad), Err(Undecodable { line: 0, at: 1 }));
        assert_eq!(decoded("utf-8", Replace, bad), Ok(("a\u{fffd}b\u{fffd}".into(), 2)));
        assert_eq!(decoded("utf-8", Ignore, bad), Ok(("ab".into(), 2)));
        assert_eq!(decoded("utf-16le", Fail, b"a\0\0\xd8b\0"), Err(Undecodable { line: 0, at: 2 }));
        assert_eq!(decoded("utf-16be", Replace, b"\0a\0"), Ok(("a\u{fffd}".into(), 1)));
        assert_eq!(decoded("latin1", Fail, b"caf\xe9 \x80"), Ok(("café €".into(), 0)));
        assert_eq!(decoded("shift_jis", Fail, b"\x93\xfa\x96\x7b"), Ok(("日本".into(), 0)));
        assert_eq!(
            decoded("utf-8", Fail, "\u{feff}x".as_bytes()),
            Ok(("\u{feff}x".into(), 0)),
            "a BOM inside is text"
        );
    }

    #[test]
    fn a_byte_order_mark_is_known_and_may_tell_the_order() {
        let fail = DecodeErrorPolicy::Fail;
        for (name, data, expected) in [
            ("utf-8", &b"\xef\xbb\xbfa"[..], (3, None)),
            ("utf-8", b"\xff\xfea", (0, None)),
            ("utf-16", b"\xff\xfea\0", (2, Some(ByteOrder::Little))),
            ("utf-16", b"\xfe\xff\0a", (2, Some(ByteOrder::Big))),
            ("utf-16be", b"\xfe\xff\0a", (2, Some(ByteOrder::Big))),
            ("utf-16be", b"\xff\xfea\0", (0, None)),
            ("utf-16", b"\xff", (0, None)),
            ("latin1", b"\xef\xbb\xbfa", (0, None)),
        ] {
            assert_eq!(charset(name, fail).mark(data), expected, "{name} {data:x?}");
        }
        assert_eq!(charset("utf-16", fail).ordered(Some(ByteOrder::Big)).name(), "UTF-16BE");
        assert_eq!(charset("utf-16le", fail).ordered(Some(ByteOrder::Big)).name(), "UTF-16LE", "by its name");
    }

    #[test]
    fn wide_line_ends_are_whole_units() {
        let little = Units::Wide(ByteOrder::Little);
        // U+0A00 and U+000A, U+0D0A: the byte 10 alone is no line's end.
        assert_eq!(little.line_end(b"\0\x0a\x0a\x0d\x0a\0x\0"), Some((4, 6)));
        assert_eq!(little.line_end(b"a\0\r\0\n\0"), Some((2, 6)));
        assert_eq!(little.line_end(b"a\0\n"), None, "half of it is still to come");
        assert_eq!(Units::Wide(ByteOrder::Big).line_end(b"\x0a\0\0a\0\r\0\n\0b"), Some((4, 8)));
    }

    proptest! {
        #[test]
        fn a_piece_ends_where_a_character_ends(
            text in "[a\u{e9}\u{65e5}\u{1f600}]{1,20}", cut in 4usize..24,
            name in prop_oneof![Just("utf-8"), Just("utf-16le"), Just("utf-16be"), Just("gb18030")],
        ) {
            let charset = charset(name, DecodeErrorPolicy::Fail);
            let bytes: Vec<u8> = match name {
                "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                "utf-16be" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
                _ => charset.encoding.encode(&text).0.into_owned(),
            };
            let piece = &bytes[..bytes.len().min(cut)];
            let whole = charset.whole(piece);
            prop_assert!(whole > 0 && piece.len() - whole < 4);
            prop_assert!(decoded(name, DecodeErrorPolicy::Fail, &bytes[..whole]).is_ok());
            prop_assert!(decoded(name, DecodeErrorPolicy::Fail, &bytes[whole..]).is_ok());
        }
    }
}

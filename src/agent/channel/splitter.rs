//! Cuts bytes into lines. Pure: one function over a slice, its state a value that progress keeps.
//!
//! Invariants: bytes consumed never exceed the data; a line is at most `max_line` bytes; `\n` and `\r\n` end a line
//! and are not part of it, every other byte is; cutting the same file at other chunk borders gives the same lines. With a character
//! set all of this holds for the file's own bytes, and a long line's pieces hold whole characters.

use serde::{Deserialize, Serialize};

use super::charset::{Charset, Units};
use crate::pipeline::OnLongLine;

/// How lines are cut.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Longest line in bytes, its end not counted (`maxLineBytes`; Flume `deserializer.maxLineLength`).
    pub max_line: usize,
    /// What becomes of a longer one (`onLongLine`).
    pub on_long_line: OnLongLine,
    /// What the file is written in; `None`: any bytes.
    pub charset: Option<Charset>,
}

impl Rules {
    /// Bytes that must be seen to tell a line of exactly `max_line` bytes and `\r\n` from a longer one.
    pub fn lookahead(&self) -> usize {
        self.longest() + 2 * self.units().width()
    }

    fn units(&self) -> Units {
        self.charset.map_or(Units::Bytes, |charset| charset.units())
    }

    /// `max_line` in whole units, at least one.
    fn longest(&self) -> usize {
        let width = self.units().width();
        (self.max_line / width).max(1) * width
    }
}

/// Where in a line the position stands. Kept in progress, so that a restart goes on inside a long line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineState {
    /// At the first byte of a line.
    #[default]
    Start,
    /// Inside a long line whose pieces are shipped (`Split`).
    Splitting,
    /// Inside a long line whose rest is not shipped (`Truncate`, `Skip`).
    Dropping,
}

/// One line: where it begins in the data, and its length, both in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// First byte.
    pub start: u32,
    /// Bytes, without the line's end.
    pub len: u32,
    /// Its first byte in the file, counted from where the cutting began; the same as `start` until it is decoded.
    pub at: u32,
}

impl Line {
    /// Of `len` bytes from `start` on.
    pub fn new(start: usize, len: usize) -> Line {
        Line { start: start as u32, len: len as u32, at: start as u32 }
    }

    /// The line's bytes within `data`.
    pub fn of<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        &data[self.start as usize..self.start as usize + self.len as usize]
    }
}

/// What a call to [`split`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Bytes of the data that are done with; the rest is read again.
    pub consumed: usize,
    /// The state behind them.
    pub state: LineState,
    /// Lines longer than `max_line` that began here.
    pub long_lines: u64,
    /// True when it stopped at a limit: there is more in the data.
    pub more: bool,
}

/// How much to cut at once; the line that reaches a limit is still whole.
#[derive(Debug, Clone, Copy)]
pub struct Enough {
    /// Lines.
    pub lines: usize,
    /// Bytes consumed.
    pub bytes: usize,
}

/// Cuts `data`, which continues at `state`, into `lines` (cleared first) until it is `enough`.
///
/// `last` says that the file has settled and ends here: an unterminated rest is then a line.
pub fn split(
    data: &[u8],
    state: LineState,
    rules: &Rules,
    last: bool,
    enough: Enough,
    lines: &mut Vec<Line>,
) -> Split {
    lines.clear();
    let (units, lookahead) = (rules.units(), rules.lookahead());
    let mut cutter = Cutter { state, rules, data, long_lines: 0, lines };
    let mut at = 0;
    let mut more = false;
    loop {
        if cutter.lines.len() >= enough.lines || at >= enough.bytes {
            more = at < data.len();
            break;
        }
        let rest = &data[at..];
        if let Some((end, next)) = units.line_end(rest) {
            cutter.line(at, end);
            at += next;
        } else if cutter.state == LineState::Dropping {
            at += rest.len() / units.width() * units.width();
            if last {
                cutter.state = LineState::Start;
                at = data.len();
            }
            break;
        } else if rest.len() >= lookahead {
            at += cutter.long_prefix(at);
        } else {
            if last {
                // Behind the last line's end there is no line, only the end of the file.
                if !rest.is_empty() {
                    cutter.line(at, rest.len());
                }
                cutter.state = LineState::Start;
                at = data.len();
            }
            break;
        }
    }
    Split { consumed: at, state: cutter.state, long_lines: cutter.long_lines, more }
}

struct Cutter<'a> {
    state: LineState,
    rules: &'a Rules,
    data: &'a [u8],
    long_lines: u64,
    lines: &'a mut Vec<Line>,
}

impl Cutter<'_> {
    fn push(&mut self, start: usize, len: usize) {
        self.lines.push(Line::new(start, len));
    }

    /// Bytes of the first piece of a long line that goes on at `at`.
    fn piece(&self, at: usize) -> usize {
        let max = self.rules.longest();
        self.rules.charset.map_or(max, |charset| charset.whole(&self.data[at..at + max]))
    }

    /// `len` bytes from `at` on are all that is left of the line.
    fn line(&mut self, at: usize, len: usize) {
        let max = self.rules.longest();
        match self.state {
            LineState::Start if len <= max => self.push(at, len),
            LineState::Start => {
                self.long_lines += 1;
                match self.rules.on_long_line {
                    OnLongLine::Split => self.pieces(at, len),
                    OnLongLine::Truncate => self.push(at, self.piece(at)),
                    OnLongLine::Skip => {}
                }
            }
            LineState::Splitting => self.pieces(at, len),
            LineState::Dropping => {}
        }
        self.state = LineState::Start;
    }

    fn pieces(&mut self, at: usize, len: usize) {
        let (mut from, end) = (at, at + len);
        while from < end {
            let piece = if end - from <= self.rules.longest() { end - from } else { self.piece(from) };
            self.push(from, piece);
            from += piece;
        }
    }

    /// At least `lookahead` bytes from `at` on without an end: takes the first `max_line` of them, or a little less.
    fn long_prefix(&mut self, at: usize) -> usize {
        let piece = self.piece(at);
        let ships = match (self.state, self.rules.on_long_line) {
            (LineState::Splitting, _) | (_, OnLongLine::Split | OnLongLine::Truncate) => true,
            (_, OnLongLine::Skip) => false,
        };
        if ships {
            self.push(at, piece);
        }
        if self.state == LineState::Start {
            self.long_lines += 1;
            self.state = match self.rules.on_long_line {
                OnLongLine::Split => LineState::Splitting,
                OnLongLine::Truncate | OnLongLine::Skip => LineState::Dropping,
            };
        }
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: Enough = Enough { lines: usize::MAX, bytes: usize::MAX };

    fn rules(max_line: usize, on_long_line: OnLongLine) -> Rules {
        Rules { max_line, on_long_line, charset: None }
    }

    /// Reads `data` in chunks of `chunk` bytes as the agent does: what is not consumed is read again.
    fn cut(data: &[u8], rules: &Rules, chunk: usize) -> (Vec<Vec<u8>>, u64) {
        let chunk = chunk.max(rules.lookahead());
        let (mut out, mut lines, mut at, mut state, mut long) = (vec![], vec![], 0, LineState::Start, 0);
        loop {
            let end = data.len().min(at + chunk);
            let last = end == data.len();
            let done = split(&data[at..end], state, rules, last, ALL, &mut lines);
            out.extend(lines.iter().map(|l| l.of(&data[at..end]).to_vec()));
            (at, state, long) = (at + done.consumed, done.state, long + done.long_lines);
            if last {
                assert_eq!(at, data.len());
                assert_eq!(state, LineState::Start);
                return (out, long);
            }
            assert!(done.consumed > 0, "no progress at {at}");
        }
    }

    /// The same in the plainest words, over the whole file at once.
    fn expected(data: &[u8], rules: &Rules) -> Vec<Vec<u8>> {
        let mut out = vec![];
        let mut rest = data;
        while !rest.is_empty() {
            let (mut line, terminated) = match rest.iter().position(|b| *b == b'\n') {
                Some(n) => (&rest[..n], true),
                None => (rest, false),
            };
            rest = &rest[(line.len() + terminated as usize).min(rest.len())..];
            if terminated {
                line = line.strip_suffix(b"\r").unwrap_or(line);
            }
            match rules.on_long_line {
                _ if line.len() <= rules.max_line => out.push(line.to_vec()),
                OnLongLine::Split => out.extend(line.chunks(rules.max_line).map(<[u8]>::to_vec)),
                OnLongLine::Truncate => out.push(line[..rules.max_line].to_vec()),
                OnLongLine::Skip => {}
            }
        }
        out
    }

    #[test]
    fn exactly_the_longest_line_passes_with_either_end() {
        for end in ["\n", "\r\n", ""] {
            let data = format!("12345678{end}");
            let (lines, long) = cut(data.as_bytes(), &rules(8, OnLongLine::Skip), 1);
            assert_eq!((lines, long), (vec![b"12345678".to_vec()], 0), "end {end:?}");
        }
    }

    #[test]
    fn a_long_line_is_counted_once_and_split_without_an_empty_rest() {
        let (lines, long) = cut(b"abcdefgh\r\nx\n", &rules(4, OnLongLine::Split), 1);
        assert_eq!((lines, long), (vec![b"abcd".to_vec(), b"efgh".to_vec(), b"x".to_vec()], 1));
    }

    #[test]
    fn an_unfinished_line_waits() {
        let mut lines = vec![];
        let done = split(b"a\nb", LineState::Start, &rules(10, OnLongLine::Split), false, ALL, &mut lines);
        assert_eq!((done.consumed, done.more, lines.len()), (2, false, 1));
    }

    #[test]
    fn behind_the_last_line_end_there_is_no_empty_line() {
        for (data, count) in [(&b"a\n"[..], 1), (b"a\n\n", 2), (b"\n", 1), (b"", 0), (b"a", 1)] {
            let (lines, _) = cut(data, &rules(10, OnLongLine::Split), 1);
            assert_eq!(lines.len(), count, "{data:?}");
        }
    }

    #[test]
    fn it_stops_when_it_is_enough_and_says_so() {
        let mut lines = vec![];
        let done = split(
            b"a\nb\nc\n",
            LineState::Start,
            &rules(10, OnLongLine::Split),
            false,
            Enough { lines: 2, ..ALL },
            &mut lines,
        );
        assert_eq!((done.consumed, done.more, lines.len()), (4, true, 2));
        let few = Enough { bytes: 3, ..ALL };
        let done = split(b"a\nb\nc\n", LineState::Start, &rules(10, OnLongLine::Split), false, few, &mut lines);
        assert_eq!(
            (done.consumed, done.more, lines.len()),
            (4, true, 2),
            "the line that reaches the limit is whole"
        );
    }

    proptest! {
        #[test]
        fn chunk_borders_do_not_show(
            data in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), Just(0xff)], 0..80),
            max_line in 1usize..9,
            chunk in 1usize..30,
            on_long_line in prop_oneof![Just(OnLongLine::Split), Just(OnLongLine::Truncate), Just(OnLongLine::Skip)],
        ) {
            let rules = rules(max_line, on_long_line);
            prop_assert_eq!(cut(&data, &rules, chunk).0, expected(&data, &rules));
        }
    }
}

//! Cuts bytes into lines. Pure: one function over a slice, its state a value that progress keeps.
//!
//! Invariants: bytes consumed never exceed the data; a line is at most `max_line` bytes; `\n` and `\r\n` end a line
//! and are not part of it, every other byte is; cutting the same file at other chunk borders gives the same lines.

use memchr::memchr;
use serde::{Deserialize, Serialize};

use crate::pipeline::OnLongLine;

/// How lines are cut.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Longest line in bytes, its end not counted (`maxLineBytes`; Flume `deserializer.maxLineLength`).
    pub max_line: usize,
    /// What becomes of a longer one (`onLongLine`).
    pub on_long_line: OnLongLine,
}

impl Rules {
    /// Bytes that must be seen to tell a line of exactly `max_line` bytes and `\r\n` from a longer one.
    pub fn lookahead(&self) -> usize {
        self.max_line + 2
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
}

impl Line {
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
    /// True when it stopped at `max_lines`: there is more in the data.
    pub more: bool,
}

/// Cuts `data`, which continues at `state`, into `lines` (cleared first, at most about `max_lines`).
///
/// `last` says that the file has settled and ends here: an unterminated rest is then a line.
pub fn split(
    data: &[u8],
    state: LineState,
    rules: &Rules,
    last: bool,
    max_lines: usize,
    lines: &mut Vec<Line>,
) -> Split {
    lines.clear();
    let mut cutter = Cutter { state, rules, long_lines: 0, lines };
    let mut at = 0;
    let mut more = false;
    loop {
        if cutter.lines.len() >= max_lines {
            more = at < data.len();
            break;
        }
        let rest = &data[at..];
        if let Some(newline) = memchr(b'\n', rest) {
            let end = if newline > 0 && rest[newline - 1] == b'\r' { newline - 1 } else { newline };
            cutter.line(at, end);
            at += newline + 1;
        } else if cutter.state == LineState::Dropping {
            at = data.len();
            if last {
                cutter.state = LineState::Start;
            }
            break;
        } else if rest.len() >= rules.lookahead() {
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
    long_lines: u64,
    lines: &'a mut Vec<Line>,
}

impl Cutter<'_> {
    fn push(&mut self, start: usize, len: usize) {
        self.lines.push(Line { start: start as u32, len: len as u32 });
    }

    /// `len` bytes from `at` on are all that is left of the line.
    fn line(&mut self, at: usize, len: usize) {
        let max = self.rules.max_line;
        match self.state {
            LineState::Start if len <= max => self.push(at, len),
            LineState::Start => {
                self.long_lines += 1;
                match self.rules.on_long_line {
                    OnLongLine::Split => self.pieces(at, len),
                    OnLongLine::Truncate => self.push(at, max),
                    OnLongLine::Skip => {}
                }
            }
            LineState::Splitting => self.pieces(at, len),
            LineState::Dropping => {}
        }
        self.state = LineState::Start;
    }

    fn pieces(&mut self, at: usize, len: usize) {
        let max = self.rules.max_line;
        for start in (0..len).step_by(max) {
            self.push(at + start, max.min(len - start));
        }
    }

    /// At least `lookahead` bytes from `at` on without an end: takes the first `max_line` of them.
    fn long_prefix(&mut self, at: usize) -> usize {
        let max = self.rules.max_line;
        let ships = match (self.state, self.rules.on_long_line) {
            (LineState::Splitting, _) | (_, OnLongLine::Split | OnLongLine::Truncate) => true,
            (_, OnLongLine::Skip) => false,
        };
        if ships {
            self.push(at, max);
        }
        if self.state == LineState::Start {
            self.long_lines += 1;
            self.state = match self.rules.on_long_line {
                OnLongLine::Split => LineState::Splitting,
                OnLongLine::Truncate | OnLongLine::Skip => LineState::Dropping,
            };
        }
        max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(max_line: usize, on_long_line: OnLongLine) -> Rules {
        Rules { max_line, on_long_line }
    }

    /// Reads `data` in chunks of `chunk` bytes as the agent does: what is not consumed is read again.
    fn cut(data: &[u8], rules: &Rules, chunk: usize) -> (Vec<Vec<u8>>, u64) {
        let chunk = chunk.max(rules.lookahead());
        let (mut out, mut lines, mut at, mut state, mut long) = (vec![], vec![], 0, LineState::Start, 0);
        loop {
            let end = data.len().min(at + chunk);
            let last = end == data.len();
            let done = split(&data[at..end], state, rules, last, usize::MAX, &mut lines);
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
        let done = split(b"a\nb", LineState::Start, &rules(10, OnLongLine::Split), false, 9, &mut lines);
        assert_eq!((done.consumed, done.more, lines.len()), (2, false, 1));
    }

    #[test]
    fn it_stops_at_max_lines_and_says_so() {
        let mut lines = vec![];
        let done = split(b"a\nb\nc\n", LineState::Start, &rules(10, OnLongLine::Split), false, 2, &mut lines);
        assert_eq!((done.consumed, done.more, lines.len()), (4, true, 2));
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

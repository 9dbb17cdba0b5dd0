//! Did every line arrive, once, in order? Pure. Each line says who it is: `rid=<file>-<n>`, with n counting from 0.

use std::collections::HashMap;

use memchr::memmem;

use super::spool::Written;

/// Counts lines as they arrive.
#[derive(Debug, Default)]
pub struct Tally {
    /// Records seen.
    pub arrived: u64,
    /// Records that were there before, or came after one that belongs behind them.
    pub twice: u64,
    /// Records that are no line of ours.
    pub foreign: u64,
    /// Lines that a later line of the same file overtook.
    skipped: u64,
    /// By file: the number its next line must have.
    next: HashMap<u32, u64>,
}

impl Tally {
    /// One record's value.
    pub fn record(&mut self, line: &[u8]) {
        self.arrived += 1;
        let Some((file, n)) = id(line) else {
            self.foreign += 1;
            return;
        };
        let next = self.next.entry(file).or_default();
        if n < *next {
            self.twice += 1;
        } else {
            self.skipped += n - *next;
            *next = n + 1;
        }
    }

    /// Lines of `written` that are not there.
    pub fn missing(&self, written: &[Written]) -> u64 {
        let tail = |f: &Written| f.lines.saturating_sub(self.next.get(&f.number).copied().unwrap_or(0));
        self.skipped + written.iter().map(tail).sum::<u64>()
    }

    /// Every line of `written` is there, once, in order, and nothing else.
    pub fn is_exact(&self, written: &[Written]) -> bool {
        let lines: u64 = written.iter().map(|f| f.lines).sum();
        self.arrived == lines && self.twice + self.foreign + self.missing(written) == 0
    }
}

/// File and number of a line.
fn id(line: &[u8]) -> Option<(u32, u64)> {
    let rest = &line[memmem::find(line, b"rid=")? + 4..];
    let text = std::str::from_utf8(&rest[..memchr::memchr(b' ', rest)?]).ok()?;
    let (file, n) = text.split_once('-')?;
    Some((file.parse().ok()?, n.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(ids: &[&str]) -> Tally {
        let mut tally = Tally::default();
        ids.iter().for_each(|id| tally.record(format!("GET /?rid={id} HTTP/1.1").as_bytes()));
        tally
    }

    fn written(lines: &[u64]) -> Vec<Written> {
        let file =
            |(i, lines): (usize, &u64)| Written { number: i as u32, name: String::new(), lines: *lines, bytes: 0 };
        lines.iter().enumerate().map(file).collect()
    }

    #[test]
    fn files_may_mix_but_each_is_in_order() {
        assert!(tally(&["0-0", "1-0", "0-1", "1-1", "1-2"]).is_exact(&written(&[2, 3])));
    }

    #[test]
    fn a_lost_line_is_missing_in_the_middle_and_at_the_end() {
        for ids in [&["0-0", "0-2"][..], &["0-0", "0-1"], &[]] {
            let tally = tally(ids);
            assert_eq!(tally.missing(&written(&[3])), 3 - ids.len() as u64);
            assert!(!tally.is_exact(&written(&[3])));
        }
    }

    #[test]
    fn a_second_copy_and_a_stranger_are_told() {
        let twice = tally(&["0-0", "0-1", "0-0"]);
        assert_eq!((twice.twice, twice.missing(&written(&[2])), twice.is_exact(&written(&[2]))), (1, 0, false));
        let foreign = tally(&["0-0", "x"]);
        assert_eq!((foreign.foreign, foreign.is_exact(&written(&[1]))), (1, false));
    }
}

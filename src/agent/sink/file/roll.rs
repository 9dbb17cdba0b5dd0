//! What the sink's files are called, and when one is closed. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pipeline::Roll;

/// A file that is not closed yet, or just about to be. What is written to the state is what is committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its number.
    pub number: u64,
    /// Bytes that are committed.
    pub length: u64,
    /// Lines that are.
    pub records: u64,
    /// When the first of them was written, milliseconds since 1970.
    pub began: u64,
    /// When the last of them was.
    pub last: u64,
    /// It never grows again, and has its final name or is about to get it.
    pub closed: bool,
    /// The same with what the open transaction has written.
    #[serde(skip)]
    pub written: Written,
}

/// How far a file is written, committed or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes.
    pub length: u64,
    /// Lines.
    pub records: u64,
    /// The next line did not fit.
    pub full: bool,
}

impl Output {
    /// Whether a line of so many bytes, newline included, may still go into it.
    pub fn takes(&self, line: u64, roll: &Roll) -> bool {
        let Written { length, records, full } = self.written;
        let fits = length == 0 || length.saturating_add(line) <= roll.bytes();
        !full && !self.closed && fits && roll.records().is_none_or(|most| records < most)
    }

    /// A line of so many bytes, newline included, goes into it at `now`.
    pub fn add(&mut self, line: u64, now: Duration) {
        if self.written.length == 0 {
            self.began = millis(now);
        }
        self.last = millis(now);
        self.written.length += line;
        self.written.records += 1;
    }

    /// Everything that is written is to be committed at `now`; whether it is to be closed too.
    pub fn commit(&mut self, roll: &Roll, now: Duration) {
        (self.length, self.records) = (self.written.length, self.written.records);
        self.closed = self.closed || (self.length > 0 && (self.written.full || self.is_due(roll, now)));
    }

    /// Whether its time has come, or it can hold no more.
    pub fn is_due(&self, roll: &Roll, now: Duration) -> bool {
        // A clock that was set back makes a file old later, never sooner.
        let since = |then: u64| now.saturating_sub(Duration::from_millis(then));
        let is_full = self.length >= roll.bytes() || roll.records().is_some_and(|most| self.records >= most);
        self.length > 0 && (is_full || since(self.began) >= roll.age() || since(self.last) >= roll.idle())
    }

    /// Goes on where it was committed.
    pub fn resume(&mut self) {
        self.written = Written { length: self.length, records: self.records, full: false };
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The name of a file that is closed: in the order of their numbers, names sort.
pub fn closed_name(prefix: &str, number: u64) -> String {
    format!("{prefix}-{number:010}.log")
}

/// Its name while it may grow.
pub fn open_name(prefix: &str, number: u64) -> String {
    format!("{}.open", closed_name(prefix, number))
}

/// Whether a name is one that this module gives.
pub fn is_ours(prefix: &str, name: &str) -> bool {
    let inner = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    let inner =
        inner.map(|rest| rest.strip_suffix(".open").unwrap_or(rest)).and_then(|rest| rest.strip_suffix(".log"));
    inner.is_some_and(|number| number.len() >= 10 && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::quantity::{ByteSize, TimeSpan};

    const NOW: Duration = Duration::from_secs(1_000_000);

    fn roll() -> Roll {
        Roll {
            bytes: Some(ByteSize("100".into())),
            records: Some(3),
            age: Some(TimeSpan("60s".into())),
            idle: Some(TimeSpan("10s".into())),
        }
    }

    fn written(lines: &[u64]) -> Output {
        let mut output = Output::default();
        lines.iter().for_each(|line| output.add(*line, NOW));
        output
    }

    #[test]
    fn a_file_takes_lines_up_to_its_size_and_count_and_one_that_is_longer_alone() {
        assert!(written(&[]).takes(1000, &roll()), "no other file would take it either");
        assert!(written(&[60]).takes(40, &roll()) && !written(&[60]).takes(41, &roll()));
        assert!(written(&[1, 1]).takes(1, &roll()) && !written(&[1, 1, 1]).takes(1, &roll()));
        assert!(written(&[1; 1000]).takes(1, &Roll::default()), "no count is asked for");
    }

    #[test]
    fn it_is_closed_when_it_is_full_old_or_idle_but_never_empty() {
        let due = |lines: &[u64], later: u64| {
            let mut output = written(lines);
            output.commit(&roll(), NOW + Duration::from_secs(later));
            output.closed
        };
        assert!(!due(&[], 1000) && !due(&[50], 9) && due(&[50], 10));
        assert!(due(&[50, 50], 0) && due(&[1, 1, 1], 0));
        let mut busy = written(&[1]);
        busy.add(1, NOW + Duration::from_secs(59));
        busy.commit(&roll(), NOW + Duration::from_secs(59));
        assert!(!busy.closed && busy.is_due(&roll(), NOW + Duration::from_secs(60)), "by age");
        assert!(!busy.is_due(&roll(), Duration::ZERO), "the clock was set back");
    }

    #[test]
    fn names_sort_and_are_known_again() {
        assert_eq!(closed_name("web", 7), "web-0000000007.log");
        assert!(closed_name("web", 999_999_999) < closed_name("web", 1_000_000_000));
        for (name, ours) in [
            ("web-0000000007.log", true),
            ("web-0000000007.log.open", true),
            ("web-2-0000000007.log", false),
            ("web-7.log", false),
            ("web-000000000x.log", false),
            ("web-0000000007.gz", false),
            ("web.log", false),
        ] {
            assert_eq!(is_ours("web", name), ours, "{name}");
        }
    }
}

//! When a transaction is committed: after a time, after bytes, or at the end of work. Pure.
//!
//! The byte limit halves when a transaction timed out (a slow link), and grows again after quick commits.

use std::time::Duration;

/// Commits quicker than this many in a row raise a lowered limit again.
const QUICK_COMMITS: u32 = 10;

/// The open transaction, as far as limits go.
#[derive(Debug, Clone)]
pub struct Batch {
    interval: Duration,
    max_bytes: u64,
    limit: u64,
    began: Option<Duration>,
    bytes: u64,
    quick: u32,
}

impl Batch {
    /// `delivery.commitInterval` and `delivery.maxTransactionBytes`.
    pub fn new(interval: Duration, max_bytes: u64) -> Self {
        Batch { interval, max_bytes, limit: max_bytes, began: None, bytes: 0, quick: 0 }
    }

    /// Something was appended.
    pub fn add(&mut self, bytes: u64, now: Duration) {
        self.began.get_or_insert(now);
        self.bytes += bytes;
    }

    /// True while something waits for a commit.
    pub fn is_open(&self) -> bool {
        self.began.is_some()
    }

    /// True when it is time to commit although there is more to read.
    pub fn is_due(&self, now: Duration) -> bool {
        self.began.is_some_and(|began| self.bytes >= self.limit || now >= began + self.interval)
    }

    /// Bytes that may still be appended; the least is one byte, so that a record always fits.
    pub fn room(&self) -> u64 {
        self.limit.saturating_sub(self.bytes).max(1)
    }

    /// The transaction committed.
    pub fn committed(&mut self, now: Duration) {
        if self.bytes == 0 {
            return self.abandoned(); // receipts: they say nothing about how much fits
        }
        let quick = self.began.is_some_and(|began| now < began + self.interval * 2);
        self.quick = if quick { self.quick + 1 } else { 0 };
        if self.quick >= QUICK_COMMITS && self.limit < self.max_bytes {
            self.limit = (self.limit * 2).min(self.max_bytes);
            self.quick = 0;
        }
        self.abandoned();
    }

    /// The transaction is given up; what it held is read again.
    pub fn abandoned(&mut self) {
        self.began = None;
        self.bytes = 0;
    }

    /// The transaction took longer than Kafka allows: smaller ones from now on.
    ///
    /// Nothing changes where none was open, or it held no bytes (receipts): brokers that are away say nothing about how much fits.
    pub fn timed_out(&mut self) {
        if self.bytes == 0 {
            return self.abandoned();
        }
        self.quick = 0;
        // Halve what was tried, not only what is allowed: a limit far above it would take many timeouts to matter.
        self.limit = (self.limit.min(self.bytes) / 2).max(1);
        self.abandoned();
    }

    /// The byte limit in force.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn due_after_the_interval_or_the_bytes() {
        let mut batch = Batch::new(SECOND, 100);
        assert!(!batch.is_due(SECOND * 9), "nothing is open");
        batch.add(10, SECOND * 9);
        assert!(!batch.is_due(SECOND * 9) && batch.is_due(SECOND * 10));
        batch.add(90, SECOND * 9);
        assert!(batch.is_due(SECOND * 9));
        batch.committed(SECOND * 9);
        assert!(!batch.is_open());
    }

    #[test]
    fn brokers_that_stay_away_do_not_halve_the_limit_again_and_again() {
        let mut batch = Batch::new(SECOND, 100);
        batch.add(100, SECOND);
        for _ in 0..9 {
            batch.timed_out(); // the transaction once, then every attempt to open
        }
        assert_eq!(batch.limit(), 50);
    }

    #[test]
    fn a_transaction_of_receipts_alone_says_nothing_about_how_much_fits() {
        let mut batch = Batch::new(SECOND, 100);
        batch.add(0, SECOND);
        batch.timed_out();
        assert_eq!((batch.limit(), batch.is_open()), (100, false));
        batch.add(100, SECOND);
        batch.timed_out();
        for _ in 0..20 {
            batch.add(0, SECOND);
            batch.committed(SECOND);
        }
        assert_eq!((batch.limit(), batch.is_open()), (50, false));
    }

    #[test]
    fn a_timeout_halves_and_ten_quick_commits_raise_again() {
        let mut batch = Batch::new(SECOND, 100);
        batch.add(100, SECOND);
        batch.timed_out();
        assert_eq!(batch.limit(), 50);
        for i in 0..10 {
            batch.abandoned();
            assert_eq!(batch.limit(), 50, "commit {i}");
            batch.add(50, SECOND);
            batch.committed(SECOND);
        }
        assert_eq!(batch.limit(), 100);
        for _ in 0..50 {
            batch.add(100, SECOND);
            batch.timed_out();
        }
        assert_eq!((batch.limit(), batch.room()), (1, 1), "one record is the floor");
    }
}

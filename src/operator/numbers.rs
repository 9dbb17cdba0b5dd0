//! Numbers as a status shows them: rounded, sluggish, and written no more often than etcd should bear.
//!
//! Pure. Rates and backlog have two significant digits and move only by more than a tenth; totals are exact. A [`Bucket`] holds two
//! writes and is filled again 60 s after the first was taken, so that the first numbers come at once.

use std::time::Duration;

use super::view::AgentView;
use crate::pipeline::quantity::age;
use crate::pipeline::status::{Backlog, Summary, Throughput, Totals};

/// Writes of numbers in [`REFILL`].
const WRITES: u32 = 2;
/// When a bucket is full again.
const REFILL: Duration = Duration::from_secs(60);

/// How many writes of numbers are left. Times are those of a monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    since: Duration,
    taken: u32,
}

impl Bucket {
    /// Takes a write.
    ///
    /// # Errors
    /// None is left: how long to wait for one.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let age = now.saturating_sub(self.since);
        if self.taken == 0 || age >= REFILL {
            *self = Self { since: now, taken: 1 };
            return Ok(());
        }
        if self.taken < WRITES {
            self.taken += 1;
            return Ok(());
        }
        Err(REFILL.saturating_sub(age))
    }
}

/// `exact` with two significant digits.
pub fn rounded(exact: i64) -> i64 {
    let mut unit = 1_i64;
    while exact / unit >= 100 {
        unit = unit.saturating_mul(10);
    }
    exact.saturating_add(unit / 2) / unit * unit
}

/// What to show of `exact` where `shown` was shown before: the same until it is off by more than a tenth. Zero is shown at once.
pub fn sluggish(exact: i64, shown: Option<i64>) -> i64 {
    match shown {
        Some(shown) if exact != 0 && shown != 0 && exact.abs_diff(shown) <= shown.unsigned_abs() / 10 => shown,
        _ => rounded(exact),
    }
}

/// The rates of all agents together.
pub fn throughput(agents: &[AgentView], shown: Option<Throughput>) -> Throughput {
    let sum = |of: fn(&AgentView) -> u64| total(live(agents).map(of));
    Throughput {
        records_per_second: sluggish(
            sum(|a| a.report.throughput.records_per_second),
            shown.map(|t| t.records_per_second),
        ),
        bytes_per_second: sluggish(
            sum(|a| a.report.throughput.bytes_per_second),
            shown.map(|t| t.bytes_per_second),
        ),
    }
}

/// What waits, all agents together. What a lost agent said last still waits.
pub fn backlog(agents: &[AgentView], shown: Option<Backlog>) -> Backlog {
    let sum = |of: fn(&AgentView) -> u64| total(agents.iter().map(of));
    Backlog {
        files: sluggish(sum(|a| a.report.backlog.files), shown.map(|b| b.files)),
        bytes: sluggish(sum(|a| a.report.backlog.bytes), shown.map(|b| b.bytes)),
        oldest_seconds: signed(agents.iter().map(|a| a.report.backlog.oldest_seconds).max().unwrap_or(0)),
    }
}

/// The exact counters of all agents together; `set_aside` is how many files are set aside now.
pub fn totals(agents: &[AgentView]) -> Totals {
    let sum = |of: fn(&AgentView) -> u64| total(agents.iter().map(of));
    Totals {
        records: sum(|a| a.totals.records),
        bytes: sum(|a| a.totals.bytes),
        files: sum(|a| a.totals.files),
        set_aside: sum(|a| a.report.totals.set_aside),
    }
}

/// Counters that outlive those who count: what an agent counted stays counted when its node goes away, and what a former operator
/// showed is where this one goes on. What was shipped while no operator heard it, and is counted in no agent any more, is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    gone: Totals,
    last: Totals,
}

impl Carried {
    /// Goes on from what was shown.
    pub fn from(shown: Option<Totals>) -> Self {
        Self { gone: Totals::default(), last: shown.unwrap_or_default() }
    }

    /// What was shown last.
    pub fn shown(&self) -> Totals {
        Totals {
            records: self.gone.records.saturating_add(self.last.records),
            bytes: self.gone.bytes.saturating_add(self.last.bytes),
            files: self.gone.files.saturating_add(self.last.files),
            set_aside: self.last.set_aside,
        }
    }

    /// What to show, given the counters of the agents that are there.
    pub fn add(&mut self, now: Totals) -> Totals {
        let carry = |gone: i64, last: i64, now: i64| gone.saturating_add((last - now).max(0));
        self.gone = Totals {
            records: carry(self.gone.records, self.last.records, now.records),
            bytes: carry(self.gone.bytes, self.last.bytes, now.bytes),
            files: carry(self.gone.files, self.last.files, now.files),
            set_aside: 0,
        };
        self.last = now;
        self.shown()
    }
}

/// The numbers as texts. Where no agent ever reported, only the agents are counted.
pub fn summary(ready: i64, desired: i64, rates: Option<Throughput>, waits: Option<Backlog>) -> Summary {
    Summary {
        agents: format!("{ready}/{desired}"),
        rate: rates
            .map_or_else(String::new, |t| format!("{}/s", scaled(t.records_per_second, ["", "k", "M", "G"]))),
        byte_rate: rates.map_or_else(String::new, |t| format!("{}/s", bytes(t.bytes_per_second))),
        backlog: waits.map_or_else(String::new, |b| bytes(b.bytes)),
        oldest: waits.map_or_else(String::new, |b| age(b.oldest_seconds.unsigned_abs())),
    }
}

/// Agents that still report.
fn live(agents: &[AgentView]) -> impl Iterator<Item = &AgentView> {
    agents.iter().filter(|agent| !agent.lost)
}

fn total(numbers: impl Iterator<Item = u64>) -> i64 {
    signed(numbers.fold(0, u64::saturating_add))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn bytes(number: i64) -> String {
    scaled(number, ["B", "kB", "MB", "GB"])
}

/// Two digits that mean something, and a unit: 950, 1.2k, 12k, 120k.
fn scaled(number: i64, units: [&str; 4]) -> String {
    let (mut unit, mut size) = (0, 1_i64);
    while number / size >= 1000 && unit + 1 < units.len() {
        (unit, size) = (unit + 1, size * 1000);
    }
    let (whole, tenths) = (number / size, number % size * 10 / size);
    if whole < 10 && tenths > 0 {
        return format!("{whole}.{tenths}{}", units[unit]);
    }
    format!("{whole}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_are_kept() {
        for (exact, shown) in [
            (0, 0),
            (7, 7),
            (99, 99),
            (100, 100),
            (104, 100),
            (105, 110),
            (999, 1000),
            (12_345, 12_000),
            (1_250, 1_300),
        ] {
            assert_eq!(rounded(exact), shown, "{exact}");
        }
        assert!(rounded(i64::MAX) > i64::MAX / 2);
    }

    #[test]
    fn a_number_moves_by_more_than_a_tenth_or_to_and_from_zero() {
        for (exact, shown, now) in [
            (105, Some(100), 100),
            (110, Some(100), 100),
            (111, Some(100), 110),
            (89, Some(100), 89),
            (0, Some(5), 0),
            (1, Some(0), 1),
            (123, None, 120),
            (2, Some(1), 2),
        ] {
            assert_eq!(sluggish(exact, shown), now, "{exact} after {shown:?}");
        }
    }

    #[test]
    fn a_bucket_gives_two_at_once_and_two_a_minute() {
        let at = Duration::from_secs;
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(at(1000)), Ok(()));
        assert_eq!(bucket.take(at(1002)), Ok(()));
        assert_eq!(bucket.take(at(1010)), Err(at(50)));
        assert_eq!(bucket.take(at(1059)), Err(at(1)));
        assert_eq!(bucket.take(at(1060)), Ok(()));
        assert_eq!(bucket.take(at(1061)), Ok(()));
        assert_eq!(bucket.take(at(1061)), Err(at(59)));
        let mut early = Bucket::default();
        assert_eq!((early.take(at(0)), early.take(at(0)), early.take(at(0))), (Ok(()), Ok(()), Err(at(60))));
    }

    #[test]
    fn what_was_counted_stays_counted() {
        let totals = |records, set_aside| Totals { records, bytes: records * 10, files: 1, set_aside };
        let mut carried = Carried::from(Some(totals(100, 3)));
        assert_eq!(carried.add(totals(40, 1)), totals(100, 1), "the new operator hears of 40 and knew of 100");
        assert_eq!(carried.add(totals(50, 1)), totals(110, 1));
        assert_eq!(carried.add(totals(20, 0)), totals(110, 0), "a node with 30 went away");
        assert_eq!(carried.add(totals(25, 0)), totals(115, 0));
        assert_eq!(Carried::from(None).add(totals(7, 0)), totals(7, 0));
    }

    #[test]
    fn texts_have_a_unit() {
        let said = |n| scaled(n, ["", "k", "M", "G"]);
        assert_eq!(
            [0, 950, 1200, 12_000, 120_000, 1_200_000].map(said),
            ["0", "950", "1.2k", "12k", "120k", "1.2M"]
        );
        assert_eq!([0, 1000, 1_250_000_000, i64::MAX].map(bytes), ["0B", "1kB", "1.2GB", "9223372036GB"]);
    }
}

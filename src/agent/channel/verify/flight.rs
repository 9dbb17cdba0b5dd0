//! Segments of which some records were read and others are still to come. Pure.
//!
//! Lines on one partition are chained into a digest as they come, and nothing is kept of them. Only a segment that needs another order is
//! held (`order`), up to a limit over all of them.

use std::collections::{BTreeMap, HashMap};

use super::chain::{Segment, end};
use super::lane::Claim;
use super::ledger::Ledger;
use super::order::{Found, Held, find};
use super::verdict::{Flaw, Lines};
use crate::agent::channel::digest::Digest;

/// An index of the ledger's chains, and one of its segments.
pub(super) type Key = (u32, u32);

/// How the lines of a segment are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Not at all: it is another pipeline's.
    Claimed,
    /// As they come.
    Chained,
    /// When all are there.
    Held,
}

impl How {
    pub fn of(segment: &Segment, judged: bool) -> How {
        let untold = segment.runs.iter().any(|run| run.first.is_none());
        if !judged && !untold {
            return How::Claimed;
        }
        let follows = segment.runs.windows(2).all(|two| {
            two[0].partition == two[1].partition && two[1].first.is_some_and(|first| first >= end(&two[0]))
        });
        if untold || !follows { How::Held } else { How::Chained }
    }
}

#[derive(Debug)]
struct Flight {
    /// Lines with known offsets that were neither read nor found missing.
    left: u64,
    /// All so far were read.
    whole: bool,
    too_far: bool,
    digest: Digest,
    /// The number of the next line.
    next: u64,
    held: Held,
    age: u64,
}

/// What happened to lines of a claim that were not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Missing,
    Expired,
    Open,
}

/// A segment with lines whose offsets are not known, all others accounted for.
#[derive(Debug)]
pub(super) struct Untold {
    pub key: Key,
    pub held: Held,
    /// Nothing else is wrong with it, and it is held.
    pub whole: bool,
}

#[derive(Debug, Default)]
pub(super) struct Flights {
    /// Bytes of lines that may be held over all segments; beyond that a segment is called unproven.
    limit: usize,
    open: HashMap<Key, Flight>,
    /// Those that are held and not complete, by age.
    waiting: BTreeMap<u64, Key>,
    age: u64,
    /// Bytes of those that wait, and of all that is held.
    ahead: usize,
    held: usize,
    pub untold: Vec<Untold>,
    scratch: Vec<u8>,
}

impl Flights {
    pub fn new(limit: usize) -> Self {
        Flights { limit, ..Flights::default() }
    }

    /// A line of a claim.
    pub fn take(&mut self, ledger: &mut Ledger, partition: i32, claim: &Claim, number: u64, value: &[u8]) {
        if claim.how == How::Claimed {
            return;
        }
        let key = (claim.chain, claim.segment);
        let room = self.limit.saturating_sub(self.held);
        let mut scratch = std::mem::take(&mut self.scratch);
        let flight = self.flight(ledger, key, claim.how);
        let (mut held, mut too_far) = (0, false);
        if claim.how == How::Chained {
            flight.whole &= number == flight.next;
            if flight.whole {
                flight.digest.chain(value, &mut scratch);
                flight.next += 1;
            }
        } else if !flight.too_far {
            held = value.len() + size_of::<(u64, usize, usize)>();
            too_far = held > room;
            if !too_far {
                flight.held.put(partition, number, value);
            }
        }
        self.scratch = scratch;
        if too_far {
            self.give_up(key);
            held = 0;
        }
        self.held += held;
        self.ahead += held;
        self.account(ledger, key, 1);
    }

    /// Lines of a claim that were not read.
    pub fn lose(&mut self, ledger: &mut Ledger, partition: i32, claim: &Claim, first: i64, last: i64, fate: Fate) {
        if claim.how == How::Claimed {
            return;
        }
        let key = (claim.chain, claim.segment);
        self.flight(ledger, key, claim.how).whole = false;
        let chain = &mut ledger.chains[claim.chain as usize];
        let segment = &chain.segments[claim.segment as usize];
        let count = first.abs_diff(last) + 1;
        let alone = claim.how == How::Chained;
        let number = claim.number + claim.first.abs_diff(first) + 1;
        let lines = Lines {
            from: segment.from,
            to: segment.to,
            lines: count,
            partition,
            first,
            last,
            line: segment.lines_before.filter(|_| alone).map(|before| before + number),
        };
        chain.add(match fate {
            Fate::Missing => Flaw::Missing(lines),
            Fate::Expired => Flaw::NoLongerInTopic(lines),
            Fate::Open => Flaw::StillOpen(lines),
        });
        self.account(ledger, key, count);
    }

    /// The partitions that are to be read before others, where too much waits for them.
    pub fn needed(&self, ledger: &Ledger, is_read: impl Fn(i32, i64) -> bool) -> Option<Vec<i32>> {
        if self.ahead <= self.limit / 4 {
            return None;
        }
        let key = self.waiting.first_key_value()?.1;
        let segment = &ledger.chains[key.0 as usize].segments[key.1 as usize];
        let open = segment.runs.iter().filter(|run| run.first.is_some() && !is_read(run.partition, end(run)));
        let mut partitions: Vec<i32> = open.map(|run| run.partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        (!partitions.is_empty()).then_some(partitions)
    }

    /// Whether so much more may be held.
    pub fn has_room(&mut self, bytes: usize) -> bool {
        let fits = self.held + bytes <= self.limit;
        self.held += if fits { bytes } else { 0 };
        fits
    }

    /// Everything is read: what was held beside the segments is gone.
    pub fn reset(&mut self) {
        *self = Flights::new(self.limit);
    }

    fn flight(&mut self, ledger: &Ledger, key: Key, how: How) -> &mut Flight {
        let (age, waiting) = (&mut self.age, &mut self.waiting);
        self.open.entry(key).or_insert_with(|| {
            let segment = &ledger.chains[key.0 as usize].segments[key.1 as usize];
            *age += 1;
            if how == How::Held {
                waiting.insert(*age, key);
            }
            Flight {
                left: segment
                    .runs
                    .iter()
                    .filter(|run| run.first.is_some())
                    .map(|run| run.count)
                    .fold(0, u64::saturating_add),
                whole: true,
                too_far: false,
                digest: segment.before.unwrap_or_default(),
                next: 0,
                held: Held::default(),
                age: *age,
            }
        })
    }

    fn give_up(&mut self, key: Key) {
        if let Some(flight) = self.open.get_mut(&key) {
            let bytes = flight.held.bytes();
            (flight.too_far, flight.held) = (true, Held::default());
            self.held = self.held.saturating_sub(bytes);
            self.ahead = self.ahead.saturating_sub(bytes);
        }
    }

    fn account(&mut self, ledger: &mut Ledger, key: Key, count: u64) {
        let Some(flight) = self.open.get_mut(&key) else { return };
        flight.left = flight.left.saturating_sub(count);
        if flight.left > 0 {
            return;
        }
        let Some(flight) = self.open.remove(&key) else { return };
        self.waiting.remove(&flight.age);
        let bytes = flight.held.bytes();
        self.ahead = self.ahead.saturating_sub(bytes);
        let chain = &mut ledger.chains[key.0 as usize];
        let segment = &chain.segments[key.1 as usize];
        let (from, to) = (segment.from, segment.to);
        if segment.runs.iter().any(|run| run.first.is_none()) {
            let whole = flight.whole && !flight.too_far;
            return self.untold.push(Untold { key, held: flight.held, whole });
        }
        self.held = self.held.saturating_sub(bytes);
        if flight.too_far {
            return chain.add(Flaw::TooFarApart { from, to });
        }
        let (Some(before), true) = (segment.before, flight.whole) else { return };
        let held = How::of(segment, chain.judged) == How::Held;
        let right = match held {
            false => flight.digest == segment.digest,
            true => matches!(find(&flight.held, &counts(segment), &[], before, segment.digest), Found::Right(_)),
        };
        if !right {
            chain.add(Flaw::DigestDiffers { from, to });
        }
    }

    /// Segments of which nothing is known but their number of lines.
    pub fn begin_untold(&mut self, ledger: &mut Ledger, key: Key) {
        let segment = &ledger.chains[key.0 as usize].segments[key.1 as usize];
        if segment.runs.iter().all(|run| run.first.is_none()) {
            self.flight(ledger, key, How::Held);
            self.account(ledger, key, 0);
        }
    }
}

/// Lines of a segment by partition.
pub(super) fn counts(segment: &Segment) -> BTreeMap<i32, u64> {
    let mut counts = BTreeMap::new();
    for run in &segment.runs {
        let count = counts.entry(run.partition).or_insert(0_u64);
        *count = count.saturating_add(run.count);
    }
    counts
}

//! One partition of a data topic: who claims which records, and where reading is. Pure.

use super::chain::{Chain, end};
use super::flight::{How, Key};
use crate::agent::channel::progress::Run;

/// Windows of a partition in which lines are looked for. A pipeline without acknowledgements is told no offset at all: to hold each of its
/// records against each of its segments would take for ever.
const WINDOWS: usize = 256;

/// Records of one segment at consecutive offsets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub first: i64,
    pub count: u64,
    /// The number of the first one among the segment's lines on this partition.
    pub number: u64,
    pub chain: u32,
    pub segment: u32,
    pub how: How,
}

impl Claim {
    pub fn end(&self) -> i64 {
        self.first.saturating_add_unsigned(self.count)
    }
}

/// Offsets of a partition, as they were when reading began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// The first one that is kept.
    pub start: i64,
    /// Reading ends here.
    pub end: i64,
    /// Every segment that claims a record before this was read.
    pub judged: i64,
    /// The end of everything written.
    pub high: i64,
    /// Behind the last record that is committed or aborted.
    pub stable: i64,
}

/// Where lines with unknown offsets must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub key: Key,
    /// The number of the first one among the segment's lines on this partition.
    pub number: u64,
    pub count: u64,
    /// Behind the last known line of the file before them, and before the next one.
    pub from: i64,
    pub to: i64,
    /// Some records in it were not kept, or the lines could not be told among them.
    pub unresolved: bool,
}

impl Window {
    pub fn has(&self, offset: i64) -> bool {
        self.from <= offset && offset < self.to
    }
}

/// A record that no segment claims and that may be a line with an unknown offset.
#[derive(Debug)]
pub(super) struct Kept {
    pub offset: i64,
    pub timestamp: i64,
    pub value: Box<[u8]>,
    pub owned: bool,
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub claims: Vec<Claim>,
    next: usize,
    /// Claims that reading is within, each with the next offset that it should see. One, where nothing is wrong.
    active: Vec<(Claim, i64)>,
    pub windows: Vec<Window>,
    /// There are too many of them: nothing is looked for.
    pub blind: bool,
    pub kept: Vec<Kept>,
    pub bounds: Bounds,
    /// The offset of the last record that was read.
    pub read: i64,
    /// Behind the last offset that any claim names.
    pub claimed: i64,
}

/// Offsets that a claim names and that were passed over.
pub(super) type Lost = (Claim, i64, i64);

impl Lane {
    /// Claims are known: puts them in order.
    pub fn ready(&mut self) {
        self.claims.sort_unstable_by_key(|claim| (claim.first, claim.chain, claim.segment));
        self.blind = self.windows.len() > WINDOWS;
        self.claimed = self.claims.iter().map(Claim::end).max().unwrap_or(0);
    }

    /// Reading comes to `offset`: claims that begin by then, and those that end without it.
    pub fn advance(&mut self, offset: i64) -> Vec<Lost> {
        let mut lost = vec![];
        while let Some(claim) = self.claims.get(self.next).filter(|claim| claim.first <= offset) {
            self.active.push((*claim, claim.first));
            self.next += 1;
        }
        self.active.retain_mut(|(claim, expected)| {
            let upto = claim.end().min(offset);
            if *expected < upto {
                lost.push((*claim, *expected, upto - 1));
                *expected = upto;
            }
            claim.end() > offset
        });
        lost
    }

    /// The claims that `offset` belongs to, after [`Lane::advance`] to it.
    pub fn owners(&mut self, offset: i64) -> impl Iterator<Item = Claim> {
        self.active.iter_mut().map(move |(claim, expected)| {
            *expected = offset + 1;
            *claim
        })
    }

    /// Reading is at the end.
    pub fn finish(&mut self) -> Vec<Lost> {
        self.read = self.read.max(self.bounds.end - 1);
        self.advance(i64::MAX)
    }

    pub fn is_claimed(&self) -> bool {
        !self.active.is_empty()
    }

    /// The claim that `offset` belongs to, where it is not known how far reading is.
    pub fn owner(&self, offset: i64) -> Option<&Claim> {
        let behind = self.claims.partition_point(|claim| claim.first <= offset);
        self.claims[..behind].iter().rev().take(2).find(|claim| claim.end() > offset)
    }

    /// Claims that name records which an earlier one names too: both, and the offsets.
    pub fn claimed_twice(&self) -> Vec<(Claim, Claim, i64, i64)> {
        let mut found = vec![];
        let mut furthest: Option<Claim> = None;
        for claim in &self.claims {
            match furthest {
                Some(before) if claim.first < before.end() => {
                    found.push((before, *claim, claim.first, claim.end().min(before.end()) - 1));
                    furthest = if claim.end() > before.end() { Some(*claim) } else { furthest };
                }
                _ => furthest = Some(*claim),
            }
        }
        found
    }
}

/// What a chain claims: known records, and windows, by partition.
pub(super) fn claims(number: u32, chain: &Chain, mut put: impl FnMut(i32, Result<Claim, Window>)) {
    let mut last: Vec<(i32, i64)> = vec![];
    let mut open: Vec<(i32, Window)> = vec![];
    for (index, segment) in chain.segments.iter().enumerate() {
        let how = How::of(segment, chain.judged);
        let mut counted: Vec<(i32, u64)> = vec![];
        for run in &segment.runs {
            let Run { partition, count, .. } = *run;
            let number_there = add(&mut counted, partition, count);
            match run.first {
                Some(first) => {
                    open.retain_mut(|(of, window)| {
                        if *of == partition {
                            put(partition, Err(Window { to: first, ..*window }));
                        }
                        *of != partition
                    });
                    let segment = index as u32;
                    put(partition, Ok(Claim { first, count, number: number_there, chain: number, segment, how }));
                    last.retain(|(of, _)| *of != partition);
                    last.push((partition, end(run)));
                }
                None => {
                    let from = last.iter().find(|(of, _)| *of == partition).map_or(0, |(_, end)| *end);
                    let key = (number, index as u32);
                    let window = Window { key, number: number_there, count, from, to: i64::MAX, unresolved: false };
                    open.push((partition, window));
                }
            }
        }
    }
    open.into_iter().for_each(|(partition, window)| put(partition, Err(window)));
}

/// Adds `count` for a partition; what it was before.
fn add(counted: &mut Vec<(i32, u64)>, partition: i32, count: u64) -> u64 {
    match counted.iter_mut().find(|(of, _)| *of == partition) {
        Some((_, sum)) => {
            let before = *sum;
            *sum = sum.saturating_add(count);
            before
        }
        None => {
            counted.push((partition, count));
            0
        }
    }
}

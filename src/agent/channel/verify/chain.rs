//! One generation of a file, as the receipt topic tells it: a chain of segments, and the receipts that close it. Pure.
//!
//! What is judged here needs no record of a data topic: gaps, overlaps, order, and whether receipts say what the segments say.

use std::collections::HashMap;

use super::verdict::Flaw;
use crate::agent::channel::digest::{Digest, FileId};
use crate::agent::channel::evidence::Origin;
use crate::agent::channel::name::Name;
use crate::agent::channel::progress::Run;

/// One transaction's part of a file. There may be millions, so it is small.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment {
    pub from: u64,
    pub to: u64,
    pub lines: u64,
    /// Of the whole file so far, as `digest`.
    pub bytes: u64,
    pub digest: Digest,
    pub runs: Box<[Run]>,
    /// The digest at `from`, where a segment ends there.
    pub before: Option<Digest>,
    /// Lines of the file before it, where they are known.
    pub lines_before: Option<u64>,
}

/// What closes a chain; a file that grew afterwards has another one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Receipt {
    pub to: u64,
    pub lines: u64,
    pub bytes: u64,
    pub digest: Digest,
}

#[derive(Debug, Clone)]
pub(super) struct Chain {
    /// An index of the ledger's agents.
    pub agent: u32,
    pub file: FileId,
    pub name: Name,
    pub generation: u32,
    /// Where its first segment tells it.
    pub origin: Option<Origin>,
    /// An index of the ledger's topics.
    pub topic: u32,
    /// Of the pipeline that is asked about.
    pub judged: bool,
    /// The partition of the receipt topic that tells of it has lost its first records.
    pub beheaded: bool,
    pub segments: Vec<Segment>,
    pub receipts: Vec<Receipt>,
    pub flaws: Vec<Flaw>,
    /// The byte behind the last one of which a segment speaks.
    pub position: u64,
    /// A receipt closes it.
    pub closed: bool,
}

/// What a file comes to where a segment ends.
#[derive(Clone, Copy)]
struct End {
    digest: Digest,
    bytes: u64,
    lines: Option<u64>,
}

impl Chain {
    /// Puts the segments in order and says what is wrong with them among themselves.
    pub fn check(&mut self) {
        self.segments.sort_by_key(|segment| (segment.from, segment.to));
        self.segments.dedup();
        let mut ends = HashMap::from([(0, End { digest: Digest::default(), bytes: 0, lines: Some(0) })]);
        let mut last: HashMap<i32, i64> = HashMap::new();
        let mut at = 0;
        for segment in &mut self.segments {
            let (from, to) = (segment.from, segment.to);
            if from > at && at == 0 && self.beheaded {
                self.flaws.push(Flaw::SegmentsGone { to: from });
            } else if from > at {
                self.flaws.push(Flaw::NoSegment { from: at, to: from });
            } else if from < at {
                self.flaws.push(Flaw::ShippedTwice { from, to: to.min(at), other_id: None });
            }
            let records = segment.runs.iter().map(|run| run.count).fold(0, u64::saturating_add);
            if records != segment.lines {
                self.flaws.push(Flaw::CountDiffers { from, to, lines: segment.lines, records });
            }
            // What was shipped a second time is behind what it repeats, and says nothing about order.
            if from >= at {
                self.flaws.extend(in_order(segment, &mut last));
            }
            let before = ends.get(&from).copied();
            segment.before = before.map(|end| end.digest);
            segment.lines_before = before.and_then(|end| end.lines);
            if segment.lines == 0 && segment.before.is_some_and(|before| before != segment.digest) {
                self.flaws.push(Flaw::DigestDiffers { from, to });
            }
            let lines = segment.lines_before.map(|lines| lines.saturating_add(segment.lines));
            ends.insert(to, End { digest: segment.digest, bytes: segment.bytes, lines });
            at = at.max(to);
        }
        for receipt in &self.receipts {
            let flaw = match ends.get(&receipt.to) {
                Some(end) => differs(receipt, end).map(|on| Flaw::ReceiptDiffers { to: receipt.to, on }),
                None if receipt.to > at && self.beheaded && self.segments.is_empty() => {
                    Some(Flaw::SegmentsGone { to: receipt.to })
                }
                None if receipt.to > at => Some(Flaw::NoSegment { from: at, to: receipt.to }),
                None => Some(Flaw::ReceiptDiffers { to: receipt.to, on: "end" }),
            };
            if !flaw.as_ref().is_some_and(|flaw| self.flaws.contains(flaw)) {
                self.flaws.extend(flaw);
            }
        }
        let receipted = self.receipts.iter().map(|receipt| receipt.to).max();
        self.position = at;
        self.closed = receipted.is_some_and(|to| to >= at);
    }

    /// Adds what was found out later.
    pub fn add(&mut self, flaw: Flaw) {
        if !self.flaws.last_mut().is_some_and(|last| last.join(&flaw)) {
            self.flaws.push(flaw);
        }
    }
}

/// The first run of a segment that is before a line which comes before it in the file.
fn in_order(segment: &Segment, last: &mut HashMap<i32, i64>) -> Option<Flaw> {
    let mut found = None;
    for run in &segment.runs {
        let Some(offset) = run.first else { continue };
        let behind = *last.get(&run.partition).unwrap_or(&-1);
        if offset <= behind && found.is_none() {
            let (from, to, partition) = (segment.from, segment.to, run.partition);
            found = Some(Flaw::OutOfOrder { from, to, partition, offset, behind });
        }
        last.insert(run.partition, end(run).saturating_sub(1).max(behind));
    }
    found
}

/// The offset behind a run's last one; 0 where its first one is not known.
pub(super) fn end(run: &Run) -> i64 {
    run.first.map_or(0, |first| first.saturating_add_unsigned(run.count))
}

fn differs(receipt: &Receipt, end: &End) -> Option<&'static str> {
    if end.lines.is_some_and(|lines| lines != receipt.lines) {
        return Some("lines");
    }
    if end.bytes != receipt.bytes {
        return Some("bytes");
    }
    (end.digest != receipt.digest).then_some("digest")
}

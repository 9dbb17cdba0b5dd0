//! Records that no segment claims: which of them are lines whose offsets are not known, which can be excused, and whose lines the others
//! are equal to. Pure.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_128;

use super::Expect;
use super::flight::{Untold, counts};
use super::lane::{Claim, Lane, Window};
use super::ledger::Ledger;
use super::order::{Found, Hole, find};
use super::verdict::{Flaw, Lines, Topic, Twin, Unclaimed};

/// Records that are told one by one; beyond that they are counted.
const KEEP: usize = 1000;

/// Records that nobody claims and nothing excuses.
#[derive(Debug, Default)]
pub(super) struct Strays {
    list: Vec<Unclaimed>,
    /// Of the topic that is read: hash of the value → indices of `list` that have no twin yet.
    looking: HashMap<u128, Vec<usize>>,
}

impl Strays {
    /// Counts a record, and keeps it where it is a fault.
    #[expect(clippy::too_many_arguments, reason = "parts of the judge that are borrowed apart")]
    pub fn settle(
        &mut self,
        ledger: &Ledger,
        expect: Expect,
        lane: &Lane,
        said: &mut Topic,
        partition: i32,
        (offset, timestamp): (i64, i64),
        value: &[u8],
    ) {
        if offset >= lane.bounds.judged {
            said.records -= 1; // younger than the look at the receipt topic
            return;
        }
        if ledger.horizon.is_some_and(|horizon| timestamp <= horizon) {
            said.older_than_receipts += 1;
            return;
        }
        // Without transactions a segment follows its lines.
        let follows = !expect.transactional && (offset >= lane.claimed || timestamp >= expect.recent);
        if !expect.all_evidence || follows {
            said.unattributed += 1;
            return;
        }
        said.unclaimed += 1;
        if !expect.shared && self.list.len() < KEEP {
            self.looking.entry(xxh3_128(value)).or_default().push(self.list.len());
            let (topic, bytes) = (said.name.clone(), value.len() as u64);
            self.list.push(Unclaimed { topic, partition, offset, bytes, equals: None });
        }
    }

    pub fn wants(&self, topic: &str) -> bool {
        !self.looking.is_empty() && self.list.iter().any(|stray| stray.topic == topic && stray.equals.is_none())
    }

    /// A claimed record: is one of ours equal to it?
    pub fn compare(&mut self, ledger: &Ledger, claim: &Claim, partition: i32, offset: i64, value: &[u8]) {
        let Some(equal) = self.looking.remove(&xxh3_128(value)) else { return };
        let chain = &ledger.chains[claim.chain as usize];
        let segment = &chain.segments[claim.segment as usize];
        let alone = segment.runs.iter().all(|run| run.partition == partition);
        let number = claim.number + claim.first.abs_diff(offset) + 1;
        for index in equal {
            self.list[index].equals = Some(Twin {
                identity: ledger.agents[chain.agent as usize].clone(),
                name: chain.name.to_string(),
                file_id: chain.file.to_string(),
                line: segment.lines_before.filter(|_| alone).map(|before| before + number),
                partition,
                offset,
            });
        }
    }

    pub fn told(self) -> Vec<Unclaimed> {
        self.list
    }
}

/// Finds a segment's lines whose offsets are not known among the records that nobody claims, by its digest.
pub(super) fn resolve(ledger: &mut Ledger, lanes: &mut [Lane], untold: &Untold) {
    let chain = &ledger.chains[untold.key.0 as usize];
    let segment = &chain.segments[untold.key.1 as usize];
    let (from, to) = (segment.from, segment.to);
    let untold_runs = || segment.runs.iter().filter(|run| run.first.is_none());
    let lines = untold_runs().map(|run| run.count).fold(0, u64::saturating_add);
    if untold_runs().any(|run| lanes.get(run.partition as usize).is_none_or(|lane| lane.blind)) {
        return ledger.chains[untold.key.0 as usize].add(Flaw::OffsetsUntold { from, to, lines });
    }
    let windows: Vec<(usize, Window)> = lanes
        .iter()
        .enumerate()
        .flat_map(|(p, lane)| lane.windows.iter().filter(|w| w.key == untold.key).map(move |w| (p, *w)))
        .collect();
    let (mut places, mut numbers) = (vec![], HashMap::new());
    let mut missing = None;
    let holes: Vec<Hole> = windows
        .iter()
        .map(|(partition, window)| {
            let lane = &lanes[*partition];
            let within = lane.kept.iter().enumerate().filter(|(_, kept)| !kept.owned && window.has(kept.offset));
            let candidates: Vec<_> = within
                .map(|(index, kept)| {
                    let place = (*partition, index);
                    let number = *numbers.entry(place).or_insert_with(|| {
                        places.push(place);
                        places.len() - 1
                    });
                    (number, &*kept.value)
                })
                .collect();
            let whole = window.from >= lane.bounds.start && window.to <= lane.bounds.end && !window.unresolved;
            if whole && (candidates.len() as u64) < window.count {
                missing.get_or_insert(Flaw::Missing(Lines {
                    from,
                    to,
                    lines: window.count - candidates.len() as u64,
                    partition: *partition as i32,
                    first: window.from,
                    last: window.to - 1,
                    line: None,
                }));
            }
            Hole { partition: *partition as i32, number: window.number, count: window.count, candidates }
        })
        .collect();
    let found = match segment.before {
        Some(before) if untold.whole && windows.iter().all(|(_, window)| !window.unresolved) => {
            find(&untold.held, &counts(segment), &holes, before, segment.digest)
        }
        _ => Found::Unknown,
    };
    let flaw = match (&found, missing) {
        (Found::Right(_), _) => None,
        (_, Some(missing)) => Some(missing),
        (Found::Wrong, None) => Some(Flaw::DigestDiffers { from, to }),
        (Found::Unknown, None) => Some(Flaw::OffsetsUntold { from, to, lines }),
    };
    if let Found::Right(chosen) = &found {
        for (partition, index) in chosen.iter().map(|chosen| places[*chosen]) {
            lanes[partition].kept[index].owned = true;
        }
    } else {
        let all = lanes.iter_mut().flat_map(|lane| &mut lane.windows);
        all.filter(|window| window.key == untold.key).for_each(|window| window.unresolved = true);
    }
    let chain = &mut ledger.chains[untold.key.0 as usize];
    flaw.into_iter().for_each(|flaw| chain.add(flaw));
}

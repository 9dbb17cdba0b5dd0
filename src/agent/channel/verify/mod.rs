//! Whether a topic holds what was shipped: its records against the segments and receipts that speak of them. Pure; `spoolway verify`.
//!
//! [`Ledger`] gathers the receipt topic, [`Judge`] takes the records of the data topics, in order within each partition, and gives the
//! [`Verdict`]. A segment can be judged alone, for its digest begins where that of the segment before it ends.
//!
//! Memory: about 500 bytes a file and 250 a segment of all pipelines of the receipt topic. Of records nothing is kept, but for segments
//! whose lines must be put in order first, up to [`Expect::memory`] (`flight`), and for the first thousand that nobody claims.

mod again;
mod chain;
mod flight;
mod lane;
mod ledger;
mod order;
#[cfg(test)]
mod tests;
mod unclaimed;
mod verdict;

use std::collections::HashSet;

pub use lane::Bounds;
pub use ledger::{Ledger, Newer};
pub use verdict::{File, Flaw, Lines, State, Told, Topic, Twin, Unclaimed, Verdict};

use chain::Chain;
use flight::{Fate, Flights, How};
use lane::{Kept, Lane, Lost};
use unclaimed::Strays;

/// What decides whether a record that no segment claims is a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// Others write to the topic too, and keep no receipts (`--shared-topic`).
    pub shared: bool,
    /// Lines and segments are committed together (`guarantee: ExactlyOnce`).
    pub transactional: bool,
    /// The receipt topic could be read to its end.
    pub all_evidence: bool,
    /// Bytes of lines that may be held at once.
    pub memory: usize,
    /// Without transactions: the segment of a record from this time on (milliseconds since 1970) may still be to come.
    pub recent: i64,
}

/// Judges.
#[derive(Debug)]
pub struct Judge {
    ledger: Ledger,
    expect: Expect,
    topics: Vec<Ground>,
    /// The topic that is read: an index of `topics`.
    now: usize,
    flights: Flights,
    strays: Strays,
}

/// A data topic.
#[derive(Debug, Default)]
struct Ground {
    lanes: Vec<Lane>,
    said: Topic,
}

impl Judge {
    /// All evidence is gathered.
    pub fn new(mut ledger: Ledger, expect: Expect) -> Self {
        let names = ledger.topics();
        let mut topics: Vec<Ground> = names
            .iter()
            .map(|name| Ground { lanes: vec![], said: Topic { name: name.clone(), ..Topic::default() } })
            .collect();
        for (number, chain) in ledger.chains.iter_mut().enumerate() {
            chain.check();
            let name = &ledger.topics[chain.topic as usize];
            let Some(topic) = names.iter().position(|topic| topic == name) else { continue };
            lane::claims(number as u32, chain, |partition, claim| match (topics[topic].lane(partition), claim) {
                (Some(lane), Ok(claim)) => lane.claims.push(claim),
                (Some(lane), Err(window)) => lane.windows.push(window),
                (None, _) => {}
            });
        }
        let (flights, strays) = (Flights::new(expect.memory), Strays::default());
        let mut judge = Judge { ledger, expect, topics, now: 0, flights, strays };
        for topic in 0..judge.topics.len() {
            for partition in 0..judge.topics[topic].lanes.len() {
                judge.topics[topic].lanes[partition].ready();
                judge.claimed_twice(topic, partition);
            }
        }
        judge
    }

    fn claimed_twice(&mut self, topic: usize, partition: usize) {
        for (one, two, first, last) in self.topics[topic].lanes[partition].claimed_twice() {
            // Of two files that are judged, the one whose claim comes second: the message names the other.
            let chain = |claim: &lane::Claim| &self.ledger.chains[claim.chain as usize];
            let (at, other) = if chain(&two).judged { (two, one) } else { (one, two) };
            if chain(&at).judged {
                let by = self.ledger.label(chain(&other));
                let flaw = Flaw::ClaimedTwice { partition: partition as i32, first, last, by };
                self.ledger.chains[at.chain as usize].add(flaw);
            }
        }
    }

    /// Behind the last record that is claimed on a partition: as far as it is worth to wait for open transactions.
    pub fn claimed_to(&self, topic: &str, partition: usize) -> i64 {
        let ground = self.topics.iter().find(|ground| ground.said.name == topic);
        ground.and_then(|ground| ground.lanes.get(partition)).map_or(0, |lane| lane.claimed)
    }

    /// A topic is read from now on; `bounds` by partition, none where it does not exist.
    pub fn begin(&mut self, topic: &str, bounds: &[Bounds]) {
        let Some(now) = self.topics.iter().position(|ground| ground.said.name == topic) else { return };
        self.now = now;
        let ground = &mut self.topics[now];
        ground.said.partitions = bounds.len() as u32;
        ground.said.open = bounds.iter().map(|b| b.high.saturating_sub(b.stable).max(0) as u64).sum();
        let lanes = ground.lanes.len().max(bounds.len());
        ground.lanes.resize_with(lanes, Lane::default);
        let mut untold = HashSet::new();
        for (partition, lane) in ground.lanes.iter_mut().enumerate() {
            lane.bounds = bounds.get(partition).copied().unwrap_or_default();
            lane.read = lane.bounds.start - 1;
            untold.extend(lane.windows.iter().map(|window| window.key));
            if lane.claimed > lane.bounds.high {
                let (claimed, high) = (lane.claimed - 1, lane.bounds.high);
                let told = match bounds.len() {
                    0 => format!("topic {topic}: there is no such topic, and segments name lines of it"),
                    _ => format!(
                        "topic {topic}: segments name offsets up to {claimed} of partition {partition}, which ends at {high}: the topic \
                         was made anew, or brokers lost records"
                    ),
                };
                ground.said.shrunk.get_or_insert(told);
            }
        }
        for key in untold {
            self.flights.begin_untold(&mut self.ledger, key);
        }
    }

    /// A committed record, in order within its partition; `timestamp` in milliseconds since 1970.
    pub fn record(&mut self, partition: i32, offset: i64, timestamp: i64, value: &[u8]) {
        let ground = &mut self.topics[self.now];
        let Some(lane) = usize::try_from(partition).ok().and_then(|p| ground.lanes.get_mut(p)) else { return };
        if offset >= lane.bounds.end || offset <= lane.read {
            return;
        }
        lane.read = offset;
        ground.said.records += 1;
        let lost = lane.advance(offset);
        if !lost.is_empty() {
            lose(&mut self.flights, &mut self.ledger, partition, lane.bounds, lost);
        }
        if lane.is_claimed() {
            ground.said.claimed += 1;
            for claim in lane.owners(offset) {
                let number = claim.number + claim.first.abs_diff(offset);
                self.flights.take(&mut self.ledger, partition, &claim, number, value);
            }
            return;
        }
        if lane.blind {
            ground.said.unattributed += 1;
        } else if lane.windows.iter().any(|window| window.has(offset)) {
            if self.flights.has_room(value.len() + size_of::<Kept>()) {
                return lane.kept.push(Kept { offset, timestamp, value: value.into(), owned: false });
            }
            lane.windows.iter_mut().filter(|w| w.has(offset)).for_each(|w| w.unresolved = true);
            ground.said.unattributed += 1;
        } else {
            let at = (offset, timestamp);
            self.strays.settle(&self.ledger, self.expect, lane, &mut ground.said, partition, at, value);
        }
    }

    /// The partitions that are to be read before the others go on, so that not too much is held; `None`: all.
    pub fn needed(&self) -> Option<Vec<i32>> {
        let lanes = &self.topics.get(self.now)?.lanes;
        let is_read = |partition: i32, end: i64| {
            let lane = usize::try_from(partition).ok().and_then(|p| lanes.get(p));
            lane.is_none_or(|lane| lane.read + 1 >= end.min(lane.bounds.end))
        };
        self.flights.needed(&self.ledger, is_read)
    }

    /// A partition is read to its end.
    pub fn ended(&mut self, partition: i32) {
        let lanes = &mut self.topics[self.now].lanes;
        if let Some(lane) = usize::try_from(partition).ok().and_then(|p| lanes.get_mut(p)) {
            let lost = lane.finish();
            lose(&mut self.flights, &mut self.ledger, partition, lane.bounds, lost);
        }
    }

    /// The topic is read to its ends. `starts` are the offsets, by partition, before which nothing is kept by now: retention goes on.
    pub fn end(&mut self, starts: &[i64]) {
        for partition in 0..self.topics[self.now].lanes.len() {
            self.ended(partition as i32);
        }
        self.expire(starts);
        let ground = &mut self.topics[self.now];
        let mut untold = std::mem::take(&mut self.flights.untold);
        untold.sort_unstable_by_key(|segment| segment.key);
        for segment in untold {
            unclaimed::resolve(&mut self.ledger, &mut ground.lanes, &segment);
        }
        for (partition, lane) in ground.lanes.iter_mut().enumerate() {
            for kept in std::mem::take(&mut lane.kept) {
                if kept.owned {
                    ground.said.claimed += 1;
                } else if lane.windows.iter().any(|window| window.unresolved && window.has(kept.offset)) {
                    ground.said.unattributed += 1;
                } else {
                    let (said, at) = (&mut ground.said, (kept.offset, kept.timestamp));
                    let partition = partition as i32;
                    self.strays.settle(&self.ledger, self.expect, lane, said, partition, at, &kept.value);
                }
            }
        }
        self.flights.reset();
    }

    /// What went while it was to be read is not missing.
    fn expire(&mut self, starts: &[i64]) {
        let name = &self.topics[self.now].said.name;
        let Some(topic) = self.ledger.topics.iter().position(|topic| topic == name) else { return };
        for chain in self.ledger.chains.iter_mut().filter(|chain| chain.topic as usize == topic) {
            for flaw in &mut chain.flaws {
                let Flaw::Missing(lines) = flaw else { continue };
                let start = usize::try_from(lines.partition).ok().and_then(|partition| starts.get(partition));
                if start.is_some_and(|start| lines.first < *start) {
                    *flaw = Flaw::NoLongerInTopic(lines.clone());
                }
            }
        }
    }

    /// Whether the topic is worth a second look, by [`Judge::compare`]: whose lines the records are equal to that nobody claims.
    pub fn wants_twins(&self) -> bool {
        self.strays.wants(&self.topics[self.now].said.name)
    }

    /// A record of the topic again; false when nothing is left to be found.
    pub fn compare(&mut self, partition: i32, offset: i64, value: &[u8]) -> bool {
        let lane = usize::try_from(partition).ok().and_then(|p| self.topics[self.now].lanes.get(p));
        if let Some(claim) = lane.and_then(|lane| lane.owner(offset)) {
            self.strays.compare(&self.ledger, claim, partition, offset, value);
        }
        self.strays.wants(&self.topics[self.now].said.name)
    }

    /// Everything is read.
    pub fn verdict(mut self) -> Verdict {
        again::tell(&mut self.ledger.chains);
        let agents = &self.ledger.agents;
        let judged = self.ledger.chains.iter().filter(|chain| chain.judged);
        let mut files: Vec<File> = judged
            .map(|chain| File {
                agent: agents[chain.agent as usize].splitn(4, '/').nth(3).unwrap_or_default().to_owned(),
                name: chain.name.to_string(),
                file_id: chain.file.to_string(),
                generation: chain.generation,
                topic: self.ledger.topics[chain.topic as usize].clone(),
                state: state(chain),
                position: chain.position,
                lines: chain.segments.iter().map(|segment| segment.lines).sum(),
                flaws: chain.flaws.iter().cloned().map(Told::from).collect(),
            })
            .collect();
        files.sort_by(|a, b| (&a.agent, &a.name, a.generation).cmp(&(&b.agent, &b.name, b.generation)));
        let topics = self.topics.into_iter().map(|ground| ground.said).collect();
        Verdict { files, topics, unclaimed: self.strays.told() }
    }
}

impl Ground {
    fn lane(&mut self, partition: i32) -> Option<&mut Lane> {
        let partition = usize::try_from(partition).ok().filter(|partition| *partition < ledger::PARTITIONS)?;
        if self.lanes.len() <= partition {
            self.lanes.resize_with(partition + 1, Lane::default);
        }
        self.lanes.get_mut(partition)
    }
}

fn lose(flights: &mut Flights, ledger: &mut Ledger, partition: i32, bounds: Bounds, lost: Vec<Lost>) {
    let Bounds { start, end, high, .. } = bounds;
    for (claim, first, last) in lost {
        if claim.how == How::Claimed {
            continue;
        }
        // What lies before the start, within what was read, behind an open transaction, and behind the end of all.
        for (from, to, fate) in [
            (i64::MIN, start, Fate::Expired),
            (start, end, Fate::Missing),
            (end.max(start), high, Fate::Open),
            (high.max(end).max(start), i64::MAX, Fate::Missing),
        ] {
            let (first, last) = (first.max(from), last.min(to.saturating_sub(1)));
            if first <= last {
                flights.lose(ledger, partition, &claim, first, last, fate);
            }
        }
    }
}

fn state(chain: &Chain) -> State {
    let whole = if chain.closed { State::Complete } else { State::HalfShipped };
    chain.flaws.iter().map(Flaw::state).max().map_or(whole, |worst| worst.max(whole))
}

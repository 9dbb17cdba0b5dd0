//! Brokers: logs with offsets, markers and the last stable offset, and the coordinator of one transactional id.
//!
//! The coordinator fences by epoch, aborts what its predecessor left open, and aborts a transaction that lasts too long.
//! Requests of an abandoned producer may still arrive: they count only while their epoch holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::sim::Sim;

pub const TOPIC: &str = "test";
pub const CHECKPOINTS: &str = "spoolway-shop-checkpoints";
pub const RECEIPTS: &str = "spoolway-shop-receipts";
/// Partitions of the data topic.
pub const PARTITIONS: u32 = 3;

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    Committed,
    Aborted,
}

/// One record of a log; a marker has neither key nor value.
#[derive(Debug, Clone)]
pub struct Record {
    /// 0 for records outside any of our transactions.
    pub transaction: usize,
    /// Slot of a line; `None` for own records and markers.
    pub slot: Option<u32>,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub marker: bool,
    /// Removed by compaction.
    pub compacted: bool,
}

/// A record on its way.
#[derive(Debug, Clone)]
pub struct Sent {
    pub topic: String,
    pub partition: i32,
    pub slot: Option<u32>,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// A request of a producer that was dropped.
#[derive(Debug, Clone)]
pub enum Late {
    Record(u64, Sent),
    Commit(u64),
    /// A hanging agent wakes up, sends the rest and commits.
    Zombie(u64, Vec<Sent>),
}

/// Why a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Fenced,
    TooLarge,
}

/// The brokers.
#[derive(Debug, Default)]
pub struct Broker {
    pub logs: BTreeMap<(String, i32), Vec<Record>>,
    /// The epoch that holds; 0 before the first `init_transactions`.
    pub epoch: u64,
    /// The open transaction.
    pub open: Option<usize>,
    pub began: Duration,
    touched: BTreeSet<(String, i32)>,
    /// By number; 0 is not one of ours and committed.
    pub states: Vec<State>,
    pub late: Vec<Late>,
    /// Largest record value taken.
    pub largest: usize,
    pub away_until: Duration,
    /// Neighbours on the checkpoint partition: an open transaction of theirs.
    pub neighbour_until: Duration,
}

impl Broker {
    /// Empty logs.
    pub fn new(largest: usize) -> Self {
        Broker { states: vec![State::Committed], largest, ..Broker::default() }
    }

    /// Appends one record in the transaction of `epoch`, which its first record begins.
    pub fn append(&mut self, epoch: u64, sent: Sent, now: Duration) -> Result<i64, Refused> {
        if epoch != self.epoch {
            return Err(Refused::Fenced);
        }
        if sent.slot.is_some() && sent.value.as_ref().is_some_and(|v| v.len() > self.largest) {
            return Err(Refused::TooLarge);
        }
        let transaction = *self.open.get_or_insert_with(|| {
            self.states.push(State::Open);
            self.began = now;
            self.states.len() - 1
        });
        let place = (sent.topic, sent.partition);
        self.touched.insert(place.clone());
        let log = self.logs.entry(place).or_default();
        let Sent { slot, key, value, .. } = sent;
        log.push(Record { transaction, slot, key, value, marker: false, compacted: false });
        Ok(log.len() as i64 - 1)
    }

    /// A record that is not one of ours: committed at once.
    pub fn foreign(&mut self, topic: &str, partition: i32, key: &[u8], value: &[u8]) {
        let (key, value) = (key.to_vec(), Some(value.to_vec()));
        let record = Record { transaction: 0, slot: None, key, value, marker: false, compacted: false };
        self.logs.entry((topic.to_owned(), partition)).or_default().push(record);
    }

    /// Ends the open transaction, with a marker in every partition touched. Returns its number.
    pub fn end(&mut self, state: State) -> Option<usize> {
        let transaction = self.open.take()?;
        self.states[transaction] = state;
        for place in std::mem::take(&mut self.touched) {
            let marker =
                Record { transaction, slot: None, key: vec![], value: None, marker: true, compacted: false };
            self.logs.entry(place).or_default().push(marker);
        }
        Some(transaction)
    }

    /// A new producer: whoever came before is fenced, and what it left open is aborted.
    pub fn init(&mut self) -> u64 {
        self.end(State::Aborted);
        self.epoch += 1;
        self.epoch
    }

    /// What a `read_committed` consumer sees of a partition, with offsets.
    pub fn committed(&self, topic: &str, partition: i32) -> impl Iterator<Item = (i64, &Record)> {
        let log = self.logs.get(&(topic.to_owned(), partition)).into_iter().flatten();
        log.enumerate()
            .filter(|(_, r)| !r.marker && !r.compacted && self.states[r.transaction] == State::Committed)
            .map(|(offset, r)| (offset as i64, r))
    }

    /// True while the last stable offset is below the end of the partition.
    pub fn is_unstable(&self, topic: &str, partition: i32, now: Duration) -> bool {
        let place = (topic.to_owned(), partition);
        now < self.neighbour_until || (self.open.is_some() && self.touched.contains(&place))
    }

    /// Removes all but the last committed value of each key.
    pub fn compact(&mut self, topic: &str, partition: i32) {
        let mut seen = BTreeSet::new();
        let states = &self.states;
        for record in self.logs.entry((topic.to_owned(), partition)).or_default().iter_mut().rev() {
            if !record.marker && states[record.transaction] == State::Committed && !seen.insert(record.key.clone())
            {
                record.compacted = true;
            }
        }
    }
}

/// `transaction.timeout.ms`, and how seldom the coordinator looks for it.
const TIMEOUT: Duration = Duration::from_secs(20);
const LOOKS_EVERY: Duration = Duration::from_secs(10);

impl Sim {
    /// What the brokers do by themselves.
    pub fn tick(&mut self) {
        let (now, began) = (self.now, self.broker.began);
        if self.broker.open.is_some()
            && now > began + TIMEOUT
            && (now > began + TIMEOUT + LOOKS_EVERY || self.chance(50))
        {
            self.broker.end(State::Aborted);
            self.broker.epoch += 1;
            self.hit("transaction timed out");
        }
        if !self.broker.late.is_empty() && self.chance(150) {
            let which = self.rng.usize(0..self.broker.late.len());
            let late = self.broker.late.swap_remove(which);
            self.arrive(late);
        }
        if self.faults > 0 && self.now >= self.broker.away_until && self.fails_seldom() {
            let long = self.rng.u8(0..3) == 0;
            let time =
                Duration::from_millis(if long { self.rng.u64(30_000..900_000) } else { self.rng.u64(100..9000) });
            self.broker.away_until = self.now + time;
            self.hit("brokers away");
        }
    }

    fn fails_seldom(&mut self) -> bool {
        self.fails(1) && self.chance(100)
    }

    fn arrive(&mut self, late: Late) {
        match late {
            Late::Record(epoch, sent) => {
                let now = self.now;
                // A broker takes a record only into a transaction that is open: the partition was added to it.
                let taken = self.broker.open.is_some() && self.broker.append(epoch, sent, now).is_ok();
                self.hit(if taken { "late record lands" } else { "late record refused" });
            }
            Late::Zombie(epoch, rest) => {
                let now = self.now;
                let sent = rest.into_iter().all(|sent| self.broker.append(epoch, sent, now).is_ok());
                if sent {
                    self.commit_now();
                }
                let kind =
                    if sent { "zombie commits before its successor's init" } else { "zombie's commit is fenced" };
                self.hit(kind);
            }
            Late::Commit(epoch) => {
                if epoch == self.broker.epoch && self.broker.open.is_some() {
                    self.commit_now();
                    self.hit("commit lands late");
                }
            }
        }
    }

    /// The coordinator commits what is open; progress is looked at as it becomes visible.
    pub fn commit_now(&mut self) {
        let Some(transaction) = self.broker.end(State::Committed) else { return };
        self.say(|| format!("committed: transaction {transaction}"));
        super::check::progress_of(self, transaction);
    }
}

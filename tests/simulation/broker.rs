//! Brokers: logs with offsets, markers and the last stable offset, and the coordinator with an epoch for each transactional id.
//!
//! The coordinator fences by epoch, aborts what a predecessor left open, and aborts a transaction that lasts too long.
//! Requests of an abandoned producer may still arrive: they count only while their epoch holds. A neighbour has
//! transactions of its own on our checkpoint partition.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use spoolway::agent::sink::kafka::kept;

use super::client::CHECKPOINT_PARTITIONS;
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

/// A producer as the coordinator knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub id: String,
    pub epoch: u64,
}

/// A request of a producer that was dropped.
#[derive(Debug, Clone)]
pub enum Late {
    Record(Identity, Sent),
    Commit(Identity),
    /// A hanging agent wakes up, sends the rest and commits.
    Zombie(Identity, Vec<Sent>),
}

/// Why a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Fenced,
    TooLarge,
}

/// What the coordinator knows of one transactional id.
#[derive(Debug, Default)]
pub struct Coordinated {
    /// The epoch that holds; 0 before the first `init_transactions`.
    epoch: u64,
    /// The open transaction.
    open: Option<usize>,
    began: Duration,
    touched: BTreeSet<(String, i32)>,
}

/// The brokers.
#[derive(Debug, Default)]
pub struct Broker {
    pub logs: BTreeMap<(String, i32), Vec<Record>>,
    ids: BTreeMap<String, Coordinated>,
    /// Transactions by number; 0 is not one of ours and committed.
    pub states: Vec<State>,
    pub late: Vec<Late>,
    /// Largest record value taken.
    pub largest: usize,
    pub away_until: Duration,
}

impl Broker {
    /// Empty logs.
    pub fn new(largest: usize) -> Self {
        Broker { states: vec![State::Committed], largest, ..Broker::default() }
    }

    /// True while no successor has fenced this producer.
    pub fn holds(&self, who: &Identity) -> bool {
        self.ids.get(&who.id).is_some_and(|known| known.epoch == who.epoch)
    }

    /// True while this producer has a transaction open.
    pub fn is_open(&self, who: &Identity) -> bool {
        self.holds(who) && self.ids[&who.id].open.is_some()
    }

    /// Appends one record in the producer's transaction, which its first record begins.
    pub fn append(&mut self, who: &Identity, sent: Sent, now: Duration) -> Result<i64, Refused> {
        let Some(known) = self.ids.get_mut(&who.id).filter(|known| known.epoch == who.epoch) else {
            return Err(Refused::Fenced);
        };
        if sent.slot.is_some() && sent.value.as_ref().is_some_and(|v| v.len() > self.largest) {
            return Err(Refused::TooLarge);
        }
        let states = &mut self.states;
        let transaction = *known.open.get_or_insert_with(|| {
            states.push(State::Open);
            known.began = now;
            states.len() - 1
        });
        let place = (sent.topic, sent.partition);
        known.touched.insert(place.clone());
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

    /// Ends the open transaction of an id, with a marker in every partition touched. Returns its number.
    pub fn end(&mut self, id: &str, state: State) -> Option<usize> {
        let known = self.ids.get_mut(id)?;
        let transaction = known.open.take()?;
        self.states[transaction] = state;
        for place in std::mem::take(&mut known.touched) {
            let marker =
                Record { transaction, slot: None, key: vec![], value: None, marker: true, compacted: false };
            self.logs.entry(place).or_default().push(marker);
        }
        Some(transaction)
    }

    /// A new producer: whoever had this id before is fenced, and what it left open is aborted.
    pub fn init(&mut self, id: &str) -> Identity {
        self.end(id, State::Aborted);
        let known = self.ids.entry(id.to_owned()).or_default();
        known.epoch += 1;
        Identity { id: id.to_owned(), epoch: known.epoch }
    }

    /// What a `read_committed` consumer sees of a partition, with offsets.
    pub fn committed(&self, topic: &str, partition: i32) -> impl Iterator<Item = (i64, &Record)> {
        let log = self.logs.get(&(topic.to_owned(), partition)).into_iter().flatten();
        log.enumerate()
            .filter(|(_, r)| !r.marker && !r.compacted && self.states[r.transaction] == State::Committed)
            .map(|(offset, r)| (offset as i64, r))
    }

    /// The partition's end.
    pub fn high_watermark(&self, topic: &str, partition: i32) -> usize {
        self.logs.get(&(topic.to_owned(), partition)).map_or(0, Vec::len)
    }

    /// Where the first transaction that is still open begins, or the partition's end.
    pub fn last_stable_offset(&self, topic: &str, partition: i32) -> usize {
        let log = self.logs.get(&(topic.to_owned(), partition)).map_or(&[][..], Vec::as_slice);
        log.iter().position(|r| self.states[r.transaction] == State::Open).unwrap_or(log.len())
    }

    /// Removes all but the last committed value of each key, as far as the log is stable.
    pub fn compact(&mut self, topic: &str, partition: i32) {
        let mut seen = BTreeSet::new();
        let stable = self.last_stable_offset(topic, partition);
        let states = &self.states;
        for record in self.logs.entry((topic.to_owned(), partition)).or_default()[..stable].iter_mut().rev() {
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

/// Its agent shares our checkpoint partition.
pub const NEIGHBOUR: &str = "spoolway/local/shop/web/node-2";

impl Sim {
    /// What the brokers do by themselves.
    pub fn tick(&mut self) {
        self.time_out();
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
        if self.faults > 0 && self.chance(20) {
            self.neighbour();
        }
    }

    pub fn fails_seldom(&mut self) -> bool {
        self.fails(1) && self.chance(100)
    }

    fn time_out(&mut self) {
        let now = self.now;
        let open = self.broker.ids.iter().filter(|(_, known)| known.open.is_some());
        let overdue: Vec<(String, bool)> = open
            .filter(|(_, known)| now > known.began + TIMEOUT)
            .map(|(id, known)| (id.clone(), now > known.began + TIMEOUT + LOOKS_EVERY))
            .collect();
        for (id, by_now) in overdue {
            if by_now || self.chance(50) {
                self.broker.end(&id, State::Aborted);
                self.broker.ids.get_mut(&id).expect("it is known").epoch += 1;
                self.hit(if id == NEIGHBOUR {
                    "neighbour's transaction timed out"
                } else {
                    "transaction timed out"
                });
            }
        }
    }

    /// It begins a transaction on the partition that holds our progress, or ends it.
    fn neighbour(&mut self) {
        let now = self.now;
        if self.broker.ids.get(NEIGHBOUR).is_some_and(|known| known.open.is_some()) {
            let state = if self.rng.bool() { State::Committed } else { State::Aborted };
            self.broker.end(NEIGHBOUR, state);
            return;
        }
        let who = self.broker.init(NEIGHBOUR);
        let (topic, partition) = (CHECKPOINTS.to_owned(), kept::partition_of("node-1", CHECKPOINT_PARTITIONS));
        let key = format!("{NEIGHBOUR}/00000000000000ff").into_bytes();
        let sent = Sent { topic, partition, slot: None, key, value: Some(b"{}".to_vec()) };
        let begun = self.broker.append(&who, sent, now);
        debug_assert!(begun.is_ok(), "its epoch is new");
    }

    fn arrive(&mut self, late: Late) {
        let now = self.now;
        match late {
            Late::Record(who, sent) => {
                // A broker takes a record only into a transaction that is open: the partition was added to it.
                if self.broker.is_open(&who) {
                    let taken = self.broker.append(&who, sent, now).is_ok();
                    self.hit(if taken { "late record lands before a reopen" } else { "too large, broker" });
                } else if self.broker.holds(&who) {
                    self.hit("late record finds no transaction");
                } else {
                    self.hit("late record after a reopen is fenced");
                }
            }
            Late::Zombie(who, rest) => {
                let sent = rest.into_iter().all(|sent| self.broker.append(&who, sent, now).is_ok());
                if sent {
                    self.commit_now(&who);
                }
                let kind =
                    if sent { "zombie commits before its successor's init" } else { "zombie's commit is fenced" };
                self.hit(kind);
            }
            Late::Commit(who) => {
                if self.broker.is_open(&who) {
                    self.commit_now(&who);
                    self.hit("late commit lands before a reopen");
                } else {
                    self.hit("late commit after a reopen is fenced");
                }
            }
        }
    }

    /// The coordinator commits what the producer has open; progress is looked at as it becomes visible.
    pub fn commit_now(&mut self, who: &Identity) {
        let Some(transaction) = self.broker.end(&who.id, State::Committed) else { return };
        self.say(|| format!("committed: transaction {transaction}"));
        super::check::progress_of(self, transaction);
    }
}

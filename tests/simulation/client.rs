//! The client side of the simulated brokers: what [`KafkaSink`](spoolway::agent::sink::kafka::KafkaSink) is generic over.
//!
//! As librdkafka does: records are queued and delivered in order per partition, errors come with the next call, and a
//! producer that is dropped may still have requests on their way.

use std::time::Duration;

use spoolway::agent::channel::file::Reason;
use spoolway::agent::channel::progress::Run;
use spoolway::agent::channel::splitter::Line;
use spoolway::agent::channel::{Delivered, Records};
use spoolway::agent::sink::kafka::{Checkpoint, Cluster, Producer, Topics, kept};
use spoolway::agent::sink::{Failure, SinkError};
use spoolway::pipeline::pod::CheckpointTopic;
use spoolway::pipeline::report::FlowReason;

use super::broker::{CHECKPOINTS, Identity, Late, PARTITIONS, Refused, Sent, State};
use super::mutation::Bug;
use super::sim::{Shared, Sim, step};

/// Partitions of the checkpoint topic.
pub const CHECKPOINT_PARTITIONS: u32 = 5;
/// Records that the client's queue holds.
const QUEUE: usize = 20;

/// The brokers as one agent sees them.
pub struct Brokers {
    sim: Shared,
    transactional_id: String,
    /// Progress that was read too early, where that is the planted bug.
    early: Option<Vec<Checkpoint>>,
}

impl Brokers {
    pub fn new(sim: &Shared, transactional_id: String) -> Self {
        let id = if sim.borrow().has(Bug::IdOfItsOwn) {
            format!("{transactional_id}~{}", sim.borrow().agents)
        } else {
            transactional_id
        };
        Brokers { sim: sim.clone(), transactional_id: id, early: None }
    }
}

/// A producer.
pub struct Sender {
    sim: Shared,
    who: Identity,
    queue: Vec<Sent>,
    delivered: Vec<Delivered>,
    /// Everything of the transaction is queued, nothing is left to do but to send and to commit.
    committing: bool,
    /// The commit was answered and is not sent, where that is the planted bug.
    unsent: bool,
}

fn too_large(slot: u32) -> Failure {
    Failure::Aside { slot, reason: Reason::RecordTooLarge }
}

fn failed(failure: Failure, message: &str) -> SinkError {
    let reason = match failure {
        Failure::Fenced => FlowReason::Fenced,
        Failure::TimedOut => FlowReason::KafkaUnavailable,
        _ => FlowReason::TransactionFailed,
    };
    SinkError { failure, reason, message: message.into() }
}

impl Sim {
    fn refuse<T>(&mut self, kind: &'static str, failure: Failure) -> Result<T, SinkError> {
        self.hit(kind);
        Err(failed(failure, kind))
    }

    /// Brokers that are away answer late or, after `patience`, not at all.
    fn reach(&mut self, patience: Duration) -> Result<(), SinkError> {
        let wait = self.broker.away_until.saturating_sub(self.now);
        if wait > patience {
            self.pass(patience);
            return self.refuse("away longer than a transaction may last", Failure::TimedOut);
        }
        if !wait.is_zero() {
            self.pass(wait);
        } else if self.fails(2) {
            let time = Duration::from_millis(self.rng.u64(50..6000));
            self.hit("slow answer");
            self.pass(time);
        }
        Ok(())
    }
}

impl Cluster for Brokers {
    type Producer = Sender;

    fn prepare(&mut self) -> Result<Topics, SinkError> {
        step(&self.sim, "prepare");
        let sim = &mut *self.sim.borrow_mut();
        sim.reach(Duration::from_secs(10))?;
        if sim.fails(2) {
            return sim.refuse("coordinator moved", Failure::Retry);
        }
        let checkpoint =
            CheckpointTopic { topic: CHECKPOINTS.into(), topic_id: None, partitions: CHECKPOINT_PARTITIONS };
        Ok(Topics { partitions: PARTITIONS, checkpoint })
    }

    fn producer(&mut self) -> Result<Sender, SinkError> {
        if self.sim.borrow().has(Bug::ProgressBeforeInit) {
            self.early = Some(self.checkpoints(kept::partition_of("node-1", CHECKPOINT_PARTITIONS))?);
        }
        step(&self.sim, "init");
        let sim = &mut *self.sim.borrow_mut();
        sim.reach(Duration::from_secs(40))?;
        if sim.fails(3) {
            let time = Duration::from_millis(sim.rng.u64(100..8000));
            sim.pass(time);
            sim.hit("init slow");
        }
        if sim.fails(2) {
            // It may have taken effect all the same.
            if sim.chance(500) {
                sim.broker.init(&self.transactional_id);
            }
            return sim.refuse("init refused", Failure::RetrySlowly);
        }
        let reused = sim.reused();
        let who = reused.unwrap_or_else(|| sim.broker.init(&self.transactional_id));
        sim.say(|| format!("init: epoch {}", who.epoch));
        let (queue, delivered) = (vec![], vec![]);
        Ok(Sender { sim: self.sim.clone(), who, queue, delivered, committing: false, unsent: false })
    }

    fn checkpoints(&mut self, partition: i32) -> Result<Vec<Checkpoint>, SinkError> {
        if let Some(early) = self.early.take() {
            return Ok(early);
        }
        step(&self.sim, "read progress");
        let sim = &mut *self.sim.borrow_mut();
        sim.reach(Duration::from_secs(10))?;
        let end = sim.broker.high_watermark(CHECKPOINTS, partition);
        let deadline = sim.now + Duration::from_secs(45);
        if sim.broker.last_stable_offset(CHECKPOINTS, partition) < end {
            sim.hit("neighbour's open transaction before our progress");
        }
        let patient = !sim.has(Bug::ReadsToLastStableOffset) && !sim.has(Bug::ProgressBeforeInit);
        while patient && sim.broker.last_stable_offset(CHECKPOINTS, partition) < end {
            sim.pass(Duration::from_millis(900));
            if sim.now > deadline {
                return sim.refuse("progress incomplete", Failure::Retry);
            }
        }
        if sim.fails(3) {
            sim.broker.compact(CHECKPOINTS, partition);
            sim.hit("progress compacted");
        }
        let stable = sim.broker.last_stable_offset(CHECKPOINTS, partition) as i64;
        let records = sim.broker.committed(CHECKPOINTS, partition).take_while(|(offset, _)| *offset < stable);
        // A day is not simulated.
        let age = Duration::ZERO;
        Ok(records.map(|(_, r)| Checkpoint { key: r.key.clone(), value: r.value.clone(), age }).collect())
    }

    fn now(&self) -> Duration {
        self.sim.borrow().now
    }
}

impl Sender {
    /// Delivers the first `count` records of the queue.
    fn deliver(&mut self, count: usize) -> Result<(), SinkError> {
        if count == 0 {
            return Ok(());
        }
        step(&self.sim, "deliver");
        let sim = &mut *self.sim.borrow_mut();
        sim.reach(Duration::from_secs(20))?;
        for _ in 0..count {
            let fails = sim.fails(1);
            if fails && sim.has(Bug::FailedDeliveryIgnored) {
                self.queue.remove(0);
                continue;
            }
            if fails && !sim.has(Bug::RecordSentAgain) {
                return sim.refuse("delivery fails", Failure::TimedOut);
            }
            let sent = self.queue.remove(0);
            let (slot, partition, now) = (sent.slot, sent.partition, sim.now);
            if fails {
                let _ = sim.broker.append(&self.who, sent.clone(), now);
            }
            let offset = match sim.broker.append(&self.who, sent, now) {
                Ok(offset) => offset,
                Err(Refused::Fenced) => return sim.refuse("fenced", Failure::Fenced),
                Err(Refused::TooLarge) => {
                    let slot = slot.expect("only lines are too large");
                    return sim.refuse("too large, broker", too_large(slot));
                }
            };
            // The broker knew the batch already: librdkafka cannot tell its offset.
            let unknown = slot.is_some() && sim.fails(1);
            if unknown {
                sim.hit("offset unknown");
            }
            if let Some(slot) = slot {
                self.delivered.resize_with(self.delivered.len().max(slot as usize + 1), Vec::new);
                note(&mut self.delivered[slot as usize], partition, (!unknown).then_some(offset));
            }
        }
        Ok(())
    }

    fn push(&mut self, sent: Sent) -> Result<(), SinkError> {
        while self.queue.len() >= QUEUE {
            self.sim.borrow_mut().hit("queue full");
            let count = self.sim.borrow_mut().rng.usize(1..=QUEUE);
            self.deliver(count)?;
        }
        self.queue.push(sent);
        Ok(())
    }
}

/// As the real client does: consecutive offsets of one partition are one run.
fn note(runs: &mut Delivered, partition: i32, offset: Option<i64>) {
    match (runs.iter_mut().rev().find(|r| r.partition == partition), offset) {
        (Some(Run { first: Some(first), count, .. }), Some(at)) if *first + *count as i64 == at => *count += 1,
        (Some(Run { first: None, count, .. }), None) => *count += 1,
        _ => runs.push(Run { partition, first: offset, count: 1 }),
    }
}

impl Producer for Sender {
    fn begin(&mut self) -> Result<(), SinkError> {
        self.send_commit()?;
        step(&self.sim, "begin");
        self.delivered.clear();
        let sim = &mut *self.sim.borrow_mut();
        if sim.fails(1) {
            return sim.refuse("fatal error", Failure::Retry);
        }
        Ok(())
    }

    fn lines(&mut self, to: &Records, data: &mut Vec<u8>, lines: &[Line]) -> Result<(), SinkError> {
        step(&self.sim, "append");
        let body = &data[to.back..];
        for line in lines {
            if self.sim.borrow_mut().fails_seldom() {
                return self.sim.borrow_mut().refuse("too large, local", too_large(to.slot));
            }
            let value = Some(line.of(body).to_vec());
            let (topic, partition) = (to.topic.clone(), to.partition);
            self.push(Sent { topic, partition, slot: Some(to.slot), key: vec![], value })?;
        }
        let count = self.sim.borrow_mut().rng.usize(0..=self.queue.len());
        self.deliver(count)
    }

    fn record(
        &mut self,
        topic: &str,
        partition: Option<i32>,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<(), SinkError> {
        step(&self.sim, "own record");
        let (topic, key, value) = (topic.to_owned(), key.as_bytes().to_vec(), value.map(<[u8]>::to_vec));
        let mut partition = partition.unwrap_or(0);
        if topic == CHECKPOINTS && self.sim.borrow().has(Bug::AnotherPartition) {
            partition = (partition + 1) % CHECKPOINT_PARTITIONS as i32;
        }
        self.push(Sent { topic, partition, slot: None, key, value })
    }

    fn flush(&mut self) -> Result<Vec<Delivered>, SinkError> {
        step(&self.sim, "flush");
        self.deliver(self.queue.len())?;
        Ok(std::mem::take(&mut self.delivered))
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        self.unsent = true;
        if self.sim.borrow().has(Bug::RenameBeforeCommit) { Ok(()) } else { self.send_commit() }
    }

    fn idle(&mut self) -> Option<(FlowReason, String)> {
        self.send_commit().err().map(|e| (e.reason, e.message))
    }
}

impl Sender {
    /// Sends the commit, if there is one to send.
    fn send_commit(&mut self) -> Result<(), SinkError> {
        if !std::mem::take(&mut self.unsent) {
            return Ok(());
        }
        self.committing = true;
        step(&self.sim, "commit begins");
        self.committing = false;
        self.deliver(self.queue.len())?;
        step(&self.sim, "commit");
        {
            let sim = &mut *self.sim.borrow_mut();
            sim.reach(Duration::from_secs(20))?;
            if !sim.broker.holds(&self.who) {
                return sim.refuse("fenced", Failure::Fenced);
            }
            if sim.fails(1) {
                return sim.refuse("abortable error", Failure::Retry);
            }
            if sim.fails(3) {
                return sim.lose_commit(&self.who);
            }
            sim.commit_now(&self.who);
        }
        step(&self.sim, "commit answered");
        Ok(())
    }
}

impl Sim {
    /// The request, or its answer, is lost.
    fn lose_commit(&mut self, who: &Identity) -> Result<(), SinkError> {
        match self.rng.u8(0..3) {
            0 => self.hit("commit lost before it took effect"),
            1 => {
                self.commit_now(who);
                self.hit("commit lost after it took effect");
            }
            _ => self.broker.late.push(Late::Commit(who.clone())),
        }
        if self.has(Bug::LostCommitBelieved) {
            return Ok(());
        }
        Err(failed(Failure::TimedOut, "the commit was not answered"))
    }

    /// The producer that this agent dropped, where taking it again is the planted bug.
    fn reused(&mut self) -> Option<Identity> {
        let (agent, who) = self.dropped.take()?;
        (self.lives.last().is_some_and(|l| l.agent == agent) && self.broker.holds(&who)).then_some(who)
    }
}

impl Drop for Sender {
    /// Nothing is flushed, but what is on its way may arrive.
    fn drop(&mut self) {
        let sim = &mut *self.sim.borrow_mut();
        if self.committing && sim.rng.bool() {
            // Not dead but hanging: what it has not sent yet it sends when it wakes up.
            let rest = std::mem::take(&mut self.queue);
            return sim.broker.late.push(Late::Zombie(self.who.clone(), rest));
        }
        for sent in self.queue.drain(..).take(5) {
            sim.broker.late.push(Late::Record(self.who.clone(), sent));
        }
        if sim.has(Bug::ReusedProducer) && !std::thread::panicking() {
            // As `abort_transaction` would do, which the other guarantees of a producer make look safe.
            if sim.broker.holds(&self.who) {
                sim.broker.end(&self.who.id, State::Aborted);
            }
            sim.dropped = sim.lives.last().map(|l| (l.agent, self.who.clone()));
        }
    }
}

//! The client side of the simulated brokers: what [`KafkaSink`](spoolway::agent::sink::kafka::KafkaSink) is generic over.
//!
//! As librdkafka does: records are queued and delivered in order per partition, errors come with the next call, and a
//! producer that is dropped may still have requests on their way.

use std::time::Duration;

use spoolway::agent::channel::progress::Run;
use spoolway::agent::channel::splitter::Line;
use spoolway::agent::channel::{Delivered, Records};
use spoolway::agent::sink::kafka::{Checkpoint, Cluster, Producer, Topics};
use spoolway::agent::sink::{Failure, SinkError};
use spoolway::pipeline::pod::CheckpointTopic;
use spoolway::pipeline::report::FlowReason;

use super::broker::{CHECKPOINTS, Late, PARTITIONS, Refused, Sent};
use super::sim::{Shared, Sim, step};

/// Partitions of the checkpoint topic.
pub const CHECKPOINT_PARTITIONS: u32 = 5;
/// Records that the client's queue holds.
const QUEUE: usize = 20;

/// The brokers as one agent sees them.
pub struct Brokers(pub Shared);

/// A producer.
pub struct Sender {
    sim: Shared,
    epoch: u64,
    queue: Vec<Sent>,
    delivered: Vec<Delivered>,
    /// Everything of the transaction is queued, nothing is left to do but to send and to commit.
    committing: bool,
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
        }
        Ok(())
    }
}

impl Cluster for Brokers {
    type Producer = Sender;

    fn prepare(&mut self) -> Result<Topics, SinkError> {
        step(&self.0, "prepare");
        let sim = &mut *self.0.borrow_mut();
        sim.reach(Duration::from_secs(10))?;
        if sim.fails(2) {
            return sim.refuse("coordinator moved", Failure::Retry);
        }
        let checkpoint =
            CheckpointTopic { topic: CHECKPOINTS.into(), topic_id: None, partitions: CHECKPOINT_PARTITIONS };
        Ok(Topics { partitions: PARTITIONS, checkpoint })
    }

    fn producer(&mut self) -> Result<Sender, SinkError> {
        step(&self.0, "init");
        let sim = &mut *self.0.borrow_mut();
        sim.reach(Duration::from_secs(40))?;
        if sim.fails(3) {
            let time = Duration::from_millis(sim.rng.u64(100..8000));
            sim.pass(time);
            sim.hit("init slow");
        }
        if sim.fails(2) {
            // It may have taken effect all the same.
            if sim.chance(500) {
                sim.broker.init();
            }
            return sim.refuse("init refused", Failure::RetrySlowly);
        }
        let epoch = sim.broker.init();
        sim.say(|| format!("init: epoch {epoch}"));
        Ok(Sender { sim: self.0.clone(), epoch, queue: vec![], delivered: vec![], committing: false })
    }

    fn checkpoints(&mut self, partition: i32) -> Result<Vec<Checkpoint>, SinkError> {
        step(&self.0, "read progress");
        let sim = &mut *self.0.borrow_mut();
        sim.reach(Duration::from_secs(10))?;
        if sim.fails(2) {
            sim.broker.neighbour_until = sim.now + Duration::from_secs(sim.rng.u64(1..60));
        }
        let deadline = sim.now + Duration::from_secs(45);
        while sim.broker.is_unstable(CHECKPOINTS, partition, sim.now) {
            sim.pass(Duration::from_millis(900));
            if sim.now > deadline {
                return sim.refuse("progress incomplete", Failure::Retry);
            }
        }
        if sim.fails(3) {
            sim.broker.compact(CHECKPOINTS, partition);
            sim.hit("progress compacted");
        }
        let records = sim.broker.committed(CHECKPOINTS, partition);
        Ok(records.map(|(_, r)| (r.key.clone(), r.value.clone())).collect())
    }

    fn now(&self) -> Duration {
        self.0.borrow().now
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
            if sim.fails(1) {
                return sim.refuse("delivery fails", Failure::TimedOut);
            }
            let sent = self.queue.remove(0);
            let (slot, partition, now) = (sent.slot, sent.partition, sim.now);
            let offset = match sim.broker.append(self.epoch, sent, now) {
                Ok(offset) => offset,
                Err(Refused::Fenced) => return sim.refuse("fenced", Failure::Fenced),
                Err(Refused::TooLarge) => {
                    let slot = slot.expect("only lines are too large");
                    return sim.refuse("too large, broker", Failure::TooLarge { slot });
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
            if self.sim.borrow_mut().fails_large() {
                return self.sim.borrow_mut().refuse("too large, local", Failure::TooLarge { slot: to.slot });
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
        self.push(Sent { topic, partition: partition.unwrap_or(0), slot: None, key, value })
    }

    fn flush(&mut self) -> Result<Vec<Delivered>, SinkError> {
        step(&self.sim, "flush");
        self.deliver(self.queue.len())?;
        Ok(std::mem::take(&mut self.delivered))
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        self.committing = true;
        step(&self.sim, "commit begins");
        self.committing = false;
        self.deliver(self.queue.len())?;
        step(&self.sim, "commit");
        {
            let sim = &mut *self.sim.borrow_mut();
            sim.reach(Duration::from_secs(20))?;
            if self.epoch != sim.broker.epoch {
                return sim.refuse("fenced", Failure::Fenced);
            }
            if sim.fails(1) {
                return sim.refuse("abortable error", Failure::Retry);
            }
            if sim.fails(3) {
                return sim.lose_commit(self.epoch);
            }
            sim.commit_now();
        }
        step(&self.sim, "commit answered");
        Ok(())
    }

    fn idle(&mut self) -> Option<(FlowReason, String)> {
        None
    }
}

impl Sim {
    fn fails_large(&mut self) -> bool {
        self.fails(1) && self.chance(100)
    }

    /// The request, or its answer, is lost.
    fn lose_commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        match self.rng.u8(0..3) {
            0 => self.hit("commit lost before it took effect"),
            1 => {
                self.commit_now();
                self.hit("commit lost after it took effect");
            }
            _ => self.broker.late.push(Late::Commit(epoch)),
        }
        Err(failed(Failure::TimedOut, "the commit was not answered"))
    }
}

impl Drop for Sender {
    /// Nothing is flushed, but what is on its way may arrive.
    fn drop(&mut self) {
        let sim = &mut *self.sim.borrow_mut();
        if self.committing && sim.rng.bool() {
            // Not dead but hanging: what it has not sent yet it sends when it wakes up.
            let rest = std::mem::take(&mut self.queue);
            return sim.broker.late.push(Late::Zombie(self.epoch, rest));
        }
        for sent in self.queue.drain(..).take(5) {
            sim.broker.late.push(Late::Record(self.epoch, sent));
        }
    }
}

//! Exactly once into Kafka. This file is the argument; [`client`] speaks to librdkafka, [`failure`] judges what it says.
//!
//! 1. Lines, progress and segment of every file touched, and the receipt of a finished file are in **one** transaction.
//! 2. [`KafkaSink::open`] drops whatever producer there was, then calls `init_transactions` with the same `transactional.id`:
//!    the coordinator fences the predecessor and finishes or aborts what it left open.
//! 3. Only then is progress read, to the end: nothing of the predecessor can become visible behind our back.
//! 4. The channel goes on at the position of the progress whose identity matches; everything behind it was never committed.
//! 5. The channel completes a file only after [`KafkaSink::commit`] returned for its last byte.
//! 6. After any outcome that is not a clear success the producer is dropped (librdkafka 2.12 has neither KIP-588 nor KIP-890
//!    part 2: a late request of it could land in the next transaction) and 2–4 are done again. No batch is ever retried.
//! 7. A change of configuration is 2–4 with other settings and the same id, after a commit or after 6 (`agent` has the rest of it).
//!    Settings of a producer never change while it lives.
//!
//! The other guarantees walk the same way without 2 and without transactions. `AtLeastOnce`: an idempotent producer; progress is sent when
//! the brokers have acknowledged the lines it speaks of, so what is in doubt is sent again, and nothing is left out. `BestEffort`: the same
//! with the pipeline's `acks`, so an acknowledgement may mean little.

mod checkpoints;
pub mod client;
mod deliveries;
mod describe;
pub mod failure;
mod heard;
pub mod kept;
mod lend;
pub mod look;
mod partitions;
pub mod pin;
pub mod sender;
pub mod topics;
pub mod verify;

use std::time::Duration;

use super::{Failure, Opened, Sink, SinkError};
use crate::agent::channel::digest::FileId;
use crate::agent::channel::progress::{Closing, Progress};
use crate::agent::channel::splitter::Line;
use crate::agent::channel::{Delivered, Records, partitioner};
use crate::agent::faults::{self, Point};
use crate::pipeline::Guarantee;
use crate::pipeline::pod::CheckpointTopic;
use crate::pipeline::report::FlowReason;

/// Names of an agent's things in Kafka.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `spoolway/<cluster>/<namespace>/<pipeline>/<agent>`; `/` because no Kubernetes name can contain it.
    pub transactional_id: String,
    /// The last part of it, which decides the checkpoint partition.
    pub agent: String,
    /// Compacted topic of progress (`delivery.checkpointTopic`).
    pub checkpoint_topic: String,
    /// Topic of segments and receipts (`delivery.receiptTopic`).
    pub receipt_topic: String,
    /// What is promised (`delivery.guarantee`).
    pub guarantee: Guarantee,
    /// What the checkpoint topic must be like.
    pub pin: pin::Pin,
    /// Where Secrets are (`--secrets`).
    pub secrets: Option<std::path::PathBuf>,
}

impl Settings {
    /// `<cluster>/<namespace>/<pipeline>/<agent>`, as evidence has it.
    fn identity(&self) -> &str {
        self.transactional_id.strip_prefix("spoolway/").unwrap_or(&self.transactional_id)
    }
}

/// What [`Cluster::prepare`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Partitions of the data topic.
    pub partitions: u32,
    /// The checkpoint topic.
    pub checkpoint: CheckpointTopic,
}

/// A record of the checkpoint topic.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// `<transactional.id>/<file id>`.
    pub key: Vec<u8>,
    /// Progress, or none of it any more.
    pub value: Option<Vec<u8>>,
    /// How long ago it was written, by the clocks of its writer (or, as the topic has it, the broker) and of this machine.
    pub age: Duration,
}

/// A way to the brokers. The real one is [`client::Brokers`]; the simulation has another.
pub trait Cluster {
    /// Its transactional producer.
    type Producer: Producer;

    /// Makes sure that the topics are there.
    ///
    /// # Errors
    /// Names the topic or grant that is missing, with the command.
    fn prepare(&mut self) -> Result<Topics, SinkError>;

    /// A new producer, with `init_transactions` done.
    ///
    /// # Errors
    /// See [`failure`].
    fn producer(&mut self) -> Result<Self::Producer, SinkError>;

    /// What is committed in one partition of the checkpoint topic, in order, to its very end; what other agents keep there, and what a
    /// later record of the same key replaced, may be left out.
    ///
    /// # Errors
    /// The end was not reached in time: never a part of it.
    fn checkpoints(&mut self, partition: i32) -> Result<Vec<Checkpoint>, SinkError>;

    /// A monotonic clock.
    fn now(&self) -> Duration;
}

/// A transactional producer. After any error it is dropped.
pub trait Producer {
    /// Begins a transaction.
    ///
    /// # Errors
    /// See [`failure`].
    fn begin(&mut self) -> Result<(), SinkError>;

    /// Appends lines; waits where the queue is full. It may keep the buffer and leave another in its place.
    ///
    /// # Errors
    /// See [`failure`].
    fn lines(&mut self, to: &Records, data: &mut Vec<u8>, lines: &[Line]) -> Result<(), SinkError>;

    /// Appends one record of our own; `None` as value removes the key.
    ///
    /// # Errors
    /// See [`failure`].
    fn record(
        &mut self,
        topic: &str,
        partition: Option<i32>,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<(), SinkError>;

    /// Waits until everything is delivered; offsets by slot.
    ///
    /// # Errors
    /// See [`failure`].
    fn flush(&mut self) -> Result<Vec<Delivered>, SinkError>;

    /// Commits.
    ///
    /// # Errors
    /// See [`failure`].
    fn commit(&mut self) -> Result<(), SinkError>;

    /// Serves events; the last bad thing heard of the connections, if none of them works.
    fn idle(&mut self) -> Option<(FlowReason, String)>;
}

/// The sink `kafka`.
pub struct KafkaSink<C: Cluster> {
    settings: Settings,
    cluster: C,
    producer: Option<C::Producer>,
    checkpoint_partition: i32,
    /// When the open transaction was begun.
    began: Option<Duration>,
}

impl<C: Cluster> KafkaSink<C> {
    /// Nothing is connected before [`Sink::open`].
    pub fn new(settings: Settings, cluster: C) -> Self {
        KafkaSink { settings, cluster, producer: None, checkpoint_partition: 0, began: None }
    }

    /// Runs one call on the producer; whatever fails, the producer is gone afterwards.
    fn on_producer<T>(
        &mut self,
        call: impl FnOnce(&mut C::Producer) -> Result<T, SinkError>,
    ) -> Result<T, SinkError> {
        let Some(producer) = &mut self.producer else {
            let message = "the producer was dropped after a failure; it is opened again".into();
            return Err(SinkError { failure: Failure::Retry, reason: FlowReason::TransactionFailed, message });
        };
        call(producer).map_err(|error| {
            self.producer = None;
            self.judge_fencing(error)
        })
    }

    /// librdkafka says "fenced" for two things: a successor took over, or the coordinator's own timeout aborted the transaction
    /// and bumped the epoch. Our clock tells them apart.
    fn judge_fencing(&mut self, error: SinkError) -> SinkError {
        let began = self.began.take();
        let overdue = began.is_some_and(|began| self.cluster.now() >= began + crate::kafka::TRANSACTION_TIMEOUT);
        if error.failure == Failure::Fenced && overdue {
            let message = format!("the transaction was open for longer than Kafka allows; {}", error.message);
            return SinkError { failure: Failure::TimedOut, reason: FlowReason::TransactionFailed, message };
        }
        error
    }

    fn key(&self, file: FileId) -> String {
        format!("{}/{file}", self.settings.transactional_id)
    }

    /// What is kept of our files. Keys of other agents share the partition.
    fn decode(&self, checkpoints: Vec<Checkpoint>) -> Result<Vec<Progress>, SinkError> {
        let id = &self.settings.transactional_id;
        let kept = kept::kept(checkpoints, |owner| owner == id);
        kept.into_iter().map(|kept| kept.progress).collect::<Result<_, _>>().map_err(|e| SinkError {
            failure: Failure::RetrySlowly,
            reason: FlowReason::CheckpointTopicChanged,
            message: format!("topic {}: {}", self.settings.checkpoint_topic, kept::advice(&e, id)),
        })
    }
}

impl<C: Cluster> Sink for KafkaSink<C> {
    fn open(&mut self) -> Result<Opened, SinkError> {
        self.close();
        let topics = self.cluster.prepare()?;
        let producer = self.cluster.producer()?;
        faults::at(Point::AfterInit);
        self.checkpoint_partition = kept::partition_of(&self.settings.agent, topics.checkpoint.partitions);
        let checkpoints = self.cluster.checkpoints(self.checkpoint_partition)?;
        let committed = self.decode(checkpoints)?;
        faults::at(Point::AfterProgressRead);
        self.producer = Some(producer);
        Ok(Opened { committed, partitions: topics.partitions, checkpoint_topic: Some(topics.checkpoint) })
    }

    fn append(&mut self, records: &Records, data: &mut Vec<u8>, lines: &[Line]) -> Result<(), SinkError> {
        self.begin()?;
        self.on_producer(|p| p.lines(records, data, lines))?;
        faults::at(Point::AfterAppend);
        Ok(())
    }

    fn flush(&mut self) -> Result<Vec<Delivered>, SinkError> {
        faults::at(Point::BeforeFlush);
        let delivered = self.on_producer(C::Producer::flush)?;
        faults::at(Point::AfterFlush);
        Ok(delivered)
    }

    fn commit(&mut self, closing: &[Closing], tombstones: &[FileId]) -> Result<(), SinkError> {
        self.begin()?;
        for entry in closing {
            for evidence in entry.evidence(self.settings.identity()) {
                let (topic, key) = (self.settings.receipt_topic.clone(), evidence.file.to_string());
                faults::at(Point::BeforeEvidence);
                self.on_producer(|p| p.record(&topic, None, &key, Some(&encode(&evidence))))?;
                faults::at(Point::AfterEvidence);
            }
        }
        if self.settings.guarantee != Guarantee::ExactlyOnce {
            // Progress without evidence would be lines that nobody speaks of; the other way round they are sent again.
            self.on_producer(C::Producer::flush)?;
        }
        for entry in closing {
            faults::at(Point::BeforeProgress);
            self.checkpoint(entry.progress.id, Some(&encode(&entry.progress)))?;
            faults::at(Point::AfterProgress);
        }
        for id in tombstones {
            self.checkpoint(*id, None)?;
        }
        self.on_producer(C::Producer::commit)?;
        faults::at(Point::AfterCommit);
        self.began = None;
        Ok(())
    }

    fn idle(&mut self) -> Option<(FlowReason, String)> {
        self.producer.as_mut().and_then(C::Producer::idle)
    }

    fn close(&mut self) {
        self.producer = None;
        self.began = None;
    }
}

impl<C: Cluster> KafkaSink<C> {
    fn begin(&mut self) -> Result<(), SinkError> {
        if self.began.is_none() {
            self.on_producer(C::Producer::begin)?;
            self.began = Some(self.cluster.now());
            faults::at(Point::AfterBegin);
        }
        Ok(())
    }

    fn checkpoint(&mut self, id: FileId, value: Option<&[u8]>) -> Result<(), SinkError> {
        let (topic, key, partition) =
            (self.settings.checkpoint_topic.clone(), self.key(id), self.checkpoint_partition);
        self.on_producer(|p| p.record(&topic, Some(partition), &key, value))
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("a plain struct serialises")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_names_the_agent_whatever_the_cluster_is_called() {
        for identity in ["local/shop/web/a1", "spoolway/shop/web/a1"] {
            let settings = Settings {
                transactional_id: format!("spoolway/{identity}"),
                agent: "a1".into(),
                checkpoint_topic: "progress".into(),
                receipt_topic: "receipts".into(),
                guarantee: Guarantee::ExactlyOnce,
                pin: pin::Pin::None,
                secrets: None,
            };
            assert_eq!(settings.identity(), identity);
        }
    }
}

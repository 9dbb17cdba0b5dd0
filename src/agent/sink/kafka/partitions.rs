//! Partitions of a topic, read between offsets that were asked before. I/O.
//!
//! No further than to such an end: who writes all the time moves the end on faster than it is read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Brokers, SLICE};
use super::failure::{Doing, code_of, judge, judge_code};
use super::heard::Heard;
use crate::agent::sink::SinkError;

/// Longest time without a record before the end.
const SILENCE: Duration = Duration::from_secs(45);
/// Time for an answer to a question about offsets.
const ANSWER: Duration = Duration::from_secs(10);
/// For whole topics: bytes that are fetched ahead, in KiB, and no back-off of a second, librdkafka's own, whenever so much is there. An agent
/// has less memory, and less to read.
const FETCH_AHEAD: &[(&str, &str)] = &[("queued.max.messages.kbytes", "32768"), ("fetch.queue.backoff.ms", "5")];

/// A reader of one topic.
pub(super) struct Partitions<'a> {
    brokers: &'a Brokers,
    topic: &'a str,
    doing: Doing<'a>,
    consumer: BaseConsumer<Heard>,
}

/// What a reader comes to.
pub(super) enum Step<'m, 'c> {
    /// A record.
    Record(&'m BorrowedMessage<'c>),
    /// The end of a partition.
    End(i32),
}

/// How it goes on.
pub(super) enum Next {
    /// As it did.
    Same,
    /// With all partitions.
    All,
    /// With these first.
    Only(Vec<i32>),
    /// Not at all.
    Enough,
}

impl<'a> Partitions<'a> {
    /// `isolation` is `read_committed` or `read_uncommitted`.
    pub fn new(brokers: &'a Brokers, topic: &'a str, isolation: &str, doing: Doing<'a>) -> Result<Self, SinkError> {
        let mut config = brokers.consumer_config(isolation)?;
        if let Doing::Reading(_) = doing {
            for (name, value) in FETCH_AHEAD {
                config.set(*name, *value);
            }
        }
        Ok(Partitions { brokers, topic, doing, consumer: brokers.client(&config, Heard::default())? })
    }

    /// The first offset that is kept, and the end of everything written; under `read_committed` that of everything settled.
    pub fn ends(&self, partition: i32) -> Result<(i64, i64), SinkError> {
        let ask = |time| self.consumer.fetch_watermarks(self.topic, partition, time);
        self.brokers.patiently(ask, self.consumer.context(), ANSWER).map_err(|e| self.judged(&e))
    }

    /// Calls `each` with everything in these spans (first offset, and the one behind the last), in order within each partition. Once only:
    /// what a client had fetched for one reading, such as the end of a partition, must not be taken for something of the next.
    pub fn read(
        self,
        spans: BTreeMap<i32, (i64, i64)>,
        mut each: impl FnMut(Step) -> Result<Next, SinkError>,
    ) -> Result<(), SinkError> {
        let (empty, mut open): (BTreeMap<_, _>, BTreeMap<_, _>) =
            spans.into_iter().partition(|(_, (from, to))| from >= to);
        for partition in empty.into_keys() {
            each(Step::End(partition))?;
        }
        let mut from = TopicPartitionList::new();
        let added = open
            .iter()
            .try_for_each(|(p, (first, _))| from.add_partition_offset(self.topic, *p, Offset::Offset(*first)));
        added.and_then(|()| self.consumer.assign(&from)).map_err(|e| self.judged(&e))?;
        let mut first: Option<Vec<i32>> = None;
        let mut deadline = Instant::now() + SILENCE;
        while !open.is_empty() && Instant::now() < deadline && !self.brokers.is_stopping() {
            let mut ended = None;
            let mut next = None;
            match self.consumer.poll(SLICE) {
                None => continue,
                Some(Ok(message)) => {
                    deadline = Instant::now() + SILENCE;
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some((_, to)) = open.get(&partition) else { continue };
                    if offset < *to {
                        next = Some(each(Step::Record(&message))?);
                    }
                    if offset + 1 >= *to {
                        ended = Some(partition);
                    }
                }
                // The last thing in a partition may be no record: then its end is told so. Under read_committed that is the last stable
                // offset, which is behind our end by now.
                Some(Err(KafkaError::PartitionEOF(partition))) => ended = Some(partition),
                // No group is needed to read an assigned partition, but librdkafka asks for its coordinator.
                Some(Err(e)) if code_of(&e) == Some(Code::GroupAuthorizationFailed) => {}
                Some(Err(e)) if code_of(&e) == Some(Code::TopicAuthorizationFailed) => return Err(self.judged(&e)),
                Some(Err(e)) => tracing::debug!("reading topic {}: {e}", self.topic),
            }
            if let Some(partition) = ended.filter(|partition| open.remove(partition).is_some()) {
                next = Some(each(Step::End(partition))?);
            }
            first = match next {
                None | Some(Next::Same) => continue,
                Some(Next::Enough) => return Ok(()),
                Some(Next::All) => self.turn_to(first, None, &open)?,
                Some(Next::Only(some)) => self.turn_to(first, Some(some), &open)?,
            };
        }
        let unread = "the end was not reached";
        match open.is_empty() {
            true => Ok(()),
            false => Err(judge_code(Code::OperationTimedOut, unread, self.doing, &self.brokers.names, None)),
        }
    }

    /// Lets the others wait, or go on.
    fn turn_to(
        &self,
        was: Option<Vec<i32>>,
        first: Option<Vec<i32>>,
        open: &BTreeMap<i32, (i64, i64)>,
    ) -> Result<Option<Vec<i32>>, SinkError> {
        // Those that were to be first may be at their end by now.
        let first = first.filter(|first| first.iter().any(|partition| open.contains_key(partition)));
        if was == first {
            return Ok(first);
        }
        let reads = |first: &Option<Vec<i32>>, p: &i32| first.as_ref().is_none_or(|first| first.contains(p));
        let (mut pause, mut resume) = (TopicPartitionList::new(), TopicPartitionList::new());
        for partition in open.keys() {
            match (reads(&was, partition), reads(&first, partition)) {
                (true, false) => pause.add_partition(self.topic, *partition),
                (false, true) => resume.add_partition(self.topic, *partition),
                _ => continue,
            };
        }
        self.consumer.pause(&pause).map_err(|e| self.judged(&e))?;
        self.consumer.resume(&resume).map_err(|e| self.judged(&e))?;
        Ok(first)
    }

    fn judged(&self, error: &KafkaError) -> SinkError {
        judge(error, self.doing, &self.brokers.names, self.consumer.context().last().as_ref())
    }
}

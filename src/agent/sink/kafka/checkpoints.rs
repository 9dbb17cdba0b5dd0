//! Reads partitions of the checkpoint topic to their very ends, or fails. I/O.
//!
//! The order matters: first the end of everything written, then wait until all of it is settled, then read. Reading only to the last
//! stable offset would be wrong: a neighbour's open transaction can hold it below our own last committed record. And no further than to
//! that end: neighbours that commit all the time move it on faster than it is read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::Checkpoint;
use super::client::{Brokers, SLICE};
use super::failure::{Doing, code_of, judge, judge_code};
use super::heard::Heard;
use crate::agent::sink::{Failure, SinkError};
use crate::pipeline::report::FlowReason;

/// Longest wait for the last stable offset: a neighbour's longest transaction, the coordinator's 10 s, and some.
const STABLE: Duration = Duration::from_secs(45);
/// Time for an answer to a question about offsets.
const ANSWER: Duration = Duration::from_secs(10);

/// Everything committed in these partitions when it is asked, in order within each; see [`super::Cluster::checkpoints`].
pub fn read(brokers: &Brokers, partitions: &[i32]) -> Result<Vec<Checkpoint>, SinkError> {
    let all = consumer(brokers, "read_uncommitted")?;
    let ends: Vec<i64> = partitions.iter().map(|p| watermark(brokers, &all, *p)).collect::<Result<_, _>>()?;
    drop(all);
    let consumer = consumer(brokers, "read_committed")?;
    let deadline = Instant::now() + STABLE;
    for (partition, end) in partitions.iter().zip(&ends) {
        loop {
            let stable = watermark(brokers, &consumer, *partition)?;
            if stable >= *end {
                break;
            }
            if Instant::now() > deadline || brokers.is_stopping() {
                return Err(unstable(brokers, stable, *end));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    drain(brokers, &consumer, partitions.iter().copied().zip(ends).collect())
}

fn consumer(brokers: &Brokers, isolation: &str) -> Result<BaseConsumer<Heard>, SinkError> {
    brokers.client(&brokers.consumer_config(isolation)?, Heard::default())
}

/// The high watermark is the end of everything written; under `read_committed` the same question gives the last stable offset.
fn watermark(brokers: &Brokers, consumer: &BaseConsumer<Heard>, partition: i32) -> Result<i64, SinkError> {
    let topic = &brokers.checkpoint_topic;
    let answer =
        brokers.patiently(|time| consumer.fetch_watermarks(topic, partition, time), consumer.context(), ANSWER);
    answer.map(|(_, high)| high).map_err(|e| judge(&e, Doing::Progress(topic), &brokers.names, None))
}

fn unstable(brokers: &Brokers, stable: i64, end: i64) -> SinkError {
    let message = format!(
        "topic {}: another agent's transaction has been open for {} s (last stable offset {stable}, end {end}); \
         `kafka-transactions.sh find-hanging` names it",
        brokers.checkpoint_topic,
        STABLE.as_secs()
    );
    SinkError { failure: Failure::Retry, reason: FlowReason::TransactionFailed, message }
}

fn drain(
    brokers: &Brokers,
    consumer: &BaseConsumer<Heard>,
    mut open: BTreeMap<i32, i64>,
) -> Result<Vec<Checkpoint>, SinkError> {
    let topic = &brokers.checkpoint_topic;
    let doing = Doing::Progress(topic);
    let mut from = TopicPartitionList::new();
    let added = open.keys().try_for_each(|p| from.add_partition_offset(topic, *p, Offset::Beginning));
    added.and_then(|()| consumer.assign(&from)).map_err(|e| judge(&e, doing, &brokers.names, None))?;
    let mut records = vec![];
    let mut deadline = Instant::now() + STABLE;
    while Instant::now() < deadline && !brokers.is_stopping() {
        match consumer.poll(SLICE) {
            None => {}
            Some(Ok(message)) => {
                let (key, value) = (message.key().unwrap_or_default(), message.payload());
                records.push((key.to_vec(), value.map(<[u8]>::to_vec)));
                deadline = Instant::now() + STABLE;
                if open.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
                    open.remove(&message.partition());
                }
            }
            // The last thing in a partition may be no record: then its end is told so. Under read_committed that is the last stable offset,
            // which is behind our end by now.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            // No group is needed to read an assigned partition, but librdkafka asks for its coordinator.
            Some(Err(e)) if code_of(&e) == Some(Code::GroupAuthorizationFailed) => {}
            Some(Err(e)) if matches!(code_of(&e), Some(Code::TopicAuthorizationFailed)) => {
                return Err(judge(&e, doing, &brokers.names, None));
            }
            Some(Err(e)) => tracing::debug!("reading progress: {e}"),
        }
        if open.is_empty() {
            return Ok(records);
        }
    }
    Err(judge_code(Code::OperationTimedOut, "the end was not reached", doing, &brokers.names, None))
}

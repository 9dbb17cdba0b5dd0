//! Reads partitions of the checkpoint topic to their very ends, or fails. I/O.
//!
//! The order matters: first the end of everything written, then wait until all of it is settled, then read. Reading only to the last
//! stable offset would be wrong: a neighbour's open transaction can hold it below our own last committed record.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::message::Message;

use super::Checkpoint;
use super::client::Brokers;
use super::failure::Doing;
use super::partitions::{Next, Partitions, Step};
use crate::agent::sink::{Failure, SinkError};
use crate::pipeline::report::FlowReason;

/// Longest wait for the last stable offset: a neighbour's longest transaction, the coordinator's 10 s, and some.
pub(super) const STABLE: Duration = Duration::from_secs(45);

/// The last record of each key that is `wanted`, of all that is committed in these partitions when it is asked; see
/// [`super::Cluster::checkpoints`]. Of the others nothing is held: the part of the topic that is not compacted yet may be large.
pub fn read(
    brokers: &Brokers,
    partitions: &[i32],
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<Vec<Checkpoint>, SinkError> {
    let topic = &brokers.checkpoint_topic;
    let reader = |isolation| Partitions::new(brokers, topic, isolation, Doing::Progress(topic));
    let all = reader("read_uncommitted")?;
    let spans: Vec<(i32, (i64, i64))> =
        partitions.iter().map(|p| Ok((*p, all.ends(*p)?))).collect::<Result<_, SinkError>>()?;
    drop(all);
    let settled = reader("read_committed")?;
    let deadline = Instant::now() + STABLE;
    for (partition, (_, end)) in &spans {
        loop {
            let stable = settled.ends(*partition)?.1;
            if stable >= *end {
                break;
            }
            if Instant::now() > deadline || brokers.is_stopping() {
                return Err(unstable(brokers, stable, *end));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let mut last = BTreeMap::new();
    let now = jiff::Timestamp::now().as_millisecond();
    settled.read(spans.into_iter().collect(), |step| {
        if let Step::Record(message) = step
            && let Some(key) = message.key().filter(|key| wanted(key))
        {
            let age = now.saturating_sub(message.timestamp().to_millis().unwrap_or(now)).max(0).unsigned_abs();
            match message.payload() {
                Some(value) => last.insert(key.to_vec(), (value.to_vec(), Duration::from_millis(age))),
                None => last.remove(key),
            };
        }
        Ok(Next::Same)
    })?;
    Ok(last.into_iter().map(|(key, (value, age))| Checkpoint { key, value: Some(value), age }).collect())
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

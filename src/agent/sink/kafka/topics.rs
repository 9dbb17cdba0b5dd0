//! The topics an agent needs: are they there, may it make them, and the exact command where it may not. I/O.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::Topics;
use super::client::Brokers;
use super::describe::{Described, describe};
use super::failure::{Doing, Names, judge, judge_code};
use super::heard::Heard;
use crate::agent::sink::{Failure, SinkError};
use crate::pipeline::pod::CheckpointTopic;
use crate::pipeline::report::FlowReason;

/// Time for an answer to a question about metadata.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// Partitions of the data topic in the command that makes it.
const DATA_PARTITIONS: i32 = 6;

/// What a topic is to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Lines go there.
    Data,
    /// Progress is kept there.
    Checkpoints,
    /// Segments and receipts go there.
    Receipts,
}

/// A topic that agents make themselves, and its settings.
pub(super) struct Own<'a> {
    pub(super) name: &'a str,
    partitions: i32,
    config: Vec<(&'static str, String)>,
}

/// Settings of the two topics, by the number of brokers.
pub(super) fn own_topics<'a>(checkpoint: &'a str, receipt: &'a str, brokers: usize) -> [Own<'a>; 2] {
    let in_sync = if brokers >= 3 { "2" } else { "1" };
    let checkpoint = Own {
        name: checkpoint,
        partitions: 50,
        config: vec![
            ("cleanup.policy", "compact".into()),
            ("min.insync.replicas", in_sync.into()),
            ("segment.bytes", "67108864".into()),
            ("segment.ms", "3600000".into()),
            ("min.cleanable.dirty.ratio", "0.1".into()),
            ("delete.retention.ms", "3600000".into()),
        ],
    };
    let receipt = Own {
        name: receipt,
        partitions: 6,
        config: vec![
            ("cleanup.policy", "delete".into()),
            ("min.insync.replicas", in_sync.into()),
            ("retention.ms", "2592000000".into()), // 30 days: as long as people ask "did it arrive?"
        ],
    };
    [checkpoint, receipt]
}

/// Checks that the topics exist and may be used, makes the two of our own where it may.
pub fn prepare(brokers: &Brokers) -> Result<Topics, SinkError> {
    let heard = Heard::default();
    let client: BaseProducer<Heard> = brokers.client(&brokers.admin_config()?, heard.clone())?;
    let partitions = match partitions_of(brokers, &client, &heard, &brokers.topic)? {
        (Some(partitions), _) => partitions,
        (None, count) => return Err(missing_data(brokers, count)),
    };
    check_fixed(brokers, partitions)?;
    usable(brokers, &client, Role::Data, &brokers.topic)?;
    let (checkpoint_partitions, found) = own(brokers, &client, &heard, Role::Checkpoints)?;
    own(brokers, &client, &heard, Role::Receipts)?;
    let topic = brokers.checkpoint_topic.clone();
    // An id that was told once is held against what is told now, not against silence.
    if found.is_none() && brokers.pin.known()?.is_some_and(|known| known.topic_id.is_some()) {
        return Err(untold(&topic));
    }
    let topic_id = found.and_then(|found| found.id);
    let checkpoint = CheckpointTopic { topic, topic_id, partitions: checkpoint_partitions };
    brokers.pin.check(&checkpoint)?;
    Ok(Topics { partitions, checkpoint })
}

/// One of our own topics, made if it is missing: its partitions, and what the brokers say of it, if they do.
fn own(
    brokers: &Brokers,
    client: &BaseProducer<Heard>,
    heard: &Heard,
    role: Role,
) -> Result<(u32, Option<Described>), SinkError> {
    let index = usize::from(role == Role::Receipts);
    let topic = [&brokers.checkpoint_topic, &brokers.receipt_topic][index];
    let (found, count) = partitions_of(brokers, client, heard, topic)?;
    if let Some(partitions) = found {
        return Ok((partitions, usable(brokers, client, role, topic)?));
    }
    if role == Role::Checkpoints {
        brokers.pin.check_absent(topic)?;
    }
    let own = &own_topics(&brokers.checkpoint_topic, &brokers.receipt_topic, count)[index];
    if !create(brokers, own, count, false)? {
        return Err(not_known_yet(topic));
    }
    Ok((own.partitions as u32, describe(client, topic, ANSWER).filter(|found| found.error.is_none())))
}

/// What the brokers say of a topic that is there, if they do; an error where this user may not use it.
fn usable(
    brokers: &Brokers,
    client: &BaseProducer<Heard>,
    role: Role,
    topic: &str,
) -> Result<Option<Described>, SinkError> {
    let found = describe(client, topic, ANSWER);
    match found.as_ref().and_then(|found| unusable(role, topic, found, &brokers.names)) {
        Some(error) => Err(error),
        None => Ok(found.filter(|found| found.error.is_none())),
    }
}

/// What this user may not do with a topic, as the brokers tell without its being tried. Pure.
pub(super) fn unusable(role: Role, topic: &str, found: &Described, names: &Names) -> Option<SinkError> {
    match found.error {
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => return None,
        Some(code) => return Some(judge_code(code, &code.to_string(), Doing::Looking(topic), names, None)),
        None => {}
    }
    let may = found.may?;
    let lacks_read = role == Role::Checkpoints && !may.read;
    let what = match (lacks_read, !may.write) {
        (false, false) => return None,
        (true, false) => "read",
        (false, true) => "write",
        (true, true) => "read or write",
    };
    let message = format!("this user may not {what} topic {topic}; grant it: {}", names.grant_topic(topic));
    Some(SinkError { failure: Failure::RetrySlowly, reason: FlowReason::MissingGrant, message })
}

/// The partition that the pipeline names must be there.
pub(super) fn check_fixed(brokers: &Brokers, partitions: u32) -> Result<(), SinkError> {
    let Some(fixed) = brokers.fixed_partition.filter(|fixed| *fixed >= partitions as i32) else { return Ok(()) };
    let message = format!(
        "spec.sink.kafka.partition is {fixed}, but topic {} has {partitions} partitions, counted from 0; correct it, or add partitions",
        brokers.topic
    );
    Err(SinkError { failure: Failure::RetrySlowly, reason: FlowReason::TopicMissing, message })
}

/// Partitions of a topic, `None` where there is no such topic; and the number of brokers.
pub(super) fn partitions_of(
    brokers: &Brokers,
    client: &BaseProducer<Heard>,
    heard: &Heard,
    topic: &str,
) -> Result<(Option<u32>, usize), SinkError> {
    let doing = Doing::Looking(topic);
    let ask = |time| {
        let answer = client.client().fetch_metadata(Some(topic), time);
        client.poll(Duration::from_millis(1)); // brings what was heard of the connections
        answer
    };
    let metadata = brokers
        .patiently(ask, heard, ANSWER)
        .map_err(|e| judge(&e, doing, &brokers.names, heard.last().as_ref()))?;
    let count = metadata.brokers().len();
    let Some(found) = metadata.topics().first() else { return Ok((None, count)) };
    match found.error().map(Code::from) {
        None if found.partitions().is_empty() => Ok((None, count)),
        None => Ok((Some(found.partitions().len() as u32), count)),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok((None, count)),
        Some(code) => Err(judge_code(code, &code.to_string(), doing, &brokers.names, None)),
    }
}

/// Makes the topic, or only asks whether it would be made. False where it is there already: brokers hear of it one after the other.
pub(super) fn create(brokers: &Brokers, own: &Own, count: usize, only_ask: bool) -> Result<bool, SinkError> {
    let admin: AdminClient<Heard> = brokers.client(&brokers.admin_config()?, Heard::default())?;
    let replication = TopicReplication::Fixed(count.clamp(1, 3) as i32);
    let mut topic = NewTopic::new(own.name, own.partitions, replication);
    for (name, value) in &own.config {
        topic = topic.set(name, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(ANSWER)).request_timeout(Some(ANSWER));
    let options = options.validate_only(only_ask);
    let failed = |why: String| {
        let mut error = missing(brokers, own.name, own.partitions, count, &own.config);
        error.message = format!("{} (making it failed: {why})", error.message);
        error
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| failed(e.to_string()))?;
    match runtime.block_on(admin.create_topics([&topic], &options)) {
        Err(e) => Err(failed(e.to_string())),
        Ok(results) => match results.into_iter().next() {
            Some(Err((_, Code::TopicAlreadyExists))) => Ok(false),
            Some(Err((_, code))) => Err(failed(code.to_string())),
            _ if only_ask => Ok(true),
            _ => {
                tracing::info!("made topic {} with {} partitions", own.name, own.partitions);
                Ok(true)
            }
        },
    }
}

/// Asked again soon: how many partitions a topic has decides where progress is, so no guess will do.
pub(super) fn not_known_yet(topic: &str) -> SinkError {
    let message = format!(
        "topic {topic} was made a moment ago, and the broker that was asked does not know it yet; it is asked again"
    );
    SinkError { failure: Failure::Retry, reason: FlowReason::TopicMissing, message }
}

/// Which checkpoint topic it is could not be compared.
fn untold(topic: &str) -> SinkError {
    let message = format!(
        "topic {topic}: the brokers do not say whether it is the one that progress was kept in; they are asked again"
    );
    SinkError { failure: Failure::Retry, reason: FlowReason::KafkaUnavailable, message }
}

/// The data topic is missing.
pub(super) fn missing_data(brokers: &Brokers, count: usize) -> SinkError {
    missing(brokers, &brokers.topic, DATA_PARTITIONS, count, &[])
}

/// The checkpoint topic is missing; brokers are not asked how many they are.
pub(super) fn missing_checkpoints(brokers: &Brokers) -> SinkError {
    let [own, _] = own_topics(&brokers.checkpoint_topic, &brokers.receipt_topic, 3);
    missing(brokers, own.name, own.partitions, 3, &own.config)
}

fn missing(brokers: &Brokers, topic: &str, partitions: i32, count: usize, config: &[(&str, String)]) -> SinkError {
    let config: String = config.iter().map(|(name, value)| format!(" --config {name}={value}")).collect();
    let message = format!(
        "topic {topic} does not exist; create it: kafka-topics --bootstrap-server {} --create --topic {topic} \
         --partitions {partitions} --replication-factor {}{config}",
        brokers.names.bootstrap,
        count.clamp(1, 3)
    );
    SinkError { failure: Failure::Retry, reason: FlowReason::TopicMissing, message }
}

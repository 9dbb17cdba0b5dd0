//! What stands between an agent and Kafka, all of it at once, and nothing is changed. I/O; the judgement on a topic is pure.
//!
//! No topic is made, nothing is written, no agent is fenced: whether transactional ids may be used is tried with one that no agent
//! has, `<id>/plan`. Kafka forgets it after seven days without use.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::producer::BaseProducer;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::client::{Brokers, Longest};
use super::describe::{Described, describe};
use super::heard::Heard;
use super::kept::{Kept, advice, kept, owner_of, partition_of};
use super::topics::{
    ANSWER, Role, check_fixed, create, missing_checkpoints, missing_data, not_known_yet, own_topics, partitions_of,
    unusable,
};
use super::{Cluster, checkpoints};
use crate::agent::channel::progress::Progress;
use crate::agent::sink::SinkError;
use crate::pipeline::pod::CheckpointTopic;
use crate::pipeline::report::FlowReason;

/// Bytes that a batch of one record needs beside the record's value, key and headers.
const RECORD: u64 = 100;

/// Something that is in the way.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The word for it, as reports have it.
    pub reason: String,
    /// What is wrong and what to do; one line.
    pub message: String,
}

impl From<&SinkError> for Finding {
    fn from(error: &SinkError) -> Self {
        Finding { reason: format!("{:?}", error.reason), message: error.message.clone() }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// Whether brokers answered.
    pub reached: bool,
    /// What is in the way.
    pub findings: Vec<Finding>,
    /// What is worth to know, and keeps nothing from flowing.
    pub remarks: Vec<String>,
    /// Partitions of the data topic, where they are known.
    pub partitions: Option<u32>,
    /// What is committed of the agent's files, where it could be read.
    pub committed: Option<Vec<Progress>>,
}

/// Looks at all that an agent needs. `probe` is the same as `brokers`, with a transactional id that no agent has.
pub fn look(brokers: &Brokers, probe: &mut Brokers) -> Look {
    let mut look = Look::default();
    if let Err(error) = look_into(&mut look, brokers, probe) {
        look.findings.push(Finding::from(&error));
    }
    look
}

/// An error ends it: without brokers there is nothing more to ask.
fn look_into(look: &mut Look, brokers: &Brokers, probe: &mut Brokers) -> Result<(), SinkError> {
    let heard = Heard::default();
    let client: BaseProducer<Heard> = brokers.client(&brokers.admin_config()?, heard.clone())?;
    let topics = [
        (Role::Data, &brokers.topic),
        (Role::Checkpoints, &brokers.checkpoint_topic),
        (Role::Receipts, &brokers.receipt_topic),
    ];
    let mut count = 0;
    for (_, topic) in topics {
        match partitions_of(brokers, &client, &heard, topic) {
            Ok((_, brokers)) => count = brokers,
            Err(error) if error.reason == FlowReason::MissingGrant => {} // named below
            Err(error) => return Err(error),
        }
    }
    look.reached = true;
    let mut checkpoint = None;
    for (role, topic) in topics {
        let Some(found) = describe(&client, topic, ANSWER) else {
            look.remarks.push(format!("topic {topic}: the brokers do not answer what it is like"));
            continue;
        };
        look.findings.extend(unusable(role, topic, &found, &brokers.names).as_ref().map(Finding::from));
        if is_missing(&found) {
            absent(look, brokers, role, count);
            continue;
        }
        if found.error.is_some() {
            continue;
        }
        match role {
            Role::Data => {
                look.partitions = Some(found.partitions);
                look.findings.extend(check_fixed(brokers, found.partitions).err().as_ref().map(Finding::from));
            }
            Role::Checkpoints => checkpoint = Some(found),
            Role::Receipts => {}
        }
        if role != Role::Receipts {
            settings(look, brokers, role, topic);
        }
    }
    look.findings.extend(probe.producer().err().as_ref().map(Finding::from));
    if let Some(found) = checkpoint {
        look.committed = progress(look, brokers, &found);
    }
    Ok(())
}

fn is_missing(found: &Described) -> bool {
    match found.error {
        Some(code) => matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic),
        None => found.partitions == 0,
    }
}

/// A topic that is not there: the data topic is a person's, the others an agent makes if it may.
fn absent(look: &mut Look, brokers: &Brokers, role: Role, count: usize) {
    if role == Role::Data {
        return look.findings.push(Finding::from(&missing_data(brokers, count)));
    }
    if role == Role::Checkpoints {
        if let Err(error) = brokers.pin.check_absent(&brokers.checkpoint_topic) {
            return look.findings.push(Finding::from(&error));
        }
        look.committed = Some(vec![]); // nothing is kept, so nothing is committed
    }
    let own =
        &own_topics(&brokers.checkpoint_topic, &brokers.receipt_topic, count)[usize::from(role == Role::Receipts)];
    match create(brokers, own, count, true) {
        Ok(true) => {
            look.remarks.push(format!("topic {} does not exist; an agent makes it when it starts", own.name))
        }
        Ok(false) => look.findings.push(Finding::from(&not_known_yet(own.name))),
        Err(error) => look.findings.push(Finding::from(&error)),
    }
}

/// What the settings of a topic mean for what is written to it.
fn settings(look: &mut Look, brokers: &Brokers, role: Role, topic: &str) {
    let Some(config) = config_of(brokers, topic) else {
        let unknown = if role == Role::Data { "max.message.bytes" } else { "cleanup.policy" };
        return look.remarks.push(format!(
            "topic {topic}: its {unknown} is not told; to have it compared, grant --operation DescribeConfigs --topic {topic}"
        ));
    };
    let found = match role {
        Role::Data => data_settings(topic, &config, brokers.longest(), brokers.batch_bytes(), brokers.is_keyed()),
        _ => checkpoint_settings(topic, &config, &brokers.names.bootstrap),
    };
    for (in_the_way, finding) in found {
        match in_the_way {
            true => look.findings.push(finding),
            false => look.remarks.push(finding.message),
        }
    }
}

/// Pure; true: in the way.
fn data_settings(
    topic: &str,
    config: &BTreeMap<String, String>,
    longest: Longest,
    batch: u64,
    keyed: bool,
) -> Vec<(bool, Finding)> {
    let finding = |reason: &str, message| Finding { reason: reason.to_owned(), message };
    let mut found = vec![];
    let limit = config.get("max.message.bytes").and_then(|text| text.parse::<u64>().ok());
    let Longest { line, record } = longest;
    if let Some(limit) = limit.filter(|limit| *limit < line + RECORD) {
        found.push((
            true,
            finding(
                "RecordTooLarge",
                format!(
                    "topic {topic} takes at most {limit} bytes in a batch (max.message.bytes), but lines may have {line} \
                     (maxLineBytes): a file with a longer line is set aside; raise the one or lower the other"
                ),
            ),
        ));
    } else if let Some(limit) = limit.filter(|limit| *limit < record + RECORD) {
        found.push((
            false,
            finding(
                "RecordTooLarge",
                format!(
                    "topic {topic} takes at most {limit} bytes in a batch (max.message.bytes), but lines of up to {line} bytes \
                     (maxLineBytes) may have {record} when they are decoded (inputCharset): a file with a longer one is set aside"
                ),
            ),
        ));
    } else if let Some(limit) = limit.filter(|limit| *limit < batch) {
        found.push((
            false,
            finding(
                "RecordTooLarge",
                format!(
                    "topic {topic} takes at most {limit} bytes in a batch (max.message.bytes), but batches may have {batch} bytes \
                     before they are compressed: the agent halves them until they fit, each time with a transaction given up; \
                     batch.size in spec.sink.kafka.properties spares it that"
                ),
            ),
        ));
    }
    if config.get("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        found.push(if keyed {
            let what = "of records with the same key only the last one is kept";
            (false, finding("Compacted", format!("topic {topic} is compacted (cleanup.policy): {what}")))
        } else {
            let what = "brokers refuse records without a key; set spec.sink.kafka.key, or cleanup.policy=delete";
            (true, finding("Compacted", format!("topic {topic} is compacted (cleanup.policy): {what}")))
        });
    }
    found
}

/// Pure; true: in the way.
fn checkpoint_settings(topic: &str, config: &BTreeMap<String, String>, bootstrap: &str) -> Vec<(bool, Finding)> {
    match config.get("cleanup.policy").map(String::as_str) {
        None | Some("compact") => vec![],
        Some(policy) => {
            let message = format!(
                "topic {topic} has cleanup.policy={policy}: progress would be deleted with time, and files shipped again; correct \
                 it: kafka-configs --bootstrap-server {bootstrap} --alter --entity-type topics --entity-name {topic} \
                 --add-config cleanup.policy=compact"
            );
            vec![(true, Finding { reason: "CheckpointTopicNotCompacted".to_owned(), message })]
        }
    }
}

/// The settings of a topic, where this user may see them.
fn config_of(brokers: &Brokers, topic: &str) -> Option<BTreeMap<String, String>> {
    let admin: AdminClient<Heard> = brokers.client(&brokers.admin_config().ok()?, Heard::default()).ok()?;
    let options = AdminOptions::new().operation_timeout(Some(ANSWER)).request_timeout(Some(ANSWER));
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    let asked = [ResourceSpecifier::Topic(topic)];
    let found = runtime.block_on(admin.describe_configs(&asked, &options)).ok()?;
    let config = found.into_iter().next()?.ok()?;
    Some(config.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
}

/// What is committed of the agent's files; what keeps it from being used is found.
fn progress(look: &mut Look, brokers: &Brokers, found: &Described) -> Option<Vec<Progress>> {
    let topic = &brokers.checkpoint_topic;
    let here = CheckpointTopic { topic: topic.clone(), topic_id: found.id.clone(), partitions: found.partitions };
    if let Err(error) = brokers.pin.compare(&here) {
        look.findings.push(Finding::from(&error));
    }
    if found.may.is_some_and(|may| !may.read) {
        return None; // the grant is named already
    }
    let partition = partition_of(brokers.agent_id(), found.partitions);
    let read = match read_kept(brokers, &[partition], |owner| owner == brokers.transactional_id()) {
        Ok(read) => read,
        Err(error) => {
            look.findings.push(Finding::from(&error));
            return None;
        }
    };
    let mut committed = vec![];
    for Kept { progress, .. } in read {
        match progress {
            Ok(progress) => committed.push(progress),
            Err(error) => look.findings.push(Finding {
                reason: format!("{:?}", FlowReason::CheckpointTopicChanged),
                message: format!("topic {topic}: {}", advice(&error, brokers.transactional_id())),
            }),
        }
    }
    Some(committed)
}

/// What the checkpoint topic is like now; `None` where there is none.
///
/// # Errors
/// The brokers do not answer, or this user may not ask.
pub fn checkpoint_topic(brokers: &Brokers) -> Result<Option<CheckpointTopic>, SinkError> {
    let heard = Heard::default();
    let client: BaseProducer<Heard> = brokers.client(&brokers.admin_config()?, heard.clone())?;
    let topic = &brokers.checkpoint_topic;
    let Some(partitions) = partitions_of(brokers, &client, &heard, topic)?.0 else { return Ok(None) };
    let topic_id = super::describe::topic_id(&client, topic, ANSWER);
    Ok(Some(CheckpointTopic { topic: topic.clone(), topic_id, partitions }))
}

/// That there is no checkpoint topic, with the command that makes it on three brokers.
pub fn without_checkpoints(brokers: &Brokers) -> Finding {
    Finding::from(&missing_checkpoints(brokers))
}

/// What these partitions of the checkpoint topic hold for the owners that are `wanted`.
///
/// # Errors
/// The end of a partition was not reached in time: never a part of it.
pub fn read_kept(
    brokers: &Brokers,
    partitions: &[i32],
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Kept>, SinkError> {
    Ok(kept(checkpoints::read(brokers, partitions, |key| owner_of(key).is_some_and(&wanted))?, |_| true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::sink::kafka::describe::May;
    use crate::agent::sink::kafka::failure::Names;

    fn names() -> Names {
        Names {
            bootstrap: "dn1:9092".into(),
            principal: "User:web".into(),
            id_prefix: "spoolway/local/shop/".into(),
            checkpoint_topic: "progress".into(),
        }
    }

    fn found(error: Option<Code>, read: bool, write: bool) -> Described {
        Described { error, id: None, partitions: 4, may: Some(May { read, write }) }
    }

    #[test]
    fn each_grant_that_is_missing_has_a_line_with_its_command() {
        let said = |role, topic, found| unusable(role, topic, &found, &names()).map(|error| error.message);
        let refused = Some(Code::TopicAuthorizationFailed);
        let told: Vec<String> = [
            said(Role::Data, "web", found(None, false, false)),
            said(Role::Data, "web", found(refused, false, false)),
            said(Role::Checkpoints, "progress", found(None, false, true)),
            said(Role::Checkpoints, "progress", found(None, true, false)),
            said(Role::Checkpoints, "progress", found(None, false, false)),
            said(Role::Receipts, "receipts", found(None, false, false)),
        ]
        .into_iter()
        .map(|said| said.expect("something is missing"))
        .collect();
        insta::assert_snapshot!(told.join("\n"));
        assert_eq!(said(Role::Data, "web", found(None, false, true)), None, "nobody reads the data topic");
        assert_eq!(said(Role::Checkpoints, "progress", found(None, true, true)), None);
        assert_eq!(said(Role::Data, "web", Described { may: None, ..found(None, false, false) }), None);
    }

    #[test]
    fn settings_that_do_not_fit_are_named_with_both_numbers() {
        let config =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let size = |limit| config(&[("max.message.bytes", limit), ("cleanup.policy", "delete")]);
        let lines = |line, record| Longest { line, record };
        let plain = lines(1_000_000, 1_000_000);
        let data = |config: &BTreeMap<_, _>, keyed| data_settings("web", config, plain, 1_000_000, keyed);
        assert_eq!(data(&size("1048588"), false), []);
        let compacted: BTreeMap<String, String> = config(&[("cleanup.policy", "compact,delete")]);
        let mut found = data(&size("900000"), false);
        found.extend(data_settings("web", &size("900000"), lines(1000, 1000), 1_000_000, false));
        found.extend(data_settings("web", &size("1048588"), lines(1_000_000, 3_000_000), 1_000_000, false));
        found.extend(data(&compacted, false));
        found.extend(data(&compacted, true));
        found.extend(checkpoint_settings("progress", &size("1"), "dn1:9092"));
        assert_eq!(checkpoint_settings("progress", &config(&[("cleanup.policy", "compact")]), "dn1:9092"), []);
        let told: Vec<String> =
            found.iter().map(|(stops, f)| format!("{stops} {}: {}", f.reason, f.message)).collect();
        insta::assert_snapshot!(told.join("\n"));
    }
}

//! One function that judges what librdkafka says. Pure.
//!
//! The rule behind the table: nothing is retried with the same producer, so all that matters is how soon to open again,
//! whether transactions must shrink, whether a successor exists, and what to tell a person.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::super::{Failure, SinkError};
use crate::pipeline::report::FlowReason;

/// Where a call failed, for the message and for what a grant concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing<'a> {
    /// Asking for metadata of a topic.
    Looking(&'a str),
    /// `init_transactions`.
    Init,
    /// `begin_transaction`.
    Begin,
    /// Sending records, or their delivery.
    Sending(&'a str),
    /// `commit_transaction`.
    Commit,
    /// Reading progress.
    Progress(&'a str),
    /// Reading what agents have written, for `spoolway verify`.
    Reading(&'a str),
}

impl Doing<'_> {
    fn words(self) -> String {
        match self {
            Doing::Looking(topic) => format!("looking for topic {topic}"),
            Doing::Init => "opening a transactional producer".into(),
            Doing::Begin => "beginning a transaction".into(),
            Doing::Sending(topic) => format!("sending to topic {topic}"),
            Doing::Commit => "committing".into(),
            Doing::Progress(topic) => format!("reading progress from topic {topic}"),
            Doing::Reading(topic) => format!("reading topic {topic}"),
        }
    }
}

/// What the messages need to know to give a command.
#[derive(Debug, Clone)]
pub struct Names {
    /// `bootstrap.servers`.
    pub bootstrap: String,
    /// Principal as far as known, for `kafka-acls`; `User:<name>`.
    pub principal: String,
    /// The transactional id's prefix to grant, with its last slash.
    pub id_prefix: String,
    /// `spoolway-<namespace>-checkpoints`: agents also read it.
    pub checkpoint_topic: String,
}

impl Names {
    /// The command that gives the right to use `topic`.
    pub fn grant_topic(&self, topic: &str) -> String {
        let read: &[&str] = if topic == self.checkpoint_topic { &["Read"] } else { &[] };
        self.grant(&[read, &["Write", "Describe"]].concat(), &format!("--topic {topic}"))
    }

    /// The command that gives the right to read `topic`, and no more.
    pub fn grant_read(&self, topic: &str) -> String {
        self.grant(&["Read", "Describe"], &format!("--topic {topic}"))
    }

    /// The command that gives the right to use transactional ids of this namespace.
    pub fn grant_ids(&self) -> String {
        let ids = format!("--transactional-id {} --resource-pattern-type prefixed", self.id_prefix);
        self.grant(&["Write", "Describe"], &ids)
    }

    fn grant(&self, operations: &[&str], resource: &str) -> String {
        let operations: String = operations.iter().map(|operation| format!("--operation {operation} ")).collect();
        format!(
            "kafka-acls --bootstrap-server {} --add --allow-principal {} {operations}{resource}",
            self.bootstrap,
            word(&self.principal)
        )
    }

    /// The right to use ids that such an error asks for, with its command. That on the cluster is asked for by brokers before 2.8 only.
    fn missing_grant(&self, code: Code) -> String {
        if code == Code::ClusterAuthorizationFailed {
            let command = self.grant(&["IdempotentWrite"], "--cluster");
            return format!("this user may not write idempotently; grant it: {command}");
        }
        let prefix = &self.id_prefix;
        format!("this user may not use transactional ids under {prefix}; grant them: {}", self.grant_ids())
    }

    /// The right on a topic that was missing while doing this, with its command.
    fn missing_on_topic(&self, doing: Doing, said: &str) -> String {
        match doing {
            Doing::Reading(topic) => {
                format!("this user may not read topic {topic}; grant it: {}", self.grant_read(topic))
            }
            Doing::Looking(topic) | Doing::Sending(topic) | Doing::Progress(topic) => {
                format!("this user may not use topic {topic}; grant it: {}", self.grant_topic(topic))
            }
            Doing::Init | Doing::Begin | Doing::Commit => {
                format!("{}: a topic's grant is missing: {said}", doing.words())
            }
        }
    }
}

/// The code behind any of rdkafka's error shapes.
pub fn code_of(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::Transaction(e) => Some(e.code()),
        other => other.rdkafka_error_code(),
    }
}

/// Judges an error. `heard` is the last thing the client said of its connections, which is more telling than a time-out.
pub fn judge(error: &KafkaError, doing: Doing, names: &Names, heard: Option<&(FlowReason, String)>) -> SinkError {
    let said = match error {
        KafkaError::Transaction(e) => e.string(),
        other => other.to_string(),
    };
    let Some(code) = code_of(error) else {
        return retry(FlowReason::TransactionFailed, format!("{}: {said}", doing.words()));
    };
    judge_code(code, &said, doing, names, heard)
}

/// The same for a bare code, as delivery reports carry it.
pub fn judge_code(
    code: Code,
    said: &str,
    doing: Doing,
    names: &Names,
    heard: Option<&(FlowReason, String)>,
) -> SinkError {
    let slowly = |reason, message| SinkError { failure: Failure::RetrySlowly, reason, message };
    match code {
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => SinkError {
            failure: Failure::Fenced,
            reason: FlowReason::Fenced,
            message: format!(
                "{}: another agent with the same id took over; this one lets go and tries again later",
                doing.words()
            ),
        },
        Code::TopicAuthorizationFailed => slowly(FlowReason::MissingGrant, names.missing_on_topic(doing, said)),
        Code::ClusterAuthorizationFailed | Code::TransactionalIdAuthorizationFailed => {
            slowly(FlowReason::MissingGrant, names.missing_grant(code))
        }
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            retry(FlowReason::TopicMissing, format!("{}: the topic or partition does not exist", doing.words()))
        }
        Code::InvalidTransactionTimeout => slowly(
            FlowReason::UnsupportedBroker,
            format!(
                "the brokers allow no transaction of {} s; raise their transaction.max.timeout.ms",
                crate::kafka::TRANSACTION_TIMEOUT.as_secs()
            ),
        ),
        // KIP-937: of a batch from the future, brokers call one record's timestamp invalid, or all its records.
        Code::InvalidTimestamp | Code::InvalidRecord => slowly(
            FlowReason::TransactionFailed,
            format!(
                "{}: the brokers refuse the records ({said}): this machine's clock may be ahead of theirs by more than \
                 message.timestamp.after.max.ms (an hour by default), then set it right; or the topic is compacted, and wants keys",
                doing.words()
            ),
        ),
        Code::UnsupportedFeature | Code::UnsupportedVersion => slowly(
            FlowReason::UnsupportedBroker,
            format!("the brokers know no transactions: {said}; use Kafka 2.5 or newer"),
        ),
        Code::SaslAuthenticationFailed | Code::Authentication | Code::SSL => slowly(
            FlowReason::AuthenticationFailed,
            format!("{} refused: {said}; check spec.sink.kafka.tls and sasl", names.bootstrap),
        ),
        Code::MessageTimedOut
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::PurgeQueue
        | Code::PurgeInflight => {
            let (reason, mut message) = unavailable(doing, said, names, heard);
            if code == Code::MessageTimedOut && heard.is_none() {
                message += "; or too few replicas are in sync (min.insync.replicas), or the link is slow";
            }
            SinkError { failure: Failure::TimedOut, reason, message }
        }
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::BrokerNotAvailable => {
            let (reason, message) = unavailable(doing, said, names, heard);
            retry(reason, message)
        }
        _ => retry(FlowReason::TransactionFailed, format!("{}: {said}", doing.words())),
    }
}

fn retry(reason: FlowReason, message: String) -> SinkError {
    SinkError { failure: Failure::Retry, reason, message }
}

fn unavailable(
    doing: Doing,
    said: &str,
    names: &Names,
    heard: Option<&(FlowReason, String)>,
) -> (FlowReason, String) {
    match heard {
        Some((FlowReason::AuthenticationFailed, heard)) => {
            let advice = "check spec.sink.kafka.tls and sasl, and the Secrets they name";
            (FlowReason::AuthenticationFailed, format!("{}: {heard}; {advice}", names.bootstrap))
        }
        Some((reason, heard)) => (*reason, format!("no broker of {} answers ({heard})", names.bootstrap)),
        None => (
            FlowReason::KafkaUnavailable,
            format!("no broker of {} answers while {} ({said})", names.bootstrap, doing.words()),
        ),
    }
}

/// As a shell takes it for one word.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":._@=,+/-".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(code: Code, doing: Doing) -> (Failure, FlowReason, String) {
        let names = Names {
            bootstrap: "dn1:9092".into(),
            principal: "User:web".into(),
            id_prefix: "spoolway/local/shop/".into(),
            checkpoint_topic: "spoolway-shop-checkpoints".into(),
        };
        let e = judge_code(code, "said", doing, &names, None);
        (e.failure, e.reason, e.message)
    }

    #[test]
    fn every_class_of_error_has_its_words() {
        use Doing::*;
        let topic = "spoolway-shop-checkpoints";
        let table: Vec<String> = [
            (Code::Fenced, Commit),
            (Code::InvalidProducerEpoch, Sending("test")),
            (Code::TopicAuthorizationFailed, Sending("test")),
            (Code::TopicAuthorizationFailed, Progress(topic)),
            (Code::TopicAuthorizationFailed, Reading("test")),
            (Code::TopicAuthorizationFailed, Commit),
            (Code::TransactionalIdAuthorizationFailed, Init),
            (Code::ClusterAuthorizationFailed, Init),
            (Code::UnknownTopicOrPartition, Sending("test")),
            (Code::InvalidTransactionTimeout, Init),
            (Code::UnsupportedFeature, Init),
            (Code::SaslAuthenticationFailed, Looking("test")),
            (Code::MessageTimedOut, Sending("test")),
            (Code::OperationTimedOut, Init),
            (Code::BrokerTransportFailure, Looking("test")),
            (Code::OutOfOrderSequenceNumber, Sending("test")),
            (Code::InvalidProducerIdMapping, Commit),
            (Code::InvalidTransactionalState, Commit),
            (Code::ConcurrentTransactions, Commit),
        ]
        .into_iter()
        .map(|(code, doing)| {
            let (failure, reason, message) = judged(code, doing);
            format!("{code:?} while {doing:?}\n  -> {failure:?}, {reason:?}: {message}")
        })
        .collect();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn a_principal_is_one_word_of_a_command() {
        assert_eq!(word("User:web_1@REALM"), "User:web_1@REALM");
        assert_eq!(word("User:<principal>"), "'User:<principal>'");
        assert_eq!(word("User:o'neil $HOME"), r"'User:o'\''neil $HOME'");
    }
}

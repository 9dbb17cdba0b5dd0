//! What an agent tells about itself: `/report` on a bare machine, pushed to the operator from a pod. Pure data.
//!
//! Versioned: fields are added, never given another meaning. Integers; times are RFC 3339 in UTC.

use serde::{Deserialize, Serialize};

use super::pod::CheckpointTopic;

/// The form of [`Report`] that this release writes.
pub const REPORT_VERSION: u32 = 1;

/// Why data flows or does not, worst first within what one agent can see. The words of status, logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FlowReason {
    /// No broker answers.
    KafkaUnavailable,
    /// The brokers refuse the credentials, or TLS fails.
    AuthenticationFailed,
    /// A Secret that the pipeline names is missing or unusable.
    SecretMissing,
    /// An ACL is missing.
    MissingGrant,
    /// A topic, or a partition that the pipeline names, does not exist.
    TopicMissing,
    /// The checkpoint topic is not the one that progress was kept in.
    CheckpointTopicChanged,
    /// A broker setting forbids what the pipeline needs.
    UnsupportedBroker,
    /// The spool directory does not exist or cannot be read.
    SpoolDirectoryMissing,
    /// Files cannot be renamed when they are shipped.
    CannotComplete,
    /// Files of the sink cannot be written, or are not what was committed.
    OutputUnavailable,
    /// Another agent holds the directory's lock.
    AnotherAgentRunning,
    /// A successor with the same id took over.
    Fenced,
    /// The last transaction failed; what it held is being read again.
    TransactionFailed,
    /// Some files need a person; the rest flows.
    FilesSetAside,
    /// Its LogPipeline is gone: it committed what was open and reads no more.
    PipelineDeleted,
    /// `spec.suspend`: it committed what was open and reads no more.
    Suspended,
    /// It has not opened its sink yet.
    Starting,
    /// Nothing to ship.
    Idle,
    /// Lines arrive in Kafka.
    Flowing,
    /// One that this release does not know: the agent is a newer one.
    #[serde(other)]
    Other,
}

impl FlowReason {
    /// True where data can flow: a file set aside does not keep the others from it.
    pub fn can_flow(self) -> bool {
        matches!(self, FlowReason::FilesSetAside | FlowReason::Suspended | FlowReason::Idle | FlowReason::Flowing)
    }
}

/// One agent's report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// Version of the agent.
    pub agent_version: String,
    /// `<cluster>/<namespace>/<pipeline>/<agent>`.
    pub agent: String,
    /// Differs from start to start: `totals` begin at 0 with each.
    #[serde(default)]
    pub boot: String,
    /// Hash of the resolved pipeline that it runs.
    pub config_hash: String,
    /// True while `spec.suspend` holds and nothing is left open.
    #[serde(default)]
    pub suspended: bool,
    /// Why it does not run the configuration that it was given last; empty where it does.
    #[serde(default)]
    pub config_problem: String,
    /// What the checkpoint topic is like, once it was seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub checkpoint_topic: Option<CheckpointTopic>,
    /// The guarantee in force.
    pub guarantee: String,
    /// True where data can flow.
    pub flowing: bool,
    /// Why, or why not.
    pub reason: FlowReason,
    /// What is wrong and what to do; empty where nothing is.
    pub message: String,
    /// Since when `reason` holds.
    pub since: String,
    /// When the agent started.
    pub started: String,
    /// Time of the last commit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_commit: Option<String>,
    /// Over the last 60 seconds.
    pub throughput: Throughput,
    /// What waits.
    pub backlog: Backlog,
    /// Since the agent's start.
    pub totals: Totals,
    /// Up to five of the files set aside; `totals.set_aside` counts all.
    pub set_aside: Vec<SetAside>,
}

/// Rates over the last 60 seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Throughput {
    /// Records committed per second.
    pub records_per_second: u64,
    /// Bytes of files committed per second.
    pub bytes_per_second: u64,
}

/// What is in the directory and not committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    /// Files with bytes that are not committed.
    pub files: u64,
    /// Those bytes.
    pub bytes: u64,
    /// Age of the oldest of those files, by its last change.
    pub oldest_seconds: u64,
}

/// Counters since the agent's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Records committed.
    pub records: u64,
    /// Bytes of files committed.
    pub bytes: u64,
    /// Files completed.
    pub files: u64,
    /// Files set aside now.
    pub set_aside: u64,
    /// Lines longer than `maxLineBytes`.
    pub long_lines: u64,
    /// Byte sequences that were not of `inputCharset`, and were replaced or left out.
    #[serde(default)]
    pub decode_errors: u64,
    /// How often a file grew after it was completed (a writer kept it open, and no lease could tell); what is new of it is shipped.
    #[serde(default)]
    pub grew_after_completion: u64,
    /// Bytes that were cut off, or gone with their file when it was looked for again, before they were read. What comes back ships all the
    /// same, and stays counted.
    #[serde(default)]
    pub bytes_lost_unread: u64,
    /// How often a file was no longer what was shipped of it (cut, rewritten, torn by a loss of power), and was begun anew.
    #[serde(default)]
    pub begun_anew: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Transactions given up and read again.
    pub retries: u64,
}

/// A file that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetAside {
    /// Its name, control characters escaped.
    pub file: String,
    /// Bytes of it that are shipped.
    pub position: u64,
    /// Why.
    pub reason: String,
    /// What was seen, and what to do.
    pub message: String,
}

/// An agent as the operator tells people of it: `GET /v1/pipelines/{namespace}/{name}/agents` answers with a list, the worst first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentAnswer {
    /// Its node, or its pod where it is a sidecar.
    pub agent: String,
    /// Seconds since it was heard.
    pub silent_seconds: u64,
    /// Whether it has been silent for too long to count.
    pub lost: bool,
    /// What it said last.
    pub report: Report,
    /// Its counters over all its starts, since the operator first heard of it.
    pub totals: Totals,
}

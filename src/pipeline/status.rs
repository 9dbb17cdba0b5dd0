//! What a LogPipeline's status says. Pure data, written by the operator alone.
//!
//! Integers only, no defaults, and every text and list has a bound; that the whole stays below 8 KiB is for the one who writes
//! it to see to. Absent means "not known yet". No text here holds a time or a counter that ticks: each difference is a write.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Guarantee;

/// What the operator knows of a LogPipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogPipelineStatus {
    /// The metadata.generation that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, ConfigApplied, AgentsReady, FlowHealthy and Ready; Reconciling and Stalled only while they are True.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Option<Vec<Condition>>,
    /// The guarantee in force: ExactlyOnce, AtLeastOnce or BestEffort.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guarantee: Option<Guarantee>,
    /// What the agents' transactional ids begin with: the prefix to grant in Kafka's ACLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub transactional_id_prefix: Option<String>,
    /// How many agents there are, and how they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents: Option<Agents>,
    /// Rates over the last 60 seconds, all agents together, rounded to two significant digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput: Option<Throughput>,
    /// What waits to be shipped, all agents together, rounded to two significant digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Backlog>,
    /// Exact counters, all agents together. They never cause a write by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
    /// Up to five of the agents that fare worst, the worst first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["agent"]))]
    pub worst_agents: Option<Vec<WorstAgent>>,
    /// The numbers as kubectl get shows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
}

/// One thing that holds, or does not, as in every Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about, in CamelCase.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: String,
    /// True, False, or Unknown.
    pub status: ConditionStatus,
    /// Why, as one CamelCase word.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
    /// What a person needs to know, and to do; may be empty. At most 1024 characters.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The metadata.generation that it was judged at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When status last changed, RFC 3339 in UTC.
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub last_transition_time: String,
}

words! {
    /// Whether a condition holds.
    ConditionStatus {
        /// It does.
        True,
        /// It does not.
        False,
        /// Nobody can tell, or not yet.
        Unknown,
    }
}

/// How many agents there are, and how they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Agents {
    /// How many should run: nodes that match, or pods that carry the pipeline's label.
    pub desired: i64,
    /// Those whose container is ready.
    pub ready: i64,
    /// Those that acknowledged this generation's config.
    pub updated: i64,
    /// Those that reported lately.
    pub reporting: i64,
    /// Those through which data cannot flow.
    pub failing: i64,
}

/// Rates over the last 60 seconds, two significant digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Throughput {
    /// Records committed per second.
    pub records_per_second: i64,
    /// Bytes of files committed per second.
    pub bytes_per_second: i64,
}

/// What is in the spool directories and not committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    /// Files with bytes that are not committed.
    pub files: i64,
    /// Those bytes.
    pub bytes: i64,
    /// Age of the oldest of those files, in seconds, by its last change. It never causes a write by itself.
    pub oldest_seconds: i64,
}

/// Exact counters since the agents' starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Records committed.
    pub records: i64,
    /// Bytes of files committed.
    pub bytes: i64,
    /// Files completed.
    pub files: i64,
    /// Files that are set aside now, waiting for a person.
    pub set_aside: i64,
}

/// One of the agents that fare worst.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorstAgent {
    /// The agent: its node, or its pod where it is a sidecar.
    #[schemars(length(max = 256))]
    pub agent: String,
    /// Why data flows through it or does not, as one CamelCase word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What is wrong there and what to do; may be empty. Control characters are escaped. At most 256 characters.
    #[schemars(length(max = 256))]
    pub message: String,
    /// Bytes that wait there, two significant digits.
    pub backlog_bytes: i64,
    /// Files that are set aside there.
    pub set_aside: i64,
}

/// The numbers as `kubectl get` shows them; texts for people, not for programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Agents ready of those desired, as 49/50.
    #[schemars(length(max = 32))]
    pub agents: String,
    /// Records per second, as 12k/s.
    #[schemars(length(max = 32))]
    pub rate: String,
    /// Bytes per second, as 3.4MB/s.
    #[schemars(length(max = 32))]
    pub byte_rate: String,
    /// Bytes that wait, as 1.2GB.
    #[schemars(length(max = 32))]
    pub backlog: String,
    /// Age of the oldest file that waits, as 40s. It never causes a write by itself.
    #[schemars(length(max = 32))]
    pub oldest: String,
}

//! What the operator and an agent in a pod agree on: where things are mounted, and what stands beside the pipeline. Pure data.
//!
//! Versioned: an operator serves the agents of its two predecessors, so fields are added, never given another meaning.

use serde::{Deserialize, Serialize};

/// Where the ConfigMap is mounted, as a directory: a file mounted by subPath never changes.
pub const CONFIG_DIR: &str = "/etc/spoolway/config";
/// In it, the LogPipeline as agents read it.
pub const PIPELINE_FILE: &str = "pipeline.yaml";
/// In it, an [`AgentFile`].
pub const AGENT_FILE: &str = "agent.json";
/// Where Secrets are mounted, `<dir>/<secret>/<key>`.
pub const SECRETS_DIR: &str = "/etc/spoolway/secrets";
/// Where the ServiceAccount token for reports is mounted.
pub const TOKEN_FILE: &str = "/var/run/secrets/spoolway/token";
/// The audience of that token, which makes it worthless anywhere else.
pub const TOKEN_AUDIENCE: &str = "spoolway-report";
/// The port of `/healthz`, `/readyz` and `/metrics`.
pub const HTTP_PORT: u16 = 8080;
/// The name of every object that is made of a pipeline: ConfigMap, ServiceAccount, DaemonSet and others.
pub fn child_name(pipeline: &str) -> String {
    format!("{pipeline}-spoolway")
}

/// The form of [`AgentFile`] that this release writes.
pub const AGENT_FILE_VERSION: u32 = 1;

/// What an agent in a pod needs to know and no LogPipeline says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentFile {
    /// [`AGENT_FILE_VERSION`].
    pub version: u32,
    /// Hash of the pod's shape that this configuration was made for; an agent in a pod of another shape (`--shape`) goes on with
    /// what it has until its pod is replaced.
    pub shape: String,
    /// `<cluster>` of the transactional id, frozen when the pipeline was first seen.
    pub cluster: String,
    /// The host path beneath which this namespace's spool directories lie, mounted at the same path.
    pub root: String,
    /// Where reports go; absent: nowhere.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub report_to: Option<ReportTo>,
    /// What the checkpoint topic was like when progress was first kept in it; another one is refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub checkpoint_topic: Option<CheckpointTopic>,
}

/// Where reports go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportTo {
    /// `https://<service>.<namespace>.svc:<port>/v1/reports`.
    pub url: String,
    /// Certificates that the operator's is checked against, PEM.
    pub ca: String,
}

/// What a checkpoint topic is like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointTopic {
    /// Its name.
    pub topic: String,
    /// Its id, where the brokers tell it (KIP-516).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub topic_id: Option<String>,
    /// Its partitions.
    pub partitions: u32,
}

impl CheckpointTopic {
    /// Whether it may be the same; ids are compared where both sides know them.
    pub fn agrees(&self, other: &CheckpointTopic) -> bool {
        let ids = match (&self.topic_id, &other.topic_id) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        };
        ids && self.topic == other.topic && self.partitions == other.partitions
    }
}

/// The operator's answer to a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportAnswer {
    /// When to report next, in seconds.
    pub next_seconds: u64,
}

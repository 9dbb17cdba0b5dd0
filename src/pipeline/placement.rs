//! Where a pipeline's agents run in the cluster.
//!
//! Pure data. On a bare machine the placement means nothing and may be left out.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Where the agents run: exactly one of the fields. Which one never changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// One agent on every node that nodeSelector picks; for spool directories on the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemon_set: Option<DaemonSet>,
    /// An agent inside each pod that carries the label `spoolway.dev/pipeline`; for spool directories in a volume of the pod.
    /// Not available in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Sidecar>,
    /// A fixed number of agents; for sources that are not files on a node.
    /// Not available in this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stateful_set: Option<StatefulSet>,
}

/// One agent on every node that nodeSelector picks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DaemonSet {
    /// Labels that a node must carry. Default: every node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Taints that the agents put up with, at most 64. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,
    /// How many agents may be down during an update: a number from 1, or a percentage from 1% to 100%. Default 10%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
    /// The PriorityClass of the agents' pods. Default: the cluster's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// CPU and memory of each agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The user id the agents run as, 0 or more: the owner of the spool directory. Default 0, without capabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i64>,
    /// The group id the agents run as, 0 or more. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<i64>,
}

/// An agent inside each pod that carries the label `spoolway.dev/pipeline`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// The pod's volume that holds the spool directory.
    pub volume: String,
    /// Where the agent mounts that volume, an absolute path without `..`; the spool directory lies beneath it.
    pub mount_path: String,
    /// CPU and memory of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The user id the agent runs as, 0 or more. Default: the pod's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<i64>,
    /// What to do with a pod that has no such volume: Skip (the pod starts without an agent) or EmptyDir (the volume is
    /// added). Default Skip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_missing_volume: Option<OnMissingVolume>,
}

/// A fixed number of agents.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatefulSet {
    /// How many agents, 0 to 1000. Default 1; left to the one who scales it when unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// CPU and memory of each agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Labels that a node must carry. Default: every node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Taints that the agents put up with, at most 64. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Toleration>>,
}

/// A taint that the agents put up with, as in a pod's spec.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    /// The taint's key. Unset with operator Exists: every taint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Exists or Equal. Default Equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The taint's value, with operator Equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// NoSchedule, PreferNoSchedule or NoExecute. Default: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// For how many seconds a NoExecute taint is put up with. Default: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// CPU and memory of an agent, as in a container's spec.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What is set aside for it: cpu, memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<BTreeMap<String, IntOrString>>,
    /// What it may use at most: cpu, memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<BTreeMap<String, IntOrString>>,
}

words! {
    /// What to do with a pod that lacks the sidecar's volume.
    OnMissingVolume {
        /// The pod starts without an agent.
        Skip,
        /// The volume is added, empty.
        EmptyDir,
    }
}

/// A whole number or a text, as Kubernetes takes for percentages and amounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A whole number.
    Int(i64),
    /// A text such as `10%` or `500m`.
    Text(String),
}

impl std::fmt::Display for IntOrString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(&super::problem::quoted(text)),
        }
    }
}

impl JsonSchema for IntOrString {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IntOrString".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["integer", "string"], "x-kubernetes-int-or-string": true})
    }
}

//! What a LogPipeline is made into: a ConfigMap, a ServiceAccount and a DaemonSet.
//!
//! Pure and infallible: whatever could be wrong was said by `valid` before. Only fields that we mean are set, since each is
//! a claim under server-side apply. Each child carries the hash of its own manifest, so that a field which is no longer
//! wanted makes a difference too.

mod config_map;
mod daemon_set;
mod service_account;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;

use crate::pipeline::{API_VERSION, KIND, LogPipeline};

/// The label of agents' pods; its value is the pipeline.
pub const AGENT_OF: &str = "spoolway.dev/agent-of";
/// The annotation that holds the hash of what an agent runs.
pub const CONFIG_HASH: &str = "spoolway.dev/config-hash";
/// The annotation that holds the hash of a child's manifest.
pub const MANIFEST_HASH: &str = "spoolway.dev/manifest-hash";

/// What the operator was started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The image of the agents.
    pub image: String,
    /// Keeps clusters that share a Kafka apart.
    pub cluster: String,
    /// The host path beneath which a namespace's spool directories lie; `{namespace}` stands for its name.
    pub spool_root: String,
}

impl Settings {
    /// The host path beneath which the spool directories of `namespace` lie.
    pub fn root_of(&self, namespace: &str) -> String {
        self.spool_root.replace("{namespace}", namespace)
    }
}

/// The name of every child of `pipeline`.
pub fn child_name(pipeline: &str) -> String {
    format!("{pipeline}-spoolway")
}

/// The children of the pipeline whose uid is `uid`, in the order in which they are applied.
pub fn desired(pipeline: &LogPipeline, uid: &str, settings: &Settings) -> [Value; 3] {
    let meta = metadata(pipeline, uid);
    [
        sealed(&config_map::config_map(pipeline, meta.clone())),
        sealed(&service_account::service_account(meta.clone())),
        sealed(&daemon_set::daemon_set(pipeline, meta, settings)),
    ]
}

fn metadata(pipeline: &LogPipeline, uid: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(child_name(&pipeline.metadata.name)),
        namespace: Some(pipeline.namespace().to_owned()),
        labels: Some(labels(&pipeline.metadata.name)),
        owner_references: Some(vec![OwnerReference {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            name: pipeline.metadata.name.clone(),
            uid: uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: None,
        }]),
        ..ObjectMeta::default()
    }
}

fn labels(pipeline: &str) -> BTreeMap<String, String> {
    text_map(&[
        ("app.kubernetes.io/name", "spoolway"),
        ("app.kubernetes.io/component", "agent"),
        ("app.kubernetes.io/instance", pipeline),
        ("app.kubernetes.io/managed-by", "spoolway"),
    ])
}

fn text_map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The manifest, and in it its own hash.
fn sealed<T: serde::Serialize>(child: &T) -> Value {
    let mut child = serde_json::to_value(child).unwrap_or_default();
    let hash = xxhash_rust::xxh3::xxh3_64(child.to_string().as_bytes());
    child["metadata"]["annotations"][MANIFEST_HASH] = format!("{hash:016x}").into();
    child
}

//! What a LogPipeline is made into: a ConfigMap, a ServiceAccount, a DaemonSet, and where it is asked for a NetworkPolicy.
//!
//! Pure and infallible: whatever could be wrong was said by `valid` before. Only fields that we mean are set, since each is
//! a claim under server-side apply. Each child carries the hash of its own manifest, so that a field which is no longer
//! wanted makes a difference too. What must not change once it was, is read back from the ConfigMap that is there ([`frozen`]).

mod config_map;
mod daemon_set;
mod network_policy;
mod pod;
mod service_account;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;

pub use config_map::{Frozen, frozen, pin, shipped};

use super::config::OperatorConfig;
use crate::pipeline::pod::{ReportTo, child_name};
use crate::pipeline::{API_VERSION, KIND, LogPipeline};

/// The label of agents' pods; its value is the pipeline.
pub const AGENT_OF: &str = "spoolway.dev/agent-of";
/// The annotation that holds the hash of what an agent runs.
pub const CONFIG_HASH: &str = "spoolway.dev/config-hash";
/// The annotation that holds the hash of a child's manifest.
pub const MANIFEST_HASH: &str = "spoolway.dev/manifest-hash";
/// Kinds of children.
pub const CHILDREN: usize = 4;

/// What children are made of, beside the pipeline.
#[derive(Debug, Clone)]
pub struct Given<'a> {
    /// The uid of the LogPipeline.
    pub uid: &'a str,
    /// What the operator was told.
    pub config: &'a OperatorConfig,
    /// What does not change any more.
    pub frozen: Frozen,
    /// Where reports go.
    pub report_to: Option<ReportTo>,
}

impl Given<'_> {
    /// The host path that the pipeline's agents mount.
    fn root(&self, pipeline: &LogPipeline) -> String {
        let path = pipeline.spool_dir().map_or("", |dir| &dir.path);
        self.config.host_paths.root_of(pipeline.namespace(), path).unwrap_or_default()
    }
}

/// What the transactional ids of a pipeline's agents begin with.
pub fn transactional_id_prefix(pipeline: &LogPipeline, cluster: &str) -> String {
    format!("spoolway/{cluster}/{}/{}/", pipeline.namespace(), pipeline.metadata.name)
}

/// The children, in the order in which they are applied; none where one is not wanted.
pub fn desired(pipeline: &LogPipeline, given: &Given<'_>) -> [Option<Value>; CHILDREN] {
    let meta = metadata(pipeline, given.uid);
    [
        Some(sealed(&config_map::config_map(pipeline, meta.clone(), given))),
        Some(sealed(&service_account::service_account(meta.clone()))),
        Some(sealed(&daemon_set::daemon_set(pipeline, meta.clone(), given))),
        given.config.network_policy.then(|| sealed(&network_policy::network_policy(pipeline, meta))),
    ]
}

fn metadata(pipeline: &LogPipeline, uid: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(child_name(&pipeline.metadata.name)),
        namespace: Some(pipeline.namespace().to_owned()),
        labels: Some(labels(&pipeline.metadata.name)),
        // Nobody tracks them: Argo CD need not look at the application again whenever one changes.
        annotations: Some(text_map(&[("argocd.argoproj.io/ignore-resource-updates", "true")])),
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
        ("app.kubernetes.io/part-of", "spoolway"),
    ])
}

fn text_map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The hash of anything's text.
fn hash_of<T: serde::Serialize>(what: &T) -> String {
    let text = serde_json::to_string(what).unwrap_or_default();
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

/// The manifest, and in it its own hash.
fn sealed<T: serde::Serialize>(child: &T) -> Value {
    let mut child = serde_json::to_value(child).unwrap_or_default();
    child["metadata"]["annotations"][MANIFEST_HASH] = hash_of(&child).into();
    child
}

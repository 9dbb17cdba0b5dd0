//! The ConfigMap: the pipeline as its agents read it, and what they need to know beside it.
//!
//! Two things in it never change once they were there, whatever the operator is told later: the cluster's name in transactional
//! ids (another would not fence the agents that run) and what the checkpoint topic was like (another holds no progress).

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{CONFIG_HASH, Given, pod, text_map};
use crate::operator::view::AgentView;
use crate::pipeline::placement::Placement;
use crate::pipeline::pod::{AGENT_FILE, AGENT_FILE_VERSION, AgentFile, CheckpointTopic, PIPELINE_FILE};
use crate::pipeline::{LogPipeline, config_hash};
use crate::yaml;

/// What does not change once it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// `<cluster>` of transactional ids.
    pub cluster: String,
    /// What the checkpoint topic is like, once an agent saw it.
    pub checkpoint_topic: Option<CheckpointTopic>,
}

/// What is frozen in a ConfigMap that is there, or in the prefix that the status shows should it be lost; else `cluster`.
pub fn frozen(config_map: Option<&Value>, prefix: Option<&str>, cluster: &str) -> Frozen {
    let file = config_map.and_then(|map| map["data"][AGENT_FILE].as_str());
    if let Some(file) = file.and_then(|text| serde_json::from_str::<AgentFile>(text).ok()) {
        return Frozen { cluster: file.cluster, checkpoint_topic: file.checkpoint_topic };
    }
    let shown = prefix.and_then(|prefix| prefix.strip_prefix("spoolway/")?.split('/').next());
    let cluster = shown.filter(|name| !name.is_empty()).unwrap_or(cluster);
    Frozen { cluster: cluster.to_owned(), checkpoint_topic: None }
}

/// What the checkpoint topic is like: what is known already, and what agents who saw it add to that (brokers may tell its id later
/// than the rest). None while nobody saw it, or where they disagree.
pub fn pin(
    known: Option<CheckpointTopic>,
    pipeline: &LogPipeline,
    agents: &[AgentView],
) -> Option<CheckpointTopic> {
    if known.as_ref().is_some_and(|known| known.topic_id.is_some()) {
        return known;
    }
    let topic = pipeline.delivery().checkpoint_topic(pipeline.namespace());
    let told = || known.iter().chain(agents.iter().filter_map(|agent| agent.report.checkpoint_topic.as_ref()));
    let best = told().find(|told| told.topic_id.is_some()).or_else(|| told().next())?;
    match best.topic == topic && told().all(|other| other.agrees(best)) {
        true => Some(best.clone()),
        false => known,
    }
}

/// The pipeline that a ConfigMap holds, and the hash by which agents acknowledge it.
pub fn shipped(config_map: &Value) -> Option<(LogPipeline, String)> {
    let pipeline = yaml::load(config_map["data"][PIPELINE_FILE].as_str()?).ok()?.pop()?;
    let hash = config_hash(&pipeline);
    Some((pipeline, hash))
}

/// The ConfigMap. Where agents run is not in it: they do not ask.
pub(super) fn config_map(pipeline: &LogPipeline, meta: ObjectMeta, given: &Given<'_>) -> ConfigMap {
    let mut config = pipeline.clone();
    config.spec.placement = None::<Placement>;
    config.metadata.labels = None;
    config.metadata.annotations = None;
    let agent = AgentFile {
        version: AGENT_FILE_VERSION,
        shape: pod::shape(pipeline, given),
        cluster: given.frozen.cluster.clone(),
        root: given.root(pipeline),
        report_to: given.report_to.clone(),
        checkpoint_topic: given.frozen.checkpoint_topic.clone(),
    };
    let agent = serde_json::to_string_pretty(&agent).unwrap_or_default() + "\n";
    let mut annotations = meta.annotations.clone().unwrap_or_default();
    annotations.insert(CONFIG_HASH.to_owned(), config_hash(pipeline));
    ConfigMap {
        metadata: ObjectMeta { annotations: Some(annotations), ..meta },
        data: Some(text_map(&[(PIPELINE_FILE, &yaml::write(&config)), (AGENT_FILE, &agent)])),
        ..ConfigMap::default()
    }
}

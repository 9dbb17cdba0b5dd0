//! The DaemonSet: one agent on every node that the placement picks.

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::{AGENT_OF, Given, labels, pod, text_map};
use crate::pipeline::LogPipeline;
use crate::pipeline::placement::IntOrString;

/// The DaemonSet.
pub(super) fn daemon_set(pipeline: &LogPipeline, metadata: ObjectMeta, given: &Given<'_>) -> apps::DaemonSet {
    let name = pipeline.metadata.name.as_str();
    let placement = pod::placement(pipeline);
    let mut pod_labels = labels(name);
    pod_labels.insert(AGENT_OF.to_owned(), name.to_owned());
    let max_unavailable = placement.max_unavailable.unwrap_or(IntOrString::Text("10%".to_owned()));
    apps::DaemonSet {
        metadata,
        spec: Some(apps::DaemonSetSpec {
            selector: LabelSelector {
                match_labels: Some(text_map(&[(AGENT_OF, name)])),
                ..LabelSelector::default()
            },
            template: core::PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(pod_labels), ..ObjectMeta::default() }),
                spec: Some(pod::pod(pipeline, given)),
            },
            update_strategy: Some(apps::DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(apps::RollingUpdateDaemonSet {
                    max_unavailable: Some(pod::amount(&max_unavailable)),
                    // A second agent on a node would wait for the first one's lock.
                    max_surge: None,
                }),
            }),
            ..apps::DaemonSetSpec::default()
        }),
        status: None,
    }
}

//! The NetworkPolicy of the agents: nothing comes in but probes and metrics. Where they may go is not ours to say.

use k8s_openapi::api::networking::v1 as net;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{AGENT_OF, text_map};
use crate::pipeline::LogPipeline;
use crate::pipeline::pod::HTTP_PORT;

/// The NetworkPolicy.
pub(super) fn network_policy(pipeline: &LogPipeline, metadata: ObjectMeta) -> net::NetworkPolicy {
    let agents = text_map(&[(AGENT_OF, &pipeline.metadata.name)]);
    net::NetworkPolicy {
        metadata,
        spec: Some(net::NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(agents), ..LabelSelector::default() }),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![net::NetworkPolicyIngressRule {
                ports: Some(vec![net::NetworkPolicyPort {
                    port: Some(IntOrString::Int(i32::from(HTTP_PORT))),
                    protocol: Some("TCP".to_owned()),
                    ..net::NetworkPolicyPort::default()
                }]),
                ..net::NetworkPolicyIngressRule::default()
            }]),
            ..net::NetworkPolicySpec::default()
        }),
    }
}

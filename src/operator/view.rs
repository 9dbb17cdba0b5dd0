//! What the operator has seen of agents: their pods, and what they reported last. Pure data, between those who watch and `status`.

use crate::pipeline::pod::child_name;
use crate::pipeline::report::{Report, Totals};

/// An agent's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The node it runs on; empty while it has none.
    pub node: String,
    /// The LogPipeline whose agent it is, as its label says; who trusts a report checks `controller` too.
    pub pipeline: String,
    /// Kind and name of its controller.
    pub controller: Option<(String, String)>,
    /// Whether its Ready condition holds.
    pub ready: bool,
    /// Why a container waits or ended, as the kubelet says: ImagePullBackOff, CreateContainerConfigError and others; empty otherwise.
    pub trouble: String,
}

impl PodView {
    /// Whether it is an agent of `pipeline`: its DaemonSet made it. A label alone proves nothing, for whoever may make pods can set it.
    pub fn is_agent_of(&self, pipeline: &str) -> bool {
        let made = self.controller.as_ref();
        made.is_some_and(|(kind, name)| kind == "DaemonSet" && *name == child_name(pipeline))
    }
}

/// An agent that reported.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentView {
    /// Who it is: its node, or its pod where it is a sidecar.
    pub agent: String,
    /// The uid of its pod.
    pub pod_uid: String,
    /// Seconds since it was heard.
    pub silent_seconds: u64,
    /// Whether it was silent for three intervals and so no longer counts as reporting.
    pub lost: bool,
    /// What it said last.
    pub report: Report,
    /// Its counters since the operator first heard of it, over all its starts; `report.totals` begin at 0 with each.
    pub totals: Totals,
}

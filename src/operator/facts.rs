//! What was seen, counted: the numbers that conditions are decided by.
//!
//! Pure. Acknowledgements count over ready pods; where none is ready (an agent that cannot flow is not), over those that report.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::view::{AgentView, PodView};
use crate::pipeline::report::FlowReason;

/// The counts of a DaemonSet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nodes that match.
    pub desired: i64,
    /// Pods that are ready.
    pub ready: i64,
    /// Pods of the newest template.
    pub updated: i64,
    /// Whether the counts are about the newest template.
    pub current: bool,
}

/// Why agents cannot flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The reason that most of them have; the worst of several.
    pub reason: FlowReason,
    /// What the first of those by name says.
    pub message: String,
}

/// Everything that conditions are decided by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The DaemonSet's counts, where there is one.
    pub counts: Option<Counts>,
    /// The hash that agents are to run.
    pub hash: String,
    /// Agents whose acknowledgement counts.
    pub asked: i64,
    /// Of those, agents that run that hash.
    pub acked: i64,
    /// Of those, agents that also stopped shipping.
    pub suspended: i64,
    /// Of those, agents that do not report.
    pub silent: i64,
    /// Of those, agents that refuse what they were given.
    pub rejecting: i64,
    /// Why the first of these by name does.
    pub rejection: String,
    /// Agents that report.
    pub reporting: i64,
    /// Of those, agents through which nothing can flow.
    pub failing: i64,
    /// Why, where there are any.
    pub failure: Option<Failure>,
    /// Whether something is or was just shipped.
    pub flowing: bool,
    /// Whether files are set aside.
    pub set_aside: bool,
    /// What most of the pods that are not ready wait for; empty where the kubelet says nothing.
    pub trouble: String,
}

/// Counts it.
pub fn facts(name: &str, hash: &str, daemon_set: Option<&Value>, agents: &[AgentView], pods: &[PodView]) -> Facts {
    let counts = daemon_set.map(counts);
    let ours: BTreeMap<&str, &PodView> =
        pods.iter().filter(|pod| pod.is_agent_of(name)).map(|pod| (pod.uid.as_str(), pod)).collect();
    let mut heard: Vec<&AgentView> =
        agents.iter().filter(|agent| !agent.lost && ours.contains_key(agent.pod_uid.as_str())).collect();
    heard.sort_by(|a, b| (&a.agent, &a.pod_uid).cmp(&(&b.agent, &b.pod_uid)));
    let ready: BTreeSet<&str> = ours.values().filter(|pod| pod.ready).map(|pod| pod.uid.as_str()).collect();
    // What the watch has not shown yet is silent: the DaemonSet counts it already.
    let ready_count = count(ready.len()).max(counts.map_or(0, |c| c.ready));
    let asked: Vec<&&AgentView> =
        heard.iter().filter(|agent| ready_count == 0 || ready.contains(agent.pod_uid.as_str())).collect();
    let acked: Vec<&&&AgentView> = asked.iter().filter(|agent| agent.report.config_hash == hash).collect();
    let rejecting = || asked.iter().filter(|a| a.report.config_hash != hash && !a.report.config_problem.is_empty());
    Facts {
        counts,
        hash: hash.to_owned(),
        asked: ready_count.max(count(asked.len())),
        acked: count(acked.len()),
        suspended: count(acked.iter().filter(|agent| agent.report.suspended).count()),
        silent: (ready_count - count(asked.len())).max(0),
        rejecting: count(rejecting().count()),
        rejection: rejecting().next().map(|agent| agent.report.config_problem.clone()).unwrap_or_default(),
        reporting: count(heard.len()),
        failing: count(heard.iter().filter(|agent| !agent.report.flowing).count()),
        failure: failure(&heard),
        flowing: heard.iter().any(|agent| {
            let throughput = agent.report.throughput;
            throughput.records_per_second > 0 || throughput.bytes_per_second > 0
        }),
        set_aside: heard.iter().any(|agent| agent.report.totals.set_aside > 0),
        trouble: trouble(ours.values().copied()),
    }
}

/// Whether more than a tenth of `all` is `part`.
pub fn is_many(part: i64, all: i64) -> bool {
    part * 10 > all
}

fn counts(daemon_set: &Value) -> Counts {
    let number = |name: &str| daemon_set["status"][name].as_i64().unwrap_or(0);
    let generation = daemon_set["metadata"]["generation"].as_i64().unwrap_or(0);
    Counts {
        desired: number("desiredNumberScheduled"),
        ready: number("numberReady"),
        updated: number("updatedNumberScheduled"),
        current: generation > 0 && number("observedGeneration") >= generation,
    }
}

fn failure(heard: &[&AgentView]) -> Option<Failure> {
    let mut tally: BTreeMap<u8, (i64, &AgentView)> = BTreeMap::new();
    for agent in heard.iter().filter(|agent| !agent.report.flowing) {
        tally.entry(agent.report.reason as u8).or_insert((0, agent)).0 += 1;
    }
    // Of equally many the first, which is the worst.
    let (_, first) = tally.into_values().rev().max_by_key(|(count, _)| *count)?;
    Some(Failure { reason: first.report.reason, message: format!("on {}: {}", first.agent, first.report.message) })
}

/// The commonest; of equally common ones the first by name.
fn trouble<'a>(pods: impl Iterator<Item = &'a PodView>) -> String {
    let mut tally: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in pods.filter(|pod| !pod.ready && !pod.trouble.is_empty()) {
        *tally.entry(&pod.trouble).or_default() += 1;
    }
    tally
        .into_iter()
        .rev()
        .max_by_key(|(_, count)| *count)
        .map(|(trouble, _)| trouble.to_owned())
        .unwrap_or_default()
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

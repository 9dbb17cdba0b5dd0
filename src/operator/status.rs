//! What a LogPipeline's status says, from what was judged and what its DaemonSet counts.
//!
//! Pure; `now` is an argument. Agents do not report yet: what only they could know is left out, not guessed. No message holds
//! a counter or a time, since each difference is a write.

use serde_json::Value;

use super::valid::Refusal;
use crate::pipeline::LogPipeline;
use crate::pipeline::status::{Agents, Condition, ConditionStatus, LogPipelineStatus, Summary};

use ConditionStatus::{False, True, Unknown};

/// How long agents may be unavailable before the pipeline is not ready.
const UNAVAILABLE_SECONDS: i64 = 120;
/// How long a rollout may take without an end before it counts as stuck.
const ROLLOUT_SECONDS: i64 = 300;
/// Characters of a condition's message.
const MESSAGE_CHARS: usize = 1024;

/// What a status is made of.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The namespace and name of the pipeline.
    pub namespace_and_name: (&'a str, &'a str),
    /// The generation of its spec.
    pub generation: i64,
    /// What `valid` said of it.
    pub verdict: Result<&'a LogPipeline, &'a Refusal>,
    /// Its DaemonSet, if there is one.
    pub daemon_set: Option<&'a Value>,
    /// The status so far.
    pub before: &'a LogPipelineStatus,
    /// Now.
    pub now: jiff::Timestamp,
}

/// The counts of a DaemonSet.
#[derive(Debug, Clone, Copy)]
struct Counts {
    desired: i64,
    ready: i64,
    updated: i64,
    /// Whether they are about its newest template.
    current: bool,
}

/// What one condition says.
struct Say {
    status: ConditionStatus,
    reason: &'static str,
    message: String,
}

fn say(status: ConditionStatus, reason: &'static str, message: impl Into<String>) -> Say {
    Say { status, reason, message: message.into() }
}

/// The status.
pub fn status(seen: &Seen<'_>) -> LogPipelineStatus {
    let counts = seen.daemon_set.map(counts);
    let accepted = accepted(seen.verdict);
    let agents_ready = agents_ready(seen, counts);
    let ready = ready(seen, counts, &accepted, &agents_ready);
    let mut conditions = vec![];
    let mut add = |type_: &str, said: &Say| conditions.push(condition(seen, type_, said));
    add("Accepted", &accepted);
    add("AgentsReady", &agents_ready);
    add("Ready", &ready);
    if ready.status == Unknown {
        add("Reconciling", &Say { status: True, reason: ready.reason, message: ready.message.clone() });
    }
    if accepted.status == False || ready.reason == "RolloutStuck" {
        add("Stalled", &Say { status: True, reason: ready.reason, message: ready.message.clone() });
    }
    LogPipelineStatus {
        observed_generation: Some(seen.generation),
        conditions: Some(conditions),
        // A bad edit leaves the agents alone, and so what they promise.
        guarantee: match seen.verdict {
            Ok(pipeline) => Some(pipeline.delivery().guarantee()),
            Err(_) => seen.before.guarantee.filter(|_| counts.is_some()),
        },
        agents: counts.map(|c| Agents {
            desired: c.desired,
            ready: c.ready,
            updated: c.updated,
            reporting: 0,
            failing: 0,
        }),
        summary: counts
            .map(|c| Summary { agents: format!("{}/{}", c.ready, c.desired), ..Summary::default() }),
        ..LogPipelineStatus::default()
    }
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

fn accepted(verdict: Result<&LogPipeline, &Refusal>) -> Say {
    match verdict {
        Ok(_) => say(True, "Valid", ""),
        Err(refusal) => say(False, refusal.reason, all_of(refusal)),
    }
}

/// All problems, as many as fit.
fn all_of(refusal: &Refusal) -> String {
    let mut text = String::new();
    for (index, problem) in refusal.problems.iter().enumerate() {
        let line = format!("{}{problem}", if index == 0 { "" } else { "; " });
        let left = refusal.problems.len() - index;
        if text.chars().count() + line.chars().count() > MESSAGE_CHARS - 100 {
            let cut: String = line.chars().take(if index == 0 { MESSAGE_CHARS - 100 } else { 0 }).collect();
            return format!("{text}{cut} … and {left} more; spoolway validate -f FILE shows all");
        }
        text.push_str(&line);
    }
    text
}

fn is_rolling(counts: Option<Counts>) -> bool {
    counts.is_none_or(|c| !c.current || c.updated < c.desired)
}

fn agents_ready(seen: &Seen<'_>, counts: Option<Counts>) -> Say {
    let (namespace, name) = seen.namespace_and_name;
    let which = format!("kubectl get pods -n {namespace} -l {}={name}", super::desired::AGENT_OF);
    match counts {
        None if seen.verdict.is_err() => say(False, "AgentsUnavailable", "there are no agents"),
        None => say(Unknown, "RollingOut", "agents are being started"),
        Some(c) if !c.current => say(Unknown, "RollingOut", "agents are being started"),
        Some(c) if c.desired == 0 => say(True, "NoMatchingNodes", "no node matches spec.placement.daemonSet"),
        Some(c) if c.ready >= c.desired => say(True, "AllReady", ""),
        Some(c) if c.updated < c.desired => {
            say(Unknown, "RollingOut", format!("agents are being restarted with the new configuration: {which}"))
        }
        Some(_) => say(False, "AgentsUnavailable", format!("some agents are not ready: {which}")),
    }
}

/// The first that matches.
fn ready(seen: &Seen<'_>, counts: Option<Counts>, accepted: &Say, agents: &Say) -> Say {
    if accepted.status == False {
        return say(False, accepted.reason, accepted.message.clone());
    }
    let before = find(seen.before, "Ready");
    if is_rolling(counts) {
        let stuck = before
            .is_some_and(|c| c.reason == "RolloutStuck" && c.observed_generation == Some(seen.generation))
            || lasts(seen, "Ready", Unknown, ROLLOUT_SECONDS);
        return if stuck {
            say(False, "RolloutStuck", format!("the rollout does not come to an end: {}", agents.message))
        } else {
            say(Unknown, "RollingOut", agents.message.clone())
        };
    }
    let Some(c) = counts.filter(|c| c.desired > 0) else {
        return say(True, "NothingToRun", agents.message.clone());
    };
    if c.ready * 10 >= c.desired * 9 {
        let reason = if c.ready >= c.desired { "AllReady" } else { "MostReady" };
        return say(True, reason, agents.message.clone());
    }
    // It takes two minutes to lose Ready; who did not have it gets it when the agents are ready.
    let was = before.map_or(Unknown, |c| c.status);
    let over = lasts(seen, "AgentsReady", False, UNAVAILABLE_SECONDS);
    say(if over { False } else { was }, "AgentsUnavailable", agents.message.clone())
}

fn find<'a>(status: &'a LogPipelineStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().flatten().find(|c| c.type_ == type_)
}

/// Whether a condition has had this status for so long.
fn lasts(seen: &Seen<'_>, type_: &str, status: ConditionStatus, seconds: i64) -> bool {
    let since = find(seen.before, type_).filter(|c| c.status == status);
    let since = since.and_then(|c| c.last_transition_time.parse::<jiff::Timestamp>().ok());
    since.is_some_and(|since| seen.now.as_second() - since.as_second() >= seconds)
}

fn condition(seen: &Seen<'_>, type_: &str, said: &Say) -> Condition {
    let same = find(seen.before, type_).filter(|c| c.status == said.status);
    Condition {
        type_: type_.to_owned(),
        status: said.status,
        reason: said.reason.to_owned(),
        message: said.message.clone(),
        observed_generation: Some(seen.generation),
        last_transition_time: same.map_or_else(
            || seen.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            |c| c.last_transition_time.clone(),
        ),
    }
}

//! The conditions of a LogPipeline: what each says, why, and what to do.
//!
//! Pure. `Ready` is the first match of a list, written down in [`ready`]. Reasons are few; messages hold no counter and no time,
//! since each difference is a write.

use super::desired::AGENT_OF;
use super::facts::{Counts, Facts, is_many};
use super::memory::{Lasting, of};
use super::valid::Refusal;
use crate::pipeline::LogPipeline;
use crate::pipeline::problem::escaped;
use crate::pipeline::report::FlowReason;
use crate::pipeline::status::{Condition, ConditionStatus, LogPipelineStatus};

use ConditionStatus::{False, True, Unknown};

/// Bytes of a condition's message.
const MESSAGE_BYTES: usize = 1000;

/// What conditions are made of.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The namespace and name of the pipeline.
    pub namespace_and_name: (&'a str, &'a str),
    /// The generation of its spec.
    pub generation: i64,
    /// What `valid` said of it.
    pub verdict: Result<&'a LogPipeline, &'a Refusal>,
    /// What was seen.
    pub facts: &'a Facts,
    /// What of it has lasted.
    pub lasting: Lasting,
    /// The status so far.
    pub before: &'a LogPipelineStatus,
    /// What to know about the last edit; may be empty.
    pub warning: &'a str,
}

/// What one condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Say {
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: String,
    /// What to know, and to do.
    pub message: String,
}

pub(super) fn say(status: ConditionStatus, reason: impl Into<String>, message: impl AsRef<str>) -> Say {
    Say { status, reason: reason.into(), message: cut(message.as_ref(), MESSAGE_BYTES) }
}

/// `text`, escaped, and no longer than `max` bytes.
pub(super) fn cut(text: &str, max: usize) -> String {
    let text = escaped(text);
    if text.len() <= max {
        return text;
    }
    let end = (0..=max - '…'.len_utf8()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// Whether the pipeline can be run.
pub fn accepted(seen: &Seen<'_>) -> Say {
    match seen.verdict {
        Ok(_) => say(True, "Valid", seen.warning),
        Err(refusal) => say(False, refusal.reason, all_of(refusal)),
    }
}

/// All problems, as many as fit.
fn all_of(refusal: &Refusal) -> String {
    const MORE: usize = 80;
    let mut text = String::new();
    for (index, problem) in refusal.problems.iter().enumerate() {
        let line = format!("{}{problem}", if index == 0 { "" } else { "; " });
        if text.len() + line.len() > MESSAGE_BYTES - MORE {
            let head = if index == 0 { cut(&line, MESSAGE_BYTES - MORE) } else { text };
            return format!("{head} … and more; spoolway validate -f FILE shows what it can know of them");
        }
        text.push_str(&line);
    }
    text
}

impl Seen<'_> {
    /// Whether pods of the newest template are still missing.
    fn is_rolling(&self, counts: Counts) -> bool {
        !counts.current || is_many(counts.desired - counts.updated, counts.desired)
    }

    /// Whether 90 % of those who are asked run what they should. Once they did, those that are just not heard do not count against it.
    fn is_acknowledged(&self) -> bool {
        let facts = self.facts;
        let doubt = if self.was_true("ConfigApplied").is_some() { facts.silent } else { 0 };
        !is_many(facts.asked - facts.acked - doubt, facts.asked)
    }

    /// The condition, where it held for this generation.
    fn was_true(&self, type_: &str) -> Option<&Condition> {
        of(self.before, type_).filter(|c| c.status == True && c.observed_generation == Some(self.generation))
    }

    fn is_suspended(&self) -> bool {
        let asks = self.verdict.is_ok_and(|pipeline| pipeline.spec.suspend == Some(true));
        let facts = self.facts;
        asks && facts.asked > 0 && !is_many(facts.asked - facts.suspended, facts.asked)
    }

    fn pods(&self) -> String {
        let (namespace, name) = self.namespace_and_name;
        format!("kubectl get pods -n {namespace} -l {AGENT_OF}={name}")
    }

    fn missing(&self) -> Say {
        let message = "agents do not report, so nobody can tell; they ship all the same: see the operator's log and the agents' logs";
        say(Unknown, "ReportsMissing", message)
    }
}

/// Whether agents run this generation; none where what is wanted is not what agents are to run.
pub fn config_applied(seen: &Seen<'_>) -> Option<Say> {
    let facts = seen.facts;
    seen.verdict.ok()?;
    let rolls = facts.counts.is_none_or(|counts| seen.is_rolling(counts));
    let none = facts.counts.is_some_and(|counts| counts.current && counts.desired == 0);
    Some(if none {
        say(True, "AllAgentsAcknowledged", "there is no agent that could")
    } else if seen.lasting.silent {
        seen.missing()
    } else if (facts.asked > 0 || seen.was_true("ConfigApplied").is_some()) && seen.is_acknowledged() && !rolls {
        say(True, "AllAgentsAcknowledged", "")
    } else if facts.rejecting > 0 && !rolls {
        say(False, "AgentRejected", format!("an agent goes on with what it ran before: {}", facts.rejection))
    } else if seen.lasting.stuck {
        say(False, "RolloutStuck", format!("agents do not take up the configuration: {}", seen.pods()))
    } else {
        say(False, "RollingOut", "agents are taking up the configuration")
    })
}

/// Whether the agents' pods are ready.
pub fn agents_ready(seen: &Seen<'_>) -> Say {
    let trouble = match seen.facts.trouble.as_str() {
        "" => String::new(),
        trouble => format!(" ({trouble})"),
    };
    match seen.facts.counts {
        None if seen.verdict.is_err() => say(False, "AgentsUnavailable", "there are no agents"),
        None => say(Unknown, "AgentsUnavailable", "agents are being started"),
        Some(c) if !c.current => say(Unknown, "AgentsUnavailable", "agents are being started"),
        Some(c) if c.desired == 0 => say(True, "NoMatchingNodes", "no node matches spec.placement.daemonSet"),
        Some(c) if c.ready >= c.desired => say(True, "AllReady", ""),
        Some(_) => say(False, "AgentsUnavailable", format!("some agents are not ready{trouble}: {}", seen.pods())),
    }
}

/// Whether data can flow: the worst reason, by share of the agents that report.
pub fn flow_healthy(seen: &Seen<'_>) -> Say {
    let facts = seen.facts;
    if facts.counts.is_some_and(|counts| counts.current && counts.desired == 0) {
        return say(True, "Idle", "there is no agent");
    }
    if facts.reporting == 0 {
        return match seen.lasting.silent {
            true => seen.missing(),
            false => say(Unknown, "ReportsMissing", "no agent has reported yet"),
        };
    }
    match &facts.failure {
        Some(failure) if is_many(facts.failing, facts.reporting) => {
            say(False, word(failure.reason), &failure.message)
        }
        failure => {
            let reason = match facts {
                _ if seen.is_suspended() => "Suspended",
                Facts { set_aside: true, .. } => "FilesSetAside",
                Facts { flowing: true, .. } => "Flowing",
                _ => "Idle",
            };
            let few = if failure.is_some() { "a few agents cannot flow" } else { "" };
            let aside = if facts.set_aside { "some files need a person" } else { "" };
            let both = [few, aside].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
            say(True, reason, if both.is_empty() { both } else { format!("{both}: see status.worstAgents") })
        }
    }
}

/// The word for a reason.
pub(super) fn word(reason: FlowReason) -> String {
    format!("{reason:?}")
}

/// Whether agents run this generation's configuration and data can flow. The first that matches:
///
/// 1. it is not accepted: False, and stalled, since a GitOps tool must see the bad edit;
/// 2. it is suspended, and agents stopped: True;
/// 3. nothing matches its placement: True, or a sync would hang on an empty cluster;
/// 4. agents do not run its configuration yet: Unknown, after 5 minutes without a step False, and stalled;
/// 5. more than a tenth of the agents cannot flow for 2 minutes: False, until the opposite lasts as long;
/// 6. more than a tenth of the pods are not ready for 2 minutes: False;
/// 7. agents do not report: Unknown;
/// 8. else True.
///
/// A generation that was not ready yet does not inherit the two minutes: it is Unknown until it is seen to flow.
pub fn ready(seen: &Seen<'_>, accepted: &Say, agents: &Say, flow: &Say) -> Say {
    if accepted.status == False {
        return accepted.clone();
    }
    if seen.is_suspended() {
        return say(True, "Suspended", "agents committed what was open and read no more");
    }
    let Some(counts) = seen.facts.counts else {
        return say(Unknown, "RollingOut", &agents.message);
    };
    if counts.current && counts.desired == 0 {
        return say(True, "NothingToRun", &agents.message);
    }
    let lasting = seen.lasting;
    if seen.is_rolling(counts) || (!seen.is_acknowledged() && !lasting.silent) {
        let message = match seen.facts.rejecting {
            0 if seen.is_rolling(counts) && agents.status == False => agents.message.clone(),
            0 => "agents are taking up the configuration".to_owned(),
            _ => format!("an agent goes on with what it ran before: {}", seen.facts.rejection),
        };
        return match lasting.stuck {
            true => say(False, "RolloutStuck", format!("the rollout does not come to an end: {message}")),
            false => say(Unknown, "RollingOut", message),
        };
    }
    match lasting.flow_is_bad {
        Some(true) if flow.status == False => return say(False, &*flow.reason, &flow.message),
        Some(true) => {
            let was = of(seen.before, "Ready");
            let message = match flow.status {
                True => "agents can flow again; it is ready when that has lasted 2 minutes",
                _ => was.map_or("", |c| &c.message),
            };
            return say(False, was.map_or("Flowing", |c| &c.reason), message);
        }
        None if flow.status == False => return say(Unknown, &*flow.reason, &flow.message),
        _ => {}
    }
    match lasting.pods_are_bad {
        Some(true) => return say(False, "AgentsUnavailable", &agents.message),
        None if agents.status != True => return say(Unknown, "RollingOut", &agents.message),
        _ => {}
    }
    if lasting.silent {
        return seen.missing();
    }
    match seen.was_true("Ready") {
        _ if flow.status == True => say(True, &*flow.reason, &flow.message),
        // Something is wrong, and not for long enough to count.
        Some(before) => say(True, &*before.reason, &before.message),
        None => say(Unknown, &*flow.reason, &flow.message),
    }
}

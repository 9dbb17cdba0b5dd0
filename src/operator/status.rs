//! What a LogPipeline's status says: conditions, numbers, the agents that fare worst.
//!
//! Pure; `now` is an argument. At most 8 KiB, whatever agents say. Whether a difference is worth a write is [`difference`]'s to say.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::conditions::{self, Say, Seen, cut, word};
use super::memory::of;
use super::numbers::{backlog, rounded, sluggish, summary, throughput};
use super::view::AgentView;
use crate::pipeline::status::{Agents, Condition, ConditionStatus, LogPipelineStatus, WorstAgent};

use ConditionStatus::{False, True, Unknown};

/// Bytes of a status as JSON.
pub const STATUS_BYTES: usize = 8192;
/// Agents that are named.
const WORST: usize = 5;
/// Bytes of an agent's name, and of what it says.
const AGENT_BYTES: usize = 256;

/// The status. `prefix` is what the agents' transactional ids begin with.
pub fn status(seen: &Seen<'_>, agents: &[AgentView], prefix: &str, now: jiff::Timestamp) -> LogPipelineStatus {
    let before = seen.before;
    let heard = !seen.lasting.warming && !agents.is_empty();
    let rates = if heard { Some(throughput(agents, before.throughput)) } else { before.throughput };
    let waits = if heard { Some(backlog(agents, before.backlog)) } else { before.backlog };
    let facts = seen.facts;
    let counted = facts.counts.map(|counts| Agents {
        desired: counts.desired,
        ready: counts.ready,
        updated: facts.acked,
        reporting: facts.reporting,
        failing: facts.failing,
    });
    let worst = if seen.lasting.warming { before.worst_agents.clone() } else { Some(worst(agents, before)) };
    let mut status = LogPipelineStatus {
        observed_generation: Some(seen.generation),
        conditions: Some(conditions(seen, now)),
        // A bad edit leaves the agents alone, and so what they promise.
        guarantee: match seen.verdict {
            Ok(pipeline) => Some(pipeline.guarantee()),
            Err(_) => before.guarantee.filter(|_| counted.is_some()),
        },
        transactional_id_prefix: Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()),
        agents: counted,
        throughput: rates,
        backlog: waits,
        totals: if heard { Some(seen.lasting.totals) } else { before.totals },
        worst_agents: worst.filter(|worst| !worst.is_empty()),
        summary: facts.counts.map(|counts| summary(counts.ready, counts.desired, rates, waits)),
    };
    fit(&mut status);
    status
}

/// The first status of a generation: nothing is known but whether it is accepted. A tool that looks now sees that it is not done.
pub fn first(seen: &Seen<'_>, now: jiff::Timestamp) -> LogPipelineStatus {
    let wait = Say { status: Unknown, reason: "RollingOut".into(), message: "agents are being started".into() };
    let under_way = Say { status: True, ..wait.clone() };
    let said = [("Accepted", &conditions::accepted(seen)), ("Ready", &wait), ("Reconciling", &under_way)];
    LogPipelineStatus {
        observed_generation: Some(seen.generation),
        conditions: Some(said.iter().map(|(type_, said)| condition(seen, type_, said, now)).collect()),
        ..LogPipelineStatus::default()
    }
}

fn conditions(seen: &Seen<'_>, now: jiff::Timestamp) -> Vec<Condition> {
    let accepted = conditions::accepted(seen);
    let agents = conditions::agents_ready(seen);
    let flow = conditions::flow_healthy(seen);
    let ready = conditions::ready(seen, &accepted, &agents, &flow);
    let kept = |type_: &str| of(seen.before, type_).cloned();
    // Reports are still coming in after the operator's start: what they decide stays as it was for this generation.
    let early = |type_: &str| {
        kept(type_).filter(|c| seen.lasting.warming && c.observed_generation == Some(seen.generation))
    };
    let is_accepted = accepted.status == True;
    let make = |type_: &str, said: &Say| condition(seen, type_, said, now);
    let mut all = vec![make("Accepted", &accepted)];
    let applied = conditions::config_applied(seen).map(|said| make("ConfigApplied", &said));
    // Of a generation that is not accepted nothing is applied: what was said of the last good one still holds.
    all.extend(early("ConfigApplied").or(applied).or_else(|| kept("ConfigApplied").filter(|_| !is_accepted)));
    all.push(make("AgentsReady", &agents));
    all.push(early("FlowHealthy").unwrap_or_else(|| make("FlowHealthy", &flow)));
    let ready = early("Ready").filter(|_| is_accepted).unwrap_or_else(|| make("Ready", &ready));
    let also = Say { status: True, reason: ready.reason.clone(), message: ready.message.clone() };
    if ready.status == Unknown {
        all.push(make("Reconciling", &also));
    }
    if !is_accepted || (ready.status == False && ready.reason == "RolloutStuck") {
        all.push(make("Stalled", &also));
    }
    all.insert(all.len().min(4), ready);
    all
}

fn condition(seen: &Seen<'_>, type_: &str, said: &Say, now: jiff::Timestamp) -> Condition {
    let same = of(seen.before, type_).filter(|c| c.status == said.status);
    Condition {
        type_: type_.to_owned(),
        status: said.status,
        reason: said.reason.clone(),
        message: said.message.clone(),
        observed_generation: Some(seen.generation),
        last_transition_time: same
            .map_or_else(|| now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), |c| c.last_transition_time.clone()),
    }
}

/// The agents that fare worst: who is silent, then who cannot flow, then who has files set aside; among those by name, so that
/// the list does not move with every report.
fn worst(agents: &[AgentView], before: &LogPipelineStatus) -> Vec<WorstAgent> {
    let is_bad = |a: &&AgentView| {
        a.lost || !a.report.flowing || a.report.totals.set_aside > 0 || !a.report.config_problem.is_empty()
    };
    let mut bad: Vec<&AgentView> = agents.iter().filter(is_bad).collect();
    bad.sort_by_key(|a| {
        (Reverse(a.lost), a.report.flowing, Reverse(!a.report.config_problem.is_empty()), &a.agent)
    });
    let mut named = BTreeSet::new();
    bad.retain(|agent| named.insert(&agent.agent));
    let shown = |agent: &str| before.worst_agents.iter().flatten().find(|worst| worst.agent == agent);
    bad.iter()
        .take(WORST)
        .map(|agent| {
            let name = cut(&agent.agent, AGENT_BYTES);
            let waits = i64::try_from(agent.report.backlog.bytes).unwrap_or(i64::MAX);
            let (reason, message) = why(agent);
            WorstAgent {
                backlog_bytes: shown(&name)
                    .map_or_else(|| rounded(waits), |s| sluggish(waits, Some(s.backlog_bytes))),
                agent: name,
                reason,
                message: cut(&message, AGENT_BYTES),
                set_aside: i64::try_from(agent.report.totals.set_aside).unwrap_or(i64::MAX),
            }
        })
        .collect()
}

fn why(agent: &AgentView) -> (String, String) {
    let report = &agent.report;
    if agent.lost {
        return ("ReportsMissing".to_owned(), "it does not report any more".to_owned());
    }
    if !report.flowing {
        return (word(report.reason), report.message.clone());
    }
    if !report.config_problem.is_empty() {
        return ("AgentRejected".to_owned(), report.config_problem.clone());
    }
    let first = report.set_aside.first();
    let message = first.map_or_else(String::new, |f| format!("{}: {}: {}", f.file, f.reason, f.message));
    ("FilesSetAside".to_owned(), message)
}

/// Shortens texts until the whole fits.
fn fit(status: &mut LogPipelineStatus) {
    for max in [512, 256, 128, 64, 16] {
        if size(status) <= STATUS_BYTES {
            return;
        }
        shorten(status, max);
    }
}

/// Makes every text no longer than `max` bytes.
pub fn shorten(status: &mut LogPipelineStatus, max: usize) {
    let short = |text: &mut String| {
        if text.len() > max {
            let end = (0..=max - 3).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            *text = format!("{}…", &text[..end]);
        }
    };
    status.conditions.iter_mut().flatten().for_each(|condition| short(&mut condition.message));
    status.worst_agents.iter_mut().flatten().for_each(|agent| short(&mut agent.message));
}

/// Bytes of a status as JSON.
pub fn size(status: &LogPipelineStatus) -> usize {
    serde_json::to_string(status).map_or(0, |text| text.len())
}

/// What a status says that another did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Nothing worth a write: totals and ages ride along with other writes.
    Nothing,
    /// Shown numbers or texts: worth a write now and then.
    Numbers,
    /// A condition: worth a write at once.
    Conditions,
}

/// What `now` says that `before` did not.
pub fn difference(before: &LogPipelineStatus, now: &LogPipelineStatus) -> Difference {
    type Said = (String, ConditionStatus, String, Option<i64>);
    let said = |status: &LogPipelineStatus| -> Vec<Said> {
        let all = status.conditions.iter().flatten();
        all.map(|c| (c.type_.clone(), c.status, steady(&c.reason).to_owned(), c.observed_generation)).collect()
    };
    if said(before) != said(now)
        || before.observed_generation != now.observed_generation
        || before.guarantee != now.guarantee
        || before.transactional_id_prefix != now.transactional_id_prefix
    {
        return Difference::Conditions;
    }
    let still = |status: &LogPipelineStatus| {
        let mut still = status.clone();
        still.totals = still.totals.map(|_| before.totals.unwrap_or_default());
        still.backlog = still.backlog.map(|b| crate::pipeline::status::Backlog { oldest_seconds: 0, ..b });
        still.summary = still.summary.map(|s| crate::pipeline::status::Summary { oldest: String::new(), ..s });
        still
    };
    if still(before) == still(now) { Difference::Nothing } else { Difference::Numbers }
}

/// Pauses between files are no transitions.
fn steady(reason: &str) -> &str {
    if reason == "Idle" { "Flowing" } else { reason }
}

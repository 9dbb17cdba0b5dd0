//! Events: what happened to a LogPipeline, for `kubectl describe`. Pure; on transitions only, never one a round.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};

use super::conditions::cut;
use super::memory::of;
use super::view::AgentView;
use crate::pipeline::status::{ConditionStatus, LogPipelineStatus};

/// Bytes of a note.
const NOTE_BYTES: usize = 900;
/// Agents and reasons that are remembered for one pipeline; beyond them nothing more is told.
const REMEMBERED: usize = 1000;

/// What happened between two statuses.
pub fn transitions(before: &LogPipelineStatus, now: &LogPipelineStatus) -> Vec<Event> {
    let mut events = Vec::new();
    let (was, is) = (of(before, "Ready").map(|c| c.status), of(now, "Ready"));
    match is {
        Some(c) if c.status == ConditionStatus::True && was != Some(c.status) => {
            events.push(event(
                EventType::Normal,
                "PipelineReady",
                &c.reason,
                &format!("{}: {}", c.reason, c.message),
            ));
        }
        Some(c) if c.status == ConditionStatus::False && was != Some(c.status) => {
            let note = format!("{}: {}", c.reason, c.message);
            events.push(event(EventType::Warning, "PipelineNotReady", &c.reason, &note));
        }
        _ => {}
    }
    if let (Some(was), Some(is)) = (before.guarantee, now.guarantee)
        && was != is
    {
        events.push(event(EventType::Normal, "GuaranteeChanged", "Edit", &format!("from {was} to {is}")));
    }
    events
}

/// Files set aside that nobody was told of: the first of each agent and reason. `told` is none for a pipeline that is looked at
/// for the first time; what is set aside then was told by a former operator, if the status knows of any.
pub fn set_aside(
    agents: &[AgentView],
    told: &mut Option<BTreeSet<(String, String)>>,
    before: &LogPipelineStatus,
) -> Vec<Event> {
    let is_news = told.is_some() || before.totals.is_none_or(|totals| totals.set_aside == 0);
    let told = told.get_or_insert_default();
    let mut events = Vec::new();
    for agent in agents {
        for file in &agent.report.set_aside {
            let known = (agent.agent.clone(), file.reason.clone());
            if told.len() >= REMEMBERED || !told.insert(known) || !is_news {
                continue;
            }
            let note = format!("{} on {}: {}: {}", file.file, agent.agent, file.reason, file.message);
            let node = ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: Some(cut(&agent.agent, 253)),
                ..ObjectReference::default()
            };
            let event = event(EventType::Warning, "FileSetAside", &file.reason, &note);
            events.push(Event { secondary: Some(node), ..event });
        }
    }
    events
}

/// The recorder joins events of one reason, action and related object into a series and keeps the note of the first: the action is
/// what keeps different ones apart.
fn event(type_: EventType, reason: &str, action: &str, note: &str) -> Event {
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(cut(note.trim_end_matches(": "), NOTE_BYTES)),
        action: cut(action, 128),
        secondary: None,
    }
}

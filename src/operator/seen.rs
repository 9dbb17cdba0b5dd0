//! What watchers tell reconciliation about agents. Two traits' worth of questions, so that it can be asked of a table in a test.

use std::fmt;

use super::view::{AgentView, PodView};
use crate::pipeline::pod::ReportTo;

/// What was seen of agents. Answers come from memory, at once.
pub trait Seen: fmt::Debug + Send + Sync {
    /// The agents of a pipeline that reported, lost ones too.
    fn agents(&self, namespace: &str, pipeline: &str) -> Vec<AgentView>;

    /// The pods of its agents.
    fn pods(&self, namespace: &str, pipeline: &str) -> Vec<PodView>;

    /// Where its agents are to send reports; none where nobody listens.
    fn report_to(&self) -> Option<ReportTo>;
}

/// Nothing is seen: an operator that runs outside a cluster, where no agent can reach it.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Seen for Nothing {
    fn agents(&self, _: &str, _: &str) -> Vec<AgentView> {
        Vec::new()
    }

    fn pods(&self, _: &str, _: &str) -> Vec<PodView> {
        Vec::new()
    }

    fn report_to(&self) -> Option<ReportTo> {
        None
    }
}

//! What an agent that starts now would do, and what is in its way: source, channel and sink are asked, and nothing is done. I/O.
//!
//! Invariant: an agent that runs does not notice. No lock is taken, no lease asked for, nothing is written, nobody is fenced (`source::look`,
//! `sink::kafka::look`). Progress is read before the directory, as an agent does: what it ships meanwhile only makes files longer.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::channel::Channel;
use super::channel::plan::Planned;
use super::setup::{Setup, ToKafka};
use super::sink::kafka::client::Brokers;
use super::sink::kafka::look::{Finding, look};
use super::source::look::Passed;
use super::source::spooldir::SpoolDir;
use super::source::{Source, SourceError};
use crate::pipeline::report::FlowReason;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What is in the way: nothing flows until it is gone.
    pub findings: Vec<Finding>,
    /// What is worth to know, and keeps nothing from flowing.
    pub remarks: Vec<String>,
    /// Whether brokers answered.
    pub reached: bool,
    /// Whether progress could be read; if not, files are planned as if none were begun.
    pub knows_progress: bool,
    /// The process that has the directory locked.
    pub locked_by: Option<u32>,
    /// The files, in the order in which they would be taken up.
    pub files: Vec<Planned>,
    /// What is no candidate.
    pub passed: Vec<Passed>,
}

impl From<&SourceError> for Finding {
    fn from(error: &SourceError) -> Self {
        Finding { reason: format!("{:?}", error.reason), message: error.message.clone() }
    }
}

/// The brokers of a pipeline, as this agent sees them.
pub fn brokers(setup: &Setup, to: &ToKafka) -> Brokers {
    Brokers::new(&to.spec, &setup.identity, &to.names, to.longest, Arc::new(AtomicBool::new(false)))
}

/// Looks.
pub fn plan(setup: &Setup, to: &ToKafka) -> Plan {
    let mut probe = to.clone();
    probe.names.transactional_id.push_str("/plan");
    let kafka = look(&brokers(setup, to), &mut brokers(setup, &probe));
    let mut plan = Plan {
        findings: kafka.findings,
        remarks: kafka.remarks,
        reached: kafka.reached,
        knows_progress: kafka.committed.is_some(),
        ..Plan::default()
    };
    if setup.suspended {
        let message = "spec.suspend is true: nothing is read until it is false".to_owned();
        plan.findings.insert(0, Finding { reason: format!("{:?}", FlowReason::Suspended), message });
    }
    // An agent's first generator of ids begins at a random place too; none of them is shown.
    let mut channel = Channel::new(setup.channel.clone(), 0);
    channel.resume(kafka.committed.unwrap_or_default(), kafka.partitions.unwrap_or(1), Duration::ZERO);
    if let Err(error) = directory(&mut plan, setup, &mut channel) {
        plan.findings.push(Finding::from(&error));
    }
    plan
}

fn directory(plan: &mut Plan, setup: &Setup, channel: &mut Channel) -> Result<(), SourceError> {
    let (stop, _kept) = std::io::pipe()
        .map_err(|e| SourceError::new(FlowReason::SpoolDirectoryMissing, format!("cannot make a pipe: {e}")))?;
    let mut spool = SpoolDir::new(setup.directory.clone(), stop.into());
    spool.look()?;
    plan.locked_by = spool.locked_by();
    plan.findings.extend(spool.can_complete().err().as_ref().map(Finding::from));
    let entries = spool.list(true)?.unwrap_or_default();
    plan.passed = spool.passed()?;
    channel.grew(spool.completed(&channel.completed_lately()), Duration::ZERO);
    channel.listed(entries, Duration::ZERO, Duration::ZERO);
    plan.files = channel.plan(Duration::ZERO, |read, data| {
        let chunk = spool.read(read, data);
        spool.close(read.inode);
        chunk
    });
    Ok(())
}

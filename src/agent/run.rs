//! The loop: the only place where source, channel and sink meet. One plain thread, no policy of its own.
//!
//! Every recoverable failure takes one path: abandon → open the sink again → `channel.resume`. There is no "retry this batch".
//! A change of configuration takes the same path: the loop ends at a transaction boundary, as for a stop, and runs anew with other
//! settings (`agent::config`), so it goes through the opening order too, and what it reads there is all that it goes on with.

use std::time::Duration;

use super::backoff::{Backoff, LONGEST};
use super::channel::splitter::Line;
use super::channel::{Channel, Step};
use super::sink::{Failure, Opened, Sink, SinkError};
use super::source::{FileError, Source, SourceError};
use crate::pipeline::report::FlowReason;

/// It looks at least this often whether it is to end, and shows that it lives.
const LOOK: Duration = Duration::from_secs(1);

/// What the loop needs of the world besides its source and sink.
pub trait Surroundings {
    /// A monotonic clock.
    fn now(&self) -> Duration;
    /// True once the loop is to end: the agent stops, or is to run something else. Called often, cheap.
    fn stopping(&mut self) -> bool;
    /// The sink is open.
    fn opened(&mut self, opened: &Opened);
    /// The state of things: called often, cheap. `message` is empty where nothing is wrong.
    fn observe(&mut self, channel: &Channel, reason: FlowReason, message: &str);
    /// A transaction was given up.
    fn retried(&mut self);
}

/// Why shipping was interrupted.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// By the directory.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// By the sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl Trouble {
    /// True where trying again is not worth it: never, or not for one who wants an answer `now`.
    fn ends(&self, now: bool) -> bool {
        match self {
            Trouble::Source(e) => e.ends || (now && e.reason != FlowReason::AnotherAgentRunning),
            Trouble::Sink(e) => e.failure == Failure::Ends,
        }
    }
}

/// Ships until told to stop, or until everything is shipped (`once`); then returns `Ok`. What was read is committed by then, or given
/// up; the sink is closed, and the directory stays locked for whatever runs next.
///
/// # Errors
/// `once`: the directory cannot be opened at all. Otherwise: nothing but a new process can help.
pub fn run(
    source: &mut impl Source,
    sink: &mut (impl Sink + ?Sized),
    channel: &mut Channel,
    world: &mut impl Surroundings,
    once: bool,
) -> Result<(), Trouble> {
    let mut backoff = Backoff::default();
    while !world.stopping() {
        let (commits, began) = (channel.commits(), world.now());
        let trouble = match open(source, sink, channel, world).and_then(|()| ship(source, sink, channel, world)) {
            Ok(()) => break,
            Err(trouble) if trouble.ends(once && commits == 0) => {
                sink.close();
                return Err(trouble);
            }
            Err(trouble) => trouble,
        };
        sink.close();
        // It held for longer than the longest wait: what failed before is no reason to wait any more.
        if channel.commits() > commits || world.now() > began + LONGEST {
            backoff = Backoff::default();
        }
        let reason = react(&trouble, source, channel, world);
        world.observe(channel, reason, &trouble.to_string());
        let until = world.now() + backoff.next(&trouble);
        while world.now() < until && !world.stopping() {
            source.wait(until.saturating_sub(world.now()).min(LOOK));
            world.observe(channel, reason, &trouble.to_string());
        }
    }
    sink.close();
    Ok(())
}

/// The opening order: lock the directory, fence the predecessor, read progress. Never another.
fn open(
    source: &mut impl Source,
    sink: &mut (impl Sink + ?Sized),
    channel: &mut Channel,
    world: &mut impl Surroundings,
) -> Result<(), Trouble> {
    source.open()?;
    let opened = sink.open()?;
    world.opened(&opened);
    channel.resume(opened.committed, opened.partitions, world.now());
    Ok(())
}

fn ship(
    source: &mut impl Source,
    sink: &mut (impl Sink + ?Sized),
    channel: &mut Channel,
    world: &mut impl Surroundings,
) -> Result<(), Trouble> {
    let (mut data, mut lines): (Vec<u8>, Vec<Line>) = (vec![], vec![]);
    loop {
        if world.stopping() {
            channel.stop();
        }
        let now = world.now();
        match channel.next(now) {
            Step::List { full } => match source.list(full) {
                Ok(Some(entries)) => {
                    if full {
                        channel.grew(source.completed(&channel.completed_lately()), world.now());
                    }
                    channel.listed(entries, now, world.now());
                }
                Ok(None) => channel.unchanged(now),
                Err(e) => channel.unlisted(e, now),
            },
            Step::Read(read) => match source.read(&read, &mut data) {
                Ok(chunk) => {
                    // Unchanged means: since this moment, however long the disk took.
                    let records = channel.read(&read, &chunk, &mut data, world.now(), &mut lines);
                    if !channel.reads_on(read.inode) {
                        source.close(read.inode);
                    }
                    if let Some(records) = records {
                        sink.append(&records, &mut data, &lines)?;
                    }
                }
                Err(FileError::Vanished) => channel.vanished(read.inode, now),
                Err(FileError::Aside(reason, why)) => channel.set_aside(read.inode, reason, &why, now),
            },
            Step::Commit => {
                let (closing, tombstones) = channel.closing(sink.flush()?);
                sink.commit(&closing, &tombstones)?;
                channel.committed(world.now());
                world.observe(channel, FlowReason::Flowing, "");
            }
            Step::Complete(batch) => channel.completed(source.complete(&batch), world.now()),
            Step::Wait(until) => {
                let (reason, message) = sink.idle().unwrap_or((FlowReason::Idle, String::new()));
                world.observe(channel, reason, &message);
                if source.wait(until.saturating_sub(now).min(LOOK)) {
                    channel.hint();
                }
            }
            Step::Reopen(e) => return Err(e.into()),
            Step::Done => return Ok(()),
        }
    }
}

/// What a failure changes before the sink is opened again; returns the reason to show.
fn react(
    trouble: &Trouble,
    source: &mut impl Source,
    channel: &mut Channel,
    world: &mut impl Surroundings,
) -> FlowReason {
    match trouble {
        Trouble::Source(e) => e.reason,
        Trouble::Sink(e) => {
            world.retried();
            match e.failure {
                Failure::Retry | Failure::RetrySlowly | Failure::Smaller | Failure::Ends => {}
                Failure::TimedOut => channel.timed_out(),
                Failure::Fenced => source.release(),
                Failure::Aside { slot, reason } => channel.refused(slot, reason, &e.message, world.now()),
            }
            e.reason
        }
    }
}

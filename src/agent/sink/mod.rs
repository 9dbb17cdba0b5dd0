//! Where lines go. A sink does what the channel says, and turns what goes wrong into a [`SinkError`].

pub mod console;
pub mod file;
pub mod kafka;

use crate::agent::channel::digest::FileId;
use crate::agent::channel::file::Reason;
use crate::agent::channel::progress::{Closing, Progress};
use crate::agent::channel::splitter::Line;
use crate::agent::channel::{Delivered, Records};
use crate::pipeline::pod::CheckpointTopic;
use crate::pipeline::report::FlowReason;

/// The name, without an extension, of what an agent keeps in its state directory. `%` cannot stand in any part of the id that
/// Kubernetes names; it keeps ids apart where one holds a slash.
pub fn file_stem(transactional_id: &str) -> String {
    transactional_id.replace('%', "%25").replace('/', "%2F")
}

/// What becomes of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Abandon, open again, read again.
    Retry,
    /// The same, and smaller transactions from now on.
    TimedOut,
    /// The same at once, since the sink sends smaller batches from now on.
    Smaller,
    /// The same, but a person must act first: no hurry.
    RetrySlowly,
    /// A successor exists: let go of the directory and try again much later.
    Fenced,
    /// Nobody takes lines any more, and nothing but a new process can help.
    Ends,
    /// Kafka takes a record of this slot in no way: its file is set aside.
    Aside {
        /// The file's place among those of the transaction.
        slot: u32,
        /// Why.
        reason: Reason,
    },
}

/// A failure with its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// What becomes of it.
    pub failure: Failure,
    /// For status.
    pub reason: FlowReason,
    /// What is wrong and what to do; one line.
    pub message: String,
}

/// What holds when a sink has been opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// Everything that is committed of this agent's files.
    pub committed: Vec<Progress>,
    /// Partitions of the topic.
    pub partitions: u32,
    /// What the checkpoint topic is like, where progress is kept in one.
    pub checkpoint_topic: Option<CheckpointTopic>,
}

/// Takes records in transactions.
pub trait Sink {
    /// Opens the sink, or opens it again after a failure: whatever was open before is abandoned, and nothing of it can
    /// become visible any more when this returns.
    ///
    /// # Errors
    /// It may be called again.
    fn open(&mut self) -> Result<Opened, SinkError>;

    /// Appends the lines of a chunk; a transaction is begun with the first. The sink may keep the buffer (librdkafka reads
    /// from it until the lines are delivered) and leave another in its place.
    ///
    /// # Errors
    /// The transaction is lost: [`Sink::open`] is next.
    fn append(&mut self, records: &Records, data: &mut Vec<u8>, lines: &[Line]) -> Result<(), SinkError>;

    /// Waits until every line is with the brokers, and tells their offsets by slot.
    ///
    /// # Errors
    /// The transaction is lost: [`Sink::open`] is next.
    fn flush(&mut self) -> Result<Vec<Delivered>, SinkError>;

    /// Adds progress, segments and receipts and commits all of it, or none.
    ///
    /// # Errors
    /// Whether it is committed is unknown: [`Sink::open`] finds out.
    fn commit(&mut self, closing: &[Closing], tombstones: &[FileId]) -> Result<(), SinkError>;

    /// Nothing to do at the moment: lets the client notice what happens to its connections. Tells what it heard, if bad.
    fn idle(&mut self) -> Option<(FlowReason, String)>;

    /// Lets go of everything; nothing more is sent.
    fn close(&mut self);
}

//! Where lines come from. A source is a thin shell: it does the I/O the channel asks for and decides nothing.

mod branches;
mod bytes;
mod lease;
pub mod look;
pub mod spooldir;
mod watch;
mod way;

use std::collections::HashSet;
use std::time::Duration;

pub use way::is_beneath;

use crate::agent::channel::file::{Entry, Reason};
use crate::agent::channel::{Chunk, Completed, Completion, Inode, Read};
use crate::pipeline::report::FlowReason;

/// The directory as a whole cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// For status.
    pub reason: FlowReason,
    /// What is wrong and what to do.
    pub message: String,
    /// Nothing but a new process can help.
    pub ends: bool,
}

impl SourceError {
    /// One that may pass.
    pub fn new(reason: FlowReason, message: impl Into<String>) -> Self {
        SourceError { reason, message: message.into(), ends: false }
    }
}

/// One file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileError {
    /// The name is gone, or another file has it now.
    Vanished,
    /// It needs a person; the kernel's words.
    Aside(Reason, String),
}

/// I/O on a spool directory.
pub trait Source {
    /// Opens and locks the directory, or does so again.
    ///
    /// # Errors
    /// It is missing, locked by another agent, or not usable by this user; it may be called again.
    fn open(&mut self) -> Result<(), SourceError>;

    /// Gives the directory up, so that another agent may lock it.
    fn release(&mut self);

    /// All names that match; `None` when nothing changed and the listing need not be `full`.
    ///
    /// # Errors
    /// The directory is gone or cannot be read: open it again.
    fn list(&mut self, full: bool) -> Result<Option<Vec<Entry>>, SourceError>;

    /// Those of these files that are there under a completed name; what cannot be looked at is left out.
    fn completed(&mut self, wanted: &HashSet<Inode>) -> Vec<Entry>;

    /// Reads a chunk into `data`, over whatever it held. The file stays open until [`Source::close`].
    ///
    /// # Errors
    /// Concern this file alone.
    fn read(&mut self, read: &Read, data: &mut Vec<u8>) -> Result<Chunk, FileError>;

    /// Closes a file that is not read on.
    fn close(&mut self, inode: Inode);

    /// Renames finished files that are what they were when they were committed.
    fn complete(&mut self, batch: &[Completion]) -> Vec<(Inode, Completed)>;

    /// Waits for the time to pass, a stop, or a change in the directory; true for a change.
    fn wait(&mut self, time: Duration) -> bool;
}

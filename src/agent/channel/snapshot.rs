//! What the channel tells about itself, for reports. Pure; a part of [`Channel`].

use std::time::Duration;

use super::Channel;
use super::file::{Phase, Reason};
use super::name::Name;
use super::progress::Altered;

/// Set-aside files named in a snapshot at most; all are counted.
const NAMED: usize = 5;

/// Counters since the agent's start. Lines and bytes count once they are committed, files once they are complete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records committed.
    pub lines: u64,
    /// Bytes of files committed.
    pub bytes: u64,
    /// Files completed.
    pub files: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Lines committed that were not shipped as they stood in their file.
    pub altered: Altered,
    /// Time of the last commit.
    pub last_commit: Option<Duration>,
    /// When the first chunk was read.
    pub first_read: Option<Duration>,
    /// Time of the last commit that held lines.
    pub last_lines: Option<Duration>,
    /// When the last file was completed: renamed, deleted, or with Track committed.
    pub last_file: Option<Duration>,
}

/// How much since the agent's start, and where the last of it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files or bytes.
    pub count: u64,
    /// The file of the last ones.
    pub last: Option<Name>,
}

impl Tally {
    pub(super) fn add(&mut self, count: u64, file: &Name) {
        if count > 0 {
            self.count += count;
            self.last = Some(file.clone());
        }
    }

    /// The file of the last ones, where there are more than `before`.
    pub fn news(&self, before: &Tally) -> Option<&Name> {
        self.last.as_ref().filter(|_| self.count > before.count)
    }
}

/// A file that needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// Its name.
    pub name: Name,
    /// Bytes of it that are shipped.
    pub position: u64,
    /// Why.
    pub reason: Reason,
    /// What the kernel or Kafka said.
    pub note: String,
}

/// The state of the work at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Counters.
    pub totals: Totals,
    /// Files with bytes that are not committed.
    pub backlog_files: u64,
    /// Those bytes.
    pub backlog_bytes: u64,
    /// Last change of the oldest of those files, nanoseconds since 1970.
    pub oldest: Option<i64>,
    /// Files set aside.
    pub set_aside: u64,
    /// The first few of them by name.
    pub asides: Vec<Aside>,
    /// `once`: files shipped to their last newline, since they grew.
    pub growing: Vec<Name>,
    /// How often a file grew after it was completed; what is new of it ships.
    pub grown: Tally,
    /// Bytes that were cut off, or gone with their file when it was looked for again, before they were read. What comes back ships all the
    /// same, and stays counted.
    pub unread: Tally,
    /// How often a file was no longer what was shipped of it, and was begun anew.
    pub anew: Tally,
    /// The byte limit of a transaction in force.
    pub transaction_limit: u64,
}

impl Channel {
    /// The state at this moment; looks at every file.
    pub fn snapshot(&self) -> Snapshot {
        let mut shot = Snapshot {
            totals: self.totals,
            grown: self.grown.clone(),
            unread: self.unread.clone(),
            anew: self.anew.clone(),
            transaction_limit: self.batch.limit(),
            ..Default::default()
        };
        for file in self.files.values() {
            let uncommitted = file.begun.as_ref().and_then(|b| b.slot.map(|slot| b.progress.position - slot.from));
            let bytes = file.remaining() + uncommitted.unwrap_or(0);
            match file.phase {
                Phase::SetAside { reason, .. } => {
                    shot.set_aside += 1;
                    let note = file.note.as_deref().unwrap_or_default().to_owned();
                    shot.asides.push(Aside { name: file.name.clone(), position: file.position(), reason, note });
                }
                Phase::Growing => shot.growing.push(file.name.clone()),
                _ => {}
            }
            if bytes > 0 {
                shot.backlog_files += 1;
                shot.backlog_bytes += bytes;
                shot.oldest = Some(shot.oldest.map_or(file.stat.modified, |o| o.min(file.stat.modified)));
            }
        }
        shot.asides.sort_by(|a, b| a.name.cmp(&b.name));
        shot.asides.truncate(NAMED);
        shot.growing.sort();
        shot
    }
}

//! From what was delivered to what is committed and complete. Pure; a part of [`Channel`].

use std::time::Duration;

use super::digest::{FileId, Mark};
use super::file::{Phase, Reason};
use super::name::Name;
use super::progress::{Closing, Run, Segment, extend};
use super::{Channel, Inode};

/// Files renamed in one step at most, before the directory is synced.
const COMPLETE_AT_ONCE: usize = 256;
/// A file that a writer still has open, or that cannot be completed, is tried again after this time.
const RETRY_RENAME: Duration = Duration::from_secs(10);

/// Offsets that the records of one slot took.
pub type Delivered = Vec<Run>;

/// A file to complete, and what must hold for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The file.
    pub inode: Inode,
    /// Its name.
    pub name: Name,
    /// Its birth time where it is known, or another file has its inode.
    pub birth: Option<i64>,
    /// Its size, or it grew.
    pub size: u64,
    /// Mark of its first bytes, or it was rewritten.
    pub head: Mark,
    /// Mark of its last bytes, or it was rewritten.
    pub tail: Mark,
}

/// What came of a [`Completion`].
#[derive(Debug, Clone, PartialEq)]
pub enum Completed {
    /// It has its new name.
    Renamed(Name),
    /// It is removed.
    Deleted,
    /// It stays, and is what was committed (`completion: Track`).
    Kept,
    /// It has this name, or is gone, but the directory could not be synced: a crash may undo it.
    Unsynced {
        /// Its name now, or the last it had.
        name: Name,
        /// It was renamed or removed just now.
        new: bool,
    },
    /// It is longer or shorter than what was committed.
    Resized,
    /// Its last bytes are others.
    Rewritten,
    /// A writer has it open.
    Writer,
    /// The name is gone, or another file has it.
    Gone,
    /// The kernel refused, with its words.
    Refused(String),
}

impl Completed {
    /// The same where the directory of `wanted` could not be synced behind it.
    #[must_use]
    pub fn unsynced(self, wanted: &Completion) -> Completed {
        let (name, new) = match self {
            Completed::Renamed(name) => (name, true),
            Completed::Deleted => (wanted.name.clone(), true),
            Completed::Kept | Completed::Gone => (wanted.name.clone(), false),
            other => return other,
        };
        Completed::Unsynced { name, new }
    }
}

impl Channel {
    /// Everything is delivered, `delivered` by slot: what the transaction is to say of each file, and which ids go.
    pub fn closing(&mut self, mut delivered: Vec<Delivered>) -> (Vec<Closing>, Vec<FileId>) {
        delivered.resize(self.touched.len().max(delivered.len()), vec![]);
        let mut closing = Vec::with_capacity(self.touched.len());
        for (inode, runs) in self.touched.iter().zip(delivered) {
            let Some(begun) = self.files.get_mut(inode).and_then(|f| f.begun.as_deref_mut()) else { continue };
            let Some(slot) = begun.slot else { continue };
            extend(&mut begun.progress.extents, &runs);
            let segment = Segment { from: slot.from, to: begun.progress.position, lines: slot.lines, runs };
            closing.push(Closing { progress: begun.progress.clone(), segment, ended: slot.ended });
        }
        (closing, self.tombstones.clone())
    }

    /// The transaction of the last [`Channel::closing`] is committed.
    pub fn committed(&mut self, now: Duration) {
        self.batch.committed(now);
        self.commit_now = false;
        self.tombstones.clear();
        let lines = self.totals.lines;
        for inode in std::mem::take(&mut self.touched) {
            let Some(file) = self.files.get_mut(&inode) else { continue };
            let Some(begun) = file.begun.as_deref_mut() else { continue };
            if let Some(slot) = begun.slot.take() {
                self.totals.lines += slot.lines;
                self.totals.altered += slot.altered;
                self.totals.bytes += begun.progress.position - slot.from;
                self.anew.add(u64::from(slot.anew), &file.name);
            }
            if file.phase == Phase::Sealed {
                // With Track there is nothing to do; should it change, the next listing shows it.
                let done = if self.settings.track {
                    Phase::Completed { since: now }
                } else {
                    Phase::Completing { due: now }
                };
                if self.settings.track {
                    self.totals.files += 1;
                    self.totals.last_file = Some(now);
                }
                self.set(inode, done);
            }
        }
        self.totals.last_commit = Some(now);
        if self.totals.lines > lines {
            self.totals.last_lines = Some(now);
        }
        self.totals.commits += 1;
    }

    pub(super) fn completions(&mut self) -> Vec<Completion> {
        let keep = self.completing.len().saturating_sub(COMPLETE_AT_ONCE);
        let batch = self.completing.split_off(keep);
        batch
            .into_iter()
            .filter_map(|inode| {
                let file = self.files.get(&inode)?;
                let progress = &file.begun.as_ref()?.progress;
                let complete = matches!(file.phase, Phase::Completing { .. }) && progress.finished;
                complete.then(|| Completion {
                    inode,
                    name: file.name.clone(),
                    birth: progress.birth,
                    size: progress.position,
                    head: progress.head,
                    tail: progress.tail,
                })
            })
            .collect()
    }

    /// What came of the completions.
    pub fn completed(&mut self, results: Vec<(Inode, Completed)>, now: Duration) {
        for (inode, result) in results {
            match result {
                Completed::Renamed(name) => {
                    if let Some(file) = self.files.get_mut(&inode) {
                        file.name = name;
                    }
                    self.done(inode, now);
                }
                Completed::Deleted => self.done(inode, now),
                Completed::Unsynced { name, new } => self.unsynced(inode, name, new, now),
                Completed::Kept => self.set(inode, Phase::Completed { since: now }),
                Completed::Resized => self.reread(inode),
                Completed::Rewritten => {
                    let note = "its last bytes are not those that were shipped";
                    self.set_aside(inode, Reason::Rewritten, note, now);
                }
                Completed::Writer if self.settings.once => self.set(inode, Phase::Growing),
                Completed::Writer => self.set(inode, Phase::Completing { due: now + RETRY_RENAME }),
                Completed::Gone => self.vanished(inode, now),
                Completed::Refused(why) => {
                    self.aside_until(inode, Reason::CannotComplete, &why, now + RETRY_RENAME);
                }
            }
        }
    }

    /// Its name is gone from the directory, by a new name or for good.
    fn done(&mut self, inode: Inode, now: Duration) {
        self.totals.files += 1;
        self.totals.last_file = Some(now);
        self.hinted |= self.files.get(&inode).is_some_and(|file| file.linked); // its other name is next
        self.set(inode, Phase::Completed { since: now });
    }

    /// Its progress is kept until a sync succeeds, for as long it may have its old name again.
    fn unsynced(&mut self, inode: Inode, name: Name, new: bool, now: Duration) {
        if let Some(file) = self.files.get_mut(&inode) {
            file.name = name;
        }
        if new {
            self.done(inode, now);
        }
        if self.settings.once {
            return self.set(inode, Phase::Completed { since: now });
        }
        self.set(inode, Phase::Completing { due: now + RETRY_RENAME });
    }

    /// Its size changed between commit and rename: what is new of it ships first.
    fn reread(&mut self, inode: Inode) {
        let listing = self.listing;
        let Some(file) = self.files.get_mut(&inode) else { return };
        file.grown |= file.listing != listing;
        if let Some(begun) = file.begun.as_deref_mut() {
            begun.unverified = true;
            self.set(inode, Phase::Waiting);
        }
    }
}

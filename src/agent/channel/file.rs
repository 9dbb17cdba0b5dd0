//! A file as the channel knows it: what it is recognised by, where it stands, and which moves are legal. Pure.
//!
//! Identity is inode + birth time where both sides know it + a hash of the first bytes + a hash of the bytes before the position;
//! never the device number (it changes at reboot), never one of them alone (inodes are used again, CSV files share a header).

use std::time::Duration;

use super::digest::Mark;
use super::name::Name;
use super::progress::{Altered, End, Left, Progress};

/// Bytes of the file's beginning that its head mark covers at most.
pub const HEAD_BYTES: usize = 1024;
/// Bytes before the position that the tail mark covers at most.
pub const TAIL_BYTES: u64 = 256;

/// What the directory and `fstat` tell of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Last change, nanoseconds since 1970 by the file system's clock.
    pub modified: i64,
    /// Last change of the inode (ctime), the same clock: no program can set it back.
    pub changed: i64,
    /// Birth, the same, where the file system tells it.
    pub birth: Option<i64>,
    /// Names that it has; 0: it was removed, and is there for whoever has it open.
    pub links: u32,
}

/// One name in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path relative to the spool directory.
    pub name: Name,
    /// What `lstat` said.
    pub stat: Stat,
    /// Set where it is not to be opened: a link, FIFO, socket or device, or a directory that cannot be entered.
    pub obstacle: Option<Obstacle>,
}

/// Why something in a listing is set aside unopened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// As a word.
    pub reason: Reason,
    /// As the kernel or the source says it.
    pub note: String,
}

/// Where a file stands. Time is the agent's own monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// There are bytes to read, or its identity is to be looked at; it waits for its turn.
    Waiting,
    /// It has a turn: read chunk by chunk.
    Reading,
    /// Read to its end; becomes complete when unchanged until `due`.
    Settling {
        /// When to look again.
        due: Duration,
    },
    /// Its last byte is in the open transaction.
    Sealed,
    /// Its last byte is committed; what completes it is due.
    Completing {
        /// Not before this time (after a failed rename).
        due: Duration,
    },
    /// Renamed, so that the name no longer is a candidate; or removed; or (`Track`) what is there is what was committed.
    Completed {
        /// Since when.
        since: Duration,
    },
    /// Needs a person; tried again when it changes, at start, and at `retry`.
    SetAside {
        /// Why.
        reason: Reason,
        /// When it is tried again on its own.
        retry: Duration,
    },
    /// `--once` only: it grew or is still being written; shipped to its last newline, not renamed.
    Growing,
    /// Not in the last listing; after the sink is opened, not in a listing yet.
    Absent {
        /// Since when.
        since: Duration,
    },
}

/// Why a file is set aside, or cannot be completed. The words that status, report and console show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Reason {
    /// The agent's user may not read it.
    PermissionDenied,
    /// A link, directory, FIFO, socket or device.
    NotARegularFile,
    /// Known by its first bytes as gzip, zstd, bzip2, xz, lz4 or zip.
    CompressedFile,
    /// A sub-directory that another agent has locked.
    DirectoryInUse,
    /// A sub-directory on another file system.
    AnotherFileSystem,
    /// The kernel cannot read it (EIO and the like).
    ReadError,
    /// It has bytes that are not of `inputCharset`.
    CannotDecode,
    /// A record that Kafka refuses for its size.
    RecordTooLarge,
    /// The topic or partition that it was begun on is gone.
    TopicGone,
    /// Its bytes changed after they were committed.
    Rewritten,
    /// Everything is committed, but it cannot be renamed.
    CannotComplete,
}

impl Reason {
    /// What a person can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Reason::PermissionDenied => {
                "let the agent's user read it (chmod, chown, or run the agent as its owner)"
            }
            Reason::NotARegularFile => "only regular files are shipped; remove it or exclude it with ignorePattern",
            Reason::CompressedFile => "decompress it, or exclude it with ignorePattern",
            Reason::DirectoryInUse => "let one LogPipeline alone read it; it is entered when the other agent ends",
            Reason::AnotherFileSystem => "write a LogPipeline of its own for it",
            Reason::ReadError => "check the disk (dmesg)",
            Reason::CannotDecode => "set inputCharset to what it is written in, or decodeErrorPolicy: Replace",
            Reason::RecordTooLarge => "raise the topic's max.message.bytes, or lower maxLineBytes",
            Reason::TopicGone => {
                "bring the topic back; or to ship the file from its first byte where new files go: spoolway progress forget"
            }
            Reason::Rewritten => "it was changed in place after it was shipped; give new content a new name",
            Reason::CannotComplete => "its lines are committed, and it is completed as soon as that is possible",
        }
    }
}

/// A file of the spool directory.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name in the last listing that had it.
    pub name: Name,
    /// Its stat, the newest known.
    pub stat: Stat,
    /// When this agent last saw it change.
    pub changed: Duration,
    /// Where it stands.
    pub phase: Phase,
    /// Number of the last listing that had it.
    pub listing: u64,
    /// That listing had it under a second name, a hard link.
    pub linked: bool,
    /// It has its completed name, and grew: what is new ships; no listing of candidates shows it.
    pub grown: bool,
    /// It was there, and was not when it was looked for once; the next listing decides whether it is gone.
    pub missed: bool,
    /// What has been begun of it.
    pub begun: Option<Box<Begun>>,
    /// What the kernel or Kafka said when it was set aside.
    pub note: Option<Box<str>>,
}

/// The part of a file's state that exists once something of it was read.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Progress as of the last byte appended, committed or not.
    pub progress: Progress,
    /// Bytes looked at: up to here nothing is readable that was not before (an unfinished line ends here).
    pub scanned: u64,
    /// Set while the open transaction holds something of it.
    pub slot: Option<Slot>,
    /// True until its identity was verified on an open descriptor.
    pub unverified: bool,
}

/// What the open transaction holds of a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Slot {
    /// Its place among the files of the transaction.
    pub index: u32,
    /// Position before the transaction.
    pub from: u64,
    /// Records within.
    pub lines: u64,
    /// Which of its lines within are not as they stood in it.
    pub altered: Altered,
    /// Its end, when its last byte is within.
    pub ended: Option<End>,
    /// It took the place of another generation, of which something was shipped.
    pub anew: bool,
}

impl File {
    /// A file seen for the first time.
    pub fn new(entry: Entry, now: Duration, listing: u64) -> Self {
        File {
            name: entry.name,
            stat: entry.stat,
            changed: now,
            phase: Phase::Waiting,
            listing,
            linked: false,
            grown: false,
            missed: false,
            begun: None,
            note: None,
        }
    }

    /// Bytes that are done with.
    pub fn position(&self) -> u64 {
        self.begun.as_ref().map_or(0, |b| b.progress.position)
    }

    /// Takes over a newer stat; true when the file changed.
    pub fn update(&mut self, stat: Stat, now: Duration) -> bool {
        let changed = stat != self.stat;
        if changed {
            self.stat = stat;
            self.changed = now;
        }
        changed
    }

    /// True when there may be something to ship that was not looked at.
    pub fn is_readable(&self) -> bool {
        match &self.begun {
            None => self.stat.size > 0,
            Some(begun) => self.stat.size > begun.scanned || self.stat.size < begun.progress.position,
        }
    }

    /// Bytes still to ship, for the backlog. The size of a link is no backlog.
    pub fn remaining(&self) -> u64 {
        match self.phase {
            Phase::Completed { .. } | Phase::Absent { .. } => 0,
            Phase::SetAside { reason: Reason::NotARegularFile, .. } => 0,
            _ => self.stat.size.saturating_sub(self.position()),
        }
    }

    /// Where it is, if not in the listing of this number; of one that grew under its completed name nothing is said.
    pub fn left(&self, listing: u64) -> Option<Left> {
        match self.stat.links {
            0 => Some(Left::Deleted),
            _ => (self.listing != listing && !self.grown).then_some(Left::MovedAway),
        }
    }

    /// Bytes that were not read and are not there any more, if it is now like this; what else was cut and written again nobody can tell.
    pub fn cut(&self, stat: &Stat) -> u64 {
        match self.phase {
            Phase::SetAside { .. } => 0, // what a person does with it is their decision
            _ => self.stat.size.saturating_sub(stat.size.max(self.position())),
        }
    }

    /// It is gone: the bytes of it that were not read. Once only, and it is not waited for any more.
    pub fn lose(&mut self) -> u64 {
        let position = self.position();
        self.missed = false;
        std::mem::replace(&mut self.stat.size, position).saturating_sub(position)
    }

    /// True when progress names this very file, as far as a stat can tell: birth times must agree where both are known.
    pub fn may_be(&self, progress: &Progress) -> bool {
        born_like(progress, self.stat.birth)
    }
}

/// True unless the birth times are both known and differ.
pub fn born_like(progress: &Progress, birth: Option<i64>) -> bool {
    match (birth, progress.birth) {
        (Some(here), Some(there)) => here == there,
        _ => true,
    }
}

/// Marks after `consumed` more bytes: `data` begins `back` bytes before the old position.
pub fn marks(progress: &Progress, data: &[u8], back: usize, consumed: usize) -> (Mark, Mark) {
    let end = back + consumed;
    let head =
        if progress.position == 0 { Mark::of(&data[back..end.min(back + HEAD_BYTES)]) } else { progress.head };
    let tail = Mark::of(&data[end.saturating_sub(TAIL_BYTES as usize)..end]);
    (head, tail)
}

/// True for the first bytes of the compressed formats that are set aside: gzip, zstd, bzip2, xz, lz4, zip.
pub fn is_compressed(head: &[u8]) -> bool {
    const MAGIC: [&[u8]; 5] =
        [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"\x04\x22\x4d\x18", b"PK\x03\x04"];
    let bzip2 = head.len() >= 10 && head.starts_with(b"BZh") && head[4..10] == *b"1AY&SY";
    bzip2 || MAGIC.iter().any(|magic| head.starts_with(magic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_not_taken_for_an_archive() {
        assert!(is_compressed(b"\x1f\x8b\x08\0"));
        assert!(is_compressed(b"BZh91AY&SY...."));
        for text in [&b"BZh9 is a name"[..], b"PK is a name", b"", b"\x1f"] {
            assert!(!is_compressed(text), "{text:?}");
        }
    }
}

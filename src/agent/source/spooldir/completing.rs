//! The end of a file: renamed, deleted or left, once more known to be what was committed. I/O.
//!
//! Invariant: nothing is overwritten, and no file is touched that another one has taken the name or the inode of.

use std::collections::{BTreeSet, HashSet};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, RenameFlags};
use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_64;

use super::super::branches::{join, split};
use super::super::bytes::{mark_at, stat_of};
use super::super::{FileError, lease};
use super::SpoolDir;
use crate::agent::channel::file::Entry;
use crate::agent::channel::name::Name;
use crate::agent::channel::{Completed, Completion, Inode, Writer};
use crate::agent::faults::{self, Point};
use crate::pipeline;

/// Longest name a directory entry may have.
const NAME_MAX: usize = 255;

impl SpoolDir {
    /// Completes them, and then syncs each directory once.
    pub(super) fn complete_all(&self, batch: &[Completion]) -> Vec<(Inode, Completed)> {
        let results: Vec<_> = batch.iter().map(|wanted| (wanted, self.complete_one(wanted))).collect();
        // What is found done may be so since a crash, or a sync that failed.
        let done = |result: &Completed| {
            matches!(result, Completed::Renamed(_) | Completed::Deleted | Completed::Kept | Completed::Gone)
        };
        let done = results.iter().filter(|(_, result)| self.writes() && done(result));
        let places: BTreeSet<&[u8]> = done.map(|(wanted, _)| split(&wanted.name.0).0).collect();
        let unsynced: BTreeSet<&[u8]> = places.into_iter().filter(|place| !self.sync(place)).collect();
        let told = results.into_iter().map(|(wanted, result)| {
            let is_unsynced = unsynced.contains(split(&wanted.name.0).0);
            (wanted.inode, if is_unsynced { result.unsynced(wanted) } else { result })
        });
        told.collect()
    }

    fn writes(&self) -> bool {
        self.settings.completion != pipeline::Completion::Track
    }

    /// Makes what was done in a directory outlive a crash; false, and said, where the disk refuses.
    fn sync(&self, place: &[u8]) -> bool {
        let dir = if place.is_empty() { self.dir.as_ref() } else { self.branches.get(place) };
        let Some(dir) = dir else { return true };
        match faults::fails(Point::BeforeSync).and_then(|()| rustix::fs::fsync(dir)) {
            Ok(()) => faults::at(Point::AfterSync),
            Err(errno) => {
                let shown = self.settings.path.escape_debug();
                tracing::warn!("what was done in {shown} may not survive a crash: {errno}; it is tried again");
                return false;
            }
        }
        true
    }

    fn complete_one(&self, wanted: &Completion) -> Completed {
        let (file, stat) = match self.open_file(&wanted.name, wanted.inode) {
            Ok(opened) => opened,
            Err(FileError::Vanished) => return Completed::Gone,
            Err(FileError::Aside(_, why)) => return Completed::Refused(why),
        };
        if let (Some(here), Some(there)) = (stat.birth, wanted.birth)
            && here != there
        {
            return Completed::Gone; // another file has its inode
        }
        let track = self.settings.completion == pipeline::Completion::Track;
        if !track && lease::ask(&file) == Writer::Open {
            return Completed::Writer;
        }
        if stat.size != wanted.size {
            return Completed::Resized;
        }
        let tail_at = wanted.size - u64::from(wanted.tail.len);
        for (from, mark) in [(0, wanted.head), (tail_at, wanted.tail)] {
            match mark_at(&file, from, mark.len) {
                Ok(Some(found)) if found == mark => {}
                Ok(_) => return Completed::Rewritten,
                Err(errno) => return Completed::Refused(format!("cannot be read: {errno}")),
            }
        }
        match self.settings.completion {
            // It had its new name already, and grew.
            pipeline::Completion::Rename if wanted.name.0.ends_with(self.settings.suffix.as_bytes()) => {
                Completed::Kept
            }
            pipeline::Completion::Rename => self.rename(&wanted.name),
            pipeline::Completion::Delete => self.delete(&wanted.name),
            pipeline::Completion::Track => Completed::Kept,
        }
    }

    /// Those of these files that have a completed name in this directory, told by the inode in its entries.
    pub(super) fn completed_in(
        &self,
        dir: &OwnedFd,
        path: &[u8],
        wanted: &HashSet<Inode>,
    ) -> Result<Vec<Entry>, Errno> {
        let mut entries = vec![];
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if wanted.contains(&entry.ino())
                && name.ends_with(self.settings.suffix.as_bytes())
                && let Ok((stat, true)) = stat_of(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            {
                entries.push(Entry { name: Name(join(path, name)), stat, obstacle: None });
            }
        }
        Ok(entries)
    }

    fn delete(&self, name: &Name) -> Completed {
        let Some((dir, base)) = self.place(name) else { return Completed::Gone };
        let unlink = || rustix::fs::unlinkat(dir, base, AtFlags::empty());
        match faults::fails(Point::BeforeDelete).and_then(|()| unlink()) {
            Ok(()) => {
                faults::at(Point::AfterDelete);
                Completed::Deleted
            }
            Err(Errno::NOENT) => Completed::Gone,
            Err(errno) => self.refused(errno),
        }
    }

    fn refused(&self, errno: Errno) -> Completed {
        match errno {
            Errno::ACCESS | Errno::PERM => Completed::Refused(format!("{errno}; {}", self.owner_advice())),
            Errno::ROFS => Completed::Refused(format!("{errno}; mount it writable, or set completion: Track")),
            other => Completed::Refused(other.to_string()),
        }
    }

    /// Renames to `<name><suffix>`, or with a number before the suffix where that name is taken. Never overwrites.
    fn rename(&self, name: &Name) -> Completed {
        let Some((dir, base)) = self.place(name) else { return Completed::Gone };
        for number in 1..=u32::MAX {
            let target = completed_name(base, number, &self.settings.suffix);
            let rename = || rustix::fs::renameat_with(dir, base, dir, &*target, RenameFlags::NOREPLACE);
            match faults::fails(Point::BeforeRename).and_then(|()| rename()) {
                Ok(()) => {
                    faults::at(Point::AfterRename);
                    return Completed::Renamed(Name(join(split(&name.0).0, &target)));
                }
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => return Completed::Gone,
                Err(errno) => return self.refused(errno),
            }
        }
        Completed::Refused("every completed name is taken".into())
    }
}

/// `x.csv` → `x.csv.COMPLETED`, `x.csv.2.COMPLETED`, …; a name that becomes too long is cut and carries a hash instead.
fn completed_name(name: &[u8], number: u32, suffix: &str) -> Vec<u8> {
    let tail = if number == 1 { suffix.to_owned() } else { format!(".{number}{suffix}") };
    let mut target = name.to_vec();
    if name.len() + tail.len() > NAME_MAX {
        let hash = format!("~{:016x}", xxh3_64(name));
        target.truncate(NAME_MAX.saturating_sub(tail.len() + hash.len()));
        target.extend_from_slice(hash.as_bytes());
    }
    target.extend_from_slice(tail.as_bytes());
    target
}

//! The spool directory: listing, reading, completing. I/O; what to do is the channel's.
//!
//! Files are opened beneath the directory's descriptor (`openat2`, no links), checked to be regular, and renamed on that descriptor,
//! never by a path string. The directory is locked (`flock`) as long as it is open: for itself alone where files are renamed or
//! deleted, shared where all only track. With `recursive`, so is every sub-directory (`branches`).

mod completing;
mod unusable;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::branches::{Branches, How, join, obstacle, split, unseen};
use super::bytes::{file_error, fill, mark_at, not_regular, stat_of};
use super::look::PassedOver;
use super::watch::Watch;
use super::way::Way;
use super::{FileError, Source, SourceError, lease};
use crate::agent::channel::file::{Entry, Stat};
use crate::agent::channel::name::Name;
use crate::agent::channel::{Chunk, Completed, Completion, Inode, Read, Writer};
use crate::agent::faults::{self, Point};
use crate::pipeline;

/// What of the pipeline concerns the directory.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Absolute path.
    pub path: String,
    /// In a pod, the mounted directory that `path` lies in: no link beneath it is followed.
    pub root: Option<String>,
    /// Full match on the name, or the file is not a candidate.
    pub include: regex::Regex,
    /// Full match on the name: never a candidate; wins over `include`.
    pub ignore: regex::Regex,
    /// Sub-directories are read too.
    pub recursive: bool,
    /// Ends the names of completed files.
    pub suffix: String,
    /// What completes a file.
    pub completion: pipeline::Completion,
}

/// A spool directory.
pub struct SpoolDir {
    settings: Settings,
    pub(super) way: Way,
    pub(super) dir: Option<OwnedFd>,
    pub(super) branches: Branches,
    /// Nothing is locked: see `look`.
    pub(super) looks_only: bool,
    open: HashMap<Inode, OwnedFd>,
    watch: Watch,
    /// The directories' own last changes, at the last listing.
    listed: Option<Vec<Stat>>,
}

impl SpoolDir {
    /// Nothing is touched before [`Source::open`]; `stop` becomes readable when the agent is to end.
    pub fn new(settings: Settings, stop: OwnedFd) -> Self {
        lease::ignore_sigio();
        let way = Way::new(settings.path.clone(), settings.root.clone());
        let (branches, open) = (Branches::default(), HashMap::new());
        SpoolDir {
            settings,
            way,
            dir: None,
            branches,
            looks_only: false,
            open,
            watch: Watch::new(stop),
            listed: None,
        }
    }

    /// Takes over other settings: [`Source::open`] is next. Where they name the same directory, its lock is never let go of: another
    /// agent that waits for it would begin anew what this one has half shipped.
    pub fn set(&mut self, settings: Settings) {
        self.way = Way::new(settings.path.clone(), settings.root.clone());
        self.settings = settings;
        self.open.clear();
        self.listed = None;
    }

    fn dir(&self) -> Result<&OwnedFd, Errno> {
        self.dir.as_ref().ok_or(Errno::NOENT)
    }

    /// True when the directory that is open is the one that the path names.
    fn is_still_there(&self) -> Result<bool, Errno> {
        let Some(dir) = &self.dir else { return Ok(false) };
        let (here, there) = (rustix::fs::fstat(dir)?, self.way.stat()?);
        Ok((here.st_dev, here.st_ino) == (there.st_dev, there.st_ino))
    }

    /// Those that only track may share a directory.
    fn lock(&self) -> FlockOperation {
        match self.settings.completion {
            pipeline::Completion::Track => FlockOperation::NonBlockingLockShared,
            pipeline::Completion::Rename | pipeline::Completion::Delete => FlockOperation::NonBlockingLockExclusive,
        }
    }

    /// Whether a sub-directory is to be read.
    pub(super) fn enters(&self, name: &[u8]) -> bool {
        let left_out = matches!(self.passed_over(name), Some(PassedOver::Hidden | PassedOver::Ignored));
        self.settings.recursive && !left_out
    }

    fn is_candidate(&self, name: &[u8]) -> bool {
        self.passed_over(name).is_none()
    }

    /// Why a name is no candidate, if it is none.
    pub(super) fn passed_over(&self, name: &[u8]) -> Option<PassedOver> {
        if name.starts_with(b".") {
            return Some(PassedOver::Hidden);
        }
        if name.ends_with(self.settings.suffix.as_bytes()) {
            return Some(PassedOver::Completed);
        }
        let text = String::from_utf8_lossy(name);
        if self.settings.ignore.is_match(&text) {
            return Some(PassedOver::Ignored);
        }
        (!self.settings.include.is_match(&text)).then_some(PassedOver::NotIncluded)
    }

    /// The directory that a file is in, and its name there.
    fn place<'a>(&self, name: &'a Name) -> Option<(&OwnedFd, &'a [u8])> {
        let (path, base) = split(&name.0);
        let dir = if path.is_empty() { self.dir.as_ref() } else { self.branches.get(path) };
        Some((dir?, base))
    }

    /// Opens a file beneath the directory and checks that it is the one meant.
    fn open_file(&self, name: &Name, inode: Inode) -> Result<(OwnedFd, Stat), FileError> {
        let (dir, base) = self.place(name).ok_or(FileError::Vanished)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = match rustix::fs::openat2(dir, base, flags, Mode::empty(), beneath) {
            // Kernels before 5.6 and old seccomp profiles: the same without the kernel's help, names hold no slash.
            Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(dir, base, flags, Mode::empty()),
            other => other,
        }
        .map_err(file_error)?;
        let (stat, regular) = stat_of(&fd, "", AtFlags::EMPTY_PATH).map_err(file_error)?;
        if !regular {
            let why = not_regular();
            return Err(FileError::Aside(why.reason, why.note));
        }
        if stat.inode != inode {
            return Err(FileError::Vanished);
        }
        Ok((fd, stat))
    }

    /// The directories' own last changes.
    fn stats(&self) -> Result<Vec<Stat>, Errno> {
        let (top, _) = stat_of(self.dir()?, "", AtFlags::EMPTY_PATH)?;
        Ok([vec![top], self.branches.stats()].concat())
    }

    /// What one directory holds: `entries` gets its files, `found` its sub-directories, where they are to be read.
    fn names_in(
        &self,
        dir: &OwnedFd,
        path: &[u8],
        entries: &mut Vec<Entry>,
        found: &mut Vec<Box<[u8]>>,
    ) -> Result<(), Errno> {
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if entry.file_type().is_dir() {
                if self.enters(name) {
                    found.push(join(path, name));
                }
            } else if self.is_candidate(name) {
                let (stat, obstacle) = match stat_of(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok((stat, regular)) => (stat, (!regular).then(not_regular)),
                    Err(Errno::NOENT) => continue, // it vanished since readdir
                    Err(errno) => (Stat { inode: entry.ino(), ..Stat::default() }, Some(unseen(errno))),
                };
                entries.push(Entry { name: Name(join(path, name)), stat, obstacle });
            }
        }
        Ok(())
    }

    /// Enters what was found, and what is found there; leaves what is gone.
    fn descend(&mut self, entries: &mut Vec<Entry>, mut found: Vec<Box<[u8]>>) {
        let writes = self.settings.completion != pipeline::Completion::Track;
        let how = How { lock: (!self.looks_only).then(|| self.lock()), writes: writes && !self.looks_only };
        let mut there = BTreeSet::new();
        while let Some(path) = found.pop() {
            let Some(top) = &self.dir else { return };
            let entered = self.branches.enter(top, &path, how);
            let looked = entered.and_then(|is_new| {
                let Some(dir) = self.branches.get(&path) else { return Ok(()) };
                if is_new {
                    self.watch.also(&format!("/proc/self/fd/{}", dir.as_raw_fd()));
                }
                self.names_in(dir, &path, entries, &mut found).map_err(obstacle)
            });
            match looked {
                Ok(()) => drop(there.insert(path)),
                Err(why) => {
                    if let Ok((stat, _)) = stat_of(top, &*path, AtFlags::SYMLINK_NOFOLLOW) {
                        // The size of a directory is no backlog.
                        entries.push(Entry {
                            name: Name(path),
                            stat: Stat { size: 0, ..stat },
                            obstacle: Some(why),
                        });
                    }
                }
            }
        }
        self.branches.keep(&there);
    }
}

impl Source for SpoolDir {
    fn open(&mut self) -> Result<(), SourceError> {
        self.open.clear();
        // Kept, for a moment without the lock would let another agent in between; asked for again, for `completion` may have changed.
        let kept = if self.is_still_there() == Ok(true) { self.dir.take() } else { None };
        let is_new = kept.is_none();
        let dir = match kept {
            Some(dir) => dir,
            None => {
                self.release();
                self.way.open(OFlags::RDONLY).map_err(|e| self.missing(e))?
            }
        };
        rustix::fs::flock(&dir, self.lock()).map_err(|e| self.unlocked(e))?;
        self.check_writable(&dir)?;
        self.branches.lock(self.lock());
        // By the descriptor, for what the path names may be another directory by now.
        if is_new {
            self.watch.on(&format!("/proc/self/fd/{}", dir.as_raw_fd()));
        }
        self.dir = Some(dir);
        Ok(())
    }

    fn release(&mut self) {
        self.open.clear();
        self.dir = None;
        self.branches.clear();
        self.listed = None;
    }

    fn list(&mut self, full: bool) -> Result<Option<Vec<Entry>>, SourceError> {
        if !self.is_still_there().map_err(|e| self.missing(e))? {
            return Err(self.missing(Errno::STALE));
        }
        faults::fails(Point::BeforeList).map_err(|e| self.missing(e))?;
        let here = self.stats().map_err(|e| self.missing(e))?;
        if !full && self.listed.as_ref() == Some(&here) {
            return Ok(None);
        }
        self.watch.listed();
        let (mut entries, mut found) = (vec![], vec![]);
        let top = self.dir().map_err(|e| self.missing(e))?;
        self.names_in(top, b"", &mut entries, &mut found).map_err(|e| self.missing(e))?;
        self.descend(&mut entries, found);
        // As they were before it: what changes meanwhile, and a directory that is new, is a change.
        self.listed = Some(here);
        faults::at(Point::AfterList);
        Ok(Some(entries))
    }

    fn completed(&mut self, wanted: &HashSet<Inode>) -> Vec<Entry> {
        if wanted.is_empty() || self.settings.completion != pipeline::Completion::Rename {
            return vec![];
        }
        let top = self.dir.iter().map(|dir| (&b""[..], dir));
        let all = top.chain(self.branches.all());
        all.flat_map(|(path, dir)| self.completed_in(dir, path, wanted).unwrap_or_default()).collect()
    }

    fn read(&mut self, read: &Read, data: &mut Vec<u8>) -> Result<Chunk, FileError> {
        let kept = if read.fresh { None } else { self.open.remove(&read.inode) };
        let file = match kept {
            Some(file) => file,
            None => self.open_file(&read.name, read.inode)?.0,
        };
        let head = if read.head > 0 { mark_at(&file, 0, read.head).map_err(file_error)? } else { None };
        let writer = if read.seal { lease::ask(&file) } else { Writer::NotAsked };
        faults::fails(Point::BeforeRead).map_err(file_error)?;
        fill(&file, read.from, read.len, data).map_err(file_error)?;
        faults::at(Point::AfterRead);
        let (stat, _) = stat_of(&file, "", AtFlags::EMPTY_PATH).map_err(file_error)?;
        let end = read.from + data.len() as u64 >= stat.size;
        if writer == Writer::None {
            lease::release(&file);
        }
        self.open.insert(read.inode, file);
        Ok(Chunk { stat, head, end, writer: if end { writer } else { Writer::NotAsked } })
    }

    fn close(&mut self, inode: Inode) {
        self.open.remove(&inode);
    }

    fn complete(&mut self, batch: &[Completion]) -> Vec<(Inode, Completed)> {
        self.complete_all(batch)
    }

    fn wait(&mut self, time: Duration) -> bool {
        self.watch.wait(time)
    }
}

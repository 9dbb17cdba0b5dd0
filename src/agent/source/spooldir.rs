//! The spool directory: listing, reading, completing. I/O; what to do is the channel's.
//!
//! Files are opened beneath the directory's descriptor (`openat2`, no links), checked to be regular, and renamed on that descriptor,
//! never by a path string. The directory is locked (`flock`) as long as it is open: for itself alone where files are renamed or
//! deleted, shared where all only track.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Access, AtFlags, Dir, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_64;

use super::bytes::{file_error, fill, mark_at, stat_of};
use super::look::PassedOver;
use super::watch::Watch;
use super::way::Way;
use super::{FileError, Source, SourceError, lease};
use crate::agent::channel::file::{Entry, Reason, Stat};
use crate::agent::channel::name::Name;
use crate::agent::channel::{Chunk, Completed, Completion, Inode, Read, Writer};
use crate::pipeline::{self, report::FlowReason};

/// Longest name a directory entry may have.
const NAME_MAX: usize = 255;

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
    open: HashMap<Inode, OwnedFd>,
    watch: Watch,
    /// The directory's own last change, at the last listing.
    listed: Option<Stat>,
}

impl SpoolDir {
    /// Nothing is touched before [`Source::open`]; `stop` becomes readable when the agent is to end.
    pub fn new(settings: Settings, stop: OwnedFd) -> Self {
        lease::ignore_sigio();
        let way = Way::new(settings.path.clone(), settings.root.clone());
        SpoolDir { settings, way, dir: None, open: HashMap::new(), watch: Watch::new(stop), listed: None }
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

    pub(super) fn missing(&self, errno: Errno) -> SourceError {
        let path = self.settings.path.escape_debug();
        if let Some(root) = self.way.root_is_gone() {
            let message = format!(
                "{root} was removed on this node while the agent had it mounted; it ends, so that what is there now is mounted"
            );
            return SourceError { ends: true, ..SourceError::new(FlowReason::SpoolDirectoryMissing, message) };
        }
        let message = match errno {
            Errno::NOENT => {
                format!("spool directory {path} does not exist; create it, or correct spec.source.spoolDir.path")
            }
            Errno::NOTDIR => {
                format!("spool directory {path} is not a directory; correct spec.source.spoolDir.path")
            }
            Errno::ACCESS | Errno::PERM => {
                format!("spool directory {path} cannot be read by uid {}; {}", uid(), self.owner_advice())
            }
            Errno::LOOP | Errno::XDEV => format!(
                "spool directory {path} is reached by a link, which is not followed; put a directory there, or correct spec.source.spoolDir.path"
            ),
            Errno::STALE => format!("spool directory {path} was replaced by another; it is opened anew"),
            other => format!("spool directory {path} cannot be read: {other}"),
        };
        SourceError::new(FlowReason::SpoolDirectoryMissing, message)
    }

    /// True when the directory that is open is the one that the path names.
    fn is_still_there(&self) -> Result<bool, Errno> {
        let Some(dir) = &self.dir else { return Ok(false) };
        let (here, there) = (rustix::fs::fstat(dir)?, self.way.stat()?);
        Ok((here.st_dev, here.st_ino) == (there.st_dev, there.st_ino))
    }

    pub(super) fn unlocked(&self, errno: Errno) -> SourceError {
        let path = self.settings.path.escape_debug();
        if errno == Errno::WOULDBLOCK {
            let message =
                format!("another agent has {path} locked; this one waits, and takes over when the other ends");
            return SourceError::new(FlowReason::AnotherAgentRunning, message);
        }
        let message =
            format!("spool directory {path} cannot be locked: {errno}; a file system with flock is needed");
        SourceError::new(FlowReason::SpoolDirectoryMissing, message)
    }

    /// Whom the directory belongs to, and what to set.
    fn owner_advice(&self) -> String {
        let Ok(stat) = self.way.stat() else { return "run the agent as a user that may".into() };
        let (user, group) = (stat.st_uid, stat.st_gid);
        let set = if self.way.has_root() {
            format!("set spec.placement.daemonSet.runAsUser: {user} and runAsGroup: {group}")
        } else {
            "run the agent as that user".into()
        };
        format!("it belongs to uid {user}, gid {group}: {set}, or change the owner or mode")
    }

    /// Renaming and deleting need write permission on the directory: better said before anything is shipped.
    pub(super) fn check_writable(&self, dir: &OwnedFd) -> Result<(), SourceError> {
        let what = match self.settings.completion {
            pipeline::Completion::Rename => "renamed",
            pipeline::Completion::Delete => "deleted",
            pipeline::Completion::Track => return Ok(()),
        };
        let path = self.settings.path.escape_debug();
        let advice = match rustix::fs::accessat(dir, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) => return Ok(()),
            Err(Errno::ROFS) => "it is mounted read-only: mount it writable, or set completion: Track".to_owned(),
            Err(_) => self.owner_advice(),
        };
        let message = format!("files in {path} cannot be {what} by uid {} when they are shipped; {advice}", uid());
        Err(SourceError::new(FlowReason::CannotComplete, message))
    }

    /// Those that only track may share a directory.
    fn lock(&self) -> FlockOperation {
        match self.settings.completion {
            pipeline::Completion::Track => FlockOperation::NonBlockingLockShared,
            pipeline::Completion::Rename | pipeline::Completion::Delete => FlockOperation::NonBlockingLockExclusive,
        }
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

    /// Opens a file beneath the directory and checks that it is the one meant.
    fn open_file(&self, name: &Name, inode: Inode) -> Result<(OwnedFd, Stat), FileError> {
        let dir = self.dir.as_ref().ok_or(FileError::Vanished)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = match rustix::fs::openat2(dir, &*name.0, flags, Mode::empty(), beneath) {
            // Kernels before 5.6 and old seccomp profiles: the same without the kernel's help, names hold no slash.
            Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(dir, &*name.0, flags, Mode::empty()),
            other => other,
        }
        .map_err(file_error)?;
        let (stat, regular) = stat_of(&fd, "", AtFlags::EMPTY_PATH).map_err(file_error)?;
        if !regular {
            return Err(FileError::Aside(Reason::NotARegularFile, "it is a link, FIFO, socket or device".into()));
        }
        if stat.inode != inode {
            return Err(FileError::Vanished);
        }
        Ok((fd, stat))
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
            pipeline::Completion::Rename => self.rename(&wanted.name),
            pipeline::Completion::Delete => self.delete(&wanted.name),
            pipeline::Completion::Track => Completed::Kept,
        }
    }

    fn delete(&self, name: &Name) -> Completed {
        let Some(dir) = &self.dir else { return Completed::Gone };
        match rustix::fs::unlinkat(dir, &*name.0, AtFlags::empty()) {
            Ok(()) => Completed::Deleted,
            Err(Errno::NOENT) => Completed::Gone,
            Err(errno) => self.refused(errno),
        }
    }

    fn refused(&self, errno: Errno) -> Completed {
        match errno {
            Errno::ACCESS | Errno::PERM => Completed::Refused(format!("{errno}; {}", self.owner_advice())),
            other => Completed::Refused(other.to_string()),
        }
    }

    /// Renames to `<name><suffix>`, or with a number before the suffix where that name is taken. Never overwrites.
    fn rename(&self, name: &Name) -> Completed {
        let Some(dir) = &self.dir else { return Completed::Gone };
        for number in 1..=u32::MAX {
            let target = completed_name(&name.0, number, &self.settings.suffix);
            match rustix::fs::renameat_with(dir, &*name.0, dir, &*target.0, RenameFlags::NOREPLACE) {
                Ok(()) => return Completed::Renamed(target),
                Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => return Completed::Gone,
                Err(errno) => return self.refused(errno),
            }
        }
        Completed::Refused("every completed name is taken".into())
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
        self.listed = None;
    }

    fn list(&mut self, full: bool) -> Result<Option<Vec<Entry>>, SourceError> {
        if !self.is_still_there().map_err(|e| self.missing(e))? {
            return Err(self.missing(Errno::STALE));
        }
        let (here, _) =
            self.dir().and_then(|dir| stat_of(dir, "", AtFlags::EMPTY_PATH)).map_err(|e| self.missing(e))?;
        if !full && self.listed == Some(here) {
            return Ok(None);
        }
        self.watch.listed();
        let dir = self.dir().map_err(|e| self.missing(e))?;
        let mut entries = vec![];
        for entry in Dir::read_from(dir).map_err(|e| self.missing(e))? {
            let entry = entry.map_err(|e| self.missing(e))?;
            let name = entry.file_name().to_bytes();
            if entry.file_type().is_dir() || !self.is_candidate(name) {
                continue;
            }
            // What vanished since readdir is no entry.
            if let Ok((stat, regular)) = stat_of(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                entries.push(Entry { name: Name::new(name), stat, regular });
            }
        }
        self.listed = Some(here);
        Ok(Some(entries))
    }

    fn read(&mut self, read: &Read, data: &mut Vec<u8>) -> Result<Chunk, FileError> {
        let kept = if read.fresh { None } else { self.open.remove(&read.inode) };
        let file = match kept {
            Some(file) => file,
            None => self.open_file(&read.name, read.inode)?.0,
        };
        let head = if read.head > 0 { mark_at(&file, 0, read.head).map_err(file_error)? } else { None };
        let writer = if read.seal { lease::ask(&file) } else { Writer::NotAsked };
        fill(&file, read.from, read.len, data).map_err(file_error)?;
        let (stat, _) = stat_of(&file, "", AtFlags::EMPTY_PATH).map_err(file_error)?;
        let end = read.from + data.len() as u64 >= stat.size;
        if !end {
            if writer == Writer::None {
                lease::release(&file);
            }
            self.open.insert(read.inode, file);
        }
        Ok(Chunk { stat, head, end, writer: if end { writer } else { Writer::NotAsked } })
    }

    fn complete(&mut self, batch: &[Completion]) -> Vec<(Inode, Completed)> {
        let results: Vec<_> = batch.iter().map(|wanted| (wanted.inode, self.complete_one(wanted))).collect();
        if results.iter().any(|(_, result)| matches!(result, Completed::Renamed(_) | Completed::Deleted))
            && let Some(Err(errno)) = self.dir.as_ref().map(rustix::fs::fsync)
        {
            tracing::warn!(
                "what was done in {} may not survive a crash: {errno}",
                self.settings.path.escape_debug()
            );
        }
        results
    }

    fn wait(&mut self, time: Duration) -> bool {
        self.watch.wait(time)
    }
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// `x.csv` → `x.csv.COMPLETED`, `x.csv.2.COMPLETED`, …; a name that becomes too long is cut and carries a hash instead.
fn completed_name(name: &[u8], number: u32, suffix: &str) -> Name {
    let tail = if number == 1 { suffix.to_owned() } else { format!(".{number}{suffix}") };
    let mut target = name.to_vec();
    if name.len() + tail.len() > NAME_MAX {
        let hash = format!("~{:016x}", xxh3_64(name));
        target.truncate(NAME_MAX.saturating_sub(tail.len() + hash.len()));
        target.extend_from_slice(hash.as_bytes());
    }
    target.extend_from_slice(tail.as_bytes());
    Name::new(&target)
}

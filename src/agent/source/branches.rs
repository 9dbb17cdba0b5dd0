//! The sub-directories that are entered (`recursive`). I/O.
//!
//! Each is opened beneath the spool directory without following links, on the same file system, since a file is known by its inode;
//! and locked as the spool directory is, as long as it is there. One that cannot be entered is an obstacle of its own: the rest ships.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use rustix::fs::{Access, AtFlags, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::bytes::stat_of;
use crate::agent::channel::file::{Obstacle, Reason, Stat};

/// Their paths, relative to the spool directory, and their descriptors, which hold the locks.
#[derive(Debug, Default)]
pub struct Branches(BTreeMap<Box<[u8]>, OwnedFd>);

/// How a directory is entered.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Shared, exclusive, or not at all.
    pub lock: Option<FlockOperation>,
    /// Files in it are to be renamed or deleted.
    pub writes: bool,
}

impl Branches {
    /// One that was entered.
    pub fn get(&self, path: &[u8]) -> Option<&OwnedFd> {
        self.0.get(path)
    }

    /// Enters a directory, or stays in it where it is the one that was entered before. True for one that was not.
    ///
    /// # Errors
    /// Why it is not entered.
    pub fn enter(&mut self, top: &OwnedFd, path: &[u8], how: How) -> Result<bool, Obstacle> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let beneath =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let dir = rustix::fs::openat2(top, path, flags, Mode::empty(), beneath).map_err(obstacle)?;
        let inode = |dir: &OwnedFd| rustix::fs::fstat(dir).map(|stat| stat.st_ino);
        if let Some(known) = self.0.get(path)
            && inode(known) == inode(&dir)
        {
            return Ok(false);
        }
        if let Some(kind) = how.lock {
            lock(&dir, kind)?;
        }
        if how.writes
            && rustix::fs::accessat(&dir, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_err()
        {
            return Err(Obstacle {
                reason: Reason::PermissionDenied,
                note: "files in it could not be completed".into(),
            });
        }
        self.0.insert(path.into(), dir);
        Ok(true)
    }

    /// Leaves those that are not among `there`.
    pub fn keep(&mut self, there: &BTreeSet<Box<[u8]>>) {
        self.0.retain(|path, _| there.contains(path));
    }

    /// Asks for another kind of lock; what cannot be had is left.
    pub fn lock(&mut self, lock: FlockOperation) {
        self.0.retain(|_, dir| rustix::fs::flock(dir, lock).is_ok());
    }

    /// Leaves all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// All of them, each with its path.
    pub fn all(&self) -> impl Iterator<Item = (&[u8], &OwnedFd)> {
        self.0.iter().map(|(path, dir)| (&**path, dir))
    }

    /// The directories' own last changes.
    pub fn stats(&self) -> Vec<Stat> {
        self.0.values().filter_map(|dir| stat_of(dir, "", AtFlags::EMPTY_PATH).ok()).map(|(stat, _)| stat).collect()
    }
}

fn lock(dir: &OwnedFd, kind: FlockOperation) -> Result<(), Obstacle> {
    rustix::fs::flock(dir, kind).map_err(|errno| match errno {
        Errno::WOULDBLOCK => {
            Obstacle { reason: Reason::DirectoryInUse, note: "another agent has it locked".into() }
        }
        other => Obstacle { reason: Reason::ReadError, note: format!("it cannot be locked: {other}") },
    })
}

/// What keeps a directory from being entered, or from being listed.
pub fn obstacle(errno: Errno) -> Obstacle {
    let (reason, note) = match errno {
        Errno::ACCESS | Errno::PERM => (Reason::PermissionDenied, "the directory cannot be read".to_owned()),
        Errno::XDEV => (Reason::AnotherFileSystem, "another file system is mounted there".to_owned()),
        Errno::LOOP | Errno::NOTDIR => (Reason::NotARegularFile, "it is a link".to_owned()),
        other => (Reason::ReadError, format!("the directory cannot be read: {other}")),
    };
    Obstacle { reason, note }
}

/// Why a name that is there is not looked at.
pub fn unseen(errno: Errno) -> Obstacle {
    let denied = matches!(errno, Errno::ACCESS | Errno::PERM);
    let reason = if denied { Reason::PermissionDenied } else { Reason::ReadError };
    Obstacle { reason, note: format!("it cannot be looked at: {errno}") }
}

/// A path and a name in it.
pub fn join(path: &[u8], name: &[u8]) -> Box<[u8]> {
    if path.is_empty() { name.into() } else { [path, b"/", name].concat().into() }
}

/// The path and the name in it: what [`join`] took.
pub fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&name[..slash], &name[slash + 1..]),
        None => (b"", name),
    }
}

//! A look at a spool directory that changes nothing and keeps no agent from it: no lock is taken, no lease is asked for. I/O.
//!
//! Whether an agent has it is read from the kernel's table of locks.

use std::collections::{BTreeMap, BTreeSet};

use rustix::fs::{Dir, FlockOperation, OFlags};

use super::SourceError;
use super::branches::join;
use super::spooldir::SpoolDir;
use crate::agent::channel::name::Name;

/// Names shown of each kind of what is passed over.
const EXAMPLES: usize = 3;

/// Why a name is no candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PassedOver {
    /// It ends in `fileSuffix`.
    Completed,
    /// `ignorePattern` matches.
    Ignored,
    /// `includePattern` does not match.
    NotIncluded,
    /// It begins with a dot.
    Hidden,
    /// It is a directory.
    Directory,
}

/// Names that are passed over for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Why.
    pub why: PassedOver,
    /// How many.
    pub count: u64,
    /// The first few of them, sorted.
    pub examples: Vec<Name>,
}

impl SpoolDir {
    /// Opens the directory to list it and to read, and nothing more.
    ///
    /// # Errors
    /// It is missing or not readable by this user.
    pub fn look(&mut self) -> Result<(), SourceError> {
        self.dir = Some(self.way.open(OFlags::RDONLY).map_err(|e| self.missing(e))?);
        self.looks_only = true;
        Ok(())
    }

    /// Whether files can be completed by this user.
    ///
    /// # Errors
    /// They cannot, and why.
    pub fn can_complete(&self) -> Result<(), SourceError> {
        self.dir.as_ref().map_or(Ok(()), |dir| self.check_writable(dir))
    }

    /// The process that has the directory locked, where the kernel shows it: an agent.
    pub fn locked_by(&self) -> Option<u32> {
        let stat = rustix::fs::fstat(self.dir.as_ref()?).ok()?;
        let device = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
        holder(&std::fs::read_to_string("/proc/locks").ok()?, device, stat.st_ino)
    }

    /// Locks the directory for itself alone, until this is dropped: no agent runs on it meanwhile.
    ///
    /// # Errors
    /// An agent has it, or it cannot be locked.
    pub fn lock_alone(&self) -> Result<(), SourceError> {
        let Some(dir) = &self.dir else { return Ok(()) };
        rustix::fs::flock(dir, FlockOperation::NonBlockingLockExclusive).map_err(|e| self.unlocked(e))
    }

    /// What in the directory, and in those that were entered, is no candidate, by reason.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn passed(&self) -> Result<Vec<Passed>, SourceError> {
        let Some(dir) = &self.dir else { return Ok(vec![]) };
        let mut found = BTreeMap::<PassedOver, (u64, BTreeSet<Name>)>::new();
        for (path, dir) in std::iter::once((&b""[..], dir)).chain(self.branches.all()) {
            for entry in Dir::read_from(dir).map_err(|e| self.missing(e))? {
                let entry = entry.map_err(|e| self.missing(e))?;
                let name = entry.file_name().to_bytes();
                let why = match self.passed_over(name) {
                    _ if name == b"." || name == b".." => continue,
                    _ if entry.file_type().is_dir() && self.enters(name) => continue,
                    _ if entry.file_type().is_dir() => PassedOver::Directory,
                    Some(why) => why,
                    None => continue,
                };
                let (count, examples) = found.entry(why).or_default();
                *count += 1;
                examples.insert(Name(join(path, name)));
                if examples.len() > EXAMPLES {
                    examples.pop_last();
                }
            }
        }
        let passed = found.into_iter().map(|(why, (count, examples))| Passed {
            why,
            count,
            examples: examples.into_iter().collect(),
        });
        Ok(passed.collect())
    }
}

/// The first process with a `flock` on this inode in the text of `/proc/locks`.
fn holder(locks: &str, device: (u32, u32), inode: u64) -> Option<u32> {
    let wanted = format!("{:02x}:{:02x}:{inode}", device.0, device.1);
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, "FLOCK", _, _, pid, place, ..] if place == wanted => pid.parse().ok(),
            _ => None, // another file, another kind, or (`->`) one who waits
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found_by_device_and_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fe:01:77 0 EOF\n2: FLOCK  ADVISORY  WRITE 12 fe:01:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 13 fe:01:77 0 EOF\n3: FLOCK  ADVISORY  READ 14 00:2b:9 0 EOF\n";
        assert_eq!(holder(locks, (0xfe, 1), 77), Some(12));
        assert_eq!(holder(locks, (0, 0x2b), 9), Some(14));
        assert_eq!(holder(locks, (0, 0x2b), 77), None);
    }

    #[test]
    fn a_lock_on_a_directory_shows_and_looking_takes_none() {
        let dir = tempfile::tempdir().unwrap();
        let held: std::os::fd::OwnedFd = std::fs::File::open(dir.path()).unwrap().into();
        let settings = super::super::spooldir::Settings {
            path: dir.path().to_str().unwrap().to_owned(),
            root: None,
            include: regex::Regex::new("^(?:.*)$").unwrap(),
            ignore: regex::Regex::new("^(?:.*\\.tmp)$").unwrap(),
            recursive: false,
            suffix: ".COMPLETED".to_owned(),
            completion: crate::pipeline::Completion::Rename,
        };
        for name in ["a.log", "b.tmp", "c.tmp", ".hidden", "d.log.COMPLETED"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let (_, stop) = std::io::pipe().map(|(r, w)| (w, r)).unwrap();
        let mut spool = SpoolDir::new(settings, stop.into());
        spool.look().unwrap();
        let own = std::process::id();
        assert_ne!(spool.locked_by(), Some(own));
        rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        // Some file systems show another device there than to everybody else: then it is not seen.
        assert!([Some(own), None].contains(&spool.locked_by()));
        let passed: Vec<_> = spool.passed().unwrap().into_iter().map(|p| (p.why, p.count)).collect();
        let wanted = [
            (PassedOver::Completed, 1),
            (PassedOver::Ignored, 2),
            (PassedOver::Hidden, 1),
            (PassedOver::Directory, 1),
        ];
        assert_eq!(passed, wanted);
    }
}

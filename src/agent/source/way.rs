//! The way to the spool directory: its path, or in a pod the path beneath the root that its namespace was given. I/O.
//!
//! Invariant: with a root, no link and no `..` leads out of it, whoever changes what lies beneath (`openat2`, from a descriptor of the
//! root that is held). The root is found once: a pod's mount does not move.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// How the kernel resolves what lies beneath a root.
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// The way to a directory.
#[derive(Debug)]
pub struct Way {
    path: String,
    root: Option<String>,
    held: OnceCell<OwnedFd>,
}

impl Way {
    /// Nothing is opened yet. `path` lies beneath `root`, where there is one: see [`is_beneath`].
    pub fn new(path: String, root: Option<String>) -> Self {
        Way { path, root, held: OnceCell::new() }
    }

    /// True in a pod.
    pub fn has_root(&self) -> bool {
        self.root.is_some()
    }

    /// Opens the directory; `flags` say what for.
    ///
    /// # Errors
    /// The kernel's. `LOOP` and `XDEV`: a link, or the way leads out of the root.
    pub fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Some(root) = &self.root else {
            return rustix::fs::open(self.path.as_str(), flags, Mode::empty());
        };
        let held = match self.held.get() {
            Some(held) => held,
            None => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let found = rustix::fs::open(root.as_str(), flags, Mode::empty())?;
                self.held.get_or_init(|| found)
            }
        };
        let inner = Path::new(&self.path).strip_prefix(root).map_err(|_| Errno::XDEV)?;
        let inner = if inner.as_os_str().is_empty() { Path::new(".") } else { inner };
        match rustix::fs::openat2(held, inner, flags, Mode::empty(), BENEATH) {
            // Kernels before 5.6 and old seccomp profiles: the same without the kernel's help.
            Err(Errno::NOSYS | Errno::PERM) => step_by_step(held, inner, flags),
            other => other,
        }
    }

    /// What the directory is now, to compare with what is open.
    ///
    /// # Errors
    /// See [`Way::open`].
    pub fn stat(&self) -> Result<Stat, Errno> {
        match &self.root {
            None => rustix::fs::stat(self.path.as_str()),
            Some(_) => rustix::fs::fstat(self.open(OFlags::PATH)?),
        }
    }

    /// True when the root was removed on the host: what is mounted here is nobody's, and only a new mount sees the new one.
    pub fn root_is_gone(&self) -> Option<&str> {
        let gone = self.held.get().is_some_and(|fd| rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_nlink == 0));
        self.root.as_deref().filter(|_| gone)
    }
}

/// True when `path` is `root` or lies beneath it, by their components.
pub fn is_beneath(path: &str, root: &str) -> bool {
    let plain = Path::new(path).components().all(|part| part != Component::ParentDir);
    plain && Path::new(path).starts_with(root)
}

fn step_by_step(root: &OwnedFd, inner: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let walk = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(root, ".", walk, Mode::empty())?;
    for part in inner.components() {
        at = rustix::fs::openat(&at, Path::new(&part), walk, Mode::empty())?;
    }
    rustix::fs::openat(&at, ".", flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn inode(fd: &OwnedFd) -> u64 {
        rustix::fs::fstat(fd).unwrap().st_ino
    }

    #[test]
    fn no_link_leads_out_of_the_root_nor_within_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(dir.path().join("secret")).unwrap();
        symlink(dir.path().join("secret"), root.join("out")).unwrap();
        symlink("../../secret", root.join("a/up")).unwrap();
        symlink("a", root.join("within")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let way = |inner: &str| {
            let root = root.to_str().unwrap().to_owned();
            Way::new(format!("{root}/{inner}"), Some(root))
        };
        let expected = fs::metadata(root.join("a/b")).map(|m| std::os::unix::fs::MetadataExt::ino(&m)).unwrap();
        assert_eq!(inode(&way("a//b/").open(OFlags::RDONLY).unwrap()), expected);
        assert_eq!(way("a/b").stat().unwrap().st_ino, expected);
        assert!(way("").open(OFlags::RDONLY).is_ok(), "the root itself");
        for (inner, errno) in [
            ("out", Errno::LOOP),
            ("a/up", Errno::LOOP),
            ("within/b", Errno::LOOP),
            ("file", Errno::NOTDIR),
            ("none", Errno::NOENT),
        ] {
            assert_eq!(way(inner).open(OFlags::RDONLY).unwrap_err(), errno, "{inner}");
        }
        let held = fs::File::open(&root).unwrap().into();
        let walked = step_by_step(&held, Path::new("a/b"), OFlags::RDONLY | OFlags::DIRECTORY).unwrap();
        assert_eq!(inode(&walked), expected);
        for inner in ["out", "a/up", "within/b"] {
            assert!(step_by_step(&held, Path::new(inner), OFlags::RDONLY | OFlags::DIRECTORY).is_err(), "{inner}");
        }
    }

    #[test]
    fn a_root_that_was_removed_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a")).unwrap();
        let shown = root.to_str().unwrap().to_owned();
        let way = Way::new(format!("{shown}/a"), Some(shown));
        way.stat().unwrap();
        assert_eq!(way.root_is_gone(), None);
        fs::remove_dir_all(&root).unwrap();
        fs::create_dir_all(root.join("a")).unwrap();
        assert_eq!(way.stat().unwrap_err(), Errno::NOENT);
        assert!(way.root_is_gone().is_some(), "the new one is another");
    }

    #[test]
    fn beneath_means_by_components() {
        for (path, root, is) in [
            ("/var/spool/a", "/var/spool", true),
            ("/var/spool", "/var/spool/", true),
            ("/var//spool/./a/", "/var/spool", true),
            ("/var/spool2/a", "/var/spool", false),
            ("/var/spool/../etc", "/var/spool", false),
            ("/var", "/var/spool", false),
        ] {
            assert_eq!(is_beneath(path, root), is, "{path} {root}");
        }
    }
}

//! What the sink `file` needs of a disk, one call a step, so that a test can stop between any two. I/O.
//!
//! Nothing that is written or renamed counts before it is synced: a file's bytes by [`Disk::sync`], a name by [`Disk::sync_dir`].

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FlockOperation, RenameFlags};

/// A disk. The real one is [`Machine`]; a test has one that forgets what was not synced.
pub trait Disk {
    /// Everything in a file; `None` where there is none.
    ///
    /// # Errors
    /// The kernel's.
    fn read(&mut self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// A file's size; `None` where there is none.
    ///
    /// # Errors
    /// The kernel's.
    fn size(&mut self, path: &Path) -> io::Result<Option<u64>>;

    /// The names in a directory.
    ///
    /// # Errors
    /// The kernel's.
    fn names(&mut self, directory: &Path) -> io::Result<Vec<String>>;

    /// Makes a directory, and those above it, where it is not there.
    ///
    /// # Errors
    /// The kernel's.
    fn make_directory(&mut self, directory: &Path) -> io::Result<()>;

    /// Gives a file this content, whatever it had, and makes it where there is none.
    ///
    /// # Errors
    /// The kernel's; a part may be written.
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Makes an empty file.
    ///
    /// # Errors
    /// There is one already.
    fn create(&mut self, path: &Path) -> io::Result<()>;

    /// Writes behind the end of a file.
    ///
    /// # Errors
    /// The kernel's; a part may be written.
    fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Takes away what lies behind `length`.
    ///
    /// # Errors
    /// The kernel's.
    fn cut(&mut self, path: &Path, length: u64) -> io::Result<()>;

    /// Waits until a file's bytes are on the disk. After an error nobody knows which are, and another call does not tell.
    ///
    /// # Errors
    /// The kernel's.
    fn sync(&mut self, path: &Path) -> io::Result<()>;

    /// Waits until a directory's names are on the disk.
    ///
    /// # Errors
    /// The kernel's.
    fn sync_dir(&mut self, directory: &Path) -> io::Result<()>;

    /// Gives a file another name; who had that one is gone.
    ///
    /// # Errors
    /// The kernel's.
    fn replace(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file another name, which nobody has.
    ///
    /// # Errors
    /// Somebody has it.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Locks a file, which is made where there is none, until [`Disk::close`]; false where another process has it.
    ///
    /// # Errors
    /// The kernel's.
    fn lock(&mut self, path: &Path) -> io::Result<bool>;

    /// Lets go of open files and of the lock.
    fn close(&mut self);

    /// The wall clock, since 1970.
    fn now(&self) -> Duration;
}

/// Gives a file new content: afterwards it has all of the old one or all of the new one, whatever happens, and on success the new one.
///
/// # Errors
/// Which of the two it has is unknown.
pub fn put(disk: &mut impl Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    disk.write(&new, bytes)?;
    disk.sync(&new)?;
    disk.replace(&new, path)?;
    disk.sync_dir(parent(path))
}

/// The directory that a file lies in.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The disk of this machine.
#[derive(Debug, Default)]
pub struct Machine {
    /// Open files that are written to.
    files: HashMap<PathBuf, File>,
    lock: Option<File>,
}

impl Machine {
    fn file(&mut self, path: &Path) -> io::Result<&mut File> {
        if !self.files.contains_key(path) {
            let file = OpenOptions::new().append(true).open(path)?;
            self.files.insert(path.to_owned(), file);
        }
        self.files.get_mut(path).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Disk for Machine {
    fn read(&mut self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        found(fs::read(path))
    }

    fn size(&mut self, path: &Path) -> io::Result<Option<u64>> {
        found(fs::symlink_metadata(path).map(|stat| stat.len()))
    }

    fn names(&mut self, directory: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn make_directory(&mut self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.files.remove(path);
        File::create(path)?.write_all(bytes)
    }

    fn create(&mut self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        self.files.insert(path.to_owned(), file);
        Ok(())
    }

    fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.file(path)?.write_all(bytes)
    }

    fn cut(&mut self, path: &Path, length: u64) -> io::Result<()> {
        self.file(path)?.set_len(length)
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        self.file(path)?.sync_data()
    }

    fn sync_dir(&mut self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn replace(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.remove(from);
        self.files.remove(to);
        fs::rename(from, to)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.remove(from);
        Ok(rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
    }

    fn lock(&mut self, path: &Path) -> io::Result<bool> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                self.lock = Some(file);
                Ok(true)
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    fn close(&mut self) {
        self.files.clear();
        self.lock = None;
    }

    fn now(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

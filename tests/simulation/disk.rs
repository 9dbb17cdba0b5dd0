//! A disk: objects with inode numbers that are used again, names, times of a coarse clock, open descriptors that survive
//! a rename. What the agent may do with it is in `spool`; what others do is in `outside`.

use std::collections::{BTreeMap, HashMap};

use spoolway::agent::channel::digest::Mark;
use spoolway::agent::channel::file::Stat;

/// Place of an object in [`Disk::objects`]; never used again, other than its inode number.
pub type Key = usize;

/// Ends the names of completed files.
pub const SUFFIX: &str = ".COMPLETED";

/// A file, or what is left of one, with its story for the final check.
#[derive(Debug, Clone, Default)]
pub struct Object {
    pub inode: u64,
    pub data: Vec<u8>,
    pub modified: i64,
    pub changed: i64,
    pub birth: Option<i64>,
    /// Names, inside and outside the directory.
    pub links: u32,
    /// Descriptors the agents hold.
    pub descriptors: u32,
    /// Somebody outside has it open for writing.
    pub writer: bool,
    /// `chmod 000`.
    pub refused: bool,
    /// The disk cannot read it.
    pub damaged: bool,
    /// A FIFO, link, socket or device.
    pub special: bool,
    /// Belongs to another user: no lease.
    pub foreign: bool,
    /// Times that bytes were cut or overwritten.
    pub disruptions: u32,
    /// Times that a writer went on behind what was cut, and NULs took its place.
    pub holes: u32,
    /// Every line it ever held, and how often it was disrupted before that line was there.
    pub lines: HashMap<Vec<u8>, u32>,
    /// Longest it ever was.
    pub longest: usize,
    /// Its content when it was checked for the last rename.
    pub completed: Option<Vec<u8>>,
    /// It is not known from its predecessor by its birth: being set aside as rewritten is right.
    pub mistakable: bool,
    /// Its bytes are partly those of another object.
    pub copied: bool,
    /// Counts changes of the content.
    pub version: u64,
}

impl Object {
    /// Nothing of it can be shipped.
    pub fn is_junk(&self) -> bool {
        self.special || self.data.starts_with(b"\x1f\x8b")
    }

    /// True where it begins as `content` does, as far as both go: without a birth time nobody can tell them apart.
    pub fn begins_like(&self, content: &[u8]) -> bool {
        self.data.starts_with(content) || content.starts_with(&self.data)
    }
}

/// A file's end that the disk may forget.
#[derive(Debug)]
pub struct Unsynced {
    pub name: String,
    /// Its new name, where it was not deleted.
    pub renamed: Option<String>,
    pub key: Key,
}

/// The disk.
#[derive(Debug, Default)]
pub struct Disk {
    pub objects: Vec<Object>,
    /// Names in the spool directory.
    pub names: BTreeMap<String, Key>,
    /// Names elsewhere on the same file system.
    pub elsewhere: BTreeMap<String, Key>,
    /// Time of the directory's last change.
    pub changed: i64,
    /// It was moved away.
    pub gone: bool,
    /// Its permissions let no agent rename in it.
    pub unwritable: bool,
    /// What agents did in it since it was last synced.
    pub unsynced: Vec<Unsynced>,
    /// Whether this file system tells birth times.
    pub births: bool,
    /// Bytes of a character: 2 where files are UTF-16, of which only ASCII is used.
    pub width: usize,
    /// Nanoseconds of one tick of the file system's clock.
    pub grain: i64,
    pub next_inode: u64,
    pub free: Vec<u64>,
    pub serial: u32,
}

impl Disk {
    /// Text as it stands in files.
    pub fn encoded(&self, text: &[u8]) -> Vec<u8> {
        text.iter().flat_map(|byte| [*byte].into_iter().chain(vec![0; self.width - 1])).collect()
    }

    /// The text of what stands in a file.
    pub fn plain(&self, data: &[u8]) -> Vec<u8> {
        data.iter().step_by(self.width).copied().collect()
    }

    /// Bytes that hold no part of a character.
    pub fn whole(&self, bytes: usize) -> usize {
        bytes / self.width * self.width
    }

    /// The file system's clock at `now`.
    pub fn time(&self, now: std::time::Duration) -> i64 {
        let nanoseconds = now.as_nanos() as i64;
        nanoseconds - nanoseconds % self.grain
    }

    /// What `stat` tells.
    pub fn stat(&self, key: Key) -> Stat {
        let o = &self.objects[key];
        let birth = o.birth.filter(|_| self.births);
        Stat {
            inode: o.inode,
            size: o.data.len() as u64,
            modified: o.modified,
            changed: o.changed,
            birth,
            links: o.links,
        }
    }

    /// A new object; true when its inode number was another's.
    pub fn make(&mut self, data: Vec<u8>, time: i64, reuse: bool) -> (Key, bool) {
        let reused = self.free.pop().filter(|_| reuse);
        let inode = reused.unwrap_or_else(|| {
            self.next_inode += 1;
            self.next_inode
        });
        let object = Object { inode, modified: time, changed: time, birth: Some(time), ..Object::default() };
        self.objects.push(object);
        let key = self.objects.len() - 1;
        self.write(key, data, time);
        (key, reused.is_some())
    }

    /// Replaces the content, and notes every line there is now.
    pub fn write(&mut self, key: Key, data: Vec<u8>, time: i64) {
        let text = self.plain(&data);
        let o = &mut self.objects[key];
        (o.data, o.modified, o.changed, o.version) = (data, time, time, o.version + 1);
        o.longest = o.longest.max(o.data.len());
        for line in text.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            // An unfinished line may end in the first half of its end.
            for line in [line, line.strip_suffix(b"\r").unwrap_or(line)] {
                o.lines.entry(line.to_vec()).or_insert(o.disruptions);
            }
        }
    }

    /// Gives an object a name in the directory.
    pub fn link(&mut self, name: &str, key: Key, time: i64) {
        if let Some(old) = self.names.insert(name.to_owned(), key) {
            self.unlinked(old, time);
        }
        self.objects[key].links += 1;
        self.objects[key].changed = time;
        self.changed = time;
    }

    /// Takes a name from the directory.
    pub fn unlink(&mut self, name: &str, time: i64) -> Option<Key> {
        let key = self.names.remove(name)?;
        self.changed = time;
        self.unlinked(key, time);
        Some(key)
    }

    /// What completed a file did not happen after all; false where others have used name or inode number since.
    pub fn undo(&mut self, done: &Unsynced, time: i64) -> bool {
        if self.names.contains_key(&done.name) {
            return false;
        }
        let object = &self.objects[done.key];
        let there = match &done.renamed {
            Some(target) => self.names.get(target) == Some(&done.key),
            None => object.links > 0 || object.descriptors > 0 || self.free.contains(&object.inode),
        };
        if there {
            self.free.retain(|inode| *inode != object.inode);
            self.link(&done.name, done.key, time);
            if let Some(target) = &done.renamed {
                self.unlink(target, time);
            }
        }
        there
    }

    /// One name less.
    pub fn unlinked(&mut self, key: Key, time: i64) {
        self.objects[key].links -= 1;
        self.objects[key].changed = time;
        self.settle(key);
    }

    /// One descriptor of an agent less.
    pub fn closed(&mut self, key: Key) {
        self.objects[key].descriptors -= 1;
        self.settle(key);
    }

    /// The inode number of what has no name and no descriptor may be given to another file.
    pub fn settle(&mut self, key: Key) {
        let o = &self.objects[key];
        if o.links == 0 && o.descriptors == 0 && !o.writer && !self.free.contains(&o.inode) {
            self.free.push(o.inode);
        }
    }

    /// Mark of `len` bytes at `from`; `None` when the file ends before.
    pub fn mark(&self, key: Key, from: u64, len: u32) -> Option<Mark> {
        let from = from as usize;
        self.objects[key].data.get(from..from + len as usize).map(Mark::of)
    }

    /// Names that an agent would ship.
    pub fn candidates(&self) -> impl Iterator<Item = (&String, Key)> {
        self.names.iter().filter(|(name, _)| !name.ends_with(SUFFIX)).map(|(name, key)| (name, *key))
    }

    /// True where an object with this inode number was ever as long.
    pub fn was_as_long(&self, inode: u64, position: u64) -> bool {
        self.objects.iter().any(|o| o.inode == inode && o.longest as u64 >= position)
    }
}

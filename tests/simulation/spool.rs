//! The spool directory of one agent, on the simulated disk: call by call what `source::spooldir` does, with the outside
//! world acting between the calls.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use spoolway::agent::channel::digest::Mark;
use spoolway::agent::channel::file::{Entry, Obstacle, Reason};
use spoolway::agent::channel::name::Name;
use spoolway::agent::channel::{Chunk, Completed, Completion, Inode, Read, Writer};
use spoolway::agent::source::{FileError, Source, SourceError};
use spoolway::pipeline;
use spoolway::pipeline::report::FlowReason;

use super::disk::{Key, SUFFIX};
use super::mutation::Bug;
use super::sim::{Shared, Sim, step};

/// An agent's view of the directory.
pub struct Spool {
    pub sim: Shared,
    /// What completes a file.
    pub completion: pipeline::Completion,
    agent: u32,
    is_open: bool,
    descriptors: HashMap<Inode, Key>,
    listed: Option<i64>,
    heard: bool,
}

impl Spool {
    pub fn new(sim: &Shared, agent: u32, completion: pipeline::Completion) -> Self {
        let (sim, descriptors) = (sim.clone(), HashMap::new());
        Spool { sim, completion, agent, is_open: false, descriptors, listed: None, heard: false }
    }

    fn tracks(&self) -> bool {
        self.completion == pipeline::Completion::Track
    }

    fn error(reason: FlowReason, message: &str) -> SourceError {
        SourceError::new(reason, message)
    }

    pub fn open_file(&self, name: &Name, inode: Inode) -> Result<Key, FileError> {
        step(&self.sim, "open a file");
        let sim = &mut *self.sim.borrow_mut();
        let text = String::from_utf8_lossy(&name.0).into_owned();
        let Some(&key) = sim.disk.names.get(&text) else {
            sim.hit("vanished between list and open");
            return Err(FileError::Vanished);
        };
        let object = &sim.disk.objects[key];
        let (special, refused) = (object.special, object.refused);
        if refused {
            sim.hit("open: permission denied (EACCES)");
            return Err(FileError::Aside(Reason::PermissionDenied, "permission denied".into()));
        }
        if special {
            return Err(FileError::Aside(Reason::NotARegularFile, "it is a FIFO".into()));
        }
        if sim.disk.objects[key].inode != inode {
            sim.hit("another file has the name");
            return Err(FileError::Vanished);
        }
        sim.disk.objects[key].descriptors += 1;
        Ok(key)
    }

    /// What is done with an open descriptor in a read; the caller closes or keeps it.
    fn read_open(&self, read: &Read, key: Key, data: &mut Vec<u8>) -> Result<Chunk, FileError> {
        step(&self.sim, "read");
        let (head, writer) = {
            let sim = &mut *self.sim.borrow_mut();
            if sim.disk.objects[key].damaged || sim.fails_seldom() {
                sim.hit("read: input/output error (EIO)");
                return Err(FileError::Aside(Reason::ReadError, "input/output error".into()));
            }
            let mut head = if read.head > 0 { sim.disk.mark(key, 0, read.head) } else { None };
            let writer = if read.seal { sim.lease(key) } else { Writer::NotAsked };
            // What was compared and what is read need not be of one moment.
            sim.pass(Duration::from_micros(20));
            let bytes = &sim.disk.objects[key].data;
            let from = bytes.len().min(read.from as usize);
            let to = bytes.len().min(read.from as usize + read.len);
            data.clear();
            data.extend_from_slice(&bytes[from..to]);
            if sim.has(Bug::IdentityUnchecked) {
                head = sim.believe(read, data).or(head);
            }
            (head, writer)
        };
        step(&self.sim, "fstat");
        let sim = &mut *self.sim.borrow_mut();
        let stat = sim.disk.stat(key);
        let end = read.from + data.len() as u64 >= stat.size;
        if !end && data.len() < read.len {
            sim.hit("short read");
        }
        sim.say(|| {
            format!("read {} {}+{} of {}, end {end}, {writer:?}", read.name, read.from, data.len(), stat.size)
        });
        Ok(Chunk { stat, head, end, writer: if end { writer } else { Writer::NotAsked } })
    }
}

impl Spool {
    /// As `readdir` and `lstat` do it: name by name, while others rename. A listing is no picture of one moment.
    fn walk(&self) -> Vec<Entry> {
        let sim = &mut *self.sim.borrow_mut();
        let before: BTreeSet<Key> = sim.disk.candidates().map(|(_, key)| key).collect();
        let (mut entries, mut seen) = (vec![], BTreeSet::new());
        let mut next = sim.disk.candidates().next().map(|(name, _)| name.clone());
        while let Some(name) = next {
            if sim.chance(200) {
                sim.pass(Duration::from_micros(50));
            }
            if let Some(&key) = sim.disk.names.get(&name) {
                let (stat, regular) = (sim.disk.stat(key), !sim.disk.objects[key].special);
                let why = || Obstacle { reason: Reason::NotARegularFile, note: "it is a FIFO".into() };
                entries.push(Entry { name: Name::new(name.as_bytes()), stat, obstacle: (!regular).then(why) });
                if !seen.insert(key) && sim.disk.objects[key].links == 1 {
                    sim.hit("torn listing: a file under both its names");
                }
            }
            next = sim.disk.candidates().map(|(name, _)| name).find(|other| **other > name).cloned();
        }
        if before.iter().any(|key| !seen.contains(key) && sim.disk.candidates().any(|(_, there)| there == *key)) {
            sim.hit("torn listing: a file under none of its names");
        }
        entries
    }
}

impl Sim {
    /// For agents that do not compare: what precedes the position, and the first bytes, are always what they were.
    fn believe(&mut self, read: &Read, data: &mut [u8]) -> Option<Mark> {
        let known = self.believed.entry(read.inode).or_default();
        let places = read.from..;
        for (index, (at, byte)) in places.zip(data.iter_mut()).enumerate() {
            let before = known.entry(at).or_insert(*byte);
            if index < read.back { *byte = *before } else { *before = *byte }
        }
        let first: Vec<u8> = (0..u64::from(read.head)).map_while(|at| known.get(&at).copied()).collect();
        (read.head > 0 && first.len() == read.head as usize).then(|| Mark::of(&first))
    }

    /// Asks for a read lease.
    pub fn lease(&mut self, key: Key) -> Writer {
        let (foreign, writer) = (self.disk.objects[key].foreign, self.disk.objects[key].writer);
        if foreign {
            self.hit("no lease here");
            return Writer::Unknown;
        }
        if writer {
            self.hit("lease refused by a writer");
            return Writer::Open;
        }
        Writer::None
    }
}

impl Source for Spool {
    fn open(&mut self) -> Result<(), SourceError> {
        self.release();
        step(&self.sim, "open the directory");
        let sim = &mut *self.sim.borrow_mut();
        if sim.disk.gone {
            return Err(Self::error(FlowReason::SpoolDirectoryMissing, "it does not exist"));
        }
        if sim.lock.is_some_and(|holder| holder != self.agent) && sim.lock_works {
            sim.hit("second agent kept out by the lock");
            return Err(Self::error(FlowReason::AnotherAgentRunning, "another agent has it locked"));
        }
        if sim.disk.unwritable && !self.tracks() {
            sim.hit("directory may not be written");
            return Err(Self::error(FlowReason::CannotComplete, "files cannot be renamed here"));
        }
        sim.lock = Some(self.agent);
        self.is_open = true;
        Ok(())
    }

    fn release(&mut self) {
        let mut sim = self.sim.borrow_mut();
        for (_, key) in self.descriptors.drain() {
            sim.disk.closed(key);
        }
        if self.is_open && sim.lock == Some(self.agent) {
            sim.lock = None;
        }
        self.is_open = false;
        self.listed = None;
    }

    fn list(&mut self, full: bool) -> Result<Option<Vec<Entry>>, SourceError> {
        step(&self.sim, "list");
        let changed = {
            let sim = &mut *self.sim.borrow_mut();
            if sim.disk.gone {
                return Err(Self::error(FlowReason::SpoolDirectoryMissing, "it does not exist"));
            }
            if sim.fails(1) {
                sim.hit("list: input/output error (EIO)");
                return Err(Self::error(FlowReason::SpoolDirectoryMissing, "input/output error"));
            }
            if !full && self.listed == Some(sim.disk.changed) {
                return Ok(None);
            }
            sim.disk.changed
        };
        self.heard = false;
        let entries = self.walk();
        let sim = &mut *self.sim.borrow_mut();
        let shown = |e: &Entry| format!("{}#{}:{}", e.name, e.stat.inode, e.stat.size);
        sim.say(|| format!("listed {}", entries.iter().map(shown).collect::<Vec<_>>().join(" ")));
        self.listed = Some(changed);
        Ok(Some(entries))
    }

    fn completed(&mut self, wanted: &HashSet<Inode>) -> Vec<Entry> {
        step(&self.sim, "list the completed");
        let sim = &*self.sim.borrow();
        if self.completion != pipeline::Completion::Rename {
            return vec![];
        }
        let named = sim.disk.names.iter().filter(|(name, _)| name.ends_with(SUFFIX));
        let there = named.map(|(name, key)| (Name::new(name.as_bytes()), sim.disk.stat(*key)));
        let wanted = there.filter(|(_, stat)| wanted.contains(&stat.inode));
        wanted.map(|(name, stat)| Entry { name, stat, obstacle: None }).collect()
    }

    fn read(&mut self, read: &Read, data: &mut Vec<u8>) -> Result<Chunk, FileError> {
        let kept = self.descriptors.remove(&read.inode);
        let key = match kept {
            Some(key) if !read.fresh => key,
            kept => {
                if let Some(key) = kept {
                    self.sim.borrow_mut().disk.closed(key);
                }
                self.open_file(&read.name, read.inode)?
            }
        };
        // Kept where `release` finds it, should the agent be killed in the middle.
        self.descriptors.insert(read.inode, key);
        let chunk = self.read_open(read, key, data);
        if chunk.is_err() {
            self.close(read.inode);
        }
        chunk
    }

    fn close(&mut self, inode: Inode) {
        if let Some(key) = self.descriptors.remove(&inode) {
            self.sim.borrow_mut().disk.closed(key);
        }
    }

    fn complete(&mut self, batch: &[Completion]) -> Vec<(Inode, Completed)> {
        let mut results = vec![];
        for wanted in batch {
            results.push((wanted, self.complete_one(wanted)));
            step(&self.sim, "completed");
        }
        step(&self.sim, "sync the directory");
        let sim = &mut *self.sim.borrow_mut();
        let refused = self.completion != pipeline::Completion::Track && sim.fails(5);
        if refused {
            sim.hit("sync: input/output error (EIO)");
        } else {
            sim.disk.unsynced.clear();
        }
        let told = results
            .into_iter()
            .map(|(wanted, result)| (wanted.inode, if refused { result.unsynced(wanted) } else { result }));
        told.collect()
    }

    fn wait(&mut self, time: Duration) -> bool {
        step(&self.sim, "wait");
        let sim = &mut *self.sim.borrow_mut();
        let before: u64 = sim.disk.objects.iter().map(|o| o.version).sum::<u64>() + sim.disk.changed as u64;
        let part = if sim.drain_since.is_none() && sim.chance(300) { sim.rng.u32(1..=10) } else { 10 };
        sim.pass(time * part / 10);
        let after: u64 = sim.disk.objects.iter().map(|o| o.version).sum::<u64>() + sim.disk.changed as u64;
        let heard = before != after && !self.heard && sim.lock_works; // without it: no inotify either
        self.heard |= heard;
        heard
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.release();
    }
}

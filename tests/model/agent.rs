//! The two ends of an agent over the [`World`](super::world::World): a source that reads its files, a sink that writes its log.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use spoolway::agent::channel::digest::{FileId, Mark};
use spoolway::agent::channel::file::{Entry, Stat};
use spoolway::agent::channel::name::Name;
use spoolway::agent::channel::progress::Closing;
use spoolway::agent::channel::splitter::Line;
use spoolway::agent::channel::{Chunk, Completed, Completion, Delivered, Inode, Read, Records, Settings, Writer};
use spoolway::agent::sink::{Failure, Opened, Sink, SinkError};
use spoolway::agent::source::{FileError, Source, SourceError};
use spoolway::pipeline::report::FlowReason;

use super::world::{Mistake, Place, Shared, World, step};

/// Longest line of a case, with its end.
const LONGEST: u64 = 200;

impl World {
    fn stat(&self, index: usize) -> Stat {
        let (file, story) = (&self.files[index], &self.stories[index]);
        let (size, changed, birth) = (story.data.len() as u64, file.changed, Some(file.birth));
        Stat { inode: story.inode, size, modified: changed, changed, birth, links: 1 }
    }

    fn mark(&self, index: usize, from: u64, len: u32) -> Option<Mark> {
        let from = from as usize;
        self.stories[index].data.get(from..from + len as usize).map(Mark::of)
    }
}

/// Reads files.
pub struct Spool {
    pub world: Shared,
    pub max_open: usize,
    pub open: BTreeMap<Inode, usize>,
}

impl Spool {
    fn complete_one(&self, wanted: &Completion) -> Completed {
        step(&self.world);
        let world = &mut *self.world.borrow_mut();
        let name = String::from_utf8_lossy(&wanted.name.0).into_owned();
        let Some(index) = world.names().get(name.as_str()).copied() else { return Completed::Gone };
        let stat = world.stat(index);
        if stat.inode != wanted.inode || stat.birth != wanted.birth {
            return Completed::Gone;
        }
        let looks = world.mistake != Some(Mistake::RenamedWithoutALook);
        if looks && stat.size != wanted.size {
            return Completed::Resized;
        }
        let tail_at = wanted.size - u64::from(wanted.tail.len);
        let known = world.mark(index, 0, wanted.head.len) == Some(wanted.head)
            && world.mark(index, tail_at, wanted.tail.len) == Some(wanted.tail);
        if looks && !known {
            return Completed::Rewritten;
        }
        let lines_are_there = world.committed.renamed(&world.stories[index]);
        world.holds(lines_are_there);
        world.files[index].place = Place::Completed;
        Completed::Renamed(Name::new(format!("{name}.COMPLETED").as_bytes()))
    }
}

impl Source for Spool {
    fn open(&mut self) -> Result<(), SourceError> {
        self.release();
        step(&self.world);
        let gone = || SourceError::new(FlowReason::SpoolDirectoryMissing, "it does not exist");
        if self.world.borrow().gone { Err(gone()) } else { Ok(()) }
    }

    fn release(&mut self) {
        self.open.clear();
    }

    fn list(&mut self, _: bool) -> Result<Option<Vec<Entry>>, SourceError> {
        step(&self.world);
        let world = self.world.borrow();
        if world.gone {
            return Err(SourceError::new(FlowReason::SpoolDirectoryMissing, "it does not exist"));
        }
        let entry = |(name, index): (&str, usize)| {
            let (name, stat) = (Name::new(name.as_bytes()), world.stat(index));
            Entry { name, stat, obstacle: None }
        };
        Ok(Some(world.names().into_iter().map(entry).collect()))
    }

    fn completed(&mut self, _: &HashSet<Inode>) -> Vec<Entry> {
        vec![] // nobody writes on here: the simulation has that
    }

    fn read(&mut self, read: &Read, data: &mut Vec<u8>) -> Result<Chunk, FileError> {
        let kept = self.open.remove(&read.inode).filter(|_| !read.fresh);
        step(&self.world);
        let world = &mut *self.world.borrow_mut();
        let named = world.names().get(&*String::from_utf8_lossy(&read.name.0)).copied();
        let index = kept.or(named).filter(|index| world.stories[*index].inode == read.inode);
        let index = index.ok_or(FileError::Vanished)?;
        self.open.insert(read.inode, index);
        // One more than the open ones is read when a file has settled.
        let open = self.open.len();
        world.holds(if open <= self.max_open + 1 { Ok(()) } else { Err(format!("{open} files are open")) });
        let content = &world.stories[index].data;
        let from = content.len().min(read.from as usize);
        data.clear();
        data.extend_from_slice(&content[from..content.len().min(from + read.len)]);
        let end = from + data.len() == content.len();
        let head = if read.head > 0 { world.mark(index, 0, read.head) } else { None };
        let writer = if read.seal && end { Writer::Unknown } else { Writer::NotAsked };
        Ok(Chunk { stat: world.stat(index), head, end, writer })
    }

    fn close(&mut self, inode: Inode) {
        self.open.remove(&inode);
    }

    fn complete(&mut self, batch: &[Completion]) -> Vec<(Inode, Completed)> {
        batch.iter().map(|wanted| (wanted.inode, self.complete_one(wanted))).collect()
    }

    fn wait(&mut self, time: Duration) -> bool {
        step(&self.world);
        self.world.borrow_mut().now += time;
        false
    }
}

/// Writes the log.
pub struct Log {
    pub world: Shared,
    pub settings: Settings,
    pub epoch: u32,
    /// Lines of the open transaction, by slot.
    pub lines: Vec<Vec<String>>,
}

impl Log {
    /// A call: it may fail, and it does once another agent has opened.
    fn call(&mut self) -> Result<(), (SinkError, bool)> {
        step(&self.world);
        let world = &mut *self.world.borrow_mut();
        let successor = self.epoch != world.epoch && world.mistake != Some(Mistake::NobodyIsFenced);
        let fenced = successor.then_some((Failure::Fenced, false));
        let Some((failure, takes_effect)) = fenced.or(world.failing.take()) else { return Ok(()) };
        let failure = match failure {
            Failure::Aside { .. } if self.lines.is_empty() => Failure::Retry,
            Failure::Aside { slot, reason } => Failure::Aside { slot: slot % self.lines.len() as u32, reason },
            other => other,
        };
        let message = format!("{failure:?}");
        Err((
            SinkError { failure, reason: FlowReason::TransactionFailed, message },
            takes_effect && fenced.is_none(),
        ))
    }
}

impl Sink for Log {
    fn open(&mut self) -> Result<Opened, SinkError> {
        self.close();
        self.epoch = self.world.borrow().epoch;
        self.call().map_err(|(e, _)| e)?;
        let world = &mut *self.world.borrow_mut();
        world.epoch += 1;
        self.epoch = world.epoch;
        let forgets = world.mistake == Some(Mistake::ProgressForgotten);
        let committed = if forgets { vec![] } else { world.committed.progress() };
        Ok(Opened { committed, partitions: 3, checkpoint_topic: None })
    }

    fn append(&mut self, records: &Records, data: &mut Vec<u8>, lines: &[Line]) -> Result<(), SinkError> {
        let slot = records.slot as usize;
        self.lines.resize(self.lines.len().max(slot + 1), vec![]);
        self.call().map_err(|(e, _)| e)?;
        let text = |line: &Line| String::from_utf8_lossy(line.of(&data[records.back..])).into_owned();
        self.lines[slot].extend(lines.iter().map(text));
        Ok(())
    }

    fn flush(&mut self) -> Result<Vec<Delivered>, SinkError> {
        self.call().map_err(|(e, _)| e)?;
        Ok(vec![])
    }

    fn commit(&mut self, closing: &[Closing], tombstones: &[FileId]) -> Result<(), SinkError> {
        let answer = self.call();
        if answer.as_ref().is_err_and(|(_, takes_effect)| !takes_effect) {
            let believed = self.world.borrow().mistake == Some(Mistake::FailedCommitBelieved);
            return if believed { Ok(()) } else { answer.map_err(|(e, _)| e) };
        }
        let world = &mut *self.world.borrow_mut();
        let bytes: u64 = closing.iter().map(|entry| entry.segment.to - entry.segment.from).sum();
        let fits = bytes < self.settings.max_transaction_bytes + LONGEST;
        world.holds(if fits { Ok(()) } else { Err(format!("{bytes} bytes in one transaction")) });
        let taken = world.committed.take(closing, std::mem::take(&mut self.lines), &world.stories);
        world.holds(taken);
        world.committed.forgotten.extend(tombstones);
        answer.map_err(|(e, _)| e)
    }

    fn idle(&mut self) -> Option<(FlowReason, String)> {
        None
    }

    fn close(&mut self) {
        self.lines.clear();
    }
}

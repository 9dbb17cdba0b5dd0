//! Exactly once into files of a directory. This file is the argument; [`disk`] is the disk, [`roll`] says when a file is closed,
//! [`state`] is what is committed.
//!
//! 1. One agent at a time: `<state>.lock` in the state directory is locked before anything is read, and as long as the sink is open.
//!    A process that hangs keeps it, so a successor waits; nobody writes behind anybody's back.
//! 2. One file is the truth: `<state>` says of every open output file how many bytes are committed, and what is committed of every file
//!    that was read. It only ever changes as a whole: temporary file, fsync, rename, fsync of the directory. The rename is the commit.
//! 3. Lines go behind the committed length of a file called `….log.open`. They are fsynced before the state that counts them is
//!    written, so every byte below a committed length is on the disk.
//! 4. [`FileSink::open`] cuts each open file to its committed length. So what was written and not committed is gone before it is read
//!    again: nothing comes twice, and the channel goes on at the progress of that same state: nothing is missing.
//! 5. An output file is named in the state, with length 0, before it is made: a crash in between leaves a number without a file, which is
//!    made then, never a file that nobody knows of. It is made only where nobody has its name.
//! 6. A file is closed by the commit of its last line: the state calls it closed, with its length. Only then is it renamed to `….log`,
//!    and never onto another file. A crash in between finds it closed and renames it. From then on nothing here touches it: whoever
//!    reads may take it away, even before the state forgets it.
//! 7. After any outcome that is not a clear success everything is let go of, and 1 and 4 are done again. Above all no fsync is tried
//!    twice: after one that failed, the kernel may count pages as written that are not. They lie behind a committed length, are cut off,
//!    and written anew.
//! 8. What [`FileSink::open`] has read it writes out again before any name changes on its word, here or in the spool directory. A rename
//!    that took place while the fsync behind it failed may be visible and not on the disk. (A file may be cut before: to a length that
//!    is no less than the one on the disk.)
//! 9. The channel completes a file only after [`FileSink::commit`] returned for its last byte.

pub mod disk;
pub mod roll;
pub mod state;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Failure, Opened, Sink, SinkError};
use crate::agent::channel::digest::FileId;
use crate::agent::channel::progress::Closing;
use crate::agent::channel::splitter::Line;
use crate::agent::channel::{Delivered, Records};
use crate::pipeline::Roll;
use crate::pipeline::report::FlowReason;
use disk::Disk;
use roll::{Output, closed_name, is_ours, open_name};
use state::State;

/// Where the sink writes, and who it is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `<cluster>/<namespace>/<pipeline>/<agent>`.
    pub agent: String,
    /// Directory of the output files.
    pub directory: String,
    /// Their names begin with it: the pipeline's name.
    pub prefix: String,
    /// The file that says what is committed.
    pub state: PathBuf,
    /// When a file is closed.
    pub roll: Roll,
    /// Nothing comes after this run: what is written is closed at its end.
    pub once: bool,
}

/// The sink over a disk.
pub struct FileSink<D> {
    settings: Settings,
    disk: D,
    /// Set while it is open.
    state: Option<State>,
    scratch: Vec<u8>,
}

impl<D: Disk> FileSink<D> {
    /// Nothing is touched before [`Sink::open`].
    pub fn new(settings: Settings, disk: D) -> Self {
        FileSink { settings, disk, state: None, scratch: vec![] }
    }

    /// Runs one step; whatever fails, the sink is closed afterwards.
    fn step<T>(&mut self, step: impl FnOnce(&mut Work<'_, D>) -> Result<T, SinkError>) -> Result<T, SinkError> {
        let Some(mut state) = self.state.take() else {
            let message = "the sink was closed after a failure; it is opened again".into();
            return Err(SinkError { failure: Failure::Retry, reason: FlowReason::TransactionFailed, message });
        };
        let mut work =
            Work { settings: &self.settings, disk: &mut self.disk, state: &mut state, scratch: &mut self.scratch };
        let done = step(&mut work);
        match done {
            Ok(_) => self.state = Some(state),
            Err(_) => self.disk.close(),
        }
        done
    }

    fn begin(&mut self) -> Result<Opened, SinkError> {
        let path = self.settings.state.clone();
        let shown = path.display();
        self.disk.make_directory(disk::parent(&path)).map_err(|e| trouble("make", disk::parent(&path), &e))?;
        let lock = path.with_extension("lock");
        if !self.disk.lock(&lock).map_err(|e| trouble("lock", &lock, &e))? {
            let message = format!(
                "another agent has {} locked; this one waits, and takes over when the other ends",
                lock.display()
            );
            return Err(SinkError { failure: Failure::Retry, reason: FlowReason::AnotherAgentRunning, message });
        }
        let (state, committed) = match self.disk.read(&path).map_err(|e| trouble("read", &path, &e))? {
            Some(text) => {
                State::decode(&text).map_err(|why| refused(format!("progress in {shown} cannot be used: {why}")))?
            }
            None => (self.first()?, vec![]),
        };
        let is = (&state.head.agent, &state.head.directory);
        if is != (&self.settings.agent, &self.settings.directory) {
            return Err(refused(format!(
                "progress in {shown} is that of agent {} and its files in {}; set spec.sink.file.directory back, or make another LogPipeline",
                is.0.escape_debug(),
                is.1.escape_debug()
            )));
        }
        self.state = Some(state);
        self.step(|work| work.settle())?;
        Ok(Opened { committed, partitions: 1, checkpoint_topic: None })
    }

    /// There is no progress yet, and so there is no output either.
    fn first(&mut self) -> Result<State, SinkError> {
        let Settings { agent, directory, prefix, state, .. } = &self.settings;
        let names = self.disk.names(Path::new(directory)).map_err(|e| trouble("read", Path::new(directory), &e))?;
        if let Some(name) = names.iter().filter(|name| is_ours(prefix, name)).min() {
            return Err(refused(format!(
                "{} holds {name} of a pipeline of this name, but {} no progress of it: what is in both would be written again; bring \
                 the progress back, or empty the directory",
                directory.escape_debug(),
                disk::parent(state).display()
            )));
        }
        Ok(State::new(agent, directory))
    }
}

/// An open sink at work.
struct Work<'a, D> {
    settings: &'a Settings,
    disk: &'a mut D,
    state: &'a mut State,
    scratch: &'a mut Vec<u8>,
}

impl<D: Disk> Work<'_, D> {
    fn directory(&self) -> &Path {
        Path::new(&self.settings.directory)
    }

    fn open_path(&self, number: u64) -> PathBuf {
        self.directory().join(open_name(&self.settings.prefix, number))
    }

    fn closed_path(&self, number: u64) -> PathBuf {
        self.directory().join(closed_name(&self.settings.prefix, number))
    }

    /// Steps 4 to 8 of the argument: every open file is what is committed of it, and so is the state.
    fn settle(&mut self) -> Result<(), SinkError> {
        for output in self.state.head.outputs.clone() {
            let path = self.open_path(output.number);
            match self.disk.size(&path).map_err(|e| trouble("read", &path, &e))? {
                Some(size) if size >= output.length => {
                    self.disk.cut(&path, output.length).map_err(|e| trouble("cut", &path, &e))?;
                    self.sync(&path)?;
                }
                None if output.closed => {}
                None if output.length == 0 => self.disk.create(&path).map_err(|e| trouble("make", &path, &e))?,
                size => {
                    let found = size.map_or("is not there".to_owned(), |size| format!("has {size} bytes"));
                    return Err(refused(format!(
                        "{} {found}, but {} bytes of it are committed; put it back, or, to write all again that still is in the spool \
                         directory, delete {}",
                        path.display(),
                        output.length,
                        self.settings.state.display()
                    )));
                }
            }
        }
        self.put()?;
        self.hand_over()
    }

    /// Gives closed files their final names; the state forgets them when it is written next.
    fn hand_over(&mut self) -> Result<(), SinkError> {
        for output in self.state.head.outputs.iter().filter(|output| output.closed) {
            let (from, to) = (self.open_path(output.number), self.closed_path(output.number));
            if self.disk.size(&from).map_err(|e| trouble("read", &from, &e))?.is_some() {
                self.disk.rename(&from, &to).map_err(|e| trouble("rename to", &to, &e))?;
            }
        }
        self.sync_names()?;
        self.state.head.outputs.retain(|output| !output.closed);
        Ok(())
    }

    fn append(&mut self, records: &Records, data: &[u8], lines: &[Line]) -> Result<(), SinkError> {
        let body = &data[records.back..];
        let now = self.disk.now();
        self.scratch.clear();
        let mut into = None;
        for line in lines {
            let bytes = u64::from(line.len) + 1;
            let place = match self.place(bytes) {
                Some(place) => place,
                None => {
                    self.write(into.take())?;
                    self.next()?
                }
            };
            let output = &mut self.state.head.outputs[place];
            output.add(bytes, now);
            let number = output.number;
            if into.is_some_and(|before| before != number) {
                self.write(into)?;
            }
            into = Some(number);
            self.scratch.extend_from_slice(line.of(body));
            self.scratch.push(b'\n');
        }
        self.write(into)
    }

    /// The first file that takes a line of so many bytes; those before it are full.
    fn place(&mut self, bytes: u64) -> Option<usize> {
        let (roll, outputs) = (&self.settings.roll, &mut self.state.head.outputs);
        let mut place = outputs.partition_point(|output| output.written.full);
        while let Some(output) = outputs.get_mut(place) {
            if output.takes(bytes, roll) {
                return Some(place);
            }
            output.written.full = true;
            place += 1;
        }
        None
    }

    fn write(&mut self, number: Option<u64>) -> Result<(), SinkError> {
        if let Some(number) = number {
            let path = self.open_path(number);
            self.disk.append(&path, self.scratch).map_err(|e| trouble("write", &path, &e))?;
        }
        self.scratch.clear();
        Ok(())
    }

    /// Step 5: a new file, named in the state before it is made.
    fn next(&mut self) -> Result<usize, SinkError> {
        let mut number = self.state.head.next;
        loop {
            let (open, closed) = (self.open_path(number), self.closed_path(number));
            let mut is_there =
                |path: &Path| Ok(self.disk.size(path).map_err(|e| trouble("read", path, &e))?.is_some());
            if !is_there(&open)? && !is_there(&closed)? {
                break;
            }
            number += 1;
        }
        self.state.head.next = number + 1;
        self.state.head.outputs.push(Output { number, ..Output::default() });
        self.put()?;
        let path = self.open_path(number);
        self.disk.create(&path).map_err(|e| trouble("make", &path, &e))?;
        self.sync_names()?;
        Ok(self.state.head.outputs.len() - 1)
    }

    fn flush(&mut self) -> Result<Vec<Delivered>, SinkError> {
        let outputs = self.state.head.outputs.iter();
        let grown: Vec<u64> = outputs.filter(|o| o.written.length > o.length).map(|o| o.number).collect();
        for number in grown {
            self.sync(&self.open_path(number))?;
        }
        Ok(vec![])
    }

    fn commit(&mut self, closing: &[Closing], tombstones: &[FileId]) -> Result<(), SinkError> {
        closing.iter().for_each(|entry| self.state.set(&entry.progress));
        tombstones.iter().for_each(|file| self.state.forget(*file));
        let (roll, now) = (&self.settings.roll, self.disk.now());
        self.state.head.outputs.iter_mut().for_each(|output| output.commit(roll, now));
        self.put()?;
        if self.state.head.outputs.iter().any(|output| output.closed) { self.hand_over() } else { Ok(()) }
    }

    /// Closes files whose time has come, or, at the end, all that are not empty.
    fn close(&mut self, all: bool) -> Result<(), SinkError> {
        let (roll, now) = (&self.settings.roll, self.disk.now());
        let mut due = false;
        for output in &mut self.state.head.outputs {
            output.closed = output.length > 0 && (all || output.is_due(roll, now));
            due |= output.closed;
        }
        if !due {
            return Ok(());
        }
        self.put()?;
        self.hand_over()
    }

    /// Step 2: the commit.
    fn put(&mut self) -> Result<(), SinkError> {
        let path = &self.settings.state;
        disk::put(self.disk, path, &self.state.encode()).map_err(|e| trouble("write", path, &e))
    }

    fn sync(&mut self, path: &Path) -> Result<(), SinkError> {
        self.disk.sync(path).map_err(|e| trouble("sync", path, &e))
    }

    fn sync_names(&mut self) -> Result<(), SinkError> {
        let directory = self.directory().to_owned();
        self.disk.sync_dir(&directory).map_err(|e| trouble("sync", &directory, &e))
    }
}

impl<D: Disk> Sink for FileSink<D> {
    fn open(&mut self) -> Result<Opened, SinkError> {
        self.state = None;
        self.disk.close();
        self.begin().inspect_err(|_| self.disk.close())
    }

    fn append(&mut self, records: &Records, data: &mut Vec<u8>, lines: &[Line]) -> Result<(), SinkError> {
        self.step(|work| work.append(records, data, lines))
    }

    fn flush(&mut self) -> Result<Vec<Delivered>, SinkError> {
        self.step(|work| work.flush())
    }

    fn commit(&mut self, closing: &[Closing], tombstones: &[FileId]) -> Result<(), SinkError> {
        self.step(|work| work.commit(closing, tombstones))
    }

    fn idle(&mut self) -> Option<(FlowReason, String)> {
        // No transaction is open, so what is committed is what the channel goes on with, even where it is opened anew here.
        let done = if self.state.is_some() { self.step(|work| work.close(false)) } else { self.open().map(drop) };
        done.err().map(|error| (error.reason, error.message))
    }

    fn close(&mut self) {
        let is_whole = |state: &State| state.head.outputs.iter().all(|o| o.written.length == o.length);
        if self.settings.once
            && self.state.as_ref().is_some_and(is_whole)
            && let Err(error) = self.step(|work| work.close(true))
        {
            tracing::warn!("the last file is not closed: {error}");
        }
        self.state = None;
        self.disk.close();
    }
}

/// What the kernel refused, and what a person can do.
fn trouble(what: &str, path: &Path, error: &io::Error) -> SinkError {
    let todo = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => "create the directory, or correct the path",
        ErrorKind::PermissionDenied => "let the agent's user write there",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room; it goes on by itself",
        ErrorKind::ReadOnlyFilesystem => "mount it writable",
        ErrorKind::AlreadyExists => "move what has that name away",
        _ => "check the disk (dmesg)",
    };
    let message = format!("cannot {what} {}: {error}; {todo}", path.display().to_string().escape_debug());
    SinkError { failure: Failure::Retry, reason: FlowReason::OutputUnavailable, message }
}

fn refused(message: String) -> SinkError {
    SinkError { failure: Failure::RetrySlowly, reason: FlowReason::OutputUnavailable, message }
}

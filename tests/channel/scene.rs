//! A directory and the channel that ships it, without a file and without a clock: a few byte strings, and time is a number.

use std::collections::BTreeMap;
use std::time::Duration;

use spoolway::agent::channel::digest::Mark;
use spoolway::agent::channel::file::{Entry, Obstacle, Reason, Stat};
use spoolway::agent::channel::name::Name;
use spoolway::agent::channel::partitioner::Rule;
use spoolway::agent::channel::progress::{Closing, Progress};
use spoolway::agent::channel::splitter::Rules;
use spoolway::agent::channel::{Channel, Chunk, Completed, Completion, Read, Settings, Step, Writer};
use spoolway::pipeline::{ConsumeOrder, OnLongLine};

pub const SECOND: Duration = Duration::from_secs(1);

/// A directory and the channel that ships it.
pub struct Scene {
    pub channel: Channel,
    /// Inode → name, birth, content.
    pub files: BTreeMap<u64, (&'static str, i64, Vec<u8>)>,
    /// What cannot be entered.
    pub closed: Vec<&'static str>,
    pub now: Duration,
    /// Lines handed out, committed or not.
    pub lines: Vec<String>,
    /// Where each chunk's lines went: topic, partition, and over how many in turn.
    pub sent: Vec<(String, i32, u32)>,
    pub committed: Vec<Closing>,
    pub completed: Vec<Completion>,
}

pub fn settings(once: bool) -> Settings {
    Settings {
        agent: "local/shop/web/node-1".into(),
        topic: "test".into(),
        partitions: Rule::default(),
        headers: Default::default(),
        rules: Rules { max_line: 8, on_long_line: OnLongLine::Truncate, charset: None },
        order: ConsumeOrder::Oldest,
        track: false,
        settle: SECOND,
        poll: SECOND,
        max_open: 8,
        commit_interval: SECOND,
        max_transaction_bytes: 1 << 20,
        once,
    }
}

impl Scene {
    pub fn new(settings: Settings) -> Self {
        let mut channel = Channel::new(settings, 7);
        channel.resume(vec![], 3, SECOND);
        let (files, lines, committed, completed) = (BTreeMap::new(), vec![], vec![], vec![]);
        Scene { channel, files, closed: vec![], now: SECOND, lines, sent: vec![], committed, completed }
    }

    pub fn put(&mut self, inode: u64, name: &'static str, birth: i64, content: &[u8]) {
        self.files.insert(inode, (name, birth, content.to_vec()));
    }

    pub fn stat(&self, inode: u64) -> Stat {
        let (_, birth, content) = &self.files[&inode];
        let (size, birth) = (content.len() as u64, Some(*birth));
        Stat { inode, size, modified: 0, changed: size as i64, birth, links: 1 }
    }

    pub fn entry(&self, inode: u64) -> Entry {
        Entry { name: Name::new(self.files[&inode].0.as_bytes()), stat: self.stat(inode), obstacle: None }
    }

    pub fn is_completed(&self, inode: u64) -> bool {
        self.files[&inode].0.ends_with(".COMPLETED")
    }

    pub fn entries(&self) -> Vec<Entry> {
        let candidates = self.files.keys().filter(|inode| !self.is_completed(**inode));
        let closed = self.closed.iter().map(|name| Entry {
            name: Name::new(name.as_bytes()),
            stat: Stat { inode: 99, ..Stat::default() },
            obstacle: Some(Obstacle { reason: Reason::PermissionDenied, note: "it cannot be entered".into() }),
        });
        candidates.map(|inode| self.entry(*inode)).chain(closed).collect()
    }

    pub fn list(&mut self) {
        let lately = self.channel.completed_lately();
        let grown = self.files.keys().filter(|inode| self.is_completed(**inode) && lately.contains(inode));
        self.channel.grew(grown.map(|inode| self.entry(*inode)).collect(), self.now);
        self.channel.listed(self.entries(), self.now, self.now);
    }

    pub fn read(&mut self, read: &Read) {
        let Some((name, ..)) = self.files.get(&read.inode) else {
            return self.channel.vanished(read.inode, self.now);
        };
        if name.as_bytes() != &*read.name.0 {
            return self.channel.vanished(read.inode, self.now);
        }
        let (stat, content) = (self.stat(read.inode), self.files[&read.inode].2.clone());
        let from = content.len().min(read.from as usize);
        let mut data = content[from..content.len().min(from + read.len)].to_vec();
        let end = from + data.len() == content.len();
        let head = content.get(..read.head as usize).filter(|h| !h.is_empty()).map(Mark::of);
        let writer = if read.seal && end { Writer::None } else { Writer::NotAsked };
        let mut lines = vec![];
        let chunk = Chunk { stat, head, end, writer };
        if let Some(records) = self.channel.read(read, &chunk, &mut data, self.now, &mut lines) {
            let text = |l: &spoolway::agent::channel::splitter::Line| l.of(&data[records.back..]).to_vec();
            self.sent.push((records.topic.clone(), records.partition, records.spread));
            self.lines.extend(lines.iter().map(|l| String::from_utf8(text(l)).unwrap()));
        }
    }

    /// Goes on for so long.
    pub fn later(&mut self, time: Duration) {
        let end = self.now + time;
        self.until(|step| matches!(step, Step::Wait(until) if *until > end));
    }

    /// Does what the channel asks for, until `enough` says so of the step before it is done.
    pub fn until(&mut self, enough: impl Fn(&Step) -> bool) -> Step {
        for _ in 0..100_000 {
            let step = self.channel.next(self.now);
            if enough(&step) {
                return step;
            }
            match step {
                Step::List { .. } => self.list(),
                Step::Read(read) => self.read(&read),
                Step::Commit => {
                    self.committed.extend(self.channel.closing(vec![]).0);
                    self.channel.committed(self.now);
                }
                Step::Complete(batch) => {
                    let done = batch.iter().map(|c| {
                        self.files.remove(&c.inode);
                        (c.inode, Completed::Renamed(Name::new(b"x.COMPLETED")))
                    });
                    self.channel.completed(done.collect(), self.now);
                    self.completed.extend(batch);
                }
                Step::Wait(until) => {
                    assert!(until > self.now, "it waits for a time that is over");
                    self.now = until;
                }
                Step::Reopen(e) => panic!("{e}"),
                Step::Done => panic!("it is done"),
            }
        }
        panic!("it does not come to an end: {:?}", self.lines);
    }

    pub fn progress(&self) -> Progress {
        self.committed.last().expect("something is committed").progress.clone()
    }
}

pub fn waits(step: &Step) -> bool {
    matches!(step, Step::Wait(_))
}

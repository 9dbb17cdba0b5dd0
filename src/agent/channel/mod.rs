//! The channel decides: what to read next, what is a line, when to commit, what is complete. Pure: no files, no Kafka,
//! no clock, no threads. `run.rs` asks for a [`Step`], does that one piece of I/O and tells the channel what came of it.
//!
//! Invariants: a position moves only over bytes whose lines were handed out, in order; a file is completed only after the commit
//! of its last byte; whatever was handed out and not committed is forgotten by [`Channel::resume`].

pub mod batch;
pub mod charset;
mod closing;
mod cutting;
pub mod digest;
pub mod evidence;
pub mod file;
pub mod headers;
mod listing;
pub mod name;
pub mod partitioner;
pub mod plan;
pub mod progress;
mod reading;
pub mod snapshot;
pub mod splitter;
pub mod verify;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

pub use closing::{Completed, Completion, Delivered};
pub use reading::{Chunk, Read, Records, Writer};

use batch::Batch;
use digest::FileId;
use file::{File, Phase, Reason};
use partitioner::Deal;
use progress::Progress;
use snapshot::{Tally, Totals};

use crate::agent::source::SourceError;
use crate::pipeline::ConsumeOrder;

/// A file's inode number, by which the channel speaks of it.
pub type Inode = u64;

/// Set-aside files are tried again after this time even when nothing changed.
const RETRY_ASIDE: Duration = Duration::from_secs(600);
/// A full listing at least this often; in between, only when the directory changed.
const FULL_LISTING: Duration = Duration::from_secs(30);

/// What the channel needs to know of the pipeline.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Agent name, `<cluster>/<namespace>/<pipeline>/<agent>`.
    pub agent: String,
    /// Kafka topic for files that are begun from now on.
    pub topic: String,
    /// Partition and key for them.
    pub partitions: partitioner::Rule,
    /// Headers of their records.
    pub headers: headers::Rule,
    /// How lines are cut.
    pub rules: splitter::Rules,
    /// Which file to begin next (`consumeOrder`; Flume `consumeOrder`).
    pub order: ConsumeOrder,
    /// Completed files stay as they are, and progress remembers them (`completion: Track`).
    pub track: bool,
    /// A file is complete when unchanged for this long (`settleTime`).
    pub settle: Duration,
    /// Time between looks at the directory (`pollDelay`; Flume `pollDelay`).
    pub poll: Duration,
    /// Files read in turn (`maxOpenFiles`).
    pub max_open: usize,
    /// Longest time between begin and commit (`commitInterval`).
    pub commit_interval: Duration,
    /// Most bytes in a transaction (`maxTransactionBytes`).
    pub max_transaction_bytes: u64,
    /// Ship what is there now, then end.
    pub once: bool,
}

/// One piece of I/O to do.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// List the directory; a listing that is not `full` may be left out when the directory did not change.
    List {
        /// Every entry must be looked at.
        full: bool,
    },
    /// Read a chunk and append its lines.
    Read(Read),
    /// Commit the open transaction.
    Commit,
    /// Complete these files, as the pipeline says: their last byte is committed.
    Complete(Vec<Completion>),
    /// Nothing to do before this time.
    Wait(Duration),
    /// The directory is gone; what was read of it is committed.
    Reopen(SourceError),
    /// Told to stop, or (`once`) everything is shipped.
    Done,
}

/// The state of one agent's work. See the module for its invariants.
pub struct Channel {
    settings: Settings,
    files: HashMap<Inode, File>,
    /// Files whose turn will come; the next one is last.
    waiting: Vec<Inode>,
    unsorted: bool,
    reading: VecDeque<Inode>,
    /// Files that should be complete: a last look, then sealed.
    sealing: VecDeque<Inode>,
    completing: Vec<Inode>,
    timers: BTreeSet<(Duration, Inode)>,
    batch: Batch,
    touched: Vec<Inode>,
    /// Generations whose progress the next transaction removes.
    tombstones: Vec<FileId>,
    deal: Deal,
    ids: fastrand::Rng,
    scratch: Vec<u8>,
    listing: u64,
    next_list: Duration,
    next_full: Duration,
    hinted: bool,
    lost: Option<SourceError>,
    /// `once`: inode → size at the start.
    targets: Option<HashMap<Inode, u64>>,
    /// Files with a record that Kafka refused: why, in which words, and when they are tried again.
    barred: HashMap<Inode, (Reason, String, Duration)>,
    /// Completed files that grew.
    grown: Tally,
    /// Bytes that were lost unread.
    unread: Tally,
    /// Files that began a new generation.
    anew: Tally,
    /// Commit before anything else is read (a file began a new generation).
    commit_now: bool,
    stopping: bool,
    totals: Totals,
}

impl Channel {
    /// A channel that knows nothing yet; `seed` makes its file ids.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Channel {
            batch: Batch::new(settings.commit_interval, settings.max_transaction_bytes),
            deal: Deal::new(settings.partitions.clone(), &settings.agent),
            ids: fastrand::Rng::with_seed(seed),
            settings,
            files: HashMap::new(),
            waiting: vec![],
            unsorted: false,
            reading: VecDeque::new(),
            sealing: VecDeque::new(),
            completing: vec![],
            timers: BTreeSet::new(),
            touched: vec![],
            tombstones: vec![],
            scratch: vec![],
            listing: 0,
            next_list: Duration::ZERO,
            next_full: Duration::ZERO,
            hinted: false,
            lost: None,
            targets: None,
            barred: HashMap::new(),
            grown: Tally::default(),
            unread: Tally::default(),
            anew: Tally::default(),
            commit_now: false,
            stopping: false,
            totals: Totals::default(),
        }
    }

    /// Takes over other settings, between two runs of the loop: [`Channel::resume`] is next. Files that Kafka refused are tried again.
    pub fn set_all(&mut self, settings: Settings) {
        self.batch = Batch::new(settings.commit_interval, settings.max_transaction_bytes);
        self.deal.follow(settings.partitions.clone());
        self.settings = settings;
        self.barred.clear();
        for file in self.files.values_mut() {
            // What is no candidate any more is not gone, and may not have a completed name.
            file.listing = 0;
            if let Phase::Completed { since } = file.phase {
                file.phase = Phase::Absent { since };
            }
        }
        self.stopping = false;
    }

    /// The sink is open: `committed` is everything that holds, `partitions` the topic's count.
    /// Forgets whatever was handed out and not committed.
    pub fn resume(&mut self, committed: Vec<Progress>, partitions: u32, now: Duration) {
        self.deal.count(partitions);
        self.abandon();
        for file in self.files.values_mut() {
            file.begun = None;
            file.grown = false;
            // What is gone since the last listing is missed at the next; an hour after a completion stays an hour.
            file.missed = match file.phase {
                Phase::Completed { .. } if !self.settings.track => continue,
                Phase::Absent { .. } => continue,
                Phase::Completed { .. } | Phase::SetAside { .. } => false,
                _ => file.listing == self.listing,
            };
            file.phase = Phase::Absent { since: now };
        }
        for progress in committed {
            self.adopt(progress, now);
        }
        self.next_list = now;
        self.next_full = now;
    }

    fn abandon(&mut self) {
        self.batch.abandoned();
        self.touched.clear();
        self.tombstones.clear();
        self.waiting.clear();
        self.reading.clear();
        self.sealing.clear();
        self.completing.clear();
        self.timers.clear();
        self.lost = None;
        self.commit_now = false;
    }

    /// A transaction took longer than Kafka allows: the next ones are smaller.
    pub fn timed_out(&mut self) {
        self.batch.timed_out();
    }

    /// Kafka takes a record of this slot in no way: its file is set aside when the sink is open again.
    pub fn refused(&mut self, slot: u32, reason: Reason, note: &str, now: Duration) {
        if let Some(inode) = self.touched.get(slot as usize) {
            self.barred.insert(*inode, (reason, note.to_owned(), now + RETRY_ASIDE));
        }
    }

    /// Transactions committed so far.
    pub fn commits(&self) -> u64 {
        self.totals.commits
    }

    /// Commit what is read, then [`Step::Done`].
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Something happened in the directory: look at all of it at the next poll.
    pub fn hint(&mut self) {
        self.hinted = true;
    }

    /// What to do now. `now` is a monotonic clock's time since some start.
    pub fn next(&mut self, now: Duration) -> Step {
        self.fire(now);
        if self.batch.is_open() && (self.batch.is_due(now) || self.commit_now || self.stopping) {
            return Step::Commit;
        }
        if self.stopping {
            return Step::Done;
        }
        if !self.completing.is_empty() {
            return Step::Complete(self.completions());
        }
        if let Some(why) = self.lost.take() {
            return Step::Reopen(why);
        }
        if now >= self.next_list {
            return Step::List { full: self.hinted || now >= self.next_full };
        }
        if let Some(read) = self.next_read(now) {
            return Step::Read(read);
        }
        if self.batch.is_open() {
            return Step::Commit;
        }
        if self.once_is_done() {
            return Step::Done;
        }
        let timer = self.timers.first().map_or(self.next_list, |(due, _)| *due);
        Step::Wait(timer.min(self.next_list))
    }

    /// Moves files whose time has come.
    fn fire(&mut self, now: Duration) {
        while let Some(&(due, inode)) = self.timers.first() {
            if due > now {
                return;
            }
            self.timers.pop_first();
            let Some(file) = self.files.get_mut(&inode) else { continue };
            match file.phase {
                Phase::Settling { due: set } if set == due => self.sealing.push_back(inode),
                Phase::Completing { due: set } if set == due => self.completing.push(inode),
                Phase::SetAside { retry, .. } if retry == due => self.enter(inode, now),
                _ => {} // it moved on since the timer was set
            }
        }
    }

    fn set(&mut self, inode: Inode, phase: Phase) {
        let Some(file) = self.files.get_mut(&inode) else { return };
        file.phase = phase;
        file.grown &= !matches!(phase, Phase::Completed { .. } | Phase::Absent { .. });
        match phase {
            Phase::Waiting => {
                self.waiting.push(inode);
                self.unsorted = true;
            }
            Phase::Reading => self.reading.push_back(inode),
            Phase::Settling { due } | Phase::Completing { due } | Phase::SetAside { retry: due, .. } => {
                self.timers.insert((due, inode));
            }
            Phase::Sealed | Phase::Completed { .. } | Phase::Growing | Phase::Absent { .. } => {}
        }
    }

    /// Sets a file aside, alone; the rest goes on.
    pub fn set_aside(&mut self, inode: Inode, reason: Reason, note: &str, now: Duration) {
        self.aside_until(inode, reason, note, now + RETRY_ASIDE);
    }

    fn aside_until(&mut self, inode: Inode, reason: Reason, note: &str, retry: Duration) {
        if let Some(file) = self.files.get_mut(&inode) {
            file.note = Some(note.into());
            self.set(inode, Phase::SetAside { reason, retry });
        }
    }

    /// A file is not where its name was: it was renamed, replaced or removed.
    pub fn vanished(&mut self, inode: Inode, now: Duration) {
        if let Some(file) = self.files.get_mut(&inode) {
            file.missed = true;
            self.set(inode, Phase::Absent { since: now });
        }
        self.hinted = true;
    }

    fn once_is_done(&self) -> bool {
        if self.hinted {
            return false; // what vanished may have another name by now: one more look
        }
        let Some(targets) = &self.targets else { return false };
        targets.keys().all(|inode| {
            self.files.get(inode).is_none_or(|file| {
                matches!(file.phase, Phase::Completed { .. } | Phase::Growing | Phase::SetAside { .. })
                    || (matches!(file.phase, Phase::Absent { .. }) && !file.missed)
            })
        })
    }
}

//! A directory and a log in memory, and what can happen to them: the real loop runs over them, and between two pieces of its I/O the
//! events of a case take place.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use spoolway::agent::channel::Settings;
use spoolway::agent::sink::Failure;

use super::story::{Committed, Story};

/// More pieces of I/O than this without an event are an endless loop.
const ENOUGH: u32 = 20_000;
/// Files of one case at most.
const FILES: usize = 12;

/// What happens. A number says to which file; where it does not apply, nothing happens, so that a failing case shrinks.
#[derive(Debug, Clone)]
pub enum Event {
    /// The agent does one piece of I/O.
    Step,
    /// Text without an end.
    Append(usize),
    Newline(usize),
    /// A new file of so many lines.
    Drop(usize),
    /// A new file that begins as another does.
    SameHead(usize),
    /// Removed, and another file gets its inode number.
    SameInode(usize),
    /// Other bytes, as many.
    Rewrite(usize),
    /// Cut to so many hundredths.
    Truncate(usize, usize),
    Rename(usize),
    MoveOut(usize),
    MoveIn(usize),
    /// The directory is gone, or back.
    Directory,
    /// The agent is killed, and another starts.
    Crash,
    /// A second agent with the same id starts while this one hangs.
    Second,
    /// The sink fails at the next call; a commit may have taken effect all the same.
    Fail(Failure, bool),
    /// Time passes.
    Pass(Duration),
}

/// What somebody could have made wrong in an agent: the model must see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    NobodyIsFenced,
    FailedCommitBelieved,
    RenamedWithoutALook,
    ProgressForgotten,
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Inside(String),
    Outside,
    Completed,
    Removed,
}

/// A file of the directory.
#[derive(Debug, Clone)]
pub struct File {
    pub place: Place,
    pub birth: i64,
    pub changed: i64,
}

/// Unwinds an agent: it was killed.
pub struct Killed;

/// Everything outside the agents.
pub struct World {
    pub settings: Settings,
    pub now: Duration,
    pub events: VecDeque<Event>,
    /// Each with its story, by the same index.
    pub files: Vec<File>,
    pub stories: Vec<Story>,
    pub gone: bool,
    pub committed: Committed,
    pub epoch: u32,
    pub failing: Option<(Failure, bool)>,
    /// Agents that live: the one that acts, and those that hang.
    pub agents: u32,
    /// No event is left, all is to drain.
    pub drains: bool,
    /// The agent that drains has nothing left to do.
    pub drained: bool,
    /// When draining began, and the pieces of I/O since.
    pub since: Duration,
    steps: u32,
    pub broken: Option<String>,
    pub mistake: Option<Mistake>,
    /// Of the file ids that the next agent makes.
    pub seed: u64,
    serial: u32,
}

/// Shared by the agents' source, sink and clock.
pub type Shared = Rc<RefCell<World>>;

impl World {
    pub fn new(settings: Settings, events: Vec<Event>) -> Shared {
        Rc::new(RefCell::new(World {
            settings,
            now: Duration::from_secs(1),
            events: events.into(),
            files: vec![],
            stories: vec![],
            gone: false,
            committed: Committed::default(),
            epoch: 0,
            failing: None,
            agents: 0,
            drains: false,
            drained: false,
            since: Duration::ZERO,
            steps: 0,
            broken: None,
            mistake: None,
            seed: 0,
            serial: 0,
        }))
    }

    /// A promise does not hold; the first one is told.
    pub fn holds(&mut self, that: Result<(), String>) {
        if let Err(what) = that {
            self.broken.get_or_insert(what);
        }
    }

    fn text(&mut self) -> Vec<u8> {
        self.serial += 1;
        format!("<{}>", self.serial).into_bytes()
    }

    fn lines(&mut self, count: usize) -> Vec<u8> {
        (0..count).flat_map(|_| [self.text(), vec![b'\n']].concat()).collect()
    }

    /// The names in the directory, each with its file.
    pub fn names(&self) -> BTreeMap<&str, usize> {
        let inside = self.files.iter().enumerate().filter_map(|(index, file)| match &file.place {
            Place::Inside(name) => Some((name.as_str(), index)),
            _ => None,
        });
        inside.collect()
    }

    fn create(&mut self, inode: Option<u64>, data: Vec<u8>) {
        if self.files.len() < FILES {
            self.serial += 1;
            let (place, time) = (Place::Inside(format!("{}.log", self.serial)), i64::from(self.serial));
            self.files.push(File { place, birth: time, changed: time });
            let inode = inode.unwrap_or(self.files.len() as u64);
            self.stories.push(Story { inode, ..Story::default() });
            self.write(self.files.len() - 1, data, false);
        }
    }

    fn write(&mut self, index: usize, data: Vec<u8>, disrupts: bool) {
        self.serial += 1;
        self.files[index].changed = i64::from(self.serial);
        self.stories[index].write(data, disrupts);
    }

    fn place(&mut self, index: usize, place: Place) {
        self.serial += 1;
        self.files[index].changed = i64::from(self.serial);
        self.files[index].place = place;
    }

    /// The one meant by a number, of those that are `there`.
    fn pick(&self, which: usize, there: impl Fn(&Place) -> bool) -> Option<usize> {
        let all: Vec<usize> = (0..self.files.len()).filter(|index| there(&self.files[*index].place)).collect();
        (!all.is_empty()).then(|| all[which % all.len()])
    }

    fn act(&mut self, event: Event) {
        let inside = |place: &Place| matches!(place, Place::Inside(_));
        match event {
            Event::Drop(lines) => {
                let data = self.lines(lines);
                self.create(None, data);
            }
            Event::MoveIn(which) => {
                if let Some(index) = self.pick(which, |place| *place == Place::Outside) {
                    self.serial += 1;
                    self.place(index, Place::Inside(format!("{}.log", self.serial)));
                }
            }
            Event::Directory => self.gone = !self.gone,
            Event::Fail(failure, takes_effect) => self.failing = Some((failure, takes_effect)),
            Event::Pass(time) => self.now += time,
            Event::Append(which)
            | Event::Newline(which)
            | Event::SameHead(which)
            | Event::SameInode(which)
            | Event::Rewrite(which)
            | Event::Truncate(which, _)
            | Event::Rename(which)
            | Event::MoveOut(which) => {
                if let Some(index) = self.pick(which, inside) {
                    self.act_on(index, event);
                }
            }
            Event::Step | Event::Crash | Event::Second => {} // not of this world, but of agents
        }
    }

    fn act_on(&mut self, index: usize, event: Event) {
        let mut data = self.stories[index].data.clone();
        match event {
            Event::Append(_) => {
                data.extend(self.text());
                self.write(index, data, false);
            }
            Event::Newline(_) => {
                data.push(b'\n');
                self.write(index, data, false);
            }
            Event::SameHead(_) => {
                data.extend(self.lines(1));
                self.create(None, data);
            }
            Event::SameInode(_) => {
                self.place(index, Place::Removed);
                let (inode, data) = (self.stories[index].inode, self.lines(2));
                self.create(Some(inode), data);
            }
            Event::Rewrite(_) => {
                let (length, lines) = (data.len(), self.lines(data.len()));
                self.write(index, lines[..length].to_vec(), true);
            }
            Event::Truncate(_, hundredths) => {
                data.truncate(data.len() * hundredths / 100);
                self.write(index, data, true);
            }
            Event::MoveOut(_) => self.place(index, Place::Outside),
            _ => {
                self.serial += 1;
                self.place(index, Place::Inside(format!("{}.log", self.serial)));
            }
        }
    }

    /// No more events: what stands in the way is set right.
    pub fn set_right(&mut self) {
        (self.gone, self.failing, self.drains, self.since) = (false, None, true, self.now);
        while self.pick(0, |place| *place == Place::Outside).is_some() {
            self.act(Event::MoveIn(0));
        }
    }
}

/// An agent is about to do one piece of I/O: before it, everything happens up to the next [`Event::Step`].
pub fn step(world: &Shared) {
    world.borrow_mut().now += Duration::from_millis(1);
    loop {
        let event = world.borrow_mut().events.pop_front();
        let agents = world.borrow().agents;
        match event {
            Some(Event::Step) => return,
            Some(Event::Crash) => resume_unwind(Box::new(Killed)),
            Some(Event::Second) if agents < 3 => super::live(world),
            Some(event) => world.borrow_mut().act(event),
            None if world.borrow().drains => {
                world.borrow_mut().steps += 1;
                if world.borrow().steps < ENOUGH {
                    return;
                }
                world.borrow_mut().holds(Err("it does not come to rest".into()));
                resume_unwind(Box::new(Killed));
            }
            None => resume_unwind(Box::new(Killed)),
        }
    }
}

//! The simulated world of one seed: clock, disk, brokers, and the agents' lives. Everything that happens draws from one
//! generator, so a seed is a schedule.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use spoolway::agent::channel::progress::Progress;

use super::broker::{Broker, Identity};
use super::disk::Disk;
use super::fault::{Hits, killed};
use super::mutation::Bug;

/// More pieces of I/O than this, with nothing going wrong any more, are an endless loop.
const DRAIN_STEPS: u32 = 60_000;

/// Shared by the source, the sink and the clock of every agent.
pub type Shared = Rc<RefCell<Sim>>;

/// Unwinds an agent: it was killed.
pub struct Killed;

/// How a life of an agent goes.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// Who it is, for the schedule and the lock.
    pub agent: u32,
    /// Pieces of I/O until it is killed, or told to stop.
    pub left: u32,
    /// Told to stop first, killed only if that takes too long.
    pub polite: bool,
    /// It is told to stop.
    pub stopping: bool,
    /// Killed before this piece of I/O, when it comes for the time that is counted down.
    pub target: Option<(&'static str, u32)>,
    /// Pieces of I/O until a successor starts while it hangs.
    pub successor: Option<u32>,
    /// Pieces of I/O until its configuration changes.
    pub change: Option<u32>,
    /// Nothing ends it but the end of work.
    pub drains: bool,
}

/// The world.
pub struct Sim {
    pub rng: fastrand::Rng,
    pub now: Duration,
    pub disk: Disk,
    pub broker: Broker,
    pub hits: Hits,
    /// The agents that live, the one that acts last.
    pub lives: Vec<Life>,
    pub agents: u32,
    /// Per thousand pieces of I/O that fail; 0 once everything is to drain.
    pub faults: u32,
    /// Actions that the outside world still has.
    pub actions: u32,
    /// Writes the schedule down.
    pub records: bool,
    pub schedule: Vec<String>,
    /// When draining began.
    pub drain_since: Option<Duration>,
    /// The lock on the directory, and whether it keeps anybody out.
    pub lock: Option<u32>,
    pub lock_works: bool,
    /// What every agent of this seed is set to.
    pub settings: spoolway::agent::channel::Settings,
    /// What completes a file.
    pub completion: spoolway::pipeline::Completion,
    /// Pieces of I/O since draining began.
    pub drain_steps: u32,
    /// What is promised and was found broken, at the moment it happened.
    pub broken: Vec<String>,
    /// The progress that holds, by file id.
    pub held: BTreeMap<String, Progress>,
    /// A mistake that the agents of this world make.
    pub bug: Option<Bug>,
    /// Who dropped which producer last, and could take it again.
    pub dropped: Option<(u32, Identity)>,
    /// What agents without an identity check believe to have read: by inode, a byte and where.
    pub believed: HashMap<u64, BTreeMap<u64, u8>>,
}

impl Sim {
    /// True where the agents make this mistake.
    pub fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// True in `per_thousand` of the cases.
    pub fn chance(&mut self, per_thousand: u32) -> bool {
        self.rng.u32(0..1000) < per_thousand
    }

    /// True where a fault of this likelihood (times the seed's own) is to happen.
    pub fn fails(&mut self, times: u32) -> bool {
        let per_thousand = self.faults * times;
        per_thousand > 0 && self.chance(per_thousand)
    }

    /// A line of the schedule.
    pub fn say(&mut self, what: impl FnOnce() -> String) {
        if self.records {
            let who = self.lives.last().map_or(0, |l| l.agent);
            self.schedule.push(format!("{:>10.3} agent {who}: {}", self.now.as_secs_f64(), what()));
        }
    }

    /// A fault, or something the outside world does.
    pub fn hit(&mut self, kind: &'static str) {
        self.hits.hit(kind);
        self.say(|| format!("  ** {kind}"));
    }

    /// A promise does not hold.
    pub fn broke(&mut self, what: String) {
        self.say(|| format!("  BROKEN: {what}"));
        self.broken.push(what);
    }

    fn life(&mut self) -> &mut Life {
        self.lives.last_mut().expect("an agent acts")
    }

    /// True once the agent that acts is to end.
    pub fn stopping(&self) -> bool {
        self.lives.last().is_some_and(|l| l.stopping)
    }

    /// True once the agent that acts is to run something else.
    pub fn is_changed(&self) -> bool {
        self.lives.last().is_some_and(|l| l.change == Some(0))
    }

    /// Time passes, the outside world and the coordinator act.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.faults > 0 && self.chance(2) {
            let jump = Duration::from_secs(self.rng.u64(15..60) * if self.rng.u8(0..4) == 0 { 100 } else { 1 });
            self.hit("clock jump");
            self.now += jump;
        }
        self.act_outside();
        self.tick();
    }

    /// Counts the life down; true when the agent dies here.
    fn dies(&mut self, point: &'static str) -> bool {
        if self.life().drains {
            self.drain_steps += 1;
            if self.drain_steps > DRAIN_STEPS {
                self.broke(format!("it does not come to rest: {DRAIN_STEPS} pieces of I/O without a fault"));
            }
            return self.drain_steps > DRAIN_STEPS;
        }
        let aimed = match &mut self.life().target {
            Some((at, 0)) if *at == point => true,
            Some((at, times)) if *at == point => {
                *times -= 1;
                false
            }
            _ => false,
        };
        if self.life().left > 0 && !aimed {
            self.life().left -= 1;
            return false;
        }
        if !aimed && self.life().polite && !self.life().stopping {
            let life = self.life();
            (life.stopping, life.left) = (true, 100);
            self.hit("stop signal");
            return false;
        }
        self.hit("crash");
        self.hits.hit(killed(point));
        self.say(|| format!("killed before: {point}"));
        true
    }
}

/// One piece of I/O is about to happen: time passes, others act, and the agent may be killed, or hang while another runs.
pub fn step(shared: &Shared, point: &'static str) {
    let (dies, hangs) = {
        let sim = &mut *shared.borrow_mut();
        let time = Duration::from_micros(sim.rng.u64(1..3000));
        sim.pass(time);
        let dies = sim.dies(point);
        let life = sim.life();
        let hangs = life.successor == Some(0);
        life.successor = if hangs { None } else { life.successor.map(|n| n - 1) };
        life.change = life.change.map(|n| n.saturating_sub(1));
        (dies, hangs)
    };
    if dies {
        resume_unwind(Box::new(Killed));
    }
    if hangs {
        super::life::succeed(shared);
    }
}

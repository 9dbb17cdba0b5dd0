//! Lives of agents: the real loop, channel and Kafka sink over the simulated world, until killed, stopped or done.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use spoolway::agent::channel::{Channel, Settings};
use spoolway::agent::run::{Surroundings, run};
use spoolway::agent::sink::Opened;
use spoolway::agent::sink::kafka::{self, KafkaSink};
use spoolway::pipeline::Completion;
use spoolway::pipeline::report::FlowReason;

use super::broker::{CHECKPOINTS, PARTITIONS, RECEIPTS};
use super::client::Brokers;
use super::sim::{Killed, Life, Shared, Sim};
use super::spool::Spool;

/// The agent's name in Kafka.
pub const AGENT: &str = "local/shop/web/node-1";
/// Longer than this, with nothing going wrong any more, is a hang.
const DRAIN: Duration = Duration::from_secs(7200);
/// Set-aside files are tried again within this time.
const RETRIED: Duration = Duration::from_secs(1300);

struct World(Shared);

impl Surroundings for World {
    fn now(&self) -> Duration {
        self.0.borrow().now
    }

    fn stopping(&mut self) -> bool {
        let sim = self.0.borrow();
        sim.stopping() || sim.is_changed()
    }

    fn opened(&mut self, _: &Opened) {}

    fn observe(&mut self, channel: &Channel, reason: FlowReason, message: &str) {
        let sim = &mut *self.0.borrow_mut();
        if reason != FlowReason::Idle && reason != FlowReason::Flowing {
            sim.say(|| format!("{reason:?}: {message}"));
        }
        if sim.drain_since.is_some() && sim.rests(reason, channel) {
            sim.lives.last_mut().expect("an agent acts").stopping = true;
        }
    }

    fn retried(&mut self) {}
}

impl Sim {
    /// While draining: true when there is nothing more to wait for.
    fn rests(&mut self, reason: FlowReason, channel: &Channel) -> bool {
        if reason != FlowReason::Idle && self.now - self.drain_since.expect("it drains") <= DRAIN {
            return false;
        }
        let waited = self.now - self.drain_since.expect("it drains");
        let left: Vec<_> = self.disk.candidates().map(|(name, key)| (name.clone(), key)).collect();
        let shipped = |key| self.completion == Completion::Track && super::check::is_shipped(self, key);
        if reason == FlowReason::Idle && left.iter().all(|(_, key)| shipped(*key)) {
            return true;
        }
        let excused = left.iter().all(|(_, key)| self.is_excused(*key) || shipped(*key));
        if reason == FlowReason::Idle && waited > RETRIED && excused {
            return true;
        }
        if waited > DRAIN {
            let asides = channel.snapshot().asides;
            self.broke(format!("it hangs ({reason:?}): {left:?} are left, set aside: {asides:?}"));
        }
        waited > DRAIN
    }

    /// True where it may be right to set the object aside as rewritten after it was shipped.
    pub fn is_excused(&self, key: super::disk::Key) -> bool {
        let object = &self.disk.objects[key];
        object.disruptions > 0 || object.mistakable
    }
}

fn names() -> kafka::Settings {
    kafka::Settings {
        transactional_id: format!("spoolway/{AGENT}"),
        agent: "node-1".into(),
        checkpoint_topic: CHECKPOINTS.into(),
        receipt_topic: RECEIPTS.into(),
        guarantee: spoolway::pipeline::Guarantee::ExactlyOnce,
        pin: kafka::pin::Pin::None,
        secrets: None,
    }
}

impl Sim {
    /// The loop ended for another configuration: that one, after a while of rest where it says so. How lines are cut stays, for the
    /// judge knows one way only.
    fn changed(&mut self) -> Option<(Settings, Completion)> {
        if !self.is_changed() || self.stopping() {
            return None;
        }
        self.hit("configuration changed");
        if self.rng.u8(0..4) == 0 {
            self.hit("suspended for a while");
            let time = Duration::from_secs(self.rng.u64(1..120));
            self.pass(time);
        }
        let again = self.rng.bool().then(|| self.rng.u32(1..100));
        self.lives.last_mut().expect("an agent acts").change = again;
        let rules = self.settings.rules;
        let mut settings = super::settings(&mut self.rng);
        settings.partitions.fixed = self.rng.bool().then(|| self.rng.i32(0..PARTITIONS as i32));
        let completion = if self.rng.bool() { self.completion } else { super::completion(&mut self.rng) };
        Some((Settings { rules, track: completion == Completion::Track, ..settings }, completion))
    }
}

/// One life of an agent; a panic that is not a kill goes on.
pub fn live(shared: &Shared, life: Life, once: bool) {
    let (settings, completion, seed, agent) = {
        let sim = &mut *shared.borrow_mut();
        sim.agents += 1;
        let agent = sim.agents;
        sim.say(|| format!("agent {agent} starts: {life:?}{}", if once { ", once" } else { "" }));
        sim.lives.push(Life { agent, ..life });
        (Settings { once, ..sim.settings.clone() }, sim.completion, sim.rng.u64(..), agent)
    };
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let mut source = Spool::new(shared, agent, completion);
        let mut channel = Channel::new(settings, seed);
        let ended = loop {
            let mut sink = KafkaSink::new(names(), Brokers::new(shared, names().transactional_id));
            let ended = run(&mut source, &mut sink, &mut channel, &mut World(shared.clone()), once);
            match shared.borrow_mut().changed() {
                Some((settings, completion)) => {
                    source.completion = completion;
                    channel.set_all(Settings { once, ..settings });
                }
                None => break ended,
            }
        };
        let sim = &mut *shared.borrow_mut();
        if once && ended.is_ok() && !sim.stopping() {
            sim.hit("once ends by itself");
        }
        sim.say(|| format!("agent {agent} ends: {ended:?}"));
    }));
    shared.borrow_mut().lives.pop();
    match ended {
        Err(panic) if !panic.is::<Killed>() => resume_unwind(panic),
        _ => {}
    }
}

/// The agent that acts hangs; a successor lives. Then the first goes on for a while, as a zombie.
pub fn succeed(shared: &Shared) {
    let life = {
        let sim = &mut *shared.borrow_mut();
        sim.hit("second agent without the lock");
        Life { left: sim.rng.u32(5..120), polite: sim.rng.bool(), ..Life::default() }
    };
    live(shared, life, false);
    let sim = &mut *shared.borrow_mut();
    let left = sim.rng.u32(0..60);
    let life = sim.lives.last_mut().expect("the zombie");
    life.left = life.left.min(left);
    sim.say(|| "goes on as a zombie".into());
}

//! The model test: whatever happens to the files and to the log, in whatever order, the real loop ships every line once.
//!
//! Small where the simulation is wide: a case is a list of events that shrinks when it fails (`PROPTEST_CASES=100000` tries more).
//! `story` is the model, `world` is what happens, `agent` the two ends of an agent. Cases that failed once stand in
//! `proptest-regressions/model.txt` and are tried first.

mod agent;
mod story;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

use spoolway::agent::channel::file::Reason;
use spoolway::agent::channel::splitter::Rules;
use spoolway::agent::channel::{Channel, Settings};
use spoolway::agent::run::{Surroundings, run};
use spoolway::agent::sink::{Failure, Opened};
use spoolway::pipeline::report::FlowReason;
use spoolway::pipeline::{ConsumeOrder, OnLongLine};

use agent::{Log, Spool};
use world::{Event, Killed, Mistake, Shared, World};

/// Every class of failure that a sink tells.
const FAILURES: [Failure; 7] = [
    Failure::Retry,
    Failure::TimedOut,
    Failure::Smaller,
    Failure::RetrySlowly,
    Failure::Fenced,
    Failure::Ends,
    Failure::Aside { slot: 0, reason: Reason::RecordTooLarge },
];
/// A file set aside is tried again within this time.
const RETRIED: Duration = Duration::from_secs(1300);

/// The agent's clock, and its ear to the end of the case.
struct Clock(Shared);

impl Surroundings for Clock {
    fn now(&self) -> Duration {
        self.0.borrow().now
    }

    fn stopping(&mut self) -> bool {
        self.0.borrow().drained
    }

    fn opened(&mut self, _: &Opened) {}

    fn observe(&mut self, channel: &Channel, reason: FlowReason, _: &str) {
        let world = &mut *self.0.borrow_mut();
        if !world.drains || reason != FlowReason::Idle {
            return;
        }
        // What was changed after it was shipped and before its rename needs a person; every other file is renamed.
        let shot = channel.snapshot();
        let rewritten = shot.asides.iter().all(|aside| aside.reason == Reason::Rewritten);
        let left: Vec<usize> = world.names().into_values().collect();
        let disrupted = left.iter().all(|index| world.stories[*index].disrupted > 0);
        let excused = disrupted && rewritten && shot.set_aside == left.len() as u64;
        world.drained |= left.is_empty() || (excused && world.now > world.since + RETRIED);
    }

    fn retried(&mut self) {}
}

/// One life of an agent; a panic that is not a kill goes on.
fn live(world: &Shared) {
    let settings = world.borrow().settings.clone();
    world.borrow_mut().agents += 1;
    world.borrow_mut().seed += 1;
    let seed = world.borrow().seed;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let mut source = Spool { world: world.clone(), max_open: settings.max_open, open: Default::default() };
        let mut sink = Log { world: world.clone(), settings: settings.clone(), epoch: 0, lines: vec![] };
        let mut channel = Channel::new(settings, seed);
        // It ends with `Failure::Ends`, and is started again.
        let _ = run(&mut source, &mut sink, &mut channel, &mut Clock(world.clone()), false);
    }));
    world.borrow_mut().agents -= 1;
    if let Err(panic) = ended
        && !panic.is::<Killed>()
    {
        resume_unwind(panic);
    }
}

/// All events take place, one life after the other; then everything must drain.
fn case(settings: Settings, events: Vec<Event>, mistake: Option<Mistake>) -> Result<(), String> {
    let world = World::new(settings, events);
    world.borrow_mut().mistake = mistake;
    while !world.borrow().events.is_empty() {
        live(&world);
    }
    world.borrow_mut().set_right();
    live(&world);
    let world = &*world.borrow();
    world.committed.drained(&world.stories)?;
    world.broken.clone().map_or(Ok(()), Err)
}

fn settings(max_open: usize, max_transaction_bytes: u64) -> Settings {
    Settings {
        agent: "local/shop/web/node-1".into(),
        topic: "test".into(),
        partitions: Default::default(),
        headers: Default::default(),
        rules: Rules { max_line: 1000, on_long_line: OnLongLine::Split, charset: None },
        order: ConsumeOrder::Oldest,
        track: false,
        settle: Duration::from_secs(1),
        poll: Duration::from_millis(200),
        max_open,
        commit_interval: Duration::from_millis(50),
        max_transaction_bytes,
        once: false,
    }
}

fn event() -> impl Strategy<Value = Event> {
    let failure = (0..FAILURES.len(), any::<bool>());
    prop_oneof![
        30 => Just(Event::Step),
        6 => (0..8usize).prop_map(Event::Append),
        6 => (0..8usize).prop_map(Event::Newline),
        5 => (0..5usize).prop_map(Event::Drop),
        1 => (0..8usize).prop_map(Event::SameHead),
        1 => (0..8usize).prop_map(Event::SameInode),
        1 => (0..8usize).prop_map(Event::Rewrite),
        1 => (0..8usize, 0..100usize).prop_map(|(which, hundredths)| Event::Truncate(which, hundredths)),
        1 => (0..8usize).prop_map(Event::Rename),
        1 => (0..8usize).prop_map(Event::MoveOut),
        2 => (0..8usize).prop_map(Event::MoveIn),
        1 => Just(Event::Directory),
        2 => Just(Event::Crash),
        1 => Just(Event::Second),
        2 => failure.prop_map(|(which, takes_effect)| Event::Fail(FAILURES[which], takes_effect)),
        2 => (0..3000u64).prop_map(|ms| Event::Pass(Duration::from_millis(ms))),
        1 => (0..700u64).prop_map(|s| Event::Pass(Duration::from_secs(s))),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec(event(), 0..120)
}

#[test]
fn the_model_sees_mistakes() {
    let mistakes = [
        Mistake::NobodyIsFenced,
        Mistake::FailedCommitBelieved,
        Mistake::RenamedWithoutALook,
        Mistake::ProgressForgotten,
    ];
    for mistake in mistakes {
        let config = ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let seen = runner
            .run(&events(), |events| case(settings(2, 40), events, Some(mistake)).map_err(TestCaseError::fail));
        let Err(TestError::Fail(what, events)) = seen else { panic!("nobody saw {mistake:?}: {seen:?}") };
        println!("{mistake:?}: {}\n    after {events:?}", what.message());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn every_line_is_there_once_whatever_happens(
        max_open in 1..4usize,
        max_transaction_bytes in prop_oneof![Just(1u64), Just(40), Just(1 << 20)],
        events in events(),
    ) {
        let held = case(settings(max_open, max_transaction_bytes), events, None);
        prop_assert!(held.is_ok(), "{}", held.unwrap_err());
    }
}

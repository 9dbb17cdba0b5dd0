//! A bad network between agent and brokers: answers lost, connections cut and half open, a slow link, and all of it at random.
//!
//! `SEED` replays the faults of the storm, though not what the machine did between them. With `SPOOLWAY_SOAK` set, storm and slow
//! link last minutes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use spoolway::pipeline::report::FlowReason;

use super::agent::Agent;
use super::check::{exactly, segment_sizes};
use super::feed::Feed;
use super::job::{Job, Plan};
use super::proxy::{ADD_PARTITIONS, END_TXN, INIT_PRODUCER_ID, Link, Loss, PRODUCE};
use super::{bed, seed, until};

const SOON: Duration = Duration::from_secs(60);
pub const LATE: Duration = Duration::from_secs(300);
pub const PACE: Duration = Duration::from_millis(40);

/// Many small transactions, so that a fault falls into the middle of one.
pub const PLAN: Plan = Plan {
    partitions: 2,
    source: "settleTime: 300ms, pollDelay: 20ms",
    sink: "",
    delivery: "commitInterval: 100ms",
};

/// Something is committed that was not before.
pub fn goes_on(agent: &Agent) {
    let before = agent.report().totals.records;
    agent.reports("it goes on", LATE, |r| r.totals.records > before && r.flowing);
}

/// Sets a trap, and waits until something is caught; at which node.
pub fn caught(link: &Link, api: i16, loss: Loss) -> usize {
    let before = link.caught().len();
    link.trap(api, loss);
    let caught = until("such a request is made", LATE, || link.caught().get(before).copied());
    assert_eq!(caught.0, api);
    caught.1
}

#[test]
fn an_answer_that_is_lost_when_the_broker_has_done_its_work_costs_nothing() {
    let Some(bed) = bed::shared() else { return };
    let link = bed.link();
    let job = Job::new(bed, "answers", &PLAN).by(&link);
    let feed = Feed::start(&job, 1, PACE);
    link.trap(INIT_PRODUCER_ID, Loss::Cut);
    let agent = job.start();
    until("the first answer is lost", SOON, || (link.caught().len() == 1).then_some(()));
    goes_on(&agent);
    for api in [PRODUCE, END_TXN, ADD_PARTITIONS, END_TXN, PRODUCE] {
        caught(&link, api, Loss::Cut);
        goes_on(&agent);
    }
    feed.ends_exactly(&job, &agent);
}

#[test]
fn an_answer_to_a_commit_that_never_comes_is_not_waited_for_for_ever() {
    let Some(bed) = bed::shared() else { return };
    let link = bed.link();
    let job = Job::new(bed, "silence", &PLAN).by(&link);
    let feed = Feed::start(&job, 2, PACE);
    let agent = job.start();
    goes_on(&agent);
    caught(&link, END_TXN, Loss::Silence);
    goes_on(&agent);
    feed.ends_exactly(&job, &agent);
}

#[test]
fn connections_that_swallow_what_is_sent_are_told_and_outlived() {
    let Some(bed) = bed::shared() else { return };
    let link = bed.link();
    let job = Job::new(bed, "halfopen", &PLAN).by(&link);
    let feed = Feed::start(&job, 3, PACE);
    let agent = job.start();
    goes_on(&agent);
    link.silence(true);
    agent.reports("it is told", SOON, |r| r.reason == FlowReason::KafkaUnavailable);
    assert_eq!((agent.get("/readyz").0, agent.get("/healthz").0), (503, 200));
    link.silence(false);
    goes_on(&agent);
    feed.ends_exactly(&job, &agent);
}

#[test]
fn on_a_slow_link_transactions_shrink_until_they_fit() {
    let Some(bed) = bed::shared() else { return };
    let link = bed.link();
    // All of it is read before the first commit is due.
    let plan = Plan { delivery: "commitInterval: 10s", ..Plan::default() };
    let job = Job::new(bed, "slowlink", &plan).by(&link);
    let mebibytes = if soaks() { 64 } else { 6 };
    let written = [job.put(b"a.log", &random_lines(mebibytes << 20))];
    link.slow(RATE);
    let agent = job.start();
    let report = agent.drained(1, Duration::from_secs(120 + 15 * mebibytes as u64));
    assert!(report.totals.retries > 0, "more than the link carries in time was tried: {report:#?}");
    exactly(&job, &written);
    let sizes = segment_sizes(&job);
    eprintln!("{} MiB over {RATE} bytes/s in transactions of {sizes:?} bytes", mebibytes);
    let fits = u64::from(RATE) * 20;
    assert!(sizes.iter().all(|size| *size <= fits), "none is larger than what the link carries in 20 s");
}

/// Bytes a second of the slow link.
pub const RATE: u32 = 256 * 1024;

/// The long form of tests that have one.
fn soaks() -> bool {
    std::env::var_os("SPOOLWAY_SOAK").is_some()
}

/// Lines that no codec makes smaller to speak of.
pub fn random_lines(bytes: usize) -> Vec<u8> {
    let mut rng = Rng::with_seed(7);
    (0..bytes).map(|at| if at % 500 == 499 { b'\n' } else { rng.u8(b'!'..=b'~') }).collect()
}

#[test]
fn nothing_is_lost_and_nothing_is_twice_in_a_storm_of_the_network() {
    let Some(bed) = bed::shared() else { return };
    let link = bed.link();
    let job = Job::new(bed, "netstorm", &PLAN).by(&link);
    let mut rng = Rng::with_seed(seed());
    let feed = Feed::start(&job, rng.u64(..), PACE);
    let agent = job.start();
    goes_on(&agent);
    let end = Instant::now() + Duration::from_secs(if soaks() { 600 } else { 45 });
    let mut faults: BTreeMap<&str, usize> = BTreeMap::new();
    while Instant::now() < end {
        let fault = strike(&link, &mut rng);
        *faults.entry(fault).or_default() += 1;
        std::thread::sleep(Duration::from_millis(rng.u64(0..1000)));
    }
    link.untrap();
    let caught = link.caught().len();
    eprintln!("{faults:?}, {caught} caught in traps, {} times opened anew", agent.report().totals.retries);
    feed.ends_exactly(&job, &agent);
}

/// One fault; it is over when this returns, but for a trap, which waits for its request.
fn strike(link: &Link, rng: &mut Rng) -> &'static str {
    match rng.u8(0..24) {
        0..11 => {
            let apis = [PRODUCE, PRODUCE, END_TXN, END_TXN, ADD_PARTITIONS, INIT_PRODUCER_ID];
            // Those of which the client is told nothing cost it a timeout of 20 s: fewer of them.
            let told = rng.u8(0..7) > 0;
            let loss = if told { Loss::Cut } else { rng.choice([Loss::Silence, Loss::Request]).unwrap() };
            link.trap(rng.choice(apis).unwrap(), loss);
            "trap"
        }
        11..17 => {
            link.cut();
            "cut"
        }
        17..23 => {
            link.delay(Duration::from_millis(rng.u64(10..400)));
            std::thread::sleep(Duration::from_millis(rng.u64(0..2000)));
            link.delay(Duration::ZERO);
            "delay"
        }
        _ => {
            link.silence(true);
            std::thread::sleep(Duration::from_millis(rng.u64(0..3000)));
            link.silence(false);
            "half open"
        }
    }
}

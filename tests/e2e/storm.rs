//! The storm: the agent killed at random moments, again and again, and the broker too, over more than a gigabyte.
//!
//! `SPOOLWAY_SEED` replays the moments, though not what the machine did between them.

use std::time::Duration;

use fastrand::Rng;

use super::agent::Agent;
use super::bed;
use super::check::{exactly, receipts};
use super::corpus;
use super::job::{Job, Plan};
use super::{seed, until};

const KILLS: usize = 20;
/// The broker is killed together with the agent's kill of this number.
const BROKER: usize = 10;

/// Where kills have landed, as far as can be seen from outside.
#[derive(Debug, Default)]
struct Landed {
    opening: usize,
    shipping: usize,
    renaming: usize,
    idle: usize,
}

#[test]
fn nothing_is_lost_and_nothing_is_twice_however_often_agent_and_broker_are_killed() {
    let Some(bed) = bed::mortal() else { return };
    let bed = bed.as_ref().unwrap();
    let mut rng = Rng::with_seed(seed());
    let plan = Plan {
        partitions: 3,
        source: "settleTime: 100ms, pollDelay: 20ms, maxOpenFiles: 3",
        delivery: "commitInterval: 100ms, maxTransactionBytes: 3Mi",
        ..Plan::default()
    };
    let job = Job::new(bed, "storm", &plan);
    let (mut written, mut landed) = (vec![], Landed::default());
    let mut corpus = corpus::files();
    rng.shuffle(&mut corpus);
    for kill in 0..KILLS {
        // Something new for every round, so that there is work to the end: a large file, and a swarm of small ones.
        if kill % 2 == 0 {
            written.extend(corpus.pop().map(|file| job.link(&file)));
        }
        for small in 0..30 {
            let name = format!("small-{kill:02}-{small:02}.log");
            let lines = rng.usize(0..60);
            written.push(job.put(name.as_bytes(), &corpus::lines(rng.u64(..), small, lines)));
        }
        round(&job, kill, &mut rng, &mut landed);
    }
    let agent = job.start();
    let all = written.len();
    until("the last agent ships the rest", Duration::from_secs(180), || (job.completed() == all).then_some(()));
    agent.reports("it is ready", Duration::from_secs(30), |report| report.flowing);
    eprintln!("{KILLS} kills: {landed:?}");
    let seen = exactly(&job, &written);
    eprintln!("{} runs whose offsets librdkafka could not tell", seen.untold);
    assert!(seen.records > 5_000_000 && seen.segments > 100, "{seen:?}");
    assert!(landed.shipping > 0, "no kill landed where it matters: {landed:?}");
}

/// Runs an agent for a while and kills it; every fifth time what is renamed is held against the receipts.
fn round(job: &Job, kill: usize, rng: &mut Rng, landed: &mut Landed) {
    let agent = job.start();
    // A third while it opens, the others while it ships; some of them at the next rename.
    let opening = rng.u8(0..3) == 0;
    if opening {
        std::thread::sleep(Duration::from_millis(rng.u64(0..1200)));
    } else {
        agent.reports("it is open", Duration::from_secs(60), |report| report.flowing);
        if rng.bool() {
            std::thread::sleep(Duration::from_millis(rng.u64(0..1500)));
        } else {
            let before = job.completed();
            let limit = std::time::Instant::now() + Duration::from_secs(5);
            while job.completed() == before && std::time::Instant::now() < limit {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }
    strike(job, agent, kill, opening, landed);
    if kill % 5 == 4 {
        let renamed: Vec<_> =
            job.names().into_iter().filter_map(|name| Some(name.strip_suffix(b".COMPLETED")?.to_vec())).collect();
        // Kafka answers a commit before its marker is on every topic: they may come a moment later.
        until("every renamed file has its receipt", Duration::from_secs(60), || {
            let receipts = receipts(job);
            renamed.iter().all(|name| receipts.contains(name)).then_some(())
        });
    }
}

fn strike(job: &Job, agent: Agent, kill: usize, opening: bool, landed: &mut Landed) {
    let before = job.completed();
    if kill == BROKER {
        job.bed.kill();
        std::thread::sleep(Duration::from_millis(500)); // the agent runs into it
        agent.kill();
        job.bed.restart();
    } else {
        agent.kill();
    }
    let left = job.names().len() - job.completed();
    *match (opening, job.completed() > before, left) {
        (true, ..) => &mut landed.opening,
        (_, true, _) => &mut landed.renaming,
        (.., 0) => &mut landed.idle,
        _ => &mut landed.shipping,
    } += 1;
}

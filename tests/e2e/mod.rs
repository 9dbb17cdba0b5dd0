//! The real agent against a real Kafka: killed, stopped, starved, lied to. I/O and processes; nothing is simulated.
//!
//! `bed` is the broker, `pod` a ConfigMap as the kubelet mounts it, `job` a pipeline with its directory and topics, `agent` the process, `check` the judge: it reads the topics
//! with Kafka's own consumer and holds every record against the files that were written; `feed` is input without an end, `proxy` a network
//! between agent and broker that can be made bad. The other modules are the tests.

mod agent;
mod bad_input;
mod bed;
mod bounds;
mod brokers;
mod changes;
mod charsets;
mod check;
mod clock;
mod corpus;
mod crowd;
mod failpoints;
mod feed;
mod files;
mod growing;
mod guarantees;
mod http;
mod job;
mod limits;
mod mounts;
mod neighbours;
mod network;
mod options;
mod outage;
mod plan;
mod pod;
mod progress;
mod proxy;
mod renames;
mod reports;
mod rewritten;
mod second_agent;
mod secure;
mod shipping;
mod signals;
mod sinks;
mod storm;
mod topics;
mod verify;

use std::time::{Duration, Instant};

pub use crate::skip::skipped;

/// Asks again and again until there is an answer; panics with `what` when there is none in time.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", limit.as_secs_f64());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The seed of this run: `SEED` replays one.
pub fn seed() -> u64 {
    let seed = crate::seed::number("SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("SEED={seed}");
    seed
}

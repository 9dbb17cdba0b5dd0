//! The real agent against a real Kafka: killed, stopped, starved, lied to. I/O and processes; nothing is simulated.
//!
//! `bed` is the broker, `job` a pipeline with its directory and topics, `agent` the process, `check` the judge: it reads the topics
//! with Kafka's own consumer and holds every record against the files that were written. The other modules are the tests.

mod agent;
mod bad_input;
mod bed;
mod check;
mod corpus;
mod files;
mod growing;
mod http;
mod job;
mod outage;
mod second_agent;
mod secure;
mod shipping;
mod signals;
mod storm;

use std::time::{Duration, Instant};

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

/// The seed of this run: `SPOOLWAY_SEED` replays one.
pub fn seed() -> u64 {
    let seed = match std::env::var("SPOOLWAY_SEED") {
        Ok(text) => text.parse().expect("SPOOLWAY_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    eprintln!("SPOOLWAY_SEED={seed}");
    seed
}

/// Says that a test did not run, and why, past the capture of the test harness.
pub fn skipped(why: &str) {
    use std::io::Write;
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{name} may not be skipped in CI: {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {name}: {why}");
}

//! An agent whose machine's wall clock jumps while it ships: by minutes, by years, back and forth, and further ahead than brokers take.
//!
//! The machine's own clock belongs to all, so one process is shown another (`clock.c`, loaded before its libraries).

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use spoolway::pipeline::report::FlowReason;

use super::agent::Agent;
use super::bed;
use super::feed::Feed;
use super::job::Job;
use super::network::{PACE, PLAN, goes_on};

const MINUTE: i64 = 60;
const YEAR: i64 = 365 * 24 * 3600;

struct Clock {
    library: PathBuf,
    ahead: PathBuf,
}

impl Clock {
    fn new(home: &Path) -> Clock {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/clock.c");
        let (library, ahead) = (home.join("clock.so"), home.join("ahead"));
        let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
        assert!(built.unwrap().success(), "cc compiles {source}");
        fs::write(&ahead, 0_i64.to_ne_bytes()).unwrap();
        Clock { library, ahead }
    }

    /// Seconds that it is ahead of the machine's from now on.
    fn set(&self, seconds: i64) {
        File::options().write(true).open(&self.ahead).unwrap().write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    fn start(&self, job: &Job) -> Agent {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spoolway"));
        command.env("LD_PRELOAD", &self.library).env("CLOCK_AHEAD", &self.ahead);
        Agent::start_by(command, &job.manifest, &["--http", "127.0.0.1:0"])
    }
}

/// An agent with a clock of its own, in the middle of input that does not end.
fn shipping(job: &Job, seed: u64) -> (Clock, Feed, Agent) {
    let clock = Clock::new(job.home());
    let feed = Feed::start(job, seed, PACE);
    let agent = clock.start(job);
    goes_on(&agent);
    (clock, feed, agent)
}

#[test]
fn a_wall_clock_that_jumps_while_files_flow_costs_nothing() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "clockjumps", &PLAN);
    let (clock, feed, agent) = shipping(&job, 21);
    for seconds in [30 * MINUTE, -30 * MINUTE, -YEAR, 50 * MINUTE, -10 * YEAR, 0] {
        clock.set(seconds);
        goes_on(&agent);
    }
    eprintln!("{} transactions were given up", agent.report().totals.retries);
    feed.ends_exactly(&job, &agent);
}

#[test]
fn a_clock_further_ahead_than_brokers_take_is_told_and_all_ships_when_it_is_right() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "clockahead", &PLAN);
    let (clock, feed, agent) = shipping(&job, 22);
    clock.set(120 * MINUTE);
    let report = agent.reports("it is told", Duration::from_secs(60), |r| r.message.contains("then set it right"));
    assert_eq!((report.reason, report.flowing), (FlowReason::TransactionFailed, false));
    clock.set(0);
    goes_on(&agent);
    feed.ends_exactly(&job, &agent);
}

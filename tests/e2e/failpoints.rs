//! The agent killed exactly between two steps, at each of `agent::faults`, and disks that refuse a call.
//!
//! They need an agent of its own build, with the feature `failpoints`: `SPOOLWAY_FAILPOINTS` is its path, and make sets it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use fastrand::Rng;
use spoolway::agent::faults::{Point, VARIABLE};
use spoolway::pipeline::report::{FlowReason, Report};

use super::agent::Agent;
use super::check::{Written, exactly};
use super::job::{Job, Plan};
use super::{bed, corpus, skipped, until};

const SOON: Duration = Duration::from_secs(60);
/// An agent that ends by itself has this long for it.
const LIMIT: Duration = Duration::from_secs(180);

/// The command that runs an agent with these faults; `None`, and said so, where there is no such build.
pub fn with(faults: &str) -> Option<Command> {
    let Some(binary) = std::env::var_os("SPOOLWAY_FAILPOINTS") else {
        skipped("it needs an agent with failpoints; 'make test' and 'make storm' build one");
        return None;
    };
    let mut command = Command::new(binary);
    command.env(VARIABLE, faults);
    Some(command)
}

/// Which time it is passed, with the input below: one in the middle, where there are many.
fn time(point: Point) -> u32 {
    match point {
        Point::BeforeList | Point::AfterList | Point::BeforeSync | Point::AfterSync => 1,
        Point::AfterInit | Point::AfterProgressRead => 1,
        _ => 2,
    }
}

/// Three chunks in one file, and twelve files of one: several transactions, of several files each.
fn put(job: &Job, prefix: &str) -> Vec<Written> {
    let mut rng = Rng::with_seed(7);
    let mut all = vec![job.put(format!("{prefix}-large.log").as_bytes(), &corpus::lines(7, 0, 12_000))];
    for file in 1..=12 {
        let name = format!("{prefix}-{file:02}.log");
        all.push(job.put(name.as_bytes(), &corpus::lines(7, file, rng.usize(1..60))));
    }
    all
}

fn killed(job: &Job, point: Point) {
    let name = point.name();
    let faulty = with(&format!("{name}=kill@{}", time(point))).unwrap();
    let ended = Agent::start_by(faulty, &job.manifest, &["--once"]).ended(LIMIT);
    assert_eq!(ended.code, None, "nobody came by {name}, or it did not kill: {ended:?}");
}

/// Killed at each of `points`; after each, one that is left alone ships the rest.
fn killed_at_each(job: &Job, points: &[Point]) -> Vec<Written> {
    let mut written = vec![];
    for point in points {
        written.extend(put(job, point.name()));
        if matches!(point, Point::AfterInit | Point::AfterProgressRead) {
            killed(job, Point::AfterAppend); // so that there is something to settle
        }
        killed(job, *point);
        let ended = job.once();
        assert_eq!(ended.code, Some(0), "after {}: {ended:?}", point.name());
        let left = job.shown().into_iter().filter(|name| !name.ends_with(".COMPLETED")).collect::<Vec<_>>();
        assert!(left.is_empty(), "after {}: {left:?}", point.name());
    }
    written
}

/// Whether a file holds these words.
fn holds(path: &OsStr, words: &str) -> bool {
    memchr::memmem::find(&std::fs::read(path).unwrap(), words.as_bytes()).is_some()
}

#[test]
fn what_is_shipped_has_no_failpoints() {
    let Some(faulty) = with("") else { return };
    assert!(holds(faulty.get_program(), VARIABLE));
    assert!(!holds(env!("CARGO_BIN_EXE_spoolway").as_ref(), VARIABLE));
}

#[test]
fn killed_between_any_two_steps_nothing_is_lost_and_nothing_is_twice() {
    let Some(bed) = bed::shared() else { return };
    if with("").is_none() {
        return;
    }
    let (deleting, renaming): (Vec<_>, Vec<_>) =
        Point::ALL.iter().partition(|point| matches!(point, Point::BeforeDelete | Point::AfterDelete));
    for (name, completion, points) in [("killrename", "Rename", renaming), ("killdelete", "Delete", deleting)] {
        let plan = Plan {
            partitions: 2,
            source: &format!("settleTime: 100ms, pollDelay: 20ms, maxOpenFiles: 3, completion: {completion}"),
            delivery: "commitInterval: 100ms, maxTransactionBytes: 64Ki",
            ..Plan::default()
        };
        let job = Job::new(bed, name, &plan);
        let written = killed_at_each(&job, &points);
        exactly(&job, &written);
    }
}

#[test]
fn without_transactions_a_kill_between_evidence_and_progress_leaves_no_line_that_nobody_speaks_of() {
    let Some(bed) = bed::shared() else { return };
    if with("").is_none() {
        return;
    }
    let delivery = "guarantee: AtLeastOnce, commitInterval: 100ms, maxTransactionBytes: 64Ki";
    let job = Job::new(bed, "killbetween", &Plan { delivery, ..Plan::default() });
    let points = [Point::BeforeEvidence, Point::AfterEvidence, Point::BeforeProgress, Point::AfterProgress];
    killed_at_each(&job, &points);
    let found = job.ask(&["verify", "--output", "json"], &[]);
    let found: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    let files = found["files"].as_array().unwrap();
    assert!(files.len() >= 13 * points.len(), "{found:#}");
    let flaws = files.iter().flat_map(|file| file["flaws"].as_array().unwrap());
    let kinds: BTreeSet<&str> = flaws.map(|flaw| flaw["what"].as_str().unwrap()).collect();
    // What was in doubt when it was killed is sent again, and said so: under its id, or a new one where no progress was kept yet.
    assert_eq!(kinds, BTreeSet::from(["shippedTwice"]), "{found:#}");
}

#[test]
fn a_disk_that_refuses_to_list_rename_and_sync_is_told_and_all_goes_on_by_itself() {
    let Some(bed) = bed::shared() else { return };
    let Some(faulty) = with("before-list=EIO@1-2,before-rename=ENOSPC@1-2,before-sync=EIO@1") else { return };
    let job = Job::new(bed, "refusing", &Plan::default());
    let written: Vec<_> =
        (0..5).map(|n| job.put(format!("{n}.log").as_bytes(), format!("line of {n}\n").as_bytes())).collect();
    let agent = Agent::start_by(faulty, &job.manifest, &["--http", "127.0.0.1:0"]);
    let told = |words: &str| {
        until(words, SOON, || agent.log().iter().any(|(_, said)| said.contains(words)).then_some(()));
    };
    told("cannot be read: Input/output error");
    told("No space left on device");
    told("may not survive a crash: Input/output error");
    agent.drained(5, SOON);
    until("all are completed", SOON, || (job.completed() == 5).then_some(()));
    agent.reports("all is well", SOON, |r| r.totals.set_aside == 0 && r.reason == FlowReason::Idle);
    exactly(&job, &written);
}

#[test]
fn a_file_that_a_disk_cannot_read_is_set_aside_alone_and_goes_on_when_it_changes() {
    let Some(bed) = bed::shared() else { return };
    let Some(faulty) = with("before-read=EIO@2") else { return };
    let job = Job::new(bed, "unread", &Plan::default());
    let mut content = corpus::lines(9, 0, 8_000);
    job.put(b"bad.log", &content);
    let agent = Agent::start_by(faulty, &job.manifest, &["--http", "127.0.0.1:0"]);
    let aside = |r: &Report| r.totals.set_aside == 1 && r.reason == FlowReason::FilesSetAside;
    agent.reports("it is set aside", SOON, aside);
    let good = job.put(b"good.log", b"one\ntwo\n");
    agent.reports("the other is shipped", SOON, |r| r.totals.files == 1);
    let more = corpus::lines(9, 1, 10);
    OpenOptions::new().append(true).open(job.path(b"bad.log")).unwrap().write_all(&more).unwrap();
    content.extend_from_slice(&more);
    agent.drained(2, SOON);
    exactly(&job, &[Written::of(b"bad.log", content), good]);
}

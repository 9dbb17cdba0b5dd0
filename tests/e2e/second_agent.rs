//! Two agents with one name, and one that was asleep for too long.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rustix::process::Signal;
use spoolway::pipeline::report::{FlowReason, Report};

use super::agent::Agent;
use super::check::{Written, exactly};
use super::corpus;
use super::job::{Job, Plan};
use super::{bed, until};

const SOON: Duration = Duration::from_secs(60);

/// True while a transaction is open on the job's topic: the last stable offset is behind the end.
pub fn transaction_is_open(job: &Job) -> bool {
    let end = |isolation: &str| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &job.bed.address).set("isolation.level", isolation).set("group.id", "look");
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.fetch_watermarks(&job.topic, 0, Duration::from_secs(10)).unwrap().1
    };
    end("read_committed") < end("read_uncommitted")
}

/// SIGSTOP at a moment when a transaction is open: since when it is stopped, and its last report before that.
fn stop_inside_a_transaction(agent: &Agent, job: &Job) -> (Instant, Report) {
    until("it is stopped inside a transaction", SOON, || {
        let report = agent.shipping();
        let stopped = Instant::now();
        agent.signal(Signal::STOP);
        // A second look, for of a commit that is on its way already the brokers make an end without it.
        if transaction_is_open(job) && transaction_is_open(job) {
            return Some((stopped, report));
        }
        agent.signal(Signal::CONT);
        None
    })
}

fn some_input(job: &Job) -> Vec<Written> {
    corpus::files()[..3].iter().map(|file| job.link(file)).collect()
}

#[test]
fn a_second_agent_waits_for_the_lock_and_takes_over_when_the_first_is_gone() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "successor", &Plan::default());
    let written = some_input(&job);
    let first = job.start();
    let (stopped, before) = stop_inside_a_transaction(&first, &job);
    let second = job.start();
    let report = second.reports("it waits", SOON, |r| r.reason == FlowReason::AnotherAgentRunning);
    assert!(!report.flowing);
    insta::assert_snapshot!(job.redact(&report.message));
    assert_eq!(second.get("/readyz").0, 503);
    first.signal(Signal::CONT);
    let bytes = first.report().totals.bytes;
    let slept = stopped.elapsed();
    first.reports("the first goes on undisturbed", SOON, |r| r.totals.bytes > bytes || r.backlog.bytes == 0);
    // On a very busy machine it slept for longer than its transaction may take, now or while a moment to stop it was looked for.
    let retries = first.report().totals.retries - before.totals.retries;
    assert!(retries == 0 || slept > Duration::from_secs(5), "{slept:?} {}", first.err());
    first.kill();
    second.drained(1, SOON);
    until("all are complete", SOON, || (job.completed() == 3).then_some(()));
    exactly(&job, &written);
}

#[test]
fn an_agent_asleep_for_longer_than_its_transaction_may_take_goes_on_exactly() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "zombie", &Plan::default());
    let written = some_input(&job);
    let agent = job.start();
    let (asleep, _) = stop_inside_a_transaction(&agent, &job);
    until("the coordinator aborts the transaction", SOON, || (!transaction_is_open(&job)).then_some(()));
    assert!(asleep.elapsed() > Duration::from_secs(5), "only its timeout ended it");
    agent.signal(Signal::CONT);
    let report = agent.drained(3, Duration::from_secs(120));
    assert!(report.totals.retries > 0, "it was aborted: {report:#?}");
    assert_eq!(job.completed(), 3);
    exactly(&job, &written);
}

/// A successor that the lock does not hold back, as on another machine with the same disk: the same manifest and the same files, another
/// directory.
fn successor_elsewhere(job: &Job) -> (Agent, PathBuf) {
    let elsewhere = job.home().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for file in fs::read_dir(&job.spool).unwrap().map(|file| file.unwrap()) {
        fs::hard_link(file.path(), elsewhere.join(file.file_name())).unwrap();
    }
    let text = fs::read_to_string(&job.manifest).unwrap().replace("settleTime: 10s", "settleTime: 300ms");
    let manifest = job.home().join("elsewhere.yaml");
    fs::write(&manifest, text.replace(job.spool.to_str().unwrap(), elsewhere.to_str().unwrap())).unwrap();
    (Agent::start(&manifest, &["--http", "127.0.0.1:0"]), elsewhere)
}

#[test]
fn a_zombie_that_wakes_inside_its_transaction_is_fenced_by_its_successor_and_renames_nothing() {
    let Some(bed) = bed::shared() else { return };
    // It would rename what it read, but not before it is asleep.
    let plan = Plan { source: "settleTime: 10s, pollDelay: 50ms", ..Plan::default() };
    let job = Job::new(bed, "wakes", &plan);
    let written = some_input(&job);
    let zombie = job.start();
    let (asleep, _) = stop_inside_a_transaction(&zombie, &job);
    let (successor, elsewhere) = successor_elsewhere(&job);
    successor.reports("it took over", SOON, |r| r.flowing);
    zombie.signal(Signal::CONT);
    let overdue = "the transaction was open for longer than Kafka allows";
    let is_told = |r: &Report| r.reason == FlowReason::Fenced || zombie.err().contains(overdue);
    let report = zombie.reports("it is fenced", SOON, is_told);
    if report.reason == FlowReason::Fenced {
        assert!(report.message.contains("another agent with the same id took over"), "{}", report.message);
        assert_eq!((zombie.get("/readyz").0, zombie.get("/healthz").0), (503, 200));
        successor.drained(3, Duration::from_secs(120));
        assert_eq!(job.completed(), 0, "it renames nothing");
        assert_eq!(zombie.report().reason, FlowReason::Fenced, "and stays away");
    } else {
        // On a very slow machine its transaction is as old as it may be by now: it takes that for the cause, and fences the other one, which
        // comes back after a minute.
        assert!(asleep.elapsed() > Duration::from_secs(15), "{}", zombie.err());
        successor.drained(3, Duration::from_secs(240));
    }
    let completed = fs::read_dir(&elsewhere)
        .unwrap()
        .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|suffix| suffix == "COMPLETED"));
    assert_eq!(completed.count(), 3);
    exactly(&job, &written);
}

#[test]
fn a_fenced_agent_stays_alive_unready_and_lets_go_of_its_directory() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "fenced", &Plan::default());
    let agent = job.start();
    let mut written = vec![job.put(b"a.log", b"one\n")];
    agent.drained(1, SOON);
    let (successor, _) = successor_elsewhere(&job);
    successor.reports("it is open", SOON, |r| r.flowing);
    written.push(job.put(b"b.log", b"two\n"));
    let report = agent.reports("it is fenced", SOON, |r| r.reason == FlowReason::Fenced);
    insta::assert_snapshot!(job.redact(&report.message));
    assert_eq!((agent.get("/readyz").0, agent.get("/healthz").0), (503, 200));
    assert_eq!(job.shown(), ["a.log.COMPLETED", "b.log"]);
    successor.kill();
    // The directory is free: a third agent ships what is left.
    let third = job.start();
    third.drained(1, SOON);
    exactly(&job, &written);
}

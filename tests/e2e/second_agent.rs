//! Two agents with one name, and one that was asleep for too long.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rustix::process::Signal;
use spoolway::pipeline::report::FlowReason;

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

/// SIGSTOP at a moment when a transaction is open.
fn stop_inside_a_transaction(agent: &Agent, job: &Job) {
    until("it is stopped inside a transaction", SOON, || {
        agent.shipping();
        agent.signal(Signal::STOP);
        if transaction_is_open(job) {
            return Some(());
        }
        agent.signal(Signal::CONT);
        None
    });
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
    stop_inside_a_transaction(&first, &job);
    let second = job.start();
    let report = second.reports("it waits", SOON, |r| r.reason == FlowReason::AnotherAgentRunning);
    assert!(!report.flowing);
    insta::assert_snapshot!(job.redact(&report.message));
    assert_eq!(second.get("/readyz").0, 503);
    first.signal(Signal::CONT);
    let before = first.report().totals.bytes;
    first.reports("the first goes on undisturbed", SOON, |r| r.totals.bytes > before || r.backlog.bytes == 0);
    assert_eq!(first.report().totals.retries, 0);
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
    stop_inside_a_transaction(&agent, &job);
    let asleep = Instant::now();
    until("the coordinator aborts the transaction", SOON, || (!transaction_is_open(&job)).then_some(()));
    assert!(asleep.elapsed() > Duration::from_secs(15), "only its timeout ended it");
    agent.signal(Signal::CONT);
    let report = agent.drained(3, Duration::from_secs(120));
    assert!(report.totals.retries > 0, "it was aborted: {report:#?}");
    assert_eq!(job.completed(), 3);
    exactly(&job, &written);
}

#[test]
fn a_fenced_agent_stays_alive_unready_and_lets_go_of_its_directory() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "fenced", &Plan::default());
    let agent = job.start();
    let mut written = vec![job.put(b"a.log", b"one\n")];
    agent.drained(1, SOON);
    // A successor that the lock does not hold back, as on another machine with the same disk: the same manifest, another directory.
    let elsewhere = job.home().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let text = std::fs::read_to_string(&job.manifest).unwrap();
    let manifest = job.home().join("elsewhere.yaml");
    std::fs::write(&manifest, text.replace(job.spool.to_str().unwrap(), elsewhere.to_str().unwrap())).unwrap();
    let successor = Agent::start(&manifest, &["--http", "127.0.0.1:0"]);
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

//! Kafka goes away and comes back; the agent stays.

use std::time::{Duration, Instant};

use spoolway::pipeline::report::FlowReason;

use super::agent::Agent;
use super::check::exactly;
use super::corpus;
use super::job::{Job, Plan};
use super::{bed, until};

const SOON: Duration = Duration::from_secs(60);
/// The design promises 30 s, to say it and to take it back; 20 of them are the transaction's. A machine that stalls gets twice that.
const TOLD: Duration = Duration::from_secs(60);

/// Small transactions, so that the outage falls into the middle of many.
fn plan() -> Plan<'static> {
    Plan { delivery: "commitInterval: 200ms, maxTransactionBytes: 2Mi", ..Plan::default() }
}

/// Waits until /readyz says that Kafka is away; how long that took.
fn says_unavailable(agent: &Agent) -> Duration {
    let asked = Instant::now();
    until("/readyz is 503 for KafkaUnavailable", TOLD, || {
        let (code, body) = agent.get("/readyz");
        (code == 503 && body.starts_with("KafkaUnavailable: ")).then_some(())
    });
    assert_eq!(agent.get("/healthz").0, 200, "its pod is not to be restarted");
    asked.elapsed()
}

#[test]
fn a_broker_killed_in_the_middle_of_shipping_and_restarted_costs_nothing() {
    let Some(bed) = bed::mortal() else { return };
    let bed = bed.as_ref().unwrap();
    let job = Job::new(bed, "restart", &plan());
    let written: Vec<_> = corpus::files()[..2].iter().map(|file| job.link(file)).collect();
    let agent = job.start();
    agent.shipping();
    bed.kill();
    bed.restart();
    agent.reports("it goes on by itself", Duration::from_secs(120), |_| job.completed() == 2);
    assert_eq!(agent.get("/readyz").0, 200);
    exactly(&job, &written);
}

#[test]
fn a_broker_away_for_longer_than_a_transaction_may_take_is_told_and_outlived() {
    let Some(bed) = bed::mortal() else { return };
    let bed = bed.as_ref().unwrap();
    let job = Job::new(bed, "longaway", &plan());
    let mut written: Vec<_> = corpus::files()[4..6].iter().map(|file| job.link(file)).collect();
    let agent = job.start();
    agent.shipping();
    bed.kill();
    let away = Instant::now();
    let told = says_unavailable(&agent);
    eprintln!("told after {told:?}");
    let completed = job.completed();
    written.push(job.put(b"meanwhile.log", b"written while Kafka was away\n"));
    while away.elapsed() < Duration::from_secs(25) {
        assert_eq!(agent.get("/readyz").0, 503);
        assert_eq!(job.completed(), completed, "nothing is renamed meanwhile");
        std::thread::sleep(Duration::from_millis(200));
    }
    let warnings = agent.log().into_iter().filter(|(level, _)| level == "WARN").count();
    assert!(warnings <= 2, "an outage is told once, not every second: {}", agent.err());
    bed.restart();
    until("/readyz is 200 again", TOLD, || (agent.get("/readyz").0 == 200).then_some(()));
    agent.reports("it goes on by itself", Duration::from_secs(120), |_| job.completed() == 3);
    exactly(&job, &written);
}

#[test]
fn an_idle_agent_notices_that_kafka_is_gone_and_that_it_is_back() {
    let Some(bed) = bed::mortal() else { return };
    let bed = bed.as_ref().unwrap();
    let job = Job::new(bed, "idle", &Plan::default());
    let agent = job.start();
    agent.reports("it is idle", SOON, |r| r.reason == FlowReason::Idle);
    bed.kill();
    says_unavailable(&agent);
    bed.restart();
    // Nothing to ship: it must notice all the same.
    until("/readyz is 200 again", TOLD, || (agent.get("/readyz").0 == 200).then_some(()));
    let written = job.put(b"a.log", b"one\n");
    agent.drained(1, SOON);
    exactly(&job, &[written]);
}

#[test]
fn a_quota_makes_it_slower_and_nothing_else() {
    let Some(bed) = bed::shared() else { return };
    let sink = ", properties: {client.id: slowed}";
    let job = Job::new(bed, "quota", &Plan { sink, delivery: "maxTransactionBytes: 512Ki", ..Plan::default() });
    bed.quota("slowed", 200_000);
    // Nothing that could be compressed: three million bytes take fifteen seconds then, less what a window of the quota lets through.
    let line = || std::iter::repeat_with(fastrand::alphanumeric).take(1000).chain(['\n']);
    let written = job.put(b"a.log", (0..3000).flat_map(|_| line()).collect::<String>().as_bytes());
    let begun = Instant::now();
    let agent = job.start();
    let report = agent.drained(1, Duration::from_secs(120));
    assert!(begun.elapsed() > Duration::from_secs(5), "the quota does not hold");
    assert_eq!((report.flowing, report.totals.retries), (true, 0), "{report:#?}");
    exactly(&job, &[written]);
}

//! How an agent ends.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::agent::Agent;
use super::check::{Written, exactly};
use super::corpus;
use super::job::{Job, Plan};
use super::{bed, until};

const SOON: Duration = Duration::from_secs(60);

fn some_input(job: &Job) -> Vec<Written> {
    corpus::files()[..3].iter().map(|file| job.link(file)).collect()
}

fn says(agent: &Agent, what: &str) {
    until(what, SOON, || agent.err().contains(what).then_some(()));
}

#[test]
fn sigterm_commits_what_is_read_and_the_next_agent_goes_on() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "sigterm", &Plan::default());
    let written = some_input(&job);
    let agent = job.start();
    agent.shipping();
    agent.signal(Signal::TERM);
    let ended = agent.ended(SOON);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("stopping: what is read is committed first, within 20 s"), "{}", ended.err);
    assert!(job.completed() < 3, "it stopped in the middle");
    let next = job.start();
    next.reports("it goes on", SOON, |_| job.completed() == 3);
    exactly(&job, &written);
}

#[test]
fn an_interrupted_once_tells_what_is_left_and_fails() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "interrupted", &Plan::default());
    let written = some_input(&job);
    let agent = Agent::start(&job.manifest, &["--once", "--http", "127.0.0.1:0"]);
    agent.shipping();
    agent.signal(Signal::INT);
    let ended = agent.ended(SOON);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.out.contains("stopped before the end: "), "{}", ended.out);
    assert_eq!(job.once().code, Some(0));
    exactly(&job, &written);
}

#[test]
fn without_kafka_a_stop_ends_by_the_watchdog_and_a_second_signal_at_once() {
    let Some(bed) = bed::mortal() else { return };
    let bed = bed.as_ref().unwrap();
    let jobs = ["watchdog", "impatient"].map(|name| Job::new(bed, name, &Plan::default()));
    let written = jobs.each_ref().map(some_input);
    let agents =
        jobs.each_ref().map(|job| Agent::start(&job.manifest, &["--http", "127.0.0.1:0", "--drain-timeout", "4s"]));
    agents.iter().for_each(|agent| drop(agent.shipping()));
    bed.kill();
    let [watchdog, impatient] = agents;
    let asked = Instant::now();
    watchdog.signal(Signal::TERM);
    impatient.signal(Signal::TERM);
    says(&impatient, "stopping: ");
    std::thread::sleep(Duration::from_millis(200)); // signals within 100 ms of each other are one
    impatient.signal(Signal::TERM);
    let ended = impatient.ended(SOON);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("second signal: leaving at once"), "{}", ended.err);
    let ended = watchdog.ended(SOON);
    assert!(asked.elapsed() < Duration::from_secs(20), "sooner than without the option: {:?}", asked.elapsed());
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("not done after 4 s: leaving"), "{}", ended.err);
    bed.restart();
    for (job, written) in jobs.iter().zip(written) {
        job.start().reports("the successor ships the rest", SOON, |_| job.completed() == 3);
        exactly(job, &written);
    }
}

#[test]
fn a_stop_while_waiting_for_kafka_ends_cleanly_and_soon() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::unprepared(bed, "nokafka", &Plan::default());
    std::fs::create_dir(&job.spool).unwrap();
    let text = std::fs::read_to_string(&job.manifest).unwrap();
    std::fs::write(&job.manifest, text.replace(&bed.address, &format!("127.0.0.1:{}", bed::free_port()))).unwrap();
    let agent = job.start();
    agent.reports("it says so", SOON, |r| r.message.contains("no broker of"));
    agent.signal(Signal::TERM);
    let ended = agent.ended(SOON); // the watchdog would end it with another code
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

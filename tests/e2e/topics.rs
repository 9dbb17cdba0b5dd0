//! Topics that change while an agent runs: deleted, made anew, widened.

use std::time::Duration;

use spoolway::pipeline::report::{FlowReason, Report};

use super::agent::Agent;
use super::check::{Written, exactly};
use super::corpus;
use super::growing::{append, shipped};
use super::job::{Job, Plan};
use super::second_agent::transaction_is_open;
use super::{bed, until};

const SOON: Duration = Duration::from_secs(60);
const LATE: Duration = Duration::from_secs(120);
/// Files stay half read for longer than the test lasts.
const HALF: Plan = Plan { partitions: 1, source: "settleTime: 600s, pollDelay: 50ms", sink: "", delivery: "" };

#[test]
fn files_keep_their_partition_and_order_when_a_topic_gets_more_partitions() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 30s, pollDelay: 50ms";
    let job = Job::new(bed, "widened", &Plan { source, partitions: 2, ..Plan::default() });
    let agent = job.start();
    let part = |n: u64| String::from_utf8(corpus::lines(n, 0, 500)).unwrap();
    for name in ["a.log", "b.log", "c.log"] {
        append(&job, name.as_bytes(), &part(1));
    }
    shipped(&agent, 1500);
    bed.widen(&job.topic, 7);
    for name in ["a.log", "b.log", "c.log"] {
        append(&job, name.as_bytes(), &part(2));
    }
    shipped(&agent, 3000);
    agent.kill();
    let agent = job.start();
    let mut written = vec![];
    for name in ["a.log", "b.log", "c.log"] {
        append(&job, name.as_bytes(), &part(3));
        written.push(Written::of(name.as_bytes(), part(1) + &part(2) + &part(3)));
    }
    written.extend((0..10).map(|n| job.put(format!("new-{n}.log").as_bytes(), b"new\n")));
    agent.drained(13, LATE);
    exactly(&job, &written);
    let mut partitions = std::collections::BTreeSet::new();
    bed.read(&job.topic, bed::Reader::Fast, |record| partitions.extend([record.partition]));
    assert!(partitions.len() > 2, "a new agent uses the new partitions too: {partitions:?}");
}

#[test]
fn a_topic_deleted_while_an_agent_runs_is_missed_and_used_when_it_is_there_again() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "topicgone", &Plan::default());
    let agent = job.start();
    job.put(b"a.log", b"one\n");
    agent.drained(1, SOON);
    bed.remove(&job.topic);
    job.put(b"b.log", b"two\n");
    let report = agent.reports("it is told", SOON, |r| r.reason == FlowReason::TopicMissing);
    assert!(report.message.contains(&job.topic), "{}", report.message);
    assert_eq!(job.shown(), ["a.log.COMPLETED", "b.log"]);
    bed.topics(&[(&job.topic, 1, "delete")]);
    agent.drained(2, Duration::from_secs(120));
    assert_eq!(job.lines(), ["two"], "what was in the deleted topic is not sent again");
}

#[test]
fn a_file_whose_topic_is_gone_is_set_aside_alone_and_goes_on_when_it_is_back() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "topicleft", &HALF);
    let agent = job.start();
    append(&job, b"a.log", "one\n");
    shipped(&agent, 1);
    agent.kill();
    let new = job.topic.replace("data", "new");
    bed.topics(&[(&new, 1, "delete")]);
    let text = std::fs::read_to_string(&job.manifest).unwrap();
    std::fs::write(&job.manifest, text.replace(&job.topic, &new)).unwrap();
    bed.remove(&job.topic);
    append(&job, b"a.log", "two\n");
    append(&job, b"b.log", "three\n");
    let agent = job.start();
    let report = agent.reports("it is set aside, and the other ships", LATE, |r| {
        r.totals.records == 1 && r.set_aside.iter().any(|aside| aside.reason == "TopicGone")
    });
    let aside = &report.set_aside[0];
    assert_eq!((aside.file.as_str(), aside.position), ("a.log", 4));
    assert!(aside.message.contains(&format!("begun on topic {}", job.topic)), "{}", aside.message);
    agent.kill();
    bed.topics(&[(&job.topic, 1, "delete")]);
    let agent = job.start();
    shipped(&agent, 1);
    assert_eq!(job.lines(), ["two"], "what was in the deleted topic is not sent again");
}

#[test]
fn a_checkpoint_topic_made_anew_is_refused_and_nothing_is_read_or_renamed() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "checkpointsgone", &Plan::default());
    let state = job.home().join("state");
    let start = || Agent::start(&job.manifest, &["--http", "127.0.0.1:0", "--state-dir", state.to_str().unwrap()]);
    let agent = start();
    let written = job.put(b"a.log", b"one\n");
    agent.drained(1, SOON);
    agent.kill();
    let checkpoints = job.checkpoints();
    bed.remove(&checkpoints);
    job.put(b"b.log", b"two\n");
    // Gone, then there again under the same name.
    for exists in [false, true] {
        if exists {
            bed.topics(&[(&checkpoints, 4, "compact")]);
        }
        let agent = start();
        let report = agent.reports("it is refused", SOON, |r| r.reason == FlowReason::CheckpointTopicChanged);
        assert!(report.message.contains(&checkpoints) && report.message.contains("run: spoolway progress accept"));
        assert_eq!(job.shown(), ["a.log.COMPLETED", "b.log"]);
        assert_eq!(job.lines(), ["one"]);
    }
    exactly(&job, &[written]);
}

#[test]
fn a_checkpoint_topic_deleted_under_a_running_agent_is_refused_and_half_a_file_is_not_begun_anew() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "checkpointslost", &HALF);
    let state = job.home().join("state");
    let agent = Agent::start(&job.manifest, &["--http", "127.0.0.1:0", "--state-dir", state.to_str().unwrap()]);
    append(&job, b"half.log", "one\ntwo\n");
    shipped(&agent, 2);
    let checkpoints = job.checkpoints();
    bed.remove(&checkpoints);
    append(&job, b"half.log", "three\n");
    let told = |what: &str, words: &str| {
        let is = |r: &Report| r.reason == FlowReason::CheckpointTopicChanged && r.message.contains(words);
        let report = agent.reports(what, LATE, is);
        assert!(report.message.contains(&checkpoints) && report.message.contains("run: spoolway progress accept"));
        assert_eq!((agent.get("/readyz").0, job.shown()), (503, vec!["half.log".to_owned()]));
        // What it had sent when the topic was gone is given up by Kafka itself: nobody may open a producer here.
        until("its transaction is over", LATE, || (!transaction_is_open(&job)).then_some(()));
        assert_eq!(job.lines(), ["one", "two"]);
    };
    told("it is missed", "does not exist any more");
    // More partitions: progress would be looked for in another one.
    bed.topics(&[(&checkpoints, 7, "compact")]);
    told("another one is refused", "and 7 partitions");
    let accept = ["--agent-id", "a1", "--state-dir", state.to_str().unwrap(), "--yes"];
    let done = job.ask(&["progress", "accept"], &accept);
    assert_eq!(done.code, Some(0), "{}", done.err);
    agent
        .reports("what a person accepted is done", Duration::from_secs(120), |r| r.flowing && r.backlog.bytes == 0);
    assert_eq!(job.lines(), ["one", "two", "one", "two", "three"], "from the beginning, as it was accepted");
}

#[test]
fn an_agent_without_a_state_directory_notices_while_it_runs_that_its_checkpoint_topic_is_gone() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "checkpointsunpinned", &HALF);
    let agent = job.start();
    append(&job, b"half.log", "one\ntwo\n");
    shipped(&agent, 2);
    bed.remove(&job.checkpoints());
    append(&job, b"half.log", "three\n");
    let report = agent.reports("it is missed or begins anew", LATE, |r| {
        r.reason == FlowReason::CheckpointTopicChanged || r.totals.records > 2
    });
    assert_eq!(report.reason, FlowReason::CheckpointTopicChanged, "{report:#?}");
    assert!(report.message.ends_with("or, to accept that, start the agent again"), "{}", report.message);
    agent.kill();
    let again = job.start();
    again.reports("whoever starts it again accepts that", LATE, |r| r.flowing && r.totals.records == 3);
    assert_eq!(job.lines(), ["one", "two", "one", "two", "three"], "from the beginning");
}

#[test]
fn a_checkpoint_topic_made_anew_behind_an_agents_back_is_refused_at_its_next_opening_at_the_latest() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "checkpointsswapped", &Plan::default());
    let state = job.home().join("state");
    let start = || Agent::start(&job.manifest, &["--http", "127.0.0.1:0", "--state-dir", state.to_str().unwrap()]);
    let agent = start();
    job.put(b"a.log", b"one\n");
    agent.drained(1, SOON);
    let checkpoints = job.checkpoints();
    bed.remove(&checkpoints);
    bed.topics(&[(&checkpoints, 7, "compact")]);
    job.put(b"b.log", b"two\n");
    let refused = |r: &Report| r.reason == FlowReason::CheckpointTopicChanged;
    let report = agent.reports("it ships or is refused", SOON, |r| refused(r) || r.totals.files == 2);
    eprintln!("refused at once: {}", refused(&report));
    agent.kill();
    let before = job.lines();
    job.put(b"c.log", b"three\n");
    let agent = start();
    agent.reports("it is refused", SOON, |r| refused(r));
    assert_eq!(job.lines(), before);
    assert_eq!(before.iter().filter(|line| *line == "one").count(), 1);
    assert!(job.shown().contains(&"c.log".to_owned()), "nothing is renamed");
}

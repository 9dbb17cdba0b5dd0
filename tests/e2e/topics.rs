//! Topics that change while an agent runs: deleted, made anew, widened.

use std::time::Duration;

use spoolway::pipeline::report::FlowReason;

use super::agent::Agent;
use super::bed;
use super::check::{Written, exactly};
use super::corpus;
use super::growing::{append, shipped};
use super::job::{Job, Plan};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn files_keep_their_partition_and_order_when_a_topic_gets_more_partitions() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 5s, pollDelay: 50ms";
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
    agent.drained(13, SOON);
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
fn a_checkpoint_topic_made_anew_is_refused_and_nothing_is_read_or_renamed() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "checkpointsgone", &Plan::default());
    let state = job.home().join("state");
    let start = || Agent::start(&job.manifest, &["--http", "127.0.0.1:0", "--state-dir", state.to_str().unwrap()]);
    let agent = start();
    let written = job.put(b"a.log", b"one\n");
    agent.drained(1, SOON);
    agent.kill();
    let checkpoints = job.receipts.replace("receipts", "checkpoints");
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

//! `spoolway progress`: what is kept is shown, and the two decisions about it that a person makes.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use spoolway::pipeline::report::FlowReason;

use super::agent::{Agent, Ended};
use super::bed;
use super::check::exactly;
use super::job::{Job, Plan};
use super::pod::{Mount, SHAPE, agent_file};

const SOON: Duration = Duration::from_secs(60);

fn list(job: &Job, more: &[&str]) -> Vec<Value> {
    let said = job.ask(&["progress", "list", "--output", "json"], more);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let mut rows: Vec<Value> = serde_json::from_str(&said.out).unwrap();
    for row in &mut rows {
        let age = row.as_object_mut().unwrap().remove("ageSeconds").unwrap();
        assert!(age.as_u64().unwrap() < 600, "just committed");
    }
    rows
}

fn forget(job: &Job, more: &[&str]) -> Ended {
    job.ask(&["progress", "forget", "--agent-id", "a1"], more)
}

#[test]
fn after_the_checkpoint_topic_was_made_anew_an_agent_goes_on_when_a_person_accepts_it() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "accepts", &Plan::default());
    let state = job.home().join("state");
    let start = || Agent::start(&job.manifest, &["--http", "127.0.0.1:0", "--state-dir", state.to_str().unwrap()]);
    let mut written = vec![job.put(b"a.log", b"one\n")];
    let agent = start();
    agent.drained(1, SOON);
    agent.kill();
    bed.remove(&job.checkpoints());
    bed.topics(&[(&job.checkpoints(), 4, "compact")]);
    written.push(job.put(b"b.log", b"two\n"));
    let agent = start();
    let message = agent.reports("it is refused", SOON, |r| r.reason == FlowReason::CheckpointTopicChanged).message;
    // What the message says is what a person types, but for the file's name.
    let command = message.split(" run: spoolway ").nth(1).unwrap_or_else(|| panic!("no command: {message}"));
    let words: Vec<&str> = command.split(' ').collect();
    let [verb, noun, "-f", "FILE", options @ ..] = &words[..] else { panic!("{command}") };
    let without: Vec<&str> = options.iter().copied().filter(|word| *word != "--yes").collect();
    let asked = job.ask(&[verb, noun], &without);
    assert_eq!(asked.code, Some(1), "nothing is done without --yes: {}", asked.err);
    insta::assert_snapshot!(
        regex::Regex::new(r"id [A-Za-z0-9+/_-]{22}").unwrap().replace_all(&asked.out, "id <id>")
    );
    let done = job.ask(&[verb, noun], options);
    assert_eq!(done.code, Some(0), "{}", done.err);
    agent.drained(1, SOON);
    exactly(&job, &written);
    let again = job.ask(&[verb, noun], options);
    assert!(again.code == Some(0) && again.out.contains("there is nothing to accept"), "{}", again.out);
    let nowhere = job.ask(&["progress", "accept"], &["--agent-id", "a1"]);
    assert_eq!(nowhere.code, Some(2), "without --state-dir there is nothing to change");
}

#[test]
fn in_a_pod_the_command_that_changes_the_configmap_is_printed() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "acceptspod", &Plan::default());
    let (mount, text) = (Mount::new(&job), job.text(&Plan::default(), ""));
    let mut file = agent_file(&job);
    let old = serde_json::json!({"topic": job.checkpoints(), "topicId": "AAAAAAAAAAAAAAAAAAAAAA", "partitions": 4});
    file["checkpointTopic"] = old;
    file["ofANewerOperator"] = "it's kept".into();
    mount.put(&text, &file);
    let written = [job.put(b"a.log", b"one\n")];
    let agent = Agent::start_in_pod(&mount.path, &["--shape", SHAPE]);
    let message = agent.reports("it is refused", SOON, |r| r.reason == FlowReason::CheckpointTopicChanged).message;
    assert!(message.contains("spoolway progress accept --config-dir /etc/spoolway/config"), "{message}");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_spoolway"));
    let out =
        command.args(["progress", "accept", "--agent-id", "a1", "--config-dir"]).arg(&mount.path).output().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(1), "it cannot do it itself: {said}");
    let wanted = "kubectl --namespace acceptspod patch configmap web-spoolway --type merge --patch ";
    let line = said.lines().find(|line| line.starts_with(wanted)).unwrap_or_else(|| panic!("{said}"));
    // A shell takes it apart, as the person's does.
    let shell = format!("printf %s {}", line.strip_prefix(wanted).unwrap());
    let patch = std::process::Command::new("sh").args(["-c", &shell]).output().unwrap().stdout;
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    let new: Value = serde_json::from_str(patch["data"]["agent.json"].as_str().unwrap()).unwrap();
    assert_eq!((&new["ofANewerOperator"], &new["shape"]), (&"it's kept".into(), &SHAPE.into()));
    mount.put(&text, &new);
    agent.drained(1, SOON);
    exactly(&job, &written);
}

#[test]
fn a_file_that_is_forgotten_is_shipped_again() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "forgets", &Plan::default());
    job.put(b"a.log", b"one\ntwo\n");
    job.put(b"b.log", b"three\n");
    let agent = job.start();
    agent.drained(2, SOON);
    let refused = forget(&job, &["--yes"]);
    assert_eq!(refused.code, Some(1));
    insta::assert_snapshot!(
        "a_live_agent_is_not_disturbed",
        regex::Regex::new(r"process \d+").unwrap().replace(&job.redact(&refused.err), "process <pid>")
    );
    assert_eq!(agent.report().totals.retries, 0);
    agent.kill();
    let kept = list(&job, &[]);
    let shown: Vec<_> = kept.iter().map(|row| (row["agent"].as_str(), row["lines"].as_u64())).collect();
    assert_eq!(shown.len(), 2);
    assert!(shown.contains(&(Some("a1"), Some(2))) && shown.contains(&(Some("a1"), Some(1))), "{kept:?}");
    assert_eq!(list(&job, &["--agent-id", "a2"]), Vec::<Value>::new(), "only the agent asked for");
    let a = kept.iter().find(|row| row["name"] == "a.log").unwrap()["fileId"].as_str().unwrap();
    let asked = forget(&job, &["--file-id", a]);
    assert!(asked.code == Some(1) && asked.out.contains("add --yes"), "{}", asked.out);
    assert_eq!(list(&job, &[]), kept, "nothing is done without --yes");
    assert_eq!(forget(&job, &["--file-id", "0000000000000000", "--yes"]).code, Some(1), "no such file");
    let done = forget(&job, &["--file-id", a, "--yes"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(list(&job, &[]).len(), 1);
    for name in ["a.log", "b.log"] {
        fs::rename(job.path(format!("{name}.COMPLETED").as_bytes()), job.path(name.as_bytes())).unwrap();
    }
    assert_eq!(job.once().code, Some(0));
    assert_eq!(bed.count(&job.topic), 5, "a.log twice, b.log once");
}

#[test]
fn the_age_of_progress_is_told() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "aged", &Plan::default());
    job.put(b"a.log", b"one\n");
    assert_eq!(job.once().code, Some(0));
    let (topic, mut kept) = (job.checkpoints(), vec![]);
    bed.read(&topic, bed::Reader::Fast, |record| kept.push((record.partition, record.value.to_vec())));
    let (partition, value) = kept.pop().unwrap();
    let key = "spoolway/local/aged/web/a1/000000000000000a";
    bed.plant_old(&topic, partition, Duration::from_secs(30 * 3600), [(key, &value)]);
    let shown = job.ask(&["progress", "list"], &[]).out;
    let row = shown.lines().find(|line| line.contains("000000000000000a")).unwrap_or_else(|| panic!("{shown}"));
    assert!(row.contains(" 30h "), "{shown}");
}

#[test]
fn an_agent_elsewhere_whose_files_are_forgotten_is_fenced() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "forgetslive", &Plan::default());
    job.put(b"a.log", b"one\n");
    let agent = job.start();
    agent.drained(1, SOON);
    let done = forget(&job, &["--elsewhere", "--yes"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(list(&job, &[]), Vec::<Value>::new());
    job.put(b"b.log", b"two\n");
    agent.reports("it is fenced", SOON, |r| r.reason == FlowReason::Fenced);
    assert_eq!((bed.count(&job.topic), list(&job, &[]).len()), (1, 0), "it can write nothing any more");
}

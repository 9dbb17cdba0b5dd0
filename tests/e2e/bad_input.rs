//! What is wrong at two sites out of three: the directory, the address, the topic. Each is told in one clear line, nothing is
//! lost, and it goes on by itself when the cause is gone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use spoolway::pipeline::report::FlowReason;

use super::agent::Agent;
use super::check::exactly;
use super::job::{Job, Plan};
use super::pod::{Mount, agent_file};
use super::{bed, skipped, until};

const SOON: Duration = Duration::from_secs(60);

/// Waits for the trouble; returns what an on-call sees: the line of /readyz, and the warnings in the log.
fn trouble(job: &Job, agent: &Agent, reason: FlowReason) -> String {
    agent.reports(&format!("{reason:?}"), SOON, |r| r.reason == reason);
    let (code, line) = agent.get("/readyz");
    assert_eq!((code, line.trim_end().lines().count()), (503, 1), "{line}");
    let warnings: Vec<_> = agent.log().into_iter().filter(|(level, _)| level != "INFO").collect();
    assert_eq!(warnings.len(), 1, "one line in the log: {warnings:?}");
    assert_eq!(warnings[0].1, line.trim_end(), "the log and /readyz say the same");
    job.redact(&line)
}

/// Everything ships now; nobody restarted anything.
fn recovers(job: &Job, agent: &Agent, written: &[super::check::Written]) {
    let limit = Duration::from_secs(90);
    until("all is complete", limit, || (job.spool.exists() && job.completed() == written.len()).then_some(()));
    agent.reports("it is ready", SOON, |r| r.flowing);
    assert!(!agent.err().contains("panic"), "{}", agent.err());
    exactly(job, written);
}

#[test]
fn a_missing_directory_is_told_and_used_when_it_is_made() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "nodirectory", &Plan::default());
    fs::remove_dir(&job.spool).unwrap();
    let agent = job.start();
    insta::assert_snapshot!(trouble(&job, &agent, FlowReason::SpoolDirectoryMissing));
    let ended = job.once();
    assert_eq!(ended.code, Some(1), "once does not wait for a directory");
    insta::assert_snapshot!("a_missing_directory_once", job.redact(ended.err.lines().last().unwrap()));
    fs::create_dir(&job.spool).unwrap();
    let mut written = vec![job.put(b"a.log", b"one\n")];
    recovers(&job, &agent, &written);
    // Taken away and made again while it runs.
    fs::rename(&job.spool, job.home().join("old")).unwrap();
    agent.reports("it is told again", SOON, |r| r.reason == FlowReason::SpoolDirectoryMissing);
    fs::create_dir(&job.spool).unwrap();
    written.push(job.put(b"b.log", b"two\n"));
    until("the new one ships", SOON, || (job.completed() == 1).then_some(()));
    exactly(&job, &written);
}

#[test]
fn a_path_that_is_a_file_is_told() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "notadirectory", &Plan::default());
    fs::remove_dir(&job.spool).unwrap();
    fs::write(&job.spool, "a file").unwrap();
    let agent = job.start();
    insta::assert_snapshot!(trouble(&job, &agent, FlowReason::SpoolDirectoryMissing));
    fs::remove_file(&job.spool).unwrap();
    fs::create_dir(&job.spool).unwrap();
    let written = job.put(b"a.log", b"one\n");
    recovers(&job, &agent, &[written]);
}

/// The binary as a user that may not do everything; `None` where that cannot be had.
fn somebody(job: &Job) -> Option<Command> {
    if !rustix::process::geteuid().is_root() {
        return Some(Command::new(env!("CARGO_BIN_EXE_spoolway")));
    }
    // The binary may lie in a directory that only root may enter.
    let binary = job.home().join("spoolway");
    fs::copy(env!("CARGO_BIN_EXE_spoolway"), &binary).unwrap();
    fs::set_permissions(job.home(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&binary);
    if Command::new("setpriv").arg("--version").output().is_err() {
        skipped("root may do everything, and setpriv is not there to become somebody else");
        return None;
    }
    Some(command)
}

/// Starts an agent as that user.
pub fn as_somebody(job: &Job) -> Option<Agent> {
    Some(Agent::start_by(somebody(job)?, &job.manifest, &["--http", "127.0.0.1:0"]))
}

pub fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_directory_that_may_not_be_written_is_told_before_anything_is_shipped() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "unwritable", &Plan::default());
    let written = job.put(b"a.log", b"one\n");
    mode(&job.spool, 0o555);
    let Some(agent) = as_somebody(&job) else { return };
    insta::assert_snapshot!(trouble(&job, &agent, FlowReason::CannotComplete));
    mode(&job.spool, 0o777);
    recovers(&job, &agent, &[written]);
}

#[test]
fn in_a_pod_the_field_to_set_is_told() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "nobodys", &Plan::default());
    let mount = Mount::new(&job);
    mount.put(&job.text(&Plan::default(), ""), &agent_file(&job));
    let Some(somebody) = somebody(&job) else { return };
    mode(&job.spool, 0o555);
    let agent = Agent::start_in_pod_by(somebody, &mount.path, &[]);
    insta::assert_snapshot!(trouble(&job, &agent, FlowReason::CannotComplete));
    mode(&job.spool, 0o777);
    recovers(&job, &agent, &[job.put(b"a.log", b"one\n")]);
}

#[test]
fn a_directory_that_may_not_be_read_is_told() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "unreadable", &Plan::default());
    let written = job.put(b"a.log", b"one\n");
    mode(&job.spool, 0o300);
    let Some(agent) = as_somebody(&job) else { return };
    insta::assert_snapshot!(trouble(&job, &agent, FlowReason::SpoolDirectoryMissing));
    mode(&job.spool, 0o777);
    recovers(&job, &agent, &[written]);
}

#[test]
fn a_file_that_may_not_be_read_is_set_aside_alone_and_ships_when_it_may() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "secretfile", &Plan::default());
    mode(&job.spool, 0o777);
    let mut written = vec![job.put(b"secret.log", b"one\n")];
    mode(&job.path(b"secret.log"), 0);
    let Some(agent) = as_somebody(&job) else { return };
    written.push(job.put(b"open.log", b"two\n"));
    let report = agent.reports("one is set aside", SOON, |r| r.totals.set_aside == 1 && r.totals.files == 1);
    let aside = &report.set_aside[0];
    insta::assert_snapshot!(format!("{}: {}: {}", aside.file, aside.reason, aside.message));
    assert_eq!(agent.get("/readyz").0, 200, "the others ship");
    mode(&job.path(b"secret.log"), 0o644);
    recovers(&job, &agent, &written);
}

#[test]
fn no_broker_at_the_address_is_told_and_used_when_it_starts() {
    let Some(bed) = bed::mortal() else { return };
    let bed = bed.as_ref().unwrap();
    let job = Job::new(bed, "nobroker", &Plan::default());
    let written = job.put(b"a.log", b"one\n");
    bed.kill();
    let agent = job.start();
    insta::assert_snapshot!(trouble(&job, &agent, FlowReason::KafkaUnavailable));
    assert_eq!(job.shown(), ["a.log"]);
    bed.restart();
    recovers(&job, &agent, &[written]);
}

#[test]
fn a_wrong_host_name_is_told() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "wrongname", &Plan::default());
    let text = fs::read_to_string(&job.manifest).unwrap();
    let wrong = text.replace(&bed.address, "no-such-host.invalid:9092");
    fs::write(&job.manifest, wrong).unwrap();
    let written = job.put(b"a.log", b"one\n");
    let agent = job.start();
    let line = trouble(&job, &agent, FlowReason::KafkaUnavailable);
    // The reason in parentheses is the resolver's, and differs from system to system.
    let line = regex::Regex::new(r"(Failed to resolve '[^']+'): [^)]*").unwrap().replace(&line, "$1: <why>");
    insta::assert_snapshot!(line);
    agent.kill();
    fs::write(&job.manifest, text).unwrap();
    assert_eq!(job.once().code, Some(0));
    exactly(&job, &[written]);
}

#[test]
fn a_missing_topic_is_told_with_the_command_and_used_when_it_is_made() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::unprepared(bed, "notopic", &Plan::default());
    fs::create_dir(&job.spool).unwrap();
    let written = job.put(b"a.log", b"one\n");
    let agent = job.start();
    insta::assert_snapshot!(trouble(&job, &agent, FlowReason::TopicMissing));
    bed.topics(&[(&job.topic, 1, "delete")]);
    job.own_topics();
    recovers(&job, &agent, &[written]);
}

#[test]
fn a_fixed_partition_that_is_not_there_is_told_and_used_when_it_is() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "nopartition", &Plan { sink: ", partition: 3", ..Plan::default() });
    let written = job.put(b"a.log", b"one\n");
    let agent = job.start();
    insta::assert_snapshot!(trouble(&job, &agent, FlowReason::TopicMissing));
    bed.widen(&job.topic, 4);
    recovers(&job, &agent, &[written]);
}

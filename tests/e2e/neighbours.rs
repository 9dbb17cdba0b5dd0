//! Agents of different names, or pipelines, that want the same directory: each is read by one, the others wait and say so.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use spoolway::pipeline::report::FlowReason;

use super::agent::Agent;
use super::bed;
use super::check::exactly;
use super::job::{Job, Plan};

const SOON: Duration = Duration::from_secs(60);
const RECURSIVE: Plan =
    Plan { partitions: 1, source: "settleTime: 300ms, pollDelay: 50ms, recursive: true", sink: "", delivery: "" };

#[test]
fn an_agent_of_another_name_waits_for_the_directory_and_ships_only_what_is_left() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "othername", &Plan::default());
    let mut written = vec![job.put(b"a.log", b"one\ntwo\n")];
    let first = Agent::start_as("a1", &job.manifest);
    first.drained(1, SOON);
    let second = Agent::start_as("a2", &job.manifest);
    let report = second.reports("it waits", SOON, |r| r.reason == FlowReason::AnotherAgentRunning);
    assert!(!report.flowing && report.message.contains("another agent has"), "{}", report.message);
    assert_eq!((second.get("/readyz").0, second.get("/healthz").0), (503, 200));
    written.push(job.put(b"b.log", b"three\n"));
    first.drained(2, SOON);
    assert_eq!((first.report().totals.retries, second.report().totals.records), (0, 0));
    first.signal(Signal::TERM);
    assert_eq!(first.ended(SOON).code, Some(0));
    written.push(job.put(b"c.log", b"four\n"));
    second.drained(1, SOON);
    assert_eq!(second.report().totals.records, 1);
    exactly(&job, &written);
}

/// A recursive pipeline over the other's directory, and one over `child` in it.
fn above_and_below<'b>(bed: &'b bed::Bed, name: &str) -> (Job<'b>, Job<'b>) {
    let (parent, child) =
        (Job::new(bed, &format!("{name}parent"), &RECURSIVE), Job::new(bed, &format!("{name}child"), &RECURSIVE));
    fs::create_dir_all(parent.spool.join("child/grandchild")).unwrap();
    let text = fs::read_to_string(&child.manifest).unwrap();
    let below = parent.spool.join("child");
    fs::write(&child.manifest, text.replace(child.spool.to_str().unwrap(), below.to_str().unwrap())).unwrap();
    (parent, child)
}

#[test]
fn the_pipeline_below_has_its_directory_and_the_one_above_leaves_it_out_and_says_so() {
    let Some(bed) = bed::shared() else { return };
    let (parent, child) = above_and_below(bed, "below");
    let below = child.start();
    below.reports("it is open", SOON, |r| r.flowing);
    let mut of_parent = vec![parent.put(b"a.log", b"above\n")];
    parent.put(b"child/b.log", b"below\n");
    parent.put(b"child/grandchild/c.log", b"further below\n");
    let above = parent.start();
    let report = above.reports("it ships its own", SOON, |r| r.totals.files == 1 && r.set_aside.len() == 1);
    let aside = &report.set_aside[0];
    assert_eq!((aside.file.as_str(), aside.reason.as_str()), ("child", "DirectoryInUse"));
    below.drained(2, SOON);
    assert_eq!(child.lines().len(), 2);
    // When it is free the one above has it, and ships what is left.
    below.kill();
    of_parent.push(parent.put(b"child/d.log", b"left\n"));
    above.drained(2, SOON);
    assert_eq!(above.report().set_aside.len(), 0);
    exactly(&parent, &of_parent);
}

#[test]
fn the_pipeline_above_has_all_directories_and_the_one_below_waits_and_says_so() {
    let Some(bed) = bed::shared() else { return };
    let (parent, child) = above_and_below(bed, "above");
    let above = parent.start();
    let written = [parent.put(b"child/a.log", b"one\n"), parent.put(b"child/grandchild/b.log", b"two\n")];
    above.drained(2, SOON);
    let below = child.start();
    let report = below.reports("it waits", SOON, |r| r.reason == FlowReason::AnotherAgentRunning);
    assert!(report.message.contains("/child locked"), "{}", report.message);
    above.kill();
    parent.put(b"child/c.log", b"three\n");
    below.drained(1, SOON);
    assert_eq!(child.lines(), ["three"]);
    exactly(&parent, &written);
}

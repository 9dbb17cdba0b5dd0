//! What a pipeline may ask for beside its defaults: how files are completed, which key, partition and headers records have.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::Duration;

use rdkafka::message::{Headers, Message};
use spoolway::agent::channel::partitioner::of_key;

use super::bed;
use super::check::exactly;
use super::job::{Job, Plan};

const SOON: Duration = Duration::from_secs(60);
const QUICK: &str = "settleTime: 300ms, pollDelay: 50ms";

#[test]
fn delete_removes_what_is_committed_and_nothing_else() {
    let Some(bed) = bed::shared() else { return };
    let source = format!("{QUICK}, completion: Delete");
    let job = Job::new(bed, "deletes", &Plan { source: &source, ..Plan::default() });
    fs::write(job.path(b"b.log.COMPLETED"), "of another life\n").unwrap();
    let written = [job.put(b"a.log", b"one\ntwo\n"), job.put(b"c.log", b"three\n")];
    let agent = job.start();
    agent.drained(2, SOON);
    assert_eq!(job.shown(), ["b.log.COMPLETED"]);
    exactly(&job, &written);
}

#[test]
fn track_writes_nothing_ships_nothing_twice_and_lets_another_pipeline_read_along() {
    let Some(bed) = bed::shared() else { return };
    let source = format!("{QUICK}, completion: Track");
    let plan = Plan { source: &source, ..Plan::default() };
    let (job, along) = (Job::new(bed, "tracks", &plan), Job::new(bed, "tracksalong", &plan));
    let manifest = fs::read_to_string(&along.manifest).unwrap();
    fs::write(&along.manifest, manifest.replace(along.spool.to_str().unwrap(), job.spool.to_str().unwrap()))
        .unwrap();
    let written = [job.put(b"a.log", b"one\ntwo\n"), job.put(b"b.log", b"three\n")];
    let (agent, other) = (job.start(), along.start());
    agent.drained(2, SOON);
    other.drained(2, SOON);
    assert_eq!(job.shown(), ["a.log", "b.log"]);
    exactly(&job, &written);
    exactly(&along, &written);
    // A successor finds in progress what is done, and ships only what is new.
    agent.kill();
    let agent = job.start();
    OpenOptions::new().append(true).open(job.path(b"a.log")).unwrap().write_all(b"four\n").unwrap();
    agent.drained(1, SOON);
    agent.reports("the file that grew is shipped", SOON, |r| r.totals.records == 1);
    assert_eq!(job.lines(), ["one", "two", "three", "four"]);
    assert_eq!(job.once().code, Some(0), "nothing is left to do");
    assert_eq!(job.lines().len(), 4);
}

#[test]
fn one_that_renames_does_not_share_its_directory_with_one_that_tracks() {
    let Some(bed) = bed::shared() else { return };
    let source = format!("{QUICK}, completion: Track");
    let job = Job::new(bed, "trackslocked", &Plan { source: &source, ..Plan::default() });
    let renames = Job::new(bed, "renameslocked", &Plan::default());
    let manifest = fs::read_to_string(&renames.manifest).unwrap();
    fs::write(&renames.manifest, manifest.replace(renames.spool.to_str().unwrap(), job.spool.to_str().unwrap()))
        .unwrap();
    let agent = job.start();
    agent.reports("it runs", SOON, |r| r.flowing);
    let other = renames.start();
    other.reports("it waits", SOON, |r| r.reason == spoolway::pipeline::report::FlowReason::AnotherAgentRunning);
}

/// Partition, key, headers and value of every committed record.
struct Sent {
    partition: i32,
    key: Option<String>,
    headers: Vec<(String, String)>,
    value: String,
}

fn sent(job: &Job, partitions: i32, count: u64) -> Vec<Sent> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found = vec![];
    let consumer = job.consume(partitions, count, SOON, |message| {
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        found.push(Sent {
            partition: message.partition(),
            key: message.key().map(text),
            headers: headers.map(|h| (h.key.to_owned(), text(h.value.unwrap()))).collect(),
            value: text(message.payload().unwrap()),
        });
    });
    assert!(!matches!(consumer.poll(Duration::from_millis(500)), Some(Ok(_))), "more than {count} records");
    found
}

#[test]
fn records_carry_the_key_and_headers_that_were_asked_for_and_go_where_java_would_send_them() {
    let Some(bed) = bed::shared() else { return };
    let headers = "{file: path, baseName: name, host: node, position: at, static: {team: web}}";
    let source = format!("{QUICK}, headers: {headers}");
    let sink = ", partitioner: Key, key: {baseName: {}}";
    let job = Job::new(bed, "labels", &Plan { partitions: 5, source: &source, sink, ..Plan::default() });
    let names = ["a.log", "b.log", "c.log", "d.log"];
    let written = names.map(|name| job.put(name.as_bytes(), format!("first of {name}\nsecond\n").as_bytes()));
    let agent = job.start();
    agent.drained(4, SOON);
    let records = sent(&job, 5, 8);
    for record in &records {
        let key = record.key.as_deref().unwrap();
        assert_eq!(record.partition, of_key(key.as_bytes(), 5));
        let is_first = record.value != "second";
        let at = if is_first { 0 } else { format!("first of {key}\n").len() };
        let path = job.spool.join(key).display().to_string();
        let wanted = [("path", &*path), ("name", key), ("node", "a1"), ("team", "web"), ("at", &at.to_string())];
        assert_eq!(record.headers, wanted.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(!is_first || record.value == format!("first of {key}"));
    }
    exactly(&job, &written);
}

#[test]
fn round_robin_deals_the_lines_of_a_file_in_turn() {
    let Some(bed) = bed::shared() else { return };
    let sink = ", partitioner: RoundRobin, key: {constant: k}";
    let job = Job::new(bed, "roundrobin", &Plan { partitions: 3, sink, ..Plan::default() });
    let content: String = (0..9_000).map(|n| format!("{n}\n")).collect();
    job.put(b"a.log", content.as_bytes());
    let agent = job.start();
    agent.drained(1, SOON);
    let records = sent(&job, 3, 9_000);
    let first = records.iter().find(|r| r.value == "0").unwrap().partition;
    for record in &records {
        let number: i32 = record.value.parse().unwrap();
        assert_eq!(record.partition, (first + number) % 3, "line {number}");
        assert_eq!(record.key.as_deref(), Some("k"));
    }
}

#[test]
fn sub_directories_are_read_too_and_one_that_another_agent_has_waits_alone() {
    let Some(bed) = bed::shared() else { return };
    let source = format!("{QUICK}, recursive: true, headers: {{file: path}}");
    let job = Job::new(bed, "recursive", &Plan { source: &source, ..Plan::default() });
    for path in ["a/b/c", "taken", ".hidden", "half.tmp"] {
        fs::create_dir_all(job.spool.join(path)).unwrap();
    }
    std::os::unix::fs::symlink("/etc", job.spool.join("link")).unwrap();
    fs::write(job.path(b".hidden/x.log"), "hidden\n").unwrap();
    fs::write(job.path(b"half.tmp/x.log"), "ignored\n").unwrap();
    let lock = fs::File::open(job.spool.join("taken")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut written = ["x.log", "a/x.log", "a/b/c/x.log", "taken/x.log"]
        .map(|name| job.put(name.as_bytes(), format!("line of {name}\n").as_bytes()))
        .to_vec();
    let agent = job.start();
    let report = agent.reports("three are shipped", SOON, |r| r.totals.files == 3);
    let aside: Vec<_> = report.set_aside.iter().map(|a| (a.file.as_str(), a.reason.as_str())).collect();
    assert_eq!(aside, [("link", "NotARegularFile"), ("taken", "DirectoryInUse")]);
    assert!(job.spool.join("a/b/c/x.log.COMPLETED").exists() && job.spool.join("taken/x.log").exists());
    // Made later, and let go of: both are found without a restart.
    drop(lock);
    fs::create_dir(job.spool.join("late")).unwrap();
    written.push(job.put(b"late/x.log", b"late\n"));
    agent.reports("all are shipped", SOON, |r| r.totals.files == 5);
    let found = sent(&job, 1, 5);
    let mut paths: Vec<_> = found.iter().map(|record| record.headers[0].1.clone()).collect();
    paths.sort();
    let expected = ["a/b/c/x.log", "a/x.log", "late/x.log", "taken/x.log", "x.log"];
    assert_eq!(paths, expected.map(|name| job.spool.join(name).display().to_string()));
    exactly(&job, &written);
    agent.kill();
    job.once();
    assert_eq!(sent(&job, 1, 5).len(), 5, "a successor ships nothing again");
}

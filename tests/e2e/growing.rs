//! Files that change while they are shipped.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant, SystemTime};

use super::agent::Agent;
use super::check::{Content, Written, exactly};
use super::corpus;
use super::job::{Job, Plan};
use super::{bed, skipped, until};

const SOON: Duration = Duration::from_secs(60);

/// As a writer that appends; as long as it has the file open, that is not complete, however slow the machine is.
pub fn open(job: &Job, name: &[u8]) -> File {
    OpenOptions::new().append(true).create(true).open(job.path(name)).unwrap()
}

pub fn append(job: &Job, name: &[u8], text: &str) {
    open(job, name).write_all(text.as_bytes()).unwrap();
}

pub fn shipped(agent: &Agent, records: u64) {
    agent.reports("all whole lines are shipped", SOON, |r| r.totals.records == records);
}

#[test]
fn a_line_without_its_end_waits_until_the_file_has_settled() {
    let Some(bed) = bed::shared() else { return };
    let plan = Plan { source: "settleTime: 15s, pollDelay: 50ms", ..Plan::default() };
    let job = Job::new(bed, "partial", &plan);
    let agent = job.start();
    append(&job, b"a.log", "one\ntw");
    shipped(&agent, 1);
    let begun = Instant::now();
    append(&job, b"a.log", "o\nthr");
    shipped(&agent, 2);
    assert_eq!(job.shown(), ["a.log"]);
    append(&job, b"a.log", "ee");
    agent.drained(1, SOON);
    assert!(begun.elapsed() >= Duration::from_secs(15), "before it settled");
    assert_eq!(job.shown(), ["a.log.COMPLETED"]);
    exactly(&job, &[Written::of(b"a.log", "one\ntwo\nthree")]);
}

#[test]
fn a_file_that_grows_all_the_time_is_shipped_as_it_grows_and_renamed_at_its_end() {
    let Some(bed) = bed::shared() else { return };
    // Longer than a busy machine can hold up the writer below: a file that is closed and settled would be complete.
    let source = "settleTime: 5s, pollDelay: 50ms";
    let job = Job::new(bed, "grows", &Plan { source, delivery: "commitInterval: 100ms", ..Plan::default() });
    let agent = job.start();
    let content = corpus::lines(3, 0, 30_000);
    for (n, part) in content.chunks(content.len() / 50).enumerate() {
        append(&job, b"a.log", std::str::from_utf8(part).unwrap());
        if n % 5 == 4 {
            let lines = 600 * n as u64; // chunks are near enough 600 lines each
            agent.reports("it keeps up", SOON, |r| r.totals.records >= lines);
            assert_eq!(job.shown(), ["a.log"]);
        }
    }
    agent.drained(1, SOON);
    let seen = exactly(&job, &[Written::of(b"a.log", content)]);
    assert!(seen.segments >= 10, "{seen:?}");
}

#[test]
fn a_file_that_a_writer_has_open_is_not_renamed_before_it_is_closed() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "writer", &Plan::default());
    if !leases_work(&job) {
        return skipped("the file system of the temporary directory grants no leases");
    }
    let agent = job.start();
    let mut writer = File::create(job.path(b"a.log")).unwrap();
    writer.write_all(b"one\ntw").unwrap();
    shipped(&agent, 1);
    // Ten times the settle time: if it could be renamed, or its half line sent, it would be.
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(3) {
        assert_eq!(job.shown(), ["a.log"]);
        assert_eq!(agent.report().totals.records, 1);
        std::thread::sleep(Duration::from_millis(50));
    }
    exactly(&job, &[Written::of(b"a.log", "one\n").unfinished()]);
    writer.write_all(b"o\n").unwrap();
    drop(writer);
    agent.drained(1, SOON);
    exactly(&job, &[Written::of(b"a.log", "one\ntwo\n")]);
}

/// True where the kernel tells whether a writer has a file open.
pub fn leases_work(job: &Job) -> bool {
    let path = job.home().join("lease");
    fs::write(&path, "x").unwrap();
    let file = File::open(path).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    // SAFETY: F_SETLEASE takes an int and touches no memory of ours.
    unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) == 0 }
}

#[test]
fn copytruncate_ships_the_new_content_as_a_new_generation() {
    let Some(bed) = bed::shared() else { return };
    let plan = Plan { source: "settleTime: 2s, pollDelay: 50ms", ..Plan::default() };
    let job = Job::new(bed, "truncate", &plan);
    let agent = job.start();
    append(&job, b"a.log", "one\ntwo\nthree\n");
    let writer = open(&job, b"a.log");
    shipped(&agent, 3);
    // Shorter than what was shipped, then the same length with other bytes.
    fs::write(job.path(b"a.log"), "four\n").unwrap();
    shipped(&agent, 4);
    drop(writer);
    let told = "BegunAnew: a.log is no longer what was shipped of it";
    until("it is told", SOON, || agent.log().iter().any(|(_, said)| said.starts_with(told)).then_some(()));
    assert_eq!(agent.drained(1, SOON).totals.begun_anew, 1);
    assert_eq!(job.shown(), ["a.log.COMPLETED"]);
    exactly(
        &job,
        &[Written::of(b"a.log", "one\ntwo\nthree\n").unfinished(), Written::of(b"a.log", "four\n").generation(2)],
    );
}

#[test]
fn a_file_truncated_while_the_agent_is_away_starts_again_even_when_it_is_longer() {
    let Some(bed) = bed::shared() else { return };
    let plan = Plan { source: "settleTime: 2s, pollDelay: 50ms", ..Plan::default() };
    let job = Job::new(bed, "away", &plan);
    let mut writers: Vec<File> = vec![];
    let old = corpus::lines(1, 0, 100);
    // The same first kilobyte, and other bytes before the position.
    let longer = [&old[..2000], &corpus::lines(2, 0, 300)].concat();
    let news: [&[u8]; 3] = [b"short\n", &corpus::lines(2, 0, 200), &longer];
    for n in 0..news.len() {
        let mut writer = File::create(job.path(format!("{n}.log").as_bytes())).unwrap();
        writer.write_all(&old).unwrap();
        writers.push(writer);
    }
    let agent = job.start();
    shipped(&agent, 300);
    agent.kill();
    for (mut writer, new) in writers.into_iter().zip(news) {
        writer.set_len(0).unwrap();
        writer.rewind().unwrap();
        writer.write_all(new).unwrap();
    }
    job.start().drained(3, SOON);
    let written: Vec<_> = (0..news.len())
        .flat_map(|n| {
            let name = format!("{n}.log").into_bytes();
            [Written::of(&name, &old).unfinished(), Written::of(&name, news[n]).generation(2)]
        })
        .collect();
    exactly(&job, &written);
}

#[test]
fn a_file_renamed_while_it_is_half_read_keeps_its_place() {
    let Some(bed) = bed::shared() else { return };
    let plan = Plan { delivery: "commitInterval: 100ms, maxTransactionBytes: 1Mi", ..Plan::default() };
    let job = Job::new(bed, "renamed", &plan);
    let corpus = &corpus::files()[0];
    let agent = job.start();
    job.link(corpus);
    for (from, to) in [("access-00.log", "b.log"), ("b.log", "c.log"), ("c.log", "d.log")] {
        let before = agent.shipping().totals.bytes;
        fs::rename(job.path(from.as_bytes()), job.path(to.as_bytes())).unwrap();
        agent.reports("it goes on", SOON, |r| r.totals.bytes > before);
    }
    agent.drained(1, Duration::from_secs(120));
    assert_eq!(job.shown(), ["d.log.COMPLETED"]);
    exactly(&job, &[Written::new(b"d.log", Content::File(corpus.clone()))]);
}

#[test]
fn what_a_descriptor_writes_behind_the_rename_ships_where_no_lease_could_tell() {
    let Some(bed) = bed::shared() else { return };
    if !rustix::process::geteuid().is_root() {
        return skipped("root is needed to give a file to somebody else");
    }
    let job = Job::new(bed, "behind", &Plan::default());
    fs::set_permissions(&job.spool, fs::Permissions::from_mode(0o777)).unwrap();
    let start = || super::bad_input::as_somebody(&job);
    let Some(agent) = start() else { return };
    // It is root's, so nobody else is granted a lease on it.
    let mut writer = File::create(job.path(b"a.log")).unwrap();
    writer.write_all(b"one\n").unwrap();
    until("it is renamed under its writer", SOON, || (job.shown() == ["a.log.COMPLETED"]).then_some(()));
    writer.write_all(b"two\nthr").unwrap();
    // Within a full listing, which comes every 30 s.
    let report = agent.reports("it is told", 2 * SOON, |r| r.totals.grew_after_completion == 1);
    assert_eq!(report.totals.files, 1);
    shipped(&agent, 3);
    let warned = |(level, said): &(String, String)| {
        level == "WARN"
            && said.starts_with("GrewAfterCompletion: a.log.COMPLETED was written to after it was completed")
    };
    until("it is logged", SOON, || agent.log().iter().any(warned).then_some(()));
    agent.kill();
    // While nobody looks; the next agent knows the file by its inode.
    writer.write_all(b"ee\n").unwrap();
    drop(writer);
    let Some(agent) = start() else { return };
    agent.reports("it is told again", 2 * SOON, |r| r.totals.grew_after_completion == 1 && r.totals.records == 1);
    assert_eq!(job.shown(), ["a.log.COMPLETED"]);
    assert_eq!(job.lines(), ["one", "two", "thr", "ee"]);
}

#[test]
fn a_completed_file_that_grows_all_the_same_is_not_forgotten() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "back", &Plan::default());
    let agent = job.start();
    append(&job, b"a.log", "one\n");
    agent.drained(1, SOON);
    // Somebody takes it back and writes more: what is new of it ships, nothing twice.
    let back = job.home().join("back");
    fs::rename(job.path(b"a.log.COMPLETED"), &back).unwrap();
    OpenOptions::new().append(true).open(&back).unwrap().write_all(b"two\n").unwrap();
    fs::rename(back, job.path(b"a.log")).unwrap();
    shipped(&agent, 2);
    until("it is completed again", SOON, || (job.shown() == ["a.log.COMPLETED"]).then_some(()));
    let mut values = vec![];
    bed.read(&job.topic, bed::Reader::Fast, |record| values.push(record.value.to_vec()));
    assert_eq!(values, [b"one", b"two"]);
}

#[test]
fn times_that_jump_while_a_file_is_read_complete_it_neither_early_nor_never() {
    let Some(bed) = bed::shared() else { return };
    let plan = Plan { source: "settleTime: 1s, pollDelay: 50ms", ..Plan::default() };
    let job = Job::new(bed, "jumps", &plan);
    if !leases_work(&job) {
        return skipped("the file system of the temporary directory grants no leases");
    }
    let mut agent = job.start();
    // As long as it is open for writing it is not complete, however long this takes.
    let mut writer = File::create(job.path(b"a.log")).unwrap();
    let (now, decade) = (SystemTime::now(), Duration::from_secs(3600 * 24 * 3650));
    let (mut written, mut lines) = (String::new(), 0);
    for time in [now + decade, now - decade, now + decade * 5, SystemTime::UNIX_EPOCH, now] {
        let line = format!("written at {time:?}\n");
        writer.write_all(line.as_bytes()).unwrap();
        writer.set_modified(time).unwrap();
        written += &line;
        lines += 1;
        shipped(&agent, lines);
        assert_eq!(job.shown(), ["a.log"]);
        if lines == 3 {
            agent.kill();
            (agent, lines) = (job.start(), 0);
        }
    }
    drop(writer);
    agent.drained(1, SOON);
    assert_eq!(job.shown(), ["a.log.COMPLETED"]);
    exactly(&job, &[Written::of(b"a.log", written)]);
}

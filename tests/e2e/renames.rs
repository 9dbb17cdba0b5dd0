//! Files that are renamed, moved or removed by others while they are shipped: identity and position follow the inode, not the name.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::Signal;

use spoolway::agent::channel::evidence::EvidenceKind;
use spoolway::agent::channel::progress::Left;

use super::check::{Content, Written, exactly};
use super::corpus;
use super::growing::{append, open, shipped};
use super::job::{Job, Plan};
use super::verify::evidence;
use super::{bed, until};

const SOON: Duration = Duration::from_secs(60);
/// Settled long before the end of a large file is reached.
const SETTLED: &str = "settleTime: 100ms, pollDelay: 50ms";
/// Bytes a second, so that a large file takes more seconds than reports need to tell of it.
const RATE: u32 = 1 << 20;
const SMALL: &str = "commitInterval: 100ms, maxTransactionBytes: 256Ki";

fn rename(job: &Job, from: &str, to: &str) {
    fs::rename(job.path(from.as_bytes()), job.path(to.as_bytes())).unwrap();
}

fn swap(job: &Job, one: &str, other: &str) {
    let path = |name: &str| job.path(name.as_bytes());
    renameat_with(CWD, path(one), CWD, path(other), RenameFlags::EXCHANGE).unwrap();
}

/// Where the files were that receipts speak of, by name.
fn left(job: &Job) -> BTreeMap<String, Option<Left>> {
    let receipts = evidence(job).into_iter().filter(|(_, evidence)| evidence.kind == EvidenceKind::Receipt);
    receipts.map(|(_, receipt)| (receipt.name.to_string(), receipt.left)).collect()
}

/// 20 MB of a log.
fn large(seed: u64) -> Vec<u8> {
    corpus::lines(seed, 0, 110_000)
}

#[test]
fn three_renames_between_two_looks_cost_a_half_read_file_nothing_whether_an_agent_is_there_or_not() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 300ms, pollDelay: 1s";
    let job = Job::new(bed, "threerenames", &Plan { source, delivery: SMALL, ..Plan::default() }).slowly(RATE);
    let content = large(1);
    job.put(b"0.log", &content);
    let agent = job.start();
    agent.shipping();
    ["0", "1", "2"].windows(2).for_each(|n| rename(&job, &format!("{}.log", n[0]), &format!("{}.log", n[1])));
    rename(&job, "2.log", "3.log");
    let before = agent.report().totals.bytes;
    agent.reports("it goes on", SOON, |r| r.totals.bytes > before || r.backlog.bytes == 0);
    agent.kill();
    ["3", "4", "5"].windows(2).for_each(|n| rename(&job, &format!("{}.log", n[0]), &format!("{}.log", n[1])));
    let agent = job.start();
    agent.reports("it is complete", SOON, |_| job.completed() == 1);
    assert_eq!(job.shown(), ["5.log.COMPLETED"]);
    exactly(&job, &[Written::of(b"5.log", content)]);
}

#[test]
fn a_half_read_file_that_leaves_the_directory_is_read_to_its_end_and_completed_when_it_is_back() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "movedout", &Plan { source: SETTLED, delivery: SMALL, ..Plan::default() }).slowly(RATE);
    let content = large(2);
    job.put(b"a.log", &content);
    let agent = job.start();
    agent.shipping();
    let outside = job.home().join("outside");
    fs::rename(job.path(b"a.log"), &outside).unwrap();
    shipped(&agent, 110_000);
    // Through the descriptor, to a receipt under the name that it had.
    exactly(&job, &[Written::of(b"a.log", &content)]);
    assert_eq!(left(&job), BTreeMap::from([("a.log".into(), Some(Left::MovedAway))]));
    fs::rename(&outside, job.path(b"b.log")).unwrap();
    agent.drained(1, SOON);
    assert_eq!(job.shown(), ["b.log.COMPLETED"]);
    exactly(&job, &[Written::of(b"a.log", &content)]);
}

#[test]
fn a_file_removed_while_it_is_half_read_is_read_to_its_end() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "removed", &Plan { source: SETTLED, delivery: SMALL, ..Plan::default() }).slowly(RATE);
    let content = large(3);
    job.put(b"a.log", &content);
    let agent = job.start();
    agent.shipping();
    fs::remove_file(job.path(b"a.log")).unwrap();
    shipped(&agent, 110_000);
    let next = job.put(b"b.log", b"one\n");
    assert_eq!(agent.drained(1, SOON).totals.bytes_lost_unread, 0);
    assert_eq!(left(&job), BTreeMap::from([("a.log".into(), Some(Left::Deleted)), ("b.log".into(), None)]));
    exactly(&job, &[Written::of(b"a.log", &content), next]);
}

#[test]
fn a_half_read_file_renamed_over_one_that_waits_goes_on_and_the_other_is_nobodys() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 300ms, pollDelay: 50ms, maxOpenFiles: 1";
    let job = Job::new(bed, "renamedover", &Plan { source, delivery: SMALL, ..Plan::default() }).slowly(RATE);
    let content = large(4);
    job.put(b"a.log", &content);
    let agent = job.start();
    agent.shipping();
    job.put(b"waits.log", b"never read\n");
    agent.reports("it is seen", SOON, |r| r.backlog.files == 2);
    rename(&job, "a.log", "waits.log");
    agent.drained(1, SOON);
    agent.reports("what nobody read is counted", SOON, |r| r.totals.bytes_lost_unread == 11);
    let warned = "LostUnread: 11 bytes were cut off, or gone with their file, before they were read, the last of them of waits.log";
    assert!(agent.log().iter().any(|(level, said)| level == "WARN" && said.starts_with(warned)), "{}", agent.err());
    assert_eq!(job.shown(), ["waits.log.COMPLETED"]);
    exactly(&job, &[Written::of(b"waits.log", content)]);
}

#[test]
fn two_names_swapped_while_their_files_settle_complete_each_its_own_file() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 2s, pollDelay: 50ms";
    let job = Job::new(bed, "swapped", &Plan { source, ..Plan::default() });
    let agent = job.start();
    job.put(b"a.log", b"of a\n");
    job.put(b"b.log", b"of b\n");
    let writers = [open(&job, b"a.log"), open(&job, b"b.log")];
    shipped(&agent, 2);
    swap(&job, "a.log", "b.log");
    drop(writers);
    agent.drained(2, SOON);
    assert_eq!(fs::read(job.path(b"a.log.COMPLETED")).unwrap(), b"of b\n");
    // A receipt is for whoever looks for the file by the name that it has now.
    exactly(&job, &[Written::of(b"a.log", "of b\n"), Written::of(b"b.log", "of a\n")]);
}

#[test]
fn two_names_swapped_again_and_again_while_their_files_grow_mix_nothing() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 5s, pollDelay: 50ms";
    let job = Job::new(bed, "swaps", &Plan { source, partitions: 2, ..Plan::default() });
    let agent = job.start();
    let (mut odd, mut even) = (String::new(), String::new());
    for n in 0..200 {
        let (text, name) = if n % 2 == 0 { (&mut even, "a.log") } else { (&mut odd, "b.log") };
        let line = format!("line {n} of one file\n");
        append(&job, name.as_bytes(), &line);
        *text += &line;
        if n % 10 == 9 {
            swap(&job, "a.log", "b.log");
            std::mem::swap(&mut odd, &mut even);
        }
    }
    agent.drained(2, SOON);
    exactly(&job, &[Written::of(b"a.log", even), Written::of(b"b.log", odd)]);
}

#[test]
fn names_changed_while_the_agent_sleeps_between_reading_and_renaming_complete_the_right_files() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 1s, pollDelay: 50ms";
    let job = Job::new(bed, "asleep", &Plan { source, ..Plan::default() });
    let agent = job.start();
    job.put(b"a.log", b"of a\n");
    let writer = open(&job, b"a.log");
    shipped(&agent, 1);
    agent.signal(Signal::STOP);
    drop(writer);
    rename(&job, "a.log", "b.log");
    let other = job.put(b"a.log", b"another\n");
    agent.signal(Signal::CONT);
    until("both are complete", SOON, || (job.completed() == 2).then_some(()));
    assert_eq!(fs::read(job.path(b"b.log.COMPLETED")).unwrap(), b"of a\n");
    let moved = Written::new(b"b.log", Content::Bytes(b"of a\n".to_vec()));
    exactly(&job, &[moved, other]);
}

#[test]
fn a_file_written_under_an_ignored_name_is_read_when_it_has_its_own() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "tmpname", &Plan::default());
    let agent = job.start();
    fs::write(job.path(b"x.csv.tmp"), "one\n").unwrap();
    let first = job.put(b"first.log", b"to wait for\n");
    agent.drained(1, SOON);
    append(&job, b"x.csv.tmp", "two\n");
    rename(&job, "x.csv.tmp", "x.csv");
    agent.drained(2, SOON);
    exactly(&job, &[first, Written::of(b"x.csv", "one\ntwo\n")]);
}

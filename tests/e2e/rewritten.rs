//! Names, inodes and contents that are used again: whatever is new ships from its first byte, and nothing ships as something else.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use super::agent::Agent;
use super::check::{Written, exactly, receipts};
use super::corpus;
use super::growing::{open, shipped};
use super::job::{Job, Plan};
use super::{bed, skipped};

const SOON: Duration = Duration::from_secs(60);
/// Time enough between the last line and the end of a file.
const SLOW: &str = "settleTime: 2s, pollDelay: 50ms";

/// Other bytes in place, and the file's time as it was.
fn rewrite(job: &Job, name: &[u8], content: &str) {
    let mut file = OpenOptions::new().write(true).open(job.path(name)).unwrap();
    let before = file.metadata().unwrap();
    assert_eq!(before.len(), content.len() as u64);
    file.write_all(content.as_bytes()).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
}

#[test]
fn a_file_rewritten_in_place_with_its_size_and_time_is_a_new_generation_before_its_end_is_committed() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "rewritten", &Plan { source: SLOW, ..Plan::default() });
    let agent = job.start();
    job.put(b"a.log", b"one\ntwo\n");
    let writer = open(&job, b"a.log");
    shipped(&agent, 2);
    rewrite(&job, b"a.log", "six\nten\n");
    drop(writer);
    agent.drained(1, SOON);
    let old = Written::of(b"a.log", "one\ntwo\n").unfinished();
    exactly(&job, &[old, Written::of(b"a.log", "six\nten\n").generation(2)]);
}

#[test]
fn a_file_rewritten_in_place_after_its_end_is_committed_is_set_aside_and_its_neighbours_ship() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 300ms, pollDelay: 50ms, completion: Track";
    let job = Job::new(bed, "rewrittenlate", &Plan { source, ..Plan::default() });
    let agent = job.start();
    let mut written = vec![job.put(b"a.log", b"one\ntwo\n")];
    agent.drained(1, SOON);
    rewrite(&job, b"a.log", "six\nten\n");
    let report = agent.reports("it is set aside", SOON, |r| r.totals.set_aside == 1);
    assert_eq!((report.set_aside[0].file.as_str(), report.set_aside[0].reason.as_str()), ("a.log", "Rewritten"));
    written.push(job.put(b"b.log", b"three\n"));
    agent.drained(2, SOON);
    exactly(&job, &written);
}

#[test]
fn a_name_that_is_used_again_ships_whatever_it_holds_this_time_and_nothing_is_overwritten() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "again", &Plan::default());
    let agent = job.start();
    // New, other content, and the first content restored from a backup.
    for (n, content) in ["one\n", "two\n", "one\n"].into_iter().enumerate() {
        job.put(b"x.csv", content.as_bytes());
        agent.drained(n as u64 + 1, SOON);
    }
    assert_eq!(job.lines(), ["one", "two", "one"]);
    assert_eq!(receipts(&job), vec![b"x.csv".to_vec(); 3]);
    assert_eq!(job.shown(), ["x.csv.2.COMPLETED", "x.csv.3.COMPLETED", "x.csv.COMPLETED"]);
    let content = |name: &str| fs::read_to_string(job.path(name.as_bytes())).unwrap();
    assert_eq!(
        ["x.csv.COMPLETED", "x.csv.2.COMPLETED", "x.csv.3.COMPLETED"].map(content),
        ["one\n", "two\n", "one\n"]
    );
}

/// Removes these files, and makes one that got the inode of one of them: which, and of whom; `None` where none is to be had.
fn in_the_place_of_one(job: &Job, files: &[PathBuf]) -> Option<(PathBuf, usize)> {
    let (mut others, mut found) = (vec![], None);
    for (n, file) in files.iter().enumerate() {
        let inode = fs::metadata(file).unwrap().ino();
        fs::remove_file(file).unwrap();
        let mut one_more = |_| {
            // In the directory where the files were made: inodes are given out by directory.
            let other = job.home().join(format!("other-{}", others.len()));
            if File::create(&other).unwrap().metadata().unwrap().ino() == inode {
                return Some((other, n));
            }
            others.push(other);
            None
        };
        // Lower ones that are free are given out first, and other tests make files too.
        found = found.or_else(|| (0..200).find_map(&mut one_more));
    }
    others.iter().for_each(|other| fs::remove_file(other).unwrap());
    let (other, n) = found?;
    let kept = job.home().join("kept");
    fs::rename(other, &kept).unwrap();
    Some((kept, n))
}

#[test]
fn an_inode_that_is_used_again_under_the_same_first_bytes_ships_from_the_first_byte() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 600s, pollDelay: 50ms"; // none is complete before the agent is killed
    let job = Job::new(bed, "inode", &Plan { source, ..Plan::default() });
    // Many, for others make files too: now and then one of them gets the inode.
    let heads: Vec<_> = (0..50).map(|n| corpus::lines(1, n, 20)).collect();
    let agent = job.start();
    let mut written = vec![];
    for (n, head) in heads.iter().enumerate() {
        assert!(head.len() > 1024);
        written.push(job.put(format!("{n}.log").as_bytes(), head).unfinished());
    }
    shipped(&agent, 50 * 20);
    agent.kill();
    let path = |n: usize| job.path(format!("{n}.log").as_bytes());
    let paths: Vec<_> = (0..heads.len()).map(path).collect();
    let Some((other, n)) = in_the_place_of_one(&job, &paths) else {
        return skipped("the file system of the temporary directory gives no inode out again");
    };
    let longer = [heads[n].clone(), corpus::lines(2, 0, 20)].concat();
    fs::write(&other, &longer).unwrap();
    fs::rename(other, job.path(b"other.log")).unwrap();
    written.push(Written::of(b"other.log", &longer));
    let text = fs::read_to_string(&job.manifest).unwrap();
    fs::write(&job.manifest, text.replace("settleTime: 600s", "settleTime: 300ms")).unwrap();
    job.start().drained(1, SOON);
    exactly(&job, &written);
}

#[test]
fn a_hundred_files_that_begin_alike_are_a_hundred_files() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "alike", &Plan { partitions: 3, ..Plan::default() });
    let header = format!("{}\n", "column,".repeat(300));
    let written: Vec<_> = (0..100)
        .map(|n| job.put(format!("{n}.csv").as_bytes(), format!("{header}{n},1\n{n},2\n").as_bytes()))
        .collect();
    assert_eq!(job.once().code, Some(0));
    assert_eq!(job.completed(), 100);
    exactly(&job, &written);
}

#[test]
fn a_file_with_two_names_ships_once_and_both_names_are_completed() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "twonames", &Plan::default());
    job.put(b"a.log", b"one\n");
    fs::hard_link(job.path(b"a.log"), job.path(b"b.log")).unwrap();
    let ended = job.once();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(job.shown(), ["a.log.COMPLETED", "b.log.COMPLETED"]);
    assert_eq!((job.lines(), receipts(&job).len()), (vec!["one".to_owned()], 1));
}

/// What a writer does that keeps its place when the file is cut: `before`, the cut, then `behind` where it stood.
fn cut_under_a_writer(job: &Job, agent: &Agent, before: &str, behind: &str) -> Vec<u8> {
    let mut writer = File::create(job.path(b"a.log")).unwrap();
    writer.write_all(before.as_bytes()).unwrap();
    shipped(agent, before.matches('\n').count() as u64);
    writer.set_len(0).unwrap();
    writer.write_all(behind.as_bytes()).unwrap();
    [vec![0; before.len()], behind.as_bytes().to_vec()].concat()
}

#[test]
fn a_writer_that_keeps_its_place_when_its_file_is_cut_leaves_a_hole_that_is_data() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "hole", &Plan { source: SLOW, ..Plan::default() });
    let agent = job.start();
    // The half line goes with the cut: nothing of it stands before what is written behind the hole.
    let holed = cut_under_a_writer(&job, &agent, "one\ntwo\nthr", "ee\nfour\n");
    let copy = job.put(b"a.log.1", b"one\ntwo\nthr");
    agent.drained(2, SOON);
    let old = Written::of(b"a.log", "one\ntwo\n").unfinished();
    exactly(&job, &[old, Written::of(b"a.log", holed).generation(2), copy]);
}

#[test]
fn a_hole_of_gigabytes_is_a_long_line_and_costs_no_memory() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 300ms, pollDelay: 50ms, onLongLine: Skip";
    let job = Job::new(bed, "bighole", &Plan { source, ..Plan::default() });
    let agent = job.start();
    job.put(b"first.log", &corpus::lines(1, 0, 50_000));
    agent.drained(1, SOON);
    let before = agent.peak_memory();
    let new = job.home().join("new");
    let mut file = File::create(&new).unwrap();
    file.write_all(b"before\n").unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(2 << 30)).unwrap();
    file.write_all(b"\nafter\n").unwrap();
    drop(file);
    fs::rename(new, job.path(b"a.log")).unwrap();
    let report = agent.drained(2, SOON);
    assert_eq!((report.totals.records, report.totals.long_lines), (50_002, 1));
    let grown = agent.peak_memory().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB more than before", grown >> 20);
    assert_eq!(job.lines()[50_000..], ["before", "after"]);
}

//! Lines at and over the limit, ours and the topic's.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use super::bed::{self, Reader};
use super::check::{Written, exactly};
use super::corpus;
use super::job::{Job, Plan};
use super::until;

/// Each smaller batch is tried after a longer wait.
const SOON: Duration = Duration::from_secs(180);
const QUICK: &str = "settleTime: 300ms, pollDelay: 50ms";

#[test]
fn exactly_the_longest_line_passes_whole_and_one_byte_more_is_cut_with_either_line_end() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "longest", &Plan::default());
    let line = |letter: &str, length: usize| letter.repeat(length);
    let lines = [line("a", 1_000_000), line("b", 1_000_001), line("c", 1_000_000), line("d", 1_000_001)];
    let content = format!("{}\n{}\n{}\r\n{}\r\nend\n", lines[0], lines[1], lines[2], lines[3]);
    job.put(b"a.log", content.as_bytes());
    let agent = job.start();
    let report = agent.drained(1, SOON);
    assert_eq!(report.totals.long_lines, 2);
    let found: Vec<_> = job.lines().into_iter().map(|line| (line.len(), line[..1].to_owned())).collect();
    let expected =
        [(1_000_000, "a"), (1_000_000, "b"), (1, "b"), (1_000_000, "c"), (1_000_000, "d"), (1, "d"), (3, "e")];
    assert_eq!(found, expected.map(|(length, letter)| (length, letter.to_owned())));
}

#[test]
fn line_ends_and_characters_on_the_border_of_two_chunks_are_not_torn() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 300ms, pollDelay: 50ms, maxLineBytes: 1000";
    let job = Job::new(bed, "borders", &Plan { source, ..Plan::default() });
    let written: Vec<_> = (0..12)
        .map(|shift| {
            let mut content = b"x".repeat(998);
            content.extend_from_slice(b"\r\n");
            let mut content = content.repeat((1 << 20) / 1000);
            content.resize((1 << 20) - 12 + shift, b'y');
            content.extend_from_slice("\r\n\u{1f600}\r\n\u{1f600}\u{1f600}\r\n\n\r\nend".as_bytes());
            job.put(format!("{shift}.log").as_bytes(), &content)
        })
        .collect();
    let agent = job.start();
    let report = agent.drained(12, SOON);
    assert_eq!(report.totals.long_lines, 0);
    exactly(&job, &written);
}

/// `altered.longLines` of the receipt.
fn long_lines(job: &Job) -> Vec<u64> {
    let mut found = vec![];
    job.bed.read(&job.receipts, Reader::Fast, |record| {
        let evidence: serde_json::Value = serde_json::from_slice(record.value).unwrap();
        if evidence["kind"] == "receipt" {
            found.push(evidence["altered"]["longLines"].as_u64().unwrap());
        }
    });
    found
}

#[test]
fn a_kill_inside_a_line_that_is_too_long_is_resumed_inside_it_and_the_line_counts_once() {
    let Some(bed) = bed::shared() else { return };
    const LONG: usize = 64 << 20;
    for (on_long_line, longest, pieces) in [("Skip", 1000, 0), ("Truncate", 1000, 1), ("Split", 1 << 20, 64)] {
        let source = format!("{QUICK}, maxLineBytes: {longest}, onLongLine: {on_long_line}");
        let delivery = "commitInterval: 50ms, maxTransactionBytes: 1Mi";
        let name = format!("inside{}", on_long_line.to_lowercase());
        let job = Job::new(bed, &name, &Plan { source: &source, delivery, sink: "", partitions: 1 });
        job.bed.limit(&job.topic, 2 << 20);
        let new = job.home().join("new");
        let mut file = File::create(&new).unwrap();
        file.write_all(b"before\n").unwrap();
        file.seek(SeekFrom::Start(7 + LONG as u64)).unwrap(); // a hole is as long a line as any
        file.write_all(b"\nafter\n").unwrap();
        drop(file);
        fs::rename(new, job.path(b"a.log")).unwrap();
        let mut inside = 0;
        for _ in 0..3 {
            let agent = job.start();
            let report =
                agent.reports("it is at work, or done", SOON, |r| r.totals.bytes > 7 || job.completed() == 1);
            inside += usize::from(report.backlog.bytes > 7);
            agent.kill();
        }
        assert!(inside > 0, "{on_long_line}: no kill was inside the line");
        let agent = job.start();
        until("it is complete", SOON, || (job.completed() == 1).then_some(()));
        agent.kill();
        let lines = job.lines();
        assert_eq!(
            (&*lines[0], &**lines.last().unwrap(), lines.len()),
            ("before", "after", pieces + 2),
            "{on_long_line}"
        );
        assert!(lines[1..=pieces].iter().all(|piece| piece.len() == longest), "{on_long_line}");
        assert_eq!(long_lines(&job), [1], "{on_long_line}");
    }
}

#[test]
fn a_record_too_large_for_the_topic_sets_its_file_aside_alone_and_ships_when_the_topic_takes_it() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "toolarge", &Plan { partitions: 2, ..Plan::default() });
    bed.limit(&job.topic, 20_000);
    let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(50_000).collect();
    let mut written = vec![job.put(b"large.log", format!("one\n{noise}\nthree\n").as_bytes())];
    for file in 0..10 {
        written.push(job.put(format!("{file}.log").as_bytes(), &corpus::lines(file, 0, 300)));
    }
    let agent = job.start();
    let report = agent
        .reports("one is aside, the others complete", SOON, |r| r.totals.set_aside == 1 && r.totals.files == 10);
    let aside = &report.set_aside[0];
    assert_eq!((aside.file.as_str(), aside.reason.as_str()), ("large.log", "RecordTooLarge"), "{aside:?}");
    assert!(report.flowing && agent.get("/readyz").0 == 200, "{report:#?}");
    // It does not try again and again.
    let retries = report.totals.retries;
    written.push(job.put(b"later.log", b"later\n"));
    let report = agent.drained_but("large.log", 11);
    assert_eq!(report.totals.retries, retries);
    exactly_but(&job, &written[1..]);
    // The topic takes it, and somebody touches the configuration so that it is tried at once.
    bed.limit(&job.topic, 100_000);
    let more = Plan { source: "settleTime: 400ms, pollDelay: 50ms", partitions: 2, ..Plan::default() };
    fs::write(&job.manifest, job.text(&more, "")).unwrap();
    until("all are complete", SOON, || (job.completed() == 12).then_some(()));
    exactly(&job, &written);
}

impl super::agent::Agent {
    /// Waits until all but one file are complete.
    fn drained_but(&self, name: &str, files: u64) -> spoolway::pipeline::report::Report {
        self.reports("the others are complete", SOON, |r| {
            r.totals.files == files && r.set_aside.iter().any(|aside| aside.file == name)
        })
    }
}

/// What is complete so far; the lines of the file that is set aside before the one that is too large may be there.
fn exactly_but(job: &Job, written: &[Written]) {
    let large = Written::of(b"large.log", "one\n").unfinished();
    let begun = super::check::names(job).contains(&b"large.log".to_vec());
    let all: Vec<_> = written.iter().cloned().chain(begun.then_some(large)).collect();
    exactly(job, &all);
}

#[test]
fn small_lines_are_not_refused_for_the_company_they_travel_in() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "company", &Plan::default());
    bed.limit(&job.topic, 20_000);
    // Enough for batches that are too large, and few enough for the small ones to go quickly on a busy machine.
    let written = [job.put(b"a.log", &corpus::lines(1, 0, 2000)), job.put(b"b.log", &corpus::lines(2, 0, 2000))];
    let agent = job.start();
    let report =
        agent.reports("both are complete, or not", SOON, |r| r.totals.files == 2 || r.totals.set_aside > 0);
    assert_eq!(report.totals.set_aside, 0, "{:#?}", report.set_aside);
    exactly(&job, &written);
}

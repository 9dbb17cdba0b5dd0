//! Memory and idle work stay within bounds under any input: the numbers are promises (`docs/exactly-once.md`, "What it costs").

use std::fs::{self, File};
use std::time::Duration;

use super::bed::{self, Reader};
use super::job::{Job, Plan};

const LONG: Duration = Duration::from_secs(240);
const MIB: u64 = 1 << 20;

/// Bytes of the values of the first `count` records.
fn bytes_of(job: &Job, count: u64) -> u64 {
    let mut bytes = 0;
    job.consume(1, count, LONG, |record| bytes += record.payload_len() as u64);
    bytes
}

#[test]
fn a_line_of_a_gigabyte_takes_no_more_memory_than_any_other() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "gigabyteline", &Plan::default());
    job.put(b"before.log", b"before\n");
    // A hole: a gigabyte of NUL bytes without a line's end.
    File::create(job.path(b"hole.log.tmp")).unwrap().set_len(1 << 30).unwrap();
    fs::rename(job.path(b"hole.log.tmp"), job.path(b"hole.log")).unwrap();
    let agent = job.start();
    let report = agent.drained(2, LONG);
    let peak = agent.peak_memory();
    eprintln!("peak: {} MiB", peak / MIB);
    assert!(peak <= 128 * MIB, "{} MiB", peak / MIB);
    // Pieces of maxLineBytes, and what is left.
    let pieces = (1u64 << 30).div_ceil(1_000_000);
    assert_eq!((report.totals.records, report.totals.long_lines), (pieces + 1, 1));
    assert_eq!(bytes_of(&job, pieces + 1), (1 << 30) + 6);
}

#[test]
fn a_gigabyte_of_lines_is_shipped_within_bounds() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "gigabyte", &Plan::default());
    let line = format!("{}\n", "a line of a log, as long as they are ".repeat(5));
    let (files, lines) = (10, 100_000_000 / line.len());
    let content = line.repeat(lines);
    for file in 0..files {
        job.put(format!("{file}.log").as_bytes(), content.as_bytes());
    }
    let agent = job.start();
    let report = agent.drained(files, LONG);
    let peak = agent.peak_memory();
    eprintln!("peak: {} MiB", peak / MIB);
    assert!(peak <= 96 * MIB, "{} MiB", peak / MIB);
    let records = files * lines as u64;
    assert_eq!(report.totals.records, records);
    assert_eq!(bytes_of(&job, records), records * (line.len() as u64 - 1));
}

#[test]
fn what_other_agents_keep_in_the_same_partition_takes_no_memory() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "neighbourly", &Plan::default());
    job.put(b"a.log", b"one\n");
    assert_eq!(job.once().code, Some(0));
    let topic = job.checkpoints();
    let mut partition = None;
    bed.read(&topic, Reader::Fast, |record| partition = Some(record.partition));
    let value = format!("{{\"v\":1,\"of\":\"{}\"}}", "another agent ".repeat(50));
    let others = (0..300_000).map(|n| (format!("spoolway/local/neighbourly/web/a2/{:016x}", n % 1000), &value));
    bed.plant_old(&topic, partition.unwrap(), Duration::ZERO, others);
    job.put(b"b.log", b"two\n");
    let agent = job.start();
    agent.drained(1, LONG);
    let peak = agent.peak_memory();
    eprintln!("peak: {} MiB", peak / MIB);
    assert!(peak <= 96 * MIB, "{} MiB", peak / MIB);
}

#[test]
fn a_hundred_thousand_files_that_stay_are_shipped_within_bounds() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 300ms, completion: Track";
    let job = Job::new(bed, "manyfiles", &Plan { source, ..Plan::default() });
    for n in 0..100_000 {
        fs::write(job.path(format!("request-{n:06}.log").as_bytes()), format!("only line of {n}\n")).unwrap();
    }
    let agent = job.start();
    let report = agent.drained(100_000, LONG);
    let peak = agent.peak_memory();
    eprintln!("peak: {} MiB", peak / MIB);
    assert!(peak <= 160 * MIB, "{} MiB", peak / MIB);
    assert_eq!(report.totals.records, 100_000);
    let mut seen = std::collections::HashSet::new();
    job.bed.read(&job.topic, Reader::Fast, |record| assert!(seen.insert(record.value.to_vec()), "twice"));
    assert_eq!(seen.len(), 100_000);
}

#[test]
fn ten_thousand_completed_files_cost_nothing() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "idle", &Plan { source: "", ..Plan::default() });
    for n in 0..10_000 {
        fs::write(job.path(format!("request-{n:05}.log.COMPLETED").as_bytes()), "done\n").unwrap();
    }
    job.put(b"last.log", b"last\n");
    let agent = job.start();
    agent.drained(1, LONG);
    let (before, span) = (agent.cpu_time(), Duration::from_secs(20));
    std::thread::sleep(span); // the measure, not a wait for something
    let spent = agent.cpu_time() - before;
    assert!(spent <= span / 100, "{spent:?} of CPU in {span:?}");
}

//! Whole jobs with `--once`: the first file, the seed's own job, a gigabyte.

use std::fs;

use super::bed::{self, Reader};
use super::check::{Written, exactly, exactly_by};
use super::corpus;
use super::job::{Job, Plan};

#[test]
fn the_first_file_arrives_once_and_is_renamed() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "first", &Plan::default());
    let written = job.put(b"a.log", b"one\ntwo\nthree\n");
    let ended = job.once();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("shipped 1 files, 3 lines, 14 B in "), "{}", ended.out);
    assert_eq!(job.shown(), ["a.log.COMPLETED"]);
    assert_eq!(exactly_by(&job, Reader::Console, std::slice::from_ref(&written)).records, 3);
    // Nothing is left to do, and nothing is done again.
    assert_eq!(job.once().code, Some(0));
    exactly(&job, &[written]);
}

#[test]
fn an_agent_makes_its_own_topics_where_it_may() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::unprepared(bed, "owntopics", &Plan::default());
    fs::create_dir(&job.spool).unwrap();
    bed.topics(&[(&job.topic, 1, "delete")]);
    let written = job.put(b"a.log", b"one\n");
    let ended = job.once();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("made topic spoolway-owntopics-checkpoints with 50 partitions"), "{}", ended.err);
    assert!(ended.err.contains("made topic spoolway-owntopics-receipts with 6 partitions"), "{}", ended.err);
    exactly(&job, &[written]);
}

#[test]
fn the_seeds_own_job_runs_with_another_path_and_broker_only() {
    let Some(bed) = bed::shared() else { return };
    let mut job = Job::unprepared(bed, "default", &Plan::default());
    fs::create_dir(&job.spool).unwrap();
    let seed = include_str!("../../deploy/samples/seed.yaml");
    let text = seed
        .replace("/home/hadoop/dir/logdfs", job.spool.to_str().unwrap())
        .replace("dn1:9092, dn2:9092, dn3:9092", &format!("'{}'", bed.address));
    let changed = text.lines().filter(|line| !line.starts_with('#') && !seed.contains(line)).count();
    assert_eq!(changed, 2, "{text}");
    fs::write(&job.manifest, text).unwrap();
    job.topic = "test".into();
    bed.topics(&[("test", 3, "delete")]);
    job.own_topics();
    let written: Vec<Written> = (0..5)
        .map(|file| job.put(format!("web-{file}.log").as_bytes(), &corpus::lines(7, file, 4000)))
        .chain([job.put(b"half.tmp", b"Flume's ignorePattern excludes nothing\n")])
        .collect();
    let ended = job.once();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(job.completed(), 6);
    assert_eq!(exactly(&job, &written).records, 20_001);
    let mut partitions = vec![];
    bed.read("test", Reader::Fast, |record| partitions.push(record.partition));
    assert!(partitions.iter().all(|partition| *partition == 0), "partition: 0");
}

fn a_gigabyte(name: &str, partitions: i32) {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, name, &Plan { partitions, ..Plan::default() });
    let written: Vec<Written> = corpus::files().iter().map(|file| job.link(file)).collect();
    let ended = job.once();
    eprint!("{}", ended.out);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(job.completed(), 10, "{:?}", job.shown());
    exactly(&job, &written);
}

#[test]
fn a_gigabyte_of_access_logs_arrives_on_one_partition_once_and_in_order() {
    a_gigabyte("gigabyte1", 1);
}

#[test]
fn a_gigabyte_of_access_logs_arrives_on_six_partitions_once_and_in_order() {
    a_gigabyte("gigabyte6", 6);
}

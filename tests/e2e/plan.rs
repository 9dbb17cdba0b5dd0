//! `spoolway plan`: it tells what an agent then does, names all that is in the way, and disturbs nobody.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::bed;
use super::check::{Written, exactly};
use super::job::{Job, Plan};

const SOON: Duration = Duration::from_secs(60);

/// The files of a plan: name, what becomes of it, from which byte.
fn files(plan: &Value) -> Vec<(String, String, u64)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let files = plan["files"].as_array().unwrap();
    files.iter().map(|f| (text(&f["name"]), text(&f["what"]), f["position"].as_u64().unwrap())).collect()
}

fn messages(plan: &Value) -> Vec<String> {
    plan["inTheWay"].as_array().unwrap().iter().map(|f| f["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_agent_that_ships_does_not_notice_that_somebody_looks() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "planlive", &Plan::default());
    let mut agent = job.start();
    let mut written = vec![job.put(b"first.log", b"one\n")];
    agent.drained(1, SOON);
    let id = "spoolway/local/planlive/web/a1";
    let epoch = bed.epoch(id);
    // A file that somebody writes all the time is never complete, and always half shipped.
    let mut whole = b"the beginning\n".to_vec();
    let mut growing = fs::OpenOptions::new().create(true).append(true).open(job.path(b"growing.log")).unwrap();
    growing.write_all(&whole).unwrap();
    agent.reports("its beginning is shipped", SOON, |r| r.totals.records == 2);
    let looking = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut lines, begun) = (vec![], Instant::now());
            while looking.load(Ordering::Relaxed) && begun.elapsed() < 2 * SOON {
                let more: String = (0..2000).map(|n| format!("line {n} behind byte {}\n", lines.len())).collect();
                growing.write_all(more.as_bytes()).unwrap();
                lines.extend(more.into_bytes());
                std::thread::sleep(Duration::from_millis(20)); // as an application writes
            }
            lines
        });
        let mut seen = vec![];
        for _ in 0..8 {
            let (code, plan) = job.plan(&[]);
            assert_eq!((code, &plan["progressKnown"]), (Some(0), &Value::Bool(true)), "{plan}");
            assert_eq!(plan["transactionalId"], id);
            let (name, what, from) = files(&plan).remove(0);
            assert_eq!((name.as_str(), what.as_str()), ("growing.log", "goesOn"), "{plan}");
            seen.push(from);
        }
        assert!(seen.is_sorted() && seen.first() < seen.last(), "it ships meanwhile: {seen:?}");
        looking.store(false, Ordering::Relaxed);
        whole.extend(writer.join().unwrap());
    });
    drop(growing);
    written.push(Written::of(b"growing.log", &whole));
    let report = agent.drained(2, Duration::from_secs(120));
    assert!(agent.is_running());
    assert_eq!((report.totals.retries, bed.epoch(id)), (0, epoch), "somebody fenced it");
    let bad: Vec<_> = agent.log().into_iter().filter(|(level, _)| level != "INFO").collect();
    assert!(bad.is_empty(), "{bad:?}");
    exactly(&job, &written);
}

#[test]
fn what_is_planned_is_what_is_shipped() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 1h, pollDelay: 50ms, maxOpenFiles: 1, ignorePattern: '^.*\\.(tmp|bak)$'";
    let job = Job::new(bed, "planned", &Plan { source, ..Plan::default() });
    let whole = job.put(b"done.log", b"one\n");
    let quick = fs::read_to_string(&job.manifest).unwrap();
    fs::write(&job.manifest, quick.replace("1h", "300ms")).unwrap();
    assert_eq!(job.once().code, Some(0));
    fs::write(&job.manifest, quick).unwrap();
    // As after a crash between commit and rename.
    fs::rename(job.path(b"done.log.COMPLETED"), job.path(b"done.log")).unwrap();
    job.put(b"half.log", b"one\ntwo\nthr");
    job.put(b"changed.log", b"of old\nmore\n");
    let agent = job.start();
    agent.reports("whole lines are shipped", SOON, |r| r.totals.records == 4);
    agent.kill();
    fs::rename(job.path(b"done.log.COMPLETED"), job.path(b"done.log")).unwrap();
    fs::write(job.path(b"changed.log"), b"NEW CONTENT\nand more of it\n").unwrap();
    fs::write(job.path(b"new\x1b[2J.log"), b"one\n").unwrap();
    fs::write(job.path(b"old.gz"), b"\x1f\x8b\x08\0").unwrap();
    fs::write(job.path(b"x.bak"), b"").unwrap();
    fs::write(job.path(b"before.COMPLETED"), b"").unwrap();
    fs::create_dir(job.path(b"sub")).unwrap();
    symlink("/etc/hostname", job.path(b"link.log")).unwrap();
    assert!(Command::new("mkfifo").arg(job.path(b"pipe.log")).status().unwrap().success());
    let (names, records) = (job.names(), bed.count(&job.receipts));
    let said = job.ask(&["plan", "--agent-id", "a1"], &[]);
    assert_eq!(said.code, Some(0), "files that are set aside stop only themselves: {} {}", said.out, said.err);
    insta::assert_snapshot!(job.redact(&said.out));
    assert_eq!((job.names(), bed.count(&job.receipts)), (names, records), "looking changed something");
    // What was planned is what an agent does.
    let quick = fs::read_to_string(&job.manifest).unwrap().replace("1h", "300ms");
    fs::write(&job.manifest, quick).unwrap();
    assert_eq!(job.once().code, Some(1), "three files are set aside");
    exactly(
        &job,
        &[
            whole,
            Written::of(b"half.log", b"one\ntwo\nthr"),
            Written::of(b"changed.log", b"of old\nmore\n").unfinished(),
            Written::of(b"changed.log", b"NEW CONTENT\nand more of it\n").generation(2),
            Written::of(b"new\x1b[2J.log", b"one\n"),
        ],
    );
}

#[test]
fn what_a_completed_file_grew_by_is_planned_as_it_is_shipped() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "plannedgrowth", &Plan::default());
    job.put(b"a.log", b"one\n");
    job.put(b"b.log", b"one\n");
    assert_eq!(job.once().code, Some(0));
    fs::write(job.path(b"a.log.COMPLETED"), b"one\ntwo\n").unwrap();
    let (code, plan) = job.plan(&[]);
    assert_eq!(code, Some(0));
    assert_eq!(files(&plan), [("a.log.COMPLETED".to_owned(), "goesOn".to_owned(), 4)]);
    assert_eq!(job.once().code, Some(0));
    assert_eq!(job.lines(), ["one", "one", "two"]);
}

#[test]
fn without_brokers_the_directory_is_shown_soon() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "planalone", &Plan::default());
    job.put(b"a.log", b"one\n");
    let text = fs::read_to_string(&job.manifest).unwrap();
    fs::write(&job.manifest, text.replace(&bed.address, &format!("127.0.0.1:{}", bed::free_port()))).unwrap();
    let begun = Instant::now();
    let (code, plan) = job.plan(&[]);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!((code, &plan["brokersAnswer"], &plan["progressKnown"]), (Some(1), &false.into(), &false.into()));
    assert_eq!(plan["inTheWay"][0]["reason"], "KafkaUnavailable");
    assert_eq!(files(&plan), [("a.log".to_owned(), "begins".to_owned(), 0)]);
    fs::remove_dir_all(&job.spool).unwrap();
    let (_, plan) = job.plan(&[]);
    let reasons: Vec<_> = plan["inTheWay"].as_array().unwrap().iter().map(|f| f["reason"].clone()).collect();
    assert_eq!(reasons, ["KafkaUnavailable", "SpoolDirectoryMissing"], "both are told");
    fs::write(&job.manifest, "kind: Secret").unwrap();
    assert_eq!(job.ask(&["plan"], &[]).code, Some(2));
}

#[test]
fn topics_that_are_missing_or_unfit_are_told_and_none_is_made() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::unprepared(bed, "plantopics", &Plan::default());
    fs::create_dir(&job.spool).unwrap();
    let (code, plan) = job.plan(&[]);
    let wanted = format!("topic {} does not exist; create it: kafka-topics ", job.topic);
    let said = messages(&plan);
    assert!(code == Some(1) && said.len() == 1 && said[0].starts_with(&wanted), "{said:?}");
    assert_eq!(plan["remarks"].as_array().unwrap().len(), 2, "an agent makes the others: {plan}");
    assert_eq!(plan["progressKnown"], true, "nothing can be kept in a topic that is not there");
    let checkpoints = job.checkpoints();
    for topic in [&job.topic, &job.receipts, &checkpoints] {
        assert!(!bed.has(topic), "{topic} was made");
    }
    bed.topic_with(&job.topic, "max.message.bytes=500000");
    bed.topics(&[(&checkpoints, 4, "delete"), (&job.receipts, 2, "delete")]);
    let (code, plan) = job.plan(&[]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(job.redact(&messages(&plan).join("\n")));
}

#[test]
fn another_checkpoint_topic_than_the_remembered_one_is_told_and_stays_remembered() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "planpin", &Plan::default());
    let state = job.home().join("state");
    let memory = ["--state-dir", state.to_str().unwrap()];
    assert_eq!(job.plan(&memory).0, Some(0));
    assert!(!state.exists(), "looking remembers nothing");
    fs::create_dir(&state).unwrap();
    let remembered =
        r#"{"topic":"spoolway-planpin-checkpoints","topicId":"AAAAAAAAAAAAAAAAAAAAAA","partitions":4}"#;
    let file = state.join("spoolway%2Flocal%2Fplanpin%2Fweb%2Fa1.json");
    fs::write(&file, remembered).unwrap();
    let (code, plan) = job.plan(&memory);
    assert_eq!((code, plan["inTheWay"][0]["reason"].as_str()), (Some(1), Some("CheckpointTopicChanged")));
    assert_eq!(fs::read_to_string(file).unwrap(), remembered);
}

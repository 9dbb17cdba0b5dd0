//! Configurations that change while an agent runs, as in a pod: taken up without a restart, and exactly once all the same.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use spoolway::pipeline::report::FlowReason;

use super::agent::Agent;
use super::check::{Content, Written, exactly};
use super::corpus;
use super::job::{Job, Plan};
use super::pod::{Mount, SHAPE, agent_file, in_force};
use super::second_agent::transaction_is_open;
use super::{bed, until};

const SOON: Duration = Duration::from_secs(60);
/// For a hundred megabytes in small transactions.
const LONG: Duration = Duration::from_secs(300);
/// Small transactions, so that shipping lasts.
const SLOW: &str = "maxTransactionBytes: 128Ki";

fn slow() -> Plan<'static> {
    Plan { delivery: SLOW, partitions: 3, ..Plan::default() }
}

/// True while an agent has the directory locked.
fn is_locked(job: &Job) -> bool {
    let dir = File::open(&job.spool).unwrap();
    flock(&dir, FlockOperation::NonBlockingLockExclusive).is_err()
}

/// Appends lines to a file that stays open, until told to end; all that was written.
fn write_all_the_time(job: &Job, end: &AtomicBool) -> Vec<u8> {
    let mut file = OpenOptions::new().append(true).create(true).open(job.path(b"growing.log")).unwrap();
    let mut all = vec![];
    let mut round = 0;
    while !end.load(Ordering::Relaxed) {
        let lines = corpus::lines(round, 99, 20);
        // Half a line first: a change comes in the middle of one, too.
        let (first, second) = lines.split_at(lines.len() - 7);
        file.write_all(first).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        file.write_all(second).unwrap();
        all.extend(lines);
        round += 1;
    }
    all
}

#[test]
fn ten_changes_while_files_flow_lose_nothing_and_repeat_nothing() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 2s, pollDelay: 50ms";
    let job = Job::new(bed, "changes", &Plan { source, ..slow() });
    let mount = Mount::new(&job);
    let plans: [(&str, &str, &str); 11] = [
        ("settleTime: 2s, pollDelay: 50ms", "", SLOW),
        ("settleTime: 2s, pollDelay: 50ms", "", "commitInterval: 50ms, maxTransactionBytes: 64Ki"),
        ("settleTime: 2s, pollDelay: 50ms", ", compression: Zstd", SLOW),
        ("settleTime: 2s, includePattern: '.*[.]log'", ", compression: Zstd", SLOW),
        ("settleTime: 2s, includePattern: '.*[.]log'", ", partition: 1", SLOW),
        ("settleTime: 2s, onLongLine: Truncate, maxLineBytes: 200000", ", partition: 2", SLOW),
        ("settleTime: 2s, maxOpenFiles: 1, onLongLine: Skip", ", partition: 2", SLOW),
        ("settleTime: 3s, maxOpenFiles: 20, pollDelay: 200ms", ", compression: Gzip", SLOW),
        ("settleTime: 2s, fileSuffix: .DONE, ignorePattern: '.*[.](tmp|COMPLETED)'", "", SLOW),
        ("settleTime: 2s, ignorePattern: '.*[.](tmp|DONE)'", ", compression: None", SLOW),
        ("settleTime: 2s, ignorePattern: '.*[.](tmp|DONE)'", "", ""),
    ];
    let texts: Vec<String> = plans
        .iter()
        .map(|(source, sink, delivery)| job.text(&Plan { source, sink, delivery, ..Plan::default() }, ""))
        .collect();
    mount.put(&texts[0], &agent_file(&job));
    let agent = Agent::start_in_pod(&mount.path, &["--shape", SHAPE]);
    let (end, mut written, mut midst) = (AtomicBool::new(false), vec![], 0);
    let corpus = corpus::files();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_all_the_time(&job, &end));
        for (n, text) in texts.iter().enumerate() {
            if n % 3 == 0 {
                written.push(job.link(&corpus[n / 3]));
            }
            for (suffix, lines) in [("log", 2000), ("txt", 500), ("log.csv", 30)] {
                let name = format!("small-{n}.{suffix}");
                written.push(job.put(name.as_bytes(), &corpus::lines(n as u64, 7, lines)));
            }
            mount.put(text, &agent_file(&job));
            let report = in_force(&agent, text);
            midst += u32::from(report.backlog.bytes > 1 << 20);
        }
        end.store(true, Ordering::Relaxed);
        written.push(Written::of(b"growing.log", writer.join().unwrap()));
    });
    let all = written.len() as u64;
    let report = agent.drained(all, Duration::from_secs(180));
    // None for a change; a busy machine may cost one all the same, which must not show in the topic.
    eprintln!("{} transactions were given up", report.totals.retries);
    assert!(midst >= 4, "too few changes came while it shipped: {midst}");
    let seen = exactly(&job, &written);
    assert!(seen.records > 1_000_000, "{seen:?}");
}

#[test]
fn a_configuration_that_cannot_be_run_is_told_and_the_last_good_one_goes_on() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "badconfig", &Plan::default());
    let mount = Mount::new(&job);
    let good = job.text(&Plan::default(), "");
    let file = agent_file(&job);
    mount.put(&good, &file);
    let agent = Agent::start_in_pod(&mount.path, &["--shape", SHAPE]);
    let hash = in_force(&agent, &good).config_hash;
    let with = |key: &str, value: serde_json::Value| {
        let mut file = file.clone();
        file[key] = value;
        file
    };
    let (topic, renamed) = (good.replace("-data", "-data x"), good.replace("name: web", "name: other"));
    let checkpoints = good.replace("delivery: {", "delivery: {checkpointTopic: elsewhere");
    let mut written = vec![];
    let mut told = String::new();
    for (n, (pipeline, file)) in [
        (good.as_str(), with("version", 2.into())),
        (&good, with("shape", "shape-2".into())),
        (&good, with("root", "/var/spool/other".into())),
        (&good, with("cluster", "other".into())),
        (&topic, file.clone()),
        (&renamed, file.clone()),
        (&checkpoints, file.clone()),
        ("kind: [", file.clone()),
    ]
    .into_iter()
    .enumerate()
    {
        mount.put(pipeline, &file);
        let before = told.lines().last().unwrap_or_default().to_owned();
        let report = agent.reports("the problem is told", SOON, |r| {
            !r.config_problem.is_empty() && r.config_problem.trim() != before
        });
        assert_eq!((report.config_hash.as_str(), report.flowing), (hash.as_str(), true));
        told += &format!("{}\n", report.config_problem.trim());
        written.push(job.put(format!("{n}.log").as_bytes(), b"one\ntwo\n"));
        agent.drained(written.len() as u64, SOON);
    }
    let home = job.home().to_str().unwrap();
    insta::assert_snapshot!(job.redact(&told).replace(home, "<home>"));
    mount.put(&good, &file);
    in_force(&agent, &good);
    assert_eq!(agent.report().totals.retries, 0);
    exactly(&job, &written);
}

#[test]
fn a_suspended_agent_commits_reads_no_more_and_goes_on_where_it_was() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "suspend", &slow());
    let mount = Mount::new(&job);
    let (run, suspend) = (job.text(&slow(), ""), job.text(&slow(), "  suspend: true\n"));
    mount.put(&run, &agent_file(&job));
    let agent = Agent::start_in_pod(&mount.path, &["--shape", SHAPE]);
    let corpus = corpus::files();
    let mut written = vec![job.link(&corpus[0])];
    for _ in 0..2 {
        agent.shipping();
        mount.put(&suspend, &agent_file(&job));
        in_force(&agent, &suspend);
        let report = agent.reports("it is suspended", SOON, |r| r.suspended);
        assert_eq!((report.reason, report.flowing), (FlowReason::Suspended, true));
        assert_eq!((agent.get("/readyz").0, agent.get("/healthz").0), (200, 200));
        assert!(report.backlog.bytes > 0, "suspended in the middle: {report:#?}");
        assert!(is_locked(&job), "nobody else begins what it has half shipped");
        until("nothing is left open", SOON, || (!transaction_is_open(&job)).then_some(()));
        let before = job.bed.count(&job.topic);
        written.push(job.put(format!("{}.log", written.len()).as_bytes(), b"one\ntwo\n"));
        std::thread::sleep(Duration::from_secs(3)); // it could have shipped a hundred megabytes
        assert_eq!(job.bed.count(&job.topic), before);
        mount.put(&run, &agent_file(&job));
        let report = in_force(&agent, &run);
        assert!(!report.suspended);
    }
    agent.drained(written.len() as u64, LONG);
    assert_eq!(agent.report().totals.retries, 0);
    exactly(&job, &written);
}

#[test]
fn when_its_pipeline_is_gone_an_agent_commits_lets_go_and_stays_up_until_it_is_back() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "gone", &slow());
    let mount = Mount::new(&job);
    let text = job.text(&slow(), "");
    mount.put(&text, &agent_file(&job));
    let agent = Agent::start_in_pod(&mount.path, &["--shape", SHAPE]);
    let written = [job.link(&corpus::files()[0])];
    agent.shipping();
    mount.set(&[]);
    let report = agent.reports("it says so", SOON, |r| r.reason == FlowReason::PipelineDeleted);
    assert!(report.backlog.bytes > 0 && !report.flowing, "{report:#?}");
    assert_eq!((agent.get("/readyz").0, agent.get("/healthz").0), (503, 200));
    until("nothing is left open", SOON, || (!transaction_is_open(&job)).then_some(()));
    until("the directory is free", SOON, || (!is_locked(&job)).then_some(()));
    mount.put(&text, &agent_file(&job));
    agent.drained(1, LONG);
    assert!(is_locked(&job));
    exactly(&job, &written);
}

#[test]
fn on_a_bare_machine_an_edit_of_the_file_is_taken_up_too() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "edit", &Plan::default());
    let agent = job.start();
    let mut written = vec![job.put(b"a.log", b"one\n")];
    agent.drained(1, SOON);
    let waiting = job.put(b"b.txt", b"two\n");
    let text = job.text(&Plan { source: "settleTime: 300ms, ignorePattern: '.*[.]log'", ..Plan::default() }, "");
    fs::write(&job.manifest, &text).unwrap();
    in_force(&agent, &text);
    written.extend([waiting, job.put(b"c.txt", b"three\n")]);
    // Another directory, where another lock is taken and the first is given up.
    agent.drained(3, SOON);
    let elsewhere = job.home().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let text = text.replace(job.spool.to_str().unwrap(), elsewhere.to_str().unwrap());
    fs::write(&job.manifest, &text).unwrap();
    in_force(&agent, &text);
    fs::write(elsewhere.join("d.txt"), "four\n").unwrap();
    written.push(Written::new(b"d.txt", Content::Bytes(b"four\n".to_vec())));
    agent.drained(4, SOON);
    assert!(!is_locked(&job));
    exactly(&job, &written);
}

#[test]
fn a_pods_agent_follows_no_link_and_ends_when_its_root_was_removed() {
    let Some(bed) = bed::shared() else { return };
    let mut job = Job::unprepared(bed, "root", &Plan::default());
    bed.topics(&[(&job.topic, 1, "delete")]);
    job.own_topics();
    let root = job.home().join("root");
    job.spool = root.join("spool");
    let secret = job.home().join("secret");
    for dir in [&root, &secret] {
        fs::create_dir(dir).unwrap();
    }
    fs::write(secret.join("shadow.log"), "canary\n").unwrap();
    symlink(&secret, &job.spool).unwrap();
    let mount = Mount::new(&job);
    let mut file = agent_file(&job);
    file["root"] = root.to_str().unwrap().into();
    mount.put(&job.text(&Plan::default(), ""), &file);
    let agent = Agent::start_in_pod(&mount.path, &["--shape", SHAPE]);
    let report = agent.reports("the link is told", SOON, |r| r.reason == FlowReason::SpoolDirectoryMissing);
    assert!(report.message.contains("is reached by a link, which is not followed"), "{}", report.message);
    fs::remove_file(&job.spool).unwrap();
    fs::create_dir(&job.spool).unwrap();
    let written = [job.put(b"a.log", b"one\n")];
    agent.drained(1, SOON);
    fs::remove_dir_all(&root).unwrap();
    fs::create_dir_all(&job.spool).unwrap();
    let ended = agent.ended(SOON);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("was removed on this node while the agent had it mounted"), "{}", ended.err);
    exactly(&job, &written);
}

#[test]
fn another_checkpoint_topic_than_the_operator_remembers_is_refused() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "pinned", &Plan::default());
    let mount = Mount::new(&job);
    let text = job.text(&Plan::default(), "");
    mount.put(&text, &agent_file(&job));
    let agent = Agent::start_in_pod(&mount.path, &["--shape", SHAPE]);
    let seen = agent.reports("it is open", SOON, |r| r.flowing).checkpoint_topic.expect("it tells what it saw");
    assert_eq!((seen.topic.as_str(), seen.partitions), ("spoolway-pinned-checkpoints", 4));
    let id = seen.topic_id.clone().expect("a real broker tells the id");
    // The operator remembers what was told: nothing changes.
    let mut file = agent_file(&job);
    file["checkpointTopic"] = serde_json::to_value(&seen).unwrap();
    mount.put(&text, &file);
    let written = [job.put(b"a.log", b"one\n")];
    agent.drained(1, SOON);
    // As if the topic had been made anew since.
    file["checkpointTopic"]["topicId"] = "AAAAAAAAAAAAAAAAAAAAAA".into();
    mount.put(&text, &file);
    let report = agent.reports("it is refused", SOON, |r| r.reason == FlowReason::CheckpointTopicChanged);
    let message = report.message.replace(&id, "<id>");
    insta::assert_snapshot!(message);
    exactly(&job, &written);
}

//! `spoolway verify`: what is shipped verifies clean, whatever was killed, and each fault that is planted by hand is found and named.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use spoolway::agent::channel::digest::{Digest, FileId};
use spoolway::agent::channel::evidence::{Evidence, EvidenceKind};
use spoolway::agent::channel::progress::Run;

use super::agent::Ended;
use super::bed::{self, Reader};
use super::check::exactly;
use super::corpus;
use super::feed::Feed;
use super::job::{Job, Plan};
use super::second_agent::transaction_is_open;

const SOON: Duration = Duration::from_secs(60);

/// `spoolway verify`: exit code, and what it says as JSON.
fn verify(job: &Job, more: &[&str]) -> (Option<i32>, Value) {
    let said = job.ask(&["verify", "--output", "json"], more);
    let json = serde_json::from_str(&said.out);
    (said.code, json.unwrap_or_else(|e| panic!("{e}: {} {}", said.out, said.err)))
}

fn text(job: &Job, more: &[&str]) -> Ended {
    let mut ended = job.ask(&["verify"], more);
    ended.out = without_ids(&ended.out);
    ended
}

/// File ids are random.
fn without_ids(text: &str) -> String {
    regex::Regex::new(r"\b[0-9a-f]{16}\b").unwrap().replace_all(text, "<file id>       ").into_owned()
}

/// What is said of files: name, state, and each flaw's kind.
fn files(found: &Value) -> Vec<(String, String, Vec<String>)> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let files = found["files"].as_array().unwrap().iter();
    files
        .map(|f| {
            let flaws = f["flaws"].as_array().unwrap().iter().map(|flaw| word(&flaw["what"])).collect();
            (word(&f["name"]), word(&f["state"]), flaws)
        })
        .collect()
}

/// The evidence of a job so far, with the partition that each record is on.
pub fn evidence(job: &Job) -> Vec<(i32, Evidence)> {
    let mut all = vec![];
    job.bed.read(&job.receipts, Reader::Fast, |record| {
        all.push((record.partition, serde_json::from_slice(record.value).unwrap()));
    });
    all
}

/// Evidence that an agent never gave, of a file of its own.
fn forge(job: &Job, id: u64, all: impl IntoIterator<Item = Evidence>) {
    for evidence in all {
        let forged = Evidence { file: FileId(id), ..evidence };
        job.bed.plant(&job.receipts, 0, &[(&forged.file.to_string(), &serde_json::to_vec(&forged).unwrap())]);
    }
}

#[test]
fn what_a_killed_agent_and_its_successor_shipped_verifies_clean() {
    let Some(bed) = bed::shared() else { return };
    let delivery = "commitInterval: 100ms, maxTransactionBytes: 64Ki";
    let job = Job::new(bed, "verifykill", &Plan { partitions: 3, delivery, ..Plan::default() });
    let mut written = vec![job.put(b"first.log", &corpus::lines(1, 0, 30_000))];
    let feed = Feed::start(&job, 1, Duration::from_millis(5));
    for _ in 0..3 {
        let agent = job.start();
        agent.reports("it ships", SOON, |r| r.totals.records > 0);
        // It ships all the while, so what is read is never of one moment.
        let (code, found) = verify(&job, &[]);
        assert_eq!(code, Some(0), "{found}");
        agent.kill();
        // What the dead agent left open is waited for.
        let (code, found) = verify(&job, &[]);
        assert_eq!(code, Some(0), "{found}");
        assert!(found["counts"]["halfShipped"].as_u64() >= Some(1), "the one that grows: {found}");
    }
    written.extend(feed.stop());
    let _agent = job.start();
    super::until("all are complete", SOON, || (job.completed() == written.len()).then_some(()));
    let (code, found) = verify(&job, &[]);
    assert_eq!(code, Some(0), "{found}");
    let counts = &found["counts"];
    assert_eq!(counts["complete"], written.len(), "{counts}");
    assert_eq!(found["topics"][0]["claimed"], counts["lines"]);
    exactly(&job, &written);
    let said = text(&job, &["--all"]);
    assert!(said.out.contains("first.log") && said.out.contains("complete"), "{}", said.out);
}

#[test]
fn a_record_produced_twice_by_hand_is_found_with_the_line_it_equals() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "verifytwice", &Plan::default());
    job.put(b"a\x1b.log", b"one\ntwo\nthree\n");
    assert_eq!(job.once().code, Some(0));
    assert_eq!(verify(&job, &[]).0, Some(0));
    bed.plant(&job.topic, 0, &[("", b"two"), ("", b"of a stranger")]);
    let said = text(&job, &[]);
    assert_eq!(said.code, Some(1));
    insta::assert_snapshot!(said.out);
    let (code, found) = verify(&job, &[]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!("json", without_ids(&serde_json::to_string_pretty(&found).unwrap()));
    let (code, found) = verify(&job, &["--shared-topic"]);
    assert_eq!((code, &found["topics"][0]["unclaimed"]), (Some(0), &2.into()), "others may write there");
}

#[test]
fn what_retention_removed_is_not_missing() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "verifyold", &Plan::default());
    for name in ["a.log", "b.log"] {
        job.put(name.as_bytes(), b"one\ntwo\nthree\n");
        assert_eq!(job.once().code, Some(0));
    }
    bed.expire(&job.topic, 0, 2);
    let said = text(&job, &["--all"]);
    assert_eq!(said.code, Some(0), "{}", said.out);
    insta::assert_snapshot!(said.out);
    // Receipts too: what is left of the topic cannot be held against what is gone.
    for partition in 0..2 {
        let end = evidence(&job).iter().filter(|(on, _)| *on == partition).count() as i64;
        if end > 0 {
            bed.expire(&job.receipts, partition, 1);
        }
    }
    let (code, found) = verify(&job, &[]);
    let files = files(&found);
    assert!(code == Some(0) && files.iter().any(|file| file.2.contains(&"segmentsGone".to_owned())), "{found}");
    assert!(found["topics"][0]["olderThanReceipts"].as_u64().unwrap() > 0, "{found}");
    // That excuses nothing that is younger.
    job.put(b"c.log", b"four\n");
    assert_eq!(job.once().code, Some(0));
    bed.plant(&job.topic, 0, &[("", b"four")]);
    let (code, found) = verify(&job, &[]);
    assert_eq!((code, &found["topics"][0]["unclaimed"]), (Some(1), &1.into()), "{found}");
    assert_eq!(found["unclaimed"][0]["equals"]["name"], "c.log");
}

#[test]
fn each_fault_that_is_planted_is_named() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "verifyfaults", &Plan::default());
    job.put(b"a.log", b"one\ntwo\nthree\n");
    assert_eq!(job.once().code, Some(0));
    let all = evidence(&job);
    let find = |kind| all.iter().map(|(_, e)| e).find(|e| e.kind == kind).unwrap().clone();
    let (segment, receipt) = (find(EvidenceKind::Segment), find(EvidenceKind::Receipt));
    let mut scratch = vec![];
    let mut digest = Digest::default();
    // Lines of its own for each, so that nothing is claimed twice: offsets 4 and on, for 3 is a marker.
    let first = 4_i64;
    bed.plant(&job.topic, 0, &[("", b"one"), ("", b"two"), ("", b"one"), ("", b"two"), ("", b"one"), ("", b"two")]);
    for line in ["one", "two"] {
        digest.chain(line.as_bytes(), &mut scratch);
    }
    let at = |offset, count| Run { partition: 0, first: Some(first + offset), count };
    let two = Evidence { to: 8, lines: 2, bytes: 6, digest, ..segment.clone() };
    forge(&job, 0xd1, [Evidence { digest: Digest([7; 16]), runs: vec![at(0, 2)], ..two.clone() }]);
    forge(&job, 0xd2, [Evidence { runs: vec![at(3, 1), at(2, 1)], ..two.clone() }]);
    forge(&job, 0xd3, [Evidence { runs: vec![at(4, 2)], ..two.clone() }, Evidence { to: 14, ..receipt.clone() }]);
    forge(&job, 0xd4, [Evidence { runs: vec![at(6, 2)], ..two.clone() }]);
    forge(&job, 0xd5, [segment.clone()]);
    bed.plant(&job.receipts, 0, &[("", b"not evidence")]);
    let (code, found) = verify(&job, &[]);
    assert_eq!(code, Some(1));
    let mut flaws: Vec<_> = found["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["fileId"].as_str().unwrap()[14..].to_owned(), f["flaws"].clone()))
        .collect();
    flaws.sort_by_key(|(id, _)| id.clone());
    let kinds = |id: &str| {
        let (_, flaws) = flaws.iter().find(|(of, _)| of == id).unwrap_or_else(|| panic!("{id}: {found}"));
        flaws.as_array().unwrap().iter().map(|flaw| flaw["what"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds("d1"), ["digestDiffers"]);
    assert_eq!(kinds("d2"), ["outOfOrder", "digestDiffers"]);
    assert_eq!(kinds("d3"), ["noSegment"]);
    assert_eq!(kinds("d4"), ["missing"]);
    let gap = flaws.iter().find(|(id, _)| id == "d3").unwrap();
    assert_eq!((&gap.1[0]["from"], &gap.1[0]["to"]), (&8.into(), &14.into()), "bytes of which no segment speaks");
    // One of the two that claim the same records names the other.
    let twice = found["files"].as_array().unwrap().iter().flat_map(|f| f["flaws"].as_array().unwrap());
    assert!(twice.clone().any(|flaw| flaw["what"] == "claimedTwice"), "{found}");
    let problems = found["problems"].to_string();
    assert!(problems.contains("1 records are neither segments nor receipts"), "{problems}");
    assert!(problems.contains("offsets up to 11 of partition 0, which ends at 10"), "{problems}");
}

#[test]
fn lines_dealt_in_turn_are_verified_in_file_order_with_little_memory() {
    let Some(bed) = bed::shared() else { return };
    let plan = Plan {
        partitions: 5,
        sink: ", partitioner: RoundRobin",
        delivery: "maxTransactionBytes: 256Ki",
        ..Plan::default()
    };
    let job = Job::new(bed, "verifyturns", &plan);
    for file in 0..3 {
        job.put(format!("{file}.log").as_bytes(), &corpus::lines(3, file, 10_001));
    }
    job.put(b"small.log", b"one\ntwo\n");
    assert_eq!(job.once().code, Some(0));
    // With 1 MiB partitions must wait for each other.
    for memory in ["256Mi", "1Mi"] {
        let (code, found) = verify(&job, &["--memory", memory]);
        assert_eq!((code, &found["counts"]["complete"]), (Some(0), &4.into()), "{memory}: {found}");
        assert_eq!(found["topics"][0]["claimed"], 30_005);
    }
    let (code, found) = verify(&job, &["--memory", "1Ki"]);
    assert_eq!((code, &found["counts"]["unproven"]), (Some(0), &3.into()), "there is no room for more: {found}");
    bed.expire(&job.topic, 2, 1);
    let (code, found) = verify(&job, &[]);
    assert_eq!((code, &found["counts"]["expired"]), (Some(0), &1.into()), "{found}");
}

#[test]
fn two_pipelines_may_share_a_topic_and_a_stranger_may_not() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "verifyshared", &Plan::default());
    job.put(b"a.log", b"one\ntwo\n");
    assert_eq!(job.once().code, Some(0));
    // The same namespace, topic and receipts, under another name.
    let text = std::fs::read_to_string(&job.manifest).unwrap();
    std::fs::write(&job.manifest, text.replace("name: web", "name: app")).unwrap();
    job.put(b"b.log", b"three\n");
    assert_eq!(job.once().code, Some(0));
    let (code, found) = verify(&job, &[]);
    assert_eq!(code, Some(0), "{found}");
    assert_eq!(files(&found), [("b.log".to_owned(), "complete".to_owned(), vec![])], "its own files only");
    assert_eq!(found["topics"][0]["claimed"], 3);
    let elsewhere = job.ask(&["verify"], &["--cluster", "prod"]);
    assert_eq!(elsewhere.code, Some(1), "nothing was verified");
    let said = "says nothing of prod/verifyshared/app, so there is nothing to verify; there is something of";
    assert!(elsewhere.out.contains(said), "{}", elsewhere.out);
}

#[test]
fn an_open_transaction_is_told_and_does_not_hold_it_up() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "verifyopen", &Plan::default());
    job.put(b"a.log", b"one\n");
    assert_eq!(job.once().code, Some(0));
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &bed.address).set("transactional.id", "verifyopen");
    config.set("transaction.timeout.ms", "300000");
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(SOON).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<(), [u8]>::to(&job.topic).payload(b"open")).unwrap();
    producer.flush(SOON).unwrap();
    assert!(transaction_is_open(&job));
    job.put(b"b.log", b"two\n");
    assert_eq!(job.once().code, Some(0));
    let (code, found) = verify(&job, &["--wait", "0s"]);
    assert_eq!(code, Some(0), "{found}");
    let wanted = [("a.log", "complete", vec![]), ("b.log", "unproven", vec!["stillOpen".to_owned()])];
    assert_eq!(files(&found), wanted.map(|(name, state, flaws)| (name.to_owned(), state.to_owned(), flaws)));
    let remarks = found["remarks"].to_string();
    assert!(remarks.contains("records are in, or behind, a transaction that is still open"), "{remarks}");
    // When it is over, what it held back is read, and what it held is nobody's.
    producer.abort_transaction(SOON).unwrap();
    let (code, found) = verify(&job, &[]);
    assert_eq!((code, &found["counts"]["complete"]), (Some(0), &2.into()), "{found}");
}

#[test]
fn at_least_once_leaves_no_line_out_and_what_is_there_twice_is_told() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "verifyalo", &Plan { delivery: "guarantee: AtLeastOnce", ..Plan::default() });
    job.put(b"a.log", b"one\ntwo\n");
    assert_eq!(job.once().code, Some(0));
    assert_eq!(verify(&job, &[]).0, Some(0));
    // What was sent a moment ago may be claimed by a segment that follows: another agent's, on the same partition.
    bed.plant(&job.topic, 0, &[("", b"just now")]);
    job.put(b"b.log", b"three\n");
    assert_eq!(job.once().code, Some(0));
    let (code, found) = verify(&job, &[]);
    assert_eq!((code, &found["topics"][0]["unattributed"]), (Some(0), &1.into()), "{found}");
    // As after a kill between the lines and what is kept of them: sent again, and claimed by what comes later.
    let age = Duration::from_secs(60);
    bed.plant_old(&job.topic, 0, age, [("", b"two")]);
    job.put(b"c.log", b"four\n");
    assert_eq!(job.once().code, Some(0));
    let (code, found) = verify(&job, &[]);
    assert_eq!((code, &found["topics"][0]["unclaimed"]), (Some(1), &1.into()), "{found}");
    assert_eq!(found["unclaimed"][0]["equals"]["name"], "a.log");
    assert!(found["remarks"].to_string().contains("guarantee AtLeastOnce allows"), "{found}");
}

#[test]
fn a_file_that_ships_again_for_its_progress_is_gone_is_told_to_be_there_twice() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "verifyagain", &Plan { source: "completion: Track", ..Plan::default() });
    job.put(b"a.log", b"one\ntwo\n");
    job.put(b"b.log", b"one\ntwo\n");
    assert_eq!(job.once().code, Some(0));
    assert_eq!(verify(&job, &[]).0, Some(0), "the same lines in two files are two files");
    // Without --state-dir nobody remembers which topic it was.
    bed.remove(&job.checkpoints());
    bed.topics(&[(&job.checkpoints(), 2, "compact")]);
    job.put(b"c.log", b"three\n");
    assert_eq!(job.once().code, Some(0));
    let (code, found) = verify(&job, &[]);
    assert_eq!((code, &found["counts"]["complete"], &found["counts"]["faulty"]), (Some(1), &3.into(), &2.into()));
    let faulty: Vec<_> = files(&found).into_iter().filter(|(_, state, _)| state == "faulty").collect();
    let twice = |name: &str| (name.to_owned(), "faulty".to_owned(), vec!["shippedTwice".to_owned()]);
    assert_eq!(faulty, [twice("a.log"), twice("b.log")], "{found}");
    let said = text(&job, &[]);
    insta::assert_snapshot!(said.out);
}

#[test]
fn without_receipts_or_a_pipeline_there_is_nothing_to_verify() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::unprepared(bed, "verifynone", &Plan::default());
    let said = job.ask(&["verify"], &[]);
    let wanted = "spoolway: topic spoolway-verifynone-receipts does not exist, so there are no receipts: ";
    assert!(said.code == Some(1) && said.err.starts_with(wanted), "{}", said.err);
    std::fs::write(&job.manifest, "kind: Secret").unwrap();
    assert_eq!(job.ask(&["verify"], &[]).code, Some(2));
}

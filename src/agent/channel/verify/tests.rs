//! A small topic, held against evidence of all kinds.

use super::*;
use crate::agent::channel::digest::{Digest, FileId};
use crate::agent::channel::evidence::{Evidence, EvidenceKind};
use crate::agent::channel::name::Name;
use crate::agent::channel::progress::{Run, VERSION};

const PIPELINE: &str = "c/shop/web/";
const EXPECT: Expect =
    Expect { shared: false, transactional: true, all_evidence: true, memory: 1 << 20, recent: i64::MAX };

/// A file that is shipped: each line has four bytes in it, and three in the topic.
struct Source {
    id: u64,
    agent: &'static str,
    position: u64,
    digest: Digest,
    bytes: u64,
    lines: u64,
}

fn source(id: u64) -> Source {
    Source { id, agent: "c/shop/web/a1", position: 0, digest: Digest::default(), bytes: 0, lines: 0 }
}

fn run(partition: i32, first: impl Into<Option<i64>>, count: u64) -> Run {
    Run { partition, first: first.into(), count }
}

impl Source {
    /// The next lines, with where they are said to be.
    fn ship(&mut self, lines: &[&str], runs: &[Run]) -> Evidence {
        let mut scratch = vec![];
        let from = self.position;
        for line in lines {
            self.digest.chain(line.as_bytes(), &mut scratch);
            self.position += 4;
            self.bytes += 3;
            self.lines += 1;
        }
        self.evidence(EvidenceKind::Segment, from, lines.len() as u64, runs.to_vec())
    }

    fn close(&self) -> Evidence {
        self.evidence(EvidenceKind::Receipt, 0, self.lines, vec![])
    }

    fn evidence(&self, kind: EvidenceKind, from: u64, lines: u64, runs: Vec<Run>) -> Evidence {
        Evidence {
            v: VERSION,
            kind,
            agent: self.agent.to_owned(),
            file: FileId(self.id),
            name: Name::new(format!("{}.log", self.id).as_bytes()),
            generation: 1,
            topic: "web".to_owned(),
            from,
            to: self.position,
            lines,
            origin: None,
            bytes: self.bytes,
            digest: self.digest,
            altered: Default::default(),
            runs,
            extents: vec![],
            ended: None,
            left: None,
        }
    }
}

/// Where a topic begins, where what can be read of it ends, and its records by partition: offset and value.
struct Sample<'a> {
    evidence: Vec<Evidence>,
    records: Vec<Vec<(i64, &'a str)>>,
    start: i64,
    /// `None`: behind the last record.
    end: Option<i64>,
    horizon: Option<i64>,
    beheaded: bool,
    expect: Expect,
}

impl<'a> Sample<'a> {
    fn new(evidence: Vec<Evidence>, records: Vec<Vec<(i64, &'a str)>>) -> Self {
        Sample { evidence, records, start: 0, end: None, horizon: None, beheaded: false, expect: EXPECT }
    }

    fn judge(self) -> Verdict {
        let mut ledger = Ledger::new(PIPELINE, "web");
        for (offset, evidence) in self.evidence.iter().enumerate() {
            ledger.add(0, offset as i64, &serde_json::to_vec(evidence).unwrap(), self.beheaded).unwrap();
        }
        self.horizon.into_iter().for_each(|horizon| ledger.kept_since(horizon));
        let mut judge = Judge::new(ledger, self.expect);
        let high = self.records.iter().flatten().map(|(offset, _)| offset + 1).max().unwrap_or(0);
        let end = self.end.unwrap_or(high);
        let bounds = Bounds { start: self.start, end, judged: end, high, stable: end };
        let count = self.records.len();
        judge.begin("web", &vec![bounds; count]);
        // In turn, as they come from brokers.
        let longest = self.records.iter().map(Vec::len).max().unwrap_or(0);
        for turn in 0..longest {
            for (partition, records) in self.records.iter().enumerate() {
                if let Some((offset, value)) = records.get(turn).filter(|(offset, _)| *offset < end) {
                    judge.record(partition as i32, *offset, *offset, value.as_bytes());
                }
            }
        }
        judge.end(&vec![self.start; count]);
        if judge.wants_twins() {
            for (partition, records) in self.records.iter().enumerate() {
                for (offset, value) in records {
                    judge.compare(partition as i32, *offset, value.as_bytes());
                }
            }
        }
        judge.verdict()
    }
}

/// The states of the files, and all that is said of them.
fn said(verdict: &Verdict) -> (Vec<State>, Vec<String>) {
    let flaws = verdict.files.iter().flat_map(|file| file.flaws.iter().map(|told| told.message.clone()));
    (verdict.files.iter().map(|file| file.state).collect(), flaws.collect())
}

#[test]
fn what_was_shipped_once_and_in_order_is_complete_or_half_shipped() {
    let (mut one, mut two) = (source(1), source(2));
    let evidence = vec![
        one.ship(&["aaa", "bbb"], &[run(0, 0, 2)]),
        two.ship(&["xxx"], &[run(0, 2, 1)]),
        one.ship(&["ccc", "ddd"], &[run(0, 4, 1), run(0, 6, 1)]),
        one.close(),
    ];
    // Offsets that are nobody's are markers.
    let records = vec![vec![(0, "aaa"), (1, "bbb"), (2, "xxx"), (4, "ccc"), (6, "ddd")]];
    let verdict = Sample::new(evidence, records).judge();
    assert_eq!(said(&verdict), (vec![State::Complete, State::HalfShipped], vec![]));
    let topic = &verdict.topics[0];
    assert_eq!((topic.records, topic.claimed, topic.unclaimed, topic.open), (5, 5, 0, 0));
    assert_eq!((verdict.files[0].position, verdict.files[0].lines), (16, 4));
}

#[test]
fn a_line_that_is_gone_is_missing_or_no_longer_there() {
    let ship = || {
        let mut one = source(1);
        vec![one.ship(&["aaa", "bbb", "ccc"], &[run(0, 0, 3)]), one.ship(&["ddd"], &[run(0, 3, 1)]), one.close()]
    };
    let gone = "missing in the topic: 1 line from line 2 on, within bytes 0 to 12, partition 0 offset 1";
    let verdict = Sample::new(ship(), vec![vec![(0, "aaa"), (2, "ccc"), (3, "ddd")]]).judge();
    assert_eq!(said(&verdict), (vec![State::Faulty], vec![gone.to_owned()]));
    let expired = "no longer in the topic (retention): 2 lines from line 1 on, within bytes 0 to 12, partition 0 offsets 0 to 1";
    let verdict = Sample { start: 2, ..Sample::new(ship(), vec![vec![(2, "ccc"), (3, "ddd")]]) }.judge();
    assert_eq!(said(&verdict), (vec![State::Expired], vec![expired.to_owned()]));
    // Segments in a row are one thing to say.
    let expired = "no longer in the topic (retention): 4 lines from line 1 on, within bytes 0 to 16, partition 0 offsets 0 to 3";
    let verdict = Sample { start: 4, ..Sample::new(ship(), vec![vec![(4, "zzz")]]) }.judge();
    assert_eq!(said(&verdict), (vec![State::Expired], vec![expired.to_owned()]));
}

#[test]
fn a_topic_made_anew_is_told() {
    let mut one = source(1);
    let verdict = Sample::new(vec![one.ship(&["aaa", "bbb"], &[run(0, 7, 2)])], vec![vec![(0, "new")]]).judge();
    assert_eq!(verdict.files[0].state, State::Faulty);
    let shrunk = verdict.topics[0].shrunk.as_deref().unwrap();
    assert!(shrunk.contains("offsets up to 8 of partition 0, which ends at 1"), "{shrunk}");
}

#[test]
fn gaps_overlaps_order_and_receipts_are_judged_without_records() {
    let line = |n: u64| ["aaa", "bbb", "ccc", "ddd", "eee", "fff"][n as usize];
    let records = || vec![(0..6).map(|n| (n, line(n as u64))).collect::<Vec<_>>()];
    let check = |evidence: Vec<Evidence>, wanted: &str| {
        let verdict = Sample::new(evidence, records()).judge();
        let (states, flaws) = said(&verdict);
        assert_eq!(states, [State::Faulty], "{wanted}");
        assert!(flaws.iter().any(|flaw| flaw.starts_with(wanted)), "{wanted}: {flaws:?}");
    };
    let mut one = source(1);
    let [a, b] = [one.ship(&["aaa"], &[run(0, 0, 1)]), one.ship(&["bbb"], &[run(0, 1, 1)])];
    let c = one.ship(&["ccc"], &[run(0, 2, 1)]);
    check(vec![a.clone(), c.clone(), one.close()], "missing: no segment speaks of bytes 4 to 8");
    check(vec![b.clone(), c.clone()], "missing: no segment speaks of bytes 0 to 4");
    check(vec![a.clone(), b.clone(), one.close()], "missing: no segment speaks of bytes 8 to 12");
    check(vec![one.close()], "missing: no segment speaks of bytes 0 to 12");
    let again = Evidence { runs: vec![run(0, 3, 1)], ..b.clone() };
    check(vec![a.clone(), b.clone(), again, c.clone()], "shipped twice: two segments speak of bytes 4 to 8");
    let early = Evidence { runs: vec![run(0, 0, 1)], ..b.clone() };
    let late = Evidence { runs: vec![run(0, 1, 1)], ..a.clone() };
    check(
        vec![late, early],
        "out of order: lines within bytes 4 to 8 are on partition 0 at offset 0, before offset 1",
    );
    let more = Evidence { lines: 3, to: 8, ..b.clone() };
    check(
        vec![a.clone(), Evidence { from: 4, to: 16, ..more }],
        "the segment of bytes 4 to 16 counts 3 lines and names 1 records",
    );
    let all = [a, b, c];
    let with = |receipt: Evidence| all.iter().cloned().chain([receipt]).collect::<Vec<_>>();
    check(
        with(Evidence { lines: 4, ..one.close() }),
        "the receipt over 12 bytes and the segments differ on the file's lines",
    );
    check(
        with(Evidence { bytes: 1, ..one.close() }),
        "the receipt over 12 bytes and the segments differ on the file's bytes",
    );
    let other = Digest([9; 16]);
    check(
        with(Evidence { digest: other, ..one.close() }),
        "the receipt over 12 bytes and the segments differ on the file's digest",
    );
    check(
        with(Evidence { to: 10, ..one.close() }),
        "the receipt over 10 bytes and the segments differ on the file's end",
    );
}

#[test]
fn a_line_that_is_not_what_was_read_is_found_in_its_segment_alone() {
    let mut one = source(1);
    let evidence = vec![
        one.ship(&["aaa", "bbb"], &[run(0, 0, 2)]),
        one.ship(&["ccc"], &[run(0, 2, 1)]),
        one.ship(&["ddd"], &[run(0, 3, 1)]),
        one.close(),
    ];
    let verdict = Sample::new(evidence, vec![vec![(0, "aaa"), (1, "bbb"), (2, "CCC"), (3, "ddd")]]).judge();
    let differs = "digest differs: the lines of bytes 8 to 12 are not in the topic as they were read";
    assert_eq!(said(&verdict), (vec![State::Faulty], vec![differs.to_owned()]));
}

#[test]
fn records_that_two_files_claim_are_told_with_the_other_file() {
    let (mut one, mut two) = (source(1), source(2));
    let evidence = vec![one.ship(&["aaa", "bbb"], &[run(0, 0, 2)]), two.ship(&["bbb"], &[run(0, 1, 1)])];
    let verdict = Sample::new(evidence, vec![vec![(0, "aaa"), (1, "bbb")]]).judge();
    let twice = "claimed twice: partition 0 offsets 1 to 1 are also those of 1.log of c/shop/web/a1; was the topic made anew?";
    assert_eq!(said(&verdict), (vec![State::HalfShipped, State::Faulty], vec![twice.to_owned()]));
}

#[test]
fn a_record_that_nobody_claims_is_a_duplicate_or_a_strangers() {
    let (mut one, mut other) = (source(1), Source { agent: "c/shop/app/a1", ..source(2) });
    let ship = |one: &mut Source, other: &mut Source| {
        vec![one.ship(&["aaa", "bbb"], &[run(0, 0, 2)]), other.ship(&["xxx"], &[run(0, 2, 1)]), one.close()]
    };
    let records = || vec![vec![(0, "aaa"), (1, "bbb"), (2, "xxx"), (3, "bbb"), (4, "???")]];
    let sample = Sample::new(ship(&mut one, &mut other), records());
    let verdict = sample.judge();
    // Another pipeline's record is claimed, but it is not judged.
    assert_eq!(said(&verdict), (vec![State::Complete], vec![]));
    assert_eq!((verdict.topics[0].claimed, verdict.topics[0].unclaimed), (3, 2));
    let twin = verdict.unclaimed[0].equals.as_ref().unwrap();
    assert_eq!((verdict.unclaimed[0].offset, twin.name.as_str(), twin.line, twin.offset), (3, "1.log", Some(2), 1));
    assert_eq!((verdict.unclaimed[1].offset, &verdict.unclaimed[1].equals), (4, &None));
    // What others wrote who keep no receipts; what is older than the receipts.
    let expect = Expect { shared: true, ..EXPECT };
    let shared = Sample { expect, ..Sample::new(ship(&mut source(1), &mut source(2)), records()) }.judge();
    assert_eq!((shared.topics[0].unclaimed, shared.unclaimed.len()), (2, 0));
    let aged = Sample { horizon: Some(3), ..Sample::new(ship(&mut source(1), &mut source(2)), records()) }.judge();
    assert_eq!((aged.topics[0].older_than_receipts, aged.topics[0].unclaimed), (1, 1));
}

#[test]
fn segments_that_retention_deleted_are_no_fault() {
    let mut one = source(1);
    let _gone = one.ship(&["aaa"], &[run(0, 0, 1)]);
    let rest = vec![one.ship(&["bbb"], &[run(0, 1, 1)]), one.close()];
    let records = || vec![vec![(0, "aaa"), (1, "bbb")]];
    let sample = Sample { beheaded: true, horizon: Some(0), ..Sample::new(rest.clone(), records()) };
    let verdict = sample.judge();
    let gone = "the segments before byte 4 are no longer in the receipt topic (retention)";
    assert_eq!(said(&verdict), (vec![State::Expired], vec![gone.to_owned()]));
    assert_eq!((verdict.topics[0].older_than_receipts, verdict.topics[0].unclaimed), (1, 0));
    assert_eq!(
        said(&Sample::new(rest, records()).judge()).0,
        [State::Faulty],
        "where nothing was deleted it is a gap"
    );
}

#[test]
fn what_is_behind_an_open_transaction_is_not_proved() {
    let mut one = source(1);
    let evidence = vec![one.ship(&["aaa", "bbb"], &[run(0, 0, 1), run(0, 3, 1)]), one.close()];
    let sample = Sample { end: Some(2), ..Sample::new(evidence, vec![vec![(0, "aaa"), (3, "bbb")]]) };
    let verdict = sample.judge();
    let open =
        "behind a transaction that is still open: 1 line from line 2 on, within bytes 0 to 8, partition 0 offset 3";
    assert_eq!(said(&verdict), (vec![State::Unproven], vec![open.to_owned()]));
    assert_eq!(verdict.topics[0].open, 2);
}

#[test]
fn lines_over_several_partitions_are_put_in_the_files_order() {
    let lines = ["aaa", "bbb", "ccc", "ddd", "eee"];
    let ship = |one: &mut Source| vec![one.ship(&lines, &[run(1, 0, 2), run(0, 0, 1), run(2, 0, 2)]), one.close()];
    // The first line went to partition 1, the next one to 2, then 0.
    let records =
        |second: &'static str| vec![vec![(0, "ccc")], vec![(0, "aaa"), (1, second)], vec![(0, "bbb"), (1, "eee")]];
    assert_eq!(said(&Sample::new(ship(&mut source(1)), records("ddd")).judge()), (vec![State::Complete], vec![]));
    let differs = "digest differs: the lines of bytes 0 to 20 are not in the topic as they were read";
    let verdict = Sample::new(ship(&mut source(1)), records("xxx")).judge();
    assert_eq!(said(&verdict), (vec![State::Faulty], vec![differs.to_owned()]));
    let expect = Expect { memory: 8, ..EXPECT };
    let verdict = Sample { expect, ..Sample::new(ship(&mut source(1)), records("ddd")) }.judge();
    assert_eq!(verdict.files[0].state, State::Unproven, "there is no room to put them in order");
}

#[test]
fn offsets_that_are_not_known_are_found_or_said_not_to_be_known() {
    let ship = |one: &mut Source| {
        let first = one.ship(&["aaa", "bbb", "ccc"], &[run(0, 0, 1), run(0, None, 2)]);
        vec![first, one.ship(&["ddd"], &[run(0, 5, 1)]), one.close()]
    };
    let check = |records: Vec<(i64, &'static str)>| {
        let verdict = Sample::new(ship(&mut source(1)), vec![records]).judge();
        let (states, flaws) = said(&verdict);
        (states[0], flaws.concat(), verdict.topics[0].unclaimed, verdict.topics[0].unattributed)
    };
    let found = check(vec![(0, "aaa"), (1, "bbb"), (2, "ccc"), (5, "ddd")]);
    assert_eq!(found, (State::Complete, String::new(), 0, 0));
    // A record of somebody else before them is that somebody's.
    let found = check(vec![(0, "aaa"), (1, "xxx"), (2, "bbb"), (3, "ccc"), (5, "ddd")]);
    assert_eq!(found, (State::Complete, String::new(), 1, 0));
    let (state, flaw, ..) = check(vec![(0, "aaa"), (1, "bbb"), (2, "CCC"), (5, "ddd")]);
    assert_eq!((state, flaw.split(':').next()), (State::Faulty, Some("digest differs")));
    let (state, flaw, ..) = check(vec![(0, "aaa"), (1, "bbb"), (5, "ddd")]);
    assert_eq!((state, flaw.split(',').next()), (State::Faulty, Some("missing in the topic: 1 line")));
    let (state, flaw, unclaimed, open) = check(vec![(0, "aaa"), (1, "bbb"), (2, "xxx"), (3, "ccc"), (5, "ddd")]);
    assert_eq!((state, unclaimed, open), (State::Unproven, 0, 3), "{flaw}");
}

#[test]
fn without_transactions_a_segment_may_follow_its_lines() {
    let mut one = source(1);
    let evidence = vec![one.ship(&["aaa"], &[run(0, 1, 1)])];
    let expect = Expect { transactional: false, ..EXPECT };
    let sample = Sample { expect, ..Sample::new(evidence, vec![vec![(0, "aaa"), (1, "aaa"), (2, "bbb")]]) };
    let verdict = sample.judge();
    assert_eq!((verdict.topics[0].unclaimed, verdict.topics[0].unattributed), (1, 1));
    // Another agent's segment may be there first.
    let mut one = source(1);
    let evidence = vec![one.ship(&["aaa"], &[run(0, 1, 1)])];
    let expect = Expect { transactional: false, recent: i64::MIN, ..EXPECT };
    let sample = Sample { expect, ..Sample::new(evidence, vec![vec![(0, "xxx"), (1, "aaa")]]) };
    let verdict = sample.judge();
    assert_eq!((verdict.topics[0].unclaimed, verdict.topics[0].unattributed), (0, 1));
}

#[test]
fn what_nobody_can_have_written_in_earnest_is_no_evidence_and_a_newer_release_is_refused() {
    let mut one = source(1);
    let good = one.ship(&["aaa"], &[run(0, 0, 1)]);
    let mut ledger = Ledger::new(PIPELINE, "web");
    let endless =
        Evidence { lines: u64::MAX, to: u64::MAX, runs: vec![run(0, i64::MAX, u64::MAX)], ..good.clone() };
    for evidence in [endless, Evidence { runs: vec![run(-1, 0, 1)], ..good.clone() }] {
        ledger.add(3, 7, &serde_json::to_vec(&evidence).unwrap(), false).unwrap();
    }
    for garbage in [&b""[..], b"null", b"{}", b"{\"v\":1}", b"\xff"] {
        ledger.add(3, 8, garbage, false).unwrap();
    }
    assert_eq!(ledger.unreadable, Some((3, 7, 7)));
    let newer = Evidence { v: VERSION + 1, ..good };
    assert_eq!(ledger.add(0, 0, &serde_json::to_vec(&newer).unwrap(), false), Err(Newer(2)));
}

#[test]
fn where_hardly_any_offset_is_known_nothing_is_looked_for() {
    let mut one = source(1);
    let evidence: Vec<_> = (0..300).map(|_| one.ship(&["aaa"], &[run(0, None, 1)])).collect();
    let verdict = Sample::new(evidence, vec![(0..300).map(|offset| (offset, "aaa")).collect()]).judge();
    let (states, flaws) = said(&verdict);
    assert_eq!((states, flaws.len()), (vec![State::Unproven], 1), "{flaws:?}");
    assert!(
        flaws[0].starts_with("300 lines within bytes 0 to 1200 have offsets that Kafka did not tell"),
        "{flaws:?}"
    );
    assert_eq!((verdict.topics[0].unclaimed, verdict.topics[0].unattributed), (0, 300));
}

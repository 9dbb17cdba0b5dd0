//! Files that are not UTF-8 (`inputCharset`, `decodeErrorPolicy`). Flume's testUtf8DecodeErrorHandlingFailMalformed / Ignore / Replace,
//! testUtf16BOMAndSurrogatePairRead and testResumeWithSurrogatePairs, end to end.

use std::fs;
use std::time::Duration;

use super::bed::{self, Reader};
use super::job::{Job, Plan};
use super::until;

const SOON: Duration = Duration::from_secs(60);
const QUICK: &str = "settleTime: 300ms, pollDelay: 50ms";

fn utf_16be(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

#[test]
fn utf_16_with_a_byte_order_mark_arrives_once_whatever_is_killed() {
    let Some(bed) = bed::shared() else { return };
    let source = format!("{QUICK}, inputCharset: UTF-16, maxLineBytes: 64");
    let delivery = "commitInterval: 50ms, maxTransactionBytes: 1Ki";
    let job = Job::new(bed, "utf16", &Plan { source: &source, delivery, ..Plan::default() });
    // U+0A0A is two newlines to whoever looks at bytes; a pair of surrogates stands where a long line is cut.
    let line = |n: usize| format!("{n}: \u{a0a} größe \u{1f600}{}", "\u{1f600}".repeat(n % 23));
    let lines: Vec<String> = (0..4000).map(line).collect();
    job.put(b"big.txt", &[b"\xfe\xff".to_vec(), utf_16be(&lines.join("\r\n"))].concat());
    let mut cuts = 0;
    while job.completed() == 0 {
        let agent = job.start();
        let more = |r: &spoolway::pipeline::report::Report| r.totals.commits >= 5 || r.totals.files == 1;
        agent.reports("some commits, or the end", SOON, more);
        if cuts < 6 {
            cuts += 1;
            agent.kill();
        } else {
            agent.drained(1, SOON);
        }
    }
    assert!(cuts == 6, "it was killed while it shipped");
    let found = job.lines();
    // 64 bytes are 32 units, one less where a pair would be cut in two.
    let pieces = |text: &String| {
        let (mut pieces, mut rest) = (vec![], text.as_str());
        while rest.encode_utf16().count() > 32 {
            let (mut units, mut end) = (0, 0);
            for c in rest.chars().take_while(|c| {
                units += c.len_utf16();
                units <= 32
            }) {
                end += c.len_utf8();
            }
            pieces.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
        pieces.push(rest.to_owned());
        pieces
    };
    let expected: Vec<String> = lines.iter().flat_map(pieces).collect();
    assert!(found == expected, "{} of {}", found.len(), expected.len());
}

#[test]
fn bytes_that_are_no_text_set_their_file_aside_until_the_character_set_is_put_right() {
    let Some(bed) = bed::shared() else { return };
    let source = format!("{QUICK}, inputCharset: UTF-8");
    let job = Job::new(bed, "undecodable", &Plan { source: &source, ..Plan::default() });
    job.put(b"bad.txt", b"\xef\xbb\xbffirst\nsecond \xe9\nthird\n");
    job.put(b"good.txt", "größe\n".as_bytes());
    let agent = job.start();
    let report =
        agent.reports("one is complete, one aside", SOON, |r| r.totals.files == 1 && !r.set_aside.is_empty());
    let aside = &report.set_aside[0];
    assert_eq!((aside.file.as_str(), aside.reason.as_str(), aside.position), ("bad.txt", "CannotDecode", 9));
    assert!(aside.message.starts_with("byte 16 is not UTF-8"), "{}", aside.message);
    // What is before the bad line stays, the mark at the beginning does not; the rest follows when it can be read.
    let source = format!("{QUICK}, inputCharset: ISO-8859-1");
    fs::write(&job.manifest, job.text(&Plan { source: &source, ..Plan::default() }, "")).unwrap();
    until("both are complete", SOON, || (job.completed() == 2).then_some(()));
    agent.drained(1, SOON);
    let mut found = job.lines();
    found.sort();
    assert_eq!(found, ["first", "größe", "second é", "third"]);
}

#[test]
fn bad_bytes_are_replaced_or_left_out_where_that_is_asked_for_and_counted() {
    let Some(bed) = bed::shared() else { return };
    for (policy, expected) in [("Replace", ["a\u{fffd}b", "c\u{fffd}"]), ("Ignore", ["ab", "c"])] {
        let source = format!("{QUICK}, inputCharset: UTF-8, decodeErrorPolicy: {policy}");
        let name = format!("bad{}", policy.to_lowercase());
        let job = Job::new(bed, &name, &Plan { source: &source, ..Plan::default() });
        job.put(b"bad.txt", b"a\xffb\nc\xe2\x82\n");
        let agent = job.start();
        let report = agent.drained(1, SOON);
        assert_eq!(report.totals.decode_errors, 2, "{policy}");
        assert_eq!(job.lines(), expected, "{policy}");
        let mut altered = vec![];
        job.bed.read(&job.receipts, Reader::Fast, |r| {
            let evidence: serde_json::Value = serde_json::from_slice(r.value).unwrap();
            altered.push((
                evidence["kind"].as_str().unwrap().to_owned(),
                evidence["altered"]["decodeErrors"].as_u64(),
            ));
        });
        altered.sort();
        assert_eq!(altered.last(), Some(&("segment".to_owned(), Some(2))), "{policy}: counted for the file too");
        assert_eq!(altered.first(), Some(&("receipt".to_owned(), Some(2))), "{policy}");
    }
}

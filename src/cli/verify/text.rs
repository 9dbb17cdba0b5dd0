//! What `spoolway verify` looks like on a terminal. Pure.

use std::fmt::Write;

use super::Page;
use crate::agent::channel::verify::{File, State, Unclaimed};
use crate::cli::table::{plain, table};

/// Rows shown, of what is not wrong and of records that no segment claims, unless all are asked for.
const SHOWN: usize = 50;

/// The whole page: what is wrong in full; other files are counted, unless all are asked for.
pub fn page(page: &Page, all: bool) -> String {
    let shown = if all { usize::MAX } else { SHOWN };
    let mut out = format!("{}: {}\n", plain(&page.pipeline), verdict(page));
    let mut line = |what: &str, said: String| {
        let _ = writeln!(out, "  {what:<10}{}", plain(&said));
    };
    line("files", files(page));
    for topic in &page.topics {
        let mut said =
            format!("{}: {} records, {} of them claimed by segments", topic.name, topic.records, topic.claimed);
        if topic.unclaimed > 0 {
            let _ = write!(said, ", {} by none", topic.unclaimed);
        }
        line("topic", said);
    }
    line("receipts", format!("{}: {} records", page.receipts.topic, page.receipts.records));
    for problem in &page.problems {
        line("wrong", problem.clone());
    }
    for remark in &page.remarks {
        line("note", remark.clone());
    }
    let (wrong, other): (Vec<&File>, Vec<&File>) = page.files.iter().partition(|file| file.state == State::Faulty);
    flaws(&mut out, "WRONG", &wrong, usize::MAX);
    flaws(&mut out, "NOT PROVED", &other, shown);
    unclaimed(&mut out, page, shown);
    if all && !page.files.is_empty() {
        let rows = page.files.iter().map(|file| {
            let (lines, bytes) = (file.lines.to_string(), file.position.to_string());
            [label(file), plain(&file.agent), file.file_id.clone(), state(file.state).to_owned(), lines, bytes]
        });
        table(&mut out, ["FILE", "AGENT", "FILE ID", "STATE", "LINES", "BYTES"], rows);
    }
    out
}

/// In one line.
fn verdict(page: &Page) -> String {
    if page.clean {
        let which = match page.counts.expired + page.counts.unproven {
            0 => "every line that was shipped is",
            _ => "nothing is wrong; every line that can be verified is",
        };
        return format!("{which} in the topic, once and in order");
    }
    let mut said = vec![];
    let plural =
        |count: u64, one: &str, many: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {many}") };
    if page.counts.faulty > 0 {
        said.push(plural(page.counts.faulty, "file is wrong", "files are wrong"));
    }
    let unclaimed: u64 = page.topics.iter().map(|topic| topic.unclaimed).sum();
    if unclaimed > 0 && !page.shared_topic {
        said.push(plural(unclaimed, "record is claimed by no segment", "records are claimed by no segment"));
    }
    if said.is_empty() {
        said.push("something is wrong".to_owned());
    }
    said.join("; ")
}

fn files(page: &Page) -> String {
    let counts = &page.counts;
    let all = [
        (counts.complete, "complete"),
        (counts.half_shipped, "half shipped"),
        (counts.expired, "no longer to be verified"),
        (counts.unproven, "not proved"),
        (counts.faulty, "wrong"),
    ];
    let some: Vec<String> =
        all.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    match some.is_empty() {
        true => "none".to_owned(),
        false => format!("{}; {} lines", some.join(", "), counts.lines),
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Complete => "complete",
        State::HalfShipped => "half shipped",
        State::Expired => "no longer to be verified",
        State::Unproven => "not proved",
        State::Faulty => "wrong",
    }
}

/// Its name, and its generation where it is not the first.
fn label(file: &File) -> String {
    match file.generation {
        1 => plain(&file.name),
        generation => format!("{} (generation {generation})", plain(&file.name)),
    }
}

/// A row for each flaw.
fn flaws(out: &mut String, head: &str, files: &[&File], shown: usize) {
    let count: usize = files.iter().map(|file| file.flaws.len()).sum();
    if count == 0 {
        return;
    }
    let rows = files.iter().flat_map(|file| {
        file.flaws.iter().map(|told| [label(file), plain(&file.agent), file.file_id.clone(), plain(&told.message)])
    });
    table(out, [head, "AGENT", "FILE ID", "WHAT"], rows.take(shown));
    more(out, count, shown);
}

fn unclaimed(out: &mut String, page: &Page, shown: usize) {
    if page.unclaimed.is_empty() {
        return;
    }
    let rows = page.unclaimed.iter().take(shown).map(|record| {
        let Unclaimed { topic, partition, offset, bytes, equals } = record;
        let what = match equals {
            Some(twin) => {
                let line = twin.line.map_or_else(|| "a line".to_owned(), |line| format!("line {line}"));
                format!(
                    "a duplicate: equal to {line} of {} of {} (partition {}, offset {})",
                    twin.name, twin.identity, twin.partition, twin.offset
                )
            }
            None => "equal to no line that was shipped".to_owned(),
        };
        [plain(topic), partition.to_string(), offset.to_string(), bytes.to_string(), plain(&what)]
    });
    table(out, ["CLAIMED BY NO SEGMENT", "PARTITION", "OFFSET", "BYTES", "WHAT"], rows);
    let count: u64 = page.topics.iter().map(|topic| topic.unclaimed).sum();
    let listed = page.unclaimed.len().min(shown);
    if count > listed as u64 {
        let _ = writeln!(out, "  and {} more", count - listed as u64);
    }
}

fn more(out: &mut String, count: usize, shown: usize) {
    if count > shown {
        let _ = writeln!(out, "  and {} more; --all shows them", count - shown);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Counts, Page, Receipts};
    use super::*;
    use crate::agent::channel::verify::{Flaw, Lines, Told, Topic, Twin};
    use crate::pipeline::Guarantee;

    fn file(name: &str, state: State, flaws: Vec<Flaw>) -> File {
        File {
            agent: "node-1".to_owned(),
            name: name.to_owned(),
            file_id: "000000000000000a".to_owned(),
            generation: 1,
            topic: "web".to_owned(),
            state,
            position: 4000,
            lines: 100,
            flaws: flaws.into_iter().map(Told::from).collect(),
        }
    }

    fn sample() -> Page {
        let lines = Lines { from: 0, to: 40, lines: 2, partition: 3, first: 17, last: 18, line: Some(9) };
        let twin = Twin {
            identity: "local/shop/web/node-1".to_owned(),
            name: "a.log".to_owned(),
            file_id: "000000000000000a".to_owned(),
            line: Some(12),
            partition: 3,
            offset: 20,
        };
        let record = Unclaimed { topic: "web".to_owned(), partition: 3, offset: 99, bytes: 80, equals: Some(twin) };
        let other = Unclaimed { offset: 100, equals: None, ..record.clone() };
        Page {
            pipeline: "shop/web".to_owned(),
            guarantee: Guarantee::ExactlyOnce,
            clean: false,
            shared_topic: false,
            problems: vec![],
            remarks: vec![
                "topic web: up to 3 records are in, or behind, a transaction that is still open".to_owned(),
            ],
            receipts: Receipts { topic: "spoolway-shop-receipts".to_owned(), records: 12 },
            topics: vec![Topic {
                name: "web".to_owned(),
                partitions: 6,
                records: 500,
                claimed: 490,
                unclaimed: 10,
                ..Topic::default()
            }],
            counts: Counts { complete: 1, half_shipped: 1, expired: 1, faulty: 1, lines: 400, ..Counts::default() },
            files: vec![
                file("a.log", State::Complete, vec![]),
                file(
                    "b\u{1b}[2J.log",
                    State::Faulty,
                    vec![Flaw::Missing(lines.clone()), Flaw::DigestDiffers { from: 40, to: 80 }],
                ),
                file("c.log", State::HalfShipped, vec![]),
                File { generation: 2, ..file("d.log", State::Expired, vec![Flaw::NoLongerInTopic(lines)]) },
            ],
            unclaimed: vec![record, other],
        }
    }

    #[test]
    fn what_is_wrong_is_shown_in_full_and_the_rest_is_counted() {
        insta::assert_snapshot!(page(&sample(), false));
    }

    #[test]
    fn every_file_is_shown_where_it_is_asked_for() {
        let clean = Page {
            clean: true,
            files: vec![file("a.log", State::Complete, vec![])],
            counts: Counts { complete: 1, lines: 100, ..Counts::default() },
            topics: vec![Topic { name: "web".to_owned(), records: 100, claimed: 100, ..Topic::default() }],
            unclaimed: vec![],
            remarks: vec![],
            ..sample()
        };
        insta::assert_snapshot!(page(&clean, true));
    }
}

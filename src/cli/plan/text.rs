//! What `spoolway plan` looks like on a terminal. Pure.

use std::fmt::Write;

use super::{Page, Row};
use crate::agent::source::look::PassedOver;
use crate::cli::table::{bytes, plain, table};

/// Files shown, of each kind, unless all are asked for.
pub const SHOWN: usize = 50;
/// Characters of a name that are shown at most.
const NAME: usize = 60;

/// The whole page; at most `shown` files of those that are to be read, and of those set aside.
pub fn page(page: &Page, shown: usize) -> String {
    let mut out = format!("{}\n", plain(&page.pipeline));
    head(&mut out, page);
    if !page.in_the_way.is_empty() {
        let rows = page.in_the_way.iter().map(|f| [plain(&f.reason), plain(&f.message)]);
        table(&mut out, ["IN THE WAY", "WHAT IS WRONG, AND WHAT TO DO"], rows);
    }
    for (i, remark) in page.remarks.iter().enumerate() {
        let _ = writeln!(out, "{}  note: {}", if i == 0 { "\n" } else { "" }, plain(remark));
    }
    let (asides, files): (Vec<&Row>, Vec<&Row>) = page.files.iter().partition(|row| row.what == "setAside");
    if !files.is_empty() {
        let rows = files.iter().take(shown).enumerate().map(|(i, row)| file(page, i + 1, row));
        table(&mut out, ["#", "FILE", "SIZE", "FROM BYTE", "WAITS", "TO", "WHAT"], rows);
        more(&mut out, files.len(), shown);
    }
    if !asides.is_empty() {
        let rows = asides.iter().take(shown).map(|row| {
            let text = |part: &Option<String>| plain(part.as_deref().unwrap_or_default());
            [name(&row.name), size(row.size), row.position.to_string(), text(&row.reason), text(&row.message)]
        });
        table(&mut out, ["SET ASIDE", "SIZE", "SHIPPED", "REASON", "WHAT IS WRONG, AND WHAT TO DO"], rows);
        more(&mut out, asides.len(), shown);
    }
    if !page.ignored.is_empty() {
        let rows = page.ignored.iter().map(|ignored| {
            let examples: Vec<String> = ignored.examples.iter().map(|example| name(example)).collect();
            let rest = if ignored.count > examples.len() as u64 { ", …" } else { "" };
            [why(page, ignored.why), ignored.count.to_string(), format!("{}{rest}", examples.join(", "))]
        });
        table(&mut out, ["IGNORED", "COUNT", "SUCH AS"], rows);
    }
    if page.files.is_empty() && page.ignored.is_empty() && page.could_flow {
        out.push_str("\n  the directory is empty\n");
    }
    out
}

fn head(out: &mut String, page: &Page) {
    let mut line = |what: &str, said: String| {
        let _ = writeln!(out, "  {what:<11}{}", plain(&said));
    };
    let (set, waiting) = (&page.settings, &page.waiting);
    line("agent", page.transactional_id.clone());
    let locked = match page.locked_by {
        Some(pid) => format!("; process {pid} has it locked: an agent runs, and this is what it does next"),
        None => String::new(),
    };
    line("directory", format!("{}{locked}", page.directory));
    let silent = if page.brokers_answer { "" } else { "; they do not answer, so nothing is known of Kafka" };
    line("brokers", format!("{}{silent}", page.brokers));
    line(
        "topics",
        format!("{}; progress in {}, receipts in {}", set.topic, set.checkpoint_topic, set.receipt_topic),
    );
    let completion = match set.completion.as_str() {
        "Rename" => format!("completed by Rename to *{}", set.file_suffix),
        other => format!("completed by {other}"),
    };
    line(
        "files",
        format!(
            "{} but not {}, {} first, {completion} when unchanged for {}",
            set.include_pattern, set.ignore_pattern, set.consume_order, set.settle_time
        ),
    );
    line(
        "lines",
        format!(
            "up to {} bytes, longer ones: {}; commits every {} or {}",
            set.max_line_bytes,
            set.on_long_line,
            set.commit_interval,
            size(set.max_transaction_bytes)
        ),
    );
    let mut parts = vec![format!("{} in {} files", size(waiting.bytes), waiting.files)];
    for (count, what) in [
        (waiting.to_complete, "finished, only to be completed"),
        (waiting.complete, "complete"),
        (waiting.set_aside, "set aside"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    line("waits", parts.join("; "));
    let flows = if page.could_flow { "data can flow" } else { "data cannot flow: see what is in the way" };
    line("verdict", flows.to_owned());
    if !page.progress_known {
        line("progress", "not known: files are shown as if nothing of them were shipped".to_owned());
    }
}

fn file(page: &Page, number: usize, row: &Row) -> [String; 7] {
    let to = match (&row.topic, row.partition) {
        (Some(topic), Some(partition)) if page.brokers_answer => format!("{topic}/{partition}"),
        (Some(topic), None) if page.brokers_answer => format!("{topic}, in turn"),
        (topic, _) => topic.clone().unwrap_or_default(),
    };
    let what = match row.what {
        "begins" if page.progress_known => "is read from its first byte",
        "goesOn" if row.waiting_bytes > 0 => "goes on",
        "goesOn" => "at its end; complete once it has settled",
        "beginsAnew" => "holds other content than what was shipped: read from its first byte",
        "finished" if page.settings.completion == "Delete" => "committed; only its removal is left",
        "finished" => "committed; only its rename is left",
        "complete" => "committed, and stays",
        _ => "",
    };
    let linked = if row.linked { "; has a second name here, whose turn comes then" } else { "" };
    [
        number.to_string(),
        name(&row.name),
        size(row.size),
        if page.progress_known { row.position.to_string() } else { "?".to_owned() },
        size(row.waiting_bytes),
        plain(&to),
        format!("{what}{linked}"),
    ]
}

fn more(out: &mut String, count: usize, shown: usize) {
    if count > shown {
        let _ = writeln!(out, "  and {} more; --all shows them", count - shown);
    }
}

fn why(page: &Page, why: PassedOver) -> String {
    let set = &page.settings;
    plain(&match why {
        PassedOver::Completed => format!("ends in {} (fileSuffix)", set.file_suffix),
        PassedOver::Ignored => format!("matches {} (ignorePattern)", set.ignore_pattern),
        PassedOver::NotIncluded => format!("does not match {} (includePattern)", set.include_pattern),
        PassedOver::Hidden => "begins with a dot".to_owned(),
        PassedOver::Directory => "is a directory".to_owned(),
    })
}

fn size(number: u64) -> String {
    bytes(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A name, escaped by now; a long one without its middle, since logs of one kind differ at their ends.
fn name(name: &str) -> String {
    let name = plain(name);
    let count = name.chars().count();
    if count <= NAME {
        return name;
    }
    let half = NAME / 2;
    let (head, tail): (String, String) =
        (name.chars().take(half - 1).collect(), name.chars().skip(count - half).collect());
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::super::{Ignored, Settings, Waiting};
    use super::*;
    use crate::agent::sink::kafka::look::Finding;

    fn row(name: &str, what: &'static str, size: u64, position: u64) -> Row {
        Row {
            name: name.to_owned(),
            what,
            size,
            position,
            waiting_bytes: size.saturating_sub(position),
            topic: Some("web".to_owned()),
            partition: Some(3),
            id: None,
            reason: None,
            message: None,
            linked: false,
        }
    }

    fn sample() -> Page {
        let settings = Settings {
            topic: "web".to_owned(),
            checkpoint_topic: "spoolway-shop-checkpoints".to_owned(),
            receipt_topic: "spoolway-shop-receipts".to_owned(),
            include_pattern: "^.*$".to_owned(),
            ignore_pattern: r"^.*\.tmp$".to_owned(),
            completion: "Rename".to_owned(),
            file_suffix: ".COMPLETED".to_owned(),
            consume_order: "Oldest".to_owned(),
            settle_time: "5s".to_owned(),
            max_line_bytes: 1_000_000,
            on_long_line: "Split".to_owned(),
            commit_interval: "1s".to_owned(),
            max_transaction_bytes: 67_108_864,
        };
        let long = format!("access-{}-2026.log", "x".repeat(80));
        let aside = Row {
            topic: None,
            partition: None,
            reason: Some("CompressedFile".to_owned()),
            message: Some("its first bytes are those of a compressed file; decompress it".to_owned()),
            ..row("old.gz", "setAside", 950, 0)
        };
        let files = vec![
            row("done.log", "finished", 4_000, 4_000),
            Row { partition: None, ..row("half.log", "goesOn", 1_250_000_000, 1_000_000) },
            row(&long, "begins", 12, 0),
            Row { linked: true, ..row(r"a\u{1b}[2Jb", "beginsAnew", 12, 0) },
            row("end.log", "goesOn", 12, 12),
            aside,
        ];
        let examples = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Page {
            pipeline: "shop/web".to_owned(),
            transactional_id: "spoolway/local/shop/web/a1".to_owned(),
            could_flow: true,
            brokers: "dn1:9092".to_owned(),
            brokers_answer: true,
            progress_known: true,
            directory: "/var/spool/web".to_owned(),
            locked_by: Some(4711),
            settings,
            in_the_way: vec![],
            remarks: vec![
                "topic spoolway-shop-receipts does not exist; an agent makes it when it starts".to_owned(),
            ],
            waiting: Waiting { files: 3, bytes: 1_249_000_024, to_complete: 1, complete: 0, set_aside: 1 },
            files,
            ignored: vec![
                Ignored {
                    why: PassedOver::Completed,
                    count: 120,
                    examples: examples(&["a.COMPLETED", "b.COMPLETED"]),
                },
                Ignored { why: PassedOver::Ignored, count: 1, examples: examples(&["x.tmp"]) },
            ],
        }
    }

    #[test]
    fn a_plan_of_an_agent_that_runs() {
        insta::assert_snapshot!(page(&sample(), SHOWN));
    }

    #[test]
    fn what_is_in_the_way_comes_first_and_few_files_are_shown() {
        let finding =
            |reason: &str, message: &str| Finding { reason: reason.to_owned(), message: message.to_owned() };
        let in_the_way = vec![
            finding("TopicMissing", "topic web does not exist; create it: kafka-topics --create"),
            finding("MissingGrant", "this user may not use transactional ids; grant them:\nkafka-acls --add"),
        ];
        let blind = Page {
            in_the_way,
            could_flow: false,
            brokers_answer: false,
            progress_known: false,
            locked_by: None,
            remarks: vec![],
            ..sample()
        };
        insta::assert_snapshot!(page(&blind, 2));
    }

    #[test]
    fn a_directory_in_which_nothing_matches_shows_what_is_there() {
        let none = Page { files: vec![], ignored: vec![], waiting: Waiting::default(), ..sample() };
        assert!(page(&none, SHOWN).ends_with("\n  the directory is empty\n"));
        let why = PassedOver::NotIncluded;
        let ignored = vec![Ignored { why, count: 2, examples: vec!["a.txt".to_owned(), "b.txt".to_owned()] }];
        let page = page(&Page { ignored, ..none }, SHOWN);
        assert!(page.ends_with("  does not match ^.*$ (includePattern)  2      a.txt, b.txt\n"), "{page}");
    }
}

//! `spoolway verify`: whether the topic holds every line that was shipped, once and in order. I/O; what it looks like is `text`'s.

mod text;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::agent::time;
use super::table::{Output, plain};
use super::whose::{Invalid, Whose};
use crate::agent::channel::verify::{File, Flaw, State, Told, Topic, Unclaimed};
use crate::agent::plan::brokers;
use crate::agent::sink::kafka::verify::{Ask, Found, verify};
use crate::pipeline::Guarantee;
use crate::pipeline::quantity::ByteSize;

/// What to verify.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads the receipt topic and the topics it names with isolation level read_committed; nothing is written, no group joined, \
                        and agents may ship meanwhile. It looks at the files of all agents of the pipeline. The user needs Read and Describe \
                        on these topics.\n\n\
                        Exit code: 0 when nothing is wrong (files that are half shipped, and lines that retention deleted, are not wrong), 1 \
                        when something is, when there is nothing to verify, or when it could not be done, 2 for invalid input."
)]
pub struct VerifyArgs {
    #[command(flatten)]
    whose: Whose,
    /// Others write to the topic too: records that no segment claims are no fault
    #[arg(long)]
    shared_topic: bool,
    /// How long transactions that are still open are waited for
    #[arg(long, value_name = "TIME", default_value = "45s", value_parser = time)]
    wait: Duration,
    /// Memory for lines that wait for others, where a file's lines are on several partitions
    #[arg(long, value_name = "SIZE", default_value = "256Mi", value_parser = size)]
    memory: usize,
    /// Show every file, not only those with something to be said of
    #[arg(long)]
    all: bool,
    /// As text for people, or as JSON for programs, with all files
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

fn size(text: &str) -> Result<usize, String> {
    let bytes = ByteSize(text.to_owned()).bytes()?;
    usize::try_from(bytes).map_err(|e| e.to_string())
}

/// Verifies; see the exit codes in the help.
pub fn run(args: &VerifyArgs) -> ExitCode {
    let agent = args.whose.agent_id(None);
    let (config, setup, to) = match args.whose.setup(&agent) {
        Ok(found) => found,
        Err(Invalid(problems)) => {
            problems.iter().for_each(|problem| eprintln!("spoolway: {}", plain(problem)));
            return ExitCode::from(2);
        }
    };
    let guarantee = to.names.guarantee;
    let ask = Ask {
        pipeline: setup.identity.strip_suffix(&agent).unwrap_or(&setup.identity).to_owned(),
        shared: args.shared_topic,
        transactional: guarantee == Guarantee::ExactlyOnce,
        wait: args.wait,
        memory: args.memory,
        commit_interval: setup.channel.commit_interval,
    };
    let bar = io::stderr().is_terminal().then(progress_bar);
    let found = verify(&brokers(&setup, &to), &ask, &mut |done, total| {
        if let Some(bar) = &bar {
            bar.set_length(total);
            bar.set_position(done);
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            eprintln!("spoolway: {}", plain(&error.message));
            return ExitCode::from(1);
        }
    };
    let name = format!("{}/{}", config.pipeline.namespace(), config.pipeline.metadata.name);
    let page = Page::of(name, &ask, guarantee, &to.names.receipt_topic, found);
    let said = match args.output {
        Output::Text => text::page(&page, args.all),
        Output::Json => serde_json::to_string(&page).unwrap_or_default() + "\n",
    };
    // A reader that went away (`| head`) is no failure of ours.
    let _ = io::stdout().lock().write_all(said.as_bytes());
    if page.clean { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} offsets, {per_sec}, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

/// All that is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    pipeline: String,
    guarantee: Guarantee,
    /// Whether nothing is wrong.
    clean: bool,
    /// `--shared-topic`.
    shared_topic: bool,
    /// What is wrong, beside single files and records.
    problems: Vec<String>,
    /// What is worth to know, and is not wrong.
    remarks: Vec<String>,
    receipts: Receipts,
    topics: Vec<Topic>,
    /// Files by state.
    counts: Counts,
    files: Vec<File>,
    /// The first thousand.
    unclaimed: Vec<Unclaimed>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Receipts {
    topic: String,
    records: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    complete: u64,
    half_shipped: u64,
    expired: u64,
    unproven: u64,
    faulty: u64,
    lines: u64,
}

impl Page {
    fn of(pipeline: String, ask: &Ask, guarantee: Guarantee, receipts: &str, found: Found) -> Page {
        let mut counts = Counts::default();
        for file in &found.verdict.files {
            counts.lines = counts.lines.saturating_add(file.lines);
            *match file.state {
                State::Complete => &mut counts.complete,
                State::HalfShipped => &mut counts.half_shipped,
                State::Expired => &mut counts.expired,
                State::Unproven => &mut counts.unproven,
                State::Faulty => &mut counts.faulty,
            } += 1;
        }
        let problems = problems(ask, receipts, &found);
        let unclaimed: u64 = found.verdict.topics.iter().map(|topic| topic.unclaimed).sum();
        Page {
            pipeline,
            guarantee,
            clean: counts.faulty == 0 && problems.is_empty() && (unclaimed == 0 || ask.shared),
            shared_topic: ask.shared,
            problems,
            remarks: remarks(guarantee, receipts, &found),
            receipts: Receipts { topic: receipts.to_owned(), records: found.evidence },
            counts,
            files: found.verdict.files,
            topics: found.verdict.topics,
            unclaimed: found.verdict.unclaimed,
        }
    }
}

fn problems(ask: &Ask, receipts: &str, found: &Found) -> Vec<String> {
    let mut said: Vec<String> = found.verdict.topics.iter().filter_map(|topic| topic.shrunk.clone()).collect();
    if found.verdict.files.is_empty() {
        let pipeline = ask.pipeline.trim_end_matches('/');
        let others = match found.others.as_slice() {
            [] => String::new(),
            others => format!("; there is something of {}: is --cluster right?", others.join(", ")),
        };
        said.push(format!("topic {receipts} says nothing of {pipeline}, so there is nothing to verify{others}"));
    }
    if let Some((partition, offset, count)) = found.unreadable {
        said.push(format!(
            "topic {receipts}: {count} records are neither segments nor receipts, the first one on partition {partition} at offset \
             {offset}; who else writes there?"
        ));
    }
    said
}

fn remarks(guarantee: Guarantee, receipts: &str, found: &Found) -> Vec<String> {
    let mut said = vec![];
    if found.unread_evidence > 0 {
        said.push(format!(
            "topic {receipts}: the last {} offsets are behind a transaction that is still open, so it is not known which records of \
             other topics they claim; `kafka-transactions.sh find-hanging` names it, if it stays",
            found.unread_evidence
        ));
    }
    for topic in &found.verdict.topics {
        let name = &topic.name;
        if topic.open > 0 {
            said.push(format!(
                "topic {name}: up to {} records are in, or behind, a transaction that is still open",
                topic.open
            ));
        }
        if topic.older_than_receipts > 0 {
            said.push(format!(
                "topic {name}: {} records that no segment claims are older than what topic {receipts} still holds; whether one did is not \
                 known any more",
                topic.older_than_receipts
            ));
        }
        if topic.unattributed > 0 {
            said.push(format!(
                "topic {name}: of {} records that no segment claims it is not known whether one should: they may be lines whose \
                 offsets are not known, or whose segment cannot be read yet",
                topic.unattributed
            ));
        }
    }
    let again = |told: &Told| matches!(told.flaw, Flaw::ShippedTwice { .. });
    let twice = found.verdict.topics.iter().any(|topic| topic.unclaimed > 0)
        || found.verdict.files.iter().any(|file| file.flaws.iter().any(again));
    if guarantee != Guarantee::ExactlyOnce && twice {
        said.push(format!("guarantee {guarantee:?} allows lines to be in the topic twice"));
    }
    said
}

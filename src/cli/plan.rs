//! `spoolway plan`: what an agent would do with each file, and everything that is in its way. I/O; what it looks like is `text`'s.

mod text;

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use super::table::Output;
use super::whose::{Invalid, Whose};
use crate::agent::channel::plan::{Fate, Planned};
use crate::agent::plan::{Plan, plan};
use crate::agent::setup::{Setup, ToKafka};
use crate::agent::sink::kafka::look::Finding;
use crate::agent::source::look::PassedOver;
use crate::pipeline::Completion;

/// What to look at.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing is changed and nobody is disturbed: no lock is taken, no topic made, nothing written, no agent fenced. \
                        Whether transactional ids may be used is tried with one that no agent has (the agent's with /plan behind it), \
                        which Kafka forgets by itself after a week.\n\n\
                        Exit code: 0 when data could flow (files that are set aside stop only themselves), 1 when something is in the \
                        way or the brokers do not answer, 2 for invalid input."
)]
pub struct PlanArgs {
    #[command(flatten)]
    whose: Whose,
    /// The agent to plan for [default: the host name; in a pod its node's]
    #[arg(long, value_name = "ID")]
    agent_id: Option<String>,
    /// Show every file, not only the first 50
    #[arg(long)]
    all: bool,
    /// As text for people, or as JSON for programs, with all files
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Shows the plan; see the exit codes in the help.
pub fn run(args: &PlanArgs) -> ExitCode {
    let (config, setup, to) = match args.whose.setup(&args.whose.agent_id(args.agent_id.as_deref())) {
        Ok(found) => found,
        Err(Invalid(problems)) => {
            problems.iter().for_each(|problem| eprintln!("spoolway: {problem}"));
            return ExitCode::from(2);
        }
    };
    let name = format!("{}/{}", config.pipeline.namespace(), config.pipeline.metadata.name);
    let page = Page::of(&name, &setup, &to, &plan(&setup, &to));
    let said = match args.output {
        Output::Text => text::page(&page, if args.all { usize::MAX } else { text::SHOWN }),
        Output::Json => serde_json::to_string(&page).unwrap_or_default() + "\n",
    };
    // A reader that went away (`| head`) is no failure of ours.
    let _ = io::stdout().lock().write_all(said.as_bytes());
    if page.could_flow { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// All that is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    pipeline: String,
    transactional_id: String,
    /// Whether nothing is in the way.
    could_flow: bool,
    brokers: String,
    brokers_answer: bool,
    /// Without it, positions are not known: every file looks as if nothing of it were shipped.
    progress_known: bool,
    directory: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_by: Option<u32>,
    settings: Settings,
    in_the_way: Vec<Finding>,
    remarks: Vec<String>,
    waiting: Waiting,
    files: Vec<Row>,
    ignored: Vec<Ignored>,
}

/// Settings that decide what happens to a file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    topic: String,
    checkpoint_topic: String,
    receipt_topic: String,
    include_pattern: String,
    ignore_pattern: String,
    completion: String,
    file_suffix: String,
    consume_order: String,
    settle_time: String,
    max_line_bytes: usize,
    on_long_line: String,
    commit_interval: String,
    max_transaction_bytes: u64,
}

/// What waits.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    /// Files with bytes that can be shipped.
    files: u64,
    bytes: u64,
    /// Files that are committed and only need to be completed.
    to_complete: u64,
    /// Files that are complete and stay (`Track`).
    complete: u64,
    set_aside: u64,
}

/// A file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    what: &'static str,
    size: u64,
    position: u64,
    waiting_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// Absent where the lines go to all in turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    /// For `spoolway progress forget --file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// It has a second name in the directory.
    linked: bool,
}

/// Names that are passed over.
#[derive(Debug, Serialize)]
struct Ignored {
    why: PassedOver,
    count: u64,
    examples: Vec<String>,
}

impl Page {
    fn of(name: &str, setup: &Setup, to: &ToKafka, plan: &Plan) -> Page {
        let mut waiting = Waiting::default();
        for file in &plan.files {
            match file.fate {
                Fate::SetAside { .. } => waiting.set_aside += 1,
                Fate::Finished => waiting.to_complete += 1,
                Fate::Complete => waiting.complete += 1,
                Fate::Begins | Fate::GoesOn | Fate::BeginsAnew => {
                    waiting.files += u64::from(file.waits > 0);
                    waiting.bytes += file.waits;
                }
            }
        }
        let mut remarks = plan.remarks.clone();
        if plan.files.iter().any(|file| file.name.base().starts_with(b"flume-spooldir-perm-check-")) {
            let advice = "Flume left it, and it would be shipped; remove it";
            remarks.push(format!("there is a file flume-spooldir-perm-check-*: {advice}"));
        }
        Page {
            pipeline: name.to_owned(),
            transactional_id: to.names.transactional_id.clone(),
            could_flow: plan.findings.is_empty(),
            brokers: to.spec.bootstrap_servers.join(","),
            brokers_answer: plan.reached,
            progress_known: plan.knows_progress,
            directory: setup.directory.path.clone(),
            locked_by: plan.locked_by,
            settings: Settings::of(setup, to),
            in_the_way: plan.findings.clone(),
            remarks,
            waiting,
            files: plan.files.iter().map(Row::of).collect(),
            ignored: plan
                .passed
                .iter()
                .map(|passed| Ignored {
                    why: passed.why,
                    count: passed.count,
                    examples: passed.examples.iter().map(ToString::to_string).collect(),
                })
                .collect(),
        }
    }
}

impl Settings {
    fn of(setup: &Setup, to: &ToKafka) -> Settings {
        let (directory, channel) = (&setup.directory, &setup.channel);
        let bare = |regex: &regex::Regex| {
            let text = regex.as_str();
            text.strip_prefix("^(?:").and_then(|t| t.strip_suffix(")$")).unwrap_or(text).to_owned()
        };
        Settings {
            topic: channel.topic.clone(),
            checkpoint_topic: to.names.checkpoint_topic.clone(),
            receipt_topic: to.names.receipt_topic.clone(),
            include_pattern: bare(&directory.include),
            ignore_pattern: bare(&directory.ignore),
            completion: match directory.completion {
                Completion::Rename => "Rename",
                Completion::Delete => "Delete",
                Completion::Track => "Track",
            }
            .to_owned(),
            file_suffix: directory.suffix.clone(),
            consume_order: format!("{:?}", channel.order),
            settle_time: format!("{:?}", channel.settle),
            max_line_bytes: channel.rules.max_line,
            on_long_line: format!("{:?}", channel.rules.on_long_line),
            commit_interval: format!("{:?}", channel.commit_interval),
            max_transaction_bytes: channel.max_transaction_bytes,
        }
    }
}

impl Row {
    fn of(file: &Planned) -> Row {
        let (reason, message) = match &file.fate {
            Fate::SetAside { reason, note } => {
                (Some(format!("{reason:?}")), Some(format!("{note}; {}", reason.advice())))
            }
            _ => (None, None),
        };
        Row {
            name: file.name.to_string(),
            what: match file.fate {
                Fate::Begins => "begins",
                Fate::GoesOn => "goesOn",
                Fate::BeginsAnew => "beginsAnew",
                Fate::Finished => "finished",
                Fate::Complete => "complete",
                Fate::SetAside { .. } => "setAside",
            },
            size: file.size,
            position: file.position,
            waiting_bytes: file.waits,
            topic: file.to.as_ref().map(|to| to.topic.clone()),
            partition: file.to.as_ref().and_then(|to| to.partition),
            id: file.id.map(|id| id.to_string()),
            reason,
            message,
            linked: file.linked,
        }
    }
}

//! `spoolway progress`: what is committed of each file; and the two decisions about it that only a person can make. I/O; what it looks like
//! is `text`'s.
//!
//! Nothing is changed without `--yes`. Forgetting goes the way of an agent that starts: lock, fence, read, one transaction.

mod text;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::table::{Output, plain};
use super::whose::{Invalid, Whose};
use crate::agent::channel::progress::Progress;
use crate::agent::plan::brokers;
use crate::agent::setup::{Setup, ToKafka};
use crate::agent::sink::kafka::kept::{self, Kept, partition_of};
use crate::agent::sink::kafka::look::{checkpoint_topic, read_kept, without_checkpoints};
use crate::agent::sink::kafka::pin::Pin;
use crate::agent::source::spooldir::SpoolDir;
use crate::pipeline::LogPipeline;
use crate::pipeline::pod::{AGENT_FILE, CheckpointTopic};
use crate::pipeline::report::FlowReason;

/// What to do.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 when it is done, 1 when it is not (without --yes too), 2 for invalid input.")]
pub struct ProgressArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show what the checkpoint topic holds for a pipeline: each agent, each file, how far
    List(ListArgs),
    /// Go on with the checkpoint topic as it is now, though it is not the one that progress was kept in
    Accept(AcceptArgs),
    /// Remove what is kept of an agent's files: its node is gone, or a file is to be read again from its first byte
    Forget(ForgetArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    whose: Whose,
    /// Only this agent
    #[arg(long, value_name = "ID")]
    agent_id: Option<String>,
    /// As text for people, or as JSON for programs
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct AcceptArgs {
    #[command(flatten)]
    whose: Whose,
    /// The agent whose --state-dir remembers the topic [default: the host name; in a pod its node's]
    #[arg(long, value_name = "ID")]
    agent_id: Option<String>,
    /// Do it
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
struct ForgetArgs {
    #[command(flatten)]
    whose: Whose,
    /// The agent
    #[arg(long, value_name = "ID")]
    agent_id: String,
    /// Only the file with this id, as `progress list` shows it
    #[arg(long, value_name = "ID")]
    file_id: Option<String>,
    /// The agent's directory is on another machine: the one here, by the same path, is another agent's
    #[arg(long)]
    elsewhere: bool,
    /// Do it
    #[arg(long)]
    yes: bool,
}

/// Why it is not done.
enum Trouble {
    Invalid(Vec<String>),
    Failed(String),
}

impl From<Invalid> for Trouble {
    fn from(Invalid(problems): Invalid) -> Self {
        Trouble::Invalid(problems)
    }
}

impl<E: std::error::Error> From<E> for Trouble {
    fn from(error: E) -> Self {
        Trouble::Failed(error.to_string())
    }
}

/// Does it; see the exit codes in the help.
pub fn run(args: &ProgressArgs) -> ExitCode {
    let done = match &args.what {
        What::List(args) => list(args),
        What::Accept(args) => accept(args),
        What::Forget(args) => forget(args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Trouble::Invalid(problems)) => {
            problems.iter().for_each(|problem| eprintln!("spoolway: {}", plain(problem)));
            ExitCode::from(2)
        }
        Err(Trouble::Failed(why)) => {
            eprintln!("spoolway: {}", plain(&why));
            ExitCode::from(1)
        }
    }
}

/// What is kept of one file, as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    transactional_id: String,
    agent: String,
    file_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(flatten)]
    kept: Option<Shown>,
    /// Why it cannot be read, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    generation: u32,
    position: u64,
    lines: u64,
    finished: bool,
    /// Since its last commit.
    age_seconds: u64,
    topic: String,
    partition: i32,
}

impl Row {
    fn of(kept: &Kept) -> Row {
        let shown = |p: &Progress| Shown {
            generation: p.generation,
            position: p.position,
            lines: p.lines,
            finished: p.finished,
            age_seconds: p.age.as_secs(),
            topic: p.topic.clone(),
            partition: p.partition,
        };
        let progress = kept.progress.as_ref();
        Row {
            agent: kept.transactional_id.splitn(5, '/').nth(4).unwrap_or_default().to_owned(),
            transactional_id: kept.transactional_id.clone(),
            file_id: kept.file.clone(),
            name: progress.ok().map(|p| p.name.to_string()),
            kept: progress.ok().map(shown),
            problem: progress.err().map(|e| kept::advice(e, &kept.transactional_id)),
        }
    }
}

fn list(args: &ListArgs) -> Result<bool, Trouble> {
    let agent = args.whose.agent_id(args.agent_id.as_deref());
    let (_, setup, to) = args.whose.setup(&agent)?;
    let brokers = brokers(&setup, &to);
    let own = &to.names.transactional_id;
    let of_pipeline = own.strip_suffix(&agent).unwrap_or(own);
    let wanted = |owner: &str| match &args.agent_id {
        Some(_) => owner == own,
        None => owner.starts_with(of_pipeline),
    };
    let kept = match checkpoint_topic(&brokers)? {
        Some(topic) => read_kept(&brokers, &every(topic.partitions), wanted)?,
        None => vec![],
    };
    let rows: Vec<Row> = kept.iter().map(Row::of).collect();
    say(&match args.output {
        Output::Text => text::list(&rows, &to.names.checkpoint_topic),
        Output::Json => serde_json::to_string(&rows)? + "\n",
    });
    Ok(rows.iter().all(|row| row.problem.is_none()))
}

fn every(partitions: u32) -> Vec<i32> {
    (0..i32::try_from(partitions).unwrap_or(i32::MAX)).collect()
}

fn accept(args: &AcceptArgs) -> Result<bool, Trouble> {
    let (config, setup, to) = args.whose.setup(&args.whose.agent_id(args.agent_id.as_deref()))?;
    let pin = &to.names.pin;
    if matches!(pin, Pin::None | Pin::Process(_)) {
        let advice = "name the agent's --state-dir, or of a pipeline that the operator runs ask in one of its pods, with --config-dir";
        return Err(Trouble::Invalid(vec![format!("nothing is remembered of a checkpoint topic here; {advice}")]));
    }
    let then = pin.known()?;
    let now = checkpoint_topic(&brokers(&setup, &to))?;
    say(&text::change(&to.names.checkpoint_topic, then.as_ref(), now.as_ref()));
    let same = match (&then, &now) {
        (None, _) => true,
        (Some(_), Some(now)) => pin.compare(now).is_ok(),
        (Some(_), None) => false,
    };
    if same {
        say("\nthere is nothing to accept\n");
        return Ok(true);
    }
    say(text::CONSEQUENCE);
    match (pin, &args.whose.config_dir, &now) {
        (Pin::Operator { config_map, .. }, Some(directory), Some(now)) => {
            let command = patch(&config.pipeline, config_map, directory, now).map_err(Trouble::Failed)?;
            say(&text::by_hand(config_map, &command));
            Ok(false)
        }
        (Pin::Operator { .. }, ..) => {
            let missing = without_checkpoints(&brokers(&setup, &to)).message;
            say(&format!("\nbefore it can be accepted: {}\n", plain(&missing)));
            Ok(false)
        }
        (_, _, now) if args.yes => {
            match now {
                Some(now) => pin.remember(now)?,
                None => pin.forget()?,
            }
            say("\naccepted; an agent that waits goes on within a minute\n");
            Ok(true)
        }
        _ => {
            say("\nnothing is changed yet: add --yes to accept it\n");
            Ok(false)
        }
    }
}

/// The command that makes the operator's ConfigMap remember another topic. Agents have no rights there, so a person runs it.
fn patch(
    pipeline: &LogPipeline,
    config_map: &str,
    directory: &Path,
    now: &CheckpointTopic,
) -> Result<String, String> {
    let path = directory.join(AGENT_FILE);
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let malformed = |e: serde_json::Error| format!("{}: {e}", path.display());
    // As a value: what a newer operator wrote there stays.
    let mut file: serde_json::Value = serde_json::from_str(&text).map_err(malformed)?;
    file["checkpointTopic"] = serde_json::to_value(now).map_err(malformed)?;
    let patch = serde_json::json!({"data": {AGENT_FILE: file.to_string()}}).to_string();
    let quoted = patch.replace('\'', r"'\''");
    let namespace = pipeline.namespace();
    Ok(format!("kubectl --namespace {namespace} patch configmap {config_map} --type merge --patch '{quoted}'"))
}

fn forget(args: &ForgetArgs) -> Result<bool, Trouble> {
    let (_, setup, to) = args.whose.setup(&args.agent_id)?;
    let (names, brokers) = (&to.names, &mut brokers(&setup, &to));
    let Some(topic) = checkpoint_topic(brokers)? else {
        return Err(Trouble::Failed(format!(
            "topic {} does not exist, so nothing is kept",
            names.checkpoint_topic
        )));
    };
    let partition = partition_of(&names.agent, topic.partitions);
    let mut found = read_kept(brokers, &[partition], |owner| owner == names.transactional_id)?;
    found.retain(|kept| args.file_id.as_ref().is_none_or(|id| kept.file == *id));
    if found.is_empty() {
        let what = args.file_id.as_ref().map(|id| format!("file {id} of ")).unwrap_or_default();
        let advice = "spoolway progress list shows what is";
        return Err(Trouble::Failed(format!("nothing is kept of {what}{}; {advice}", names.transactional_id)));
    }
    let rows: Vec<Row> = found.iter().map(Row::of).collect();
    say(&text::list(&rows, &names.checkpoint_topic));
    if !args.yes {
        say(text::FORGETTING);
        return Ok(false);
    }
    let _locked = if args.elsewhere { None } else { locked(&setup, &to)? };
    let gone = kept::forget(brokers, names, topic.partitions, args.file_id.as_deref())?;
    say(&format!("\nforgotten: {} files\n", gone.len()));
    Ok(true)
}

/// The directory, locked so that no agent starts on it meanwhile; none where there is none on this machine.
fn locked(setup: &Setup, to: &ToKafka) -> Result<Option<SpoolDir>, Trouble> {
    let (stop, _kept) = std::io::pipe()?;
    let mut spool = SpoolDir::new(setup.directory.clone(), stop.into());
    if spool.look().is_err() {
        return Ok(None);
    }
    match spool.lock_alone() {
        Ok(()) => Ok(Some(spool)),
        Err(e) if e.reason == FlowReason::AnotherAgentRunning => {
            let who =
                spool.locked_by().map_or_else(|| "an agent".to_owned(), |pid| format!("an agent (process {pid})"));
            Err(Trouble::Failed(format!(
                "{who} has {} locked; nothing is forgotten: stop it first, or add --elsewhere if the directory of {} is on \
                 another machine",
                setup.directory.path, to.names.agent
            )))
        }
        Err(e) => Err(e.into()),
    }
}

fn say(text: &str) {
    // A reader that went away (`| head`) is no failure of ours.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

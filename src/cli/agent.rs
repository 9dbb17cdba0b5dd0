//! `spoolway agent`: runs one pipeline on this machine, exactly as a pod does.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::whose::{check_agent_id, host_name};
use crate::agent::config::Place;
use crate::agent::push::Push;
use crate::agent::reload::Reload;
use crate::agent::status::Status;
use crate::agent::stop::Stop;
use crate::agent::{Agent, Options, http};
use crate::pipeline::quantity::TimeSpan;

/// What to run, and as whom.
#[derive(Debug, clap::Args)]
pub struct AgentArgs {
    /// File with one LogPipeline
    #[arg(short, long = "file", value_name = "FILE", required_unless_present = "config_dir")]
    pub file: Option<PathBuf>,
    /// In a pod: directory with pipeline.yaml and agent.json, as the operator's ConfigMap is mounted; changes are taken up
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "cluster", "state_dir", "once"])]
    pub config_dir: Option<PathBuf>,
    /// Hash of this pod's shape: a configuration that was made for another one is not taken
    #[arg(long, value_name = "HASH", requires = "config_dir")]
    pub shape: Option<String>,
    /// Ship what is there now, print a summary, and end: 0 if nothing was set aside, nothing lost, and nobody stopped it
    #[arg(long)]
    pub once: bool,
    /// Name of this agent among those of the pipeline; a successor with the same name takes over [default: the host name]
    #[arg(long, value_name = "ID")]
    pub agent_id: Option<String>,
    /// Keeps clusters that share a Kafka apart
    #[arg(long, value_name = "NAME", default_value = "local")]
    pub cluster: String,
    /// Directory in which the agent remembers what the checkpoint topic was like, so that another one is refused, and keeps the
    /// progress of sink file
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Directory with the pipeline's Secrets, DIR/<secret>/<key>, mode 0600
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// Serve /healthz, /readyz, /metrics and /report on this address, for example 127.0.0.1:8080
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// In a pod: file with the ServiceAccount token for reports to the operator, read anew for each
    #[arg(long, value_name = "FILE", requires = "config_dir")]
    pub report_token: Option<PathBuf>,
    /// Time to commit what is read after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = time)]
    pub drain_timeout: Duration,
}

/// A duration as it is written in a LogPipeline.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    TimeSpan(text.to_owned()).duration().map_err(str::to_owned)
}

/// To all that the system allows: a shell's 1024 are few for `maxOpenFiles: 1024`, or for what sink `file` rolls between two commits.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!("cannot raise the number of files that may be open: {e}");
    }
}

/// Runs the agent; see the crate's exit codes.
pub fn run(args: AgentArgs) -> ExitCode {
    super::log::start();
    match ship(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            if let Some(Invalid(problems)) = error.downcast_ref() {
                problems.iter().for_each(|problem| eprintln!("spoolway: {problem}"));
                return ExitCode::from(2);
            }
            eprintln!("spoolway: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// Input that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
struct Invalid(Vec<String>);

/// True when the job is done: always after a stop, with `--once` only when everything is committed.
fn ship(args: &AgentArgs) -> anyhow::Result<bool> {
    let options = Options {
        agent_id: args.agent_id.clone().unwrap_or_else(host_name),
        state_dir: args.state_dir.clone(),
        secrets: args.secrets.clone(),
        once: args.once,
        ..Options::default()
    };
    check_agent_id(&options.agent_id).map_err(anyhow::Error::msg)?;
    let place = Place::given(args.config_dir.as_ref(), args.shape.as_ref(), args.file.as_ref(), &args.cluster);
    let place = place.context("say what to run: -f FILE")?;
    let reload = Reload::start(place, &options).map_err(Invalid)?;
    let config = reload.config().clone();
    if args.once && config.pipeline.spec.suspend == Some(true) {
        anyhow::bail!("spec.suspend is true, so nothing is shipped; set it to false");
    }
    raise_file_limit();
    let (stop, wakes) = Stop::new().context("cannot make a pipe")?;
    stop.on_signals(args.drain_timeout).context("cannot handle signals")?;
    let agent = Agent::new(&config, &options, (!args.once).then_some(reload), &stop, wakes)?;
    let status = agent.status.clone();
    if let Some(address) = args.http {
        let bound = http::serve(address, status.clone()).with_context(|| format!("cannot listen on {address}"))?;
        tracing::info!("http://{bound}/report");
    }
    let push = match &args.report_token {
        Some(token) => Some(Push::start(status.clone(), token.clone()).context("cannot start a thread")?),
        None => None,
    };
    let bar = (args.once && std::io::stderr().is_terminal()).then(|| progress_bar(status.clone()));
    let ended = agent.run();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if let Some(push) = push {
        push.finish();
    }
    ended?;
    if args.once {
        let (said, done) = summary(&status, stop.flag().load(std::sync::atomic::Ordering::Relaxed));
        match config.pipeline.console() {
            Some(_) => eprint!("{said}"), // standard output is for lines
            None => print!("{said}"),
        }
        return Ok(done);
    }
    Ok(true)
}

/// What was shipped, and what was not and why. True when everything was.
fn summary(status: &Status, stopped: bool) -> (String, bool) {
    let shot = status.snapshot();
    let totals = &shot.totals;
    let since_first_read = |then: Option<Duration>| match (totals.first_read, then) {
        (Some(first), Some(then)) => then.saturating_sub(first).as_secs_f64(),
        _ => 0.0,
    };
    let shipping = since_first_read(totals.last_lines);
    let mut said = String::new();
    let mut say = |line: String| said.extend([line.as_str(), "\n"]);
    say(format!(
        "shipped {} files, {} lines, {} in {:.1} s; from the first read to the last commit {shipping:.2} s, {} lines/s; \
         to the last completed file {:.2} s",
        HumanCount(totals.files),
        HumanCount(totals.lines),
        HumanBytes(totals.bytes),
        status.elapsed().as_secs_f64(),
        HumanCount(if shipping > 0.0 { (totals.lines as f64 / shipping) as u64 } else { 0 }),
        since_first_read(totals.last_file),
    ));
    for name in &shot.growing {
        say(format!("{name}: still being written; shipped to its last complete line, not renamed"));
    }
    for aside in &shot.asides {
        say(format!(
            "{}: set aside at byte {}: {:?}: {}; {}",
            aside.name,
            aside.position,
            aside.reason,
            aside.note,
            aside.reason.advice()
        ));
    }
    if shot.set_aside > shot.asides.len() as u64 {
        say(format!("and {} more set aside", shot.set_aside - shot.asides.len() as u64));
    }
    if let Some(name) = &shot.unread.last {
        say(format!(
            "{} were cut off, or gone with their file, before they were read, the last of them of {name}",
            HumanBytes(shot.unread.count)
        ));
    }
    if stopped {
        say(format!(
            "stopped before the end: {} left in {} files",
            HumanBytes(shot.backlog_bytes),
            shot.backlog_files
        ));
    }
    (said, shot.set_aside == 0 && shot.unread.count == 0 && !stopped)
}

/// A bar over the bytes of the backlog, drawn from the status a few times a second.
fn progress_bar(status: Arc<Status>) -> ProgressBar {
    let style = "{bar:40} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left {msg}";
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    let drawn = bar.clone();
    std::thread::spawn(move || {
        while !drawn.is_finished() {
            let report = status.report();
            drawn.set_length(report.totals.bytes + report.backlog.bytes);
            drawn.set_position(report.totals.bytes);
            drawn.set_message(report.message);
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    bar
}

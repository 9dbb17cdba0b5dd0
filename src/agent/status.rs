//! What the agent tells about itself: made by the loop, read by HTTP, the progress bar and the summary.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::channel::Channel;
use super::channel::snapshot::{Snapshot, Tally};
use super::config::Config;
use crate::pipeline::config_hash;
use crate::pipeline::pod::{CheckpointTopic, ReportTo};
use crate::pipeline::report::{Backlog, FlowReason, REPORT_VERSION, Report, SetAside, Throughput, Totals};

/// Rates are over this time.
const WINDOW: Duration = Duration::from_secs(60);
/// A snapshot looks at every file, so not more often than this.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(250);
/// The same trouble in other words is logged again after this time.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// The loop may be inside one call of librdkafka for this long, and is alive all the same.
const ALIVE: Duration = Duration::from_secs(180);

/// The shared state.
pub struct Status {
    start: Instant,
    started: Timestamp,
    /// `<cluster>/<namespace>/<pipeline>/<agent>`.
    agent: String,
    state: Mutex<State>,
}

struct State {
    config_hash: String,
    guarantee: String,
    report_to: Option<ReportTo>,
    config_problem: String,
    checkpoint_topic: Option<CheckpointTopic>,
    snapshot: Snapshot,
    reason: FlowReason,
    message: String,
    since: Timestamp,
    heard: Duration,
    taken: Duration,
    logged: Duration,
    retries: u64,
    /// Totals at times within the window, oldest first.
    past: VecDeque<(Duration, u64, u64)>,
}

impl Status {
    /// Of an agent that starts now.
    pub fn new(agent: String, config: &Config) -> Self {
        let state = State {
            config_hash: String::new(),
            guarantee: String::new(),
            report_to: None,
            config_problem: String::new(),
            checkpoint_topic: None,
            snapshot: Snapshot::default(),
            reason: FlowReason::Starting,
            message: String::new(),
            since: Timestamp::now(),
            heard: Duration::ZERO,
            taken: Duration::ZERO,
            logged: Duration::ZERO,
            retries: 0,
            past: VecDeque::from([(Duration::ZERO, 0, 0)]),
        };
        let status = Status { start: Instant::now(), started: Timestamp::now(), agent, state: Mutex::new(state) };
        status.runs(config);
        status
    }

    /// From now on, this is what the agent runs, and acknowledges.
    pub fn runs(&self, config: &Config) {
        let mut state = self.state();
        state.config_hash = config_hash(&config.pipeline);
        state.guarantee = config.pipeline.guarantee().to_string();
        state.report_to = config.pod.as_ref().and_then(|pod| pod.report_to.clone());
        if matches!(state.reason, FlowReason::Suspended | FlowReason::PipelineDeleted) {
            (state.reason, state.since, state.message) = (FlowReason::Starting, Timestamp::now(), String::new());
        }
    }

    /// Reports go elsewhere from now on.
    pub fn reports_to(&self, config: &Config) {
        self.state().report_to = config.pod.as_ref().and_then(|pod| pod.report_to.clone());
    }

    /// Where reports go.
    pub fn report_to(&self) -> Option<ReportTo> {
        self.state().report_to.clone()
    }

    /// Why the configuration given last is not run; empty where it is.
    pub fn problem(&self, problem: &str) {
        let mut state = self.state();
        if !problem.is_empty() && problem != state.config_problem {
            tracing::warn!("the new configuration is not taken, this agent goes on with what it has: {problem}");
        }
        state.config_problem = problem.to_owned();
    }

    /// The checkpoint topic was seen.
    pub fn checkpoints_in(&self, topic: &CheckpointTopic) {
        self.state().checkpoint_topic = Some(topic.clone());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while the loop gives signs of life.
    pub fn is_alive(&self) -> bool {
        self.start.elapsed() < self.state().heard + ALIVE
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Snapshot {
        self.state().snapshot.clone()
    }

    /// The loop has ended: the last word.
    pub fn finish(&self, snapshot: Snapshot) {
        let mut state = self.state();
        log_tallies(&state.snapshot, &snapshot);
        state.snapshot = snapshot;
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The state of things, as the loop sees it.
    pub fn observe(&self, channel: &Channel, reason: FlowReason, message: &str) {
        let now = self.start.elapsed();
        let mut state = self.state();
        state.heard = now;
        let reason = match reason {
            FlowReason::Idle | FlowReason::Flowing if state.snapshot.set_aside > 0 => FlowReason::FilesSetAside,
            other => other,
        };
        let changed = reason != state.reason;
        if changed || now >= state.taken + SNAPSHOT_EVERY {
            let newest = channel.snapshot();
            log_asides(&state.snapshot, &newest);
            log_tallies(&state.snapshot, &newest);
            state.snapshot = newest;
            state.taken = now;
            state.remember(now);
        }
        if changed || (message != state.message && now >= state.logged + LOG_EVERY) {
            log(state.reason, reason, message);
            state.logged = now;
        }
        if changed {
            state.reason = reason;
            state.since = Timestamp::now();
        }
        state.message = message.to_owned();
    }

    /// A transaction was given up.
    pub fn retried(&self) {
        self.state().retries += 1;
    }

    /// The report as of now.
    pub fn report(&self) -> Report {
        let now = self.start.elapsed();
        let mut state = self.state();
        state.remember(now);
        let shot = &state.snapshot;
        let age = |nanoseconds: i64| {
            let seconds = (Timestamp::now().as_nanosecond() - i128::from(nanoseconds)) / 1_000_000_000;
            u64::try_from(seconds).unwrap_or(0)
        };
        let second = |t: Timestamp| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        Report {
            version: REPORT_VERSION,
            agent_version: env!("CARGO_PKG_VERSION").into(),
            agent: self.agent.clone(),
            boot: format!("{:x}", self.started.as_nanosecond()),
            config_hash: state.config_hash.clone(),
            suspended: state.reason == FlowReason::Suspended,
            config_problem: state.config_problem.clone(),
            checkpoint_topic: state.checkpoint_topic.clone(),
            guarantee: state.guarantee.clone(),
            flowing: state.reason.can_flow(),
            reason: state.reason,
            message: state.message.clone(),
            since: second(state.since),
            started: second(self.started),
            last_commit: shot.totals.last_commit.and_then(|at| Some(second(self.started.checked_add(at).ok()?))),
            throughput: state.throughput(now),
            backlog: Backlog {
                files: shot.backlog_files,
                bytes: shot.backlog_bytes,
                oldest_seconds: shot.oldest.map_or(0, age),
            },
            totals: Totals {
                records: shot.totals.lines,
                bytes: shot.totals.bytes,
                files: shot.totals.files,
                set_aside: shot.set_aside,
                long_lines: shot.totals.altered.long_lines,
                decode_errors: shot.totals.altered.decode_errors,
                grew_after_completion: shot.grown.count,
                bytes_lost_unread: shot.unread.count,
                begun_anew: shot.anew.count,
                commits: shot.totals.commits,
                retries: state.retries,
            },
            set_aside: shot
                .asides
                .iter()
                .map(|aside| SetAside {
                    file: aside.name.to_string(),
                    position: aside.position,
                    reason: format!("{:?}", aside.reason),
                    message: format!("{}; {}", aside.note, aside.reason.advice()),
                })
                .collect(),
        }
    }
}

impl State {
    /// Keeps one entry a second, and of those outside the window only the newest.
    fn remember(&mut self, now: Duration) {
        let totals = &self.snapshot.totals;
        if self.past.back().is_none_or(|(at, ..)| now >= *at + Duration::from_secs(1)) {
            self.past.push_back((now, totals.lines, totals.bytes));
        }
        while self.past.get(1).is_some_and(|(at, ..)| *at + WINDOW <= now) {
            self.past.pop_front();
        }
    }

    fn throughput(&self, now: Duration) -> Throughput {
        let Some((at, lines, bytes)) = self.past.front() else { return Throughput::default() };
        let seconds = (now.saturating_sub(*at)).as_secs_f64().max(1.0);
        let rate = |total: u64, then: u64| ((total - then) as f64 / seconds).round() as u64;
        Throughput {
            records_per_second: rate(self.snapshot.totals.lines, *lines),
            bytes_per_second: rate(self.snapshot.totals.bytes, *bytes),
        }
    }
}

/// A file that needs a person is told once; a snapshot names only a few, so this is bounded.
fn log_asides(before: &Snapshot, now: &Snapshot) {
    for aside in now.asides.iter().filter(|aside| !before.asides.contains(aside)) {
        tracing::warn!(
            "{} is set aside: {:?}: {}; {}",
            aside.name,
            aside.reason,
            aside.note,
            aside.reason.advice()
        );
    }
}

fn log_tallies(before: &Snapshot, now: &Snapshot) {
    log_grown(&before.grown, &now.grown);
    log_unread(&before.unread, &now.unread);
    log_anew(&before.anew, &now.anew);
}

/// What was written behind a file's completion is shipped, and its writer's doing is told.
fn log_grown(before: &Tally, now: &Tally) {
    if let Some(name) = now.news(before) {
        tracing::warn!(
            "GrewAfterCompletion: {name} was written to after it was completed ({} times so far); what is new is shipped. No later \
             than an hour after completion, that is: raise settleTime above the pauses of the writer, or let it write NAME.tmp and rename it",
            now.count
        );
    }
}

/// What somebody took away before it was read, nobody can ship.
fn log_unread(before: &Tally, now: &Tally) {
    if let Some(name) = now.news(before) {
        tracing::warn!(
            "LostUnread: {} bytes were cut off, or gone with their file, before they were read, the last of them of {name}; what \
             comes back is shipped all the same. Let whoever moves, removes or truncates files take only those that are completed",
            now.count - before.count
        );
    }
}

/// Where it is a log that is cut when it is copied, that is as it should be.
fn log_anew(before: &Tally, now: &Tally) {
    if let Some(name) = now.news(before) {
        tracing::info!(
            "BegunAnew: {name} is no longer what was shipped of it: it was cut, or rewritten, or a loss of power took its last bytes; \
             it is shipped from its first byte on, as another generation ({} times so far)",
            now.count
        );
    }
}

/// On transitions: trouble as a warning, its end as news, idling and flowing only when asked for.
fn log(before: FlowReason, reason: FlowReason, message: &str) {
    if !reason.can_flow() {
        tracing::warn!("{reason:?}: {message}");
    } else if before.can_flow() {
        tracing::debug!("{reason:?}");
    } else {
        tracing::info!("{reason:?}: data flows");
    }
}

//! The agent MOVES records: source → channel → sink, on one plain thread. It never calls the Kubernetes API.
//!
//! `run` is the loop, `channel` decides (pure), `source` and `sink` are thin shells that never see each other. This module puts them
//! together, and again when the configuration changes.
//!
//! # A change of configuration
//! The loop ends as for a stop: what is read is committed, or given up. Then source, channel and sink take other settings, and the loop
//! runs anew, which begins with the opening order. So a change in the middle of a transaction breaks nothing that a restart does not:
//! * The old producer is dropped before the new one is made. Whatever of it is still on its way meets an epoch that
//!   `init_transactions` has raised, and is refused; a buffer lent to it is freed by its last report or never.
//! * Nothing of the channel's memory of files outlives [`Channel::resume`]: positions come from the progress that is committed.
//! * The directory stays locked where it is the same one. A waiting agent with another id has other progress: in a gap between two locks
//!   it would begin anew what this one has half shipped.
//! * Topic and partition of a file that has begun are in its progress, and it finishes there; only new files see new ones.
//! * The names under which progress is kept never change (`reload`); another Kafka has another checkpoint topic (`sink::kafka::pin`).

mod backoff;
pub mod channel;
pub mod config;
pub mod faults;
pub mod http;
mod listen;
mod metrics;
pub mod plan;
pub mod push;
pub mod reload;
pub mod run;
pub mod setup;
pub mod sink;
pub mod source;
pub mod status;
pub mod stop;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::pipeline::report::FlowReason;
use channel::Channel;
use config::Config;
use reload::{Change, Reload};
use run::{Surroundings, Trouble};
use setup::Setup;
use sink::console::{ConsoleSink, Shown};
use sink::file::{FileSink, disk::Machine};
use sink::kafka::{KafkaSink, client::Brokers, pin::Seen};
use sink::{Opened, Sink};
use source::{Source, spooldir::SpoolDir};
use status::Status;
use stop::Stop;

/// While it rests, it shows this often that it lives.
const REST: Duration = Duration::from_millis(500);

/// Who the agent is, and how it runs.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `<agent>` of the transactional id (`--agent-id`).
    pub agent_id: String,
    /// Where to remember what the checkpoint topic was like, or to keep the progress of sink `file` (`--state-dir`); a pod has its
    /// ConfigMap for the one, and cannot have the other.
    pub state_dir: Option<std::path::PathBuf>,
    /// Where that is remembered without either: as long as the process lives.
    pub seen: Seen,
    /// Where Secrets are: `<dir>/<secret>/<key>` (`--secrets`).
    pub secrets: Option<std::path::PathBuf>,
    /// Ship what is there now, then end.
    pub once: bool,
}

/// An agent that is ready to run.
pub struct Agent {
    source: SpoolDir,
    channel: Channel,
    sink: Box<dyn Sink + Send>,
    /// What the console has shown.
    shown: Shown,
    world: World,
    once: bool,
    /// Why it does not ship, where it is not to.
    rest: Option<FlowReason>,
    /// What it tells about itself.
    pub status: Arc<Status>,
}

impl Agent {
    /// Of a configuration that was found valid; `reload` watches where it came from. `wakes` belongs to `stop`.
    ///
    /// # Errors
    /// The pipeline is not one that an agent can run; nothing was touched.
    pub fn new(
        config: &Config,
        options: &Options,
        reload: Option<Reload>,
        stop: &Stop,
        wakes: OwnedFd,
    ) -> anyhow::Result<Agent> {
        let setup = Setup::new(config, options)?;
        let seed = getrandom::u64().map_err(|e| anyhow::anyhow!("no random numbers: {e}"))?;
        let shown = Shown::default();
        let status = Arc::new(Status::new(setup.identity.clone(), config));
        Ok(Agent {
            source: SpoolDir::new(setup.directory.clone(), wakes),
            channel: Channel::new(setup.channel.clone(), seed),
            sink: sink_of(&setup, &shown, stop.flag()),
            shown,
            world: World { status: status.clone(), stop: stop.flag(), reload },
            once: options.once,
            rest: setup.suspended.then_some(FlowReason::Suspended),
            status,
        })
    }

    /// Runs until stopped, or until everything is shipped (`once`).
    ///
    /// # Errors
    /// `once`: the directory cannot be opened at all. Otherwise: nothing but a new process can help.
    pub fn run(mut self) -> Result<(), Trouble> {
        let ended = loop {
            let ran = match self.rest {
                None => run::run(&mut self.source, &mut *self.sink, &mut self.channel, &mut self.world, self.once),
                Some(reason) => {
                    self.rest(reason);
                    Ok(())
                }
            };
            match (ran, self.world.next()) {
                (Ok(()), Some(change)) => self.take(change),
                (ended, _) => break ended,
            }
        };
        self.sink.close();
        self.status.finish(self.channel.snapshot());
        ended
    }

    /// Everything is committed and nothing is read until there is something else to do.
    fn rest(&mut self, reason: FlowReason) {
        let message = match reason {
            FlowReason::PipelineDeleted => {
                "its LogPipeline is gone; what was read is committed, and no more is read"
            }
            _ => "",
        };
        while !self.world.stopping() {
            self.world.observe(&self.channel, reason, message);
            self.source.wait(REST);
        }
    }

    fn take(&mut self, change: Change) {
        let Change::Run(run) = change else {
            // Whoever comes next may have the directory.
            self.source.release();
            self.rest = Some(FlowReason::PipelineDeleted);
            return;
        };
        let (config, setup) = *run;
        self.source.set(setup.directory.clone());
        self.channel.set_all(setup.channel.clone());
        self.sink = sink_of(&setup, &self.shown, self.world.stop.clone());
        self.rest = setup.suspended.then_some(FlowReason::Suspended);
        self.status.runs(&config);
        tracing::info!("configuration {} is in force", crate::pipeline::config_hash(&config.pipeline));
    }
}

fn sink_of(setup: &Setup, shown: &Shown, stop: Arc<AtomicBool>) -> Box<dyn Sink + Send> {
    match &setup.sink {
        setup::Sink::Kafka(to) => {
            let brokers = Brokers::new(&to.spec, &setup.identity, &to.names, to.longest, stop);
            Box::new(KafkaSink::new(to.names.clone(), brokers))
        }
        setup::Sink::File(settings) => Box::new(FileSink::new(settings.clone(), Machine::default())),
        setup::Sink::Console(format) => Box::new(ConsoleSink::new(*format, shown.clone())),
    }
}

/// What the loop sees of the rest of the agent.
struct World {
    status: Arc<Status>,
    stop: Arc<AtomicBool>,
    reload: Option<Reload>,
}

impl World {
    /// What to do instead; `None` to end.
    fn next(&mut self) -> Option<Change> {
        let stopping = self.stop.load(Ordering::Relaxed);
        self.reload.as_mut().filter(|_| !stopping)?.take()
    }
}

impl Surroundings for World {
    fn now(&self) -> Duration {
        self.status.elapsed()
    }

    fn stopping(&mut self) -> bool {
        let now = self.now();
        let due = self.reload.as_mut().is_some_and(|reload| reload.is_due(now, &self.status));
        due || self.stop.load(Ordering::Relaxed)
    }

    fn opened(&mut self, opened: &Opened) {
        if let Some(topic) = &opened.checkpoint_topic {
            self.status.checkpoints_in(topic);
        }
    }

    fn observe(&mut self, channel: &Channel, reason: FlowReason, message: &str) {
        self.status.observe(channel, reason, message);
    }

    fn retried(&mut self) {
        self.status.retried();
    }
}

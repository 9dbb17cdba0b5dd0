//! The agent MOVES records: source → channel → sink, on one plain thread. It never calls the Kubernetes API.
//!
//! `run` is the loop, `channel` decides (pure), `source` and `sink` are thin shells that never see each other.

mod backoff;
pub mod channel;
pub mod http;
mod metrics;
pub mod run;
pub mod sink;
pub mod source;
pub mod status;
pub mod stop;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::pipeline::{self, LogPipeline};
use channel::{Channel, headers, partitioner, splitter};
use sink::kafka::{KafkaSink, client::Brokers};
use source::spooldir::SpoolDir;
use status::{Fixed, Status};
use stop::Stop;

/// Who the agent is, and how it runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// `<cluster>` of the transactional id (`--cluster`).
    pub cluster: String,
    /// `<agent>` of the transactional id (`--agent-id`).
    pub agent_id: String,
    /// Where to remember what the checkpoint topic was like (`--state-dir`).
    pub state_dir: Option<std::path::PathBuf>,
    /// Where Secrets are: `<dir>/<secret>/<key>` (`--secrets`).
    pub secrets: Option<std::path::PathBuf>,
    /// Ship what is there now, then end.
    pub once: bool,
}

/// An agent that is ready to run.
pub struct Agent {
    source: SpoolDir,
    channel: Channel,
    sink: KafkaSink<Brokers>,
    once: bool,
    /// What it tells about itself.
    pub status: Arc<Status>,
}

impl Agent {
    /// Of a pipeline that was found valid. `wakes` belongs to `stop`.
    ///
    /// # Errors
    /// The pipeline is not one that an agent can run; nothing was touched.
    pub fn new(pipeline: &LogPipeline, options: &Options, stop: &Stop, wakes: OwnedFd) -> anyhow::Result<Agent> {
        let (Some(spool), Some(kafka)) = (pipeline.spool_dir(), pipeline.kafka()) else {
            anyhow::bail!("an agent needs spec.source.spoolDir and spec.sink.kafka");
        };
        let (namespace, delivery) = (pipeline.namespace(), pipeline.delivery());
        let identity = format!("{}/{namespace}/{}/{}", options.cluster, pipeline.metadata.name, options.agent_id);
        let names = sink::kafka::Settings {
            transactional_id: format!("spoolway/{identity}"),
            agent: options.agent_id.clone(),
            checkpoint_topic: delivery.checkpoint_topic(namespace),
            receipt_topic: delivery.receipt_topic(namespace),
            state_dir: options.state_dir.clone(),
            secrets: options.secrets.clone(),
        };
        let brokers = Brokers::new(kafka, &identity, &names, spool.max_line_bytes(), stop.flag());
        let directory = source::spooldir::Settings {
            path: spool.path.clone(),
            include: pipeline::full_match(spool.include_pattern())?,
            ignore: pipeline::full_match(spool.ignore_pattern())?,
            suffix: spool.file_suffix().to_owned(),
            completion: spool.completion(),
        };
        let settings = channel::Settings {
            agent: identity.clone(),
            topic: kafka.topic.clone(),
            partitions: partitioner::Rule {
                partitioner: Some(kafka.partitioner()),
                fixed: kafka.partition,
                key: kafka.key.clone(),
            },
            headers: headers::Rule {
                headers: spool.headers.clone(),
                path: spool.path.clone(),
                host: options.agent_id.clone(),
            },
            rules: splitter::Rules {
                max_line: usize::try_from(spool.max_line_bytes())?,
                on_long_line: spool.on_long_line(),
            },
            order: spool.consume_order(),
            track: spool.completion() == pipeline::Completion::Track,
            settle: spool.settle_time(),
            poll: spool.poll_delay(),
            max_open: spool.max_open_files(),
            commit_interval: delivery.commit_interval(),
            max_transaction_bytes: delivery.max_transaction_bytes(),
            once: options.once,
        };
        let seed = getrandom::u64().map_err(|e| anyhow::anyhow!("no random numbers: {e}"))?;
        let fixed = Fixed {
            agent: identity,
            config_hash: pipeline::config_hash(pipeline),
            guarantee: delivery.guarantee().to_string(),
        };
        Ok(Agent {
            source: SpoolDir::new(directory, wakes),
            channel: Channel::new(settings, seed),
            sink: KafkaSink::new(names, brokers),
            once: options.once,
            status: Arc::new(Status::new(fixed, stop.flag())),
        })
    }

    /// Runs until stopped, or until everything is shipped (`once`).
    ///
    /// # Errors
    /// Only `once`, when the directory cannot be opened at all.
    pub fn run(mut self) -> Result<(), source::SourceError> {
        let mut world = self.status.clone();
        let ended = run::run(&mut self.source, &mut self.sink, &mut self.channel, &mut world, self.once);
        self.status.finish(self.channel.snapshot());
        ended
    }
}

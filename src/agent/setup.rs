//! From a configuration to the settings of source, channel and sink. Pure.

use super::config::Config;
use super::{Options, channel, sink, source};
use crate::agent::channel::charset::Charset;
use crate::agent::channel::{headers, partitioner, splitter};
use crate::agent::sink::file_stem;
use crate::agent::sink::kafka::client::Longest;
use crate::agent::sink::kafka::pin::Pin;
use crate::pipeline::pod::child_name;
use crate::pipeline::{self, ConsoleFormat, KafkaSink, SpoolDir};

/// Settings of an agent's three parts.
#[derive(Debug, Clone)]
pub struct Setup {
    /// `<cluster>/<namespace>/<pipeline>/<agent>`.
    pub identity: String,
    /// Of the source.
    pub directory: source::spooldir::Settings,
    /// Of the channel.
    pub channel: channel::Settings,
    /// Of the sink.
    pub sink: Sink,
    /// `spec.suspend`.
    pub suspended: bool,
}

/// Settings of a sink.
#[derive(Debug, Clone)]
pub enum Sink {
    /// A Kafka topic.
    Kafka(Box<ToKafka>),
    /// Files in a directory.
    File(sink::file::Settings),
    /// Standard output.
    Console(ConsoleFormat),
}

/// Settings of the sink `kafka`.
#[derive(Debug, Clone)]
pub struct ToKafka {
    /// The pipeline's words.
    pub spec: KafkaSink,
    /// The agent's names in Kafka.
    pub names: sink::kafka::Settings,
    /// The longest line.
    pub longest: Longest,
}

impl Setup {
    /// Of a configuration that was found valid.
    ///
    /// # Errors
    /// The pipeline is not one that an agent can run.
    pub fn new(config: &Config, options: &Options) -> anyhow::Result<Setup> {
        let pipeline = &config.pipeline;
        let Some(spool) = pipeline.spool_dir() else {
            anyhow::bail!("an agent needs spec.source.spoolDir");
        };
        let (name, namespace, delivery) = (&pipeline.metadata.name, pipeline.namespace(), pipeline.delivery());
        let charset =
            spool.input_charset.as_deref().and_then(|name| Charset::new(name, spool.decode_error_policy()));
        let identity = format!("{}/{namespace}/{name}/{}", config.cluster, options.agent_id);
        let kafka = pipeline.kafka().cloned().unwrap_or_default();
        Ok(Setup {
            directory: source::spooldir::Settings {
                path: spool.path.clone(),
                root: config.pod.as_ref().map(|pod| pod.root.clone()),
                include: pipeline::full_match(spool.include_pattern())?,
                ignore: pipeline::full_match(spool.ignore_pattern())?,
                recursive: spool.recursive(),
                suffix: spool.file_suffix().to_owned(),
                completion: pipeline.completion(),
            },
            channel: channel::Settings {
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
                    charset,
                },
                order: spool.consume_order(),
                track: pipeline.completion() == pipeline::Completion::Track,
                settle: spool.settle_time(),
                poll: spool.poll_delay(),
                max_open: spool.max_open_files(),
                commit_interval: delivery.commit_interval(),
                max_transaction_bytes: delivery.max_transaction_bytes(),
                once: options.once,
            },
            sink: sink_of(config, options, &identity)?,
            suspended: pipeline.spec.suspend.unwrap_or(false),
            identity,
        })
    }
}

fn sink_of(config: &Config, options: &Options, identity: &str) -> anyhow::Result<Sink> {
    let (pipeline, transactional_id) = (&config.pipeline, format!("spoolway/{identity}"));
    if let Some(file) = pipeline.file() {
        let Some(state) = &options.state_dir else {
            anyhow::bail!("sink file keeps its progress in a directory of this machine; name one: --state-dir DIR");
        };
        return Ok(Sink::File(sink::file::Settings {
            agent: identity.to_owned(),
            directory: file.directory.clone(),
            prefix: pipeline.metadata.name.clone(),
            state: state.join(format!("{}.progress", file_stem(&transactional_id))),
            roll: file.roll(),
            once: options.once,
        }));
    }
    if let Some(console) = pipeline.console() {
        return Ok(Sink::Console(console.format()));
    }
    let Some(kafka) = pipeline.kafka() else {
        anyhow::bail!("an agent needs one of spec.sink.kafka, file and console");
    };
    let (delivery, namespace) = (pipeline.delivery(), pipeline.namespace());
    let pin = match (&config.pod, &options.state_dir) {
        (Some(pod), _) => {
            Pin::Operator { config_map: child_name(&pipeline.metadata.name), known: pod.checkpoint_topic.clone() }
        }
        (None, Some(dir)) => Pin::file(dir, &transactional_id),
        (None, None) => Pin::Process(options.seen.clone()),
    };
    let names = sink::kafka::Settings {
        transactional_id,
        agent: options.agent_id.clone(),
        checkpoint_topic: delivery.checkpoint_topic(namespace),
        receipt_topic: delivery.receipt_topic(namespace),
        guarantee: pipeline.guarantee(),
        pin,
        secrets: options.secrets.clone(),
    };
    let of = |length: fn(&SpoolDir) -> u64| pipeline.spool_dir().map_or(0, length);
    let longest = Longest { line: of(SpoolDir::max_line_bytes), record: of(SpoolDir::max_record_bytes) };
    Ok(Sink::Kafka(Box::new(ToKafka { spec: kafka.clone(), names, longest })))
}

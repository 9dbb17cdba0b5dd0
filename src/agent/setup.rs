//! From a configuration to the settings of source, channel and sink. Pure.

use super::config::Config;
use super::{Options, channel, sink, source};
use crate::agent::channel::charset::Charset;
use crate::agent::channel::{headers, partitioner, splitter};
use crate::agent::sink::kafka::pin::Pin;
use crate::pipeline::pod::child_name;
use crate::pipeline::{self, KafkaSink};

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
    pub kafka: KafkaSink,
    /// The agent's names in Kafka.
    pub names: sink::kafka::Settings,
    /// The longest line, in bytes.
    pub max_line: u64,
    /// `spec.suspend`.
    pub suspended: bool,
}

impl Setup {
    /// Of a configuration that was found valid.
    ///
    /// # Errors
    /// The pipeline is not one that an agent can run.
    pub fn new(config: &Config, options: &Options) -> anyhow::Result<Setup> {
        let pipeline = &config.pipeline;
        let (Some(spool), Some(kafka)) = (pipeline.spool_dir(), pipeline.kafka()) else {
            anyhow::bail!("an agent needs spec.source.spoolDir and spec.sink.kafka");
        };
        let (name, namespace, delivery) = (&pipeline.metadata.name, pipeline.namespace(), pipeline.delivery());
        let charset =
            spool.input_charset.as_deref().and_then(|name| Charset::new(name, spool.decode_error_policy()));
        let identity = format!("{}/{namespace}/{name}/{}", config.cluster, options.agent_id);
        let transactional_id = format!("spoolway/{identity}");
        let pin = match (&config.pod, &options.state_dir) {
            (Some(pod), _) => Pin::Operator { config_map: child_name(name), known: pod.checkpoint_topic.clone() },
            (None, Some(dir)) => Pin::file(dir, &transactional_id),
            (None, None) => Pin::None,
        };
        Ok(Setup {
            directory: source::spooldir::Settings {
                path: spool.path.clone(),
                root: config.pod.as_ref().map(|pod| pod.root.clone()),
                include: pipeline::full_match(spool.include_pattern())?,
                ignore: pipeline::full_match(spool.ignore_pattern())?,
                recursive: spool.recursive(),
                suffix: spool.file_suffix().to_owned(),
                completion: spool.completion(),
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
                track: spool.completion() == pipeline::Completion::Track,
                settle: spool.settle_time(),
                poll: spool.poll_delay(),
                max_open: spool.max_open_files(),
                commit_interval: delivery.commit_interval(),
                max_transaction_bytes: delivery.max_transaction_bytes(),
                once: options.once,
            },
            names: sink::kafka::Settings {
                transactional_id,
                agent: options.agent_id.clone(),
                checkpoint_topic: delivery.checkpoint_topic(namespace),
                receipt_topic: delivery.receipt_topic(namespace),
                guarantee: delivery.guarantee(),
                pin,
                secrets: options.secrets.clone(),
            },
            kafka: kafka.clone(),
            // Three bytes of UTF-8 for one of another character set at most.
            max_line: spool.max_line_bytes() * if charset.is_some() { 3 } else { 1 },
            suspended: pipeline.spec.suspend.unwrap_or(false),
            identity,
        })
    }
}

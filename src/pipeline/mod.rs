//! Pure data: what a LogPipeline is, and what is wrong with one.
//!
//! Imports nothing else of ours and does no I/O. Every field's text is what `kubectl explain` will say:
//! meaning, unit, default, bound, and the Flume or Kafka property it takes the place of. Unions are structs of
//! optional members ("exactly one of"), optional fields are `Option`, and the schema holds no defaults: they
//! are applied by the methods, so that what a person wrote is never changed.

#[macro_use]
mod words;

pub mod delivery;
mod mismatch;
pub mod placement;
pub mod pod;
pub mod problem;
pub mod properties;
pub mod quantity;
pub mod report;
pub mod resolved;
pub mod shape;
pub mod sink;
pub mod source;
pub mod status;
mod suggest;
mod unavailable;
pub mod validate;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use delivery::{Delivery, Guarantee};
pub use placement::Placement;
pub use problem::Problem;
pub use resolved::config_hash;
pub use sink::{Acks, Compression, ConsoleFormat, ConsoleSink, FileSink, KafkaSink, Key, Partitioner, Roll, Sink};
pub use source::{Completion, ConsumeOrder, DecodeErrorPolicy, OnLongLine, Source, SpoolDir, full_match};
pub use status::LogPipelineStatus;
pub use validate::{Judge, validate};

/// The `apiVersion` of a LogPipeline.
pub const API_VERSION: &str = "spoolway.dev/v1alpha1";
/// The `kind` of a LogPipeline.
pub const KIND: &str = "LogPipeline";

/// Ships files from a spool directory into Kafka.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogPipeline {
    /// `spoolway.dev/v1alpha1`.
    pub api_version: String,
    /// `LogPipeline`.
    pub kind: String,
    /// Its name and namespace.
    pub metadata: Metadata,
    /// One source, one sink, one placement.
    pub spec: LogPipelineSpec,
}

/// The name of a LogPipeline, and what Kubernetes keeps beside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The pipeline's name: 1 to 43 lower-case letters, digits and `-`.
    pub name: String,
    /// The pipeline's namespace. Default `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels; not used by Spoolway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations; not used by Spoolway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// One source, one sink, one placement. Fan-out is a second pipeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogPipelineSpec {
    /// Whether to stop shipping and keep all progress. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Where the records come from.
    pub source: Source,
    /// Where the records go.
    pub sink: Sink,
    /// What is promised about delivery, and how often it is committed. Default: exactly once, every second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// Where the agents run. Required in a cluster; on a bare machine it may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
}

impl LogPipeline {
    /// The pipeline's namespace; `default` when it names none.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or("default")
    }

    /// The spool directory, when that is its source.
    pub fn spool_dir(&self) -> Option<&SpoolDir> {
        self.spec.source.spool_dir.as_ref()
    }

    /// The Kafka topic, when that is its sink.
    pub fn kafka(&self) -> Option<&KafkaSink> {
        self.spec.sink.kafka.as_ref()
    }

    /// The directory of files, when that is its sink.
    pub fn file(&self) -> Option<&FileSink> {
        self.spec.sink.file.as_ref()
    }

    /// Standard output, when that is its sink.
    pub fn console(&self) -> Option<&ConsoleSink> {
        self.spec.sink.console.as_ref()
    }

    /// What is promised, which depends on the sink where the spec says nothing.
    pub fn guarantee(&self) -> Guarantee {
        let by_sink = if self.console().is_some() { Guarantee::BestEffort } else { Guarantee::ExactlyOnce };
        self.delivery().guarantee.unwrap_or(by_sink)
    }

    /// What happens to a finished file, which depends on the sink where the spec says nothing: looking at files changes none.
    pub fn completion(&self) -> Completion {
        let by_sink = if self.console().is_some() { Completion::Track } else { Completion::Rename };
        self.spool_dir().and_then(|dir| dir.completion).unwrap_or(by_sink)
    }

    /// What is promised about delivery; all defaults when the spec says nothing.
    pub fn delivery(&self) -> Delivery {
        self.spec.delivery.clone().unwrap_or_default()
    }
}

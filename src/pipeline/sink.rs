//! Where a pipeline's records go.
//!
//! Pure data. Defaults are given by the methods, never by the schema.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantity::{ByteSize, TimeSpan};

/// Where the records go: exactly one of the fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sink {
    /// A Kafka topic (Flume's Kafka sink).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSink>,
    /// Files in a directory, on a bare machine only (Flume's file_roll sink).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSink>,
    /// The agent's standard output, for looking and testing (Flume's logger sink); written as `console: {}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<ConsoleSink>,
}

/// Files in a directory: each line, and a newline behind it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSink {
    /// The directory that the files are written to, an absolute path without `..`; it must exist. Files are called
    /// `<pipeline>-<number>.log`, and `.log.open` while they may still grow. Takes the place of Flume's sink.directory.
    pub directory: String,
    /// When a file is closed and the next one begun. Default: see its fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roll: Option<Roll>,
}

/// When a file is closed and the next one begun: by whichever of them comes first. An empty file is never closed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Roll {
    /// The most bytes that a file has, unless one line alone is longer: a size from 64Ki to 64Gi. Default 128Mi. Takes the place of
    /// Flume's rollSize.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<ByteSize>,
    /// The most lines that a file has: 1000 to 1000000000. Default: unset. Takes the place of Flume's rollCount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<i64>,
    /// The longest time from a file's first line on: a duration from 1s to 168h. Default 15m. Takes the place of Flume's
    /// sink.rollInterval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<TimeSpan>,
    /// The longest time without a new line: a duration from 1s to 24h. Default 5m. Takes the place of Flume's idleTimeout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<TimeSpan>,
}

/// The agent's standard output. Nothing in the spool directory changes: completion is Track.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleSink {
    /// How a line is shown: Text (the line itself), or Json (an object with file, position and line). Default Text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<ConsoleFormat>,
}

/// A Kafka topic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaSink {
    /// Brokers to begin with, each as host:port; one is enough, three survive an outage, 64 are the most. Takes the place of Flume's
    /// kafka.bootstrap.servers (brokerList, metadata.broker.list) and Kafka's bootstrap.servers.
    pub bootstrap_servers: Vec<String>,
    /// The topic that records go to: 1 to 249 of the characters a-z A-Z 0-9 . _ -. It must exist; names that
    /// checkpoint and receipt topics have by default (spoolway-<namespace>-checkpoints) are not for records. Takes the place
    /// of Flume's kafka.topic (custom.topic.name).
    pub topic: String,
    /// How a record finds its partition: File (a file's lines stay on one partition, in order), Key (by hash of the
    /// key, as Java clients do), or RoundRobin (no order across partitions). Default File. Takes the place of Flume's
    /// partitioner.class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitioner: Option<Partitioner>,
    /// One fixed partition for all records, 0 or more; not together with partitioner Key or RoundRobin. Default: unset.
    /// Takes the place of Flume's defaultPartitionId and of SinglePartition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The key of every record. Default: none. Takes the place of Flume's event header `key` and of custom.partition.key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// How batches are compressed: None, Gzip, Snappy, Lz4 or Zstd. Default Lz4. Takes the place of Kafka's compression.type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Which replicas must have a record before it counts as written: All, Leader, or None. Less than All needs
    /// `guarantee: BestEffort`. Default All. Takes the place of Kafka's acks (request.required.acks).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acks: Option<Acks>,
    /// Encrypt the connection. Default: unset, plain text. Takes the place of Kafka's security.protocol and ssl.*.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Log in with a user name and a password. Default: unset. Takes the place of Kafka's sasl.*.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
    /// Tuning of the Kafka client, by librdkafka's property names; values are text, so numbers are written in quotes. Only
    /// properties that cannot break the guarantee or reach outside the pod are allowed. Default: none. Takes the place of
    /// Flume's kafka.producer.*.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<BTreeMap<String, String>>,
}

/// The key of every record: exactly one of the fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// The base name of the record's file; written as `baseName: {}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_name: Option<BaseNameKey>,
    /// The same text for every record: 1 to 1024 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constant: Option<String>,
}

/// The base name of the record's file as its key. Has no settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BaseNameKey {}

/// Encryption of the connection to the brokers. The brokers' names are always checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The Secret with the certificate authority of the brokers (PEM); its key is by default `ca.crt`. Default: unset, the
    /// system's authorities. Takes the place of Kafka's ssl.truststore.* (ssl.ca.location).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,
    /// The Secret with the client's certificate and key: a Strimzi KafkaUser (user.crt, user.key) or a kubernetes.io/tls
    /// Secret (tls.crt, tls.key). Default: unset. Takes the place of Kafka's ssl.keystore.*.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret: Option<SecretName>,
}

/// A user name and a password for the brokers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sasl {
    /// How the password is proved: Plain (the password itself is sent: use tls), ScramSha256 or ScramSha512. Takes the place of Kafka's sasl.mechanism.
    pub mechanism: SaslMechanism,
    /// The user name; not empty. Takes the place of Kafka's sasl.username (sasl.jaas.config).
    pub username: String,
    /// The Secret with the password; its key is by default `password`. Takes the place of Kafka's sasl.password.
    pub password_secret: SecretKey,
}

/// One key of a Secret in the pipeline's own namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The Secret's name.
    pub name: String,
    /// The key inside the Secret. The default is told by the field that names the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A Secret in the pipeline's own namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// The Secret's name.
    pub name: String,
}

words! {
    /// How a record finds its partition.
    Partitioner {
        /// A file's lines stay on one partition, in order.
        File,
        /// By hash of the key, as Java clients do.
        Key,
        /// Partitions in turn.
        RoundRobin,
    }
}

words! {
    /// How batches are compressed.
    Compression {
        /// Not at all.
        None,
        /// gzip.
        Gzip,
        /// Snappy.
        Snappy,
        /// LZ4: fast, and good enough.
        Lz4,
        /// Zstandard: smaller, slower.
        Zstd,
    }
}

words! {
    /// Which replicas must have a record before it counts as written.
    Acks {
        /// All in-sync replicas.
        All,
        /// The partition's leader.
        Leader,
        /// None: nobody answers.
        None,
    }
}

words! {
    /// How a password is proved to the brokers.
    SaslMechanism {
        /// PLAIN: the password itself is sent.
        Plain,
        /// SCRAM-SHA-256.
        ScramSha256,
        /// SCRAM-SHA-512.
        ScramSha512,
    }
}

words! {
    /// How a line is shown on standard output.
    ConsoleFormat {
        /// The line itself.
        Text,
        /// An object with file, position and line.
        Json,
    }
}

impl FileSink {
    /// When a file is closed; all defaults when the spec says nothing.
    pub fn roll(&self) -> Roll {
        self.roll.clone().unwrap_or_default()
    }
}

impl Roll {
    /// The most bytes that a file has.
    pub fn bytes(&self) -> u64 {
        self.bytes.as_ref().and_then(|size| size.bytes().ok()).unwrap_or(128 << 20)
    }

    /// The most lines that a file has.
    pub fn records(&self) -> Option<u64> {
        self.records.and_then(|count| u64::try_from(count).ok())
    }

    /// The longest time from a file's first line on.
    pub fn age(&self) -> Duration {
        self.age.as_ref().and_then(|span| span.duration().ok()).unwrap_or(Duration::from_secs(15 * 60))
    }

    /// The longest time without a new line.
    pub fn idle(&self) -> Duration {
        self.idle.as_ref().and_then(|span| span.duration().ok()).unwrap_or(Duration::from_secs(5 * 60))
    }
}

impl ConsoleSink {
    /// How a line is shown.
    pub fn format(&self) -> ConsoleFormat {
        self.format.unwrap_or(ConsoleFormat::Text)
    }
}

impl KafkaSink {
    /// How a record finds its partition.
    pub fn partitioner(&self) -> Partitioner {
        self.partitioner.unwrap_or(Partitioner::File)
    }

    /// How batches are compressed.
    pub fn compression(&self) -> Compression {
        self.compression.unwrap_or(Compression::Lz4)
    }

    /// Which replicas must have a record.
    pub fn acks(&self) -> Acks {
        self.acks.unwrap_or(Acks::All)
    }
}

impl Tls {
    /// The Secret and the key in it that hold the brokers' certificate authority.
    pub fn ca(&self) -> Option<(&str, &str)> {
        let secret = self.ca_secret.as_ref()?;
        Some((&secret.name, secret.key.as_deref().unwrap_or("ca.crt")))
    }
}

impl Sasl {
    /// The Secret and the key in it that hold the password.
    pub fn password(&self) -> (&str, &str) {
        let secret = &self.password_secret;
        (&secret.name, secret.key.as_deref().unwrap_or("password"))
    }
}

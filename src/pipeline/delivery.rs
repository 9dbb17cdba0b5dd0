//! What a pipeline promises about delivery, and how often it commits.
//!
//! Pure data. Defaults are given by the methods, never by the schema; a value that cannot be read counts
//! as its default here, because `validate` refuses it before anything runs.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantity::{ByteSize, TimeSpan};

/// What is promised about delivery, and how often it is committed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// What is promised: ExactlyOnce (transactions), AtLeastOnce (lines may arrive twice after a crash), or BestEffort (lines
    /// may be lost). Default ExactlyOnce, and with sink console BestEffort, which is all that it can give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guarantee: Option<Guarantee>,
    /// The longest time between the first record of a transaction and its commit: a duration from 50ms to 10s. It is how late
    /// readers see a line. Default 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_interval: Option<TimeSpan>,
    /// How many bytes of records a transaction holds at most: a size from 1Ki to 1Gi. Default 64Mi. Takes the place of
    /// Flume's batchSize (events there).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_transaction_bytes: Option<ByteSize>,
    /// The compacted topic that holds progress, shared by the namespace's pipelines; never changes. Default
    /// `spoolway-<namespace>-checkpoints`. Takes the place of Flume's trackerDir.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_topic: Option<String>,
    /// The topic that holds receipts, shared by the namespace's pipelines; never changes. Default
    /// `spoolway-<namespace>-receipts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_topic: Option<String>,
}

words! {
    /// What is promised about delivery.
    Guarantee {
        /// Every line once, for `read_committed` readers.
        ExactlyOnce,
        /// Every line, and after a crash some of them twice.
        AtLeastOnce,
        /// Lines may be lost.
        BestEffort,
    }
}

impl Delivery {
    /// The longest time between the first record of a transaction and its commit.
    pub fn commit_interval(&self) -> Duration {
        let set = self.commit_interval.as_ref();
        set.and_then(|t| t.duration().ok()).unwrap_or(Duration::from_secs(1))
    }

    /// How many bytes of records a transaction holds at most.
    pub fn max_transaction_bytes(&self) -> u64 {
        let set = self.max_transaction_bytes.as_ref();
        set.and_then(|s| s.bytes().ok()).unwrap_or(64 << 20)
    }

    /// The topic that holds progress.
    pub fn checkpoint_topic(&self, namespace: &str) -> String {
        let default = || format!("spoolway-{namespace}-checkpoints");
        self.checkpoint_topic.clone().unwrap_or_else(default)
    }

    /// The topic that holds receipts.
    pub fn receipt_topic(&self, namespace: &str) -> String {
        let default = || format!("spoolway-{namespace}-receipts");
        self.receipt_topic.clone().unwrap_or_else(default)
    }
}

//! What is wrong with a LogPipeline whose shape is right: bounds, names, and what does not go together.
//!
//! Pure, and complete: all problems come back, not the first. The API server's rules and the agent start from
//! the same judgement; [`Judge`] is where they differ.

pub mod placement;
pub mod sink;
pub mod source;

use std::time::Duration;

use super::problem::quoted;
use super::quantity::{ByteSize, TimeSpan};
use super::{Acks, Guarantee, LogPipeline, Problem};

/// Who judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// The API server and the operator: the pipeline must say where its agents run.
    Cluster,
    /// An agent on a bare machine: no placement is needed.
    Bare,
}

/// Every problem of `pipeline`; none means that it can run.
pub fn validate(pipeline: &LogPipeline, judge: Judge) -> Vec<Problem> {
    let mut found = Found::default();
    names(pipeline, &mut found);
    source::check(pipeline, &mut found);
    sink::check(pipeline, judge, &mut found);
    delivery(pipeline, &mut found);
    placement::check(pipeline, judge, &mut found);
    found.0
}

fn names(pipeline: &LogPipeline, found: &mut Found) {
    let name = &pipeline.metadata.name;
    if !is_dns_label(name, 43) {
        let message = format!(
            "is {}; use 1 to 43 lower-case letters, digits and -, with a letter or digit at both ends",
            quoted(name)
        );
        found.add("metadata.name", message);
    }
    if !is_dns_label(pipeline.namespace(), 63) {
        let message =
            format!("is {}, which no namespace can be called; use the name of one", quoted(pipeline.namespace()));
        found.add("metadata.namespace", message);
    }
}

fn delivery(pipeline: &LogPipeline, found: &mut Found) {
    let delivery = pipeline.delivery();
    let span = delivery.commit_interval.as_ref();
    found.span("spec.delivery.commitInterval", span, Duration::from_millis(50), Duration::from_secs(10));
    let size = delivery.max_transaction_bytes.as_ref();
    found.size("spec.delivery.maxTransactionBytes", size, 1 << 10, 1 << 30);

    let checkpoints = delivery.checkpoint_topic(pipeline.namespace());
    let receipts = delivery.receipt_topic(pipeline.namespace());
    found.topic("spec.delivery.checkpointTopic", &checkpoints);
    found.topic("spec.delivery.receiptTopic", &receipts);
    // The names that other namespaces' topics have by default are kept free too: who sent records there would forge progress.
    if checkpoints == receipts || is_reserved(&receipts, "checkpoints") {
        found
            .add("spec.delivery.receiptTopic", "is a checkpointTopic too; progress and receipts need a topic each");
    }
    if is_reserved(&checkpoints, "receipts") {
        found
            .add("spec.delivery.checkpointTopic", "is a receiptTopic too; progress and receipts need a topic each");
    }
    let Some(kafka) = pipeline.kafka() else {
        return;
    };
    let reserved = is_reserved(&kafka.topic, "checkpoints") || is_reserved(&kafka.topic, "receipts");
    if reserved || kafka.topic == checkpoints || kafka.topic == receipts {
        let message = "holds Spoolway's own progress or receipts; send records to a topic of their own";
        found.add("spec.sink.kafka.topic", message);
    }
    if kafka.acks() != Acks::All && pipeline.guarantee() != Guarantee::BestEffort {
        let message = format!(
            "{} cannot give {}; leave acks out, or set spec.delivery.guarantee: BestEffort",
            kafka.acks(),
            pipeline.guarantee()
        );
        found.add("spec.sink.kafka.acks", message);
    }
}

/// The problems found so far.
#[derive(Default)]
struct Found(Vec<Problem>);

impl Found {
    fn add(&mut self, path: impl AsRef<str>, message: impl AsRef<str>) {
        self.0.push(Problem::new(path, message));
    }

    /// Exactly one of the members of the union at `path`; the names of those that are set come in.
    fn exactly_one(&mut self, path: &str, members: &str, set: &[&str]) {
        match set {
            [] => self.add(path, format!("is empty; it needs one of: {members}")),
            [_] => {}
            many => {
                let message = format!("has {} together; keep one of them", many.join(" and "));
                self.add(path, message);
            }
        }
    }

    fn count(&mut self, path: &str, count: usize, max: usize) {
        if count > max {
            self.add(path, format!("has {count} entries; use at most {max}"));
        }
    }

    fn number(&mut self, path: &str, value: Option<i64>, min: i64, max: i64) {
        if let Some(value) = value
            && !(min..=max).contains(&value)
        {
            self.add(path, format!("is {value}; use {min} to {max}"));
        }
    }

    fn span(&mut self, path: &str, value: Option<&TimeSpan>, min: Duration, max: Duration) {
        let Some(text) = value else { return };
        match text.duration() {
            Err(why) => self.add(path, format!("{} {why}", quoted(&text.0))),
            Ok(span) if (min..=max).contains(&span) => {}
            Ok(_) => {
                let (min, max) = (TimeSpan::from(min), TimeSpan::from(max));
                self.add(path, format!("is {text}; use {min} to {max}"));
            }
        }
    }

    fn size(&mut self, path: &str, value: Option<&ByteSize>, min: u64, max: u64) {
        let Some(text) = value else { return };
        match text.bytes() {
            Err(why) => self.add(path, format!("{} {why}", quoted(&text.0))),
            Ok(size) if (min..=max).contains(&size) => {}
            Ok(_) => {
                let (min, max) = (ByteSize::from(min), ByteSize::from(max));
                self.add(path, format!("is {text}; use {min} to {max}"));
            }
        }
    }

    fn topic(&mut self, path: &str, name: &str) {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !(1..=249).contains(&name.len()) || !name.bytes().all(legal) || name == "." || name == ".." {
            let message = format!("is {}; use 1 to 249 of the characters a-z A-Z 0-9 . _ -", quoted(name));
            self.add(path, message);
        }
    }

    /// Text that is handed to the Kafka client or the kernel, which take no NUL.
    fn plain(&mut self, path: &str, text: &str, max: usize) {
        if text.is_empty() {
            self.add(path, "is empty; give it, or leave the field out");
        } else if text.len() > max {
            self.add(path, format!("is {} bytes long; use at most {max}", text.len()));
        } else if text.chars().any(char::is_control) {
            self.add(path, format!("is {}; remove the control characters", quoted(text)));
        }
    }

    /// An absolute path that leads nowhere else.
    fn absolute(&mut self, path: &str, text: &str) {
        let refuse = if text.contains('\0') {
            "has a NUL in it; remove it"
        } else if !text.starts_with('/') {
            "is not absolute; begin it with /"
        } else if text.split('/').any(|part| part == "..") {
            "has .. in it; write the path without"
        } else if text.bytes().all(|b| b == b'/') {
            "is the whole file system; name a directory in it"
        } else if text.len() > 4095 {
            "is longer than 4095 bytes; use a shorter one"
        } else {
            return;
        };
        self.add(path, format!("{} {refuse}", quoted(text)));
    }
}

/// Whether `topic` is what some namespace's topic for `what` is called by default.
fn is_reserved(topic: &str, what: &str) -> bool {
    topic.strip_prefix("spoolway-").and_then(|t| t.strip_suffix(what)).is_some_and(|t| t.ends_with('-'))
}

/// Whether Kubernetes takes `name` as a label of a DNS name, and it has at most `max` characters.
fn is_dns_label(name: &str, max: usize) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=max).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// The names of those members of a union that are set.
fn set<'a>(members: &[(&'a str, bool)]) -> Vec<&'a str> {
    members.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect()
}

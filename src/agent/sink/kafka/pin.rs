//! Remembers, in `--state-dir`, which checkpoint topic progress was kept in. I/O on one small file.
//!
//! A topic made anew, or with another partition count, holds none of our progress: reading it would ship everything again.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::agent::sink::{Failure, SinkError};
use crate::pipeline::report::FlowReason;

/// What the checkpoint topic is like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pinned {
    /// Its name.
    pub topic: String,
    /// Its id, where the brokers tell it (KIP-516).
    pub topic_id: Option<String>,
    /// Its partitions.
    pub partitions: u32,
}

/// The file of one agent.
#[derive(Debug, Clone)]
pub struct Pin(PathBuf);

impl Pin {
    /// Beneath `directory`, for the agent with this transactional id.
    pub fn new(directory: &Path, transactional_id: &str) -> Self {
        // `%` cannot stand in any part of the id that Kubernetes names; it keeps ids apart where one holds a slash.
        let name = transactional_id.replace('%', "%25").replace('/', "%2F");
        Pin(directory.join(format!("{name}.json")))
    }

    /// Compares with what was remembered, or remembers it.
    ///
    /// # Errors
    /// It is another topic, or the file cannot be read or written.
    pub fn check(&self, found: &Pinned) -> Result<(), SinkError> {
        let file = self.0.display();
        match std::fs::read(&self.0) {
            Ok(text) => match serde_json::from_slice::<Pinned>(&text) {
                Ok(known) if known.agrees(found) => Ok(()),
                Ok(known) => Err(refused(format!(
                    "checkpoint topic {} is not the one that progress was kept in: then {known}, now {found}; starting here would \
                     ship again what was shipped. Bring the topic back, or, to accept that, delete {file}",
                    found.topic
                ))),
                Err(e) => Err(refused(format!("{file} cannot be read: {e}; correct or delete it"))),
            },
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                self.write(found).map_err(|e| refused(format!("cannot write {file}: {e}; correct --state-dir")))
            }
            Err(e) => Err(refused(format!("cannot read {file}: {e}; correct --state-dir"))),
        }
    }

    /// The topic does not exist: fine as long as none is remembered.
    ///
    /// # Errors
    /// Progress was kept in it.
    pub fn check_absent(&self, topic: &str) -> Result<(), SinkError> {
        if !self.0.exists() {
            return Ok(());
        }
        Err(refused(format!(
            "checkpoint topic {topic}, in which progress was kept, does not exist any more; starting without it would ship again \
             what was shipped. Bring the topic back, or, to accept that, delete {}",
            self.0.display()
        )))
    }

    fn write(&self, found: &Pinned) -> std::io::Result<()> {
        let directory = self.0.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)?;
        let new = self.0.with_extension("new");
        let mut file = std::fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec(found)?)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.0)?;
        std::fs::File::open(directory)?.sync_all()
    }
}

impl Pinned {
    /// Ids are compared where both sides know them.
    fn agrees(&self, other: &Pinned) -> bool {
        let ids = match (&self.topic_id, &other.topic_id) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        };
        ids && self.topic == other.topic && self.partitions == other.partitions
    }
}

impl std::fmt::Display for Pinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = self.topic_id.as_deref().unwrap_or("unknown");
        write!(f, "{} with id {id} and {} partitions", self.topic, self.partitions)
    }
}

fn refused(message: String) -> SinkError {
    SinkError { failure: Failure::RetrySlowly, reason: FlowReason::CheckpointTopicChanged, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_checkpoint_topic_is_refused_until_the_file_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let pin = Pin::new(&dir.path().join("made"), "spoolway/local/shop/web/a1");
        let topic =
            |id: Option<&str>, partitions| Pinned { topic: "c".into(), topic_id: id.map(Into::into), partitions };
        pin.check(&topic(Some("A"), 50)).unwrap();
        pin.check(&topic(Some("A"), 50)).unwrap();
        pin.check(&topic(None, 50)).expect("an id that nobody tells is not another one");
        for changed in [topic(Some("B"), 50), topic(Some("A"), 51)] {
            let refused = pin.check(&changed).unwrap_err();
            assert_eq!(refused.reason, FlowReason::CheckpointTopicChanged);
            assert!(refused.message.contains("then c with id A and 50 partitions, now c with id"), "{refused}");
        }
        assert!(pin.check_absent("c").is_err(), "a topic that held progress is not made anew");
        std::fs::remove_file(&pin.0).unwrap();
        pin.check_absent("c").unwrap();
        pin.check(&topic(Some("B"), 50)).unwrap();
    }
}

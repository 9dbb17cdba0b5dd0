//! Which checkpoint topic progress was kept in: remembered in `--state-dir` on a bare machine, without one as long as the agent runs, and by
//! the operator for a pod. I/O on one small file, where there is one.
//!
//! A topic made anew, or with another partition count, holds none of our progress: reading it would ship everything again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::agent::sink::file::disk::{self, Machine};
use crate::agent::sink::{Failure, SinkError, file_stem};
use crate::pipeline::pod::{CONFIG_DIR, CheckpointTopic};
use crate::pipeline::report::FlowReason;

/// Where it is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pin {
    /// Nowhere: it is not checked.
    #[default]
    None,
    /// In this process: whoever starts it again accepts what is there then.
    Process(Seen),
    /// In a file of this agent.
    File {
        /// `--state-dir`.
        directory: PathBuf,
        /// Whose it is.
        transactional_id: String,
    },
    /// In the pipeline's ConfigMap, once the operator has heard of it; it takes the report's word.
    Operator {
        /// The ConfigMap's name.
        config_map: String,
        /// What it says.
        known: Option<CheckpointTopic>,
    },
}

/// What a process has seen, for as long as it lives and whatever its configuration becomes.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Option<CheckpointTopic>>>);

impl PartialEq for Seen {
    /// The same memory.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Seen {}

impl Seen {
    fn memory(&self) -> MutexGuard<'_, Option<CheckpointTopic>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pin {
    /// A file beneath `directory`, for the agent with this transactional id.
    pub fn file(directory: &Path, transactional_id: &str) -> Self {
        Pin::File { directory: directory.to_owned(), transactional_id: transactional_id.to_owned() }
    }

    /// The file, where there is one.
    fn path(&self) -> Option<PathBuf> {
        let Pin::File { directory, transactional_id } = self else { return None };
        Some(directory.join(format!("{}.json", file_stem(transactional_id))))
    }

    /// Compares with what was remembered, or remembers it.
    ///
    /// # Errors
    /// It is another topic, or the file cannot be read or written.
    pub fn check(&self, found: &CheckpointTopic) -> Result<(), SinkError> {
        match self.compared(found)? {
            // Brokers may tell the id later than the rest.
            Some(known) if known.topic_id.is_some() || found.topic_id.is_none() => Ok(()),
            _ => self.remember(found),
        }
    }

    /// Compares with what was remembered: false where nothing is.
    ///
    /// # Errors
    /// It is another topic, or the file cannot be read.
    pub fn compare(&self, found: &CheckpointTopic) -> Result<bool, SinkError> {
        Ok(self.compared(found)?.is_some())
    }

    /// What was remembered, if it may be the same.
    fn compared(&self, found: &CheckpointTopic) -> Result<Option<CheckpointTopic>, SinkError> {
        match self.known()? {
            Some(known) if !known.agrees(found) => Err(refused(format!(
                "checkpoint topic {} is not the one that progress was kept in: then {}, now {}; starting here would ship again what \
                 was shipped. Bring the topic back, or, to accept that, {}",
                found.topic,
                shown(&known),
                shown(found),
                self.acceptance()
            ))),
            known => Ok(known),
        }
    }

    /// From now on it is this one, where this is the place to say so: a person decided, or it is the first.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn remember(&self, found: &CheckpointTopic) -> Result<(), SinkError> {
        if let Pin::Process(seen) = self {
            *seen.memory() = Some(found.clone());
        }
        let Some(path) = self.path() else { return Ok(()) };
        write(&path, found)
            .map_err(|e| refused(format!("cannot write {}: {e}; correct --state-dir", path.display())))
    }

    /// From now on none is remembered, where this is the place to say so.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget(&self) -> Result<(), SinkError> {
        let Some(path) = self.path() else { return Ok(()) };
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(refused(format!("cannot remove {}: {e}; correct --state-dir", path.display())))
            }
            _ => Ok(()),
        }
    }

    /// The topic does not exist: fine as long as none is remembered.
    ///
    /// # Errors
    /// Progress was kept in it.
    pub fn check_absent(&self, topic: &str) -> Result<(), SinkError> {
        if self.known()?.is_none() {
            return Ok(());
        }
        Err(refused(format!(
            "checkpoint topic {topic}, in which progress was kept, does not exist any more; starting without it would ship again \
             what was shipped. Bring the topic back, or, to accept that, {}",
            self.acceptance()
        )))
    }

    /// What is remembered.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn known(&self) -> Result<Option<CheckpointTopic>, SinkError> {
        match self {
            Pin::Operator { known, .. } => return Ok(known.clone()),
            Pin::Process(seen) => return Ok(seen.memory().clone()),
            Pin::None | Pin::File { .. } => {}
        }
        let Some(path) = self.path() else { return Ok(None) };
        let file = path.display();
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|e| refused(format!("{file} cannot be read: {e}; correct or delete it"))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(refused(format!("cannot read {file}: {e}; correct --state-dir"))),
        }
    }

    /// What a person does to accept another topic.
    fn acceptance(&self) -> String {
        match self {
            Pin::None | Pin::Process(_) => "start the agent again".into(),
            Pin::File { directory, transactional_id } => {
                let directory = directory.display();
                format!(
                    "run: spoolway progress accept -f FILE {} --state-dir {directory} --yes",
                    whose(transactional_id)
                )
            }
            Pin::Operator { config_map, .. } => format!(
                "run in its pod: spoolway progress accept --config-dir {CONFIG_DIR} (it prints the command that changes ConfigMap \
                 {config_map}, which remembers the topic)"
            ),
        }
    }
}

/// The options of `spoolway progress` that name an agent.
pub fn whose(transactional_id: &str) -> String {
    let mut parts = transactional_id.splitn(5, '/').skip(1);
    let cluster = parts.next().unwrap_or_default();
    format!("--cluster {cluster} --agent-id {}", parts.nth(2).unwrap_or_default())
}

fn write(path: &Path, found: &CheckpointTopic) -> std::io::Result<()> {
    std::fs::create_dir_all(disk::parent(path))?;
    disk::put(&mut Machine::default(), path, &serde_json::to_vec(found)?)
}

fn shown(topic: &CheckpointTopic) -> String {
    let id = topic.topic_id.as_deref().unwrap_or("unknown");
    format!("{} with id {id} and {} partitions", topic.topic, topic.partitions)
}

fn refused(message: String) -> SinkError {
    SinkError { failure: Failure::RetrySlowly, reason: FlowReason::CheckpointTopicChanged, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: Option<&str>, partitions: u32) -> CheckpointTopic {
        CheckpointTopic { topic: "c".into(), topic_id: id.map(Into::into), partitions }
    }

    #[test]
    fn another_checkpoint_topic_is_refused_until_a_person_accepts_it() {
        let dir = tempfile::tempdir().unwrap();
        let pin = Pin::file(&dir.path().join("made"), "spoolway/local/shop/web/a1");
        pin.check(&topic(None, 50)).unwrap();
        pin.check(&topic(Some("A"), 50)).expect("the id was not told before");
        pin.check(&topic(Some("A"), 50)).unwrap();
        pin.check(&topic(None, 50)).expect("an id that nobody tells is not another one");
        for changed in [topic(Some("B"), 50), topic(Some("A"), 51)] {
            let refused = pin.check(&changed).unwrap_err();
            assert_eq!(refused.reason, FlowReason::CheckpointTopicChanged);
            assert!(refused.message.contains("then c with id A and 50 partitions, now c with id"), "{refused}");
        }
        assert!(pin.check_absent("c").is_err(), "a topic that held progress is not made anew");
        let refused = pin.check(&topic(Some("B"), 50)).unwrap_err().message;
        let command =
            "or, to accept that, run: spoolway progress accept -f FILE --cluster local --agent-id a1 --state-dir ";
        assert!(refused.contains(command), "{refused}");
        pin.remember(&topic(Some("B"), 50)).unwrap();
        pin.check(&topic(Some("B"), 50)).unwrap();
        pin.forget().unwrap();
        pin.check_absent("c").unwrap();
        assert_eq!(pin.compare(&topic(Some("C"), 4)), Ok(false), "looking remembers nothing");
        assert_eq!(pin.known(), Ok(None));
    }

    #[test]
    fn without_a_directory_it_is_remembered_as_long_as_the_process_lives() {
        let seen = Seen::default();
        Pin::Process(seen.clone()).check_absent("c").expect("nothing is remembered yet");
        Pin::Process(seen.clone()).check(&topic(Some("A"), 50)).unwrap();
        // Of another configuration, in the same process.
        let pin = Pin::Process(seen);
        pin.check(&topic(Some("A"), 50)).unwrap();
        let gone = pin.check_absent("c").unwrap_err();
        let refused = pin.check(&topic(Some("B"), 50)).unwrap_err();
        for message in [gone.message, refused.message] {
            assert!(message.ends_with("or, to accept that, start the agent again"), "{message}");
        }
        Pin::Process(Seen::default()).check(&topic(Some("B"), 50)).expect("another process");
    }

    #[test]
    fn in_a_pod_the_operator_remembers() {
        let pin = |known| Pin::Operator { config_map: "web-spoolway".into(), known };
        pin(None).check(&topic(Some("A"), 50)).expect("it hears of it by the report");
        pin(None).check_absent("c").unwrap();
        pin(Some(topic(Some("A"), 50))).check(&topic(Some("A"), 50)).unwrap();
        let refused = pin(Some(topic(Some("A"), 50))).check(&topic(Some("B"), 50)).unwrap_err();
        assert!(refused.message.ends_with(
            "to accept that, run in its pod: spoolway progress accept --config-dir /etc/spoolway/config (it prints the command that changes ConfigMap web-spoolway, which remembers the topic)"
        ));
        assert!(pin(Some(topic(None, 50))).check_absent("c").is_err());
    }
}

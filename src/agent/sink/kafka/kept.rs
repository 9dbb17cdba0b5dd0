//! What the checkpoint topic holds, agent by agent and file by file, and how a person removes some of it.
//!
//! [`kept`] is pure. Removing goes the way of an agent that starts: fence, read, then one transaction of tombstones; so nothing of a
//! predecessor that lives can come between.

use std::collections::BTreeMap;

use super::pin::whose;
use super::{Checkpoint, Cluster, Producer, Settings, partitioner};
use crate::agent::channel::progress::{Progress, ProgressError};
use crate::agent::sink::SinkError;

/// What is kept of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Whose it is.
    pub transactional_id: String,
    /// The file's id: the end of the key.
    pub file: String,
    /// The value.
    pub progress: Result<Progress, ProgressError>,
}

/// The last value of each key of those owners that are `wanted`, sorted by key; what was removed is not in it.
pub fn kept(checkpoints: Vec<Checkpoint>, wanted: impl Fn(&str) -> bool) -> Vec<Kept> {
    let mut last = BTreeMap::new();
    for Checkpoint { key, value, age } in checkpoints {
        let Some((owner, file)) = parts(&key) else { continue };
        if wanted(owner) {
            last.insert((owner.to_owned(), file.to_owned()), (value, age));
        }
    }
    let values = last.into_iter().filter_map(|((transactional_id, file), (value, age))| {
        let progress = Progress::decode(&file, value.as_deref()?).map(|progress| Progress { age, ..progress });
        Some(Kept { transactional_id, file, progress })
    });
    values.collect()
}

/// Whose a key is: the transactional id in it.
pub fn owner_of(key: &[u8]) -> Option<&str> {
    parts(key).map(|(owner, _)| owner)
}

fn parts(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key).ok()?.rsplit_once('/')
}

/// What is wrong with a value, and what to do about it.
pub fn advice(error: &ProgressError, transactional_id: &str) -> String {
    match error {
        ProgressError::Newer { .. } => error.to_string(),
        ProgressError::Malformed { file, .. } => format!(
            "{error}; to read that file from its first byte again, run: spoolway progress forget -f FILE {} --file-id {file} --yes",
            whose(transactional_id)
        ),
    }
}

/// The partition of the checkpoint topic, of so many, in which an agent's progress is kept.
pub fn partition_of(agent: &str, partitions: u32) -> i32 {
    partitioner::of_key(agent.as_bytes(), partitions)
}

/// Fences the agent, then removes what is kept of its files, of one or of all; returns what that was. `partitions` is the checkpoint
/// topic's count.
///
/// # Errors
/// Nothing is removed, unless the commit's outcome is unknown.
pub fn forget(
    cluster: &mut impl Cluster,
    settings: &Settings,
    partitions: u32,
    file: Option<&str>,
) -> Result<Vec<Kept>, SinkError> {
    let mut producer = cluster.producer()?;
    let partition = partition_of(&settings.agent, partitions);
    let mut found = kept(cluster.checkpoints(partition)?, |owner| owner == settings.transactional_id);
    found.retain(|kept| file.is_none_or(|file| kept.file == file));
    if !found.is_empty() {
        producer.begin()?;
        for kept in &found {
            let key = format!("{}/{}", kept.transactional_id, kept.file);
            producer.record(&settings.checkpoint_topic, Some(partition), &key, None)?;
        }
        producer.commit()?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_value_of_a_key_counts_and_what_was_removed_is_gone() {
        let record = |key: &str, value: Option<&str>| Checkpoint {
            key: key.into(),
            value: value.map(Into::into),
            age: Duration::ZERO,
        };
        let (one, two) = ("spoolway/c/shop/web/a1", "spoolway/c/shop/web/pvc/c");
        let records = vec![
            record(&format!("{one}/000000000000000a"), Some("{}")),
            record(&format!("{one}/000000000000000b"), Some(r#"{"v":9}"#)),
            record(&format!("{one}/000000000000000a"), None),
            record(&format!("{two}/000000000000000a"), Some("{")),
            record("no slash", Some("{}")),
        ];
        let all = kept(records.clone(), |_| true);
        assert_eq!(all.len(), 2);
        let error = all[0].progress.as_ref().unwrap_err();
        assert!(matches!(error, ProgressError::Newer { found: 9, .. }), "{error}");
        assert_eq!(advice(error, one), error.to_string(), "it is not to be removed");
        let error = all[1].progress.as_ref().unwrap_err();
        let said = advice(error, two);
        let command =
            "run: spoolway progress forget -f FILE --cluster c --agent-id pvc/c --file-id 000000000000000a --yes";
        assert!(said.ends_with(command), "{said}");
        assert_eq!(kept(records, |owner| owner == "spoolway/c/shop/web").len(), 0, "an owner is compared whole");
    }
}

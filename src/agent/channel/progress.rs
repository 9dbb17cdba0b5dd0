//! What is committed about a file: its progress, and what a transaction adds to it. Pure data, written as JSON.
//!
//! Progress goes to the compacted checkpoint topic, in the transaction that holds the lines it speaks of; what goes to the receipt
//! topic is [`super::evidence`]. Every value carries its version `v`; a newer one is refused, never taken for "nothing".

use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::charset::ByteOrder;
use super::digest::{Digest, FileId, Mark};
use super::name::Name;
use super::splitter::LineState;

/// Version of progress and evidence that this release writes, and the newest it reads.
pub const VERSION: u32 = 1;

/// Offsets that one file's lines took on one partition, in file order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Kafka partition.
    pub partition: i32,
    /// Offset of the first record; `None` where the broker knew the batch already and librdkafka could not tell.
    pub first: Option<i64>,
    /// Records, at consecutive offsets.
    pub count: u64,
}

impl Run {
    /// Takes `next` in where it goes on with this one; false where it does not.
    pub fn join(&mut self, next: Run) -> bool {
        let goes_on = match (self.first, next.first) {
            (Some(first), Some(at)) => first + self.count as i64 == at,
            (None, None) => true,
            _ => false,
        };
        let joins = goes_on && self.partition == next.partition;
        self.count += if joins { next.count } else { 0 };
        joins
    }
}

/// First and last offset of a whole file on one partition; other records may lie between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Kafka partition.
    pub partition: i32,
    /// Offset of the file's first record there, as far as known.
    pub first: Option<i64>,
    /// Offset of its last record there, as far as known.
    pub last: Option<i64>,
}

/// Widens `extents` by what one transaction delivered.
pub fn extend(extents: &mut Vec<Extent>, runs: &[Run]) {
    for run in runs {
        let last = run.first.map(|first| first + run.count as i64 - 1);
        match extents.iter_mut().find(|e| e.partition == run.partition) {
            Some(extent) => extent.last = last,
            None => {
                extents.reserve_exact(1); // there is one for almost every file, and many files
                extents.push(Extent { partition: run.partition, first: run.first, last });
            }
        }
    }
}

/// How often a file's lines were not shipped as they stood in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Altered {
    /// Lines longer than `maxLineBytes` (`onLongLine`).
    pub long_lines: u64,
    /// Byte sequences that were replaced or left out (`decodeErrorPolicy`).
    pub decode_errors: u64,
}

impl AddAssign for Altered {
    fn add_assign(&mut self, more: Altered) {
        self.long_lines += more.long_lines;
        self.decode_errors += more.decode_errors;
    }
}

impl Altered {
    pub(super) fn never(&self) -> bool {
        *self == Altered::default()
    }
}

/// What is committed of one generation of a file. The key on the topic is `<transactional.id>/<id>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Version, [`VERSION`].
    pub v: u32,
    /// The generation's id.
    #[serde(skip, default = "no_id")]
    pub id: FileId,
    /// How long ago it was written when it was read back, by wall clocks; zero where that is not known.
    #[serde(skip)]
    pub age: Duration,
    /// Name when it was last seen. A label: identity is the four fields behind it.
    pub name: Name,
    /// Inode number; never with the device number, which changes at reboot.
    pub inode: u64,
    /// Birth time in nanoseconds since 1970, where the file system tells it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub birth: Option<i64>,
    /// Mark of the file's first bytes.
    pub head: Mark,
    /// Mark of the bytes just before `position`.
    pub tail: Mark,
    /// 1 for a file's first content, one more each time it was cut or rewritten.
    pub generation: u32,
    /// Bytes of the file that are done with.
    pub position: u64,
    /// Where in a line `position` stands.
    pub line_state: LineState,
    /// What a UTF-16 file's first bytes told (`inputCharset`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub byte_order: Option<ByteOrder>,
    /// Topic the file began on, and finishes on.
    pub topic: String,
    /// Partition the file began on, and finishes on.
    pub partition: i32,
    /// Records shipped.
    pub lines: u64,
    /// Bytes of those records' values.
    pub bytes: u64,
    /// Digest over them.
    pub digest: Digest,
    /// How often they are not what the file holds.
    #[serde(skip_serializing_if = "Altered::never", default)]
    pub altered: Altered,
    /// Offsets they took.
    pub extents: Vec<Extent>,
    /// True once its last byte is committed: what is left is the rename.
    pub finished: bool,
    /// It was finished before, and grew: what is new may stand under its completed name.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub grown: bool,
}

fn no_id() -> FileId {
    FileId(0)
}

/// What one transaction shipped of one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// First byte.
    pub from: u64,
    /// The byte behind the last one.
    pub to: u64,
    /// Records.
    pub lines: u64,
    /// Offsets they took, in file order within each partition.
    pub runs: Vec<Run>,
}

/// How a file's end was made sure of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndBy {
    /// A read lease proved that no writer has it open.
    Lease,
    /// Only `settleTime` without a change: the kernel allows no lease here (other owner, network file system).
    Settle,
}

/// Where a file was when it was read to its end through a descriptor, if not in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Left {
    /// It had no name any more.
    Deleted,
    /// The last listing did not have it.
    MovedAway,
}

/// The end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// How it was made sure of.
    pub by: EndBy,
    /// Set where it is not completed, for it is not there.
    pub left: Option<Left>,
}

/// A file's entry in one transaction: its progress, its segment, and at the end what makes it a receipt.
#[derive(Debug, Clone, PartialEq)]
pub struct Closing {
    /// Progress after the transaction.
    pub progress: Progress,
    /// What the transaction holds of it.
    pub segment: Segment,
    /// Set with the file's last byte: the segment's chain is closed by a receipt.
    pub ended: Option<End>,
}

/// Why a record of the checkpoint topic cannot be used.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum ProgressError {
    /// Written by a newer release.
    #[error(
        "progress of file {file} has version {found}, this release reads up to {VERSION}; run the newer release again"
    )]
    Newer {
        /// The file's id.
        file: String,
        /// Its version.
        found: u64,
    },
    /// Not what this release or an older one writes.
    #[error("progress of file {file} cannot be read ({cause})")]
    Malformed {
        /// The file's id.
        file: String,
        /// What serde says.
        cause: String,
    },
}

impl Progress {
    /// Reads a value of the checkpoint topic; `file` is what follows the last `/` of its key.
    pub fn decode(file: &str, value: &[u8]) -> Result<Progress, ProgressError> {
        let malformed = |cause: String| ProgressError::Malformed { file: file.escape_default().to_string(), cause };
        let json: serde_json::Value = serde_json::from_slice(value).map_err(|e| malformed(e.to_string()))?;
        match json.get("v").and_then(serde_json::Value::as_u64) {
            Some(v) if v > u64::from(VERSION) => {
                return Err(ProgressError::Newer { file: file.escape_default().to_string(), found: v });
            }
            Some(_) => {}
            None => return Err(malformed("no version".into())),
        }
        let id = FileId::from_text(file).ok_or_else(|| malformed("the key does not end in a file id".into()))?;
        let progress: Progress = serde_json::from_value(json).map_err(|e| malformed(e.to_string()))?;
        Ok(Progress { id, ..progress })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Progress {
        Progress {
            v: VERSION,
            id: FileId(0xfeed),
            name: Name::new(b"a\xff.log"),
            inode: 7,
            birth: None,
            head: Mark::of(b"head"),
            tail: Mark::of(b"tail"),
            generation: 1,
            position: 9,
            line_state: LineState::Dropping,
            byte_order: None,
            topic: "test".into(),
            partition: 3,
            lines: 2,
            bytes: 8,
            digest: Digest([1; 16]),
            altered: Altered { long_lines: 1, decode_errors: 0 },
            extents: vec![Extent { partition: 3, first: Some(5), last: Some(6) }],
            finished: false,
            grown: false,
            age: Duration::ZERO,
        }
    }

    #[test]
    fn progress_survives_the_topic() {
        let json = serde_json::to_vec(&progress()).unwrap();
        assert_eq!(Progress::decode("000000000000feed", &json), Ok(progress()));
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let error = Progress::decode("000000000000feed", br#"{"v":2,"other":true}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "progress of file 000000000000feed has version 2, this release reads up to 1; run the newer release again"
        );
    }

    #[test]
    fn garbage_is_never_taken_for_nothing() {
        for value in [&b""[..], b"{}", b"{\"v\":1}", b"null", b"\xff"] {
            assert!(matches!(Progress::decode("000000000000feed", value), Err(ProgressError::Malformed { .. })));
        }
    }
}

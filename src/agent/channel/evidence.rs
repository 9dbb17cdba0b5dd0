//! What is told of a file for whoever asks later: segments and receipts, the records of the receipt topic. Pure data, written as JSON.
//!
//! They are in the transaction that holds the lines they speak of. `verify` holds the data topic against them.

use serde::{Deserialize, Serialize};

use super::digest::{Digest, FileId, Mark};
use super::name::Name;
use super::progress::{Altered, Closing, EndBy, Extent, Left, Run, VERSION};

/// A record of the receipt topic; its key is the file's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Version, [`VERSION`].
    pub v: u32,
    /// What it is evidence of.
    pub kind: EvidenceKind,
    /// `<cluster>/<namespace>/<pipeline>/<agent>`.
    pub agent: String,
    /// The generation's id.
    pub file: FileId,
    /// Name when it was last seen.
    pub name: Name,
    /// Generation, from 1.
    pub generation: u32,
    /// Topic of the records.
    pub topic: String,
    /// First byte (of the segment; 0 in a receipt).
    pub from: u64,
    /// The byte behind the last one.
    pub to: u64,
    /// Records within.
    pub lines: u64,
    /// Segment that begins with the file: which file of the directory it is, where its birth time is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<Origin>,
    /// Bytes of the values of all the file's records so far.
    pub bytes: u64,
    /// Digest of all the file's records so far.
    pub digest: Digest,
    /// How often they are not what the file holds, so far.
    #[serde(skip_serializing_if = "Altered::never", default)]
    pub altered: Altered,
    /// Segment: where its records are.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub runs: Vec<Run>,
    /// Receipt: first and last offset per partition.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub extents: Vec<Extent>,
    /// Receipt: how the end was made sure of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended: Option<EndBy>,
    /// Receipt: where the file was by then, if not in the directory.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub left: Option<Left>,
}

/// A file of the directory. Two ids of one origin: the file was begun anew, without its progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Inode number.
    pub inode: u64,
    /// Birth time in nanoseconds since 1970.
    pub birth: i64,
    /// Mark of the file's first bytes, as far as they were read at once.
    pub head: Mark,
}

/// Kinds of [`Evidence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvidenceKind {
    /// One transaction's part of a file.
    Segment,
    /// A finished file.
    Receipt,
}

impl Closing {
    /// The records for the receipt topic: the segment where anything was shipped, the receipt behind the last byte.
    pub fn evidence(&self, agent: &str) -> Vec<Evidence> {
        let p = &self.progress;
        let segment = Evidence {
            v: VERSION,
            kind: EvidenceKind::Segment,
            agent: agent.to_owned(),
            file: p.id,
            name: p.name.clone(),
            generation: p.generation,
            topic: p.topic.clone(),
            from: self.segment.from,
            to: self.segment.to,
            lines: self.segment.lines,
            origin: p.birth.filter(|_| self.segment.from == 0).map(|birth| Origin {
                inode: p.inode,
                birth,
                head: p.head,
            }),
            bytes: p.bytes,
            digest: p.digest,
            altered: p.altered,
            runs: self.segment.runs.clone(),
            extents: vec![],
            ended: None,
            left: None,
        };
        let receipt = self.ended.map(|end| Evidence {
            kind: EvidenceKind::Receipt,
            from: 0,
            lines: p.lines,
            origin: None,
            runs: vec![],
            extents: p.extents.clone(),
            ended: Some(end.by),
            left: end.left,
            ..segment.clone()
        });
        let shipped = self.segment.to > self.segment.from;
        shipped.then_some(segment).into_iter().chain(receipt).collect()
    }
}

//! What can be said of a file and of a topic, in the words that people and programs get. Pure.

use std::fmt;

use serde::Serialize;

use crate::agent::channel::digest::FileId;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// A receipt closes its chain; every line is in the topic, once, in order, and is what was read.
    Complete,
    /// All of that so far; no receipt closes it yet.
    HalfShipped,
    /// Nothing is wrong, but some of it can be proved no more: lines or segments are deleted by retention.
    Expired,
    /// Nothing is wrong, but some of it cannot be established; the flaws say what.
    Unproven,
    /// Something is wrong.
    Faulty,
}

/// What is wrong with a file, or what keeps it from being proved. Positions are bytes of the file, the last one not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Flaw {
    /// No segment speaks of these bytes.
    NoSegment {
        /// First byte.
        from: u64,
        /// The byte behind the last one.
        to: u64,
    },
    /// Lines that a segment claims are not in the topic.
    Missing(Lines),
    /// Two segments speak of the same bytes.
    ShippedTwice {
        /// First byte.
        from: u64,
        /// The byte behind the last one.
        to: u64,
        /// The other segment is one of this file id: the file was begun anew, without its progress.
        #[serde(skip_serializing_if = "Option::is_none")]
        other_id: Option<FileId>,
    },
    /// Another segment claims the same records.
    ClaimedTwice {
        /// Partition.
        partition: i32,
        /// First offset.
        first: i64,
        /// Last offset.
        last: i64,
        /// The other file, with its agent.
        by: String,
    },
    /// Lines stand before others that come before them in the file.
    OutOfOrder {
        /// First byte of the segment.
        from: u64,
        /// The byte behind its last one.
        to: u64,
        /// Partition.
        partition: i32,
        /// Their first offset.
        offset: i64,
        /// The offset of a line that comes before them.
        behind: i64,
    },
    /// The lines in the topic are not those that were read.
    DigestDiffers {
        /// First byte of the segment.
        from: u64,
        /// The byte behind its last one.
        to: u64,
    },
    /// A segment names another number of records than it counts lines.
    CountDiffers {
        /// First byte of the segment.
        from: u64,
        /// The byte behind its last one.
        to: u64,
        /// Lines that it counts.
        lines: u64,
        /// Records that it names.
        records: u64,
    },
    /// The receipt does not say what the segments say.
    ReceiptDiffers {
        /// The end of the file, as the receipt has it.
        to: u64,
        /// What differs: lines, bytes, digest, or end.
        on: &'static str,
    },
    /// Lines that the topic kept no longer.
    NoLongerInTopic(Lines),
    /// Segments that the receipt topic kept no longer.
    SegmentsGone {
        /// The byte behind the last one of which they spoke.
        to: u64,
    },
    /// Lines whose offsets Kafka's client was not told, and that could not be found by the digest.
    OffsetsUntold {
        /// First byte of the segment.
        from: u64,
        /// The byte behind its last one.
        to: u64,
        /// How many lines.
        lines: u64,
    },
    /// Lines behind a transaction that is still open: nobody can read them yet.
    StillOpen(Lines),
    /// The segment's lines are too far apart in the topic to be held in memory until they can be put in order.
    TooFarApart {
        /// First byte of the segment.
        from: u64,
        /// The byte behind its last one.
        to: u64,
    },
}

/// Some lines of one or several segments in a row, on one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lines {
    /// First byte of the first segment that holds such lines.
    pub from: u64,
    /// The byte behind the last one of the last segment.
    pub to: u64,
    /// How many lines.
    pub lines: u64,
    /// Partition.
    pub partition: i32,
    /// Offset of the first one.
    pub first: i64,
    /// Offset of the last one.
    pub last: i64,
    /// The number of the first one in the file, from 1, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

impl Flaw {
    /// The state that a file has for this alone.
    pub fn state(&self) -> State {
        match self {
            Flaw::NoLongerInTopic(_) | Flaw::SegmentsGone { .. } => State::Expired,
            Flaw::OffsetsUntold { .. } | Flaw::StillOpen(_) | Flaw::TooFarApart { .. } => State::Unproven,
            _ => State::Faulty,
        }
    }

    /// Takes in what `next` says of the segment behind, where it is the same thing: thousands of segments of a file may be gone.
    pub(super) fn join(&mut self, next: &Flaw) -> bool {
        let (one, two) = match (self, next) {
            (Flaw::Missing(one), Flaw::Missing(two))
            | (Flaw::NoLongerInTopic(one), Flaw::NoLongerInTopic(two))
            | (Flaw::StillOpen(one), Flaw::StillOpen(two)) => (one, two),
            (Flaw::OffsetsUntold { to, lines, .. }, Flaw::OffsetsUntold { from, to: end, lines: more }) => {
                let follows = to == from;
                if follows {
                    (*to, *lines) = (*end, lines.saturating_add(*more));
                }
                return follows;
            }
            _ => return false,
        };
        let follows = one.partition == two.partition && one.to == two.from && one.last < two.first;
        if follows {
            (one.to, one.last, one.lines) = (two.to, two.last, one.lines + two.lines);
        }
        follows
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lines { from, to, lines, partition, first, last, .. } = self;
        match lines {
            1 => write!(f, "1 line")?,
            _ => write!(f, "{lines} lines")?,
        }
        if let Some(line) = self.line {
            write!(f, " from line {line} on")?;
        }
        write!(f, ", within bytes {from} to {to}, ")?;
        match first == last {
            true => write!(f, "partition {partition} offset {first}"),
            false => write!(f, "partition {partition} offsets {first} to {last}"),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::NoSegment { from, to } => write!(f, "missing: no segment speaks of bytes {from} to {to}"),
            Flaw::Missing(lines) => write!(f, "missing in the topic: {lines}"),
            Flaw::ShippedTwice { from, to, other_id: None } => {
                write!(f, "shipped twice: two segments speak of bytes {from} to {to}")
            }
            Flaw::ShippedTwice { from, to, other_id: Some(id) } => {
                write!(
                    f,
                    "shipped twice: bytes {from} to {to} are also those of file id {id}, the same file, begun anew: its progress was not \
                     kept yet, or was lost, or forgotten"
                )
            }
            Flaw::ClaimedTwice { partition, first, last, by } => {
                write!(
                    f,
                    "claimed twice: partition {partition} offsets {first} to {last} are also those of {by}; was the topic made anew?"
                )
            }
            Flaw::OutOfOrder { from, to, partition, offset, behind } => write!(
                f,
                "out of order: lines within bytes {from} to {to} are on partition {partition} at offset {offset}, before offset \
                 {behind}, where a line is that comes before them in the file"
            ),
            Flaw::DigestDiffers { from, to } => {
                write!(
                    f,
                    "digest differs: the lines of bytes {from} to {to} are not in the topic as they were read"
                )
            }
            Flaw::CountDiffers { from, to, lines, records } => {
                write!(f, "the segment of bytes {from} to {to} counts {lines} lines and names {records} records")
            }
            Flaw::ReceiptDiffers { to, on } => {
                write!(f, "the receipt over {to} bytes and the segments differ on the file's {on}")
            }
            Flaw::NoLongerInTopic(lines) => write!(f, "no longer in the topic (retention): {lines}"),
            Flaw::SegmentsGone { to } => {
                write!(f, "the segments before byte {to} are no longer in the receipt topic (retention)")
            }
            Flaw::OffsetsUntold { from, to, lines } => write!(
                f,
                "{lines} lines within bytes {from} to {to} have offsets that Kafka did not tell (a connection broke, or acks are None), \
                 and the digest does not find them"
            ),
            Flaw::StillOpen(lines) => write!(f, "behind a transaction that is still open: {lines}"),
            Flaw::TooFarApart { from, to } => {
                write!(
                    f,
                    "the lines of bytes {from} to {to} are too far apart in the topic to be put in order in memory"
                )
            }
        }
    }
}

/// A file of this pipeline, or one generation of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Whose it is.
    pub agent: String,
    /// Its name when it was last seen, control characters escaped.
    pub name: String,
    /// The generation's id.
    pub file_id: String,
    /// Generation, from 1.
    pub generation: u32,
    /// Topic of its records.
    pub topic: String,
    /// What it is.
    pub state: State,
    /// Bytes of which segments speak.
    pub position: u64,
    /// Lines that its segments count.
    pub lines: u64,
    /// What is wrong, or not proved.
    pub flaws: Vec<Told>,
}

/// A flaw with its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// What it is.
    #[serde(flatten)]
    pub flaw: Flaw,
    /// Whether it makes the file faulty.
    pub fault: bool,
    /// The same for people.
    pub message: String,
}

impl From<Flaw> for Told {
    fn from(flaw: Flaw) -> Self {
        Told { fault: flaw.state() == State::Faulty, message: flaw.to_string(), flaw }
    }
}

/// What a topic holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its partitions; 0 where it does not exist.
    pub partitions: u32,
    /// Committed records that were read.
    pub records: u64,
    /// Those that a segment of any pipeline claims.
    pub claimed: u64,
    /// Those that none claims, and that cannot be excused.
    pub unclaimed: u64,
    /// Those that none claims now, and that are older than what the receipt topic still holds.
    pub older_than_receipts: u64,
    /// Those that none claims, and that may be lines whose offsets are not known, or whose segment is not written or readable yet.
    pub unattributed: u64,
    /// Offsets behind the end of what is committed: of transactions that are open.
    pub open: u64,
    /// Segments name offsets that it never had: it was made anew, or brokers lost records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<String>,
}

/// A record that no segment claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unclaimed {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Bytes of its value.
    pub bytes: u64,
    /// The first claimed line that is equal to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<Twin>,
}

/// A claimed line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Twin {
    /// Whose it is, maybe another pipeline's: `<cluster>/<namespace>/<pipeline>/<agent>`.
    pub identity: String,
    /// Name of the file.
    pub name: String,
    /// Id of the file.
    pub file_id: String,
    /// Its number in the file, from 1, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// This pipeline's files, by agent and name.
    pub files: Vec<File>,
    /// The topics they are in.
    pub topics: Vec<Topic>,
    /// The first of the records that no segment claims.
    pub unclaimed: Vec<Unclaimed>,
}

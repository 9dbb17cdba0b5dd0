//! What can go wrong, each with a counter: a kind that no seed has hit fails the test.

use std::collections::BTreeMap;

/// Names of every fault and of everything that the outside world does. The table of a run lists them all.
pub const KINDS: &[&str] = &[
    "files in UTF-16",
    "append",
    "append without newline",
    "drop a file",
    "drop an empty file",
    "same head as another",
    "same bytes as another",
    "inode used again, birth known",
    "inode used again, birth unknown",
    "rewritten in place, same size",
    "truncated",
    "hole behind a truncation",
    "renamed inside",
    "names swapped",
    "renamed over another",
    "moved out",
    "moved in again",
    "deleted",
    "second hard link",
    "completed name taken before",
    "writer pauses with the file open",
    "touched",
    "grew between the check and the rename",
    "grew after it was renamed",
    "completed again under its completed name",
    "long line",
    "append cut short by a full disk (ENOSPC)",
    "power lost",
    "torn by a loss of power: what completed a file is undone",
    "torn by a loss of power: a writer's last bytes are gone",
    "torn listing: a file under both its names",
    "torn listing: a file under none of its names",
    "list: input/output error (EIO)",
    "directory gone",
    "directory may not be written",
    "vanished between list and open",
    "another file has the name",
    "open: permission denied (EACCES)",
    "read: input/output error (EIO)",
    "short read",
    "not a regular file",
    "compressed",
    "lease refused by a writer",
    "no lease here",
    "resized before it is completed",
    "rewritten before it is completed",
    "gone before it is completed",
    "rename: no space left (ENOSPC)",
    "rename: input/output error (EIO)",
    "rename: permission denied (EACCES)",
    "sync: input/output error (EIO)",
    "renamed when complete",
    "deleted when complete",
    "kept, and known again",
    "completed name taken",
    "queue full",
    "too large, local",
    "too large, broker",
    "delivery fails",
    "offset unknown",
    "abortable error",
    "fatal error",
    "fenced",
    "transaction timed out",
    "commit lost before it took effect",
    "commit lost after it took effect",
    "late commit lands before a reopen",
    "late commit after a reopen is fenced",
    "late record lands before a reopen",
    "late record finds no transaction",
    "late record after a reopen is fenced",
    "slow answer",
    "init slow",
    "init refused",
    "neighbour's open transaction before our progress",
    "neighbour's transaction timed out",
    "progress incomplete",
    "progress compacted",
    "coordinator moved",
    "brokers away",
    "away longer than a transaction may last",
    "clock jump",
    "second agent kept out by the lock",
    "second agent without the lock",
    "zombie commits before its successor's init",
    "zombie's commit is fenced",
    "crash",
    "stop signal",
    "configuration changed",
    "suspended for a while",
    "once ends by itself",
];

/// Pieces of I/O before which the agent was killed at least once.
pub const CRASHES: &[&str] = &[
    "open the directory",
    "prepare",
    "init",
    "read progress",
    "list",
    "list the completed",
    "open a file",
    "read",
    "fstat",
    "begin",
    "append",
    "deliver",
    "flush",
    "own record",
    "commit begins",
    "commit",
    "commit answered",
    "check before completion",
    "complete",
    "completed",
    "sync the directory",
    "wait",
];

/// Where in [`CRASHES`] a file's end begins.
pub const COMPLETING: usize = 16;

/// How often each kind was hit.
#[derive(Default, Clone)]
pub struct Hits(pub BTreeMap<&'static str, u64>);

impl Hits {
    /// One more of `kind`.
    pub fn hit(&mut self, kind: &'static str) {
        debug_assert!(KINDS.contains(&kind) || kind.starts_with("killed: "), "{kind} is in no list");
        *self.0.entry(kind).or_default() += 1;
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Hits) {
        for (kind, count) in &other.0 {
            *self.0.entry(kind).or_default() += count;
        }
    }

    /// The table, and the kinds that were never hit.
    pub fn table(&self) -> (String, Vec<String>) {
        let names = KINDS.iter().map(|k| (*k).to_owned());
        let all: Vec<_> = names.chain(CRASHES.iter().map(|c| killed(c).to_owned())).collect();
        let count = |kind: &str| self.0.get(kind).copied().unwrap_or(0);
        let table = all.iter().map(|kind| format!("{:>10}  {kind}\n", count(kind))).collect();
        (table, all.into_iter().filter(|kind| count(kind) == 0).collect())
    }
}

/// The kind for an agent killed before this piece of I/O.
pub fn killed(point: &str) -> &'static str {
    thread_local! {
        static NAMES: BTreeMap<&'static str, &'static str> =
            CRASHES.iter().map(|c| (*c, &*Box::leak(format!("killed: {c}").into_boxed_str()))).collect();
    }
    NAMES.with(|names| names.get(point).copied().unwrap_or_else(|| panic!("{point} is in no list")))
}

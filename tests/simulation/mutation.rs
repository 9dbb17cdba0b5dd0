//! Does the simulation see anything? Mistakes are planted in what the agents do with disk and brokers, one at a time, and each must
//! break a promise within the seeds of a normal run.
//!
//! They live in the simulated shells (`client`, `spool`), so that what ships has no switch for them. Without a planted bug every seed
//! keeps every promise (`mod`), so what is caught here is caught because of it.

use super::run_seed;
use crate::seed::number;

/// Each bug has this many seeds to show itself.
const SEEDS: u64 = 2000;

/// A mistake that somebody could make in an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    RenameBeforeCommit,
    ProgressBeforeInit,
    ReadsToLastStableOffset,
    ReusedProducer,
    IdentityUnchecked,
    AnotherPartition,
    LostCommitBelieved,
    IdOfItsOwn,
    NoSecondLook,
    FailedDeliveryIgnored,
    RecordSentAgain,
}

/// All of them, in the words of the table.
pub const BUGS: &[(Bug, &str)] = &[
    (Bug::RenameBeforeCommit, "files are renamed before the commit of their last byte"),
    (Bug::ProgressBeforeInit, "progress is read before init_transactions"),
    (Bug::ReadsToLastStableOffset, "progress is read to the last stable offset, not to the end"),
    (Bug::ReusedProducer, "the producer is used again after a failure"),
    (Bug::IdentityUnchecked, "a file is known by its inode alone"),
    (Bug::AnotherPartition, "progress goes to another partition than it is read from"),
    (Bug::LostCommitBelieved, "a commit without an answer is taken for a success"),
    (Bug::IdOfItsOwn, "every start has a transactional id of its own, so nobody is fenced"),
    (Bug::NoSecondLook, "a file is not looked at again before it is completed"),
    (Bug::FailedDeliveryIgnored, "a failed delivery is ignored"),
    (Bug::RecordSentAgain, "a record is sent again without idempotence"),
];

#[test]
fn every_planted_bug_breaks_a_promise() {
    if number("SEED").is_some() {
        return; // somebody replays one seed
    }
    let mut table = String::from("seed that caught it | planted bug | broken promise\n");
    let mut unseen = vec![];
    for (bug, name) in BUGS {
        let caught =
            (0..SEEDS).find_map(|seed| Some((seed, run_seed(seed, Some(*bug), false).0.into_iter().next()?)));
        match caught {
            Some((seed, broken)) => {
                assert!(!broken.starts_with("panicked"), "{name}: seed {seed} {broken}");
                let broken: String = broken.chars().take(160).collect();
                table.push_str(&format!("{seed:>4} | {name} ({bug:?}) | {broken}\n"));
            }
            None => unseen.push(*name),
        }
    }
    println!("{table}BUG=NAME SEED=N replays one");
    assert!(unseen.is_empty(), "in {SEEDS} seeds nobody saw that {}", unseen.join(", nor that "));
}

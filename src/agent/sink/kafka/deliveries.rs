//! What delivery reports tell of the open transaction: offsets by slot, and the first failure. Pure.

use rdkafka::types::RDKafkaErrorCode as Code;

use crate::agent::channel::Delivered;
use crate::agent::channel::progress::Run;

/// Reports gathered since the transaction was begun.
#[derive(Debug, Default)]
pub struct Deliveries {
    slots: Vec<Delivered>,
    failed: Option<Failed>,
}

/// A record that is not with the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Its file's slot; `None` for records of our own.
    pub slot: Option<u32>,
    /// Why.
    pub code: Code,
    /// Bytes of its value.
    pub bytes: u64,
}

impl Failed {
    /// It was given up since another one failed, or since the client did: why, a fatal error's own words tell.
    pub fn is_fallout(&self) -> bool {
        matches!(self.code, Code::PurgeQueue | Code::PurgeInflight | Code::Fatal)
    }
}

impl Deliveries {
    /// A record is with the brokers at `offset`; `slot` is `None` for records of our own.
    pub fn delivered(&mut self, slot: Option<u32>, partition: i32, offset: i64) {
        let Some(slot) = slot.map(|slot| slot as usize) else { return };
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, Vec::new);
        }
        let runs = &mut self.slots[slot];
        // A batch that the broker knew already counts as delivered, but its offset is not told (it is negative then).
        let offset = (offset >= 0).then_some(offset);
        let last = runs.iter_mut().rev().find(|run| run.partition == partition);
        match (last, offset) {
            (Some(run), Some(at)) if run.first.is_some_and(|first| first + run.count as i64 == at) => {
                run.count += 1
            }
            (Some(Run { first: None, count, .. }), None) => *count += 1,
            _ => runs.push(Run { partition, first: offset, count: 1 }),
        }
    }

    /// A record is not with the brokers. The first cause is kept; what follows is fallout, and what was purged is fallout even when it
    /// is told first. But of a batch that is too large the largest record is kept: brokers refuse all of it for that one.
    pub fn failed(&mut self, failed: Failed) {
        let first = self.failed.get_or_insert(failed);
        let cause = first.is_fallout() && !failed.is_fallout();
        let too_large = [first.code, failed.code] == [Code::MessageSizeTooLarge; 2];
        if cause || too_large && failed.slot.is_some() && failed.bytes > first.bytes {
            *first = failed;
        }
    }

    /// The first failure.
    pub fn failure(&self) -> Option<Failed> {
        self.failed
    }

    /// Offsets by slot.
    pub fn take(&mut self) -> Vec<Delivered> {
        std::mem::take(&mut self.slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_joined_in_file_order_and_unknown_offsets_stay_unknown() {
        let mut deliveries = Deliveries::default();
        for offset in [5, 6, 9, -1001, -1001, 12] {
            deliveries.delivered(Some(1), 0, offset);
        }
        deliveries.delivered(None, 0, 7);
        let run = |first, count| Run { partition: 0, first, count };
        assert_eq!(
            deliveries.take(),
            [vec![], vec![run(Some(5), 2), run(Some(9), 1), run(None, 2), run(Some(12), 1)]]
        );
    }

    #[test]
    fn the_first_failure_is_the_cause_and_of_a_batch_that_is_too_large_the_largest_record() {
        let mut deliveries = Deliveries::default();
        let failed = |slot, code, bytes| Failed { slot: Some(slot), code, bytes };
        // As after a successor took over: "fatal" alone would be taken for something that may be tried again at once.
        assert!(failed(1, Code::Fatal, 0).is_fallout());
        deliveries.failed(failed(2, Code::PurgeQueue, 1000));
        deliveries.failed(failed(3, Code::MessageSizeTooLarge, 10));
        deliveries.failed(failed(4, Code::MessageSizeTooLarge, 500));
        deliveries.failed(failed(5, Code::MessageSizeTooLarge, 20));
        deliveries.failed(failed(6, Code::OutOfOrderSequenceNumber, 900));
        assert_eq!(deliveries.failure(), Some(failed(4, Code::MessageSizeTooLarge, 500)));
    }
}

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Its file's slot; `None` for records of our own.
    pub slot: Option<u32>,
    /// Why.
    pub code: Code,
    /// Bytes of its value.
    pub bytes: u64,
    /// Its topic.
    pub topic: String,
}

/// A record was given up, or refused, since another one failed or the client did. Why is told elsewhere; taken for the cause, it would be
/// tried again at once, whatever it was.
pub fn tells_no_cause(code: Code) -> bool {
    matches!(code, Code::PurgeQueue | Code::PurgeInflight | Code::Fatal | Code::State)
}

impl Deliveries {
    /// Records of this slot are with the brokers.
    pub fn delivered(&mut self, slot: u32, run: Run) {
        let slot = slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, Vec::new);
        }
        let runs = &mut self.slots[slot];
        let last = runs.iter_mut().rev().find(|last| last.partition == run.partition);
        if !last.is_some_and(|last| last.join(run)) {
            runs.push(run);
        }
    }

    /// A record is not with the brokers. The first cause is kept; what follows is fallout, and what was purged is fallout even when it
    /// is told first. But of a batch that is too large the largest record is kept: brokers refuse all of it for that one.
    pub fn failed(&mut self, failed: Failed) {
        let Some(first) = &mut self.failed else {
            self.failed = Some(failed);
            return;
        };
        let cause = tells_no_cause(first.code) && !tells_no_cause(failed.code);
        let too_large = [first.code, failed.code] == [Code::MessageSizeTooLarge; 2];
        if cause || too_large && failed.slot.is_some() && failed.bytes > first.bytes {
            *first = failed;
        }
    }

    /// The first failure.
    pub fn failure(&self) -> Option<&Failed> {
        self.failed.as_ref()
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
        let run = |first, count| Run { partition: 0, first, count };
        for (first, count) in
            [(Some(5), 1), (Some(6), 1), (Some(9), 1), (None, 1), (None, 1), (Some(12), 3), (Some(15), 1)]
        {
            deliveries.delivered(1, run(first, count));
        }
        assert_eq!(
            deliveries.take(),
            [vec![], vec![run(Some(5), 2), run(Some(9), 1), run(None, 2), run(Some(12), 4)]]
        );
    }

    #[test]
    fn the_first_failure_is_the_cause_and_of_a_batch_that_is_too_large_the_largest_record() {
        let mut deliveries = Deliveries::default();
        let failed = |slot, code, bytes| Failed { slot: Some(slot), code, bytes, topic: "web".into() };
        // As after a successor took over: "fatal" alone would be taken for something that may be tried again at once.
        assert!(tells_no_cause(failed(1, Code::Fatal, 0).code));
        deliveries.failed(failed(2, Code::PurgeQueue, 1000));
        deliveries.failed(failed(3, Code::MessageSizeTooLarge, 10));
        deliveries.failed(failed(4, Code::MessageSizeTooLarge, 500));
        deliveries.failed(failed(5, Code::MessageSizeTooLarge, 20));
        deliveries.failed(failed(6, Code::OutOfOrderSequenceNumber, 900));
        assert_eq!(deliveries.failure(), Some(&failed(4, Code::MessageSizeTooLarge, 500)));
    }
}

//! What delivery reports tell of the open transaction: offsets by slot, and the first failure. Pure.

use rdkafka::types::RDKafkaErrorCode as Code;

use crate::agent::channel::Delivered;
use crate::agent::channel::progress::Run;

/// Reports gathered since the transaction was begun.
#[derive(Debug, Default)]
pub struct Deliveries {
    slots: Vec<Delivered>,
    failed: Option<(Option<u32>, Code)>,
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

    /// A record is not with the brokers. The first cause is kept; what follows is fallout.
    pub fn failed(&mut self, slot: Option<u32>, code: Code) {
        self.failed.get_or_insert((slot, code));
    }

    /// The first failure and its slot.
    pub fn failure(&self) -> Option<(Option<u32>, Code)> {
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
    fn the_first_failure_is_the_cause() {
        let mut deliveries = Deliveries::default();
        deliveries.failed(Some(3), Code::MessageSizeTooLarge);
        deliveries.failed(Some(4), Code::OutOfOrderSequenceNumber);
        assert_eq!(deliveries.failure(), Some((Some(3), Code::MessageSizeTooLarge)));
    }
}

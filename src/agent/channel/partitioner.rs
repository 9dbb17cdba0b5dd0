//! Which partition a record goes to, and with what key. Pure.

use super::name::Name;
use crate::pipeline::{Key, Partitioner};

/// murmur2 as Kafka's Java client computes it (`org.apache.kafka.common.utils.Utils.murmur2`).
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition Java's default partitioner gives `key` among `count`: `toPositive(murmur2(key)) % count`.
pub fn of_key(key: &[u8], count: u32) -> i32 {
    ((murmur2(key) & 0x7fff_ffff) % count.max(1)) as i32
}

/// What of the pipeline says where records go.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// `partitioner`.
    pub partitioner: Option<Partitioner>,
    /// `partition`: it wins (Flume `defaultPartitionId`).
    pub fixed: Option<i32>,
    /// `key`.
    pub key: Option<Key>,
}

impl Rule {
    /// The key of the records of a file.
    pub fn key(&self, file: &Name) -> Option<Vec<u8>> {
        let key = self.key.as_ref()?;
        match &key.constant {
            Some(constant) => Some(constant.clone().into_bytes()),
            None => Some(file.base().to_vec()),
        }
    }
}

/// Deals partitions to files, one after the other, so that a few big files spread evenly; by hash of the key where the pipeline
/// says so.
#[derive(Debug, Clone)]
pub struct Deal {
    rule: Rule,
    next: u32,
    count: u32,
}

impl Deal {
    /// Agents begin at different partitions, by their name.
    pub fn new(rule: Rule, agent: &str) -> Self {
        Deal { rule, next: murmur2(agent.as_bytes()) & 0x7fff_ffff, count: 1 }
    }

    /// Another rule for files that are begun from now on.
    pub fn follow(&mut self, rule: Rule) {
        self.rule = rule;
    }

    /// The topic has `count` partitions now; files already begun stay where they are.
    pub fn count(&mut self, count: u32) {
        self.count = count.max(1);
    }

    /// Whether a file that began at this partition can go on.
    pub fn has(&self, partition: i32) -> bool {
        self.rule.partitioner == Some(Partitioner::RoundRobin) || partition.unsigned_abs() < self.count
    }

    /// The partition for one more file.
    pub fn deal(&mut self, file: &Name) -> i32 {
        if let Some(fixed) = self.rule.fixed {
            return fixed;
        }
        if self.rule.partitioner == Some(Partitioner::Key)
            && let Some(key) = self.rule.key(file)
        {
            return of_key(&key, self.count);
        }
        let dealt = self.next % self.count;
        self.next = self.next.wrapping_add(1) & 0x7fff_ffff;
        dealt as i32
    }

    /// The partition of a file's record number `line`, for a file that began at `partition`; and over how many partitions the
    /// records behind it go in turn: 1, they stay. A function of the number, so that reading again gives the same.
    pub fn spread(&self, partition: i32, line: u64) -> (i32, u32) {
        if self.rule.partitioner != Some(Partitioner::RoundRobin) {
            return (partition, 1);
        }
        let turn = (u64::from(partition.unsigned_abs()) + line) % u64::from(self.count);
        (turn as i32, self.count)
    }

    /// The key of the records of a file.
    pub fn key(&self, file: &Name) -> Option<Vec<u8>> {
        self.rule.key(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::sink::BaseNameKey;

    #[test]
    fn murmur2_is_javas() {
        // From org.apache.kafka.common.utils.UtilsTest.testMurmur2.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn files_are_dealt_round_and_a_fixed_partition_wins() {
        let mut deal = Deal::new(Rule::default(), "node-1");
        deal.count(3);
        let file = Name::new(b"a.log");
        let mut dealt: Vec<i32> = (0..6).map(|_| deal.deal(&file)).collect();
        assert_eq!(dealt[..3], dealt[3..]);
        dealt.truncate(3);
        dealt.sort_unstable();
        assert_eq!(dealt, [0, 1, 2]);
        let fixed = Rule { fixed: Some(7), ..Rule::default() };
        assert_eq!(Deal::new(fixed, "node-1").deal(&file), 7);
    }

    #[test]
    fn with_a_key_a_file_goes_where_java_would_send_it() {
        let key = Some(Key { base_name: Some(BaseNameKey {}), constant: None });
        let mut deal = Deal::new(Rule { partitioner: Some(Partitioner::Key), key, ..Rule::default() }, "node-1");
        deal.count(12);
        // The base name, whatever sub-directory it is in: murmur2("foobar") is -790332482.
        let java = ((-790_332_482_i32) & 0x7fff_ffff) % 12;
        assert_eq!(deal.deal(&Name::new(b"sub/foobar")), java);
        assert_eq!(deal.key(&Name::new(b"sub/foobar")), Some(b"foobar".to_vec()));
    }

    #[test]
    fn in_turn_means_by_the_number_of_the_line() {
        let rule = Rule { partitioner: Some(Partitioner::RoundRobin), ..Rule::default() };
        let mut deal = Deal::new(rule, "node-1");
        deal.count(3);
        assert_eq!([0, 1, 2, 3].map(|line| deal.spread(2, line)), [(2, 3), (0, 3), (1, 3), (2, 3)]);
        assert_eq!(Deal::new(Rule::default(), "node-1").spread(2, 5), (2, 1));
    }
}

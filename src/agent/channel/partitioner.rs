//! Which partition a record goes to. Pure.

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

/// Deals partitions to files, one after the other, so that a few big files spread evenly.
#[derive(Debug, Clone)]
pub struct Deal {
    fixed: Option<i32>,
    next: u32,
    count: u32,
}

impl Deal {
    /// `fixed` wins (`partition`, Flume `defaultPartitionId`); otherwise agents begin at different partitions, by their name.
    pub fn new(fixed: Option<i32>, agent: &str) -> Self {
        Deal { fixed, next: murmur2(agent.as_bytes()) & 0x7fff_ffff, count: 1 }
    }

    /// Another `partition` for files that are begun from now on.
    pub fn fix(&mut self, fixed: Option<i32>) {
        self.fixed = fixed;
    }

    /// The topic has `count` partitions now; files already begun stay where they are.
    pub fn count(&mut self, count: u32) {
        self.count = count.max(1);
    }

    /// The partition for one more file.
    pub fn deal(&mut self) -> i32 {
        let dealt = self.next % self.count;
        self.next = self.next.wrapping_add(1) & 0x7fff_ffff;
        self.fixed.unwrap_or(dealt as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut deal = Deal::new(None, "node-1");
        deal.count(3);
        let mut dealt: Vec<i32> = (0..6).map(|_| deal.deal()).collect();
        assert_eq!(dealt[..3], dealt[3..]);
        dealt.truncate(3);
        dealt.sort_unstable();
        assert_eq!(dealt, [0, 1, 2]);
        assert_eq!(Deal::new(Some(7), "node-1").deal(), 7);
    }
}

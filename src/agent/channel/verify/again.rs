//! Files that were begun anew from their first byte without their progress: two ids of one generation of a file. Pure.
//!
//! Told only where it is proved by what both begin with, for a file that lost its progress may have been rewritten too. Not seen: a file
//! without a birth time, and one of a higher generation (they are counted anew too).

use std::collections::HashMap;

use super::chain::Chain;
use super::state;
use super::verdict::{Flaw, State};
use crate::agent::channel::digest::{Digest, Mark};
use crate::agent::channel::evidence::Origin;
use crate::agent::channel::file::HEAD_BYTES;

/// Says so of the one that got further; what is wrong with each by itself is known, and such chains are left out.
pub(super) fn tell(chains: &mut [Chain]) {
    let key = |chain: &Chain| {
        let Origin { inode, birth, .. } = chain.origin?;
        let fine = matches!(state(chain), State::Complete | State::HalfShipped | State::Unproven);
        (chain.judged && fine).then_some((chain.agent, chain.topic, inode, birth, chain.generation))
    };
    let mut begun: Vec<u32> = (0..chains.len() as u32).filter(|at| key(&chains[*at as usize]).is_some()).collect();
    begun.sort_unstable_by_key(|at| {
        let chain = &chains[*at as usize];
        (key(chain), chain.closed, chain.position, chain.file)
    });
    let mut told = vec![];
    for same in begun.chunk_by(|one, two| key(&chains[*one as usize]) == key(&chains[*two as usize])) {
        let [others @ .., furthest] = same else { continue };
        if others.is_empty() {
            continue;
        }
        let beginning = Beginning::of(&chains[*furthest as usize]);
        for other in others.iter().map(|other| &chains[*other as usize]) {
            if let Some(to) = beginning.in_common(other) {
                told.push((*furthest, Flaw::ShippedTwice { from: 0, to, other_id: Some(other.file) }));
            }
        }
    }
    for (chain, flaw) in told {
        chains[chain as usize].add(flaw);
    }
}

/// What is known of a chain's bytes.
struct Beginning {
    head: Option<Mark>,
    position: u64,
    /// Where segments end, and the digest up to there.
    ends: HashMap<u64, Digest>,
}

impl Beginning {
    fn of(chain: &Chain) -> Self {
        let ends = chain.segments.iter().map(|segment| (segment.to, segment.digest)).collect();
        Beginning { head: chain.origin.map(|origin| origin.head), position: chain.position, ends }
    }

    /// Up to which byte the other is the same: to its end where the first bytes are, or to the last end that they share. `None` where
    /// neither proves it, or an end that they share tells of other content.
    fn in_common(&self, other: &Chain) -> Option<u64> {
        let mut shared = None;
        for segment in &other.segments {
            match self.ends.get(&segment.to) {
                Some(digest) if *digest == segment.digest => shared = shared.max(Some(segment.to)),
                Some(_) => return None,
                None => {}
            }
        }
        let whole = |head: &Mark| head.len as usize == HEAD_BYTES;
        let head = self.head.filter(whole).filter(|head| other.origin.is_some_and(|origin| origin.head == *head));
        head.map(|_| self.position.min(other.position)).or(shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::channel::digest::FileId;
    use crate::agent::channel::name::Name;
    use crate::agent::channel::verify::chain::Segment;

    const HEAD: Mark = Mark { len: HEAD_BYTES as u32, hash: 1 };

    /// A file whose segments end at these bytes, with these digests; the last one with a receipt, where it is closed.
    fn chain(id: u64, ends: &[(u64, u8)], closed: bool) -> Chain {
        let segment = |&(to, digest): &(u64, u8)| Segment {
            from: 0,
            to,
            lines: 1,
            bytes: to,
            digest: Digest([digest; 16]),
            runs: Box::default(),
            before: None,
            lines_before: None,
        };
        Chain {
            agent: 0,
            file: FileId(id),
            name: Name::new(b"a.log"),
            generation: 1,
            origin: Some(Origin { inode: 7, birth: 9, head: HEAD }),
            topic: 0,
            judged: true,
            beheaded: false,
            segments: ends.iter().map(segment).collect(),
            receipts: vec![],
            flaws: vec![],
            position: ends.last().map_or(0, |(to, _)| *to),
            closed,
        }
    }

    fn told(one: Chain, two: Chain) -> Vec<Vec<Flaw>> {
        let mut chains = [one, two];
        tell(&mut chains);
        chains.map(|chain| chain.flaws).into()
    }

    #[test]
    fn of_a_file_that_was_begun_anew_the_one_that_got_further_says_what_is_there_twice() {
        let twice = |to, id| vec![Flaw::ShippedTwice { from: 0, to, other_id: Some(FileId(id)) }];
        let (half, whole) = (chain(1, &[(8, 1)], false), chain(2, &[(4, 2), (12, 3)], true));
        assert_eq!(told(half.clone(), whole.clone()), [vec![], twice(8, 1)]);
        assert_eq!(told(whole.clone(), half.clone()), [twice(8, 1), vec![]]);
        assert_eq!(told(whole.clone(), Chain { file: FileId(3), ..whole.clone() }), [vec![], twice(12, 2)]);
        // Rewritten meanwhile, another file, another agent's, another generation: new content.
        let origin = half.origin.unwrap();
        let from = |origin| Chain { origin: Some(origin), ..half.clone() };
        for one in [
            from(Origin { inode: 8, ..origin }),
            from(Origin { birth: 8, ..origin }),
            from(Origin { head: Mark { hash: 2, ..HEAD }, ..origin }),
            chain(1, &[(4, 9), (8, 9)], false),
            Chain { agent: 1, ..half.clone() },
            Chain { topic: 1, ..half.clone() },
            Chain { generation: 2, ..half.clone() },
            Chain { flaws: vec![Flaw::SegmentsGone { to: 4 }], ..half.clone() },
        ] {
            assert_eq!(told(one.clone(), whole.clone()), [one.flaws, vec![]]);
        }
        // It was shorter when it was begun first: an end that they share proves it, up to there.
        let shorter = |chain: Chain| Chain { origin: Some(Origin { head: Mark::of(b"a"), ..origin }), ..chain };
        assert_eq!(told(shorter(half.clone()), whole.clone()), [vec![], vec![]]);
        assert_eq!(told(shorter(chain(1, &[(4, 2), (8, 1)], false)), whole.clone()), [vec![], twice(4, 1)]);
        // Nobody knows that of a file without a birth time.
        let nameless = |chain: &Chain| Chain { origin: None, ..chain.clone() };
        assert_eq!(told(nameless(&half), nameless(&whole)), [vec![], vec![]]);
    }
}

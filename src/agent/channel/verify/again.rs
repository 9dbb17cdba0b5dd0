//! Files that were begun anew from their first byte without their progress: two ids of one generation of a file. Pure.
//!
//! Known by what their first segments tell. Not seen: a file without a birth time, and one of a higher generation (they are counted anew too).

use std::collections::HashMap;

use super::chain::{Chain, Segment};
use super::state;
use super::verdict::{Flaw, State};
use crate::agent::channel::evidence::Origin;

/// Says so of the one that got further, where the other one can be read; all that is wrong with them by themselves is known.
pub(super) fn tell(chains: &mut [Chain]) {
    let mut by_file: HashMap<_, Vec<usize>> = HashMap::new();
    for (index, chain) in
        chains.iter().enumerate().filter(|(_, chain)| chain.judged && state(chain) != State::Expired)
    {
        if let Some(Origin { inode, birth, .. }) = chain.origin {
            let file = (chain.agent, chain.topic, inode, birth, chain.generation);
            by_file.entry(file).or_default().push(index);
        }
    }
    for mut same in by_file.into_values().filter(|same| same.len() > 1) {
        same.sort_unstable_by_key(|index| (chains[*index].closed, chains[*index].position, chains[*index].file));
        let Some(furthest) = same.pop() else { continue };
        for other in same {
            let to = chains[furthest].position.min(chains[other].position);
            let other_id = Some(chains[other].file);
            if agree(&chains[furthest], &chains[other]) {
                chains[furthest].add(Flaw::ShippedTwice { from: 0, to, other_id });
            }
        }
    }
}

/// False where they begin with other bytes, or both end a segment at the same byte with other content before it: the file was
/// rewritten meanwhile.
fn agree(one: &Chain, two: &Chain) -> bool {
    let (one_head, two_head) = (one.origin.map(|origin| origin.head), two.origin.map(|origin| origin.head));
    if matches!((one_head, two_head), (Some(one), Some(two)) if one.len == two.len && one.hash != two.hash) {
        return false;
    }
    let ends: HashMap<_, _> = one.segments.iter().map(|segment| (segment.to, segment.digest)).collect();
    let differs = |segment: &Segment| ends.get(&segment.to).is_some_and(|digest| *digest != segment.digest);
    !two.segments.iter().any(differs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::channel::digest::{Digest, FileId, Mark};
    use crate::agent::channel::name::Name;

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
            origin: Some(Origin { inode: 7, birth: 9, head: Mark::of(b"aaa") }),
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
            from(Origin { head: Mark::of(b"bbb"), ..origin }),
            chain(1, &[(4, 9), (8, 9)], false),
            Chain { agent: 1, ..half.clone() },
            Chain { topic: 1, ..half.clone() },
            Chain { generation: 2, ..half.clone() },
            Chain { flaws: vec![Flaw::SegmentsGone { to: 4 }], ..half.clone() },
        ] {
            assert_eq!(told(one.clone(), whole.clone()), [one.flaws, vec![]]);
        }
        // It was shorter when it was begun first.
        assert_eq!(told(from(Origin { head: Mark::of(b"a"), ..origin }), whole.clone()), [vec![], twice(8, 1)]);
        // Nobody knows that of a file without a birth time.
        let nameless = |chain: &Chain| Chain { origin: None, ..chain.clone() };
        assert_eq!(told(nameless(&half), nameless(&whole)), [vec![], vec![]]);
    }
}

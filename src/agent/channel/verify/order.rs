//! Lines of one segment, held until all of them are there, and then put in the order in which the file had them. Pure.
//!
//! Only segments that need it: those whose lines went over several partitions in turn, and those with lines whose offsets are not known.
//! Which partition the first line went to is not written down: the counts leave few possibilities, and the digest tells.

use std::collections::BTreeMap;

use crate::agent::channel::digest::Digest;

/// Orders that are tried for one segment with holes, before it is called unproven. Without holes there are as many as partitions.
const TRIES: usize = 256;

/// Lines by partition, each with its number among the segment's lines there.
#[derive(Debug, Default)]
pub(super) struct Held {
    lists: BTreeMap<i32, List>,
}

#[derive(Debug, Default)]
struct List {
    bytes: Vec<u8>,
    /// Number, and where its bytes are.
    lines: Vec<(u64, usize, usize)>,
}

impl Held {
    pub fn put(&mut self, partition: i32, number: u64, value: &[u8]) {
        let list = self.lists.entry(partition).or_default();
        let start = list.bytes.len();
        list.bytes.extend_from_slice(value);
        list.lines.push((number, start, list.bytes.len()));
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.lists.values().map(|list| list.bytes.len() + list.lines.len() * size_of::<(u64, usize, usize)>()).sum()
    }

    /// The lines of a partition, `count` of them; `None` for those that are not there.
    fn lines(&self, partition: i32, count: u64) -> Vec<Option<&[u8]>> {
        let mut lines = vec![None; usize::try_from(count).unwrap_or(0)];
        let Some(list) = self.lists.get(&partition) else { return lines };
        for (number, start, end) in &list.lines {
            if let Some(line) = usize::try_from(*number).ok().and_then(|number| lines.get_mut(number)) {
                *line = Some(&list.bytes[*start..*end]);
            }
        }
        lines
    }
}

/// Lines that are somewhere between records that are known.
#[derive(Debug)]
pub(super) struct Hole<'a> {
    pub partition: i32,
    /// The number of its first line among the segment's lines on the partition.
    pub number: u64,
    pub count: u64,
    /// Records that may be them, in order: index for the answer, and value.
    pub candidates: Vec<(usize, &'a [u8])>,
}

/// What came of the attempt to give a segment its order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The digest is right, with these candidates of each hole in turn.
    Right(Vec<usize>),
    /// It is wrong, and there is no other way to read the topic.
    Wrong,
    /// There are other ways than those that were tried.
    Unknown,
}

/// Whether lines that begin at `before` give `after`: `counts` are the segment's lines by partition.
pub(super) fn find(
    held: &Held,
    counts: &BTreeMap<i32, u64>,
    holes: &[Hole],
    before: Digest,
    after: Digest,
) -> Found {
    if holes.iter().any(|hole| (hole.candidates.len() as u64) < hole.count) {
        return Found::Unknown;
    }
    let mut lists: BTreeMap<i32, Vec<Option<&[u8]>>> =
        counts.iter().map(|(partition, count)| (*partition, held.lines(*partition, *count))).collect();
    let most = if holes.is_empty() { counts.len() } else { TRIES };
    let mut search = Search { before, after, tries: 0, most, scratch: vec![] };
    let mut chosen = vec![];
    if search.fill(&mut lists, holes, &mut chosen) {
        return Found::Right(chosen);
    }
    // More candidates than lines: it could be others than were tried, such as some that do not stand in a row.
    let forced = holes.iter().all(|hole| hole.candidates.len() as u64 == hole.count);
    if forced && (holes.is_empty() || search.tries < most) { Found::Wrong } else { Found::Unknown }
}

struct Search {
    before: Digest,
    after: Digest,
    tries: usize,
    most: usize,
    scratch: Vec<u8>,
}

impl Search {
    /// Fills the holes with candidates that stand in a row, one hole after the other, until the digest is right.
    fn fill<'a>(
        &mut self,
        lists: &mut BTreeMap<i32, Vec<Option<&'a [u8]>>>,
        holes: &[Hole<'a>],
        chosen: &mut Vec<usize>,
    ) -> bool {
        let Some((hole, rest)) = holes.split_first() else { return self.is_right(lists) };
        let (number, count) = (hole.number as usize, hole.count as usize);
        for row in hole.candidates.windows(count.max(1)) {
            if self.tries >= self.most || row.iter().any(|(index, _)| chosen.contains(index)) {
                continue;
            }
            if let Some(list) = lists.get_mut(&hole.partition) {
                for (place, (_, value)) in list.iter_mut().skip(number).take(count).zip(row) {
                    *place = Some(value);
                }
            }
            let length = chosen.len();
            chosen.extend(row.iter().map(|(index, _)| *index));
            if self.fill(lists, rest, chosen) {
                return true;
            }
            chosen.truncate(length);
        }
        false
    }

    fn is_right(&mut self, lists: &BTreeMap<i32, Vec<Option<&[u8]>>>) -> bool {
        let lists: Vec<&[Option<&[u8]>]> = lists.values().map(Vec::as_slice).collect();
        let counts: Vec<usize> = lists.iter().map(|list| list.len()).collect();
        for first in turns(&counts) {
            self.tries += 1;
            if self.tries > self.most {
                return false;
            }
            if self.digest(&lists, first) == Some(self.after) {
                return true;
            }
        }
        false
    }

    fn digest(&mut self, lists: &[&[Option<&[u8]>]], first: usize) -> Option<Digest> {
        let (mut digest, total) = (self.before, lists.iter().map(|list| list.len()).sum::<usize>());
        for line in 0..total {
            let value = lists[(first + line) % lists.len()].get(line / lists.len())?;
            digest.chain((*value)?, &mut self.scratch);
        }
        Some(digest)
    }
}

/// Which of the partitions may have had the first line, if they had one in turn and so many each.
fn turns(counts: &[usize]) -> impl Iterator<Item = usize> {
    let (total, ways) = (counts.iter().sum::<usize>(), counts.len());
    (0..ways).filter(move |first| {
        let fits = |turn: usize| counts[(first + turn) % ways] == (total + ways - 1 - turn) / ways;
        (0..ways).all(fits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(lines: &[&str]) -> Digest {
        let (mut digest, mut scratch) = (Digest::default(), vec![]);
        lines.iter().for_each(|line| digest.chain(line.as_bytes(), &mut scratch));
        digest
    }

    fn held(lines: &[(i32, u64, &str)]) -> Held {
        let mut held = Held::default();
        lines.iter().for_each(|(partition, number, value)| held.put(*partition, *number, value.as_bytes()));
        held
    }

    #[test]
    fn lines_that_went_in_turn_are_put_in_order_wherever_the_first_one_went() {
        let few = [(0, 7), (1, 7), (2, 7), (2, 2), (1, 6), (2, 1)].map(|(first, count)| (3, first, count));
        for (ways, first, count) in few.into_iter().chain([(300, 290, 600), (300, 299, 299)]) {
            let lines: Vec<String> = (0..count).map(|n| format!("line {n}")).collect();
            let (mut held, mut counts) = (Held::default(), BTreeMap::new());
            for (n, line) in lines.iter().enumerate() {
                let number = counts.entry((first + n as i32) % ways).or_insert(0);
                held.put((first + n as i32) % ways, *number, line.as_bytes());
                *number += 1;
            }
            let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
            let (zero, right) = (Digest::default(), digest(&texts));
            assert_eq!(find(&held, &counts, &[], zero, right), Found::Right(vec![]), "{first} {count}");
            assert_eq!(find(&held, &counts, &[], zero, digest(&["other"])), Found::Wrong, "{first} {count}");
        }
    }

    #[test]
    fn lines_whose_offsets_are_not_known_are_found_by_the_digest_among_others() {
        let held = held(&[(0, 0, "a"), (0, 3, "d")]);
        let counts = BTreeMap::from([(0, 4)]);
        let hole = |candidates: &[&'static str]| Hole {
            partition: 0,
            number: 1,
            count: 2,
            candidates: candidates.iter().enumerate().map(|(n, value)| (n, value.as_bytes())).collect(),
        };
        let right = digest(&["a", "b", "c", "d"]);
        let find = |holes: &[Hole]| find(&held, &counts, holes, Digest::default(), right);
        assert_eq!(find(&[hole(&["b", "c"])]), Found::Right(vec![0, 1]));
        assert_eq!(find(&[hole(&["x", "y", "b", "c", "z"])]), Found::Right(vec![2, 3]));
        assert_eq!(find(&[hole(&["b", "x"])]), Found::Wrong, "these must be the lines, and are not");
        assert_eq!(find(&[hole(&["b", "x", "c"])]), Found::Unknown, "it could be so, and is not tried");
        assert_eq!(find(&[hole(&["b"])]), Found::Unknown);
    }
}

//! The promises, held against the logs of the simulated brokers and the story of every file.

use std::collections::{BTreeMap, HashMap, HashSet};

use spoolway::agent::channel::digest::Digest;
use spoolway::agent::channel::evidence::{Evidence, EvidenceKind};
use spoolway::agent::channel::progress::Progress;
use spoolway::agent::channel::splitter::Rules;
use spoolway::pipeline::{Completion, OnLongLine};

use super::broker::{CHECKPOINTS, PARTITIONS, RECEIPTS, Record, State, TOPIC};
use super::client::CHECKPOINT_PARTITIONS;
use super::disk::{Disk, Key, Object, SUFFIX};
use super::life::AGENT;
use super::sim::Sim;

/// A record: its partition, offset and value.
type Placed = (i32, i64, Vec<u8>);

/// What is committed of one generation of a file.
#[derive(Debug, Default)]
struct Chain {
    inode: u64,
    /// Which generation of which file its first segment tells of.
    origin: Option<(u64, i64, u32)>,
    records: Vec<Vec<u8>>,
    end: u64,
    /// Where a receipt ended it, for a while.
    cuts: Vec<u64>,
    bytes: u64,
    digest: Digest,
    first: Option<i64>,
    last: Option<i64>,
    offset: i64,
}

/// Our own records of the checkpoint topic that are committed: (transaction, file id, progress or tombstone), in order.
fn progress(sim: &Sim, wanted: impl Fn(usize) -> bool) -> Vec<(usize, String, Option<Progress>)> {
    let all = (0..CHECKPOINT_PARTITIONS as i32).flat_map(|partition| {
        let log = sim.broker.logs.get(&(CHECKPOINTS.to_owned(), partition)).into_iter().flatten();
        log.filter(|r| !r.marker && wanted(r.transaction) && sim.broker.states[r.transaction] == State::Committed)
    });
    let ours = all.filter_map(|r: &Record| {
        let file = std::str::from_utf8(&r.key).ok()?.strip_prefix(&format!("spoolway/{AGENT}/"))?.to_owned();
        if file.contains('/') {
            return None;
        }
        let value = r.value.as_ref().map(|v| Progress::decode(&file, v).expect("our own progress is readable"));
        Some((r.transaction, file, value))
    });
    ours.collect()
}

/// A transaction became visible: its progress is not beyond the file, and not behind what was.
pub fn progress_of(sim: &mut Sim, transaction: usize) {
    for (_, file, value) in progress(sim, |of| of == transaction) {
        let Some(value) = value else {
            sim.held.remove(&file);
            continue;
        };
        if !sim.disk.was_as_long(value.inode, value.position) {
            sim.broke(format!("progress of {} is at {}, beyond the file", value.name, value.position));
        }
        if let Some(before) = sim.held.get(&file)
            && (before.position > value.position || before.generation != value.generation)
        {
            let (from, to) = (before.position, value.position);
            sim.broke(format!("progress of {} went from {from} to {to}: {value:?}", value.name));
        }
        sim.held.insert(file, value);
    }
}

/// All of a file is committed, as progress has it: these bytes, not others of the same number.
pub fn is_shipped(sim: &Sim, key: Key) -> bool {
    let (inode, size) = (sim.disk.objects[key].inode, sim.disk.objects[key].data.len() as u64);
    let known = |p: &Progress| {
        sim.disk.mark(key, 0, p.head.len) == Some(p.head)
            && sim.disk.mark(key, size - u64::from(p.tail.len), p.tail.len) == Some(p.tail)
    };
    sim.held.values().any(|p| p.inode == inode && p.position == size && p.finished && known(p))
}

/// A file is being renamed or deleted with this content: all of it is committed.
pub fn completed(sim: &mut Sim, key: Key, content: &[u8]) {
    let (inode, size) = (sim.disk.objects[key].inode, content.len() as u64);
    if !sim.held.values().any(|p| p.inode == inode && p.position == size && p.finished) {
        let committed: Vec<_> = sim.held.values().map(|p| (p.inode, p.position, p.finished)).collect();
        sim.broke(format!("object {key} (#{inode}) is completed at {size} bytes, committed: {committed:?}"));
    }
}

/// Everything has drained.
pub fn everything(sim: &mut Sim) {
    let mut wrong = vec![];
    // With Track nothing is done to a file when all of it is committed.
    let kept: Vec<Key> = sim.disk.candidates().map(|(_, key)| key).filter(|key| is_shipped(sim, *key)).collect();
    for key in kept.into_iter().filter(|_| sim.completion == Completion::Track) {
        sim.disk.objects[key].completed = Some(sim.disk.objects[key].data.clone());
    }
    let chains = chains(sim, &mut wrong);
    let rules = sim.settings.rules;
    let mut unmatched: Vec<&Chain> = chains.values().collect();
    let mut objects: Vec<(Key, &Object)> = sim.disk.objects.iter().enumerate().collect();
    objects.retain(|(_, o)| o.completed.is_some() && is_innocent(sim, o));
    // Exactly its content at the last rename; or more, where it grew all the same, or a second name was read on after the first was
    // completed. These first: one that was empty at its rename would be taken for any other empty one.
    for more in [true, false] {
        objects.retain(|(key, object)| {
            let size = object.completed.as_ref().map_or(0, Vec::len);
            let known = sim.completion == Completion::Rename
                && sim.disk.names.iter().any(|(name, at)| at == key && name.ends_with(SUFFIX));
            // Of what grew under its completed name no whole line is left.
            let whole = |end: usize| !known || !sim.disk.plain(&object.data[end..]).contains(&b'\n');
            let fits = |c: &&Chain| {
                let end = c.end as usize;
                let at_its_end =
                    if more { end > size && end <= object.data.len() && whole(end) } else { end == size };
                let shipped = object.data.get(..end).filter(|_| at_its_end && c.inode == object.inode);
                shipped.is_some_and(|shipped| c.records == expected(&sim.disk, shipped, &c.cuts, &rules))
            };
            unmatched.iter().position(fits).map(|at| unmatched.swap_remove(at)).is_none()
        });
    }
    for (key, object) in objects {
        let content = expected(&sim.disk, object.completed.as_ref().expect("it is completed"), &[], &rules);
        let like = unmatched.iter().filter(|c| c.records.first() == content.first());
        let like: Vec<_> = like.map(|c| (c.end, &c.cuts, show(&c.records))).collect();
        wrong
            .push(format!("object {key} is not there exactly once: {:?}; begun like it: {like:?}", show(&content)));
    }
    counts(sim, &chains, &mut wrong);
    for (name, key) in sim.disk.candidates() {
        let kept = sim.completion == Completion::Track && is_shipped(sim, key);
        if !kept && !sim.is_excused(key) {
            wrong.push(format!("{name} (object {key}) was never completed"));
        }
    }
    wrong.into_iter().for_each(|w| sim.broke(w));
}

fn show(records: &[Vec<u8>]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8_lossy(r).into_owned()).collect()
}

/// It only ever grew, and neither can it be taken for another file nor another for it.
fn is_innocent(sim: &Sim, object: &Object) -> bool {
    let Some(content) = &object.completed else { return false };
    let taken_for =
        || sim.disk.objects.iter().any(|o| o.inode == object.inode && o.mistakable && o.begins_like(content));
    object.disruptions == 0 && !(object.mistakable && object.copied) && !taken_for()
}

/// The lines of `content` in the plainest words; at a cut an unfinished line was sent, since nobody wrote on it.
fn expected(disk: &Disk, content: &[u8], cuts: &[u64], rules: &Rules) -> Vec<Vec<u8>> {
    let (mut out, mut from) = (vec![], 0);
    let (content, max) = (disk.plain(content), rules.max_line / disk.width);
    for at in 0..content.len() {
        let ends = content[at] == b'\n';
        if !ends && at + 1 != content.len() && !cuts.contains(&(((at + 1) * disk.width) as u64)) {
            continue;
        }
        let line = &content[from..at + usize::from(!ends)];
        let line = if ends { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
        from = at + 1;
        match rules.on_long_line {
            _ if line.len() <= max => out.push(line.to_vec()),
            OnLongLine::Split => out.extend(line.chunks(max).map(<[u8]>::to_vec)),
            OnLongLine::Truncate => out.push(line[..max].to_vec()),
            OnLongLine::Skip => {}
        }
    }
    out
}

/// Follows every file's segments over the transactions; every record must be claimed by one.
fn chains(sim: &Sim, wrong: &mut Vec<String>) -> BTreeMap<String, Chain> {
    let mut lines: HashMap<(usize, u32), Vec<Placed>> = HashMap::new();
    for partition in 0..PARTITIONS as i32 {
        for (offset, r) in sim.broker.committed(TOPIC, partition) {
            let slot = r.slot.expect("only lines are here");
            let line = (partition, offset, r.value.clone().unwrap_or_default());
            lines.entry((r.transaction, slot)).or_default().push(line);
        }
    }
    let mut slots: HashMap<usize, u32> = HashMap::new();
    let mut chains: BTreeMap<String, Chain> = BTreeMap::new();
    for (transaction, file, value) in progress(sim, |_| true) {
        let Some(value) = value else { continue };
        let slot = slots.entry(transaction).or_default();
        let records = lines.remove(&(transaction, *slot)).unwrap_or_default();
        *slot += 1;
        let chain = chains.entry(file.clone()).or_default();
        chain.inode = value.inode;
        if let Err(what) = follow(sim, chain, transaction, &file, &value, records) {
            wrong.push(format!("file {file} ({}), transaction {transaction}: {what}", value.name));
        }
    }
    begun_once(&chains, wrong);
    for ((transaction, slot), records) in lines {
        wrong
            .push(format!("transaction {transaction}: {} records of slot {slot} belong to no file", records.len()));
    }
    chains
}

/// Two ids of one generation of a file are told by `spoolway verify` as lines that are there twice.
fn begun_once(chains: &BTreeMap<String, Chain>, wrong: &mut Vec<String>) {
    let mut ids: HashMap<_, &str> = HashMap::new();
    for (id, chain) in chains {
        let Some(origin) = chain.origin else { continue };
        if let Some(other) = ids.insert(origin, id) {
            wrong.push(format!("{origin:?} was begun as {other} and as {id}"));
        }
    }
}

/// One transaction's part of a file: what progress, segment and receipt say is what the log holds.
fn follow(
    sim: &Sim,
    chain: &mut Chain,
    transaction: usize,
    file: &str,
    value: &Progress,
    records: Vec<(i32, i64, Vec<u8>)>,
) -> Result<(), String> {
    let evidence = sim.broker.committed(RECEIPTS, 0).filter(|(_, r)| r.transaction == transaction);
    let evidence = evidence.filter(|(_, r)| r.key == file.as_bytes());
    let evidence: Vec<Evidence> = evidence
        .map(|(_, r)| serde_json::from_slice(r.value.as_ref().expect("no tombstones")).expect("evidence"))
        .collect();
    let (from, mut scratch) = (chain.end, vec![]);
    for (partition, offset, line) in &records {
        ensure(*partition == value.partition, || format!("a record is on partition {partition}"))?;
        ensure(*offset >= chain.offset, || format!("offset {offset} is out of order"))?;
        chain.offset = offset + 1;
        chain.bytes += line.len() as u64;
        chain.digest.chain(line, &mut scratch);
        chain.records.push(line.clone());
    }
    chain.end = value.position;
    let segments: Vec<_> = evidence.iter().filter(|e| e.kind == EvidenceKind::Segment).collect();
    ensure(segments.len() == usize::from(value.position > from), || {
        format!("{} segments from {from} to {}", segments.len(), value.position)
    })?;
    for s in segments {
        chain.origin = chain.origin.or(s.origin.map(|o| (o.inode, o.birth, s.generation)));
        ensure((s.from, s.to) == (from, value.position), || format!("a segment does not go on at {from}: {s:?}"))?;
        ensure(s.lines == records.len() as u64, || {
            format!("a segment of {} lines for {} records: {s:?}", s.lines, records.len())
        })?;
        let claimed: Vec<Option<i64>> =
            s.runs.iter().flat_map(|r| (0..r.count as i64).map(|n| r.first.map(|first| first + n))).collect();
        let told = claimed.len() == records.len()
            && claimed.iter().zip(&records).all(|(c, (_, at, _))| c.is_none_or(|c| c == *at));
        ensure(told, || {
            format!("a segment's {:?} for offsets {:?}", s.runs, records.iter().map(|r| r.1).collect::<Vec<_>>())
        })?;
        chain.first =
            if chain.records.len() == records.len() { claimed.first().copied().flatten() } else { chain.first };
        chain.last = claimed.last().copied().unwrap_or(chain.last);
    }
    let sums = (chain.records.len() as u64, chain.bytes, chain.digest);
    ensure(sums == (value.lines, value.bytes, value.digest), || {
        format!("progress is not what the log holds, {sums:?}: {value:?}")
    })?;
    let receipts: Vec<_> = evidence.iter().filter(|e| e.kind == EvidenceKind::Receipt).collect();
    ensure(receipts.len() == usize::from(value.finished), || format!("{} receipts, {value:?}", receipts.len()))?;
    for r in receipts {
        ensure((r.from, r.to) == (0, chain.end), || format!("receipt {r:?} at {}", chain.end))?;
        ensure((r.lines, r.bytes, r.digest) == sums, || format!("receipt {r:?}, found {sums:?}"))?;
        let extent = r.extents.first().map(|e| (e.first, e.last));
        let known = (!chain.records.is_empty()).then_some((chain.first, chain.last));
        ensure(extent == known, || format!("receipt {r:?}, extent {known:?}"))?;
        chain.cuts.push(chain.end);
    }
    Ok(())
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// Line by line, where files were cut or rewritten: nothing invented, nothing twice without a reason, nothing left out that is
/// in a completed file.
fn counts(sim: &Sim, chains: &BTreeMap<String, Chain>, wrong: &mut Vec<String>) {
    let mut found: HashMap<&[u8], u32> = HashMap::new();
    for record in chains.values().flat_map(|c| &c.records) {
        *found.entry(record).or_default() += 1;
    }
    let ever: HashSet<&[u8]> = sim.disk.objects.iter().flat_map(|o| o.lines.keys().map(Vec::as_slice)).collect();
    let max = sim.settings.rules.max_line / sim.disk.width;
    for (record, count) in &found {
        let known = record.is_empty()
            || ever.contains(record)
            || ever.iter().any(|line| line.windows(record.len()).any(|w| w == *record));
        if !known {
            wrong.push(format!("{:?} never was a line", String::from_utf8_lossy(record)));
        }
        let owners = || sim.disk.objects.iter().filter(|o| o.lines.contains_key(*record));
        // The NULs of a hole cannot be told from those of the hole that they replace, until the first bytes are compared.
        let unseen = |o: &Object| u32::from(o.holes > 1);
        let most: u32 = owners().map(|o| 1 + o.disruptions - o.lines[*record] + unseen(o)).sum();
        // Pieces of a long line are in many; so are NULs from a hole, and what every file begins with.
        let own = record.starts_with(b"n") && record.len() > 8 && record.len() < max;
        if own && *count > most && owners().next().is_some() {
            wrong.push(format!("{:?} was sent {count} times, {most} allowed", String::from_utf8_lossy(record)));
        }
    }
    for (key, object) in sim.disk.objects.iter().enumerate() {
        let Some(content) = object.completed.as_ref().filter(|_| !object.mistakable) else { continue };
        let content = sim.disk.plain(content);
        for line in content.split(|b| *b == b'\n').filter(|line| line.len() < max) {
            let bare = line.strip_suffix(b"\r").unwrap_or(line);
            if !is_composed(line, &found) && !is_composed(bare, &found) {
                wrong.push(format!("object {key}: {:?} is missing", String::from_utf8_lossy(line)));
            }
        }
    }
}

/// True where the line was sent, in one piece or, since it was unfinished for so long, in several.
fn is_composed(line: &[u8], found: &HashMap<&[u8], u32>) -> bool {
    let mut reached = vec![false; line.len() + 1];
    reached[0] = true;
    for to in 1..=line.len() {
        reached[to] = (0..to).any(|from| reached[from] && found.contains_key(&line[from..to]));
    }
    reached[line.len()]
}

//! From a chunk of bytes to records. Pure; a part of [`Channel`].

use std::time::Duration;

use super::batch::Batch;
use super::cutting::{Cut, cut};
use super::digest::{Digest, FileId, Mark};
use super::file::{Begun, File, HEAD_BYTES, Phase, Reason, Stat, born_like, is_compressed, marks};
use super::headers::Labels;
use super::progress::{Altered, End, EndBy, Progress, VERSION};
use super::splitter::{self, Line, LineState};
use super::{Channel, Inode};
use crate::agent::channel::name::Name;

/// Bytes read in one turn, where lines are not longer.
const CHUNK_BYTES: usize = 1 << 20;
/// Lines taken in one turn at most, so that a chunk of empty lines stays bounded.
const MAX_LINES: usize = 1 << 16;

/// A chunk to read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The file.
    pub inode: Inode,
    /// Its name, to open it by.
    pub name: Name,
    /// Open it anew even if a descriptor is at hand, and hash its first `head` bytes.
    pub fresh: bool,
    /// See `fresh`; 0 where nothing is known yet.
    pub head: u32,
    /// First byte to read: `back` bytes before the position, so that what precedes it is compared each time.
    pub from: u64,
    /// See `from`.
    pub back: usize,
    /// Bytes to read at most, `back` included.
    pub len: usize,
    /// It has settled: if this reaches the end, find out whether a writer has it open.
    pub seal: bool,
}

/// Whether a writer has the file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Not asked, since the file has not settled or its end was not reached.
    NotAsked,
    /// A read lease was granted: none.
    None,
    /// There is one, or the file is mapped for writing.
    Open,
    /// The kernel gives no lease here: other owner, network file system.
    Unknown,
}

/// What came with the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Chunk {
    /// `fstat` behind the read.
    pub stat: Stat,
    /// Hash of the first bytes, where it was asked for; `None` if the file is shorter.
    pub head: Option<Mark>,
    /// The read reached the end of the file.
    pub end: bool,
    /// Answer to `seal`.
    pub writer: Writer,
}

/// Where the lines of a chunk go.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Records {
    /// The file's place among those of the transaction; deliveries are told by it.
    pub slot: u32,
    /// The file's name.
    pub file: Name,
    /// Where in the file the lines' own counting begins.
    pub position: u64,
    /// Topic the file began on.
    pub topic: String,
    /// Partition of the first line.
    pub partition: i32,
    /// Over how many partitions the lines behind it go, in turn; 0 and 1: they stay.
    pub spread: u32,
    /// The key of every line.
    pub key: Option<Vec<u8>>,
    /// The headers of every line.
    pub headers: Option<Labels>,
    /// Where in the chunk the lines' own counting begins.
    pub back: usize,
}

impl Channel {
    /// The most bytes a [`Read`] asks for.
    pub fn max_read(&self) -> usize {
        super::file::TAIL_BYTES as usize + CHUNK_BYTES.max(self.settings.rules.lookahead())
    }

    /// The next chunk: files that should be complete first, then turn by turn over the open ones.
    pub(super) fn next_read(&mut self, now: Duration) -> Option<Read> {
        // It may have grown, and is then read on beside the others: no more than one such file at a time.
        while self.reading.len() <= self.settings.max_open {
            let Some(inode) = self.sealing.pop_front() else { break };
            if self.files.get(&inode).is_some_and(|f| matches!(f.phase, Phase::Settling { .. })) {
                return self.chunk_of(inode, now);
            }
        }
        while self.reading.len() < self.settings.max_open {
            let Some(inode) = self.next_waiting() else { break };
            self.set(inode, Phase::Reading);
        }
        while let Some(inode) = self.reading.pop_front() {
            if self.files.get(&inode).is_some_and(|f| f.phase == Phase::Reading) {
                return self.chunk_of(inode, now);
            }
        }
        None
    }

    pub(super) fn chunk_of(&self, inode: Inode, now: Duration) -> Option<Read> {
        let file = self.files.get(&inode)?;
        let lookahead = self.settings.rules.lookahead();
        let body = CHUNK_BYTES.min(room(&self.batch)).max(lookahead);
        let seal = now >= file.changed + self.settings.settle;
        let read = Read { inode, name: file.name.clone(), fresh: true, head: 0, from: 0, back: 0, len: body, seal };
        Some(match &file.begun {
            None => read,
            Some(begun) => {
                let back = begun.progress.tail.len as usize;
                let head = if begun.unverified { begun.progress.head.len } else { 0 };
                let from = begun.progress.position - back as u64;
                Read { fresh: begun.unverified, head, from, back, len: back + body, ..read }
            }
        })
    }

    /// Takes over a chunk; `lines` are then those to append to the sink, as [`Records`] says. Decoded lines take the place of `data`.
    pub fn read(
        &mut self,
        read: &Read,
        chunk: &Chunk,
        data: &mut Vec<u8>,
        now: Duration,
        lines: &mut Vec<Line>,
    ) -> Option<Records> {
        lines.clear();
        let settle = self.settings.settle;
        self.totals.first_read.get_or_insert(now);
        if !self.recognise(read, chunk, data, now) {
            return None;
        }
        self.begin(read.inode);
        let file = self.files.get_mut(&read.inode)?;
        let settled = read.seal && now >= file.changed + settle;
        let sealed = settled && chunk.end && matches!(chunk.writer, Writer::None | Writer::Unknown);
        let enough = splitter::Enough { lines: MAX_LINES, bytes: room(&self.batch) };
        let mut cut = cut(
            &mut file.begun.as_deref_mut()?.progress,
            &data[read.back..],
            &self.settings.rules,
            sealed,
            enough,
            lines,
        );
        let mut records = self.advance(read, chunk, data, &mut cut, lines, now);
        match cut.undecodable {
            Some(why) => self.set_aside(read.inode, Reason::CannotDecode, &why, now),
            None => self.place(read.inode, chunk, sealed, cut.split.more, now),
        }
        if let Some(decoded) = cut.decoded {
            *data = decoded;
            records.iter_mut().for_each(|records| records.back = 0);
        }
        records
    }

    /// True when it is what progress says, and something to cut into lines; otherwise it is begun anew or set aside.
    pub(super) fn recognise(&mut self, read: &Read, chunk: &Chunk, data: &[u8], now: Duration) -> bool {
        let Some(file) = self.files.get_mut(&read.inode) else { return false };
        self.unread.add(file.cut(&chunk.stat), &file.name);
        file.update(chunk.stat, now);
        if !is_same(file, read, chunk, data) {
            self.restart(read.inode, now);
            return false;
        }
        if read.from == 0 && read.back == 0 && is_compressed(data) {
            let note = "its first bytes are those of a compressed file";
            self.set_aside(read.inode, Reason::CompressedFile, note, now);
            return false;
        }
        true
    }

    /// A file of which nothing was read gets its id and its partition.
    pub(super) fn begin(&mut self, inode: Inode) {
        let Some(file) = self.files.get_mut(&inode).filter(|file| file.begun.is_none()) else { return };
        let partition = self.deal.deal(&file.name);
        let progress = begin(file, 1, FileId(self.ids.u64(..)), &self.settings.topic, partition);
        file.begun = Some(Box::new(Begun { progress, scanned: 0, slot: None, unverified: false }));
    }

    /// True while more of what was read, or behind it, is to be read in turn: its descriptor is kept, for its name may go.
    pub fn reads_on(&self, inode: Inode) -> bool {
        self.files.get(&inode).is_some_and(|file| file.phase == Phase::Reading)
    }

    /// Moves the position over what was cut, into the open transaction.
    fn advance(
        &mut self,
        read: &Read,
        chunk: &Chunk,
        data: &mut [u8],
        cut: &mut Cut,
        lines: &[Line],
        now: Duration,
    ) -> Option<Records> {
        let file = self.files.get_mut(&read.inode)?;
        let begun = file.begun.as_deref_mut()?;
        let split = &cut.split;
        begun.unverified = chunk.end && !split.more; // its descriptor is closed at the end
        begun.scanned =
            if split.more || !chunk.end { begun.progress.position } else { read.from + data.len() as u64 };
        if split.consumed == 0 {
            return None;
        }
        let slot = touch(begun, read.inode, &mut self.touched);
        let altered = Altered { long_lines: split.long_lines, decode_errors: cut.decode_errors };
        slot.lines += lines.len() as u64;
        slot.altered += altered;
        let index = slot.index;
        let progress = &mut begun.progress;
        let position = progress.position;
        // Of the topic that it began on, no other partition is known to exist.
        let elsewhere = progress.topic != self.settings.topic;
        let (partition, spread) =
            if elsewhere { (progress.partition, 1) } else { self.deal.spread(progress.partition, progress.lines) };
        (progress.head, progress.tail) = marks(progress, data, read.back, split.consumed);
        progress.name = file.name.clone();
        progress.position += split.consumed as u64;
        progress.line_state = split.state;
        progress.grown |= progress.finished;
        progress.finished = false;
        progress.altered += altered;
        let (values, back) = match &mut cut.decoded {
            Some(decoded) => (&mut decoded[..], 0),
            None => (data, read.back),
        };
        for line in lines {
            let from = back + line.start as usize;
            progress.digest.chain_in(values, from, from + line.len as usize, &mut self.scratch);
            progress.bytes += u64::from(line.len);
        }
        progress.lines += lines.len() as u64;
        begun.scanned = begun.scanned.max(progress.position);
        self.batch.add(split.consumed as u64, now);
        (!lines.is_empty()).then(|| Records {
            slot: index,
            file: file.name.clone(),
            position,
            topic: progress.topic.clone(),
            partition,
            spread,
            key: self.deal.key(&file.name),
            headers: self.settings.headers.labels(&file.name, position),
            back: read.back,
        })
    }

    /// Where the file goes after a chunk.
    fn place(&mut self, inode: Inode, chunk: &Chunk, sealed: bool, more: bool, now: Duration) {
        let settle = self.settings.settle;
        let Some(file) = self.files.get_mut(&inode) else { return };
        let left = file.left(self.listing);
        let Some(begun) = file.begun.as_deref_mut() else { return };
        let target = self.targets.as_ref().and_then(|targets| targets.get(&inode));
        let grew = target.is_some_and(|size| file.stat.size > *size);
        // `once` ships what was there at its start, even where the file grows faster than it is read.
        let enough = grew && target.is_some_and(|size| begun.progress.position >= *size);
        if (!chunk.end || more) && !enough {
            return self.set(inode, Phase::Reading);
        }
        if sealed {
            let slot = touch(begun, inode, &mut self.touched);
            let by = if chunk.writer == Writer::None { EndBy::Lease } else { EndBy::Settle };
            slot.ended = Some(End { by, left });
            begun.progress.name = file.name.clone(); // a receipt is looked for by the name that the file has now
            begun.progress.finished = true;
            begun.progress.line_state = LineState::Start; // should it grow, what is new is a line of its own
            self.batch.add(0, now);
            return self.set(inode, Phase::Sealed);
        }
        if self.settings.once && (grew || chunk.writer == Writer::Open) {
            return self.set(inode, Phase::Growing);
        }
        let due = if chunk.writer == Writer::Open { now + settle } else { file.changed + settle };
        self.set(inode, Phase::Settling { due: due.max(now) });
    }

    /// The content is not what was shipped: a new generation from the first byte on.
    fn restart(&mut self, inode: Inode, now: Duration) {
        let Some(file) = self.files.get_mut(&inode) else { return };
        let Some(begun) = file.begun.as_deref_mut() else { return };
        if begun.slot.is_some() {
            // The old generation's lines are in the open transaction: it is committed first.
            begun.unverified = true;
            self.commit_now = true;
            return self.set(inode, Phase::Waiting);
        }
        if file.grown {
            return self.set(inode, Phase::Completed { since: now }); // not more of it, but other content
        }
        let old = &begun.progress;
        if !born_like(old, file.stat.birth) {
            // Another file, with the inode of one that is gone.
            self.tombstones.push(old.id);
            file.begun = None;
            return self.set(inode, Phase::Waiting);
        }
        if old.finished && old.position == file.stat.size {
            return self.set_aside(inode, Reason::Rewritten, "its bytes are not those that were shipped", now);
        }
        let (old_id, generation) = (old.id, old.generation + 1);
        let anew = old.position > 0;
        // On another topic the old partition may not exist.
        let partition = if old.topic == self.settings.topic { old.partition } else { self.deal.deal(&file.name) };
        let id = FileId(self.ids.u64(..));
        let progress = begin(file, generation, id, &self.settings.topic, partition);
        self.tombstones.push(old_id);
        let mut begun = Box::new(Begun { progress, scanned: 0, slot: None, unverified: true });
        // Its progress goes where the old one's tombstone goes, though nothing is read yet: a restart would count generations anew.
        touch(&mut begun, inode, &mut self.touched).anew = anew;
        self.batch.add(0, now);
        file.begun = Some(begun);
        self.set(inode, Phase::Waiting);
    }
}

/// Bytes that the open transaction still takes.
fn room(batch: &Batch) -> usize {
    usize::try_from(batch.room()).unwrap_or(usize::MAX)
}

/// Progress of a generation of which nothing is shipped.
fn begin(file: &File, generation: u32, id: FileId, topic: &str, partition: i32) -> Progress {
    Progress {
        v: VERSION,
        id,
        name: file.name.clone(),
        inode: file.stat.inode,
        birth: file.stat.birth,
        head: Mark::of(&[]),
        tail: Mark::of(&[]),
        generation,
        position: 0,
        line_state: LineState::Start,
        topic: topic.to_owned(),
        partition,
        lines: 0,
        bytes: 0,
        digest: Digest::default(),
        altered: Altered::default(),
        extents: vec![],
        byte_order: None,
        finished: false,
        grown: false,
        age: Duration::ZERO,
    }
}

/// True when it is the file born at that time, the bytes before the position, and on a fresh descriptor the first ones, are those that were shipped.
fn is_same(file: &File, read: &Read, chunk: &Chunk, data: &[u8]) -> bool {
    debug_assert!(HEAD_BYTES >= read.head as usize);
    let Some(begun) = &file.begun else { return true };
    let progress = &begun.progress;
    let head = read.head == 0 || chunk.head == Some(progress.head);
    let born = born_like(progress, chunk.stat.birth);
    born && head
        && chunk.stat.size >= progress.position
        && data.len() >= read.back
        && Mark::of(&data[..read.back]) == progress.tail
}

/// The file's slot in the open transaction, made if it has none.
fn touch<'a>(begun: &'a mut Begun, inode: Inode, touched: &mut Vec<Inode>) -> &'a mut super::file::Slot {
    let from = begun.progress.position;
    begun.slot.get_or_insert_with(|| {
        touched.push(inode);
        super::file::Slot { index: touched.len() as u32 - 1, from, ..Default::default() }
    })
}

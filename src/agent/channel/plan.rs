//! What an agent that starts now would do with each file, by the channel's own decisions, and nothing is done. Pure; a part of [`Channel`].
//!
//! Invariant: a channel that was asked for its plan ships nothing; it is made for that, and thrown away.

use std::collections::HashSet;
use std::time::Duration;

use super::digest::FileId;
use super::file::{File, HEAD_BYTES, Phase, Reason};
use super::name::Name;
use super::progress::Progress;
use super::{Channel, Chunk, Inode, Read};
use crate::agent::source::FileError;

/// What becomes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is read from its first byte; nothing of it was shipped.
    Begins,
    /// It goes on behind what is committed.
    GoesOn,
    /// Its content is not what was shipped: it is read from its first byte, as a new generation.
    BeginsAnew,
    /// All of it is committed: what is left is the rename or the removal.
    Finished,
    /// All of it is committed, and it stays (`completion: Track`).
    Complete,
    /// It needs a person.
    SetAside {
        /// Why.
        reason: Reason,
        /// What the kernel said, or what was seen.
        note: String,
    },
}

/// A file, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its name.
    pub name: Name,
    /// Bytes.
    pub size: u64,
    /// Last change, nanoseconds since 1970.
    pub modified: i64,
    /// What becomes of it.
    pub fate: Fate,
    /// The first byte that is not committed.
    pub position: u64,
    /// Bytes that wait.
    pub waits: u64,
    /// Where its records go.
    pub to: Option<To>,
    /// The id of its progress, where there is any.
    pub id: Option<FileId>,
    /// It has a second name here, a hard link, whose turn comes when this one is done.
    pub linked: bool,
}

/// Where a file's records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct To {
    /// Topic.
    pub topic: String,
    /// Partition; none where the lines go to all of them in turn.
    pub partition: Option<i32>,
}

impl Channel {
    /// What would be done with every file of the last listing, in the order in which it would be done: files that are finished, files to
    /// read, files that need a person. `look` reads what the channel asks for, to tell what a file is.
    pub fn plan(
        &mut self,
        now: Duration,
        mut look: impl FnMut(&Read, &mut Vec<u8>) -> Result<Chunk, FileError>,
    ) -> Vec<Planned> {
        let known: HashSet<FileId> =
            self.files.values().filter_map(|file| Some(file.begun.as_ref()?.progress.id)).collect();
        let mut data = vec![];
        let finished = self.by_name(|phase| matches!(phase, Phase::Completing { .. }));
        for inode in &finished {
            self.look(*inode, now, &mut data, &mut look);
        }
        let mut order = vec![];
        while let Some(inode) = self.next_waiting() {
            // What is not recognised waits again, as another generation, or is set aside.
            if self.look(inode, now, &mut data, &mut look) {
                self.begin(inode);
                self.set(inode, Phase::Reading);
                order.push(inode);
            }
        }
        let finished =
            finished.into_iter().filter(|i| self.is(*i, |phase| matches!(phase, Phase::Completing { .. })));
        let asides = self.by_name(|phase| matches!(phase, Phase::SetAside { .. }));
        let all: Vec<Inode> = finished.chain(order).chain(asides).collect();
        all.into_iter().filter_map(|inode| self.planned(self.files.get(&inode)?, &known)).collect()
    }

    fn is(&self, inode: Inode, phase: impl Fn(Phase) -> bool) -> bool {
        self.files.get(&inode).is_some_and(|file| phase(file.phase))
    }

    fn by_name(&self, phase: impl Fn(Phase) -> bool) -> Vec<Inode> {
        let mut found: Vec<_> = self.files.iter().filter(|(_, file)| phase(file.phase)).collect();
        found.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        found.into_iter().map(|(inode, _)| *inode).collect()
    }

    /// A few bytes, enough to tell what it is. True when it is what progress says, and something to ship.
    fn look(
        &mut self,
        inode: Inode,
        now: Duration,
        data: &mut Vec<u8>,
        look: &mut impl FnMut(&Read, &mut Vec<u8>) -> Result<Chunk, FileError>,
    ) -> bool {
        let Some(read) = self.chunk_of(inode, now) else { return false };
        // Nobody is asked for a lease, and no more is read than what tells one kind of file from another.
        let read = Read { fresh: true, seal: false, len: read.back + HEAD_BYTES, ..read };
        match look(&read, data) {
            Ok(chunk) => {
                let is_known = self.recognise(&read, &chunk, data, now);
                if let Some(begun) = self.files.get_mut(&inode).and_then(|file| file.begun.as_deref_mut()) {
                    begun.slot = None; // no commit comes that would take it
                }
                return is_known;
            }
            Err(FileError::Vanished) => self.vanished(inode, now),
            Err(FileError::Aside(reason, why)) => self.set_aside(inode, reason, &why, now),
        }
        false
    }

    fn planned(&self, file: &File, known: &HashSet<FileId>) -> Option<Planned> {
        let progress = file.begun.as_ref().map(|begun| &begun.progress);
        let fate = match file.phase {
            Phase::SetAside { reason, .. } => {
                Fate::SetAside { reason, note: file.note.as_deref().unwrap_or_default().to_owned() }
            }
            Phase::Completing { .. } if self.settings.track => Fate::Complete,
            Phase::Completing { .. } => Fate::Finished,
            _ => match progress? {
                progress if progress.generation > 1 && !known.contains(&progress.id) => Fate::BeginsAnew,
                progress if known.contains(&progress.id) => Fate::GoesOn,
                _ => Fate::Begins,
            },
        };
        Some(Planned {
            name: file.name.clone(),
            size: file.stat.size,
            modified: file.stat.modified,
            position: file.position(),
            waits: file.remaining(),
            to: progress.map(|progress| self.to(progress)),
            id: progress.map(|progress| progress.id).filter(|id| known.contains(id)),
            linked: file.linked,
            fate,
        })
    }

    fn to(&self, progress: &Progress) -> To {
        let elsewhere = progress.topic != self.settings.topic;
        let (_, spread) = self.deal.spread(progress.partition, progress.lines);
        let partition = (elsewhere || spread == 1).then_some(progress.partition);
        To { topic: progress.topic.clone(), partition }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::channel::Settings;
    use crate::agent::channel::digest::Mark;
    use crate::agent::channel::file::{Entry, Obstacle, Stat};
    use crate::agent::channel::{Writer, headers, partitioner, splitter};
    use crate::pipeline::{ConsumeOrder, OnLongLine};
    use std::collections::BTreeMap;

    fn settings(track: bool) -> Settings {
        Settings {
            agent: "local/shop/web/a1".into(),
            topic: "web".into(),
            partitions: partitioner::Rule { fixed: Some(2), ..Default::default() },
            headers: headers::Rule::default(),
            rules: splitter::Rules { max_line: 1000, on_long_line: OnLongLine::Split, charset: None },
            order: ConsumeOrder::Oldest,
            track,
            settle: Duration::from_secs(5),
            poll: Duration::from_secs(1),
            max_open: 8,
            commit_interval: Duration::from_secs(1),
            max_transaction_bytes: 1 << 20,
            once: false,
        }
    }

    /// A directory in memory: inode → name, age, content.
    type Disk = BTreeMap<u64, (&'static str, i64, &'static [u8])>;

    fn stat(inode: u64, (_, modified, content): &(&str, i64, &[u8])) -> Stat {
        Stat { inode, size: content.len() as u64, modified: *modified, changed: 0, birth: None, links: 1 }
    }

    fn progress(inode: u64, shipped: &[u8], finished: bool) -> Progress {
        let json = serde_json::json!({
            "v": 1, "name": "x", "inode": inode, "head": Mark::of(shipped), "tail": Mark::of(shipped), "generation": 1,
            "position": shipped.len(), "line_state": "start", "topic": "old", "partition": 7, "lines": 1, "bytes": 1,
            "digest": "0".repeat(32), "extents": [], "finished": finished,
        });
        Progress::decode(&format!("{inode:016x}"), json.to_string().as_bytes()).unwrap()
    }

    fn planned(disk: &Disk, committed: Vec<Progress>, track: bool) -> Vec<String> {
        let mut channel = Channel::new(settings(track), 1);
        channel.resume(committed, 3, Duration::ZERO);
        let entry = |(inode, file): (&u64, &(&str, i64, &[u8]))| Entry {
            name: Name::new(file.0.as_bytes()),
            stat: stat(*inode, file),
            obstacle: (file.0 == "link").then(|| Obstacle {
                reason: Reason::NotARegularFile,
                note: "it is a link, FIFO, socket or device".into(),
            }),
        };
        channel.listed(disk.iter().map(entry).collect(), Duration::ZERO, Duration::ZERO);
        let look = |read: &Read, data: &mut Vec<u8>| {
            assert!(!read.seal, "a lease is asked for");
            let file = &disk[&read.inode];
            if file.0 == "secret.log" {
                return Err(FileError::Aside(Reason::PermissionDenied, "EACCES".into()));
            }
            let (from, content) = (read.from as usize, file.2);
            data.clear();
            data.extend(content.iter().skip(from).take(read.len));
            let head = (read.head > 0 && content.len() >= read.head as usize)
                .then(|| Mark::of(&content[..read.head as usize]));
            Ok(Chunk { stat: stat(read.inode, file), head, end: true, writer: Writer::NotAsked })
        };
        let shown = |file: Planned| {
            let to = file.to.map(|to| format!(" to {}/{:?}", to.topic, to.partition)).unwrap_or_default();
            format!("{} {:?} from {} waits {}{to}", file.name, file.fate, file.position, file.waits)
        };
        channel.plan(Duration::ZERO, look).into_iter().map(shown).collect()
    }

    #[test]
    fn each_file_has_its_fate_in_the_order_of_an_agent() {
        let disk: Disk = BTreeMap::from([
            (1, ("new.log", 30, b"one\n".as_slice())),
            (2, ("older.log", 10, b"one\ntwo\n")),
            (3, ("half.log", 20, b"one\ntwo\n")),
            (4, ("cut.log", 25, b"o")),
            (5, ("other.log", 26, b"ONE\nTWO\n")),
            (6, ("done.log", 5, b"one\n")),
            (7, ("rewritten.log", 5, b"ONE\n")),
            (8, ("grown.log", 40, b"one\ntwo\n")),
            (9, ("a.gz", 1, b"\x1f\x8b\x08\0")),
            (10, ("link", 1, b"")),
            (11, ("secret.log", 1, b"x\n")),
            (12, ("end.log", 50, b"one\n")),
        ]);
        let begun = [3, 4, 5, 12].map(|inode| progress(inode, b"one\n", false));
        let finished = [6, 7, 8].map(|inode| progress(inode, b"one\n", true));
        let committed: Vec<_> = begun.into_iter().chain(finished).collect();
        insta::assert_snapshot!(planned(&disk, committed.clone(), false).join("\n"));
        let tracked = planned(&disk, committed, true);
        assert_eq!(tracked[0], "done.log Complete from 4 waits 0 to old/Some(7)");
    }

    #[test]
    fn a_file_whose_place_another_takes_while_it_is_looked_at_is_looked_at_once_more_and_no_more() {
        let stat = |birth| Stat { inode: 1, size: 4, birth: Some(birth), links: 1, ..Stat::default() };
        let mut channel = Channel::new(settings(false), 1);
        channel.resume(vec![Progress { birth: Some(1), ..progress(1, b"one\n", false) }], 3, Duration::ZERO);
        let entry = Entry { name: Name::new(b"a.log"), stat: stat(1), obstacle: None };
        channel.listed(vec![entry], Duration::ZERO, Duration::ZERO);
        let mut looks = 0;
        let planned = channel.plan(Duration::ZERO, |_, data| {
            looks += 1;
            assert!(looks < 9, "it does not end");
            *data = b"two\n".to_vec();
            Ok(Chunk { stat: stat(looks.min(2)), head: None, end: true, writer: Writer::NotAsked })
        });
        assert_eq!(planned.iter().map(|file| file.fate.clone()).collect::<Vec<_>>(), [Fate::Begins]);
    }
}

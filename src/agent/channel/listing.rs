//! From what the directory holds to what is to be done with each file. Pure; a part of [`Channel`].

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::file::{Begun, Entry, File, Obstacle, Phase, Reason, born_like};
use super::name::Name;
use super::progress::Progress;
use super::{Channel, FULL_LISTING, Inode};
use crate::agent::source::SourceError;
use crate::pipeline::ConsumeOrder;

/// A listing may take this share of the time at most: 1 in 20.
const LISTING_SHARE: u32 = 20;
/// Progress of a completed file stays this long, so that growth is seen.
const KEEP_COMPLETED: Duration = Duration::from_secs(3600);
/// Progress of a file that is in no listing stays this long: an unmounted directory looks empty.
const KEEP_ABSENT: Duration = Duration::from_secs(24 * 3600);

impl Channel {
    /// The directory did not change since the last listing.
    pub fn unchanged(&mut self, now: Duration) {
        self.next_list = now + self.settings.poll;
    }

    /// The directory cannot be listed: commit what was read of it, then open it again.
    pub fn unlisted(&mut self, why: SourceError, now: Duration) {
        self.lost = Some(why);
        self.commit_now = true;
        self.next_list = now + self.settings.poll;
    }

    /// Takes over a complete listing that was begun at `started`.
    pub fn listed(&mut self, entries: Vec<Entry>, started: Duration, now: Duration) {
        self.listing += 1;
        self.hinted = false;
        self.next_list = now + self.settings.poll.max((now - started) * LISTING_SHARE);
        self.next_full = self.next_list.max(now + FULL_LISTING);
        if self.settings.once && self.targets.is_none() {
            let grown = self.files.values().filter(|file| file.grown).map(|file| file.stat);
            let there = entries.iter().map(|entry| entry.stat).chain(grown);
            self.targets = Some(there.map(|stat| (stat.inode, stat.size)).collect::<HashMap<_, _>>());
        }
        // What cannot be entered hides what is beneath it, which is not gone.
        let closed = |entry: &Entry| entry.obstacle.as_ref().is_some_and(|o| o.reason != Reason::NotARegularFile);
        let hidden: HashSet<Name> = entries.iter().filter(|e| closed(e)).map(|e| e.name.clone()).collect();
        for entry in entries {
            if self.targets.as_ref().is_none_or(|targets| targets.contains_key(&entry.stat.inode)) {
                self.see(entry, now);
            }
        }
        self.forget(&hidden, now);
    }

    /// Files that were completed lately, or progress of completed ones that no name is known of: they may grow all the same, where
    /// no lease could keep a writer out, and an agent may have been killed while it shipped what they grew by.
    pub fn completed_lately(&self) -> HashSet<Inode> {
        if self.settings.track {
            return HashSet::new();
        }
        let may_grow = |(inode, file): &(&Inode, &File)| {
            let Some(progress) = file.begun.as_ref().map(|begun| &begun.progress) else { return false };
            let is_away = matches!(file.phase, Phase::Completed { .. } | Phase::Absent { .. });
            let was_finished = progress.finished || progress.grown;
            // `once`: until what it began with is shipped.
            let more = |size: &u64| *size > progress.position || !progress.finished;
            let wanted = || self.targets.as_ref().is_none_or(|targets| targets.get(inode).is_some_and(more));
            is_away && was_finished && wanted()
        };
        self.files.iter().filter(may_grow).map(|(inode, _)| *inode).collect()
    }

    /// What there is of those under a completed name: what is new in them ships.
    pub fn grew(&mut self, entries: Vec<Entry>, now: Duration) {
        for Entry { name, stat, .. } in entries {
            let Some(file) = self.files.get_mut(&stat.inode) else { continue };
            let Some(begun) = &file.begun else { continue };
            let progress = &begun.progress;
            // Read to its end, and its end not committed: that is to come.
            let open = stat.size == progress.position && !progress.finished;
            // Read already, and found to be other content.
            let known = matches!(file.phase, Phase::Completed { .. }) && stat == file.stat;
            let more = stat.size > progress.position || open;
            if !more || known || file.grown || !born_like(progress, stat.birth) {
                continue;
            }
            self.grown.add(u64::from(progress.finished), &name);
            file.name = name;
            file.update(stat, now);
            file.grown = true;
            self.enter(stat.inode, now);
        }
    }

    fn see(&mut self, entry: Entry, now: Duration) {
        let inode = entry.stat.inode;
        let obstacle = entry.obstacle.clone();
        let Some(file) = self.files.get_mut(&inode) else {
            self.files.insert(inode, File::new(entry, now, self.listing));
            return match obstacle {
                Some(Obstacle { reason, note }) => self.set_aside(inode, reason, &note, now),
                None => self.enter(inode, now),
            };
        };
        if file.listing == self.listing {
            file.linked = true; // a second hard link: its turn comes when the first name is done
            return;
        }
        if obstacle.is_none() {
            self.unread.add(file.cut(&entry.stat), &file.name);
        }
        file.listing = self.listing;
        (file.linked, file.grown, file.missed) = (false, false, false);
        file.name = entry.name;
        let changed = file.update(entry.stat, now);
        if let Some(Obstacle { reason, note }) = obstacle {
            // What it was may have ended by now; what is set aside already stays so.
            if !matches!(file.phase, Phase::SetAside { reason: before, .. } if before == reason) {
                self.set_aside(inode, reason, &note, now);
            }
            return;
        }
        match file.phase {
            Phase::Completed { .. } if self.settings.track && !changed => {}
            Phase::Absent { .. } | Phase::Completed { .. } => self.enter(inode, now),
            Phase::SetAside { .. } if changed => self.enter(inode, now),
            Phase::Settling { .. } if changed => {
                // What grew may hold a whole line; what did not is looked at when it has settled again.
                let due = now + self.settings.settle;
                let phase = if file.is_readable() { Phase::Waiting } else { Phase::Settling { due } };
                self.set(inode, phase);
            }
            _ => {}
        }
    }

    /// Where a file that is there goes next: to the rename, or to be read.
    pub(super) fn enter(&mut self, inode: Inode, now: Duration) {
        let Some(file) = self.files.get_mut(&inode) else { return };
        file.note = None;
        if let Some((reason, note, until)) = self.barred.get(&inode).cloned() {
            if now < until {
                return self.set_aside(inode, reason, &note, now);
            }
            self.barred.remove(&inode);
        }
        if let Some(begun) = &mut file.begun {
            begun.unverified = true;
            if begun.slot.is_some() {
                return self.set(inode, Phase::Waiting);
            }
            // Nothing of it is shipped, so nothing holds it to where it would have gone.
            let progress = &mut begun.progress;
            let elsewhere = progress.topic != self.settings.topic || !self.deal.has(progress.partition);
            if progress.position == 0 && elsewhere {
                progress.topic.clone_from(&self.settings.topic);
                progress.partition = self.deal.deal(&file.name);
            }
        }
        match &file.begun {
            Some(begun) if !file.may_be(&begun.progress) => {
                self.tombstones.push(begun.progress.id);
                file.begun = None;
                self.set(inode, Phase::Waiting);
            }
            Some(begun) if begun.progress.finished && begun.progress.position == file.stat.size => {
                self.set(inode, Phase::Completing { due: now });
            }
            // The topic was made anew, with fewer partitions. (Of another topic than the pipeline's, only Kafka knows.)
            Some(begun)
                if begun.progress.topic == self.settings.topic && !self.deal.has(begun.progress.partition) =>
            {
                let Progress { topic, partition, .. } = &begun.progress;
                let note = format!("it was begun on partition {partition} of topic {topic}, which is gone");
                self.set_aside(inode, Reason::TopicGone, &note, now);
            }
            _ => self.set(inode, Phase::Waiting),
        }
    }

    /// Files that are in no listing: unknown ones go, progress stays for a day (an hour where the file is complete).
    fn forget(&mut self, hidden: &HashSet<Name>, now: Duration) {
        let (listing, track) = (self.listing, self.settings.track);
        let (tombstones, unread, hinted) = (&mut self.tombstones, &mut self.unread, &mut self.hinted);
        self.files.retain(|_, file| {
            if file.listing == listing || file.grown {
                return true;
            }
            if is_hidden(&file.name, hidden) {
                file.missed = false;
                if let Phase::Absent { since } = &mut file.phase {
                    *since = now;
                }
                return true;
            }
            let kept = match file.phase {
                Phase::Completed { since } if !track => now < since + KEEP_COMPLETED,
                Phase::Absent { .. } if file.missed => {
                    unread.add(file.lose(), &file.name);
                    true
                }
                Phase::Absent { since } => {
                    // Finished a day ago, and an hour in no listing: restarts do not begin its day anew.
                    let finished =
                        file.begun.as_ref().map(|begun| &begun.progress).filter(|p| p.finished && !track);
                    let old = finished.is_some_and(|progress| progress.age + (now - since) >= KEEP_ABSENT);
                    now < since + if old { KEEP_COMPLETED } else { KEEP_ABSENT }
                }
                // Its descriptor may be open: it is read to its end before it is let go.
                Phase::Reading if file.begun.is_some() => true,
                // What is due tells whether it is there, under whichever name.
                Phase::Sealed | Phase::Completing { .. } => true,
                phase => {
                    file.phase = Phase::Absent { since: now };
                    file.missed = true;
                    if matches!(phase, Phase::SetAside { .. }) {
                        file.lose(); // what a person does with it is their decision
                    }
                    *hinted |= file.missed; // it may just have been renamed while the directory was listed: one more look
                    true
                }
            };
            match &file.begun {
                Some(begun) if begun.slot.is_some() => true,
                Some(begun) if !kept => {
                    tombstones.push(begun.progress.id);
                    false
                }
                begun => kept && (begun.is_some() || file.missed),
            }
        });
        let files = &self.files;
        self.barred.retain(|inode, _| files.contains_key(inode));
        if self.waiting.len() > 2 * files.len() {
            self.waiting.retain(|inode| files.contains_key(inode));
        }
    }

    /// Progress read from Kafka, for a file that the next listing may show.
    pub(super) fn adopt(&mut self, progress: Progress, now: Duration) {
        let file = self.files.entry(progress.inode).or_insert_with(|| {
            let stat = super::file::Stat { inode: progress.inode, size: progress.position, ..Default::default() };
            let entry = Entry { name: progress.name.clone(), stat, obstacle: None };
            let phase = Phase::Absent { since: now };
            File { phase, ..File::new(entry, now, 0) }
        });
        let newer =
            |b: &Begun| (progress.generation, progress.position) > (b.progress.generation, b.progress.position);
        // Two records of one inode: without transactions an agent may die between what it sends of the new and of the old one.
        if file.begun.as_deref().is_none_or(newer) {
            let scanned = progress.position;
            let begun = Box::new(Begun { progress, scanned, slot: None, unverified: true });
            self.tombstones.extend(file.begun.replace(begun).map(|old| old.progress.id));
        } else {
            self.tombstones.push(progress.id);
        }
    }

    /// The next file whose turn it is, in the pipeline's order; ties by name.
    pub(super) fn next_waiting(&mut self) -> Option<Inode> {
        if self.unsorted {
            let (files, order) = (&self.files, self.settings.order);
            // What left the directory has no place in an order, and sorting panics where there is none.
            self.waiting.retain(|inode| files.get(inode).is_some_and(|file| file.phase == Phase::Waiting));
            self.waiting.sort_unstable_by(|a, b| match (files.get(a), files.get(b)) {
                // The last one is the next.
                (Some(a), Some(b)) if order == ConsumeOrder::Youngest => {
                    (a.stat.modified, &b.name).cmp(&(b.stat.modified, &a.name))
                }
                (Some(a), Some(b)) => (b.stat.modified, &b.name).cmp(&(a.stat.modified, &a.name)),
                _ => Ordering::Equal,
            });
            self.waiting.dedup();
            if order == ConsumeOrder::Random {
                self.ids.shuffle(&mut self.waiting);
            }
            self.unsorted = false;
        }
        while let Some(inode) = self.waiting.pop() {
            if self.files.get(&inode).is_some_and(|file| file.phase == Phase::Waiting) {
                return Some(inode);
            }
        }
        None
    }
}

/// Beneath one of these directories.
fn is_hidden(name: &Name, directories: &HashSet<Name>) -> bool {
    let slashes = name.0.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    !directories.is_empty() && slashes.into_iter().any(|(at, _)| directories.contains(&Name::new(&name.0[..at])))
}

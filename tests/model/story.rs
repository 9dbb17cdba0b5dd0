//! The model: what a log must hold of a directory, in the plainest words. At most 100 lines, so that it can be believed.

use std::collections::{BTreeMap, BTreeSet};

use spoolway::agent::channel::digest::FileId;
use spoolway::agent::channel::progress::{Closing, Progress};

/// One file, whatever its name, and what it ever held.
#[derive(Debug, Clone, Default)]
pub struct Story {
    pub inode: u64,
    pub data: Vec<u8>,
    /// Times that bytes were cut or overwritten.
    pub disrupted: u32,
    /// Every content it had, each with what `disrupted` was.
    pub past: Vec<(u32, Vec<u8>)>,
}

impl Story {
    pub fn write(&mut self, data: Vec<u8>, disrupts: bool) {
        self.disrupted += u32::from(disrupts);
        self.past.push((self.disrupted, data.clone()));
        self.data = data;
    }
}

/// Progress of a file, its lines, and the positions at which it was taken for finished.
type Shipped = (Progress, Vec<String>, BTreeSet<u64>);

/// What `read_committed` readers see.
#[derive(Debug, Default)]
pub struct Committed {
    files: BTreeMap<FileId, Shipped>,
    pub forgotten: BTreeSet<FileId>,
}

impl Committed {
    fn held(&self) -> impl Iterator<Item = &Shipped> {
        self.files.values().filter(|(p, ..)| !self.forgotten.contains(&p.id))
    }

    pub fn progress(&self) -> Vec<Progress> {
        self.held().map(|(progress, ..)| progress.clone()).collect()
    }

    /// A transaction is committed. Progress is never beyond the file and never goes back.
    pub fn take(&mut self, closing: &[Closing], lines: Vec<Vec<String>>, stories: &[Story]) -> Result<(), String> {
        for (entry, lines) in closing.iter().zip(lines.into_iter().chain(std::iter::repeat(vec![]))) {
            let progress = &entry.progress;
            let mut past = stories.iter().filter(|s| s.inode == progress.inode).flat_map(|s| &s.past);
            let is_within = past.any(|(_, content)| content.len() as u64 >= progress.position);
            ensure(is_within, format!("progress is beyond the file: {progress:?}"))?;
            let fresh = || (progress.clone(), vec![], BTreeSet::new());
            let (held, sent, ends) = self.files.entry(progress.id).or_insert_with(fresh);
            let before = std::mem::replace(held, progress.clone()).position;
            ensure(before <= progress.position, format!("progress went from {before} to {}", progress.position))?;
            sent.extend(lines);
            ends.extend(progress.finished.then_some(progress.position));
        }
        Ok(())
    }

    /// A file is renamed: its last line is committed, and every line of it once and in order.
    pub fn renamed(&self, story: &Story) -> Result<(), String> {
        let of_it = |p: &Progress| p.inode == story.inode && p.position == story.data.len() as u64 && p.finished;
        let wrong = format!("a file is renamed at {} bytes, which are not committed", story.data.len());
        let (_, sent, ends) = self.held().find(|(p, ..)| of_it(p)).ok_or(wrong)?;
        let lines = lines(&story.data, ends);
        ensure(*sent == lines, format!("a file is renamed with {lines:?}, committed are {sent:?}"))
    }

    /// All has drained: nothing is there that no file held, and nothing twice that was not there again after a cut or a rewrite.
    pub fn drained(&self, stories: &[Story]) -> Result<(), String> {
        let sent = self.files.values().flat_map(|(_, sent, _)| sent).filter(|line| !line.is_empty());
        for line in sent.clone().collect::<BTreeSet<_>>() {
            let times =
                |content: &[u8]| content.windows(line.len()).filter(|w| *w == line.as_bytes()).count() as u32;
            let first = |s: &Story| s.past.iter().find(|(_, content)| times(content) > 0).map(|(after, _)| *after);
            let most = |s: &Story| s.past.iter().map(|(_, content)| times(content)).max();
            let allowed: u32 = stories.iter().filter_map(|s| Some((1 + s.disrupted - first(s)?) * most(s)?)).sum();
            let found = sent.clone().filter(|l| *l == line).count() as u32;
            ensure(found <= allowed, format!("{line:?} was sent {found} times, {allowed} allowed"))?;
        }
        Ok(())
    }
}

fn ensure(holds: bool, otherwise: String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// The lines of `content`; where it was taken for finished an unfinished line ended.
fn lines(content: &[u8], ends: &BTreeSet<u64>) -> Vec<String> {
    let ends = (1..=content.len()).filter(|at| content[at - 1] == b'\n' || ends.contains(&(*at as u64)));
    let lines = ends.scan(0, |from, at| Some(&content[std::mem::replace(from, at)..at]));
    lines.map(|l| String::from_utf8_lossy(l.strip_suffix(b"\n").unwrap_or(l)).into_owned()).collect()
}

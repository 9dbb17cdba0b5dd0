//! A disk that forgets what was not synced: bytes by themselves, names by themselves, in any combination that a journal or none allows.
//!
//! Every call is a step at which the process can die, or which can fail, halfway too.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Once;
use std::time::Duration;

use spoolway::agent::sink::file::disk::Disk;

/// Unwinds the agent: it is dead.
pub struct Dead;

/// Panics that are a [`Dead`] print nothing.
pub fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<Dead>() {
                before(info);
            }
        }));
    });
}

/// A file's content: as it is seen, and as it is on the disk.
#[derive(Debug, Clone, Default)]
struct Content {
    seen: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Debug)]
struct World {
    rng: fastrand::Rng,
    now: Duration,
    files: Vec<Content>,
    directories: Vec<PathBuf>,
    /// Names as they are seen, and as they are on the disk.
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    lock: Option<(PathBuf, u32)>,
    /// Steps until it dies.
    left: Option<u32>,
    /// Per thousand steps that fail.
    faults: u32,
    processes: u32,
}

/// A process's view of the disk.
#[derive(Debug, Clone)]
pub struct Forgetful {
    world: Rc<RefCell<World>>,
    process: u32,
}

impl Forgetful {
    pub fn new(seed: u64, directories: [PathBuf; 2]) -> Self {
        let world = World {
            rng: fastrand::Rng::with_seed(seed),
            now: Duration::from_secs(1_000_000),
            files: vec![],
            directories: directories.to_vec(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            lock: None,
            left: None,
            faults: 0,
            processes: 0,
        };
        Forgetful { world: Rc::new(RefCell::new(world)), process: 0 }
    }

    /// As another process sees it.
    pub fn another(&self) -> Self {
        let world = &mut *self.world.borrow_mut();
        world.processes += 1;
        Forgetful { world: self.world.clone(), process: world.processes }
    }

    pub fn set(&self, left: Option<u32>, faults: u32) {
        let world = &mut *self.world.borrow_mut();
        (world.left, world.faults) = (left, faults);
    }

    pub fn fails(&self) -> bool {
        self.world.borrow().faults > 0
    }

    pub fn pass(&self, time: Duration) {
        self.world.borrow_mut().now += time;
    }

    /// The process is dead; where the power went, so is what was not synced, or a part of it.
    pub fn dies(&self, power: bool) {
        let world = &mut *self.world.borrow_mut();
        (world.lock, world.left) = (None, None);
        if !power {
            return;
        }
        for content in &mut world.files {
            *content = forgotten(content, &mut world.rng);
        }
        // Each change of a name is on the disk, or not. A rename is one change: never both names, never none.
        let mut names = world.synced_names.clone();
        for file in 0..world.files.len() {
            let of = |names: &BTreeMap<PathBuf, usize>| {
                names.iter().find(|(_, f)| **f == file).map(|(name, _)| name.clone())
            };
            let (old, new) = (of(&world.synced_names), of(&world.names));
            if let Some(new) = new.filter(|new| old.as_ref() != Some(new) && world.rng.bool()) {
                old.iter().for_each(|old| _ = names.remove(old));
                names.insert(new, file);
            }
        }
        (world.names, world.synced_names) = (names.clone(), names);
    }
}

/// What is left of a file: what was synced, and of what was not any part; what was cut may be back.
fn forgotten(content: &Content, rng: &mut fastrand::Rng) -> Content {
    let (synced, seen) = (&content.synced, &content.seen);
    let same = synced.iter().zip(seen).take_while(|(one, other)| one == other).count();
    let left = match rng.u8(0..3) {
        0 => synced.clone(),
        1 => seen.clone(),
        // Length without content: zeros.
        _ => {
            let end = rng.usize(same..=seen.len().max(same));
            let mut left = seen[..same].to_vec();
            left.extend((same..end).map(|at| if rng.bool() { seen[at] } else { 0 }));
            if left.len() < synced.len() && synced.len() == same { synced.clone() } else { left }
        }
    };
    Content { seen: left.clone(), synced: left }
}

impl World {
    /// A step that changes something: dies before it, or fails.
    fn step(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                resume_unwind(Box::new(Dead));
            }
        }
        if self.faults > 0 && self.rng.u32(0..1000) < self.faults {
            return Err(io::Error::other("made up"));
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> io::Result<&mut Content> {
        let file = self.names.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(&mut self.files[*file])
    }

    fn directory(&self, path: &Path) -> io::Result<()> {
        let is_there = self.directories.iter().any(|d| d == path);
        if is_there { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
    }

    fn make(&mut self, path: &Path) {
        self.files.push(Content::default());
        self.names.insert(path.to_owned(), self.files.len() - 1);
    }
}

impl Disk for Forgetful {
    fn read(&mut self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let world = &mut *self.world.borrow_mut();
        Ok(world.file(path).ok().map(|content| content.seen.clone()))
    }

    fn size(&mut self, path: &Path) -> io::Result<Option<u64>> {
        Ok(self.read(path)?.map(|content| content.len() as u64))
    }

    fn names(&mut self, directory: &Path) -> io::Result<Vec<String>> {
        let world = &mut *self.world.borrow_mut();
        world.directory(directory)?;
        let within = world.names.keys().filter(|path| path.parent() == Some(directory));
        Ok(within.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn make_directory(&mut self, directory: &Path) -> io::Result<()> {
        self.world.borrow().directory(directory)
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.step()?;
        if !world.names.contains_key(path) {
            world.make(path);
        }
        world.file(path)?.seen.clear();
        let part = world.rng.usize(0..=bytes.len());
        world.file(path)?.seen.extend_from_slice(&bytes[..part]);
        world.step()?;
        world.file(path)?.seen.extend_from_slice(&bytes[part..]);
        Ok(())
    }

    fn create(&mut self, path: &Path) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.step()?;
        if world.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        world.make(path);
        world.step()
    }

    fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.step()?;
        let part = world.rng.usize(0..=bytes.len());
        world.file(path)?.seen.extend_from_slice(&bytes[..part]);
        world.step()?;
        world.file(path)?.seen.extend_from_slice(&bytes[part..]);
        Ok(())
    }

    fn cut(&mut self, path: &Path, length: u64) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.step()?;
        world.file(path)?.seen.resize(length as usize, 0);
        world.step()
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.step()?;
        let content = world.file(path)?;
        content.synced = content.seen.clone();
        world.step()
    }

    fn sync_dir(&mut self, directory: &Path) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.directory(directory)?;
        world.step()?;
        let within = |path: &Path| path.parent() == Some(directory);
        world.synced_names.retain(|path, _| !within(path));
        let names = world.names.iter().filter(|(path, _)| within(path));
        world.synced_names.extend(names.map(|(path, file)| (path.clone(), *file)));
        world.step()
    }

    fn replace(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.step()?;
        let file = world.names.remove(from).ok_or(ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), file);
        world.step()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if self.world.borrow().names.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.replace(from, to)
    }

    fn lock(&mut self, path: &Path) -> io::Result<bool> {
        let world = &mut *self.world.borrow_mut();
        if world.lock.as_ref().is_some_and(|(locked, process)| locked == path && *process != self.process) {
            return Ok(false);
        }
        world.lock = Some((path.to_owned(), self.process));
        Ok(true)
    }

    fn close(&mut self) {
        let world = &mut *self.world.borrow_mut();
        if world.lock.as_ref().is_some_and(|(_, process)| *process == self.process) {
            world.lock = None;
        }
    }

    fn now(&self) -> Duration {
        self.world.borrow().now
    }
}

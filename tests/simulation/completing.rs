//! The end of a file on the simulated disk: call by call what `source::spooldir::completing` does. What is done stays undone by a
//! loss of power until the directory is synced.

use spoolway::agent::channel::name::Name;
use spoolway::agent::channel::{Completed, Completion, Writer};
use spoolway::agent::source::FileError;
use spoolway::pipeline;

use super::disk::{Key, SUFFIX, Unsynced};
use super::mutation::Bug;
use super::sim::{Sim, step};
use super::spool::Spool;

impl Spool {
    pub fn complete_one(&self, wanted: &Completion) -> Completed {
        let key = match self.open_file(&wanted.name, wanted.inode) {
            Ok(key) => key,
            Err(FileError::Vanished) => {
                self.sim.borrow_mut().hit("gone before it is completed");
                return Completed::Gone;
            }
            Err(FileError::Aside(_, why)) => return Completed::Refused(why),
        };
        let completed = self.complete_open(wanted, key);
        self.sim.borrow_mut().disk.closed(key);
        completed
    }

    fn complete_open(&self, wanted: &Completion, key: Key) -> Completed {
        step(&self.sim, "check before completion");
        let checked = {
            let sim = &mut *self.sim.borrow_mut();
            if self.completion != pipeline::Completion::Track && sim.lease(key) == Writer::Open {
                return Completed::Writer;
            }
            let stat = sim.disk.stat(key);
            let looks = !sim.has(Bug::NoSecondLook);
            if looks && matches!((stat.birth, wanted.birth), (Some(here), Some(there)) if here != there) {
                sim.hit("gone before it is completed");
                return Completed::Gone;
            }
            if looks && stat.size != wanted.size {
                sim.hit("resized before it is completed");
                return Completed::Resized;
            }
            let (head, tail) = (wanted.head, wanted.tail);
            let same = sim.disk.mark(key, 0, head.len) == Some(head)
                && sim.disk.mark(key, wanted.size - u64::from(tail.len), tail.len) == Some(tail);
            if looks && !same && !sim.has(Bug::IdentityUnchecked) {
                sim.hit("rewritten before it is completed");
                return Completed::Rewritten;
            }
            sim.disk.objects[key].data.clone()
        };
        if self.completion == pipeline::Completion::Track {
            self.sim.borrow_mut().hit("kept, and known again");
            return Completed::Kept;
        }
        step(&self.sim, "complete");
        if wanted.name.0.ends_with(SUFFIX.as_bytes()) {
            let sim = &mut *self.sim.borrow_mut();
            sim.hit("completed again under its completed name");
            super::check::completed(sim, key, &checked);
            sim.disk.objects[key].completed = Some(checked);
            return Completed::Kept;
        }
        self.sim.borrow_mut().complete(wanted, key, checked, self.completion)
    }
}

impl Sim {
    fn complete(
        &mut self,
        wanted: &Completion,
        key: Key,
        checked: Vec<u8>,
        how: pipeline::Completion,
    ) -> Completed {
        let name = String::from_utf8_lossy(&wanted.name.0).into_owned();
        if self.fails(6) {
            let (kind, why) = match self.rng.u8(0..3) {
                0 => ("rename: no space left (ENOSPC)", "no space left on device"),
                1 => ("rename: input/output error (EIO)", "input/output error"),
                _ => ("rename: permission denied (EACCES)", "permission denied"),
            };
            self.hit(kind);
            return Completed::Refused(why.into());
        }
        let Some(&there) = self.disk.names.get(&name) else {
            self.hit("gone before it is completed");
            return Completed::Gone;
        };
        if there != key {
            // Swapped in the instant between the check and the rename: no file system call can prevent it.
            self.say(|| format!("{name} is another file by now"));
            self.disk.objects[there].mistakable = true;
            self.disk.objects[there].disruptions += 1;
        } else {
            if self.disk.objects[key].data != checked {
                self.hit("grew between the check and the rename");
            }
            super::check::completed(self, key, &checked);
            self.disk.objects[key].completed = Some(checked);
        }
        let time = self.disk.time(self.now);
        if how == pipeline::Completion::Delete {
            self.hit("deleted when complete");
            self.say(|| format!("deleted {name}"));
            self.disk.unlink(&name, time);
            self.disk.unsynced.push(Unsynced { name, renamed: None, key: there });
            return Completed::Deleted;
        }
        self.hit("renamed when complete");
        for number in 1.. {
            let tail = if number == 1 { SUFFIX.to_owned() } else { format!(".{number}{SUFFIX}") };
            let target = format!("{name}{tail}");
            if self.disk.names.contains_key(&target) {
                self.hit("completed name taken");
                continue;
            }
            self.say(|| format!("renamed {name} to {target}"));
            self.disk.link(&target, there, time);
            self.disk.unlink(&name, time);
            let renamed = Name::new(target.as_bytes());
            self.disk.unsynced.push(Unsynced { name, renamed: Some(target), key: there });
            return Completed::Renamed(renamed);
        }
        unreachable!("one of the names is free")
    }

    /// The machine goes down: of what was not synced, any part may not have happened; of what writers wrote, the last bytes.
    pub fn lose_power(&mut self) {
        self.hit("power lost");
        (self.lock, self.dropped) = (None, None);
        self.broker.late.retain(|late| !matches!(late, super::broker::Late::Zombie(..)));
        let time = self.disk.time(self.now);
        let unsynced = std::mem::take(&mut self.disk.unsynced);
        for done in unsynced.into_iter().rev() {
            if self.rng.bool() && self.disk.undo(&done, time) {
                self.hit("torn by a loss of power: what completed a file is undone");
                self.say(|| format!("  {} is back", done.name));
            }
        }
        let candidates: Vec<Key> = self.disk.candidates().map(|(_, key)| key).collect();
        if !candidates.is_empty() && self.rng.u8(0..3) == 0 {
            let key = candidates[self.rng.usize(0..candidates.len())];
            self.cut_short(key);
        }
    }
}

//! What others do in the directory while the agents run: write, cut, rewrite, rename, remove, take away and bring back.

use super::broker::{NEIGHBOUR, State};
use super::disk::{Key, SUFFIX};
use super::sim::Sim;

/// Objects of one seed at most.
const OBJECTS: usize = 16;
/// Bytes of a file at most, so that it stays below 100 lines.
const BYTES: usize = 1600;
/// First line of many files, as CSV has it.
const HEADER: &[u8] = b"time,client,status\n";

impl Sim {
    /// Something happens, or nothing.
    pub fn act_outside(&mut self) {
        // Nothing goes on as long as this lasts: not long.
        self.disk.unwritable &= !self.chance(200);
        if self.actions == 0 || !self.chance(90) {
            return;
        }
        self.actions -= 1;
        let candidates: Vec<(String, Key)> = self.disk.candidates().map(|(n, k)| (n.clone(), k)).collect();
        let action = self.rng.u8(0..42);
        if candidates.is_empty() || (action < 12 && self.disk.objects.len() < OBJECTS) {
            return self.drop_file();
        }
        let (name, key) = candidates[self.rng.usize(0..candidates.len())].clone();
        match action {
            0..=19 => self.append(key),
            20..=21 => self.rewrite(key),
            22..=23 => self.truncate(key),
            24..=29 => self.rename_outside(action - 24, &name, key),
            30 => self.take_away(&name, key),
            31 => self.replace(&name),
            32 => self.link_again(key),
            33..=34 => self.toggle(key),
            35 => self.after_completion(),
            36 => self.bring_back(),
            40 => {
                self.disk.unwritable = true;
                self.say(|| "  the directory's permissions change".into());
            }
            41 => self.fill_up(key),
            37 => {
                let gone = !self.disk.gone;
                self.disk.gone = gone;
                self.hit("directory gone");
            }
            38 => {
                let time = self.time();
                self.disk.objects[key].modified = time;
                self.disk.objects[key].changed = time;
                self.hit("touched");
            }
            _ => {
                let open = !self.disk.objects[key].writer;
                self.disk.objects[key].writer = open;
                self.disk.settle(key);
                self.hit("writer pauses with the file open");
            }
        }
    }

    pub fn time(&self) -> i64 {
        self.disk.time(self.now)
    }

    fn serial(&mut self) -> u32 {
        self.disk.serial += 1;
        self.disk.serial
    }

    /// A line that no other file has and this one has once, without its end. Not encoded.
    fn line(&mut self) -> Vec<u8> {
        let max = self.settings.rules.max_line / self.disk.width;
        let mut line = format!("n{}.", self.serial()).into_bytes();
        let long = self.rng.u8(0..60) == 0;
        let length = if long { self.rng.usize(max..max * 4) } else { self.rng.usize(line.len()..=max) };
        if long {
            self.hit("long line");
        }
        while line.len() < length {
            line.push(self.rng.u8(b'a'..=b'z'));
        }
        line
    }

    /// A few lines, sometimes with an unfinished one behind.
    fn text(&mut self, most: usize) -> Vec<u8> {
        let mut text = vec![];
        for _ in 0..self.rng.usize(1..=most) {
            text.extend(self.line());
            text.extend_from_slice(if self.rng.u8(0..8) == 0 { b"\r\n" } else { b"\n" });
            if self.rng.u8(0..20) == 0 {
                text.push(b'\n');
            }
        }
        if self.rng.u8(0..4) == 0 {
            text.extend(self.line());
            self.hit("append without newline");
        }
        self.disk.encoded(&text)
    }

    fn drop_file(&mut self) {
        if self.disk.objects.len() >= OBJECTS {
            return;
        }
        let name = format!("a{}.log", self.serial());
        let (reuse, time) = (self.rng.bool(), self.time());
        let (key, reused) = self.disk.make(vec![], time, reuse);
        let birth = self.disk.stat(key).birth;
        let inode = self.disk.objects[key].inode;
        let twin = self.disk.objects[..key].iter().any(|o| o.inode == inode && o.birth == birth);
        let known = birth.is_some() && !twin;
        if reused {
            self.hit(if known { "inode used again, birth known" } else { "inode used again, birth unknown" });
        }
        self.disk.objects[key].mistakable = reused && !known;
        let most = if self.rng.u8(0..5) == 0 { 40 } else { 6 };
        let kind = self.rng.u8(0..12);
        let mut data = if kind == 0 { vec![] } else { self.text(most) };
        if kind == 0 {
            self.hit("drop an empty file");
        } else if (1..=3).contains(&kind) && !self.disk.objects[key].mistakable {
            self.hit("same head as another");
            data.splice(0..0, self.disk.encoded(HEADER));
        } else if (4..=5).contains(&kind) && !self.disk.objects[key].mistakable {
            let other = self.rng.usize(0..self.disk.objects.len());
            data.splice(0..0, self.disk.objects[other].data.clone());
            data.truncate(BYTES);
            if self.rng.bool() {
                data = self.disk.objects[other].data.clone();
            }
            self.hit("same bytes as another");
            (self.disk.objects[key].copied, self.disk.objects[other].copied) = (true, true);
        } else if kind == 6 {
            self.hit("compressed");
            data = b"\x1f\x8b\x08 and so on\n".to_vec();
        }
        self.disk.write(key, data, time);
        let object = &mut self.disk.objects[key];
        object.writer = self.rng.u8(0..4) == 0;
        object.foreign = self.rng.u8(0..4) == 0;
        object.special = kind == 7;
        if kind == 7 {
            self.hit("not a regular file");
        }
        if self.rng.u8(0..10) == 0 {
            self.hit("completed name taken before");
            let content = self.disk.encoded(b"not ours\n");
            let (other, _) = self.disk.make(content, time, false);
            self.disk.link(&format!("{name}{SUFFIX}"), other, time);
            self.disk.objects[other].copied = true;
        }
        self.disk.link(&name, key, time);
        self.hit("drop a file");
        let size = self.disk.objects[key].data.len();
        self.say(|| format!("  {name} is #{inode} (object {key}), {size} bytes"));
    }

    fn append(&mut self, key: Key) {
        let object = &self.disk.objects[key];
        if object.data.len() > BYTES || object.is_junk() {
            return;
        }
        let mut data = object.data.clone();
        if self.rng.u8(0..4) == 0 {
            data.extend(self.disk.encoded(b"\n"));
        } else {
            data.extend(self.text(5));
        }
        self.change(key, data, false);
        self.hit("append");
    }

    /// A writer on a full disk: only a part of what it writes is there, and it goes on when there is room again.
    fn fill_up(&mut self, key: Key) {
        let object = &self.disk.objects[key];
        if object.data.len() > BYTES || object.is_junk() {
            return;
        }
        let mut data = object.data.clone();
        let text = self.text(3);
        let fits = self.disk.whole(self.rng.usize(0..text.len()));
        data.extend_from_slice(&text[..fits]);
        self.change(key, data, false);
        self.hit("append cut short by a full disk (ENOSPC)");
    }

    /// The last bytes that were written are gone.
    pub fn cut_short(&mut self, key: Key) {
        if self.disk.objects[key].is_junk() {
            return;
        }
        self.hit("torn by a loss of power: a writer's last bytes are gone");
        let mut data = self.disk.objects[key].data.clone();
        data.truncate(data.len() - self.disk.whole(self.rng.usize(0..=data.len().min(60))));
        self.change(key, data, true);
    }

    /// New content for an object.
    fn change(&mut self, key: Key, data: Vec<u8>, disrupts: bool) {
        let time = self.time();
        self.disk.objects[key].disruptions += u32::from(disrupts);
        self.disk.write(key, data, time);
        let (inode, size) = (self.disk.objects[key].inode, self.disk.objects[key].data.len());
        self.say(|| format!("  #{inode} (object {key}) has {size} bytes"));
    }

    fn rewrite(&mut self, key: Key) {
        let old = self.disk.objects[key].data.clone();
        let mut data = vec![];
        while data.len() < old.len() {
            let line = [self.line(), vec![b'\n']].concat();
            data.extend(self.disk.encoded(&line));
        }
        data.truncate(old.len());
        self.change(key, data, true);
        self.hit("rewritten in place, same size");
    }

    fn truncate(&mut self, key: Key) {
        if self.disk.objects[key].is_junk() {
            return;
        }
        let old = self.disk.objects[key].data.clone();
        let length = if self.rng.bool() { 0 } else { self.disk.whole(self.rng.usize(0..=old.len())) };
        let mut data = old[..length].to_vec();
        if length < old.len() && self.rng.u8(0..4) == 0 {
            // A writer without O_APPEND goes on where it was.
            data.resize(old.len(), 0);
            data.extend(self.text(2));
            self.disk.objects[key].holes += 1;
            self.hit("hole behind a truncation");
        }
        self.change(key, data, true);
        self.hit("truncated");
        if self.rng.bool() {
            self.append(key);
        }
    }

    fn rename_outside(&mut self, how: u8, name: &str, key: Key) {
        let time = self.time();
        let others: Vec<String> = self.disk.candidates().map(|(n, _)| n.clone()).filter(|n| n != name).collect();
        let other = (!others.is_empty()).then(|| others[self.rng.usize(0..others.len())].clone());
        match (how, other) {
            (0, Some(other)) => {
                let theirs = self.disk.names.insert(other.clone(), key).expect("it is listed");
                self.disk.names.insert(name.to_owned(), theirs);
                self.disk.changed = time;
                self.hit("names swapped");
                self.say(|| format!("  {name} and {other}"));
            }
            (1, Some(other)) if self.disk.names[&other] != key => {
                self.disk.link(&other, key, time);
                self.disk.unlink(name, time);
                self.hit("renamed over another");
                self.say(|| format!("  {name} over {other}"));
            }
            _ => {
                let new = format!("b{}.log", self.serial());
                self.disk.link(&new, key, time);
                self.disk.unlink(name, time);
                self.hit("renamed inside");
                self.say(|| format!("  {name} to {new}"));
            }
        }
    }

    fn take_away(&mut self, name: &str, key: Key) {
        let time = self.time();
        if self.rng.bool() {
            self.disk.objects[key].links += 1;
            self.disk.elsewhere.insert(name.to_owned(), key);
            self.hit("moved out");
        } else {
            self.hit("deleted");
        }
        self.disk.unlink(name, time);
        self.say(|| format!("  {name}"));
    }

    /// Deleted, and at once another file is there, with the same inode number if nothing holds it.
    fn replace(&mut self, name: &str) {
        let time = self.time();
        self.disk.unlink(name, time);
        self.hit("deleted");
        self.say(|| format!("  {name}"));
        self.drop_file();
    }

    fn link_again(&mut self, key: Key) {
        let (name, time) = (format!("c{}.log", self.serial()), self.time());
        self.disk.link(&name, key, time);
        self.hit("second hard link");
        self.say(|| format!("  {name} to object {key}"));
    }

    fn toggle(&mut self, key: Key) {
        let damage = self.rng.bool();
        let object = &mut self.disk.objects[key];
        if damage {
            object.damaged = !object.damaged;
        } else {
            object.refused = !object.refused;
            object.changed += 1;
        }
    }

    /// A writer that held on, or somebody who tidies up.
    fn after_completion(&mut self) {
        let done: Vec<String> = self.disk.names.keys().filter(|n| n.ends_with(SUFFIX)).cloned().collect();
        if done.is_empty() {
            return;
        }
        let name = done[self.rng.usize(0..done.len())].clone();
        if self.rng.u8(0..3) == 0 {
            let key = self.disk.names[&name];
            // A hard link under another name would rightly be read on.
            if self.disk.objects[key].links == 1 {
                self.append(key);
                self.hit("grew after it was renamed");
            }
        } else {
            let time = self.time();
            self.disk.unlink(&name, time);
            self.hit("deleted");
            self.say(|| format!("  {name}"));
        }
    }

    fn bring_back(&mut self) {
        let Some(name) = self.disk.elsewhere.keys().next().cloned() else { return };
        let time = self.time();
        let key = self.disk.elsewhere.remove(&name).expect("it is there");
        let back = format!("d{}.log", self.serial());
        self.disk.link(&back, key, time);
        self.disk.unlinked(key, time);
        self.hit("moved in again");
        self.say(|| format!("  {name} as {back}"));
    }

    /// Everything that stands in the way is set right, so that all can drain.
    pub fn set_right(&mut self) {
        (self.faults, self.actions) = (0, 0);
        (self.disk.gone, self.disk.unwritable) = (false, false);
        self.broker.largest = usize::MAX;
        self.broker.away_until = self.now;
        self.broker.end(NEIGHBOUR, State::Aborted);
        self.drain_since = Some(self.now);
        let time = self.time();
        for key in 0..self.disk.objects.len() {
            let object = &mut self.disk.objects[key];
            (object.writer, object.refused, object.damaged) = (false, false, false);
            object.changed = time;
        }
        let junk = self.disk.candidates().filter(|(_, key)| self.disk.objects[*key].is_junk());
        let names: Vec<String> = junk.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.disk.unlink(&name, time);
        }
        self.say(|| "everything is set right: it is to drain".into());
    }
}

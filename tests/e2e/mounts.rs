//! Spool directories on file systems of their own: full, read-only, taken away and brought back. In mount namespaces, which need root;
//! nothing is mounted outside of them, and all of it ends with its test.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use spoolway::pipeline::report::FlowReason;

use super::agent::Agent;
use super::check::{Content, Written, exactly};
use super::job::{Job, Plan};
use super::network::{RATE, random_lines};
use super::{bed, skipped, until};

const SOON: Duration = Duration::from_secs(60);
const LATE: Duration = Duration::from_secs(180);
const TRACK: &str = "settleTime: 300ms, pollDelay: 50ms, completion: Track";

/// A mount namespace: a process that is in it, and ends when its input does, with this one.
struct Namespace(Child);

impl Namespace {
    /// `None`, and said so, where it cannot be had.
    fn new() -> Option<Namespace> {
        if !rustix::process::geteuid().is_root() {
            skipped("root is needed to mount");
            return None;
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let Ok(child) = command.spawn() else {
            skipped("unshare is not there");
            return None;
        };
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        let pid = child.id().to_string();
        // It is in its namespace before it becomes `cat`.
        let name = || fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "cat\n");
        until("the namespace is there", SOON, || (name() && of(&pid) != of("self")).then_some(()));
        Some(Namespace(child))
    }

    fn enter(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.0.id())).arg("--").arg(program);
        command
    }

    fn run(&self, program: &str, args: &[&OsStr]) {
        let out = self.enter(program).args(args).output().unwrap();
        assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }

    fn mount(&self, options: &str, args: &[&Path]) {
        let options = options.split(' ').map(OsStr::new);
        self.run("mount", &options.chain(args.iter().map(|path| path.as_os_str())).collect::<Vec<_>>());
    }

    fn unmount(&self, path: &Path) {
        // The agent has it open: it goes from the tree now, and for good when nobody has it any more.
        self.run("umount", &["--lazy".as_ref(), path.as_os_str()]);
    }

    fn start(&self, job: &Job) -> Agent {
        let binary = self.enter(env!("CARGO_BIN_EXE_spoolway"));
        Agent::start_by(binary, &job.manifest, &["--http", "127.0.0.1:0"])
    }

    /// What the namespace has at this path.
    fn at(&self, path: &Path) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.0.id())).join(path.strip_prefix("/").unwrap())
    }

    fn put(&self, job: &Job, name: &str, content: &str) -> Written {
        let (new, path) = (self.at(&job.path(b".new")), self.at(&job.path(name.as_bytes())));
        fs::write(&new, content).unwrap();
        fs::rename(new, path).unwrap();
        Written::new(name.as_bytes(), Content::Bytes(content.as_bytes().to_vec()))
    }

    fn completed(&self, job: &Job) -> usize {
        let entries = fs::read_dir(self.at(&job.spool)).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().file_name().as_bytes().ends_with(b".COMPLETED")).count()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file with an ext4 file system of so many MiB; `None`, and said so, where it cannot be made.
fn image(job: &Job, name: &str, mebibytes: u64) -> Option<PathBuf> {
    let path = job.home().join(name);
    File::create(&path).unwrap().set_len(mebibytes << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&path).status();
    if !made.is_ok_and(|status| status.success()) || !Path::new("/dev/loop-control").exists() {
        skipped("mkfs.ext4 and loop devices are needed");
        return None;
    }
    Some(path)
}

#[test]
fn a_read_only_mount_is_told_at_the_start_and_track_ships_from_it() {
    let Some(bed) = bed::shared() else { return };
    let Some(namespace) = Namespace::new() else { return };
    let job = Job::new(bed, "readonly", &Plan::default());
    let written = job.put(b"a.log", b"one\ntwo\n");
    namespace.mount("--bind", &[&job.spool, &job.spool]);
    namespace.mount("-o remount,ro,bind", &[&job.spool]);
    let agent = namespace.start(&job);
    let report = agent.reports("it is told", SOON, |r| r.reason == FlowReason::CannotComplete);
    insta::assert_snapshot!(job.redact(&report.message));
    assert_eq!(job.lines().len(), 0, "before anything is shipped");
    fs::write(&job.manifest, job.text(&Plan { source: TRACK, ..Plan::default() }, "")).unwrap();
    agent.drained(1, SOON);
    assert_eq!(job.shown(), ["a.log"]);
    exactly(&job, &[written]);
}

/// Fills the file system to its last byte; the file to remove.
fn fill(namespace: &Namespace, job: &Job) -> PathBuf {
    let path = namespace.at(&job.path(b"fill.tmp"));
    let mut file = File::create(&path).unwrap();
    for size in [1 << 16, 1] {
        let block = vec![b'x'; size];
        while file.write_all(&block).is_ok() {}
    }
    let full = fs::write(namespace.at(&job.path(b"more.tmp")), "x").unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
    path
}

#[test]
fn on_a_full_disk_all_is_shipped_and_completed_and_what_comes_later_too() {
    let Some(bed) = bed::shared() else { return };
    let Some(namespace) = Namespace::new() else { return };
    let source = "settleTime: 2s, pollDelay: 50ms";
    for kind in ["tmpfs", "ext4"] {
        let job = Job::new(bed, &format!("full{kind}"), &Plan { source, ..Plan::default() });
        if kind == "tmpfs" {
            namespace.mount("-t tmpfs -o size=2m tmpfs", &[&job.spool]);
        } else {
            let Some(image) = image(&job, "disk", 4) else { return };
            namespace.mount("-o loop", &[&image, &job.spool]);
        }
        let mut written: Vec<_> =
            (0..50).map(|n| namespace.put(&job, &format!("{n}.log"), &format!("line of {n}\n"))).collect();
        let grows = namespace.at(&job.path(b"grows.log"));
        fs::write(&grows, "before\n").unwrap();
        let filler = fill(&namespace, &job);
        let agent = namespace.start(&job);
        agent.reports("all is shipped and renamed or told", SOON, |r| r.totals.files + r.totals.set_aside >= 51);
        // Whoever waits for room writes on when there is some.
        fs::remove_file(filler).unwrap();
        until("all are completed", SOON, || (namespace.completed(&job) == 51).then_some(()));
        written.push(Written::of(b"grows.log", "before\n"));
        written.push(namespace.put(&job, "later.log", "later\n"));
        agent.drained(52, SOON);
        assert_eq!(agent.report().totals.set_aside, 0);
        exactly(&job, &written);
        drop(agent);
        namespace.unmount(&job.spool);
    }
}

#[test]
fn a_line_cut_short_by_a_full_disk_is_finished_when_there_is_room() {
    let Some(bed) = bed::shared() else { return };
    let Some(namespace) = Namespace::new() else { return };
    let source = "settleTime: 3s, pollDelay: 50ms";
    let job = Job::new(bed, "cutshort", &Plan { source, ..Plan::default() });
    namespace.mount("-t tmpfs -o size=1m tmpfs", &[&job.spool]);
    let agent = namespace.start(&job);
    let mut writer = File::create(namespace.at(&job.path(b"a.log"))).unwrap();
    let line = format!("{}\n", "0123456789".repeat(1000));
    let mut content = vec![];
    let rest = loop {
        let mut rest = line.as_bytes();
        let failed = loop {
            match writer.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(e) => break Some(e),
            }
            if rest.is_empty() {
                break None;
            }
        };
        content.extend_from_slice(&line.as_bytes()[..line.len() - rest.len()]);
        match failed {
            Some(e) => assert_eq!(e.kind(), ErrorKind::StorageFull),
            None => continue,
        }
        break rest;
    };
    let whole = content.iter().filter(|byte| **byte == b'\n').count() as u64;
    agent.reports("all whole lines are shipped", SOON, |r| r.totals.records == whole);
    assert!(!rest.is_empty() && rest.len() < line.len(), "the disk was full in the middle of a line");
    namespace.mount("-o remount,size=2m", &[&job.spool]);
    writer.write_all(rest).unwrap();
    content.extend_from_slice(rest);
    drop(writer);
    agent.drained(1, SOON);
    exactly(&job, &[Written::of(b"a.log", content)]);
}

#[test]
fn a_file_system_unmounted_and_mounted_again_under_another_device_number_is_not_sent_again() {
    let Some(bed) = bed::shared() else { return };
    let Some(namespace) = Namespace::new() else { return };
    let job = Job::new(bed, "remounted", &Plan { source: TRACK, ..Plan::default() });
    let Some(disk) = image(&job, "disk", 4) else { return };
    namespace.mount("-o loop", &[&disk, &job.spool]);
    namespace.put(&job, "a.log", "one\n");
    namespace.put(&job, "b.log", "two\n");
    let device = || std::os::unix::fs::MetadataExt::dev(&fs::metadata(namespace.at(&job.spool)).unwrap());
    let before = device();
    let agent = namespace.start(&job);
    agent.drained(2, SOON);
    // Something else takes its loop device. Other tests take some and leave some too, so it may need another turn.
    for turn in 0.. {
        namespace.unmount(&job.spool);
        until("the agent lets go of it", SOON, || loop_of(&disk).is_none().then_some(()));
        agent.reports("an empty directory is no trouble", SOON, |r| r.reason == FlowReason::Idle);
        let Some(other) = image(&job, &format!("other-{turn}"), 4) else { return };
        let elsewhere = job.home().join(format!("elsewhere-{turn}"));
        fs::create_dir(&elsewhere).unwrap();
        namespace.mount("-o loop", &[&other, &elsewhere]);
        namespace.mount("-o loop", &[&disk, &job.spool]);
        if device() != before {
            break;
        }
    }
    namespace.put(&job, "c.log", "three\n");
    fs::OpenOptions::new()
        .append(true)
        .open(namespace.at(&job.path(b"a.log")))
        .unwrap()
        .write_all(b"four\n")
        .unwrap();
    until("what is new arrives", SOON, || (bed.count(&job.topic) >= 4).then_some(()));
    // And once more, with nobody there meanwhile.
    drop(agent);
    let agent = namespace.start(&job);
    namespace.put(&job, "d.log", "five\n");
    until("it goes on", SOON, || (bed.count(&job.topic) >= 5).then_some(()));
    agent.reports("it is at rest", SOON, |r| r.reason == FlowReason::Idle && r.backlog.bytes == 0);
    let mut lines = job.lines();
    lines.sort();
    assert_eq!(lines, ["five", "four", "one", "three", "two"]);
}

/// Of a large file on a slow link, many transactions.
const SMALL: Plan = Plan {
    partitions: 1,
    source: "settleTime: 300ms, pollDelay: 50ms",
    sink: "",
    delivery: "commitInterval: 200ms, maxTransactionBytes: 256Ki",
};

/// An agent in the middle of a large file, on a link so slow that it stays there for a while.
fn half_read<'b>(namespace: &Namespace, job: Job<'b>, disk: &Path) -> (Job<'b>, Agent, Written) {
    let job = job.slowly(RATE);
    namespace.mount("-o loop", &[disk, &job.spool]);
    let content = String::from_utf8(random_lines(3 << 20)).unwrap();
    let written = namespace.put(&job, "large.log", &content);
    let agent = namespace.start(&job);
    agent.shipping();
    (job, agent, written)
}

#[test]
fn a_disk_that_turns_read_only_in_the_middle_of_a_file_costs_a_rename_and_that_is_made_up_for() {
    let Some(bed) = bed::shared() else { return };
    let Some(namespace) = Namespace::new() else { return };
    let job = Job::new(bed, "turnsreadonly", &SMALL);
    let Some(disk) = image(&job, "disk", 16) else { return };
    let (job, agent, written) = half_read(&namespace, job, &disk);
    namespace.mount("-o remount,ro", &[&job.spool]);
    let report =
        agent.reports("it is told", LATE, |r| r.reason == FlowReason::CannotComplete || r.totals.set_aside == 1);
    // Of the file alone, or of the directory where Kafka was opened anew by then.
    let said = report.set_aside.first().map_or(&report.message, |aside| &aside.message);
    assert!(said.contains("mount it writable, or set completion: Track"), "{said}");
    assert_eq!(namespace.completed(&job), 0);
    namespace.mount("-o remount,rw", &[&job.spool]);
    let later = namespace.put(&job, "later.log", "later\n");
    until("both are completed", LATE, || (namespace.completed(&job) == 2).then_some(()));
    exactly(&job, &[written, later]);
}

#[test]
fn a_disk_unmounted_in_the_middle_of_a_file_is_read_on_when_it_is_back() {
    let Some(bed) = bed::shared() else { return };
    let Some(namespace) = Namespace::new() else { return };
    let job = Job::new(bed, "goesmidway", &SMALL);
    let Some(disk) = image(&job, "disk", 16) else { return };
    let (job, agent, large) = half_read(&namespace, job, &disk);
    namespace.unmount(&job.spool);
    until("the agent lets go of it", LATE, || loop_of(&disk).is_none().then_some(()));
    assert!(agent.report().totals.bytes < 3 << 20, "in the middle of the file");
    // What is beneath the mount is a directory like any other.
    let meanwhile = namespace.put(&job, "meanwhile.log", "on another disk\n");
    agent.reports("it goes on there", SOON, |r| r.totals.files == 1);
    namespace.mount("-o loop", &[&disk, &job.spool]);
    until("it is read on and completed", LATE, || (namespace.completed(&job) == 1).then_some(()));
    exactly(&job, &[large, meanwhile]);
}

/// The loop device that a file is behind.
fn loop_of(image: &Path) -> Option<String> {
    let out = Command::new("losetup").arg("-j").arg(image).output().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    said.split(':').next().filter(|device| !device.is_empty()).map(str::to_owned)
}

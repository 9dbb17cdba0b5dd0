//! Many files at once, odd clocks, things that are no files, and directories that nobody expected.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use spoolway::pipeline::report::FlowReason;

use super::agent::Agent;
use super::bad_input::{as_somebody, mode};
use super::check::{Written, exactly};
use super::corpus;
use super::growing::{append, open};
use super::job::{Job, Plan};
use super::{bed, skipped, until};

const SOON: Duration = Duration::from_secs(60);
const QUICK: &str = "settleTime: 300ms, pollDelay: 50ms";

#[test]
fn twenty_thousand_small_files_arrive_once_each() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "crowd", &Plan { partitions: 3, ..Plan::default() });
    let written: Vec<Written> = (0..20_000)
        .map(|n| {
            let (name, line) = (format!("{n:05}.log"), format!("the line of {n}\n"));
            fs::write(job.path(name.as_bytes()), &line).unwrap();
            Written::of(name.as_bytes(), line)
        })
        .collect();
    let agent = job.start();
    agent.drained(20_000, Duration::from_secs(120));
    assert_eq!(job.completed(), 20_000);
    exactly(&job, &written);
}

#[test]
fn a_file_that_grows_all_the_time_does_not_keep_small_ones_waiting() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 3s, pollDelay: 50ms, maxOpenFiles: 4";
    let job = Job::new(bed, "fair", &Plan { source, partitions: 3, ..Plan::default() });
    let agent = job.start();
    let mut grown = String::new();
    let mut grow = |n: u64| {
        let part = String::from_utf8(corpus::lines(n, 0, 2000)).unwrap();
        append(&job, b"grows.log", &part);
        grown += &part;
    };
    grow(0);
    let mut written: Vec<_> =
        (1..=100).map(|n| job.put(format!("{n:03}.log").as_bytes(), &corpus::lines(n, 0, 3))).collect();
    for n in 1.. {
        grow(n);
        if job.completed() == 100 {
            break;
        }
        assert!(n < 2000, "{} of 100 small files are complete", job.completed());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(job.path(b"grows.log").exists(), "it was written to all the time");
    written.push(Written::of(b"grows.log", grown));
    agent.drained(101, SOON);
    exactly(&job, &written);
}

#[test]
fn files_of_one_time_go_by_name_and_one_from_the_future_waits_for_nobody() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 300ms, pollDelay: 50ms, maxOpenFiles: 1";
    let job = Job::new(bed, "clocks", &Plan { source, ..Plan::default() });
    let (hour, now) = (Duration::from_secs(3600), SystemTime::now());
    let times = [
        ("future.log", now + hour * 24 * 3650),
        ("c.log", now),
        ("b.log", now),
        ("a.log", now),
        ("ancient.log", SystemTime::UNIX_EPOCH - hour * 24 * 365),
    ];
    let written = times.map(|(name, time)| {
        let written = job.put(name.as_bytes(), format!("{name}\n").as_bytes());
        File::options().write(true).open(job.path(name.as_bytes())).unwrap().set_modified(time).unwrap();
        written
    });
    let agent = job.start();
    let report = agent.drained(5, SOON);
    assert_eq!(job.lines(), ["ancient.log", "a.log", "b.log", "c.log", "future.log"]);
    assert!(report.flowing);
    exactly(&job, &written);
}

#[test]
fn what_is_no_file_holds_nothing_up_and_its_name_may_be_a_files_later() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "fifo", &Plan::default());
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, job.path(b"a.log"), fifo, 0o644.into(), 0).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", job.path(b"b.log")).unwrap();
    let agent = job.start();
    let mut written = vec![job.put(b"c.log", b"three\n")];
    let report = agent.reports("two are aside", SOON, |r| r.totals.set_aside == 2 && r.totals.files == 1);
    assert!(report.set_aside.iter().all(|aside| aside.reason == "NotARegularFile"), "{report:#?}");
    for name in [b"a.log", b"b.log"] {
        written.push(job.put(name, b"a file by now\n"));
    }
    let report = agent.drained(3, SOON);
    assert_eq!(report.totals.set_aside, 0);
    exactly(&job, &written);
}

#[test]
fn in_a_sticky_directory_another_users_file_is_shipped_once_and_said_to_stay() {
    let Some(bed) = bed::shared() else { return };
    if !rustix::process::geteuid().is_root() {
        return skipped("root is needed to give a file to somebody else");
    }
    let job = Job::new(bed, "sticky", &Plan::default());
    mode(&job.spool, 0o1777);
    let written = job.put(b"a.log", b"one\n");
    mode(&job.path(b"a.log"), 0o644);
    for _ in 0..2 {
        let Some(agent) = as_somebody(&job) else { return };
        let report = agent.reports("it is told", SOON, |r| r.totals.set_aside == 1);
        let aside = &report.set_aside[0];
        assert_eq!((aside.reason.as_str(), aside.position), ("CannotComplete", 4), "{aside:?}");
        assert!(report.flowing);
    }
    exactly(&job, std::slice::from_ref(&written));
    mode(&job.spool, 0o777);
    let Some(_agent) = as_somebody(&job) else { return };
    until("it is complete", SOON, || (job.completed() == 1).then_some(()));
    exactly(&job, &[written]);
}

#[test]
fn a_node_that_got_an_empty_disk_ships_all_that_is_put_there() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 2s, pollDelay: 50ms";
    let job = Job::new(bed, "emptydisk", &Plan { source, ..Plan::default() });
    let agent = job.start();
    let mut written = vec![job.put(b"a.log", b"one\ntwo\n")];
    agent.drained(1, SOON);
    written.push(job.put(b"b.log", b"three\n").unfinished());
    agent.reports("it is half shipped", SOON, |r| r.totals.records == 3);
    agent.kill();
    fs::remove_dir_all(&job.spool).unwrap();
    fs::create_dir(&job.spool).unwrap();
    // The old names, other files.
    job.put(b"a.log", b"of the new disk\n");
    job.put(b"b.log", b"three\n");
    job.start().drained(2, SOON);
    let mut lines = job.lines()[3..].to_vec();
    lines.sort();
    assert_eq!(lines, ["of the new disk", "three"]);
}

#[test]
fn a_pattern_that_matches_nothing_is_idle_and_ready() {
    let Some(bed) = bed::shared() else { return };
    let source = format!("{QUICK}, includePattern: '.*[.]csv'");
    let job = Job::new(bed, "nomatch", &Plan { source: &source, ..Plan::default() });
    job.put(b"a.log", b"one\n");
    let agent = job.start();
    let report = agent.reports("it is idle", SOON, |r| r.reason == FlowReason::Idle);
    assert_eq!((agent.get("/readyz").0, report.backlog.files), (200, 0));
    assert_eq!((job.shown(), job.lines().len()), (vec!["a.log".to_owned()], 0));
}

#[test]
fn where_no_inotify_is_to_be_had_polling_finds_everything() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "noinotify", &Plan::default());
    let limit = "/proc/sys/user/max_inotify_instances";
    let script = format!("echo 0 > {limit} && test \"$(cat {limit})\" = 0 && exec \"$@\"");
    let unshare = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["-Ur", "sh", "-c", &script, "sh", program]);
        command
    };
    if !unshare("true").status().is_ok_and(|status| status.success()) {
        return skipped("no user namespace is to be had, or unshare is not there");
    }
    let agent = Agent::start_by(unshare(env!("CARGO_BIN_EXE_spoolway")), &job.manifest, &["--http", "127.0.0.1:0"]);
    agent.reports("it runs", SOON, |r| r.flowing);
    let mut written = vec![job.put(b"a.log", b"one\n")];
    agent.drained(1, SOON);
    // Open, so that it is not complete before it has all, however long that takes.
    let mut writer = open(&job, b"b.log");
    writer.write_all(b"two\n").unwrap();
    agent.reports("it is found", SOON, |r| r.totals.records == 2);
    writer.write_all(b"three\n").unwrap();
    drop(writer);
    written.push(Written::of(b"b.log", "two\nthree\n"));
    agent.drained(2, SOON);
    exactly(&job, &written);
}

#[test]
fn directories_that_come_and_go_during_the_walk_do_not_end_it() {
    let Some(bed) = bed::shared() else { return };
    let source = format!("{QUICK}, recursive: true");
    let job = Job::new(bed, "comeandgo", &Plan { source: &source, ..Plan::default() });
    let agent = job.start();
    let mut written = vec![];
    for n in 0..60 {
        let (gone, kept) = (format!("gone-{n}/deep/er"), format!("kept-{n}"));
        fs::create_dir_all(job.spool.join(&gone)).unwrap();
        fs::create_dir(job.spool.join(&kept)).unwrap();
        written.push(job.put(format!("{kept}/x.log").as_bytes(), format!("in {kept}\n").as_bytes()));
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..40)));
        fs::remove_dir_all(job.spool.join(format!("gone-{n}"))).unwrap();
    }
    let report = agent.drained(60, SOON);
    assert_eq!((report.totals.set_aside, report.totals.retries), (0, 0), "{report:#?}");
    exactly(&job, &written);
}

/// Modes of what a test leaves behind do not matter; that they can be read does.
#[test]
fn a_file_whose_mode_is_taken_away_while_it_is_half_read_goes_on_when_it_is_given_back() {
    let Some(bed) = bed::shared() else { return };
    let source = "settleTime: 15s, pollDelay: 50ms"; // no lease here: it is another user's
    let job = Job::new(bed, "modes", &Plan { source, ..Plan::default() });
    mode(&job.spool, 0o777);
    job.put(b"a.log", b"one\n");
    mode(&job.path(b"a.log"), 0o644);
    let Some(agent) = as_somebody(&job) else { return };
    agent.reports("it is half shipped", SOON, |r| r.totals.records == 1);
    mode(&job.path(b"a.log"), 0);
    assert_eq!(bits(&job.path(b"a.log")), 0);
    if rustix::process::geteuid().is_root() {
        append(&job, b"a.log", "two\n");
    }
    let report = agent.reports("it is set aside", SOON, |r| r.totals.set_aside == 1);
    assert_eq!((report.set_aside[0].reason.as_str(), report.set_aside[0].position), ("PermissionDenied", 4));
    mode(&job.path(b"a.log"), 0o644);
    agent.drained(1, SOON);
    let content = fs::read(job.path(b"a.log.COMPLETED")).unwrap();
    exactly(&job, &[Written::of(b"a.log", content)]);
    let names: HashSet<_> = job.shown().into_iter().collect();
    assert_eq!(names, HashSet::from(["a.log.COMPLETED".to_owned()]));
}

fn bits(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

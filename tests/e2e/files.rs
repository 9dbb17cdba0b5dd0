//! Files as they come: awkward bytes, awkward names, things that are no files.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use super::bed;
use super::check::{Written, exactly};
use super::job::{Job, Plan};

#[test]
fn awkward_bytes_arrive_unchanged_and_each_file_gets_its_receipt() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "bytes", &Plan { partitions: 3, ..Plan::default() });
    let contents: &[(&[u8], &[u8])] = &[
        (b"no-final-newline", b"one\ntwo"),
        (b"empty", b""),
        (b"only-newlines", b"\n\n\n"),
        (b"crlf", b"one\r\ntwo\r\n\r\nfour\r"),
        (b"lone-cr", b"a\rb\n\rc\n\r\r\n"),
        (b"nul", b"\0\na\0b\n\0"),
        (b"not-utf-8", b"\xff\xfe\n\xed\xa0\x80\n\x80"),
        (b"bom", b"\xef\xbb\xbffirst\n\xef\xbb\xbf\n"),
        (b"tabs", b"Partition:0\tOffset:7\tnot ours\nnull\n"),
        (b"same-a", b"the same bytes\n"),
        (b"same-b", b"the same bytes\n"),
    ];
    let mut written: Vec<Written> = contents.iter().map(|(name, content)| job.put(name, content)).collect();
    // A line end on either side of every border that a chunk of a mebibyte can have.
    for (shift, end) in [(0, "\n"), (1, "\n"), (0, "\r\n"), (1, "\r\n"), (2, "\r\n")] {
        let mut content = vec![b'x'; (1 << 20) - 600_000 - shift];
        content.extend_from_slice(end.as_bytes());
        content.extend_from_slice(&vec![b'y'; 600_000 - 1]);
        content.extend_from_slice(end.as_bytes());
        content.extend_from_slice("é\n".repeat(4).as_bytes());
        written.push(job.put(format!("border-{shift}-{}", end.len()).as_bytes(), &content));
    }
    let ended = job.once();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(job.completed(), written.len(), "{:?}", job.shown());
    exactly(&job, &written);
}

#[test]
fn awkward_names_are_shipped_renamed_and_never_printed_raw() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "names", &Plan::default());
    let long = vec![b'n'; 255];
    let names: &[&[u8]] = &[
        b"with space.log",
        b" ",
        b"new\nline",
        b"\x1b[31mred",
        b"not-utf-8-\xff\xfe",
        "bidi-\u{202e}gol.log".as_bytes(),
        b"%s%n",
        b"{\"json\": 1}",
        b"-rf",
        b"<script>",
        b"a\\b",
        &long,
    ];
    let written: Vec<Written> =
        names.iter().map(|name| job.put(name, &[b"in ", *name, b"\n"].concat().replace_line_ends())).collect();
    let ended = job.once();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(job.completed(), names.len(), "{:?}", job.shown());
    assert!(job.names().contains(&b"not-utf-8-\xff\xfe.COMPLETED".to_vec()));
    for text in [&ended.out, &ended.err] {
        assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{text:?}");
    }
    exactly(&job, &written);
}

trait Lines {
    fn replace_line_ends(self) -> Vec<u8>;
}

impl Lines for Vec<u8> {
    /// All but the last, so that a file holds one line.
    fn replace_line_ends(mut self) -> Vec<u8> {
        let last = self.len() - 1;
        self[..last].iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b'_');
        self
    }
}

#[test]
fn what_is_no_file_is_set_aside_by_name_and_the_rest_ships() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "nofiles", &Plan::default());
    let secret = job.home().join("secret");
    fs::write(&secret, "canary\n").unwrap();
    symlink(&secret, job.path(b"link.log")).unwrap();
    symlink("nowhere", job.path(b"dangling\n.log")).unwrap();
    symlink(".", job.path(b"loop")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, job.path(b"fifo.log"), fifo, 0o644.into(), 0).unwrap();
    let _socket = UnixListener::bind(job.path(b"socket.log")).unwrap();
    fs::create_dir(job.path(b"directory.log")).unwrap();
    fs::write(job.path(b"directory.log").join(OsStr::from_bytes(b"inside.log")), "not recursive\n").unwrap();
    fs::write(job.path(b"being-copied.tmp"), "ignored\n").unwrap();
    fs::write(job.path(b".hidden"), "ignored\n").unwrap();
    fs::write(job.path(b"packed.log"), b"\x1f\x8b\x08\0\0\0\0\0").unwrap();
    let written = job.put(b"good.log", b"one\n");
    let ended = job.once();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    insta::assert_snapshot!(job.redact(&ended.out));
    exactly(&job, &[written]);
    assert_eq!(job.completed(), 1, "{:?}", job.shown());
}

#[test]
fn a_taken_name_is_never_overwritten() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "taken", &Plan::default());
    fs::write(job.path(b"x.csv.COMPLETED"), "somebody's\n").unwrap();
    let first = job.put(b"x.csv", b"one\n");
    assert_eq!(job.once().code, Some(0));
    assert_eq!(job.shown(), ["x.csv.2.COMPLETED", "x.csv.COMPLETED"]);
    assert_eq!(fs::read(job.path(b"x.csv.COMPLETED")).unwrap(), b"somebody's\n");
    exactly(&job, &[first]);
    fs::write(job.path(b"x.csv"), "two\n").unwrap();
    assert_eq!(job.once().code, Some(0));
    assert_eq!(job.shown(), ["x.csv.2.COMPLETED", "x.csv.3.COMPLETED", "x.csv.COMPLETED"]);
    assert_eq!(fs::read(job.path(b"x.csv.2.COMPLETED")).unwrap(), b"one\n");
}

#[test]
fn long_lines_are_split_and_counted_and_their_neighbours_pass() {
    let Some(bed) = bed::shared() else { return };
    let plan = Plan { source: "settleTime: 300ms, maxLineBytes: 10", ..Plan::default() };
    let job = Job::new(bed, "longlines", &plan);
    let mut agent = job.start();
    fs::write(job.path(b"a.log"), b"0123456789\n0123456789ab\nshort\n0123456789\r\n").unwrap();
    let report = agent.drained(1, Duration::from_secs(60));
    assert_eq!((report.totals.records, report.totals.long_lines), (5, 1));
    assert!(agent.is_running());
    let mut values = vec![];
    bed.read(&job.topic, bed::Reader::Fast, |record| values.push(record.value.to_vec()));
    assert_eq!(values, [&b"0123456789"[..], b"0123456789", b"ab", b"short", b"0123456789"]);
}

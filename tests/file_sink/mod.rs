//! The sink `file` over a disk that forgets: killed, or without power, at every step, and with calls that fail. By seed; what is
//! promised is checked after every death, and byte by byte at the end.
//!
//! `disk` is the disk. `SEEDS=2000` runs that many seeds; `SEED=7` runs one.

mod disk;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use spoolway::agent::channel::Records;
use spoolway::agent::channel::digest::{Digest, FileId, Mark};
use spoolway::agent::channel::name::Name;
use spoolway::agent::channel::progress::{Closing, Progress, Segment, VERSION};
use spoolway::agent::channel::splitter::{Line, LineState};
use spoolway::agent::sink::file::disk::Disk;
use spoolway::agent::sink::file::{FileSink, Settings};
use spoolway::agent::sink::{Failure, Sink, SinkError};
use spoolway::pipeline::Roll;
use spoolway::pipeline::quantity::{ByteSize, TimeSpan};
use spoolway::pipeline::report::FlowReason;

use crate::seed::number;
use disk::{Dead, Forgetful};

const OUT: &str = "/out";
const STATE: &str = "/state/spoolway%2Flocal%2Fshop%2Fweb%2Fa1.progress";

fn settings(rng: &mut fastrand::Rng) -> Settings {
    let span = |seconds: u64| Some(TimeSpan(format!("{seconds}s")));
    Settings {
        agent: "local/shop/web/a1".into(),
        directory: OUT.into(),
        prefix: "web".into(),
        state: STATE.into(),
        roll: Roll {
            bytes: Some(ByteSize::from([20, 60, 1 << 20][rng.usize(0..3)])),
            records: rng.bool().then(|| rng.i64(1..6)),
            age: span(rng.u64(1..60)),
            idle: span(rng.u64(1..30)),
        },
        once: rng.bool(),
    }
}

/// Two files that are read, as their lines, and how many of each are committed as far as the one who reads them was told.
struct Inputs {
    lines: [Vec<String>; 2],
    told: [usize; 2],
}

impl Inputs {
    fn new(rng: &mut fastrand::Rng) -> Self {
        let mut file = |name: char| {
            let count = rng.usize(1..60);
            (0..count).map(|n| format!("{name}{n}{}", "x".repeat(rng.usize(0..12)))).collect()
        };
        Inputs { lines: [file('a'), file('b')], told: [0, 0] }
    }
}

fn progress(file: usize, lines: usize) -> Progress {
    Progress {
        v: VERSION,
        id: FileId(file as u64 + 1),
        name: Name::new(format!("in-{file}").as_bytes()),
        inode: file as u64,
        birth: None,
        head: Mark::of(b""),
        tail: Mark::of(b""),
        generation: 1,
        position: lines as u64,
        line_state: LineState::Start,
        topic: String::new(),
        partition: 0,
        lines: lines as u64,
        bytes: 0,
        digest: Digest::default(),
        altered: Default::default(),
        byte_order: None,
        extents: vec![],
        finished: false,
        grown: false,
        age: Duration::ZERO,
    }
}

/// One life of an agent: opens, and writes what is not committed, until the disk says that it is dead or all is done.
fn live(
    disk: &Forgetful,
    settings: &Settings,
    inputs: &mut Inputs,
    rng: &mut fastrand::Rng,
) -> Result<(), SinkError> {
    let mut sink = FileSink::new(settings.clone(), disk.clone());
    loop {
        match ship(&mut sink, disk, inputs, rng) {
            Err(error) if error.failure == Failure::Retry && disk.fails() => sink.close(),
            other => {
                sink.close();
                return other;
            }
        }
    }
}

fn ship(
    sink: &mut FileSink<Forgetful>,
    disk: &Forgetful,
    inputs: &mut Inputs,
    rng: &mut fastrand::Rng,
) -> Result<(), SinkError> {
    let mut at = [0, 0];
    for progress in sink.open()?.committed {
        at[progress.inode as usize] = progress.lines as usize;
    }
    for file in 0..2 {
        assert!(at[file] >= inputs.told[file], "{at:?} is read back, {:?} was told", inputs.told);
    }
    while (0..2).any(|file| at[file] < inputs.lines[file].len()) {
        let before = at;
        for _ in 0..rng.usize(1..4) {
            let file = rng.usize(0..2);
            let count = rng.usize(0..8).min(inputs.lines[file].len() - at[file]);
            append(sink, file, &inputs.lines[file][at[file]..at[file] + count])?;
            at[file] += count;
        }
        assert_eq!(sink.flush()?, Vec::<Vec<_>>::new());
        let closing: Vec<Closing> = (0..2)
            .filter(|file| at[*file] > before[*file])
            .map(|file| {
                let segment = Segment { from: 0, to: 0, lines: 0, runs: vec![] };
                Closing { progress: progress(file, at[file]), segment, ended: None }
            })
            .collect();
        sink.commit(&closing, &[])?;
        inputs.told = at;
        disk.pass(Duration::from_secs(rng.u64(0..20)));
        if rng.bool() {
            sink.idle();
        }
    }
    Ok(())
}

fn append(sink: &mut FileSink<Forgetful>, file: usize, some: &[String]) -> Result<(), SinkError> {
    let (mut data, mut lines) = (b"back".to_vec(), vec![]);
    for line in some {
        lines.push(Line::new(data.len() - 4, line.len()));
        data.extend_from_slice(line.as_bytes());
        data.extend_from_slice(b"\r\n");
    }
    let records = Records { slot: file as u32, back: 4, ..Records::default() };
    sink.append(&records, &mut data, &lines)
}

/// Everything in the output directory, in the order of names.
fn outputs(disk: &Forgetful) -> BTreeMap<String, Vec<u8>> {
    let mut disk = disk.clone();
    let names = disk.names(Path::new(OUT)).unwrap();
    names.into_iter().map(|name| (name.clone(), disk.read(&Path::new(OUT).join(&name)).unwrap().unwrap())).collect()
}

/// A closed file never changes.
fn closed_ones_stay(before: &mut BTreeMap<String, Vec<u8>>, disk: &Forgetful) {
    let now = outputs(disk);
    for (name, content) in before.iter() {
        assert_eq!(now.get(name), Some(content), "{name} was closed and is another");
    }
    *before = now.into_iter().filter(|(name, _)| name.ends_with(".log")).collect();
}

fn run_seed(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (settings, mut inputs) = (settings(&mut rng), Inputs::new(&mut rng));
    let disk = Forgetful::new(rng.u64(..), [OUT, "/state"].map(PathBuf::from));
    let mut closed = BTreeMap::new();
    for _ in 0..rng.usize(0..8) {
        let power = rng.bool();
        disk.set(Some(rng.u32(1..120)), [0, 20, 100][rng.usize(0..3)]);
        match catch_unwind(AssertUnwindSafe(|| live(&disk, &settings, &mut inputs, &mut rng))) {
            Ok(ended) => ended.unwrap(),
            Err(panic) if panic.is::<Dead>() => {}
            Err(panic) => resume_unwind(panic),
        }
        disk.dies(power);
        if power {
            // A name that was seen and not synced may be the old one again.
            closed.retain(|name, _| outputs(&disk).contains_key(name));
        }
        closed_ones_stay(&mut closed, &disk);
    }
    disk.set(None, 0);
    live(&disk, &settings, &mut inputs, &mut rng).unwrap();
    closed_ones_stay(&mut closed, &disk);
    check(&settings, &inputs, &disk);
}

fn check(settings: &Settings, inputs: &Inputs, disk: &Forgetful) {
    let files = outputs(disk);
    let text = String::from_utf8(files.values().flatten().copied().collect()).unwrap();
    for (file, lines) in ['a', 'b'].into_iter().zip(&inputs.lines) {
        let written: Vec<&str> = text.lines().filter(|line| line.starts_with(file)).collect();
        assert_eq!(&written, lines, "of {file}");
    }
    assert!(text.is_empty() || text.ends_with('\n'));
    for (name, content) in &files {
        let lines = content.iter().filter(|b| **b == b'\n').count();
        let bytes = content.len() as u64;
        assert!(bytes <= settings.roll.bytes() || lines == 1, "{name} has {bytes} bytes");
        assert!(settings.roll.records().is_none_or(|most| lines as u64 <= most), "{name} has {lines} lines");
        assert!(name.ends_with(".log") || !settings.once || content.is_empty(), "{name} is open");
        assert!(!name.ends_with(".log") || !content.is_empty(), "{name} is empty");
    }
}

#[test]
fn no_line_is_missing_or_twice_wherever_it_dies() {
    if let Some(seed) = number("SEED") {
        return run_seed(seed);
    }
    disk::quiet();
    for seed in 0..number("SEEDS").unwrap_or(2000) {
        if let Err(panic) = catch_unwind(|| run_seed(seed)) {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            panic!("SEED={seed} replays it: {}", said.unwrap_or_default());
        }
    }
}

/// A disk on which an agent has written one line.
fn written() -> (Forgetful, Settings) {
    let disk = Forgetful::new(1, [OUT, "/state"].map(PathBuf::from));
    let settings = Settings { once: false, roll: Roll::default(), ..settings(&mut fastrand::Rng::with_seed(1)) };
    let mut sink = FileSink::new(settings.clone(), disk.clone());
    sink.open().unwrap();
    append(&mut sink, 0, &["a0".into()]).unwrap();
    sink.flush().unwrap();
    let segment = Segment { from: 0, to: 0, lines: 0, runs: vec![] };
    sink.commit(&[Closing { progress: progress(0, 1), segment, ended: None }], &[]).unwrap();
    sink.close();
    (disk, settings)
}

fn refused(disk: &Forgetful, settings: &Settings) -> String {
    let error = FileSink::new(settings.clone(), disk.clone()).open().unwrap_err();
    assert_eq!(error.reason, FlowReason::OutputUnavailable);
    error.message
}

#[test]
fn what_others_did_to_its_files_is_told_and_nothing_is_written_over() {
    let mut page = String::new();
    let mut tell = |case: &str, message: String| page.push_str(&format!("{case}\n  {message}\n"));
    let open = Path::new(OUT).join("web-0000000001.log.open");

    let (mut disk, settings) = written();
    disk.cut(&open, 1).unwrap();
    tell("an output file was cut", refused(&disk, &settings));

    let (mut disk, settings) = written();
    disk.rename(&open, Path::new("/out/elsewhere")).unwrap();
    tell("an output file was taken away before it was closed", refused(&disk, &settings));

    let (mut disk, settings) = written();
    disk.rename(Path::new(STATE), Path::new("/state/gone")).unwrap();
    tell("progress is gone", refused(&disk, &settings));

    let (mut disk, settings) = written();
    disk.write(Path::new(STATE), b"{\"v\":2}\n").unwrap();
    tell("progress of a newer release", refused(&disk, &settings));

    let (mut disk, settings) = written();
    let text = disk.read(Path::new(STATE)).unwrap().unwrap();
    let first = text.iter().position(|b| *b == b'\n').unwrap() + 1;
    disk.write(Path::new(STATE), &text[..first]).unwrap();
    tell("progress that was cut", refused(&disk, &settings));

    let (disk, settings) = written();
    let other = Settings { directory: "/other".into(), ..settings };
    tell("another directory", refused(&disk, &other));

    let (mut disk, settings) = written();
    disk.create(Path::new("/out/web-0000000001.log")).unwrap();
    let mut sink = FileSink::new(Settings { once: true, ..settings.clone() }, disk.clone());
    sink.open().unwrap();
    sink.close(); // it cannot give the file its name
    tell("the name of a closed file is taken", refused(&disk, &settings));
    insta::assert_snapshot!(page);
}

#[test]
fn a_file_of_somebody_else_is_never_written_to_and_a_closed_one_may_be_taken_away() {
    let (mut disk, settings) = written();
    disk.create(Path::new("/out/web-0000000002.log.open")).unwrap();
    disk.pass(Duration::from_secs(3600));
    let mut sink = FileSink::new(settings.clone(), disk.clone());
    sink.open().unwrap();
    assert_eq!(sink.idle(), None);
    disk.rename(Path::new("/out/web-0000000001.log"), Path::new("/elsewhere")).unwrap();
    sink.close();
    sink.open().expect("who reads a closed file may take it away");
    append(&mut sink, 0, &["a1".into()]).unwrap();
    let names: Vec<String> = outputs(&disk).into_keys().collect();
    assert_eq!(names, ["web-0000000002.log.open", "web-0000000003.log.open"]);
    assert!(outputs(&disk)["web-0000000002.log.open"].is_empty());
}

#[test]
fn two_agents_with_one_state_never_write_at_once() {
    let (disk, settings) = written();
    let mut first = FileSink::new(settings.clone(), disk.clone());
    first.open().unwrap();
    let error = FileSink::new(settings, disk.another()).open().unwrap_err();
    assert_eq!((error.failure, error.reason), (Failure::Retry, FlowReason::AnotherAgentRunning));
}

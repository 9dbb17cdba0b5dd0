//! The sinks `file` and `console`: the real agent on real files, no Kafka.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::agent::{Agent, Ended};
use super::{corpus, seed, until};

const KILLS: usize = 20;
const LIMIT: Duration = Duration::from_secs(60);

/// A spool directory, an output directory, a state directory, and a manifest.
struct Home {
    home: tempfile::TempDir,
    spool: PathBuf,
    out: PathBuf,
    state: PathBuf,
    manifest: PathBuf,
}

impl Home {
    fn new(sink: &str) -> Self {
        let home = tempfile::Builder::new().prefix("spoolway-e2e-").tempdir().unwrap();
        let [spool, out, state] = ["spool", "out", "state"].map(|name| home.path().join(name));
        fs::create_dir(&spool).unwrap();
        fs::create_dir(&out).unwrap();
        let here = Home { manifest: home.path().join("pipeline.yaml"), home, spool, out, state };
        here.write(sink);
        here
    }

    fn write(&self, sink: &str) {
        let sink = sink.replace("OUT", self.out.to_str().unwrap());
        let text = format!(
            "apiVersion: spoolway.dev/v1alpha1
kind: LogPipeline
metadata: {{name: web, namespace: shop}}
spec:
  source: {{spoolDir: {{path: '{}', settleTime: 100ms, pollDelay: 20ms, maxOpenFiles: 3}}}}
  sink: {sink}
  delivery: {{commitInterval: 50ms, maxTransactionBytes: 256Ki}}
",
            self.spool.display()
        );
        fs::write(&self.manifest, text).unwrap();
    }

    fn put(&self, name: &str, content: &[u8]) {
        let new = self.home.path().join("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, self.spool.join(name)).unwrap();
    }

    fn start(&self, more: &[&str]) -> Agent {
        let state = ["--state-dir", self.state.to_str().unwrap()];
        Agent::start(&self.manifest, &[&state, more].concat())
    }

    fn once(&self, more: &[&str]) -> Ended {
        self.start(&[&["--once"], more].concat()).ended(LIMIT)
    }

    fn names(&self, directory: &PathBuf) -> Vec<String> {
        let names = fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// Everything written, one file behind the other.
    fn written(&self) -> Vec<u8> {
        self.names(&self.out).iter().flat_map(|name| fs::read(self.out.join(name)).unwrap()).collect()
    }

    /// How much of it there is, while an agent renames what it writes.
    fn written_bytes(&self) -> u64 {
        let files = fs::read_dir(&self.out).unwrap().filter_map(|entry| entry.unwrap().metadata().ok());
        files.map(|file| file.len()).sum()
    }

    fn completed(&self) -> usize {
        self.names(&self.spool).iter().filter(|name| name.ends_with(".COMPLETED")).count()
    }
}

#[test]
fn more_files_may_be_open_than_the_shell_says() {
    let home = Home::new("{file: {directory: 'OUT', roll: {records: 1000}}}");
    let text = fs::read_to_string(&home.manifest).unwrap();
    let long = text.replace("commitInterval: 50ms, maxTransactionBytes: 256Ki", "commitInterval: 10s");
    fs::write(&home.manifest, long).unwrap();
    let content = b"line\n".repeat(200_000);
    home.put("a.log", &content);
    let mut few = Command::new("sh");
    few.args(["-c", "ulimit -Sn 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_spoolway")]);
    let state = home.state.to_str().unwrap();
    let ended = Agent::start_by(few, &home.manifest, &["--state-dir", state, "--once"]).ended(LIMIT);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!((home.names(&home.out).len(), home.written() == content), (200, true));
}

#[test]
fn the_file_sink_loses_nothing_and_doubles_nothing_however_often_it_is_killed() {
    let mut rng = Rng::with_seed(seed());
    let home = Home::new("{file: {directory: 'OUT', roll: {bytes: 300k, records: 5000, age: 2s, idle: 1s}}}");
    let (mut inputs, mut shipping) = (vec![], 0);
    for kill in 0..KILLS {
        for file in 0..3 {
            let name = format!("{kill:02}-{file}");
            let lines =
                corpus::lines(rng.u64(..), file, if file == 0 { rng.usize(1..12_000) } else { rng.usize(0..60) });
            // Each line says whose it is, so that the order within each can be held against its file.
            let lines = lines.split_inclusive(|b| *b == b'\n').map(|line| [name.as_bytes(), b" ", line].concat());
            let content: Vec<u8> = lines.flatten().collect();
            home.put(&format!("{name}.log"), &content);
            inputs.push((name, content));
        }
        // Most are killed at some share of what is still to be written, however fast this machine is; some before they write.
        let before = home.written_bytes();
        let all: u64 = inputs.iter().map(|(_, content)| content.len() as u64).sum();
        let agent = home.start(&[]);
        if kill % 4 == 0 {
            std::thread::sleep(Duration::from_millis(rng.u64(0..50)));
        } else {
            let share = before + rng.u64(1..=(all - before).max(1));
            let limit = Instant::now() + LIMIT;
            while home.written_bytes() < share.min(all) {
                assert!(Instant::now() < limit, "only {} of {share} bytes are written", home.written_bytes());
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        agent.kill();
        shipping += usize::from(home.completed() < inputs.len() && !home.written().is_empty());
        let closed = home.names(&home.out).into_iter().filter(|name| name.ends_with(".log"));
        assert!(closed.into_iter().all(|name| fs::metadata(home.out.join(name)).unwrap().len() > 0));
    }
    assert!(shipping > KILLS / 4, "only {shipping} kills landed where it matters");
    let ended = home.once(&[]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert_eq!(home.completed(), inputs.len());

    let written = home.written();
    let mut total = 0;
    for (name, content) in &inputs {
        let prefix = [name.as_bytes(), b" "].concat();
        let lines = written.split_inclusive(|b| *b == b'\n').filter(|line| line.starts_with(&prefix));
        let lines: Vec<u8> = lines.flatten().copied().collect();
        assert!(lines == *content, "{name} is written otherwise than it was read");
        total += content.len();
    }
    assert_eq!(written.len(), total, "bytes that are nobody's");
    let names = home.names(&home.out);
    assert!(names.iter().all(|name| name.ends_with(".log")) && names.len() > 10, "{names:?}");
    for name in &names {
        let content = fs::read(home.out.join(name)).unwrap();
        let lines = content.iter().filter(|b| **b == b'\n').count();
        assert!((content.len() <= 300_000 || lines == 1) && lines <= 5000, "{name} is too large");
    }
}

#[test]
fn a_file_that_nobody_writes_to_is_closed_and_a_restart_goes_on_behind_it() {
    let home = Home::new("{file: {directory: 'OUT', roll: {idle: 1s}}}");
    home.put("a.log", b"a1\na2\n");
    let agent = home.start(&[]);
    let closed = || (home.names(&home.out) == ["web-0000000001.log"]).then_some(());
    until("the file is closed", LIMIT, closed);
    agent.kill();
    fs::remove_file(home.out.join("web-0000000001.log")).unwrap(); // whoever reads it may take it away
    home.put("b.log", b"b1\r\n\nb3");
    assert_eq!(home.once(&[]).code, Some(0));
    assert_eq!(home.names(&home.out), ["web-0000000002.log"]);
    assert_eq!(home.written(), b"b1\n\nb3\n");
    assert_eq!(home.names(&home.spool), ["a.log.COMPLETED", "b.log.COMPLETED"]);
}

#[test]
fn a_file_sink_without_a_state_directory_or_an_output_directory_says_what_to_do() {
    let home = Home::new("{file: {directory: 'OUT'}}");
    let ended = Agent::start(&home.manifest, &["--once"]).ended(LIMIT);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(
        ended
            .err
            .contains("sink file keeps its progress in a directory of this machine; name one: --state-dir DIR")
    );
    fs::remove_dir(&home.out).unwrap();
    let agent = home.start(&["--http", "127.0.0.1:0"]);
    let report = agent.reports("it says what is wrong", LIMIT, |report| !report.message.is_empty());
    let expected = format!("cannot read {}: No such file or directory (os error 2); create", home.out.display());
    assert!(report.message.starts_with(&expected), "{}", report.message);
    fs::create_dir(&home.out).unwrap();
    agent.reports("it goes on by itself", LIMIT, |report| report.flowing && report.guarantee == "ExactlyOnce");
}

#[test]
fn the_console_shows_lines_and_changes_nothing() {
    let home = Home::new("{console: {}}");
    home.put("a.log", b"one\r\n\t\x1b\nthree");
    let text = home.once(&[]);
    assert_eq!((text.code, text.err.contains("shipped 1 files, 3 lines")), (Some(0), true), "{}", text.err);
    assert_eq!(text.out, "one\n\t\x1b\nthree\n");
    home.put("b.log", b"\xfftwo\n");
    home.write("{console: {format: Json}}");
    let json = home.once(&[]);
    let expected = [
        r#"{"file":"a.log","position":0,"line":"one"}"#,
        r#"{"file":"a.log","position":5,"line":"\t\u001b"}"#,
        r#"{"file":"a.log","position":8,"line":"three"}"#,
        r#"{"file":"b.log","position":0,"line":{"hex":"ff74776f"}}"#,
    ];
    let mut shown: Vec<&str> = json.out.lines().collect();
    shown.sort_unstable();
    assert_eq!(shown, expected, "all again: it remembers while it runs");
    assert_eq!(home.names(&home.spool), ["a.log", "b.log"]);
}

#[test]
fn whoever_reads_the_console_may_end_and_so_does_the_agent() {
    let home = Home::new("{console: {}}");
    home.put("a.log", "a line of some length\n".repeat(100_000).as_bytes());
    let mut command = Command::new(env!("CARGO_BIN_EXE_spoolway"));
    command.args(["agent", "--agent-id", "a1", "-f"]).arg(&home.manifest);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    assert_eq!(first, "a line of some length\n");
    drop(reader);
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("spoolway: cannot write to standard output: Broken pipe"), "{said}");
    assert!(last.ends_with("whoever read it has ended, and so does this agent"), "{said}");
}

#[test]
fn a_change_of_format_shows_nothing_twice_and_a_change_of_sink_is_refused() {
    let home = Home::new("{console: {}}");
    home.put("a.log", b"one\n");
    let agent = home.start(&["--http", "127.0.0.1:0"]);
    let before = agent.drained(1, LIMIT);
    assert_eq!(before.guarantee, "BestEffort");
    home.write("{console: {format: Json}}");
    agent.reports("the change is taken", LIMIT, |report| report.config_hash != before.config_hash);
    home.put("b.log", b"two\n");
    agent.drained(2, LIMIT);
    home.write("{file: {directory: 'OUT'}}");
    let refused = agent.reports("it is refused", LIMIT, |report| !report.config_problem.is_empty());
    assert_eq!(
        refused.config_problem,
        "spec.sink is file, it was console; progress is kept with it: set it back, or make another LogPipeline"
    );
    agent.signal(rustix::process::Signal::TERM);
    let ended = agent.ended(LIMIT);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(0), "one\n{\"file\":\"b.log\",\"position\":0,\"line\":\"two\"}\n")
    );
}

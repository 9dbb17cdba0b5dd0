//! The real binary as a child process: signals, output, HTTP. It is killed when dropped.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use spoolway::pipeline::report::Report;

use super::until;

pub struct Agent {
    child: Child,
    output: tempfile::TempDir,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Agent {
    /// `spoolway agent -f MANIFEST --agent-id a1` with more arguments.
    pub fn start(manifest: &Path, more: &[&str]) -> Self {
        Agent::start_by(Command::new(env!("CARGO_BIN_EXE_spoolway")), manifest, more)
    }

    /// The same where `command` ends in the binary's path.
    pub fn start_by(mut command: Command, manifest: &Path, more: &[&str]) -> Self {
        command.args(["agent", "--agent-id", "a1", "-f"]).arg(manifest).args(more);
        Agent::spawn(command)
    }

    /// Under another id than a1, with a page of its own.
    pub fn start_as(id: &str, manifest: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spoolway"));
        command.args(["agent", "--http", "127.0.0.1:0", "--agent-id", id, "-f"]).arg(manifest);
        Agent::spawn(command)
    }

    /// As in a pod: `spoolway agent --config-dir DIR --agent-id a1` with more arguments.
    pub fn start_in_pod(config: &Path, more: &[&str]) -> Self {
        Agent::start_in_pod_by(Command::new(env!("CARGO_BIN_EXE_spoolway")), config, more)
    }

    /// The same where `command` ends in the binary's path.
    pub fn start_in_pod_by(mut command: Command, config: &Path, more: &[&str]) -> Self {
        command.args(["agent", "--agent-id", "a1", "--http", "127.0.0.1:0", "--config-dir"]).arg(config).args(more);
        Agent::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let output = tempfile::tempdir().unwrap();
        let to = |name: &str| File::create(output.path().join(name)).unwrap();
        // No terminal, whoever runs the tests: logs are JSON, one record a line.
        command.env("SPOOLWAY_LOG", "json").env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(to("out")).stderr(to("err"));
        Agent { child: command.spawn().unwrap(), output }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// `kill -9`, and gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for it to end by itself.
    pub fn ended(mut self, limit: Duration) -> Ended {
        let deadline = std::time::Instant::now() + limit;
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(std::time::Instant::now() < deadline, "it did not end within {limit:?}: {}", self.err());
            std::thread::sleep(Duration::from_millis(10));
        };
        Ended { code: status.code(), out: self.said("out"), err: self.said("err") }
    }

    /// The most memory that it had at once, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// CPU time of all its threads so far, in steps of the kernel's tick (10 ms).
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.output.path().join(name)).unwrap()
    }

    /// Everything on standard error so far.
    pub fn err(&self) -> String {
        self.said("err")
    }

    /// Its log so far: level and message.
    pub fn log(&self) -> Vec<(String, String)> {
        let records = self.err();
        let whole = records.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole
            .map(|line| {
                let json: serde_json::Value =
                    serde_json::from_str(line).unwrap_or_else(|_| panic!("not a log record: {line}"));
                (json["level"].as_str().unwrap().to_owned(), json["message"].as_str().unwrap().to_owned())
            })
            .collect()
    }

    pub fn address(&self) -> SocketAddr {
        until("the agent tells its HTTP address", Duration::from_secs(60), || {
            let log = self.log();
            let url = log.iter().find_map(|(_, said)| said.strip_prefix("http://"))?;
            url.split('/').next()?.parse().ok()
        })
    }

    /// Status code, headers and body of a page; `None` where it does not answer (it is stopped or gone).
    pub fn try_get(&self, path: &str) -> Option<(u16, String, String)> {
        let mut stream = TcpStream::connect_timeout(&self.address(), Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let code = head.split(' ').nth(1)?.parse().ok()?;
        Some((code, head.to_owned(), body.to_owned()))
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        let (code, _, body) = self.try_get(path).unwrap_or_else(|| panic!("{path} does not answer"));
        (code, body)
    }

    fn try_report(&self) -> Option<Report> {
        let (code, _, body) = self.try_get("/report")?;
        assert_eq!(code, 200, "{body}");
        Some(serde_json::from_str(&body).unwrap())
    }

    pub fn report(&self) -> Report {
        self.try_report().expect("/report does not answer")
    }

    /// Waits for a report that `is` as wanted.
    pub fn reports(&self, what: &str, limit: Duration, mut is: impl FnMut(&Report) -> bool) -> Report {
        let mut last = None;
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(what, limit, || {
                // No answer: the machine stalls, or it is still starting. What comes then counts.
                let report = self.try_report()?;
                let found = is(&report);
                last = Some(report.clone());
                found.then_some(report)
            })
        }));
        found.unwrap_or_else(|_| panic!("{what}; the last report was {last:#?}\nand the log {}", self.err()))
    }

    /// Waits until nothing is left to ship and `files` are complete.
    pub fn drained(&self, files: u64, limit: Duration) -> Report {
        self.reports("everything is shipped and complete", limit, |r| {
            r.backlog.bytes == 0 && r.totals.files >= files
        })
    }

    /// Waits until it ships: something is committed, and more is left.
    pub fn shipping(&self) -> Report {
        self.reports("it ships", Duration::from_secs(60), |r| r.totals.bytes > 0 && r.backlog.bytes > 0)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

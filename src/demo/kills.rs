//! The demo against a real Kafka: the agent as a process, killed with kill -9 at random moments while it ships. I/O.
//!
//! Readers watch all the time: one of receipts; a `read_committed` one of lines, which must see each of them once; a
//! `read_uncommitted` one, which shows whether the kills hit open transactions.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use console::style;
use indicatif::{BinaryBytes, HumanCount};

use super::picture::{ReceiptRow, receipt_row};
use super::spool::Spool;
use super::watch::Watch;
use super::{RECEIPTS, TOPIC};

/// How often the agent is killed.
const KILLS: u64 = 3;
/// Files, of different sizes.
const FILES: u64 = 8;
/// Nothing new for this long: the readers have seen what there is. Longer than a dead agent's transaction holds them up.
const QUIET: Duration = Duration::from_secs(40);

/// Ships `lines` into `bootstrap`; true when every line is there once.
///
/// # Errors
/// The demo cannot be set up, or was interrupted.
pub fn run(bootstrap: &str, lines: u64, keep: Option<&Path>) -> anyhow::Result<bool> {
    let interrupted = super::interruptible()?;
    // Lives to the end of this function, where it is removed.
    let temporary =
        if keep.is_none() { Some(tempfile::tempdir().context("cannot make a directory")?) } else { None };
    let dir = temporary.as_ref().map(tempfile::TempDir::path).or(keep).context("no directory")?;
    if keep.is_some() {
        fs::create_dir(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    fs::create_dir(dir.join("spool"))?;
    let text = super::pipeline_text(&dir.join("spool"), bootstrap, "500ms", "8Mi");
    fs::write(dir.join("pipeline.yaml"), &text)?;
    let pipeline = super::pipeline(&text)?;
    let sink = pipeline.kafka().context("the demo has no Kafka sink")?;
    let watch = |isolation, topic| {
        Watch::start(sink, isolation, &[topic]).with_context(|| format!("cannot read from Kafka at {bootstrap}"))
    };
    let mut demo = Demo {
        dir,
        start: Instant::now(),
        interrupted,
        spool: Spool::new(&dir.join("spool"), fastrand::u64(..)),
        receipts: watch("read_committed", RECEIPTS)?,
        committed: watch("read_committed", TOPIC)?,
        everything: watch("read_uncommitted", TOPIC)?,
    };
    println!("spoolway demo: exactly once into Kafka at {bootstrap}, with kill -9 on the way\n");
    demo.fill(lines)?;
    let ended = demo.ship(lines)?;
    demo.wait_for_readers(lines)?;
    Ok(demo.summary() && ended.success())
}

struct Demo<'a> {
    dir: &'a Path,
    start: Instant,
    interrupted: Arc<AtomicBool>,
    spool: Spool,
    /// Alone, since it decides when to kill: it must not wait behind the lines.
    receipts: Watch,
    committed: Watch,
    everything: Watch,
}

impl Demo<'_> {
    fn say(&self, what: &str) {
        println!("{:>5.1} s  {what}", self.start.elapsed().as_secs_f64());
    }

    /// Files of about 2 to 20 hundredths of the lines, which add up to exactly `lines`.
    fn fill(&mut self, lines: u64) -> anyhow::Result<()> {
        let mut sizes: Vec<u64> =
            (1..FILES).map(|i| lines * i * fastrand::u64(50..=100) / (50 * FILES * FILES)).collect();
        sizes.push(lines - sizes.iter().sum::<u64>());
        self.spool.add(&sizes).context("cannot write into the spool directory")?;
        let (lines, bytes) = self.spool.totals();
        let files = self.spool.written.len();
        self.say(&format!(
            "{files} files, {} lines, {} in the spool directory",
            HumanCount(lines),
            BinaryBytes(bytes)
        ));
        Ok(())
    }

    /// Starts the agent, kills it, starts it again; lets the last one end by itself.
    fn ship(&self, lines: u64) -> anyhow::Result<ExitStatus> {
        for kill in 1..=KILLS {
            let mut agent = self.agent(if kill == 1 { "started" } else { "started again" })?;
            // A random moment after it has committed something itself, at which it may be doing anything.
            let before = self.receipts.seen().in_segments;
            let part = lines.saturating_sub(before) / (KILLS + 2 - kill);
            let at = before + fastrand::u64(part / 4..=part).max(1);
            while self.receipts.seen().in_segments < at {
                self.pause(&mut agent)?;
            }
            std::thread::sleep(Duration::from_millis(fastrand::u64(0..200)));
            if let Some(status) = agent.0.try_wait()? {
                bail!(
                    "the agent ended before kill #{kill} ({status}): more --lines give more time; {}",
                    self.log()
                );
            }
            agent.0.kill()?;
            agent.0.wait()?;
            let committed = HumanCount(self.receipts.seen().in_segments);
            let words = format!("kill -9 #{kill}");
            self.say(&format!(
                "{}, pid {}, after {committed} lines committed",
                style(words).red().bold(),
                agent.0.id()
            ));
        }
        let mut agent = self.agent("started again")?;
        loop {
            if let Some(status) = agent.0.try_wait()? {
                self.say(&format!("agent ended by itself, {status}"));
                if !status.success() {
                    println!("{}", self.log());
                }
                return Ok(status);
            }
            self.pause(&mut agent)?;
        }
    }

    /// A real agent in a process of its own, as a person would start it.
    fn agent(&self, word: &str) -> anyhow::Result<Agent> {
        let log = File::options().create(true).append(true).open(self.dir.join("agent.log"))?;
        let child = Command::new(std::env::current_exe()?)
            .arg("agent")
            .arg("-f")
            .arg(self.dir.join("pipeline.yaml"))
            .args(["--once", "--cluster", "demo", "--agent-id", "demo"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the agent")?;
        self.say(&format!("agent {word}, pid {}", child.id()));
        Ok(Agent(child))
    }

    /// A moment's wait while the agent works.
    fn pause(&self, agent: &mut Agent) -> anyhow::Result<()> {
        self.check_interrupted()?;
        std::thread::sleep(Duration::from_millis(2));
        if self.start.elapsed() > Duration::from_secs(600) {
            bail!("the agent (pid {}) has not shipped it within 10 minutes; {}", agent.0.id(), self.log());
        }
        Ok(())
    }

    fn check_interrupted(&self) -> anyhow::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }

    /// The end of what the agents said.
    fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.join("agent.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("its log ends with:\n{}", lines[lines.len().saturating_sub(5)..].join("\n"))
    }

    /// Until the readers have everything, and a moment longer for what should not be there.
    fn wait_for_readers(&self, lines: u64) -> anyhow::Result<()> {
        let mut last = (self.arrived(), Instant::now());
        loop {
            self.check_interrupted()?;
            let now = self.arrived();
            if now != last.0 {
                last = (now, Instant::now());
            }
            let receipts = self.receipts.seen().receipts.len();
            let all = now.0 >= lines && now.1 >= now.0 && receipts >= self.spool.written.len();
            let enough = all && last.1.elapsed() >= Duration::from_secs(1);
            if enough || last.1.elapsed() >= QUIET {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn arrived(&self) -> (u64, u64) {
        (self.committed.seen().tally.arrived, self.everything.seen().tally.arrived)
    }

    /// Receipts, counts; true when every line is there once and every file has a receipt.
    fn summary(&self) -> bool {
        let (_, everything) = self.arrived();
        let seen = self.committed.seen();
        let (tally, written) = (&seen.tally, &self.spool.written);
        println!("\nreceipts");
        let mut receipts: Vec<ReceiptRow> = self.receipts.seen().receipts.iter().map(ReceiptRow::from).collect();
        receipts.sort_by(|a, b| a.name.cmp(&b.name));
        receipts.iter().for_each(|receipt| println!("  {}", receipt_row(receipt)));
        let promised: u64 = receipts.iter().map(|r| r.lines).sum();
        let exact = tally.is_exact(written) && promised == self.spool.totals().0 && receipts.len() == written.len();
        println!("\nread back by librdkafka, read_committed, each line known by its id");
        println!("  lines written   {:>11}", HumanCount(self.spool.totals().0).to_string());
        println!("  records found   {:>11}", HumanCount(tally.arrived).to_string());
        println!("  missing {}, twice {}, foreign {}", tally.missing(written), tally.twice, tally.foreign);
        println!(
            "  of killed agents{:>11}  in the topic, but aborted: read_committed skips them",
            HumanCount(everything.saturating_sub(tally.arrived)).to_string()
        );
        if let (false, Some(trouble)) = (exact, &seen.trouble) {
            println!("  the reader's last trouble: {trouble}");
        }
        exact
    }
}

/// An agent's process, which does not outlive the demo.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

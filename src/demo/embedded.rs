//! The demo without a Kafka: librdkafka's mock broker, the real agent on a thread, a producer of files, a picture. I/O.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{BinaryBytes, HumanCount};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::picture::{FileRow, ReceiptRow, Stage, View, WARNING, receipt_row};
use super::screen::Screen;
use super::spool::{Spool, Written};
use super::watch::{Seen, Watch};
use super::{CHECKPOINTS, RECEIPTS, TOPIC};
use crate::agent::config::Config;
use crate::agent::status::Status;
use crate::agent::stop::Stop;
use crate::agent::{Agent, Options};

/// Each call to the broker takes this long, as to one in the next town: otherwise all is done before it is seen.
const ROUND_TRIP: Duration = Duration::from_millis(20);
/// After the last file everything must have arrived within this time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Completed files that stay in the directory; older ones are removed, or a long demo would fill the disk.
const KEPT: usize = 20;
/// Seconds of rates that are shown.
const HISTORY: usize = 30;

/// Runs it until ctrl-c, or for `limit`; true when every line arrived once.
///
/// # Errors
/// The demo cannot be set up.
pub fn run(limit: Option<Duration>) -> anyhow::Result<bool> {
    let interrupted = super::interruptible()?;
    let dir = tempfile::Builder::new().prefix("spoolway-demo-").tempdir().context("cannot make a directory")?;
    let cluster = broker().context("cannot start the embedded broker")?;
    let text = super::pipeline_text(dir.path(), &cluster.bootstrap_servers(), "300ms", "4Mi");
    let pipeline = super::pipeline(&text)?;
    let watch = Watch::start(
        pipeline.kafka().context("the demo has no Kafka sink")?,
        "read_committed",
        &[TOPIC, RECEIPTS],
    )?;
    let (stop, wakes) = Stop::new().context("cannot make a pipe")?;
    let options = Options { agent_id: "demo".into(), ..Options::default() };
    let config = Config { pipeline, cluster: "demo".into(), pod: None };
    let agent = Agent::new(&config, &options, None, &stop, wakes)?;
    let status = agent.status.clone();
    let agent = std::thread::Builder::new().name("agent".into()).spawn(move || agent.run())?;

    print!("{}", opening(dir.path()));
    let mut show = Show::new(Spool::new(dir.path(), fastrand::u64(..)), watch, status);
    let played = show.play(limit, &interrupted, &agent);
    stop.stop();
    let ended = agent.join().map_err(|_| anyhow::anyhow!("the agent's thread panicked"))?;
    played?;
    ended?;
    // What would come twice may come late; the agent has ended, so nothing comes after that.
    std::thread::sleep(Duration::from_millis(300));
    Ok(show.summary())
}

fn broker() -> rdkafka::error::KafkaResult<MockCluster<'static, DefaultProducerContext>> {
    let cluster = MockCluster::new(1)?;
    for (topic, partitions) in [(TOPIC, 4), (CHECKPOINTS, 1), (RECEIPTS, 1)] {
        cluster.create_topic(topic, partitions, 1)?;
    }
    cluster.broker_round_trip_time(1, ROUND_TRIP)?;
    Ok(cluster)
}

fn opening(dir: &std::path::Path) -> String {
    format!(
        "spoolway demo: generated logs in {}, the real agent\n\
         {WARNING};\n\
         a call to it takes {} ms and the generator sets the pace: the rates measure nothing\n\n",
        dir.display(),
        ROUND_TRIP.as_millis()
    )
}

/// Lines of the files that appear next: one to four files, most of them small, some large.
fn burst() -> Vec<u64> {
    let size = |_| (300.0 * 130_f64.powf(fastrand::f64())) as u64;
    (0..fastrand::u32(1..=4)).map(size).collect()
}

/// The demo while it runs.
struct Show {
    spool: Spool,
    watch: Watch,
    status: Arc<Status>,
    start: Instant,
    /// Written, not yet renamed by the agent.
    open: Vec<Written>,
    /// Renamed, those that are still in the directory.
    kept: VecDeque<Written>,
    completed: u64,
    /// Time and records arrived, one a second.
    samples: VecDeque<(Duration, u64)>,
}

impl Show {
    fn new(spool: Spool, watch: Watch, status: Arc<Status>) -> Self {
        let (open, kept, samples) = (vec![], VecDeque::new(), VecDeque::from([(Duration::ZERO, 0)]));
        Show { spool, watch, status, start: Instant::now(), open, kept, completed: 0, samples }
    }

    /// Writes files and shows what becomes of them; returns when all is shipped, or when waiting for it has no use.
    fn play<T>(&mut self, limit: Option<Duration>, stop: &AtomicBool, agent: &JoinHandle<T>) -> anyhow::Result<()> {
        let mut screen = Screen::new();
        let mut next = Duration::ZERO;
        let mut ending = None;
        loop {
            let now = self.start.elapsed();
            if ending.is_none() && (stop.load(Ordering::Relaxed) || limit.is_some_and(|limit| now >= limit)) {
                ending = Some(now);
            }
            if ending.is_none() && now >= next {
                let first = self.spool.written.len();
                self.spool.add(&burst()).context("cannot write into the spool directory")?;
                self.open.extend_from_slice(&self.spool.written[first..]);
                next = now + Duration::from_millis(fastrand::u64(500..2000));
            }
            self.observe(now);
            screen.show(|| self.view(now, ending.is_some()))?;
            let over = ending.is_some_and(|since| self.is_done() || now >= since + PATIENCE);
            if over || agent.is_finished() {
                screen.clear()?;
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Which files the agent has renamed since; the oldest of them are removed.
    fn observe(&mut self, now: Duration) {
        let dir = self.spool.dir().to_owned();
        let (open, renamed) = self.open.drain(..).partition(|f: &Written| dir.join(&f.name).exists());
        self.open = open;
        self.completed += renamed.len() as u64;
        self.kept.extend(renamed);
        while self.kept.len() > KEPT {
            if let Some(file) = self.kept.pop_front() {
                let _ = std::fs::remove_file(dir.join(file.name + ".COMPLETED"));
            }
        }
        if self.samples.back().is_none_or(|(at, _)| now >= *at + Duration::from_secs(1)) {
            self.samples.push_back((now, self.watch.seen().tally.arrived));
            while self.samples.len() > HISTORY + 1 {
                self.samples.pop_front();
            }
        }
    }

    fn is_done(&self) -> bool {
        let seen = self.watch.seen();
        let all = self.spool.written.len();
        self.open.is_empty() && seen.receipts.len() >= all && seen.tally.arrived >= self.spool.totals().0
    }

    fn view(&self, now: Duration, ending: bool) -> View {
        let report = self.status.report();
        let seen = self.watch.seen();
        let rows: Vec<FileRow> = self
            .kept
            .iter()
            .map(|f| row(f, f.bytes, true))
            .chain(self.open.iter().map(|f| row(f, seen.shipped.get(&f.name).copied().unwrap_or(0), false)))
            .collect();
        let at = |stage| rows.iter().filter(|row| row.stage == stage).count() as u64;
        let rate = |pair: (&(Duration, u64), &(Duration, u64))| {
            ((pair.1.1 - pair.0.1) as f64 / (pair.1.0 - pair.0.0).as_secs_f64()) as u64
        };
        View {
            seconds: now.as_secs(),
            state: format!("{:?}", report.reason),
            flowing: report.flowing,
            message: report.message,
            ending,
            files: [at(Stage::Waiting), at(Stage::Reading), at(Stage::Settling), self.completed],
            written: self.spool.totals().0,
            committed: report.totals.records,
            arrived: seen.tally.arrived,
            rates: self.samples.iter().zip(self.samples.iter().skip(1)).map(rate).collect(),
            backlog_bytes: rows.iter().map(|row| row.bytes.saturating_sub(row.shipped)).sum(),
            backlog_files: at(Stage::Waiting) + at(Stage::Reading),
            receipts: newest(&seen, 20),
            rows,
        }
    }

    /// Says how it went and what to type next; true when every line arrived once, in order.
    fn summary(&self) -> bool {
        let seen = self.watch.seen();
        let (lines, bytes) = self.spool.totals();
        let written = &self.spool.written;
        let shipped = self.status.snapshot().totals;
        let seconds = self.start.elapsed().as_secs_f64();
        let (missing, twice) = (seen.tally.missing(written), seen.tally.twice);
        let exact = seen.tally.is_exact(written) && shipped.lines == lines && self.open.is_empty();
        println!(
            "files     {} written, {} completed",
            HumanCount(written.len() as u64),
            HumanCount(self.completed)
        );
        println!(
            "lines     {} written, {} arrived: {}",
            HumanCount(lines),
            HumanCount(seen.tally.arrived),
            if exact { "equal" } else { "NOT equal" }
        );
        println!(
            "check     by the id of each line: missing {missing}, twice {twice}, foreign {}",
            seen.tally.foreign
        );
        println!(
            "bytes     {} in {seconds:.1} s, {} lines/s",
            BinaryBytes(bytes),
            HumanCount((lines as f64 / seconds) as u64)
        );
        println!("receipts, the last three:");
        newest(&seen, 3).iter().for_each(|receipt| println!("  {}", receipt_row(receipt)));
        if !exact {
            let report = self.status.report();
            println!(
                "\nthe agent: {:?}; {} lines committed, {} retries, {} files left. {}",
                report.reason,
                shipped.lines,
                report.totals.retries,
                self.open.len(),
                report.message
            );
            println!("this broker shows the lines of aborted transactions too: after a retry they are there twice");
            if let Some(trouble) = &seen.trouble {
                println!("the consumer: {trouble}");
            }
        }
        println!("\n{WARNING}{NEXT}");
        exact
    }
}

/// What to type next.
const NEXT: &str = "
next:
  make demo ARGS=--kafka           a real Kafka, kill -9, Kafka's own consumer
  spoolway agent -f FILE --once    your own files; to begin with, a FILE is
                                   deploy/samples/web-access.yaml";

fn row(file: &Written, shipped: u64, completed: bool) -> FileRow {
    let stage = match shipped {
        _ if completed => Stage::Completed,
        0 => Stage::Waiting,
        n if n < file.bytes => Stage::Reading,
        _ => Stage::Settling,
    };
    FileRow { name: file.name.clone(), bytes: file.bytes, shipped, stage }
}

/// The newest receipts, the newest last.
fn newest(seen: &Seen, count: usize) -> Vec<ReceiptRow> {
    seen.receipts[seen.receipts.len().saturating_sub(count)..].iter().map(ReceiptRow::from).collect()
}

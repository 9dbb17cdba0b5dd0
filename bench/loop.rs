//! The smallest loop around librdkafka that ships lines in transactions and does nothing else: it keeps no place and
//! renames nothing. What this client can do at most, so what the agent is compared with.
//!
//! `loop --bootstrap HOST:PORT --topic T [--partitions N] [--compression lz4|none] FILES` sends file i to partition i mod N.
//!
//! Three ways to hand over the lines were measured (25 Nov 2026, 2 cores (AMD EPYC), 24 GiB, Kafka and a compiler on the same
//! cores; 1 GB, lz4, 1 partition; medians of four runs that took turns; the commit before this sentence has the program):
//!
//! | | lines/s | CPU s/GB |
//! |---|---|---|
//! | rdkafka's `BaseProducer::send`, a call for each line | 1.19 M | 5.3 |
//! | `rd_kafka_produce_batch`, lines copied | 1.31 M | 4.2 |
//! | `rd_kafka_produce_batch`, lines lent (this program) | 1.63 M | 3.1 |
//!
//! All of them have [`flush`]: rdkafka's own, inside `commit_transaction`, waits in steps of 100 ms and lets the linger pass
//! before the last lines leave, 95 ms in every commit instead of 45.

use std::collections::VecDeque;
use std::ffi::{CString, c_void};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rdkafka::bindings as rdk;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::util::Timeout;

const CHUNK_BYTES: usize = 1 << 20;
const OPEN_FILES: usize = 8;
const TRANSACTION_BYTES: usize = 64 << 20;
const TRANSACTION_TIME: Duration = Duration::from_secs(1);
/// `queue.buffering.max.messages`. The loop waits before it would be full, so no batch is ever half taken.
const QUEUE_LINES: u64 = 100_000;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 1)]
    partitions: usize,
    #[arg(long, default_value = "lz4")]
    compression: String,
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// A chunk that librdkafka reads from: it lives until the report of its last line.
struct Lent {
    lines_left: AtomicUsize,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Reports {
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    /// The address of a `Lent`.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, lent: usize) {
        let counter = if result.is_ok() { &self.delivered } else { &self.failed };
        counter.fetch_add(1, Relaxed);
        let lent = lent as *mut Lent;
        // SAFETY: `send` made the address with `Box::into_raw` and counted the lines. Each is reported once, and this is
        // only called from `poll`, on the loop's own thread: the last one is the last use.
        unsafe {
            if (*lent).lines_left.fetch_sub(1, Relaxed) == 1 {
                drop(Box::from_raw(lent));
            }
        }
    }
}

struct Input {
    file: File,
    partition: i32,
    /// Of a chunk: a small file needs no large one.
    size: usize,
    /// The next chunk; it begins with the `carried` bytes of a line whose end was not in the last one.
    chunk: Vec<u8>,
    carried: usize,
}

impl Input {
    /// Reads on. The whole lines, which may be none; `None` at the end of the file.
    fn read(&mut self) -> Result<Option<Vec<u8>>> {
        let read = self.file.read(&mut self.chunk[self.carried..])?;
        if read == 0 {
            ensure!(self.carried == 0, "a file must end with a line end, and no line be longer than a chunk");
            return Ok(None);
        }
        let filled = self.carried + read;
        let end = memchr::memrchr(b'\n', &self.chunk[..filled]).map_or(0, |at| at + 1);
        let mut next = vec![0; self.size];
        self.carried = filled - end;
        next[..self.carried].copy_from_slice(&self.chunk[end..filled]);
        let mut lines = std::mem::replace(&mut self.chunk, next);
        lines.truncate(end);
        Ok(Some(lines))
    }
}

struct Loop {
    producer: BaseProducer<Reports>,
    topic: *mut rdk::rd_kafka_topic_t,
    batch: Vec<rdk::rd_kafka_message_t>,
    lines: u64,
    bytes: u64,
    transactions: u32,
    committing: Duration,
}

impl Loop {
    fn open(options: &Options) -> Result<Self> {
        let producer: BaseProducer<Reports> = ClientConfig::new()
            .set("bootstrap.servers", &options.bootstrap)
            .set("transactional.id", "spoolway/bench/loop")
            .set("transaction.timeout.ms", "20000")
            .set("message.max.bytes", "1048000")
            .set("linger.ms", "50")
            .set("queue.buffering.max.kbytes", "32768")
            .set("queue.buffering.max.messages", QUEUE_LINES.to_string())
            .set("compression.type", &options.compression)
            .set("allow.auto.create.topics", "false")
            .set("enable.metrics.push", "false")
            .set("socket.keepalive.enable", "true")
            .create_with_context(Reports::default())?;
        producer.init_transactions(Timeout::Never)?;
        let name = CString::new(options.topic.as_str())?;
        // SAFETY: the client lives as long as the topic, which is never destroyed: the program ends with it.
        let topic =
            unsafe { rdk::rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        ensure!(!topic.is_null(), "cannot name the topic {}", options.topic);
        let batch = Vec::with_capacity(CHUNK_BYTES / 64);
        Ok(Self { producer, topic, batch, lines: 0, bytes: 0, transactions: 0, committing: Duration::ZERO })
    }

    /// Lends the lines to librdkafka, when there is room for all of them.
    fn send(&mut self, partition: i32, lines: Vec<u8>) -> Result<()> {
        self.bytes += lines.len() as u64;
        let lent = Box::into_raw(Box::new(Lent { lines_left: AtomicUsize::new(0), bytes: lines }));
        // SAFETY: just made, and nobody else has it yet.
        let bytes = unsafe { &(*lent).bytes };
        self.batch.clear();
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            self.batch.push(rdk::rd_kafka_message_t {
                err: rdk::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
                rkt: ptr::null_mut(),
                partition,
                payload: bytes[from..end].as_ptr().cast::<c_void>().cast_mut(),
                len: end - from,
                key: ptr::null_mut(),
                key_len: 0,
                offset: 0,
                _private: lent.cast(),
            });
            from = end + 1;
        }
        let count = self.batch.len();
        // SAFETY: as above; librdkafka has not seen it.
        unsafe { (*lent).lines_left.store(count, Relaxed) };
        self.make_room(count as u64)?;
        // SAFETY: the payloads live until their reports; without F_COPY and F_FREE librdkafka only reads them.
        let taken = unsafe {
            rdk::rd_kafka_produce_batch(self.topic, partition, 0, self.batch.as_mut_ptr(), i32::try_from(count)?)
        };
        ensure!(usize::try_from(taken) == Ok(count), "librdkafka took {taken} of {count} lines");
        self.lines += count as u64;
        Ok(())
    }

    fn make_room(&self, count: u64) -> Result<()> {
        let reports = self.producer.context();
        self.producer.poll(Duration::ZERO);
        while self.lines - reports.delivered.load(Relaxed) + count > QUEUE_LINES {
            // rdkafka's poll waits all of that time, whatever happens meanwhile; shorter waits only cost more CPU.
            self.producer.poll(Duration::from_millis(5));
            let failed = reports.failed.load(Relaxed);
            ensure!(failed == 0, "{failed} lines were not delivered");
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        let start = Instant::now();
        flush(&self.producer)?;
        self.producer.commit_transaction(Timeout::Never)?;
        self.committing += start.elapsed();
        self.transactions += 1;
        Ok(())
    }
}

/// Sends everything now. While `rd_kafka_flush` runs, the linger does not count; it waits for reports that only our poll
/// takes off the queue, so both take turns.
fn flush(producer: &BaseProducer<Reports>) -> Result<()> {
    loop {
        // SAFETY: the handle is the living producer's.
        match unsafe { rdk::rd_kafka_flush(producer.client().native_ptr(), 2) } {
            rdk::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => return Ok(()),
            rdk::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT => producer.poll(Duration::ZERO),
            other => anyhow::bail!("cannot flush: {other:?}"),
        }
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut ship = Loop::open(&options)?;
    let mut waiting = options.files.iter().enumerate();
    let mut open: VecDeque<Input> = VecDeque::new();
    let start = Instant::now();
    let mut begun: Option<(Instant, u64)> = None;
    loop {
        while open.len() < OPEN_FILES
            && let Some((index, path)) = waiting.next()
        {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            let partition = i32::try_from(index % options.partitions)?;
            let size = CHUNK_BYTES.min(usize::try_from(file.metadata()?.len())?);
            open.push_back(Input { file, partition, size, chunk: vec![0; size], carried: 0 });
        }
        // A chunk of each file in turn.
        let Some(mut input) = open.pop_front() else {
            break;
        };
        let Some(lines) = input.read()? else { continue };
        let (since, bytes_before) = match begun {
            Some(begun) => begun,
            None => {
                ship.producer.begin_transaction()?;
                (Instant::now(), ship.bytes)
            }
        };
        begun = Some((since, bytes_before));
        if !lines.is_empty() {
            ship.send(input.partition, lines)?;
        }
        open.push_back(input);
        if ship.bytes - bytes_before >= TRANSACTION_BYTES as u64 || since.elapsed() >= TRANSACTION_TIME {
            ship.commit()?;
            begun = None;
        }
    }
    if begun.is_some() {
        ship.commit()?;
    }
    report(&ship, start.elapsed().as_secs_f64());
    Ok(())
}

/// One line of names and values, for run.sh to read.
fn report(ship: &Loop, seconds: f64) {
    // SAFETY: rusage is plain numbers, all of which getrusage fills in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let time = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    let cpu = time(usage.ru_utime) + time(usage.ru_stime);
    let Loop { lines, bytes, transactions, .. } = ship;
    println!(
        "lines {lines} bytes {bytes} seconds {seconds:.2} lines_per_second {:.0} cpu_seconds_per_gb {:.2} rss_mib {} \
         transactions {transactions} committing {:.2}",
        *lines as f64 / seconds,
        cpu / (*bytes as f64 / 1e9),
        usage.ru_maxrss / 1024,
        ship.committing.as_secs_f64(),
    );
}

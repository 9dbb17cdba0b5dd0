//! The smallest loop around librdkafka that ships lines in transactions and does nothing else.

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
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::util::Timeout;

const CHUNK: usize = 1 << 20;
const OPEN_FILES: usize = 8;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    #[arg(long, default_value = "lz4")]
    compression: String,
    #[arg(long, default_value = "batch")]
    api: String,
    #[arg(long, default_value_t = 90_000)]
    inflight: u64,
    #[arg(long, default_value_t = 2)]
    flush_ms: i32,
    #[arg(long, default_value_t = false)]
    quick: bool,
    #[arg(long = "set")]
    set: Vec<String>,
    files: Vec<PathBuf>,
}

#[derive(Default)]
struct Reports {
    delivered: AtomicU64,
    failed: AtomicU64,
}
impl ClientContext for Reports {}
impl ProducerContext for Reports {
    type DeliveryOpaque = usize;
    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        match result {
            Ok(_) => self.delivered.fetch_add(1, Relaxed),
            Err(_) => self.failed.fetch_add(1, Relaxed),
        };
        if opaque != 0 {
            let chunk = opaque as *mut Shared;
            unsafe {
                if (*chunk).left.fetch_sub(1, Relaxed) == 1 {
                    drop(Box::from_raw(chunk));
                }
            }
        }
    }
}

struct Shared {
    left: AtomicUsize,
    buf: Vec<u8>,
}

struct Input {
    file: File,
    partition: i32,
    buf: Vec<u8>,
    carry: usize,
}

fn main() -> Result<()> {
    let o = Options::parse();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &o.bootstrap)
        .set("transactional.id", "spoolway/bench/loop")
        .set("transaction.timeout.ms", "20000")
        .set("message.max.bytes", "1048000")
        .set("linger.ms", "50")
        .set("queue.buffering.max.kbytes", "32768")
        .set("queue.buffering.max.messages", "100000")
        .set("compression.type", &o.compression)
        .set("allow.auto.create.topics", "false")
        .set("enable.metrics.push", "false")
        .set("socket.keepalive.enable", "true");
    for s in &o.set {
        let (k, v) = s.split_once('=').context("k=v")?;
        config.set(k, v);
    }
    let p: BaseProducer<Reports> = config.create_with_context(Reports::default())?;
    p.init_transactions(Timeout::Never)?;
    let topic_c = std::ffi::CString::new(o.topic.clone())?;
    let rkt = unsafe { rdk::rd_kafka_topic_new(p.client().native_ptr(), topic_c.as_ptr(), ptr::null_mut()) };
    ensure!(!rkt.is_null());

    let mut waiting: Vec<(i32, &PathBuf)> =
        o.files.iter().enumerate().map(|(i, f)| (i as i32 % o.partitions, f)).rev().collect();
    let mut open: Vec<Input> = Vec::new();
    let start = Instant::now();
    let (mut lines, mut bytes, mut txns) = (0_u64, 0_u64, 0_u32);
    let (mut txn_bytes, mut txn_start) = (0_usize, None::<Instant>);
    let mut messages: Vec<rdk::rd_kafka_message_t> = Vec::with_capacity(16384);
    let mut turn = 0;
    let mut commit_time = Duration::ZERO;
    loop {
        while open.len() < OPEN_FILES {
            let Some((partition, path)) = waiting.pop() else { break };
            open.push(Input { file: File::open(path)?, partition, buf: vec![0; CHUNK], carry: 0 });
        }
        if open.is_empty() {
            break;
        }
        if txn_start.is_none() {
            p.begin_transaction()?;
            txn_start = Some(Instant::now());
        }
        turn = (turn + 1) % open.len();
        let input = &mut open[turn];
        let n = input.file.read(&mut input.buf[input.carry..])?;
        if n == 0 {
            ensure!(input.carry == 0, "no newline at the end");
            open.swap_remove(turn);
            continue;
        }
        let filled = input.carry + n;
        let end = memchr::memrchr(b'\n', &input.buf[..filled]).context("line longer than a chunk")? + 1;
        if o.api == "send" {
            let mut from = 0;
            for nl in memchr::memchr_iter(b'\n', &input.buf[..end]) {
                let line = &input.buf[from..nl];
                let mut rec =
                    BaseRecord::<(), [u8], usize>::with_opaque_to(&o.topic, 0).payload(line).partition(input.partition);
                while let Err((e, back)) = p.send(rec) {
                    ensure!(e.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull), "{e}");
                    rec = back;
                    p.poll(Duration::from_millis(1));
                }
                from = nl + 1;
                lines += 1;
            }
            input.buf.copy_within(end..filled, 0);
        } else {
            let copy = o.api == "batch";
            messages.clear();
            let mut from = 0;
            let (base, opaque) = if copy {
                (input.buf.as_ptr(), ptr::null_mut())
            } else {
                let mut next = vec![0; CHUNK];
                next[..filled - end].copy_from_slice(&input.buf[end..filled]);
                let b = Box::new(Shared {
                    left: AtomicUsize::new(usize::MAX / 2),
                    buf: std::mem::replace(&mut input.buf, next),
                });
                let base = b.buf.as_ptr();
                (base, Box::into_raw(b).cast())
            };
            let data = unsafe { std::slice::from_raw_parts(base, end) };
            for nl in memchr::memchr_iter(b'\n', data) {
                messages.push(rdk::rd_kafka_message_t {
                    err: rdk::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
                    rkt: ptr::null_mut(),
                    partition: input.partition,
                    payload: unsafe { base.add(from) as *mut _ },
                    len: nl - from,
                    key: ptr::null_mut(),
                    key_len: 0,
                    offset: 0,
                    _private: opaque,
                });
                from = nl + 1;
            }
            if !copy {
                unsafe { (*opaque.cast::<Shared>()).left.store(messages.len(), Relaxed) };
            }
            // never let the queue be full inside a batch
            let n = messages.len() as u64;
            p.poll(Duration::ZERO);
            while o.quick && lines - p.context().delivered.load(Relaxed) + n > o.inflight {
                p.poll(Duration::from_millis(1));
                ensure!(p.context().failed.load(Relaxed) == 0);
            }
            while lines - p.context().delivered.load(Relaxed) + n > o.inflight {
                p.poll(Duration::from_millis(5));
                ensure!(p.context().failed.load(Relaxed) == 0);
            }
            let done = unsafe {
                rdk::rd_kafka_produce_batch(
                    rkt,
                    input.partition,
                    if copy { rdk::RD_KAFKA_MSG_F_COPY } else { 0 },
                    messages.as_mut_ptr(),
                    messages.len() as i32,
                )
            };
            ensure!(done as usize == messages.len(), "queue full: {done} {}", messages.len());
            lines += n;
            if copy {
                input.buf.copy_within(end..filled, 0);
            }
        }
        input.carry = filled - end;
        bytes += end as u64;
        txn_bytes += end;
        if txn_bytes >= 64 << 20 || txn_start.is_some_and(|t| t.elapsed() >= Duration::from_secs(1)) {
            let t = Instant::now();
            flush(&p, o.flush_ms);
            p.commit_transaction(Timeout::Never)?;
            commit_time += t.elapsed();
            txns += 1;
            txn_bytes = 0;
            txn_start = None;
        }
    }
    if txn_start.is_some() {
        flush(&p, o.flush_ms);
        p.commit_transaction(Timeout::Never)?;
        txns += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut u: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut u) };
    let tv = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    let cpu = tv(u.ru_utime) + tv(u.ru_stime);
    println!(
        "lines {lines} bytes {bytes} seconds {seconds:.3} lines_per_second {:.0} cpu_seconds_per_gb {:.2} (user {:.2} sys {:.2}) rss_mib {} transactions {txns} committing {:.2}",
        lines as f64 / seconds,
        cpu / (bytes as f64 / 1e9),
        tv(u.ru_utime), tv(u.ru_stime),
        u.ru_maxrss / 1024,
        commit_time.as_secs_f64(),
    );
    Ok(())
}

fn flush(p: &BaseProducer<Reports>, ms: i32) {
    if ms == 0 {
        return;
    }
    while unsafe { rdk::rd_kafka_flush(p.client().native_ptr(), ms) }
        != rdk::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    {
        p.poll(Duration::ZERO);
    }
}

//! A producer to which chunks are lent, not copied: one call for all lines of a chunk, and a flush that does not wait out the linger.
//!
//! Measured against `BaseProducer::send`, a call and a copy for each line: a third less CPU (`bench/loop.rs` has the table).
//! This is the only module of the sink with `unsafe`; what makes it sound:
//! a [`Lent`] chunk lives until the delivery report of its last line, librdkafka only reads it (no `F_FREE`, no `F_COPY`), and reports
//! come on the thread that polls. A chunk whose reports never come (client destroyed) is leaked, never freed too early.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::bindings as rdk;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::deliveries::{Deliveries, Failed};
use super::failure::code_of;
use super::heard::Heard;
use crate::agent::channel::Records;
use crate::agent::channel::headers::Labels;
use crate::agent::channel::progress::Run;
use crate::agent::channel::splitter::Line;

/// Waits for room in the queue in steps of this: shorter ones cost more CPU and gain nothing.
const ROOM: Duration = Duration::from_millis(5);
/// While `rd_kafka_flush` runs, the linger does not count; reports are taken in between.
const FLUSH_MS: i32 = 2;

/// Buffers are kept for the next chunks up to this many bytes, and no smaller ones than [`WORTH_KEEPING`]: a new one costs page faults.
const SPARE_BYTES: usize = 8 << 20;
/// See [`SPARE_BYTES`].
const WORTH_KEEPING: usize = 256 << 10;

/// A chunk that librdkafka reads from.
struct Lent {
    /// Lines that librdkafka has and has not reported.
    lines_left: usize,
    slot: u32,
    /// All of it goes to one partition: what is reported of it comes together, and is handed on with its last line.
    together: bool,
    told: Option<Run>,
    bytes: Vec<u8>,
}

/// What the client tells while it is polled.
#[derive(Default, Clone)]
pub struct Context {
    /// The last bad thing of its connections.
    pub heard: Heard,
    deliveries: Arc<Mutex<Deliveries>>,
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Context {
    /// Reports of the open transaction.
    pub fn deliveries(&self) -> MutexGuard<'_, Deliveries> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer for the next chunk: what it holds is of no use.
    pub fn spare(&self) -> Vec<u8> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn keep(&self, buffer: Vec<u8>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: usize = spare.iter().map(Vec::capacity).sum();
        if buffer.capacity() >= WORTH_KEEPING && kept + buffer.capacity() <= SPARE_BYTES {
            spare.push(buffer);
        }
    }

    /// A line of the chunk has its offset.
    ///
    /// # Safety
    /// `lent` is alive, and this is the thread that polls.
    unsafe fn delivered(&self, lent: *mut Lent, run: Run) {
        // SAFETY: see above; no reference to the whole chunk is made, for its bytes are being read.
        let (slot, together, told) = unsafe { ((*lent).slot, (*lent).together, &mut (*lent).told) };
        if !together {
            return self.deliveries().delivered(slot, run);
        }
        if !told.as_mut().is_some_and(|told| told.join(run))
            && let Some(before) = told.replace(run)
        {
            self.deliveries().delivered(slot, before);
        }
    }

    /// `count` lines are done with; the chunk goes with its last one.
    ///
    /// # Safety
    /// `lent` is alive (at least `count` of its lines are not reported), and this is the thread that polls.
    unsafe fn give_back(&self, lent: *mut Lent, count: usize) {
        // SAFETY: see above; whoever takes the count to zero is the last user.
        let lent = unsafe {
            (*lent).lines_left -= count;
            if (*lent).lines_left > 0 {
                return;
            }
            Box::from_raw(lent)
        };
        if let Some(told) = lent.told {
            self.deliveries().delivered(lent.slot, told);
        }
        self.keep(lent.bytes);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        self.heard.log(level, fac, message);
    }

    fn error(&self, error: KafkaError, said: &str) {
        self.heard.error(error, said);
    }
}

impl ProducerContext for Context {
    /// The address of a [`Lent`], or 0 for a record of our own.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, lent: usize) {
        let lent = lent as *mut Lent;
        let ours = lent.is_null();
        match result {
            Ok(_) if ours => {}
            Ok(message) => {
                // A batch that the broker knew already counts as delivered, but its offset is not told (it is negative then).
                let first = Some(message.offset()).filter(|offset| *offset >= 0);
                // SAFETY: `Lender` passes 0 or a chunk that lives until its last report, which this is at the latest.
                unsafe { self.delivered(lent, Run { partition: message.partition(), first, count: 1 }) };
            }
            Err((error, message)) => {
                let (code, bytes) = (code_of(error).unwrap_or(Code::Fail), message.payload_len() as u64);
                // SAFETY: the same.
                let slot = (!ours).then(|| unsafe { (*lent).slot });
                self.deliveries().failed(Failed { slot, code, bytes, topic: message.topic().to_owned() });
            }
        }
        if !ours {
            // SAFETY: the same.
            unsafe { self.give_back(lent, 1) };
        }
    }
}

/// librdkafka's handle of a topic.
struct Topic(*mut rdk::rd_kafka_topic_t);

// SAFETY: librdkafka's handles may be used from any thread.
unsafe impl Send for Topic {}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: made by `rd_kafka_topic_new`, destroyed once, before its client (field order of `Lender`).
        unsafe { rdk::rd_kafka_topic_destroy(self.0) }
    }
}

/// Room for the messages of one call; empty between calls.
#[derive(Default)]
struct Batch(Vec<rdk::rd_kafka_message_t>);

// SAFETY: it holds pointers only during a call.
unsafe impl Send for Batch {}

/// The producer.
pub struct Lender {
    topics: HashMap<String, Topic>,
    batch: Batch,
    producer: BaseProducer<Context>,
}

impl Lender {
    /// Around a producer of which nobody else has the handle.
    pub fn new(producer: BaseProducer<Context>) -> Self {
        Lender { topics: HashMap::new(), batch: Batch::default(), producer }
    }

    /// The producer, for the transactional calls and records of our own (with opaque 0).
    pub fn producer(&self) -> &BaseProducer<Context> {
        &self.producer
    }

    /// Lends `bytes` and sends their `lines`, which count from `back`. Waits where the queue is full, as long as nothing failed.
    ///
    /// # Errors
    /// Some lines were refused; those before them may be on their way.
    pub fn send(&mut self, to: &Records, bytes: Vec<u8>, lines: &[Line]) -> Result<(), Code> {
        let topic = self.topic(&to.topic)?;
        let chunk = Lent { lines_left: lines.len(), slot: to.slot, together: to.spread <= 1, told: None, bytes };
        let lent = Box::into_raw(Box::new(chunk));
        // SAFETY: just made, alive until the last of its lines is given back, which none is yet.
        let body = unsafe { &(&(*lent).bytes)[to.back..] };
        if let Some(labels) = &to.headers {
            return self.send_labelled(to, labels, body, lent, lines);
        }
        let (spread, mut unsent) = (to.spread.max(1) as usize, lines.len());
        for turn in 0..spread {
            // One call a partition: the flag that lets each message name its own (RD_KAFKA_MSG_F_PARTITION) breaks a transaction whose
            // topic is not known to the client yet.
            let partition = partition_of(to, turn);
            let lines = lines.iter().skip(turn).step_by(spread);
            self.batch.0.clear();
            self.batch.0.extend(lines.map(|line| message(line.of(body), partition, to.key.as_deref(), lent)));
            let sent = self.send_batch(topic, partition, &mut unsent);
            self.batch.0.clear();
            if sent.is_err() {
                // SAFETY: these lines were refused, and nobody reports them.
                unsafe { self.producer.context().give_back(lent, unsent) };
                return sent;
            }
        }
        if lines.is_empty() {
            // SAFETY: nobody else has seen it.
            drop(unsafe { Box::from_raw(lent) });
        }
        Ok(())
    }

    /// Sends what is in `batch`; `unsent` goes down by what librdkafka took.
    fn send_batch(
        &mut self,
        topic: *mut rdk::rd_kafka_topic_t,
        partition: i32,
        unsent: &mut usize,
    ) -> Result<(), Code> {
        let (mut from, mut room, mut alone) = (0, self.batch.0.len(), false);
        while from < self.batch.0.len() {
            let to = self.batch.0.len().min(from + room);
            let rest = &mut self.batch.0[from..to];
            // SAFETY: the payloads live until their reports; librdkafka reads the array during the call only.
            unsafe { rdk::rd_kafka_produce_batch(topic, partition, 0, rest.as_mut_ptr(), rest.len() as i32) };
            let refused =
                |m: &rdk::rd_kafka_message_t| m.err != rdk::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
            // A full queue refuses everything behind the first refusal, so order holds; anything else ends the transaction.
            let taken = rest.iter().position(refused).unwrap_or(rest.len());
            let why = rest.get(taken).map(|m| Code::from(m.err));
            let fatal = rest.iter().filter(|m| refused(m)).any(|m| Code::from(m.err) != Code::QueueFull);
            *unsent -= rest.iter().filter(|m| !refused(m)).count();
            from += taken;
            if let Some(why) = why {
                if fatal {
                    return Err(why);
                }
                alone &= taken == 0;
                room = self.wait_for_room(&mut alone)?;
            }
        }
        Ok(())
    }

    /// The same for records with headers, which no call takes many of: each is copied, and `lent` only counts them.
    fn send_labelled(
        &self,
        to: &Records,
        labels: &Labels,
        body: &[u8],
        lent: *mut Lent,
        lines: &[Line],
    ) -> Result<(), Code> {
        for (turn, line) in lines.iter().enumerate() {
            let mut record: BaseRecord<'_, [u8], [u8], usize> =
                BaseRecord::with_opaque_to(&to.topic, lent as usize).payload(line.of(body));
            record.partition = Some(partition_of(to, turn));
            record.key = to.key.as_deref();
            record.headers = Some(headers_of(labels, line));
            if let Err(code) = self.send_one(record) {
                // SAFETY: these lines were never taken, and nobody reports them.
                unsafe { self.producer.context().give_back(lent, lines.len() - turn) };
                return Err(code);
            }
        }
        Ok(())
    }

    fn send_one(&self, mut record: BaseRecord<'_, [u8], [u8], usize>) -> Result<(), Code> {
        let mut alone = false;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    self.wait_for_room(&mut alone)?;
                    record = back;
                }
                Err((error, _)) => return Err(code_of(&error).unwrap_or(Code::Fail)),
            }
        }
    }

    /// The queue is full: waits until records left it, and tells how many. So many more fit, near enough; each one that is tried in vain
    /// costs as much as one that is taken. `alone` says that nothing was in it when the record was refused, then that nothing is.
    ///
    /// # Errors
    /// Something failed meanwhile, and there will be no room; or the record is larger than the queue.
    fn wait_for_room(&self, alone: &mut bool) -> Result<usize, Code> {
        if *alone {
            return Err(Code::MessageSizeTooLarge);
        }
        let full = self.producer.in_flight_count();
        loop {
            self.producer.poll(ROOM);
            if self.producer.context().deliveries().failure().is_some() {
                return Err(Code::QueueFull);
            }
            let now = self.producer.in_flight_count();
            *alone = now == 0;
            if now < full || *alone {
                return Ok(usize::try_from(full - now).unwrap_or(0).max(1));
            }
        }
    }

    /// Waits until every record is reported. Messages time out by themselves, so this ends.
    ///
    /// # Errors
    /// As `rd_kafka_flush`.
    pub fn flush(&self) -> KafkaResult<()> {
        loop {
            // SAFETY: the handle is the living producer's.
            match unsafe { rdk::rd_kafka_flush(self.producer.client().native_ptr(), FLUSH_MS) } {
                rdk::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => return Ok(()),
                rdk::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT => self.producer.poll(Duration::ZERO),
                other => return Err(KafkaError::Flush(other.into())),
            }
        }
    }

    /// As if the brokers' answer had made the client useless.
    #[cfg(test)]
    pub fn give_up(&self, code: rdk::rd_kafka_resp_err_t) {
        // SAFETY: the handle is the living producer's.
        unsafe { rdk::rd_kafka_test_fatal_error(self.producer.client().native_ptr(), code, c"test".as_ptr()) };
    }

    fn topic(&mut self, name: &str) -> Result<*mut rdk::rd_kafka_topic_t, Code> {
        if let Some(topic) = self.topics.get(name) {
            return Ok(topic.0);
        }
        let c_name = CString::new(name).map_err(|_| Code::InvalidTopic)?;
        // SAFETY: the client outlives the handle (field order); no configuration is handed over.
        let topic = unsafe {
            rdk::rd_kafka_topic_new(self.producer.client().native_ptr(), c_name.as_ptr(), ptr::null_mut())
        };
        if topic.is_null() {
            return Err(Code::InvalidTopic);
        }
        self.topics.insert(name.to_owned(), Topic(topic));
        Ok(topic)
    }
}

/// The partition of line number `turn` of a call.
fn partition_of(to: &Records, turn: usize) -> i32 {
    match to.spread {
        0 | 1 => to.partition,
        count => ((to.partition as usize + turn) % count as usize) as i32,
    }
}

fn headers_of(labels: &Labels, line: &Line) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(labels.same.len() + 1);
    let same = labels.same.iter().map(|(key, value)| Header { key, value: Some(value) });
    let headers = same.fold(headers, OwnedHeaders::insert);
    match &labels.position {
        Some((key, from)) => headers.insert(Header { key, value: Some(&(from + u64::from(line.at)).to_string()) }),
        None => headers,
    }
}

/// librdkafka copies the key during the call.
fn message(line: &[u8], partition: i32, key: Option<&[u8]>, lent: *mut Lent) -> rdk::rd_kafka_message_t {
    rdk::rd_kafka_message_t {
        err: rdk::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
        rkt: ptr::null_mut(),
        partition,
        payload: line.as_ptr().cast::<c_void>().cast_mut(),
        len: line.len(),
        key: key.map_or(ptr::null_mut(), |key| key.as_ptr().cast::<c_void>().cast_mut()),
        key_len: key.map_or(0, <[u8]>::len),
        offset: 0,
        _private: lent.cast(),
    }
}

//! The producer behind [`super::Producer`]: what librdkafka is told, and what its failures mean. I/O.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::util::Timeout;

use super::Producer;
use super::client::SLICE;
use super::deliveries::{Deliveries, Failed, tells_no_cause};
use super::failure::{Doing, Names, code_of, judge, judge_code};
use super::lend::{Context, Lender};
use crate::agent::channel::file::Reason;
use crate::agent::channel::splitter::Line;
use crate::agent::channel::{Delivered, Records};
use crate::agent::faults::{self, Point};
use crate::agent::sink::{Failure, SinkError};
use crate::pipeline::report::FlowReason;

/// What was purged may be told this much before its cause.
const CAUSE: Duration = Duration::from_millis(500);
/// Idle, with bad news of the connections: ask for a sign of life this often.
const ASK_EVERY: Duration = Duration::from_secs(3);

/// A producer; with `ExactlyOnce` it has its transactional id to itself. Without transactions, committed is what was delivered: progress
/// follows lines.
pub struct Sender {
    pub(super) lender: Lender,
    pub(super) transactional: bool,
    pub(super) context: Context,
    pub(super) names: Names,
    /// The pipeline's topic.
    pub(super) topic: String,
    /// `batch.size` in force, and what it is to be for the next one.
    pub(super) batch: u64,
    pub(super) smaller: Arc<AtomicU64>,
    /// When the brokers were last asked for a sign of life, while there was nothing to send.
    pub(super) asked: Option<Instant>,
}

impl Sender {
    fn judge(&self, error: &KafkaError, doing: Doing) -> SinkError {
        self.lender.producer().poll(Duration::ZERO);
        let no_cause = code_of(error).filter(|code| tells_no_cause(*code));
        self.delivery_failure()
            .or_else(|| no_cause.and_then(|_| self.cause()).map(|cause| self.judge_cause(cause)))
            .unwrap_or_else(|| judge(error, doing, &self.names, self.context.heard.last().as_ref()))
    }

    /// What a delivery report said is closer to the cause than what the next call says.
    fn delivery_failure(&self) -> Option<SinkError> {
        let failed = self.context.deliveries().failure()?.clone();
        Some(self.judge_failed(failed))
    }

    /// A fatal error, such as that a successor took over, purges the queue, and refuses whatever is sent then: its cause is told elsewhere.
    fn judge_failed(&self, mut failed: Failed) -> SinkError {
        let deadline = Instant::now() + CAUSE;
        while tells_no_cause(failed.code) {
            if let Some(cause) = self.cause() {
                return self.judge_cause(cause);
            }
            if Instant::now() >= deadline {
                break;
            }
            self.lender.producer().poll(Duration::from_millis(10));
            if let Some(told) = self.context.deliveries().failure() {
                failed = told.clone();
            }
        }
        self.judge_delivery(failed)
    }

    /// Why the client gave everything up, in its own words.
    fn cause(&self) -> Option<(Code, String)> {
        let producer = self.lender.producer();
        if let Some(fatal) = producer.client().fatal_error() {
            return Some(fatal);
        }
        // In a transaction that can only be aborted this begins nothing, and tells the reason.
        match self.transactional.then(|| producer.begin_transaction()) {
            Some(Err(KafkaError::Transaction(e))) if e.txn_requires_abort() => Some((e.code(), e.string())),
            _ => None,
        }
    }

    fn judge_cause(&self, (code, said): (Code, String)) -> SinkError {
        let (heard, topic) = (self.context.heard.last(), self.context.heard.refused_topic());
        let doing = match (code, topic.as_deref()) {
            (_, Some(topic)) => Doing::Sending(topic),
            (Code::TopicAuthorizationFailed, None) => Doing::Commit, // it may be any of the three
            _ => Doing::Sending(&self.topic),
        };
        judge_code(code, &said, doing, &self.names, heard.as_ref())
    }

    /// Brokers refuse a batch as a whole. Only of a record that is as large as a batch may be is it known that it travelled alone;
    /// before that, smaller batches are tried, or its neighbours' files would be set aside in its place.
    fn judge_delivery(&self, Failed { slot, code, bytes, topic }: Failed) -> SinkError {
        let aside = |slot, reason, message| {
            let failure = Failure::Aside { slot, reason };
            SinkError { failure, reason: FlowReason::FilesSetAside, message }
        };
        match (code, slot) {
            (Code::MessageSizeTooLarge, Some(slot)) if bytes.max(1) >= self.batch => {
                aside(slot, Reason::RecordTooLarge, format!("a record is too large for topic {topic}"))
            }
            (Code::MessageSizeTooLarge, Some(_)) => {
                self.smaller.store(bytes.max(self.batch / 10).max(1), Ordering::Relaxed);
                let message =
                    format!("topic {topic} takes no batch of {} bytes; smaller ones are tried", self.batch);
                SinkError { failure: Failure::Smaller, reason: FlowReason::TransactionFailed, message }
            }
            // Of the pipeline's own topic that is said when the sink is opened.
            (Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition, Some(slot))
                if topic != self.topic =>
            {
                let message = format!("it was begun on topic {topic}, and that topic, or its partition, is gone");
                aside(slot, Reason::TopicGone, message)
            }
            _ => {
                let heard = self.context.heard.last();
                judge_code(code, &code.to_string(), Doing::Sending(&topic), &self.names, heard.as_ref())
            }
        }
    }
}

impl Producer for Sender {
    fn begin(&mut self) -> Result<(), SinkError> {
        *self.context.deliveries() = Deliveries::default();
        if !self.transactional {
            return Ok(());
        }
        self.lender.producer().begin_transaction().map_err(|e| self.judge(&e, Doing::Begin))
    }

    fn lines(&mut self, to: &Records, data: &mut Vec<u8>, lines: &[Line]) -> Result<(), SinkError> {
        let half = data.capacity() / 2;
        let sent = if data.len() < half {
            // A chunk far smaller than its buffer is copied, or many small files would hold much more memory than bytes.
            self.lender.send(to, data.as_slice().to_vec(), lines)
        } else if bytes_of(lines) < half {
            // The same where most of it is not shipped (onLongLine: Truncate, Skip).
            let (few, lines) = gathered(&data[to.back..], lines);
            self.lender.send(&Records { back: 0, ..to.clone() }, few, &lines)
        } else {
            self.lender.send(to, std::mem::take(data), lines)
        };
        if data.capacity() == 0 {
            *data = self.context.spare();
        }
        self.lender.producer().poll(Duration::ZERO);
        match self.delivery_failure() {
            Some(failure) => Err(failure),
            // The client itself refuses a record for its own size, or since it gave up already: that may be before any report tells it.
            None => sent.map_err(|code| {
                let topic = to.topic.clone();
                self.judge_failed(Failed { slot: Some(to.slot), code, bytes: u64::MAX, topic })
            }),
        }
    }

    fn record(
        &mut self,
        topic: &str,
        partition: Option<i32>,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<(), SinkError> {
        let mut record = BaseRecord::with_opaque_to(topic, 0).key(key.as_bytes());
        record.partition = partition;
        record.payload = value;
        loop {
            match self.lender.producer().send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    self.lender.producer().poll(Duration::from_millis(1));
                    if let Some(failure) = self.delivery_failure() {
                        return Err(failure);
                    }
                    record = back;
                }
                Err((error, _)) => return Err(self.judge(&error, Doing::Sending(topic))),
            }
        }
    }

    fn flush(&mut self) -> Result<Vec<Delivered>, SinkError> {
        self.lender.flush().map_err(|e| self.judge(&e, Doing::Sending(&self.topic)))?;
        match self.delivery_failure() {
            Some(failure) => Err(failure),
            None => Ok(self.context.deliveries().take()),
        }
    }

    fn commit(&mut self) -> Result<(), SinkError> {
        self.flush()?; // progress and receipts
        faults::at(Point::BeforeCommit);
        if self.transactional {
            // librdkafka: any other time-out may leave it out of step with the coordinator.
            self.lender.producer().commit_transaction(Timeout::Never).map_err(|e| self.judge(&e, Doing::Commit))?;
        }
        self.context.heard.set(None);
        Ok(())
    }

    fn idle(&mut self) -> Option<(FlowReason, String)> {
        let producer = self.lender.producer();
        producer.poll(Duration::ZERO);
        let heard = self.context.heard.last()?;
        // A client tells that a connection broke, but not that another took its place: an answer proves it.
        if self.asked.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
            self.asked = Some(Instant::now());
            if producer.client().fetch_metadata(Some(&self.topic), SLICE).is_ok() {
                self.context.heard.set(None);
                return None;
            }
        }
        Some(heard)
    }
}

fn bytes_of(lines: &[Line]) -> usize {
    lines.iter().map(|line| line.len as usize).sum()
}

/// The lines alone, one behind the other.
fn gathered(body: &[u8], lines: &[Line]) -> (Vec<u8>, Vec<Line>) {
    let mut bytes = Vec::with_capacity(bytes_of(lines));
    let moved = lines.iter().map(|line| {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(line.of(body));
        Line { start, ..*line }
    });
    let moved = moved.collect();
    (bytes, moved)
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::super::client::{Brokers, Longest};
    use super::super::{Cluster as _, Settings};
    use super::*;
    use crate::pipeline::{Guarantee, KafkaSink};

    /// With a transaction begun.
    fn sender(brokers: &MockCluster<'static, DefaultProducerContext>) -> Sender {
        let spec = KafkaSink {
            bootstrap_servers: vec![brokers.bootstrap_servers()],
            topic: "web".into(),
            ..KafkaSink::default()
        };
        let settings = Settings {
            transactional_id: "spoolway/local/shop/web/a1".into(),
            agent: "a1".into(),
            checkpoint_topic: "progress".into(),
            receipt_topic: "receipts".into(),
            guarantee: Guarantee::ExactlyOnce,
            pin: super::super::pin::Pin::None,
            secrets: None,
        };
        let longest = Longest { line: 1_000, record: 1_000 };
        let mut brokers = Brokers::new(&spec, "local/shop/web/a1", &settings, longest, Arc::default());
        let mut sender = brokers.producer().unwrap();
        sender.begin().unwrap();
        sender
    }

    fn send_a_line(sender: &mut Sender) -> Result<(), SinkError> {
        let to = Records { topic: "web".into(), ..Records::default() };
        sender.lines(&to, &mut b"one".to_vec(), &[Line::new(0, 3)])
    }

    /// The client learns by itself that it is of no use any more, and no record that it has can tell why.
    #[test]
    fn a_client_that_gave_up_is_asked_why_by_whatever_call_comes_next() {
        let brokers = MockCluster::new(1).unwrap();
        brokers.create_topic("web", 1, 1).unwrap();
        let fenced = Some((Failure::Fenced, FlowReason::Fenced));
        let told = |error: SinkError| Some((error.failure, error.reason));
        let mut sending = sender(&brokers);
        sending.lender.give_up(RDKafkaRespErr::RD_KAFKA_RESP_ERR__FENCED);
        assert_eq!(send_a_line(&mut sending).map_err(told), Err(fenced));
        let mut recording = sender(&brokers);
        recording.lender.give_up(RDKafkaRespErr::RD_KAFKA_RESP_ERR__FENCED);
        assert_eq!(recording.record("web", None, "key", None).map_err(told), Err(fenced));

        // A transaction that can only be aborted: what it holds waits, and is not reported.
        let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        brokers.request_errors(RDKafkaApiKey::AddPartitionsToTxn, &[refused]);
        let mut sending = sender(&brokers);
        send_a_line(&mut sending).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while sending.cause().is_none() {
            assert!(Instant::now() < deadline, "the transaction is not refused");
            std::thread::sleep(Duration::from_millis(1));
        }
        let missing = Some((Failure::RetrySlowly, FlowReason::MissingGrant));
        assert_eq!(send_a_line(&mut sending).map_err(told), Err(missing));
    }

    #[test]
    fn lines_are_gathered_with_what_they_know_of_their_place() {
        let body = b"one--------two-----";
        let (bytes, lines) = gathered(body, &[Line::new(0, 3), Line::new(11, 3)]);
        assert_eq!(bytes, b"onetwo");
        assert_eq!(lines.iter().map(|line| line.of(&bytes)).collect::<Vec<_>>(), [b"one", b"two"]);
        assert_eq!(lines.iter().map(|line| line.at).collect::<Vec<_>>(), [0, 11]);
    }
}

//! librdkafka behind the traits of [`super`]. I/O, on the one plain thread of the loop: its transactional calls block.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::util::Timeout;

use super::deliveries::{Deliveries, Failed};
use super::failure::{Doing, Names, code_of, judge, judge_code};
use super::heard::Heard;
use super::lend::{Context, Lender};
use super::pin::Pin;
use super::{Checkpoint, Cluster, Producer, Topics, checkpoints, topics};
use crate::agent::channel::splitter::Line;
use crate::agent::channel::{Delivered, Records};
use crate::agent::faults::{self, Point};
use crate::agent::sink::{Failure, SinkError};
use crate::kafka;
use crate::pipeline::report::FlowReason;
use crate::pipeline::{Guarantee, KafkaSink as Spec};
use crate::secrets::{SecretError, Secrets};

/// The agent looks whether it is to stop at least this often.
pub(super) const SLICE: Duration = Duration::from_millis(500);
/// What was purged may be told this much before its cause.
const CAUSE: Duration = Duration::from_millis(500);
/// Idle, with bad news of the connections: ask for a sign of life this often.
const ASK_EVERY: Duration = Duration::from_secs(3);

fn missing(error: SecretError) -> SinkError {
    SinkError { failure: Failure::Retry, reason: FlowReason::SecretMissing, message: error.to_string() }
}

/// How long lines may be, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Longest {
    /// As they stand in their file (`maxLineBytes`).
    pub line: u64,
    /// As records: decoded they may be longer.
    pub record: u64,
}

/// The brokers of a pipeline, as one agent sees them.
pub struct Brokers {
    spec: Spec,
    guarantee: Guarantee,
    agent: String,
    transactional_id: String,
    longest: Longest,
    secrets: Secrets,
    stop: Arc<AtomicBool>,
    start: Instant,
    /// `batch.size` where the topic refused larger ones; 0: it did not.
    smaller: Arc<AtomicU64>,
    pub(super) names: Names,
    pub(super) topic: String,
    pub(super) checkpoint_topic: String,
    pub(super) receipt_topic: String,
    pub(super) fixed_partition: Option<i32>,
    pub(super) pin: Pin,
}

impl Brokers {
    /// `agent` is `<cluster>/<namespace>/<pipeline>/<agent>`; calls end early once `stop` is set.
    pub fn new(spec: &Spec, agent: &str, settings: &super::Settings, longest: Longest, stop: Arc<AtomicBool>) -> Self {
        let user = spec.sasl.as_ref().map_or("<principal>", |sasl| sasl.username.as_str());
        let prefix = agent.splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
        Brokers {
            spec: spec.clone(),
            guarantee: settings.guarantee,
            agent: agent.to_owned(),
            transactional_id: settings.transactional_id.clone(),
            longest,
            secrets: Secrets::new(settings.secrets.clone()),
            stop,
            start: Instant::now(),
            smaller: Arc::default(),
            names: Names {
                bootstrap: spec.bootstrap_servers.join(","),
                principal: format!("User:{user}"),
                id_prefix: format!("spoolway/{prefix}/"),
                checkpoint_topic: settings.checkpoint_topic.clone(),
            },
            topic: spec.topic.clone(),
            checkpoint_topic: settings.checkpoint_topic.clone(),
            receipt_topic: settings.receipt_topic.clone(),
            fixed_partition: spec.partition,
            pin: settings.pin.clone(),
        }
    }

    pub(super) fn admin_config(&self) -> Result<ClientConfig, SinkError> {
        kafka::admin(&self.spec, &self.agent, &self.secrets).map_err(missing)
    }

    pub(super) fn client<T, C>(&self, config: &ClientConfig, context: C) -> Result<T, SinkError>
    where
        T: FromClientConfigAndContext<C>,
        C: ClientContext,
    {
        T::from_config_and_context(config, context).map_err(|e| SinkError {
            failure: Failure::RetrySlowly,
            reason: FlowReason::UnsupportedBroker,
            message: format!("librdkafka refuses the settings: {e}; see spec.sink.kafka"),
        })
    }

    pub(super) fn consumer_config(&self, isolation: &str) -> Result<ClientConfig, SinkError> {
        kafka::consumer(&self.spec, &self.agent, &self.secrets, isolation).map_err(missing)
    }

    /// The last part of the transactional id, which decides the checkpoint partition.
    pub(super) fn agent_id(&self) -> &str {
        self.agent.splitn(4, '/').nth(3).unwrap_or_default()
    }

    /// `batch.size` in force.
    pub(super) fn batch_bytes(&self) -> u64 {
        let set = self.spec.properties.as_ref().and_then(|all| all.get("batch.size")?.parse().ok());
        set.unwrap_or(kafka::BATCH_BYTES)
    }

    /// True where every record has a key.
    pub(super) fn is_keyed(&self) -> bool {
        self.spec.key.is_some()
    }

    pub(super) fn longest(&self) -> Longest {
        self.longest
    }

    pub(super) fn transactional_id(&self) -> &str {
        &self.transactional_id
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Calls again what timed out in a slice of `time`, until it is over, the credentials are refused, or the agent is to stop.
    pub(super) fn patiently<T>(
        &self,
        call: impl Fn(Duration) -> KafkaResult<T>,
        heard: &Heard,
        time: Duration,
    ) -> KafkaResult<T> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let result = call(SLICE.min(left));
            let again = match &result {
                Err(KafkaError::Transaction(e)) => e.is_retriable(),
                Err(e) => matches!(
                    code_of(e),
                    Some(Code::OperationTimedOut | Code::BrokerTransportFailure | Code::AllBrokersDown)
                ),
                Ok(_) => false,
            };
            let refused = heard.last().is_some_and(|(reason, _)| reason == FlowReason::AuthenticationFailed);
            if !again || refused || left.is_zero() || self.is_stopping() {
                return result;
            }
            if left > SLICE {
                // Some calls fail at once while no broker is connected.
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

impl Cluster for Brokers {
    type Producer = Sender;

    fn prepare(&mut self) -> Result<Topics, SinkError> {
        topics::prepare(self)
    }

    fn producer(&mut self) -> Result<Sender, SinkError> {
        let context = Context::default();
        let heard = context.heard.clone();
        let (spec, id) = (&self.spec, &self.transactional_id);
        let config = kafka::producer(spec, &self.agent, &self.secrets, self.guarantee, id, self.longest.record);
        let mut config = config.map_err(missing)?;
        let smaller = self.smaller.load(Ordering::Relaxed);
        let batch = if smaller > 0 { smaller } else { self.batch_bytes() };
        config.set("batch.size", batch.to_string());
        let producer: BaseProducer<Context> = self.client(&config, context.clone())?;
        let init = |time: Duration| {
            let result = producer.init_transactions(time);
            producer.poll(Duration::ZERO); // brings what was heard of the connections
            result
        };
        let transactional = self.guarantee == Guarantee::ExactlyOnce;
        if transactional {
            self.patiently(init, &heard, kafka::TRANSACTION_TIMEOUT * 2)
                .map_err(|e| judge(&e, Doing::Init, &self.names, heard.last().as_ref()))?;
        }
        heard.set(None);
        let (lender, names, topic) = (Lender::new(producer), self.names.clone(), self.topic.clone());
        Ok(Sender {
            lender,
            transactional,
            context,
            names,
            topic,
            batch,
            smaller: self.smaller.clone(),
            asked: None,
        })
    }

    fn checkpoints(&mut self, partition: i32) -> Result<Vec<Checkpoint>, SinkError> {
        checkpoints::read(self, &[partition])
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A producer; with `ExactlyOnce` it has its transactional id to itself. Without transactions, committed is what was delivered: progress
/// follows lines.
pub struct Sender {
    lender: Lender,
    transactional: bool,
    context: Context,
    names: Names,
    topic: String,
    /// `batch.size` in force, and what it is to be for the next one.
    batch: u64,
    smaller: Arc<AtomicU64>,
    /// When the brokers were last asked for a sign of life, while there was nothing to send.
    asked: Option<Instant>,
}

impl Sender {
    fn judge(&self, error: &KafkaError, doing: Doing) -> SinkError {
        self.lender.producer().poll(Duration::ZERO);
        let heard = self.context.heard.last();
        self.delivery_failure().unwrap_or_else(|| judge(error, doing, &self.names, heard.as_ref()))
    }

    /// What a delivery report said is closer to the cause than what the next call says. But a fatal error, such as that a
    /// successor took over, purges the queue: then the reports are the fallout.
    fn delivery_failure(&self) -> Option<SinkError> {
        let mut failed = self.context.deliveries().failure()?;
        let deadline = Instant::now() + CAUSE;
        while failed.is_fallout() {
            if let Some((code, said)) = self.lender.producer().client().fatal_error() {
                let heard = self.context.heard.last();
                return Some(judge_code(code, &said, Doing::Sending(&self.topic), &self.names, heard.as_ref()));
            }
            if Instant::now() >= deadline {
                break;
            }
            self.lender.producer().poll(Duration::from_millis(10));
            failed = self.context.deliveries().failure()?;
        }
        Some(self.judge_delivery(failed))
    }

    /// Brokers refuse a batch as a whole. Only of a record that is as large as a batch may be is it known that it travelled alone;
    /// before that, smaller batches are tried, or its neighbours' files would be set aside in its place.
    fn judge_delivery(&self, Failed { slot, code, bytes }: Failed) -> SinkError {
        if let (Code::MessageSizeTooLarge, Some(slot)) = (code, slot) {
            let topic = &self.topic;
            if bytes.max(1) >= self.batch {
                let message = format!("a record is too large for topic {topic}");
                return SinkError {
                    failure: Failure::TooLarge { slot },
                    reason: FlowReason::FilesSetAside,
                    message,
                };
            }
            self.smaller.store(bytes.max(self.batch / 10).max(1), Ordering::Relaxed);
            let message = format!("topic {topic} takes no batch of {} bytes; smaller ones are tried", self.batch);
            return SinkError { failure: Failure::Smaller, reason: FlowReason::TransactionFailed, message };
        }
        let heard = self.context.heard.last();
        judge_code(code, &code.to_string(), Doing::Sending(&self.topic), &self.names, heard.as_ref())
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
        // A chunk far smaller than its buffer is copied, or many small files would hold much more memory than bytes.
        let lent = if data.len() < data.capacity() / 2 { data.as_slice().to_vec() } else { std::mem::take(data) };
        let sent = self.lender.send(to, lent, lines);
        if data.capacity() == 0 {
            *data = self.context.spare();
        }
        self.lender.producer().poll(Duration::ZERO);
        match self.delivery_failure() {
            Some(failure) => Err(failure),
            // The client itself refuses a record for its own size only.
            None => sent.map_err(|code| self.judge_delivery(Failed { slot: Some(to.slot), code, bytes: u64::MAX })),
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

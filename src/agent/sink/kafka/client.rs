//! librdkafka behind the traits of [`super`]. I/O, on the one plain thread of the loop: its transactional calls block.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};

use super::deliveries::Deliveries;
use super::failure::{Doing, Names, code_of, judge, judge_code};
use super::lend::{Context, Lender};
use super::pin::Pin;
use super::{Checkpoint, Cluster, Producer, Topics, topics};
use crate::agent::channel::splitter::Line;
use crate::agent::channel::{Delivered, Records};
use crate::agent::sink::{Failure, SinkError};
use crate::kafka;
use crate::pipeline::KafkaSink as Spec;
use crate::pipeline::report::FlowReason;

/// The agent looks whether it is to stop at least this often.
const SLICE: Duration = Duration::from_millis(500);
/// Longest wait for the last stable offset: a neighbour's longest transaction, the coordinator's 10 s, and some.
const STABLE: Duration = Duration::from_secs(45);

/// The last bad thing a client said of its connections.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<Mutex<Option<(FlowReason, String)>>>);

impl Heard {
    /// What it was.
    pub fn last(&self) -> Option<(FlowReason, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, heard: Option<(FlowReason, String)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = heard;
    }
}

impl ClientContext for Heard {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        // What matters comes back as an error of a call; the rest is for debugging.
        tracing::debug!(target: "librdkafka", ?level, fac, message);
    }

    fn error(&self, error: KafkaError, said: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {said}");
        let reason = match code_of(&error) {
            Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL) => {
                FlowReason::AuthenticationFailed
            }
            Some(Code::BrokerTransportFailure | Code::Resolve | Code::AllBrokersDown) => {
                FlowReason::KafkaUnavailable
            }
            _ => return,
        };
        // "all brokers are down" says less than the reason of the one before it.
        if code_of(&error) != Some(Code::AllBrokersDown) || self.last().is_none() {
            self.set(Some((reason, tidy(said))));
        }
    }
}

impl ConsumerContext for Heard {}

/// Without librdkafka's own decoration: what, where, why.
fn tidy(said: &str) -> String {
    let text = said.split(" (after ").next().unwrap_or(said);
    text.rsplit_once("]: ").map_or(text, |(_, rest)| rest).trim().to_owned()
}

/// The brokers of a pipeline, as one agent sees them.
pub struct Brokers {
    spec: Spec,
    agent: String,
    transactional_id: String,
    max_line: u64,
    stop: Arc<AtomicBool>,
    start: Instant,
    pub(super) names: Names,
    pub(super) topic: String,
    pub(super) checkpoint_topic: String,
    pub(super) receipt_topic: String,
    pub(super) fixed_partition: Option<i32>,
    pub(super) pin: Option<Pin>,
}

impl Brokers {
    /// `agent` is `<cluster>/<namespace>/<pipeline>/<agent>`; calls end early once `stop` is set.
    pub fn new(spec: &Spec, agent: &str, settings: &super::Settings, max_line: u64, stop: Arc<AtomicBool>) -> Self {
        let user = spec.sasl.as_ref().map_or("<principal>", |sasl| sasl.username.as_str());
        let prefix = agent.splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
        Brokers {
            spec: spec.clone(),
            agent: agent.to_owned(),
            transactional_id: settings.transactional_id.clone(),
            max_line,
            stop,
            start: Instant::now(),
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
            pin: settings.state_dir.as_deref().map(|dir| Pin::new(dir, &settings.transactional_id)),
        }
    }

    pub(super) fn admin_config(&self) -> ClientConfig {
        kafka::admin(&self.spec, &self.agent)
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

    /// Calls again what timed out in a slice of `time`, until it is over or the agent is to stop.
    pub(super) fn patiently<T>(&self, call: impl Fn(Duration) -> KafkaResult<T>, time: Duration) -> KafkaResult<T> {
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
            if !again || left.is_zero() || self.stop.load(Ordering::Relaxed) {
                return result;
            }
            if left > SLICE {
                // Some calls fail at once while no broker is connected.
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// The high watermark is the end of everything written; under `read_committed` the same question gives the last stable offset.
    fn end_of(
        &self,
        partition: i32,
        isolation: &str,
        heard: &Heard,
    ) -> Result<(BaseConsumer<Heard>, i64), SinkError> {
        let config = kafka::consumer(&self.spec, &self.agent, isolation);
        let consumer: BaseConsumer<Heard> = self.client(&config, heard.clone())?;
        let end = self.watermark(&consumer, partition, heard)?;
        Ok((consumer, end))
    }

    fn watermark(&self, consumer: &BaseConsumer<Heard>, partition: i32, heard: &Heard) -> Result<i64, SinkError> {
        let topic = &self.checkpoint_topic;
        let answer =
            self.patiently(|time| consumer.fetch_watermarks(topic, partition, time), Duration::from_secs(10));
        answer
            .map(|(_, high)| high)
            .map_err(|e| judge(&e, Doing::Progress(topic), &self.names, heard.last().as_ref()))
    }

    fn unstable(&self, stable: i64, end: i64) -> SinkError {
        let message = format!(
            "topic {}: another agent's transaction has been open for {} s (last stable offset {stable}, end {end}); \
             `kafka-transactions.sh find-hanging` names it",
            self.checkpoint_topic,
            STABLE.as_secs()
        );
        SinkError { failure: Failure::Retry, reason: FlowReason::TransactionFailed, message }
    }

    fn drain(
        &self,
        consumer: &BaseConsumer<Heard>,
        partition: i32,
        heard: &Heard,
    ) -> Result<Vec<Checkpoint>, SinkError> {
        let topic = &self.checkpoint_topic;
        let doing = Doing::Progress(topic);
        let mut from = TopicPartitionList::new();
        let assigned =
            from.add_partition_offset(topic, partition, Offset::Beginning).and_then(|()| consumer.assign(&from));
        assigned.map_err(|e| judge(&e, doing, &self.names, None))?;
        let mut records = vec![];
        let mut deadline = Instant::now() + STABLE;
        while Instant::now() < deadline && !self.stop.load(Ordering::Relaxed) {
            match consumer.poll(SLICE) {
                None => {}
                Some(Ok(message)) => {
                    let (key, value) = (message.key().unwrap_or_default(), message.payload());
                    records.push((key.to_vec(), value.map(<[u8]>::to_vec)));
                    deadline = Instant::now() + STABLE;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(records),
                // No group is needed to read an assigned partition, but librdkafka asks for its coordinator.
                Some(Err(e)) if code_of(&e) == Some(Code::GroupAuthorizationFailed) => {}
                Some(Err(e)) if matches!(code_of(&e), Some(Code::TopicAuthorizationFailed)) => {
                    return Err(judge(&e, doing, &self.names, heard.last().as_ref()));
                }
                Some(Err(e)) => tracing::debug!("{}: {e}", "reading progress"),
            }
        }
        Err(judge_code(
            Code::OperationTimedOut,
            "the end was not reached",
            doing,
            &self.names,
            heard.last().as_ref(),
        ))
    }
}

impl Cluster for Brokers {
    type Producer = Transactional;

    fn prepare(&mut self) -> Result<Topics, SinkError> {
        topics::prepare(self)
    }

    fn producer(&mut self) -> Result<Transactional, SinkError> {
        let context = Context::default();
        let heard = context.heard.clone();
        let config = kafka::producer(&self.spec, &self.agent, &self.transactional_id, self.max_line);
        let producer: BaseProducer<Context> = self.client(&config, context.clone())?;
        let init = |time: Duration| {
            let result = producer.init_transactions(time);
            producer.poll(Duration::ZERO); // brings what was heard of the connections
            result
        };
        self.patiently(init, kafka::TRANSACTION_TIMEOUT * 2)
            .map_err(|e| judge(&e, Doing::Init, &self.names, heard.last().as_ref()))?;
        heard.set(None);
        let lender = Lender::new(producer);
        Ok(Transactional { lender, context, names: self.names.clone(), topic: self.topic.clone() })
    }

    fn checkpoints(&mut self, partition: i32) -> Result<Vec<Checkpoint>, SinkError> {
        let heard = Heard::default();
        let (all, end) = self.end_of(partition, "read_uncommitted", &heard)?;
        drop(all);
        let (consumer, mut stable) = self.end_of(partition, "read_committed", &heard)?;
        let deadline = Instant::now() + STABLE;
        while stable < end {
            if Instant::now() > deadline || self.stop.load(Ordering::Relaxed) {
                return Err(self.unstable(stable, end));
            }
            std::thread::sleep(Duration::from_millis(100));
            stable = self.watermark(&consumer, partition, &heard)?;
        }
        // Under read_committed the end of the partition is the last stable offset, which is at `end` by now.
        self.drain(&consumer, partition, &heard)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A producer that has its transactional id to itself.
pub struct Transactional {
    lender: Lender,
    context: Context,
    names: Names,
    topic: String,
}

impl Transactional {
    fn judge(&self, error: &KafkaError, doing: Doing) -> SinkError {
        self.lender.producer().poll(Duration::ZERO);
        let heard = self.context.heard.last();
        self.delivery_failure().unwrap_or_else(|| judge(error, doing, &self.names, heard.as_ref()))
    }

    /// What a delivery report said is closer to the cause than what the next call says.
    fn delivery_failure(&self) -> Option<SinkError> {
        let (slot, code) = self.context.deliveries().failure()?;
        Some(self.judge_delivery(slot, code))
    }

    fn judge_delivery(&self, slot: Option<u32>, code: Code) -> SinkError {
        if let (Code::MessageSizeTooLarge, Some(slot)) = (code, slot) {
            let message = format!("a record is too large for topic {}", self.topic);
            return SinkError { failure: Failure::TooLarge { slot }, reason: FlowReason::FilesSetAside, message };
        }
        let heard = self.context.heard.last();
        judge_code(code, &code.to_string(), Doing::Sending(&self.topic), &self.names, heard.as_ref())
    }
}

impl Producer for Transactional {
    fn begin(&mut self) -> Result<(), SinkError> {
        *self.context.deliveries() = Deliveries::default();
        self.lender.producer().begin_transaction().map_err(|e| self.judge(&e, Doing::Begin))
    }

    fn lines(&mut self, to: &Records, data: &mut Vec<u8>, lines: &[Line]) -> Result<(), SinkError> {
        // A chunk far smaller than its buffer is copied, or many small files would hold much more memory than bytes.
        let lent = if data.len() < data.capacity() / 2 { data.as_slice().to_vec() } else { std::mem::take(data) };
        let sent = self.lender.send(&to.topic, to.partition, to.slot, lent, to.back, lines);
        self.lender.producer().poll(Duration::ZERO);
        match self.delivery_failure() {
            Some(failure) => Err(failure),
            None => sent.map_err(|code| self.judge_delivery(Some(to.slot), code)),
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
        // librdkafka: any other time-out may leave it out of step with the coordinator.
        self.lender.producer().commit_transaction(Timeout::Never).map_err(|e| self.judge(&e, Doing::Commit))?;
        self.context.heard.set(None);
        Ok(())
    }

    fn idle(&mut self) -> Option<(FlowReason, String)> {
        self.lender.producer().poll(Duration::ZERO);
        self.context.heard.last()
    }
}

//! librdkafka behind the traits of [`super`]. I/O, on the one plain thread of the loop: its transactional calls block.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::failure::{Doing, Names, code_of, judge};
use super::heard::Heard;
use super::lend::{Context, Lender};
use super::pin::Pin;
use super::sender::Sender;
use super::{Checkpoint, Cluster, Topics, checkpoints, kept, topics};
use crate::agent::sink::{Failure, SinkError};
use crate::kafka;
use crate::pipeline::report::FlowReason;
use crate::pipeline::{Guarantee, KafkaSink as Spec};
use crate::secrets::{SecretError, Secrets};

/// The agent looks whether it is to stop at least this often.
pub(super) const SLICE: Duration = Duration::from_millis(500);

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
    pub fn new(
        spec: &Spec,
        agent: &str,
        settings: &super::Settings,
        longest: Longest,
        stop: Arc<AtomicBool>,
    ) -> Self {
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
        checkpoints::read(self, &[partition], |key| kept::owner_of(key) == Some(&self.transactional_id))
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

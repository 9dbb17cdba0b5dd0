//! What a client says of its connections while it is polled: the cause behind a time-out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::failure::code_of;
use crate::pipeline::report::FlowReason;

/// The last bad thing a client said of its connections.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    last: Option<(FlowReason, String)>,
    refused_topic: Option<String>,
}

impl Heard {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it was.
    pub fn last(&self) -> Option<(FlowReason, String)> {
        self.said().last.clone()
    }

    /// The topic that the last transaction could not take in: of that, the log alone tells.
    pub fn refused_topic(&self) -> Option<String> {
        self.said().refused_topic.clone()
    }

    /// It is over, or something else.
    pub(super) fn set(&self, heard: Option<(FlowReason, String)>) {
        self.said().last = heard;
    }
}

impl ClientContext for Heard {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        // What matters comes back as an error of a call; the rest is for debugging.
        tracing::debug!(target: "librdkafka", ?level, fac, message);
        if let Some(topic) = refused_topic(message).filter(|_| fac == "ADDPARTS") {
            self.said().refused_topic = Some(topic.to_owned());
        }
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
        if code_of(&error) != Some(Code::AllBrokersDown) {
            self.set(Some((reason, tidy(said))));
        } else if self.last().is_none() {
            // "all brokers are down" says less than a reason before it; without one, the usual cause is this.
            let words = "connections are closed without a word; does this listener want TLS or SASL?";
            self.set(Some((reason, words.into())));
        }
    }
}

impl ConsumerContext for Heard {}

/// For a producer that only asks: of all clients, producers alone hand on the words of an error.
impl ProducerContext for Heard {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// Of the other topics of the same request it is said that they were not attempted.
fn refused_topic(message: &str) -> Option<&str> {
    let said = message.split_once("Failed to add partition \"")?.1;
    said.split_once('"').filter(|(_, why)| why.ends_with("authorization failed")).map(|(topic, _)| topic)
}

/// Without librdkafka's own decoration, and in the words of a LogPipeline: what, where, why.
fn tidy(said: &str) -> String {
    let text = said.split(" (after ").next().unwrap_or(said);
    let text = text.rsplit_once("]: ").map_or(text, |(_, rest)| rest).trim();
    // Its advice names a file of its own configuration, which no user of ours has.
    match text.split_once("certificate verify failed") {
        Some((where_, _)) => format!(
            "{}the certificate is not signed by the authority in spec.sink.kafka.tls.caSecret (of a Kafka run by Strimzi: the Secret \
             <cluster>-cluster-ca-cert, not the user's own ca.crt)",
            where_.split_once("SSL handshake failed").map_or("", |(address, _)| address)
        ),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_kept_without_decoration() {
        let heard = Heard::default();
        let refused = "[thrd:127.0.0.1:1/bootstrap]: 127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused \
                       (after 0ms in state CONNECT)";
        heard.error(KafkaError::Global(Code::BrokerTransportFailure), refused);
        heard.error(KafkaError::Global(Code::AllBrokersDown), "1/1 brokers are down");
        let words = "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused";
        assert_eq!(heard.last(), Some((FlowReason::KafkaUnavailable, words.to_owned())));
    }

    #[test]
    fn the_topic_that_a_transaction_could_not_take_in_is_in_the_log() {
        let heard = Heard::default();
        let said = "[thrd:TxnCoordinator]: TxnCoordinator/1: Failed to add partition \"web-1\" [3] to transaction: Broker: Topic \
                    authorization failed";
        heard.log(RDKafkaLogLevel::Error, "ADDPARTS", said);
        let other = "Failed to add partition \"other\" [0] to transaction: Broker: Operation not attempted";
        heard.log(RDKafkaLogLevel::Error, "ADDPARTS", other);
        assert_eq!(heard.refused_topic().as_deref(), Some("web-1"));
    }
}

//! What a client says of its connections while it is polled: the cause behind a time-out.

use std::sync::{Arc, Mutex, PoisonError};

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
pub struct Heard(Arc<Mutex<Option<(FlowReason, String)>>>);

impl Heard {
    /// What it was.
    pub fn last(&self) -> Option<(FlowReason, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It is over, or something else.
    pub(super) fn set(&self, heard: Option<(FlowReason, String)>) {
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
}

//! The one place that turns a pipeline's settings into librdkafka's. Pure but for reading Secrets, anew each time: they rotate.
//!
//! What carries the guarantee is set here and cannot be overridden: `pipeline::properties` refuses those names.

use std::time::Duration;

use rdkafka::ClientConfig;

use crate::pipeline::sink::SaslMechanism;
use crate::pipeline::{Acks, Compression, Guarantee, KafkaSink};
use crate::secrets::{SecretError, Secrets};

/// `transaction.timeout.ms`: a dead agent holds up every `read_committed` reader for this long, plus up to 10 s.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(20);
/// Memory of the producer's queue, in KiB (`queue.buffering.max.kbytes`), where two lines fit; librdkafka's default is 1 GiB. Little more than
/// the five batches that may be on their way: with a batch that is ready and may not go, librdkafka's thread does not sleep.
const QUEUE_KBYTES: u64 = 8 * 1024;

/// Bytes of a batch before it is compressed (`batch.size`): below the topic's default `max.message.bytes`, for brokers refuse whole batches.
pub const BATCH_BYTES: u64 = 1_000_000;

/// What every client of a pipeline's brokers shares.
fn base(sink: &KafkaSink, agent: &str, secrets: &Secrets) -> Result<ClientConfig, SecretError> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", sink.bootstrap_servers.join(","))
        .set("client.id", format!("spoolway/{agent}"))
        .set("allow.auto.create.topics", "false") // a typo must not make a topic
        .set("enable.metrics.push", "false") // nothing leaves unasked
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", "5000");
    secure(&mut config, sink, secrets)?;
    Ok(config)
}

/// TLS and SASL. The brokers' host names are always checked (librdkafka's default).
fn secure(config: &mut ClientConfig, sink: &KafkaSink, secrets: &Secrets) -> Result<(), SecretError> {
    let protocol = match (&sink.tls, &sink.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(tls) = &sink.tls {
        if let Some((secret, key)) = tls.ca() {
            config.set("ssl.ca.pem", secrets.text(secret, key)?);
        }
        if let Some(client) = &tls.client_certificate_secret {
            let (certificate, key) = secrets.certificate(&client.name)?;
            config.set("ssl.certificate.pem", certificate).set("ssl.key.pem", key);
        }
    }
    if let Some(sasl) = &sink.sasl {
        let (secret, key) = sasl.password();
        let mechanism = match sasl.mechanism {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        };
        config.set("sasl.mechanism", mechanism).set("sasl.username", &sasl.username);
        config.set("sasl.password", secrets.text(secret, key)?);
    }
    Ok(())
}

/// The producer that carries `guarantee`: transactional (KIP-98; `transactional_id` turns on idempotence and `acks=all`), idempotent, or
/// neither, with the pipeline's `acks`.
///
/// # Errors
/// A Secret is missing or unusable.
pub fn producer(
    sink: &KafkaSink,
    agent: &str,
    secrets: &Secrets,
    guarantee: Guarantee,
    transactional_id: &str,
    max_line: u64,
) -> Result<ClientConfig, SecretError> {
    let mut config = base(sink, agent, secrets)?;
    match guarantee {
        Guarantee::ExactlyOnce => config
            .set("transactional.id", transactional_id)
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string()),
        Guarantee::AtLeastOnce => {
            config.set("enable.idempotence", "true").set("message.timeout.ms", message_timeout())
        }
        Guarantee::BestEffort => {
            // More than one request under way, and a batch that is sent again lands behind the next.
            config
                .set("request.required.acks", acks(sink.acks()))
                .set("max.in.flight.requests.per.connection", "1")
                .set("message.timeout.ms", message_timeout())
        }
    };
    config
        // The local check counts value + key + headers + 36 bytes against this.
        .set("message.max.bytes", 1_048_000.max(max_line + 48_000).to_string())
        .set("batch.size", BATCH_BYTES.to_string())
        .set("linger.ms", "50")
        .set("queue.buffering.max.kbytes", QUEUE_KBYTES.max((max_line + 48_000).div_ceil(512)).to_string())
        .set("queue.buffering.max.messages", "100000")
        // Before messages time out: that a topic is gone is another thing than that nobody answers.
        .set("topic.metadata.propagation.max.ms", "10000")
        .set("partitioner", "murmur2_random") // same key, same partition as Java clients
        .set("compression.type", codec(sink.compression()));
    for (name, value) in sink.properties.iter().flatten() {
        config.set(name, value);
    }
    Ok(config)
}

/// A consumer that is assigned partitions and commits nothing; `isolation` is `read_committed` or `read_uncommitted`.
///
/// # Errors
/// A Secret is missing or unusable.
pub fn consumer(
    sink: &KafkaSink,
    agent: &str,
    secrets: &Secrets,
    isolation: &str,
) -> Result<ClientConfig, SecretError> {
    let mut config = base(sink, agent, secrets)?;
    config
        // An assigned partition needs no group, but librdkafka wants a name, and asks for its coordinator.
        .set("group.id", format!("spoolway/{agent}"))
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true")
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.message.max.bytes", "1048576");
    Ok(config)
}

/// A client that only asks for metadata and makes topics.
///
/// # Errors
/// A Secret is missing or unusable.
pub fn admin(sink: &KafkaSink, agent: &str, secrets: &Secrets) -> Result<ClientConfig, SecretError> {
    base(sink, agent, secrets)
}

/// A line that is not delivered by then is read again: the file is the buffer. In a transaction librdkafka takes that one's timeout.
fn message_timeout() -> String {
    TRANSACTION_TIMEOUT.as_millis().to_string()
}

fn acks(acks: Acks) -> &'static str {
    match acks {
        Acks::All => "all",
        Acks::Leader => "1",
        Acks::None => "0",
    }
}

fn codec(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_guarantee_a_batch_that_is_sent_again_does_not_pass_the_next() {
        let sink: KafkaSink =
            serde_json::from_value(serde_json::json!({"bootstrapServers": ["k:9092"], "topic": "t"})).unwrap();
        let set = |guarantee, name| {
            let config = producer(&sink, "c/n/p/a", &Secrets::new(None), guarantee, "id", 1000).unwrap();
            config.get(name).map(str::to_owned)
        };
        let one_at_a_time = "max.in.flight.requests.per.connection";
        assert_eq!(set(Guarantee::BestEffort, one_at_a_time).as_deref(), Some("1"));
        assert_eq!(set(Guarantee::AtLeastOnce, "enable.idempotence").as_deref(), Some("true"));
        assert_eq!(set(Guarantee::ExactlyOnce, "transactional.id").as_deref(), Some("id"));
    }
}

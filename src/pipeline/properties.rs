//! Which properties of librdkafka a pipeline may set, and why not the others.
//!
//! Pure. A list of what is allowed, never of what is forbidden: a property that nobody thought about is
//! refused. What carries the guarantee is Spoolway's; what loads code or reads files is nobody's.

use super::problem::quoted;
use super::suggest;

/// What a property's value may be.
pub enum Rule {
    /// A whole number between the two.
    Number(i64, i64),
    /// One of the words.
    Words(&'static [&'static str]),
    /// 1 to 255 bytes without control characters.
    Text,
}

/// The properties that may be set, each with what its value may be.
pub const ALLOWED: &[(&str, Rule)] = &[
    ("batch.num.messages", Rule::Number(1, 1_000_000)),
    ("batch.size", Rule::Number(1, 16_000_000)),
    ("broker.address.family", Rule::Words(&["any", "v4", "v6"])),
    ("client.dns.lookup", Rule::Words(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"])),
    ("client.id", Rule::Text),
    ("compression.level", Rule::Number(-1, 12)),
    // A transaction waits for its last batch, so this stays well below the transaction's timeout.
    ("linger.ms", Rule::Number(0, 5_000)),
    ("metadata.max.age.ms", Rule::Number(1_000, 86_400_000)),
    (QUEUE, Rule::Number(1_024, 32_768)),
    ("reconnect.backoff.max.ms", Rule::Number(0, 600_000)),
    ("reconnect.backoff.ms", Rule::Number(0, 600_000)),
    ("socket.receive.buffer.bytes", Rule::Number(0, 100_000_000)),
    ("socket.send.buffer.bytes", Rule::Number(0, 100_000_000)),
    ("topic.metadata.refresh.interval.ms", Rule::Number(-1, 3_600_000)),
];

/// The size of the queue: the one property whose bound depends on another field, `maxLineBytes`.
pub const QUEUE: &str = "queue.buffering.max.kbytes";

/// Properties that have a field of their own; a name that ends in a dot stands for all that begin so.
const FIELDS: &[(&str, &str)] = &[
    ("acks", "acks"),
    ("bootstrap.servers", "bootstrapServers"),
    ("compression.codec", "compression"),
    ("compression.type", "compression"),
    ("metadata.broker.list", "bootstrapServers"),
    ("partitioner", "partitioner"),
    ("request.required.acks", "acks"),
    ("sasl.", "sasl"),
    ("security.protocol", "tls and sasl"),
    ("ssl.", "tls"),
    ("enable.ssl.certificate.verification", "tls"),
];

/// Properties that carry the guarantee.
const GUARANTEE: &[&str] = &[
    "allow.auto.create.topics",
    "auto.offset.reset",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "group.id",
    "isolation.level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "queue.buffering.max.messages",
    "request.timeout.ms",
    "retries",
    "socket.timeout.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Whether the property may be set so; `longest` is the source's longest record, by `maxLineBytes` and `inputCharset`.
pub fn check(name: &str, value: &str, longest: Option<u64>) -> Result<(), String> {
    let Some((_, rule)) = ALLOWED.iter().find(|(allowed, _)| *allowed == name) else {
        return Err(refusal(name));
    };
    match rule {
        Rule::Number(min, max) => {
            // No plus sign, which `parse` takes; 18 digits always fit.
            let plain = value.len() <= 18 && !value.starts_with('+');
            let number = value.parse::<i64>().ok().filter(|n| plain && (min..=max).contains(&n));
            let Some(number) = number else {
                return Err(format!("is {}; use a whole number from {min} to {max}", quoted(value)));
            };
            queue_holds_lines(name, number, longest)
        }
        Rule::Words(words) if words.contains(&value) => Ok(()),
        Rule::Words(words) => Err(format!("is {}; use one of {}", quoted(value), words.join(", "))),
        Rule::Text if (1..=255).contains(&value.len()) && !value.contains(char::is_control) => Ok(()),
        Rule::Text => Err(format!("is {}; use 1 to 255 bytes without control characters", quoted(value))),
    }
}

/// A line takes at most half of the queue, or sending would stall on itself.
fn queue_holds_lines(name: &str, kbytes: i64, longest: Option<u64>) -> Result<(), String> {
    let needed = longest.unwrap_or(0).saturating_mul(2).div_ceil(1024);
    if name == QUEUE && kbytes.unsigned_abs() < needed {
        return Err(format!(
            "is {kbytes}, less than two lines of maxLineBytes (three times that with inputCharset); use at least {needed}, or lower maxLineBytes"
        ));
    }
    Ok(())
}

fn refusal(name: &str) -> String {
    let field = FIELDS.iter().find(|(refused, _)| match refused.strip_suffix('.') {
        Some(_) => name.starts_with(refused),
        None => name == *refused,
    });
    if name.ends_with(".location") || name.ends_with(".file") || name == "plugin.library.paths" {
        return "is not allowed: it makes the client open files or load code; remove it".to_owned();
    }
    if name.ends_with(".cmd") || name.starts_with("ssl.engine") || name.ends_with("_cb") {
        return "is not allowed: it makes the client run code; remove it".to_owned();
    }
    if name == "debug" {
        return "is not allowed: it writes what records hold to the log; remove it".to_owned();
    }
    if let Some((_, field)) = field {
        return format!("is not allowed here; use spec.sink.kafka.{field}");
    }
    if GUARANTEE.contains(&name) {
        return "is not allowed: the guarantee depends on it; remove it, Spoolway sets it".to_owned();
    }
    let names: Vec<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    match suggest::nearest(name, &names) {
        Some(near) => format!("is not allowed; did you mean `{near}`?"),
        None => format!("is not allowed; remove it, or use one of {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_carries_the_guarantee_or_reaches_outside_is_refused() {
        for name in [
            "transactional.id",
            "enable.idempotence",
            "acks",
            "bootstrap.servers",
            "ssl.ca.location",
            "plugin.library.paths",
            "sasl.kerberos.kinit.cmd",
            "debug",
            "sasl.oauthbearer.config",
            "ssl.endpoint.identification.algorithm",
            "error_cb",
            "ssl.engine.location",
            "ssl.providers",
            "unheard.of",
        ] {
            assert!(check(name, "1", None).is_err(), "{name}");
        }
    }

    #[test]
    fn the_queue_goes_down_only_and_holds_two_lines() {
        assert!(check(QUEUE, "32768", Some(16_000_000)).is_ok());
        assert!(check(QUEUE, "32769", None).is_err());
        assert!(check(QUEUE, "1024", Some(1_000_000)).is_err());
        assert!(check(QUEUE, "1954", Some(1_000_000)).is_ok());
    }
}

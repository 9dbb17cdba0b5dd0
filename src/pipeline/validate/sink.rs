//! What is wrong with a sink.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::time::Duration;

use super::{Found, Judge, set};
use crate::pipeline::problem::{field, quoted};
use crate::pipeline::sink::{Sasl, SecretKey, Tls};
use crate::pipeline::{Completion, FileSink, Guarantee, KafkaSink, LogPipeline, Partitioner, SpoolDir, properties};

const AT: &str = "spec.sink.kafka";

/// How many brokers can be named.
pub const MAX_SERVERS: usize = 64;
/// The longest constant key, in bytes.
pub const MAX_KEY: usize = 1024;

pub(super) fn check(pipeline: &LogPipeline, judge: Judge, found: &mut Found) {
    let (kafka, file, console) = (pipeline.kafka(), pipeline.file(), pipeline.console());
    let members = [("kafka", kafka.is_some()), ("file", file.is_some()), ("console", console.is_some())];
    found.exactly_one("spec.sink", "kafka, file, console", &set(&members));
    if let Some(kafka) = kafka {
        self::kafka(pipeline, kafka, found);
    }
    if let Some(sink) = file {
        self::file(pipeline, sink, judge, found);
    }
    if console.is_some() {
        self::console(pipeline, found);
    }
}

fn kafka(pipeline: &LogPipeline, kafka: &KafkaSink, found: &mut Found) {
    servers(kafka, found);
    found.topic(&at("topic"), &kafka.topic);
    partition(kafka, found);
    if let Some(tls) = &kafka.tls {
        secrets(tls, found);
    }
    if let Some(sasl) = &kafka.sasl {
        login(sasl, found);
    }
    let longest = pipeline.spool_dir().map(SpoolDir::max_record_bytes);
    for (name, value) in kafka.properties.iter().flatten() {
        if let Err(message) = properties::check(name, value, longest) {
            found.add(field(&at("properties"), name), message);
        }
    }
}

fn file(pipeline: &LogPipeline, file: &FileSink, judge: Judge, found: &mut Found) {
    const AT: &str = "spec.sink.file";
    if judge == Judge::Cluster {
        found.add(AT, "runs on a bare machine; use spoolway agent -f there, or sink kafka here");
    }
    found.absolute(&field(AT, "directory"), &file.directory);
    let (roll, path) = (file.roll(), field(AT, "roll"));
    found.size(&field(&path, "bytes"), roll.bytes.as_ref(), 64 << 10, 64 << 30);
    found.number(&field(&path, "records"), roll.records, 1000, 1_000_000_000);
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
    found.span(&field(&path, "age"), roll.age.as_ref(), second, day * 7);
    found.span(&field(&path, "idle"), roll.idle.as_ref(), second, day);
    if pipeline.guarantee() != Guarantee::ExactlyOnce {
        found.add("spec.delivery.guarantee", "is always ExactlyOnce with sink file; leave it out");
    }
}

fn console(pipeline: &LogPipeline, found: &mut Found) {
    if pipeline.guarantee() != Guarantee::BestEffort {
        let message =
            "is more than sink console can give; leave it out, which means BestEffort, or use sink kafka or file";
        found.add("spec.delivery.guarantee", message);
    }
    if pipeline.completion() != Completion::Track {
        let message =
            "would take files away that were only looked at; leave it out, which means Track with sink console";
        found.add("spec.source.spoolDir.completion", message);
    }
}

fn at(name: &str) -> String {
    field(AT, name)
}

fn servers(kafka: &KafkaSink, found: &mut Found) {
    let path = at("bootstrapServers");
    if kafka.bootstrap_servers.is_empty() {
        found.add(&path, "is empty; name a broker as host:port");
    }
    found.count(&path, kafka.bootstrap_servers.len(), MAX_SERVERS);
    let mut seen = BTreeSet::new();
    for (index, server) in kafka.bootstrap_servers.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Err(why) = server_address(server) {
            found.add(&path, format!("{} {why}", quoted(server)));
        } else if !seen.insert(server.to_ascii_lowercase()) {
            found.add(&path, format!("{} comes twice; remove one of them", quoted(server)));
        }
    }
}

fn server_address(server: &str) -> Result<(), &'static str> {
    if server.contains("://") {
        return Err("begins with a protocol; write host:port");
    }
    if server.contains(',') {
        return Err("holds several brokers; write each as an item of the list");
    }
    let (host, port) = server.rsplit_once(':').ok_or("has no port; write host:port, as in kafka-1:9092")?;
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    match bracketed {
        // An IPv4 address in the clothes of an IPv6 one is refused, as the API server's `isIP` does.
        Some(address) if address.parse::<Ipv6Addr>().is_ok_and(|a| a.to_ipv4_mapped().is_none()) => {}
        Some(_) => return Err("has no IPv6 address between [ and ]; write [address]:port"),
        None if host.is_empty() => return Err("has no host; write host:port"),
        None if host.contains(':') => {
            return Err("has more than one colon; write an IPv6 address as [address]:port");
        }
        None if host.len() > 253 || !host.bytes().all(name) => {
            return Err("has no legal host name; write host:port");
        }
        None => {}
    }
    // Digits only: `parse` takes a plus sign and leading zeros too.
    let digits = !port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if digits => Ok(()),
        _ => Err("has no legal port; use 1 to 65535"),
    }
}

fn partition(kafka: &KafkaSink, found: &mut Found) {
    let partitioner = kafka.partitioner();
    if let Some(partition) = kafka.partition {
        found.number(&at("partition"), Some(partition.into()), 0, i32::MAX.into());
        if partitioner != Partitioner::File {
            let message =
                format!("fixes the partition, and partitioner {partitioner} chooses one; remove one of them");
            found.add(at("partition"), message);
        }
    }
    if let Some(key) = &kafka.key {
        let members = set(&[("baseName", key.base_name.is_some()), ("constant", key.constant.is_some())]);
        found.exactly_one(&at("key"), "baseName: {}, constant: \"text\"", &members);
        match key.constant.as_deref().map_or(1, str::len) {
            0 => found.add(field(&at("key"), "constant"), "is empty; give it, or leave key out"),
            1..=MAX_KEY => {}
            length => {
                let message = format!("is {length} bytes long; use at most {MAX_KEY}");
                found.add(field(&at("key"), "constant"), message);
            }
        }
    } else if partitioner == Partitioner::Key {
        found.add(at("partitioner"), "Key needs a key; add key: {baseName: {}}, or use File");
    }
}

fn secrets(tls: &Tls, found: &mut Found) {
    let path = at("tls");
    if let Some(secret) = &tls.ca_secret {
        secret_key(&field(&path, "caSecret"), secret, found);
    }
    if let Some(secret) = &tls.client_certificate_secret {
        secret_name(&field(&path, "clientCertificateSecret"), &secret.name, found);
    }
}

fn login(sasl: &Sasl, found: &mut Found) {
    let path = at("sasl");
    found.plain(&field(&path, "username"), &sasl.username, 255);
    secret_key(&field(&path, "passwordSecret"), &sasl.password_secret, found);
}

fn secret_key(path: &str, secret: &SecretKey, found: &mut Found) {
    secret_name(path, &secret.name, found);
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if let Some(key) = &secret.key
        && (!(1..=253).contains(&key.len()) || !key.bytes().all(legal) || key.starts_with(".."))
    {
        let message = format!(
            "is {}, which no key of a Secret can be called; use the name of one in that Secret",
            quoted(key)
        );
        found.add(field(path, "key"), message);
    }
}

/// A name that cannot lead out of the directory where Secrets lie as files.
fn secret_name(path: &str, name: &str, found: &mut Found) {
    if name.len() > 253 || !name.split('.').all(|label| super::is_dns_label(label, 253)) {
        let message = format!(
            "is {}, which no Secret can be called; use the name of one in the pipeline's namespace",
            quoted(name)
        );
        found.add(field(path, "name"), message);
    }
}

//! docs/flume.md against Flume 1.11 and the LogPipeline: nothing is left out, and no field is named that is not there.

use serde_json::Value;

const PAGE: &str = include_str!("../docs/flume.md");

/// SpoolDirectorySourceConfigurationConstants and the deserializers' builders of Flume 1.11, and what every source has.
const SOURCE: &[&str] = &[
    "type",
    "channels",
    "spoolDir",
    "fileSuffix",
    "deletePolicy",
    "trackingPolicy",
    "trackerDir",
    "fileHeader",
    "fileHeaderKey",
    "basenameHeader",
    "basenameHeaderKey",
    "includePattern",
    "ignorePattern",
    "consumeOrder",
    "pollDelay",
    "recursiveDirectorySearch",
    "maxBackoff",
    "batchSize",
    "inputCharset",
    "decodeErrorPolicy",
    "deserializer",
    "deserializer.maxLineLength",
    "deserializer.outputCharset",
    "bufferMaxLines",
    "bufferMaxLineLength",
    "selector.type",
    "interceptors",
];

/// KafkaSinkConstants of Flume 1.11, and `kafka.producer.*` as its guide speaks of it.
const SINK: &[&str] = &[
    "type",
    "kafka.bootstrap.servers",
    "kafka.topic",
    "flumeBatchSize",
    "kafka.producer.acks",
    "useFlumeEventFormat",
    "defaultPartitionId",
    "partitionIdHeader",
    "allowTopicOverride",
    "topicHeader",
    "timestampHeader",
    "header.*",
    "kafka.producer.compression.type",
    "kafka.producer.security.protocol",
    "kafka.producer.sasl.mechanism",
    "kafka.producer.sasl.jaas.config",
    "kafka.producer.ssl.truststore.location",
    "kafka.producer.ssl.keystore.location",
    "kafka.producer.ssl.disableTLSHostnameVerification",
    "kafka.producer.linger.ms",
    "kafka.producer.*",
];

/// The rows of a section: what Flume calls it, the field, the remark.
fn rows(section: &str) -> Vec<[&'static str; 3]> {
    let text = PAGE.split(&format!("\n## {section}\n")).nth(1).unwrap();
    let text = text.split("\n## ").next().unwrap();
    let table = text.lines().filter(|line| line.starts_with("| `"));
    table
        .map(|line| {
            let cells: Vec<&str> =
                line.trim_matches('|').split(" | ").map(|cell| cell.trim_matches([' ', '`', '|'])).collect();
            [cells[0], cells[1], cells.get(2).copied().unwrap_or_default()]
        })
        .collect()
}

fn has(schema: &Value, path: &str) -> bool {
    let field = |schema: &Value, name: &str| schema["properties"].get(name).cloned();
    path.split('.').try_fold(schema.clone(), |schema, name| field(&schema, name)).is_some()
}

#[test]
fn every_property_of_flume_has_a_field_or_a_reason() {
    let crd = serde_json::to_value(spoolway::operator::crd::crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    assert!(has(schema, "spec.source.spoolDir.path") && !has(schema, "spec.source.spoolDir.surprise"));
    for (section, properties) in [("Spooling directory source", SOURCE), ("Kafka sink", SINK)] {
        let rows = rows(section);
        let named: Vec<&str> = rows.iter().map(|row| row[0]).collect();
        assert_eq!(named, properties, "{section}");
        for [property, field, remark] in rows {
            match field {
                "–" => assert!(!remark.is_empty(), "{property} has neither a field nor a reason"),
                path => assert!(has(schema, path), "{property}: a LogPipeline has no {path}"),
            }
        }
    }
}

//! How long texts, lists and maps may be: the API server estimates what a rule costs from these bounds, and refuses a
//! CustomResourceDefinition whose rules walk over something without one.
//!
//! Pure. Texts are bounded in characters here; where a bound in bytes matters, a rule says it. `pipeline::validate` knows the
//! same bounds: the tests hold both against one table.

use crate::pipeline::quantity::MAX_TEXT;
use crate::pipeline::validate::placement::MAX_TOLERATIONS;
use crate::pipeline::validate::sink::{MAX_KEY, MAX_SERVERS};
use crate::pipeline::validate::source::MAX_STATIC;

/// Path, the schema's word, the limit.
pub(super) const BOUNDS: &[(&str, &str, usize)] = &[
    ("spec.source.spoolDir.path", "maxLength", 4095),
    ("spec.source.spoolDir.includePattern", "maxLength", 1024),
    ("spec.source.spoolDir.ignorePattern", "maxLength", 1024),
    ("spec.source.spoolDir.fileSuffix", "maxLength", 64),
    ("spec.source.spoolDir.settleTime", "maxLength", MAX_TEXT),
    ("spec.source.spoolDir.pollDelay", "maxLength", MAX_TEXT),
    ("spec.source.spoolDir.inputCharset", "maxLength", 64),
    ("spec.source.spoolDir.headers.file", "maxLength", 255),
    ("spec.source.spoolDir.headers.baseName", "maxLength", 255),
    ("spec.source.spoolDir.headers.host", "maxLength", 255),
    ("spec.source.spoolDir.headers.position", "maxLength", 255),
    ("spec.source.spoolDir.headers.static", "maxProperties", MAX_STATIC),
    ("spec.sink.kafka.bootstrapServers", "maxItems", MAX_SERVERS),
    // A host of 253, brackets, a colon, a port.
    ("spec.sink.kafka.bootstrapServers[]", "maxLength", 261),
    ("spec.sink.kafka.topic", "maxLength", 249),
    ("spec.sink.kafka.key.constant", "maxLength", MAX_KEY),
    ("spec.sink.kafka.tls.caSecret.name", "maxLength", 253),
    ("spec.sink.kafka.tls.caSecret.key", "maxLength", 253),
    ("spec.sink.kafka.tls.clientCertificateSecret.name", "maxLength", 253),
    ("spec.sink.kafka.sasl.username", "maxLength", 255),
    ("spec.sink.kafka.sasl.passwordSecret.name", "maxLength", 253),
    ("spec.sink.kafka.sasl.passwordSecret.key", "maxLength", 253),
    ("spec.sink.kafka.properties", "maxProperties", 32),
    ("spec.sink.kafka.properties{}", "maxLength", 255),
    ("spec.sink.file.directory", "maxLength", 4095),
    ("spec.sink.file.roll.bytes", "maxLength", MAX_TEXT),
    ("spec.sink.file.roll.age", "maxLength", MAX_TEXT),
    ("spec.sink.file.roll.idle", "maxLength", MAX_TEXT),
    ("spec.delivery.commitInterval", "maxLength", MAX_TEXT),
    ("spec.delivery.maxTransactionBytes", "maxLength", MAX_TEXT),
    ("spec.delivery.checkpointTopic", "maxLength", 249),
    ("spec.delivery.receiptTopic", "maxLength", 249),
    ("spec.placement.daemonSet.priorityClassName", "maxLength", 253),
    ("spec.placement.daemonSet.tolerations", "maxItems", MAX_TOLERATIONS),
    ("spec.placement.daemonSet.tolerations[].operator", "maxLength", 64),
    ("spec.placement.daemonSet.tolerations[].effect", "maxLength", 64),
    // Three resources are known; the length of an amount cannot be bounded, since it may be a number.
    ("spec.placement.daemonSet.resources.requests", "maxProperties", 3),
    ("spec.placement.daemonSet.resources.limits", "maxProperties", 3),
    ("spec.placement.sidecar.volume", "maxLength", 63),
    ("spec.placement.sidecar.mountPath", "maxLength", 4095),
    ("spec.placement.sidecar.resources.requests", "maxProperties", 3),
    ("spec.placement.sidecar.resources.limits", "maxProperties", 3),
    ("spec.placement.statefulSet.tolerations", "maxItems", MAX_TOLERATIONS),
    ("spec.placement.statefulSet.tolerations[].operator", "maxLength", 64),
    ("spec.placement.statefulSet.tolerations[].effect", "maxLength", 64),
    ("spec.placement.statefulSet.resources.requests", "maxProperties", 3),
    ("spec.placement.statefulSet.resources.limits", "maxProperties", 3),
];

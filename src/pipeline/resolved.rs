//! A spec with every default written out, and its hash.
//!
//! Pure. Two files that mean the same resolve to the same: order, comments, defaults that are spelt out,
//! `2000ms` for `2s`.

use super::quantity::{ByteSize, TimeSpan};
use super::{Completion, ConsoleSink, Delivery, FileSink, KafkaSink, LogPipeline, LogPipelineSpec, Roll, SpoolDir};

/// The spec of `pipeline` with every default written out. The placement stays as it is.
pub fn resolved(pipeline: &LogPipeline) -> LogPipelineSpec {
    let mut spec = pipeline.spec.clone();
    spec.suspend = Some(spec.suspend.unwrap_or(false));
    spec.source.spool_dir = pipeline.spool_dir().map(|dir| spool_dir(dir, pipeline.completion()));
    spec.sink.kafka = pipeline.kafka().map(kafka);
    spec.sink.file = pipeline.file().map(file);
    spec.sink.console = pipeline.console().map(|console| ConsoleSink { format: Some(console.format()) });
    spec.delivery = Some(delivery(pipeline));
    spec
}

/// A hash of what an agent runs: source, sink, delivery and suspend, resolved, as 16 hexadecimal digits. The placement is not
/// in it: where agents run changes nothing in what they do. Stable within a version of Spoolway.
pub fn config_hash(pipeline: &LogPipeline) -> String {
    let mut spec = resolved(pipeline);
    spec.placement = None;
    // JSON of these types cannot fail, and its order is that of the fields; maps are sorted.
    let text = serde_json::to_string(&spec).unwrap_or_default();
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

fn spool_dir(dir: &SpoolDir, completion: Completion) -> SpoolDir {
    SpoolDir {
        path: dir.path.clone(),
        include_pattern: Some(dir.include_pattern().to_owned()),
        ignore_pattern: Some(dir.ignore_pattern().to_owned()),
        recursive: Some(dir.recursive()),
        consume_order: Some(dir.consume_order()),
        completion: Some(completion),
        file_suffix: Some(dir.file_suffix().to_owned()),
        settle_time: Some(TimeSpan::from(dir.settle_time())),
        poll_delay: Some(TimeSpan::from(dir.poll_delay())),
        input_charset: dir.input_charset.clone(),
        decode_error_policy: Some(dir.decode_error_policy()),
        max_line_bytes: i64::try_from(dir.max_line_bytes()).ok(),
        on_long_line: Some(dir.on_long_line()),
        max_open_files: i64::try_from(dir.max_open_files()).ok(),
        headers: dir.headers.clone(),
    }
}

fn kafka(kafka: &KafkaSink) -> KafkaSink {
    KafkaSink {
        partitioner: Some(kafka.partitioner()),
        compression: Some(kafka.compression()),
        acks: Some(kafka.acks()),
        ..kafka.clone()
    }
}

fn file(file: &FileSink) -> FileSink {
    let roll = file.roll();
    let roll = Roll {
        bytes: Some(ByteSize::from(roll.bytes())),
        records: roll.records,
        age: Some(TimeSpan::from(roll.age())),
        idle: Some(TimeSpan::from(roll.idle())),
    };
    FileSink { directory: file.directory.clone(), roll: Some(roll) }
}

fn delivery(pipeline: &LogPipeline) -> Delivery {
    let (delivery, namespace) = (pipeline.delivery(), pipeline.namespace());
    Delivery {
        guarantee: Some(pipeline.guarantee()),
        commit_interval: Some(TimeSpan::from(delivery.commit_interval())),
        max_transaction_bytes: Some(ByteSize::from(delivery.max_transaction_bytes())),
        checkpoint_topic: Some(delivery.checkpoint_topic(namespace)),
        receipt_topic: Some(delivery.receipt_topic(namespace)),
    }
}

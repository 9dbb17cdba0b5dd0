//! What a LogPipeline may say but this version cannot do yet.
//!
//! Pure. A table; a row goes when the agent learns the thing, and nothing else has to change.

/// Members of unions that have no types yet: the union's path, the member, what to use.
const PARTS: &[(&str, &str, &str)] = &[
    ("spec.source", "rpc", "spoolDir"),
    ("spec.source", "kafka", "spoolDir"),
    ("spec.sink", "rpc", "kafka"),
    ("spec.sink", "hdfs", "kafka"),
    ("spec.sink", "s3", "kafka"),
];

/// The message for the member `name` of the union at `path`, when it is one that this version lacks.
pub(super) fn part(path: &str, name: &str) -> Option<String> {
    let row = PARTS.iter().find(|row| row.0 == path && row.1 == name)?;
    Some(format!("not available in this version; use {}", row.2))
}

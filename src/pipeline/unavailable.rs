//! What a LogPipeline may say but this version cannot do yet.
//!
//! Pure. Two tables; a row goes when the agent learns the thing, and nothing else has to change.

use super::{DecodeErrorPolicy, Guarantee, LogPipeline, Problem, SpoolDir};

/// Members of unions that have no types yet: the union's path, the member, what to use.
const PARTS: &[(&str, &str, &str)] = &[
    ("spec.source", "rpc", "spoolDir"),
    ("spec.source", "kafka", "spoolDir"),
    ("spec.sink", "rpc", "kafka"),
    ("spec.sink", "hdfs", "kafka"),
    ("spec.sink", "s3", "kafka"),
];

/// A setting: its path, whether the pipeline uses it, what to do instead.
type Setting = (&'static str, fn(&LogPipeline) -> bool, &'static str);

/// Settings that have types, and that the agent does not act on.
const SETTINGS: &[Setting] = &[
    (
        "spec.source.spoolDir.recursive",
        |p| dir(p, |d| d.recursive()),
        "leave it out, and write a LogPipeline for each sub-directory",
    ),
    (
        "spec.source.spoolDir.inputCharset",
        |p| dir(p, |d| d.input_charset.as_deref().is_some_and(|c| !is_utf8(c))),
        "leave it out: bytes pass unchanged",
    ),
    (
        "spec.source.spoolDir.decodeErrorPolicy",
        |p| dir(p, |d| d.decode_error_policy() != DecodeErrorPolicy::Fail),
        "leave it out: bytes pass unchanged",
    ),
    (
        "spec.delivery.guarantee",
        |p| p.kafka().is_some() && p.guarantee() != Guarantee::ExactlyOnce,
        "use ExactlyOnce",
    ),
];

/// What `pipeline` asks for that this version cannot do, each with what to do instead.
pub fn unavailable(pipeline: &LogPipeline) -> Vec<Problem> {
    let asked = SETTINGS.iter().filter(|(_, asks, _)| asks(pipeline));
    asked.map(|(path, _, instead)| Problem::new(path, not_available(instead))).collect()
}

/// The message for the member `name` of the union at `path`, when it is one that this version lacks.
pub(super) fn part(path: &str, name: &str) -> Option<String> {
    let row = PARTS.iter().find(|row| row.0 == path && row.1 == name)?;
    Some(not_available(&format!("use {}", row.2)))
}

fn not_available(instead: &str) -> String {
    format!("not available in this version; {instead}")
}

fn dir(pipeline: &LogPipeline, asks: fn(&SpoolDir) -> bool) -> bool {
    pipeline.spool_dir().is_some_and(asks)
}

/// UTF-8 to UTF-8 changes nothing, so it counts as unset.
fn is_utf8(charset: &str) -> bool {
    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
}

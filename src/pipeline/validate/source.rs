//! What is wrong with a source.

use std::collections::BTreeMap;
use std::time::Duration;

use encoding_rs::{Encoding, ISO_2022_JP};

use super::{Found, set};
use crate::pipeline::problem::{field, quoted};
use crate::pipeline::source::Headers;
use crate::pipeline::{DecodeErrorPolicy, LogPipeline, OnLongLine, SpoolDir, full_match};

const AT: &str = "spec.source.spoolDir";

/// How many headers can have a fixed value.
pub const MAX_STATIC: usize = 16;

pub(super) fn check(pipeline: &LogPipeline, found: &mut Found) {
    let spool_dir = pipeline.spool_dir();
    let members = set(&[("spoolDir", spool_dir.is_some())]);
    found.exactly_one("spec.source", "spoolDir", &members);
    let Some(dir) = spool_dir else { return };

    found.absolute(&at("path"), &dir.path);
    pattern(&at("includePattern"), dir.include_pattern(), found);
    pattern(&at("ignorePattern"), dir.ignore_pattern(), found);
    suffix(dir, found);
    let day = Duration::from_secs(24 * 3600);
    found.span(&at("settleTime"), dir.settle_time.as_ref(), Duration::from_millis(100), day);
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(60));
    found.span(&at("pollDelay"), dir.poll_delay.as_ref(), least, most);
    found.number(&at("maxLineBytes"), dir.max_line_bytes, 1, 16_000_000);
    found.number(&at("maxOpenFiles"), dir.max_open_files, 1, 1024);
    charset(dir, found);
    if let Some(keys) = &dir.headers {
        headers(keys, found);
    }
}

fn at(name: &str) -> String {
    field(AT, name)
}

fn pattern(path: &str, pattern: &str, found: &mut Found) {
    let length = pattern.chars().count();
    if length > 1024 {
        found.add(path, format!("has {length} characters; use at most 1024"));
        return;
    }
    let why = match full_match(pattern) {
        Ok(_) => return,
        Err(regex::Error::CompiledTooBig(limit)) => {
            format!("needs more than {limit} bytes when compiled; use smaller repetitions")
        }
        Err(error) => format!("is not a regular expression ({}); correct it", reason(&error)),
    };
    found.add(path, format!("{} {why}", quoted(pattern)));
}

/// The last line of the error: before it stand the pattern once more and a row of marks.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

fn charset(dir: &SpoolDir, found: &mut Found) {
    let path = at("inputCharset");
    let Some(name) = &dir.input_charset else {
        if dir.decode_error_policy() != DecodeErrorPolicy::Fail {
            let message =
                "does nothing without inputCharset: bytes pass unchanged; set inputCharset: UTF-8, or leave it out";
            found.add(at("decodeErrorPolicy"), message);
        }
        return;
    };
    let before = found.0.len();
    found.plain(&path, name, 64);
    if found.0.len() > before {
        return;
    }
    match Encoding::for_label_no_replacement(name.as_bytes()) {
        None => {
            let message =
                "is no name of the Encoding Standard; use one, such as UTF-8, ISO-8859-1, UTF-16LE, GBK, Shift_JIS";
            found.add(path, format!("{} {message}", quoted(name)));
        }
        // Each piece would have to begin in the state that the one before it ended in.
        Some(encoding) if encoding == ISO_2022_JP && dir.on_long_line() == OnLongLine::Split => {
            let message = "cannot be cut within a line; set onLongLine: Truncate or Skip";
            found.add(path, format!("{} {message}", quoted(name)));
        }
        Some(_) => {}
    }
}

fn suffix(dir: &SpoolDir, found: &mut Found) {
    let path = at("fileSuffix");
    found.plain(&path, dir.file_suffix(), 64);
    if dir.file_suffix().contains('/') {
        found.add(
            path,
            format!("{} has a / in it; a finished file stays in its directory", quoted(dir.file_suffix())),
        );
    }
}

fn headers(headers: &Headers, found: &mut Found) {
    let own = [
        ("file", &headers.file),
        ("baseName", &headers.base_name),
        ("host", &headers.host),
        ("position", &headers.position),
    ];
    let path = at("headers");
    found.count(&field(&path, "static"), headers.static_.as_ref().map_or(0, BTreeMap::len), MAX_STATIC);
    let mut seen = BTreeMap::new();
    let own = own.into_iter().filter_map(|(name, key)| Some((field(&path, name), key.as_ref()?)));
    let fixed = headers.static_.iter().flatten().map(|(key, _)| (field(&field(&path, "static"), key), key));
    for (path, key) in own.chain(fixed) {
        found.plain(&path, key, 255);
        if let Some(first) = seen.insert(key, path.clone()) {
            found.add(path, format!("writes the header {} as {first} does; use another key", quoted(key)));
        }
    }
}

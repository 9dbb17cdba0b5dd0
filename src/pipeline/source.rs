//! Where a pipeline's records come from.
//!
//! Pure data. Defaults are given by the methods, never by the schema; a value that cannot be read counts
//! as its default here, because `validate` refuses it before anything runs.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantity::TimeSpan;

/// Where the records come from: exactly one of the fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Files that appear in a directory (Flume's spooldir source).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool_dir: Option<SpoolDir>,
}

/// Files that appear in a spool directory: each line becomes one record. A file may still be written to while
/// it is read; it is complete when it is at its end and has not changed for `settleTime`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpoolDir {
    /// The spool directory, an absolute path without `..`. With daemonSet it lies beneath one of the namespace's
    /// allowed host paths, with sidecar in the volume. Takes the place of Flume's spoolDir.
    pub path: String,
    /// Which files to read: a regular expression that the whole base name must match, at most 1024 characters.
    /// Default `^.*$`. Takes the place of Flume's includePattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_pattern: Option<String>,
    /// Which files never to read, and with recursive which sub-directories; wins over includePattern. A regular expression that the
    /// whole base name must match, at most 1024 characters. Default `^.*\.tmp$` (Flume: `^$`). Takes the place of Flume's ignorePattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_pattern: Option<String>,
    /// Whether to read sub-directories too, but for those whose names begin with a dot. Each is locked as the spool directory is;
    /// one on another file system is set aside. Default false. Takes the place of Flume's recursiveDirectorySearch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recursive: Option<bool>,
    /// Which file to begin next, by time of last change: Oldest, Youngest, or Random. Default Oldest.
    /// Takes the place of Flume's consumeOrder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consume_order: Option<ConsumeOrder>,
    /// What happens to a file whose last line is committed: Rename (fileSuffix is appended), Delete, or Track
    /// (nothing is written to the directory, which may be mounted read-only). Default Rename, and with sink console Track, where nothing else is possible.
    /// Takes the place of Flume's deletePolicy and trackingPolicy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion: Option<Completion>,
    /// What is appended to the name of a finished file; a name that ends in it is never read. 1 to 64 bytes, no
    /// slash. Default `.COMPLETED`. Takes the place of Flume's fileSuffix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_suffix: Option<String>,
    /// How long a file must stay unchanged at its end before it counts as complete: a duration from 100ms to 24h.
    /// Reading does not wait for it. Default 5s. Flume has no such setting: there a file must not change at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle_time: Option<TimeSpan>,
    /// How long to wait before looking at the directory again when there is nothing to read: a duration from 10ms
    /// to 1m. Default 500ms. Takes the place of Flume's pollDelay (milliseconds there).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll_delay: Option<TimeSpan>,
    /// The character set of the files, by a name of the Encoding Standard; they are then decoded to UTF-8, a byte order mark at the
    /// beginning is left out (it tells the order of UTF-16, which is little-endian otherwise). Default: unset, bytes pass unchanged.
    /// Takes the place of Flume's inputCharset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_charset: Option<String>,
    /// What to do with bytes that inputCharset cannot decode: Fail (that file is set aside), Replace (U+FFFD takes
    /// their place), Ignore (they are left out, and counted). Default Fail. Takes the place of Flume's decodeErrorPolicy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode_error_policy: Option<DecodeErrorPolicy>,
    /// The longest line, in bytes without its line end: 1 to 16000000. Default 1000000. A topic's max.message.bytes
    /// must be larger. Takes the place of Flume's deserializer.maxLineLength (characters there).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_line_bytes: Option<i64>,
    /// What to do with a longer line: Split (several records), Truncate (its beginning is sent), Skip (it is left
    /// out). Each case is counted. Default Split, as Flume does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_long_line: Option<OnLongLine>,
    /// How many files are read at the same time: 1 to 1024. Default 8. With 1, one file after the other, as Flume
    /// does; a file's own lines keep their order whatever the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_open_files: Option<i64>,
    /// Record headers that say where a record came from. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Headers>,
}

/// Record headers. The value of a field is the header's key; a field that is not set writes no header. Keys are not
/// empty, and no two fields use the same one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Headers {
    /// Key of the header that holds the file's absolute path. Takes the place of Flume's fileHeader and fileHeaderKey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Key of the header that holds the file's base name. Takes the place of Flume's basenameHeader and basenameHeaderKey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_name: Option<String>,
    /// Key of the header that holds the name of the node or host. Takes the place of Flume's host interceptor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Key of the header that holds the position of the line's first byte in its file. Takes the place of Flume's
    /// byteOffsetHeader (Taildir source).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// Headers with a fixed value, the same on every record: key to value, at most 16. Takes the place of Flume's static interceptor.
    #[serde(rename = "static", skip_serializing_if = "Option::is_none")]
    pub static_: Option<BTreeMap<String, String>>,
}

words! {
    /// Which file to begin next.
    ConsumeOrder {
        /// The one whose last change is longest ago; ties by the smaller name.
        Oldest,
        /// The one that changed last.
        Youngest,
        /// Any.
        Random,
    }
}

words! {
    /// What happens to a file whose last line is committed.
    Completion {
        /// `fileSuffix` is appended to its name.
        Rename,
        /// It is removed.
        Delete,
        /// Nothing: progress alone remembers it.
        Track,
    }
}

words! {
    /// What to do with bytes that `inputCharset` cannot decode.
    DecodeErrorPolicy {
        /// The file is set aside.
        Fail,
        /// U+FFFD takes their place.
        Replace,
        /// They are left out, and counted.
        Ignore,
    }
}

words! {
    /// What to do with a line longer than `maxLineBytes`.
    OnLongLine {
        /// It becomes several records.
        Split,
        /// Its beginning is sent, the rest is left out.
        Truncate,
        /// It is left out.
        Skip,
    }
}

impl SpoolDir {
    /// Which files to read.
    pub fn include_pattern(&self) -> &str {
        self.include_pattern.as_deref().unwrap_or("^.*$")
    }

    /// Which files never to read; wins over [`Self::include_pattern`].
    pub fn ignore_pattern(&self) -> &str {
        self.ignore_pattern.as_deref().unwrap_or(r"^.*\.tmp$")
    }

    /// Whether to read sub-directories too.
    pub fn recursive(&self) -> bool {
        self.recursive.unwrap_or(false)
    }

    /// Which file to begin next.
    pub fn consume_order(&self) -> ConsumeOrder {
        self.consume_order.unwrap_or(ConsumeOrder::Oldest)
    }

    /// What is appended to the name of a finished file.
    pub fn file_suffix(&self) -> &str {
        self.file_suffix.as_deref().unwrap_or(".COMPLETED")
    }

    /// How long a file must stay unchanged at its end.
    pub fn settle_time(&self) -> Duration {
        let set = self.settle_time.as_ref().and_then(|t| t.duration().ok());
        set.unwrap_or(Duration::from_secs(5))
    }

    /// How long to wait when there is nothing to read.
    pub fn poll_delay(&self) -> Duration {
        let set = self.poll_delay.as_ref().and_then(|t| t.duration().ok());
        set.unwrap_or(Duration::from_millis(500))
    }

    /// What to do with bytes that cannot be decoded.
    pub fn decode_error_policy(&self) -> DecodeErrorPolicy {
        self.decode_error_policy.unwrap_or(DecodeErrorPolicy::Fail)
    }

    /// The longest line, in bytes.
    pub fn max_line_bytes(&self) -> u64 {
        let set = self.max_line_bytes.and_then(|n| u64::try_from(n).ok());
        set.unwrap_or(1_000_000)
    }

    /// Bytes of the longest record: three of UTF-8 at most for one of another character set.
    pub fn max_record_bytes(&self) -> u64 {
        self.max_line_bytes() * if self.input_charset.is_some() { 3 } else { 1 }
    }

    /// What to do with a longer line.
    pub fn on_long_line(&self) -> OnLongLine {
        self.on_long_line.unwrap_or(OnLongLine::Split)
    }

    /// How many files are read at the same time.
    pub fn max_open_files(&self) -> usize {
        let set = self.max_open_files.and_then(|n| usize::try_from(n).ok());
        set.unwrap_or(8)
    }
}

/// `pattern` as it is matched against a base name: the whole of it, as in Flume. `.` is any character, a
/// line end too, or a file with one in its name would wait for ever unseen. The compiled form is limited to 1 MiB.
pub fn full_match(pattern: &str) -> Result<regex::Regex, regex::Error> {
    // Compiled alone first: `a)(b` would become valid once wrapped.
    let limited = |p: &str| regex::RegexBuilder::new(p).size_limit(1 << 20).dot_matches_new_line(true).build();
    limited(pattern)?;
    limited(&format!("^(?:{pattern})$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_the_whole_name() {
        let logs = full_match("a|b.log").unwrap();
        assert!(logs.is_match("b.log") && logs.is_match("a"));
        assert!(!logs.is_match("ab.log") && !logs.is_match("b.log.gz"));
        assert!(full_match("^.*$").unwrap().is_match("line\nend"), "any name that a file can have");
        assert!(full_match("a)(b").is_err());
        assert!(full_match("(?=a)").is_err());
        assert!(full_match("(?x) a # comment").is_err_and(|e| !e.to_string().is_empty()));
    }

    #[test]
    fn defaults() {
        let dir = SpoolDir::default();
        assert_eq!(dir.include_pattern(), "^.*$");
        assert!(full_match(dir.ignore_pattern()).unwrap().is_match("a.log.tmp"));
        assert_eq!(dir.settle_time(), Duration::from_secs(5));
        assert_eq!((dir.max_line_bytes(), dir.max_open_files()), (1_000_000, 8));
    }
}

//! Lines to standard output, for looking and testing. BestEffort: what is committed is remembered in memory only, and nobody knows
//! whether a line was read behind the pipe. I/O.
//!
//! `Text` is the line's bytes as they are, except on a terminal, where control characters are escaped. `Json` is one object a line, in
//! which nothing is lost: a line that is not UTF-8 is `{"hex": …}`.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::{Failure, Opened, Sink, SinkError};
use crate::agent::channel::digest::FileId;
use crate::agent::channel::name::{Name, TextOrHex};
use crate::agent::channel::progress::{Closing, Progress};
use crate::agent::channel::splitter::Line;
use crate::agent::channel::{Delivered, Records};
use crate::pipeline::ConsoleFormat;
use crate::pipeline::problem::escaped;
use crate::pipeline::report::FlowReason;

/// What was shown so far; it outlives a change of configuration.
pub type Shown = Arc<Mutex<BTreeMap<FileId, Progress>>>;

/// Standard output as a sink.
pub struct ConsoleSink {
    format: ConsoleFormat,
    shown: Shown,
    is_terminal: bool,
    scratch: Vec<u8>,
}

/// A line in JSON.
#[derive(Serialize)]
struct Shape<'a> {
    file: &'a Name,
    /// Of the line's first byte.
    position: u64,
    line: TextOrHex<'a>,
}

impl ConsoleSink {
    /// Goes on behind what is `shown`.
    pub fn new(format: ConsoleFormat, shown: Shown) -> Self {
        ConsoleSink { format, shown, is_terminal: io::stdout().is_terminal(), scratch: vec![] }
    }
}

/// The lines as they are shown.
fn render(
    format: ConsoleFormat,
    is_terminal: bool,
    records: &Records,
    data: &[u8],
    lines: &[Line],
    out: &mut Vec<u8>,
) {
    let body = &data[records.back..];
    for line in lines {
        let bytes = line.of(body);
        match format {
            ConsoleFormat::Json => {
                let position = records.position + u64::from(line.start);
                let shape = Shape { file: &records.file, position, line: TextOrHex(bytes) };
                serde_json::to_writer(&mut *out, &shape).expect("a plain struct serialises into memory");
            }
            // Whoever looks at a log must not be at the mercy of what is in it.
            ConsoleFormat::Text if is_terminal => {
                let text = String::from_utf8_lossy(bytes);
                let columns: Vec<String> = text.split('\t').map(escaped).collect();
                out.extend_from_slice(columns.join("\t").as_bytes());
            }
            ConsoleFormat::Text => out.extend_from_slice(bytes),
        }
        out.push(b'\n');
    }
}

impl Sink for ConsoleSink {
    fn open(&mut self) -> Result<Opened, SinkError> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Opened { committed: shown.values().cloned().collect(), partitions: 1, checkpoint_topic: None })
    }

    fn append(&mut self, records: &Records, data: &mut Vec<u8>, lines: &[Line]) -> Result<(), SinkError> {
        self.scratch.clear();
        render(self.format, self.is_terminal, records, data, lines, &mut self.scratch);
        io::stdout().write_all(&self.scratch).map_err(|e| trouble(&e))
    }

    fn flush(&mut self) -> Result<Vec<Delivered>, SinkError> {
        io::stdout().flush().map_err(|e| trouble(&e))?;
        Ok(vec![])
    }

    fn commit(&mut self, closing: &[Closing], tombstones: &[FileId]) -> Result<(), SinkError> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.extend(closing.iter().map(|entry| (entry.progress.id, entry.progress.clone())));
        tombstones.iter().for_each(|file| _ = shown.remove(file));
        Ok(())
    }

    fn idle(&mut self) -> Option<(FlowReason, String)> {
        None
    }

    fn close(&mut self) {}
}

fn trouble(error: &io::Error) -> SinkError {
    let (failure, todo) = match error.kind() {
        ErrorKind::BrokenPipe => (Failure::Ends, "whoever read it has ended, and so does this agent"),
        _ => (Failure::Retry, "it is tried again"),
    };
    let message = format!("cannot write to standard output: {error}; {todo}");
    SinkError { failure, reason: FlowReason::OutputUnavailable, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: ConsoleFormat, is_terminal: bool) -> Vec<u8> {
        let data = b"..plain\t\"1\"\n\x1b[31mred\n\xff\xfe\n";
        let lines = [(0, 9), (10, 8), (19, 2)].map(|(start, len)| Line::new(start, len));
        let records = Records { file: Name::new(b"a.log"), position: 100, back: 2, ..Records::default() };
        let mut out = vec![];
        render(format, is_terminal, &records, data, &lines, &mut out);
        out
    }

    #[test]
    fn text_is_the_bytes_and_on_a_terminal_what_does_no_harm() {
        assert_eq!(shown(ConsoleFormat::Text, false), b"plain\t\"1\"\n\x1b[31mred\n\xff\xfe\n");
        let text = String::from_utf8(shown(ConsoleFormat::Text, true)).unwrap();
        assert_eq!(text, "plain\t\"1\"\n\\u{1b}[31mred\n\u{fffd}\u{fffd}\n");
    }

    #[test]
    fn json_loses_nothing() {
        let text = String::from_utf8(shown(ConsoleFormat::Json, true)).unwrap();
        let expected = [
            r#"{"file":"a.log","position":100,"line":"plain\t\"1\""}"#,
            r#"{"file":"a.log","position":110,"line":"\u001b[31mred"}"#,
            r#"{"file":"a.log","position":119,"line":{"hex":"fffe"}}"#,
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}

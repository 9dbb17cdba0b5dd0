//! A problem: what is wrong in a LogPipeline, where, and what to do about it.
//!
//! Pure. Whatever a person wrote reaches a message only through [`quoted`] or [`escaped`], so that one
//! problem is one line and no control character gets to a terminal.

use std::fmt;

/// What is wrong in a LogPipeline, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, as `spec.source.spoolDir.path`; a line and column where the text is not YAML; empty
    /// when it is about the whole file.
    pub path: String,
    /// What is wrong, then what to do: one line, lower case.
    pub message: String,
}

impl Problem {
    /// A problem at `path`. Control characters in either are escaped.
    pub fn new(path: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        Self { path: escaped(path.as_ref()), message: escaped(message.as_ref()) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// `text` with every character escaped that could move a cursor, end a line or turn the direction of text.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// `text` in double quotes, escaped, and cut after 80 characters.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    let head: String = text.chars().take(SHOWN).collect();
    let more = if head.len() < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", escaped(&head))
}

/// The path of `key` inside `path`: `a.key`, or `a["key.with.dots"]`.
pub fn field(path: &str, key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match (path, !key.is_empty() && key.chars().all(plain)) {
        ("", true) => key.to_owned(),
        (_, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{}]", quoted(key)),
    }
}

/// Line separators, zero-width and bidirectional characters: printable for Rust, yet unseen by a reader.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_problem_is_one_line() {
        let problem = Problem::new("spec.a\nb", "x \u{1b}[31m\r\n\u{202e}y");
        assert_eq!(problem.to_string(), r"spec.a\nb: x \u{1b}[31m\r\n\u{202e}y");
    }

    #[test]
    fn fields() {
        assert_eq!(field("", "spec"), "spec");
        assert_eq!(field("a.b", "linger.ms"), "a.b[\"linger.ms\"]");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(quoted(&"é".repeat(81)), format!("\"{}…\"", "é".repeat(80)));
        assert_eq!(quoted("é"), "\"é\"");
    }
}

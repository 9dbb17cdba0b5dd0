//! From a chunk's bytes to lines in the form in which they are shipped: cut, and decoded where the pipeline says so. Pure.
//!
//! Invariant: what is consumed is what the lines and their ends took in the file, however long they are when they are decoded.

use super::progress::Progress;
use super::splitter::{self, Line, LineState, Rules, Split};

/// What was cut from a chunk, and decoded where the pipeline says so.
pub struct Cut {
    /// What the cutting did.
    pub split: Split,
    /// Takes the place of the chunk's body.
    pub decoded: Option<Vec<u8>>,
    /// Sequences of bytes that were replaced or left out.
    pub decode_errors: u64,
    /// Why the line behind the last one cannot be decoded.
    pub undecodable: Option<String>,
}

/// Cuts `body`, which begins at the position of `progress`; `last` and `enough` as for [`splitter::split`].
pub fn cut(
    progress: &mut Progress,
    body: &[u8],
    rules: &Rules,
    last: bool,
    enough: splitter::Enough,
    lines: &mut Vec<Line>,
) -> Cut {
    let Some(charset) = rules.charset else {
        let split = splitter::split(body, progress.line_state, rules, last, enough, lines);
        return Cut { split, decoded: None, decode_errors: 0, undecodable: None };
    };
    let (skipped, order) = if progress.position == 0 { charset.mark(body) } else { (0, progress.byte_order) };
    progress.byte_order = order;
    let charset = charset.ordered(order);
    let rules = Rules { charset: Some(charset), ..*rules };
    let mut split = splitter::split(&body[skipped..], progress.line_state, &rules, last, enough, lines);
    if split.consumed > 0 || last {
        split.consumed += skipped;
    }
    for line in lines.iter_mut() {
        *line = Line::new(line.start as usize + skipped, line.len as usize);
    }
    let mut decoded = Vec::with_capacity(body.len());
    let (decode_errors, undecodable) = match charset.decode(body, lines, &mut decoded) {
        Ok(errors) => (errors, None),
        Err(bad) => {
            let end = lines[bad.line].at as usize;
            lines.truncate(bad.line);
            // Long lines behind it are not counted yet.
            let before = splitter::Enough { bytes: end - skipped, ..enough };
            let before = splitter::split(&body[skipped..], progress.line_state, &rules, last, before, &mut vec![]);
            let inside = match &body[skipped..end] {
                [] => progress.line_state == LineState::Splitting,
                // A piece of a long line has no line's end before it.
                before => !charset.units().is_end_of_line(before),
            };
            let state = if inside { LineState::Splitting } else { LineState::Start };
            split = Split { consumed: end, state, long_lines: before.long_lines, ..split };
            let at = progress.position + bad.at as u64;
            (0, Some(format!("byte {at} is not {}", charset.name())))
        }
    };
    Cut { split, decoded: Some(decoded), decode_errors, undecodable }
}

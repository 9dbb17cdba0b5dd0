//! What is written for people: tables, sizes, and words that cannot move the cursor; and the choice of text or JSON. Pure.

/// What it is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Aligned text.
    Text,
    /// One JSON document; of `status` a look, an object, or a list where no name was given.
    Json,
}

/// `text`, harmless: what cannot be printed is escaped, line ends too.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

/// With the largest unit that leaves a whole number before the point: 950 B, 1.2 GB.
pub fn bytes(number: i64) -> String {
    let (mut size, mut unit) = (1, "B");
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if number / size < 1000 {
            break;
        }
        (size, unit) = (size * 1000, larger);
    }
    if size == 1 {
        format!("{number} B")
    } else {
        format!("{}.{} {unit}", number / size, number % size * 10 / size)
    }
}

/// A blank line, a heading, and rows: aligned, two spaces between columns, the last one as long as it is.
pub fn table<const N: usize>(out: &mut String, head: [&str; N], rows: impl Iterator<Item = [String; N]>) {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    out.push('\n');
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("  {cell:<width$}"));
        let line: String = cells.collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        let hostile: String =
            ('\0'..='\u{ff}').chain(['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{2028}']).collect();
        let safe = plain(&hostile);
        assert!(
            safe.chars().all(|c| !c.is_control() && !('\u{2000}'..='\u{20ff}').contains(&c) && c != '\u{feff}'),
            "{safe}"
        );
        assert_eq!(plain("it's \"ü\" C:\\"), "it's \"ü\" C:\\");
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!([0, 999, 1000, 1_250_000_000].map(bytes), ["0 B", "999 B", "1.0 kB", "1.2 GB"]);
        assert!(bytes(i64::MAX).ends_with(" PB"));
    }
}

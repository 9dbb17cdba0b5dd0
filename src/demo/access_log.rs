//! Access logs in the combined format, as a web server of a shop would write them. Pure: the same seed and file number
//! give the same bytes, for ever, on every machine.
//!
//! Every line carries `rid=<file>-<n>` in its request, with `n` counting from 0: whoever reads the lines somewhere else
//! can tell whether all arrived, once, in order.

use fastrand::Rng;

const PATHS: &[&str] = &[
    "/",
    "/cart",
    "/checkout/payment",
    "/product/walking-boots",
    "/product/espresso-maker",
    "/category/garden",
    "/api/v2/stock",
    "/search",
    "/static/app.3f9c1b.js",
    "/account/orders",
];
const AGENTS: &[&str] = &[
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5) AppleWebKit/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Firefox/127.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1)",
    "curl/8.5.0",
];
const REFERRERS: &[&str] = &["-", "https://shop.example/", "https://shop.example/category/garden"];
const MONTHS: &[&str] = &["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The lines of one file, one after the other, without an end.
#[derive(Debug)]
pub struct AccessLog {
    rng: Rng,
    file: u32,
    next: u64,
    /// Milliseconds since the log's first midnight: time goes on from line to line.
    clock_ms: u64,
}

impl AccessLog {
    /// The log of file number `file`; other files of the same seed have other lines.
    #[must_use]
    pub fn new(seed: u64, file: u32) -> Self {
        let rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(file));
        Self { rng, file, next: 0, clock_ms: 0 }
    }

    /// Appends the next line to `out`, without a line end. Written by hand and not by `write!`: the bench needs
    /// gigabytes of it, and formatting would be most of the time.
    pub fn line(&mut self, out: &mut Vec<u8>) {
        // One random number makes the whole line: each field takes some of its bits.
        let mut bits = self.rng.u64(..);
        let mut take = |n: u64| {
            let part = bits % n;
            bits /= n;
            part
        };
        self.clock_ms += take(32);
        out.extend_from_slice(b"10.");
        number(out, take(4));
        out.push(b'.');
        number(out, take(256));
        out.push(b'.');
        number(out, take(256));
        out.extend_from_slice(b" - - [");
        timestamp(out, self.clock_ms / 1000);
        let method: &[u8] = if take(8) == 0 { b"] \"POST " } else { b"] \"GET " };
        out.extend_from_slice(method);
        out.extend_from_slice(pick(PATHS, take(PATHS.len() as u64)));
        out.extend_from_slice(b"?rid=");
        number(out, u64::from(self.file));
        out.push(b'-');
        number(out, self.next);
        self.next += 1;
        out.extend_from_slice(b" HTTP/1.1\" ");
        let status: &[u8] = match take(16) {
            0 => b"404 ",
            1 => b"302 ",
            2 => b"500 ",
            3 => b"304 ",
            _ => b"200 ",
        };
        out.extend_from_slice(status);
        number(out, take(65_536));
        out.extend_from_slice(b" \"");
        out.extend_from_slice(pick(REFERRERS, take(REFERRERS.len() as u64)));
        out.extend_from_slice(b"\" \"");
        out.extend_from_slice(pick(AGENTS, take(AGENTS.len() as u64)));
        out.push(b'"');
    }
}

fn pick(from: &[&'static str], index: u64) -> &'static [u8] {
    from[usize::try_from(index).unwrap_or(0)].as_bytes()
}

/// Decimal digits.
fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn two_digits(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(&[b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8]);
}

/// `01/Mar/2026:13:55:36 +0000`: 28 days a month and 12 months, then from the beginning; a log needs no calendar.
fn timestamp(out: &mut Vec<u8>, seconds: u64) {
    let day = seconds / 86_400;
    two_digits(out, day % 28 + 1);
    out.push(b'/');
    out.extend_from_slice(pick(MONTHS, day / 28 % 12));
    out.extend_from_slice(b"/2026:");
    two_digits(out, seconds / 3600 % 24);
    out.push(b':');
    two_digits(out, seconds / 60 % 60);
    out.push(b':');
    two_digits(out, seconds % 60);
    out.extend_from_slice(b" +0000");
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn lines(seed: u64, file: u32, count: usize) -> Vec<String> {
        let mut log = AccessLog::new(seed, file);
        (0..count)
            .map(|_| {
                let mut line = Vec::new();
                log.line(&mut line);
                String::from_utf8(line).unwrap()
            })
            .collect()
    }

    #[test]
    fn the_same_seed_and_file_give_the_same_lines_and_others_give_others() {
        assert_eq!(lines(1, 3, 1000), lines(1, 3, 1000));
        assert_ne!(lines(1, 3, 1000), lines(2, 3, 1000));
        assert_ne!(lines(1, 3, 1000), lines(1, 4, 1000));
    }

    #[test]
    fn the_ids_count_from_zero_and_no_two_lines_are_equal() {
        let mut seen = HashSet::new();
        for file in [0, 7] {
            for (n, line) in lines(1, file, 20_000).into_iter().enumerate() {
                assert!(line.contains(&format!("?rid={file}-{n} ")), "{line}");
                assert!(!line.contains('\n'));
                assert!(seen.insert(line));
            }
        }
    }

    #[test]
    fn a_line_is_about_175_bytes_on_average() {
        let lines = lines(1, 0, 100_000);
        let average = lines.iter().map(String::len).sum::<usize>() / lines.len();
        assert!((165..=185).contains(&average), "{average}");
    }

    #[test]
    fn a_line_has_the_combined_format() {
        let shape = regex::Regex::new(
            r#"^[\d.]+ - - \[\d\d/[A-Z][a-z]{2}/2026:\d\d:\d\d:\d\d \+0000\] "(GET|POST) /\S* HTTP/1\.1" \d{3} \d+ "[^"]+" "[^"]+"$"#,
        );
        let shape = shape.unwrap();
        for line in lines(5, 12, 1000) {
            assert!(shape.is_match(&line), "{line}");
        }
    }
}

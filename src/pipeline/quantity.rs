//! Sizes and durations as people write them: `64Mi`, `500ms`.
//!
//! Pure. The text stays as it was written, so that writing a LogPipeline out again changes nothing in
//! it; [`ByteSize::bytes`] and [`TimeSpan::duration`] read it, strictly.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An amount of bytes: a whole number and one of `Ki`, `Mi`, `Gi` (powers of 1024), `k`, `M`, `G`
/// (powers of 1000) or nothing (bytes).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("pattern" = "^[0-9]+(Ki|Mi|Gi|k|M|G)?$"))]
pub struct ByteSize(pub String);

/// A duration: a whole number and one of `ms`, `s`, `m`, `h`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("pattern" = "^[0-9]+(ms|s|m|h)$"))]
pub struct TimeSpan(pub String);

const SIZES: &[(&str, u64)] = &[
    ("", 1),
    ("k", 1000),
    ("M", 1000 * 1000),
    ("G", 1000 * 1000 * 1000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
];
const SPANS: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

impl ByteSize {
    /// The size in bytes, or what is wrong with the text.
    pub fn bytes(&self) -> Result<u64, &'static str> {
        parse(&self.0, SIZES).ok_or("is not a size; write a whole number and a unit, as in 64Mi")
    }
}

impl TimeSpan {
    /// The duration, or what is wrong with the text.
    pub fn duration(&self) -> Result<Duration, &'static str> {
        parse(&self.0, SPANS)
            .map(Duration::from_millis)
            .ok_or("is not a duration; write a whole number and one of ms, s, m, h, as in 500ms or 5s")
    }
}

/// The longest text of a quantity: the API server's rules need a bound, and leading zeros have none.
pub const MAX_TEXT: usize = 32;

/// Digits and one of `units`, nothing else: no sign, no fraction, no space.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

impl From<u64> for ByteSize {
    /// The size as the largest binary unit that says it exactly.
    fn from(bytes: u64) -> Self {
        let exact = [("Gi", 1u64 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)]
            .into_iter()
            .find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
        match exact {
            Some((unit, factor)) => Self(format!("{}{unit}", bytes / factor)),
            None => Self(bytes.to_string()),
        }
    }
}

impl From<Duration> for TimeSpan {
    /// The duration in the largest unit that says it exactly.
    fn from(span: Duration) -> Self {
        let millis = span.as_millis();
        let exact = [("h", 3_600_000), ("m", 60_000), ("s", 1000)]
            .into_iter()
            .find(|(_, factor)| millis > 0 && millis.is_multiple_of(*factor));
        match exact {
            Some((unit, factor)) => Self(format!("{}{unit}", millis / factor)),
            None => Self(format!("{millis}ms")),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A time that people read, as `kubectl get` shows it: 40s, 90m, 3h, 5d.
pub fn age(seconds: u64) -> String {
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("1", 1), ("64Mi", 64 << 20), ("1Gi", 1 << 30), ("10k", 10_000)] {
            assert_eq!(ByteSize(text.into()).bytes(), Ok(bytes), "{text}");
        }
        for text in ["", "Mi", "64 Mi", "64mi", "64MB", "-1", "+1", "1.5Gi", "1e3", "99999999999Gi", "６４"] {
            assert!(ByteSize(text.into()).bytes().is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [("500ms", 500), ("5s", 5000), ("1m", 60_000), ("0s", 0)] {
            assert_eq!(TimeSpan(text.into()).duration(), Ok(Duration::from_millis(millis)));
        }
        for text in ["", "5", "s", "5 s", "1m30s", "5S", "1.5s", "-1s", "1d"] {
            assert!(TimeSpan(text.into()).duration().is_err(), "{text}");
        }
    }

    #[test]
    fn written_back_in_one_way() {
        assert_eq!(ByteSize::from(64 << 20).0, "64Mi");
        assert_eq!(ByteSize::from(1_000_000).0, "1000000");
        assert_eq!(TimeSpan::from(Duration::from_secs(60)).0, "1m");
        assert_eq!(TimeSpan::from(Duration::from_millis(1500)).0, "1500ms");
    }

    #[test]
    fn ages_are_short() {
        assert_eq!([0, 40, 119, 120, 7200, 172_800].map(age), ["0s", "40s", "119s", "2m", "2h", "2d"]);
    }
}

//! "Did you mean": the known word nearest to what was written.
//!
//! Pure. Case and punctuation do not count, so that `bootstrap.servers` finds `bootstrapServers`.

use serde_json::Value;

/// The word nearest to `written`, when one is near enough to be worth naming.
pub(super) fn nearest<'a>(written: &str, words: &[&'a str]) -> Option<&'a str> {
    // A bound on the work: no field is that long.
    if written.len() > 100 {
        return None;
    }
    let letters = bare(written);
    let near = words
        .iter()
        .map(|word| (strsim::damerau_levenshtein(&letters, &bare(word)), *word))
        .min_by_key(|(distance, _)| *distance);
    let (distance, word) = near?;
    let enough = (letters.len().min(bare(word).len()) / 3).min(3);
    (distance <= enough).then_some(word)
}

/// Every place below `schema` where a field is called `name`.
pub(super) fn homes(schema: &Value, path: &str, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let here = format!("{path}.{key}");
        found.extend(homes(inner, &here, name));
        if key == name {
            found.push(here);
        }
    }
    found
}

fn bare(word: &str) -> String {
    let letters = word.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words() {
        let words = ["bootstrapServers", "topic", "acks"];
        for (written, near) in [
            ("bootstrap.servers", Some("bootstrapServers")),
            ("bootstrapServer", Some("bootstrapServers")),
            ("topics", Some("topic")),
            ("ack", Some("acks")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, &words), near, "{written}");
        }
    }
}

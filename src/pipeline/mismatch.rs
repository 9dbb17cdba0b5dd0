//! What to say when a value is not what its field wants: another type, another word.
//!
//! Pure.

use jsonschema::JsonType;
use jsonschema::error::TypeKind;
use serde_json::Value;

use super::problem::quoted;
use super::suggest;

/// A value that is none of `words`.
pub(super) fn not_one_of(found: &Value, words: &[&str]) -> String {
    let list = words.join(", ");
    let Some(text) = found.as_str() else {
        return format!("is {}; use one of {list}", a(found));
    };
    match suggest::nearest(text, words) {
        Some(near) => format!("is {}; did you mean {near}? use one of {list}", quoted(text)),
        None => format!("is {}; use one of {list}", quoted(text)),
    }
}

/// A value of another type than the schema wants there.
pub(super) fn wrong_type(found: &Value, wanted: &TypeKind, schema: &Value) -> String {
    let wanted: Vec<JsonType> = match wanted {
        TypeKind::Single(one) => vec![*one],
        TypeKind::Multiple(set) => set.iter().filter(|t| *t != JsonType::Null).collect(),
    };
    let names: Vec<&str> = wanted.iter().map(|t| a_type(*t)).collect();
    let todo = match (found, wanted.as_slice()) {
        // The only texts with a pattern are quantities.
        (Value::Number(_), [JsonType::String]) if schema["pattern"].is_string() => {
            "; write it with its unit, as in 5s or 64Mi".to_owned()
        }
        (Value::Number(_) | Value::Bool(_), [.., JsonType::String]) => {
            format!("; put it in quotes: \"{found}\"")
        }
        (Value::String(text), [JsonType::Array]) => format!("; write it as [{}]", quoted(text)),
        (Value::String(text), [JsonType::Integer]) if text.parse::<i64>().is_ok() => {
            format!("; write {text} without quotes")
        }
        (Value::String(text), [JsonType::Boolean]) if text.parse::<bool>().is_ok() => {
            format!("; write {text} without quotes")
        }
        (Value::Null, _) => "; give it".to_owned(),
        _ => String::new(),
    };
    format!("is {}, but {} is wanted{todo}", a(found), names.join(" or "))
}

/// What a value is, in words.
pub(super) fn a(value: &Value) -> String {
    match value {
        Value::Null => a_type(JsonType::Null).to_owned(),
        Value::Bool(word) => word.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => a_type(JsonType::String).to_owned(),
        Value::Array(_) => a_type(JsonType::Array).to_owned(),
        Value::Object(_) => a_type(JsonType::Object).to_owned(),
    }
}

fn a_type(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Null => "empty",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "text",
        JsonType::Array => "a list",
        JsonType::Object => "a group of fields",
    }
}

/// `text` as it is when it looks like a kind, else in quotes.
pub(super) fn kind_word(text: &str) -> String {
    if !text.is_empty() && text.len() < 64 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return text.to_owned();
    }
    quoted(text)
}

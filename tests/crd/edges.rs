//! Values at and beside every bound (tests/golden/edges.yaml): `validate` and the CRD must say the same of each.

use std::fmt::Write;

use serde_json::{Map, Value};
use spoolway::yaml;

use super::{both, good};

/// Where `validate` is stricter on purpose: the API server drops an entry of a map that is null, `validate` asks what was meant.
const NULL_ENTRIES: &[&str] = &[
    r#"spec.source.spoolDir.headers.static = {"a":null}"#,
    r#"spec.sink.kafka.properties = {"client.id":null}"#,
    "spec.sink.kafka.properties.linger:ms = null",
    r#"spec.placement.daemonSet.nodeSelector = {"a":null}"#,
    r#"spec.placement.daemonSet.resources.requests = {"cpu":null}"#,
    r#"spec.placement.daemonSet.resources.limits = {"cpu":null}"#,
];

const EDGES: &str = include_str!("../golden/edges.yaml");

/// `document` with the field at `path` set to `value`, or removed. A colon stands for a dot in a field's name.
pub(super) fn with(document: &Value, path: &str, value: Option<Value>) -> Value {
    let mut document = document.clone();
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let place = parent.split('.').filter(|s| !s.is_empty()).fold(&mut document, |place, name| &mut place[name]);
    let name = name.replace(':', ".");
    match value {
        Some(value) => place[&name] = value,
        None => _ = place.as_object_mut().unwrap().remove(&name),
    }
    document
}

/// Every edge: the path, the value, the document with it.
pub(super) fn documents() -> Vec<(String, Value, Value)> {
    let mut all = vec![];
    for (base, edges) in good().iter().zip(yaml::documents(EDGES)) {
        for (path, values) in edges.value.as_object().unwrap() {
            for value in values.as_array().unwrap() {
                let value = written_out(value);
                all.push((path.clone(), value.clone(), with(base, path, Some(value))));
            }
        }
    }
    assert!(all.len() > 500, "edges.yaml was not read");
    all
}

/// `before*text 64after`: the text so often, as the head of edges.yaml says.
fn repeated(text: &str) -> String {
    let form = regex::Regex::new(r"^([^*]*)\*(\S+) (\d+)(.*)$").unwrap();
    match form.captures(text) {
        Some(part) => format!("{}{}{}", &part[1], part[2].repeat(part[3].parse().unwrap()), &part[4]),
        None => text.to_owned(),
    }
}

fn written_out(value: &Value) -> Value {
    match value {
        Value::String(text) => repeated(text).into(),
        Value::Array(items) => items.iter().map(written_out).collect(),
        Value::Object(fields) => match (fields.get("keys"), fields.get("items"), fields.get("count")) {
            (Some(count), ..) => {
                let keys = 0..count.as_u64().unwrap();
                keys.map(|n| (format!("k{n}"), "v".into())).collect::<Map<_, _>>().into()
            }
            (_, Some(item), Some(count)) => (0..count.as_u64().unwrap()).map(|n| numbered(item, n)).collect(),
            _ => fields.iter().map(|(name, v)| (repeated(name), written_out(v))).collect::<Map<_, _>>().into(),
        },
        other => other.clone(),
    }
}

fn numbered(item: &Value, number: u64) -> Value {
    match item.as_str() {
        Some(text) => text.replace('#', &number.to_string()).into(),
        None => item.clone(),
    }
}

#[test]
fn at_every_bound_the_rules_and_validate_say_the_same() {
    let (mut page, mut wrong, mut last) = (String::new(), String::new(), String::new());
    for (path, value, document) in documents() {
        let (ours, theirs) = both(&document);
        let beyond = NULL_ENTRIES.contains(&format!("{path} = {value}").as_str());
        if (ours.is_empty() != theirs.is_empty()) != beyond {
            writeln!(wrong, "{path} = {value}\n  validate {ours:?}\n  api      {theirs:?}").unwrap();
        }
        if path != last {
            writeln!(page, "{path}").unwrap();
            last = path;
        }
        let text: String = value.to_string().chars().take(60).collect();
        writeln!(page, "  {} {text}", if ours.is_empty() { "ok" } else { "no" }).unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
    insta::with_settings!({ snapshot_path => "../snapshots" }, { insta::assert_snapshot!(page) });
}

//! Holds a LogPipeline against the CustomResourceDefinition as the API server does, without one.
//!
//! Pure, and in the API server's order: what Kubernetes keeps in `metadata`; unknown fields (refused, as `kubectl apply` asks
//! for; other clients have them dropped); nulls are dropped; the schema; and only where the schema holds, the CEL rules.
//! The engine is kube's, not the API server's: the tests say where the two were compared.

use std::sync::LazyLock;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::cel;
use serde_json::{Map, Value, json};

use super::openapi;
use crate::pipeline::problem::{field, quoted};
use crate::pipeline::{API_VERSION, KIND, Problem};

/// The schema, and what is made of it once.
struct Definition {
    schema: Value,
    form: jsonschema::Validator,
    rules: cel::CompiledSchema,
}

static DEFINITION: LazyLock<Definition> = LazyLock::new(|| {
    let schema = openapi();
    let mut form = schema.clone();
    type_int_or_string(&mut form);
    Definition {
        form: jsonschema::validator_for(&form).expect("our own schema compiles"),
        rules: cel::compile_schema(&schema),
        schema,
    }
});

/// What the API server would say when `document` is created; empty where it takes it.
pub fn judge(document: &Value) -> Vec<Problem> {
    judged(document, None)
}

/// What the API server would say when `document` takes the place of `old`.
pub fn judge_update(document: &Value, old: &Value) -> Vec<Problem> {
    judged(document, Some(old))
}

fn judged(document: &Value, old: Option<&Value>) -> Vec<Problem> {
    let Some(object) = document.as_object() else {
        return vec![Problem::new("", "is no object; write a LogPipeline")];
    };
    if object.get("apiVersion") != Some(&json!(API_VERSION)) || object.get("kind") != Some(&json!(KIND)) {
        return vec![Problem::new("", format!("is no {KIND} of {API_VERSION}; set apiVersion and kind"))];
    }
    let mut problems = metadata(object.get("metadata").unwrap_or(&Value::Null));
    let definition = &*DEFINITION;
    let pruned = pruned(document, &definition.schema, "", &mut problems);
    // A name is what Kubernetes itself asks for, and the rules could not run without one.
    if !pruned["metadata"]["name"].is_string() {
        problems.push(Problem::new("metadata.name", "is missing; add it"));
        return problems;
    }
    let errors: Vec<Problem> = definition.form.iter_errors(&pruned).flat_map(|e| about(&e)).collect();
    if errors.is_empty() {
        let old = old.map(|old| self::pruned(old, &definition.schema, "", &mut Vec::new()));
        problems.extend(definition.by_rules(&pruned, old.as_ref()));
    }
    problems.extend(errors);
    problems
}

impl Definition {
    fn by_rules(&self, document: &Value, old: Option<&Value>) -> Vec<Problem> {
        let verdict = cel::Validator::new().validate_compiled(&self.rules, document, old);
        let broken = verdict.err().map(cel::ValidationErrors::into_vec).unwrap_or_default();
        let mut problems: Vec<Problem> =
            broken.into_iter().map(|error| Problem::new(error.field_path, error.message)).collect();
        // The engine goes through fields in no order, and some things take two rules with one message.
        problems.sort_by(|a, b| (&a.path, &a.message).cmp(&(&b.path, &b.message)));
        problems.dedup();
        problems
    }
}

/// What Kubernetes keeps in every object's `metadata`; here, that it is of the right types.
fn metadata(found: &Value) -> Vec<Problem> {
    let known = match serde_json::from_value::<ObjectMeta>(found.clone()) {
        Ok(meta) => serde_json::to_value(meta).unwrap_or_default(),
        Err(error) => return vec![Problem::new("metadata", format!("cannot be read: {error}"))],
    };
    let fields = found.as_object().into_iter().flatten();
    let unknown = fields.filter(|(name, value)| !value.is_null() && known.get(name).is_none());
    unknown.map(|(name, _)| Problem::new(field("metadata", name), "unknown field; remove it")).collect()
}

/// `value` without unknown fields, which are noted, and without fields and entries of maps that are null.
fn pruned(value: &Value, schema: &Value, path: &str, unknown: &mut Vec<Problem>) -> Value {
    // Kubernetes' own, and without properties here: all of it stays.
    if path == "metadata" {
        return value.clone();
    }
    match value {
        Value::Object(fields) => {
            let mut kept = Map::new();
            for (name, value) in fields {
                let path = field(path, name);
                let inner = match &schema["properties"][name] {
                    Value::Null => &schema["additionalProperties"],
                    known => known,
                };
                if inner.is_null() {
                    unknown.push(Problem::new(path, "unknown field; remove it"));
                } else if !value.is_null() {
                    kept.insert(name.clone(), pruned(value, inner, &path, unknown));
                }
            }
            Value::Object(kept)
        }
        Value::Array(items) => {
            let each = items.iter().enumerate();
            each.map(|(i, item)| pruned(item, &schema["items"], &format!("{path}[{i}]"), unknown)).collect()
        }
        other => other.clone(),
    }
}

/// One finding of the schema.
fn about(error: &ValidationError<'_>) -> Vec<Problem> {
    let pointer = error.instance_path().as_str();
    let path = pointer.split('/').skip(1).fold(String::new(), |path, segment| {
        let key = segment.replace("~1", "/").replace("~0", "~");
        match key.parse::<usize>() {
            Ok(index) => format!("{path}[{index}]"),
            Err(_) => field(&path, &key),
        }
    });
    let found = error.instance();
    let (path, message) = match error.kind() {
        ValidationErrorKind::Required { property } => {
            (field(&path, property.as_str().unwrap_or_default()), "is missing; add it".to_owned())
        }
        ValidationErrorKind::Enum { options } => {
            let words: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            (path, format!("is {}; use one of {}", shown(found), words.join(", ")))
        }
        ValidationErrorKind::Type { .. } => (path, format!("is {}, which is of another type", shown(found))),
        ValidationErrorKind::MaxLength { limit } => (path, format!("is too long; use at most {limit} characters")),
        ValidationErrorKind::MaxItems { limit } | ValidationErrorKind::MaxProperties { limit } => {
            (path, format!("has too many entries; use at most {limit}"))
        }
        _ => (path, error.to_string()),
    };
    vec![Problem::new(path, message)]
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a group of fields".to_owned(),
        other => other.to_string(),
    }
}

/// What Kubernetes' word means, in words that every validator of JSON schemas knows.
fn type_int_or_string(schema: &mut Value) {
    if schema["x-kubernetes-int-or-string"] == true {
        schema["type"] = json!(["integer", "string"]);
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(type_int_or_string);
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(word) {
            type_int_or_string(inner);
        }
    }
}

//! From the Rust types to a structural schema, the only form that a CustomResourceDefinition may have.
//!
//! Pure. Nothing is nullable: the API server drops `field: null` as if it had not been written, and so `has(self.field)`
//! means that there is a value.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::pipeline::{LogPipelineSpec, LogPipelineStatus};

/// The schema of a LogPipeline, without bounds and rules.
pub(super) fn structural() -> Value {
    json!({
        "type": "object",
        "description": "Ships files from spool directories into Kafka, exactly once.",
        "required": ["spec"],
        "properties": {
            // These three belong to Kubernetes, which describes them itself.
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": of::<LogPipelineSpec>(),
            "status": of::<LogPipelineStatus>(),
        },
    })
}

/// The place that `path` means: fields behind dots, `[]` an item of a list, `{}` a value of a map; empty the root.
pub(super) fn at<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut place = schema;
    for segment in path.split('.').filter(|s| !s.is_empty()) {
        let name = segment.trim_end_matches("[]").trim_end_matches("{}");
        place = place.get_mut("properties")?.get_mut(name)?;
        if segment.ends_with("[]") {
            place = place.get_mut("items")?;
        } else if segment.ends_with("{}") {
            place = place.get_mut("additionalProperties")?;
        }
    }
    Some(place)
}

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    clean(&mut schema);
    schema
}

/// Takes out what a structural schema may not hold.
fn clean(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("$schema");
    object.remove("title");
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = &types[..] {
            object["type"] = only.clone();
        }
    }
    if object.contains_key("x-kubernetes-int-or-string") {
        object.remove("type");
    }
    if let Some(Value::Array(words)) = object.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    // The CEL rules on formats say what to write instead; a pattern would say itself, and keep the rules from being asked.
    if object.get("type") == Some(&json!("string")) {
        object.remove("pattern");
    }
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
    for inner in object.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        clean(inner.1);
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(word) {
            clean(inner);
        }
    }
}

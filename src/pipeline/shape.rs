//! From a parsed document to a [`LogPipeline`], or every problem of its shape at once.
//!
//! Pure. The document is held against a strict copy of the schema (unknown fields are errors there, which the
//! schema of the CRD leaves to the API server) and the findings are put into our own words; serde reads it
//! only when nothing was found.

use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::{Value, json};

use super::mismatch::{a, kind_word, not_one_of, wrong_type};
use super::problem::{field, quoted};
use super::{API_VERSION, KIND, LogPipeline, Problem, suggest, unavailable};

/// What Kubernetes keeps in `metadata` and people therefore have in files that came from `kubectl get`.
const KEPT_BY_KUBERNETES: &[&str] = &[
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Reads one document. All problems of its shape come back, each with the path of its field.
pub fn read(document: &Value) -> Result<LogPipeline, Vec<Problem>> {
    let Some(object) = document.as_object() else {
        let message = format!("is {}, but a LogPipeline is wanted", a(document));
        return Err(vec![Problem::new("", message)]);
    };
    if let Some(kind) = object.get("kind").and_then(Value::as_str)
        && kind != KIND
    {
        let message = format!("is a {}, not a LogPipeline; keep it in a file of its own", kind_word(kind));
        return Err(vec![Problem::new("kind", message)]);
    }
    let mut problems = Vec::new();
    if let Some(version) = object.get("apiVersion").and_then(Value::as_str)
        && version != API_VERSION
    {
        let message = format!("is {}; write {API_VERSION}", quoted(version));
        problems.push(Problem::new("apiVersion", message));
    }
    for error in STRICT.validator.iter_errors(document) {
        say(&error, document, &mut problems);
    }
    if !problems.is_empty() {
        return Err(one_each(problems));
    }
    serde_json::from_value(document.clone()).map_err(|e| vec![Problem::new("", format!("cannot be read: {e}"))])
}

/// The schema of a LogPipeline with nothing left open, and its compiled form.
struct Strict {
    schema: Value,
    validator: Validator,
}

static STRICT: LazyLock<Strict> = LazyLock::new(|| {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let schema = settings
        .with_transform(RecursiveTransform(close))
        .into_generator()
        .into_root_schema_for::<LogPipeline>()
        .to_value();
    let validator = jsonschema::validator_for(&schema).expect("our own schema compiles");
    Strict { schema, validator }
});

/// Refuses unknown fields, and numbers that the Rust type cannot hold.
fn close(schema: &mut Schema) {
    let is_struct = schema.get("properties").is_some() || is_type(schema, "object");
    if is_struct && schema.get("additionalProperties").is_none() {
        schema.ensure_object().entry("properties").or_insert(json!({}));
        schema.insert("additionalProperties".into(), false.into());
    }
    let limits = match schema.get("format").and_then(Value::as_str) {
        Some("int32") => (json!(i32::MIN), json!(i32::MAX)),
        Some("int64") => (json!(i64::MIN), json!(i64::MAX)),
        _ => return,
    };
    schema.insert("minimum".into(), limits.0);
    schema.insert("maximum".into(), limits.1);
}

fn is_type(schema: &Schema, name: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(many)) => many.iter().any(|t| t == name),
        _ => false,
    }
}

/// Puts one finding into our own words.
fn say(error: &ValidationError<'_>, document: &Value, out: &mut Vec<Problem>) {
    let spot = Spot::of(error.instance_path().as_str(), document);
    let found = error.instance();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            for name in unexpected.iter().filter(|name| !spot.tolerates(name)) {
                out.push(Problem::new(field(&spot.path, name), spot.unknown(name)));
            }
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let message = match spot.about(name) {
                Some(about) => format!("is missing; add it: {about}"),
                None => "is missing; add it".to_owned(),
            };
            out.push(Problem::new(field(&spot.path, name), message));
        }
        ValidationErrorKind::Enum { options } => {
            let words: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            out.push(Problem::new(&spot.path, not_one_of(found, &words)));
        }
        ValidationErrorKind::Type { kind } => {
            out.push(Problem::new(&spot.path, wrong_type(found, kind, spot.schema)))
        }
        ValidationErrorKind::Minimum { limit } | ValidationErrorKind::Maximum { limit } => {
            out.push(Problem::new(&spot.path, format!("is {found}, beyond the limit of {limit}")));
        }
        // `validate` says it, beside all else that is wrong with values.
        ValidationErrorKind::Pattern { .. } => {}
        _ => out.push(Problem::new(&spot.path, error.to_string())),
    }
}

/// A wrong word is both a wrong type and not in the list: the list says more.
fn one_each(problems: Vec<Problem>) -> Vec<Problem> {
    let mut kept: Vec<Problem> = Vec::new();
    for problem in problems {
        match kept.iter_mut().find(|p| p.path == problem.path) {
            Some(first) if problem.message.contains("use one of") => *first = problem,
            Some(_) => {}
            None => kept.push(problem),
        }
    }
    kept
}

/// A place in a document, and what the schema says about it.
struct Spot {
    path: String,
    schema: &'static Value,
}

impl Spot {
    /// The place that a JSON pointer of the validator means.
    fn of(pointer: &str, document: &Value) -> Self {
        let mut spot = Spot { path: String::new(), schema: &STRICT.schema };
        let mut value = document;
        for segment in pointer.split('/').skip(1) {
            let key = segment.replace("~1", "/").replace("~0", "~");
            spot.path = match value {
                Value::Array(_) => format!("{}[{key}]", spot.path),
                _ => field(&spot.path, &key),
            };
            spot.schema = match value {
                Value::Array(_) => &spot.schema["items"],
                _ => match &spot.schema["properties"][&key] {
                    Value::Null => &spot.schema["additionalProperties"],
                    known => known,
                },
            };
            value = match value {
                Value::Array(items) => key.parse().ok().and_then(|i: usize| items.get(i)).unwrap_or(&Value::Null),
                other => &other[&key],
            };
        }
        spot
    }

    fn fields(&self) -> Vec<&'static str> {
        let properties = self.schema["properties"].as_object();
        properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }

    /// Whether an unknown field here is Kubernetes' business.
    fn tolerates(&self, name: &str) -> bool {
        match self.path.as_str() {
            "" => name == "status",
            "metadata" => KEPT_BY_KUBERNETES.contains(&name),
            _ => false,
        }
    }

    fn unknown(&self, name: &str) -> String {
        if let Some(message) = unavailable::part(&self.path, name) {
            return message;
        }
        let fields = self.fields();
        if let Some(near) = suggest::nearest(name, &fields) {
            return format!("unknown field; did you mean `{near}`?");
        }
        if let [home] = &suggest::homes(&STRICT.schema["properties"]["spec"], "spec", name)[..] {
            return format!("unknown field; it belongs at {home}");
        }
        if fields.is_empty() {
            return "unknown field; nothing can be set here".to_owned();
        }
        format!("unknown field; here can be {}", fields.join(", "))
    }

    /// The first sentence of a field's documentation.
    fn about(&self, name: &str) -> Option<String> {
        let text = self.schema["properties"][name]["description"].as_str()?;
        let text = text.replace('\n', " ");
        let end = [". ", "; ", ": "].iter().filter_map(|mark| text.find(mark)).min();
        let sentence = text[..end.unwrap_or(text.len())].trim_end_matches('.');
        let mut letters = sentence.chars();
        let first = letters.next()?.to_lowercase();
        Some(first.chain(letters).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A CRD is made from this schema: it may hold no defaults (GitOps would see drift) and no references.
    #[test]
    fn the_schema_is_inline_described_and_without_defaults() {
        fn walk(schema: &Value, path: &str) {
            for word in ["default", "$ref", "$defs", "oneOf", "anyOf", "allOf"] {
                assert!(schema.get(word).is_none(), "{path} has {word}");
            }
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                let path = field(path, name);
                assert!(inner["description"].is_string(), "{path} is not described");
                walk(inner, &path);
            }
            for key in ["items", "additionalProperties"] {
                if schema[key].is_object() {
                    walk(&schema[key], path);
                }
            }
        }
        walk(&STRICT.schema, "");
    }
}

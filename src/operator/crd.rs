//! The CustomResourceDefinition of LogPipeline, made from the types in `pipeline`.
//!
//! Pure. Three steps, a file each: `schema` makes the types' schema structural, `bounds` limits what rules walk over,
//! `rules` is the table of CEL rules. `judge` holds a LogPipeline against the result as the API server does, without one.
//!
//! Always true of it: no defaults (the API server would write them into what people wrote, and GitOps would see drift), no
//! references, every field described, below 256 KiB (what client-side apply can keep in its annotation).

mod bounds;
mod judge;
pub mod rules;
mod schema;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

pub use judge::{judge, judge_update};

use crate::pipeline::{API_VERSION, KIND};

/// The lower-case plural, as in `kubectl get logpipelines`.
pub const PLURAL: &str = "logpipelines";

/// Columns of `kubectl get`: title, whether only `-o wide` shows it, type, where it comes from, what it says.
/// Texts come from `status.summary`: the API server can print numbers only as they are.
const COLUMNS: &[(&str, bool, &str, &str, &str)] = &[
    (
        "Ready",
        false,
        "string",
        r#".status.conditions[?(@.type=="Ready")].status"#,
        "Whether agents run this config and data can flow",
    ),
    ("Reason", false, "string", r#".status.conditions[?(@.type=="Ready")].reason"#, "Why it is ready, or not"),
    ("Agents", false, "string", ".status.summary.agents", "Agents that are ready, of those that should be"),
    ("Records/s", false, "string", ".status.summary.rate", "Records committed per second"),
    ("Backlog", false, "string", ".status.summary.backlog", "Bytes that wait"),
    ("Guarantee", false, "string", ".status.guarantee", "What is promised about delivery"),
    ("Topic", true, "string", ".spec.sink.kafka.topic", "The Kafka topic that records go to"),
    ("Bytes/s", true, "string", ".status.summary.byteRate", "Bytes of files committed per second"),
    ("Oldest", true, "string", ".status.summary.oldest", "Age of the oldest file that waits"),
    ("Age", false, "date", ".metadata.creationTimestamp", "Age of the LogPipeline"),
];

/// The CustomResourceDefinition. The same on every call.
pub fn crd() -> api::CustomResourceDefinition {
    let (group, version) = group_version();
    api::CustomResourceDefinition {
        metadata: ObjectMeta { name: Some(format!("{PLURAL}.{group}")), ..ObjectMeta::default() },
        spec: api::CustomResourceDefinitionSpec {
            group: group.to_owned(),
            names: api::CustomResourceDefinitionNames {
                kind: KIND.to_owned(),
                list_kind: Some(format!("{KIND}List")),
                plural: PLURAL.to_owned(),
                singular: Some("logpipeline".to_owned()),
                short_names: Some(vec!["lpl".to_owned()]),
                categories: Some(vec!["spoolway".to_owned()]),
            },
            scope: "Namespaced".to_owned(),
            versions: vec![api::CustomResourceDefinitionVersion {
                name: version.to_owned(),
                served: true,
                storage: true,
                additional_printer_columns: Some(COLUMNS.iter().map(column).collect()),
                schema: Some(api::CustomResourceValidation {
                    open_api_v3_schema: Some(
                        serde_json::from_value(openapi()).expect("our own schema is one of Kubernetes'"),
                    ),
                }),
                subresources: Some(api::CustomResourceSubresources {
                    status: Some(api::CustomResourceSubresourceStatus(Value::Object(serde_json::Map::new()))),
                    scale: None,
                }),
                ..api::CustomResourceDefinitionVersion::default()
            }],
            ..api::CustomResourceDefinitionSpec::default()
        },
        status: None,
    }
}

/// The structural schema, bounds and rules in it.
pub fn openapi() -> Value {
    let mut schema = schema::structural();
    for (path, word, limit) in bounds::BOUNDS {
        let place = schema::at(&mut schema, path).unwrap_or_else(|| panic!("bounds: no {path} in the schema"));
        place[*word] = (*limit).into();
    }
    for rule in rules::all() {
        let place =
            schema::at(&mut schema, &rule.path).unwrap_or_else(|| panic!("rules: no {} in the schema", rule.path));
        let mut entry = serde_json::json!({"rule": rule.rule, "message": rule.message});
        if let Some(field) = rule.field {
            entry["fieldPath"] = field.into();
        }
        match place["x-kubernetes-validations"].as_array_mut() {
            Some(list) => list.push(entry),
            None => place["x-kubernetes-validations"] = Value::Array(vec![entry]),
        }
    }
    schema
}

fn group_version() -> (&'static str, &'static str) {
    API_VERSION.split_once('/').expect("an apiVersion has a group")
}

fn column(
    (name, wide, type_, path, description): &(&str, bool, &str, &str, &str),
) -> api::CustomResourceColumnDefinition {
    api::CustomResourceColumnDefinition {
        name: (*name).to_owned(),
        type_: (*type_).to_owned(),
        json_path: (*path).to_owned(),
        description: Some((*description).to_owned()),
        priority: wide.then_some(1),
        format: None,
    }
}

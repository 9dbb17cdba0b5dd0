//! The CustomResourceDefinition: that what is committed is what the types say, that it is what Kubernetes takes, and that its
//! rules and `pipeline::validate` never disagree about a LogPipeline where a rule can know.

mod apiserver;
mod edges;

use std::fmt::Write;

use serde_json::{Value, json};
use spoolway::cli::crd::{crd_text, roles_text};
use spoolway::operator::crd::{crd, judge, judge_update, openapi, rules};
use spoolway::pipeline::{Judge, Problem, shape, validate};
use spoolway::yaml;

const GOOD: &str = include_str!("golden/good.yaml");
const BAD: &str = include_str!("golden/bad.yaml");
const BAD_FOR_RULES: &str = include_str!("golden/bad_for_rules.yaml");

/// What `pipeline::validate` refuses and the CRD cannot: case, why.
const BEYOND_THE_RULES: &[(&str, &str)] = &[
    ("keys that come twice", "kubectl refuses them before anything is sent"),
    ("broken patterns", "a rule cannot compile a regular expression as the agent does"),
    ("pattern that grows", "a rule cannot compile a regular expression as the agent does"),
    ("character set that is none", "a rule does not know the names of the Encoding Standard"),
    ("character set whose lines cannot be cut", "a rule does not know the names of the Encoding Standard"),
    ("namespace that is none", "a rule cannot see the namespace; the API server looks for it"),
    (
        "several documents, two bad: document 4 (web)",
        "two documents of one file have one name: the second is an update",
    ),
];

#[test]
fn what_is_committed_is_what_the_types_say() {
    for (file, text) in [("crds/logpipelines.yaml", crd_text()), ("charts/spoolway/files/roles.yaml", roles_text())]
    {
        let committed =
            std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_default();
        assert!(committed == text, "{file} is not what `spoolway crd` prints: run `make generate`");
    }
    // 262144 bytes of JSON are what client-side apply can keep in its annotation.
    assert!(serde_json::to_string(&crd()).unwrap().len() < 262_144);
}

#[test]
fn nothing_of_the_schema_is_lost_on_the_way_to_kubernetes() {
    let sent = serde_json::to_value(crd()).unwrap();
    assert_eq!(sent["spec"]["versions"][0]["schema"]["openAPIV3Schema"], openapi());
    assert_eq!(sent.get("status"), None);
}

#[test]
fn the_schema_is_structural_described_and_without_defaults() {
    fn walk(schema: &Value, path: &str, top: bool) {
        for word in ["default", "$ref", "$defs", "oneOf", "anyOf", "allOf", "not", "nullable", "title", "const"] {
            assert_eq!(schema.get(word), None, "{path} has {word}");
        }
        let kind = schema["type"].as_str();
        let either = schema["x-kubernetes-int-or-string"] == true;
        assert!(either != kind.is_some(), "{path}: one of type and int-or-string");
        if let Some(format) = schema["format"].as_str() {
            assert!(["int32", "int64", "date-time"].contains(&format), "{path}: format {format}");
        }
        assert!(kind != Some("number"), "{path}: no floats");
        assert_ne!(schema.get("additionalProperties"), Some(&json!(false)), "{path}");
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            // apiVersion, kind and metadata are described by Kubernetes.
            let ours = !top || ["spec", "status"].contains(&name.as_str());
            assert!(!ours || inner["description"].as_str().is_some_and(|d| d.len() > 4), "{path} is not described");
            assert!(!inner["description"].as_str().unwrap_or_default().contains('\n'), "{path}: one paragraph");
            walk(inner, &path, false);
        }
        for key in ["items", "additionalProperties"] {
            if schema[key].is_object() {
                walk(&schema[key], &format!("{path}[]"), false);
            }
        }
    }
    walk(&openapi(), "", true);
}

#[test]
fn rules_read_well() {
    for rule in rules::all() {
        let message = &rule.message;
        assert!(message.len() <= 400 && !message.contains('\n'), "{message}");
        assert!(!message.ends_with('.') && message.contains(';'), "says what to do: {message}");
        assert!(message.starts_with(|c: char| c.is_ascii_lowercase()), "{message}");
    }
}

/// What both say about a document: `validate` as text, the CRD as text.
fn both(document: &Value) -> (Vec<Problem>, Vec<Problem>) {
    let said =
        shape::read(document).map_or_else(|problems| problems, |pipeline| validate(&pipeline, Judge::Cluster));
    (said, judge(document))
}

fn good() -> Vec<Value> {
    yaml::documents(GOOD).into_iter().map(|document| document.value).collect()
}

#[test]
fn good_manifests_are_good_for_both() {
    for document in good() {
        assert_eq!(both(&document), (vec![], vec![]));
    }
    for sample in ["seed", "web-access"] {
        let text = std::fs::read_to_string(format!("{}/deploy/samples/{sample}.yaml", env!("CARGO_MANIFEST_DIR")));
        for document in yaml::documents(&text.unwrap()) {
            assert_eq!(both(&document.value), (vec![], vec![]), "{sample}");
        }
    }
}

/// The cases of a table: `#= name` begins one.
fn cases(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    table.split("\n#= ").skip(1).filter_map(|case| case.split_once('\n'))
}

#[test]
fn the_rules_and_validate_never_disagree_where_a_rule_can_know() {
    let (mut page, mut wrong, mut used) = (String::new(), vec![], 0);
    for (name, text) in cases(BAD).chain(cases(BAD_FOR_RULES)) {
        for document in yaml::documents(text) {
            let case =
                if document.place.is_empty() { name.to_owned() } else { format!("{name}: {}", document.place) };
            let ours = match document.pipeline {
                Ok(pipeline) => validate(&pipeline, Judge::Cluster),
                Err(problems) => problems,
            };
            let theirs = judge(&document.value);
            let beyond = BEYOND_THE_RULES.iter().find(|(beyond, _)| *beyond == case);
            used += usize::from(beyond.is_some());
            if (ours.is_empty() != theirs.is_empty()) != beyond.is_some() {
                wrong.push(case.clone());
            }
            writeln!(page, "{case}{}", beyond.map(|(_, why)| format!(" ({why})")).unwrap_or_default()).unwrap();
            for (who, problems) in [("validate", ours), ("api", theirs)] {
                for problem in problems {
                    writeln!(page, "  {who:<8} {problem}").unwrap();
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "{page}");
    assert_eq!(used, BEYOND_THE_RULES.len(), "an exception that is none");
    insta::assert_snapshot!(page);
}

#[test]
fn every_rule_is_broken_by_a_manifest_of_the_tables() {
    let mut said: Vec<String> = cases(BAD)
        .chain(cases(BAD_FOR_RULES))
        .flat_map(|(_, text)| yaml::documents(text))
        .flat_map(|document| judge(&document.value))
        .chain(edges::documents().into_iter().flat_map(|(_, _, document)| judge(&document)))
        .map(|problem| problem.to_string())
        .collect();
    said.extend(changes().iter().flat_map(|(_, old, new)| judge_update(new, old)).map(|p| p.to_string()));
    let index = regex::Regex::new(r"\[[0-9]+\]").unwrap();
    let said: Vec<String> = said.iter().map(|line| index.replace_all(line, "[]").into_owned()).collect();
    let line = |rule: &rules::Rule| {
        let path = format!("{}{}", rule.path, rule.field.unwrap_or_default());
        Problem::new(path, &rule.message).to_string()
    };
    let silent: Vec<String> = rules::all().iter().map(line).filter(|line| !said.contains(line)).collect();
    assert!(silent.is_empty(), "no manifest breaks\n{}", silent.join("\n"));
}

/// Changes of a pipeline: what it is, before, after.
fn changes() -> Vec<(&'static str, Value, Value)> {
    let full = good().remove(0);
    let with = |path: &str, value: Value| edges::with(&full, path, Some(value));
    let without = |path: &str| edges::with(&full, path, None);
    vec![
        ("nothing", full.clone(), full.clone()),
        ("the record topic", full.clone(), with("spec.sink.kafka.topic", json!("other"))),
        ("another kind of sink", full.clone(), with("spec.sink", json!({"console": {"format": "Text"}}))),
        ("suspended", full.clone(), with("spec.suspend", json!(true))),
        (
            "another kind of placement",
            full.clone(),
            with("spec.placement", json!({"sidecar": {"volume": "v", "mountPath": "/var"}})),
        ),
        ("another node selector", full.clone(), with("spec.placement.daemonSet.nodeSelector", json!({}))),
        ("another checkpointTopic", full.clone(), with("spec.delivery.checkpointTopic", json!("other"))),
        ("checkpointTopic removed", full.clone(), without("spec.delivery.checkpointTopic")),
        ("receiptTopic removed with all of delivery", full.clone(), without("spec.delivery")),
        ("receiptTopic added", without("spec.delivery.receiptTopic"), full.clone()),
    ]
}

#[test]
fn what_never_changes_cannot_be_changed() {
    let mut page = String::new();
    for (name, old, new) in changes() {
        writeln!(page, "{name}").unwrap();
        for problem in judge_update(&new, &old) {
            writeln!(page, "  {problem}").unwrap();
        }
    }
    insta::assert_snapshot!(page);
}

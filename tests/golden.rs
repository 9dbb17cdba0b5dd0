//! Golden files: what people read, on pages a reviewer can read too.
//!
//! `tests/golden/bad.yaml` holds broken manifests, each under a name; the snapshot lists what is said about each.

use std::fmt::Write;

use proptest::prelude::*;
use spoolway::cli::validate::judged;
use spoolway::pipeline::{Judge, config_hash, resolved::resolved, validate};
use spoolway::yaml;

const GOOD: &str = include_str!("../deploy/samples/web-access.yaml");
const BAD: &str = include_str!("golden/bad.yaml");

/// The cases of bad.yaml: `#= name` begins one, and a name that starts with `bare` is judged as a bare machine does.
fn cases() -> impl Iterator<Item = (&'static str, &'static str)> {
    BAD.split("\n#= ").skip(1).filter_map(|case| case.split_once('\n'))
}

#[test]
fn every_problem_is_said_and_reads_well() {
    let mut page = String::new();
    for (name, text) in cases() {
        let judge = if name.starts_with("bare") { Judge::Bare } else { Judge::Cluster };
        let report = judged(text, judge);
        assert!(!report.problems.is_empty(), "{name} is not bad");
        writeln!(page, "{name}").unwrap();
        for problem in report.problems {
            writeln!(page, "  {problem}").unwrap();
        }
    }
    assert!(cases().count() >= 35);
    insta::assert_snapshot!(page);
}

#[test]
fn samples_are_fine_and_resolve() {
    let mut page = String::new();
    for sample in ["quickstart", "secured-kafka", "seed", "web-access"] {
        let path = format!("{}/deploy/samples/{sample}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        for pipeline in yaml::load(&text).unwrap() {
            for judge in [Judge::Cluster, Judge::Bare] {
                assert_eq!(validate(&pipeline, judge), [], "{sample}");
            }
            let spec = serde_json::to_string_pretty(&resolved(&pipeline)).unwrap();
            writeln!(page, "{sample}.yaml, hash {}\n{spec}\n", config_hash(&pipeline)).unwrap();
        }
    }
    insta::assert_snapshot!(page);
}

fn hash(text: &str) -> String {
    config_hash(&yaml::load(text).unwrap()[0])
}

#[test]
fn the_hash_follows_the_meaning_not_the_text() {
    let same = GOOD.replace("topic: web-access", "acks: All\n      topic: web-access # a comment");
    assert_eq!(hash(GOOD), hash(&same));
    assert_eq!(hash(GOOD), hash(&GOOD.replace("role: web", "role: db")), "placement is not in it");
    let span = |text: &str| format!("{GOOD}  delivery: {{commitInterval: {text}}}\n");
    assert_eq!(hash(&span("2s")), hash(&span("2000ms")));
    assert_eq!(hash(GOOD), hash(&span("1s")), "a default that is spelt out");
    assert_ne!(hash(GOOD), hash(&span("2s")));
    assert_ne!(hash(GOOD), hash(&GOOD.replace("topic: web-access", "topic: other")));
}

#[test]
fn what_was_written_is_written_back() {
    let text = format!("{GOOD}  delivery: {{commitInterval: 2000ms, maxTransactionBytes: 65536Ki}}\n");
    let pipeline = &yaml::load(&text).unwrap()[0];
    let json = serde_json::to_string(&pipeline).unwrap();
    assert!(json.contains(r#""delivery":{"commitInterval":"2000ms","maxTransactionBytes":"65536Ki"}"#), "{json}");
    assert!(!json.contains("null"), "{json}");
    assert_eq!(&yaml::load(&json).unwrap()[0], pipeline);
}

#[test]
fn what_kubectl_get_adds_is_tolerated() {
    let text = GOOD.replace("namespace: shop", "namespace: shop\n  uid: a\n  managedFields: [{manager: x}]");
    assert_eq!(judged(&format!("{text}status: {{anything: 1}}\n"), Judge::Cluster).fine, ["web-access"]);
}

fn judges_without_panic(text: &str) -> Result<(), TestCaseError> {
    for judge in [Judge::Cluster, Judge::Bare] {
        for problem in judged(text, judge).problems {
            let line = problem.to_string();
            prop_assert!(!line.chars().any(char::is_control), "{line:?}");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        judges_without_panic(&text)?;
    }

    #[test]
    fn no_yaml_like_text_panics(text in r"([a-z{}\[\]:,&*!|>?'# \n-]|\t|0|~|<<|---\n|\u{202e}){0,60}") {
        judges_without_panic(&text)?;
    }

    #[test]
    fn no_change_of_a_good_manifest_panics(at in 0..GOOD.len(), cut in 0..20usize, new in r#"[a-zA-Z0-9{}\[\]:,"' \n.-]{0,12}"#) {
        let end = (at + cut).min(GOOD.len());
        judges_without_panic(&format!("{}{new}{}", &GOOD[..at], &GOOD[end..]))?;
    }
}

//! What the author of a bad manifest sees: the table `tests/golden/bad_manifests.yaml`, and beside it the answers.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};
use spoolway::operator::crd::judge;
use spoolway::pipeline::report::FlowReason;
use spoolway::yaml;

use super::api_server::{CONFIG_MAP, NAMESPACE, PIPELINE};
use super::cluster::{Cluster, fails};

/// Cases: name, what is so in the cluster, manifest.
fn cases() -> Vec<(&'static str, &'static str, Value)> {
    let table = include_str!("../golden/bad_manifests.yaml");
    let all = table.split("\n#= ").skip(1).map(|case| {
        let (name, rest) = case.split_once('\n').unwrap();
        let said = rest.strip_prefix("#~ ").and_then(|rest| rest.split_once('\n'));
        let (given, text) = said.unwrap_or(("", rest));
        (name, given, yaml::documents(text).remove(0).value)
    });
    all.collect()
}

/// What the conditions say once the operator, and agents that find `given`, had their turn.
async fn seen(given: &str, manifest: &Value) -> (String, String, String) {
    let cluster = Cluster::with_pipeline();
    cluster.change(PIPELINE, |p| {
        p["spec"] = manifest["spec"].clone();
    });
    let reason = given.strip_prefix("agents ");
    match given {
        "taken" => cluster.server.put(CONFIG_MAP, json!({"metadata": {"name": "web-access-spoolway"}})),
        "" => {}
        _ if reason.is_some() => {}
        level => cluster
            .change(NAMESPACE, |n| n["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = level.into()),
    }
    cluster.reconcile().await.unwrap();
    let Some(reason) = reason else {
        return cluster.condition("Accepted").unwrap();
    };
    let reason: FlowReason = serde_json::from_value(json!(reason)).unwrap();
    cluster.pods(1, 0);
    cluster.reports(1, |_, report| fails(report, reason, "what is wrong and what to do"));
    cluster.reconcile().await.unwrap();
    cluster.pass(120);
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.condition("Ready"), cluster.condition("FlowHealthy"), "after two minutes");
    cluster.condition("FlowHealthy").unwrap()
}

#[tokio::test]
async fn every_bad_manifest_is_answered_where_its_author_looks() {
    let (mut page, mut count) = (String::new(), BTreeMap::new());
    for (name, given, manifest) in cases() {
        writeln!(page, "{name}{}", if given.is_empty() { String::new() } else { format!(" ({given})") }).unwrap();
        let problems = judge(&manifest);
        let place = if !problems.is_empty() {
            for problem in &problems {
                writeln!(page, "  admission: {problem}").unwrap();
            }
            "admission"
        } else {
            let (status, reason, message) = seen(given, &manifest).await;
            assert_eq!(status, "False", "{name}");
            let place = if given.starts_with("agents") { "FlowHealthy" } else { "Accepted" };
            writeln!(page, "  {place}=False, {reason}").unwrap();
            message.split("; spec.").enumerate().for_each(|(n, part)| {
                writeln!(page, "    {}{part}", if n == 0 { "" } else { "spec." }).unwrap();
            });
            place
        };
        *count.entry(place).or_insert(0) += 1;
    }
    assert!(count["admission"] >= 25 && count["Accepted"] >= 6 && count["FlowHealthy"] >= 8, "{count:?}");
    insta::with_settings!({snapshot_path => "../golden", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("bad_manifests", page);
    });
}

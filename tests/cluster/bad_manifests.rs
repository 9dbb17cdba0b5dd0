//! The table `tests/golden/bad_manifests.yaml` on a real cluster: what the offline judge and the fake API server answered is what
//! their authors really see; and what real agents say where what a manifest names is missing, wrong or forbidden.

use std::collections::BTreeMap;

use super::bed::{Bed, bed, tried};
use super::line::{Line, SOON};
use crate::e2e::until;

const NAMESPACE: &str = "e2e-bad";
const TABLE: &str = include_str!("../golden/bad_manifests.yaml");
const ANSWERS: &str = include_str!("../golden/bad_manifests.snap");

/// A case: its name, what is so in the cluster, its manifest in our namespace.
struct Case {
    name: &'static str,
    given: &'static str,
    manifest: String,
}

fn cases() -> Vec<Case> {
    let all = TABLE.split("\n#= ").skip(1).map(|case| {
        let (name, rest) = case.split_once('\n').unwrap();
        let said = rest.strip_prefix("#~ ").and_then(|rest| rest.split_once('\n'));
        let (given, text) = said.unwrap_or(("", rest));
        Case { name, given, manifest: here(text) }
    });
    all.collect()
}

/// The table's namespace is `shop`.
fn here(text: &str) -> String {
    let text = text.replace("spoolway/shop", &format!("spoolway/{NAMESPACE}"));
    text.replace("namespace: shop", &format!("namespace: {NAMESPACE}"))
        .replace("namespace shop", &format!("namespace {NAMESPACE}"))
}

/// What the table's golden file says that authors see: by case, its lines.
fn answers() -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut case = String::new();
    for line in ANSWERS.splitn(3, "---\n").nth(2).unwrap().lines() {
        match line.strip_prefix("  ") {
            Some(answer) => all.entry(case.clone()).or_default().push(here(answer)),
            None => line.split(" (").next().unwrap().clone_into(&mut case),
        }
    }
    all
}

fn apply(bed: &Bed, more: &[&str], manifest: &str) -> Result<String, String> {
    tried(bed.tool("kubectl").args(["apply", "-f", "-"]).args(more), manifest)
}

#[test]
fn what_admission_refuses_offline_the_api_server_refuses_too_and_in_the_same_words() {
    let Some(guard) = bed() else { return };
    let bed = guard.as_ref().unwrap();
    let _namespace = Line::new(bed, NAMESPACE);
    let (answers, mut own_words) = (answers(), 0);
    for case in cases() {
        let lines = &answers[case.name];
        let refused = apply(bed, &["--dry-run=server"], &case.manifest);
        let expected: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("admission: ")).collect();
        if expected.is_empty() {
            assert!(refused.is_ok(), "{}: {}", case.name, refused.unwrap_err());
            continue;
        }
        let said = refused.expect_err(case.name);
        for problem in expected {
            let (path, message) = problem.split_once(": ").unwrap_or((problem, problem));
            if !said.contains(message) {
                // The schema, whose words are the API server's.
                own_words += 1;
                let field = path.rsplit('.').next().unwrap().split('[').next().unwrap();
                let parent = path.rsplit('.').nth(1).unwrap_or_default();
                assert!(said.contains(field) || said.contains(parent), "{}: {problem}\n{said}", case.name);
            }
        }
    }
    assert!(own_words < 10, "{own_words} answers are not in our words");
}

#[test]
fn what_the_operator_refuses_is_told_in_accepted() {
    let Some(guard) = bed() else { return };
    let bed = guard.as_ref().unwrap();
    let line = Line::new(bed, NAMESPACE);
    let answers = answers();
    for case in cases() {
        let [verdict, parts @ ..] = &answers[case.name][..] else { continue };
        let Some(reason) = verdict.strip_prefix("Accepted=False, ") else { continue };
        let label = |level: &str| {
            line.kubectl(&[
                "label",
                "--overwrite",
                "namespace",
                NAMESPACE,
                &format!("pod-security.kubernetes.io/enforce{level}"),
            ]);
        };
        match case.given {
            "taken" => drop(line.kubectl(&["create", "configmap", "web-access-spoolway"])),
            "" => {}
            level => label(&format!("={level}")),
        }
        bed.apply(&case.manifest);
        let get = |field: &str| {
            let path = format!("jsonpath={{.status.conditions[?(@.type==\"Accepted\")].{field}}}");
            bed.try_kubectl(&["-n", NAMESPACE, "get", "lpl", "web-access", "-o", &path]).unwrap_or_default()
        };
        until(&format!("{}: {reason}", case.name), SOON, || (get("reason") == reason).then_some(()));
        let wanted = parts.iter().map(|part| part.trim()).collect::<Vec<_>>().join("; ");
        assert_eq!(get("message"), wanted, "{}", case.name);
        assert_eq!(line.kubectl(&["get", "daemonsets", "-o", "name"]), "", "{}: agents run", case.name);
        line.kubectl(&["delete", "lpl", "web-access"]);
        match case.given {
            "taken" => drop(line.kubectl(&["delete", "configmap", "web-access-spoolway"])),
            "" => {}
            _ => label("-"),
        }
    }
}

/// A manifest of the table that real agents can run: its own name and directory, our Kafka, and a way in that checks who comes where
/// the case is about that.
fn real(bed: &Bed, case: &Case, name: &str) -> String {
    let secured = |sasl: &str| {
        format!("bootstrapServers: ['{}'], tls: {{caSecret: {{name: ca, key: ca.crt}}}}, {sasl}", bed.secured())
    };
    let plain = "bootstrapServers: ['kafka:9092'], ";
    let stranger = "sasl: {mechanism: ScramSha512, username: stranger, passwordSecret: {name: stranger}}, ";
    let text = case.manifest.replace("name: web-access", &format!("name: {name}"));
    let text = text.replace("name: web-again", &format!("name: {name}"));
    let text = text.replace(&format!("{NAMESPACE}/web}}"), &format!("{NAMESPACE}/{name}}}"));
    match case.given {
        "agents SecretMissing" | "agents AuthenticationFailed" => text.replace(plain, &secured("")),
        "agents MissingGrant" => text.replace(plain, &secured(stranger)),
        _ => text.replace("kafka:9092", &bed.kafka),
    }
    .replace("username: u,", "username: stranger,")
}

/// Without what differs from run to run.
fn redact(bed: &Bed, text: &str) -> String {
    let text = text.replace(&bed.secured(), "kafka:9093").replace(&bed.kafka, "kafka:9092");
    let text = bed.nodes.iter().fold(text, |text, node| text.replace(&format!("on {node}:"), "on <node>:"));
    let text = regex::Regex::new(r"(Failed to resolve '[^']+'): [^)]*")
        .unwrap()
        .replace_all(&text, "$1: <why>")
        .into_owned();
    regex::Regex::new(r"spoolway/[0-9a-z]{8}/").unwrap().replace_all(&text, "spoolway/<cluster>/").into_owned()
}

#[test]
fn what_agents_find_is_told_in_flow_healthy() {
    let Some(guard) = bed() else { return };
    let bed = guard.as_ref().unwrap();
    if !bed.is_ours() {
        return crate::skip::skipped("only a Kafka of our own is secured");
    }
    let line = Line::new(bed, NAMESPACE);
    bed.secure(&["user", &bed.vault().display().to_string(), "stranger", "open-sesame"]);
    let authority = std::fs::read_to_string(bed.vault().join("ca.crt")).unwrap();
    line.kubectl(&["create", "secret", "generic", "ca", &format!("--from-literal=ca.crt={authority}")]);
    line.kubectl(&["create", "secret", "generic", "stranger", "--from-literal=password=open-sesame"]);
    line.kubectl(&["create", "secret", "generic", "wrong", "--from-literal=password=guessed"]);
    for topic in ["web", "forbidden"] {
        // A bed that stays has them.
        let _ = bed.kafka(&["topic", topic, "1"]).output().unwrap();
    }
    let cases: Vec<_> = cases().into_iter().filter(|case| case.given.starts_with("agents ")).collect();
    let named: Vec<_> = cases.iter().enumerate().map(|(n, case)| (format!("bad-{n}"), case)).collect();
    for node in &bed.nodes {
        for (name, _) in &named {
            bed.on(node, &format!("mkdir -p {NAMESPACE}/{name}"));
        }
    }
    for (name, case) in &named {
        if case.given == "agents AnotherAgentRunning" {
            // Whose directory it is.
            let first = real(bed, case, name).replace(&format!("name: {name}"), "name: first");
            bed.apply(&first);
            line.kubectl(&["wait", "--for=condition=Ready", "lpl/first", "--timeout=120s"]);
        }
        bed.apply(&real(bed, case, name));
    }
    let mut page = String::new();
    for (name, case) in &named {
        let reason = case.given.strip_prefix("agents ").unwrap();
        let get = |field: &str| {
            let path = format!("jsonpath={{.status.conditions[?(@.type==\"FlowHealthy\")].{field}}}");
            bed.try_kubectl(&["-n", NAMESPACE, "get", "lpl", name, "-o", &path]).unwrap_or_default()
        };
        until(&format!("{}: {reason}", case.name), SOON, || {
            (get("status") == "False" && get("reason") == reason).then_some(())
        });
        page.push_str(&format!(
            "{}\n  {reason}: {}\n",
            case.name,
            redact(bed, &get("message")).replace(name.as_str(), "web")
        ));
    }
    insta::with_settings!({snapshot_path => "../golden", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("bad_manifests_agents", page);
    });
}

//! The same tables, asked of a real API server: kube's engine for CEL is not the API server's.
//!
//! Runs where `SPOOLWAY_TEST_KUBECONFIG` names a cluster made for tests (never one that matters: the CRD is applied to it), with
//! `kubectl` in PATH. Nothing but the CRD, a namespace and one LogPipeline is ever stored: all else is a dry run.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use spoolway::operator::crd::{judge, judge_update, rules};
use spoolway::pipeline::status::*;
use spoolway::pipeline::{Guarantee, LogPipelineStatus, Problem};
use spoolway::yaml;

use super::{BAD, BAD_FOR_RULES, cases, changes, edges, good};

/// What the API server refuses and the rules offline cannot know.
const BEYOND_THE_ENGINE: &[&str] = &["namespace that is none"];

/// A cluster, through `kubectl proxy`.
struct Cluster {
    config: String,
    proxy: Child,
    port: u16,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

fn kubectl(config: &str, args: &[&str]) -> Output {
    Command::new("kubectl").args(["--kubeconfig", config]).args(args).output().expect("kubectl is in PATH")
}

impl Cluster {
    /// The cluster for tests, with the CRD in it; none where none was named.
    fn named() -> Option<Self> {
        let Ok(config) = std::env::var("SPOOLWAY_TEST_KUBECONFIG") else {
            eprintln!("skipped: SPOOLWAY_TEST_KUBECONFIG names no cluster for tests");
            return None;
        };
        let file = format!("{}/crds/logpipelines.yaml", env!("CARGO_MANIFEST_DIR"));
        let roles = format!("{}/charts/spoolway/files/roles.yaml", env!("CARGO_MANIFEST_DIR"));
        let applied = kubectl(&config, &["apply", "-f", &file, "-f", &roles]);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        let wait = ["wait", "--for=condition=Established", "--timeout=60s", "crd/logpipelines.spoolway.dev"];
        assert!(kubectl(&config, &wait).status.success());
        // It may be there already.
        kubectl(&config, &["create", "namespace", "shop"]);
        let mut proxy = Command::new("kubectl")
            .args(["--kubeconfig", &config, "proxy", "--port=0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl is in PATH");
        let mut line = String::new();
        BufReader::new(proxy.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port =
            line.trim().rsplit(':').next().unwrap().parse().unwrap_or_else(|_| panic!("kubectl proxy: {line}"));
        Some(Self { config, proxy, port })
    }

    /// What it answers; the body of a refusal is a Status.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let body = body.to_string();
        // HTTP/1.0: the answer comes in one piece.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {path}: {answer}"));
        let body: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {answer}"));
        match head.split(' ').nth(1) {
            Some("200" | "201") => Ok(body),
            _ => Err(body),
        }
    }

    fn path(namespace: Option<&str>) -> String {
        format!("/apis/spoolway.dev/v1alpha1/namespaces/{}/logpipelines", namespace.unwrap_or("default"))
    }

    /// Whether it would be created; else why not.
    fn create(&self, document: &Value) -> Result<Value, Value> {
        // kubectl itself says that these are none of this kind's.
        if !document.is_object()
            || document["kind"] != "LogPipeline"
            || document["apiVersion"] != "spoolway.dev/v1alpha1"
        {
            return Err(json!({"message": "no LogPipeline"}));
        }
        let path = Self::path(document["metadata"]["namespace"].as_str());
        self.ask("POST", &format!("{path}?dryRun=All&fieldValidation=Strict"), document)
    }
}

#[test]
fn a_real_api_server_says_what_the_rules_say_offline() {
    let Some(cluster) = Cluster::named() else { return };
    let (mut wrong, mut compared) = (String::new(), 0);
    let mut compare = |case: &str, document: &Value| {
        let theirs = cluster.create(document);
        let ours = judge(document);
        let agreed = match &theirs {
            Ok(_) => ours.is_empty(),
            Err(status) => !ours.is_empty() && same_words(&ours, status, &mut compared),
        };
        if !agreed && !BEYOND_THE_ENGINE.contains(&case) {
            writeln!(wrong, "{case}\n  offline {ours:?}\n  server  {:?}", theirs.err()).unwrap();
        }
    };
    for document in good() {
        compare("good", &document);
    }
    for (name, text) in cases(BAD).chain(cases(BAD_FOR_RULES)) {
        for document in yaml::documents(text) {
            compare(name, &document.value);
        }
    }
    for (path, value, document) in edges::documents() {
        compare(&format!("{path} = {value}"), &document);
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(compared > 200, "hardly any rule was broken: {compared}");
}

/// Whether the server broke the same rules at the same places, where rules were asked at all: behind an error of the schema
/// it asks only some, and behind an unknown field none. A rule that erred would show here: it answers in other words.
fn same_words(ours: &[Problem], status: &Value, compared: &mut usize) -> bool {
    let rules = rules::all();
    let by_rule = |problem: &&Problem| rules.iter().any(|rule| rule.message == problem.message);
    if !ours.iter().all(|problem| by_rule(&problem)) {
        return true;
    }
    // Kubernetes' own rules: of namespaces, and of names, whose absence keeps ours from being asked.
    let unasked = "some validation rules were not checked";
    if status["reason"] == "NotFound" || status["message"].as_str().is_some_and(|said| said.contains(unasked)) {
        return true;
    }
    let place = |field: &str| field.trim_start_matches("<nil>").to_owned();
    let causes = status["details"]["causes"].as_array().cloned().unwrap_or_default();
    let mut theirs: Vec<(String, String)> = causes
        .iter()
        .filter(|cause| cause["field"] != "metadata.name")
        .filter_map(|cause| {
            let said = cause["message"].as_str()?;
            let rule = rules.iter().find(|rule| said.ends_with(&format!(": {}", rule.message)));
            Some((place(cause["field"].as_str()?), rule.map_or(said, |rule| &rule.message).to_owned()))
        })
        .collect();
    theirs.sort();
    theirs.dedup();
    *compared += ours.len();
    let ours: Vec<_> = ours.iter().map(|p| (p.path.clone(), p.message.clone())).collect();
    theirs == ours
}

#[test]
fn a_real_api_server_says_the_same_of_changes() {
    let Some(cluster) = Cluster::named() else { return };
    let path = Cluster::path(Some("shop"));
    let mut wrong = String::new();
    for (name, old, new) in changes() {
        let mut old = old;
        old["metadata"]["name"] = "changing".into();
        let stored = cluster.ask("POST", &path, &old).unwrap_or_else(|why| panic!("{name}: {why}"));
        let mut new = new;
        new["metadata"]["name"] = "changing".into();
        new["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
        let object = format!("{path}/changing");
        let theirs = cluster.ask("PUT", &format!("{object}?dryRun=All"), &new);
        let ours = judge_update(&new, &old);
        if theirs.is_ok() != ours.is_empty() {
            writeln!(wrong, "{name}\n  offline {ours:?}\n  server  {:?}", theirs.err()).unwrap();
        }
        cluster.ask("DELETE", &object, &json!({})).unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn a_status() -> LogPipelineStatus {
    let ready = Condition {
        type_: "Ready".to_owned(),
        status: ConditionStatus::True,
        reason: "Flowing".to_owned(),
        message: String::new(),
        observed_generation: Some(1),
        last_transition_time: "2026-01-02T03:04:05Z".to_owned(),
    };
    LogPipelineStatus {
        observed_generation: Some(1),
        conditions: Some(vec![Condition { type_: "Accepted".to_owned(), ..ready.clone() }, ready]),
        guarantee: Some(Guarantee::ExactlyOnce),
        transactional_id_prefix: Some("spoolway/c/shop/shown/".to_owned()),
        agents: Some(Agents { desired: 50, ready: 49, ..Agents::default() }),
        throughput: Some(Throughput::default()),
        backlog: Some(Backlog { bytes: i64::MAX, ..Backlog::default() }),
        totals: Some(Totals::default()),
        worst_agents: Some(vec![WorstAgent {
            agent: "node-7".to_owned(),
            reason: "MissingGrant".to_owned(),
            message: "m".repeat(256),
            backlog_bytes: 0,
            set_aside: 0,
        }]),
        summary: Some(Summary {
            agents: "49/50".to_owned(),
            rate: "12k/s".to_owned(),
            byte_rate: "3.4MB/s".to_owned(),
            backlog: "1.2GB".to_owned(),
            oldest: "40s".to_owned(),
        }),
    }
}

#[test]
fn a_status_is_taken_whole_and_shown_in_columns() {
    let Some(cluster) = Cluster::named() else { return };
    let path = Cluster::path(Some("shop"));
    let mut document = good().remove(0);
    document["metadata"]["name"] = "shown".into();
    let mut stored = cluster.ask("POST", &path, &document).unwrap();
    assert_eq!(stored["spec"], document["spec"], "nothing is added to what a person wrote");
    stored["status"] = serde_json::to_value(a_status()).unwrap();
    let stored = cluster.ask("PUT", &format!("{path}/shown/status?fieldValidation=Strict"), &stored);
    let row = kubectl(&cluster.config, &["get", "lpl", "shown", "--namespace=shop", "--output=wide"]).stdout;
    cluster.ask("DELETE", &format!("{path}/shown"), &json!({})).unwrap();
    let status: LogPipelineStatus = serde_json::from_value(stored.unwrap()["status"].clone()).unwrap();
    assert_eq!(status, a_status());
    let row = String::from_utf8(row).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    let titles = [
        "NAME",
        "READY",
        "REASON",
        "AGENTS",
        "RECORDS/S",
        "BACKLOG",
        "GUARANTEE",
        "TOPIC",
        "BYTES/S",
        "OLDEST",
        "AGE",
    ];
    assert_eq!(words[..11], titles);
    let values =
        ["shown", "True", "Flowing", "49/50", "12k/s", "1.2GB", "ExactlyOnce", "web.access", "3.4MB/s", "40s"];
    assert_eq!(words[11..21], values);
}

//! What users will see: the quickstart of docs/kubernetes.md followed to the letter, and a kubelet with its own default sync period.

use std::time::Instant;

use super::*;

/// The commands of the section, each with what it is typed at: `$`, or a node's `node$`.
fn commands() -> Vec<(&'static str, String)> {
    let docs = include_str!("../../../docs/kubernetes.md");
    let section = docs.split("\n## ").find(|section| section.starts_with("Quickstart\n")).expect("its section");
    let lines = section.replace("\\\n", "");
    let typed = lines.lines().filter_map(|line| {
        let at_node = line.strip_prefix("node$ ").map(|command| ("node$", command.to_owned()));
        at_node.or_else(|| line.strip_prefix("$ ").map(|command| ("$", command.to_owned())))
    });
    typed.collect()
}

#[test]
fn the_quickstart_followed_to_the_letter_gives_a_number_within_20_seconds() {
    let Some(guard) = bed() else { return };
    let bed = guard.as_ref().unwrap();
    if !bed.is_ours() {
        return crate::skip::skipped("it installs the operator, and Kafka has another name elsewhere");
    }
    // As on a machine where nobody has done this yet.
    bed.helm(&["uninstall", "spoolway", "-n", SYSTEM, "--wait"]);
    let _ = bed.try_kubectl(&["delete", "lpl", "quickstart", "--timeout=60s"]);
    for node in &bed.nodes {
        bed.on(node, "rm -rf default/*");
    }
    let mut dropped = None;
    for (at, command) in commands() {
        eprintln!("{at} {command}");
        if command.starts_with("make image") || command.starts_with("kind load") {
            continue; // the bed did: the image is in its nodes under the name that make image gives it
        } else if command.starts_with("kafka-topics ") {
            let _it_may_be_there = bed.kafka(&["topic", "quickstart", "6"]).output().unwrap();
        } else if at == "node$" {
            bed.on(&bed.nodes[0], &command);
            dropped = Some(Instant::now());
        } else {
            let command = command.replace("my-kafka:9092", &bed.kafka);
            said(bed.tool("sh").args(["-euc", &command]), "");
        }
    }
    let dropped = dropped.expect("the quickstart puts a file somewhere");
    let field = |path: &str| bed.kubectl(&["get", "lpl", "quickstart", "-o", &format!("jsonpath={path}")]);
    assert_eq!(field("{.status.summary.agents}"), format!("{0}/{0}", bed.nodes.len()));
    assert_eq!(field("{.status.conditions[?(@.type==\"Ready\")].status}"), "True");
    until("the first number", Duration::from_secs(60), || {
        let records = field("{.status.totals.records}");
        (!records.is_empty() && records != "0").then_some(())
    });
    eprintln!("the first number came after {:.1} s", dropped.elapsed().as_secs_f64());
    bed.keep("quickstart-get.txt", &bed.kubectl(&["get", "lpl"]));
    bed.kubectl(&["delete", "lpl", "quickstart"]);
}

#[test]
fn a_change_arrives_within_two_minutes_by_a_kubelet_as_it_comes() {
    with("e2e-sync", |bed, line| {
        if !bed.is_ours() {
            return crate::skip::skipped("the kubelets of another cluster are as they are");
        }
        let number = bed.nodes.len().to_string();
        let again = |sync: &str| {
            said(&mut bed.cluster(&["node-down", &number]), "");
            said(&mut bed.cluster(&["node-up", &number, "--sync", sync]), "");
            bed.answers(bed.nodes.last().unwrap());
            line.kubectl(&["rollout", "status", "daemonset/web-spoolway", "--timeout=120s"]);
            line.is_ready();
        };
        again("1m");
        let changed = Instant::now();
        line.kubectl(&[
            "patch",
            "lpl",
            "web",
            "--type=merge",
            "-p",
            r#"{"spec":{"delivery":{"commitInterval":"2s"}}}"#,
        ]);
        let all = bed.nodes.len().to_string();
        until("all agents on the new config", Duration::from_secs(240), || {
            let seen = line.field("{.status.observedGeneration} {.status.agents.updated}");
            (seen == format!("2 {all}")).then_some(())
        });
        eprintln!("the change was taken over after {:.0} s", changed.elapsed().as_secs_f64());
        line.is_ready();
        again("5s");
    });
}

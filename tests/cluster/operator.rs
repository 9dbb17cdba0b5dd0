//! Installed and applied; then agents, operator and a node are killed, the config changes and secrets rotate, while files flow.

mod quickstart;
mod secret;

use std::process::Child;
use std::time::Duration;

use super::bed::{Bed, SYSTEM, bed, said, tried};
use super::line::{Line, SOON};
use crate::e2e::until;

/// Waits until all files of a flow are there.
fn ended(writers: Vec<Child>) {
    for mut writer in writers {
        assert!(writer.wait().unwrap().success(), "a writer failed");
    }
}

/// Runs a scenario on the cluster with a pipeline that is ready.
fn with(namespace: &str, scenario: impl FnOnce(&Bed, &Line)) {
    let Some(guard) = bed() else { return };
    let bed = guard.as_ref().unwrap();
    let line = Line::new(bed, namespace);
    bed.apply(&line.manifest());
    line.is_ready();
    scenario(bed, &line);
}

/// At once, as a crash would.
fn kill(bed: &Bed, namespace: &str, label: &str) {
    bed.kubectl(&["-n", namespace, "delete", "pod", "-l", label, "--grace-period=0", "--force", "--wait=false"]);
}

fn kill_operator(bed: &Bed) {
    kill(bed, SYSTEM, "app.kubernetes.io/component=operator");
}

fn kill_agents(line: &Line) {
    kill(line.bed, &line.namespace, "spoolway.dev/agent-of=web");
}

#[test]
fn files_of_two_nodes_arrive_once_and_the_resource_tells_how_much() {
    with("e2e-shop", |bed, line| {
        let writers = line.flow(20, 5000);
        let rate = until("a rate that is not zero", SOON, || {
            let rate = line.field("{.status.throughput.recordsPerSecond}");
            (!rate.is_empty() && rate != "0").then_some(rate)
        });
        eprintln!("{rate} records/s");
        bed.keep("get.txt", &line.kubectl(&["get", "lpl"]));
        bed.keep("get-wide.txt", &line.kubectl(&["get", "lpl", "-o", "wide"]));
        ended(writers);
        line.exactly();
        until("no backlog", SOON, || (line.field("{.status.backlog.files}") == "0").then_some(()));
        line.is_ready();
        bed.keep("get-idle.txt", &line.kubectl(&["get", "lpl"]));
        bed.keep("describe.txt", &line.kubectl(&["describe", "lpl", "web"]));
        bed.keep("explain.txt", &bed.kubectl(&["explain", "lpl.spec.source.spoolDir.completion"]));
        bed.keep("status.txt", &status(line));
        bed.keep("children.txt", &line.kubectl(&["get", "daemonset,configmap,serviceaccount,pods"]));
    });
}

/// `spoolway status --agents` for somebody whom the aggregated role `view` lets see this pipeline, and before that for nobody.
fn status(line: &Line) -> String {
    let token = line.kubectl(&["create", "token", "default"]);
    let ask = || {
        let args = ["status", "-n", &line.namespace, "web", "--agents", "--token", token.trim()];
        tried(line.bed.tool(env!("CARGO_BIN_EXE_spoolway")).args(args), "")
    };
    assert!(ask().unwrap_err().contains("403"), "anybody may ask");
    let who = format!("--serviceaccount={}:default", line.namespace);
    line.kubectl(&["create", "rolebinding", "viewer", "--clusterrole=view", &who]);
    let page = until("an answer for who may see it", SOON, || ask().ok());
    for node in &line.bed.nodes {
        assert!(page.contains(node.as_str()), "{node} is missing: {page}");
    }
    page
}

#[test]
fn the_operator_may_not_do_more_than_it_must() {
    let Some(guard) = bed() else { return };
    let bed = guard.as_ref().unwrap();
    let me = format!("--as=system:serviceaccount:{SYSTEM}:spoolway-operator");
    let may = |question: &[&str]| bed.try_kubectl(&[&["auth", "can-i"], question, &[&me]].concat()).is_ok();
    for question in [
        &["get", "secrets", "-A"][..],
        &["list", "secrets", "-n", SYSTEM],
        &["get", "secret/another", "-n", SYSTEM],
        &["create", "secrets", "-n", SYSTEM],
        &["create", "pods", "-A"],
        &["patch", "nodes"],
        &["update", "logpipelines", "-A"],
        &["create", "pods", "--subresource=exec", "-A"],
    ] {
        assert!(!may(question), "{question:?}");
    }
    assert!(may(&["update", "secret/spoolway-operator-tls", "-n", SYSTEM]));
}

#[test]
fn agents_and_operator_are_killed_while_files_flow() {
    with("e2e-kills", |bed, line| {
        let writers = line.flow(24, 2000);
        for _ in 0..3 {
            kill_agents(line);
            kill_operator(bed);
            line.kubectl(&["rollout", "status", "daemonset/web-spoolway", "--timeout=120s"]);
        }
        ended(writers);
        line.exactly();
        line.is_ready();
    });
}

#[test]
fn the_operator_is_killed_in_the_middle_of_a_rollout() {
    with("e2e-rollout", |bed, line| {
        let before = line.pods();
        let writers = line.flow(24, 2000);
        bed.apply(
            &line
                .manifest()
                .replace("maxUnavailable: 1", "maxUnavailable: 1, resources: {limits: {memory: 200Mi}}"),
        );
        until("the first new pod", SOON, || {
            let now = line.pods();
            now.iter().any(|pod| !before.contains(pod)).then_some(())
        });
        kill_operator(bed);
        until("a rollout that went on", SOON, || {
            let now = line.pods();
            (now.len() == bed.nodes.len() && now.iter().all(|pod| !before.contains(pod))).then_some(())
        });
        ended(writers);
        line.exactly();
        bed.operator_is_there();
        line.is_ready();
    });
}

#[test]
fn a_node_crashes_and_comes_back() {
    with("e2e-crash", |bed, line| {
        if !bed.is_ours() {
            return crate::skip::skipped("the nodes of another cluster are left alone");
        }
        let node = bed.nodes.last().unwrap();
        let number = node.trim_start_matches('n');
        // Much more than is shipped when the plug is pulled.
        line.file(400_000);
        until("a commit", SOON, || (line.arrived() > 0).then_some(()));
        assert!(bed.cluster(&["node-down", number]).status().unwrap().success());
        std::thread::sleep(Duration::from_secs(1)); // how long it is without power matters to nobody
        assert!(bed.cluster(&["node-up", number]).status().unwrap().success());
        bed.answers(node);
        line.file(1000);
        line.exactly();
        line.is_ready();
    });
}

#[test]
fn the_config_changes_ten_times_while_files_flow() {
    with("e2e-changes", |_, line| {
        let before = line.pods();
        let writers = line.flow(40, 2000);
        for change in 1..=10 {
            let codec = if change % 2 == 0 { "Lz4" } else { "Zstd" };
            let edit = format!(
                "{{\"spec\":{{\"delivery\":{{\"commitInterval\":\"{}ms\"}},\"sink\":{{\"kafka\":{{\"compression\":\"{codec}\"}}}}}}}}",
                1000 + change
            );
            line.kubectl(&["patch", "lpl", "web", "--type=merge", "-p", &edit]);
            std::thread::sleep(Duration::from_millis(1500)); // some are taken over, some are overtaken
        }
        ended(writers);
        line.exactly();
        line.is_ready();
        assert_eq!(line.pods(), before, "a change of the config starts no pod anew");
        assert!(line.condition("ConfigApplied").starts_with("True"), "{}", line.condition("ConfigApplied"));
    });
}

#[test]
fn a_bad_edit_is_told_and_agents_ship_on() {
    with("e2e-badly", |bed, line| {
        let before = line.pods();
        bed.apply(&line.manifest().replace("/e2e-badly/web", "/e2e-other/web"));
        until("a word about it", SOON, || (line.condition("Accepted") == "False HostPathNotAllowed").then_some(()));
        assert!(line.condition("Ready").starts_with("False"), "{}", line.condition("Ready"));
        line.file(2000);
        line.exactly();
        assert_eq!(line.pods(), before);
        bed.apply(&line.manifest());
        line.is_ready();
        assert_eq!(line.pods(), before);
    });
}

#[test]
fn what_somebody_changes_is_put_back() {
    with("e2e-drift", |bed, line| {
        let image = "jsonpath={.spec.template.spec.containers[0].image}";
        let get = || line.kubectl(&["get", "daemonset", "web-spoolway", "-o", image]);
        let ours = get();
        line.kubectl(&["set", "image", "daemonset/web-spoolway", "agent=localhost/other:1"]);
        until("our image again", SOON, || (get() == ours).then_some(()));
        line.kubectl(&["delete", "configmap", "web-spoolway"]);
        until("the ConfigMap again", SOON, || {
            bed.try_kubectl(&["-n", &line.namespace, "get", "configmap", "web-spoolway"]).ok()
        });
        line.kubectl(&["rollout", "status", "daemonset/web-spoolway", "--timeout=120s"]);
        line.file(2000);
        line.exactly();
        line.is_ready();
    });
}

#[test]
fn a_suspended_pipeline_reads_nothing_until_it_goes_on() {
    with("e2e-suspend", |bed, line| {
        let suspend = |on: bool| {
            line.kubectl(&[
                "patch",
                "lpl",
                "web",
                "--type=merge",
                "-p",
                &format!("{{\"spec\":{{\"suspend\":{on}}}}}"),
            ]);
        };
        line.file(2000);
        line.exactly();
        suspend(true);
        until("Suspended", SOON, || (line.condition("Ready") == "True Suspended").then_some(()));
        let writers = line.flow(1, 2000);
        ended(writers);
        std::thread::sleep(Duration::from_secs(3)); // a pipeline that runs has long shipped it
        assert_eq!(line.arrived(), 2000 * bed.nodes.len(), "it shipped");
        suspend(false);
        line.exactly();
        line.is_ready();
    });
}

#[test]
fn deleted_and_applied_again_it_goes_on_where_it_was() {
    with("e2e-again", |bed, line| {
        let writers = line.flow(10, 5000);
        line.kubectl(&["delete", "lpl", "web"]);
        line.kubectl(&["wait", "--for=delete", "pod", "-l", "spoolway.dev/agent-of=web", "--timeout=120s"]);
        until("no child left", SOON, || {
            line.kubectl(&["get", "daemonsets,pods", "-o", "name"]).is_empty().then_some(())
        });
        ended(writers);
        bed.apply(&line.manifest());
        line.is_ready();
        line.exactly();
    });
}

#[test]
fn an_upgrade_keeps_the_certificate_and_without_the_operator_agents_ship_on() {
    with("e2e-uninstalled", |bed, line| {
        let get = ["-n", SYSTEM, "get", "secret", "spoolway-operator-tls", "-o", "jsonpath={.data}"];
        let certificate = bed.kubectl(&get);
        assert!(certificate.contains("tls.crt"), "no certificate in the Secret");
        bed.install();
        assert_eq!(bed.kubectl(&get), certificate);
        bed.helm(&["uninstall", "spoolway", "-n", SYSTEM, "--wait"]);
        bed.kubectl(&["apply", "--server-side", "--dry-run=server", "-f", "deploy/install.yaml"]);
        line.file(2000);
        line.exactly();
        bed.install();
        line.is_ready();
    });
}

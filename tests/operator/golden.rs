//! What the samples are made into, as a person would have written it.

use std::collections::BTreeMap;
use std::fmt::Write;

use spoolway::operator::config::OperatorConfig;
use spoolway::operator::desired::{Given, desired, frozen};
use spoolway::operator::valid::{Place, valid};
use spoolway::pipeline::pod::ReportTo;
use spoolway::yaml;

use super::cluster::config;

/// The manifests of every pipeline of a text, or why there are none.
fn page(text: &str, config: &OperatorConfig) -> String {
    let mut page = String::new();
    let report_to =
        ReportTo { url: "https://spoolway-report.ops.svc:443/v1/reports".into(), ca: "-----BEGIN\n".into() };
    for document in yaml::documents(text) {
        match valid(&document.value, config, &Place { labels: &BTreeMap::new(), taken: None }) {
            Ok(pipeline) => {
                let report_to = Some(report_to.clone());
                let given = Given { uid: "uid-1", config, frozen: frozen(None, None, "blue"), report_to };
                for child in desired(&pipeline, &given).into_iter().flatten() {
                    write!(page, "---\n{}", yaml::write(&child)).unwrap();
                }
            }
            Err(refusal) => {
                writeln!(page, "{}", refusal.reason).unwrap();
                refusal.problems.iter().for_each(|problem| writeln!(page, "{problem}").unwrap());
            }
        }
    }
    page
}

#[test]
fn the_sample_for_a_cluster() {
    insta::assert_snapshot!(page(include_str!("../../deploy/samples/web-access.yaml"), &config()));
}

#[test]
fn a_path_that_the_namespace_may_not_read() {
    insta::assert_snapshot!(page(include_str!("../../deploy/samples/seed.yaml"), &config()));
}

/// Agents of a release are not restarted by the next one, unless their pod must change: the hash is part of the contract.
#[test]
fn the_shape_of_a_pod_is_the_same_in_every_release() {
    let page = page(include_str!("../../deploy/samples/web-access.yaml"), &config());
    let shape = page.lines().skip_while(|line| !line.ends_with("- --shape")).nth(1).unwrap();
    insta::assert_snapshot!(shape.trim());
}

#[test]
fn everything_that_a_placement_a_sink_and_an_operator_can_ask_for() {
    let config = OperatorConfig {
        image_pull_policy: Some("Always".into()),
        image_pull_secrets: vec!["registry".into()],
        network_policy: true,
        ..config()
    };
    insta::assert_snapshot!(page(
        "apiVersion: spoolway.dev/v1alpha1
kind: LogPipeline
metadata: {name: all, namespace: shop}
spec:
  suspend: true
  source: {spoolDir: {path: /var/spool/spoolway/shop, completion: Track}}
  sink:
    kafka:
      bootstrapServers: ['k:9093']
      topic: t
      tls: {caSecret: {name: ca.of.kafka}, clientCertificateSecret: {name: user}}
      sasl: {mechanism: ScramSha512, username: u, passwordSecret: {name: user}}
  placement:
    daemonSet:
      nodeSelector: {role: web}
      tolerations: [{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 5}]
      maxUnavailable: 3
      priorityClassName: high
      resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 1}}
      runAsUser: 1000
      runAsGroup: 1001
",
        &config
    ));
}

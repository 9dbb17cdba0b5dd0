//! What the samples are made into, as a person would have written it.

use std::fmt::Write;

use spoolway::operator::desired::desired;
use spoolway::operator::valid::valid;
use spoolway::yaml;

use super::api_server::settings;

/// The manifests of every pipeline of a text, or why there are none.
fn page(text: &str) -> String {
    let mut page = String::new();
    for document in yaml::documents(text) {
        match valid(&document.value, &settings()) {
            Ok(pipeline) => {
                for child in desired(&pipeline, "uid-1", &settings()) {
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
    insta::assert_snapshot!(page(include_str!("../../deploy/samples/web-access.yaml")));
}

#[test]
fn a_path_that_the_namespace_may_not_read() {
    insta::assert_snapshot!(page(include_str!("../../deploy/samples/seed.yaml")));
}

#[test]
fn everything_that_a_placement_and_a_sink_can_ask_for() {
    insta::assert_snapshot!(page(
        "apiVersion: spoolway.dev/v1alpha1
kind: LogPipeline
metadata: {name: all, namespace: shop}
spec:
  source: {spoolDir: {path: /var/spool/spoolway/shop}}
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
"
    ));
}

//! A pipeline in Strimzi's Secret layout; its password changes while files wait, and no pod is started anew for it.

use super::*;

const USER: &str = "shipper";

/// The SCRAM pipeline of deploy/samples/secured-kafka.yaml, for this line.
fn manifest(line: &Line) -> String {
    let samples = include_str!("../../../deploy/samples/secured-kafka.yaml");
    let scram = samples.split("\n---\n").nth(1).unwrap();
    scram
        .replace(
            "metadata:\n  name: app-access\n  namespace: shop",
            &format!("metadata:\n  name: web\n  namespace: {}", line.namespace),
        )
        .replace("shop/app}", &format!("{}/web, settleTime: 500ms}}", line.namespace))
        .replace("events-kafka-bootstrap.kafka.svc:9094", &line.bed.secured())
        .replace("topic: app-access", &format!("topic: {}", line.topic))
        .replace("username: app-access", &format!("username: {USER}"))
}

/// What the agents of a pipeline need, as docs/quickstart.md lists it.
fn grants(line: &Line) -> [String; 4] {
    let prefix = line.field("{.status.transactionalIdPrefix}");
    let (topic, namespace) = (&line.topic, &line.namespace);
    [
        format!("Write --operation Describe --topic {topic}"),
        format!(
            "Read --operation Write --operation Describe --operation Create --topic spoolway-{namespace}-checkpoints"
        ),
        format!("Write --operation Describe --operation Create --topic spoolway-{namespace}-receipts"),
        format!("Write --operation Describe --transactional-id {prefix} --resource-pattern-type prefixed"),
    ]
}

fn set_password(line: &Line, password: &str) {
    line.bed.secure(&["user", &line.bed.vault().display().to_string(), USER, password]);
}

/// The Secrets as Strimzi makes them: the cluster's authority, and the user.
fn secrets(line: &Line, password: &str) -> String {
    let authority = std::fs::read_to_string(line.bed.vault().join("ca.crt")).unwrap().replace('\n', "\n    ");
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: events-cluster-ca-cert, namespace: {0}}}\nstringData:\n  ca.crt: |\n    {authority}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: app-access, namespace: {0}}}\nstringData: {{password: {password}}}\n",
        line.namespace
    )
}

#[test]
fn a_rotated_secret_is_taken_up_without_a_restart() {
    let Some(guard) = bed() else { return };
    let bed = guard.as_ref().unwrap();
    if !bed.is_ours() {
        return crate::skip::skipped("only a Kafka of our own is secured");
    }
    let line = Line::new(bed, "e2e-secret");
    set_password(&line, "first");
    bed.apply(&manifest(&line));
    until("SecretMissing", SOON, || line.condition("FlowHealthy").contains("SecretMissing").then_some(()));
    until("the prefix to grant", SOON, || {
        (!line.field("{.status.transactionalIdPrefix}").is_empty()).then_some(())
    });
    for grant in grants(&line) {
        let grant = format!("grant --add --allow-principal User:{USER} --operation {grant}");
        bed.secure(&grant.split(' ').collect::<Vec<_>>());
    }
    bed.apply(&secrets(&line, "first"));
    line.is_ready();
    let before = line.pods();
    let writers = line.flow(30, 2000);

    set_password(&line, "second");
    // Connections that are open stay so: with the broker they go, and only the new password opens others.
    said(&mut bed.kafka(&["kill", "1"]), "");
    said(&mut bed.kafka(&["restart", "1"]), "");
    until("AuthenticationFailed", SOON, || {
        line.condition("FlowHealthy").contains("AuthenticationFailed").then_some(())
    });
    bed.apply(&secrets(&line, "second"));
    ended(writers);
    line.exactly();
    line.is_ready();
    assert_eq!(line.pods(), before, "pods were started anew");
}

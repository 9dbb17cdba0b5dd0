//! The CRD's rules, asked of the cluster's API server: `tests/crd/apiserver.rs`, run where that is.

use super::bed::{Bed, SYSTEM, bed, tried};

/// An operator that sees the pipelines which the test stores would write their status.
fn operators(bed: &Bed, number: u32) {
    bed.kubectl(&["-n", SYSTEM, "scale", "deployment/spoolway-operator", &format!("--replicas={number}")]);
}

#[test]
fn the_rules_hold_in_a_real_api_server() {
    let Some(guard) = bed() else { return };
    let bed = guard.as_ref().unwrap();
    let test = std::env::current_exe().unwrap().display().to_string();
    let run = r#"SPOOLWAY_TEST_KUBECONFIG=$KUBECONFIG exec "$0" crd::apiserver --nocapture"#;
    operators(bed, 0);
    let pods = ["-n", SYSTEM, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=operator"];
    bed.kubectl(&[&pods[..], &["--timeout=60s"]].concat());
    let out = tried(bed.tool("sh").args(["-euc", run, &test]), "");
    operators(bed, 1);
    bed.operator_is_there();
    let out = out.unwrap();
    assert!(!out.contains("skipped") && !out.contains(" 0 passed"), "{out}");
}

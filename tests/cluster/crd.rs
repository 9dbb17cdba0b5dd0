//! The CRD's rules, asked of the cluster's API server: `tests/crd/apiserver.rs`, run where that is.

use super::bed::{bed, said};

#[test]
fn the_rules_hold_in_a_real_api_server() {
    let Some(guard) = bed() else { return };
    let bed = guard.as_ref().unwrap();
    let test = std::env::current_exe().unwrap().display().to_string();
    let run = r#"SPOOLWAY_TEST_KUBECONFIG=$KUBECONFIG exec "$0" crd::apiserver --nocapture"#;
    let out = said(bed.tool("sh").args(["-euc", run, &test]), "");
    assert!(!out.contains("skipped") && !out.contains(" 0 passed"), "{out}");
}

//! The chart, as helm renders it: with its defaults it is deploy/install.yaml, and what is wrong with values is said.
//!
//! Where there is no helm these are skipped by name; the cluster bed brings one.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::skip::skipped;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The oldest Kubernetes that the chart is for.
const KUBERNETES: &str = "1.33.0";

/// The helm in PATH, or the cluster bed's.
fn helm() -> Option<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let cache = std::env::var("SPOOLWAY_CACHE").unwrap_or(format!("{home}/.cache/spoolway"));
    let beds = std::fs::read_dir(cache).into_iter().flatten().flatten().map(|entry| entry.path());
    let beds = beds.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("kube-")));
    let path = std::env::var("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).chain(beds).map(|dir| dir.join("helm")).find(|file| file.is_file());
    if found.is_none() {
        skipped("there is no helm: make cluster-beds builds one");
    }
    found
}

/// `helm template` with these arguments.
fn render(args: &[&str]) -> Option<Output> {
    let mut command = Command::new(helm()?);
    command.args([
        "template",
        "spoolway",
        "charts/spoolway",
        "-n",
        "spoolway-system",
        "--kube-version",
        KUBERNETES,
    ]);
    Some(command.args(args).current_dir(ROOT).output().unwrap())
}

fn rendered(args: &[&str]) -> Option<String> {
    let out = render(&[&["--set", "image.repository=localhost/spoolway"], args].concat())?;
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some(String::from_utf8(out.stdout).unwrap())
}

/// What helm says to values that it refuses, without the empty lines around it.
fn refused(args: &[String]) -> Option<String> {
    let out = render(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
    assert!(!out.status.success(), "{args:?} is not refused");
    let said = String::from_utf8(out.stderr).unwrap();
    let lines = said.lines().filter(|line| !line.is_empty() && !line.starts_with("Use --debug"));
    Some(lines.map(|line| format!("  {line}\n")).collect())
}

fn read(file: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{file}")).unwrap()
}

#[test]
fn the_plain_manifests_are_the_chart() {
    if helm().is_none() {
        return;
    }
    let out = Command::new(format!("{ROOT}/scripts/manifests.sh")).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let fresh = String::from_utf8(out.stdout).unwrap();
    assert!(fresh == read("deploy/install.yaml"), "deploy/install.yaml is stale: run make generate");
}

#[test]
fn the_chart_holds_the_crd_and_keeps_it_when_it_goes() {
    assert!(read("charts/spoolway/files/logpipelines.yaml") == read("crds/logpipelines.yaml"), "run make generate");
    let Some(text) = rendered(&["--show-only", "templates/crd.yaml"]) else { return };
    let mut kept: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let annotations = kept["metadata"].as_mapping_mut().unwrap().remove("annotations").unwrap();
    assert_eq!(annotations["helm.sh/resource-policy"], "keep");
    let plain: serde_yaml::Value = serde_yaml::from_str(&read("crds/logpipelines.yaml")).unwrap();
    assert!(kept == plain, "only the annotation is added");
    let without = rendered(&["--set", "crds.enabled=false"]).unwrap();
    assert!(!without.contains("kind: CustomResourceDefinition"));
}

#[test]
fn every_value_has_its_place_in_the_manifests() {
    let digest = format!("image.digest=sha256:{}", "0123456789abcdef".repeat(4));
    let args = [
        "--set",
        &digest,
        "--set=imagePullSecrets[0].name=registry",
        "--set=clusterName=east",
        "--set=networkPolicy=true",
        r#"--set-json=hostPaths.allowed=[{"namespaces":["web","api"],"prefixes":["/home/hadoop/dir"]}]"#,
        "--set=nodeSelector.pool=system",
        "--set=tolerations[0].operator=Exists",
        "--set=crds.enabled=false",
    ];
    let Some(once) = rendered(&args) else { return };
    assert!(Some(&once) == rendered(&args).as_ref(), "not deterministic");
    insta::assert_snapshot!(once);
}

#[test]
fn a_changed_config_starts_the_operator_anew() {
    let checksum = |args: &[&str]| {
        let text = rendered(&[&["--show-only", "templates/operator.yaml"], args].concat())?;
        text.lines().find(|line| line.contains("checksum/config")).map(str::to_owned)
    };
    let Some(one) = checksum(&[]) else { return };
    assert_ne!(Some(one), checksum(&["--set", "clusterName=east"]));
}

#[test]
fn wrong_values_are_refused_with_words_that_help() {
    if helm().is_none() {
        return;
    }
    let allowed =
        |prefix: &str| format!(r#"--set-json=hostPaths.allowed=[{{"namespaces":["a"],"prefixes":["{prefix}"]}}]"#);
    let cases = [
        ("unknown value", "--set=image.repo=x".to_owned()),
        ("digest that is none", "--set=image.digest=latest".to_owned()),
        ("cluster in capitals", "--set=clusterName=East".to_owned()),
        ("prefix with ..", allowed("/var/../etc")),
        ("prefix that is relative", allowed("var/spool")),
        ("the whole host", allowed("/")),
        ("secret that is no object", "--set=imagePullSecrets={registry}".to_owned()),
    ];
    let mut page = format!("no image\n{}", refused(&[]).unwrap());
    for (case, value) in cases {
        page += &format!("{case}\n{}", refused(&["--set=image.repository=x".to_owned(), value]).unwrap());
    }
    insta::assert_snapshot!(page);
}

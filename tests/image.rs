//! The two recipes of the image say the same of it: deploy/Containerfile and scripts/image.sh. Reads files only.

use std::collections::BTreeMap;

/// Label → value; what differs from build to build is left out.
fn labels(text: &str, pattern: &str) -> BTreeMap<String, String> {
    let label = regex::Regex::new(pattern).unwrap();
    let all = label.captures_iter(text).map(|found| (found[1].to_owned(), found[2].trim_matches('"').to_owned()));
    all.map(|(name, value)| (name, if value.starts_with('$') { String::new() } else { value })).collect()
}

#[test]
fn both_recipes_give_the_same_labels_user_and_entrypoint() {
    let containerfile = include_str!("../deploy/Containerfile");
    let script = include_str!("../scripts/image.sh");
    let name = r"(org\.opencontainers\.image\.[a-z]+)";
    let one = labels(containerfile, &format!(r#"{name}=("[^"]*"|\S+)"#));
    let other = labels(script, &format!(r#"--label "?{name}=([^"\s][^"\n\\]*[^"\s\\])"#));
    assert_eq!(one.len(), 5);
    assert_eq!(one, other);
    for (line, argument) in [
        ("USER 65532:65532\n", "--user 65532:65532"),
        ("ENTRYPOINT [\"/usr/bin/spoolway\"]\n", "--entrypoint /usr/bin/spoolway"),
    ] {
        assert!(containerfile.contains(line) && script.contains(argument), "{line}");
    }
    let version = format!("ARG VERSION={}\n", env!("CARGO_PKG_VERSION"));
    assert!(containerfile.contains(&version), "deploy/Containerfile: another version than Cargo.toml");
}

#[test]
fn the_chart_is_of_this_version() {
    let chart = include_str!("../charts/spoolway/Chart.yaml");
    for field in ["version", "appVersion"] {
        assert!(chart.contains(&format!("\n{field}: {}\n", env!("CARGO_PKG_VERSION"))), "{field}");
    }
}

//! The command as a person runs it: output, exit codes.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn spoolway(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_spoolway"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that ends before it reads closes the pipe: not what is tested.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn validate_names_what_is_fine() {
    let samples = ["quickstart", "secured-kafka", "seed", "web-access"];
    let files = samples.map(|name| format!("deploy/samples/{name}.yaml"));
    let [quickstart, secured, seed, web] = &files;
    let out = spoolway(&["validate", "-f", quickstart, secured, seed, web], "");
    let said = String::from_utf8(out.stdout).unwrap();
    let fine = [
        (quickstart, "quickstart"),
        (secured, "web-access"),
        (secured, "app-access"),
        (seed, "producer-r"),
        (web, "web-access"),
    ];
    assert_eq!(said, fine.map(|(file, name)| format!("{file}: {name}: ok\n")).concat());
    assert_eq!(out.status.code(), Some(0));
}

#[test]
fn validate_goes_on_after_a_bad_file() {
    let good = "deploy/samples/seed.yaml";
    let out = spoolway(&["validate", "-f", "missing.yaml", "-f", "-", "-f", good, "-f", "deploy"], "kind: Secret");
    insta::assert_snapshot!(String::from_utf8(out.stderr).unwrap());
    assert_eq!(String::from_utf8(out.stdout).unwrap(), format!("{good}: producer-r: ok\n"));
    assert_eq!(out.status.code(), Some(2));
}

#[test]
fn usage_errors_exit_2() {
    assert_eq!(spoolway(&["validate"], "").status.code(), Some(2));
    assert_eq!(spoolway(&["validate", "-f", "-"], "").status.code(), Some(2));
}

#[test]
fn a_bare_machine_needs_no_placement() {
    let seed = include_str!("../deploy/samples/seed.yaml");
    let bare = seed.replace("  placement:\n    daemonSet: {}\n", "");
    assert_eq!(spoolway(&["validate", "--bare", "-f", "-"], &bare).status.code(), Some(0));
    assert_eq!(spoolway(&["validate", "-f", "-"], &bare).status.code(), Some(2));
}

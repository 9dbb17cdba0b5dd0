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
    let files = ["deploy/samples/seed.yaml", "deploy/samples/web-access.yaml"];
    let out = spoolway(&["validate", "-f", files[0], files[1]], "");
    let said = String::from_utf8(out.stdout).unwrap();
    assert_eq!(said, format!("{}: producer-r: ok\n{}: web-access: ok\n", files[0], files[1]));
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

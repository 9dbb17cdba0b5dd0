//! `spoolway demo` as a script runs it: no terminal, no Kafka at hand.

use std::process::{Command, Stdio};

use regex::Regex;

#[test]
fn the_embedded_demo_ends_with_equal_counts_and_says_what_it_is_not() {
    let demo = Command::new(env!("CARGO_BIN_EXE_spoolway"))
        .args(["demo", "--seconds", "5"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(demo.stdout).unwrap();
    assert_eq!(demo.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&demo.stderr));
    assert!(!said.contains('\x1b'), "escape codes without a terminal: {said:?}");
    let (ticks, rest): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.starts_with("00:"));
    assert!(ticks.len() >= 2, "a line a second, fewer where the machine stalls: {said}");

    // What the golden file cannot hold, since numbers differ: all lines arrived, and some were written.
    let lines = Regex::new(r"lines +([\d,]+) written, ([\d,]+) arrived: equal").unwrap().captures(&said).unwrap();
    assert_eq!(lines[1], lines[2]);
    assert_ne!(&lines[1], "0");
    let dir = Regex::new(r"logs in (\S+),").unwrap().captures(&said).unwrap()[1].to_owned();
    assert!(!std::path::Path::new(&dir).exists(), "{dir} was left behind");

    let text = rest.join("\n").replace(&dir, "DIR");
    // Numbers become #, with their units and the spaces that align them.
    let number = Regex::new(r"( )? *\b\d+([.,]\d+)*( [KMG]?i?B\b)?").unwrap();
    let text = number.replace_all(&text, "$1#");
    insta::assert_snapshot!(text);
}

//! Holds the shape of the code: who may import whom, sizes, headings, and that the maps are true. Reads files only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Production lines a file may have (tests at its end do not count).
const FILE_LINES: usize = 400;
/// Lines a function may have.
const FUNCTION_LINES: usize = 70;

/// Module → the modules of ours that it may name. A module not listed is a mistake of this table.
/// `agent::channel` is pure: its allowances name types only.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("agent::channel", &["agent::channel", "agent::source", "pipeline"]),
    ("agent::source", &["agent::source", "agent::channel", "agent::faults", "pipeline"]),
    ("agent::sink", &["agent::sink", "agent::channel", "agent::faults", "kafka", "pipeline", "secrets"]),
    ("agent::faults", &[]),
    ("agent", &["agent", "kafka", "pipeline", "secrets", "yaml"]),
    ("cli", &["agent", "cli", "demo", "operator", "pipeline", "yaml"]),
    ("demo", &["agent", "demo", "kafka", "pipeline", "secrets", "yaml"]),
    ("kafka", &["pipeline", "secrets"]),
    ("lib", &[]),
    ("main", &[]),
    ("operator", &["operator", "pipeline", "yaml"]),
    ("pipeline", &["pipeline"]),
    ("secrets", &[]),
    ("yaml", &["pipeline", "yaml"]),
];

/// What a pure module must not name: files, sockets, Kafka, clocks, threads.
const PURE: &[(&str, &[&str])] = &[
    (
        "agent::channel",
        &[
            "std::fs",
            "TcpStream",
            "UdpSocket",
            "std::thread",
            "Instant",
            "SystemTime",
            "rdkafka",
            "rustix",
            "tokio",
        ],
    ),
    (
        "pipeline",
        &[
            "std::fs",
            "TcpStream",
            "UdpSocket",
            "std::thread",
            "Instant",
            "SystemTime",
            "rdkafka",
            "rustix",
            "tokio",
            "kube::",
        ],
    ),
    ("operator::conditions", OPERATOR_PURE),
    ("operator::config", OPERATOR_PURE),
    ("operator::desired", OPERATOR_PURE),
    ("operator::facts", OPERATOR_PURE),
    ("operator::memory", OPERATOR_PURE),
    ("operator::numbers", OPERATOR_PURE),
    ("operator::status", OPERATOR_PURE),
    ("operator::valid", OPERATOR_PURE),
];

/// What the deciding half of the operator must not name.
const OPERATOR_PURE: &[&str] =
    &["std::fs", "TcpStream", "UdpSocket", "std::thread", "Instant", "SystemTime", "tokio", "kube::", "async "];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file beneath `folder`, with its text; sorted.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    let mut found = vec![];
    walk(&root().join(folder), &mut found);
    found.sort();
    assert!(!found.is_empty(), "no Rust files in {folder}");
    found
}

/// `src/agent/channel/file.rs` → `agent::channel::file`, `tests/channel.rs` → `channel`.
fn module_of(path: &Path) -> String {
    let inner = path.components().skip(1).collect::<PathBuf>().with_extension("");
    let name = inner.to_str().unwrap().replace('/', "::");
    name.strip_suffix("::mod").unwrap_or(&name).to_owned()
}

/// The part of a file that ships: without the unit tests at its end.
fn production(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap()
}

fn is_within(module: &str, of: &str) -> bool {
    module == of || module.strip_prefix(of).is_some_and(|rest| rest.starts_with("::"))
}

/// The longest entry of a table that a module falls under.
fn entry<'a, T>(table: &'a [(&str, T)], module: &str) -> Option<&'a T> {
    table.iter().filter(|(m, _)| is_within(module, m)).max_by_key(|(m, _)| m.len()).map(|(_, value)| value)
}

/// Modules of ours that a text names as `crate::...`, also in braces behind `crate::`.
fn named(text: &str) -> Vec<String> {
    let code = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let path = regex::Regex::new(r"\bcrate::([a-z_]+(?:::[a-z_]+)*)").unwrap();
    path.captures_iter(&code).map(|c| c[1].to_owned()).collect()
}

#[test]
fn nobody_imports_whom_it_may_not() {
    let mut wrong = vec![];
    for (path, text) in sources("src") {
        let module = module_of(&path);
        let allowed = entry(MAY_IMPORT, &module).unwrap_or_else(|| panic!("{module} is not in MAY_IMPORT"));
        for name in named(production(&text)) {
            if !allowed.iter().any(|a| is_within(&name, a)) {
                wrong.push(format!("{} names crate::{name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_modules_do_no_io() {
    let mut wrong = vec![];
    for (path, text) in sources("src") {
        let Some(forbidden) = entry(PURE, &module_of(&path)) else { continue };
        for (number, line) in production(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap();
            for word in forbidden.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_source_and_a_sink_never_see_each_other() {
    for (path, text) in sources("src/agent") {
        let module = module_of(&path);
        for (one, other) in [("agent::source", "agent::sink"), ("agent::sink", "agent::source")] {
            if is_within(&module, one) {
                let seen = named(production(&text)).into_iter().find(|name| is_within(name, other));
                assert_eq!(seen, None, "{}", path.display());
            }
        }
    }
}

#[test]
fn one_file_names_serde_yaml_and_few_are_unsafe() {
    let with = |word: &str| -> Vec<String> {
        let has = |text: &str| production(text).lines().any(|l| l.split("//").next().unwrap().contains(word));
        sources("src").into_iter().filter(|(_, t)| has(t)).map(|(p, _)| p.display().to_string()).collect()
    };
    assert_eq!(with("serde_yaml"), ["src/yaml.rs"]);
    let unsafe_ones =
        ["src/agent/sink/kafka/describe.rs", "src/agent/sink/kafka/lend.rs", "src/agent/source/lease.rs"];
    assert_eq!(with("allow(unsafe_code)"), unsafe_ones);
}

#[test]
fn files_and_functions_are_short_and_files_say_what_they_are_for() {
    let mut wrong = vec![];
    for folder in ["src", "tests", "bench"] {
        for (path, text) in sources(folder) {
            if !text.starts_with("//!") {
                wrong.push(format!("{}: does not open with //!", path.display()));
            }
            let code = if folder == "src" { production(&text) } else { &text };
            if code.lines().count() > FILE_LINES {
                wrong.push(format!("{}: {} lines", path.display(), code.lines().count()));
            }
            for (name, length) in functions(&text) {
                if length > FUNCTION_LINES {
                    wrong.push(format!("{}: fn {name} has {length} lines", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines of the model that `tests/model.rs` holds the agent against: what is to be believed must be short.
const MODEL_LINES: usize = 100;

#[test]
fn the_model_is_short() {
    let lines = fs::read_to_string(root().join("tests/model/story.rs")).unwrap().lines().count();
    assert!(lines <= MODEL_LINES, "tests/model/story.rs has {lines} lines");
}

/// Names and lengths of functions, by rustfmt's indentation: a function ends at the brace below its `fn`.
fn functions(text: &str) -> Vec<(String, usize)> {
    let head =
        regex::Regex::new(r"^(\s*)(?:pub(?:\([a-z]+\))? )?(?:const |async |unsafe |extern \S+ )*fn (\w+)").unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut found = vec![];
    for (start, line) in lines.iter().enumerate() {
        let Some(captures) = head.captures(line) else { continue };
        let end = format!("{}}}", &captures[1]);
        let body = lines[start..].iter().position(|l| *l == end || l.ends_with(';') && l.starts_with(line));
        found.push((captures[2].to_owned(), body.map_or(1, |length| length + 1)));
    }
    found
}

#[test]
fn the_maps_name_every_module() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (path, _) in sources("src") {
        let module = module_of(&path);
        let top = module.split("::").next().unwrap();
        assert!(["lib", "main"].contains(&top) || lib.contains(&format!("[`{top}`]")), "lib.rs: {top}");
        let shown = path.strip_prefix("src").unwrap().display().to_string();
        let folder = path.parent().unwrap().strip_prefix("src").unwrap().display().to_string();
        let named = architecture.contains(&format!("`{shown}`")) || architecture.contains(&format!("`{folder}/`"));
        assert!(named, "ARCHITECTURE.md names neither `{shown}` nor `{folder}/`");
    }
}

#[test]
fn links_between_documents_hold() {
    let link = regex::Regex::new(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)").unwrap();
    let mut documents: Vec<PathBuf> = fs::read_dir(root()).unwrap().map(|e| e.unwrap().path()).collect();
    documents.extend(fs::read_dir(root().join("docs")).unwrap().map(|e| e.unwrap().path()));
    documents.push(root().join("bench/README.md"));
    for document in documents.into_iter().filter(|p| p.extension().is_some_and(|e| e == "md")) {
        let text = fs::read_to_string(&document).unwrap();
        for target in link.captures_iter(&text).map(|c| c[1].to_owned()) {
            let there = document.parent().unwrap().join(&target).exists();
            assert!(there, "{} links to {target}, which is not there", document.display());
        }
    }
}

/// The variants of an enum in a source file.
fn variants(file: &str, name: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let body = text.split(&format!("pub enum {name} {{")).nth(1).expect("the enum is there").split("\n}").next();
    let word = regex::Regex::new(r"(?m)^    ([A-Z]\w*),$").unwrap();
    word.captures_iter(body.unwrap()).map(|c| c[1].to_owned()).collect()
}

#[test]
fn documents_explain_every_reason_and_every_metric() {
    let document = |name: &str| fs::read_to_string(root().join("docs").join(name)).unwrap();
    let explains = |name: &str, words: &[String]| {
        let text = document(name);
        let missing: Vec<_> = words.iter().filter(|word| !text.contains(&format!("`{word}"))).collect();
        assert!(words.len() > 3 && missing.is_empty(), "docs/{name} does not explain {missing:?}");
    };
    let mut reasons = variants("src/pipeline/report.rs", "FlowReason");
    reasons.retain(|reason| reason != "Other"); // of an agent of another release
    explains("quickstart.md", &reasons);
    explains("troubleshooting.md", &variants("src/agent/channel/file.rs", "Reason"));
    let metrics = fs::read_to_string(root().join("src/agent/metrics.rs")).unwrap();
    let name = regex::Regex::new(r#"\(\s*"([a-z_]+)",\s*"[A-Z0-9]"#).unwrap();
    let names: Vec<String> = name.captures_iter(production(&metrics)).map(|c| c[1].to_owned()).collect();
    explains("troubleshooting.md", &names);
}

#[test]
fn nothing_is_left_to_do_and_no_machine_is_named() {
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!("), "dbg!("];
    let mut found = BTreeMap::new();
    for (path, text) in ["src", "tests", "bench"].iter().flat_map(|folder| sources(folder)) {
        if path.ends_with("tidy.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let home = line.contains(concat!("/ro", "ot/")) || line.contains(concat!("/wo", "rk/"));
            if home || words.iter().any(|word| line.contains(word)) {
                found.insert(format!("{}:{}", path.display(), number + 1), line.trim().to_owned());
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Cases of `tests/acceptance.md`, each by its number.
const CASES: std::ops::RangeInclusive<u32> = 1..=46;

#[test]
fn every_acceptance_case_is_held_by_a_test_that_exists_or_says_why_not() {
    let mut known = BTreeSet::new();
    for folder in ["src", "tests"] {
        for (path, text) in sources(folder) {
            let module = module_of(&path);
            known.extend(functions(&text).into_iter().map(|(name, _)| format!("{module}::{name}")));
        }
    }
    let table = fs::read_to_string(root().join("tests/acceptance.md")).unwrap();
    let row = regex::Regex::new(r"(?m)^\| (\d+)\S* \| [^|]+ \| ([^|]+) \|$").unwrap();
    let test = regex::Regex::new("`([a-z0-9_]+(?:::[a-z0-9_]+)+)`").unwrap();
    let (mut cases, mut wrong) = (BTreeSet::new(), vec![]);
    for found in row.captures_iter(&table) {
        let (case, tests) = (found[1].parse::<u32>().unwrap(), &found[2]);
        cases.insert(case);
        let named: Vec<_> = test.captures_iter(tests).map(|name| name[1].to_owned()).collect();
        wrong.extend(named.iter().filter(|name| !known.contains(*name)).map(|name| format!("{case}: no {name}")));
        let excused =
            ["needs a cluster: ", "not in a test run: ", "not promised: "].iter().any(|why| tests.contains(why));
        if named.is_empty() && !excused {
            wrong.push(format!("{case}: neither a test nor a reason: {tests}"));
        }
    }
    wrong.extend(CASES.filter(|case| !cases.contains(case)).map(|case| format!("{case}: no row")));
    let rows = table.lines().filter(|line| line.starts_with("| ")).count() - 1;
    assert_eq!(rows, row.find_iter(&table).count(), "rows that cannot be read");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

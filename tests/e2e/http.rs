//! What an agent tells over HTTP.

use std::fmt::Write;
use std::time::Duration;

use super::bed;
use super::job::{Job, Plan};

/// Names of series with their labels, without values.
fn series(page: &str) -> Vec<&str> {
    page.lines().filter(|l| !l.starts_with('#')).filter_map(|l| Some(l.rsplit_once(' ')?.0)).collect()
}

#[test]
fn the_pages_of_an_agent_read_well() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "pages", &Plan::default());
    std::fs::create_dir(job.path(b"no-file")).unwrap();
    std::os::unix::fs::symlink("nowhere", job.path(b"link.log")).unwrap();
    job.put(b"a.log", b"one\ntwo\n");
    let agent = job.start();
    agent.reports("done", Duration::from_secs(60), |r| r.totals.files == 1 && r.totals.set_aside == 1);
    let mut pages = String::new();
    for path in ["/healthz", "/readyz", "/metrics", "/report", "/nothing"] {
        let (code, head, body) = agent.try_get(path).unwrap();
        let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or("none");
        let body = match serde_json::from_str::<serde_json::Value>(&body) {
            Ok(json) => serde_json::to_string_pretty(&json).unwrap(),
            Err(_) => body,
        };
        writeln!(pages, "GET {path}: {code}, {kind}\n{body}").unwrap();
    }
    let changing = [
        (r#""(since|started|lastCommit)": "[^"]+""#, r#""$1": "<time>""#),
        (r#""(recordsPerSecond|bytesPerSecond)": \d+"#, r#""$1": <rate>"#),
        (r#""(configHash|agentVersion|boot|topicId)": "[^"]+""#, r#""$1": "<$1>""#),
        (r#"version="[^"]+""#, r#"version="<version>""#),
    ];
    for (pattern, with) in changing {
        pages = regex::Regex::new(pattern).unwrap().replace_all(&pages, with).into_owned();
    }
    insta::assert_snapshot!(job.redact(&pages));
}

#[test]
fn hostile_names_make_no_series_and_no_long_report() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "hostile", &Plan::default());
    let agent = job.start();
    agent.reports("idle", Duration::from_secs(60), |r| r.flowing);
    let before = agent.get("/metrics").1;
    for n in 0..300 {
        let name = format!("\"}} 1\n# {n} {}{{label=\"", "x".repeat(150));
        if n % 2 == 0 {
            job.put(name.as_bytes(), b"line\n");
        } else {
            std::os::unix::fs::symlink("nowhere", job.path(name.as_bytes())).unwrap();
        }
    }
    let limit = Duration::from_secs(60);
    let report = agent.reports("all is seen", limit, |r| r.totals.files == 150 && r.totals.set_aside == 150);
    assert_eq!(report.set_aside.len(), 5);
    let (metrics, report) = (agent.get("/metrics").1, agent.get("/report").1);
    let names = |page| series(page).iter().map(|s| s.split('{').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&metrics), names(&before));
    assert!(report.len() < 8192, "{report}");
    let shown: serde_json::Value = serde_json::from_str(&report).unwrap();
    let shown: Vec<_> =
        shown["setAside"].as_array().unwrap().iter().map(|aside| aside["file"].as_str().unwrap()).collect();
    assert!(shown.iter().all(|name| !name.chars().any(char::is_control)), "{shown:?}");
}

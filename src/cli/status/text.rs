//! What `spoolway status` looks like on a terminal. Pure.
//!
//! Whatever agents and brokers said is shown with control and format characters escaped (`table`): it must not move the cursor.

use std::fmt::Write;

use super::Shown;
use crate::cli::table::{bytes, plain, table};
use crate::pipeline::report::AgentAnswer;
use crate::pipeline::status::{ConditionStatus, LogPipelineStatus};

/// One pipeline, with all that is known.
pub fn one(shown: &Shown) -> String {
    let mut out = format!("{}/{}\n", plain(&shown.namespace), plain(&shown.name));
    let status = &shown.status;
    if status.conditions.is_none() {
        out.push_str("  no status yet: is the operator running?\n");
    } else if !shown.current() {
        out.push_str("  the operator has not seen the last change of its spec yet; this is from before\n");
    }
    numbers(&mut out, status);
    if let Some(conditions) = &status.conditions {
        let rows = conditions
            .iter()
            .map(|c| [&c.type_, word(c.status), &c.reason, &c.last_transition_time, &c.message].map(plain));
        table(&mut out, ["CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"], rows);
    }
    match (&shown.agents, &status.worst_agents) {
        (Some(agents), _) => {
            let head = ["AGENT", "HEARD", "REASON", "RECORDS/S", "BACKLOG", "OLDEST", "SET ASIDE", "MESSAGE"];
            table(&mut out, head, agents.iter().map(agent));
        }
        (None, Some(worst)) if !worst.is_empty() => {
            let rows = worst.iter().map(|a| {
                [
                    plain(&a.agent),
                    plain(&a.reason),
                    bytes(a.backlog_bytes),
                    a.set_aside.to_string(),
                    plain(&a.message),
                ]
            });
            table(&mut out, ["WORST AGENT", "REASON", "BACKLOG", "SET ASIDE", "MESSAGE"], rows);
        }
        _ => {}
    }
    out
}

/// Many pipelines, a line each.
pub fn list(all: &[Shown]) -> String {
    if all.is_empty() {
        return "no LogPipelines in this namespace\n".to_owned();
    }
    let rows = all.iter().map(|shown| {
        let mut conditions = shown.status.conditions.iter().flatten();
        let (ready, reason) = match conditions.find(|c| c.type_ == "Ready") {
            Some(ready) if shown.current() => (word(ready.status), ready.reason.as_str()),
            _ => (word(ConditionStatus::Unknown), "NotSeenYet"),
        };
        let summary = shown.status.summary.clone().unwrap_or_default();
        [&shown.name, ready, reason, &summary.agents, &summary.rate, &summary.backlog, &summary.oldest].map(plain)
    });
    let mut out = String::new();
    table(&mut out, ["NAME", "READY", "REASON", "AGENTS", "RECORDS/S", "BACKLOG", "OLDEST"], rows);
    // A list stands alone: no line above, no indent.
    out.lines().skip(1).fold(String::new(), |all, line| all + line.trim_start() + "\n")
}

fn numbers(out: &mut String, status: &LogPipelineStatus) {
    let mut line = |what: &str, said: String| {
        let _ = writeln!(out, "  {what:<11}{}", plain(&said));
    };
    if let Some(guarantee) = status.guarantee {
        line("guarantee", format!("{guarantee:?}"));
    }
    if let Some(a) = status.agents {
        line(
            "agents",
            format!(
                "{}/{} ready, {} updated, {} reporting, {} failing",
                a.ready, a.desired, a.updated, a.reporting, a.failing
            ),
        );
    }
    if let Some(rate) = status.throughput {
        line("rate", format!("{} records/s, {}/s", rate.records_per_second, bytes(rate.bytes_per_second)));
    }
    if let Some(waits) = status.backlog {
        line(
            "backlog",
            format!("{} in {} files, the oldest {} s old", bytes(waits.bytes), waits.files, waits.oldest_seconds),
        );
    }
    if let Some(t) = status.totals {
        line(
            "totals",
            format!("{} records, {}, {} files, {} set aside", t.records, bytes(t.bytes), t.files, t.set_aside),
        );
    }
}

fn agent(a: &AgentAnswer) -> [String; 8] {
    let (report, lost) = (&a.report, if a.lost { " (lost)" } else { "" });
    let message = if report.config_problem.is_empty() { &report.message } else { &report.config_problem };
    [
        plain(&a.agent),
        format!("{} s ago{lost}", a.silent_seconds),
        format!("{:?}", report.reason),
        report.throughput.records_per_second.to_string(),
        bytes(i64::try_from(report.backlog.bytes).unwrap_or(i64::MAX)),
        format!("{} s", report.backlog.oldest_seconds),
        report.totals.set_aside.to_string(),
        plain(message),
    ]
}

fn word(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown() -> Shown {
        let status = json!({
            "observedGeneration": 3, "guarantee": "ExactlyOnce",
            "conditions": [
                {"type": "Accepted", "status": "True", "reason": "Valid", "message": "", "lastTransitionTime": "2026-11-25T08:00:00Z"},
                {"type": "Ready", "status": "False", "reason": "TopicMissing", "message": "topic \"web\" is missing:\nkafka-topics --create", "lastTransitionTime": "2026-11-25T08:30:00Z"},
            ],
            "agents": {"desired": 50, "ready": 49, "updated": 48, "reporting": 49, "failing": 1},
            "throughput": {"recordsPerSecond": 12_000, "bytesPerSecond": 3_400_000},
            "backlog": {"files": 40, "bytes": 1_200_000_000, "oldestSeconds": 40},
            "totals": {"records": 123, "bytes": 999, "files": 12, "setAside": 1},
            "worstAgents": [{"agent": "node-7", "reason": "TopicMissing", "message": "a\x1b[2Jb\u{202e}c", "backlogBytes": 950, "setAside": 1}],
            "summary": {"agents": "49/50", "rate": "12k/s", "byteRate": "3.4MB/s", "backlog": "1.2GB", "oldest": "40s"},
        });
        let status = serde_json::from_value(status).unwrap();
        Shown { namespace: "shop".to_owned(), name: "web".to_owned(), generation: 3, status, agents: None }
    }

    fn agent_answer() -> AgentAnswer {
        let totals = json!({"records": 5, "bytes": 50, "files": 1, "setAside": 2, "longLines": 0, "commits": 1, "retries": 0});
        serde_json::from_value(json!({
            "agent": "node-7", "silentSeconds": 100, "lost": true, "totals": totals, "report": {
                "version": 1, "agentVersion": "0.1.0", "agent": "c/shop/web/node-7", "boot": "b", "configHash": "h",
                "guarantee": "ExactlyOnce", "flowing": false, "reason": "MissingGrant", "message": "grant\rit", "since": "t",
                "started": "t", "throughput": {"recordsPerSecond": 0, "bytesPerSecond": 0},
                "backlog": {"files": 1, "bytes": 1234, "oldestSeconds": 9}, "totals": totals, "setAside": [],
            },
        }))
        .unwrap()
    }

    #[test]
    fn one_pipeline() {
        insta::assert_snapshot!(one(&shown()));
    }

    #[test]
    fn its_agents_instead_of_the_worst() {
        insta::assert_snapshot!(one(&Shown { agents: Some(vec![agent_answer()]), ..shown() }));
    }

    #[test]
    fn many_pipelines() {
        let stale = Shown { name: "a-longer-name".to_owned(), generation: 4, ..shown() };
        insta::assert_snapshot!(list(&[shown(), stale]));
        assert_eq!(list(&[]), "no LogPipelines in this namespace\n");
    }
}

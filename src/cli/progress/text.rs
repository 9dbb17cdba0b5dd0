//! What `spoolway progress` looks like on a terminal. Pure.

use super::Row;
use crate::cli::table::{plain, table};
use crate::pipeline::pod::CheckpointTopic;
use crate::pipeline::quantity::age;

/// What follows from another checkpoint topic.
pub const CONSEQUENCE: &str = "
To accept it means: what this topic does not hold is forgotten. Every file that still is in the spool directory and
that it does not cover is read from its first byte again, so what was shipped of it is shipped twice. `spoolway plan`
shows from where each file would be read. If the old topic can be brought back, do that instead.
";

/// What follows from forgetting, before it is done.
pub const FORGETTING: &str = "
To forget it means: those of these files that still are in the spool directory under a name that matches are read from
their first byte again, as new files. An agent that runs under this id is fenced, and starts anew.

nothing is forgotten yet: add --yes to do it
";

/// What is kept, a line a file.
pub fn list(rows: &[Row], topic: &str) -> String {
    if rows.is_empty() {
        return format!("nothing is kept in {}\n", plain(topic));
    }
    let (good, bad): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.problem.is_none());
    let mut out = String::new();
    let lines = good.iter().filter_map(|row| {
        let kept = row.kept.as_ref()?;
        Some([
            plain(&row.agent),
            plain(&row.file_id),
            plain(row.name.as_deref().unwrap_or_default()),
            kept.generation.to_string(),
            kept.position.to_string(),
            kept.lines.to_string(),
            if kept.finished { "yes" } else { "no" }.to_owned(),
            age(kept.age_seconds),
            plain(&format!("{}/{}", kept.topic, kept.partition)),
        ])
    });
    if !good.is_empty() {
        let head = ["AGENT", "FILE ID", "NAME", "GENERATION", "POSITION", "LINES", "FINISHED", "AGE", "TO"];
        table(&mut out, head, lines);
    }
    if !bad.is_empty() {
        let lines = bad
            .iter()
            .map(|row| [plain(&row.agent), plain(&row.file_id), plain(row.problem.as_deref().unwrap_or_default())]);
        table(&mut out, ["AGENT", "FILE ID", "WHAT IS WRONG, AND WHAT TO DO"], lines);
    }
    // No line above.
    out.trim_start_matches('\n').to_owned()
}

/// The checkpoint topic as it was, and as it is.
pub fn change(name: &str, then: Option<&CheckpointTopic>, now: Option<&CheckpointTopic>) -> String {
    let shown = |topic: Option<&CheckpointTopic>, none: &str| match topic {
        Some(topic) => {
            let id = topic.topic_id.as_deref().unwrap_or("unknown");
            plain(&format!("{} with id {id} and {} partitions", topic.topic, topic.partitions))
        }
        None => none.to_owned(),
    };
    format!(
        "checkpoint topic {}\n  remembered  {}\n  there now   {}\n",
        plain(name),
        shown(then, "nothing"),
        shown(now, "no such topic; an agent makes one when it starts, if it may")
    )
}

/// In a pod: what a person runs.
pub fn by_hand(config_map: &str, command: &str) -> String {
    format!(
        "\nConfigMap {} remembers the topic, and only a person may change that. To accept it, run where kubectl is:\n\n{}\n\n\
         The agents take it up by themselves, as soon as the kubelet has brought it to them (a minute or two).\n",
        plain(config_map),
        plain(command)
    )
}

#[cfg(test)]
mod tests {
    use super::super::Shown;
    use super::*;

    fn row(agent: &str, id: &str, position: u64) -> Row {
        let kept = Shown {
            generation: 1,
            position,
            lines: position / 4,
            finished: position > 99,
            age_seconds: position,
            topic: "web".into(),
            partition: 3,
        };
        Row {
            transactional_id: format!("spoolway/local/shop/web/{agent}"),
            agent: agent.to_owned(),
            file_id: id.to_owned(),
            name: Some("a.log".to_owned()),
            kept: Some(kept),
            problem: None,
        }
    }

    #[test]
    fn what_is_kept_agent_by_agent() {
        let bad = Row {
            name: None,
            kept: None,
            problem: Some("progress of file x cannot be read (EOF);\nrun: spoolway progress forget".to_owned()),
            ..row("node-2", "x\u{1b}", 0)
        };
        let rows = [row("node-1", "000000000000000a", 40), row("pvc/claim/logs", "000000000000000b", 4000), bad];
        insta::assert_snapshot!(list(&rows, "spoolway-shop-checkpoints"));
        assert_eq!(list(&[], "c"), "nothing is kept in c\n");
        let json = serde_json::to_string(&rows[0]).unwrap();
        assert_eq!(
            json,
            r#"{"transactionalId":"spoolway/local/shop/web/node-1","agent":"node-1","fileId":"000000000000000a","name":"a.log","generation":1,"position":40,"lines":10,"finished":false,"ageSeconds":40,"topic":"web","partition":3}"#
        );
    }

    #[test]
    fn what_is_to_be_accepted() {
        let topic = |id: &str| CheckpointTopic { topic: "c".into(), topic_id: Some(id.into()), partitions: 50 };
        let page = [
            change("c", Some(&topic("A")), Some(&topic("B"))),
            CONSEQUENCE.to_owned(),
            by_hand("web-spoolway", r#"kubectl patch --patch '{"data":{"agent.json":"{\"a\":\"\\n\"}"}}'"#),
            change("c", Some(&topic("A")), None),
            FORGETTING.to_owned(),
        ];
        insta::assert_snapshot!(page.join("---\n"));
    }
}

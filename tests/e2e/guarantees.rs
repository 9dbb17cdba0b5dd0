//! The guarantees beside ExactlyOnce: what they promise, and that the report says which one holds.

use std::collections::BTreeSet;
use std::time::Duration;

use super::bed;
use super::job::{Job, Plan};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn at_least_once_leaves_nothing_out_whatever_is_killed() {
    let Some(bed) = bed::shared() else { return };
    let delivery = "guarantee: AtLeastOnce, commitInterval: 50ms, maxTransactionBytes: 64Ki";
    let job = Job::new(bed, "atleastonce", &Plan { delivery, ..Plan::default() }).slowly(100 << 10);
    let lines: Vec<String> = (0..100_000).map(|n| format!("line {n} of many")).collect();
    job.put(b"many.log", (lines.join("\n") + "\n").as_bytes());
    for _ in 0..4 {
        let agent = job.start();
        let report = agent.shipping();
        assert_eq!(report.guarantee, "AtLeastOnce");
        agent.kill();
    }
    job.start().drained(1, SOON);
    let found = job.lines();
    let set = |lines: &[String]| lines.iter().cloned().collect::<BTreeSet<String>>();
    assert!(set(&found) == set(&lines), "{} of {}", set(&found).len(), lines.len());
    assert!(found.len() < 2 * lines.len(), "progress was kept: {} records", found.len());
    assert_eq!(job.shown(), ["many.log.COMPLETED"]);
}

#[test]
fn best_effort_ships_with_the_acknowledgements_that_were_asked_for() {
    let Some(bed) = bed::shared() else { return };
    for acks in ["None", "Leader"] {
        let name = format!("besteffort{}", acks.to_lowercase());
        let sink = format!(", acks: {acks}");
        let plan = Plan { sink: &sink, delivery: "guarantee: BestEffort", ..Plan::default() };
        let job = Job::new(bed, &name, &plan);
        job.put(b"a.log", b"one\ntwo\n");
        job.put(b"b.log", b"three\n");
        let agent = job.start();
        let report = agent.drained(2, SOON);
        assert_eq!((report.guarantee.as_str(), report.totals.records), ("BestEffort", 3));
        let mut found = job.lines();
        found.sort();
        assert_eq!(found, ["one", "three", "two"], "with acks: {acks}, and nothing was in the way");
        agent.kill();
        assert_eq!(job.once().code, Some(0));
        assert_eq!(job.lines().len(), 3, "progress was kept");
    }
}

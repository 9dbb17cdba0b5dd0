//! How numbers reach the status, and how seldom, a sentence each.

use serde_json::json;
use spoolway::pipeline::report::{Backlog, FlowReason, SetAside, Throughput};

use super::api_server::{PIPELINE, STATUS};
use super::cluster::{Cluster, fails};
use super::{is, running};

async fn rate(cluster: &Cluster, seconds: u64, records: u64) -> usize {
    cluster.reports(2, |_, r| {
        r.throughput = Throughput { records_per_second: records, bytes_per_second: records * 100 };
        r.backlog = Backlog { files: records / 10, bytes: records * 1000, oldest_seconds: records };
        r.totals.records = 1_000_000 - records;
        if records > 0 {
            r.reason = FlowReason::Flowing;
        }
    });
    cluster.pass(seconds);
    cluster.reconcile().await.unwrap();
    let writes = cluster.server.writes();
    assert!(writes.iter().all(|path| path == STATUS), "{writes:?}");
    writes.len()
}

#[tokio::test]
async fn the_first_numbers_come_at_once_and_others_twice_a_minute() {
    let cluster = running().await;
    cluster.pass(100);
    assert_eq!(rate(&cluster, 0, 6_172).await, 1);
    let status = cluster.server.get(PIPELINE)["status"].clone();
    assert_eq!(status["throughput"], json!({"recordsPerSecond": 12_000, "bytesPerSecond": 1_200_000}));
    assert_eq!(status["backlog"], json!({"files": 1200, "bytes": 12_000_000, "oldestSeconds": 6172}));
    assert_eq!(status["totals"]["records"], 2 * (1_000_000 - 6_172), "exact");
    let summary =
        json!({"agents": "2/2", "rate": "12k/s", "byteRate": "1.2MB/s", "backlog": "12MB", "oldest": "102m"});
    assert_eq!(status["summary"], summary);
    is(&cluster, "FlowHealthy", ("True", "Flowing", ""));
    assert_eq!(rate(&cluster, 15, 20_000).await, 1);
    let mut written = 0;
    for turn in 1..=40 {
        written += rate(&cluster, 15, 20_000 + turn % 2 * 70_000).await;
    }
    assert_eq!(written, 20, "two a minute for ten minutes");
}

#[tokio::test]
async fn what_is_steady_is_not_written_although_its_totals_move() {
    let cluster = running().await;
    cluster.pass(100);
    rate(&cluster, 0, 10_000).await;
    for turn in 0..100 {
        assert_eq!(rate(&cluster, 15, 10_000 + turn % 7 * 100).await, 0, "within a tenth");
    }
}

#[tokio::test]
async fn the_end_of_a_backlog_is_shown_at_last() {
    let cluster = running().await;
    cluster.pass(100);
    for records in [10_000, 8_000, 5_000, 2_000, 500] {
        rate(&cluster, 5, records).await;
    }
    assert_eq!(rate(&cluster, 5, 0).await, 0, "the bucket is empty");
    assert_ne!(cluster.server.get(PIPELINE)["status"]["backlog"]["bytes"], 0);
    // Nobody reports anything new: the round comes again by its own timer.
    cluster.pass(60);
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes(), [STATUS]);
    let status = cluster.server.get(PIPELINE)["status"].clone();
    assert_eq!((&status["throughput"]["recordsPerSecond"], &status["backlog"]["bytes"]), (&json!(0), &json!(0)));
    assert_eq!(status["summary"]["rate"], "0/s");
    is(&cluster, "FlowHealthy", ("True", "Idle", ""));
}

#[tokio::test]
async fn a_round_whose_numbers_must_wait_comes_again_when_the_bucket_is_full() {
    let cluster = running().await;
    cluster.pass(100);
    rate(&cluster, 0, 10_000).await;
    rate(&cluster, 10, 20_000).await;
    cluster.reports(2, |_, r| r.throughput.records_per_second = 90_000);
    let action = cluster.reconcile().await.unwrap();
    assert_eq!(action, kube::runtime::controller::Action::requeue(std::time::Duration::from_secs(50)));
}

#[tokio::test]
async fn conditions_do_not_wait_for_the_bucket() {
    let cluster = running().await;
    rate(&cluster, 0, 10_000).await;
    rate(&cluster, 1, 20_000).await;
    assert_eq!(rate(&cluster, 1, 40_000).await, 0);
    cluster.reports(2, |_, r| fails(r, FlowReason::Fenced, "a successor took over"));
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes(), [STATUS]);
    is(&cluster, "FlowHealthy", ("False", "Fenced", ""));
}

#[tokio::test]
async fn words_that_change_with_every_report_are_no_more_than_numbers() {
    let cluster = running().await;
    cluster.pass(100);
    let mut written = 0;
    for turn in 0..20 {
        cluster.reports(2, |_, r| fails(r, FlowReason::KafkaUnavailable, &format!("attempt {turn}")));
        cluster.pass(3);
        cluster.reconcile().await.unwrap();
        written += cluster.server.writes().len();
    }
    assert!(written <= 4, "{written}");
}

#[tokio::test]
async fn counters_go_on_where_a_former_operator_stopped_and_when_a_node_goes_away() {
    let mut cluster = running().await;
    let count = |cluster: &Cluster, agents: usize, records: u64| {
        cluster.reports(agents, |_, r| {
            r.totals.records = records;
            r.throughput.records_per_second = records;
        });
        cluster.pass(100);
    };
    let shown = |cluster: &Cluster| cluster.server.get(PIPELINE)["status"]["totals"]["records"].clone();
    count(&cluster, 2, 100);
    cluster.reconcile().await.unwrap();
    assert_eq!(shown(&cluster), 200);
    cluster.restart();
    count(&cluster, 2, 30);
    cluster.reconcile().await.unwrap();
    assert_eq!(shown(&cluster), 200, "both agents were started anew as well, once more than anybody saw");
    count(&cluster, 2, 50);
    cluster.reconcile().await.unwrap();
    assert_eq!(shown(&cluster), 240);
    count(&cluster, 1, 80);
    cluster.reconcile().await.unwrap();
    assert!(shown(&cluster).as_i64().unwrap() >= 240);
}

#[tokio::test]
async fn a_status_has_a_bound_whatever_agents_say() {
    let cluster = Cluster::with_pipeline();
    cluster.reconcile().await.unwrap();
    cluster.pods(20, 20);
    for wild in ["\u{1b}\"\\\n", "\u{202e}", "😀", "\"", "\0"] {
        let text = wild.repeat(3000);
        cluster.reports(20, |n, r| {
            fails(r, FlowReason::CheckpointTopicChanged, &text);
            r.config_problem = text.clone();
            r.config_hash = if n % 2 == 0 { "x".into() } else { r.config_hash.clone() };
            (r.backlog.bytes, r.totals.records, r.throughput.bytes_per_second) = (u64::MAX, u64::MAX, u64::MAX);
            let file = SetAside { file: text.clone(), position: 0, reason: text.clone(), message: text.clone() };
            (r.set_aside, r.totals.set_aside) = (vec![file], u64::MAX);
        });
        for agent in cluster.table.agents.lock().unwrap().iter_mut() {
            agent.agent = format!("{}{text}", agent.agent);
            agent.lost = false;
        }
        cluster.pass(500);
        cluster.reconcile().await.unwrap();
        let status = cluster.server.get(PIPELINE)["status"].to_string();
        assert!(!status.contains(['\u{1b}', '\u{202e}', '\0']) && !status.contains("\\u001b"), "{status}");
        assert_eq!(cluster.server.get(PIPELINE)["status"]["worstAgents"].as_array().unwrap().len(), 5);
        for (_, note) in cluster.server.events() {
            assert!(note.len() <= 1024 && !note.chars().any(char::is_control));
        }
    }
    let longest = cluster.server.longest();
    assert!((4000..=8192).contains(&longest), "{longest}");
}

//! When a pipeline is ready, and when it is not any more, a sentence each.

use serde_json::json;
use spoolway::pipeline::report::{FlowReason, SetAside};

use super::api_server::{DAEMON_SET, PIPELINE, STATUS};
use super::cluster::{Cluster, fails};
use super::{is, running};

async fn at(cluster: &Cluster, seconds: u64) {
    cluster.pass(seconds);
    cluster.reconcile().await.unwrap();
}

#[tokio::test]
async fn agents_that_cannot_flow_for_a_moment_do_not_cost_ready_and_two_minutes_do() {
    let cluster = running().await;
    cluster.reports(2, |_, r| fails(r, FlowReason::KafkaUnavailable, "no broker answers"));
    at(&cluster, 0).await;
    is(&cluster, "FlowHealthy", ("False", "KafkaUnavailable", "on node-0: no broker answers"));
    is(&cluster, "Ready", ("True", "Idle", ""));
    at(&cluster, 119).await;
    is(&cluster, "Ready", ("True", "Idle", ""));
    at(&cluster, 1).await;
    is(&cluster, "Ready", ("False", "KafkaUnavailable", "no broker answers"));
    assert_eq!(cluster.condition("Stalled"), None, "it may come back by itself");
    let told = cluster.server.events();
    assert_eq!(told, [("PipelineNotReady".into(), "KafkaUnavailable: on node-0: no broker answers".into())]);
    cluster.table.agents.lock().unwrap().clear();
    at(&cluster, 1).await;
    is(&cluster, "FlowHealthy", ("Unknown", "ReportsMissing", ""));
    is(&cluster, "Ready", ("False", "KafkaUnavailable", "no broker answers"));
    cluster.reports(2, |_, _| {});
    at(&cluster, 0).await;
    is(&cluster, "FlowHealthy", ("True", "Idle", ""));
    is(&cluster, "Ready", ("False", "KafkaUnavailable", "can flow again"));
    at(&cluster, 119).await;
    is(&cluster, "Ready", ("False", "KafkaUnavailable", "can flow again"));
    at(&cluster, 1).await;
    is(&cluster, "Ready", ("True", "Idle", ""));
    assert_eq!(cluster.server.events(), [("PipelineReady".into(), "again".into())]);
}

#[tokio::test]
async fn one_agent_in_ten_may_fail() {
    let cluster = running().await;
    cluster.pods(10, 10);
    cluster.reports(10, |n, r| {
        if n == 3 {
            fails(r, FlowReason::SpoolDirectoryMissing, "make it");
        }
    });
    at(&cluster, 0).await;
    at(&cluster, 200).await;
    is(&cluster, "FlowHealthy", ("True", "Idle", "a few agents cannot flow: see status.worstAgents"));
    is(&cluster, "Ready", ("True", "Idle", "a few agents"));
    let status = cluster.server.get(PIPELINE)["status"].clone();
    assert_eq!(status["agents"]["failing"], 1);
    let worst = json!({"agent": "node-3", "reason": "SpoolDirectoryMissing", "message": "make it", "backlogBytes": 0, "setAside": 0});
    assert_eq!(status["worstAgents"], json!([worst]));
}

#[tokio::test]
async fn an_edit_that_never_flowed_is_not_ready_for_two_minutes_first() {
    let cluster = running().await;
    cluster.change(PIPELINE, |p| p["spec"]["sink"]["kafka"]["topic"] = "missing".into());
    at(&cluster, 0).await;
    is(&cluster, "Ready", ("Unknown", "RollingOut", ""));
    cluster.reports(2, |_, r| fails(r, FlowReason::TopicMissing, "create it"));
    at(&cluster, 5).await;
    is(&cluster, "ConfigApplied", ("True", "AllAgentsAcknowledged", ""));
    is(&cluster, "Ready", ("Unknown", "TopicMissing", "create it"));
    is(&cluster, "Reconciling", ("True", "TopicMissing", ""));
    at(&cluster, 120).await;
    is(&cluster, "Ready", ("False", "TopicMissing", "create it"));
    cluster.change(PIPELINE, |p| p["spec"]["sink"]["kafka"]["topic"] = "web-access".into());
    at(&cluster, 0).await;
    is(&cluster, "Ready", ("Unknown", "RollingOut", ""));
    cluster.reports(2, |_, _| {});
    at(&cluster, 5).await;
    is(&cluster, "Ready", ("True", "Idle", ""));
}

#[tokio::test]
async fn the_worst_reason_is_the_one_of_most_agents_and_the_worse_of_equals() {
    let cluster = running().await;
    cluster.pods(5, 5);
    cluster.reports(5, |n, r| {
        let reasons = [FlowReason::Fenced, FlowReason::MissingGrant, FlowReason::MissingGrant, FlowReason::Fenced];
        if let Some(reason) = reasons.get(n) {
            fails(r, *reason, "x");
        }
    });
    at(&cluster, 0).await;
    is(&cluster, "FlowHealthy", ("False", "MissingGrant", "on node-1: x"));
}

#[tokio::test]
async fn pods_that_are_not_ready_cost_ready_after_two_minutes_and_give_it_back_at_once() {
    let cluster = running().await;
    cluster.pods(2, 1);
    cluster.table.pods.lock().unwrap()[1].trouble = "CrashLoopBackOff".into();
    cluster.reports(1, |_, _| {});
    at(&cluster, 0).await;
    is(&cluster, "AgentsReady", ("False", "AgentsUnavailable", "(CrashLoopBackOff): kubectl get pods -n shop"));
    is(&cluster, "Ready", ("True", "Idle", ""));
    at(&cluster, 120).await;
    is(&cluster, "Ready", ("False", "AgentsUnavailable", "CrashLoopBackOff"));
    cluster.pods(2, 2);
    cluster.reports(2, |_, _| {});
    at(&cluster, 0).await;
    is(&cluster, "Ready", ("True", "Idle", ""));
}

#[tokio::test]
async fn all_pods_gone_for_a_moment_change_no_more_than_agents_ready() {
    let cluster = running().await;
    cluster.pods(2, 0);
    cluster.reports(0, |_, _| {});
    at(&cluster, 0).await;
    is(&cluster, "AgentsReady", ("False", "AgentsUnavailable", ""));
    is(&cluster, "ConfigApplied", ("True", "AllAgentsAcknowledged", ""));
    is(&cluster, "Ready", ("True", "Idle", ""));
    at(&cluster, 120).await;
    is(&cluster, "Ready", ("False", "AgentsUnavailable", ""));
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_named_after_two_minutes() {
    let cluster = Cluster::with_pipeline();
    cluster.reconcile().await.unwrap();
    cluster.pods(2, 0);
    cluster.table.pods.lock().unwrap().iter_mut().for_each(|pod| pod.trouble = "ImagePullBackOff".into());
    at(&cluster, 1).await;
    is(&cluster, "Ready", ("Unknown", "RollingOut", "ImagePullBackOff"));
    at(&cluster, 121).await;
    is(&cluster, "Ready", ("False", "AgentsUnavailable", "ImagePullBackOff"));
}

#[tokio::test]
async fn agents_that_do_not_take_an_edit_up_make_it_stuck_and_one_that_does_makes_it_go_on() {
    let cluster = running().await;
    cluster.change(PIPELINE, |p| p["spec"]["sink"]["kafka"]["topic"] = "other".into());
    let old = cluster.hash();
    at(&cluster, 0).await;
    at(&cluster, 299).await;
    is(&cluster, "ConfigApplied", ("False", "RollingOut", ""));
    is(&cluster, "Ready", ("Unknown", "RollingOut", ""));
    at(&cluster, 1).await;
    is(&cluster, "ConfigApplied", ("False", "RolloutStuck", "kubectl get pods -n shop"));
    is(&cluster, "Ready", ("False", "RolloutStuck", ""));
    is(&cluster, "Stalled", ("True", "RolloutStuck", ""));
    cluster.reports(2, |n, r| {
        if n == 0 {
            r.config_hash = old.clone();
        }
    });
    at(&cluster, 1).await;
    is(&cluster, "Ready", ("Unknown", "RollingOut", ""));
    assert_eq!(cluster.condition("Stalled"), None);
    cluster.reports(2, |_, _| {});
    at(&cluster, 1).await;
    is(&cluster, "Ready", ("True", "Idle", ""));
}

#[tokio::test]
async fn an_agent_that_refuses_what_it_was_given_says_why() {
    let cluster = running().await;
    cluster.change(PIPELINE, |p| p["spec"]["sink"]["kafka"]["topic"] = "other".into());
    let old = cluster.hash();
    at(&cluster, 0).await;
    cluster.reports(2, |_, r| {
        r.config_hash = old.clone();
        r.config_problem = "secret\n\u{1b}[31mkafka-user is missing".into();
    });
    at(&cluster, 1).await;
    is(&cluster, "ConfigApplied", ("False", "AgentRejected", r"secret\n\u{1b}[31mkafka-user is missing"));
    is(&cluster, "Ready", ("Unknown", "RollingOut", "kafka-user is missing"));
    at(&cluster, 300).await;
    is(&cluster, "Ready", ("False", "RolloutStuck", "kafka-user is missing"));
}

#[tokio::test]
async fn a_rolling_update_is_under_way_until_nine_of_ten_pods_are_new() {
    let cluster = running().await;
    cluster.change(PIPELINE, |p| p["spec"]["placement"]["daemonSet"]["runAsUser"] = 5.into());
    at(&cluster, 0).await;
    is(&cluster, "Ready", ("Unknown", "RollingOut", ""));
    cluster.pods(10, 10);
    cluster.reports(10, |_, _| {});
    cluster.change(DAEMON_SET, |set| set["status"]["updatedNumberScheduled"] = 8.into());
    at(&cluster, 1).await;
    is(&cluster, "ConfigApplied", ("False", "RollingOut", ""));
    is(&cluster, "Ready", ("Unknown", "RollingOut", ""));
    cluster.change(DAEMON_SET, |set| set["status"]["updatedNumberScheduled"] = 9.into());
    at(&cluster, 1).await;
    is(&cluster, "Ready", ("True", "Idle", ""));
}

#[tokio::test]
async fn reports_that_stop_coming_make_it_unknown_and_agents_ship_all_the_same() {
    let cluster = running().await;
    cluster.table.agents.lock().unwrap().iter_mut().for_each(|agent| agent.lost = true);
    at(&cluster, 1).await;
    is(&cluster, "Ready", ("True", "Idle", ""));
    at(&cluster, 45).await;
    for type_ in ["ConfigApplied", "FlowHealthy", "Ready"] {
        is(&cluster, type_, ("Unknown", "ReportsMissing", "they ship all the same"));
    }
    is(&cluster, "AgentsReady", ("True", "AllReady", ""));
    cluster.reports(2, |_, _| {});
    at(&cluster, 1).await;
    is(&cluster, "Ready", ("True", "Idle", ""));
}

#[tokio::test]
async fn where_nobody_listens_to_reports_nobody_can_tell() {
    let cluster = Cluster::with_pipeline();
    cluster.reconcile().await.unwrap();
    cluster.pods(2, 2);
    at(&cluster, 1).await;
    is(&cluster, "Ready", ("Unknown", "RollingOut", ""));
    at(&cluster, 46).await;
    is(&cluster, "Ready", ("Unknown", "ReportsMissing", ""));
}

#[tokio::test]
async fn a_pod_whose_report_is_still_to_come_makes_nothing_flap() {
    let cluster = running().await;
    cluster.table.pods.lock().unwrap()[1].uid = "pod-new".into();
    at(&cluster, 1).await;
    is(&cluster, "ConfigApplied", ("True", "AllAgentsAcknowledged", ""));
    is(&cluster, "Ready", ("True", "Idle", ""));
}

#[tokio::test]
async fn a_new_operator_keeps_what_was_said_until_most_agents_reported() {
    let mut cluster = running().await;
    cluster.reports(2, |_, r| r.totals.records = 500);
    at(&cluster, 100).await;
    let before = cluster.server.get(PIPELINE)["status"].clone();
    cluster.server.writes();
    cluster.table.agents.lock().unwrap().clear();
    cluster.restart();
    at(&cluster, 2).await;
    let mut after = cluster.server.get(PIPELINE)["status"].clone();
    // Counts of agents are true at once; what only reports can know stays.
    for field in ["conditions", "totals", "throughput", "backlog", "guarantee"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    cluster.reports(2, |_, r| r.totals.records = 510);
    at(&cluster, 3).await;
    at(&cluster, 60).await;
    after = cluster.server.get(PIPELINE)["status"].clone();
    assert_eq!(after["conditions"], before["conditions"]);
    cluster.table.agents.lock().unwrap().clear();
    cluster.restart();
    at(&cluster, 0).await;
    at(&cluster, 45).await;
    at(&cluster, 45).await;
    is(&cluster, "Ready", ("Unknown", "ReportsMissing", ""));
}

#[tokio::test]
async fn a_suspended_pipeline_is_ready_when_its_agents_stopped() {
    let cluster = running().await;
    cluster.change(PIPELINE, |p| p["spec"]["suspend"] = true.into());
    at(&cluster, 0).await;
    is(&cluster, "Ready", ("Unknown", "RollingOut", ""));
    cluster.reports(2, |_, r| (r.suspended, r.reason) = (true, FlowReason::Suspended));
    at(&cluster, 1).await;
    is(&cluster, "FlowHealthy", ("True", "Suspended", ""));
    is(&cluster, "Ready", ("True", "Suspended", ""));
    assert_eq!(cluster.condition("Reconciling"), None);
}

#[tokio::test]
async fn where_no_node_matches_there_is_nothing_to_run() {
    let cluster = Cluster::with_pipeline();
    cluster.reconcile().await.unwrap();
    cluster.pods(0, 0);
    at(&cluster, 1).await;
    is(&cluster, "AgentsReady", ("True", "NoMatchingNodes", "spec.placement.daemonSet"));
    is(&cluster, "Ready", ("True", "NothingToRun", ""));
}

#[tokio::test]
async fn a_pod_that_only_carries_the_label_is_no_agent() {
    let cluster = running().await;
    cluster.table.pods.lock().unwrap()[1].controller = Some(("ReplicaSet".into(), "web-access-spoolway".into()));
    at(&cluster, 1).await;
    assert_eq!(cluster.server.get(PIPELINE)["status"]["agents"]["reporting"], 1);
}

#[tokio::test]
async fn files_that_are_set_aside_cost_no_ready_and_are_told_once_for_each_agent_and_reason() {
    let mut cluster = running().await;
    let aside = |nodes: usize, names: &'static [&'static str]| {
        move |n: usize, report: &mut spoolway::pipeline::report::Report| {
            let names = if n < nodes { names } else { &[] };
            let file = |name: &&str| SetAside {
                file: (*name).to_owned(),
                position: 0,
                reason: "CompressedFile".into(),
                message: "unpack it".into(),
            };
            report.set_aside = names.iter().map(file).collect();
            report.totals.set_aside = names.len() as u64;
        }
    };
    cluster.reports(2, aside(1, &["a.gz"]));
    at(&cluster, 1).await;
    is(&cluster, "FlowHealthy", ("True", "FilesSetAside", "see status.worstAgents"));
    is(&cluster, "Ready", ("True", "FilesSetAside", ""));
    let note = "a.gz on node-0: CompressedFile: unpack it";
    assert_eq!(cluster.server.events(), [("FileSetAside".into(), note.into())]);
    cluster.reports(2, aside(1, &["a.gz", "b.gz"]));
    at(&cluster, 60).await;
    assert_eq!(cluster.server.events(), []);
    cluster.restart();
    at(&cluster, 1).await;
    assert_eq!(cluster.server.events(), [], "a former operator told it");
    cluster.reports(2, aside(2, &["a.gz"]));
    at(&cluster, 1).await;
    assert_eq!(cluster.server.events().len(), 1, "on another node");
}

#[tokio::test]
async fn an_agent_that_is_gone_does_not_count_although_it_is_still_in_the_table() {
    let cluster = running().await;
    cluster.reports(3, |n, r| {
        if n == 2 {
            fails(r, FlowReason::KafkaUnavailable, "x");
        }
    });
    at(&cluster, 1).await;
    is(&cluster, "FlowHealthy", ("True", "Idle", ""));
    assert_eq!(
        cluster.server.writes().iter().filter(|path| *path == STATUS).count(),
        1,
        "it is in the list of the worst"
    );
}

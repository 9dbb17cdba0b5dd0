//! What the operator does with a pipeline and its children, a sentence each.

use serde_json::{Value, json};
use spoolway::pipeline::pod::{CheckpointTopic, ReportTo};

use super::api_server::{CONFIG_MAP, DAEMON_SET, NAMESPACE, NETWORK_POLICY, PIPELINE, SERVICE_ACCOUNT, STATUS};
use super::cluster::Cluster;
use super::{is, running};

fn agent_file(cluster: &Cluster) -> Value {
    serde_json::from_str(cluster.server.get(CONFIG_MAP)["data"]["agent.json"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_new_pipeline_says_that_it_is_reconciling_and_gets_its_three_children() {
    let cluster = Cluster::with_pipeline();
    cluster.reconcile().await.unwrap();
    // The first status comes before the children, and the children bring a second one.
    assert_eq!(cluster.server.writes(), [STATUS, CONFIG_MAP, SERVICE_ACCOUNT, DAEMON_SET, STATUS]);
    is(&cluster, "Accepted", ("True", "Valid", ""));
    is(&cluster, "ConfigApplied", ("False", "RollingOut", ""));
    is(&cluster, "FlowHealthy", ("Unknown", "ReportsMissing", "no agent has reported yet"));
    is(&cluster, "Ready", ("Unknown", "RollingOut", ""));
    is(&cluster, "Reconciling", ("True", "RollingOut", ""));
    assert_eq!(cluster.condition("Stalled"), None);
    for child in [CONFIG_MAP, SERVICE_ACCOUNT, DAEMON_SET] {
        assert_eq!(cluster.server.get(child)["metadata"]["ownerReferences"][0]["uid"], "uid-1");
    }
}

#[tokio::test]
async fn the_very_first_write_says_that_it_is_under_way() {
    let cluster = Cluster::with_pipeline();
    cluster.server.refuse(Some((http::Method::PATCH, CONFIG_MAP, 500)));
    cluster.reconcile().await.unwrap_err();
    assert_eq!(cluster.server.writes(), [STATUS]);
    let types = cluster.server.get(PIPELINE)["status"]["conditions"].clone();
    let types: Vec<&str> = types.as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["Accepted", "Ready", "Reconciling"]);
    is(&cluster, "Ready", ("Unknown", "RollingOut", ""));
}

#[tokio::test]
async fn when_agents_acknowledge_and_can_flow_the_pipeline_is_ready() {
    let cluster = running().await;
    let status = cluster.server.get(PIPELINE)["status"].clone();
    assert_eq!(status["agents"], json!({"desired": 2, "ready": 2, "updated": 2, "reporting": 2, "failing": 0}));
    assert_eq!(status["summary"]["agents"], "2/2");
    assert_eq!(status["guarantee"], "ExactlyOnce");
    assert_eq!(status["transactionalIdPrefix"], "spoolway/blue/shop/web-access/");
    let types: Vec<_> = status["conditions"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
    assert_eq!(types, ["Accepted", "ConfigApplied", "AgentsReady", "FlowHealthy", "Ready"]);
}

#[tokio::test]
async fn nothing_changed_nothing_is_written_and_hardly_anything_read() {
    let cluster = running().await;
    cluster.reconcile().await.unwrap();
    cluster.server.writes();
    cluster.server.reads();
    for _ in 0..100 {
        cluster.pass(2);
        cluster.reconcile().await.unwrap();
    }
    assert_eq!(cluster.server.writes(), [""; 0]);
    assert_eq!(cluster.server.events(), []);
    assert!(cluster.server.reads() <= 10, "reports wake it, and do not make it look at its children");
    for _ in 0..100 {
        cluster.touch();
        cluster.reconcile().await.unwrap();
    }
    assert_eq!(cluster.server.writes(), [""; 0]);
}

#[tokio::test]
async fn what_others_add_to_a_child_stays_and_what_they_change_is_put_back() {
    let cluster = running().await;
    cluster.change(DAEMON_SET, |set| set["metadata"]["labels"]["team"] = "a".into());
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes(), [""; 0]);
    cluster.change(DAEMON_SET, |set| set["spec"]["template"]["spec"]["containers"][0]["image"] = "other:1".into());
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes()[0], DAEMON_SET);
    let set = cluster.server.get(DAEMON_SET);
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "spoolway:1");
    assert_eq!(set["metadata"]["labels"]["team"], "a");
}

#[tokio::test]
async fn a_child_that_is_deleted_is_made_again() {
    let cluster = running().await;
    for child in [CONFIG_MAP, SERVICE_ACCOUNT, DAEMON_SET] {
        cluster.server.remove(child);
        cluster.touch();
        cluster.reconcile().await.unwrap();
        assert_eq!(cluster.server.writes()[0], child);
    }
}

#[tokio::test]
async fn drift_that_no_watch_showed_is_found_within_minutes() {
    let cluster = running().await;
    cluster.server.remove(SERVICE_ACCOUNT);
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes(), [""; 0]);
    cluster.pass(300);
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes(), [SERVICE_ACCOUNT]);
}

#[tokio::test]
async fn a_field_that_is_no_longer_wanted_is_a_difference_too() {
    let cluster = running().await;
    cluster.change(PIPELINE, |p| p["spec"]["placement"] = json!({"daemonSet": {}}));
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes()[..2], [CONFIG_MAP, DAEMON_SET]);
}

#[tokio::test]
async fn an_edit_of_what_is_shipped_rolls_nothing_and_an_edit_of_the_pod_does() {
    let cluster = running().await;
    let hash = cluster.hash();
    cluster.change(PIPELINE, |p| {
        p["spec"]["source"]["spoolDir"]["settleTime"] = "9s".into();
        p["spec"]["sink"]["kafka"]["topic"] = "other".into();
        p["spec"]["delivery"] = json!({"commitInterval": "2s"});
        p["metadata"]["annotations"] = json!({"a": "b"});
        p["spec"]["suspend"] = true.into();
    });
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes(), [CONFIG_MAP, STATUS], "the DaemonSet is not touched");
    assert_ne!(cluster.hash(), hash);
    is(&cluster, "Ready", ("Unknown", "RollingOut", ""));
    let shape = agent_file(&cluster)["shape"].clone();
    cluster.change(PIPELINE, |p| p["spec"]["placement"]["daemonSet"]["maxUnavailable"] = 1.into());
    cluster.reconcile().await.unwrap();
    assert_eq!(agent_file(&cluster)["shape"], shape, "how it rolls is not what it rolls to");
    cluster.change(PIPELINE, |p| p["spec"]["placement"]["daemonSet"]["runAsUser"] = 1000.into());
    cluster.reconcile().await.unwrap();
    assert_ne!(agent_file(&cluster)["shape"], shape);
    let pod = cluster.server.get(DAEMON_SET)["spec"]["template"]["spec"].clone();
    let args: Vec<&str> =
        pod["containers"][0]["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    assert_eq!(args[args.len() - 2..], ["--shape", agent_file(&cluster)["shape"].as_str().unwrap()]);
}

#[tokio::test]
async fn an_edit_of_topic_or_path_is_warned_about_as_long_as_it_is_the_last() {
    let cluster = running().await;
    cluster.change(PIPELINE, |p| {
        p["spec"]["sink"]["kafka"]["topic"] = "other".into();
        p["spec"]["source"]["spoolDir"]["path"] = "/var/spool/spoolway/shop/other".into();
    });
    for _ in 0..3 {
        cluster.reconcile().await.unwrap();
        is(&cluster, "Accepted", ("True", "Valid", "spec.sink.kafka.topic changed: "));
        is(&cluster, "Accepted", ("True", "Valid", "spec.source.spoolDir.path changed: "));
    }
    cluster.change(PIPELINE, |p| p["spec"]["source"]["spoolDir"]["settleTime"] = "9s".into());
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.condition("Accepted").unwrap().2, "");
}

#[tokio::test]
async fn the_name_of_the_cluster_is_frozen_and_outlives_its_config_map() {
    let mut cluster = running().await;
    cluster.configure(|config| config.cluster_name = Some("green".into()));
    for lost in [false, true] {
        if lost {
            cluster.server.remove(CONFIG_MAP);
            cluster.touch();
        }
        cluster.reconcile().await.unwrap();
        assert_eq!(agent_file(&cluster)["cluster"], "blue");
        assert_eq!(
            cluster.server.get(PIPELINE)["status"]["transactionalIdPrefix"],
            "spoolway/blue/shop/web-access/"
        );
    }
}

#[tokio::test]
async fn what_the_checkpoint_topic_is_like_is_pinned_once_all_who_saw_it_agree() {
    let cluster = running().await;
    let topic = |id: &str| CheckpointTopic {
        topic: "spoolway-shop-checkpoints".into(),
        topic_id: Some(id.into()),
        partitions: 50,
    };
    cluster.reports(2, |n, report| report.checkpoint_topic = Some(topic(["a", "b"][n])));
    cluster.reconcile().await.unwrap();
    assert_eq!(agent_file(&cluster).get("checkpointTopic"), None, "they disagree");
    // Brokers may tell the id later than the rest.
    cluster
        .reports(2, |_, report| report.checkpoint_topic = Some(CheckpointTopic { topic_id: None, ..topic("a") }));
    cluster.reconcile().await.unwrap();
    let nameless = json!({"topic": "spoolway-shop-checkpoints", "partitions": 50});
    assert_eq!(agent_file(&cluster)["checkpointTopic"], nameless);
    assert_eq!(cluster.server.writes(), [CONFIG_MAP]);
    cluster.reports(2, |n, report| report.checkpoint_topic = (n == 0).then(|| topic("a")));
    cluster.reconcile().await.unwrap();
    let pinned = json!({"topic": "spoolway-shop-checkpoints", "topicId": "a", "partitions": 50});
    assert_eq!(agent_file(&cluster)["checkpointTopic"], pinned);
    assert_eq!(cluster.server.writes(), [CONFIG_MAP], "and no pod is replaced for it");
    cluster.reports(2, |_, report| report.checkpoint_topic = Some(topic("b")));
    cluster.reconcile().await.unwrap();
    assert_eq!(agent_file(&cluster)["checkpointTopic"], pinned, "never again");
}

#[tokio::test]
async fn agents_are_told_where_to_report_when_somebody_listens() {
    let cluster = running().await;
    let to = ReportTo { url: "https://spoolway-report.ops.svc:443/v1/reports".into(), ca: "PEM".into() };
    *cluster.table.report_to.lock().unwrap() = Some(to.clone());
    cluster.reconcile().await.unwrap();
    assert_eq!(agent_file(&cluster)["reportTo"], serde_json::to_value(to).unwrap());
    assert_eq!(cluster.server.writes(), [CONFIG_MAP]);
}

#[tokio::test]
async fn a_network_policy_is_made_where_it_is_asked_for_and_pruned_where_it_is_not() {
    let mut cluster = running().await;
    cluster.configure(|config| config.network_policy = true);
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes(), [NETWORK_POLICY]);
    cluster.configure(|config| config.network_policy = false);
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes(), [format!("DELETE {NETWORK_POLICY}")]);
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes(), [""; 0]);
}

#[tokio::test]
async fn an_object_of_that_name_that_is_not_ours_is_never_touched() {
    for taken in [CONFIG_MAP, SERVICE_ACCOUNT, DAEMON_SET, NETWORK_POLICY] {
        let cluster = Cluster::with_pipeline();
        let theirs = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "web-access-spoolway"}});
        cluster.server.put(taken, theirs.clone());
        cluster.reconcile().await.unwrap();
        assert_eq!(cluster.server.writes(), [STATUS], "none of them, or the agents would run with half of it");
        assert_eq!(cluster.server.get(taken), theirs);
        is(&cluster, "Accepted", ("False", "NameTaken", "web-access-spoolway is there already"));
        is(&cluster, "Stalled", ("True", "NameTaken", ""));
    }
}

#[tokio::test]
async fn children_of_a_deleted_pipeline_of_the_same_name_are_waited_for() {
    let cluster = running().await;
    cluster.change(PIPELINE, |p| {
        p["metadata"]["uid"] = "uid-2".into();
        p["status"] = json!(null);
    });
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes(), [STATUS, STATUS]);
    is(&cluster, "Ready", ("Unknown", "RollingOut", ""));
    for child in [CONFIG_MAP, SERVICE_ACCOUNT, DAEMON_SET] {
        cluster.server.remove(child);
    }
    cluster.touch();
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes()[..3], [CONFIG_MAP, SERVICE_ACCOUNT, DAEMON_SET]);
    assert_eq!(cluster.server.get(DAEMON_SET)["metadata"]["ownerReferences"][0]["uid"], "uid-2");
}

#[tokio::test]
async fn a_bad_edit_leaves_the_agents_alone_and_names_every_problem() {
    let cluster = running().await;
    cluster.change(PIPELINE, |p| {
        p["spec"]["source"]["spoolDir"]["path"] = "/var/spool/spoolway/bank/web".into();
        p["spec"]["source"]["spoolDir"]["includePattern"] = "[".into();
    });
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes(), [STATUS]);
    for type_ in ["Accepted", "Ready", "Stalled"] {
        for part in ["spec.source.spoolDir.path: ", "spec.source.spoolDir.includePattern: "] {
            let status = if type_ == "Stalled" { "True" } else { "False" };
            is(&cluster, type_, (status, "HostPathNotAllowed", part));
        }
    }
    is(&cluster, "AgentsReady", ("True", "AllReady", ""));
    is(&cluster, "FlowHealthy", ("True", "Idle", ""));
    let status = cluster.server.get(PIPELINE)["status"].clone();
    assert_eq!(status["summary"]["agents"], "2/2");
    assert_eq!(status["observedGeneration"], 2);
    let applied = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "ConfigApplied").unwrap();
    assert_eq!(
        (&applied["status"], &applied["observedGeneration"]),
        (&json!("True"), &json!(1)),
        "the last good one"
    );
    cluster.change(PIPELINE, |p| {
        p["spec"]["source"]["spoolDir"]["path"] = "/var/spool/spoolway/shop/web".into();
        p["spec"]["source"]["spoolDir"]["includePattern"] = "^.*$".into();
    });
    cluster.reconcile().await.unwrap();
    is(&cluster, "Ready", ("True", "Idle", ""));
    assert_eq!(cluster.condition("Stalled"), None);
}

#[tokio::test]
async fn a_namespace_that_forbids_host_paths_is_named_with_the_command_that_allows_them() {
    let cluster = Cluster::with_pipeline();
    for level in ["restricted", "baseline"] {
        cluster.change(NAMESPACE, |n| n["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = level.into());
        cluster.reconcile().await.unwrap();
        let command = "kubectl label --overwrite namespace shop pod-security.kubernetes.io/enforce=privileged";
        is(&cluster, "Accepted", ("False", "NamespaceForbidsHostPath", command));
    }
    assert_eq!(cluster.server.get(DAEMON_SET), Value::Null);
    let enforce = "pod-security.kubernetes.io/enforce";
    cluster.change(NAMESPACE, |n| n["metadata"]["labels"][enforce] = "privileged".into());
    cluster.reconcile().await.unwrap();
    is(&cluster, "Accepted", ("True", "Valid", ""));
    assert_ne!(cluster.server.get(DAEMON_SET), Value::Null);
}

#[tokio::test]
async fn a_pipeline_that_is_being_deleted_is_left_alone() {
    let cluster = running().await;
    cluster.change(PIPELINE, |p| {
        p["metadata"]["deletionTimestamp"] = "2020-01-01T00:00:00Z".into();
        p["spec"]["sink"]["kafka"]["topic"] = "other".into();
    });
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes(), [""; 0]);
}

#[tokio::test]
async fn a_status_that_somebody_else_wrote_is_put_right() {
    let cluster = running().await;
    cluster.change(PIPELINE, |p| p["status"]["conditions"] = json!([]));
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes(), [""; 0], "what we wrote may still be on its way to us");
    cluster.pass(61);
    cluster.reconcile().await.unwrap();
    assert_eq!(cluster.server.writes(), [STATUS]);
    is(&cluster, "Ready", ("True", "Idle", ""));
}

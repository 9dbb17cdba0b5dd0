//! What the operator does, a sentence each.

use serde_json::json;

use super::api_server::{ApiServer, CONFIG_MAP, DAEMON_SET, PIPELINE, SERVICE_ACCOUNT, STATUS};

type Three<'a> = (&'a str, &'a str, &'a str);

fn is(server: &ApiServer, type_: &str, wanted: Three<'_>) {
    let found = server.condition(type_).unwrap_or_else(|| panic!("no {type_}"));
    assert_eq!((&*found.0, &*found.1), (wanted.0, wanted.1), "{type_}: {}", found.2);
    assert!(found.2.contains(wanted.2), "{type_}: {}", found.2);
}

/// The sample, its children made, two agents ready.
async fn running() -> ApiServer {
    let server = ApiServer::with_pipeline();
    server.reconcile().await.unwrap();
    server.agents(2, 2);
    server.reconcile().await.unwrap();
    is(&server, "Ready", ("True", "AllReady", ""));
    server.writes();
    server
}

#[tokio::test]
async fn a_new_pipeline_says_that_it_is_reconciling_and_gets_its_three_children() {
    let server = ApiServer::with_pipeline();
    server.reconcile().await.unwrap();
    // The first status comes before the children, and the children bring a second one: then there are counts.
    assert_eq!(server.writes()[..4], [STATUS, CONFIG_MAP, SERVICE_ACCOUNT, DAEMON_SET]);
    is(&server, "Accepted", ("True", "Valid", ""));
    is(&server, "Ready", ("Unknown", "RollingOut", "agents are being started"));
    is(&server, "Reconciling", ("True", "RollingOut", ""));
    assert_eq!(server.condition("Stalled"), None);
    for child in [CONFIG_MAP, SERVICE_ACCOUNT, DAEMON_SET] {
        assert_eq!(server.get(child)["metadata"]["ownerReferences"][0]["uid"], "uid-1");
    }
}

#[tokio::test]
async fn when_all_agents_are_ready_so_is_the_pipeline_and_what_nobody_knows_is_not_told() {
    let server = running().await;
    let status = server.get(PIPELINE)["status"].clone();
    assert_eq!(status["agents"], json!({"desired": 2, "ready": 2, "updated": 2}));
    assert_eq!(status["summary"], json!({"agents": "2/2"}));
    assert_eq!(status["guarantee"], "ExactlyOnce");
    let types: Vec<_> = status["conditions"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
    assert_eq!(types, ["Accepted", "AgentsReady", "Ready"]);
}

#[tokio::test]
async fn nothing_changed_nothing_is_written() {
    let server = running().await;
    for _ in 0..100 {
        server.reconcile().await.unwrap();
    }
    assert_eq!(server.writes(), [""; 0]);
}

#[tokio::test]
async fn what_others_add_to_a_child_stays_and_what_they_change_is_put_back() {
    let server = running().await;
    server.change(DAEMON_SET, |set| set["metadata"]["labels"]["team"] = "a".into());
    server.reconcile().await.unwrap();
    assert_eq!(server.writes(), [""; 0]);
    server.change(DAEMON_SET, |set| set["spec"]["template"]["spec"]["containers"][0]["image"] = "other:1".into());
    server.reconcile().await.unwrap();
    assert_eq!(server.writes()[0], DAEMON_SET);
    assert_eq!(server.get(DAEMON_SET)["spec"]["template"]["spec"]["containers"][0]["image"], "spoolway:1");
    assert_eq!(server.get(DAEMON_SET)["metadata"]["labels"]["team"], "a");
}

#[tokio::test]
async fn a_field_that_is_no_longer_wanted_is_a_difference_too() {
    let server = running().await;
    server.change(PIPELINE, |p| p["spec"]["placement"] = json!({"daemonSet": {}}));
    server.reconcile().await.unwrap();
    assert_eq!(server.writes()[0], DAEMON_SET);
}

#[tokio::test]
async fn an_object_of_that_name_that_is_not_ours_is_never_touched() {
    for taken in [CONFIG_MAP, SERVICE_ACCOUNT, DAEMON_SET] {
        let server = ApiServer::with_pipeline();
        let theirs = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "web-access-spoolway"}});
        server.put(taken, theirs.clone());
        server.reconcile().await.unwrap();
        assert_eq!(server.writes(), [STATUS], "none of the three, or the agents would run with half of it");
        assert_eq!(server.get(taken), theirs);
        is(&server, "Accepted", ("False", "NameTaken", "web-access-spoolway is there already"));
        is(&server, "Stalled", ("True", "NameTaken", ""));
    }
}

#[tokio::test]
async fn children_of_a_deleted_pipeline_of_the_same_name_are_waited_for() {
    let server = running().await;
    server.change(PIPELINE, |p| {
        p["metadata"]["uid"] = "uid-2".into();
        p["status"] = json!(null);
    });
    server.reconcile().await.unwrap();
    assert_eq!(server.writes(), [STATUS]);
    is(&server, "Ready", ("Unknown", "RollingOut", ""));
}

#[tokio::test]
async fn a_bad_edit_leaves_the_agents_alone_and_names_every_problem() {
    let server = running().await;
    server.change(PIPELINE, |p| {
        p["spec"]["source"]["spoolDir"]["path"] = "/var/spool/spoolway/bank/web".into();
        p["spec"]["sink"]["kafka"]["partitioner"] = "RoundRobin".into();
        p["spec"]["suspend"] = true.into();
    });
    server.reconcile().await.unwrap();
    assert_eq!(server.writes(), [STATUS]);
    for type_ in ["Accepted", "Ready"] {
        for part in ["spec.source.spoolDir.path: ", "spec.sink.kafka.partitioner: ", "spec.suspend: "] {
            is(&server, type_, ("False", "HostPathNotAllowed", part));
        }
    }
    is(&server, "AgentsReady", ("True", "AllReady", ""));
    assert_eq!(server.get(PIPELINE)["status"]["summary"]["agents"], "2/2");
    assert_eq!(server.get(PIPELINE)["status"]["observedGeneration"], 2);
}

#[tokio::test]
async fn an_agent_that_is_gone_for_a_moment_does_not_cost_ready_and_one_that_stays_away_does() {
    let server = running().await;
    server.agents(2, 1);
    server.reconcile().await.unwrap();
    is(&server, "AgentsReady", ("False", "AgentsUnavailable", "kubectl get pods -n shop"));
    is(&server, "Ready", ("True", "AgentsUnavailable", ""));
    server.change(PIPELINE, |p| {
        for condition in p["status"]["conditions"].as_array_mut().unwrap() {
            condition["lastTransitionTime"] = "2020-01-01T00:00:00Z".into();
        }
    });
    server.reconcile().await.unwrap();
    is(&server, "Ready", ("False", "AgentsUnavailable", ""));
}

#[tokio::test]
async fn a_pipeline_that_is_being_deleted_is_left_alone() {
    let server = running().await;
    server.change(PIPELINE, |p| {
        p["metadata"]["deletionTimestamp"] = "2020-01-01T00:00:00Z".into();
        p["spec"]["sink"]["kafka"]["topic"] = "other".into();
    });
    server.reconcile().await.unwrap();
    assert_eq!(server.writes(), [""; 0]);
}

//! What happens when the API server refuses or is silent, a sentence each.

use std::time::Duration;

use http::Method;
use kube::runtime::controller::Action;

use super::api_server::{
    CONFIG_MAP, DAEMON_SET, EVENTS, NAMESPACE, NETWORK_POLICY, PIPELINE, SERVICE_ACCOUNT, STATUS,
};
use super::cluster::Cluster;
use super::{is, running};

/// Every request that a round may send.
const REQUESTS: &[(&str, &str)] = &[
    ("GET", CONFIG_MAP),
    ("GET", SERVICE_ACCOUNT),
    ("GET", DAEMON_SET),
    ("GET", NETWORK_POLICY),
    ("GET", NAMESPACE),
    ("PATCH", CONFIG_MAP),
    ("PATCH", SERVICE_ACCOUNT),
    ("PATCH", DAEMON_SET),
    ("PATCH", STATUS),
];

#[tokio::test]
async fn a_request_that_is_refused_ends_the_round_and_the_next_one_goes_on_from_there() {
    for (method, path) in REQUESTS {
        for code in [403, 409, 500, 503] {
            let cluster = Cluster::with_pipeline();
            cluster.server.refuse(Some((method.parse().unwrap(), path, code)));
            let failure = cluster.reconcile().await.unwrap_err();
            let kube::Error::Api(status) = (match failure {
                spoolway::operator::reconcile::Failure::Api(error) => error,
                other => panic!("{other}"),
            }) else {
                panic!("{method} {path}")
            };
            assert_eq!(status.code, code, "{method} {path}");
            cluster.server.refuse(None);
            cluster.reconcile().await.unwrap();
            cluster.pods(1, 1);
            cluster.reports(1, |_, _| {});
            cluster.reconcile().await.unwrap();
            is(&cluster, "Ready", ("True", "Idle", ""));
        }
    }
}

#[tokio::test]
async fn failures_are_waited_out_longer_and_longer_and_forgotten_after_a_success() {
    let cluster = Cluster::with_pipeline();
    cluster.server.refuse(Some((Method::GET, DAEMON_SET, 500)));
    let mut waits = Vec::new();
    for _ in 0..11 {
        let failure = cluster.reconcile().await.unwrap_err();
        waits.push(cluster.again(&failure));
    }
    for (wait, seconds) in waits.iter().zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]) {
        let least = Duration::from_secs(seconds);
        let fits = (0..=1000).any(|part| *wait == Action::requeue(least + least.mul_f64(f64::from(part) / 5000.0)));
        assert!(fits, "{wait:?} after {seconds} s");
    }
    cluster.server.refuse(None);
    cluster.reconcile().await.unwrap();
    cluster.server.refuse(Some((Method::GET, DAEMON_SET, 500)));
    cluster.touch();
    let failure = cluster.reconcile().await.unwrap_err();
    assert_eq!(cluster.again(&failure), waits[0]);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_never_answers_does_not_hold_a_round_for_ever() {
    for (method, path) in REQUESTS {
        let cluster = Cluster::with_pipeline();
        cluster.server.refuse(Some((method.parse().unwrap(), path, 0)));
        let failure = cluster.reconcile().await.unwrap_err();
        assert_eq!(failure.to_string(), "the API server did not answer within 60 s", "{method} {path}");
        cluster.server.refuse(None);
        cluster.reconcile().await.unwrap();
        is(&cluster, "Ready", ("Unknown", "RollingOut", ""));
    }
}

#[tokio::test]
async fn a_status_that_is_refused_for_what_it_is_is_followed_by_a_shorter_one() {
    for code in [413, 422] {
        let cluster = running().await;
        cluster.server.refuse(Some((Method::PATCH, STATUS, code)));
        cluster.change(PIPELINE, |p| p["spec"]["sink"]["kafka"]["topic"] = "spoolway-shop-receipts".into());
        cluster.reconcile().await.unwrap_err();
        cluster.reconcile().await.unwrap_err();
        cluster.server.refuse(None);
        cluster.reconcile().await.unwrap();
        is(&cluster, "Accepted", ("False", "InvalidSpec", "spec.sink.kafka.topic"));
        assert!(cluster.condition("Accepted").unwrap().2.len() <= 64);
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_sent_holds_nothing_up() {
    let cluster = Cluster::with_pipeline();
    cluster.reconcile().await.unwrap();
    cluster.pods(1, 1);
    cluster.reports(1, |_, _| {});
    cluster.server.refuse(Some((Method::POST, EVENTS, 403)));
    cluster.reconcile().await.unwrap();
    is(&cluster, "Ready", ("True", "Idle", ""));
    assert_eq!(cluster.server.events(), []);
}

#[tokio::test]
async fn a_network_policy_that_somebody_deleted_first_is_pruned_all_the_same() {
    let mut cluster = running().await;
    cluster.configure(|config| config.network_policy = true);
    cluster.reconcile().await.unwrap();
    cluster.configure(|config| config.network_policy = false);
    cluster.server.refuse(Some((Method::DELETE, NETWORK_POLICY, 404)));
    cluster.reconcile().await.unwrap();
    cluster.server.refuse(Some((Method::DELETE, NETWORK_POLICY, 409)));
    cluster.touch();
    cluster.reconcile().await.unwrap_err();
}

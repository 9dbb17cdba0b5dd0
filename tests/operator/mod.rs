//! The operator against a fake API server, as sentences; and what it makes of the samples, as golden files.

mod api_server;
mod bad_manifests;
mod cluster;
mod failures;
mod flow;
mod golden;
mod numbers;
mod scenarios;
mod statuses;

use cluster::Cluster;

/// Holds a condition against status, reason and a part of its message.
fn is(cluster: &Cluster, type_: &str, (status, reason, part): (&str, &str, &str)) {
    let found = cluster.condition(type_).unwrap_or_else(|| panic!("no {type_}"));
    assert_eq!((&*found.0, &*found.1), (status, reason), "{type_}: {}", found.2);
    assert!(found.2.contains(part), "{type_}: {}", found.2);
}

/// The sample, its children made, two agents ready that acknowledged; nothing to ship.
async fn running() -> Cluster {
    let cluster = Cluster::with_pipeline();
    cluster.reconcile().await.unwrap();
    cluster.pods(2, 2);
    cluster.reports(2, |_, _| {});
    cluster.reconcile().await.unwrap();
    is(&cluster, "Ready", ("True", "Idle", ""));
    cluster.server.writes();
    cluster.server.events();
    cluster
}

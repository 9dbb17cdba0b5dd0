//! What `kubectl get -o yaml` shows of a pipeline's status in each situation, as golden files.

use spoolway::pipeline::report::{Backlog, FlowReason, SetAside, Throughput};
use spoolway::yaml;

use super::api_server::{NAMESPACE, PIPELINE};
use super::cluster::{Cluster, fails};
use super::running;

fn page(cluster: &Cluster) -> String {
    yaml::write(&cluster.server.get(PIPELINE)["status"])
}

#[tokio::test]
async fn under_way() {
    let cluster = Cluster::with_pipeline();
    cluster.reconcile().await.unwrap();
    insta::assert_snapshot!(page(&cluster));
}

#[tokio::test]
async fn flowing() {
    let cluster = running().await;
    cluster.reports(2, |_, r| {
        r.reason = FlowReason::Flowing;
        r.throughput = Throughput { records_per_second: 6_100, bytes_per_second: 1_700_000 };
        r.backlog = Backlog { files: 3, bytes: 600_000_000, oldest_seconds: 40 };
        (r.totals.records, r.totals.bytes, r.totals.files) = (123_456, 34_567_890, 12);
    });
    cluster.pass(100);
    cluster.reconcile().await.unwrap();
    insta::assert_snapshot!(page(&cluster));
}

#[tokio::test]
async fn kafka_is_away_and_one_node_has_files_that_need_a_person() {
    let cluster = running().await;
    cluster.reports(2, |n, r| {
        let said = "no broker answers: kafka-1:9092; check bootstrapServers and the network";
        fails(r, FlowReason::KafkaUnavailable, said);
        r.backlog = Backlog { files: 2, bytes: 1_234_567, oldest_seconds: 300 };
        if n == 1 {
            let (file, reason) = ("x\\u{1b}.log.gz".to_owned(), "CompressedFile".to_owned());
            r.set_aside = vec![SetAside { file, position: 0, reason, message: "unpack it".into() }];
            r.totals.set_aside = 1;
        }
    });
    cluster.reconcile().await.unwrap();
    cluster.pass(130);
    cluster.reconcile().await.unwrap();
    insta::assert_snapshot!(page(&cluster));
}

#[tokio::test]
async fn refused_and_still_running() {
    let cluster = running().await;
    cluster.change(PIPELINE, |p| {
        p["spec"]["source"]["spoolDir"]["path"] = "/etc/shadow.d".into();
        p["spec"]["source"]["spoolDir"]["includePattern"] = "[".into();
    });
    cluster
        .change(NAMESPACE, |n| n["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "baseline".into());
    cluster.reconcile().await.unwrap();
    insta::assert_snapshot!(page(&cluster));
}

#[tokio::test]
async fn reports_missing() {
    let cluster = running().await;
    cluster.table.agents.lock().unwrap().iter_mut().for_each(|agent| agent.lost = true);
    for _ in 0..2 {
        cluster.pass(50);
        cluster.reconcile().await.unwrap();
    }
    insta::assert_snapshot!(page(&cluster));
}

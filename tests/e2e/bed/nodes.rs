//! Which node leads, and whether all are in step: for tests on a cluster of three. I/O.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::Metadata;

use super::Bed;
use crate::e2e::until;

impl Bed {
    /// Waits until every partition of every topic has a leader and all its replicas.
    pub fn in_sync(&self) {
        let limit = Duration::from_secs(120);
        until("all replicas are in sync", limit, || {
            let all = self.metadata(None)?;
            let mut partitions = all.topics().iter().flat_map(|topic| topic.partitions());
            let is_whole = partitions.all(|p| p.leader() > 0 && p.isr().len() == p.replicas().len());
            (is_whole && all.brokers().len() == usize::from(self.nodes)).then_some(())
        });
    }

    /// The node that leads a topic's partition; `None` while none does.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let found = self.metadata(Some(topic))?;
        let partition = found.topics().first()?.partitions().iter().find(|p| p.id() == partition)?.leader();
        (partition > 0).then_some(partition)
    }

    /// Has another node lead a topic's partition, in good order: by its preferred leader.
    pub fn lead(&self, topic: &str, partition: i32, node: i32) {
        let others = (1..=i32::from(self.nodes)).filter(|other| *other != node);
        let replicas: Vec<i32> = [node].into_iter().chain(others).collect();
        let wanted = serde_json::json!({"topic": topic, "partition": partition, "replicas": replicas});
        let plan = self.home.join("reassignment.json");
        std::fs::write(&plan, serde_json::json!({"version": 1, "partitions": [wanted]}).to_string()).unwrap();
        let tools = "org.apache.kafka.tools";
        let (assign, elect) =
            (format!("{tools}.reassign.ReassignPartitionsCommand"), format!("{tools}.LeaderElectionCommand"));
        let (file, number) = (plan.to_str().unwrap(), partition.to_string());
        let at = ["--bootstrap-server", &self.address];
        let plan = ["--execute", "--reassignment-json-file", file];
        self.script(&[&["run", &assign], &at[..], &plan].concat());
        let which = ["--election-type", "preferred", "--topic", topic, "--partition", &number];
        self.script(&[&["run", &elect], &at[..], &which].concat());
        until("it leads", Duration::from_secs(60), || (self.leader(topic, partition) == Some(node)).then_some(()));
    }

    fn metadata(&self, topic: Option<&str>) -> Option<Metadata> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.fetch_metadata(topic, Duration::from_secs(5)).ok()
    }
}

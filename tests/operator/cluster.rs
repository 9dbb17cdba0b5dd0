//! A cluster's worth of what happens around a pipeline: agents that come, report and go, and a clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Client;
use kube::api::DynamicObject;
use kube::runtime::controller::Action;
use serde_json::json;
use spoolway::operator::config::OperatorConfig;
use spoolway::operator::reconcile::{Context, Failure, Now, reconcile};
use spoolway::operator::seen::Seen;
use spoolway::operator::view::{AgentView, PodView};
use spoolway::pipeline::pod::ReportTo;
use spoolway::pipeline::report::{FlowReason, REPORT_VERSION, Report};

use super::api_server::{ApiServer, CONFIG_MAP, DAEMON_SET, PIPELINE};

/// What is seen of agents.
#[derive(Debug, Default)]
pub struct Table {
    pub agents: Mutex<Vec<AgentView>>,
    pub pods: Mutex<Vec<PodView>>,
    pub report_to: Mutex<Option<ReportTo>>,
}

impl Seen for Table {
    fn agents(&self, _: &str, _: &str) -> Vec<AgentView> {
        self.agents.lock().unwrap().clone()
    }

    fn pods(&self, _: &str, _: &str) -> Vec<PodView> {
        self.pods.lock().unwrap().clone()
    }

    fn report_to(&self) -> Option<ReportTo> {
        self.report_to.lock().unwrap().clone()
    }
}

/// The cluster, and the operator in it.
pub struct Cluster {
    pub server: ApiServer,
    pub table: Arc<Table>,
    client: Client,
    config: OperatorConfig,
    context: Arc<Context>,
    seconds: Arc<Mutex<u64>>,
}

pub fn config() -> OperatorConfig {
    OperatorConfig { cluster_name: Some("blue".into()), ..OperatorConfig::of_image("spoolway:1") }
}

impl Cluster {
    /// One that holds the sample pipeline. Must be called inside a runtime.
    pub fn with_pipeline() -> Self {
        let (server, client) = ApiServer::with_pipeline();
        let (table, seconds) = (Arc::new(Table::default()), Arc::new(Mutex::new(1000)));
        let context = context(&client, config(), &table, &seconds);
        Self { server, table, client, config: config(), context, seconds }
    }

    /// The operator is started anew: what it kept in memory is gone.
    pub fn restart(&mut self) {
        self.context = context(&self.client, self.config.clone(), &self.table, &self.seconds);
    }

    /// The operator is started anew, with another configuration.
    pub fn configure(&mut self, change: impl FnOnce(&mut OperatorConfig)) {
        change(&mut self.config);
        self.restart();
    }

    /// Time passes.
    pub fn pass(&self, seconds: u64) {
        *self.seconds.lock().unwrap() += seconds;
    }

    /// Somebody else changes something around the pipeline, and the watches see it.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut serde_json::Value)) {
        self.server.change(path, change);
        self.context.touch("shop", "web-access");
    }

    /// The watches saw something.
    pub fn touch(&self) {
        self.context.touch("shop", "web-access");
    }

    /// `all` pods are there and the first `ready` of them are ready; the DaemonSet's controller counts them.
    pub fn pods(&self, all: usize, ready: usize) {
        let pod = |n: usize| PodView {
            name: format!("web-access-spoolway-{n}"),
            uid: format!("pod-{n}"),
            node: format!("node-{n}"),
            pipeline: "web-access".into(),
            controller: Some(("DaemonSet".into(), "web-access-spoolway".into())),
            ready: n < ready,
            trouble: String::new(),
        };
        *self.table.pods.lock().unwrap() = (0..all).map(pod).collect();
        self.change(DAEMON_SET, |set| {
            set["status"] = json!({
                "observedGeneration": set["metadata"]["generation"], "desiredNumberScheduled": all,
                "updatedNumberScheduled": all, "numberReady": ready,
            });
        });
    }

    /// The hash that agents find in their ConfigMap.
    pub fn hash(&self) -> String {
        let map = self.server.get(CONFIG_MAP);
        map["metadata"]["annotations"]["spoolway.dev/config-hash"].as_str().unwrap_or_default().to_owned()
    }

    /// Agents on the first `count` nodes report, running what is wanted; each report as it is changed.
    pub fn reports(&self, count: usize, change: impl Fn(usize, &mut Report)) {
        let hash = self.hash();
        let view = |n: usize| {
            let mut report = report(&format!("node-{n}"), &hash);
            change(n, &mut report);
            AgentView {
                agent: format!("node-{n}"),
                pod_uid: format!("pod-{n}"),
                silent_seconds: 1,
                lost: false,
                totals: report.totals,
                report,
            }
        };
        *self.table.agents.lock().unwrap() = (0..count).map(view).collect();
    }

    /// Status, reason and message of a condition.
    pub fn condition(&self, type_: &str) -> Option<(String, String, String)> {
        let all = self.server.get(PIPELINE)["status"]["conditions"].clone();
        let found = all.as_array()?.iter().find(|c| c["type"] == type_)?.clone();
        let text = |name: &str| found[name].as_str().unwrap().to_owned();
        Some((text("status"), text("reason"), text("message")))
    }

    /// The operator looks at the pipeline once.
    pub async fn reconcile(&self) -> Result<Action, Failure> {
        let object: DynamicObject = serde_json::from_value(self.server.get(PIPELINE)).unwrap();
        reconcile(Arc::new(object), self.context.clone()).await
    }

    /// What is done about a failure.
    pub fn again(&self, failure: &Failure) -> Action {
        let object: DynamicObject = serde_json::from_value(self.server.get(PIPELINE)).unwrap();
        spoolway::operator::reconcile::again(Arc::new(object), failure, self.context.clone())
    }
}

fn context(client: &Client, config: OperatorConfig, table: &Arc<Table>, seconds: &Arc<Mutex<u64>>) -> Arc<Context> {
    let seconds = seconds.clone();
    let clock = move || {
        let seconds = *seconds.lock().unwrap();
        let wall = jiff::Timestamp::from_second(1_790_000_000 + i64::try_from(seconds).unwrap()).unwrap();
        Now { steady: Duration::from_secs(seconds), wall }
    };
    let cluster = config.cluster_name.clone().unwrap();
    Arc::new(Context::new(client.clone(), config, &cluster, table.clone(), Box::new(clock)))
}

/// The report of an agent that has nothing to do.
pub fn report(agent: &str, hash: &str) -> Report {
    Report {
        version: REPORT_VERSION,
        agent_version: "1".into(),
        agent: format!("blue/shop/web-access/{agent}"),
        boot: "b".into(),
        config_hash: hash.to_owned(),
        suspended: false,
        config_problem: String::new(),
        checkpoint_topic: None,
        guarantee: "ExactlyOnce".into(),
        flowing: true,
        reason: FlowReason::Idle,
        message: String::new(),
        since: String::new(),
        started: String::new(),
        last_commit: None,
        throughput: Default::default(),
        backlog: Default::default(),
        totals: Default::default(),
        set_aside: Vec::new(),
    }
}

/// An agent through which nothing can flow.
pub fn fails(report: &mut Report, reason: FlowReason, message: &str) {
    (report.flowing, report.reason, report.message) = (false, reason, message.to_owned());
}

//! Agents' reports: how numbers reach the operator. I/O around the pure [`table`].
//!
//! Agents push over HTTPS ([`server`]), to the leader alone, through a Service whose [`endpoint`] it writes itself, with a
//! [`certificate`] of its own making. A token counts when the API server says which pod it is bound to ([`tokens`], [`authority`]) and
//! that pod is our DaemonSet's. All of it is kept in memory: the next report is complete in itself.

pub mod authority;
pub mod certificate;
pub mod endpoint;
pub mod server;
pub mod table;
pub mod tokens;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use kube::Client;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::pods::Pods;
use super::seen::Seen;
use super::view::{AgentView, PodView};
use crate::pipeline::pod::ReportTo;
use crate::pipeline::report::Report;
use authority::Cluster;
use certificate::Keys;
use server::{Desk, Tls};
use table::{News, Table, Who};
use tokens::Tokens;

/// The port of the endpoint.
pub const PORT: u16 = 8443;
/// How often silent agents are forgotten.
const SWEEP: Duration = Duration::from_secs(60);
/// How often the certificate's age is looked at.
const RENEW: Duration = Duration::from_secs(6 * 3600);

/// A pipeline of whose agents something new is known: namespace and name.
pub type Pipeline = (String, String);

/// Where the endpoint is.
#[derive(Debug, Clone)]
pub struct Place {
    /// The operator's namespace.
    pub namespace: String,
    /// The operator's own pod.
    pub pod: String,
    /// Its address.
    pub address: std::net::IpAddr,
    /// The Service that agents ask for.
    pub service: String,
    /// The Secret with the certificate.
    pub secret: String,
}

/// What agents reported and which pods they are; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reports(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    table: Mutex<Table>,
    pods: Pods,
    to: RwLock<ReportTo>,
    wake: UnboundedSender<Pipeline>,
}

impl Reports {
    /// Nothing is known yet.
    pub fn new(pods: Pods, to: ReportTo, wake: UnboundedSender<Pipeline>) -> Self {
        let (start, table) = (Instant::now(), Mutex::default());
        Reports(Arc::new(Inner { start, table, pods, to: RwLock::new(to), wake }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.0.start.elapsed()
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<PodView> {
        self.0.pods.by_name(namespace, name)
    }

    fn len(&self) -> usize {
        self.table().len()
    }

    fn interval(&self) -> Duration {
        self.table().interval()
    }

    fn take(&self, who: Who, pod_uid: &str, report: Report) -> News {
        let pipeline = (who.namespace.clone(), who.pipeline.clone());
        let news = self.table().put(who, pod_uid, report, self.now());
        if news == News::Some {
            // Nobody listens any more: the operator ends.
            let _ = self.0.wake.send(pipeline);
        }
        news
    }
}

impl Seen for Reports {
    fn agents(&self, namespace: &str, pipeline: &str) -> Vec<AgentView> {
        self.table().of(namespace, pipeline, self.now())
    }

    fn pods(&self, namespace: &str, pipeline: &str) -> Vec<PodView> {
        self.0.pods.of(namespace, pipeline)
    }

    fn report_to(&self) -> Option<ReportTo> {
        Some(self.0.to.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Watches pods, serves the endpoint, and keeps it reachable, all in the background; then what it tells, and whom it wakes.
///
/// # Errors
/// The certificate's Secret cannot be used, or the port is taken.
pub async fn start(client: Client, place: Place) -> anyhow::Result<(Reports, UnboundedReceiver<Pipeline>)> {
    let keys = keys(&client, &place).await.context("the report endpoint has no certificate")?;
    let tls: Tls = Arc::new(RwLock::new(Arc::new(server_config(&keys)?)));
    let address = std::net::SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), PORT);
    let listener = match tokio::net::TcpListener::bind(address).await {
        Ok(listener) => listener,
        // A node without IPv6.
        Err(_) => tokio::net::TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, PORT))
            .await
            .with_context(|| format!("cannot listen on port {PORT}"))?,
    };
    let (wake, woken) = unbounded_channel();
    let pods = Pods::default();
    let url = format!("https://{}.{}.svc:{PORT}/v1/reports", place.service, place.namespace);
    let reports = Reports::new(pods.clone(), ReportTo { url, ca: keys.ca_pem.clone() }, wake.clone());
    let desk = Desk { reports: reports.clone(), tokens: Tokens::new(Cluster(client.clone())) };
    tokio::spawn(pods.run(client.clone(), wake));
    tokio::spawn(server::serve(listener, tls.clone(), Arc::new(desk)));
    let (namespace, service) = (place.namespace.clone(), place.service.clone());
    let (pod, address) = (place.pod.clone(), place.address);
    let for_endpoint = client.clone();
    tokio::spawn(async move { endpoint::keep(for_endpoint, &namespace, &service, &pod, address).await });
    tokio::spawn(sweep(reports.clone()));
    tokio::spawn(renew(client, place, tls, reports.clone()));
    Ok((reports, woken))
}

async fn keys(client: &Client, place: &Place) -> anyhow::Result<Keys> {
    Ok(certificate::keys(client, &place.namespace, &place.secret, &place.service, jiff::Timestamp::now()).await?)
}

fn server_config(keys: &Keys) -> anyhow::Result<rustls::ServerConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_slice_iter(keys.certificate_pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.context("the certificate in the Secret is no PEM")?;
    let key = PrivateKeyDer::from_pem_slice(keys.key_pem.as_bytes()).context("the key in the Secret is no PEM")?;
    Ok(rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?)
}

async fn sweep(reports: Reports) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let now = reports.now();
        reports.table().sweep(now);
    }
}

async fn renew(client: Client, place: Place, tls: Tls, reports: Reports) {
    loop {
        tokio::time::sleep(RENEW).await;
        match keys(&client, &place).await.and_then(|keys| Ok((server_config(&keys)?, keys.ca_pem))) {
            Ok((config, ca)) => {
                *tls.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                reports.0.to.write().unwrap_or_else(PoisonError::into_inner).ca = ca;
            }
            Err(error) => tracing::warn!("the report endpoint's certificate cannot be looked at: {error:#}"),
        }
    }
}

/// A report for tests.
#[cfg(test)]
pub fn sample(boot: &str) -> Report {
    serde_json::from_value(serde_json::json!({
        "version": 1, "agentVersion": "0.1.0", "agent": "c/shop/web/n1", "boot": boot, "configHash": "h",
        "guarantee": "ExactlyOnce", "flowing": true, "reason": "Idle", "message": "", "since": "t", "started": "t",
        "throughput": {"recordsPerSecond": 0, "bytesPerSecond": 0}, "backlog": {"files": 0, "bytes": 0, "oldestSeconds": 0},
        "totals": {"records": 0, "bytes": 0, "files": 0, "setAside": 0, "longLines": 0, "commits": 0, "retries": 0},
        "setAside": [],
    }))
    .expect("a report")
}

#[cfg(test)]
mod tests;

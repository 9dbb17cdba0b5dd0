//! Reports over real HTTPS on loopback; only the API server is a table.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc::unbounded_channel;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::authority::fake::{Fake, token};
use super::server::{Desk, serve};
use super::tokens::Tokens;
use super::*;
use crate::operator::view::PodView;
use crate::pipeline::pod::TOKEN_AUDIENCE;

/// The endpoint on a port of its own, with two agents' pods and one that only looks like one.
struct Scene {
    url: String,
    agent: ureq::Agent,
    reports: Reports,
    woken: UnboundedReceiver<Pipeline>,
}

fn pod(name: &str, uid: &str, controller: &str) -> (&'static str, PodView) {
    let view = PodView {
        name: name.into(),
        uid: uid.into(),
        node: format!("node-of-{name}"),
        pipeline: "web".into(),
        controller: Some(("DaemonSet".into(), controller.into())),
        ready: true,
        trouble: String::new(),
    };
    ("shop", view)
}

async fn scene() -> Scene {
    // An error means that there is one already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let keys = certificate::make_for_tests("localhost");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (wake, woken) = unbounded_channel();
    let pods = Pods::with([
        pod("a", "uid-of-a", "web-spoolway"),
        pod("b", "uid-of-b", "web-spoolway"),
        pod("stale", "another", "web-spoolway"),
        pod("liar", "uid-of-liar", "something-else"),
    ]);
    let to = ReportTo { url: url.clone(), ca: keys.ca_pem.clone() };
    let reports = Reports::new(pods, to, wake);
    let desk = Desk { reports: reports.clone(), tokens: Tokens::new(Fake::default()) };
    let tls = Arc::new(RwLock::new(Arc::new(server_config(&keys).unwrap())));
    tokio::spawn(serve(listener, tls, Arc::new(desk)));
    let roots = RootCerts::new_with_certs(&[Certificate::from_pem(keys.ca_pem.as_bytes()).unwrap()]);
    let config = ureq::Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build();
    Scene { url, agent: config.into(), reports, woken }
}

fn good(pod: &str) -> String {
    token(pod, TOKEN_AUDIENCE, Timestamp::now().as_second() + 600)
}

impl Scene {
    async fn post(&self, token: &str, body: String) -> (u16, String) {
        let (agent, url) = (self.agent.clone(), format!("{}/v1/reports", self.url));
        let bearer = format!("Bearer {token}");
        tokio::task::spawn_blocking(move || {
            let request = agent.post(&url).header("authorization", &bearer).content_type("application/json");
            let mut answer = request.send(&body).unwrap();
            (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
        })
        .await
        .unwrap()
    }

    async fn get(&self, path: &str, token: &str) -> (u16, String) {
        let (agent, url, bearer) = (self.agent.clone(), format!("{}{path}", self.url), format!("Bearer {token}"));
        tokio::task::spawn_blocking(move || {
            let mut answer = agent.get(&url).header("authorization", &bearer).call().unwrap();
            (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
        })
        .await
        .unwrap()
    }
}

fn report() -> String {
    serde_json::to_string(&sample("b1")).unwrap()
}

#[tokio::test]
async fn an_agents_report_is_taken_as_its_own_pods_and_wakes_its_pipeline() {
    let mut scene = scene().await;
    assert_eq!(scene.post(&good("a"), report()).await, (200, r#"{"nextSeconds":15}"#.to_owned()));
    assert_eq!(scene.woken.recv().await, Some(("shop".to_owned(), "web".to_owned())));
    let agents = scene.reports.agents("shop", "web");
    assert_eq!((agents.len(), &*agents[0].agent, &*agents[0].pod_uid), (1, "node-of-a", "uid-of-a"));
    assert_eq!(scene.post(&good("a"), report()).await.0, 429, "it hurries");
}

#[tokio::test]
async fn whoever_is_no_agent_is_refused_and_told_why() {
    let scene = scene().await;
    let expired = token("a", TOKEN_AUDIENCE, 5);
    let foreign = token("a", "https://kubernetes.default.svc", Timestamp::now().as_second() + 600);
    for (token, code, why) in [
        ("nonsense".to_owned(), 401, "not good for reports"),
        (expired, 401, "not good for reports"),
        (foreign, 401, "not good for reports"),
        (good("forged-1"), 401, "not good for reports"),
        (good("unseen"), 503, "was not seen yet"),
        (good("stale"), 403, "no agent of a LogPipeline"),
        (good("liar"), 403, "no agent of a LogPipeline"),
    ] {
        let (found, said) = scene.post(&token, report()).await;
        assert_eq!(found, code, "{said}");
        assert!(said.contains(why), "{said}");
    }
    assert!(scene.reports.agents("shop", "web").is_empty());
}

#[tokio::test]
async fn what_is_no_report_is_refused_and_newer_ones_are_understood() {
    let scene = scene().await;
    assert_eq!(scene.post(&good("a"), "{}".to_owned()).await.0, 422);
    assert_eq!(scene.post(&good("a"), "{".to_owned()).await.0, 400);
    assert_eq!(scene.post(&good("a"), format!("\"{}\"", "x".repeat(20_000))).await.0, 413);
    let mut newer: Value = serde_json::from_str(&report()).unwrap();
    (newer["version"], newer["more"]) = (9.into(), "to say".into());
    assert_eq!(scene.post(&good("a"), newer.to_string()).await.0, 200);
}

#[tokio::test]
async fn people_see_the_agents_of_pipelines_that_they_may_get_the_worst_first() {
    let scene = scene().await;
    scene.post(&good("a"), report()).await;
    let mut bad = sample("b1");
    bad.flowing = false;
    scene.post(&good("b"), serde_json::to_string(&bad).unwrap()).await;
    let path = "/v1/pipelines/shop/web/agents";
    assert_eq!(scene.get(path, "unknown").await.0, 401);
    let (code, why) = scene.get(path, "reads-bank").await;
    assert_eq!(code, 403);
    assert_eq!(why, "the owner of this token may not get logpipelines.spoolway.dev web in shop\n");
    let (code, all) = scene.get(path, "reads-shop").await;
    let all: Vec<crate::pipeline::report::AgentAnswer> = serde_json::from_str(&all).unwrap();
    assert_eq!((code, all.len(), &*all[0].agent), (200, 2, "node-of-b"));
    let (_, one) = scene.get(&format!("{path}?worst=1"), "reads-shop").await;
    assert_eq!(serde_json::from_str::<Vec<Value>>(&one).unwrap().len(), 1);
}

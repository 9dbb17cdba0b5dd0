//! The HTTPS endpoint: agents post reports, people ask what agents said. I/O; whose token counts is for `tokens` to say.
//!
//! Bounded: connections, sizes and times have limits, and who may not report costs next to nothing.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::Reports;
use super::authority::Authority;
use super::table::{News, Who};
use super::tokens::{Refused, Tokens};
use crate::operator::seen::Seen;
use crate::pipeline::pod::ReportAnswer;
use crate::pipeline::report::{AgentAnswer, Report};

/// Connections at the same time.
const CONNECTIONS: usize = 4096;
/// A handshake, the head of a request, and the answer take at most this long, each.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest report, in bytes.
const BODY: usize = 16 * 1024;
/// Agents in one answer, at most.
const MOST: usize = 500;

/// The TLS configuration of now: certificates are renewed while it serves.
pub type Tls = Arc<RwLock<Arc<rustls::ServerConfig>>>;

/// What every request needs.
pub struct Desk<A> {
    /// Where reports go.
    pub reports: Reports,
    /// Who may report and who may read.
    pub tokens: Tokens<A>,
}

/// Serves for ever.
pub async fn serve<A: Authority>(listener: TcpListener, tls: Tls, desk: Arc<Desk<A>>) {
    let routes = routes(desk);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("the report endpoint cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = room.clone().try_acquire_owned() else { continue };
        let acceptor = TlsAcceptor::from(tls.read().unwrap_or_else(PoisonError::into_inner).clone());
        let routes = routes.clone();
        tokio::spawn(async move {
            connection(stream, acceptor, routes).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, routes: Router) {
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await else { return };
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(64 * 1024);
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)).await;
    if let Err(error) = served {
        tracing::debug!("a connection of the report endpoint ended: {error}");
    }
}

fn routes<A: Authority>(desk: Arc<Desk<A>>) -> Router {
    let ok = || async { "ok\n" };
    Router::new()
        .route("/v1/reports", post(take::<A>))
        .route("/v1/pipelines/{namespace}/{name}/agents", get(agents::<A>))
        .route("/healthz", get(ok))
        .route("/readyz", get(ok))
        .layer(DefaultBodyLimit::max(BODY))
        .layer(axum::middleware::from_fn(async |request, next: axum::middleware::Next| match tokio::time::timeout(
            PATIENCE,
            next.run(request),
        )
        .await
        {
            Ok(answer) => answer,
            Err(_) => no(StatusCode::GATEWAY_TIMEOUT, "it took too long; try again"),
        }))
        .with_state(desk)
}

fn no(code: StatusCode, why: impl std::fmt::Display) -> Response {
    (code, format!("{why}\n")).into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn no_token() -> Response {
    no(StatusCode::UNAUTHORIZED, "a bearer token is needed")
}

async fn take<A: Authority>(State(desk): State<Arc<Desk<A>>>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(token) = bearer(&headers) else { return no_token() };
    let now = jiff::Timestamp::now().as_second();
    let bound = match desk.tokens.pod_of(token, desk.reports.len(), now).await {
        Ok(bound) => bound,
        Err(Refused::Bad) => return no(StatusCode::UNAUTHORIZED, "this token is not good for reports"),
        Err(Refused::Unavailable(why)) => return no(StatusCode::SERVICE_UNAVAILABLE, why),
    };
    let Some(pod) = desk.reports.pod(&bound.namespace, &bound.pod) else {
        return no(StatusCode::SERVICE_UNAVAILABLE, "this pod was not seen yet; try again");
    };
    if pod.uid != bound.uid || !pod.is_agent_of(&pod.pipeline) {
        return no(StatusCode::FORBIDDEN, "this pod is no agent of a LogPipeline");
    }
    let report = match serde_json::from_slice::<Report>(&body) {
        Ok(report) => report,
        Err(why) => return no(StatusCode::UNPROCESSABLE_ENTITY, format!("not a report: {why}")),
    };
    let who = Who { namespace: bound.namespace, pipeline: pod.pipeline, agent: pod.node };
    match desk.reports.take(who, &pod.uid, report) {
        News::TooSoon => no(StatusCode::TOO_MANY_REQUESTS, "too soon after the last report"),
        News::Some | News::None => {
            Json(ReportAnswer { next_seconds: desk.reports.interval().as_secs() }).into_response()
        }
    }
}

#[derive(Deserialize)]
struct Worst {
    worst: Option<usize>,
}

async fn agents<A: Authority>(
    State(desk): State<Arc<Desk<A>>>,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Query<Worst>,
    headers: HeaderMap,
) -> Response {
    let Some(token) = bearer(&headers) else { return no_token() };
    match desk.tokens.authority().may_get(token, &namespace, &name).await {
        Ok(Some(true)) => {}
        Ok(Some(false)) => {
            let why =
                format!("the owner of this token may not get logpipelines.spoolway.dev {name} in {namespace}");
            return no(StatusCode::FORBIDDEN, why);
        }
        Ok(None) => return no(StatusCode::UNAUTHORIZED, "this token is not good for this cluster"),
        Err(why) => return no(StatusCode::SERVICE_UNAVAILABLE, why),
    }
    let mut agents = desk.reports.agents(&namespace, &name);
    // Who cannot flow first, then the longest backlog.
    agents.sort_by_key(|view| (view.report.flowing && !view.lost, std::cmp::Reverse(view.report.backlog.bytes)));
    agents.truncate(query.worst.unwrap_or(MOST).min(MOST));
    let answer = agents.into_iter().map(|view| AgentAnswer {
        agent: view.agent,
        silent_seconds: view.silent_seconds,
        lost: view.lost,
        report: view.report,
        totals: view.totals,
    });
    Json(answer.collect::<Vec<_>>()).into_response()
}

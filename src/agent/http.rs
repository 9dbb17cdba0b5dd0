//! `/healthz`, `/readyz`, `/metrics`, `/report`: what the agent tells, over HTTP, on a thread of its own. GET only.
//!
//! A report names files and what is wrong, so it is for this machine alone (in a pod: for the pod).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::listen::{Limited, Peer};
use super::metrics;
use super::status::Status;

/// Binds `address` and serves until the process ends.
///
/// # Errors
/// The address cannot be bound.
pub fn serve(address: SocketAddr, status: Arc<Status>) -> std::io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let routes = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .route("/report", get(report))
        .with_state(status);
    std::thread::Builder::new().name("http".into()).spawn(move || {
        let served = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let routes = routes.into_make_service_with_connect_info::<Peer>();
            axum::serve(Limited::new(listener), routes).await
        });
        if let Err(e) = served {
            tracing::error!("the HTTP server ended: {e}");
        }
    })?;
    Ok(bound)
}

type Shared = State<Arc<Status>>;

async fn healthz(State(status): Shared) -> impl IntoResponse {
    if status.is_alive() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the loop gives no sign of life\n")
    }
}

async fn readyz(State(status): Shared) -> impl IntoResponse {
    let report = status.report();
    let code = if report.flowing { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = if report.message.is_empty() {
        format!("{:?}\n", report.reason)
    } else {
        format!("{:?}: {}\n", report.reason, report.message)
    };
    (code, body)
}

async fn metrics_page(State(status): Shared) -> impl IntoResponse {
    match metrics::page(status.report()) {
        Ok(page) => (StatusCode::OK, [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page),
        Err(e) => {
            let plain = [(header::CONTENT_TYPE, "text/plain")];
            (StatusCode::INTERNAL_SERVER_ERROR, plain, format!("cannot write metrics: {e}\n"))
        }
    }
}

async fn report(State(status): Shared, ConnectInfo(Peer(peer)): ConnectInfo<Peer>) -> impl IntoResponse {
    if peer.ip().to_canonical().is_loopback() {
        return axum::Json(status.report()).into_response();
    }
    (StatusCode::FORBIDDEN, "a report is told on loopback only; ask on the machine, or in the pod\n")
        .into_response()
}

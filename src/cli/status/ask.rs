//! Asks the operator what agents reported, through a port-forward to its pod. I/O.
//!
//! Where the operator is, and by which CA to know it, is in the ConfigMap that agents have it from.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use axum::body::{Body, to_bytes};
use axum::http::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};
use kube::{Client, Config};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::cli::table::plain;
use crate::pipeline::pod::{AGENT_FILE, AgentFile, ReportTo, child_name};
use crate::pipeline::report::AgentAnswer;

/// Agents that are asked for.
const WORST: usize = 50;
/// Longest wait for the operator.
const TIME: Duration = Duration::from_secs(15);
/// The longest answer, in bytes: [`WORST`] reports of at most 16 KB.
const ANSWER: usize = 1024 * 1024;

/// The token to show: the one given, or the kubeconfig's.
///
/// # Errors
/// There is none: the text says what to type.
pub fn token(given: Option<&str>, config: &Config, namespace: &str) -> anyhow::Result<String> {
    if let Some(token) = given {
        return Ok(token.to_owned());
    }
    if let Some(file) = &config.auth_info.token_file {
        let token = std::fs::read_to_string(file).with_context(|| format!("cannot read the token in {file}"))?;
        return Ok(token.trim().to_owned());
    }
    // The secret's own type lets it out only as part of a kubeconfig.
    let user = serde_json::to_value(&config.auth_info)?;
    if let Some(token) = user["token"].as_str() {
        return Ok(token.to_owned());
    }
    bail!(
        "the operator asks for a token, and this kubeconfig has none (certificates and plugins do not count); add: \
         --token \"$(kubectl create token default -n {namespace})\" (or another ServiceAccount, one that may get \
         logpipelines in {namespace})"
    );
}

/// What the agents of a pipeline reported last, the worst first.
///
/// # Errors
/// The operator cannot be found or reached, or refuses.
pub async fn agents(client: &Client, namespace: &str, name: &str, token: &str) -> anyhow::Result<Vec<AgentAnswer>> {
    let to = report_to(client, namespace, name).await?;
    let host = host(&to)?;
    let (pod, space, port) = operator(client, &host).await?;
    let path = format!("/v1/pipelines/{namespace}/{name}/agents?worst={WORST}");
    let asked = async {
        let pods = Api::<Pod>::namespaced(client.clone(), &space);
        let mut forward = pods.portforward(&pod, &[port]).await.context("no port-forward")?;
        let stream = forward.take_stream(port).context("no port-forward")?;
        exchange(stream, &to.ca, &host, &path, token).await
    };
    let answer = tokio::time::timeout(TIME, asked).await;
    let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {} s", TIME.as_secs())));
    answer.with_context(|| format!("asking the operator, pod {space}/{pod}, about {namespace}/{name}"))
}

async fn report_to(client: &Client, namespace: &str, name: &str) -> anyhow::Result<ReportTo> {
    let child = child_name(name);
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let map = maps.get(&child).await.with_context(|| format!("cannot read ConfigMap {namespace}/{child}"))?;
    let text = map.data.unwrap_or_default().remove(AGENT_FILE);
    let text = text.with_context(|| format!("ConfigMap {namespace}/{child} has no {AGENT_FILE}"))?;
    let file: AgentFile = serde_json::from_str(&text)
        .with_context(|| format!("{AGENT_FILE} of ConfigMap {namespace}/{child} cannot be read"))?;
    file.report_to.with_context(|| format!("agents of {namespace}/{name} report to nobody: see the operator's log"))
}

/// `<service>.<namespace>.svc`.
fn host(to: &ReportTo) -> anyhow::Result<String> {
    let uri: Uri = to.url.parse().with_context(|| format!("agents report to {}, which is no URL", to.url))?;
    Ok(uri.host().with_context(|| format!("agents report to {}, which names no host", to.url))?.to_owned())
}

/// The pod that takes reports, its namespace, and its port.
async fn operator(client: &Client, host: &str) -> anyhow::Result<(String, String, u16)> {
    let mut names = host.split('.');
    let (Some(service), Some(space)) = (names.next(), names.next()) else {
        bail!("agents report to {host}, which is no Service");
    };
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), space);
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    let found = slices.list(&of_service).await;
    let found = found.with_context(|| format!("cannot list the EndpointSlices of namespace {space}"))?;
    let reached = found.items.into_iter().find_map(|slice| {
        let port = slice.ports?.first()?.port?;
        let pod = slice.endpoints.into_iter().find_map(|endpoint| endpoint.target_ref?.name)?;
        Some((pod, space.to_owned(), u16::try_from(port).ok()?))
    });
    reached.with_context(|| format!("no operator takes reports for Service {space}/{service}: is one running?"))
}

/// One request over TLS on `stream`.
async fn exchange<S>(stream: S, ca: &str, host: &str, path: &str, token: &str) -> anyhow::Result<Vec<AgentAnswer>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.context("the CA in the ConfigMap is no PEM")?)?;
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let server = ServerName::try_from(host.to_owned())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(server, stream).await.context("TLS fails")?;
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::empty())
        .context("this token cannot be sent: it has characters that no token has")?;
    let (head, body) = send.send_request(request).await?.into_parts();
    let body = to_bytes(Body::new(body), ANSWER).await.context("the answer is cut short, or too long")?;
    connection.abort();
    let first = String::from_utf8_lossy(&body);
    ensure!(
        head.status.is_success(),
        "it answers {}: {}",
        head.status,
        plain(first.lines().next().unwrap_or_default())
    );
    serde_json::from_slice(&body).context("the answer is of another release")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const HOST: &str = "spoolway-report.spoolway-system.svc";

    /// What the client makes of `answer`, and what it asked, over real TLS.
    async fn ask(answer: String, host: &str, other_ca: bool) -> (anyhow::Result<Vec<AgentAnswer>>, String) {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let made = || rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).unwrap();
        let own = made();
        let ca = if other_ca { made().cert.pem() } else { own.cert.pem() };
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![own.cert.der().clone()], key).unwrap();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let server = tokio::spawn(async move {
            let mut asked = Vec::new();
            let Ok(mut tls) = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(far).await else {
                return String::new();
            };
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(tls.read_u8().await.unwrap());
            }
            tls.write_all(answer.as_bytes()).await.unwrap();
            tls.shutdown().await.unwrap();
            String::from_utf8(asked).unwrap()
        });
        let got = exchange(near, &ca, host, "/v1/pipelines/shop/web/agents?worst=50", "t0ken").await;
        (got, server.await.unwrap())
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn the_operator_is_asked_with_the_token() {
        let (got, asked) = ask(answer("200 OK", "[]"), HOST, false).await;
        assert_eq!(got.unwrap(), []);
        assert!(asked.starts_with("GET /v1/pipelines/shop/web/agents?worst=50 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("authorization: Bearer t0ken\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_one_line() {
        let (got, _) = ask(answer("403 Forbidden", "may not get\x1b[2J it\nmore\n"), HOST, false).await;
        assert_eq!(format!("{:#}", got.unwrap_err()), "it answers 403 Forbidden: may not get\\u{1b}[2J it");
    }

    #[tokio::test]
    async fn the_token_goes_to_nobody_else() {
        for (host, other_ca) in [("somebody.else.svc", false), (HOST, true)] {
            let (got, asked) = ask(answer("200 OK", "[]"), host, other_ca).await;
            assert!(format!("{:#}", got.unwrap_err()).starts_with("TLS fails"));
            assert_eq!(asked, "");
        }
    }

    #[test]
    fn a_token_is_given_or_the_kubeconfigs_or_it_is_said_how_to_get_one() {
        let mut config = Config::new("https://127.0.0.1:6443".parse().unwrap());
        let none = token(None, &config, "shop").unwrap_err().to_string();
        assert!(none.contains("--token \"$(kubectl create token default -n shop)\""), "{none}");
        config.auth_info.token = Some("from-config".to_owned().into());
        assert_eq!(token(None, &config, "shop").unwrap(), "from-config");
        assert_eq!(token(Some("given"), &config, "shop").unwrap(), "given");
    }
}

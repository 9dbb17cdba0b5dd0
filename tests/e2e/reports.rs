//! Reports that an agent pushes, to a real HTTPS server with a certificate made for it; and what becomes of shipping when that is not there.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use spoolway::pipeline::pod::ReportAnswer;
use spoolway::pipeline::report::{FlowReason, Report};

use super::agent::Agent;
use super::check::exactly;
use super::job::{Job, Plan};
use super::pod::{Mount, SHAPE, agent_file, in_force};
use super::{bed, corpus, until};

const SOON: Duration = Duration::from_secs(60);

/// What came in one connection.
#[derive(Clone)]
struct Came {
    at: Instant,
    authorization: String,
    report: Report,
}

/// In the operator's place: takes reports on loopback.
struct Taker {
    address: SocketAddr,
    ca: String,
    came: Arc<Mutex<Vec<Came>>>,
    /// What it answers as `nextSeconds`.
    next: Arc<AtomicU64>,
    /// It takes the connection and says nothing.
    silent: Arc<AtomicBool>,
}

impl Taker {
    fn start() -> Taker {
        let (ca, tls) = certificate();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let taker = Taker {
            address: listener.local_addr().unwrap(),
            ca,
            came: Arc::default(),
            next: Arc::new(AtomicU64::new(15)),
            silent: Arc::default(),
        };
        let (came, next, silent) = (taker.came.clone(), taker.next.clone(), taker.silent.clone());
        std::thread::spawn(move || {
            let mut held = vec![];
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                if silent.load(Ordering::Relaxed) {
                    held.push(stream);
                } else if let Some(taken) = take(stream, tls.clone(), next.load(Ordering::Relaxed)) {
                    came.lock().unwrap().push(taken);
                }
            }
        });
        taker
    }

    fn report_to(&self, ca: &str) -> serde_json::Value {
        json!({"url": format!("https://localhost:{}/v1/reports", self.address.port()), "ca": ca})
    }

    fn all(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    /// Waits for a report that `is` as wanted.
    fn takes(&self, what: &str, is: impl Fn(&Came) -> bool) -> Came {
        until(what, SOON, || self.all().into_iter().rev().find(&is))
    }
}

fn certificate() -> (String, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = versions.with_no_client_auth().with_single_cert(chain, key).unwrap();
    (made.cert.pem(), Arc::new(config))
}

/// One request; `None` where the client does not trust the certificate.
fn take(stream: TcpStream, tls: Arc<ServerConfig>, next_seconds: u64) -> Option<Came> {
    let connection = ServerConnection::new(tls).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let (mut authorization, mut length, mut line) = (String::new(), 0, String::new());
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    assert_eq!(line.trim(), "POST /v1/reports HTTP/1.1");
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        match line.trim().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => authorization = value.to_owned(),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    assert!(length < 4096, "a report is small: {length}");
    let answer = serde_json::to_string(&ReportAnswer { next_seconds }).unwrap();
    let stream = stream.get_mut();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len())
        .ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()?;
    Some(Came { at: Instant::now(), authorization, report: serde_json::from_slice(&body).unwrap() })
}

/// An agent of a job whose reports go where `report_to` says.
fn start(job: &Job, mount: &Mount, report_to: serde_json::Value) -> Agent {
    put(job, mount, "", report_to);
    std::fs::write(job.home().join("token"), "first\n").unwrap();
    let token = job.home().join("token");
    Agent::start_in_pod(&mount.path, &["--shape", SHAPE, "--report-token", token.to_str().unwrap()])
}

fn put(job: &Job, mount: &Mount, more: &str, report_to: serde_json::Value) {
    let mut file = agent_file(job);
    file["reportTo"] = report_to;
    mount.put(&job.text(&Plan::default(), more), &file);
}

fn warnings(agent: &Agent) -> Vec<String> {
    let warned = agent.log().into_iter().filter(|(level, said)| level == "WARN" && said.starts_with("reports"));
    warned.map(|(_, said)| said).collect()
}

#[test]
fn reports_come_as_often_as_the_operator_says_and_at_once_when_the_state_changes() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "pushed", &Plan::default());
    let (mount, taker) = (Mount::new(&job), Taker::start());
    taker.next.store(5, Ordering::Relaxed);
    let agent = start(&job, &mount, taker.report_to(&taker.ca));
    let first = taker.takes("it flows", |came| came.report.flowing);
    assert_eq!(
        (first.authorization.as_str(), first.report.agent.as_str()),
        ("Bearer first", "local/pushed/web/a1")
    );
    assert_eq!(first.report.checkpoint_topic.as_ref().unwrap().topic, "spoolway-pushed-checkpoints");
    // The kubelet renews the token.
    std::fs::write(job.home().join("token"), "second").unwrap();
    taker.takes("the new token", |came| came.authorization == "Bearer second");
    let count = taker.all().len();
    until("four more", SOON, || (taker.all().len() >= count + 4).then_some(()));
    let steady: Vec<_> = taker.all()[count - 1..].windows(2).map(|two| two[1].at - two[0].at).collect();
    // By itself it waits for 12 s at least; a machine that stalls makes a gap longer.
    assert!(steady.iter().all(|gap| gap.as_millis() >= 3500), "5 s, more or less: {steady:?}");
    assert!(steady.iter().any(|gap| gap.as_millis() < 9000), "5 s, more or less: {steady:?}");
    // From now on, rarely: a change comes all the same.
    taker.next.store(600, Ordering::Relaxed);
    taker.takes("one more", |came| came.at > Instant::now() - Duration::from_secs(1));
    std::thread::sleep(Duration::from_secs(1));
    put(&job, &mount, "  suspend: true\n", taker.report_to(&taker.ca));
    let suspended = taker.takes("it is suspended", |came| came.report.suspended).report;
    assert_eq!(suspended.boot, first.report.boot);
    put(&job, &mount, "  topic: oops\n", taker.report_to(&taker.ca));
    taker.takes("a problem", |came| came.report.config_problem.contains("topic"));
    let resumed = Instant::now();
    put(&job, &mount, "", taker.report_to(&taker.ca));
    taker.takes("it flows again", |came| came.at > resumed && came.report.flowing && !came.report.suspended);
    let written = [job.put(b"a.log", b"one\ntwo\n")];
    agent.drained(1, SOON);
    assert_eq!(taker.all().last().unwrap().report.totals.records, 0, "numbers alone wait for their turn");
    agent.signal(Signal::TERM);
    assert_eq!(agent.ended(SOON).code, Some(0));
    assert_eq!(taker.all().last().unwrap().report.totals.records, 2, "the last report has the last numbers");
    exactly(&job, &written);
}

#[test]
fn whoever_is_not_the_operator_gets_no_report_and_no_token() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "impostor", &Plan::default());
    let (mount, taker) = (Mount::new(&job), Taker::start());
    let (another, _) = certificate();
    let agent = start(&job, &mount, taker.report_to(&another));
    let written = [job.put(b"a.log", b"one\ntwo\n")];
    agent.drained(1, SOON);
    until("it warns", SOON, || (!warnings(&agent).is_empty()).then_some(()));
    assert!(taker.all().is_empty());
    // The right certificate arrives, as after a renewal: no transaction is touched for it.
    put(&job, &mount, "", taker.report_to(&taker.ca));
    taker.takes("a report", |came| came.report.totals.records == 2);
    assert!(agent.log().iter().all(|(_, said)| !said.contains("is in force")), "{}", agent.err());
    let warned = warnings(&agent);
    assert_eq!(warned.len(), 1, "told once: {warned:?}");
    assert!(warned[0].contains("shipping goes on; look at"), "{warned:?}");
    exactly(&job, &written);
}

#[test]
fn shipping_does_not_care_whether_anybody_takes_reports() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "nobody", &Plan { partitions: 2, ..Plan::default() });
    let (mount, taker) = (Mount::new(&job), Taker::start());
    let text = job.text(&Plan::default(), "");
    // Nobody listens; then somebody who never answers.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = json!({"url": format!("https://localhost:{}/v1/reports", closed.port()), "ca": taker.ca});
    let agent = start(&job, &mount, nowhere);
    let mut written = vec![job.link(&corpus::files()[0])];
    agent.drained(1, SOON);
    taker.silent.store(true, Ordering::Relaxed);
    put(&job, &mount, "", taker.report_to(&taker.ca));
    in_force(&agent, &text);
    written.push(job.link(&corpus::files()[1]));
    let begun = Instant::now();
    agent.drained(2, SOON);
    assert_eq!(agent.report().totals.retries, 0);
    eprintln!("100 MB in {:?} while nobody answers", begun.elapsed());
    agent.signal(Signal::TERM);
    let begun = Instant::now();
    assert_eq!(agent.ended(SOON).code, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(30), "the last report is given up: {:?}", begun.elapsed());
    exactly(&job, &written);
}

/// The address of this machine by which it would call another; `None` where it has none.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?; // nothing is sent
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback())
}

#[test]
fn a_report_is_told_on_loopback_only_and_idle_connections_hold_nobody_up_for_long() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "loopback", &Plan::default());
    let agent = Agent::start(&job.manifest, &["--http", "0.0.0.0:0"]);
    agent.reports("idle", SOON, |r| r.reason == FlowReason::Idle);
    let port = agent.address().port();
    match own_address() {
        Some(ip) => {
            let get = |path: &str| {
                let mut stream = TcpStream::connect((ip, port)).unwrap();
                write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            };
            let refused = get("/report");
            assert!(refused.starts_with("HTTP/1.1 403 ") && refused.ends_with("or in the pod\n"), "{refused}");
            assert!(get("/metrics").starts_with("HTTP/1.1 200 "));
            assert!(get("/readyz").starts_with("HTTP/1.1 200 "));
        }
        None => super::skipped("this machine has no address but loopback"),
    }
    // More connections than are served at a time, and none of them says anything.
    let idle: Vec<_> = (0..16).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    until("it answers again", SOON, || agent.try_get("/healthz").filter(|answer| answer.0 == 200));
    drop(idle);
}

#[test]
fn health_says_in_one_line_whether_the_loop_lives() {
    let Some(bed) = bed::shared() else { return };
    let job = Job::new(bed, "health", &Plan::default());
    let agent = job.start();
    agent.reports("idle", SOON, |r| r.flowing);
    let ask = |address: &str| {
        let out =
            Command::new(env!("CARGO_BIN_EXE_spoolway")).args(["health", "--http", address]).output().unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let address = agent.address().to_string();
    assert_eq!(ask(&address), (Some(0), "ok\n".into(), String::new()));
    agent.kill();
    let (code, out, err) = ask(&address);
    assert_eq!((code, out.as_str(), err.lines().count()), (Some(1), "", 1), "{err}");
    assert!(err.starts_with(&format!("spoolway: http://{address}/healthz does not answer: ")), "{err}");
}

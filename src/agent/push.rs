//! Pushes reports to the operator, on a plain thread of its own: shipping never waits for it, whatever becomes of a report. I/O; when
//! to send is [`Pace`], which is pure.
//!
//! A connection carries one report: the token is read anew for each, for the kubelet renews it, and a new leader of the operator is met at
//! the next report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use super::status::Status;
use crate::pipeline::pod::{ReportAnswer, ReportTo};
use crate::pipeline::report::{FlowReason, Report};

/// Time between looks, and so between two reports at least.
const TICK: Duration = Duration::from_secs(1);
/// Time between reports, until the operator says another.
const EVERY: Duration = Duration::from_secs(15);
/// What the operator may say, in seconds.
const BOUNDS: (u64, u64) = (5, 600);
/// Longest time that one report takes.
const TIME: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read.
const ANSWER: u64 = 4096;

/// The thread that pushes.
pub struct Push {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Push {
    /// Begins; `token` is the file with the ServiceAccount token. Where reports go is what `status` says at the time.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(status: Arc<Status>, token: PathBuf) -> std::io::Result<Push> {
        let (end, ended) = mpsc::channel();
        let thread =
            std::thread::Builder::new().name("push".into()).spawn(move || push(&status, &token, &ended))?;
        Ok(Push { end, thread })
    }

    /// Sends one last report, and ends; within 5 s.
    pub fn finish(self) {
        drop(self.end);
        let _ = self.thread.join();
    }
}

fn push(status: &Status, token: &Path, ended: &Receiver<()>) {
    let (start, mut pace, mut trouble) = (Instant::now(), Pace::default(), String::new());
    loop {
        let last = ended.recv_timeout(TICK) == Err(RecvTimeoutError::Disconnected);
        if let Some(to) = status.report_to() {
            let report = status.report();
            if last || pace.is_due(start.elapsed(), &report) {
                let answer = post(&to, token, &report);
                pace.sent(start.elapsed(), &report, answer.as_ref().ok(), fastrand::f64());
                note(&to, answer.err().unwrap_or_default(), &mut trouble);
            }
        }
        if last {
            return;
        }
    }
}

/// Told once when it begins, and once when it ends.
fn note(to: &ReportTo, why: String, trouble: &mut String) {
    let url = to.url.escape_debug();
    match (trouble.is_empty(), why.is_empty()) {
        (true, false) => tracing::warn!(
            "reports do not arrive at {url}: {why}; shipping goes on; look at the operator's pods and its Service"
        ),
        (false, true) => tracing::info!("reports arrive at {url} again"),
        _ => {}
    }
    *trouble = why;
}

fn post(to: &ReportTo, token: &Path, report: &Report) -> Result<ReportAnswer, String> {
    let shown = token.display();
    let token = std::fs::read_to_string(token).map_err(|e| format!("token {shown} cannot be read: {e}"))?;
    let trusted: Vec<Certificate<'static>> = parse_pem(to.ca.as_bytes())
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if trusted.is_empty() {
        return Err("reportTo.ca of agent.json holds no certificate".into());
    }
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::Specific(Arc::new(trusted)))
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .https_only(true)
        .proxy(None) // the operator is in this cluster
        .max_redirects(0) // the token is for it alone
        .http_status_as_error(false)
        .timeout_global(Some(TIME));
    let sent = ureq::Agent::new_with_config(config.build())
        .post(&to.url)
        .header("Authorization", format!("Bearer {}", token.trim()))
        .send_json(report);
    let mut answer = sent.map_err(|e| e.to_string())?;
    let body = answer.body_mut().with_config().limit(ANSWER).read_to_string().map_err(|e| e.to_string())?;
    if !answer.status().is_success() {
        let line = body.lines().next().unwrap_or_default();
        return Err(format!("it answers {}: {}", answer.status().as_u16(), line.escape_debug()));
    }
    serde_json::from_str(&body).map_err(|e| format!("its answer cannot be read: {e}"))
}

/// When to send the next report.
#[derive(Debug)]
struct Pace {
    due: Duration,
    every: Duration,
    told: Option<State>,
}

/// A change of this is told at once.
type State = (FlowReason, String, bool, String);

impl Default for Pace {
    fn default() -> Self {
        Pace { due: Duration::ZERO, every: EVERY, told: None }
    }
}

impl Pace {
    fn is_due(&self, now: Duration, report: &Report) -> bool {
        now >= self.due || self.told.as_ref() != Some(&state(report))
    }

    /// `chance` in 0..1 spreads the agents over the time. What did not arrive waits for its next turn, too.
    fn sent(&mut self, now: Duration, report: &Report, answer: Option<&ReportAnswer>, chance: f64) {
        if let Some(answer) = answer {
            self.every = Duration::from_secs(answer.next_seconds.clamp(BOUNDS.0, BOUNDS.1));
        }
        self.due = now + self.every.mul_f64(0.8 + 0.4 * chance);
        self.told = Some(state(report));
    }
}

/// Idle or not is no change: that may come every second.
fn state(report: &Report) -> State {
    let reason = if report.reason == FlowReason::Idle { FlowReason::Flowing } else { report.reason };
    (reason, report.config_hash.clone(), report.suspended, report.config_problem.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::{Config, Place};

    fn report() -> Report {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.yaml");
        std::fs::write(&path, include_str!("../../deploy/samples/seed.yaml")).unwrap();
        let place = Place::File { path, cluster: "local".into() };
        let config: Config = place.judge(&place.look()).unwrap().unwrap();
        Status::new("local/default/web/a1".into(), &config).report()
    }

    #[test]
    fn every_15_seconds_more_or_less_and_at_once_when_the_state_changes() {
        let (mut pace, mut report) = (Pace::default(), report());
        let at = Duration::from_secs;
        assert!(pace.is_due(at(0), &report), "the first one at once");
        pace.sent(at(0), &report, None, 0.0);
        assert!(!pace.is_due(at(11), &report) && pace.is_due(at(12), &report));
        pace.sent(at(0), &report, None, 1.0);
        assert!(!pace.is_due(at(17), &report) && pace.is_due(at(18), &report));
        report.totals.records += 1;
        assert!(!pace.is_due(at(1), &report), "numbers wait");
        report.reason = FlowReason::Idle;
        assert!(pace.is_due(at(1), &report));
        pace.sent(at(0), &report, None, 1.0);
        report.reason = FlowReason::Flowing;
        assert!(!pace.is_due(at(1), &report), "an agent has nothing to do again and again");
        report.config_problem = "something".into();
        assert!(pace.is_due(at(1), &report));
        pace.sent(at(1), &report, None, 0.5);
        assert!(!pace.is_due(at(2), &report), "also where it did not arrive");
    }

    #[test]
    fn the_operator_says_how_often_within_bounds() {
        let (mut pace, report) = (Pace::default(), report());
        for (says, seconds) in [(60, 60), (0, 5), (u64::MAX, 600)] {
            pace.sent(Duration::ZERO, &report, Some(&ReportAnswer { next_seconds: says }), 0.5);
            assert_eq!(pace.due.as_secs(), seconds, "{says}");
        }
        pace.sent(Duration::ZERO, &report, None, 0.5);
        assert_eq!(pace.due.as_secs(), 600, "what it said last holds while it is away");
    }
}

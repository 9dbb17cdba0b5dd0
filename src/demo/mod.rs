//! `spoolway demo`: the real agent on generated logs, with a live picture (`embedded`) or under kill -9 (`kills`).
//!
//! `access_log`, `tally` and `picture` are pure; `spool` writes files, `watch` reads topics. The bench uses `access_log` too.

pub mod access_log;
pub mod embedded;
pub mod kills;
pub mod picture;
pub mod screen;
pub mod spool;
pub mod tally;
pub mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::pipeline::{Judge, LogPipeline, validate};

/// Topic of the demo's lines.
pub const TOPIC: &str = "web-access";
/// Topic of the demo's progress.
pub const CHECKPOINTS: &str = "spoolway-demo-checkpoints";
/// Topic of the demo's receipts.
pub const RECEIPTS: &str = "spoolway-demo-receipts";

/// The demo's pipeline as text: what a person would write, with small times so that something is seen to move.
fn pipeline_text(spool: &std::path::Path, bootstrap: &str, commit_interval: &str, transaction: &str) -> String {
    let servers: Vec<&str> = bootstrap.split(',').collect();
    let (spool, servers) = (spool.display().to_string(), serde_json::json!(servers));
    format!(
        "apiVersion: spoolway.dev/v1alpha1
kind: LogPipeline
metadata: {{name: {TOPIC}, namespace: demo}}
spec:
  source:
    spoolDir: {{path: {}, settleTime: 1s}}
  sink:
    kafka: {{bootstrapServers: {servers}, topic: {TOPIC}}}
  delivery:
    commitInterval: {commit_interval}
    maxTransactionBytes: {transaction}
    checkpointTopic: {CHECKPOINTS}
    receiptTopic: {RECEIPTS}
",
        serde_json::json!(spool)
    )
}

/// The pipeline of such a text.
fn pipeline(text: &str) -> anyhow::Result<LogPipeline> {
    let said = |problems: Vec<crate::pipeline::problem::Problem>| {
        let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the demo's pipeline is not valid: {}", words.join("; "))
    };
    let pipeline = crate::yaml::load(text).map_err(said)?.pop().context("the demo has no pipeline")?;
    let problems = validate(&pipeline, Judge::Bare);
    if problems.is_empty() { Ok(pipeline) } else { Err(said(problems)) }
}

/// Set by ctrl-c, SIGTERM, or a closed window, so that nothing is left behind. The same signal once more ends the process at
/// once; another one does not: ctrl-c reaches a script too, which then sends SIGTERM.
fn interruptible() -> std::io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let before = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register_conditional_shutdown(signal, 1, before.clone())?;
        signal_hook::flag::register(signal, before)?;
        signal_hook::flag::register(signal, interrupted.clone())?;
    }
    Ok(interrupted)
}

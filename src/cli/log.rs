//! Where log lines go: standard error, for people on a terminal, as JSON elsewhere (`SPOOLWAY_LOG=text|json` decides instead).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What an on-call needs. The controller library tells of each round, and of keys that no pod has.
const USUAL: &str = "info,kube_runtime=warn";

/// Starts logging; `RUST_LOG` chooses what, by default what an on-call needs.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL));
    let terminal = std::io::stderr().is_terminal();
    let json = match std::env::var("SPOOLWAY_LOG").as_deref() {
        Ok("json") => true,
        Ok("text") => false,
        _ => !terminal,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(terminal && std::env::var_os("NO_COLOR").is_none());
    if json { builder.json().flatten_event(true).init() } else { builder.compact().init() }
}

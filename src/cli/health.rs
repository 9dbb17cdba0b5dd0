//! `spoolway health`: asks an agent whether its loop lives, for probes in images without a shell.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// Longest wait for the answer.
const TIME: Duration = Duration::from_secs(5);

/// Whom to ask.
#[derive(Debug, clap::Args)]
pub struct HealthArgs {
    /// Where the agent serves HTTP
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
}

/// One line; the exit code is 0 where the loop lives, 1 where it does not or nobody answers.
pub fn run(args: &HealthArgs) -> ExitCode {
    match ask(args.http) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("spoolway: {why}");
            ExitCode::from(1)
        }
    }
}

fn ask(address: SocketAddr) -> Result<String, String> {
    let config = ureq::Agent::config_builder().timeout_global(Some(TIME)).proxy(None).http_status_as_error(false);
    let url = format!("http://{address}/healthz");
    let silent = |e: ureq::Error| format!("{url} does not answer: {e}; is an agent running with --http {address}?");
    let mut answer = ureq::Agent::new_with_config(config.build()).get(&url).call().map_err(silent)?;
    let code = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(1024).read_to_string().map_err(silent)?;
    let line = body.lines().next().unwrap_or_default().escape_debug().to_string();
    if code == 200 { Ok(line) } else { Err(format!("{url} answers {code}: {line}")) }
}

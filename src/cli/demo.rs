//! `spoolway demo`: the arguments; the demo itself is [`crate::demo`].

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::demo::{embedded, kills};

/// Without --kafka everything is embedded, and a live picture shows it.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// End after this time, and when all is shipped; without it ctrl-c ends the demo
    #[arg(long, value_name = "N", conflicts_with = "kafka")]
    pub seconds: Option<u64>,
    /// Ship into this Kafka, which has a topic web-access, and kill -9 the agent three times on the way
    #[arg(long, value_name = "HOST:PORT", num_args = 0..=1, default_missing_value = "")]
    pub kafka: Option<String>,
    /// With --kafka: the number of lines
    #[arg(long, value_name = "N", default_value_t = 600_000, value_parser = clap::value_parser!(u64).range(100_000..=100_000_000))]
    pub lines: u64,
    /// With --kafka: keep everything in this directory, which must not exist [default: a temporary one]
    #[arg(long, value_name = "DIR", requires = "kafka")]
    pub keep: Option<PathBuf>,
}

/// Runs it; 0 only when every line arrived once.
pub fn run(args: &DemoArgs) -> ExitCode {
    let ended = match &args.kafka {
        Some(bootstrap) if bootstrap.is_empty() => {
            eprintln!(
                "spoolway: --kafka needs HOST:PORT; in a clone, `make demo ARGS=--kafka` starts a Kafka for it"
            );
            return ExitCode::from(2);
        }
        Some(bootstrap) => kills::run(bootstrap, args.lines, args.keep.as_deref()),
        None => embedded::run(args.seconds.map(Duration::from_secs)),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("spoolway: {error:#}");
            ExitCode::from(1)
        }
    }
}

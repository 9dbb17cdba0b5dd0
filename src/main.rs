//! The `spoolway` command.

use std::process::ExitCode;

use clap::Parser;
use spoolway::cli::Cli;

fn main() -> ExitCode {
    // An error means that there is one already, which is as good.
    #[cfg(any(feature = "agent", feature = "operator"))]
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Cli::parse().run()
}

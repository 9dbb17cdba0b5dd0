//! The `spoolway` command.

use std::process::ExitCode;

use clap::Parser;
use spoolway::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}

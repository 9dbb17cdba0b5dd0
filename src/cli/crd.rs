//! `spoolway crd`: prints what Kubernetes has to know, as YAML: the CustomResourceDefinition, or the roles for people.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::operator::{crd, roles};
use crate::yaml;

/// What to print.
#[derive(Debug, clap::Args)]
pub struct CrdArgs {
    /// Print the ClusterRoles that add LogPipelines to Kubernetes' own view, edit and admin
    #[arg(long)]
    pub roles: bool,
}

/// Prints it.
pub fn run(args: CrdArgs) -> ExitCode {
    let text = if args.roles { roles_text() } else { crd_text() };
    match io::stdout().write_all(text.as_bytes()) {
        // A reader that went away (`| head`) is no failure of ours.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("the output cannot be written: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

const HEAD: &str = "# Made by `make generate` from the types in src/; changes here are lost.\n";

/// The file `crds/logpipelines.yaml`.
pub fn crd_text() -> String {
    format!("{HEAD}{}", yaml::write(&crd::crd()))
}

/// The file `charts/spoolway/files/roles.yaml`.
pub fn roles_text() -> String {
    let documents: Vec<String> = roles::roles().iter().map(yaml::write).collect();
    format!("{HEAD}{}", documents.join("---\n"))
}

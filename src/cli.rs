//! The command line: one subcommand, one file beneath `cli/`.

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "operator")]
pub mod crd;
#[cfg(feature = "agent")]
pub mod demo;
#[cfg(feature = "agent")]
pub mod health;
pub mod log;
#[cfg(feature = "operator")]
pub mod operator;
#[cfg(feature = "agent")]
pub mod plan;
#[cfg(feature = "agent")]
pub mod progress;
#[cfg(feature = "operator")]
pub mod status;
#[cfg(any(feature = "agent", feature = "operator"))]
mod table;
pub mod validate;
#[cfg(feature = "agent")]
pub mod verify;
#[cfg(feature = "agent")]
mod whose;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Ships files from spool directories into Kafka, exactly once.
#[derive(Debug, Parser)]
#[command(name = "spoolway", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one pipeline on this machine
    #[cfg(feature = "agent")]
    Agent(agent::AgentArgs),
    /// Show what an agent would do with each file, and everything that is in its way; an agent that runs does not notice
    #[cfg(feature = "agent")]
    Plan(plan::PlanArgs),
    /// Show what is committed of each file; accept another checkpoint topic; forget files, to read them again
    #[cfg(feature = "agent")]
    Progress(progress::ProgressArgs),
    /// Prove from the topic itself that every line that was shipped is there, once and in order; names what is not
    #[cfg(feature = "agent")]
    Verify(verify::VerifyArgs),
    /// Ask an agent whether it lives: exit code 0 or 1
    #[cfg(feature = "agent")]
    Health(health::HealthArgs),
    /// Ship generated logs before your eyes, into a broker of its own or a real Kafka
    #[cfg(feature = "agent")]
    Demo(demo::DemoArgs),
    /// Keep agents running for the LogPipelines of a cluster
    #[cfg(feature = "operator")]
    Operator(operator::OperatorArgs),
    /// Show how LogPipelines of a cluster fare: exit code 0 when Ready
    #[cfg(feature = "operator")]
    Status(status::StatusArgs),
    /// Print the CustomResourceDefinition of LogPipeline
    #[cfg(feature = "operator")]
    Crd(crd::CrdArgs),
    /// Say everything that is wrong with LogPipeline files
    Validate(validate::ValidateArgs),
}

impl Cli {
    /// Does it; the exit code is 0 when all is fine, 1 when the job failed, 2 for usage or invalid input.
    pub fn run(self) -> ExitCode {
        match self.command {
            #[cfg(feature = "agent")]
            Command::Agent(args) => agent::run(args),
            #[cfg(feature = "agent")]
            Command::Plan(args) => plan::run(&args),
            #[cfg(feature = "agent")]
            Command::Progress(args) => progress::run(&args),
            #[cfg(feature = "agent")]
            Command::Verify(args) => verify::run(&args),
            #[cfg(feature = "agent")]
            Command::Health(args) => health::run(&args),
            #[cfg(feature = "agent")]
            Command::Demo(args) => demo::run(&args),
            #[cfg(feature = "operator")]
            Command::Operator(args) => operator::run(args),
            #[cfg(feature = "operator")]
            Command::Status(args) => status::run(&args),
            #[cfg(feature = "operator")]
            Command::Crd(args) => crd::run(args),
            Command::Validate(args) => validate::run(args),
        }
    }
}

//! Which pipeline `plan`, `progress` and `verify` are about, and as which agent they ask. Reads the same files as the agent, and judges them the same.

use std::path::{Path, PathBuf};

use crate::agent::Options;
use crate::agent::config::{Config, Place};
use crate::agent::setup::{Setup, Sink, ToKafka};
use crate::pipeline::pod::SECRETS_DIR;

/// Which pipeline, and with what beside it.
#[derive(Debug, clap::Args)]
pub struct Whose {
    /// File with one LogPipeline
    #[arg(short, long = "file", value_name = "FILE", required_unless_present = "config_dir")]
    pub file: Option<PathBuf>,
    /// In an agent's pod: directory with pipeline.yaml and agent.json (/etc/spoolway/config)
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "cluster", "state_dir"])]
    pub config_dir: Option<PathBuf>,
    /// As the agent has it; of a pipeline that the operator runs, the first part of the prefix that its status shows
    #[arg(long, value_name = "NAME", default_value = "local")]
    pub cluster: String,
    /// As the agent has it: what it remembers of the checkpoint topic
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Directory with the pipeline's Secrets, DIR/<secret>/<key>, mode 0600 [default with --config-dir: /etc/spoolway/secrets]
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
}

/// Input that cannot be used: exit code 2.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid(pub Vec<String>);

impl Whose {
    /// The configuration, and what becomes of it for this agent.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn setup(&self, agent_id: &str) -> Result<(Config, Setup, ToKafka), Invalid> {
        let place = Place::given(self.config_dir.as_ref(), None, self.file.as_ref(), &self.cluster);
        let place = place.ok_or_else(|| Invalid(vec!["say which pipeline: -f FILE".to_owned()]))?;
        check_agent_id(agent_id).map_err(|problem| Invalid(vec![problem.to_owned()]))?;
        let gone = || Invalid(vec!["the LogPipeline of this pod is gone".to_owned()]);
        let config = place.judge(&place.look()).map_err(Invalid)?.ok_or_else(gone)?;
        let in_pod = self.config_dir.as_ref().map(|_| Path::new(SECRETS_DIR).to_owned());
        let options = Options {
            agent_id: agent_id.to_owned(),
            state_dir: self.state_dir.clone(),
            secrets: self.secrets.clone().or(in_pod),
            ..Options::default()
        };
        let setup = Setup::new(&config, &options).map_err(|e| Invalid(vec![format!("{e:#}")]))?;
        let Sink::Kafka(to) = &setup.sink else {
            let problem = "spec.sink: only of a pipeline into Kafka are progress and receipts kept where this command can look";
            return Err(Invalid(vec![problem.to_owned()]));
        };
        let to = (**to).clone();
        Ok((config, setup, to))
    }

    /// The agent that this machine or pod has: `--agent-id`, or what it is by default.
    pub fn agent_id(&self, given: Option<&str>) -> String {
        let node = || std::env::var("NODE_NAME").ok().filter(|_| self.config_dir.is_some());
        given.map(str::to_owned).or_else(node).unwrap_or_else(host_name)
    }
}

/// The name of an agent that was given none.
pub fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// What an agent may not be called, since ids and messages are made of it.
///
/// # Errors
/// It is no such name.
pub fn check_agent_id(id: &str) -> Result<(), &'static str> {
    if id.is_empty() || id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("--agent-id must be a name without spaces or control characters");
    }
    Ok(())
}

//! `spoolway status`: what the operator says of LogPipelines, for a person on call. I/O; what it looks like is `text`'s.

mod ask;
mod text;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use kube::api::{Api, DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use serde::{Deserialize as _, Serialize};

use super::table::{Output, plain};
use crate::operator::observe::log_pipelines;
use crate::pipeline::LogPipelineStatus;
use crate::pipeline::report::AgentAnswer;
use crate::pipeline::status::ConditionStatus;

/// How often `--watch` looks.
const EVERY: Duration = Duration::from_secs(2);

/// What to show.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 when Ready is True for all that is shown, 1 when it is not or the cluster does not answer, \
                        2 for wrong usage. --watch goes on until Ctrl-C."
)]
pub struct StatusArgs {
    /// The LogPipeline; without it, all of the namespace are listed
    pub name: Option<String>,
    /// Its namespace [default: the kubeconfig's]
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Ask the operator for what each agent reported last, the worst first; needs the right to forward ports to its pod
    #[arg(long, requires = "name")]
    pub agents: bool,
    /// Show it again every two seconds
    #[arg(short, long)]
    pub watch: bool,
    /// As text for people, or as JSON for programs
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// The token that --agents shows to the operator [default: the kubeconfig's]
    #[arg(long, value_name = "TOKEN", requires = "agents")]
    pub token: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, ~/.kube/config, or the pod's own ServiceAccount]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context [default: its current one]
    #[arg(long)]
    pub context: Option<String>,
}

/// A LogPipeline, and what is known of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    namespace: String,
    name: String,
    /// The generation of its spec.
    generation: i64,
    status: LogPipelineStatus,
    /// What its agents said, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    agents: Option<Vec<AgentAnswer>>,
}

impl Shown {
    fn of(pipeline: &DynamicObject) -> anyhow::Result<Self> {
        let (namespace, name) = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
        let status = match pipeline.data.get("status") {
            Some(status) => LogPipelineStatus::deserialize(status)
                .with_context(|| format!("LogPipeline {namespace}/{name} has a status of another release"))?,
            None => LogPipelineStatus::default(),
        };
        Ok(Shown { namespace, name, generation: pipeline.metadata.generation.unwrap_or(0), status, agents: None })
    }

    /// Whether the operator has seen the spec as it is now.
    fn current(&self) -> bool {
        self.status.observed_generation == Some(self.generation)
    }

    fn ready(&self) -> bool {
        let mut conditions = self.status.conditions.iter().flatten();
        self.current() && conditions.any(|c| c.type_ == "Ready" && c.status == ConditionStatus::True)
    }
}

/// Shows it; the exit code is 0 where all is ready, 1 where it is not or cannot be told.
pub fn run(args: &StatusArgs) -> ExitCode {
    match show(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("spoolway: {}", plain(&format!("{error:#}")));
            ExitCode::from(1)
        }
    }
}

fn show(args: &StatusArgs) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut config = config(args).await?;
        // A person waits: what fails is told at once.
        config.default_retry = false;
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let token = if args.agents { Some(ask::token(args.token.as_deref(), &config, &namespace)?) } else { None };
        let client = Client::try_from(config).context("this kubeconfig cannot be used")?;
        loop {
            let looked = look(&client, &namespace, args.name.as_deref(), token.as_deref()).await;
            if !args.watch {
                let all = looked?;
                write(args, &all)?;
                return Ok(all.iter().all(Shown::ready));
            }
            match looked {
                Ok(all) => write(args, &all)?,
                Err(error) => eprintln!("spoolway: {}; trying again", plain(&format!("{error:#}"))),
            }
            tokio::time::sleep(EVERY).await;
        }
    })
}

async fn config(args: &StatusArgs) -> anyhow::Result<Config> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    if let Some(file) = &args.kubeconfig {
        let kubeconfig = Kubeconfig::read_from(file).context("this kubeconfig cannot be read")?;
        return Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .context("this kubeconfig cannot be used");
    }
    if args.context.is_some() {
        return Config::from_kubeconfig(&options).await.context("the kubeconfig has no such context");
    }
    Config::infer().await.context("cannot find a cluster: no kubeconfig, and no pod")
}

async fn look(
    client: &Client,
    namespace: &str,
    name: Option<&str>,
    token: Option<&str>,
) -> anyhow::Result<Vec<Shown>> {
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &log_pipelines());
    let Some(name) = name else {
        let all = api.list(&ListParams::default()).await;
        let all = all.with_context(|| format!("cannot list the LogPipelines of namespace {namespace}"))?;
        return all.items.iter().map(Shown::of).collect();
    };
    let found = api.get(name).await.with_context(|| format!("cannot read LogPipeline {namespace}/{name}"))?;
    let mut shown = Shown::of(&found)?;
    if let Some(token) = token {
        shown.agents = Some(ask::agents(client, namespace, name, token).await?);
    }
    Ok(vec![shown])
}

fn write(args: &StatusArgs, all: &[Shown]) -> anyhow::Result<()> {
    let said = match (args.output, &args.name, all) {
        (Output::Json, Some(_), [one]) => format!("{}\n", serde_json::to_string(one)?),
        (Output::Json, ..) => format!("{}\n", serde_json::to_string(all)?),
        (Output::Text, Some(_), [one]) => text::one(one),
        (Output::Text, ..) => text::list(all),
    };
    let mut out = io::stdout().lock();
    if args.watch && args.output == Output::Text && out.is_terminal() {
        // To the top left, and everything below is cleared.
        out.write_all(b"\x1b[H\x1b[J")?;
    }
    match out.write_all(said.as_bytes()).and_then(|()| out.flush()) {
        // A reader that went away (`| head`) is no failure of ours.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe || args.watch => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(generation: i64, observed: Option<i64>, ready: &str) -> Shown {
        let mut pipeline: DynamicObject = DynamicObject::new("web", &log_pipelines()).within("shop");
        pipeline.metadata.generation = Some(generation);
        pipeline.data = json!({"status": {"observedGeneration": observed, "conditions": [
            {"type": "Accepted", "status": "True", "reason": "Valid", "message": "", "lastTransitionTime": "t"},
            {"type": "Ready", "status": ready, "reason": "Flowing", "message": "", "lastTransitionTime": "t"},
        ]}});
        Shown::of(&pipeline).unwrap()
    }

    #[test]
    fn ready_is_about_the_spec_as_it_is_now() {
        assert!(shown(2, Some(2), "True").ready());
        assert!(!shown(2, Some(1), "True").ready(), "the operator has not seen this spec");
        assert!(!shown(2, None, "True").ready());
        assert!(!shown(2, Some(2), "False").ready());
        assert!(!shown(2, Some(2), "Unknown").ready());
    }

    #[test]
    fn without_a_status_nothing_is_ready() {
        let fresh = DynamicObject::new("web", &log_pipelines()).within("shop");
        let fresh = Shown::of(&DynamicObject { data: json!({"spec": {}}), ..fresh }).unwrap();
        assert!(!fresh.ready() && !fresh.current());
        assert!(text::one(&fresh).contains("is the operator running?"), "{}", text::one(&fresh));
    }
}

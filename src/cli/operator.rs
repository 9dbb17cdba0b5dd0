//! `spoolway operator`: keeps agents running for the LogPipelines of a cluster.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::{Client, ResourceExt};

use crate::operator::config::OperatorConfig;
use crate::operator::controller;
use crate::operator::reconcile::Context;
use crate::operator::seen::Nothing;

/// What the operator is told.
#[derive(Debug, clap::Args)]
pub struct OperatorArgs {
    /// File with the operator's configuration, as the chart writes it: image, hostPaths, clusterName and others
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Runs the operator until it is told to stop.
pub fn run(args: OperatorArgs) -> ExitCode {
    super::log::start();
    let config = match load(&args.config) {
        Ok(config) => config,
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("spoolway: {problem}"));
            return ExitCode::from(2);
        }
    };
    match operate(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spoolway: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// The configuration, or everything that is wrong with it.
fn load(file: &Path) -> Result<OperatorConfig, Vec<String>> {
    let shown = file.display().to_string().escape_debug().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| vec![format!("{shown}: {e}")])?;
    OperatorConfig::read(&text).map_err(|all| all.iter().map(|problem| format!("{shown}: {problem}")).collect())
}

fn operate(config: OperatorConfig) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::try_default().await.context("cannot find a cluster: no pod, and no kubeconfig")?;
        let cluster = match &config.cluster_name {
            Some(cluster) => cluster.clone(),
            None => cluster_of(&client).await?,
        };
        tracing::info!(image = config.image, cluster, "operator");
        let context = Context::new(client, config, &cluster, Arc::new(Nothing), Context::clock());
        controller::run(Arc::new(context), futures::stream::pending().boxed()).await;
        Ok(())
    })
}

/// The first 8 characters of the uid that no other cluster's kube-system has.
async fn cluster_of(client: &Client) -> anyhow::Result<String> {
    let namespaces = Api::<Namespace>::all(client.clone());
    let system = namespaces.get_metadata("kube-system").await.context("cannot read namespace kube-system")?;
    let uid = system.uid().context("namespace kube-system has no uid")?;
    Ok(uid.chars().take(8).collect())
}

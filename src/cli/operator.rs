//! `spoolway operator`: keeps agents running for the LogPipelines of a cluster.

use std::process::ExitCode;

use anyhow::Context;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::{Client, ResourceExt};

use crate::operator::desired::Settings;
use crate::operator::reconcile;

/// What the operator is told.
#[derive(Debug, clap::Args)]
pub struct OperatorArgs {
    /// The image of the agents: this program's own
    #[arg(long, value_name = "IMAGE")]
    pub image: String,
    /// Keeps clusters that share a Kafka apart; never change it [default: from the uid of the namespace kube-system]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// The host path beneath which the spool directories of a namespace lie
    #[arg(long, value_name = "PATH", default_value = "/var/spool/spoolway/{namespace}", value_parser = spool_root)]
    pub spool_root: String,
}

/// An absolute path in which the namespace is a component of its own, so that no namespace reads another's.
fn spool_root(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('/').collect();
    if !text.starts_with('/') || parts.contains(&"..") || !parts.contains(&"{namespace}") {
        return Err("must be an absolute path with /{namespace} in it".to_owned());
    }
    Ok(text.to_owned())
}

/// Runs the operator until it is told to stop.
pub fn run(args: OperatorArgs) -> ExitCode {
    super::log::start();
    match operate(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spoolway: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn operate(args: OperatorArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::try_default().await.context("cannot find a cluster: no pod, and no kubeconfig")?;
        let cluster = match args.cluster {
            Some(cluster) => cluster,
            None => cluster_of(&client).await?,
        };
        tracing::info!(image = args.image, cluster, "operator");
        reconcile::run(client, Settings { image: args.image, cluster, spool_root: args.spool_root }).await;
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

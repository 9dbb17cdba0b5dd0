//! `spoolway operator`: keeps agents running for the LogPipelines of a cluster.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::{Client, ResourceExt};

use crate::operator::config::OperatorConfig;
use crate::operator::controller::{self, Wake};
use crate::operator::reconcile::Context;
use crate::operator::reports::{self, Place};
use crate::operator::seen::{Nothing, Seen};

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
        let (seen, wakes) = listen(&client, &config).await?;
        let context = Context::new(client, config, &cluster, seen, Context::clock());
        controller::run(Arc::new(context), wakes).await;
        Ok(())
    })
}

/// Where agents report, when this runs in a pod; what is heard of them, and the pipelines that it wakes.
async fn listen(
    client: &Client,
    config: &OperatorConfig,
) -> anyhow::Result<(Arc<dyn Seen>, BoxStream<'static, Wake>)> {
    let of_pod = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(namespace), Some(pod), Some(address)) =
        (of_pod("POD_NAMESPACE"), of_pod("POD_NAME"), of_pod("POD_IP"))
    else {
        tracing::warn!(
            "agents cannot report, so no status will show what flows: POD_NAMESPACE, POD_NAME and POD_IP are not set, as in a pod"
        );
        return Ok((Arc::new(Nothing), futures::stream::pending().boxed()));
    };
    let place = Place {
        namespace,
        pod,
        address: address.parse().with_context(|| format!("POD_IP is no address: {address}"))?,
        service: config.report_service.clone(),
        secret: config.certificate_secret.clone(),
    };
    let (reports, woken) = reports::start(client.clone(), place).await?;
    let woken = futures::stream::unfold(woken, |mut woken| async {
        woken.recv().await.map(|(namespace, name)| (controller::wake(&namespace, &name), woken))
    });
    Ok((Arc::new(reports), woken.boxed()))
}

/// The first 8 characters of the uid that no other cluster's kube-system has.
async fn cluster_of(client: &Client) -> anyhow::Result<String> {
    let namespaces = Api::<Namespace>::all(client.clone());
    let system = namespaces.get_metadata("kube-system").await.context("cannot read namespace kube-system")?;
    let uid = system.uid().context("namespace kube-system has no uid")?;
    Ok(uid.chars().take(8).collect())
}

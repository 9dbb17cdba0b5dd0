//! The controller: what wakes a pipeline, and how many are looked at together. I/O.
//!
//! A pipeline is woken by its own spec (not by its status: that is ours), by its children and its namespace, and by what is seen
//! of agents; all but the first are gathered, so that a storm of changes is one look in two seconds.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt, select_all};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DynamicObject, ListParams, PartialObjectMeta};
use kube::runtime::controller::{Config, Controller, Error};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store, reflector};
use kube::runtime::{PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::observe::log_pipelines;
use super::reconcile::{Context, again, reconcile};
use super::wake::gather;
use crate::pipeline::{API_VERSION, KIND};

/// Pipelines that are reconciled at the same time.
const CONCURRENCY: u16 = 8;
/// How long wakes are gathered.
const GATHER: Duration = Duration::from_secs(2);
/// How often to look whether the CRD is there by now.
const CRD_WAIT: Duration = Duration::from_secs(5);

/// A pipeline that is to be looked at.
pub type Wake = ObjectRef<DynamicObject>;

/// The pipeline `name` of `namespace`, to be woken.
pub fn wake(namespace: &str, name: &str) -> Wake {
    ObjectRef::new_with(name, log_pipelines()).within(namespace)
}

/// Runs until SIGTERM or SIGINT; what is under way then is finished. `wakes` names pipelines of whose agents something was seen.
pub async fn run(context: Arc<Context>, wakes: BoxStream<'static, Wake>) {
    wait_for_crd(&context.client).await;
    let (client, resource) = (context.client.clone(), log_pipelines());
    let writer = Writer::<DynamicObject>::new(resource.clone());
    let pipelines = writer.as_reader();
    let all = Api::<DynamicObject>::all_with(client.clone(), &resource);
    let changes = reflector(writer, watcher(all, watcher::Config::default()))
        .default_backoff()
        .applied_objects()
        .predicate_filter(predicates::generation, PredicateConfig::default());
    let mut around = vec![
        wakes,
        children::<DaemonSet>(&context),
        children::<ConfigMap>(&context),
        children::<ServiceAccount>(&context),
        namespaces(&context, pipelines.clone()),
    ];
    if context.config.network_policy {
        around.push(children::<NetworkPolicy>(&context));
    }
    Controller::for_stream_with(changes, pipelines, resource)
        .reconcile_on(gather(select_all(around), GATHER))
        .with_config(Config::default().concurrency(CONCURRENCY))
        .shutdown_on_signal()
        .run(reconcile, again, context.clone())
        .for_each(|outcome| {
            match outcome {
                // Its children wake it for the last time when they are collected.
                Err(Error::ObjectNotFound(gone)) => {
                    context.forget(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
                }
                Err(Error::QueueError(error)) => tracing::warn!("watching LogPipelines: {error}"),
                Ok(_) | Err(_) => {}
            }
            std::future::ready(())
        })
        .await;
}

/// The CRD may come later than the operator, and the operator waits for it.
async fn wait_for_crd(client: &Client) {
    let pipelines = Api::<DynamicObject>::all_with(client.clone(), &log_pipelines());
    let mut said = String::new();
    while let Err(error) = pipelines.list(&ListParams::default().limit(1)).await {
        let now = match &error {
            kube::Error::Api(status) if status.is_not_found() => {
                "the cluster knows no LogPipeline; waiting for its CRD: spoolway crd | kubectl apply --server-side -f -".to_owned()
            }
            other => format!("cannot list LogPipelines, trying again: {other}"),
        };
        if said != now {
            tracing::warn!("{now}");
            said = now;
        }
        tokio::time::sleep(CRD_WAIT).await;
    }
}

/// The pipelines whose children of one kind change.
fn children<K>(context: &Arc<Context>) -> BoxStream<'static, Wake>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let ours = watcher::Config::default().labels("app.kubernetes.io/managed-by=spoolway");
    let api = Api::<PartialObjectMeta<K>>::all(context.client.clone());
    let context = context.clone();
    watcher(api, ours)
        .default_backoff()
        .touched_objects()
        .filter_map(move |child| {
            let child = child.inspect_err(|error| tracing::warn!("watching {}: {error}", K::plural(&()))).ok();
            let owner = child.as_ref().and_then(|child| {
                let namespace = child.namespace()?;
                let mut owners = child.owner_references().iter();
                let owner = owners
                    .find(|o| o.controller == Some(true) && o.kind == KIND && o.api_version == API_VERSION)?;
                context.touch(&namespace, &owner.name);
                Some(wake(&namespace, &owner.name))
            });
            std::future::ready(owner)
        })
        .boxed()
}

/// The pipelines whose namespace's labels change: its Pod Security is there.
fn namespaces(context: &Arc<Context>, pipelines: Store<DynamicObject>) -> BoxStream<'static, Wake> {
    let api = Api::<PartialObjectMeta<Namespace>>::all(context.client.clone());
    let context = context.clone();
    watcher(api, watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .predicate_filter(predicates::labels, PredicateConfig::default())
        .flat_map(move |space| {
            let space = space.inspect_err(|error| tracing::warn!("watching namespaces: {error}")).ok();
            let name = space.map(|space| space.name_any());
            let inside = pipelines.state().into_iter().filter(|p| p.namespace() == name).map(|p| p.name_any());
            let namespace = name.clone().unwrap_or_default();
            let woken: Vec<Wake> = inside
                .map(|name| {
                    context.touch(&namespace, &name);
                    wake(&namespace, &name)
                })
                .collect();
            futures::stream::iter(woken)
        })
        .boxed()
}

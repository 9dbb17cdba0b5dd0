//! The controller: wakes for a LogPipeline, its children and timers, and goes one pipeline's whole way. I/O.
//!
//! One pipeline is never reconciled twice at once. A failure is tried again after 1 s, doubling to 5 min, for each pipeline
//! alone. A pipeline that is being deleted is left alone: its children go with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use super::apply::apply;
use super::desired::{Settings, desired};
use super::observe::{Observed, log_pipelines, observe};
use super::status::{Seen, status};
use super::valid::{Refusal, valid};
use crate::pipeline::status::{ConditionStatus, LogPipelineStatus};
use crate::pipeline::{API_VERSION, KIND, LogPipeline, Problem};

/// Pipelines that are reconciled at the same time.
const CONCURRENCY: u16 = 8;
/// When to look again while something is under way.
const SOON: Duration = Duration::from_secs(10);
/// When to look again while all is well.
const LATER: Duration = Duration::from_secs(300);

/// What every reconciliation shares.
pub struct Context {
    client: Client,
    settings: Settings,
    /// Failures in a row, by namespace and name.
    failures: Mutex<HashMap<String, u32>>,
}

impl Context {
    /// A new one.
    pub fn new(client: Client, settings: Settings) -> Self {
        Self { client, settings, failures: Mutex::default() }
    }
}

/// Runs until SIGTERM or SIGINT; what is under way then is finished.
pub async fn run(client: Client, settings: Settings) {
    let ours = watcher::Config::default().labels("app.kubernetes.io/managed-by=spoolway");
    let resource = log_pipelines();
    let pipelines = Api::<DynamicObject>::all_with(client.clone(), &resource);
    Controller::new_with(pipelines, watcher::Config::default(), resource)
        .owns(Api::<DaemonSet>::all(client.clone()), ours.clone())
        .owns(Api::<ConfigMap>::all(client.clone()), ours.clone())
        .owns(Api::<ServiceAccount>::all(client.clone()), ours)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .shutdown_on_signal()
        .run(reconcile, again, Arc::new(Context::new(client, settings)))
        .for_each(|outcome| async {
            if let Err(error) = outcome {
                tracing::debug!("{error}");
            }
        })
        .await;
}

/// One pipeline's way.
///
/// # Errors
/// The API server does not answer, or refuses.
pub async fn reconcile(object: Arc<DynamicObject>, context: Arc<Context>) -> Result<Action, kube::Error> {
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let client = &context.client;
    let mut observed = observe(client, &object).await?;
    let verdict = valid(&observed.document, &context.settings).and_then(|pipeline| free(&observed, pipeline));
    let mut told = observed.status.clone();
    if let Ok(pipeline) = &verdict {
        if told.conditions.is_none() {
            told = publish(client, &observed, &verdict, &told).await?;
        }
        if observed.stranger().is_none() {
            let wanted = desired(pipeline, &observed.uid, &context.settings);
            apply(client, &mut observed, &wanted).await?;
        }
    }
    let told = publish(client, &observed, &verdict, &told).await?;
    context.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(&object));
    Ok(Action::requeue(if is_settled(&told) { LATER } else { SOON }))
}

/// Refuses a pipeline whose children's names are another's. Children of its own former life are only waited for.
fn free(observed: &Observed, pipeline: LogPipeline) -> Result<LogPipeline, Refusal> {
    match observed.stranger() {
        Some(stranger) if !stranger.leftover => {
            let message = format!(
                "{} is there already and is not this LogPipeline's; delete it, or give the LogPipeline another name",
                stranger.what
            );
            Err(Refusal { reason: "NameTaken", problems: vec![Problem::new("metadata.name", message)] })
        }
        _ => Ok(pipeline),
    }
}

/// Writes the status if it says anything new; what it says now.
async fn publish(
    client: &Client,
    observed: &Observed,
    verdict: &Result<LogPipeline, Refusal>,
    before: &LogPipelineStatus,
) -> Result<LogPipelineStatus, kube::Error> {
    let now = status(&Seen {
        namespace_and_name: (&observed.namespace, &observed.name),
        generation: observed.generation,
        verdict: verdict.as_ref(),
        daemon_set: observed.daemon_set(),
        before,
        now: jiff::Timestamp::now(),
    });
    if now != *before {
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), &observed.namespace, &log_pipelines());
        // With the uid, so that a pipeline that was deleted meanwhile is not made anew.
        let patch: Value = json!({
            "apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": observed.name, "uid": observed.uid}, "status": now,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        api.patch_status(&observed.name, &params, &Patch::Apply(patch)).await?;
        tell(observed, before, &now);
    }
    Ok(now)
}

/// A line of log where Ready changed.
fn tell(observed: &Observed, before: &LogPipelineStatus, now: &LogPipelineStatus) {
    let of = |status: &LogPipelineStatus| {
        let ready = status.conditions.iter().flatten().find(|c| c.type_ == "Ready");
        ready.map(|c| (c.status, c.reason.clone(), c.message.clone()))
    };
    if let Some((ready, reason, message)) = of(now).filter(|now| of(before).as_ref() != Some(now)) {
        tracing::info!(namespace = observed.namespace, name = observed.name, %ready, reason, message, "pipeline");
    }
}

/// Whether nothing is awaited: what happens next wakes us.
fn is_settled(status: &LogPipelineStatus) -> bool {
    let is =
        |type_: &str, wanted| status.conditions.iter().flatten().any(|c| c.type_ == type_ && c.status == wanted);
    is("Ready", ConditionStatus::True) && is("AgentsReady", ConditionStatus::True)
}

fn key(object: &DynamicObject) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// When to try again after a failure.
fn again(object: Arc<DynamicObject>, error: &kube::Error, context: Arc<Context>) -> Action {
    let mut failures = context.failures.lock().unwrap_or_else(PoisonError::into_inner);
    let count = failures.entry(key(&object)).or_insert(0);
    let wait = Duration::from_secs((1_u64 << (*count).min(9)).min(300));
    *count += 1;
    tracing::warn!(pipeline = key(&object), "failed, again in {} s: {error}", wait.as_secs());
    Action::requeue(wait)
}

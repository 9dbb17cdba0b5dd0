//! Writes a status if it says something that is worth it, and tells of transitions by events and in the log. I/O.
//!
//! Conditions are written at once, numbers as the pipeline's bucket allows, and what always moves never by itself.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;

use super::FIELD_MANAGER;
use super::events::{set_aside, transitions};
use super::memory::of;
use super::observe::{Observed, log_pipelines};
use super::reconcile::{Context, Failure, Life, Now};
use super::status::{Difference, difference};
use super::view::AgentView;
use crate::pipeline::status::LogPipelineStatus;
use crate::pipeline::{API_VERSION, KIND};

/// How long what was written may take to come back by the watch.
const LAG: Duration = Duration::from_secs(60);

/// What became of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was written.
    Written,
    /// It says nothing that is worth a write.
    Unchanged,
    /// It is worth one after so long.
    Later(Duration),
}

/// Writes `said` if it is worth it.
///
/// # Errors
/// The API server does not answer, or refuses. What it refuses for what it is (413, 422) is said once.
pub(super) async fn publish(
    context: &Context,
    observed: &Observed,
    life: &mut Life,
    said: &LogPipelineStatus,
    now: Now,
) -> Result<Outcome, Failure> {
    let before = life.told.as_ref().map_or(&observed.status, |(told, _)| told).clone();
    match worth(life, &before, observed, said, now) {
        Outcome::Written => {}
        other => return Ok(other),
    }
    let api = Api::<DynamicObject>::namespaced_with(context.client.clone(), &observed.namespace, &log_pipelines());
    // With the uid, so that a pipeline that was deleted meanwhile is not made anew.
    let patch = json!({
        "apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": observed.name, "uid": observed.uid}, "status": said,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(&observed.name, &params, &Patch::Apply(patch)).await {
        Ok(_) => {}
        Err(kube::Error::Api(refusal)) if [413, 422].contains(&refusal.code) => {
            if !std::mem::replace(&mut life.refused, true) {
                tracing::error!(
                    namespace = observed.namespace,
                    name = observed.name,
                    "the API server refuses the status, a shorter one follows: {}; apply this release's CRD (spoolway crd)",
                    refusal.message
                );
            }
            return Err(kube::Error::Api(refusal).into());
        }
        Err(error) => return Err(error.into()),
    }
    life.told = Some((said.clone(), now.steady));
    log(observed, &before, said);
    send(context, observed, transitions(&before, said)).await;
    Ok(Outcome::Written)
}

fn worth(
    life: &mut Life,
    before: &LogPipelineStatus,
    observed: &Observed,
    said: &LogPipelineStatus,
    now: Now,
) -> Outcome {
    let by_bucket = |life: &mut Life| match life.bucket.take(now.steady) {
        Ok(()) => Outcome::Written,
        Err(wait) => Outcome::Later(wait),
    };
    // Somebody else wrote what is there now.
    let is_lost = life.told.as_ref().is_some_and(|(told, at)| {
        now.steady.saturating_sub(*at) > LAG && told.conditions != observed.status.conditions
    });
    match difference(before, said) {
        Difference::Conditions => Outcome::Written,
        Difference::Numbers => by_bucket(life),
        Difference::Nothing if is_lost => by_bucket(life),
        Difference::Nothing => Outcome::Unchanged,
    }
}

/// Events for files that need a person.
pub(super) async fn announce(context: &Context, observed: &Observed, life: &mut Life, agents: &[AgentView]) {
    let events = set_aside(agents, &mut life.asides, &observed.status);
    send(context, observed, events).await;
}

/// An event that cannot be sent holds nothing up.
async fn send(context: &Context, observed: &Observed, events: Vec<kube::runtime::events::Event>) {
    let about = ObjectReference {
        api_version: Some(API_VERSION.to_owned()),
        kind: Some(KIND.to_owned()),
        name: Some(observed.name.clone()),
        namespace: Some(observed.namespace.clone()),
        uid: Some(observed.uid.clone()),
        ..ObjectReference::default()
    };
    for event in events {
        if let Err(error) = context.recorder.publish(&event, &about).await {
            let (namespace, name) = (&observed.namespace, &observed.name);
            tracing::warn!(namespace, name, event = event.reason, "cannot send an event: {error}");
        }
    }
}

/// A line of log where Ready changed.
fn log(observed: &Observed, before: &LogPipelineStatus, now: &LogPipelineStatus) {
    let ready =
        |status: &LogPipelineStatus| of(status, "Ready").map(|c| (c.status, c.reason.clone(), c.message.clone()));
    if let Some((ready, reason, message)) = ready(now).filter(|is| ready(before).as_ref() != Some(is)) {
        tracing::info!(namespace = observed.namespace, name = observed.name, %ready, reason, message, "pipeline");
    }
}

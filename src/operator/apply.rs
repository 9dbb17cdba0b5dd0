//! Makes children what they should be, by server-side apply, and deletes those that are no longer wanted. I/O.
//!
//! Nothing is sent where a child is what it should be already. Only children that are absent or ours may be given here:
//! `force` takes over whatever it is pointed at.

use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use serde_json::Value;

use super::FIELD_MANAGER;
use super::desired::CHILDREN;
use super::observe::{Observed, child_resources};
use crate::pipeline::pod::child_name;

/// Applies what differs; `observed` then holds the children as they are now.
///
/// # Errors
/// The API server does not answer, or refuses.
pub async fn apply(
    client: &Client,
    observed: &mut Observed,
    desired: &[Option<Value>; CHILDREN],
) -> Result<(), kube::Error> {
    let name = child_name(&observed.name);
    for (index, (wanted, resource)) in desired.iter().zip(child_resources()).enumerate() {
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), &observed.namespace, &resource);
        let live = &mut observed.around.children[index];
        match (live.as_ref(), wanted) {
            (None, None) => {}
            (Some(there), Some(wanted)) if contains(there, wanted) => {}
            (_, Some(wanted)) => {
                let params = PatchParams::apply(FIELD_MANAGER).force();
                let applied = api.patch(&name, &params, &Patch::Apply(wanted)).await?;
                tracing::info!(namespace = observed.namespace, name, kind = resource.kind, "applied");
                *live = serde_json::to_value(applied).ok();
            }
            (Some(there), None) => {
                prune(&api, &name, there).await?;
                tracing::info!(
                    namespace = observed.namespace,
                    name,
                    kind = resource.kind,
                    "deleted: no longer wanted"
                );
                *live = None;
            }
        }
    }
    Ok(())
}

/// Deletes exactly the object that was looked at.
async fn prune(api: &Api<DynamicObject>, name: &str, there: &Value) -> Result<(), kube::Error> {
    let uid = there["metadata"]["uid"].as_str().map(str::to_owned);
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(name, &params).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Whether all that is wanted is so. What others added beside it is theirs.
pub(super) fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| live.get(key).map_or(is_empty(wanted), |live| contains(live, wanted)))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| contains(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

/// The API server leaves out what is empty.
fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

//! Makes children what they should be, by server-side apply. I/O.
//!
//! Nothing is sent where a child is what it should be already. Only children that are absent or ours may be given here:
//! `force` takes over whatever it is pointed at.

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::Value;

use super::FIELD_MANAGER;
use super::desired::child_name;
use super::observe::{Observed, child_resources};

/// Applies what differs; `observed` then holds the children as they are now.
///
/// # Errors
/// The API server does not answer, or refuses.
pub async fn apply(client: &Client, observed: &mut Observed, desired: &[Value; 3]) -> Result<(), kube::Error> {
    let name = child_name(&observed.name);
    for (index, (wanted, resource)) in desired.iter().zip(child_resources()).enumerate() {
        if observed.children[index].as_ref().is_some_and(|live| contains(live, wanted)) {
            continue;
        }
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), &observed.namespace, &resource);
        let applied = api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(wanted)).await?;
        tracing::info!(namespace = observed.namespace, name, kind = resource.kind, "applied");
        observed.children[index] = serde_json::to_value(applied).ok();
    }
    Ok(())
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

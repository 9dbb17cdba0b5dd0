//! Looks at a LogPipeline and at the objects that have its children's names. I/O, reads only.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{Api, DynamicObject};
use kube::core::discovery::ApiResource;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::crd::PLURAL;
use super::desired::child_name;
use crate::pipeline::{API_VERSION, KIND, LogPipelineStatus};

/// What there is.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The pipeline's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid: another one of the same name has another.
    pub uid: String,
    /// The generation of its spec.
    pub generation: i64,
    /// All of it, as the API server gave it.
    pub document: Value,
    /// What its status says now.
    pub status: LogPipelineStatus,
    /// The objects that have its children's names, in the order of `desired`.
    pub children: [Option<Value>; 3],
}

/// An object that has a child's name and is not the child of this LogPipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// Its kind and name.
    pub what: String,
    /// Whether it is a child of a deleted LogPipeline of the same name, so that it is going to be deleted soon.
    pub leftover: bool,
}

/// The resource of LogPipelines.
pub fn log_pipelines() -> ApiResource {
    let (group, version) = API_VERSION.split_once('/').unwrap_or_default();
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        plural: PLURAL.to_owned(),
    }
}

/// The resources of the children, in the order of `desired`.
pub fn child_resources() -> [ApiResource; 3] {
    [
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<DaemonSet>(&()),
    ]
}

/// Looks.
///
/// # Errors
/// The API server does not answer, or refuses to.
pub async fn observe(client: &Client, object: &DynamicObject) -> Result<Observed, kube::Error> {
    let name = object.name_any();
    let namespace = object.namespace().unwrap_or_default();
    let mut children = [const { None }; 3];
    for (place, resource) in children.iter_mut().zip(child_resources()) {
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &resource);
        *place = api.get_opt(&child_name(&name)).await?.and_then(|child| serde_json::to_value(child).ok());
    }
    let mut document = object.data.clone();
    document["apiVersion"] = API_VERSION.into();
    document["kind"] = KIND.into();
    document["metadata"] = json!({"name": name, "namespace": namespace});
    Ok(Observed {
        status: serde_json::from_value(document["status"].clone()).unwrap_or_default(),
        uid: object.uid().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        name,
        namespace,
        document,
        children,
    })
}

impl Observed {
    /// The first of the children's names that an object has which is not ours.
    pub fn stranger(&self) -> Option<Stranger> {
        let resources = child_resources();
        let there = self.children.iter().zip(&resources).filter_map(|(c, r)| Some((c.as_ref()?, r)));
        there.into_iter().find_map(|(child, resource)| {
            let owners = child["metadata"]["ownerReferences"].as_array();
            let controller = owners.into_iter().flatten().find(|owner| owner["controller"] == true);
            if controller.is_some_and(|owner| owner["uid"] == self.uid.as_str()) {
                return None;
            }
            let leftover = controller.is_some_and(|o| {
                o["apiVersion"] == API_VERSION && o["kind"] == KIND && o["name"] == self.name.as_str()
            });
            Some(Stranger { what: format!("{} {}", resource.kind, child_name(&self.name)), leftover })
        })
    }

    /// The DaemonSet, when it is ours.
    pub fn daemon_set(&self) -> Option<&Value> {
        if self.stranger().is_some() { None } else { self.children[2].as_ref() }
    }
}

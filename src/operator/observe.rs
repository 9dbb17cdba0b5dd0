//! Looks at a LogPipeline, at the objects that have its children's names, and at its namespace. I/O, reads only.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DynamicObject};
use kube::core::discovery::ApiResource;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::crd::PLURAL;
use super::desired::CHILDREN;
use crate::pipeline::pod::child_name;
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
    /// What is around it.
    pub around: Around,
}

/// What is around a LogPipeline.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// The objects that have its children's names, in the order of `desired`.
    pub children: [Option<Value>; CHILDREN],
    /// The labels of its namespace.
    pub labels: BTreeMap<String, String>,
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
pub fn child_resources() -> [ApiResource; CHILDREN] {
    [
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<DaemonSet>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
    ]
}

/// Looks around.
///
/// # Errors
/// The API server does not answer, or refuses to.
pub async fn look(client: &Client, name: &str, namespace: &str) -> Result<Around, kube::Error> {
    let mut around = Around::default();
    for (place, resource) in around.children.iter_mut().zip(child_resources()) {
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
        *place = api.get_opt(&child_name(name)).await?.and_then(|child| serde_json::to_value(child).ok());
    }
    let space = Api::<Namespace>::all(client.clone()).get_metadata_opt(namespace).await?;
    around.labels = space.and_then(|space| space.metadata.labels).unwrap_or_default();
    Ok(around)
}

/// Puts together what was seen of `object` and around it.
pub fn observed(object: &DynamicObject, around: Around) -> Observed {
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    let mut document = object.data.clone();
    document["apiVersion"] = API_VERSION.into();
    document["kind"] = KIND.into();
    document["metadata"] = json!({"name": name, "namespace": namespace});
    Observed {
        status: serde_json::from_value(document["status"].clone()).unwrap_or_default(),
        uid: object.uid().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        name,
        namespace,
        document,
        around,
    }
}

impl Observed {
    /// The first of the children's names that an object has which is not ours.
    pub fn stranger(&self) -> Option<Stranger> {
        let resources = child_resources();
        let there = self.around.children.iter().zip(&resources).filter_map(|(c, r)| Some((c.as_ref()?, r)));
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

    /// The ConfigMap, when it is ours.
    pub fn config_map(&self) -> Option<&Value> {
        self.ours(0)
    }

    /// The DaemonSet, when it is ours.
    pub fn daemon_set(&self) -> Option<&Value> {
        self.ours(2)
    }

    fn ours(&self, index: usize) -> Option<&Value> {
        if self.stranger().is_some() { None } else { self.around.children[index].as_ref() }
    }
}

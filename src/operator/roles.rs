//! Who may touch LogPipelines: rights that join the roles which every cluster has.
//!
//! Pure. Kubernetes adds them to its own `view`, `edit` and `admin` by their labels, so whoever may edit a namespace may edit
//! its LogPipelines, and nobody needs a new binding.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::crd::PLURAL;
use crate::pipeline::API_VERSION;

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// The role, the roles it joins, its rights on LogPipelines. Status is the operator's: nobody else gets to write it.
const ROLES: &[(&str, &[&str], &[&str])] = &[
    ("spoolway-logpipelines-view", &["view", "edit", "admin"], READ),
    ("spoolway-logpipelines-edit", &["edit", "admin"], WRITE),
];

/// The roles.
pub fn roles() -> Vec<ClusterRole> {
    ROLES.iter().map(|(name, joins, verbs)| role(name, joins, verbs)).collect()
}

fn role(name: &str, joins: &[&str], verbs: &[&str]) -> ClusterRole {
    let labels =
        joins.iter().map(|role| (format!("rbac.authorization.k8s.io/aggregate-to-{role}"), "true".to_owned()));
    let group = API_VERSION.split('/').next().unwrap_or_default();
    let right = |resource: &str, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    ClusterRole {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.collect::<BTreeMap<_, _>>()),
            ..ObjectMeta::default()
        },
        rules: Some(vec![right(PLURAL, verbs), right(&format!("{PLURAL}/status"), READ)]),
        aggregation_rule: None,
    }
}

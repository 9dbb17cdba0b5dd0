//! Whether a LogPipeline can be run here, or everything that is wrong with it.
//!
//! Pure. What the CRD's rules say is said again, for those who were created before a rule was; on top of it: what this version
//! cannot do, the host paths that the namespace may read, what the namespace's Pod Security forbids, and names that are taken.

use std::collections::BTreeMap;

use serde_json::Value;

use super::config::OperatorConfig;
use crate::pipeline::problem::quoted;
use crate::pipeline::{Judge, LogPipeline, Problem, shape, validate};

/// The label by which a namespace says what its pods may do.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// Why a LogPipeline is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The worst of it, as one CamelCase word.
    pub reason: &'static str,
    /// All of it.
    pub problems: Vec<Problem>,
}

/// Where a LogPipeline is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The labels of its namespace.
    pub labels: &'a BTreeMap<String, String>,
    /// Kind and name of an object that has a child's name and is somebody else's.
    pub taken: Option<&'a str>,
}

/// The pipeline in `document`.
///
/// # Errors
/// It cannot be run: all problems at once.
pub fn valid(document: &Value, config: &OperatorConfig, place: &Place<'_>) -> Result<LogPipeline, Refusal> {
    let pipeline = shape::read(document).map_err(|problems| Refusal { reason: "InvalidSpec", problems })?;
    // The worst first.
    let found = [
        ("HostPathNotAllowed", outside(&pipeline, config).into_iter().collect()),
        ("NamespaceForbidsHostPath", forbidden(&pipeline, place).into_iter().collect()),
        ("NameTaken", taken(place).into_iter().collect()),
        ("UnsupportedCombination", not_yet(&pipeline)),
        ("InvalidSpec", validate(&pipeline, Judge::Cluster)),
    ];
    let reason = found.iter().find(|(_, problems)| !problems.is_empty()).map(|(reason, _)| *reason);
    match reason {
        None => Ok(pipeline),
        Some(reason) => Err(Refusal { reason, problems: found.into_iter().flat_map(|(_, all)| all).collect() }),
    }
}

/// What only a cluster could be asked for, and this version does not do.
fn not_yet(pipeline: &LogPipeline) -> Vec<Problem> {
    let placement = pipeline.spec.placement.clone().unwrap_or_default();
    let asked = [
        (placement.sidecar.is_some(), "spec.placement.sidecar"),
        (placement.stateful_set.is_some(), "spec.placement.statefulSet"),
    ];
    let asked = asked.into_iter().filter(|(asks, _)| *asks);
    asked.map(|(_, path)| Problem::new(path, "not available in this version; use daemonSet")).collect()
}

/// The host path, where agents are on nodes.
fn host_path(pipeline: &LogPipeline) -> Option<&str> {
    let placement = pipeline.spec.placement.as_ref();
    let on_nodes = placement.is_none_or(|p| p.daemon_set.is_some());
    pipeline.spool_dir().filter(|_| on_nodes).map(|dir| dir.path.as_str())
}

/// A path that is not beneath an allowed root of the namespace, by whole components.
fn outside(pipeline: &LogPipeline, config: &OperatorConfig) -> Option<Problem> {
    let path = host_path(pipeline)?;
    let namespace = pipeline.namespace();
    if config.host_paths.root_of(namespace, path).is_some() {
        return None;
    }
    let at = "spec.source.spoolDir.path";
    let roots: Vec<String> = config.host_paths.roots(namespace).iter().map(|root| quoted(root)).collect();
    let message = if roots.is_empty() {
        format!(
            "{} cannot be read from here: the namespace {namespace} may read no host path; the chart's hostPaths.allowed can allow one",
            quoted(path)
        )
    } else {
        format!(
            "{} is not beneath {}, which is all that the namespace {namespace} may read; use a directory there, or let the chart's hostPaths.allowed name it",
            quoted(path),
            roots.join(" or ")
        )
    };
    Some(Problem::new(at, message))
}

/// A namespace whose Pod Security level admits no host path.
fn forbidden(pipeline: &LogPipeline, place: &Place<'_>) -> Option<Problem> {
    host_path(pipeline)?;
    let level = place.labels.get(ENFORCE).filter(|level| ["baseline", "restricted"].contains(&level.as_str()))?;
    let namespace = pipeline.namespace();
    let message = format!(
        "the namespace {namespace} admits no pod with a host path (Pod Security level {level}); run: kubectl label --overwrite namespace {namespace} {ENFORCE}=privileged"
    );
    Some(Problem::new("metadata.namespace", message))
}

fn taken(place: &Place<'_>) -> Option<Problem> {
    let message = format!(
        "{} is there already and is not this LogPipeline's; delete it, or give the LogPipeline another name",
        place.taken?
    );
    Some(Problem::new("metadata.name", message))
}

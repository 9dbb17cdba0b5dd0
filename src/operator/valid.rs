//! Whether a LogPipeline can be run here, or everything that is wrong with it.
//!
//! Pure. On top of what the CRD's rules say: what this version cannot do, and the host path that the namespace may read.

use serde_json::Value;

use super::desired::Settings;
use crate::pipeline::problem::quoted;
use crate::pipeline::{Judge, LogPipeline, Problem, shape, unavailable, validate};

/// Why a LogPipeline is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The worst of it, as one CamelCase word.
    pub reason: &'static str,
    /// All of it.
    pub problems: Vec<Problem>,
}

/// The pipeline in `document`.
///
/// # Errors
/// It cannot be run: all problems at once.
pub fn valid(document: &Value, settings: &Settings) -> Result<LogPipeline, Refusal> {
    let pipeline = shape::read(document).map_err(|problems| Refusal { reason: "InvalidSpec", problems })?;
    let mut problems = validate(&pipeline, Judge::Cluster);
    problems.extend(unavailable(&pipeline));
    problems.extend(not_yet(&pipeline));
    let outside = outside(&pipeline, settings);
    let reason = if outside.is_some() { "HostPathNotAllowed" } else { "InvalidSpec" };
    problems.extend(outside);
    if problems.is_empty() { Ok(pipeline) } else { Err(Refusal { reason, problems }) }
}

/// What only a cluster could be asked for, and this version does not do.
fn not_yet(pipeline: &LogPipeline) -> Vec<Problem> {
    let placement = pipeline.spec.placement.clone().unwrap_or_default();
    let asked = [
        (
            pipeline.spec.suspend == Some(true),
            "spec.suspend",
            "leave it out; to stop shipping, delete the LogPipeline: its progress stays in Kafka",
        ),
        (placement.sidecar.is_some(), "spec.placement.sidecar", "use daemonSet"),
        (placement.stateful_set.is_some(), "spec.placement.statefulSet", "use daemonSet"),
    ];
    let asked = asked.into_iter().filter(|(asks, ..)| *asks);
    asked
        .map(|(_, path, instead)| Problem::new(path, format!("not available in this version; {instead}")))
        .collect()
}

/// A path that is not beneath the namespace's root, by whole components.
fn outside(pipeline: &LogPipeline, settings: &Settings) -> Option<Problem> {
    let path = &pipeline.spool_dir()?.path;
    let root = settings.root_of(pipeline.namespace());
    if is_beneath(path, &root) {
        return None;
    }
    let message = format!(
        "{} is not beneath {}, which is all that agents of this namespace may read; use a directory there",
        quoted(path),
        quoted(&root)
    );
    Some(Problem::new("spec.source.spoolDir.path", message))
}

fn is_beneath(path: &str, root: &str) -> bool {
    let parts = |text: &str| -> Vec<String> {
        text.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
    };
    let (path, root) = (parts(path), parts(root));
    path.starts_with(&root) && !path.iter().any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::is_beneath;

    #[test]
    fn a_path_is_beneath_a_root_by_whole_components() {
        for path in
            ["/var/spool/spoolway/shop", "/var/spool/spoolway/shop/web", "//var/./spool/spoolway/shop//web/"]
        {
            assert!(is_beneath(path, "/var/spool/spoolway/shop"), "{path}");
        }
        for path in ["/var/spool/spoolway/shop2", "/var/spool/spoolway", "/", "/var/spool/spoolway/shop/../bank"] {
            assert!(!is_beneath(path, "/var/spool/spoolway/shop"), "{path}");
        }
    }
}

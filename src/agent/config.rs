//! What an agent is to run, read from files: one LogPipeline, and in a pod what stands beside it. I/O, and only reading.
//!
//! A text is read once and judged as it was read: what is compared, judged and run is the same.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::source::is_beneath;
use crate::pipeline::pod::{AGENT_FILE, AGENT_FILE_VERSION, AgentFile, PIPELINE_FILE};
use crate::pipeline::{Judge, LogPipeline, validate};

/// What an agent runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Valid for an agent.
    pub pipeline: LogPipeline,
    /// `<cluster>` of the transactional id.
    pub cluster: String,
    /// In a pod.
    pub pod: Option<AgentFile>,
}

/// Where the configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// One file, on a bare machine.
    File {
        /// The file.
        path: PathBuf,
        /// `--cluster`.
        cluster: String,
    },
    /// A mounted ConfigMap, in a pod.
    Directory {
        /// Where it is mounted.
        path: PathBuf,
        /// Hash of this pod's shape: what was made for another one is not taken.
        shape: Option<String>,
    },
}

/// A file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Text {
    Is(String),
    Missing,
    Unreadable(String),
}

/// What a place held at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pipeline: Text,
    agent: Text,
}

impl Place {
    /// As a command's arguments say: `--config-dir` and `--shape`, or `--file` and `--cluster`. `None` where neither is given.
    pub fn given(
        directory: Option<&PathBuf>,
        shape: Option<&String>,
        file: Option<&PathBuf>,
        cluster: &str,
    ) -> Option<Place> {
        let in_pod = directory.map(|path| Place::Directory { path: path.clone(), shape: shape.cloned() });
        in_pod.or_else(|| Some(Place::File { path: file?.clone(), cluster: cluster.to_owned() }))
    }

    /// Reads what is there now.
    pub fn look(&self) -> Found {
        match self {
            Place::File { path, .. } => Found { pipeline: text(path), agent: Text::Missing },
            Place::Directory { path, .. } => {
                Found { pipeline: text(&path.join(PIPELINE_FILE)), agent: text(&path.join(AGENT_FILE)) }
            }
        }
    }

    /// What was found, as a configuration; `None` where a pod's LogPipeline is gone.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its file.
    pub fn judge(&self, found: &Found) -> Result<Option<Config>, Vec<String>> {
        match self {
            Place::File { path, cluster } => {
                let text = found.pipeline.get(path).map_err(|e| vec![e])?;
                let pipeline = pipeline(path, text)?;
                Ok(Some(Config { pipeline, cluster: cluster.clone(), pod: None }))
            }
            Place::Directory { .. } if found.pipeline == Text::Missing => Ok(None),
            Place::Directory { path, shape } => {
                let file = path.join(AGENT_FILE);
                let pod = agent_file(&file, found.agent.get(&file).map_err(|e| vec![e])?, shape.as_deref())
                    .map_err(|e| vec![e])?;
                let file = path.join(PIPELINE_FILE);
                let pipeline = pipeline(&file, found.pipeline.get(&file).map_err(|e| vec![e])?)?;
                if let Some(spool) = pipeline.spool_dir()
                    && !is_beneath(&spool.path, &pod.root)
                {
                    let problem = "does not lie beneath what this pod has mounted";
                    let (path, root) = (spool.path.escape_debug(), pod.root.escape_debug());
                    return Err(vec![format!("spec.source.spoolDir.path: {path} {problem}, {root}")]);
                }
                Ok(Some(Config { pipeline, cluster: pod.cluster.clone(), pod: Some(pod) }))
            }
        }
    }
}

impl Text {
    fn get(&self, path: &Path) -> Result<&str, String> {
        let shown = shown(path);
        match self {
            Text::Is(text) => Ok(text),
            Text::Missing => Err(format!("{shown}: does not exist")),
            Text::Unreadable(why) => Err(format!("{shown}: {why}")),
        }
    }
}

fn text(path: &Path) -> Text {
    match std::fs::read_to_string(path) {
        Ok(text) => Text::Is(text),
        Err(e) if e.kind() == ErrorKind::NotFound => Text::Missing,
        Err(e) => Text::Unreadable(e.to_string()),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

/// The one pipeline of a text, valid for an agent, or everything that is wrong with it.
fn pipeline(path: &Path, text: &str) -> Result<LogPipeline, Vec<String>> {
    let shown = shown(path);
    let located = |problems: Vec<_>| problems.iter().map(|p| format!("{shown}: {p}")).collect::<Vec<_>>();
    let mut pipelines = crate::yaml::load(text).map_err(located)?;
    let pipeline = match (pipelines.pop(), pipelines.len()) {
        (Some(pipeline), 0) => pipeline,
        (_, more) => {
            return Err(vec![format!("{shown}: holds {} LogPipelines; an agent runs exactly one", more + 1)]);
        }
    };
    let problems = validate(&pipeline, Judge::Bare);
    if problems.is_empty() { Ok(pipeline) } else { Err(located(problems)) }
}

/// The version is looked at first: of a newer form, nothing else may be what it seems.
fn agent_file(path: &Path, text: &str, shape: Option<&str>) -> Result<AgentFile, String> {
    let shown = shown(path);
    let malformed = |e: serde_json::Error| format!("{shown}: cannot be read: {e}");
    let json: serde_json::Value = serde_json::from_str(text).map_err(malformed)?;
    match json.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(AGENT_FILE_VERSION) => {}
        Some(version) => {
            return Err(format!(
                "{shown}: has version {version}, this agent knows {AGENT_FILE_VERSION}; it waits for its pod to be replaced by one of the operator's release"
            ));
        }
        None => return Err(format!("{shown}: has no version")),
    }
    let file: AgentFile = serde_json::from_value(json).map_err(malformed)?;
    match shape {
        Some(shape) if shape != file.shape => Err(format!(
            "it was made for a pod of shape {}, this one has {shape}; it waits for this pod to be replaced",
            file.shape.escape_debug()
        )),
        _ => Ok(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPELINE: &str = "apiVersion: spoolway.dev/v1alpha1
kind: LogPipeline
metadata: {name: web, namespace: shop}
spec:
  source: {spoolDir: {path: /var/spool/spoolway/shop/web}}
  sink: {kafka: {bootstrapServers: ['kafka:9092'], topic: web}}
";
    const AGENT: &str =
        r#"{"version":1,"shape":"abc","cluster":"c1","root":"/var/spool/spoolway/shop","later":true}"#;

    fn place(dir: &Path) -> Place {
        Place::Directory { path: dir.to_owned(), shape: Some("abc".into()) }
    }

    /// What is judged of a directory with these two files.
    fn judged(pipeline: &str, agent: &str) -> Result<Option<Config>, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pipeline.yaml"), pipeline).unwrap();
        std::fs::write(dir.path().join("agent.json"), agent).unwrap();
        let place = place(dir.path());
        let judged = place.judge(&place.look());
        judged.map_err(|problems| problems.join("; ").replace(dir.path().to_str().unwrap(), "DIR"))
    }

    #[test]
    fn a_directory_holds_a_pipeline_and_what_stands_beside_it() {
        let config = judged(PIPELINE, AGENT).unwrap().unwrap();
        assert_eq!((config.cluster.as_str(), config.pipeline.metadata.name.as_str()), ("c1", "web"));
        assert_eq!(config.pod.unwrap().root, "/var/spool/spoolway/shop");
    }

    #[test]
    fn a_pipeline_that_is_gone_is_no_problem_but_half_a_directory_is() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        assert_eq!(place.judge(&place.look()), Ok(None));
        std::fs::write(dir.path().join("pipeline.yaml"), PIPELINE).unwrap();
        let problems = place.judge(&place.look()).unwrap_err();
        assert!(problems[0].ends_with("/agent.json: does not exist"), "{problems:?}");
    }

    #[test]
    fn what_is_not_for_this_agent_is_refused_and_says_why() {
        let other = PIPELINE.replace("/shop/web", "/shopping/web");
        for (pipeline, agent, expected) in [
            (
                PIPELINE,
                AGENT.replace(r#""version":1"#, r#""version":2"#),
                "DIR/agent.json: has version 2, this agent knows 1;",
            ),
            (PIPELINE, "{}".into(), "DIR/agent.json: has no version"),
            (PIPELINE, "{".into(), "DIR/agent.json: cannot be read: EOF"),
            (PIPELINE, AGENT.replace("abc", "abd"), "it was made for a pod of shape abd, this one has abc;"),
            (
                &other,
                AGENT.into(),
                "spec.source.spoolDir.path: /var/spool/spoolway/shopping/web does not lie beneath",
            ),
            ("kind: [", AGENT.into(), "DIR/pipeline.yaml: "),
            (
                &PIPELINE.replace("topic: web", "topic: 'a b'"),
                AGENT.into(),
                "DIR/pipeline.yaml: spec.sink.kafka.topic: ",
            ),
        ] {
            let problem = judged(pipeline, &agent).unwrap_err();
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}

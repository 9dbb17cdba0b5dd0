//! What an agent in a pod has: the operator's ConfigMap, mounted as the kubelet does it. Real files; no cluster.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use spoolway::pipeline::config_hash;
use spoolway::pipeline::report::Report;

use super::agent::Agent;
use super::job::Job;

/// The shape that every pod has here.
pub const SHAPE: &str = "shape-1";

/// A mounted ConfigMap.
pub struct Mount {
    pub path: PathBuf,
    swaps: Cell<u32>,
}

impl Mount {
    /// Empty.
    pub fn new(job: &Job) -> Self {
        let path = job.home().join("config");
        fs::create_dir(&path).unwrap();
        Mount { path, swaps: Cell::new(0) }
    }

    /// Swaps all of it at once, by the link `..data`.
    pub fn set(&self, files: &[(&str, &str)]) {
        let version = format!("..version-{}", self.swaps.get());
        self.swaps.set(self.swaps.get() + 1);
        fs::create_dir(self.path.join(&version)).unwrap();
        for (name, text) in files {
            fs::write(self.path.join(&version).join(name), text).unwrap();
        }
        symlink(&version, self.path.join("..new")).unwrap();
        fs::rename(self.path.join("..new"), self.path.join("..data")).unwrap();
        for (name, _) in files {
            let _there_already = symlink(format!("..data/{name}"), self.path.join(name));
        }
        for name in ["pipeline.yaml", "agent.json"].iter().filter(|name| files.iter().all(|(n, _)| n != *name)) {
            let _was_not_there = fs::remove_file(self.path.join(name));
        }
    }

    /// A pipeline, and what the operator writes beside it.
    pub fn put(&self, pipeline: &str, agent_file: &Value) {
        self.set(&[("pipeline.yaml", pipeline), ("agent.json", &agent_file.to_string())]);
    }
}

/// What the operator writes for a job whose root is its home.
pub fn agent_file(job: &Job) -> Value {
    json!({"version": 1, "shape": SHAPE, "cluster": "local", "root": job.home()})
}

/// Waits until the agent has acknowledged `pipeline`.
pub fn in_force(agent: &Agent, pipeline: &str) -> Report {
    let hash = config_hash(&spoolway::yaml::load(pipeline).unwrap()[0]);
    let limit = Duration::from_secs(60);
    agent.reports("the configuration is in force", limit, |r| r.config_hash == hash && r.config_problem.is_empty())
}

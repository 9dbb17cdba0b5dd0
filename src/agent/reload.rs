//! When an agent is to run something else. I/O (it looks at files every two seconds); what follows from a look is pure.
//!
//! A change counts when two looks in a row saw the same: a file that is being written, or a ConfigMap that the kubelet swaps between
//! two reads, is never taken half. One that cannot be run is told and not taken: the agent goes on with what it has.

use std::time::Duration;

use super::Options;
use super::config::{Config, Found, Place};
use super::setup::{Setup, Sink};
use super::status::Status;
use crate::pipeline::config_hash;
use crate::secrets::Secrets;

/// Time between looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Bytes of a problem that are told.
const TOLD: usize = 600;

/// What an agent is to do from the next transaction on.
#[derive(Debug)]
pub enum Change {
    /// Run this.
    Run(Box<(Config, Setup)>),
    /// Its LogPipeline is gone.
    Gone,
}

/// What a look saw.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    found: Found,
    /// Digest of the Secrets.
    secrets: u64,
}

/// Watches where the configuration is.
pub struct Reload {
    place: Place,
    options: Options,
    in_force: Config,
    /// The digest of the Secrets that `in_force` runs with.
    secrets: u64,
    gone: bool,
    last: Seen,
    judged: Seen,
    looked: Duration,
    next: Option<(Change, u64)>,
}

impl Reload {
    /// Reads what to begin with.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn start(place: Place, options: &Options) -> Result<Reload, Vec<String>> {
        let seen = look(&place, options);
        let in_force = place.judge(&seen.found)?.ok_or_else(|| vec!["the LogPipeline is gone".to_owned()])?;
        Setup::new(&in_force, options).map_err(|e| vec![e.to_string()])?;
        Ok(Reload {
            options: options.clone(),
            in_force,
            secrets: seen.secrets,
            gone: false,
            last: seen.clone(),
            judged: seen,
            looked: Duration::ZERO,
            next: None,
            place,
        })
    }

    /// What the agent runs.
    pub fn config(&self) -> &Config {
        &self.in_force
    }

    /// True when there is a change to take. Looks when it is time to, at `now`.
    pub fn is_due(&mut self, now: Duration, status: &Status) -> bool {
        if now >= self.looked + LOOK_EVERY {
            self.looked = now;
            let seen = look(&self.place, &self.options);
            self.see(seen, status);
        }
        self.next.is_some()
    }

    /// The change to take: what it says is in force from now on.
    pub fn take(&mut self) -> Option<Change> {
        let (change, secrets) = self.next.take()?;
        self.secrets = secrets;
        self.gone = matches!(change, Change::Gone);
        if let Change::Run(run) = &change {
            self.in_force = run.0.clone();
        }
        Some(change)
    }

    fn see(&mut self, seen: Seen, status: &Status) {
        let settled = seen == self.last;
        if settled && seen != self.judged {
            let judged = self.judge(&seen, status);
            self.judged = seen.clone();
            self.next = match judged {
                Ok(next) => {
                    status.problem("");
                    next.map(|change| (change, seen.secrets))
                }
                Err(problem) => {
                    status.problem(&shortened(&problem));
                    None
                }
            };
        }
        self.last = seen;
    }

    fn judge(&mut self, seen: &Seen, status: &Status) -> Result<Option<Change>, String> {
        let Some(config) = self.place.judge(&seen.found).map_err(|problems| problems.join("; "))? else {
            return Ok((!self.gone).then_some(Change::Gone));
        };
        if let Some(what) = another(&self.in_force, &config) {
            return Err(what);
        }
        let setup = Setup::new(&config, &self.options).map_err(|e| e.to_string())?;
        if !self.gone && is_same(&self.in_force, &config) && seen.secrets == self.secrets {
            status.reports_to(&config); // which is all that may differ
            self.in_force = config;
            return Ok(None);
        }
        if let Sink::Kafka(to) = &setup.sink {
            // What cannot connect is worth less than a connection that stands.
            let secrets = Secrets::new(self.options.secrets.clone());
            crate::kafka::admin(&to.spec, &setup.identity, &secrets).map_err(|e| e.to_string())?;
        }
        Ok(Some(Change::Run(Box::new((config, setup)))))
    }
}

fn look(place: &Place, options: &Options) -> Seen {
    Seen { found: place.look(), secrets: Secrets::new(options.secrets.clone()).digest() }
}

/// True where the loop would do the same with either.
fn is_same(one: &Config, other: &Config) -> bool {
    let pod = |config: &Config| config.pod.as_ref().map(|pod| (pod.root.clone(), pod.checkpoint_topic.clone()));
    config_hash(&one.pipeline) == config_hash(&other.pipeline) && pod(one) == pod(other)
}

/// Progress is kept under these names, and with this kind of sink: with others, everything would be shipped again.
fn another(one: &Config, other: &Config) -> Option<String> {
    let named = |c: &Config| {
        let (pipeline, delivery) = (&c.pipeline, c.pipeline.delivery());
        let namespace = pipeline.namespace();
        let sink = [("kafka", pipeline.kafka().is_some()), ("file", pipeline.file().is_some())];
        let sink = sink.iter().find(|(_, set)| *set).map_or("console", |(name, _)| name);
        [
            ("spec.sink", sink.to_owned()),
            ("spec.sink.file.directory", pipeline.file().map_or_else(String::new, |file| file.directory.clone())),
            ("metadata.name", pipeline.metadata.name.clone()),
            ("metadata.namespace", namespace.to_owned()),
            ("the cluster's name", c.cluster.clone()),
            ("spec.delivery.checkpointTopic", delivery.checkpoint_topic(namespace)),
            ("spec.delivery.receiptTopic", delivery.receipt_topic(namespace)),
        ]
    };
    let changed = named(one).into_iter().zip(named(other)).find(|(before, now)| before != now);
    changed.map(|((what, before), (_, now))| {
        format!(
            "{what} is {}, it was {}; progress is kept with it: set it back, or make another LogPipeline",
            now.escape_debug(),
            before.escape_debug()
        )
    })
}

fn shortened(problem: &str) -> String {
    match problem.char_indices().nth(TOLD) {
        Some((end, _)) => format!("{}…", &problem[..end]),
        None => problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    const PIPELINE: &str = "apiVersion: spoolway.dev/v1alpha1
kind: LogPipeline
metadata: {name: web, namespace: shop}
spec:
  source: {spoolDir: {path: /spool/web}}
  sink:
    kafka:
      bootstrapServers: ['kafka:9092']
      topic: web
      sasl: {mechanism: ScramSha512, username: u, passwordSecret: {name: user, key: password}}
";

    /// A pod's directories, and time.
    struct Scene {
        home: tempfile::TempDir,
        now: Duration,
        reload: Reload,
        status: Status,
    }

    fn agent_file(more: &str) -> String {
        format!(r#"{{"version":1,"shape":"s","cluster":"c","root":"/spool"{more}}}"#)
    }

    fn put(home: &Path, name: &str, text: &str) {
        let path = home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    impl Scene {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            put(home.path(), "config/pipeline.yaml", PIPELINE);
            put(home.path(), "config/agent.json", &agent_file(""));
            put(home.path(), "secrets/user/password", "old");
            let options = Options {
                agent_id: "node-1".into(),
                secrets: Some(home.path().join("secrets")),
                ..Options::default()
            };
            let place = Place::Directory { path: home.path().join("config"), shape: Some("s".into()) };
            let reload = Reload::start(place, &options).unwrap();
            let status = Status::new("c/shop/web/node-1".into(), reload.config());
            Scene { home, now: Duration::ZERO, reload, status }
        }

        fn put(&self, name: &str, text: &str) {
            put(self.home.path(), name, text);
        }

        /// The next look.
        fn look(&mut self) -> bool {
            self.now += LOOK_EVERY;
            self.reload.is_due(self.now, &self.status)
        }

        /// Two looks, and what is taken.
        fn taken(&mut self) -> Option<Change> {
            assert!(!self.look(), "one look is not enough");
            self.look().then(|| self.reload.take().expect("it is due"))
        }

        fn problem(&self) -> String {
            self.status.report().config_problem
        }
    }

    #[test]
    fn a_change_counts_when_two_looks_saw_it() {
        let mut scene = Scene::new();
        assert!(!scene.look() && !scene.look());
        // An editor that cuts the file and then writes it, and is looked at in between.
        scene.put("config/pipeline.yaml", "");
        assert!(!scene.look());
        scene.put("config/pipeline.yaml", &PIPELINE.replace("topic: web", "topic: other"));
        let Some(Change::Run(run)) = scene.taken() else { panic!("it is taken") };
        assert_eq!((run.1.channel.topic.as_str(), scene.problem().as_str()), ("other", ""));
        assert!(!scene.look() && !scene.look(), "once");
    }

    #[test]
    fn a_rotated_secret_is_a_change_and_a_missing_one_is_a_problem() {
        let mut scene = Scene::new();
        fs::remove_file(scene.home.path().join("secrets/user/password")).unwrap();
        assert!(scene.taken().is_none());
        assert!(scene.problem().starts_with("secret user, key password: "), "{}", scene.problem());
        scene.put("secrets/user/password", "old");
        assert!(scene.taken().is_none());
        assert_eq!(scene.problem(), "", "what is there again is what is in force");
        scene.put("secrets/user/password", "new");
        assert!(matches!(scene.taken(), Some(Change::Run(_))));
    }

    #[test]
    fn where_reports_go_is_no_change_for_the_loop() {
        let mut scene = Scene::new();
        scene.put("config/agent.json", &agent_file(r#","reportTo":{"url":"https://a","ca":"b"}"#));
        assert!(scene.taken().is_none());
        assert_eq!(scene.status.report_to().unwrap().url, "https://a");
        scene.put(
            "config/agent.json",
            &agent_file(r#","checkpointTopic":{"topic":"spoolway-shop-checkpoints","partitions":50}"#),
        );
        assert!(matches!(scene.taken(), Some(Change::Run(_))), "what progress is held against is");
    }

    #[test]
    fn a_change_that_is_taken_back_before_it_is_taken_is_none() {
        let mut scene = Scene::new();
        scene.put("config/pipeline.yaml", &PIPELINE.replace("spec:", "spec:\n  suspend: true"));
        assert!(!scene.look() && scene.look());
        scene.put("config/pipeline.yaml", PIPELINE);
        assert!(scene.look() && !scene.look());
        assert!(scene.reload.take().is_none());
    }

    #[test]
    fn gone_and_back_and_gone() {
        let mut scene = Scene::new();
        for _ in 0..2 {
            fs::remove_file(scene.home.path().join("config/pipeline.yaml")).unwrap();
            assert!(matches!(scene.taken(), Some(Change::Gone)));
            assert!(scene.taken().is_none());
            scene.put("config/pipeline.yaml", PIPELINE);
            assert!(matches!(scene.taken(), Some(Change::Run(_))), "the same as before, and it is to run again");
        }
    }
}

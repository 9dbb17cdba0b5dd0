//! When an agent is to run something else. I/O (it looks at files every two seconds); what follows from a look is pure.
//!
//! A change counts when two looks in a row saw the same: a file that is being written, or a ConfigMap that the kubelet swaps between
//! two reads, is never taken half. One that cannot be run is told and not taken: the agent goes on with what it has.

use std::time::Duration;

use super::Options;
use super::config::{Config, Found, Place};
use super::setup::Setup;
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
        // What cannot connect is worth less than a connection that stands.
        let secrets = Secrets::new(self.options.secrets.clone());
        crate::kafka::admin(&setup.kafka, &setup.identity, &secrets).map_err(|e| e.to_string())?;
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

/// Progress is kept under these names: with others, everything would be shipped again.
fn another(one: &Config, other: &Config) -> Option<String> {
    let named = |c: &Config| {
        let (pipeline, delivery) = (&c.pipeline, c.pipeline.delivery());
        let namespace = pipeline.namespace();
        [
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
            "{what} is {}, it was {}; progress is kept under that name: set it back, or make another LogPipeline",
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

//! One LogPipeline's round: look, judge, apply, tell. I/O.
//!
//! A round looks at the children only when something touched them, when the spec changed, or when the last look is old: reports
//! wake a pipeline far oftener than anything else. A failure is tried again after 1 s, doubling to 5 min, for each pipeline
//! alone. A pipeline that is being deleted is left alone: its children go with it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::DynamicObject;
use kube::runtime::controller::Action;
use kube::runtime::events::{Recorder, Reporter};
use kube::{Client, ResourceExt};

use super::apply::apply;
use super::conditions;
use super::config::OperatorConfig;
use super::desired::{Frozen, Given, desired, frozen, pin, shipped, transactional_id_prefix};
use super::facts::{Facts, facts};
use super::memory::{Lasting, Memory, of};
use super::numbers::{Bucket, totals};
use super::observe::{Around, Observed, look, observed};
use super::publish::{Outcome, announce, publish};
use super::seen::Seen;
use super::status::{first, shorten, status};
use super::valid::{Place, Refusal, valid};
use crate::pipeline::status::{ConditionStatus, LogPipelineStatus};
use crate::pipeline::{LogPipeline, config_hash};

/// When to look again while something is under way that time decides.
const SOON: Duration = Duration::from_secs(10);
/// When to look again while all is well.
const LATER: Duration = Duration::from_secs(300);
/// How old a look at the children may be.
const FRESH: Duration = Duration::from_secs(240);
/// How long a round may take; kube's client waits for an answer for ever.
const ROUND: Duration = Duration::from_secs(60);
/// Bytes of a text in a status, where longer ones were refused.
const SHORT_BYTES: usize = 64;
/// The longest wait after failures.
const LONGEST: Duration = Duration::from_secs(300);

/// Why a round came to no end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The API server does not answer, or refuses.
    #[error("{0}")]
    Api(#[from] kube::Error),
    /// It takes too long.
    #[error("the API server did not answer within {} s", ROUND.as_secs())]
    Slow,
}

/// The time, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Since some moment, by a clock that only goes forward.
    pub steady: Duration,
    /// For people.
    pub wall: jiff::Timestamp,
}

/// Tells the time.
pub type Clock = Box<dyn Fn() -> Now + Send + Sync>;

/// What every round shares.
pub struct Context {
    /// The way to the API server.
    pub client: Client,
    /// What the operator was told.
    pub config: OperatorConfig,
    cluster: String,
    seen: Arc<dyn Seen>,
    pub(super) recorder: Recorder,
    clock: Clock,
    lives: Mutex<HashMap<Key, Life>>,
    touched: Mutex<HashSet<Key>>,
}

/// Namespace and name.
type Key = (String, String);

/// What is remembered of one pipeline from round to round.
#[derive(Debug)]
pub(super) struct Life {
    uid: String,
    memory: Memory,
    around: Option<(Around, i64, Duration)>,
    failures: u32,
    /// The status that was written last, and when.
    pub(super) told: Option<(LogPipelineStatus, Duration)>,
    pub(super) bucket: Bucket,
    pub(super) asides: Option<BTreeSet<(String, String)>>,
    /// Whether the API server refused a status for what it is, so that a shorter one is tried.
    pub(super) refused: bool,
}

impl Context {
    /// A new one. `cluster` is for pipelines that have no other name of their cluster yet.
    pub fn new(client: Client, config: OperatorConfig, cluster: &str, seen: Arc<dyn Seen>, clock: Clock) -> Self {
        let reporter = Reporter { controller: "spoolway".to_owned(), instance: std::env::var("POD_NAME").ok() };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            config,
            cluster: cluster.to_owned(),
            seen,
            clock,
            lives: Mutex::default(),
            touched: Mutex::default(),
        }
    }

    /// The time of the process and of the machine.
    pub fn clock() -> Clock {
        let start = std::time::Instant::now();
        Box::new(move || Now { steady: start.elapsed(), wall: jiff::Timestamp::now() })
    }

    /// Something around a pipeline changed: the next round looks at all of it.
    pub fn touch(&self, namespace: &str, name: &str) {
        lock(&self.touched).insert((namespace.to_owned(), name.to_owned()));
    }

    /// Forgets a pipeline that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        lock(&self.lives).remove(&key);
        lock(&self.touched).remove(&key);
    }
}

fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(object: &DynamicObject) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// One pipeline's round.
///
/// # Errors
/// The API server does not answer, or refuses.
pub async fn reconcile(object: Arc<DynamicObject>, context: Arc<Context>) -> Result<Action, Failure> {
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let (key, now) = (key(&object), (context.clock)());
    let uid = object.uid().unwrap_or_default();
    // One object is never reconciled twice at once, so its life can be taken out meanwhile.
    let life = lock(&context.lives).remove(&key).filter(|life| life.uid == uid);
    let mut life = life.unwrap_or_else(|| {
        let before = observed(&object, Around::default()).status;
        Life {
            uid,
            memory: Memory::from(&before, now.steady),
            around: None,
            failures: 0,
            told: None,
            bucket: Bucket::default(),
            asides: None,
            refused: false,
        }
    });
    let round = tokio::time::timeout(ROUND, context.round(&object, &mut life, now)).await;
    let outcome = round.unwrap_or(Err(Failure::Slow));
    match &outcome {
        Ok(_) => life.failures = 0,
        Err(_) => (life.failures, life.around) = (life.failures.saturating_add(1), None),
    }
    lock(&context.lives).insert(key, life);
    outcome
}

impl Context {
    async fn round(&self, object: &DynamicObject, life: &mut Life, now: Now) -> Result<Action, Failure> {
        let (around, looked) = self.around(object, life, now).await?;
        let mut observed = observed(object, around);
        let stranger = observed.stranger();
        let taken = stranger.as_ref().filter(|stranger| !stranger.leftover).map(|stranger| stranger.what.as_str());
        let verdict = valid(&observed.document, &self.config, &Place { labels: &observed.around.labels, taken });
        let (namespace, name) = (observed.namespace.clone(), observed.name.clone());
        let agents = self.seen.agents(&namespace, &name);
        let pods = self.seen.pods(&namespace, &name);
        let before = life.told.as_ref().map_or_else(|| observed.status.clone(), |(told, _)| told.clone());
        let frozen = self.frozen(&observed, &before, verdict.as_ref().ok(), &agents);
        let warning = verdict.as_ref().map_or_else(|_| String::new(), |p| warning(p, &observed, &before));
        let nothing = Facts::default();
        let mut seen = conditions::Seen {
            namespace_and_name: (&namespace, &name),
            generation: observed.generation,
            verdict: verdict.as_ref(),
            facts: &nothing,
            lasting: Lasting::default(),
            before: &before,
            warning: &warning,
        };
        let mut told = before.clone();
        if verdict.is_ok() && before.conditions.is_none() {
            told = first(&seen, now.wall);
            publish(self, &observed, life, &told, now).await?;
        }
        if let (Ok(pipeline), None) = (&verdict, &stranger) {
            let (uid, report_to) = (observed.uid.clone(), self.seen.report_to());
            let given = Given { uid: &uid, config: &self.config, frozen: frozen.clone(), report_to };
            apply(&self.client, &mut observed, &desired(pipeline, &given)).await?;
        }
        let prefix = match &verdict {
            Ok(pipeline) => transactional_id_prefix(pipeline, &frozen.cluster),
            Err(_) => before.transactional_id_prefix.clone().unwrap_or_default(),
        };
        let facts = facts(&name, &wanted(&verdict, &observed), observed.daemon_set(), &agents, &pods);
        seen.facts = &facts;
        seen.before = &told;
        seen.lasting = life.memory.see(observed.generation, &facts, totals(&agents), now.steady);
        let mut said = status(&seen, &agents, &prefix, now.wall);
        if life.refused {
            shorten(&mut said, SHORT_BYTES);
        }
        let outcome = publish(self, &observed, life, &said, now).await?;
        announce(self, &observed, life, &agents).await;
        life.around = Some((std::mem::take(&mut observed.around), observed.generation, looked));
        Ok(Action::requeue(next(&said, life, &outcome, &namespace, &name)))
    }

    /// What is around a pipeline, and when that was seen: the last look, if nothing touched it since.
    async fn around(
        &self,
        object: &DynamicObject,
        life: &mut Life,
        now: Now,
    ) -> Result<(Around, Duration), Failure> {
        let key = key(object);
        let touched = lock(&self.touched).remove(&key);
        let generation = object.metadata.generation.unwrap_or_default();
        let is_fresh =
            |of: i64, at: Duration| !touched && of == generation && now.steady.saturating_sub(at) < FRESH;
        match life.around.take().filter(|(_, of, at)| is_fresh(*of, *at)) {
            Some((around, _, at)) => Ok((around, at)),
            None => Ok((look(&self.client, &key.1, &key.0).await?, now.steady)),
        }
    }

    /// What does not change any more, or begins to be so now.
    fn frozen(
        &self,
        observed: &Observed,
        before: &LogPipelineStatus,
        pipeline: Option<&LogPipeline>,
        agents: &[super::view::AgentView],
    ) -> Frozen {
        let mut frozen = frozen(observed.config_map(), before.transactional_id_prefix.as_deref(), &self.cluster);
        if let Some(pipeline) = pipeline {
            frozen.checkpoint_topic = pin(frozen.checkpoint_topic, pipeline, agents);
        }
        frozen
    }
}

/// The hash that agents are to run: of a pipeline that is refused, what was wanted before.
fn wanted(verdict: &Result<LogPipeline, Refusal>, observed: &Observed) -> String {
    match verdict {
        Ok(pipeline) => config_hash(pipeline),
        Err(_) => observed.config_map().and_then(shipped).map(|(_, hash)| hash).unwrap_or_default(),
    }
}

/// What to know about an edit that does not change what is begun; said as long as the generation lasts.
fn warning(pipeline: &LogPipeline, observed: &Observed, before: &LogPipelineStatus) -> String {
    let said = of(before, "Accepted")
        .filter(|c| c.observed_generation == Some(observed.generation) && c.status == ConditionStatus::True);
    if let Some(said) = said {
        return said.message.clone();
    }
    let Some((old, _)) = observed.config_map().and_then(shipped) else {
        return String::new();
    };
    let mut all = Vec::new();
    if old.kafka().map(|k| &k.topic) != pipeline.kafka().map(|k| &k.topic) {
        all.push("spec.sink.kafka.topic changed: files already begun finish on the topic they began with");
    }
    if old.spool_dir().map(|d| &d.path) != pipeline.spool_dir().map(|d| &d.path) {
        all.push("spec.source.spoolDir.path changed: files in the old directory are no longer shipped, and progress is kept");
    }
    all.join("; ")
}

/// When to look again.
fn next(said: &LogPipelineStatus, life: &Life, outcome: &Outcome, namespace: &str, name: &str) -> Duration {
    let under_way = of(said, "Ready").is_some_and(|ready| ready.status == ConditionStatus::Unknown);
    let wait = if under_way || life.memory.is_waiting() { SOON } else { LATER };
    let wait = jittered(wait, namespace, name, 0);
    match outcome {
        Outcome::Later(when) => wait.min(*when),
        _ => wait,
    }
}

/// When to try again after a failure.
pub fn again(object: Arc<DynamicObject>, error: &Failure, context: Arc<Context>) -> Action {
    let (namespace, name) = key(&object);
    let failures = lock(&context.lives).get(&key(&object)).map_or(1, |life| life.failures).max(1);
    let wait = jittered(back_off(failures), &namespace, &name, failures);
    tracing::warn!(namespace, name, "failed, again in {} s: {error}", wait.as_secs());
    Action::requeue(wait)
}

/// 1 s after the first failure, doubling.
fn back_off(failures: u32) -> Duration {
    Duration::from_secs(1_u64 << failures.saturating_sub(1).min(9)).min(LONGEST)
}

/// Up to a fifth more: what failed together need not come again together.
fn jittered(wait: Duration, namespace: &str, name: &str, turn: u32) -> Duration {
    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(format!("{namespace}/{name}").as_bytes(), u64::from(turn));
    wait + wait.mul_f64(f64::from((hash % 1000) as u32) / 5000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_waited_out_longer_and_longer_and_not_by_all_at_once() {
        let waits: Vec<u64> = (1..=11).map(|failures| back_off(failures).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        let waits: HashSet<Duration> =
            (0..100).map(|n| jittered(Duration::from_secs(10), "shop", &format!("p{n}"), 1)).collect();
        assert!(waits.len() > 50, "{waits:?}");
        assert!(waits.iter().all(|wait| (10.0..=12.0).contains(&wait.as_secs_f64())), "{waits:?}");
    }
}

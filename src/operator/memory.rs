//! What has to last before it counts, remembered for one pipeline.
//!
//! Pure: times are those of a monotonic clock, and arguments. After a restart it begins with what the status says.

use std::time::Duration;

use super::facts::{Facts, is_many};
use crate::pipeline::status::{Condition, ConditionStatus, LogPipelineStatus, Totals};

use super::numbers::Carried;

/// How long agents must be unable to flow, or able again, and how long pods must be unready.
const LASTING: Duration = Duration::from_secs(120);
/// How long a rollout may go without a step.
const STUCK: Duration = Duration::from_secs(300);
/// Three intervals of reports: who is silent for so long does not report.
const SILENT: Duration = Duration::from_secs(45);

/// A yes or no that counts once it has lasted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Steady {
    /// What counts; none while it was never good and not bad for long enough.
    counts: Option<bool>,
    /// Since when it is the other way.
    other_since: Option<Duration>,
}

impl Steady {
    fn from(counts: Option<bool>) -> Self {
        Self { counts, other_since: None }
    }

    /// Sees whether it is bad now; whether it counts as bad.
    fn see(&mut self, bad: bool, now: Duration, until_bad: Duration, until_good: Duration) -> Option<bool> {
        let until = match (self.counts, bad) {
            (Some(counts), bad) if counts == bad => {
                self.other_since = None;
                return self.counts;
            }
            (_, true) => until_bad,
            (Some(_), false) => until_good,
            (None, false) => Duration::ZERO,
        };
        let since = *self.other_since.get_or_insert(now);
        if now.saturating_sub(since) >= until {
            *self = Self::from(Some(bad));
        }
        self.counts
    }
}

/// What has lasted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lasting {
    /// Whether too many agents cannot flow; none: nobody knows yet.
    pub flow_is_bad: Option<bool>,
    /// Whether too many pods are not ready; none: nobody knows yet.
    pub pods_are_bad: Option<bool>,
    /// Whether too many ready pods do not report.
    pub silent: bool,
    /// Whether the rollout goes no further.
    pub stuck: bool,
    /// Whether it is too early after the operator's start to say anything new of flow.
    pub warming: bool,
    /// Counters, those of agents that are gone included.
    pub totals: Totals,
}

/// What is remembered.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    generation: i64,
    flow: Steady,
    pods: Steady,
    silence: Steady,
    rollout: Rollout,
    warm: bool,
    began: Duration,
    carried: Carried,
}

/// The last step of a rollout.
#[derive(Debug, Clone, Default)]
struct Rollout {
    hash: String,
    acked: i64,
    updated: i64,
    since: Duration,
    stuck: bool,
}

impl Rollout {
    fn see(&mut self, facts: &Facts, now: Duration) -> bool {
        let updated = facts.counts.map_or(0, |counts| counts.updated);
        if self.hash != facts.hash {
            // What was stuck when the operator started is stuck until something moves.
            let stuck = self.stuck && self.hash.is_empty();
            *self = Self { hash: facts.hash.clone(), acked: facts.acked, updated, since: now, stuck };
        } else if facts.acked > self.acked || updated > self.updated {
            *self = Self { since: now, stuck: false, ..std::mem::take(self) };
        }
        (self.acked, self.updated) = (facts.acked, updated);
        self.stuck |= now.saturating_sub(self.since) >= STUCK;
        self.stuck
    }
}

impl Memory {
    /// Begins with what `before` says.
    pub fn from(before: &LogPipelineStatus, now: Duration) -> Self {
        let generation = before.observed_generation.unwrap_or_default();
        let counts = of(before, "Ready").and_then(|ready| match ready.status {
            ConditionStatus::True => Some(false),
            ConditionStatus::False => Some(true),
            ConditionStatus::Unknown => None,
        });
        let bad = |type_: &str| {
            counts.filter(|bad| {
                let is_false = of(before, type_).is_some_and(|c| c.status == ConditionStatus::False);
                !bad || is_false
            })
        };
        let stuck = of(before, "Ready").is_some_and(|ready| ready.reason == "RolloutStuck");
        Self {
            generation,
            flow: Steady::from(bad("FlowHealthy")),
            pods: Steady::from(bad("AgentsReady")),
            rollout: Rollout { stuck, ..Rollout::default() },
            // Of a new pipeline nothing was said that could be lost.
            warm: before.observed_generation.is_none(),
            began: now,
            carried: Carried::from(before.totals),
            ..Self::default()
        }
    }

    /// Sees the facts of now, and says what has lasted. With another generation flow and pods are judged anew.
    pub fn see(&mut self, generation: i64, facts: &Facts, totals: Totals, now: Duration) -> Lasting {
        if self.generation != generation {
            self.generation = generation;
            self.flow = Steady::default();
            self.pods = Steady::default();
            self.rollout.stuck = false;
        }
        let heard = !is_many(facts.silent, facts.asked);
        self.warm |= (facts.asked > 0 && heard) || now.saturating_sub(self.began) >= SILENT;
        let silent = self.silence.see(!heard, now, SILENT, Duration::ZERO) == Some(true);
        // Before the DaemonSet's controller counted there is nothing to judge.
        let counted = facts.counts.filter(|counts| counts.current && counts.desired > 0);
        let is_bad = is_many(facts.failing, facts.reporting);
        let flow_is_bad = match facts.reporting {
            0 => self.flow.counts,
            _ => self.flow.see(is_bad, now, LASTING, LASTING),
        };
        Lasting {
            flow_is_bad,
            pods_are_bad: match counted {
                Some(c) => self.pods.see(is_many(c.desired - c.ready, c.desired), now, LASTING, Duration::ZERO),
                None => self.pods.counts,
            },
            silent,
            stuck: self.rollout.see(facts, now),
            warming: !self.warm,
            totals: if self.warm { self.carried.add(totals) } else { self.carried.shown() },
        }
    }

    /// Whether something is on its way that time alone decides.
    pub fn is_waiting(&self) -> bool {
        !self.warm || [self.flow, self.pods, self.silence].iter().any(|steady| steady.other_since.is_some())
    }
}

/// A condition of a status.
pub fn of<'a>(status: &'a LogPipelineStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().flatten().find(|c| c.type_ == type_)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::facts::Counts;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn see(steady: &mut Steady, seconds: u64, bad: bool) -> Option<bool> {
        steady.see(bad, at(seconds), LASTING, LASTING)
    }

    #[test]
    fn what_was_good_is_bad_after_two_minutes_and_good_again_after_two_more() {
        let mut steady = Steady::from(Some(false));
        assert_eq!(see(&mut steady, 0, true), Some(false));
        assert_eq!(see(&mut steady, 119, true), Some(false));
        assert_eq!(see(&mut steady, 120, true), Some(true));
        assert_eq!(see(&mut steady, 200, false), Some(true));
        assert_eq!(see(&mut steady, 319, false), Some(true));
        assert_eq!(see(&mut steady, 320, false), Some(false));
    }

    #[test]
    fn a_good_moment_in_between_begins_it_anew() {
        let mut steady = Steady::from(Some(false));
        for (seconds, bad) in [(0, true), (100, false), (110, true), (229, true)] {
            assert_eq!(see(&mut steady, seconds, bad), Some(false), "{seconds}");
        }
        assert_eq!(see(&mut steady, 230, true), Some(true));
    }

    #[test]
    fn what_never_was_is_good_at_once_and_bad_after_two_minutes() {
        assert_eq!(see(&mut Steady::default(), 0, false), Some(false));
        let mut steady = Steady::default();
        assert_eq!(see(&mut steady, 0, true), None);
        assert_eq!(see(&mut steady, 120, true), Some(true));
    }

    fn rolling(acked: i64, updated: i64) -> Facts {
        let counts = Some(Counts { desired: 9, ready: 9, updated, current: true });
        Facts { counts, hash: "h".into(), asked: 9, acked, ..Facts::default() }
    }

    #[test]
    fn a_rollout_is_stuck_five_minutes_after_its_last_step() {
        let mut rollout = Rollout::default();
        assert!(!rollout.see(&rolling(0, 1), at(10)));
        assert!(!rollout.see(&rolling(1, 1), at(200)));
        assert!(!rollout.see(&rolling(1, 2), at(400)));
        assert!(!rollout.see(&rolling(0, 2), at(699)), "an agent that went away is no step");
        assert!(rollout.see(&rolling(0, 2), at(700)));
        assert!(!rollout.see(&rolling(1, 2), at(701)), "it goes on");
        assert!(!rollout.see(&Facts { hash: "other".into(), ..rolling(0, 0) }, at(5000)), "another rollout");
    }

    #[test]
    fn a_new_operator_says_nothing_new_before_most_agents_reported_or_three_intervals_passed() {
        let heard = |silent| Facts { silent, reporting: 10 - silent, asked: 10, ..Facts::default() };
        let shown = Totals { records: 50, ..Totals::default() };
        let before =
            LogPipelineStatus { observed_generation: Some(1), totals: Some(shown), ..LogPipelineStatus::default() };
        let mut memory = Memory::from(&before, at(0));
        let few = Totals { records: 1, ..Totals::default() };
        let lasting = memory.see(1, &heard(2), few, at(1));
        assert!(lasting.warming && !lasting.silent);
        assert_eq!(lasting.totals, shown);
        assert!(!memory.clone().see(1, &heard(1), few, at(2)).warming);
        let lasting = memory.see(1, &heard(2), few, at(46));
        assert!(!lasting.warming && lasting.silent);
    }
}

//! What each agent reported last, and its counters over all its starts.
//!
//! Pure: `now` is a monotonic clock's and an argument. Invariant: as many entries as agents; who stays silent for long is forgotten.

use std::collections::HashMap;
use std::time::Duration;

use crate::operator::view::AgentView;
use crate::pipeline::report::{Report, Totals};

/// Between two reports of an agent, at least.
const INTERVAL: Duration = Duration::from_secs(15);
/// Reports that all agents together send in a second, at most.
const REPORTS_A_SECOND: usize = 400;
/// Reports of one agent come at most this often.
const GAP: Duration = Duration::from_millis(900);
/// Who is silent for so many intervals is lost.
const LOST_INTERVALS: u32 = 3;
/// Who is silent for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);

/// An agent: its pipeline, and its node (or its pod, where it is a sidecar).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Who {
    /// The pipeline's namespace.
    pub namespace: String,
    /// The pipeline.
    pub pipeline: String,
    /// The node.
    pub agent: String,
}

#[derive(Debug)]
struct Entry {
    pod_uid: String,
    heard: Duration,
    report: Report,
    /// Of the starts before this one.
    before: Totals,
}

/// The table.
#[derive(Debug, Default)]
pub struct Table {
    agents: HashMap<Who, Entry>,
}

/// What a report changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Something that is shown.
    Some,
    /// It says what the last one said.
    None,
    /// It came too soon after the last one, and was not taken.
    TooSoon,
}

impl Table {
    /// Takes over a report.
    pub fn put(&mut self, who: Who, pod_uid: &str, report: Report, now: Duration) -> News {
        let Some(entry) = self.agents.get_mut(&who) else {
            let entry = Entry { pod_uid: pod_uid.to_owned(), heard: now, report, before: Totals::default() };
            self.agents.insert(who, entry);
            return News::Some;
        };
        if entry.pod_uid == pod_uid && now < entry.heard + GAP {
            return News::TooSoon;
        }
        let news = if says_the_same(&entry.report, &report) { News::None } else { News::Some };
        if entry.report.boot != report.boot {
            entry.before = sum(&entry.before, &entry.report.totals);
        }
        pod_uid.clone_into(&mut entry.pod_uid);
        entry.heard = now;
        entry.report = report;
        news
    }

    /// The agents of a pipeline, by name.
    pub fn of(&self, namespace: &str, pipeline: &str, now: Duration) -> Vec<AgentView> {
        let lost = self.interval() * LOST_INTERVALS;
        let ours = self.agents.iter().filter(|(who, _)| who.namespace == namespace && who.pipeline == pipeline);
        let mut views: Vec<_> = ours
            .map(|(who, entry)| {
                let silent = now.saturating_sub(entry.heard);
                AgentView {
                    agent: who.agent.clone(),
                    pod_uid: entry.pod_uid.clone(),
                    silent_seconds: silent.as_secs(),
                    lost: silent > lost,
                    totals: sum(&entry.before, &entry.report.totals),
                    report: entry.report.clone(),
                }
            })
            .collect();
        views.sort_by(|a, b| a.agent.cmp(&b.agent));
        views
    }

    /// When an agent is to report next: so that all together stay below what one operator takes.
    pub fn interval(&self) -> Duration {
        INTERVAL.max(Duration::from_secs(self.agents.len().div_ceil(REPORTS_A_SECOND) as u64))
    }

    /// How many agents reported lately.
    pub fn len(&self) -> usize {
        self.agents.len()
    }

    /// Whether nobody reported lately.
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    /// Forgets who has been silent for long and whose pod is gone; `is_there` is asked for namespace and uid. An agent that was
    /// forgotten and is heard again would count twice.
    pub fn sweep(&mut self, now: Duration, is_there: impl Fn(&str, &str) -> bool) {
        let forgotten = FORGOTTEN.max(self.interval() * LOST_INTERVALS * 2);
        self.agents.retain(|who, entry| now < entry.heard + forgotten || is_there(&who.namespace, &entry.pod_uid));
    }
}

/// Apart from what always moves: the age of the oldest file.
fn says_the_same(one: &Report, two: &Report) -> bool {
    let still = |report: &Report| {
        let mut report = report.clone();
        report.backlog.oldest_seconds = 0;
        report.last_commit = None;
        report
    };
    still(one) == still(two)
}

/// Files that are set aside now are those of the newest report; all else adds up.
fn sum(before: &Totals, now: &Totals) -> Totals {
    Totals {
        records: before.records + now.records,
        bytes: before.bytes + now.bytes,
        files: before.files + now.files,
        set_aside: now.set_aside,
        long_lines: before.long_lines + now.long_lines,
        decode_errors: before.decode_errors + now.decode_errors,
        grew_after_completion: before.grew_after_completion + now.grew_after_completion,
        bytes_lost_unread: before.bytes_lost_unread + now.bytes_lost_unread,
        begun_anew: before.begun_anew + now.begun_anew,
        commits: before.commits + now.commits,
        retries: before.retries + now.retries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::reports::sample;

    fn who(agent: &str) -> Who {
        Who { namespace: "shop".into(), pipeline: "web".into(), agent: agent.into() }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn counters_go_on_over_restarts_and_another_pod() {
        let mut table = Table::default();
        for (seconds, pod, boot, records, set_aside) in
            [(0, "p1", "b1", 5, 1), (15, "p1", "b1", 9, 2), (30, "p1", "b2", 1, 0), (45, "p2", "b3", 0, 0)]
        {
            let mut report = sample(boot);
            (report.totals.records, report.totals.set_aside) = (records, set_aside);
            assert_eq!(table.put(who("n1"), pod, report, at(seconds)), News::Some);
        }
        let [view] = &table.of("shop", "web", at(45))[..] else { panic!("one agent") };
        assert_eq!((view.totals.records, view.totals.set_aside, &*view.pod_uid), (10, 0, "p2"));
        assert!(table.of("shop", "other", at(45)).is_empty() && table.of("bank", "web", at(45)).is_empty());
    }

    #[test]
    fn who_is_silent_for_three_intervals_is_lost_and_later_forgotten() {
        let mut table = Table::default();
        table.put(who("n1"), "p1", sample("b"), at(0));
        assert!(!table.of("shop", "web", at(45))[0].lost);
        assert!(table.of("shop", "web", at(46))[0].lost);
        table.sweep(at(800), |_, _| false);
        assert_eq!(table.of("shop", "web", at(800))[0].silent_seconds, 800);
        table.sweep(at(5000), |namespace, uid| (namespace, uid) == ("shop", "p1"));
        assert_eq!(table.len(), 1, "its pod is there");
        table.sweep(at(900), |_, _| false);
        assert!(table.is_empty());
    }

    #[test]
    fn what_always_moves_is_no_news_and_who_hurries_is_not_heard() {
        let mut table = Table::default();
        table.put(who("n1"), "p1", sample("b"), at(0));
        let mut report = sample("b");
        report.backlog.oldest_seconds = 9;
        assert_eq!(table.put(who("n1"), "p1", report.clone(), Duration::from_millis(500)), News::TooSoon);
        assert_eq!(table.put(who("n1"), "p1", report.clone(), at(15)), News::None);
        report.backlog.bytes = 9;
        assert_eq!(table.put(who("n1"), "p1", report, at(30)), News::Some);
    }

    #[test]
    fn many_agents_report_seldom() {
        let mut table = Table::default();
        assert_eq!(table.interval(), at(15));
        for n in 0..20_000 {
            table.put(who(&n.to_string()), "p", sample("b"), at(0));
        }
        assert_eq!((table.interval(), table.len()), (at(50), 20_000));
    }
}

//! Gathers what wakes pipelines: each is let through at once, and then at most once in a span, however often it is named.
//!
//! A rollout over thousands of nodes changes its DaemonSet, its pods and its reports many times a second; one look at what became
//! of it is as good as a hundred.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::time::Instant;

/// Lets each item through at most once in `span`; ends with `items`, when what waits was let through.
pub fn gather<T>(items: impl Stream<Item = T> + Send + 'static, span: Duration) -> impl Stream<Item = T> + Send
where
    T: Clone + Eq + Hash + Send + 'static,
{
    let state = (items.boxed(), Gate { span, passed: HashMap::new(), waiting: HashSet::new(), ended: false });
    futures::stream::unfold(state, |(mut items, mut gate)| async move {
        loop {
            if let Some(item) = gate.due(Instant::now()) {
                return Some((item, (items, gate)));
            }
            let next = gate.next();
            if gate.ended {
                tokio::time::sleep_until(next?).await;
                continue;
            }
            let wait = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                item = items.next() => match item {
                    Some(item) => { gate.waiting.insert(item); }
                    None => gate.ended = true,
                },
                () = wait => {}
            }
        }
    })
}

/// Who passed when, and who waits.
struct Gate<T> {
    span: Duration,
    passed: HashMap<T, Instant>,
    waiting: HashSet<T>,
    ended: bool,
}

impl<T: Clone + Eq + Hash> Gate<T> {
    /// One that may pass now.
    fn due(&mut self, now: Instant) -> Option<T> {
        let (span, passed) = (self.span, &mut self.passed);
        passed.retain(|_, at| now.duration_since(*at) < span);
        let item = self.waiting.iter().find(|item| !passed.contains_key(*item))?.clone();
        self.waiting.remove(&item);
        passed.insert(item.clone(), now);
        Some(item)
    }

    /// When the next one may pass.
    fn next(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|item| self.passed.get(item)).min().map(|at| *at + self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_passes_at_once_and_then_once_in_a_span() {
        let (send, receive) = futures::channel::mpsc::unbounded();
        let begin = Instant::now();
        let passed = tokio::spawn(async move {
            let gathered = gather(receive, Duration::from_secs(2)).map(|item| (item, begin.elapsed().as_millis()));
            gathered.collect::<Vec<_>>().await
        });
        for turn in 0..10 {
            send.unbounded_send("a").unwrap();
            if turn == 3 {
                send.unbounded_send("b").unwrap();
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        drop(send);
        let passed = passed.await.unwrap();
        let of = |name| passed.iter().filter(|(item, _)| *item == name).map(|(_, at)| *at).collect::<Vec<_>>();
        assert_eq!(of("b"), [900]);
        let a = of("a");
        assert_eq!(a.len(), 3, "at once, after 2 s, and what came after that: {a:?}");
        assert!(a[0] < 50 && (2000..2100).contains(&a[1]) && (4000..4200).contains(&a[2]), "{a:?}");
    }
}

//! The agents' pods, as a watch sees them. I/O; what is kept of a pod, and whom a change wakes, is pure.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use kube::api::Api;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::mpsc::UnboundedSender;

use super::desired::AGENT_OF;
use super::view::PodView;

/// Namespace and name.
type Key = (String, String);

/// The agents' pods; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pods(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    pods: HashMap<Key, PodView>,
    /// What a list that is under way has shown so far.
    listed: HashMap<Key, PodView>,
}

impl Pods {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pods of a pipeline's agents, by name.
    pub fn of(&self, namespace: &str, pipeline: &str) -> Vec<PodView> {
        let table = self.table();
        let ours = table.pods.iter().filter(|((space, _), pod)| space == namespace && pod.pipeline == pipeline);
        let mut pods: Vec<_> = ours.map(|(_, pod)| pod.clone()).collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        pods
    }

    /// One pod.
    pub fn by_name(&self, namespace: &str, name: &str) -> Option<PodView> {
        self.table().pods.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Watches for ever; `wake` gets namespace and name of each pipeline of whose pods something changed.
    pub async fn run(self, client: Client, wake: UnboundedSender<(String, String)>) {
        let ours = Config::default().labels(AGENT_OF);
        let mut events = watcher(Api::<Pod>::all(client), ours).default_backoff().boxed();
        while let Some(event) = events.next().await {
            match event {
                // Nobody listens any more where it cannot be sent: the operator ends.
                Ok(event) => self.table().take(event).into_iter().for_each(|woken| drop(wake.send(woken))),
                Err(error) => tracing::warn!("watching the agents' pods, trying again: {error}"),
            }
        }
    }
}

impl Table {
    /// Takes over what happened; the pipelines of whose pods something changed.
    fn take(&mut self, event: Event<Pod>) -> Vec<Key> {
        match event {
            Event::Apply(pod) => self.set(key(&pod), view(&pod)).into_iter().collect(),
            Event::Delete(pod) => {
                let key = key(&pod);
                self.pods.remove(&key).map(|gone| (key.0, gone.pipeline)).into_iter().collect()
            }
            Event::Init => {
                self.listed.clear();
                vec![]
            }
            Event::InitApply(pod) => {
                self.listed.insert(key(&pod), view(&pod));
                vec![]
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let gone: Vec<Key> = self.pods.keys().filter(|key| !listed.contains_key(*key)).cloned().collect();
                let gone =
                    gone.into_iter().filter_map(|key| Some((key.0.clone(), self.pods.remove(&key)?.pipeline)));
                let mut woken: Vec<Key> = gone.collect();
                woken.extend(listed.into_iter().filter_map(|(key, pod)| self.set(key, pod)));
                woken.sort();
                woken.dedup();
                woken
            }
        }
    }

    fn set(&mut self, key: Key, pod: PodView) -> Option<Key> {
        let woken = (key.0.clone(), pod.pipeline.clone());
        let before = self.pods.insert(key, pod.clone());
        (before.as_ref() != Some(&pod)).then_some(woken)
    }
}

fn key(pod: &Pod) -> Key {
    (pod.namespace().unwrap_or_default(), pod.name_any())
}

/// What is kept of a pod.
fn view(pod: &Pod) -> PodView {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|s| s.conditions.as_ref()).into_iter().flatten();
    let containers = status.and_then(|s| s.container_statuses.as_ref()).into_iter().flatten();
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
    PodView {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        pipeline: pod.labels().get(AGENT_OF).cloned().unwrap_or_default(),
        controller: owner.map(|owner| (owner.kind.clone(), owner.name.clone())),
        ready: conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True"),
        trouble: containers.filter_map(|c| trouble(c.state.as_ref()?)).next().unwrap_or_default(),
    }
}

/// Why a container does not run, in the kubelet's word. That it is being made is no trouble.
fn trouble(state: &ContainerState) -> Option<String> {
    let waits = state.waiting.as_ref().and_then(|w| w.reason.clone());
    let ended = state.terminated.as_ref().and_then(|t| t.reason.clone());
    waits.or(ended).filter(|reason| reason != "ContainerCreating" && reason != "PodInitializing")
}

#[cfg(test)]
impl Pods {
    /// With these pods, by namespace.
    pub(super) fn with(pods: impl IntoIterator<Item = (&'static str, PodView)>) -> Self {
        let all = Pods::default();
        for (namespace, pod) in pods {
            all.table().set((namespace.to_owned(), pod.name.clone()), pod);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, pipeline: &str, ready: bool, waits: Option<&str>) -> Pod {
        let state = waits.map_or(json!({"running": {}}), |reason| json!({"waiting": {"reason": reason}}));
        let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "web-spoolway", "uid": "d", "controller": true}]);
        let text = if ready { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "labels": {AGENT_OF: pipeline}, "ownerReferences": owner},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {
                "conditions": [{"type": "Ready", "status": text}],
                "containerStatuses": [{"name": "agent", "state": state, "image": "", "imageID": "", "ready": ready, "restartCount": 0}],
            },
        }))
        .unwrap()
    }

    #[test]
    fn what_matters_of_a_pod_is_kept() {
        let wanted = PodView {
            name: "a".into(),
            uid: "uid-a".into(),
            node: "n1".into(),
            pipeline: "web".into(),
            controller: Some(("DaemonSet".into(), "web-spoolway".into())),
            ready: false,
            trouble: "ImagePullBackOff".into(),
        };
        assert_eq!(view(&pod("a", "web", false, Some("ImagePullBackOff"))), wanted);
        assert_eq!(view(&pod("a", "web", false, Some("ContainerCreating"))).trouble, "");
        assert_eq!(view(&Pod::default()).node, "");
    }

    #[test]
    fn a_pipeline_is_woken_when_something_of_its_pods_changed_and_only_then() {
        let mut table = Table::default();
        let web: Vec<Key> = vec![("shop".into(), "web".into())];
        assert_eq!(table.take(Event::Apply(pod("a", "web", false, None))), web);
        let mut same = pod("a", "web", false, None);
        same.metadata.resource_version = Some("2".into());
        assert_eq!(table.take(Event::Apply(same)), []);
        assert_eq!(table.take(Event::Apply(pod("a", "web", true, None))), web);
        assert_eq!(table.take(Event::Delete(pod("a", "web", true, None))), web);
        assert_eq!(table.take(Event::Delete(pod("a", "web", true, None))), []);
    }

    #[test]
    fn a_new_list_forgets_who_is_gone() {
        let mut table = Table::default();
        table.take(Event::Apply(pod("a", "web", true, None)));
        table.take(Event::Apply(pod("b", "web", true, None)));
        for event in [
            Event::Init,
            Event::InitApply(pod("b", "web", true, None)),
            Event::InitApply(pod("c", "logs", true, None)),
        ] {
            assert_eq!(table.take(event), []);
        }
        let woken: Vec<Key> = ["logs", "web"].map(|name| ("shop".to_owned(), name.to_owned())).into();
        assert_eq!(table.take(Event::InitDone), woken);
        assert_eq!(table.pods.len(), 2);
    }
}

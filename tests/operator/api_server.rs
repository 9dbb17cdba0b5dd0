//! A fake API server: it keeps objects by path, knows no more than reads, deletes and server-side apply, and remembers every write.
//! What it is told to it refuses, or never answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// Where the children and the pipeline of the scenarios are.
pub const CONFIG_MAP: &str = "/api/v1/namespaces/shop/configmaps/web-access-spoolway";
pub const SERVICE_ACCOUNT: &str = "/api/v1/namespaces/shop/serviceaccounts/web-access-spoolway";
pub const DAEMON_SET: &str = "/apis/apps/v1/namespaces/shop/daemonsets/web-access-spoolway";
pub const NETWORK_POLICY: &str = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/web-access-spoolway";
pub const PIPELINE: &str = "/apis/spoolway.dev/v1alpha1/namespaces/shop/logpipelines/web-access";
pub const STATUS: &str = "/apis/spoolway.dev/v1alpha1/namespaces/shop/logpipelines/web-access/status";
pub const NAMESPACE: &str = "/api/v1/namespaces/shop";
pub const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";

/// What is stored, and the paths that were written to.
#[derive(Default)]
struct Store {
    objects: BTreeMap<String, Value>,
    writes: Vec<String>,
    reads: usize,
    events: Vec<(String, String)>,
    /// Method, path, and the code of the refusal; 0 is no answer at all.
    refused: Vec<(Method, &'static str, u16)>,
    /// The longest status that was sent.
    longest: usize,
}

/// The server.
#[derive(Clone)]
pub struct ApiServer {
    store: Arc<Mutex<Store>>,
}

impl ApiServer {
    /// One that holds the sample pipeline and its namespace, and a client of it. Must be called inside a runtime.
    pub fn with_pipeline() -> (Self, Client) {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let store = Arc::new(Mutex::new(Store::default()));
        let of_task = store.clone();
        tokio::spawn(async move {
            let mut unanswered = Vec::new();
            while let Some((request, send)) = handle.next_request().await {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let Some((code, answer)) = of_task.lock().unwrap().answer(&parts, &body) else {
                    unanswered.push(send);
                    continue;
                };
                let answer = Body::from(serde_json::to_vec(&answer).unwrap());
                send.send_response(Response::builder().status(code).body(answer).unwrap());
            }
        });
        let server = Self { store };
        let text = include_str!("../../deploy/samples/web-access.yaml");
        let mut pipeline = spoolway::yaml::documents(text).remove(0).value;
        pipeline["metadata"]["uid"] = "uid-1".into();
        pipeline["metadata"]["generation"] = 1.into();
        server.put(PIPELINE, pipeline);
        let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {}}});
        server.put(NAMESPACE, space);
        (server, Client::new(service, "default"))
    }

    /// What is at `path`; null if nothing is.
    pub fn get(&self, path: &str) -> Value {
        self.store.lock().unwrap().objects.get(path).cloned().unwrap_or_default()
    }

    /// Somebody else stores an object.
    pub fn put(&self, path: &str, object: Value) {
        self.store.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    /// Somebody else deletes an object.
    pub fn remove(&self, path: &str) {
        self.store.lock().unwrap().objects.remove(path);
    }

    /// Somebody else changes an object; a change of a spec makes a new generation.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(path);
        let spec = object["spec"].clone();
        change(&mut object);
        if object["spec"] != spec {
            next_generation(&mut object);
        }
        self.put(path, object);
    }

    /// From now on, this is answered with `code`; with 0 it is not answered. None: everything is answered again.
    pub fn refuse(&self, what: Option<(Method, &'static str, u16)>) {
        self.store.lock().unwrap().refused = what.into_iter().collect();
    }

    /// The paths that were written to since the last question, without events.
    pub fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.store.lock().unwrap().writes)
    }

    /// How often something was read since the last question.
    pub fn reads(&self) -> usize {
        std::mem::take(&mut self.store.lock().unwrap().reads)
    }

    /// Reason and note of the events since the last question.
    pub fn events(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.store.lock().unwrap().events)
    }

    /// Bytes of the longest status that was sent.
    pub fn longest(&self) -> usize {
        self.store.lock().unwrap().longest
    }
}

impl Store {
    fn answer(&mut self, request: &http::request::Parts, body: &[u8]) -> Option<(StatusCode, Value)> {
        let path = request.uri.path().to_owned();
        let refused = self.refused.iter().find(|(method, at, _)| *method == request.method && *at == path);
        if let Some((_, _, code)) = refused {
            return (*code != 0).then(|| (StatusCode::from_u16(*code).unwrap(), refusal(*code)));
        }
        Some(match request.method {
            Method::GET => {
                self.reads += 1;
                match self.objects.get(&path) {
                    Some(object) => (StatusCode::OK, object.clone()),
                    None => (StatusCode::NOT_FOUND, refusal(404)),
                }
            }
            // The recorder joins repetitions of an event into a series.
            Method::PATCH if path.starts_with(EVENTS) => {
                let event: Value = serde_json::from_slice(body).unwrap();
                assert!(event["series"]["count"].as_i64().unwrap() > 1);
                self.events.push((event["reason"].as_str().unwrap().to_owned(), "again".to_owned()));
                (StatusCode::OK, event)
            }
            Method::PATCH => {
                assert_eq!(request.headers["content-type"], "application/apply-patch+yaml");
                let query = request.uri.query().unwrap();
                assert!(query.contains("fieldManager=spoolway") && query.contains("force=true"), "{query}");
                let wanted: Value = serde_json::from_slice(body).unwrap();
                self.writes.push(path.clone());
                (StatusCode::OK, self.apply(&path, &wanted))
            }
            Method::DELETE => {
                let options: Value = serde_json::from_slice(body).unwrap();
                let there = self.objects.remove(&path).unwrap();
                assert_eq!(options["preconditions"]["uid"], there["metadata"]["uid"], "only what was looked at");
                self.writes.push(format!("DELETE {path}"));
                (StatusCode::OK, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
            }
            Method::POST if path == EVENTS => {
                let event: Value = serde_json::from_slice(body).unwrap();
                let text = |name: &str| event[name].as_str().unwrap().to_owned();
                self.events.push((text("reason"), text("note")));
                (StatusCode::CREATED, event)
            }
            ref other => panic!("the operator sent {other} {path}"),
        })
    }

    fn apply(&mut self, path: &str, wanted: &Value) -> Value {
        if let Some(of) = path.strip_suffix("/status") {
            self.longest = self.longest.max(wanted["status"].to_string().len());
            let object = self.objects.get_mut(of).unwrap();
            assert_eq!(wanted["metadata"]["uid"], object["metadata"]["uid"]);
            object["status"] = wanted["status"].clone();
            return object.clone();
        }
        let object = self.objects.entry(path.to_owned()).or_insert_with(|| json!({"metadata": {"uid": "child"}}));
        let spec = object["spec"].clone();
        merge(object, wanted);
        if object["spec"] != spec {
            next_generation(object);
        }
        object.clone()
    }
}

fn next_generation(object: &mut Value) {
    object["metadata"]["generation"] = (object["metadata"]["generation"].as_i64().unwrap_or(0) + 1).into();
}

fn merge(live: &mut Value, wanted: &Value) {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().for_each(|(key, value)| merge(live.entry(key).or_insert(Value::Null), value));
        }
        (live, wanted) => *live = wanted.clone(),
    }
}

fn refusal(code: u16) -> Value {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        413 => "RequestEntityTooLarge",
        422 => "Invalid",
        _ => "InternalError",
    };
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code})
}

//! A fake API server: it keeps objects by path, knows no more than reads and server-side apply, and remembers every write.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use kube::api::DynamicObject;
use kube::client::Body;
use kube::runtime::controller::Action;
use kube::{Client, Error};
use serde_json::{Value, json};
use spoolway::operator::desired::Settings;
use spoolway::operator::reconcile::{Context, reconcile};

/// Where the children and the pipeline of the scenarios are.
pub const CONFIG_MAP: &str = "/api/v1/namespaces/shop/configmaps/web-access-spoolway";
pub const SERVICE_ACCOUNT: &str = "/api/v1/namespaces/shop/serviceaccounts/web-access-spoolway";
pub const DAEMON_SET: &str = "/apis/apps/v1/namespaces/shop/daemonsets/web-access-spoolway";
pub const PIPELINE: &str = "/apis/spoolway.dev/v1alpha1/namespaces/shop/logpipelines/web-access";
pub const STATUS: &str = "/apis/spoolway.dev/v1alpha1/namespaces/shop/logpipelines/web-access/status";

/// What is stored, and the paths that were written to.
#[derive(Default)]
struct Store {
    objects: BTreeMap<String, Value>,
    writes: Vec<String>,
}

/// The server, and a cluster's worth of what happens around it.
pub struct ApiServer {
    store: Arc<Mutex<Store>>,
    client: Client,
}

pub fn settings() -> Settings {
    Settings {
        image: "spoolway:1".to_owned(),
        cluster: "blue".to_owned(),
        spool_root: "/var/spool/spoolway/{namespace}".to_owned(),
    }
}

impl ApiServer {
    /// One that holds the sample pipeline. Must be called inside a runtime.
    pub fn with_pipeline() -> Self {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let store = Arc::new(Mutex::new(Store::default()));
        let of_task = store.clone();
        tokio::spawn(async move {
            while let Some((request, send)) = handle.next_request().await {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let (code, answer) = of_task.lock().unwrap().answer(&parts, &body);
                let answer = Body::from(serde_json::to_vec(&answer).unwrap());
                send.send_response(Response::builder().status(code).body(answer).unwrap());
            }
        });
        let server = Self { store, client: Client::new(service, "default") };
        let text = include_str!("../../deploy/samples/web-access.yaml");
        let mut pipeline = spoolway::yaml::documents(text).remove(0).value;
        pipeline["metadata"]["uid"] = "uid-1".into();
        pipeline["metadata"]["generation"] = 1.into();
        server.put(PIPELINE, pipeline);
        server
    }

    /// What is at `path`; null if nothing is.
    pub fn get(&self, path: &str) -> Value {
        self.store.lock().unwrap().objects.get(path).cloned().unwrap_or_default()
    }

    /// Somebody else stores an object.
    pub fn put(&self, path: &str, object: Value) {
        self.store.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    /// Somebody else changes an object; a change of a spec makes a new generation.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(path);
        let spec = object["spec"].clone();
        change(&mut object);
        if object["spec"] != spec {
            object["metadata"]["generation"] = (object["metadata"]["generation"].as_i64().unwrap_or(0) + 1).into();
        }
        self.put(path, object);
    }

    /// The DaemonSet's controller counts.
    pub fn agents(&self, desired: i64, ready: i64) {
        self.change(DAEMON_SET, |set| {
            set["status"] = json!({
                "observedGeneration": set["metadata"]["generation"], "desiredNumberScheduled": desired,
                "updatedNumberScheduled": desired, "numberReady": ready,
            });
        });
    }

    /// The paths that were written to since the last question.
    pub fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.store.lock().unwrap().writes)
    }

    /// Status, reason and message of a condition.
    pub fn condition(&self, type_: &str) -> Option<(String, String, String)> {
        let all = self.get(PIPELINE)["status"]["conditions"].clone();
        let found = all.as_array()?.iter().find(|c| c["type"] == type_)?.clone();
        let text = |name: &str| found[name].as_str().unwrap().to_owned();
        Some((text("status"), text("reason"), text("message")))
    }

    /// The operator looks at the pipeline once.
    pub async fn reconcile(&self) -> Result<Action, Error> {
        let object: DynamicObject = serde_json::from_value(self.get(PIPELINE)).unwrap();
        reconcile(Arc::new(object), Arc::new(Context::new(self.client.clone(), settings()))).await
    }
}

impl Store {
    fn answer(&mut self, request: &http::request::Parts, body: &[u8]) -> (StatusCode, Value) {
        let path = request.uri.path().to_owned();
        match request.method {
            Method::GET => match self.objects.get(&path) {
                Some(object) => (StatusCode::OK, object.clone()),
                None => (StatusCode::NOT_FOUND, not_found()),
            },
            Method::PATCH => {
                assert_eq!(request.headers["content-type"], "application/apply-patch+yaml");
                let query = request.uri.query().unwrap();
                assert!(query.contains("fieldManager=spoolway") && query.contains("force=true"), "{query}");
                let wanted: Value = serde_json::from_slice(body).unwrap();
                self.writes.push(path.clone());
                (StatusCode::OK, self.apply(&path, &wanted))
            }
            ref other => panic!("the operator sent {other} {path}"),
        }
    }

    fn apply(&mut self, path: &str, wanted: &Value) -> Value {
        if let Some(of) = path.strip_suffix("/status") {
            let object = self.objects.get_mut(of).unwrap();
            object["status"] = wanted["status"].clone();
            return object.clone();
        }
        let object = self.objects.entry(path.to_owned()).or_insert_with(|| json!({}));
        let spec = object["spec"].clone();
        merge(object, wanted);
        if object["spec"] != spec {
            object["metadata"]["generation"] = (object["metadata"]["generation"].as_i64().unwrap_or(0) + 1).into();
        }
        object.clone()
    }
}

fn merge(live: &mut Value, wanted: &Value) {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().for_each(|(key, value)| merge(live.entry(key).or_insert(Value::Null), value));
        }
        (live, wanted) => *live = wanted.clone(),
    }
}

fn not_found() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404})
}

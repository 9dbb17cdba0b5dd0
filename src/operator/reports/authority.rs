//! What the API server says of tokens: whose they are (TokenReview), and what their owner may see (SubjectAccessReview). I/O.

use std::future::Future;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};

use super::tokens::Bound;
use crate::operator::crd::PLURAL;
use crate::pipeline::API_VERSION;
use crate::pipeline::pod::TOKEN_AUDIENCE;

/// The API server did not answer, in its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Who knows tokens. The real one is [`Cluster`].
pub trait Authority: Send + Sync + 'static {
    /// The pod that a token for reports is bound to; `None`: it is not good.
    fn agent(&self, token: &str) -> impl Future<Output = Result<Option<Bound>, Unavailable>> + Send;

    /// Whether the owner of a token for the API server may get a LogPipeline; `None`: it is not good.
    fn may_get(
        &self,
        token: &str,
        namespace: &str,
        pipeline: &str,
    ) -> impl Future<Output = Result<Option<bool>, Unavailable>> + Send;
}

/// The API server.
#[derive(Clone)]
pub struct Cluster(pub Client);

impl Cluster {
    async fn review(
        &self,
        token: &str,
        audiences: Option<Vec<String>>,
    ) -> Result<Option<TokenReviewStatus>, Unavailable> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api = Api::<TokenReview>::all(self.0.clone());
        let answer = api.create(&PostParams::default(), &review).await.map_err(|e| Unavailable(e.to_string()))?;
        Ok(answer.status.filter(|status| status.authenticated == Some(true)))
    }
}

impl Authority for Cluster {
    async fn agent(&self, token: &str) -> Result<Option<Bound>, Unavailable> {
        let status = self.review(token, Some(vec![TOKEN_AUDIENCE.to_owned()])).await?;
        Ok(status.as_ref().and_then(bound))
    }

    async fn may_get(&self, token: &str, namespace: &str, pipeline: &str) -> Result<Option<bool>, Unavailable> {
        let Some(user) = self.review(token, None).await?.and_then(|status| status.user) else { return Ok(None) };
        let (group, _) = API_VERSION.split_once('/').unwrap_or_default();
        let what = ResourceAttributes {
            group: Some(group.to_owned()),
            resource: Some(PLURAL.to_owned()),
            verb: Some("get".to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(pipeline.to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            resource_attributes: Some(what),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let api = Api::<SubjectAccessReview>::all(self.0.clone());
        let answer = api.create(&PostParams::default(), &review).await.map_err(|e| Unavailable(e.to_string()))?;
        Ok(Some(answer.status.is_some_and(|status| status.allowed)))
    }
}

/// The pod in the answer, when it is about this audience and a token that is bound to a pod.
fn bound(status: &TokenReviewStatus) -> Option<Bound> {
    if !status.audiences.as_ref()?.iter().any(|audience| audience == TOKEN_AUDIENCE) {
        return None;
    }
    let user = status.user.as_ref()?;
    // system:serviceaccount:<namespace>:<name>
    let namespace = user.username.as_ref()?.strip_prefix("system:serviceaccount:")?.split(':').next()?;
    let extra = |name: &str| user.extra.as_ref()?.get(name)?.first().cloned();
    Some(Bound {
        namespace: namespace.to_owned(),
        pod: extra("authentication.kubernetes.io/pod-name")?,
        uid: extra("authentication.kubernetes.io/pod-uid")?,
    })
}

/// A table instead of an API server; `tests` of this folder ask it.
#[cfg(test)]
pub(super) mod fake {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    /// A token as the API server makes them, unsigned; `forged-…` is not good.
    pub fn token(pod: &str, audience: &str, until: i64) -> String {
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({"aud": [audience], "exp": until, "pod": pod});
        format!("{}.{}.c2ln", part(json!({"alg": "none"})), part(claims))
    }

    /// Knows every token of [`token`], and counts.
    #[derive(Debug, Default)]
    pub struct Fake {
        asked: AtomicUsize,
        now: AtomicUsize,
        most: AtomicUsize,
        slow: bool,
        broken: AtomicBool,
    }

    impl Fake {
        /// One that takes a moment to answer.
        pub fn slow() -> Self {
            Fake { slow: true, ..Fake::default() }
        }

        /// How often it was asked.
        pub fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }

        /// By how many at the same time, at most.
        pub fn most_at_once(&self) -> usize {
            self.most.load(Ordering::SeqCst)
        }

        /// From now on it does not answer, or does again.
        pub fn break_down(&self, broken: bool) {
            self.broken.store(broken, Ordering::SeqCst);
        }

        fn claims(token: &str) -> serde_json::Value {
            let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
            serde_json::from_slice(&payload).unwrap()
        }
    }

    impl Authority for Fake {
        async fn agent(&self, token: &str) -> Result<Option<Bound>, Unavailable> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let at_once = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(at_once, Ordering::SeqCst);
            if self.slow {
                tokio::task::yield_now().await;
            }
            self.now.fetch_sub(1, Ordering::SeqCst);
            if self.broken.load(Ordering::SeqCst) {
                return Err(Unavailable("no answer".to_owned()));
            }
            let pod = Self::claims(token)["pod"].as_str().unwrap().to_owned();
            let uid = format!("uid-of-{pod}");
            Ok((!pod.starts_with("forged")).then_some(Bound { namespace: "shop".to_owned(), pod, uid }))
        }

        async fn may_get(&self, token: &str, namespace: &str, _: &str) -> Result<Option<bool>, Unavailable> {
            Ok((token != "unknown").then_some(token == format!("reads-{namespace}")))
        }
    }

    #[test]
    fn only_a_token_of_this_audience_that_is_bound_to_a_pod_counts() {
        let status = |audience: &str, extra: serde_json::Value| {
            let user = json!({"username": "system:serviceaccount:shop:web-spoolway", "extra": extra});
            serde_json::from_value(json!({"authenticated": true, "audiences": [audience], "user": user})).unwrap()
        };
        let pod =
            json!({"authentication.kubernetes.io/pod-name": ["p"], "authentication.kubernetes.io/pod-uid": ["u"]});
        let found = bound(&status(TOKEN_AUDIENCE, pod.clone())).unwrap();
        assert_eq!((&*found.namespace, &*found.pod, &*found.uid), ("shop", "p", "u"));
        assert_eq!(bound(&status("other", pod)), None);
        assert_eq!(bound(&status(TOKEN_AUDIENCE, json!({}))), None);
    }
}

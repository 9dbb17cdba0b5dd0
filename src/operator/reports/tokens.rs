//! Whose token it is: cheap checks first, then what is remembered, then the API server, which is asked about few at once.
//!
//! Tokens that are good and those that are not are remembered apart, so that a flood of bad ones costs the good ones nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::authority::{Authority, Unavailable};
use crate::pipeline::pod::TOKEN_AUDIENCE;

/// Questions to the API server at the same time.
const AT_ONCE: usize = 8;
/// Bad tokens that are remembered.
const BAD: usize = 1024;
/// How long, in seconds.
const BAD_SECONDS: i64 = 60;
/// Good tokens that are remembered at least; more where there are more agents.
const GOOD: usize = 1024;
/// A token is at most this long, in bytes.
const LONGEST: usize = 8192;

/// The pod that a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
}

/// Why a token does not count.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is none, or not for this.
    Bad,
    /// Nobody can tell now: try again.
    Unavailable(Unavailable),
}

/// The tokens that were looked at.
pub struct Tokens<A> {
    authority: A,
    good: Mutex<Remembered<Bound>>,
    bad: Mutex<Remembered<()>>,
    slots: Semaphore,
}

impl<A> fmt::Debug for Tokens<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

impl<A: Authority> Tokens<A> {
    /// None is known yet.
    pub fn new(authority: A) -> Self {
        Tokens {
            authority,
            good: Mutex::new(Remembered::default()),
            bad: Mutex::new(Remembered::default()),
            slots: Semaphore::new(AT_ONCE),
        }
    }

    /// Who is asked in the end.
    pub fn authority(&self) -> &A {
        &self.authority
    }

    /// The pod that `token` is bound to. `now` is in seconds since 1970; `agents` is how many there are.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn pod_of(&self, token: &str, agents: usize, now: i64) -> Result<Bound, Refused> {
        let until = expiry(token, now).ok_or(Refused::Bad)?;
        if let Some(bound) = lock(&self.good).get(token, now) {
            return Ok(bound);
        }
        if lock(&self.bad).get(token, now).is_some() {
            return Err(Refused::Bad);
        }
        let slot = self.slots.acquire().await;
        // Others may have brought the answer while this one waited.
        if lock(&self.bad).get(token, now).is_some() {
            return Err(Refused::Bad);
        }
        if let Some(bound) = lock(&self.good).get(token, now) {
            return Ok(bound);
        }
        let answer = self.authority.agent(token).await.map_err(Refused::Unavailable)?;
        drop(slot);
        match answer {
            Some(bound) => {
                lock(&self.good).put(token, bound.clone(), until, GOOD.max(2 * agents), now);
                Ok(bound)
            }
            None => {
                lock(&self.bad).put(token, (), now + BAD_SECONDS, BAD, now);
                Err(Refused::Bad)
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When a token ends, if it looks like one for reports that has not ended. Nothing is proved by it: it keeps nonsense away.
fn expiry(token: &str, now: i64) -> Option<i64> {
    if token.len() > LONGEST {
        return None;
    }
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next().filter(|signature| !signature.is_empty())?);
    if parts.next().is_some() {
        return None;
    }
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let is_ours = |audience: &Value| audience == TOKEN_AUDIENCE;
    let audience = &claims["aud"];
    if !is_ours(audience) && !audience.as_array().is_some_and(|all| all.iter().any(is_ours)) {
        return None;
    }
    claims["exp"].as_i64().filter(|until| *until > now)
}

/// Answers until they end; the one that ends first goes when there are too many.
#[derive(Debug)]
struct Remembered<T> {
    answers: HashMap<Box<str>, (T, i64)>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Remembered { answers: HashMap::new() }
    }
}

impl<T: Clone> Remembered<T> {
    fn get(&self, token: &str, now: i64) -> Option<T> {
        self.answers.get(token).filter(|(_, until)| *until > now).map(|(answer, _)| answer.clone())
    }

    fn put(&mut self, token: &str, answer: T, until: i64, most: usize, now: i64) {
        if self.answers.len() >= most {
            self.answers.retain(|_, (_, until)| *until > now);
        }
        if self.answers.len() >= most {
            let first = self.answers.iter().min_by_key(|(_, (_, until))| *until).map(|(token, _)| token.clone());
            first.and_then(|token| self.answers.remove(&token));
        }
        self.answers.insert(token.into(), (answer, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::reports::authority::fake::{Fake, token};

    const NOW: i64 = 1_000;

    #[tokio::test]
    async fn a_good_token_is_asked_about_once_until_it_ends() {
        let tokens = Tokens::new(Fake::default());
        let good = token("pod-1", TOKEN_AUDIENCE, NOW + 100);
        for now in [NOW, NOW + 50, NOW + 99] {
            assert_eq!(tokens.pod_of(&good, 1, now).await.unwrap().pod, "pod-1");
        }
        assert_eq!(tokens.authority.asked(), 1);
        assert_eq!(tokens.pod_of(&good, 1, NOW + 100).await, Err(Refused::Bad));
    }

    #[tokio::test]
    async fn nonsense_and_tokens_for_others_are_not_asked_about() {
        let tokens = Tokens::new(Fake::default());
        let foreign = token("pod-1", "https://kubernetes.default.svc", NOW + 100);
        let long = token(&"x".repeat(LONGEST), TOKEN_AUDIENCE, NOW + 100);
        for bad in ["", "a.b", "a.b.c", "a.b.c.d", &foreign, &long] {
            assert_eq!(tokens.pod_of(bad, 1, NOW).await, Err(Refused::Bad), "{bad:.40}");
        }
        assert_eq!(tokens.authority.asked(), 0);
    }

    #[tokio::test]
    async fn ten_thousand_bad_tokens_push_no_good_one_out() {
        let tokens = Tokens::new(Fake::default());
        let good = token("pod-1", TOKEN_AUDIENCE, NOW + 100);
        tokens.pod_of(&good, 1, NOW).await.unwrap();
        for n in 0..10_000 {
            let forged = token(&format!("forged-{n}"), TOKEN_AUDIENCE, NOW + 100);
            assert_eq!(tokens.pod_of(&forged, 1, NOW).await, Err(Refused::Bad));
            assert_eq!(tokens.pod_of(&forged, 1, NOW).await, Err(Refused::Bad));
        }
        assert_eq!(tokens.authority.asked(), 10_001, "each is asked about once");
        tokens.pod_of(&good, 1, NOW).await.unwrap();
        assert_eq!(tokens.authority.asked(), 10_001);
        assert!(lock(&tokens.bad).answers.len() <= BAD);
    }

    #[tokio::test]
    async fn few_are_asked_about_at_the_same_time() {
        let tokens = std::sync::Arc::new(Tokens::new(Fake::slow()));
        let calls = (0..100).map(|n| {
            let tokens = tokens.clone();
            tokio::spawn(async move {
                tokens.pod_of(&token(&format!("pod-{n}"), TOKEN_AUDIENCE, NOW + 9), 1, NOW).await
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap().unwrap();
        }
        assert_eq!(tokens.authority.most_at_once(), AT_ONCE);
    }

    #[tokio::test]
    async fn what_nobody_can_tell_now_is_not_remembered() {
        let tokens = Tokens::new(Fake::default());
        let good = token("pod-1", TOKEN_AUDIENCE, NOW + 100);
        tokens.authority.break_down(true);
        assert!(matches!(tokens.pod_of(&good, 1, NOW).await, Err(Refused::Unavailable(_))));
        tokens.authority.break_down(false);
        tokens.pod_of(&good, 1, NOW).await.unwrap();
    }
}

//! Asks the API server whom a token belongs to (`authentication.k8s.io/v1` TokenReview).

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo};
use kube::{Client, Resource, api::PostParams, core::Request};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    Authenticator, Identity, Refusal,
    cache::{Cache, TOKENS},
};
use crate::{
    clock::SharedClock,
    distribution::{
        metrics::{Metrics, ReviewOutcome},
        quiet,
    },
};

/// Where Kubernetes says for which node a bound token was made.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
/// Reviews under way at once: bad tokens must not drown the API server.
const CONCURRENT: usize = 32;
/// One review, the wait for its turn included.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of the API server's reason so many bytes are told.
const REASON: usize = 256;

/// Lets in one ServiceAccount only.
pub(crate) struct TokenReviewer {
    client: Client,
    username: String,
    audience: &'static str,
    cache: Cache,
    turns: Semaphore,
    clock: SharedClock,
    metrics: Metrics,
}

impl TokenReviewer {
    /// `service_account` is in `namespace`; its tokens must be made for `audience`.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        service_account: &str,
        audience: &'static str,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            username: format!("system:serviceaccount:{namespace}:{service_account}"),
            audience,
            cache: Cache::new(TOKENS),
            turns: Semaphore::new(CONCURRENT),
            clock,
            metrics,
        }
    }

    async fn review(&self, token: &str) -> Result<Identity, Refusal> {
        let _turn = self.turns.acquire().await.map_err(|_closed| Refusal::Busy)?;
        let review = TokenReview {
            spec: TokenReviewSpec {
                audiences: Some(vec![self.audience.to_owned()]),
                token: Some(token.to_owned()),
            },
            ..TokenReview::default()
        };
        let unavailable = |error| Refusal::Unavailable(Box::new(error));
        let body = serde_json::to_vec(&review).map_err(|error| unavailable(kube::Error::SerdeError(error)))?;
        let create = Request::new(TokenReview::url_path(&(), None)).create(&PostParams::default(), body);
        let answer: TokenReview = quiet::request(&self.client, create).await.map_err(unavailable)?;
        identity(answer.status.unwrap_or_default(), &self.username, self.audience)
            .map_err(|refusal| without(token, refusal))
    }

    /// How long the token is valid still, as it says itself: believed only after the API server vouched for it.
    fn valid_for(&self, token: &str) -> Option<Duration> {
        let left = expiry(token)?.saturating_sub(self.clock.now().as_second());
        Some(Duration::from_secs(u64::try_from(left).unwrap_or_default()))
    }
}

impl Authenticator for TokenReviewer {
    async fn authenticate(&self, token: &str) -> Result<Identity, Refusal> {
        if let Some(identity) = self.cache.get(token) {
            self.metrics.review(ReviewOutcome::Cached);
            return Ok(identity);
        }
        let reviewed = timeout(PATIENCE, self.review(token)).await;
        let reviewed = reviewed.unwrap_or(Err(Refusal::Slow));
        self.metrics.review(outcome(&reviewed));
        let identity = reviewed?;
        self.cache.put(token, identity.clone(), self.valid_for(token));
        self.metrics.tokens_cached(self.cache.len());
        Ok(identity)
    }
}

const fn outcome(reviewed: &Result<Identity, Refusal>) -> ReviewOutcome {
    match reviewed {
        Ok(_) => ReviewOutcome::Accepted,
        Err(Refusal::Busy | Refusal::Unavailable(_) | Refusal::Slow) => ReviewOutcome::Failed,
        Err(_) => ReviewOutcome::Refused,
    }
}

/// What the API server's answer means for the one user that may connect.
fn identity(status: TokenReviewStatus, wanted: &str, made_for: &str) -> Result<Identity, Refusal> {
    if status.authenticated != Some(true) {
        let reason = status
            .error
            .unwrap_or_else(|| "the API server gives no reason".to_owned());
        return Err(Refusal::Invalid(reason));
    }
    // An authenticator that knows no audiences vouches for the token, but not for what it was made for.
    let audiences = status.audiences.unwrap_or_default();
    if !audiences.iter().any(|audience| audience == made_for) {
        return Err(Refusal::Invalid(format!("its audience is not {made_for}")));
    }
    let user = status.user.unwrap_or_default();
    let found = user.username.as_deref().unwrap_or_default();
    if found != wanted {
        return Err(Refusal::Foreign {
            found: found.to_owned(),
            wanted: wanted.to_owned(),
        });
    }
    node(user).map(|node| Identity { node }).ok_or(Refusal::NoNode)
}

/// The refusal without the token, which the API server's webhooks may quote.
fn without(token: &str, refusal: Refusal) -> Refusal {
    let Refusal::Invalid(reason) = refusal else {
        return refusal;
    };
    let mut reason = reason.replace(token, "<token>");
    let end = (0..=REASON).rev().find(|end| reason.is_char_boundary(*end));
    reason.truncate(end.unwrap_or_default());
    Refusal::Invalid(reason)
}

fn node(user: UserInfo) -> Option<String> {
    let names = user.extra?.remove(NODE_NAME)?;
    names.into_iter().next().filter(|name| !name.is_empty())
}

/// The `exp` claim, in seconds since 1970.
fn expiry(token: &str) -> Option<i64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<serde_json::Value>(&claims).ok()?["exp"].as_i64()
}

#[cfg(test)]
mod tests;

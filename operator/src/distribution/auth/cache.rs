//! Remembers whom a token belongs to, so that a thousand workers that reconnect do not ask the API server a thousand
//! times. Keyed by hash: the cache must not be worth stealing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::Identity;

/// Tokens remembered at most: one for each worker, and as many again while they rotate.
pub(super) const TOKENS: usize = 2 * crate::distribution::MAX_WORKERS;
/// A revoked token may live on so long.
pub(super) const REMEMBERED: Duration = Duration::from_mins(1);

type Key = [u8; 32];

#[derive(Debug)]
pub(super) struct Cache {
    known: Mutex<HashMap<Key, (Identity, Instant)>>,
    most: usize,
}

impl Cache {
    pub(super) fn new(most: usize) -> Self {
        Self {
            known: Mutex::default(),
            most,
        }
    }

    pub(super) fn get(&self, token: &str) -> Option<Identity> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (identity, until) = known.get(&key(token))?;
        (Instant::now() < *until).then(|| identity.clone())
    }

    /// Remembers for [`REMEMBERED`], or for `valid` where the token ends sooner.
    pub(super) fn put(&self, token: &str, identity: Identity, valid: Option<Duration>) {
        let now = Instant::now();
        let until = now + valid.map_or(REMEMBERED, |valid| valid.min(REMEMBERED));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.most {
            known.retain(|_, (_, until)| now < *until);
        }
        // Full of tokens that are all alive: whoever comes now is reviewed each time.
        if known.len() < self.most {
            known.insert(key(token), (identity, until));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn key(token: &str) -> Key {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Identity {
        Identity { node: name.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_forgotten_after_a_minute_or_when_it_ends() {
        let cache = Cache::new(8);
        cache.put("long", node("a"), None);
        cache.put("short", node("b"), Some(Duration::from_secs(5)));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(cache.get("long"), Some(node("a")));
        assert_eq!(cache.get("short"), None);
        tokio::time::advance(Duration::from_secs(55)).await;
        assert_eq!(cache.get("long"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_cache_makes_room_by_what_expired_only() {
        let cache = Cache::new(2);
        cache.put("a", node("a"), Some(Duration::from_secs(1)));
        cache.put("b", node("b"), None);
        cache.put("c", node("c"), None);
        assert_eq!((cache.len(), cache.get("c")), (2, None));
        tokio::time::advance(Duration::from_secs(1)).await;
        cache.put("c", node("c"), None);
        assert_eq!((cache.len(), cache.get("c")), (2, Some(node("c"))));
    }
}

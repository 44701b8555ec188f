//! Which status is written when: no requests, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::retry::{Backoff, Next};

/// Which kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A `SamplingPolicy`.
    SamplingPolicy,
    /// An SLO.
    Slo,
}

/// One object; made again under the same name it is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

/// A status to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Whose.
    pub key: Key,
    /// The whole `status`.
    pub status: Value,
    /// The status that the object was found with, for the first time it is met: an equal one need not be written.
    pub found: Option<Value>,
}

/// How long a status may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Something changed in kind: as soon as the budget allows.
    Now,
    /// Numbers moved: when the object's last write is long enough ago.
    Numbers,
}

/// How much may be written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Writes a second, over all objects; as many at once after a pause.
    pub per_second: f64,
    /// Shortest time between two writes of one object for the sake of numbers; jittered by up to a tenth.
    pub numbers_every: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            per_second: 50.0,
            numbers_every: Duration::from_secs(30),
        }
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is stored.
    Written,
    /// It is not, by this category of error.
    Failed(&'static str),
}

/// Statuses that wait, and what was written last.
#[derive(Debug)]
pub(super) struct Outbox {
    budget: Budget,
    tokens: f64,
    filled: Instant,
    objects: BTreeMap<Key, Object>,
    /// When each object is due that may be written: no look at the others is needed to find the next one.
    queue: BTreeSet<(Instant, Key)>,
    waiting: usize,
    backoff: Backoff<Key>,
}

/// Thousands of statuses are known: of what is written only a fingerprint is kept, and what waits is kept as text.
#[derive(Debug, Default)]
struct Object {
    written: Option<u64>,
    written_at: Option<Instant>,
    waiting: Option<Waiting>,
    /// A write is on its way: nothing else may overtake it.
    in_flight: bool,
}

#[derive(Debug)]
struct Waiting {
    status: Box<str>,
    /// `None`: the last try was refused, and only another status will do.
    due: Option<Instant>,
}

impl Outbox {
    pub(super) fn new(budget: Budget, now: Instant) -> Self {
        let tokens = budget.per_second;
        Self {
            budget,
            tokens,
            filled: now,
            objects: BTreeMap::new(),
            queue: BTreeSet::new(),
            waiting: 0,
            backoff: Backoff::default(),
        }
    }

    /// Takes in a status: the newest of an object replaces one that waits; an equal one is not written.
    pub(super) fn offer(&mut self, document: Document, urgency: Urgency, now: Instant) {
        let every = self.jittered(&document.key);
        let Document { key, status, found } = document;
        let status = text(&status);
        if !self.objects.contains_key(&key) {
            let object = Object {
                written: found.map(|found| fingerprint(&text(&found))),
                ..Object::default()
            };
            self.objects.insert(key.clone(), object);
        }
        self.change(&key, |object| {
            if object.written == Some(fingerprint(&status)) && !object.in_flight {
                object.waiting = None;
                return;
            }
            let due = match (urgency, object.written_at) {
                (Urgency::Numbers, Some(last)) => now.max(last + every),
                _ => now,
            };
            let due = match &object.waiting {
                // A refused status keeps its pause, an earlier one its place.
                Some(Waiting { status: same, due }) if *same == status => *due,
                Some(Waiting { due: Some(earlier), .. }) => Some(due.min(*earlier)),
                _ => Some(due),
            };
            object.waiting = Some(Waiting { status, due });
        });
    }

    /// Every change of an object, so that the queue follows it.
    fn change<T>(&mut self, key: &Key, change: impl FnOnce(&mut Object) -> T) -> Option<T> {
        let object = self.objects.get_mut(key)?;
        let (due, waited) = (object.due(), object.waiting.is_some());
        let changed = change(object);
        let (now_due, waits) = (object.due(), object.waiting.is_some());
        self.waiting = self.waiting + usize::from(waits) - usize::from(waited);
        if due != now_due {
            due.map(|due| self.queue.remove(&(due, key.clone())));
            now_due.map(|due| self.queue.insert((due, key.clone())));
        }
        Some(changed)
    }

    /// The status that is due longest, if the budget allows.
    pub(super) fn take(&mut self, now: Instant) -> Option<Document> {
        self.refill(now);
        if self.tokens < 1.0 {
            return None;
        }
        let (_, key) = self.queue.first().filter(|(due, _)| *due <= now)?;
        let key = key.clone();
        let waiting = self.change(&key, |object| {
            object.in_flight = true;
            object.waiting.take()
        })??;
        // What was a value before is one again.
        let status = serde_json::from_str(&waiting.status).ok()?;
        self.tokens -= 1.0;
        Some(Document {
            key,
            status,
            found: None,
        })
    }

    /// When to look again; `None`: not before something happens.
    pub(super) fn wake(&self, now: Instant) -> Option<Instant> {
        let (due, _) = self.queue.first()?;
        let refilled = now + Duration::from_secs_f64((1.0 - self.tokens).max(0.0) / self.budget.per_second);
        Some(refilled.max(*due))
    }

    /// What became of a status that was taken.
    pub(super) fn finish(&mut self, document: Document, outcome: Outcome, now: Instant) {
        let Document { key, status, .. } = document;
        if !self.objects.contains_key(&key) {
            return;
        }
        let failed = match outcome {
            Outcome::Written => {
                self.backoff.succeeded(&key);
                None
            }
            Outcome::Failed(category) => Some(self.backoff.failed(key.clone(), category)),
        };
        let status = text(&status);
        self.change(&key, |object| {
            object.in_flight = false;
            object.written_at = Some(now);
            if let Some(next) = failed {
                object.put_back(status, next, now);
                return;
            }
            object.written = Some(fingerprint(&status));
            if object.waiting.as_ref().is_some_and(|waiting| waiting.status == status) {
                object.waiting = None;
            }
        });
    }

    /// Drops what belongs to no object any more.
    pub(super) fn retain(&mut self, exists: impl Fn(&Key) -> bool) {
        let gone: Vec<Key> = self.objects.keys().filter(|key| !exists(key)).cloned().collect();
        for key in gone {
            self.change(&key, |object| object.waiting = None);
            self.objects.remove(&key);
            self.backoff.succeeded(&key);
        }
    }

    /// Statuses that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Forgets everything: somebody else writes now.
    pub(super) fn clear(&mut self) {
        self.objects.clear();
        self.queue.clear();
        self.waiting = 0;
        self.backoff = Backoff::default();
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + passed * self.budget.per_second).min(self.budget.per_second);
    }

    /// By the object, not by chance: its writes keep a rhythm of their own.
    fn jittered(&self, key: &Key) -> Duration {
        let sum = key
            .uid
            .bytes()
            .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.budget.numbers_every.mul_f64(1.0 + f64::from(sum % 100) / 1_000.0)
    }
}

impl Object {
    fn due(&self) -> Option<Instant> {
        self.waiting
            .as_ref()
            .and_then(|waiting| waiting.due)
            .filter(|_| !self.in_flight)
    }

    /// A newer status that came meanwhile takes the failed one's place, after the same pause.
    fn put_back(&mut self, status: Box<str>, next: Next, now: Instant) {
        match &mut self.waiting {
            Some(newer) => newer.due = Some(next.at(now).unwrap_or(now)),
            None => {
                self.waiting = Some(Waiting {
                    status,
                    due: next.at(now),
                });
            }
        }
    }
}

/// Equal values have equal texts: maps are in the order of their keys.
fn text(status: &Value) -> Box<str> {
    status.to_string().into()
}

fn fingerprint(status: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    status.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;

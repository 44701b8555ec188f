//! Sends what the outbox says is due.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use shoalwatch_crds::{SamplingPolicy, Slo, names};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::outbox::{Budget, Document, Key, Kind, Outbox, Outcome, Urgency};
use crate::lease::Leadership;
use crate::retry;

/// Requests at once.
const AT_ONCE: usize = 8;
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);

/// Takes statuses.
#[derive(Clone, Debug)]
pub struct Statuses(Arc<Shared>);

/// Bounded by the number of objects: a newer status takes the place of an older one of the same object.
#[derive(Debug)]
struct Shared {
    outbox: Mutex<Outbox>,
    changed: Notify,
}

/// Writes them.
pub struct Writer {
    client: Client,
    shared: Arc<Shared>,
    leadership: watch::Receiver<Leadership>,
    requests: JoinSet<(Document, Outcome)>,
    writes: Writes,
    waiting: Gauge,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Label {
    Written,
    Failed,
    Timeout,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: Label,
}

type Writes = Family<Labels, Counter>;

/// The two ends of the queue.
#[must_use]
pub fn channel(
    client: Client,
    leadership: watch::Receiver<Leadership>,
    budget: Budget,
    registry: &mut Registry,
) -> (Statuses, Writer) {
    let (outcomes, waiting) = (Writes::default(), Gauge::default());
    registry.register("status_writes", "Writes of status, by outcome", outcomes.clone());
    registry.register(
        "status_waiting",
        "Objects whose status waits to be written",
        waiting.clone(),
    );
    let shared = Arc::new(Shared {
        outbox: Mutex::new(Outbox::new(budget, Instant::now())),
        changed: Notify::new(),
    });
    let writer = Writer {
        client,
        shared: Arc::clone(&shared),
        leadership,
        requests: JoinSet::new(),
        writes: outcomes,
        waiting,
    };
    (Statuses(shared), writer)
}

impl Statuses {
    /// Hands a status over. Only what is handed over while this replica leads is written.
    pub fn offer(&self, document: Document, urgency: Urgency) {
        self.0.outbox().offer(document, urgency, Instant::now());
        self.0.changed.notify_one();
    }

    /// Says which objects there are, sorted; what waits for others is dropped.
    pub fn retain(&self, existing: &[Key]) {
        self.0.outbox().retain(|key| existing.binary_search(key).is_ok());
    }
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Writes until told to stop; only while leading. Requests under way when the Lease is lost are abandoned.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let wake = self.start_due();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.shared.changed.notified() => {}
                Some(finished) = self.requests.join_next() => self.finish(finished),
                changed = self.leadership.changed() => match changed {
                    Ok(()) => self.follow_leadership(),
                    Err(_closed) => return,
                },
                () = pause(wake) => {}
            }
        }
    }

    fn follow_leadership(&mut self) {
        if !self.leadership.borrow_and_update().leading {
            self.requests.abort_all();
            self.shared.outbox().clear();
        }
    }

    /// Starts what is due and says when to look again; `None`: not before something happens.
    fn start_due(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut outbox = self.shared.outbox();
        self.waiting.set(i64::try_from(outbox.waiting()).unwrap_or(i64::MAX));
        if !self.leadership.borrow().leading {
            return None;
        }
        while self.requests.len() < AT_ONCE {
            let Some(document) = outbox.take(now) else {
                return outbox.wake(now);
            };
            let client = self.client.clone();
            self.requests.spawn(async move {
                let outcome = write(client, &document).await;
                (document, outcome)
            });
        }
        None
    }

    fn finish(&mut self, finished: Result<(Document, Outcome), tokio::task::JoinError>) {
        // Aborted with the Lease: another leader writes what there is to write.
        let Ok((document, outcome)) = finished else { return };
        let label = match outcome {
            Outcome::Written => Label::Written,
            Outcome::Failed("timeout") => Label::Timeout,
            Outcome::Failed(_) => Label::Failed,
        };
        self.writes.get_or_create(&Labels { outcome: label }).inc();
        self.shared.outbox().finish(document, outcome, Instant::now());
    }
}

async fn pause(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn write(client: Client, document: &Document) -> Outcome {
    let Key {
        kind, namespace, name, ..
    } = &document.key;
    let resource = resource(*kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
    let body = body(document, &resource);
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    let patch = Patch::Apply(&body);
    match timeout(REQUEST, api.patch_status(name, &params, &patch)).await {
        Ok(Ok(_stored)) => {
            debug!(namespace, name, "status written");
            Outcome::Written
        }
        Ok(Err(error)) => {
            warn!(%error, namespace, name, "status not written");
            Outcome::Failed(retry::category(&error))
        }
        Err(_elapsed) => {
            warn!(namespace, name, "writing the status timed out");
            Outcome::Failed("timeout")
        }
    }
}

fn resource(kind: Kind) -> ApiResource {
    match kind {
        Kind::SamplingPolicy => ApiResource::erase::<SamplingPolicy>(&()),
        Kind::Slo => ApiResource::erase::<Slo>(&()),
    }
}

/// What is applied. The uid makes sure that it is not the successor of the object that was judged.
fn body(document: &Document, resource: &ApiResource) -> Value {
    let Key {
        namespace, name, uid, ..
    } = &document.key;
    json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"namespace": namespace, "name": name, "uid": uid},
        "status": document.status,
    })
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;

//! Kubernetes Events, told in the background.
//!
//! Whoever has something to say never waits: beyond [`QUEUE`] waiting Events the newest is dropped and counted. Equal Events
//! within six minutes become one with a count. kube's `Recorder` does that, but it takes Events with different notes for equal,
//! so every note has a recorder of its own.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::{counter::Counter, family::Family};
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, warn};

/// Events that wait to be sent.
pub const QUEUE: usize = 256;
/// Different Events of which equal ones are recognised.
const REMEMBERED: usize = 512;
/// Longest note, in bytes: the API server's limit is 1,024.
const NOTE: usize = 1_000;
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);
/// Who reports.
const CONTROLLER: &str = "shoalwatch-operator";

/// Something worth telling of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The object.
    pub regarding: ObjectReference,
    /// Another object it concerns.
    pub related: Option<ObjectReference>,
    /// Whether somebody should look.
    pub warning: bool,
    /// One `CamelCase` word from a bounded set.
    pub reason: &'static str,
    /// What was being done, one `CamelCase` word.
    pub action: &'static str,
    /// A sentence; cut at 1,000 bytes.
    pub note: String,
}

/// What became of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Outcome {
    Published,
    Failed,
    Dropped,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: Outcome,
}

type Told = Family<Labels, Counter>;

/// Takes Events.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Notice>,
    told: Told,
}

/// Sends them.
pub struct Publisher {
    queue: mpsc::Receiver<Notice>,
    client: Client,
    /// By what makes Events equal.
    recorders: HashMap<Identity, Recorder>,
    told: Told,
}

/// Object, reason and note.
type Identity = (Option<String>, &'static str, String);

/// The two ends of the queue.
#[must_use]
pub fn channel(client: Client, registry: &mut Registry) -> (Events, Publisher) {
    let told = Told::default();
    registry.register("events", "Kubernetes Events, by what became of them", told.clone());
    let (sender, queue) = mpsc::channel(QUEUE);
    (
        Events {
            queue: sender,
            told: told.clone(),
        },
        Publisher {
            queue,
            client,
            recorders: HashMap::new(),
            told,
        },
    )
}

impl Events {
    /// Tells an Event soon, or drops it where too many wait.
    pub fn tell(&self, notice: Notice) {
        if self.queue.try_send(notice).is_err() {
            self.told
                .get_or_create(&Labels {
                    outcome: Outcome::Dropped,
                })
                .inc();
        }
    }
}

impl Publisher {
    /// Sends Events until every [`Events`] is gone. One that fails is counted and not sent again: the status says the same.
    pub async fn run(mut self) {
        while let Some(notice) = self.queue.recv().await {
            let outcome = self.publish(notice).await;
            self.told.get_or_create(&Labels { outcome }).inc();
        }
    }

    async fn publish(&mut self, notice: Notice) -> Outcome {
        let (regarding, reason) = (notice.regarding.clone(), notice.reason);
        let recorder = self.recorder(&notice);
        let event = event(notice);
        match timeout(REQUEST, recorder.publish(&event, &regarding)).await {
            Ok(Ok(())) => {
                debug!(reason, "event published");
                Outcome::Published
            }
            Ok(Err(error)) => {
                warn!(%error, reason, "event not published");
                Outcome::Failed
            }
            Err(_elapsed) => {
                warn!(reason, "event timed out");
                Outcome::Failed
            }
        }
    }
}

impl Publisher {
    fn recorder(&mut self, notice: &Notice) -> Recorder {
        let identity = (notice.regarding.uid.clone(), notice.reason, notice.note.clone());
        if self.recorders.len() >= REMEMBERED && !self.recorders.contains_key(&identity) {
            // The price is an Event too many, not a wrong one.
            self.recorders.clear();
        }
        let new = || Recorder::new(self.client.clone(), Reporter::from(CONTROLLER));
        self.recorders.entry(identity).or_insert_with(new).clone()
    }
}

fn event(notice: Notice) -> Event {
    Event {
        type_: if notice.warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: notice.reason.to_owned(),
        note: Some(cut(notice.note)),
        action: notice.action.to_owned(),
        secondary: notice.related,
    }
}

fn cut(mut note: String) -> String {
    note.truncate(note.floor_char_boundary(NOTE));
    note
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::api_server;

    fn notice(note: &str) -> Notice {
        Notice {
            regarding: ObjectReference {
                namespace: Some("shop".into()),
                uid: Some("uid-1".into()),
                ..ObjectReference::default()
            },
            related: None,
            warning: true,
            reason: "AlertFiring",
            action: "Evaluate",
            note: note.to_owned(),
        }
    }

    #[test]
    fn a_note_is_cut_between_characters() {
        let note = event(notice(&"…".repeat(500))).note.unwrap();
        assert_eq!(note.len(), 999);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_dropped_and_counted() {
        let (queue, _waiting) = mpsc::channel(1);
        let events = Events {
            queue,
            told: Told::default(),
        };
        events.tell(notice("one"));
        events.tell(notice("two"));
        let dropped = events.told.get_or_create(&Labels {
            outcome: Outcome::Dropped,
        });
        assert_eq!(dropped.get(), 1);
    }

    #[tokio::test]
    async fn equal_events_become_one_with_a_count_and_others_keep_their_note() {
        let (client, mut server) = api_server();
        let (events, publisher) = channel(client, &mut Registry::default());
        tokio::spawn(publisher.run());
        for note in ["fast-page fires", "slow-page fires", "fast-page fires"] {
            events.tell(notice(note));
        }
        for note in ["fast-page fires", "slow-page fires"] {
            let asked = server.accept().await;
            assert_eq!(asked.what, "POST /apis/events.k8s.io/v1/namespaces/shop/events");
            assert_eq!(
                (&asked.body["note"], &asked.body["type"]),
                (&json!(note), &json!("Warning"))
            );
        }
        let asked = server.accept().await;
        assert!(asked.what.starts_with("PATCH "), "{}", asked.what);
        assert_eq!(asked.body["series"]["count"], 2);
    }

    #[tokio::test]
    async fn an_event_that_is_refused_is_counted_and_the_next_one_goes_out() {
        let (client, mut server) = api_server();
        let (events, publisher) = channel(client, &mut Registry::default());
        tokio::spawn(publisher.run());
        events.tell(notice("one"));
        events.tell(notice("two"));
        server.refuse(403, "Forbidden").await;
        assert_eq!(server.accept().await.body["note"], "two");
        let failed = events.told.get_or_create(&Labels {
            outcome: Outcome::Failed,
        });
        assert_eq!(failed.get(), 1);
    }
}

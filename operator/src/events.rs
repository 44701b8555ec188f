//! Kubernetes Events, told in the background.
//!
//! Whoever has something to say never waits: beyond [`QUEUE`] waiting Events the newest is dropped and counted. Equal Events
//! within six minutes become one with a count (kube's `Recorder`).

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
    recorder: Recorder,
    told: Told,
}

/// The two ends of the queue.
#[must_use]
pub fn channel(client: Client, registry: &mut Registry) -> (Events, Publisher) {
    let told = Told::default();
    registry.register("events", "Kubernetes Events, by what became of them", told.clone());
    let (sender, queue) = mpsc::channel(QUEUE);
    let recorder = Recorder::new(client, Reporter::from(CONTROLLER));
    (
        Events {
            queue: sender,
            told: told.clone(),
        },
        Publisher { queue, recorder, told },
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

    async fn publish(&self, notice: Notice) -> Outcome {
        let (regarding, reason) = (notice.regarding.clone(), notice.reason);
        let event = event(notice);
        match timeout(REQUEST, self.recorder.publish(&event, &regarding)).await {
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
    use super::*;

    fn notice(note: &str) -> Notice {
        Notice {
            regarding: ObjectReference::default(),
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
        assert_eq!(
            events
                .told
                .get_or_create(&Labels {
                    outcome: Outcome::Dropped
                })
                .get(),
            1
        );
    }
}

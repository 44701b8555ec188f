//! Webhooks: JSON that is posted to whom an SLO names, until it arrives or is given up.
//!
//! What is to be told is derived in the pure core ([`shoalwatch_core::notify`]), by the one task that owns every state; that hands
//! each piece to a task of its own and remembers on the disk what arrived. Each receiver has one piece under way, so it is told in
//! order, and waits for no other one: at most [`WAITING`] wait or are retried, and [`AT_ONCE`] speak at once.
//!
//! **Delivery.** At least once: a new leader goes on where the last one was, and what it tells again has the same id. A piece that
//! is not accepted is tried again, the pauses growing from half a second to a minute, for [`GIVE_UP`]; then the next one has its
//! turn. A receiver that refuses (4xx but 408 and 429, or a redirect) is not asked again for the same piece.
//!
//! **Secrets.** An address may hold one, so nothing shows more of it than scheme, host and port: no log, Event, status or metric.
//! One from a Secret is read for each attempt, and forgotten.
//!
//! **Reach.** As of everything that an SLO names: see [`crate::http_client`]. Nothing of an answer but its status is read or shown.

mod failure;
pub(crate) mod metrics;
pub(crate) mod payload;
mod place;
#[cfg(test)]
pub(crate) mod receiver;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use crate::http_client::{Address, HttpClient};
use crate::retry::{Backoff, Next};

pub(crate) use failure::Failure;
pub(crate) use metrics::{Metrics, Slot};
pub(crate) use payload::Parcel;
pub(crate) use place::Place;

/// Pieces that wait to be told or are retried, of all receivers.
const WAITING: usize = 1_024;
/// Requests at once. A resolver that hangs keeps a thread for up to a minute, and the history file needs some of the 512 there are.
const AT_ONCE: usize = 32;
/// How long resolving, connecting and answering may take together.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one piece is tried.
const GIVE_UP: Duration = Duration::from_mins(15);
/// A piece that failed so often in a row is worth an Event; sooner, a hiccup would be.
const TROUBLE: u32 = 3;

/// Tells receivers.
#[derive(Clone)]
pub(crate) struct Courier {
    client: Client,
    home: Arc<str>,
    http: HttpClient,
    patience: Duration,
    at_once: Arc<Semaphore>,
    waiting: usize,
    metrics: Metrics,
    /// Who hears everything, in the place of receivers.
    #[cfg(test)]
    ears: Option<Ears>,
}

#[cfg(test)]
pub(crate) type Ears = Arc<std::sync::Mutex<Vec<Parcel>>>;

impl Courier {
    /// `home`: the operator's own namespace.
    pub(crate) fn new(client: Client, http: HttpClient, home: Arc<str>, metrics: Metrics) -> Self {
        Self {
            client,
            home,
            http,
            patience: PATIENCE,
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: WAITING,
            metrics,
            #[cfg(test)]
            ears: None,
        }
    }

    /// How many more pieces may be begun.
    pub(crate) fn room(&self) -> usize {
        self.waiting.saturating_sub(self.metrics.queued())
    }

    /// A place in the queue, until it is dropped.
    pub(crate) fn slot(&self) -> Slot {
        self.metrics.slot()
    }

    /// There was no room for a piece; it has its turn later.
    pub(crate) fn deferred(&self, parcel: payload::Kind) {
        self.metrics.deferred(parcel);
    }

    /// Tells one piece, until it arrives or is given up. `trouble` is told once, if it takes more than a hiccup.
    pub(crate) async fn deliver(
        &self,
        place: &Place,
        parcel: &Parcel,
        mut trouble: impl FnMut(&Failure),
    ) -> Result<(), Failure> {
        let give_up = Instant::now() + GIVE_UP;
        let mut backoff = Backoff::default();
        let mut attempt = 0_u32;
        let ended = loop {
            let Err(failure) = self.attempt(place, parcel).await else {
                break Ok(());
            };
            let Next::After(pause) = backoff.failed((), failure.for_backoff()) else {
                break Err(failure);
            };
            let again = Instant::now() + pause;
            if again >= give_up {
                break Err(failure);
            }
            attempt = attempt.saturating_add(1);
            if attempt == TROUBLE {
                trouble(&failure);
            }
            sleep_until(again).await;
        };
        self.metrics.ended(parcel.kind, &ended);
        ended
    }

    async fn attempt(&self, place: &Place, parcel: &Parcel) -> Result<(), Failure> {
        #[cfg(test)]
        if let Some(ears) = &self.ears {
            ears.lock().unwrap().push(parcel.clone());
            return Ok(());
        }
        // Never closed.
        let _turn = self.at_once.acquire().await;
        let told = async {
            let address = place.address(&self.client, &self.home).await?;
            self.send(&address, parcel).await
        };
        let outcome = told.await;
        self.metrics.attempted(&outcome);
        outcome
    }

    /// Posts one piece; 2xx is success.
    async fn send(&self, address: &Address, parcel: &Parcel) -> Result<(), Failure> {
        let posted = self.http.post(address, &parcel.id, parcel.body.clone(), self.patience);
        let origin = || address.to_string();
        match posted.await? {
            200..=299 => Ok(()),
            code @ 300..=399 => Err(Failure::Redirect { origin: origin(), code }),
            code => Err(Failure::Answer { origin: origin(), code }),
        }
    }

    #[cfg(test)]
    pub(crate) fn heard_by(mut self, ears: Ears) -> Self {
        self.ears = Some(ears);
        self
    }

    #[cfg(test)]
    pub(crate) fn with_room_for(mut self, waiting: usize) -> Self {
        self.waiting = waiting;
        self
    }
}

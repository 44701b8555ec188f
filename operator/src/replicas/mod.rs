//! What the replicas of one operator tell each other.
//!
//! Every replica hears every worker and keeps a history of its own. Two things it cannot hear from them: what happened before
//! it was there, and what the leader decided about releases. So
//! - a replica that starts copies the history of another one, the leader's if it answers, **before it may lead**
//!   ([`peers`]). Bounded: 64 MiB, 30 s. Where nobody answers it leads with what it has, and says so in its log and in
//!   `history_copies{outcome="Unanswered"}`;
//! - a follower asks the leader every two seconds what it decided since. A leader that dies between two answers has written
//!   what must not be forgotten on the target itself: the proof of an act.
//!
//! Both are one call on the server that workers use ([`server`]), let in by a token of the operator's own ServiceAccount.

pub(crate) mod metrics;
pub(crate) mod peers;
pub(crate) mod server;

#[cfg(test)]
mod tests;

use std::time::Duration;

use shoalwatch_core::Millis;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::metrics::{CopyOutcome, Metrics};
use self::peers::{Error, Peers};
use crate::admin::{Part, Readiness};
use crate::history::{Opened, Record, Saved, Store};
use crate::lease::Leadership;
use crate::logging::chain;

/// Bytes of a copy at most.
pub(crate) const COPY_BYTES: usize = 64 << 20;
/// How long a replica may take to begin with a copy.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon peers that did not answer are asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often the leader is asked what it decided.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Answers of the leader that wait to be taken in.
pub(crate) const DECISIONS: usize = 4;

/// What the leader decided about SLOs, by uid.
pub(crate) type Decisions = Vec<(String, Record)>;

/// A replica among others.
pub(crate) struct Replica {
    pub(crate) peers: Peers,
    /// Others may copy from here as soon as it is set.
    pub(crate) store: watch::Sender<Option<Store>>,
    /// Cancelled: this replica may lead.
    pub(crate) may_lead: CancellationToken,
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
}

impl Replica {
    /// Adds to what was `opened` what another replica knows; afterwards this one may lead, and be copied from.
    pub(crate) async fn begin(&self, opened: &mut Opened, now: Millis) {
        if let Some(copied) = self.copied().await {
            self.join(opened, copied, now).await;
        }
        self.store.send_replace(opened.store.clone());
        self.readiness.set(Part::History, true);
        self.may_lead.cancel();
    }

    async fn copied(&self) -> Option<Saved> {
        let mut last = None;
        let asking = async {
            loop {
                match self.peers.copy().await {
                    Err(error) if error.passes() => last = Some(error),
                    ended => return ended,
                }
                sleep(AGAIN).await;
            }
        };
        let ended = timeout(PATIENCE, asking).await;
        match ended {
            Ok(Ok(copied)) => {
                self.metrics.copied(CopyOutcome::Copied);
                return Some(copied);
            }
            Ok(Err(Error::Alone)) => {
                info!("no other replica to copy the history from");
                self.metrics.copied(CopyOutcome::Alone);
            }
            Ok(Err(error)) => self.without(&error),
            Err(_elapsed) => self.without(&last.unwrap_or(Error::Slow)),
        }
        None
    }

    fn without(&self, error: &Error) {
        warn!(
            category = error.category(),
            error = chain(error),
            "no history from another replica: going on with what is on the disk"
        );
        self.metrics.copied(error.outcome());
    }

    /// Saved whole before anything is counted on top of it: counts and windows must not part.
    async fn join(&self, opened: &mut Opened, copied: Saved, now: Millis) {
        let Some(store) = &opened.store else {
            opened.saved = std::mem::take(&mut opened.saved).joined(copied, now);
            return;
        };
        let own = opened.saved.clone();
        let joined = std::mem::take(&mut opened.saved).joined(copied, now);
        let saved = match joined.snapshot() {
            Ok(snapshot) => store.save(snapshot).await.map_err(|error| chain(&error)),
            Err(error) => Err(error.to_string()),
        };
        match saved {
            Ok(()) => {
                info!(slos = joined.slos.len(), "history copied from another replica");
                opened.saved = joined;
                opened.lost = None;
            }
            Err(error) => {
                warn!(error, "copied history not saved: going on with what was on the disk");
                self.metrics.copied(CopyOutcome::Unsaved);
                opened.saved = own;
            }
        }
    }

    /// Tells `decisions` what the leader decides, for as long as this replica is none.
    pub(crate) async fn follow(self, mut leadership: watch::Receiver<Leadership>, decisions: mpsc::Sender<Decisions>) {
        let mut leader = None;
        loop {
            if leadership.wait_for(|leadership| !leadership.leading).await.is_err() {
                return;
            }
            let term = leadership.borrow().term;
            match timeout(PATIENCE, self.peers.decisions(&mut leader, term)).await {
                Ok(Ok(records)) if records.is_empty() => {}
                Ok(Ok(records)) => {
                    if decisions.send(records).await.is_err() {
                        return;
                    }
                }
                Ok(Err(error)) => {
                    self.metrics.unheard();
                    tracing::debug!(error = chain(&error), "the leader does not say what it decided");
                    leader = None;
                }
                Err(_elapsed) => leader = None,
            }
            sleep(ASK_EVERY).await;
        }
    }
}

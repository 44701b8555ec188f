//! Which replica leads: a `coordination.k8s.io/v1` Lease in the operator's own namespace.
//!
//! The Lease's transitions are the term. They rise with every change of the leader *and* with every restart of a sole
//! replica: a new process knows nothing of what the former one was about to push. Every write carries the
//! `resourceVersion` that was read, so two replicas never both win a term.
//!
//! A leader that could not renew for [`GIVE_UP`] stops leading by its own clock, five seconds before anybody else may
//! take over.

mod evaluate;
mod metrics;

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
pub use metrics::Metrics;
use metrics::Outcome;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::evaluate::{LASTS, Me, Step, evaluate, term};
use crate::{
    admin::{Part, Readiness},
    clock::SharedClock,
    logging::chain,
};

/// The Lease's name.
pub const NAME: &str = "shoalwatch-operator";
/// How often the leader renews.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How often a follower looks, and how soon a failed renewal is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// A leader that could not renew for so long has lost.
const GIVE_UP: Duration = Duration::from_secs(10);
/// One request to the API server.
const REQUEST: Duration = Duration::from_secs(4);

/// Whether this replica leads, and under which term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Only the leader pushes configurations and writes to the API.
    pub leading: bool,
    /// The Lease's transitions as last seen; 0 before the Lease was read. It never goes back.
    pub term: u64,
}

/// Why one attempt came to nothing. All pass: the next attempt starts afresh.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the API server refused; the operator needs get, create and update on leases in its own namespace")]
    Api(#[source] kube::Error),
    #[error("another replica wrote the Lease first")]
    Conflict(#[source] kube::Error),
    #[error("the API server gave no answer within {REQUEST:?}")]
    Slow(#[source] tokio::time::error::Elapsed),
    #[error("term {0} does not fit the Lease: delete the Lease {NAME} to begin anew")]
    Overflow(u64),
}

impl Error {
    fn from_write(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 409 => Self::Conflict(error),
            _ => Self::Api(error),
        }
    }

    /// Whether the API server said something at all.
    const fn is_answer(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Api(kube::Error::Api(_)))
    }

    const fn outcome(&self) -> Outcome {
        match self {
            Self::Conflict(_) => Outcome::Conflict,
            Self::Api(_) | Self::Slow(_) | Self::Overflow(_) => Outcome::Failed,
        }
    }
}

/// This replica's part in the election.
#[derive(Debug)]
pub struct Campaign {
    api: Api<Lease>,
    identity: String,
    clock: SharedClock,
    metrics: Metrics,
    leadership: watch::Sender<Leadership>,
    /// The term won last, and when its last renewal that succeeded was begun.
    won: Option<(u64, Instant)>,
    /// The Lease's `resourceVersion` as last read, and since when it is that.
    seen: Option<(String, Instant)>,
    /// Cancelled: the Lease may be taken.
    may_lead: CancellationToken,
}

impl Campaign {
    /// A campaign of the pod `identity` for the Lease in `namespace`; nothing happens before [`run`](Self::run).
    #[must_use]
    pub fn new(client: Client, namespace: &str, identity: String, clock: SharedClock, metrics: Metrics) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            identity,
            clock,
            metrics,
            leadership: watch::Sender::default(),
            won: None,
            seen: None,
            may_lead: cancelled(),
        }
    }

    /// Takes the Lease not before `may_lead` is cancelled; until then the campaign only looks on.
    #[must_use]
    pub fn after(self, may_lead: CancellationToken) -> Self {
        Self { may_lead, ..self }
    }

    /// Who leads, as it changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    /// Campaigns until `stop`, then releases the Lease so that another replica need not wait for its end. Nobody asks
    /// the API server more regularly, so `readiness` is told here whether it answers.
    pub async fn run(mut self, readiness: Readiness, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let waits = !self.may_lead.is_cancelled();
            let wait = self.attempt(&readiness).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.may_lead.cancelled(), if waits => {}
                () = sleep(wait) => {}
            }
        }
        self.release().await;
    }

    /// One attempt, and how long to wait after it.
    async fn attempt(&mut self, readiness: &Readiness) -> Duration {
        let began = Instant::now();
        let patience = self.remaining().map_or(REQUEST, |remaining| remaining.min(REQUEST));
        let result = match timeout(patience, self.step(began)).await {
            Ok(result) => result,
            Err(elapsed) => Err(Error::Slow(elapsed)),
        };
        readiness.set(Part::ApiServer, result.as_ref().map_or_else(Error::is_answer, |_| true));
        match result {
            Ok(outcome) => self.metrics.count(outcome),
            Err(error) => {
                self.metrics.count(error.outcome());
                tracing::warn!(error = chain(&error), "lease attempt failed");
            }
        }
        if self.remaining().is_some_and(|remaining| remaining.is_zero()) {
            self.lose("not renewed in time");
        }
        let pause = if self.leading() && began.elapsed() < REQUEST && self.renewed_since(began) {
            RENEW_EVERY
        } else {
            RETRY_EVERY
        };
        self.remaining().map_or(pause, |remaining| remaining.min(pause))
    }

    /// How long this process may still believe to lead.
    fn remaining(&self) -> Option<Duration> {
        let (_, renewed) = self.won.filter(|_| self.leading())?;
        Some(GIVE_UP.saturating_sub(renewed.elapsed()))
    }

    fn renewed_since(&self, began: Instant) -> bool {
        self.won.is_some_and(|(_, renewed)| renewed >= began)
    }

    async fn step(&mut self, began: Instant) -> Result<Outcome, Error> {
        let lease = self.api.get_opt(NAME).await.map_err(Error::Api)?;
        let unchanged = self.note(lease.as_ref());
        let spec = lease.as_ref().and_then(|lease| lease.spec.as_ref());
        match evaluate(spec, unchanged, self.me(), self.clock.now()) {
            Step::Acquire { .. } if !self.may_lead.is_cancelled() => Ok(Outcome::Waited),
            Step::Yield => {
                self.lose("another replica holds the lease");
                Ok(Outcome::Yielded)
            }
            Step::Renew => {
                let Leadership { term, .. } = *self.leadership.borrow();
                self.write(lease, term).await?;
                self.won = Some((term, began));
                Ok(Outcome::Renewed)
            }
            Step::Acquire { term } => {
                self.lose("the lease must be won anew");
                self.write(lease, term).await?;
                self.win(term, began);
                Ok(Outcome::Acquired)
            }
        }
    }

    fn me(&self) -> Me<'_> {
        let Leadership { leading, term } = *self.leadership.borrow();
        Me {
            identity: &self.identity,
            won: self.won.map(|(term, _)| term),
            leading,
            newest: term,
        }
    }

    /// Notes the Lease as read; returns how long it has been so.
    fn note(&mut self, lease: Option<&Lease>) -> Duration {
        let seen = lease.and_then(|lease| lease.metadata.resource_version.clone());
        let spec_term = lease.and_then(|lease| lease.spec.as_ref()).map_or(0, term);
        let news = self.leadership.send_if_modified(|leadership| {
            let news = !leadership.leading && spec_term > leadership.term;
            if news {
                leadership.term = spec_term;
            }
            news
        });
        if news {
            self.metrics.show(*self.leadership.borrow());
        }
        match (&self.seen, seen) {
            (Some((last, since)), Some(now)) if *last == now => since.elapsed(),
            (_, now) => {
                self.seen = now.map(|version| (version, Instant::now()));
                Duration::ZERO
            }
        }
    }

    async fn write(&self, lease: Option<Lease>, term: u64) -> Result<(), Error> {
        let lease = self.claimed(lease, term)?;
        let params = PostParams::default();
        if lease.metadata.resource_version.is_some() {
            self.api
                .replace(NAME, &params, &lease)
                .await
                .map_err(Error::from_write)?;
        } else {
            self.api.create(&params, &lease).await.map_err(Error::from_write)?;
        }
        Ok(())
    }

    /// `lease` as it looks when this replica holds it under `term`.
    fn claimed(&self, lease: Option<Lease>, term: u64) -> Result<Lease, Error> {
        let mut lease = lease.unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let now = MicroTime(self.clock.now());
        let before = lease.spec.take().unwrap_or_default();
        let transitions = i32::try_from(term).ok().ok_or(Error::Overflow(term))?;
        let acquired = before
            .acquire_time
            .filter(|_| before.lease_transitions == Some(transitions));
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LASTS.as_secs()).ok(),
            lease_transitions: Some(transitions),
            acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
            renew_time: Some(now),
            ..before
        });
        Ok(lease)
    }

    fn leading(&self) -> bool {
        self.leadership.borrow().leading
    }

    fn win(&mut self, term: u64, began: Instant) {
        self.won = Some((term, began));
        self.announce(Leadership { leading: true, term });
        tracing::info!(term, identity = self.identity, "leading");
    }

    fn lose(&self, why: &'static str) {
        if !self.leading() {
            return;
        }
        let Leadership { term, .. } = *self.leadership.borrow();
        self.announce(Leadership { leading: false, term });
        self.metrics.count(Outcome::Lost);
        tracing::info!(term, why, "no longer leading");
    }

    fn announce(&self, leadership: Leadership) {
        self.leadership.send_replace(leadership);
        self.metrics.show(leadership);
    }

    async fn release(&self) {
        if !self.leading() {
            return;
        }
        self.lose("stopping");
        match timeout(REQUEST, self.give_back()).await {
            Ok(Ok(())) => tracing::info!("lease released"),
            Ok(Err(error)) => tracing::warn!(error = chain(&error), "lease not released"),
            Err(_) => tracing::warn!("lease not released: the API server gave no answer"),
        }
    }

    async fn give_back(&self) -> Result<(), Error> {
        let Some(mut lease) = self.api.get_opt(NAME).await.map_err(Error::Api)? else {
            return Ok(());
        };
        let won = self.won.map(|(term, _)| term);
        match &mut lease.spec {
            Some(spec) if spec.holder_identity.as_ref() == Some(&self.identity) && Some(term(spec)) == won => {
                spec.holder_identity = None;
                spec.renew_time = Some(MicroTime(self.clock.now()));
            }
            _ => return Ok(()),
        }
        let params = PostParams::default();
        self.api
            .replace(NAME, &params, &lease)
            .await
            .map_err(Error::from_write)?;
        Ok(())
    }
}

fn cancelled() -> CancellationToken {
    let token = CancellationToken::new();
    token.cancel();
    token
}

#[cfg(test)]
mod tests;

//! The control loop: from what the watches and the workers say to what the nodes do, what is undone, and what every status
//! says.
//!
//! ```text
//! watches ─► World ─► sampling_policy ─► Planner ─► a configuration for each node ─► distribution
//!              │         ▲ fleet                └─► status
//!              └──────► slo ◄── deliveries
//!                        └─► acts (rollback), Events, webhooks, status, history
//! ```
//!
//! One task owns every state and never waits for the network. Requests run in tasks beside it and bring their outcome back.
//! Only the leader judges, publishes, writes and acts. A follower keeps the world up to date, counts what workers report as
//! the leader does, and learns what that decided, so that it can go on where the leader stopped. When the Lease is lost,
//! requests under way are abandoned; an act whose patch was sent is found by its annotation.

mod desk;
mod invalid;
mod keeper;
mod planner;
mod sampling_policy;
mod slo;
mod world;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use kube::Client;
use prometheus_client::registry::Registry;
use shoalwatch_core::Millis;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::distribution::{Delivery, Distribution};
use crate::http_client::{Destinations, HttpClient};
use crate::lease::Leadership;
use crate::replicas::{DECISIONS, Replica};
use crate::status::{self, Budget};
use crate::{events, history, polling};

pub(crate) use world::watches::listed;

/// What the controllers need.
pub struct Inputs<'a> {
    /// The API server.
    pub client: Client,
    /// The operator's own namespace; sampling policies in it are defaults for every namespace.
    pub namespace: String,
    /// What nodes do.
    pub distribution: Distribution,
    /// What nodes count.
    pub deliveries: mpsc::Receiver<Delivery>,
    /// Whether to act.
    pub leadership: watch::Receiver<Leadership>,
    /// Where the history file is.
    pub data_dir: PathBuf,
    /// Where SLOs may have the operator connect.
    pub destinations: Destinations,
    /// The wall clock.
    pub clock: SharedClock,
    /// This one among other replicas; `None`: there are no others.
    pub(crate) replica: Option<Replica>,
    /// Where metrics are registered.
    pub registry: &'a mut Registry,
    /// Told to stop.
    pub stop: CancellationToken,
}

/// Why the controllers end without having been told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The watches ended.
    #[error("the watches ended")]
    Watches,
    /// The Lease's task ended.
    #[error("nobody says any more who leads")]
    Leadership,
    /// The distribution ended.
    #[error("the distribution ended")]
    Distribution,
    /// A task panicked.
    #[error("a task of the controllers failed")]
    Task(#[source] JoinError),
}

/// Runs the controllers until told to stop. Metrics are registered at once, everything else happens in the future returned.
#[must_use = "nothing runs until it is polled"]
pub fn run(inputs: Inputs<'_>) -> impl Future<Output = Result<(), Error>> + Send + 'static + use<> {
    let Inputs {
        client,
        namespace,
        distribution,
        deliveries,
        leadership,
        data_dir,
        destinations,
        clock,
        replica,
        registry,
        stop,
    } = inputs;
    let (events, publisher) = events::channel(client.clone(), registry);
    let (statuses, writer) = status::channel(client.clone(), leadership.clone(), Budget::default(), registry);
    let metrics = desk::Metrics::register(registry);
    async move {
        let mut opened = history::open(&data_dir).await;
        let mut helpers = JoinSet::new();
        let (learnt, decisions) = mpsc::channel(DECISIONS);
        if let Some(replica) = replica {
            let now = Millis(clock.now().as_millisecond());
            if stop
                .run_until_cancelled(replica.begin(&mut opened, now))
                .await
                .is_none()
            {
                return Ok(());
            }
            helpers.spawn(replica.follow(leadership.clone(), learnt));
        }
        let (watches, changes) = world::watches::start(&client, &namespace, &metrics.watches);
        helpers.spawn(publisher.run());
        helpers.spawn(writer.run(stop.clone()));
        let http = HttpClient::new(destinations);
        let (polls, poller) = polling::channel(clock.clone(), http.clone());
        helpers.spawn(poller.run());
        let desk = desk::Desk::new(desk::Parts {
            client,
            namespace,
            distribution,
            leadership,
            clock,
            events,
            statuses,
            opened,
            polls,
            http,
            metrics,
        });
        let ended = desk.run(changes, deliveries, decisions, stop).await;
        drop(watches);
        helpers.shutdown().await;
        ended
    }
}

//! The streams that workers hold open: what they must do goes out, what they did and saw comes in.
//!
//! ```text
//! controllers ─ publish ─► Pusher (debounce, term) ─► target ─► one Stream for each worker ─► Push of its node's plan
//! controllers ◄── fleet ── Roster ◄── Hello, ACK, NACK ────────┘
//! controllers ◄── Delivery ◄── Gate ◄── SliReport ─────────────┘   acknowledged once it was ingested
//! API server ─ pods ─► Residents ┘
//! ```
//!
//! Nothing is sent to a worker that runs its node's plan already, and nothing at all while this replica does not lead.

pub(crate) mod auth;
mod bounds;
pub(crate) mod certificates;
mod conversation;
mod end;
pub mod fleet;
mod gate;
pub mod metrics;
mod plans;
mod pusher;
mod quiet;
pub(crate) mod residents;
mod roster;
pub(crate) mod server;
pub(crate) mod serving;
mod stream;

use std::sync::Arc;

pub use fleet::{Fleet, Rejection, Worker};
pub use plans::{Plan, Plans};
pub use pusher::Pusher;
pub use roster::{FORGOTTEN_AFTER, MAX_WORKERS};
use shoalwatch_node_api::{config::Version, wire};
use tokio::sync::{oneshot, watch};

use self::{
    metrics::Metrics,
    pusher::{Target, Wanted},
    residents::Residents,
    roster::Roster,
};
use crate::{clock::SharedClock, lease::Leadership};

/// One SLI report of one worker. The stream acknowledges it to the worker once `done` is fired, so fire it only when
/// losing this process would not lose the report; dropping `done` makes the worker send it again.
#[derive(Debug)]
pub struct Delivery {
    /// The worker's node, as its token says.
    pub node: String,
    /// Within the bounds of [`limits`](shoalwatch_node_api::limits), and about releases with pods on that node only.
    pub report: wire::SliReport,
    /// Fired after the report was ingested.
    pub done: oneshot::Sender<()>,
}

/// Reports that wait to be ingested, of all workers together. Beyond it the streams stop reading, and the workers keep
/// what they have: counts are cumulative, so a late report is as good as one in time.
pub const DELIVERIES: usize = 1_024;

/// What every node must do, and what the nodes say to it.
#[derive(Clone, Debug)]
pub struct Distribution {
    wanted: Arc<watch::Sender<Option<Wanted>>>,
    leadership: watch::Receiver<Leadership>,
    target: Arc<watch::Sender<Option<Arc<Target>>>>,
    roster: Roster,
    residents: Residents,
}

impl Distribution {
    /// The handle, and the task that must run behind it.
    #[must_use]
    pub fn new(leadership: watch::Receiver<Leadership>, clock: SharedClock, metrics: Metrics) -> (Self, Pusher) {
        let (wanted, wanted_changes) = watch::channel(None);
        let distribution = Self {
            wanted: Arc::new(wanted),
            leadership: leadership.clone(),
            target: Arc::default(),
            residents: Residents::new(metrics.clone()),
            roster: Roster::new(clock, metrics, MAX_WORKERS),
        };
        let pusher = Pusher::new(
            wanted_changes,
            leadership,
            Arc::clone(&distribution.target),
            distribution.roster.clone(),
        );
        (distribution, pusher)
    }

    /// Sets what each node must do; equal to what is in force, it does nothing. It takes effect after 100 ms without a
    /// further change (at most 1 s), and only while this replica leads.
    ///
    /// What was published before the Lease was lost is not pushed when it is won again, because another leader may have
    /// pushed something newer meanwhile: publish again at every new term. Publishing as a follower is fine: that takes
    /// effect with the next term.
    ///
    /// The term of the version returned is a forecast while this replica does not lead: compare hashes.
    #[must_use = "the version tells which workers run it"]
    pub fn publish(&self, plans: Plans) -> Version {
        let published = *self.leadership.borrow();
        let version = Version {
            term: published.term,
            hash: plans.digest().to_owned(),
        };
        let wanted = Wanted {
            plans: Arc::new(plans),
            published,
        };
        self.wanted.send_if_modified(|last| {
            let news = last
                .as_ref()
                .is_none_or(|last| last.plans.digest() != version.hash || last.published != wanted.published);
            if news {
                *last = Some(wanted);
            }
            news
        });
        version
    }

    /// Which pods are on which node.
    pub(crate) fn residents(&self) -> Residents {
        self.residents.clone()
    }

    /// What the workers say: changes on connect, disconnect, ACK, NACK and with the target.
    #[must_use]
    pub fn fleet(&self) -> watch::Receiver<Arc<Fleet>> {
        self.roster.fleet()
    }
}

#[cfg(test)]
impl Distribution {
    /// The same for every node.
    pub(crate) fn publish_to_all(&self, config: shoalwatch_node_api::config::NodeConfig) -> Version {
        self.publish(Plans::new(
            Some(Arc::new(Plan::new(config))),
            std::collections::HashMap::new(),
        ))
    }

    /// A distribution without streams, for tests of those who publish to it: the fleet is what the test says it is.
    pub(crate) fn scripted(leadership: watch::Receiver<Leadership>) -> (Self, Pusher, watch::Sender<Arc<Fleet>>) {
        let clock: SharedClock = Arc::new(crate::clock::SystemClock);
        let (distribution, pusher) = Self::new(leadership, clock, Metrics::default());
        let fleet = distribution.roster.script();
        distribution.residents.see_nothing();
        (distribution, pusher, fleet)
    }
}

#[cfg(test)]
mod tests;

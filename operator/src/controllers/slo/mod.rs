//! `SLO`: from reports to a verdict, from a verdict to an act, and all of it into the status.
//!
//! observe → [`validate`] → ingest (workers' reports), polled → [`evaluate`] (the pure core judges) → [`execute`] (events, patches)
//! → [`plan`]: the status. Everything here is owned by one task and never waits; what has to wait is handed to tasks that
//! bring their outcome back.
//!
//! While an act or a fresh look at a target is under way its SLO is not judged: the outcome has to come first.

mod evaluate;
pub(super) mod execute;
mod follow_up;
mod ingest;
mod metrics;
mod notify;
mod observe;
mod plan;
mod polled;
mod remember;
mod rules;
mod takeover;
mod text;
mod validate;

pub(super) use evaluate::{Surroundings, Todo};
pub(super) use metrics::{Gauges, Samples};
pub(super) use notify::Order as Notification;
pub(super) use observe::Slos;
pub(super) use rules::{Labels as RulesLabels, Order as RulesOrder, Writes as RulesWrites};

#[cfg(test)]
mod tests;

//! The operator's decisions as pure functions: no client, no runtime, no clock.
//!
//! Time is a parameter ([`Millis`]), the world is plain structs, and what is to be done comes back as data. The operator
//! converts its kinds and the wire's messages into these structs, calls, and executes what it is told.
//!
//! The path of a count, and the room of each step:
//!
//! ```text
//! workers' cumulative rows ─ reports ─► differences ─ history ─► windows ─┐
//! Deployment, ReplicaSets ─ release ─► roles, known-good ─────────────────┤
//!                                         judge ◄─────────────────────────┘  burn: alert tiers
//!                                           └─► verdict ─ rollback ─► effects (patch, events, timeline)
//! ```
//!
//! [`slo::SloState::evaluate`] runs that path for one SLO, once; [`policy`] compiles what the nodes must do.
#![forbid(unsafe_code)]

pub mod burn;
pub mod calendar;
pub mod condition;
pub mod counts;
pub mod handover;
pub mod history;
pub mod ids;
pub mod judge;
pub mod notify;
pub mod policy;
pub mod polled;
pub mod release;
pub mod reports;
pub mod rollback;
pub mod rules;
pub mod slo;
pub mod spec;
pub mod stats;
pub mod time;

pub use counts::Counts;
pub use ids::{ReleaseId, Revision, SliId, StartId, WorkerId};
pub use time::Millis;

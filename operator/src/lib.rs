//! The operator: watches the kinds, programs the nodes, judges SLOs and undoes bad releases.
//!
//! One process, a few tasks that live as long as it does; the `runtime` wires them and the death of one ends all.
//!
//! ```text
//! Kubernetes API ─► controllers ─ publish ─► distribution ═ TLS streams ═► node workers
//!        ▲               ▲  └──── status, Events, rollback patches (only while leading)
//!        └──── lease ────┘
//! ```

#![forbid(unsafe_code)]

pub mod admin;
pub mod args;
pub mod clock;
pub mod controllers;
pub mod distribution;
pub mod events;
pub mod history;
mod http_client;
pub mod lease;
pub mod logging;
pub mod metrics;
mod notifications;
mod polling;
pub(crate) mod replicas;
pub mod retry;
pub mod rollback;
mod rules;
pub mod runtime;
pub mod status;
pub mod supervise;

#[cfg(test)]
mod testing;

//! The node worker: sees requests through eBPF and exports them.
//!
//! ```text
//! loader ──ring──▶ requests (one thread) ──batches──▶ export ──▶ OTLP
//!                   ▲    ▲         └──────numbers───▶ export, admin ──▶ OTLP, Prometheus
//!   enrichment ─pods┘    └─configurations─ distribution ◀──▶ operator, or a file
//! ```
//!
//! - [`loader`] puts the eBPF programs into the kernel.
//! - `discovery` finds processes; `enrichment` says whose they are.
//! - `requests` owns everything that a request changes: which processes are observed, counts, decisions.
//! - `distribution` brings configurations and takes SLI reports to the operator.
//! - `export`, `prometheus`, `admin` tell the numbers; [`top`] shows those of a running worker on the terminal.

mod admin;
pub mod args;
mod counters;
mod discovery;
mod distribution;
mod enrichment;
mod export;
mod health;
mod in_force;
pub mod loader;
mod prometheus;
mod requests;
pub mod run;
pub mod top;

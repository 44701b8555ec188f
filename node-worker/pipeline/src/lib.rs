//! What a node does with one request: sampling, aggregation, batching.
//!
//! Everything here is pure: no I/O, no clock, no global randomness. The caller brings the time, in nanoseconds, and the seed of
//! the ids. State that grows has a maximum, tells how full it is, and counts what did not fit.
//!
//! A [`request::Request`] goes through, in this order:
//! - [`routes`], [`peers`]: its template, or for a client its peer, becomes a small number, or `_OTHER`;
//! - [`red`]: it is counted in the series {service, route or peer, method, status};
//! - [`sli`]: it is counted as good or bad for each SLO that watches it;
//! - [`sampler`]: it is decided whether it becomes a span;
//! - [`otlp`]: the span is written;
//! - [`batch`]: it waits for its export.
//!
//! Where the kernel decides for itself, it does by what [`folding`] makes of a policy.
//! [`selector`] says which policy a pod is under, [`loss`] counts what was lost on the way.
#![forbid(unsafe_code)]

pub mod batch;
pub mod folding;
pub mod ids;
mod interned;
pub mod loss;
pub mod matching;
pub mod otlp;
pub mod peers;
pub mod red;
pub mod request;
pub mod routes;
pub mod sampler;
pub mod selector;
pub mod sli;

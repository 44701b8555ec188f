//! The system tier: Shoalwatch from `manifests/` in a real cluster, with a real Collector.
//!
//! `make test-system` starts the cluster and runs these one after the other; each has namespaces of its own.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod bench;
mod counts;
mod faults;
mod invalid;
mod kill;
mod policies;
mod releases;
mod replicas;
mod rollout;
mod spared;

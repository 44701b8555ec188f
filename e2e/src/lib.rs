//! The harness of the system tests and of the demo: a cluster, what runs in it, and what is measured there.
//!
//! Everything goes through the API server (pods' metrics by its proxy), so the same code works in the local cluster of
//! `e2e/cluster` and in any other that a kubeconfig names.

#![forbid(unsafe_code)]

pub mod cluster;
pub mod collector;
pub mod install;
pub mod load;
pub mod prometheus;
pub mod requests;
pub mod shop;
pub mod wait;

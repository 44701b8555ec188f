//! Executes what the rollback machine decides: one file for each kind of target.
//!
//! The decisions are [`shoalwatch_core::rollback`]'s; here are the requests, their preconditions and what their answers mean.

pub mod access;
pub mod deployment;
mod field_set;
pub mod gitops;
mod ownership;
pub mod pods;
mod release;
pub mod remedy;

pub use release::{TEMPLATE_HASH_LABEL, release_id};

//! Verdicts: phases, and every clause of the decision on a release.

mod clauses;
mod gathered;
mod given;
mod memory;
#[path = "../support/pair.rs"]
mod pair;
mod phases;
mod properties;
#[path = "../support/mod.rs"]
mod support;

//! Releases come and go, and what is undone: the whole path against a simulated API server.

mod crashes;
mod escapes;
mod properties;
mod reports;
mod rollouts;
mod stories;
#[path = "../support/mod.rs"]
mod support;
mod world;

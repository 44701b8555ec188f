//! Rules for Prometheus. What is rendered is checked in, beside tests for `promtool` that the burn rates say:
//! `make test-rules` runs them, and so holds the rules to [`shoalwatch_core::burn::Tier::fires_after`].
//!
//! `SHOALWATCH_REGENERATE=1 cargo test -p shoalwatch-core --test rules` writes the files.

#[cfg(test)]
mod promtool;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod slos;

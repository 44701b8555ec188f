//! `SamplingPolicy`: from the object to what every node samples, and back to its status.
//!
//! observe → [`validate`] → [`compile`] → publish (once for all policies and SLOs) → [`plan`]: the status, from what the
//! nodes answered. An object that makes no sense keeps its last good spec in force: in memory, in the history file, and on
//! every node.

pub(super) mod compile;
mod observe;
mod plan;
mod published;
mod tally;
mod validate;

pub(super) use observe::Policies;
pub(super) use plan::Answers;
pub(super) use published::Published;
pub(super) use validate::http_status;

#[cfg(test)]
mod tests;

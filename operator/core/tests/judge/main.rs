//! Verdicts: phases, and every clause of the decision on a release.

mod clauses;
mod gathered;
mod given;
mod phases;
mod properties;

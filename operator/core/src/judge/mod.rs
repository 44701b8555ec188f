//! Judges one SLO: a pure function of counts, the target's state and time.
//!
//! # When a release is to be undone
//!
//! All of this holds of the *new* release, the current one while it is in probation. `threshold` is
//! `min(burn × (1 − objective), maxBadRatio)`; "exceeds" means that the lower bound of its bad ratio does
//! ([`crate::stats`], error 1e-4 per look; a correction for repeated looks is to come).
//!
//! 1. it exceeds the threshold in the short window (the failure goes on),
//! 2. it exceeds it in the long window or since its first request (the failure has weight),
//! 3. since its first request there were `minBadEvents` bad answers,
//! 4. from two pods, or spread over two seconds (not one bad moment of one pod),
//! 5. while the stable release serves: the new one is worse than it in the same span, and the stable one does not exceed the
//!    threshold itself,
//! 6. and 1 and 2 still hold if everything unseen was good: lost requests, and pods that no worker reports, which are taken to
//!    serve as much as the reporting ones.
//!
//! If 1 to 4 hold and 5 or 6 does not, the verdict is *Inconclusive*. More bad answers never turn "undo" into "do not": every
//! clause rises with them. More good answers never turn "do not" into "undo".
//!
//! # Phases
//!
//! The first that holds: `NoData` (pods are ready and no worker reports any), `Breached` (a release is to be undone, a page
//! tier fires, or the budget is spent), `Inconclusive` (clause 5 or 6), `Burning` (a ticket tier fires), `NoData` (no request in
//! the shortest alert window), `Inconclusive` (a loss in that window, or ready pods that nobody reports), `Healthy`.
//! `NoData` is never good and never bad: nothing is undone and nothing promoted under it.

mod evidence;
mod new_release;
mod verdict;

pub use evidence::{Coverage, Evidence, ReleaseEvidence, gather};
pub use new_release::{may_promote, new_release};
pub use verdict::{AlertState, Breach, Decision, Doubt, Phase, PhaseReason, Verdict, WindowBurn, judge};

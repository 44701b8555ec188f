//! Judges one SLO: a pure function of counts, the target's state and time.
//!
//! # When a release is to be undone
//!
//! All of this holds of the *new* release, the current one while it is in probation. `threshold` is
//! `min(burn × (1 − objective), maxBadRatio)`. Its answers count from its first request on, or, with `rollback.warmup`, from so
//! long after its first ready pod and its first request, rounded up to whole ten seconds (to a minute for a probation beyond 69 m).
//!
//! 1. Its bad ratio exceeds the threshold in the short window, **or** in the long one, **or** since its first request; or in the later
//!    half of that time, quarter, and so on down to the long window.
//! 2. It gave `minBadEvents` bad answers that count,
//! 3. from two pods, or spread over two seconds (not one bad moment of one pod).
//! 4. Clause 1 still holds if everything unseen was good: lost requests, and pods that no worker reports, which are taken to serve
//!    as much as the reporting ones.
//! 5. In the span that clause 1 speaks of, the stable release does not exceed the threshold itself,
//! 6. and the new one is worse than it. Both while the stable release serves: it has ready pods, and since the new one's first
//!    request it had 10 requests in the last `windows.long`. Once it does not, both still hold of every span in which it had 10.
//!
//! If 1 to 3 hold and no span passes 4 to 6, the verdict is *Inconclusive*. An answer that turns from good to bad never turns
//! "undo" into "do not", and more good answers never turn "do not" into "undo": every clause rises and falls with them.
//!
//! # How sure that is
//!
//! "Exceeds" and "worse" are meant as in [`crate::stats`]: a good release is undone with probability at most 1e-4 **over its whole
//! probation**, whatever the number of looks, and called worse than the stable one with at most 1e-3. Units are seconds of the operator's
//! clock for windows up to 10 m, ten seconds up to 69 m, minutes beyond (those of [`crate::history`]); the one that is still open shows
//! only a part of itself and does not count. "Good" is said of units, not of requests: given the past, a second's expected share of bad
//! answers is at most the threshold. So the bound holds for bursts of any size within a second, and a failure of one or two seconds
//! never undoes a release; one that lasts does.
//!
//! The error is spent once, so that the clauses may be joined by "or":
//!
//! ```text
//! 1e-4  ÷ 3 spans  × share of the span's beginning:   ½                               if that is the first unit that counts
//!                                                     ¼ / (s (s+1)) + ¼ / units in a probation      s units later
//! ```
//!
//! A sliding window begins somewhere else at each look; each beginning is a hypothesis of its own, with an error of its own, and over
//! `s` = 0, 1, 2 … the shares sum to one. A bet from one beginning holds for all ends (Ville), so neither a window's length nor how
//! many of them there are costs anything. A
//! release that is bad from its first request is found most cheaply: ln(1e4 × 3 × 2) = 11.0 nats; later, as in an alarm that listens
//! for half an hour, it takes up to 19.2.
//!
//! The same shares divide the 1e-3 of clause 6. Clause 5 saves a release, so it is believed at p < 0.05 (Chernoff).
//!
//! When the stable release is gone, its counts stay in the comparison of every span it served in, so that an outage of both does not
//! turn into one of the new release alone. What came after its last request is a span of its own, in which the new release is judged
//! by itself: by nature, nothing then tells a failing dependency from a failing release.
//!
//! # What a look costs
//!
//! A span is read in full only if it may exceed the threshold. That a span cannot is most often plain at a glance, by
//! [`Bets::at_most`](crate::stats::Bets::at_most), of the difference of two sums that [`crate::history`] keeps. Of a release with more
//! than one revision, whose buckets have to be joined first, every span is read in full; no decision depends on which way was gone.
//!
//! Where units are wider than a second, most looks see what the one before them saw: a [`Memory`] keeps what was read, and whether
//! anything in it is sure, until a unit closes, answers come late, or anything else changes that this follows from.
//!
//! # Phases
//!
//! The first that holds: `NoData` (pods are ready and no worker reports any), `Breached` (a release is to be undone, a page
//! tier fires, or the budget is spent), `Inconclusive` (clauses 4 to 6), `Burning` (a ticket tier fires), `NoData` (no request in
//! the shortest alert window), `Inconclusive` (a loss in that window, or ready pods that nobody reports), `Healthy`.
//! `NoData` is never good and never bad: nothing is undone and nothing promoted under it.

mod evidence;
mod memory;
mod new_release;
mod span;
mod verdict;

pub use evidence::{Case, Coverage, Evidence, ReleaseEvidence, gather, gather_case};
pub use memory::Memory;
pub use new_release::{Finding, findings, may_promote, new_release, sure};
pub use span::{Frame, Span, Unit};
pub use verdict::{AlertState, Breach, Decision, Doubt, Phase, PhaseReason, Verdict, WindowBurn, judge};

//! How sure counts make one: bounds that need no normal approximation, no least sample and no independence that traffic lacks.
//!
//! - [`evidence_above`]: one ratio, one look. For what is decided once, such as whether an undo helped.
//! - [`Bets`]: one ratio, looked at every second for half an hour, in answers that fail in bursts. For undoing a release.
//! - [`evidence_worse`]: two ratios side by side, looked at every second. For not blaming a release for what hits its elder too.
//!
//! Evidence is in nats: `x` nats in favour of "bad" come up with probability at most `e^(−x)` if it is not.

mod one_look;
mod sequential;

pub use one_look::{LOOK_EVIDENCE, divergence, evidence_above};
pub use sequential::{Bets, Glance, Pair, UNIT_MOST, evidence_worse};

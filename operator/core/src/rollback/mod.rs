//! Undoing a bad release, step by step, with a memory that survives crashes.
//!
//! ```text
//!          rule filled              applied             ready, healthy             cool-down since the act
//!  Idle ───────────────► Acting ────────────► Verifying ─────────────────► Latched ─────────────────────────► Idle
//!   ▲        conflict,     │                    │   │  └ second time ► CoolingDown ─────────────────────────► Idle
//!   └────── forbidden ─────┘                    │   └ deadline ► Failed     └ the bad release again: Contested
//!                                               └ the bad release again: Acting, the third time Contested
//! ```
//!
//! - **Acting**: the patch is on its way. After a conflict everything is observed and judged afresh; nothing is retried blindly.
//! - **Verifying**: the good release's pods must be ready and its bad ratio below the threshold, over a whole short window, within
//!   `verifyWithin`, else
//!   **Failed**: somebody is paged and there is no second act.
//! - **Latched**, until `cooldown` after the act: the same release applied again is undone on sight.
//! - **`CoolingDown`**, in the place of Latched after the second act: too soon for a third; applied again it is Contested.
//! - **Contested**: within a cool-down of the second act the release was applied a third time. The writer is named, nothing is
//!   done any more until another release comes or this one is accepted.
//!
//! A cool-down after the last act against a release that act is forgotten: applied again, it is judged like a new one.
//!
//! The rule is filled by bad answers ([`crate::judge`]), or a new release does not come up (`alsoOn`): its pods crash, or it made
//! no progress within its deadline.
//!
//! Another release than the two involved returns the machine to Idle from every state: a good next one goes through, a bad
//! one is undone. What was undone is remembered apart from the state ([`Undone`]), so that going back and forth between
//! releases does not reset the count.
//!
//! **Crashes.** The patch writes template and annotation `shoalwatch.dev/rollback` ([`RollbackRecord`]) in one transaction
//! under a resourceVersion precondition. So either both are there or neither, and a patch decided on an old view cannot land
//! twice. Whatever was persisted last, the next observation finds the record and takes it over before it decides anything.
//!
//! **Contract of the caller**: persist the machine when told so, execute effects in order, and feed a patch's result back
//! before the next observation.

mod decide;
mod effect;
mod machine;
mod memory;
mod readiness;
mod report;
mod rollout;
mod settle;
mod state;
mod step;

pub use effect::{Effect, EventReason, EventSeverity, Patch};
pub use machine::{MAX_TIMELINE, Machine};
pub use memory::{MAX_ACTS, MAX_UNDONE, Undone};
pub use readiness::{Hold, Lock, lock_holder, readiness};
pub use report::{DryRunReport, MAX_REPORTED, Outcome as DryRunOutcome, ReportRow};
pub(crate) use rollout::failure as rollout_failure;
pub use state::{Act, RollbackRecord, State, Step, TimelineRow};
pub use step::{Input, Observation, PatchOutcome, Target, step};

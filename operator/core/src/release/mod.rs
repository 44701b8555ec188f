//! Which release is new, which is known to be good.
//!
//! A release is a pod template without `restartedAt`; a `ReplicaSet` (revision) is one appearance of it. So a scale or a
//! `rollout restart` is no new release. Roles:
//!
//! - **`KnownGood`**: the only release seen at first sight; one that was accepted by annotation; one that served
//!   `promoteAfter` without being bad. It is never undone, and it is what an undo returns to.
//! - **`Probation`**: a new release, from its appearance until `probation` after its first ready pod. Only it can be undone.
//! - **`Other`**: everything else. Alerts, no act. The current release may still be promoted.

mod ledger;
mod snapshot;

pub use ledger::{Change, Ledger, MAX_RELEASES, NoTarget, Release, Role};
pub use snapshot::{Crashing, GitOps, GitOpsTool, RevisionSnapshot, TargetSnapshot};

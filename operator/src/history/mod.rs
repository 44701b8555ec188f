//! What survives the operator: counts, releases and rollbacks, in one redb file on the replica's volume.
//!
//! - **What.** The workers' cumulative counts, each SLO's windows, ledger and rollback machine, and the last spec that made
//!   sense of each object. Counts and the windows fed from them go into one transaction, so a crash at any point loses
//!   nothing and counts nothing twice.
//! - **When.** Every two seconds what changed; at once, and before the patch is sent, when a rollback or a known-good release
//!   is at stake.
//! - **Where.** Each replica has its own, fed from its own streams. One that starts goes on with a copy of another's, joined
//!   with what it has: see [`Saved::joined`].
//! - **Bounds.** An SLO's windows are at most 330 KiB in memory and about a third of that here; what belongs to no object any
//!   more is removed. Values are replaced, never appended; of windows that were written whole only what is new since is written,
//!   until that is 4 KiB: an SLO that never rests costs a tenth of its windows' size in a save.
//! - **Damage.** A file that cannot be read is moved aside as `history.redb.damaged` and a new one is begun; a volume that
//!   cannot be written leaves the operator without memory over restarts. Both are said in every SLO's `BudgetHistory`. The
//!   annotation on a rolled-back target keeps the latch alive even then.

mod copy;
mod join;
mod store;

pub use copy::Copy;
pub(crate) use store::Raw;
pub use store::{Opened, Record, Saved, Snapshot, Store, StoreError, open};

//! What was undone, how often, and until when that counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::RollbackRecord;
use crate::spec::RollbackRule;
use crate::{Millis, ReleaseId};

/// Acts against one release per cool-down; the next one would be the third.
pub const MAX_ACTS: u8 = 2;
/// Most undone releases remembered; the one undone longest ago makes room.
pub const MAX_UNDONE: usize = 8;

/// A release that was undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// The newest act against it; its `count` says how many there were.
    pub record: RollbackRecord,
    /// The act did not help: there is no second one.
    pub failed: bool,
}

/// The undone releases of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Memory(Vec<Undone>);

impl Memory {
    pub(super) fn get(&self, release: &ReleaseId) -> Option<&Undone> {
        self.0.iter().find(|undone| undone.record.from == *release)
    }

    pub(super) fn acts(&self, release: &ReleaseId) -> u8 {
        self.get(release).map_or(0, |undone| undone.record.count)
    }

    /// Takes a record in; true if it says something new.
    pub(super) fn learn(&mut self, record: &RollbackRecord) -> bool {
        if let Some(known) = self.0.iter_mut().find(|undone| undone.record.from == record.from) {
            let newer = record.time > known.record.time;
            if newer {
                let count = known.record.count.max(record.count);
                known.record = RollbackRecord {
                    count,
                    ..record.clone()
                };
            }
            return newer;
        }
        if self.0.len() >= MAX_UNDONE {
            let oldest = self.0.iter().enumerate().min_by_key(|(_, undone)| undone.record.time);
            if let Some((place, _)) = oldest {
                self.0.remove(place);
            }
        }
        self.0.push(Undone {
            record: record.clone(),
            failed: false,
        });
        true
    }

    pub(super) fn mark_failed(&mut self, release: &ReleaseId) {
        if let Some(known) = self.0.iter_mut().find(|undone| undone.record.from == *release) {
            known.failed = true;
        }
    }

    pub(super) fn forget(&mut self, release: &ReleaseId) -> bool {
        let before = self.0.len();
        self.0.retain(|undone| undone.record.from != *release);
        self.0.len() < before
    }

    /// Forgets what a cool-down has passed over, but never a release of which `keep` says that it still matters.
    pub(super) fn expire(&mut self, rule: &RollbackRule, now: Millis, keep: impl Fn(&ReleaseId) -> bool) {
        self.0
            .retain(|undone| keep(&undone.record.from) || now < undone.remembered_until(rule));
    }

    pub(super) fn all(&self) -> &[Undone] {
        &self.0
    }
}

impl Undone {
    /// Applied again, it is to be undone on sight.
    #[must_use]
    pub fn is_latched(&self, cooldown: Duration, now: Millis) -> bool {
        now < self.record.time.plus(cooldown)
    }

    /// A failure shows at the end of verification, and is remembered for a cool-down from then on.
    fn remembered_until(&self, rule: &RollbackRule) -> Millis {
        let until = self.record.time.plus(rule.cooldown);
        if self.failed {
            until.plus(rule.verification())
        } else {
            until
        }
    }
}

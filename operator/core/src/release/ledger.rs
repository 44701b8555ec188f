//! What is remembered of a target's releases.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{RevisionSnapshot, TargetSnapshot};
use crate::{Millis, ReleaseId, Revision};

/// Most releases remembered; the one that was current longest ago makes room, the newest known-good one never.
pub const MAX_RELEASES: usize = 16;

/// What a release is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// One to return to; never undone.
    KnownGood,
    /// New: judged, and undone if it is bad.
    Probation,
    /// Neither: alerts only.
    Other,
}

/// One release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Its id.
    pub id: ReleaseId,
    /// What it is taken for.
    pub role: Role,
    /// When it was first seen as the current one, or came back.
    pub since: Millis,
    /// Its first ready pod after `since`.
    pub first_ready_at: Option<Millis>,
    /// When it last became the current one.
    pub last_current: Millis,
}

/// What changed, for events and the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The target was made again under the same name: everything known of the old one is dropped.
    TargetReplaced,
    /// A new release is judged from now on.
    ProbationStarted(ReleaseId),
    /// A release that was not known to be good came back: it is judged anew.
    Returned(ReleaseId),
    /// Probation ended without a verdict and without a promotion.
    ProbationOver(ReleaseId),
    /// It is known to be good from now on.
    Promoted(ReleaseId),
    /// An annotation says it is good.
    Accepted(ReleaseId),
}

/// Why there is nothing to return to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NoTarget {
    /// No release is known to be good.
    NoKnownGood,
    /// The known-good one's `ReplicaSet` is gone (revisionHistoryLimit).
    NoHistory,
}

/// The releases of one target, persisted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    target_uid: Option<String>,
    current: Option<ReleaseId>,
    releases: Vec<Release>,
}

impl Ledger {
    /// Takes in what is seen now.
    pub fn observe(&mut self, target: &TargetSnapshot, probation: Duration, now: Millis) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.target_uid.as_ref().is_some_and(|uid| *uid != target.uid) {
            *self = Self::default();
            changes.push(Change::TargetReplaced);
        }
        if self.target_uid.is_none() {
            self.target_uid = Some(target.uid.clone());
            self.first_sight(target, now);
        }
        self.follow_current(target, now, &mut changes);
        self.note_ready(target, now);
        self.end_probation(probation, now, &mut changes);
        self.honour_accept(target, &mut changes);
        self.make_room();
        changes
    }

    /// Makes the current release known-good; the caller has the evidence.
    pub fn promote(&mut self, release: &ReleaseId) -> Option<Change> {
        let known = self
            .releases
            .iter_mut()
            .find(|each| each.id == *release && each.role != Role::KnownGood)?;
        known.role = Role::KnownGood;
        Some(Change::Promoted(release.clone()))
    }

    /// What a release is taken for; `Other` if it is unknown.
    #[must_use]
    pub fn role(&self, release: &ReleaseId) -> Role {
        self.get(release).map_or(Role::Other, |known| known.role)
    }

    /// What is known of a release.
    #[must_use]
    pub fn get(&self, release: &ReleaseId) -> Option<&Release> {
        self.releases.iter().find(|each| each.id == *release)
    }

    /// All releases, in the order they were first seen.
    #[must_use]
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }

    /// The known-good release that served last, other than `bad`, among those that still have a `ReplicaSet`; its newest one.
    pub fn return_target<'a>(
        &self,
        target: &'a TargetSnapshot,
        bad: &ReleaseId,
    ) -> Result<(ReleaseId, &'a RevisionSnapshot), NoTarget> {
        let known = self.known_good_except(bad);
        if known.is_empty() {
            return Err(NoTarget::NoKnownGood);
        }
        let mut with_history = known
            .iter()
            .filter_map(|id| Some(((*id).clone(), *target.revisions_of(id).first()?)));
        with_history.next().ok_or(NoTarget::NoHistory)
    }

    /// The known-good release that serves beside `current`: the one to compare with.
    #[must_use]
    pub fn stable_beside(&self, current: &ReleaseId, target: &TargetSnapshot) -> Option<&ReleaseId> {
        let known = self.releases.iter().filter(|each| each.role == Role::KnownGood);
        let ready = known.filter(|each| each.id != *current && target.ready_pods(&each.id) > 0);
        // Of equals the first.
        let newest = ready.reduce(|best, each| {
            if each.last_current > best.last_current {
                each
            } else {
                best
            }
        });
        newest.map(|each| &each.id)
    }

    /// Names of `target`'s revisions of a release.
    pub fn revisions<'a>(target: &'a TargetSnapshot, release: &'a ReleaseId) -> impl Iterator<Item = &'a Revision> {
        let revisions = target.revisions.iter().filter(|each| each.release == *release);
        revisions.map(|each| &each.revision)
    }

    fn known_good_except(&self, release: &ReleaseId) -> Vec<&ReleaseId> {
        let mut known: Vec<_> = self
            .releases
            .iter()
            .filter(|each| each.role == Role::KnownGood && each.id != *release)
            .collect();
        known.sort_by_key(|each| std::cmp::Reverse(each.last_current));
        known.into_iter().map(|each| &each.id).collect()
    }

    fn first_sight(&mut self, target: &TargetSnapshot, now: Millis) {
        let mut live: Vec<&ReleaseId> = vec![&target.release];
        for each in target.revisions.iter().filter(|each| each.ready_pods > 0) {
            if !live.contains(&&each.release) {
                live.push(&each.release);
            }
        }
        let alone = live.len() == 1;
        for id in live {
            let current = *id == target.release;
            let role = match (alone, current) {
                (true, _) => Role::KnownGood,
                (false, true) => Role::Probation,
                (false, false) => Role::Other,
            };
            self.releases.push(Release::new(id.clone(), role, now));
        }
        self.current = Some(target.release.clone());
    }

    fn follow_current(&mut self, target: &TargetSnapshot, now: Millis, changes: &mut Vec<Change>) {
        let arrived = self.current.as_ref() != Some(&target.release);
        self.current = Some(target.release.clone());
        let Some(known) = self.releases.iter_mut().find(|each| each.id == target.release) else {
            self.releases
                .push(Release::new(target.release.clone(), Role::Probation, now));
            changes.push(Change::ProbationStarted(target.release.clone()));
            return;
        };
        if arrived {
            known.last_current = now;
        }
        if arrived && known.role != Role::KnownGood {
            *known = Release::new(target.release.clone(), Role::Probation, now);
            changes.push(Change::Returned(target.release.clone()));
        }
    }

    fn note_ready(&mut self, target: &TargetSnapshot, now: Millis) {
        for known in self.releases.iter_mut().filter(|each| each.first_ready_at.is_none()) {
            let ready = target
                .revisions
                .iter()
                .filter(|each| each.release == known.id && each.ready_pods > 0);
            // What was ready before the release came back belongs to its earlier life.
            let since = known.since;
            known.first_ready_at = ready
                .map(|each| {
                    each.first_ready_at
                        .filter(|&at| at >= since && at <= now)
                        .unwrap_or(now)
                })
                .min();
        }
    }

    fn end_probation(&mut self, probation: Duration, now: Millis, changes: &mut Vec<Change>) {
        for known in self.releases.iter_mut().filter(|each| each.role == Role::Probation) {
            if known.first_ready_at.is_some_and(|ready| now.since(ready) >= probation) {
                known.role = Role::Other;
                changes.push(Change::ProbationOver(known.id.clone()));
            }
        }
    }

    fn honour_accept(&mut self, target: &TargetSnapshot, changes: &mut Vec<Change>) {
        for known in self.releases.iter_mut().filter(|each| each.role != Role::KnownGood) {
            if target.accepts(&known.id) {
                known.role = Role::KnownGood;
                changes.push(Change::Accepted(known.id.clone()));
            }
        }
    }

    fn make_room(&mut self) {
        while self.releases.len() > MAX_RELEASES {
            let newest_good = self.releases.iter().filter(|each| each.role == Role::KnownGood);
            let keep = newest_good
                .max_by_key(|each| each.last_current)
                .map(|each| each.id.clone());
            let current = self.current.clone();
            let oldest = self.releases.iter().enumerate();
            let oldest =
                oldest.filter(|(_, each)| Some(&each.id) != keep.as_ref() && Some(&each.id) != current.as_ref());
            let Some((place, _)) = oldest.min_by_key(|(_, each)| each.last_current) else {
                return;
            };
            self.releases.remove(place);
        }
    }
}

impl Release {
    fn new(id: ReleaseId, role: Role, now: Millis) -> Self {
        Self {
            id,
            role,
            since: now,
            first_ready_at: None,
            last_current: now,
        }
    }
}

//! What has to be asked beside the watches: of the pods of a release that does not come up, and what would keep an undone one
//! from coming back.

use std::collections::BTreeSet;
use std::time::Duration;

use shoalwatch_core::release::Role;
use shoalwatch_core::rollback::{Patch, RollbackRecord};
use shoalwatch_core::spec::{AlsoOn, Mode};
use shoalwatch_core::{Millis, ReleaseId};

use super::observe::{Known, Slos};
use crate::controllers::world::{Name, World};

/// How soon a comparison that came to nothing is made again.
const COMPARE_AGAIN: Duration = Duration::from_secs(30);

/// What to change in Git so that `from` stays undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remedy {
    pub(super) from: ReleaseId,
    to: ReleaseId,
    asked: Millis,
    /// The lines; `None` while they are asked for.
    pub(super) lines: Option<String>,
}

/// Two releases of a target that are to be compared.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(crate) slo: Name,
    pub(crate) uid: String,
    pub(crate) target: Name,
    /// What an undo would be.
    pub(crate) patch: Patch,
}

impl Slos {
    /// Sets whose pods have to be looked at: of targets with a release in probation that may be undone for crashing.
    pub(crate) fn doubtful_sets(&self, world: &World) -> BTreeSet<(Name, String)> {
        let doubtful = self.known.values().filter(|known| known.minds_crashes());
        let uids = doubtful.filter_map(|known| Some(known.target.as_ref()?.uid.as_str()));
        uids.flat_map(|uid| world.waiting_sets_of(uid))
            .map(|(name, set)| (name.clone(), set.revision.to_string()))
            .collect()
    }

    /// Comparisons that are due: once for each release in probation of a target that a tool applies from Git.
    pub(crate) fn due_comparisons(&mut self, now: Millis) -> Vec<Comparison> {
        let known = self.known.iter_mut();
        known
            .filter_map(|(name, known)| known.due_comparison(name, now))
            .collect()
    }

    /// Takes in what a comparison came to.
    pub(crate) fn compared(&mut self, comparison: &Comparison, lines: Option<String>) {
        let known = self
            .known
            .get_mut(&comparison.slo)
            .filter(|known| known.uid == comparison.uid);
        let remedy = known.and_then(|known| known.remedy.as_mut());
        let record = &comparison.patch.record;
        if let Some(remedy) = remedy.filter(|remedy| remedy.from == record.from && remedy.to == record.to) {
            remedy.lines = lines;
        }
    }
}

impl Known {
    fn in_probation(&self) -> bool {
        let release = self.target.as_ref().map(|target| &target.release);
        release.is_some_and(|release| self.record.state.ledger.role(release) == Role::Probation)
    }

    fn minds_crashes(&self) -> bool {
        let rule = self.good.as_ref().map(|(_, valid)| valid.spec.rule());
        let wanted = rule.is_some_and(|rule| rule.mode != Mode::Off && rule.also_on.contains(&AlsoOn::CrashLoop));
        wanted && self.in_probation()
    }

    fn due_comparison(&mut self, name: &Name, now: Millis) -> Option<Comparison> {
        let valid = &self.good.as_ref()?.1;
        let target = self.target.as_ref().filter(|target| target.gitops.is_some())?;
        if valid.spec.rule().mode == Mode::Off || !self.in_probation() {
            return None;
        }
        let (to, revision) = self.record.state.ledger.return_target(target, &target.release).ok()?;
        let known = self
            .remedy
            .as_ref()
            .filter(|known| known.from == target.release && known.to == to);
        if known.is_some_and(|known| known.lines.is_some() || now.since(known.asked) < COMPARE_AGAIN) {
            return None;
        }
        let from = target.release.clone();
        let record = RollbackRecord {
            from: from.clone(),
            to: to.clone(),
            slo: name.to_string(),
            time: now,
            count: 0,
        };
        let comparison = Comparison {
            slo: name.clone(),
            uid: self.uid.clone(),
            target: valid.target.clone()?,
            patch: Patch {
                target_uid: target.uid.clone(),
                resource_version: target.resource_version.clone(),
                from: from.clone(),
                to_revision: revision.revision.clone(),
                record,
            },
        };
        let (asked, lines) = (now, None);
        self.remedy = Some(Remedy { from, to, asked, lines });
        Some(comparison)
    }

    /// What keeps a release undone, as part of a sentence; nothing where no tool applies the target from Git.
    pub(super) fn what_sticks(&self) -> Option<String> {
        self.target.as_ref()?.gitops.as_ref()?;
        let (target, remedy) = (self.target.as_ref()?, self.remedy.as_ref()?);
        let undone = self.record.state.machine.undone(&remedy.from).is_some();
        if !undone && target.release != remedy.from {
            return None;
        }
        let lines = remedy.lines.as_ref().filter(|lines| !lines.is_empty())?;
        Some(format!("to keep it undone, change in Git: {lines}"))
    }
}

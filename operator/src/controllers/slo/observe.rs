//! What is known of every SLO, and of its target.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shoalwatch_core::history::History;
use shoalwatch_core::policy::SliSpec;
use shoalwatch_core::release::{RevisionSnapshot, TargetSnapshot};
use shoalwatch_core::reports::CumulativeReports;
use shoalwatch_core::rollback::{Lock, Target, lock_holder};
use shoalwatch_core::slo::Evaluation;
use shoalwatch_core::spec::Mode;
use shoalwatch_core::{Counts, Millis, SliId, WorkerId};
use shoalwatch_crds::slo::FiringAlert;
use shoalwatch_crds::{SloSpec, SloStatus};
use tracing::{info, warn};

use super::follow_up::Remedy;
use super::notify::Line;
use super::polled::Watch;
use super::rules::Book;
use super::validate::{Valid, validate};
use crate::controllers::invalid::Invalid;
use crate::controllers::world::{Guarded, Name, World};
use crate::distribution::Fleet;
use crate::history::{Record, Saved};
use crate::status::{Key, Kind};

/// How often workers report of an SLO before it is judged: of one that an earlier process judged, and of a new one.
const FIRST_REPORTS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(1));
/// Characters of the uid in an indicator's id: an SLO made again under the same name is another indicator.
const UID: usize = 8;

/// One SLO.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) created: Millis,
    /// Why the newest spec is not in force.
    pub(super) invalid: Option<Invalid>,
    /// What is in force, and of which generation.
    pub(super) good: Option<(i64, Valid)>,
    pub(super) sli: SliId,
    pub(super) record: Record,
    pub(super) history: History,
    pub(super) evaluation: Option<Evaluation>,
    /// How the polling goes, where something is polled.
    pub(super) watch: Watch,
    /// The target as it was judged last.
    pub(super) target: Option<TargetSnapshot>,
    /// What to change in Git so that a release stays undone.
    pub(super) remedy: Option<Remedy>,
    /// Its rules for Prometheus.
    pub(super) rules: Book,
    /// What is being told, by receiver.
    pub(super) lines: BTreeMap<String, Line>,
    /// Alerts that fire, and since when.
    pub(super) firing: BTreeMap<String, Millis>,
    pub(super) report_interval: Duration,
    /// An act or a fresh look is under way, since then.
    pub(super) busy: Option<Millis>,
    /// Something changed that is not saved.
    pub(super) dirty: bool,
    /// From when on the windows are others than those that were saved whole; `None`: they never were.
    pub(super) saved_to: Option<Millis>,
    /// Requests since the operator's start.
    pub(super) counts: Counts,
    /// The status that was found with the object, until it was told with the first one that was made here.
    pub(super) found: Option<Value>,
    /// The status as it should be.
    pub(super) status: SloStatus,
}

/// A spec that made sense, as the history file keeps it.
#[derive(Serialize, Deserialize)]
struct Kept {
    generation: i64,
    spec: SloSpec,
}

/// All SLOs, and what workers said of them.
#[derive(Debug, Default)]
pub(crate) struct Slos {
    pub(super) known: BTreeMap<Name, Known>,
    pub(super) by_sli: BTreeMap<SliId, Name>,
    /// SLOs by their target.
    pub(super) by_target: BTreeMap<Name, Vec<Name>>,
    pub(super) reports: CumulativeReports,
    /// Workers, by their last report.
    pub(super) heard: BTreeMap<WorkerId, Millis>,
    /// Rows of indicators that no SLO has.
    pub(super) unknown_rows: u64,
    /// Their indicators, and since when they are sent.
    pub(super) strangers: BTreeMap<SliId, Millis>,
    pub(super) reports_dirty: bool,
    /// Whose turn it was last.
    pub(super) judged_last: Option<Name>,
    /// Nodes have to report more or less often than before.
    pub(super) slis_changed: bool,
    /// One came or went.
    pub(super) moved: bool,
    /// Whose specs were looked at and not shown yet.
    pub(super) examined: BTreeSet<Name>,
    /// Of the leader that decides here.
    pub(super) term: u64,
}

impl Slos {
    /// Follows the world. `saved`: what an earlier process knew; `lost`: an earlier file could not be read. Returns good specs
    /// to save, by uid.
    pub(crate) fn observe(
        &mut self,
        world: &World,
        saved: &mut Saved,
        lost: bool,
        now: Millis,
    ) -> Vec<(String, Vec<u8>)> {
        let gone = self.forget_gone(world);
        let mut fresh = Vec::new();
        let examined = self.examined.len();
        for (name, guarded) in world.slos.iter() {
            let before = self.known.get(name);
            if before.is_some_and(|known| known.generation == guarded.generation) {
                continue;
            }
            let before = self.known.remove(name);
            self.moved |= before.is_none();
            let met = before.unwrap_or_else(|| Known::met(name, guarded, saved, lost, now));
            let known = met.examined(name, guarded, &saved.specs);
            fresh.extend(known.to_keep(guarded));
            self.by_sli.insert(known.sli.clone(), name.clone());
            self.known.insert(name.clone(), known);
            self.examined.insert(name.clone());
        }
        if gone || self.examined.len() > examined {
            self.index_targets();
        }
        self.moved |= gone;
        fresh
    }

    /// Whether one came or went since this was asked last.
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Those whose specs were looked at since this was asked last.
    pub(crate) fn take_examined(&mut self) -> Vec<Name> {
        std::mem::take(&mut self.examined).into_iter().collect()
    }

    fn index_targets(&mut self) {
        self.by_target.clear();
        for (name, known) in &self.known {
            if let Some(target) = known.of() {
                self.by_target.entry(target.clone()).or_default().push(name.clone());
            }
        }
    }

    /// SLOs of a target.
    pub(super) fn of_target(&self, target: &Name) -> impl Iterator<Item = (&Name, &Known)> {
        let names = self.by_target.get(target).into_iter().flatten();
        names.filter_map(|name| Some((name, self.known.get(name)?)))
    }

    /// Whether nodes have to report more or less often than when this was asked last.
    pub(crate) fn take_slis_changed(&mut self) -> bool {
        std::mem::take(&mut self.slis_changed)
    }

    fn forget_gone(&mut self, world: &World) -> bool {
        let gone = |name: &Name, known: &Known| world.slos.get(name).is_none_or(|guarded| guarded.uid != known.uid);
        let gone: Vec<Name> = self
            .known
            .iter()
            .filter(|(name, known)| gone(name, known))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &gone {
            let Some(known) = self.known.remove(name) else {
                continue;
            };
            self.by_sli.remove(&known.sli);
            self.reports.forget_sli(&known.sli);
            self.reports_dirty = true;
            info!(slo = %name, "slo is gone");
        }
        !gone.is_empty()
    }

    /// What nodes have to measure.
    pub(crate) fn slis(&self) -> Vec<SliSpec> {
        let good = self
            .known
            .values()
            .filter_map(|known| Some((known, &known.good.as_ref()?.1)));
        good.filter_map(|(known, valid)| valid.sli(&known.sli, known.report_interval))
            .collect()
    }

    /// Objects whose newest spec makes no sense, by category.
    pub(crate) fn invalid(&self) -> impl Iterator<Item = &'static str> {
        self.known
            .values()
            .filter_map(|known| known.invalid.as_ref().map(Invalid::category))
    }

    /// Keys of all objects.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.known.iter().map(|(name, known)| Key {
            kind: Kind::Slo,
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            uid: known.uid.clone(),
        })
    }

    /// Targets that may be rolled back.
    pub(crate) fn targets(&self) -> BTreeSet<Name> {
        let enforced = self.known.values().filter(|known| known.mode() == Some(Mode::Enforce));
        enforced.filter_map(Known::of).cloned().collect()
    }

    /// Namespaces in which somebody expects a rollback.
    pub(crate) fn enforced_namespaces(&self) -> BTreeSet<String> {
        let enforced = self
            .known
            .iter()
            .filter(|(_, known)| known.mode() == Some(Mode::Enforce));
        enforced.map(|(name, _)| name.namespace.clone()).collect()
    }

    /// Who may act on a target: of the SLOs that want to, the oldest.
    pub(super) fn lock(&self, name: &Name, target: &Name) -> Lock {
        let rivals = self
            .of_target(target)
            .filter(|(_, known)| known.mode() == Some(Mode::Enforce));
        let rivals: Vec<(Millis, String)> = rivals.map(|(name, known)| (known.created, name.to_string())).collect();
        let holder = lock_holder(rivals.iter().map(|(created, name)| (*created, name.as_str())));
        match holder {
            Some(holder) if holder != name.to_string() => Lock::HeldBy(holder.to_owned()),
            _ => Lock::Mine,
        }
    }

    /// The target of an SLO as the world and the workers show it.
    pub(super) fn target(&self, known: &Known, name: &Name, world: &World, fleet: &Fleet, now: Millis) -> Target {
        let Some(view) = world.deployments.get(name) else {
            return if world.workloads_forbidden() {
                Target::Forbidden
            } else {
                Target::NotFound
            };
        };
        let alive = |worker: &WorkerId| {
            fleet
                .workers
                .get(worker.as_str())
                .is_some_and(|worker| worker.connected)
        };
        let revisions = world.replica_sets_of(&view.uid).map(|set| RevisionSnapshot {
            revision: set.revision.clone(),
            release: set.release.clone(),
            created: set.created,
            ready_pods: set.readiness.settled(now),
            reporting_pods: self.reports.observed_pods(&known.sli, &set.revision, alive),
            first_ready_at: set.readiness.first_ready_at(),
            crashing: set.crashing(now),
        });
        Target::Found(Box::new(TargetSnapshot {
            uid: view.uid.clone(),
            resource_version: view.resource_version.clone(),
            paused: view.paused,
            deleting: view.deleting,
            replicas: view.replicas,
            revision_history_limit: view.revision_history_limit,
            release: view.release.clone(),
            revisions: revisions.collect(),
            rollback: view.record.clone(),
            accept: view.accept.clone(),
            never: view.never,
            writer: view.writer.clone(),
            stalled: view.stalled,
            gitops: view.gitops.clone(),
        }))
    }
}

impl Known {
    /// An SLO seen for the first time by this process.
    fn met(name: &Name, guarded: &Guarded<SloSpec>, saved: &mut Saved, lost: bool, now: Millis) -> Self {
        let status: Option<SloStatus> = guarded.status();
        let judged_before = status.as_ref().is_some_and(|status| status.phase.is_some());
        let unreadable = saved.unreadable.remove(&guarded.uid);
        // A new operator must not push a new configuration to every node twice for nothing.
        let judged = saved.slos.contains_key(&guarded.uid);
        let report_interval = if judged { FIRST_REPORTS.0 } else { FIRST_REPORTS.1 };
        let (mut record, history, dirty) = match saved.slos.remove(&guarded.uid) {
            Some((record, history)) => (record, history, unreadable),
            None => (Record::default(), History::default(), true),
        };
        if unreadable || (lost && judged_before && dirty) {
            warn!(slo = %name, "history of the slo was lost");
            record.lost = Some(now);
        }
        let uid: String = guarded.uid.chars().take(UID).collect();
        Self {
            uid: guarded.uid.clone(),
            generation: -1,
            created: guarded.created,
            invalid: None,
            good: None,
            sli: SliId::new(format!("{name}@{uid}")),
            record,
            history,
            evaluation: None,
            watch: Watch::default(),
            target: None,
            remedy: None,
            rules: Book::remembering(status.as_ref().and_then(|status| status.rules.clone())),
            lines: BTreeMap::new(),
            firing: firing(status.as_ref(), now),
            report_interval,
            busy: None,
            dirty,
            saved_to: None,
            counts: Counts::default(),
            found: guarded.status(),
            status: status.unwrap_or_default(),
        }
    }

    /// The same SLO with its newest spec, or with the last one that made sense.
    fn examined(mut self, name: &Name, guarded: &Guarded<SloSpec>, saved: &BTreeMap<String, Vec<u8>>) -> Self {
        let spec = guarded.spec.as_ref().map_err(|problem| Invalid::Unreadable {
            problem: problem.clone(),
        });
        match spec.and_then(|spec| validate(name, spec)) {
            Ok(valid) => {
                info!(slo = %name, generation = guarded.generation, "slo accepted");
                (self.good, self.invalid) = (Some((guarded.generation, valid)), None);
            }
            Err(invalid) => {
                warn!(slo = %name, generation = guarded.generation, error = %invalid, "slo refused");
                self.good = self.good.or_else(|| kept(name, guarded, saved));
                self.invalid = Some(invalid);
            }
        }
        self.generation = guarded.generation;
        self
    }

    fn to_keep(&self, guarded: &Guarded<SloSpec>) -> Option<(String, Vec<u8>)> {
        let spec = guarded.spec.as_ref().ok().filter(|_| self.invalid.is_none())?;
        let spec = SloSpec::clone(spec);
        let generation = guarded.generation;
        let json = serde_json::to_vec(&Kept { generation, spec }).ok()?;
        Some((self.uid.clone(), json))
    }

    /// The target's name; `None` where something is polled.
    pub(super) fn of(&self) -> Option<&Name> {
        self.good.as_ref()?.1.target.as_ref()
    }

    pub(super) fn mode(&self) -> Option<Mode> {
        self.good.as_ref().map(|(_, valid)| valid.spec.rule().mode)
    }
}

/// Alerts that fired when the status was written, and since when.
pub(super) fn firing(status: Option<&SloStatus>, now: Millis) -> BTreeMap<String, Millis> {
    let since = |alert: &FiringAlert| {
        let since = alert.since.as_ref();
        since.map_or(now, |since| Millis(since.0.as_millisecond()))
    };
    let alerts = status.into_iter().flat_map(|status| &status.alerts);
    alerts.map(|alert| (alert.name.clone(), since(alert))).collect()
}

/// The last good spec from before the operator's start.
fn kept(name: &Name, guarded: &Guarded<SloSpec>, saved: &BTreeMap<String, Vec<u8>>) -> Option<(i64, Valid)> {
    let kept: Kept = serde_json::from_slice(saved.get(&guarded.uid)?).ok()?;
    let valid = validate(name, &kept.spec).ok()?;
    Some((kept.generation, valid))
}

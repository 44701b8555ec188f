//! What a follower learns from the leader, and what it looks at anew when it leads itself.

use shoalwatch_core::release::Ledger;
use shoalwatch_core::{Millis, Revision};

use super::observe::{Known, Slos, firing};
use crate::controllers::world::World;
use crate::history::Record;

impl Slos {
    /// Takes in what the leader decided. Returned: a record of an SLO that is not known here yet.
    pub(crate) fn learn(&mut self, uid: &str, mut record: Record, world: &World) -> Option<Record> {
        let Some(known) = self.known.values_mut().find(|known| known.uid == uid) else {
            return Some(record);
        };
        if record.age > known.record.age {
            for revision in known.begun_anew(&record, world) {
                known.history.restart(&revision);
            }
            // It goes with this replica's own history.
            record.meter = known.record.meter.take();
            known.record = record;
            known.dirty = true;
        }
        None
    }

    /// This replica leads from now on: what statuses say was written by another one.
    pub(crate) fn take_over(&mut self, world: &World, term: u64, now: Millis) {
        self.term = term;
        for (name, known) in &mut self.known {
            let Some(guarded) = world.slos.get(name).filter(|guarded| guarded.spec.is_ok()) else {
                continue;
            };
            let status = guarded.status();
            known.firing = firing(status.as_ref(), now);
            known.found = guarded.status();
            known.status = status.unwrap_or_default();
            known.evaluation = None;
        }
    }
}

impl Known {
    /// Revisions of releases that came back and are judged anew since: their totals begin anew here too.
    fn begun_anew(&self, record: &Record, world: &World) -> Vec<Revision> {
        let (before, after): (&Ledger, &Ledger) = (&self.record.state.ledger, &record.state.ledger);
        let returned = after.releases().iter().filter(|release| {
            let earlier = before.get(&release.id);
            earlier.is_some_and(|earlier| earlier.since < release.since)
        });
        let Some(view) = self.of().and_then(|target| world.deployments.get(target)) else {
            return Vec::new();
        };
        let sets = |release| {
            world
                .replica_sets_of(&view.uid)
                .filter(move |set| set.release == release)
        };
        returned
            .flat_map(|release| sets(release.id.clone()))
            .map(|set| set.revision.clone())
            .collect()
    }
}

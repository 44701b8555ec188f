//! What this replica had on its disk, and what it copied from another one, as one.

use std::collections::{BTreeMap, BTreeSet};

use shoalwatch_core::handover::{self, Side};
use shoalwatch_core::history::History;
use shoalwatch_core::reports::CumulativeReports;
use shoalwatch_core::{Millis, SliId};

use super::store::{Record, Saved, Snapshot};

/// Characters of an SLO's uid at the end of its indicator's id.
const UID: usize = 8;

impl Saved {
    /// Goes on with what another replica knows; of what this one heard alone nothing is lost, and nothing is there twice.
    #[must_use]
    pub fn joined(mut self, mut copied: Self, now: Millis) -> Self {
        let known = self.reports.slis().into_iter().chain(copied.reports.slis());
        let by_uid: BTreeMap<String, SliId> = known.map(|sli| (uid_of(sli), sli.clone())).collect();
        let uids: BTreeSet<String> = self.slos.keys().chain(copied.slos.keys()).cloned().collect();
        let mut slos = BTreeMap::new();
        for uid in uids {
            let (own, theirs) = (self.slos.remove(&uid), copied.slos.remove(&uid));
            let sli = by_uid.get(&begin(&uid)).cloned().unwrap_or_else(|| SliId::from(""));
            let (history, meter) = {
                let decides = own.as_ref().map(age) > theirs.as_ref().map(age);
                let mine = side(&self.reports, own.as_ref(), decides);
                let others = side(&copied.reports, theirs.as_ref(), false);
                // Polls that only the other one made are not in the windows, and are counted above the meter.
                let chosen = if handover::prefers_own(mine, others) {
                    &own
                } else {
                    &theirs
                };
                let meter = chosen.as_ref().and_then(|(record, _)| record.meter.clone());
                (handover::history(mine, others, &sli, now), meter)
            };
            let record = newer(own, theirs);
            slos.insert(uid, (Record { meter, ..record }, history));
        }
        let mut specs = self.specs;
        specs.extend(copied.specs);
        Self {
            reports: copied.reports.united(&self.reports),
            slos,
            specs,
            unreadable: &self.unreadable & &copied.unreadable,
        }
    }

    /// All of it, to be saved.
    pub fn snapshot(&self) -> serde_json::Result<Snapshot> {
        let slo = |(uid, (record, history)): (&String, &(Record, History))| {
            Ok((uid.clone(), serde_json::to_vec(record)?, history.encode()))
        };
        Ok(Snapshot {
            reports: Some(serde_json::to_vec(&self.reports)?),
            slos: self.slos.iter().map(slo).collect::<serde_json::Result<_>>()?,
            specs: self.specs.clone().into_iter().collect(),
            ..Snapshot::default()
        })
    }
}

fn side<'a>(reports: &'a CumulativeReports, known: Option<&'a (Record, History)>, decides: bool) -> Side<'a> {
    Side {
        reports,
        history: known.map(|(_, history)| history),
        decides,
    }
}

const fn age(known: &(Record, History)) -> (u64, u64) {
    known.0.age
}

fn newer(own: Option<(Record, History)>, theirs: Option<(Record, History)>) -> Record {
    let records = [own, theirs].into_iter().flatten().map(|(record, _)| record);
    records.max_by_key(|record| record.age).unwrap_or_default()
}

/// An indicator's id ends with the beginning of its SLO's uid.
fn uid_of(sli: &SliId) -> String {
    sli.as_str().rsplit('@').next().unwrap_or_default().to_owned()
}

fn begin(uid: &str) -> String {
    uid.chars().take(UID).collect()
}

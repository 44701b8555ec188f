//! What two replicas heard of the same workers, as one.

use std::collections::{BTreeMap, BTreeSet};

use super::{CumulativeReports, Difference, Kept, Placement, Start, Worker};
use crate::{Counts, Millis, Revision, SliId, WorkerId};

impl CumulativeReports {
    /// What is above `base` in these counts of an indicator: what this replica heard and the one of `base` did not. Nobody knows
    /// any more when that was. Starts that `base` had and gave up are left out: it may have counted them.
    #[must_use]
    pub fn above(&self, base: &Self, sli: &SliId, now: Millis) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (id, worker) in &self.workers {
            let theirs = base.workers.get(id);
            for start in worker.starts.iter().filter(|start| !base.gave_up(id, start)) {
                let known = theirs.and_then(|theirs| theirs.starts.iter().find(|each| each.id == start.id));
                let rows = start.rows.get(sli).into_iter().flatten();
                differences.extend(rows.filter_map(|(revision, kept)| {
                    let counts = kept.above(known, sli, revision)?;
                    Some(Difference {
                        sli: sli.clone(),
                        revision: revision.clone(),
                        worker: id.clone(),
                        counts,
                        bad_pods: kept.bad_pods,
                        placement: Placement::Before(now),
                    })
                }));
            }
        }
        differences
    }

    /// What `self` and an older `other` heard together: every row stands where the further of both stood.
    #[must_use]
    pub fn united(mut self, other: &Self) -> Self {
        for id in &other.forgotten {
            if !self.forgotten.contains(id) {
                self.forgotten.push_back(id.clone());
            }
        }
        for (id, worker) in &other.workers {
            if !self.workers.contains_key(id) && self.workers.len() >= self.limits.workers {
                self.losses.worker_limit += 1;
                continue;
            }
            let mine = self.workers.remove(id).unwrap_or_default();
            let gave_up = |start: &Start| self.forgotten.contains(&start.id) || mine.closed.contains(&start.id);
            let theirs: Vec<_> = worker.starts.iter().filter(|start| !gave_up(start)).cloned().collect();
            let united = mine.united(theirs, worker, self.limits.starts);
            self.workers.insert(id.clone(), united);
        }
        self
    }

    /// All indicators that workers counted for.
    #[must_use]
    pub fn slis(&self) -> BTreeSet<&SliId> {
        let starts = self.workers.values().flat_map(|worker| &worker.starts);
        starts.flat_map(|start| start.rows.keys()).collect()
    }

    fn gave_up(&self, worker: &WorkerId, start: &Start) -> bool {
        let closed = |worker: &Worker| worker.closed.contains(&start.id);
        self.forgotten.contains(&start.id) || self.workers.get(worker).is_some_and(closed)
    }
}

impl Worker {
    /// With an older replica's starts, of which those unknown here are older than all.
    fn united(mut self, theirs: Vec<Start>, of: &Self, max: usize) -> Self {
        for start in theirs.into_iter().rev() {
            match self.starts.iter_mut().find(|mine| mine.id == start.id) {
                Some(mine) => mine.unite(start),
                None => self.starts.push_front(start),
            }
        }
        for id in of.closed.iter().rev() {
            // What is open here may still be counted here.
            if !self.closed.contains(id) && self.starts.iter().all(|start| start.id != *id) {
                self.closed.push_front(id.clone());
            }
        }
        self.close_down_to(max);
        self
    }
}

impl Start {
    fn unite(&mut self, other: Self) {
        self.told = self.told.max(other.told);
        self.leaky |= other.leaky;
        self.changes = self.changes.max(other.changes);
        for (sli, revisions) in other.rows {
            let mine: &mut BTreeMap<Revision, Kept> = self.rows.entry(sli).or_default();
            for (revision, theirs) in revisions {
                match mine.get_mut(&revision) {
                    Some(kept) => kept.counts = kept.counts.greatest(theirs.counts),
                    None => {
                        mine.insert(revision, theirs);
                    }
                }
            }
        }
    }
}

impl Kept {
    /// What is above a start that another replica knows; `None`: nothing, or it may have counted it.
    fn above(&self, known: Option<&Start>, sli: &SliId, revision: &Revision) -> Option<Counts> {
        let row = known.and_then(|start| start.rows.get(sli)?.get(revision));
        if row.is_none() && known.is_some_and(|start| start.leaky) {
            return None;
        }
        let base = row.map_or_else(Counts::default, |kept| kept.counts);
        Some(self.counts.above(base)).filter(|counts| !counts.is_empty())
    }
}

//! What the desk tells: statuses to their objects, configurations to the nodes.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;
use tracing::{error, info, warn};

use super::Desk;
use crate::controllers::sampling_policy::Answers as NodeAnswers;
use crate::controllers::slo::Surroundings;
use crate::controllers::world::Name;
use crate::status::{Document, Key, Kind, Statuses, Urgency};

impl Desk {
    pub(super) fn show(&mut self, names: &[Name]) {
        let now = self.now();
        let fleet = Arc::clone(&self.fleet.borrow());
        let around = Surroundings {
            world: &self.world,
            fleet: &fleet,
            access: &self.access,
            home: &self.hands.home,
            unsaved: self.keeper.unsaved.as_deref(),
        };
        for planned in self.slos.plan(names, &around, now) {
            let key = key(Kind::Slo, &planned.name, &planned.uid);
            offer(&self.statuses, key, &planned.status, planned.found, planned.urgency);
        }
    }

    pub(super) fn show_policies(&mut self) {
        let heard = self.fleet.has_changed().unwrap_or(false);
        if !std::mem::take(&mut self.answers_changed) && !heard {
            return;
        }
        let fleet = Arc::clone(&self.fleet.borrow_and_update());
        let needs = self.planner.needs();
        let answers = NodeAnswers {
            fleet: &fleet,
            published: &self.published,
            needs: &needs,
            home: &self.hands.home,
            desired: self.world.desired_workers(),
            overridden: &self.overridden,
            unpublished: self.unpublished.as_ref(),
        };
        let now = Time(Timestamp::from_millisecond(self.now().0).unwrap_or_default());
        for planned in self.policies.plan(&answers, &now) {
            let key = key(Kind::SamplingPolicy, &planned.name, &planned.uid);
            offer(&self.statuses, key, &planned.status, planned.found, planned.urgency);
        }
    }

    /// Tells the nodes what to do, if that changed; not before it is known what runs there.
    pub(super) fn publish(&mut self) {
        if !self.planner.is_ready() {
            return;
        }
        let leadership = *self.leadership.borrow();
        self.specs_changed |= self.slos.take_slis_changed();
        let specs = std::mem::take(&mut self.specs_changed);
        let in_force = specs.then(|| (self.policies.in_force().cloned().collect(), self.slos.slis()));
        let changed = self.planner.follow(in_force);
        self.note_unpublished();
        if changed || specs {
            self.published
                .remember(self.planner.contents(), self.planner.policies());
            self.answers_changed = true;
        }
        if !changed && self.published_under == Some(leadership) {
            return;
        }
        let Some(plans) = self.planner.plans() else { return };
        let version = self.distribution.publish(plans);
        info!(digest = version.hash, term = version.term, "configurations published");
        self.published_under = Some(leadership);
    }

    fn note_unpublished(&mut self) {
        let unpublished = self.planner.unpublished();
        if unpublished == self.unpublished {
            return;
        }
        if let Some(these) = &unpublished {
            warn!(error = these.why, "configuration not published");
        }
        self.unpublished = unpublished;
        self.answers_changed = true;
    }
}

fn offer(statuses: &Statuses, key: Key, status: &impl Serialize, found: Option<serde_json::Value>, urgency: Urgency) {
    match serde_json::to_value(status) {
        Ok(status) => statuses.offer(Document { key, status, found }, urgency),
        Err(error) => error!(%error, "status not written as JSON"),
    }
}

fn key(kind: Kind, name: &Name, uid: &str) -> Key {
    Key {
        kind,
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        uid: uid.to_owned(),
    }
}

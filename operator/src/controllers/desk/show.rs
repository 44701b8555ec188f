//! What the desk tells: statuses to their objects, configurations to the nodes.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;
use shoalwatch_core::policy::{self, Scope};
use tracing::{error, info, warn};

use super::Desk;
use crate::controllers::sampling_policy::Answers as NodeAnswers;
use crate::controllers::sampling_policy::compile::node_config;
use crate::controllers::slo::Surroundings;
use crate::controllers::world::Name;
use crate::status::{Document, Key, Kind, Urgency};

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
            self.offer(key, &planned.status, planned.found, planned.urgency);
        }
    }

    pub(super) fn show_policies(&mut self) {
        let fleet = Arc::clone(&self.fleet.borrow());
        let answers = NodeAnswers {
            fleet: &fleet,
            published: &self.published,
            desired: self.world.desired_workers(),
            overridden: &self.overridden,
            unpublished: self.unpublished.as_deref(),
        };
        let now = Time(Timestamp::from_millisecond(self.now().0).unwrap_or_default());
        for planned in self.policies.plan(&answers, &now) {
            let key = key(Kind::SamplingPolicy, &planned.name, &planned.uid);
            self.offer(key, &planned.status, planned.found, planned.urgency);
        }
    }

    pub(super) fn offer(&self, key: Key, status: &impl Serialize, found: Option<serde_json::Value>, urgency: Urgency) {
        match serde_json::to_value(status) {
            Ok(status) => {
                let document = Document { key, status, found };
                self.statuses.offer(document, urgency);
            }
            Err(error) => error!(%error, "status not written as JSON"),
        }
    }

    /// Tells the nodes what to do, if that changed.
    pub(super) fn publish(&mut self) {
        let leadership = *self.leadership.borrow();
        let (policies, slis) = (self.policies.in_force(), self.slos.slis());
        let plan = match policy::compile(&self.hands.home, &policies, &slis, &Scope::All, leadership.term) {
            Ok(plan) => plan,
            Err(error) => {
                if self.unpublished.is_none() {
                    warn!(%error, "configuration not published");
                }
                self.unpublished = Some(error.to_string());
                return;
            }
        };
        self.unpublished = None;
        let config = node_config(&plan);
        let by_id = policies.into_iter().map(|policy| (policy.id(), policy)).collect();
        let next = Some((leadership, config));
        if next == self.last_config {
            return;
        }
        if let Some((_, config)) = &next {
            let version = self.distribution.publish(config.clone());
            info!(
                hash = version.hash,
                term = version.term,
                policies = config.policies.len(),
                slis = config.slis.len(),
                "configuration published"
            );
            self.published.remember(&version, &by_id);
        }
        self.last_config = next;
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

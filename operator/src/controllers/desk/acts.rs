//! What the desk has done: requests that run beside it, and what they bring back.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use shoalwatch_core::rollback::PatchOutcome;
use tokio::task::JoinError;
use tokio::time::Instant;

use super::Desk;
use crate::controllers::Error;
use crate::controllers::slo::execute::{self, Outcome};
use crate::controllers::slo::{Notification, RulesLabels, RulesOrder, Todo};
use crate::controllers::world::Name;
use crate::notifications::Failure;
use crate::rules::Refusal;

/// Most namespaces that are asked about together; the others have their turn half a second later.
const ASKS_AT_ONCE: usize = 32;
/// How often pods that do not get ready are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Most sets whose pods are looked at together; the others have their turn later.
const LOOKS_AT_ONCE: usize = 16;

impl Desk {
    pub(super) fn execute(&mut self, todos: &[Todo]) {
        for todo in todos {
            let memory = if todo.acts() {
                self.keeper.before_act(&self.slos)
            } else {
                None
            };
            execute::execute(todo, &self.hands, memory, &mut self.tasks);
        }
    }

    pub(super) fn ask_for_rights(&mut self) {
        let now = Instant::now();
        for namespace in self.slos.enforced_namespaces() {
            if self.asking.len() >= ASKS_AT_ONCE {
                return;
            }
            if self.access.is_stale(&namespace, now) && self.asking.insert(namespace.clone()) {
                self.tasks.spawn(execute::ask(self.hands.client.clone(), namespace));
            }
        }
    }

    /// Looks at pods that do not get ready, and compares releases whose undoing Git would not know of.
    pub(super) fn follow_up(&mut self) {
        let now = Instant::now();
        if self.looked.is_none_or(|looked| now >= looked + LOOK_EVERY) {
            self.looked = Some(now);
            for (set, revision) in self.slos.doubtful_sets(&self.world) {
                if self.looking.len() < LOOKS_AT_ONCE && self.looking.insert(set.clone()) {
                    let client = self.hands.client.clone();
                    self.tasks.spawn(execute::look_at_pods(client, set, revision));
                }
            }
        }
        for comparison in self.slos.due_comparisons(self.now()) {
            self.tasks
                .spawn(execute::compare(self.hands.client.clone(), comparison));
        }
    }

    /// Writes rules for Prometheus that are due.
    pub(super) fn write_rules(&mut self) {
        for order in self.slos.due_rules(self.now()) {
            self.tasks.spawn(execute::write_rules(self.hands.clone(), order));
        }
    }

    fn rules_ended(&mut self, order: &RulesOrder, outcome: &Result<(), Refusal>) {
        let outcome_label = outcome.as_ref().map_or_else(Refusal::reason, |()| "Written");
        let labels = RulesLabels { outcome: outcome_label };
        self.metrics.rules.get_or_create(&labels).inc();
        self.slos.rules_ended(order, outcome, self.now());
        self.show(std::slice::from_ref(&order.slo));
    }

    /// Tells receivers what they do not know yet.
    pub(super) fn notify(&mut self, names: &[Name]) {
        let courier = &self.hands.courier;
        let due = self.slos.due_notifications(names, courier.room(), self.now());
        due.deferred.iter().for_each(|kind| courier.deferred(*kind));
        for order in due.orders {
            let (hands, slot) = (self.hands.clone(), self.hands.courier.slot());
            self.tasks.spawn(execute::notify(hands, order, slot));
        }
    }

    fn notified(&mut self, order: &Notification, outcome: Option<&Result<(), Failure>>) {
        self.slos.notified(order, outcome);
        let names = [order.slo.clone()];
        self.show(&names);
        self.notify(&names);
    }

    /// Finishes what an act left undone, this process's or an earlier one's.
    pub(super) fn give_back_what_is_owed(&mut self) {
        let owing = self.world.deployments.iter().filter(|(_, view)| view.owes_fields);
        let owing: Vec<Name> = owing.map(|(name, _)| name.clone()).collect();
        if owing.is_empty() {
            return;
        }
        let targets = self.slos.targets();
        for target in owing.into_iter().filter(|name| targets.contains(name)) {
            let waits = self
                .not_before
                .get(&target)
                .is_some_and(|due| due.is_none_or(|due| Instant::now() < due));
            if !waits && !self.slos.is_acting_on(&target) {
                self.give_back(target, None);
            }
        }
    }

    pub(super) fn gave_back(&mut self, target: Name, failed: Option<&'static str>) {
        self.giving_back.remove(&target);
        let Some(category) = failed else {
            self.backoff.succeeded(&target);
            self.not_before.remove(&target);
            return;
        };
        let next = self.backoff.failed(target.clone(), category);
        self.not_before.insert(target, next.at(Instant::now()));
    }

    pub(super) fn give_back(&mut self, target: Name, before: Option<Vec<ManagedFieldsEntry>>) {
        if self.giving_back.insert(target.clone()) {
            self.tasks
                .spawn(execute::give_back(self.hands.client.clone(), target, before));
        }
    }

    pub(super) fn outcome(&mut self, outcome: Result<Outcome, JoinError>) -> Result<(), Error> {
        let now = self.now();
        match outcome.map_err(Error::Task)? {
            Outcome::Acted {
                slo,
                uid,
                target,
                outcome,
                after,
            } => {
                if let PatchOutcome::Forbidden(_) = outcome {
                    self.access.doubt(&target.namespace, Instant::now());
                }
                if let Some(after) = after {
                    let (found, before) = *after;
                    self.world.refresh(&target, Some(found));
                    self.give_back(target, Some(before));
                }
                let todo = self.slos.acted(&slo, &uid, outcome, now);
                self.execute(&todo.into_iter().collect::<Vec<_>>());
                self.show(&[slo]);
            }
            Outcome::Looked {
                slo,
                uid,
                target,
                found,
            } => {
                if let Ok(found) = found {
                    self.world.refresh(&target, found.map(|found| *found));
                }
                self.slos.looked(&slo, &uid);
                self.judge(&[slo]);
            }
            Outcome::Answered { namespace, allowed } => {
                self.asking.remove(&namespace);
                self.access.learn(&namespace, allowed, Instant::now());
            }
            Outcome::Pods { set, found } => {
                self.looking.remove(&set);
                if let Some(found) = found {
                    self.world.saw_pods(&set, found, now);
                }
            }
            Outcome::Compared { comparison, lines } => {
                self.slos.compared(&comparison, lines);
                self.show(&[comparison.slo]);
            }
            Outcome::Rules { order, outcome } => self.rules_ended(&order, &outcome),
            Outcome::Notified { order, outcome } => self.notified(&order, outcome.as_ref()),
            Outcome::GaveBack { target, failed } => self.gave_back(target, failed),
            Outcome::Saved { acknowledge, failed } => self.keeper.ended(&mut self.slos, acknowledge, failed),
        }
        Ok(())
    }
}

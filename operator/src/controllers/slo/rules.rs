//! The rules for Prometheus that an SLO asks for: what is due, and what became of it.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family};
use shoalwatch_core::Millis;
use shoalwatch_core::policy::SliSpec;
use shoalwatch_core::rules::{Measure, Promise, Subject, render};
use shoalwatch_crds::conditions::{ConditionStatus, Finding};
use shoalwatch_crds::names;
use shoalwatch_crds::slo::{RulesKind, RulesObject, WrittenRules};

use super::observe::{Known, Slos};
use super::validate::Valid;
use crate::controllers::world::Name;
use crate::retry::{Backoff, Next};
use crate::rules::{Refusal, Wanted};

/// How often rules are written again, so that what somebody else did to them is undone.
const REPAIR_EVERY: Duration = Duration::from_mins(10);
/// SLOs whose rules are written at once; the others have their turn later.
const AT_ONCE: usize = 8;

/// Writes, by what became of them.
pub(crate) type Writes = Family<Labels, Counter>;

/// `Written`, or why not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Labels {
    pub(crate) outcome: &'static str,
}

/// What has to be done for one SLO.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) slo: Name,
    pub(crate) uid: String,
    generation: i64,
    /// An object that is not wanted any more.
    pub(crate) obsolete: Option<WrittenRules>,
    pub(crate) wanted: Option<Wanted>,
    /// What the condition adds.
    remark: String,
}

/// What is known of the rules of one SLO.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// The object that is there.
    pub(super) written: Option<WrittenRules>,
    /// The generation that was dealt with last, and when to look again.
    dealt: Option<(i64, Millis)>,
    busy: bool,
    backoff: Backoff<()>,
    said: Option<(bool, &'static str, String)>,
}

impl Book {
    /// As an earlier process left it.
    pub(super) fn remembering(written: Option<WrittenRules>) -> Self {
        Self {
            written,
            ..Self::default()
        }
    }
}

impl Slos {
    /// Rules that have to be written or removed now.
    pub(crate) fn due_rules(&mut self, now: Millis) -> Vec<Order> {
        let busy = self.known.values().filter(|known| known.rules.busy).count();
        let known = self.known.iter_mut();
        known
            .filter_map(|(name, known)| known.due_rules(name, now))
            .take(AT_ONCE.saturating_sub(busy))
            .collect()
    }

    /// Takes in what became of an order.
    pub(crate) fn rules_ended(&mut self, order: &Order, outcome: &Result<(), Refusal>, now: Millis) {
        let known = self.known.get_mut(&order.slo).filter(|known| known.uid == order.uid);
        if let Some(known) = known {
            known.rules.ended(order, outcome, now);
        }
    }
}

impl Known {
    fn due_rules(&mut self, name: &Name, now: Millis) -> Option<Order> {
        let (generation, valid) = self.good.as_ref()?;
        let book = &mut self.rules;
        let unasked = valid.rules.is_none() && book.written.is_none();
        let dealt = book
            .dealt
            .is_some_and(|(dealt, again)| dealt == *generation && now < again);
        if unasked || dealt || book.busy {
            return None;
        }
        let sli = valid.sli(&self.sli, self.report_interval)?;
        // All members, so that a new way to measure cannot be forgotten here.
        let SliSpec {
            id: _,
            namespace,
            workload,
            container,
            bad,
            slower_than,
            routes,
            report_interval: _,
        } = &sli;
        let subject = Subject {
            namespace,
            slo: &name.name,
            workload,
            container,
            routes,
            measure: slower_than.map_or(Measure::Bad(bad), Measure::SlowerThan),
        };
        let (wanted, remark) = wanted(valid, &subject, &self.uid);
        let is_wanted = |there: &WrittenRules| wanted.as_ref().is_some_and(|wanted| wanted.is(there));
        let obsolete = book.written.clone().filter(|there| !is_wanted(there));
        book.busy = true;
        Some(Order {
            slo: name.clone(),
            uid: self.uid.clone(),
            generation: *generation,
            obsolete,
            wanted,
            remark,
        })
    }

    /// Whether anything is to be said of rules.
    pub(super) fn minds_rules(&self) -> bool {
        let asked = self.good.as_ref().is_some_and(|(_, valid)| valid.rules.is_some());
        asked || self.rules.written.is_some()
    }

    /// `RulesRendered`, once there is something to say.
    pub(super) fn rules_rendered(&self) -> Option<Finding> {
        let (good, reason, message) = self.rules.said.clone()?;
        Some(Finding {
            kind: names::CONDITION_RULES_RENDERED,
            status: ConditionStatus::from(good),
            reason,
            message,
        })
    }
}

fn wanted(valid: &Valid, subject: &Subject<'_>, uid: &str) -> (Option<Wanted>, String) {
    let Some((kind, object)) = &valid.rules else {
        return (None, String::new());
    };
    let promise = Promise {
        objective: valid.spec.objective(),
        window: valid.spec.window().nominal(),
        tiers: &valid.spec.alerts().tiers,
    };
    let Some(rendered) = render(subject, &promise) else {
        return (None, String::new());
    };
    let remark = match rendered.left_out.as_slice() {
        [] => String::new(),
        tiers => format!(
            "; left out: {}, whose short window is below 1m: Prometheus scrapes too seldom for that",
            tiers.join(", ")
        ),
    };
    let wanted = Wanted::new(*kind, subject, &object.labels, rendered.file, uid);
    (Some(wanted), remark)
}

impl Book {
    fn ended(&mut self, order: &Order, outcome: &Result<(), Refusal>, now: Millis) {
        self.busy = false;
        let pause = match outcome {
            Ok(()) => {
                self.backoff.succeeded(&());
                self.written = order.wanted.as_ref().map(Wanted::written);
                REPAIR_EVERY
            }
            Err(refusal) => match self.backoff.failed((), refusal.category()) {
                Next::After(pause) => pause,
                Next::AwaitChange => REPAIR_EVERY,
            },
        };
        self.dealt = Some((order.generation, now.plus(pause)));
        self.said = Some(match (outcome, &order.wanted) {
            (Err(refusal), _) => (false, refusal.reason(), refusal.to_string()),
            (Ok(()), Some(wanted)) => (true, "Rendered", format!("{wanted}{}", order.remark)),
            (Ok(()), None) => (
                false,
                "NoAlerts",
                "no alert whose short window is 1m or longer: there is nothing to render; write one in spec.alerts"
                    .to_owned(),
            ),
        });
    }

    /// Nothing is under way any more.
    pub(super) fn stand_down(&mut self) {
        self.busy = false;
    }
}

/// The one object that a spec names.
pub(super) fn object(rules: Option<&shoalwatch_crds::slo::Rules>) -> Option<(RulesKind, RulesObject)> {
    let (kind, object) = rules?.object()?;
    Some((kind, object.clone()))
}

//! The verdict on an SLO.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::{Coverage, Evidence};
use super::new_release::new_release;
use crate::burn::{Severity, Tier, budget_remaining_of_period, rate};
use crate::condition::{Condition, ConditionType, Holds};
use crate::spec::SloSpec;
use crate::time::written;
use crate::{Counts, Millis, ReleaseId};

/// The SLO in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing fires, everything is seen.
    Healthy,
    /// A ticket tier fires.
    Burning,
    /// A page tier fires, a release is to be undone, or the budget is spent.
    Breached,
    /// Nothing is known.
    NoData,
    /// Something is known, not enough.
    Inconclusive,
}

/// Why the phase is what it is; also the reason of the condition `Evaluated`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PhaseReason {
    /// `Healthy`.
    WithinObjective,
    /// `Burning`.
    TicketAlert,
    /// `Breached`.
    PageAlert,
    /// `Breached`.
    BudgetSpent,
    /// `Breached`.
    BadRelease,
    /// `NoData`: pods are ready and no worker reports any.
    NoWorkerReports,
    /// `NoData`.
    NoRequests,
    /// `Inconclusive`: ready pods that nobody reports.
    MissingWorkers,
    /// `Inconclusive`: requests lost before they could be judged.
    LostRequests,
    /// `Inconclusive`: what has to be [polled](crate::polled) cannot be.
    NotPolled,
    /// `Inconclusive`: the new release is bad, and so is the stable one.
    StableFailsToo,
    /// `Inconclusive`: the new release is bad, but not provably worse than the stable one.
    NotWorseThanStable,
}

/// Why a release whose counts fill the rule is not undone all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Doubt {
    /// It would not be bad if the pods nobody reports were good.
    MissingWorkers,
    /// It would not be bad if the lost requests were good.
    LostRequests,
    /// The stable release exceeds the threshold itself.
    StableFailsToo,
    /// It is not provably worse than the stable release.
    NotWorseThanStable,
}

/// A release that is to be undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Breach {
    /// The bad release.
    pub from: ReleaseId,
    /// The numbers, for a person.
    pub reason: String,
    /// Its first bad answer.
    pub first_bad_at: Option<Millis>,
}

/// What is to be done about the new release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The rule is not filled.
    Nothing,
    /// It is filled, and doubt is left.
    Inconclusive {
        /// Which.
        doubt: Doubt,
        /// The numbers, for a person.
        message: String,
    },
    /// It is to be undone.
    Undo(Breach),
}

/// The burn rate of one window; `None` without judged requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WindowBurn {
    /// The window.
    pub window: Duration,
    /// Bad ratio ÷ (1 − objective).
    pub rate: Option<f64>,
}

/// One tier now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlertState {
    /// The tier.
    pub tier: Tier,
    /// Both windows exceed its threshold.
    pub firing: bool,
}

/// The verdict on an SLO at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// In one word.
    pub phase: Phase,
    /// Why.
    pub reason: PhaseReason,
    /// Why, as a sentence.
    pub message: String,
    /// For every alert window, shortest first.
    pub burn: Vec<WindowBurn>,
    /// The share of the error budget left; negative beyond, `None` without requests.
    pub budget_remaining: Option<f64>,
    /// Every tier, in the order of the spec.
    pub alerts: Vec<AlertState>,
    /// Pods seen.
    pub coverage: Coverage,
    /// What is to be done about the new release.
    pub decision: Decision,
    /// `Evaluated` and `BudgetHistory`.
    pub conditions: Vec<Condition>,
}

/// Judges.
#[must_use]
pub fn judge(spec: &SloSpec, evidence: &Evidence, now: Millis) -> Verdict {
    let alerts = alerts(spec, evidence);
    let budget_remaining = budget_remaining_of_period(evidence.period, spec.objective(), evidence.period_passed);
    let decision = new_release(spec, evidence);
    let (phase, reason, message) = phase(evidence, &alerts, budget_remaining, &decision, spec);
    let rates = evidence.windows.iter();
    Verdict {
        phase,
        reason,
        burn: rates
            .map(|&(window, counts)| WindowBurn {
                window,
                rate: rate(counts, spec.objective()),
            })
            .collect(),
        budget_remaining,
        alerts,
        coverage: evidence.coverage,
        decision,
        conditions: vec![evaluated(phase, reason, &message), budget_history(spec, evidence, now)],
        message,
    }
}

fn alerts(spec: &SloSpec, evidence: &Evidence) -> Vec<AlertState> {
    let ratio = |window| {
        let found = evidence.windows.iter().find(|(span, _)| *span == window);
        found.and_then(|(_, counts): &(Duration, Counts)| counts.bad_ratio())
    };
    let tiers = spec.alerts().tiers.iter();
    tiers
        .map(|tier| AlertState {
            tier: tier.clone(),
            firing: tier.fires(ratio(tier.long), ratio(tier.short)),
        })
        .collect()
}

type Named = (Phase, PhaseReason, String);

fn phase(
    evidence: &Evidence,
    alerts: &[AlertState],
    budget: Option<f64>,
    decision: &Decision,
    spec: &SloSpec,
) -> Named {
    let coverage = evidence.coverage;
    if coverage.is_blind() {
        let message = format!(
            "no worker reports any of the {} ready pods: see the worker's pods on their nodes",
            coverage.ready
        );
        return (Phase::NoData, PhaseReason::NoWorkerReports, message);
    }
    let firing = |severity| {
        alerts
            .iter()
            .find(|alert| alert.firing && alert.tier.severity == severity)
    };
    if let Decision::Undo(breach) = decision {
        return (
            Phase::Breached,
            PhaseReason::BadRelease,
            format!("release {}: {}", breach.from, breach.reason),
        );
    }
    if let Some(alert) = firing(Severity::Page) {
        return (Phase::Breached, PhaseReason::PageAlert, alert.sentence());
    }
    if let Some(left) = budget.filter(|left| *left <= 0.0) {
        let message = format!(
            "the error budget of {} is spent: {:.0} % left",
            spec.window(),
            left * 100.0
        );
        return (Phase::Breached, PhaseReason::BudgetSpent, message);
    }
    if let Decision::Inconclusive { doubt, message } = decision {
        return (Phase::Inconclusive, doubt.phase_reason(), message.clone());
    }
    if let Some(alert) = firing(Severity::Ticket) {
        return (Phase::Burning, PhaseReason::TicketAlert, alert.sentence());
    }
    quiet_phase(evidence, spec)
}

/// The phase while nothing fires.
fn quiet_phase(evidence: &Evidence, spec: &SloSpec) -> Named {
    let (recent, coverage) = (evidence.recent, evidence.coverage);
    let span = written(spec.data_window());
    if recent.is_empty() {
        return (
            Phase::NoData,
            PhaseReason::NoRequests,
            format!("no request in the last {span}"),
        );
    }
    if recent.incomplete > 0 {
        let message = format!(
            "{} requests of the last {span} were lost before they could be judged",
            recent.incomplete
        );
        return (Phase::Inconclusive, PhaseReason::LostRequests, message);
    }
    if !coverage.is_full() {
        let message = format!("workers report {} of {} ready pods", coverage.reporting, coverage.ready);
        return (Phase::Inconclusive, PhaseReason::MissingWorkers, message);
    }
    // No numbers: the message of a quiet SLO must not change at every look.
    (
        Phase::Healthy,
        PhaseReason::WithinObjective,
        "no alert fires".to_owned(),
    )
}

fn evaluated(phase: Phase, reason: PhaseReason, message: &str) -> Condition {
    let status = match phase {
        Phase::Healthy | Phase::Burning | Phase::Breached => Holds::True,
        Phase::NoData | Phase::Inconclusive => Holds::Unknown,
    };
    Condition {
        kind: ConditionType::Evaluated,
        status,
        reason: reason.as_str(),
        message: message.to_owned(),
    }
}

fn budget_history(spec: &SloSpec, evidence: &Evidence, now: Millis) -> Condition {
    let window = spec.window();
    let (status, reason, message) = match evidence.history_since {
        None => (Holds::Unknown, "NoData", "no request was ever seen".to_owned()),
        Some(since) if since <= window.began(now) => (Holds::True, "Complete", format!("history covers {window}")),
        Some(since) => {
            let covered = Duration::from_secs(now.since(since).as_secs() / 60 * 60);
            let message = format!("history covers {} of {window}", written(covered));
            (Holds::False, "Growing", message)
        }
    };
    Condition {
        kind: ConditionType::BudgetHistory,
        status,
        reason,
        message,
    }
}

impl AlertState {
    fn sentence(&self) -> String {
        let tier = &self.tier;
        let (burn, short, long) = (tier.burn, written(tier.short), written(tier.long));
        format!("alert {}: burn above {burn:.2} in {short} and {long}", tier.name)
    }
}

impl Phase {
    /// As the status spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Burning => "Burning",
            Self::Breached => "Breached",
            Self::NoData => "NoData",
            Self::Inconclusive => "Inconclusive",
        }
    }
}

impl PhaseReason {
    /// A condition's reason.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WithinObjective => "WithinObjective",
            Self::TicketAlert => "TicketAlert",
            Self::PageAlert => "PageAlert",
            Self::BudgetSpent => "BudgetSpent",
            Self::BadRelease => "BadRelease",
            Self::NoWorkerReports => "NoWorkerReports",
            Self::NoRequests => "NoRequests",
            Self::MissingWorkers => "MissingWorkers",
            Self::LostRequests => "LostRequests",
            Self::NotPolled => "NotPolled",
            Self::StableFailsToo => "StableFailsToo",
            Self::NotWorseThanStable => "NotWorseThanStable",
        }
    }
}

impl Doubt {
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::MissingWorkers => "not undone, the pods that no worker reports might be good",
            Self::LostRequests => "not undone, the lost requests might be good",
            Self::StableFailsToo => "not undone, the stable release fails too",
            Self::NotWorseThanStable => "not undone, not provably worse than the stable release",
        }
    }

    fn phase_reason(self) -> PhaseReason {
        match self {
            Self::MissingWorkers => PhaseReason::MissingWorkers,
            Self::LostRequests => PhaseReason::LostRequests,
            Self::StableFailsToo => PhaseReason::StableFailsToo,
            Self::NotWorseThanStable => PhaseReason::NotWorseThanStable,
        }
    }
}

//! The status of an SLO, from its last evaluation.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use serde_json::Value;
use shoalwatch_core::condition::{Condition, ConditionType, Holds};
use shoalwatch_core::judge;
use shoalwatch_core::release::Role;
use shoalwatch_core::rollback::{self, State, Step, TimelineRow};
use shoalwatch_core::slo::{Evaluation, RevisionStatus};
use shoalwatch_core::spec::Mode;
use shoalwatch_core::time::written;
use shoalwatch_core::{Millis, burn};
use shoalwatch_crds::SloStatus;
use shoalwatch_crds::conditions::{self, ConditionStatus, Finding};
use shoalwatch_crds::names;
use shoalwatch_crds::slo::{
    Budget, Burn, Coverage, DryRunOutcome, DryRunRelease, DryRunReport, FiringAlert, Phase, Revision, RevisionRole,
    RollbackState, RollbackStatus, Severity, TimelineEntry, TimelineStep,
};

use super::evaluate::Surroundings;
use super::observe::{Known, Slos};
use super::text::{cut, percent, revision, spoken, two_digits};
use super::validate::Valid;
use crate::controllers::world::Name;
use crate::rollback::access;
use crate::status::Urgency;

/// A status that is not what it was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Planned {
    pub(crate) name: Name,
    pub(crate) uid: String,
    pub(crate) status: SloStatus,
    pub(crate) found: Option<Value>,
    pub(crate) urgency: Urgency,
}

impl Slos {
    /// Brings the named statuses up to date, one after the other: thousands of them need not be held at once. Those that changed.
    pub(crate) fn plan<'n>(
        &mut self,
        names: impl IntoIterator<Item = &'n Name>,
        around: &Surroundings<'_>,
        now: Millis,
    ) -> impl Iterator<Item = Planned> {
        names
            .into_iter()
            .filter_map(move |name| self.known.get_mut(name)?.planned(name, around, now))
    }
}

/// What a status says apart from numbers.
fn kind_of(status: &SloStatus) -> impl PartialEq + use<> {
    let conditions = status.conditions.iter();
    let conditions: Vec<_> = conditions
        .map(|each| (each.type_.clone(), each.status.clone(), each.reason.clone()))
        .collect();
    let alerts: Vec<_> = status.alerts.iter().map(|alert| alert.name.clone()).collect();
    let revisions: Vec<_> = status
        .revisions
        .iter()
        .map(|each| (each.revision.clone(), each.role))
        .collect();
    let rollback = status
        .rollback
        .as_ref()
        .map(|each| (each.state, each.from.clone(), each.to.clone()));
    let timeline: Vec<_> = status.timeline.iter().map(|row| (row.at.clone(), row.step)).collect();
    (
        status.observed_generation,
        status.phase,
        conditions,
        alerts,
        revisions,
        rollback,
        timeline,
    )
}

impl Known {
    fn planned(&mut self, name: &Name, around: &Surroundings<'_>, now: Millis) -> Option<Planned> {
        let status = self.status(name, around, now);
        if status == self.status {
            return None;
        }
        let urgency = if kind_of(&status) == kind_of(&self.status) {
            Urgency::Numbers
        } else {
            Urgency::Now
        };
        self.status.clone_from(&status);
        Some(Planned {
            name: name.clone(),
            uid: self.uid.clone(),
            status,
            found: self.found.take(),
            urgency,
        })
    }

    fn status(&mut self, name: &Name, around: &Surroundings<'_>, now: Millis) -> SloStatus {
        let mut status = self.status.clone();
        let at = time(now);
        let mut findings = vec![self.accepted()];
        for (minds, kind, found) in [
            (
                self.minds_rules(),
                names::CONDITION_RULES_RENDERED,
                self.rules_rendered(),
            ),
            (
                self.minds_notifications(),
                names::CONDITION_NOTIFICATIONS_DELIVERED,
                self.notifications_delivered(),
            ),
        ] {
            findings.extend(found.filter(|_| minds));
            status.conditions.retain(|condition| minds || condition.type_ != kind);
        }
        if let (Some((_, valid)), Some(evaluation)) = (&self.good, &self.evaluation) {
            self.show(&mut status, valid, evaluation);
            let complete =
                |found: &Condition| found.kind == ConditionType::BudgetHistory && found.status == Holds::True;
            if evaluation.conditions.iter().any(complete) {
                self.record.lost = None;
            }
            findings.extend(
                evaluation
                    .conditions
                    .iter()
                    .map(|found| self.finding(name, found, around)),
            );
        }
        for finding in findings {
            conditions::set(&mut status.conditions, &finding, Some(self.generation), &at);
        }
        status.rules.clone_from(&self.rules.written);
        status.observed_generation = Some(self.generation);
        status
    }

    fn show(&self, status: &mut SloStatus, valid: &Valid, evaluation: &Evaluation) {
        let verdict = &evaluation.verdict;
        status.phase = Some(phase(verdict.phase));
        status.indicator.clone_from(&valid.indicator);
        status.burn = burns(&verdict.burn);
        status.budget = verdict.budget_remaining.map(|left| Budget {
            remaining: percent(left),
        });
        status.coverage = valid.target.is_some().then_some(Coverage {
            reporting: verdict.coverage.reporting,
            ready: verdict.coverage.ready,
        });
        let alerts = verdict.alerts.iter().filter(|alert| alert.firing);
        status.alerts = alerts.map(|alert| self.alert(alert)).collect();
        status.revisions = evaluation
            .revisions
            .iter()
            .take(SloStatus::REVISIONS_MAX)
            .map(revision_status)
            .collect();
        status.rollback = (valid.spec.rule().mode != Mode::Off).then(|| self.rollback());
        let rows = self.record.state.machine.timeline();
        let surplus = rows.len().saturating_sub(SloStatus::TIMELINE_MAX);
        status.timeline = rows.iter().skip(surplus).map(|row| self.entry(row)).collect();
    }

    fn alert(&self, alert: &judge::AlertState) -> FiringAlert {
        FiringAlert {
            name: alert.tier.name.clone(),
            severity: severity(alert.tier.severity),
            since: self.firing.get(&alert.tier.name).map(|since| time(*since)),
        }
    }

    pub(super) fn rollback(&self) -> RollbackStatus {
        let state = self.record.state.machine.state();
        let target = self.target.as_ref();
        let act = state.act();
        let from = match state {
            State::Contested { release, .. } => Some(release),
            _ => act.map(|act| &act.record.from),
        };
        let restored = act
            .map(|act| &act.to_revision)
            .filter(|revision| !revision.as_str().is_empty());
        let reason = match state {
            State::Failed { why, .. } => Some(why.clone()),
            State::Contested { writer, .. } => Some(format!("{writer} keeps applying it")),
            _ => act.map(|act| act.reason.clone()),
        };
        RollbackStatus {
            state: rollback_state(state),
            from: from.map(|from| revision(from, target)),
            to: restored.map(ToString::to_string),
            reason: reason.map(|reason| cut(&spoken(&reason, target), RollbackStatus::REASON_MAX)),
            dry_run: self.dry_run(),
        }
    }

    fn dry_run(&self) -> Option<DryRunReport> {
        let report = self.record.state.machine.dry_run();
        let summary = report.sentence().filter(|_| self.mode() == Some(Mode::DryRun))?;
        let target = self.target.as_ref();
        let releases = report.rows().iter().map(|row| DryRunRelease {
            release: revision(&row.release, target),
            since: time(row.since),
            outcome: dry_run_outcome(row.outcome),
            why: Some(cut(&spoken(&row.why, target), DryRunRelease::WHY_MAX)).filter(|why| !why.is_empty()),
        });
        Some(DryRunReport {
            summary,
            releases: releases.collect(),
        })
    }

    fn entry(&self, row: &TimelineRow) -> TimelineEntry {
        TimelineEntry {
            at: MicroTime(timestamp(row.at)),
            step: step(row.step),
            detail: Some(cut(
                &spoken(&row.message, self.target.as_ref()),
                TimelineEntry::DETAIL_MAX,
            )),
        }
    }

    fn accepted(&self) -> Finding {
        let (status, reason, message) = match (&self.invalid, &self.good) {
            (None, good) => (
                ConditionStatus::True,
                "Accepted",
                left_out(good.as_ref().map(|(_, valid)| valid)),
            ),
            (Some(invalid), Some((generation, _))) => (
                ConditionStatus::False,
                invalid.category(),
                format!("{invalid}; generation {generation} stays in force"),
            ),
            (Some(invalid), None) => (ConditionStatus::False, invalid.category(), invalid.to_string()),
        };
        Finding {
            kind: names::CONDITION_ACCEPTED,
            status,
            reason,
            message,
        }
    }

    /// A condition as the core found it, or what the core cannot know.
    fn finding(&self, name: &Name, found: &Condition, around: &Surroundings<'_>) -> Finding {
        let kind = match found.kind {
            ConditionType::Evaluated => names::CONDITION_EVALUATED,
            ConditionType::BudgetHistory => names::CONDITION_BUDGET_HISTORY,
            ConditionType::RollbackReady => names::CONDITION_ROLLBACK_READY,
        };
        let no = |reason, message| Finding {
            kind,
            status: ConditionStatus::False,
            reason,
            message,
        };
        match found.kind {
            ConditionType::BudgetHistory if around.unsaved.is_some() => {
                return no(
                    "NotSaved",
                    format!("nothing survives a restart: {}", around.unsaved.unwrap_or_default()),
                );
            }
            ConditionType::BudgetHistory if let Some(lost) = self.record.lost => {
                return no("Lost", format!("the history before {:.0} was lost", timestamp(lost)));
            }
            // How much is covered changes all the time; since when it grows does not.
            ConditionType::BudgetHistory
                if found.status == Holds::False
                    && let Some((_, valid)) = &self.good
                    && let window = valid.spec.window()
                    && let Some(since) = self.history.known_since(window) =>
            {
                let since = timestamp(since);
                return no(
                    found.reason,
                    format!("history begins at {since:.0}, the window is {window}"),
                );
            }
            ConditionType::RollbackReady if self.is_forbidden(name, found, around) => {
                return no("Forbidden", access::remedy(&name.namespace, around.home));
            }
            _ => {}
        }
        Finding {
            kind,
            status: match found.status {
                Holds::True => ConditionStatus::True,
                Holds::False => ConditionStatus::False,
                Holds::Unknown => ConditionStatus::Unknown,
            },
            reason: found.reason,
            message: self.whole(found),
        }
    }

    /// With what would keep a release undone, where Git has to know of it.
    fn whole(&self, found: &Condition) -> String {
        let message = spoken(&found.message, self.target.as_ref());
        match self.what_sticks() {
            Some(sticks) if found.kind == ConditionType::RollbackReady => format!("{message}; {sticks}"),
            _ => message,
        }
    }

    fn is_forbidden(&self, name: &Name, found: &Condition, around: &Surroundings<'_>) -> bool {
        let denied = around.access.get(&name.namespace) == Some(false);
        self.enforces() && denied && (found.status == Holds::True || found.reason == "Forbidden")
    }
}

fn left_out(valid: Option<&Valid>) -> String {
    let dropped = valid.map(|valid| &valid.spec.alerts().dropped);
    match dropped {
        Some(dropped) if !dropped.is_empty() => {
            let each: Vec<_> = dropped.iter().map(|tier| tier.why.as_str()).collect();
            format!("default alerts left out: {}", each.join("; "))
        }
        _ => "the spec makes sense".to_owned(),
    }
}

pub(super) fn burns(windows: &[judge::WindowBurn]) -> Vec<Burn> {
    let known = windows.iter().filter_map(|each| Some((each.window, each.rate?)));
    let shown = known.take(SloStatus::BURN_MAX);
    shown
        .map(|(window, rate)| Burn {
            window: written(window),
            rate: two_digits(rate),
        })
        .collect()
}

fn revision_status(each: &RevisionStatus) -> Revision {
    Revision {
        revision: each.revision.to_string(),
        role: match each.role {
            Role::KnownGood => RevisionRole::KnownGood,
            Role::Probation => RevisionRole::Probation,
            Role::Other => RevisionRole::Other,
        },
        since: each.since.map(time),
        bad: each.bad_ratio.map(percent),
    }
}

pub(super) fn phase(phase: judge::Phase) -> Phase {
    match phase {
        judge::Phase::Healthy => Phase::Healthy,
        judge::Phase::Burning => Phase::Burning,
        judge::Phase::Breached => Phase::Breached,
        judge::Phase::NoData => Phase::NoData,
        judge::Phase::Inconclusive => Phase::Inconclusive,
    }
}

pub(super) fn severity(severity: burn::Severity) -> Severity {
    match severity {
        burn::Severity::Page => Severity::Page,
        burn::Severity::Ticket => Severity::Ticket,
    }
}

fn rollback_state(state: &State) -> RollbackState {
    match state {
        State::Idle => RollbackState::Idle,
        State::Acting { .. } => RollbackState::Acting,
        State::Verifying { .. } => RollbackState::Verifying,
        State::Latched { .. } => RollbackState::Latched,
        State::CoolingDown { .. } => RollbackState::CoolingDown,
        State::Failed { .. } => RollbackState::Failed,
        State::Contested { .. } => RollbackState::Contested,
    }
}

fn dry_run_outcome(outcome: rollback::DryRunOutcome) -> DryRunOutcome {
    match outcome {
        rollback::DryRunOutcome::InProbation => DryRunOutcome::InProbation,
        rollback::DryRunOutcome::WouldHaveUndone => DryRunOutcome::WouldHaveUndone,
        rollback::DryRunOutcome::Promoted => DryRunOutcome::Promoted,
        rollback::DryRunOutcome::ProbationOver => DryRunOutcome::ProbationOver,
        rollback::DryRunOutcome::Replaced => DryRunOutcome::Replaced,
    }
}

fn step(step: Step) -> TimelineStep {
    match step {
        Step::ProbationStarted => TimelineStep::ProbationStarted,
        Step::FirstBadAnswer => TimelineStep::FirstBadAnswer,
        Step::Breached => TimelineStep::Breached,
        Step::ProgressDeadlineExceeded => TimelineStep::ProgressDeadlineExceeded,
        Step::CrashLoop => TimelineStep::CrashLoop,
        Step::WouldHavePatched => TimelineStep::WouldHavePatched,
        Step::Conflict => TimelineStep::Conflict,
        Step::Patched => TimelineStep::Patched,
        Step::Verified => TimelineStep::Verified,
        Step::Failed => TimelineStep::Failed,
        Step::Reapplied => TimelineStep::Reapplied,
        Step::Contested => TimelineStep::Contested,
        Step::Released => TimelineStep::Released,
        Step::Superseded => TimelineStep::Superseded,
        Step::Recovered => TimelineStep::Recovered,
        Step::Accepted => TimelineStep::Accepted,
        Step::Promoted => TimelineStep::Promoted,
        Step::TargetReplaced => TimelineStep::TargetReplaced,
    }
}

pub(super) fn timestamp(at: Millis) -> Timestamp {
    Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn time(at: Millis) -> Time {
    Time(timestamp(at))
}

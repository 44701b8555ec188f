//! One step of the machine.

use super::effect::{Effect, EventReason, EventSeverity};
use super::machine::Machine;
use super::readiness::Lock;
use super::report::{DryRunReport, Outcome};
use super::state::{Act, State, Step};
use super::{decide, settle};
use crate::Millis;
use crate::judge::{Evidence, Verdict};
use crate::release::{Change, Ledger, TargetSnapshot};
use crate::spec::{Mode, SloSpec};

/// The target, as far as it can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// It is there.
    Found(Box<TargetSnapshot>),
    /// It is not.
    NotFound,
    /// The operator may not look.
    Forbidden,
}

/// Everything one look at an SLO brings.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// The SLO.
    pub spec: &'a SloSpec,
    /// Its target.
    pub target: &'a Target,
    /// The target's releases, `target` already taken in.
    pub ledger: &'a Ledger,
    /// What changed in the ledger.
    pub changes: &'a [Change],
    /// What the verdict rests on.
    pub evidence: &'a Evidence,
    /// The verdict.
    pub verdict: &'a Verdict,
    /// Whether this SLO may act.
    pub lock: &'a Lock,
}

/// What became of a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchOutcome {
    /// The API server accepted it.
    Applied,
    /// The precondition failed: the target was changed meanwhile.
    Conflict,
    /// The target is gone.
    NotFound,
    /// The operator may not.
    Forbidden(String),
    /// The API server or an admission webhook refused it.
    Rejected(String),
    /// No answer: it may have been applied.
    Unknown(String),
}

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A look at the SLO.
    Observed(Observation<'a>),
    /// The outcome of the last [`Effect::Patch`].
    Outcome {
        /// The SLO.
        spec: &'a SloSpec,
        /// What became of it.
        outcome: PatchOutcome,
    },
}

/// Goes one step: what the machine becomes, and what is to be done, in order. Pure: the same input gives the same output.
#[must_use]
pub fn step(machine: &Machine, input: &Input<'_>, now: Millis) -> (Machine, Vec<Effect>) {
    let mut run = Run {
        machine: machine.clone(),
        effects: Vec::new(),
        now,
        unanswered: None,
    };
    match input {
        Input::Observed(observation) => observed(&mut run, observation),
        Input::Outcome { spec, outcome } => decide::outcome(&mut run, spec, outcome),
    }
    let Run {
        machine: after,
        mut effects,
        ..
    } = run;
    if after != *machine {
        effects.insert(0, Effect::Persist);
    }
    (after, effects)
}

fn observed(run: &mut Run, observation: &Observation<'_>) {
    run.note_changes(observation);
    let Target::Found(target) = observation.target else {
        return;
    };
    if target.deleting {
        return;
    }
    settle::adopt(run, observation, target);
    settle::forget(run, observation, target);
    settle::settle(run, observation, target);
    if !run.machine.state.is_moving() {
        decide::consider(run, observation, target);
    }
    settle::give_up(run);
}

/// The machine being changed and what came of it so far.
pub(super) struct Run {
    pub(super) machine: Machine,
    pub(super) effects: Vec<Effect>,
    pub(super) now: Millis,
    /// A patch that nobody answered, if it is judged afresh in this step.
    pub(super) unanswered: Option<Act>,
}

impl Run {
    /// A milestone: a row of the timeline and an event.
    pub(super) fn milestone(&mut self, step: Step, severity: EventSeverity, message: String) {
        self.machine.note(self.now, step, message.clone());
        self.event(EventReason::Step(step), severity, message);
    }

    pub(super) fn event(&mut self, reason: EventReason, severity: EventSeverity, message: String) {
        self.effects.push(Effect::Event {
            severity,
            reason,
            message,
        });
    }

    fn note_changes(&mut self, observation: &Observation<'_>) {
        for change in observation.changes {
            self.report(change, observation.spec.rule().mode);
            let (step, message) = match change {
                Change::TargetReplaced => {
                    // What was undone was undone on another object.
                    self.machine.state = State::Idle;
                    self.machine.memory = super::memory::Memory::default();
                    self.machine.breached = None;
                    self.machine.report = DryRunReport::default();
                    (Step::TargetReplaced, "the target was deleted and made again".to_owned())
                }
                Change::ProbationStarted(release) => (Step::ProbationStarted, format!("release {release} is new")),
                Change::Returned(release) => {
                    self.machine.breached = None;
                    self.machine.said = None;
                    (Step::ProbationStarted, format!("release {release} came back"))
                }
                Change::Promoted(release) => (Step::Promoted, format!("release {release} is known to be good")),
                Change::Accepted(release) => (Step::Accepted, format!("release {release} was accepted by annotation")),
                Change::ProbationOver(_) => continue,
            };
            self.milestone(step, EventSeverity::Info, message);
        }
    }

    fn report(&mut self, change: &Change, mode: Mode) {
        let report = &mut self.machine.report;
        match change {
            Change::ProbationStarted(release) | Change::Returned(release) if mode == Mode::DryRun => {
                report.came(release, self.now);
            }
            Change::Promoted(release) => report.end(release, Outcome::Promoted, "it served without being bad"),
            Change::Accepted(release) => report.end(release, Outcome::Promoted, "it was accepted by annotation"),
            Change::ProbationOver(release) => {
                report.end(
                    release,
                    Outcome::ProbationOver,
                    "it was not bad, and served too little to be known as good",
                );
            }
            _ => {}
        }
    }
}

//! One look at an SLO that is polled.

use std::time::Duration;

use crate::Millis;
use crate::condition::{ConditionType, Holds};
use crate::history::History;
use crate::judge::{Memory, Phase, PhaseReason, gather, judge};
use crate::release::Ledger;
use crate::slo::Evaluation;
use crate::spec::SloSpec;

/// Of whatever nothing hurries.
const CALM: Duration = Duration::from_secs(10);

/// How the polling goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polling {
    /// As it should.
    Well,
    /// Nothing is read any more.
    Fails {
        /// A `CamelCase` word from a bounded set.
        reason: &'static str,
        /// Why, as a sentence, and what to do.
        message: String,
    },
    /// More good requests than requests; counted as if all were good.
    Contradicts,
}

/// Judges what was polled: without a target there are no releases, and nothing can be undone.
pub fn evaluate(spec: &SloSpec, history: &mut History, polling: &Polling, now: Millis) -> Evaluation {
    history.keep_for(spec.window(), now);
    let evidence = gather(spec, history, &Ledger::default(), None, &mut Memory::default(), now);
    let mut verdict = judge(spec, &evidence, now);
    let evaluated = verdict
        .conditions
        .iter_mut()
        .find(|each| each.kind == ConditionType::Evaluated);
    match (polling, evaluated) {
        (Polling::Fails { reason, message }, Some(evaluated)) => {
            evaluated.status = Holds::False;
            evaluated.reason = reason;
            evaluated.message.clone_from(message);
            // What was seen until now is not good for what comes.
            if verdict.phase == Phase::Healthy {
                (verdict.phase, verdict.reason) = (Phase::Inconclusive, PhaseReason::NotPolled);
                verdict.message.clone_from(message);
            }
        }
        (Polling::Contradicts, Some(evaluated)) => evaluated
            .message
            .push_str("; good is above total, and counted as total: let both queries select the same requests"),
        _ => {}
    }
    Evaluation {
        conditions: verdict.conditions.clone(),
        verdict,
        effects: Vec::new(),
        revisions: Vec::new(),
        report_interval: CALM,
    }
}

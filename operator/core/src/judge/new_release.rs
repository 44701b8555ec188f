//! The decision on the new release, clause by clause.

use std::time::Duration;

use super::evidence::{Coverage, Evidence, ReleaseEvidence};
use super::span::{Part, STABLE_SERVES, Span, seen, unseen_good};
use super::verdict::{Breach, Decision, Doubt};
use crate::release::Role;
use crate::spec::SloSpec;
use crate::time::written;
use crate::{Counts, Millis};

/// A part of time in which a release exceeds the threshold.
#[derive(Clone, Copy, Debug)]
pub struct Finding<'a> {
    /// Why it is not undone all the same.
    pub doubt: Option<Doubt>,
    spec: &'a SloSpec,
    new: &'a ReleaseEvidence,
    part: Part<'a>,
}

/// Whether the current release is to be undone.
#[must_use]
pub fn new_release(spec: &SloSpec, evidence: &Evidence) -> Decision {
    let current = evidence.current.as_ref();
    let Some(found) = current.and_then(|new| find(spec, evidence.coverage, new)) else {
        return Decision::Nothing;
    };
    match found.doubt {
        None => Decision::Undo(found.breach()),
        Some(doubt) => Decision::Inconclusive {
            doubt,
            message: format!("{}: {}", doubt.sentence(), found.breach().reason),
        },
    }
}

/// What speaks against a release: the first finding without doubt, else the first of all. `coverage` is that of all pods.
#[must_use]
pub fn find<'a>(spec: &'a SloSpec, coverage: Coverage, new: &'a ReleaseEvidence) -> Option<Finding<'a>> {
    let blind = coverage.is_blind() || new.coverage.is_blind();
    if new.role != Role::Probation || blind || !new.has_weight(spec.rule()) {
        return None;
    }
    let long = spec.rule().long;
    let parts = new.spans.iter().flat_map(|span| parts(span, long));
    let exceeding = parts.filter(|part| part.exceeds(spec.bets(), seen));
    let mut doubted = None;
    for part in exceeding {
        let doubt = doubt(spec, new, part);
        let found = Finding { doubt, spec, new, part };
        if doubt.is_none() {
            return Some(found);
        }
        doubted = doubted.or(Some(found));
    }
    doubted
}

/// Whether the current release has earned to be returned to. The caller makes sure that no verdict speaks against it.
#[must_use]
pub fn may_promote(spec: &SloSpec, current: &ReleaseEvidence, now: Millis) -> bool {
    let after = spec.rule().promote_after;
    let served = current
        .first_ready_at
        .is_some_and(|ready| now.since(ready) >= after.duration);
    let enough = current.judged.good >= after.good_events;
    let within = |counts: Counts| counts.bad_ratio().is_none_or(|ratio| ratio <= spec.bad_threshold());
    served
        && enough
        && current.trial.total() > 0
        && within(current.trial)
        // Not in the seconds that it takes to be found bad.
        && within(current.short)
        && current.trial.incomplete == 0
        && current.coverage.is_full()
        && current.coverage.ready > 0
}

/// Of a span beyond the long window also its later parts; and of each what no stable release saw.
fn parts(span: &Span, long: Duration) -> impl Iterator<Item = Part<'_>> {
    span.halves(long).chain(span.alone())
}

/// Clauses 4 to 6, of a part of time in which the release exceeds the threshold.
fn doubt(spec: &SloSpec, new: &ReleaseEvidence, part: Part<'_>) -> Option<Doubt> {
    let total = unseen_good(new.coverage);
    if !part.exceeds(spec.bets(), total) {
        return Some(if new.coverage.is_full() {
            Doubt::LostRequests
        } else {
            Doubt::MissingWorkers
        });
    }
    if !new.beside_stable && part.stable_counts().total() < STABLE_SERVES {
        return None;
    }
    if part.stable_fails(spec.bad_threshold()) {
        return Some(Doubt::StableFailsToo);
    }
    (!part.is_worse(total)).then_some(Doubt::NotWorseThanStable)
}

impl Finding<'_> {
    /// With its numbers.
    #[must_use]
    pub fn breach(&self) -> Breach {
        let Self { spec, new, part, .. } = *self;
        let (counts, threshold) = (part.new_counts(), spec.bad_threshold());
        let bound = part.bound(threshold, unseen_good(new.coverage));
        let relation = if bound > threshold { '>' } else { '≤' };
        let pods = new.totals.bad_pods();
        let stable = part.stable_counts().bad_ratio();
        let stable = stable.map_or_else(String::new, |ratio| format!("; stable {}", percent(ratio)));
        let reason = format!(
            "{} bad of {} in {} on {pods} pod{}{stable}; bound {} {relation} {}",
            counts.bad,
            counts.total(),
            written(part.length()),
            if pods == 1 { "" } else { "s" },
            percent(bound),
            percent(threshold),
        );
        Breach {
            from: new.release.clone(),
            reason,
            first_bad_at: new.totals.first_bad_at,
        }
    }
}

/// A ratio in percent, to three significant digits.
pub(crate) fn percent(ratio: f64) -> String {
    let value = ratio * 100.0;
    let decimals = match value {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        value if value >= 0.9995 => 2,
        value if value >= 0.099_95 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text} %")
}

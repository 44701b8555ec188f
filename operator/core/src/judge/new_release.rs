//! The decision on the new release, clause by clause.

use std::time::Duration;

use super::evidence::{Evidence, ReleaseEvidence};
use super::span::{Part, STABLE_SERVES, Span, seen, unseen_good};
use super::verdict::{Breach, Decision, Doubt};
use crate::release::Role;
use crate::spec::SloSpec;
use crate::stats::Bets;
use crate::time::written;
use crate::{Counts, Millis};

/// Clause 3.
const SPREAD_PODS: u32 = 2;
/// Clause 3.
const SPREAD_TIME: Duration = Duration::from_secs(2);

/// Whether the current release is to be undone.
#[must_use]
pub fn new_release(spec: &SloSpec, evidence: &Evidence) -> Decision {
    let Some(new) = evidence
        .current
        .as_ref()
        .filter(|current| current.role == Role::Probation)
    else {
        return Decision::Nothing;
    };
    let blind = evidence.coverage.is_blind() || new.coverage.is_blind();
    if blind || !has_weight(spec, new) {
        return Decision::Nothing;
    }
    let bets = Bets::against(spec.bad_threshold());
    let mut doubted = Decision::Nothing;
    let long = spec.rule().long;
    for part in new.spans.iter().flat_map(|span| parts(span, long)) {
        if !part.exceeds(&bets, seen) {
            continue;
        }
        let Some(doubt) = doubt(spec, new, &bets, part) else {
            return Decision::Undo(describe(spec, new, part));
        };
        if doubted == Decision::Nothing {
            let message = format!("{}: {}", doubt.sentence(), describe(spec, new, part).reason);
            doubted = Decision::Inconclusive { doubt, message };
        }
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

/// Clauses 2 and 3.
fn has_weight(spec: &SloSpec, new: &ReleaseEvidence) -> bool {
    let spread = new.totals.bad_pods() >= SPREAD_PODS || new.bad_span() >= SPREAD_TIME;
    new.judged.bad >= spec.rule().min_bad_events && spread
}

/// Clauses 4 to 6, of a part of time in which the release exceeds the threshold.
fn doubt(spec: &SloSpec, new: &ReleaseEvidence, bets: &Bets, part: Part<'_>) -> Option<Doubt> {
    let total = unseen_good(new.coverage);
    if !part.exceeds(bets, total) {
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

fn describe(spec: &SloSpec, new: &ReleaseEvidence, part: Part<'_>) -> Breach {
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

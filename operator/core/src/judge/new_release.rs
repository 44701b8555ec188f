//! The decision on the new release, clause by clause.

use std::time::Duration;

use super::evidence::{Coverage, Evidence, ReleaseEvidence};
use super::verdict::{Breach, Decision, Doubt};
use crate::counts::float;
use crate::release::Role;
use crate::spec::SloSpec;
use crate::stats::{LOOK_EVIDENCE, WORSE_EVIDENCE, evidence_above, evidence_worse, lower_bound};
use crate::time::written;
use crate::{Counts, Millis};

/// From this many requests in the compared span on, the stable release counts as serving.
const STABLE_SERVES: u64 = 10;
/// Clause 4.
const SPREAD_PODS: u32 = 2;
/// Clause 4.
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
    if evidence.coverage.is_blind() || new.coverage.is_blind() {
        return Decision::Nothing;
    }
    let threshold = spec.bad_threshold();
    if !fills_rule(spec, new, threshold) {
        return Decision::Nothing;
    }
    let breach = describe(spec, new, evidence.stable.as_ref(), threshold);
    if let Some(doubt) = doubt(new, evidence.stable.as_ref(), threshold) {
        return Decision::Inconclusive {
            doubt,
            message: format!("{}: {}", doubt.sentence(), breach.reason),
        };
    }
    Decision::Undo(breach)
}

/// Whether the current release has earned to be returned to. The caller makes sure that no verdict speaks against it.
#[must_use]
pub fn may_promote(spec: &SloSpec, current: &ReleaseEvidence, now: Millis) -> bool {
    let after = spec.rule().promote_after;
    let served = current
        .first_ready_at
        .is_some_and(|ready| now.since(ready) >= after.duration);
    let enough = current.totals.counts.good >= after.good_events;
    let ratio = current.trial.bad_ratio();
    served
        && enough
        && ratio.is_some_and(|ratio| ratio <= spec.bad_threshold())
        && current.trial.incomplete == 0
        && current.coverage.is_full()
        && current.coverage.ready > 0
}

/// Clauses 1 to 4.
fn fills_rule(spec: &SloSpec, new: &ReleaseEvidence, threshold: f64) -> bool {
    let totals = &new.totals;
    let spread = totals.bad_pods() >= SPREAD_PODS || totals.bad_span() >= SPREAD_TIME;
    totals.counts.bad >= spec.rule().min_bad_events && spread && exceeds(new, threshold, judged)
}

/// Clauses 1 and 2, with requests counted by `total`.
fn exceeds(new: &ReleaseEvidence, threshold: f64, total: impl Fn(Counts, Coverage) -> f64) -> bool {
    let over =
        |counts: Counts| evidence_above(float(counts.bad), total(counts, new.coverage), threshold) > LOOK_EVIDENCE;
    over(new.short) && (over(new.long) || over(new.totals.counts))
}

fn judged(counts: Counts, _coverage: Coverage) -> f64 {
    float(counts.total())
}

/// Clause 6: everything unseen was good.
fn unseen_good(counts: Counts, coverage: Coverage) -> f64 {
    float(counts.total().saturating_add(counts.incomplete)) * coverage.growth()
}

fn doubt(new: &ReleaseEvidence, stable: Option<&ReleaseEvidence>, threshold: f64) -> Option<Doubt> {
    if !exceeds(new, threshold, unseen_good) {
        return Some(if new.coverage.is_full() {
            Doubt::LostRequests
        } else {
            Doubt::MissingWorkers
        });
    }
    let stable = stable.filter(|stable| stable.compared.total() >= STABLE_SERVES)?;
    let pair = |counts: Counts, total: f64| (float(counts.bad), total);
    let of_new = pair(new.compared, unseen_good(new.compared, new.coverage));
    let of_stable = pair(stable.compared, float(stable.compared.total()));
    if evidence_above(of_stable.0, of_stable.1, threshold) > LOOK_EVIDENCE {
        return Some(Doubt::StableFailsToo);
    }
    (evidence_worse(of_new, of_stable) <= WORSE_EVIDENCE).then_some(Doubt::NotWorseThanStable)
}

fn describe(spec: &SloSpec, new: &ReleaseEvidence, stable: Option<&ReleaseEvidence>, threshold: f64) -> Breach {
    let counts = new.short;
    let bound = lower_bound(float(counts.bad), unseen_good(counts, new.coverage), LOOK_EVIDENCE);
    let pods = new.totals.bad_pods();
    let stable = stable.and_then(|stable| stable.compared.bad_ratio());
    let stable = stable.map_or_else(String::new, |ratio| format!("; stable {}", percent(ratio)));
    let reason = format!(
        "{} bad of {} in {} on {pods} pod{}{stable}; bound {} > {}",
        counts.bad,
        counts.total(),
        written(spec.rule().short),
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

//! The decision on the new release, clause by clause.

use std::sync::Arc;
use std::time::Duration;

use super::evidence::{Case, Coverage, Evidence, ReleaseEvidence};
use super::span::{Part, STABLE_SERVES, Span, seen, unseen_good};
use super::verdict::{Breach, Decision, Doubt};
use crate::release::Role;
use crate::spec::SloSpec;
use crate::time::written;
use crate::{Counts, Millis};

/// A part of time in which a release may exceed the threshold.
#[derive(Clone, Copy, Debug)]
pub struct Finding<'a> {
    spec: &'a SloSpec,
    new: &'a Case,
    part: Part<'a>,
}

/// Whether the current release is to be undone.
#[must_use]
pub fn new_release(spec: &SloSpec, evidence: &Evidence) -> Decision {
    let Some(ReleaseEvidence { case, .. }) = &evidence.current else {
        return Decision::Nothing;
    };
    if let Some(sure) = sure(spec, evidence.coverage, case) {
        return Decision::Undo(sure.breach());
    }
    let doubted = findings(spec, evidence.coverage, case).find(Finding::exceeds);
    let doubted = doubted.and_then(|finding| Some((finding, finding.doubts().next()?)));
    doubted.map_or(Decision::Nothing, |(finding, doubt)| Decision::Inconclusive {
        doubt,
        message: format!("{}: {}", doubt.sentence(), finding.breach().reason),
    })
}

/// Clauses 2 and 3: where a release may be found bad, if it may be. It is to be undone if there is no doubt about one of these.
/// `coverage` is that of all pods.
pub fn findings<'a>(spec: &'a SloSpec, coverage: Coverage, new: &'a Case) -> impl Iterator<Item = Finding<'a>> {
    let spans = judged(spec, coverage, new).iter();
    spans.flat_map(move |span| findings_in(spec, new, span))
}

/// The first finding that there is no doubt about: the release is to be undone. Spans that are known to hold none are left out.
#[must_use]
pub fn sure<'a>(spec: &'a SloSpec, coverage: Coverage, new: &'a Case) -> Option<Finding<'a>> {
    let spans = judged(spec, coverage, new).iter().filter(|span| !span.excused);
    let mut findings = spans.flat_map(|span| findings_in(spec, new, span));
    findings.find(Finding::is_sure)
}

/// Whether no finding of a span is sure.
pub(super) fn is_excused(spec: &SloSpec, new: &Case, span: &Span) -> bool {
    !findings_in(spec, new, span).any(|finding| finding.is_sure())
}

fn judged<'a>(spec: &SloSpec, coverage: Coverage, new: &'a Case) -> &'a [Arc<Span>] {
    let blind = coverage.is_blind() || new.coverage.is_blind();
    let judged = new.role == Role::Probation && !blind && new.has_weight(spec.rule());
    if judged { &new.spans } else { &[] }
}

fn findings_in<'a>(spec: &'a SloSpec, new: &'a Case, span: &'a Span) -> impl Iterator<Item = Finding<'a>> {
    parts(span, spec.rule().long).map(move |part| Finding { spec, new, part })
}

/// Whether the current release has earned to be returned to. The caller makes sure that no verdict speaks against it.
#[must_use]
pub fn may_promote(spec: &SloSpec, current: &ReleaseEvidence, now: Millis) -> bool {
    let after = spec.rule().promote_after;
    let served = current
        .first_ready_at
        .is_some_and(|ready| now.since(ready) >= after.duration);
    let enough = current.case.judged.good >= after.good_events;
    let within = |counts: Counts| counts.bad_ratio().is_none_or(|ratio| ratio <= spec.bad_threshold());
    served
        && enough
        && current.trial.total() > 0
        && within(current.trial)
        // Not in the seconds that it takes to be found bad.
        && within(current.short)
        && current.trial.incomplete == 0
        && current.case.coverage.is_full()
        && current.case.coverage.ready > 0
}

/// Of a span beyond the long window also its later parts; and of each what no stable release saw.
fn parts(span: &Span, long: Duration) -> impl Iterator<Item = Part<'_>> {
    span.halves(long).chain(span.alone())
}

impl Finding<'_> {
    /// Clause 1, of what was seen.
    fn exceeds(&self) -> bool {
        self.part.exceeds(self.spec.bets(), seen)
    }

    /// Clauses 4 to 6: why the release is not undone for this. Clause 4 holds only where clause 1 does.
    pub fn doubts(&self) -> impl Iterator<Item = Doubt> {
        let clauses = [Self::unseen, Self::stable_fails, Self::not_worse];
        clauses.into_iter().filter_map(|clause| clause(self))
    }

    /// Whether there are none, the cheapest asked first.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        let clauses = [Self::stable_fails, Self::unseen, Self::not_worse];
        clauses.into_iter().all(|clause| clause(self).is_none())
    }

    fn unseen(&self) -> Option<Doubt> {
        let holds = self.part.exceeds(self.spec.bets(), unseen_good(self.new.coverage));
        let full = self.new.coverage.is_full();
        (!holds).then_some(if full {
            Doubt::LostRequests
        } else {
            Doubt::MissingWorkers
        })
    }

    fn stable_fails(&self) -> Option<Doubt> {
        let fails = self.is_compared() && self.part.stable_fails(self.spec.bad_threshold());
        fails.then_some(Doubt::StableFailsToo)
    }

    fn not_worse(&self) -> Option<Doubt> {
        let excused = self.is_compared() && !self.part.is_worse(unseen_good(self.new.coverage));
        excused.then_some(Doubt::NotWorseThanStable)
    }

    fn is_compared(&self) -> bool {
        self.new.beside_stable || self.part.stable_counts().total() >= STABLE_SERVES
    }

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

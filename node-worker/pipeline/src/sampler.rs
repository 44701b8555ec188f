//! Which requests become spans.
//!
//! A policy is an ordered list of rules; the first that matches a request decides with which probability it is kept. The decision
//! is OpenTelemetry's consistent one (OTEP 235): kept if the trace's 56 bits of randomness are not below `T = (1 − p) × 2^56`.
//! So every span of a trace is decided alike for one probability, and a higher one keeps a superset.
//!
//! What beats what, strongest first:
//! 1. the probability 0, of a rule or of the policy: dropped;
//! 2. an incoming sampled flag, if the policy honours it: kept or dropped as the caller decided;
//! 3. the probability;
//! 4. the limit, which may only drop what the others keep.

mod limiter;
mod policy;
mod probability;

use crate::request::Request;
use shoalwatch_protocols::trace_context::Threshold;

pub use limiter::{Limit, Limiter};
pub(crate) use policy::Rule;
pub use policy::{BadPolicy, MAX_RULES, Parent, Policy, PolicySpec, RuleSpec};
pub use probability::{BadProbability, Probability};

/// Whether a request becomes a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It does.
    Keep {
        /// To be written as `ot=th:…`. Absent when the caller decided and did not say with which probability.
        threshold: Option<Threshold>,
    },
    /// It does not.
    Drop {
        /// Why not.
        reason: DropReason,
    },
}

impl Decision {
    /// Whether the request becomes a span.
    #[must_use]
    pub const fn is_keep(self) -> bool {
        matches!(self, Self::Keep { .. })
    }

    /// A bounded label for metrics: `kept`, or the reason.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep { .. } => "kept",
            Self::Drop { reason } => reason.as_str(),
        }
    }
}

/// Why a request did not become a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The trace's randomness is below the threshold.
    Probability,
    /// The probability is 0.
    Never,
    /// The caller did not sample its span.
    Parent,
    /// The policy's limit per second.
    RateLimited,
    /// The policy only says what it would do.
    DryRun,
}

impl DropReason {
    /// A bounded label for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Probability => "probability",
            Self::Never => "never",
            Self::Parent => "parent",
            Self::RateLimited => "rate_limited",
            Self::DryRun => "dry_run",
        }
    }
}

/// A decision and the rule it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// What the policy says.
    pub decision: Decision,
    /// Index of the rule that matched; absent: none did.
    pub rule: Option<usize>,
}

/// What comes of a request under a policy that is in force on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What is to be done. Under a dry run always [`DropReason::DryRun`]: the policy exports nothing, and the caller goes on with
    /// the next policy that covers the pod, if there is one.
    pub in_force: Decision,
    /// What the policy says, the limit included. Differs from `in_force` under a dry run only.
    pub would: Decision,
    /// Index of the rule that matched; absent: none did.
    pub rule: Option<usize>,
}

/// A policy in force, with the state of its limit.
#[derive(Debug)]
pub struct Sampler {
    policy: Policy,
    limiter: Option<Limiter>,
}

impl Sampler {
    /// The limit's burst is available at once.
    #[must_use]
    pub fn new(policy: Policy, now_ns: u64) -> Self {
        let limiter = policy.limit().map(|limit| Limiter::new(limit, now_ns));
        Self { policy, limiter }
    }

    /// Puts another version of the policy in force. What the limit allowed already stays used: a policy that is edited every second
    /// does not let through a burst every second.
    pub fn replace(&mut self, policy: Policy, now_ns: u64) {
        self.limiter = match (policy.limit(), self.limiter.take()) {
            (Some(limit), Some(mut limiter)) => {
                limiter.update(limit, now_ns);
                Some(limiter)
            }
            (limit, _) => limit.map(|limit| Limiter::new(limit, now_ns)),
        };
        self.policy = policy;
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether the limit lets through one more request that the policy keeps; to be asked where somebody else decided by the policy.
    pub fn allows(&mut self, now_ns: u64) -> bool {
        self.limiter.as_mut().is_none_or(|limiter| limiter.try_take(now_ns))
    }

    /// Decides about a request. `now_ns` is of any clock that the other calls use too.
    pub fn decide(&mut self, request: &Request<'_>, now_ns: u64) -> Verdict {
        let trace = &request.trace;
        let Judgement { decision, rule } = self.policy.decide(request, trace.randomness(), trace.parent_sampled);
        let allowed = !decision.is_keep() || self.allows(now_ns);
        let would = if allowed {
            decision
        } else {
            Decision::Drop {
                reason: DropReason::RateLimited,
            }
        };
        let in_force = if self.policy.is_dry_run() {
            Decision::Drop {
                reason: DropReason::DryRun,
            }
        } else {
            would
        };
        Verdict { in_force, would, rule }
    }
}

#[cfg(test)]
mod tests;

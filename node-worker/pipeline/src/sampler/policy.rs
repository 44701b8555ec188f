use super::{Decision, DropReason, Judgement, Limit, Probability};
use crate::matching::{BadStatus, MethodSet, RoutePattern, StatusSet};
use crate::request::{Method, Request, Status};
use shoalwatch_protocols::trace_context::{Randomness, Threshold};

/// Rules that a policy may have.
pub const MAX_RULES: usize = 32;
const _: () = assert!(MAX_RULES <= u32::BITS as usize);

/// What an incoming sampled flag does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Parent {
    /// It beats the rules, whether set or not: only the limit and the probability 0 beat it.
    #[default]
    Honour,
    /// The policy alone decides.
    Ignore,
}

/// A policy as it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicySpec {
    /// Of what no rule matches.
    pub probability: Probability,
    /// First match wins.
    pub rules: Vec<RuleSpec>,
    /// What an incoming sampled flag does.
    pub parent: Parent,
    /// Absent: none.
    pub limit: Option<Limit>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// A rule as it is written. What is absent or empty matches everything.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSpec {
    /// For messages.
    pub name: String,
    /// The request's route template.
    pub route: Option<RoutePattern>,
    /// Names of methods; one of them is the request's.
    pub methods: Vec<String>,
    /// Status codes; one of them is the answer's.
    pub codes: Vec<u32>,
    /// Status classes, 5 for 5xx; one of them is the answer's.
    pub classes: Vec<u32>,
    /// Requests without an answer. With codes or classes: either. Without all three the rule is for every status, these included.
    pub aborted: bool,
    /// In nanoseconds.
    pub duration_at_least_ns: u64,
    /// Of what the rule matches.
    pub probability: Probability,
}

/// Why a policy cannot be put in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPolicy {
    /// More than [`MAX_RULES`].
    #[error("rules: {0} rules, at most {MAX_RULES} are possible: join some")]
    TooManyRules(usize),
    /// A method that OpenTelemetry does not know: telemetry has one value for all of them, a rule cannot tell them apart.
    #[error(
        "rules[{rule}].match.method: {method:?} is not one of CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY, TRACE, \
         or _OTHER for all others"
    )]
    Method {
        /// The rule's name.
        rule: String,
        /// As it was written.
        method: String,
    },
    /// A status that HTTP does not have.
    #[error("rules[{rule}].match.status: write a code from 100 to 599, a class from 1xx to 5xx, or Aborted")]
    Status {
        /// The rule's name.
        rule: String,
        /// Which one, and what is wrong with it.
        #[source]
        source: BadStatus,
    },
}

impl BadPolicy {
    /// A bounded label for metrics.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::TooManyRules(_) => "too_many_rules",
            Self::Method { .. } => "method",
            Self::Status { .. } => "status",
        }
    }
}

/// The first code that no rule can name; those above have the same rules.
const UNNAMED: u16 = 600;

/// A policy as it is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    rules: Box<[Rule]>,
    statuses: StatusKinds,
    /// Absent: never.
    threshold: Option<Threshold>,
    parent: Parent,
    limit: Option<Limit>,
    dry_run: bool,
}

/// Statuses that no rule tells apart are of one kind: found once, for folding asks for every route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatusKinds {
    /// The rules that are for each kind, one bit each; in the order of their first status.
    pub(crate) rules: Vec<u32>,
    /// Each recorded status up to [`UNNAMED`], and its kind.
    pub(crate) kinds: Vec<(u16, usize)>,
}

impl StatusKinds {
    fn new(rules: &[Rule]) -> Self {
        let mut sets = Vec::new();
        let recorded = (0..=UNNAMED).filter_map(|code| Some((code, Status::recorded(code)?)));
        let kinds = recorded.map(|(code, status)| {
            let rules = rules.iter().enumerate();
            let set = rules.fold(0, |set, (index, rule)| {
                set | u32::from(rule.is_for_status(status)) << index
            });
            let known = sets.iter().position(|known| *known == set);
            let kind = known.unwrap_or(sets.len());
            if known.is_none() {
                sets.push(set);
            }
            (code, kind)
        });
        let kinds = kinds.collect();
        Self { rules: sets, kinds }
    }
}

/// Tests stand in the order of their price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    duration_at_least_ns: u64,
    threshold: Option<Threshold>,
    methods: Option<MethodSet>,
    statuses: Option<StatusSet>,
    route: Option<RoutePattern>,
}

impl Policy {
    /// Checks a policy and makes it fast.
    pub fn compile(spec: &PolicySpec) -> Result<Self, BadPolicy> {
        if spec.rules.len() > MAX_RULES {
            return Err(BadPolicy::TooManyRules(spec.rules.len()));
        }
        let rules: Box<[Rule]> = spec.rules.iter().map(Rule::compile).collect::<Result<_, _>>()?;
        Ok(Self {
            statuses: StatusKinds::new(&rules),
            rules,
            threshold: spec.probability.threshold(),
            parent: spec.parent,
            limit: spec.limit,
            dry_run: spec.dry_run,
        })
    }

    /// What the policy says about a request, without its limit.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>, randomness: Randomness, parent_sampled: Option<bool>) -> Judgement {
        let rule = self.rules.iter().position(|rule| rule.matches(request));
        let threshold = rule.map_or(self.threshold, |index| self.rules[index].threshold);
        let parent = parent_sampled.filter(|_| self.parent == Parent::Honour);
        let decision = match (threshold, parent) {
            (None, _) => Decision::Drop {
                reason: DropReason::Never,
            },
            (_, Some(false)) => Decision::Drop {
                reason: DropReason::Parent,
            },
            // A threshold that contradicts the flag would give a wrong count, so it is not passed on.
            (_, Some(true)) => Decision::Keep {
                threshold: request.trace.ot.th.filter(|th| th.keeps(randomness)),
            },
            (Some(threshold), None) if threshold.keeps(randomness) => Decision::Keep {
                threshold: Some(threshold),
            },
            (Some(_), None) => Decision::Drop {
                reason: DropReason::Probability,
            },
        };
        Judgement { decision, rule }
    }

    /// In the order in which they are asked.
    pub(crate) const fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What the rules tell apart.
    pub(crate) const fn statuses(&self) -> &StatusKinds {
        &self.statuses
    }

    /// Of what no rule matches. Absent: never.
    pub(crate) const fn threshold(&self) -> Option<Threshold> {
        self.threshold
    }

    /// What an incoming sampled flag does.
    pub(crate) const fn parent(&self) -> Parent {
        self.parent
    }

    /// Absent: none.
    #[must_use]
    pub const fn limit(&self) -> Option<Limit> {
        self.limit
    }

    /// Whether the policy only says what would be done.
    #[must_use]
    pub const fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

impl Rule {
    fn compile(spec: &RuleSpec) -> Result<Self, BadPolicy> {
        Ok(Self {
            duration_at_least_ns: spec.duration_at_least_ns,
            threshold: spec.probability.threshold(),
            methods: methods(spec)?,
            statuses: statuses(spec).map_err(|source| BadPolicy::Status {
                rule: spec.name.clone(),
                source,
            })?,
            route: spec.route.clone(),
        })
    }

    fn matches(&self, request: &Request<'_>) -> bool {
        request.duration_ns() >= self.duration_at_least_ns
            && self.is_for_method(request.method)
            && self.is_for_status(request.status)
            && self.is_for_route(request.template)
    }

    pub(crate) fn is_for_method(&self, method: Method) -> bool {
        self.methods.is_none_or(|methods| methods.contains(method))
    }

    fn is_for_status(&self, status: Status) -> bool {
        self.statuses.as_ref().is_none_or(|statuses| statuses.contains(status))
    }

    pub(crate) fn is_for_route(&self, template: &str) -> bool {
        self.route.as_ref().is_none_or(|route| route.matches(template))
    }

    pub(crate) const fn asks_for_route(&self) -> bool {
        self.route.is_some()
    }

    /// In nanoseconds.
    pub(crate) const fn duration_at_least_ns(&self) -> u64 {
        self.duration_at_least_ns
    }

    /// Of what the rule matches. Absent: never.
    pub(crate) const fn threshold(&self) -> Option<Threshold> {
        self.threshold
    }
}

fn methods(spec: &RuleSpec) -> Result<Option<MethodSet>, BadPolicy> {
    let mut set = MethodSet::default();
    for name in &spec.methods {
        let method = Method::ALL.into_iter().find(|method| method.as_str() == name);
        set.add(method.ok_or_else(|| BadPolicy::Method {
            rule: spec.name.clone(),
            method: name.clone(),
        })?);
    }
    Ok((!spec.methods.is_empty()).then_some(set))
}

fn statuses(spec: &RuleSpec) -> Result<Option<StatusSet>, BadStatus> {
    let mut set = StatusSet::EMPTY;
    if spec.aborted {
        set.add_aborted();
    }
    for code in &spec.codes {
        set.add_code(*code)?;
    }
    for class in &spec.classes {
        set.add_class(*class)?;
    }
    Ok((set != StatusSet::EMPTY).then_some(set))
}

//! From the wire to validated types and back.
//!
//! [`NodeConfig::try_from`] is the only way from the wire; [`NodeConfig::validate`] is the same check for a file. The
//! error names the field and says what to write, because it travels back in a NACK to an object's status.

use crate::{
    config::{
        HostService, Limit, NodeConfig, Operator, Requirement, RouteMatch, Rule, SamplingPolicy, Selector, Sli,
        StatusMatcher, Version,
    },
    limits, wire,
};

/// What is wrong with a configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ConfigError {
    /// Such as `policies[2].rules[0].probability`.
    pub path: String,
    /// What is wrong and what to write.
    pub problem: String,
}

impl ConfigError {
    fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            problem: problem.into(),
        }
    }

    /// A bounded name for metrics and conditions.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        "InvalidConfig"
    }
}

type Checked<T = ()> = Result<T, ConfigError>;

impl NodeConfig {
    /// Checks every bound that the types do not hold by themselves.
    pub fn validate(&self) -> Checked {
        at_most("policies", self.policies.len(), limits::POLICIES)?;
        at_most("slis", self.slis.len(), limits::SLIS)?;
        at_most("hostServices", self.host_services.len(), limits::HOST_SERVICES)?;
        unique("policies", self.policies.iter().map(|policy| policy.id.as_str()))?;
        unique("slis", self.slis.iter().map(|sli| sli.id.as_str()))?;
        each("policies", &self.policies, check_policy)?;
        each("slis", &self.slis, check_sli)?;
        each("hostServices", &self.host_services, check_host_service)
    }
}

fn each<T>(name: &str, items: &[T], check: impl Fn(&str, &T) -> Checked) -> Checked {
    items
        .iter()
        .enumerate()
        .try_for_each(|(index, item)| check(&format!("{name}[{index}]"), item))
}

fn at_most(path: &str, length: usize, most: usize) -> Checked {
    if length <= most {
        Ok(())
    } else {
        Err(ConfigError::new(path, format!("has {length} entries: at most {most}")))
    }
}

fn unique<'a>(path: &str, mut names: impl Iterator<Item = &'a str>) -> Checked {
    let mut seen = std::collections::BTreeSet::new();
    match names.find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(ConfigError::new(
            path,
            format!("{name:?} is there twice: names are unique"),
        )),
    }
}

fn check_policy(path: &str, policy: &SamplingPolicy) -> Checked {
    named(&format!("{path}.id"), &policy.id)?;
    probability(path, policy.probability)?;
    at_most(&format!("{path}.rules"), policy.rules.len(), limits::RULES)?;
    unique(
        &format!("{path}.rules"),
        policy.rules.iter().map(|rule| rule.name.as_str()),
    )?;
    each(&format!("{path}.rules"), &policy.rules, |path, rule| {
        probability(path, rule.probability)
    })?;
    match policy.limit {
        Some(Limit { burst: 0, .. }) => Err(ConfigError::new(format!("{path}.limit.burst"), "is 0: write 1 or more")),
        _ => Ok(()),
    }
}

fn probability(path: &str, value: f64) -> Checked {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::new(
        format!("{path}.probability"),
        format!("{value} is outside 0 to 1"),
    ))
}

fn named(path: &str, name: &str) -> Checked {
    if name.is_empty() {
        Err(ConfigError::new(path, "is empty: give it a name"))
    } else {
        Ok(())
    }
}

fn check_sli(path: &str, sli: &Sli) -> Checked {
    named(&format!("{path}.id"), &sli.id)?;
    named(&format!("{path}.workload"), &sli.workload)?;
    if sli.bad.is_empty() && sli.slower_than_ns == 0 {
        return Err(ConfigError::new(
            format!("{path}.bad"),
            "is empty: say which requests are bad, such as [\"5xx\"], or set slowerThanNs",
        ));
    }
    let interval = limits::REPORT_INTERVAL_MS;
    if interval.contains(&sli.report_interval_ms) {
        return Ok(());
    }
    let problem = format!(
        "{} is outside {} to {}",
        sli.report_interval_ms,
        interval.start(),
        interval.end()
    );
    Err(ConfigError::new(format!("{path}.reportIntervalMs"), problem))
}

fn check_host_service(path: &str, service: &HostService) -> Checked {
    named(&format!("{path}.name"), &service.name)?;
    if service.executable.is_none() && service.argument_contains.is_none() {
        return Err(ConfigError::new(
            path,
            "selects every process: set executable or argumentContains",
        ));
    }
    Ok(())
}

impl TryFrom<wire::NodeConfig> for NodeConfig {
    type Error = ConfigError;

    fn try_from(config: wire::NodeConfig) -> Checked<Self> {
        let config = Self {
            policies: convert_all("policies", config.policies, policy_from_wire)?,
            slis: convert_all("slis", config.slis, sli_from_wire)?,
            host_services: config.host_services.into_iter().map(host_service_from_wire).collect(),
        };
        config.validate()?;
        Ok(config)
    }
}

fn convert_all<W, T>(name: &str, items: Vec<W>, convert: impl Fn(&str, W) -> Checked<T>) -> Checked<Vec<T>> {
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| convert(&format!("{name}[{index}]"), item))
        .collect()
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn policy_from_wire(path: &str, policy: wire::SamplingPolicy) -> Checked<SamplingPolicy> {
    Ok(SamplingPolicy {
        id: policy.id,
        namespace: some(policy.namespace),
        selector: policy.selector.map_or_else(
            || Ok(Selector::default()),
            |selector| selector_from_wire(path, selector),
        )?,
        probability: policy.probability,
        rules: convert_all(&format!("{path}.rules"), policy.rules, rule_from_wire)?,
        limit: policy.limit.map(|limit| Limit {
            traces_per_second: limit.traces_per_second,
            burst: limit.burst,
        }),
        honour_parent: policy.honour_parent,
        dry_run: policy.dry_run,
    })
}

fn rule_from_wire(path: &str, rule: wire::Rule) -> Checked<Rule> {
    Ok(Rule {
        name: rule.name,
        route: rule.route.map(|route| route_from_wire(path, route)).transpose()?,
        methods: rule.methods,
        status: convert_all(&format!("{path}.status"), rule.status, status_from_wire)?,
        duration_at_least_ns: rule.duration_at_least_ns,
        probability: rule.probability,
    })
}

fn route_from_wire(path: &str, route: wire::RouteMatch) -> Checked<RouteMatch> {
    match route.r#match {
        Some(wire::route_match::Match::Exact(route)) => Ok(RouteMatch::Exact(route)),
        Some(wire::route_match::Match::Prefix(prefix)) => Ok(RouteMatch::Prefix(prefix)),
        None => Err(ConfigError::new(
            format!("{path}.route"),
            "is neither exact nor prefix: set one",
        )),
    }
}

fn status_from_wire(path: &str, status: wire::StatusMatcher) -> Checked<StatusMatcher> {
    use wire::status_matcher::Match;
    let matcher = match status.r#match {
        Some(Match::Code(code @ 100..=599)) => u16::try_from(code).ok().map(StatusMatcher::Code),
        Some(Match::Class(class @ 1..=5)) => u8::try_from(class).ok().map(StatusMatcher::Class),
        Some(Match::Aborted(_)) => Some(StatusMatcher::Aborted),
        // What a newer operator may have put there arrives as absent.
        _ => None,
    };
    let problem = "is no status that this worker knows: a code of 100 to 599, a class of 1 to 5, or aborted";
    matcher.ok_or_else(|| ConfigError::new(path, problem))
}

fn selector_from_wire(path: &str, selector: wire::Selector) -> Checked<Selector> {
    let path = format!("{path}.selector.matchExpressions");
    Ok(Selector {
        match_labels: selector.match_labels,
        match_expressions: convert_all(&path, selector.match_expressions, requirement_from_wire)?,
    })
}

fn requirement_from_wire(path: &str, requirement: wire::Requirement) -> Checked<Requirement> {
    use wire::requirement::Operator as Wire;
    let operator = match requirement.operator() {
        Wire::In => Operator::In,
        Wire::NotIn => Operator::NotIn,
        Wire::Exists => Operator::Exists,
        Wire::DoesNotExist => Operator::DoesNotExist,
        Wire::Unspecified => {
            let problem = "is unknown to this worker: it may be older than the operator";
            return Err(ConfigError::new(format!("{path}.operator"), problem));
        }
    };
    Ok(Requirement {
        key: requirement.key,
        operator,
        values: requirement.values,
    })
}

fn sli_from_wire(path: &str, sli: wire::Sli) -> Checked<Sli> {
    Ok(Sli {
        id: sli.id,
        namespace: sli.namespace,
        workload: sli.workload,
        container: some(sli.container),
        bad: convert_all(&format!("{path}.bad"), sli.bad, status_from_wire)?,
        routes: sli.routes,
        report_interval_ms: sli.report_interval_ms,
        slower_than_ns: sli.slower_than_ns,
    })
}

fn host_service_from_wire(service: wire::HostService) -> HostService {
    HostService {
        name: service.name,
        namespace: service.namespace,
        executable: some(service.executable),
        argument_contains: some(service.argument_contains),
        labels: service.labels,
    }
}

impl From<wire::Version> for Version {
    fn from(version: wire::Version) -> Self {
        Self {
            term: version.term,
            hash: version.hash,
        }
    }
}

impl From<Version> for wire::Version {
    fn from(version: Version) -> Self {
        Self {
            term: version.term,
            hash: version.hash,
        }
    }
}

impl From<NodeConfig> for wire::NodeConfig {
    fn from(config: NodeConfig) -> Self {
        Self {
            policies: config.policies.into_iter().map(Into::into).collect(),
            slis: config.slis.into_iter().map(Into::into).collect(),
            host_services: config.host_services.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<SamplingPolicy> for wire::SamplingPolicy {
    fn from(policy: SamplingPolicy) -> Self {
        Self {
            id: policy.id,
            namespace: policy.namespace.unwrap_or_default(),
            selector: Some(policy.selector)
                .filter(|selector| !selector.is_empty())
                .map(Into::into),
            probability: policy.probability,
            rules: policy.rules.into_iter().map(Into::into).collect(),
            limit: policy.limit.map(|limit| wire::Limit {
                traces_per_second: limit.traces_per_second,
                burst: limit.burst,
            }),
            honour_parent: policy.honour_parent,
            dry_run: policy.dry_run,
        }
    }
}

impl From<Rule> for wire::Rule {
    fn from(rule: Rule) -> Self {
        use wire::route_match::Match;
        let route = rule.route.map(|route| match route {
            RouteMatch::Exact(route) => Match::Exact(route),
            RouteMatch::Prefix(prefix) => Match::Prefix(prefix),
        });
        Self {
            name: rule.name,
            route: route.map(|route| wire::RouteMatch { r#match: Some(route) }),
            methods: rule.methods,
            status: rule.status.into_iter().map(Into::into).collect(),
            duration_at_least_ns: rule.duration_at_least_ns,
            probability: rule.probability,
        }
    }
}

impl From<StatusMatcher> for wire::StatusMatcher {
    fn from(matcher: StatusMatcher) -> Self {
        use wire::status_matcher::Match;
        let matcher = match matcher {
            StatusMatcher::Code(code) => Match::Code(code.into()),
            StatusMatcher::Class(class) => Match::Class(class.into()),
            StatusMatcher::Aborted => Match::Aborted(wire::status_matcher::Aborted {}),
        };
        Self { r#match: Some(matcher) }
    }
}

impl From<Selector> for wire::Selector {
    fn from(selector: Selector) -> Self {
        Self {
            match_labels: selector.match_labels,
            match_expressions: selector.match_expressions.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Requirement> for wire::Requirement {
    fn from(requirement: Requirement) -> Self {
        use wire::requirement::Operator as Wire;
        let operator = match requirement.operator {
            Operator::In => Wire::In,
            Operator::NotIn => Wire::NotIn,
            Operator::Exists => Wire::Exists,
            Operator::DoesNotExist => Wire::DoesNotExist,
        };
        Self {
            key: requirement.key,
            operator: operator.into(),
            values: requirement.values,
        }
    }
}

impl From<Sli> for wire::Sli {
    fn from(sli: Sli) -> Self {
        Self {
            id: sli.id,
            namespace: sli.namespace,
            workload: sli.workload,
            container: sli.container.unwrap_or_default(),
            bad: sli.bad.into_iter().map(Into::into).collect(),
            routes: sli.routes,
            report_interval_ms: sli.report_interval_ms,
            slower_than_ns: sli.slower_than_ns,
        }
    }
}

impl From<HostService> for wire::HostService {
    fn from(service: HostService) -> Self {
        Self {
            name: service.name,
            namespace: service.namespace,
            executable: service.executable.unwrap_or_default(),
            argument_contains: service.argument_contains.unwrap_or_default(),
            labels: service.labels,
        }
    }
}

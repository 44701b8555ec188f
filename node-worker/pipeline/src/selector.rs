//! Which policy a pod is under: Kubernetes label selectors, first match wins.

use std::collections::BTreeMap;

/// A pod's labels.
pub type Labels = BTreeMap<String, String>;

/// A Kubernetes label selector. All parts must hold; an empty one selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Labels that must be there with these values.
    pub match_labels: Labels,
    /// Further conditions.
    pub match_expressions: Vec<Requirement>,
}

impl Selector {
    /// Whether a pod with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.matches(labels))
    }
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold for it.
    pub operator: Operator,
}

/// What a [`Requirement`] asks of its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// The label is there and has one of the values.
    In(Vec<String>),
    /// The label is not there, or has none of the values.
    NotIn(Vec<String>),
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

impl Requirement {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// Something that is meant for the pods of a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scoped<P> {
    /// Absent: every namespace.
    pub namespace: Option<String>,
    /// The pods within the namespace.
    pub selector: Selector,
    /// What they get.
    pub policy: P,
}

impl<P> Scoped<P> {
    /// Whether a pod is meant.
    #[must_use]
    pub fn covers(&self, namespace: &str, labels: &Labels) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace) && self.selector.matches(labels)
    }
}

/// The first policy that covers a pod: who orders them (the operator) says who wins.
pub fn choose<'a, P>(
    policies: impl IntoIterator<Item = &'a Scoped<P>>,
    namespace: &str,
    labels: &Labels,
) -> Option<&'a P> {
    policies
        .into_iter()
        .find(|scoped| scoped.covers(namespace, labels))
        .map(|scoped| &scoped.policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn when(operator: Operator) -> Selector {
        let requirement = Requirement {
            key: "tier".to_owned(),
            operator,
        };
        Selector {
            match_expressions: vec![requirement],
            ..Selector::default()
        }
    }

    fn front_or_back() -> Vec<String> {
        vec!["front".to_owned(), "back".to_owned()]
    }

    #[test]
    fn each_operator_is_kubernetes_own() {
        let (front, other, none) = (
            labels(&[("tier", "front")]),
            labels(&[("tier", "x")]),
            labels(&[("app", "a")]),
        );
        for (operator, expected) in [
            (Operator::In(front_or_back()), [true, false, false]),
            (Operator::NotIn(front_or_back()), [false, true, true]),
            (Operator::Exists, [true, true, false]),
            (Operator::DoesNotExist, [false, false, true]),
        ] {
            let selector = when(operator.clone());
            let seen = [&front, &other, &none].map(|labels| selector.matches(labels));
            assert_eq!(seen, expected, "{operator:?}");
        }
    }

    #[test]
    fn labels_and_expressions_must_all_hold_and_an_empty_selector_selects_all() {
        let both = Selector {
            match_labels: labels(&[("app", "shop")]),
            ..when(Operator::Exists)
        };
        assert!(both.matches(&labels(&[("app", "shop"), ("tier", "front")])));
        assert!(!both.matches(&labels(&[("app", "shop")])));
        assert!(!both.matches(&labels(&[("app", "pay"), ("tier", "front")])));
        assert!(Selector::default().matches(&labels(&[])));
    }

    #[test]
    fn the_first_policy_that_covers_the_pod_wins() {
        let scoped = |namespace: Option<&str>, app: &str, policy| Scoped {
            namespace: namespace.map(str::to_owned),
            selector: Selector {
                match_labels: labels(&[("app", app)]),
                ..Selector::default()
            },
            policy,
        };
        let everywhere = Scoped {
            namespace: None,
            selector: Selector::default(),
            policy: 4,
        };
        let policies = [
            scoped(Some("shop"), "cart", 1),
            scoped(None, "cart", 2),
            scoped(Some("shop"), "cart", 3),
            everywhere,
        ];
        assert_eq!(choose(&policies, "shop", &labels(&[("app", "cart")])), Some(&1));
        assert_eq!(choose(&policies, "bank", &labels(&[("app", "cart")])), Some(&2));
        assert_eq!(choose(&policies, "bank", &labels(&[("app", "x")])), Some(&4));
        assert_eq!(choose(&policies[..3], "bank", &labels(&[("app", "x")])), None);
    }
}

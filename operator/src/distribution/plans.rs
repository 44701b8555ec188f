//! What each node must do: one configuration for each node, and one for those that nobody said anything about.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use bytes::Bytes;
#[cfg(test)]
use prost::Message;
#[cfg(test)]
use shoalwatch_node_api::{config::NodeConfig, wire};
use shoalwatch_node_api::{config::Version, encoded_hash};

/// One configuration, as it travels: thousands of them are kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    hash: String,
    encoded: Bytes,
}

/// The configurations of all nodes. Where there is none a worker keeps what it has.
#[derive(Clone, Debug)]
pub struct Plans {
    otherwise: Option<Arc<Plan>>,
    nodes: HashMap<String, Option<Arc<Plan>>>,
    digest: String,
}

/// What one worker must run now.
#[derive(Clone, Debug)]
pub(super) struct NodeTarget {
    pub(super) version: Version,
    pub(super) config: Bytes,
}

impl Plan {
    /// A configuration that is encoded already.
    #[must_use]
    pub fn encoded(config: Vec<u8>) -> Self {
        Self {
            hash: encoded_hash(&config),
            encoded: config.into(),
        }
    }

    #[cfg(test)]
    pub(crate) fn new(config: NodeConfig) -> Self {
        Self::encoded(wire::NodeConfig::from(config).encode_to_vec())
    }

    /// Its version under any term.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

impl Plans {
    /// `nodes`: by name. `otherwise`: for every other node.
    #[must_use]
    pub fn new(otherwise: Option<Arc<Plan>>, nodes: HashMap<String, Option<Arc<Plan>>>) -> Self {
        let digest = digest(otherwise.as_deref(), &nodes);
        Self {
            otherwise,
            nodes,
            digest,
        }
    }

    /// Changes with the content of any plan. Where all nodes have the same plan, it is that plan's hash.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    pub(super) fn of(&self, node: &str, term: u64) -> Option<NodeTarget> {
        let plan = self.nodes.get(node).unwrap_or(&self.otherwise).as_ref()?;
        Some(NodeTarget {
            version: Version {
                term,
                hash: plan.hash.clone(),
            },
            config: plan.encoded.clone(),
        })
    }
}

/// Compared within one process only.
fn digest(otherwise: Option<&Plan>, nodes: &HashMap<String, Option<Arc<Plan>>>) -> String {
    if let (Some(plan), true) = (otherwise, nodes.is_empty()) {
        return plan.hash.clone();
    }
    let of = |node: &str, plan: Option<&Plan>| {
        let mut hasher = DefaultHasher::new();
        (node, plan.map(Plan::hash)).hash(&mut hasher);
        hasher.finish()
    };
    // A sum, because a map has no order.
    let sum = nodes.iter().map(|(node, plan)| of(node, plan.as_deref()));
    let sum = sum.fold(of("", otherwise), u64::wrapping_add);
    format!("{sum:016x}")
}

#[cfg(test)]
mod tests {
    use shoalwatch_node_api::{config::Sli, content_hash};

    use super::*;

    fn plan(id: &str) -> Arc<Plan> {
        let sli = Sli {
            id: id.to_owned(),
            namespace: "shop".to_owned(),
            workload: "checkout".to_owned(),
            container: None,
            bad: Vec::new(),
            slower_than_ns: 0,
            routes: Vec::new(),
            report_interval_ms: 1_000,
        };
        Arc::new(Plan::new(NodeConfig {
            slis: vec![sli],
            ..NodeConfig::default()
        }))
    }

    fn plans(nodes: &[(&str, &str)]) -> Plans {
        let nodes = nodes.iter().map(|(node, id)| ((*node).to_owned(), Some(plan(id))));
        Plans::new(Some(plan("otherwise")), nodes.collect())
    }

    #[test]
    fn a_node_has_its_own_plan_and_an_unknown_one_what_is_left() {
        let plans = plans(&[("a", "one"), ("b", "two")]);
        let ids = |node| {
            let config = wire::NodeConfig::decode(plans.of(node, 3).unwrap().config).unwrap();
            config.slis.into_iter().map(|sli| sli.id).collect::<Vec<_>>()
        };
        assert_eq!((ids("a"), ids("b")), (vec!["one".to_owned()], vec!["two".to_owned()]));
        assert_eq!(ids("c"), ["otherwise"]);
        let target = plans.of("a", 3).unwrap();
        let config = wire::NodeConfig::decode(target.config).unwrap();
        assert_eq!(target.version.hash, content_hash(&config));
    }

    #[test]
    fn a_node_without_a_plan_is_told_nothing_whatever_the_others_are_told() {
        let plans = Plans::new(Some(plan("otherwise")), HashMap::from([("a".to_owned(), None)]));
        assert!(plans.of("a", 3).is_none() && plans.of("b", 3).is_some());
    }

    #[test]
    fn the_digest_changes_with_any_node_and_with_nothing_else() {
        let digest = |nodes: &[(&str, &str)]| plans(nodes).digest().to_owned();
        let one = digest(&[("a", "one"), ("b", "two")]);
        assert_eq!(one, digest(&[("b", "two"), ("a", "one")]));
        assert_ne!(one, digest(&[("a", "two"), ("b", "one")]));
        assert_ne!(one, digest(&[("a", "one")]));
        assert_eq!(digest(&[]), plan("otherwise").hash());
    }
}

//! Which generation of which policy is in which version.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use shoalwatch_core::policy::PlannedPolicy;

/// The policies of one version.
pub(crate) type Content = Arc<[Arc<PlannedPolicy>]>;

/// Versions remembered besides those that nodes should run: of all nodes together, and of each node. A node that runs an older
/// one counts as stale until it answers.
const MAX_VERSIONS: (usize, usize) = (16, 2);

/// Versions that were published. They are told apart by content, so a new term is no new version.
#[derive(Debug, Default)]
pub(crate) struct Published {
    newest: HashMap<String, Content>,
    before: HashMap<String, Content>,
    /// Of those before, the oldest first.
    order: VecDeque<String>,
    /// Every policy in force, by id.
    policies: HashMap<String, Arc<PlannedPolicy>>,
    /// Their hashes.
    hashes: HashSet<String>,
}

impl Published {
    /// Remembers what nodes should run now, by hash, and every policy in force.
    pub(crate) fn remember<'a>(
        &mut self,
        contents: impl IntoIterator<Item = (&'a str, &'a Content)>,
        policies: impl IntoIterator<Item = &'a Arc<PlannedPolicy>>,
    ) {
        let newest = contents
            .into_iter()
            .map(|(hash, content)| (hash.to_owned(), Arc::clone(content)));
        let former = std::mem::replace(&mut self.newest, newest.collect());
        for (hash, content) in former {
            if !self.newest.contains_key(&hash) && self.before.insert(hash.clone(), content).is_none() {
                self.order.push_back(hash);
            }
        }
        let most = MAX_VERSIONS.0 + MAX_VERSIONS.1 * self.newest.len();
        while self.order.len() > most {
            self.order.pop_front().map(|oldest| self.before.remove(&oldest));
        }
        let policies = policies
            .into_iter()
            .map(|planned| (planned.policy.id(), Arc::clone(planned)));
        self.policies = policies.collect();
        self.hashes = self.policies.values().map(|planned| planned.hash.clone()).collect();
    }

    /// The policies of a version that is remembered.
    pub(super) fn content(&self, hash: &str) -> &[Arc<PlannedPolicy>] {
        let found = self.newest.get(hash).or_else(|| self.before.get(hash));
        found.map_or(&[], |content| content)
    }

    /// The policy as it is in force.
    pub(super) fn newest(&self, id: &str) -> Option<&PlannedPolicy> {
        self.policies.get(id).map(Arc::as_ref)
    }

    /// Whether a node that has this one samples as the newest says: a hash is of the name too.
    pub(super) fn is_newest(&self, planned: &PlannedPolicy) -> bool {
        self.hashes.contains(&planned.hash)
    }
}

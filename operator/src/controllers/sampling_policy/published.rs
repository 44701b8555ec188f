//! Which generation of which policy is in which version.

use std::collections::{BTreeMap, VecDeque};

use shoalwatch_core::policy::Policy;
use shoalwatch_node_api::config::Version;

/// Versions remembered: a node that runs an older one counts as stale until it answers.
const MAX_VERSIONS: usize = 16;

/// Versions that were published, oldest first. They are told apart by content, so a new term is no new version.
#[derive(Debug, Default)]
pub(crate) struct Published {
    versions: VecDeque<(String, BTreeMap<String, Policy>)>,
}

impl Published {
    /// Remembers what a version holds.
    pub(crate) fn remember(&mut self, version: &Version, policies: &BTreeMap<String, Policy>) {
        // Equal content may come from other objects: a priority that changes no order.
        self.versions.retain(|(hash, _)| *hash != version.hash);
        if self.versions.len() >= MAX_VERSIONS {
            self.versions.pop_front();
        }
        self.versions.push_back((version.hash.clone(), policies.clone()));
    }

    /// Whether a node that runs `version` samples as this policy says.
    pub(super) fn holds(&self, version: &Version, policy: &Policy) -> bool {
        let holding = self.versions.iter().find(|(hash, _)| *hash == version.hash);
        holding.is_some_and(|(_, policies)| policies.get(&policy.id()) == Some(policy))
    }
}

//! What all nodes say to all policies, counted in one go: each answer is looked at once, however many policies there are.

use std::collections::HashMap;

use shoalwatch_core::policy::{PlannedPolicy, Policy};
use shoalwatch_crds::sampling_policy::{FirstError, Nodes};

use super::plan::Answers;
use crate::distribution::{Rejection, Worker};

/// Longest message of a node, in characters, as in the schema.
const NODE_MESSAGE: usize = 1_024;

/// The counts.
pub(super) struct Tally<'a> {
    /// By the hash of a policy as it is in force; one that no node has answered to is not in it.
    answered: HashMap<&'a str, Nodes>,
    /// Nodes that should run a worker.
    pub(super) workers: u32,
    /// Of those, nodes that need the policies of a namespace; absent where nobody knows.
    needed: Option<HashMap<&'a str, u32>>,
}

impl<'a> Tally<'a> {
    pub(super) fn count(answers: &Answers<'a>) -> Self {
        let heard = |node: &str| {
            let worker = answers.fleet.workers.get(node);
            worker.is_some_and(|worker| worker.connected || answers.desired.is_none())
        };
        let mut tally = Self {
            answered: HashMap::new(),
            workers: workers(answers),
            needed: answers.needs.are_known().then(|| answers.needs.count(heard)),
        };
        for (node, worker) in answers.fleet.workers.iter().filter(|(_, worker)| worker.connected) {
            tally.add(node, worker, answers);
        }
        tally
    }

    fn add(&mut self, node: &str, worker: &Worker, answers: &Answers<'a>) {
        let (published, needs) = (answers.published, answers.needs.of(node));
        let counts = |planned: &&PlannedPolicy| {
            let needed = planned.everywhere || needs(&planned.policy.namespace);
            needed && published.is_newest(planned)
        };
        let runs = worker
            .applied
            .as_ref()
            .map_or(&[][..], |version| published.content(&version.hash));
        for planned in runs.iter().map(AsRef::as_ref).filter(counts) {
            self.of(planned).applied += 1;
        }
        let Some(rejection) = &worker.rejected else { return };
        // A configuration is refused whole: what its node has not applied yet is refused with it.
        let refused = published.content(&rejection.version.hash).iter().map(AsRef::as_ref);
        let lacks = |planned: &&PlannedPolicy| !runs.iter().any(|run| run.hash == planned.hash);
        for planned in refused.filter(counts).filter(lacks) {
            self.of(planned).refuse(node, rejection);
        }
    }

    fn of(&mut self, planned: &'a PlannedPolicy) -> &mut Nodes {
        self.answered.entry(&planned.hash).or_default()
    }

    /// What the nodes say to one policy.
    pub(super) fn nodes(&self, policy: &Policy, newest: Option<&PlannedPolicy>, everywhere: bool) -> Nodes {
        let needed = self.needed.as_ref().filter(|_| !everywhere);
        let needing = |needed: &HashMap<&str, u32>| needed.get(policy.namespace.as_str()).copied().unwrap_or(0);
        let answered = newest.and_then(|newest| self.answered.get(newest.hash.as_str()));
        let mut nodes = answered.cloned().unwrap_or_default();
        nodes.desired = needed.map_or(self.workers, needing);
        nodes.stale = nodes
            .desired
            .saturating_sub(nodes.applied)
            .saturating_sub(nodes.rejected);
        nodes
    }
}

trait Refuse {
    fn refuse(&mut self, node: &str, rejection: &Rejection);
}

impl Refuse for Nodes {
    fn refuse(&mut self, node: &str, rejection: &Rejection) {
        self.rejected += 1;
        if self.first_errors.len() < Self::FIRST_ERRORS_MAX {
            self.first_errors.push(FirstError {
                node: node.to_owned(),
                message: rejection.reason.chars().take(NODE_MESSAGE).collect(),
            });
        }
    }
}

/// At least the workers that are there: a DaemonSet that was just made says 0.
fn workers(answers: &Answers<'_>) -> u32 {
    let workers = answers.fleet.workers.values();
    let heard_of = match answers.desired {
        Some(_) => workers.filter(|worker| worker.connected).count(),
        None => workers.count(),
    };
    u32::try_from(heard_of)
        .unwrap_or(u32::MAX)
        .max(answers.desired.unwrap_or(0))
}

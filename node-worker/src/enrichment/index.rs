//! The pods of this node, looked up by what a process's cgroup path says.

use std::{collections::HashMap, sync::Arc};

use super::pod::PodFacts;
use crate::discovery::ContainerRef;

/// A snapshot. Cloning it copies pointers.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodIndex {
    by_uid: HashMap<String, Arc<PodFacts>>,
}

impl PodIndex {
    /// Returns whether anything changed: most news of a pod change nothing that is kept of it.
    pub(crate) fn insert(&mut self, pod: PodFacts) -> bool {
        if self.by_uid.get(&pod.uid).is_some_and(|known| **known == pod) {
            return false;
        }
        self.by_uid.insert(pod.uid.clone(), Arc::new(pod));
        true
    }

    pub(crate) fn remove(&mut self, uid: &str) -> bool {
        self.by_uid.remove(uid).is_some()
    }

    pub(crate) fn find(&self, container: &ContainerRef) -> Option<&Arc<PodFacts>> {
        self.by_uid.get(container.pod_uid.as_deref()?)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_uid.len()
    }
}

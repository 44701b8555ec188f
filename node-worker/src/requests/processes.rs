//! The processes of this node, observed or not.

use std::collections::HashMap;

use shoalwatch_pipeline::request::ServiceId;

use crate::discovery::ContainerRef;

/// Processes that are remembered at most; Linux has at most 4,194,304, nodes have a few thousand.
pub(super) const MAX_PROCESSES: usize = 65_536;

/// What is known of one process.
#[derive(Debug)]
pub(super) struct Process {
    /// Absent: a process of the host.
    pub(super) container: Option<ContainerRef>,
    pub(super) state: State,
    /// It ended, and only its requests wait for its pod to become known.
    pub(super) ended: bool,
    /// It was seen exporting spans of its own before its service was known.
    pub(super) exporting: bool,
}

/// Whether a process is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing asks for it.
    Ignored,
    /// Nobody knew its pod for as long as its requests could wait.
    GivenUp,
    /// Its pod or its container's name is not known yet: its requests wait.
    Pending {
        /// On the monotonic clock.
        since_ns: u64,
    },
    /// Observed as this service.
    Observed {
        service: ServiceId,
        /// Lost requests that were attributed already.
        lost: u64,
    },
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Processes {
    by_tgid: HashMap<u32, Process>,
    /// So that a node without waiting processes does not look for them.
    pending: usize,
}

impl Processes {
    pub(super) fn get(&self, tgid: u32) -> Option<&Process> {
        self.by_tgid.get(&tgid)
    }

    /// The service that an observed process is of.
    pub(super) fn service(&self, tgid: u32) -> Option<ServiceId> {
        match self.by_tgid.get(&tgid)?.state {
            State::Observed { service, .. } => Some(service),
            State::Ignored | State::GivenUp | State::Pending { .. } => None,
        }
    }

    /// Whether the kernel was told to observe it.
    pub(super) fn is_selected(&self, tgid: u32) -> bool {
        let state = self.get(tgid).map(|process| process.state);
        matches!(state, Some(State::Pending { .. } | State::Observed { .. }))
    }

    pub(super) fn is_pending(&self, tgid: u32) -> bool {
        self.get(tgid)
            .is_some_and(|process| matches!(process.state, State::Pending { .. }))
    }

    /// False when there are too many.
    pub(super) fn insert(&mut self, tgid: u32, container: Option<ContainerRef>) -> bool {
        if self.by_tgid.len() >= MAX_PROCESSES && !self.by_tgid.contains_key(&tgid) {
            return false;
        }
        let process = self.by_tgid.entry(tgid).or_insert(Process {
            container: None,
            state: State::Ignored,
            ended: false,
            exporting: false,
        });
        process.container = container;
        true
    }

    pub(super) fn set_state(&mut self, tgid: u32, state: State) {
        let Some(process) = self.by_tgid.get_mut(&tgid) else {
            return;
        };
        self.pending -= usize::from(matches!(process.state, State::Pending { .. }));
        self.pending += usize::from(matches!(state, State::Pending { .. }));
        process.state = state;
    }

    pub(super) fn set_ended(&mut self, tgid: u32) {
        if let Some(process) = self.by_tgid.get_mut(&tgid) {
            process.ended = true;
        }
    }

    pub(super) fn set_exporting(&mut self, tgid: u32) {
        if let Some(process) = self.by_tgid.get_mut(&tgid) {
            process.exporting = true;
        }
    }

    pub(super) fn remove(&mut self, tgid: u32) {
        self.set_state(tgid, State::Ignored);
        self.by_tgid.remove(&tgid);
    }

    pub(super) fn tgids(&self) -> Vec<u32> {
        self.by_tgid.keys().copied().collect()
    }

    pub(super) fn pending(&self) -> Vec<u32> {
        if self.pending == 0 {
            return Vec::new();
        }
        let pending = self
            .by_tgid
            .iter()
            .filter(|(_, process)| matches!(process.state, State::Pending { .. }));
        pending.map(|(tgid, _)| *tgid).collect()
    }

    pub(super) fn observed(&self) -> impl Iterator<Item = (u32, ServiceId)> {
        self.by_tgid.iter().filter_map(|(tgid, process)| match process.state {
            State::Observed { service, .. } => Some((*tgid, service)),
            State::Ignored | State::GivenUp | State::Pending { .. } => None,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.by_tgid.len()
    }
}

//! A kernel for tests.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Kernel;
use crate::loader::{Fullness, ProbeError, ProcessEvent, RequestEvent, Role, Stats, Task, sampling::Decision};

/// What a process asked others: process, service, status, head, peer.
pub(crate) type Call = (u32, u32, u16, Vec<u8>, Option<SocketAddr>);

/// What the observer told the kernel, and what it will hear from it.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) selected: BTreeMap<u32, u32>,
    pub(crate) lost: HashMap<u32, u64>,
    /// Process, service, status, head.
    pub(crate) requests: Vec<(u32, u32, u16, Vec<u8>)>,
    pub(crate) calls: Vec<Call>,
    pub(crate) news: Vec<ProcessEvent>,
    pub(crate) unseen: u64,
}

/// Remembers and repeats.
#[derive(Clone, Default)]
pub(crate) struct FakeKernel(Arc<Mutex<Told>>);

impl FakeKernel {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel for FakeKernel {
    fn select(&mut self, tgid: u32, task: Task) -> Result<(), ProbeError> {
        self.lock().selected.insert(tgid, task.service);
        Ok(())
    }

    fn deselect(&mut self, tgid: u32) -> Result<u64, ProbeError> {
        self.lock().selected.remove(&tgid);
        Ok(0)
    }

    fn drain(&mut self, sink: &mut dyn FnMut(RequestEvent<'_>)) -> usize {
        let mut told = self.lock();
        let (requests, calls) = (std::mem::take(&mut told.requests), std::mem::take(&mut told.calls));
        drop(told);
        for (tgid, service, status, head) in &requests {
            sink(event(*tgid, *service, *status, head));
        }
        for (tgid, service, status, head, peer) in &calls {
            sink(RequestEvent {
                role: Role::Client,
                peer: *peer,
                ..event(*tgid, *service, *status, head)
            });
        }
        requests.len() + calls.len()
    }

    fn drain_processes(&mut self, sink: &mut dyn FnMut(ProcessEvent)) -> usize {
        let news = std::mem::take(&mut self.lock().news);
        news.iter().copied().for_each(sink);
        news.len()
    }

    fn lost(&self, tgid: u32) -> u64 {
        self.lock().lost.get(&tgid).copied().unwrap_or(0)
    }

    fn unseen(&self) -> u64 {
        self.lock().unseen
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }

    fn fullness(&self) -> Fullness {
        Fullness::default()
    }

    fn tells_all_news(&self) -> bool {
        true
    }
}

fn event(tgid: u32, service: u32, status: u16, head: &[u8]) -> RequestEvent<'_> {
    RequestEvent {
        start_ns: 1_000,
        end_ns: 2_000,
        randomness: 0,
        threshold: 0,
        peer: None,
        tgid,
        tid: tgid,
        fd: 3,
        service,
        flags: 0,
        answer_bytes: 0,
        read_bytes: 0,
        counted: None,
        status,
        role: Role::Server,
        decision: Decision::Undecided,
        head,
    }
}

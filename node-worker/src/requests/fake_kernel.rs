//! A kernel for tests.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use shoalwatch_pipeline::{folding::RowTable, sampler::Limit};

use super::Kernel;
use crate::loader::{
    Counter, CounterKey, Fullness, Method, ProbeError, ProcessEvent, RawEvent, RequestEvent, Role, RouteKey, RouteRows,
    Stats, Task,
    sampling::{self, Decision},
};

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
    /// Of connections that it does not pair.
    pub(crate) raw: Vec<RawEvent<'static>>,
    pub(crate) news: Vec<ProcessEvent>,
    pub(crate) flags: BTreeMap<u32, u32>,
    pub(crate) others: BTreeMap<u32, [u32; 2]>,
    /// By route, status and method.
    pub(crate) counters: BTreeMap<(u32, u16, u8), Counter>,
    pub(crate) taught: BTreeMap<u32, RouteKey>,
    pub(crate) forgotten: Vec<RouteKey>,
    /// The row of every taught route's GET.
    pub(crate) rows: BTreeMap<u32, sampling::Row>,
    /// The limit of every taught route.
    pub(crate) limits: BTreeMap<u32, (u32, Limit)>,
    pub(crate) stats: Stats,
    pub(crate) turns: usize,
    /// Refuses to be told of policies.
    pub(crate) refuses: bool,
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
        self.lock().flags.insert(tgid, task.flags);
        self.lock().others.insert(tgid, task.others);
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

    fn drain_raw(&mut self, sink: &mut dyn FnMut(RawEvent<'_>)) -> usize {
        let raw = std::mem::take(&mut self.lock().raw);
        raw.iter().copied().for_each(sink);
        raw.len()
    }

    fn drain_processes(&mut self, sink: &mut dyn FnMut(ProcessEvent)) -> usize {
        let news = std::mem::take(&mut self.lock().news);
        news.iter().copied().for_each(sink);
        news.len()
    }

    fn end_locals(&mut self) {}

    fn lost(&self, tgid: u32) -> u64 {
        self.lock().lost.get(&tgid).copied().unwrap_or(0)
    }

    fn stats(&self) -> Stats {
        self.lock().stats
    }

    fn fullness(&self) -> Fullness {
        Fullness::default()
    }

    fn tells_all_news(&self) -> bool {
        true
    }

    fn teach(&mut self, key: RouteKey, route: u32, rows: RouteRows, table: &RowTable) -> Result<(), ProbeError> {
        let mut told = self.lock();
        told.taught.insert(route, key);
        told.rows.insert(route, row_of_get(rows, table));
        Ok(())
    }

    fn decide_by(&mut self, table: &RowTable, routes: &[(u32, RouteRows)]) -> Result<(), ProbeError> {
        let mut told = self.lock();
        told.turns += 1;
        if told.refuses {
            return Err(ProbeError::Grace(io::ErrorKind::Unsupported.into()));
        }
        told.limits = routes
            .iter()
            .filter_map(|(route, rows)| limit_of(*route, *rows, table))
            .collect();
        told.rows = routes
            .iter()
            .map(|(route, rows)| (*route, row_of_get(*rows, table)))
            .collect();
        Ok(())
    }

    fn read_counters(&self, sink: &mut dyn FnMut(CounterKey, &Counter)) -> Result<(), ProbeError> {
        for (&(route, status, method), counter) in &self.lock().counters {
            let key = CounterKey {
                route,
                status,
                method,
                reserved: 0,
            };
            sink(key, counter);
        }
        Ok(())
    }

    fn forget_route(&mut self, key: RouteKey) {
        self.lock().forgotten.push(key);
    }

    fn forget_counter(&mut self, key: CounterKey) {
        self.lock().counters.remove(&(key.route, key.status, key.method));
    }
}

fn limit_of(route: u32, rows: RouteRows, table: &RowTable) -> Option<(u32, (u32, Limit))> {
    let limit = table.limits().iter().find(|(place, _)| *place == rows.limit)?;
    Some((route, *limit))
}

fn row_of_get(rows: RouteRows, table: &RowTable) -> sampling::Row {
    table.rows()[usize::from(rows.rows[Method::Get as usize])]
}

fn event(tgid: u32, service: u32, status: u16, head: &[u8]) -> RequestEvent<'_> {
    RequestEvent {
        start_ns: 1_000,
        end_ns: 2_000,
        randomness: 0,
        threshold: 0,
        seed: None,
        caller: None,
        peer: None,
        tgid,
        tid: tgid,
        fd: 3,
        service,
        flags: 0,
        answer_bytes: u32::try_from(head.len()).unwrap_or(u32::MAX),
        read_bytes: 0,
        counted: None,
        status,
        role: Role::Server,
        decision: Decision::Undecided,
        head,
    }
}

//! What the event loop wants of the kernel: the loaded probes, or nothing on a node that cannot load them.

use crate::loader::{Degraded, Fullness, ProbeError, Probes, ProcessEvent, RequestEvent, Stat, Stats, Task};

/// See [`Probes`]. Dynamic, so that the same loop runs without probes and, in tests, without a kernel.
pub(crate) trait Kernel: Send {
    fn select(&mut self, tgid: u32, task: Task) -> Result<(), ProbeError>;
    fn deselect(&mut self, tgid: u32) -> Result<u64, ProbeError>;
    fn drain(&mut self, sink: &mut dyn FnMut(RequestEvent<'_>)) -> usize;
    fn drain_processes(&mut self, sink: &mut dyn FnMut(ProcessEvent)) -> usize;
    fn lost(&self, tgid: u32) -> u64;
    /// Connections, processes and requests that were not followed, without knowing whose they were.
    fn unseen(&self) -> u64;
    fn stats(&self) -> Stats;
    fn fullness(&self) -> Fullness;
    /// Whether every new process of interest is told of.
    fn tells_all_news(&self) -> bool;
}

impl Kernel for Probes {
    fn select(&mut self, tgid: u32, task: Task) -> Result<(), ProbeError> {
        self.select(tgid, task)
    }

    fn deselect(&mut self, tgid: u32) -> Result<u64, ProbeError> {
        self.deselect(tgid)
    }

    fn drain(&mut self, mut sink: &mut dyn FnMut(RequestEvent<'_>)) -> usize {
        self.drain(&mut sink)
    }

    fn drain_processes(&mut self, sink: &mut dyn FnMut(ProcessEvent)) -> usize {
        self.drain_processes(sink)
    }

    fn lost(&self, tgid: u32) -> u64 {
        self.lost(tgid)
    }

    fn unseen(&self) -> u64 {
        let stats = Kernel::stats(self);
        let causes = [Stat::MapFull, Stat::TasksFull, Stat::ReadFailed];
        causes.into_iter().map(|stat| stats.get(stat)).sum()
    }

    fn stats(&self) -> Stats {
        self.stats().unwrap_or_else(|error| {
            tracing::warn!(%error, "the kernel's counters cannot be read");
            Stats::default()
        })
    }

    fn fullness(&self) -> Fullness {
        self.fullness()
    }

    fn tells_all_news(&self) -> bool {
        let missing = |degraded: &Degraded| matches!(degraded, Degraded::Fork(_) | Degraded::Exec(_));
        !self.degraded().iter().any(missing)
    }
}

/// A node without probes: it sees nothing.
pub(crate) struct Blind;

impl Kernel for Blind {
    fn select(&mut self, _tgid: u32, _task: Task) -> Result<(), ProbeError> {
        Ok(())
    }

    fn deselect(&mut self, _tgid: u32) -> Result<u64, ProbeError> {
        Ok(0)
    }

    fn drain(&mut self, _sink: &mut dyn FnMut(RequestEvent<'_>)) -> usize {
        0
    }

    fn drain_processes(&mut self, _sink: &mut dyn FnMut(ProcessEvent)) -> usize {
        0
    }

    fn lost(&self, _tgid: u32) -> u64 {
        0
    }

    fn unseen(&self) -> u64 {
        0
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

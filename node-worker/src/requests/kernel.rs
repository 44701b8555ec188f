//! What the event loop wants of the kernel: the loaded probes, or nothing on a node that cannot load them.

use shoalwatch_pipeline::folding::RowTable;

use crate::loader::{
    Counter, CounterKey, Degraded, Fullness, ProbeError, Probes, ProcessEvent, RawEvent, RequestEvent, RouteKey,
    RouteRows, Stats, Task, limit::Pace,
};

/// See [`Probes`]. Dynamic, so that the same loop runs without probes and, in tests, without a kernel.
pub(crate) trait Kernel: Send {
    fn select(&mut self, tgid: u32, task: Task) -> Result<(), ProbeError>;
    fn deselect(&mut self, tgid: u32) -> Result<u64, ProbeError>;
    fn drain(&mut self, sink: &mut dyn FnMut(RequestEvent<'_>)) -> usize;
    fn drain_raw(&mut self, sink: &mut dyn FnMut(RawEvent<'_>)) -> usize;
    fn drain_processes(&mut self, sink: &mut dyn FnMut(ProcessEvent)) -> usize;
    /// Ends connections of which the kernel brings no news.
    fn end_locals(&mut self);
    fn lost(&self, tgid: u32) -> u64;
    fn stats(&self) -> Stats;
    fn fullness(&self) -> Fullness;
    /// Whether every new process of interest is told of.
    fn tells_all_news(&self) -> bool;
    /// Has a route's requests counted, and decided by these rows, from now on.
    fn teach(&mut self, key: RouteKey, route: u32, rows: RouteRows, table: &RowTable) -> Result<(), ProbeError>;
    /// Decides by these tables every request that is finished after the call.
    fn decide_by(&mut self, table: &RowTable, routes: &[(u32, RouteRows)]) -> Result<(), ProbeError>;
    /// Every counter; they are cumulative.
    fn read_counters(&self, sink: &mut dyn FnMut(CounterKey, &Counter)) -> Result<(), ProbeError>;
    fn forget_route(&mut self, key: RouteKey);
    fn forget_counter(&mut self, key: CounterKey);
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

    fn drain_raw(&mut self, mut sink: &mut dyn FnMut(RawEvent<'_>)) -> usize {
        self.drain_raw(&mut sink)
    }

    fn drain_processes(&mut self, sink: &mut dyn FnMut(ProcessEvent)) -> usize {
        self.drain_processes(sink)
    }

    fn end_locals(&mut self) {
        if let Err(error) = self.end_locals() {
            tracing::warn!(%error, "ends of connections cannot be looked for");
        }
    }

    fn lost(&self, tgid: u32) -> u64 {
        self.lost(tgid)
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

    fn teach(&mut self, key: RouteKey, route: u32, rows: RouteRows, table: &RowTable) -> Result<(), ProbeError> {
        let tables = self.tables();
        // A row that is new is in nobody's use, so it can be written beside those in force; one that is not stays what it is.
        let slot = tables.slot();
        for (place, row) in (0..).zip(table.rows()) {
            if rows.rows.contains(&place) {
                tables.set_row(slot, place.into(), row)?;
            }
        }
        tables.set_route_rows(slot, route, rows)?;
        tables.teach(key, route)
    }

    fn decide_by(&mut self, table: &RowTable, routes: &[(u32, RouteRows)]) -> Result<(), ProbeError> {
        let tables = self.tables();
        let slot = tables.slot().other();
        tables.wait_until_unread()?;
        for (place, row) in (0..).zip(table.rows()) {
            tables.set_row(slot, place, row)?;
        }
        for (place, limit) in table.limits() {
            tables.set_limit(slot, *place, Pace::of(limit.per_second, limit.burst))?;
        }
        for (route, rows) in routes {
            tables.set_route_rows(slot, *route, *rows)?;
        }
        tables.turn()
    }

    fn read_counters(&self, sink: &mut dyn FnMut(CounterKey, &Counter)) -> Result<(), ProbeError> {
        self.counters(sink)
    }

    fn forget_route(&mut self, key: RouteKey) {
        if let Err(error) = self.tables().forget_route(key) {
            tracing::warn!(%error, "a route cannot be forgotten");
        }
    }

    fn forget_counter(&mut self, key: CounterKey) {
        if let Err(error) = self.tables().forget_counter(key) {
            tracing::warn!(%error, "a counter cannot be forgotten");
        }
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

    fn drain_raw(&mut self, _sink: &mut dyn FnMut(RawEvent<'_>)) -> usize {
        0
    }

    fn drain_processes(&mut self, _sink: &mut dyn FnMut(ProcessEvent)) -> usize {
        0
    }

    fn end_locals(&mut self) {}

    fn lost(&self, _tgid: u32) -> u64 {
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

    fn teach(&mut self, _key: RouteKey, _route: u32, _rows: RouteRows, _table: &RowTable) -> Result<(), ProbeError> {
        Ok(())
    }

    fn decide_by(&mut self, _table: &RowTable, _routes: &[(u32, RouteRows)]) -> Result<(), ProbeError> {
        Ok(())
    }

    fn read_counters(&self, _sink: &mut dyn FnMut(CounterKey, &Counter)) -> Result<(), ProbeError> {
        Ok(())
    }

    fn forget_route(&mut self, _key: RouteKey) {}

    fn forget_counter(&mut self, _key: CounterKey) {}
}

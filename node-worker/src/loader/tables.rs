//! What the worker teaches the kernel, and what the kernel counts by it.
//!
//! Policies lie in two slots. The worker writes the slot that is not in force and then turns the kernel to it, so a request is judged
//! by one configuration whole. A program that began before the turn may still read the old slot: before that slot is written again,
//! a grace period is waited for.

use std::fmt;

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError, PerCpuHashMap},
};
use shoalwatch_ebpf_common::{
    Counter, CounterKey, MAX_ROUTES, MAX_ROWS, RouteKey, RouteRows,
    limit::{MAX_LIMITS, Pace},
    maps,
    sampling::Row,
};

use super::{
    attach,
    error::{LoadError, ProbeError},
    grace,
    probes::{LoaderOptions, full_or_refused, ignore_absent},
};

/// One of the two places for policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// In force after load, with nothing in it.
    First,
    /// The other one.
    Second,
}

impl Slot {
    /// The one that this is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// The maps behind routes, policies and counters.
pub struct Tables {
    routes: HashMap<MapData, RouteKey, u32>,
    route_rows: Array<MapData, RouteRows>,
    rows: Array<MapData, Row>,
    limits: Array<MapData, Pace>,
    slot_in_force: Array<MapData, u32>,
    counters: PerCpuHashMap<MapData, CounterKey, Counter>,
    slot: Slot,
    max_counters: usize,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

impl Tables {
    pub(super) fn take(object: &mut Ebpf, options: &LoaderOptions) -> Result<Self, LoadError> {
        Ok(Self {
            routes: attach::take_map(object, maps::ROUTES)?,
            route_rows: attach::take_map(object, maps::ROUTE_ROWS)?,
            rows: attach::take_map(object, maps::ROWS)?,
            limits: attach::take_map(object, maps::LIMITS)?,
            slot_in_force: attach::take_map(object, maps::SLOT)?,
            counters: attach::take_map(object, maps::COUNTERS)?,
            slot: Slot::First,
            max_counters: options.max_counters as usize,
        })
    }

    /// The slot in force.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Has requests of a route counted in the kernel from now on. Its rows have to be written before, in both slots.
    pub fn teach(&mut self, key: RouteKey, route: u32) -> Result<(), ProbeError> {
        self.routes
            .insert(key, route, 0)
            .map_err(|source| full_or_refused(source, maps::ROUTES, MAX_ROUTES, "nothing: it is the most"))
    }

    /// Forgets a route: its requests are reported from now on. What was counted stays until [`forget_counter`](Self::forget_counter).
    pub fn forget_route(&mut self, key: RouteKey) -> Result<(), ProbeError> {
        ignore_absent(maps::ROUTES, self.routes.remove(&key))
    }

    /// Which rows decide about a route's requests, from 0 to [`MAX_ROUTES`] − 1.
    pub fn set_route_rows(&mut self, slot: Slot, route: u32, rows: RouteRows) -> Result<(), ProbeError> {
        set(
            &mut self.route_rows,
            maps::ROUTE_ROWS,
            slot as u32 * MAX_ROUTES + route,
            rows,
        )
    }

    /// One row, from 0 to [`MAX_ROWS`] − 1.
    pub fn set_row(&mut self, slot: Slot, row: u32, value: &Row) -> Result<(), ProbeError> {
        set(&mut self.rows, maps::ROWS, slot as u32 * MAX_ROWS + row, *value)
    }

    /// What each CPU may let through by a limit, from 1 to [`MAX_LIMITS`] − 1, which [`RouteRows::limit`] names.
    pub fn set_limit(&mut self, slot: Slot, place: u32, limit: Pace) -> Result<(), ProbeError> {
        set(&mut self.limits, maps::LIMITS, slot as u32 * MAX_LIMITS + place, limit)
    }

    /// Waits until no program reads the slot that is not in force any more.
    pub fn wait_until_unread(&self) -> Result<(), ProbeError> {
        grace::wait().map_err(ProbeError::Grace)
    }

    /// Puts the other slot in force: every request that is finished after this call is judged by it.
    pub fn turn(&mut self) -> Result<(), ProbeError> {
        let slot = self.slot.other();
        set(&mut self.slot_in_force, maps::SLOT, 0, slot as u32)?;
        self.slot = slot;
        Ok(())
    }

    /// Hands over every counter, summed over all CPUs. They are cumulative.
    pub fn read_counters(&self, sink: &mut dyn FnMut(CounterKey, &Counter)) -> Result<(), ProbeError> {
        let refused = |source| ProbeError::Map {
            map: maps::COUNTERS,
            source,
        };
        // The walk starts again when the entry it stands on is removed: bounded, for entries come meanwhile.
        for key in self.counters.keys().take(self.max_counters) {
            let key = key.map_err(refused)?;
            let per_cpu = match self.counters.get(&key, 0) {
                Ok(per_cpu) => per_cpu,
                Err(MapError::KeyNotFound) => continue,
                Err(source) => return Err(refused(source)),
            };
            let sum = per_cpu.iter().fold(Counter::EMPTY, Counter::plus);
            sink(key, &sum);
        }
        Ok(())
    }

    /// Ends a counter, for good: its route has to be forgotten before.
    pub fn forget_counter(&mut self, key: CounterKey) -> Result<(), ProbeError> {
        ignore_absent(maps::COUNTERS, self.counters.remove(&key))
    }

    pub(super) fn counters(&self) -> usize {
        self.counters.keys().take(self.max_counters).count()
    }

    pub(super) fn routes(&self) -> usize {
        self.routes.keys().take(MAX_ROUTES as usize).count()
    }
}

fn set<T: aya::Pod>(array: &mut Array<MapData, T>, map: &'static str, index: u32, value: T) -> Result<(), ProbeError> {
    array
        .set(index, value, 0)
        .map_err(|source| ProbeError::Map { map, source })
}

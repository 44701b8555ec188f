//! The loaded probes, as the worker uses them.

use std::fmt;

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, RingBuf},
};
use shoalwatch_ebpf_common::{
    Connection, Counter, CounterKey, DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_COUNTERS, DEFAULT_MAX_TASKS,
    DEFAULT_RAW_RING_BYTES, DEFAULT_RING_BYTES, MAX_ROUTES, ProcessEvent, RawEvent, RequestEvent, Stat, Task, maps,
    task_slot,
};

use super::{
    attach,
    error::{Degraded, LoadError, ProbeError, os_error},
    grace, host,
    kernel_types::FieldOffsets,
    price::{self, Price},
    stats::{Fullness, Stats, Usage},
    syscalls::{self, SyscallTracepoint},
    tables::Tables,
};

/// Records taken by one drain at most, so that a flood cannot hold the worker in it.
const DRAIN_LIMIT: usize = 65_536;
const PAGE_BYTES: u32 = 4096;

/// Sizes of the kernel's maps, all allocated at load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Size of the ring of finished requests in bytes: a power of two, 4 KiB to 1 GiB. Default 8 MiB, which holds about
    /// 30,000 requests until they are drained.
    pub ring_bytes: u32,
    /// Size of the ring of transfers that are not paired in the kernel, in bytes: as for `ring_bytes`. Default 1 MiB, which holds about
    /// 950 full records until they are drained.
    pub raw_ring_bytes: u32,
    /// Processes observed at once: 1 to 65,536. Default 4,096.
    pub max_tasks: u32,
    /// Connections tracked at once: 1 to 1,048,576. Default 16,384.
    pub max_connections: u32,
    /// Kinds of answers (route, method, status) counted in the kernel at once, 128 bytes each on every CPU: 1 to 65,536.
    /// Default 4,096.
    pub max_counters: u32,
    /// How the kernel tells that a system call returns. Default: as fits the kernel.
    pub syscall_tracepoint: Option<SyscallTracepoint>,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            ring_bytes: DEFAULT_RING_BYTES,
            raw_ring_bytes: DEFAULT_RAW_RING_BYTES,
            max_tasks: DEFAULT_MAX_TASKS,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            max_counters: DEFAULT_MAX_COUNTERS,
            syscall_tracepoint: None,
        }
    }
}

impl LoaderOptions {
    fn validate(&self) -> Result<(), LoadError> {
        let check = |valid: bool, option, value, rule| {
            let refused = LoadError::Options { option, value, rule };
            valid.then_some(()).ok_or(refused)
        };
        for (option, bytes) in [("ring_bytes", self.ring_bytes), ("raw_ring_bytes", self.raw_ring_bytes)] {
            let fits = bytes.is_power_of_two() && (PAGE_BYTES..=1 << 30).contains(&bytes);
            check(fits, option, bytes, "a power of two from 4096 to 1073741824")?;
        }
        let tasks_fit = (1..=1 << 16).contains(&self.max_tasks);
        check(tasks_fit, "max_tasks", self.max_tasks, "1 to 65536")?;
        let connections_fit = (1..=1 << 20).contains(&self.max_connections);
        check(connections_fit, "max_connections", self.max_connections, "1 to 1048576")?;
        let counters_fit = (1..=1 << 16).contains(&self.max_counters);
        check(counters_fit, "max_counters", self.max_counters, "1 to 65536")
    }
}

/// Programs in the kernel, and the worker's end of their maps. Dropping it detaches everything.
pub struct Probes {
    tasks: HashMap<MapData, u32, Task>,
    slots: Array<MapData, u32>,
    connections: HashMap<MapData, u64, Connection>,
    locals: HashMap<MapData, u64, u8>,
    events: RingBuf<MapData>,
    raw: RingBuf<MapData>,
    processes: RingBuf<MapData>,
    stats: PerCpuArray<MapData, u64>,
    tables: Tables,
    options: LoaderOptions,
    tracepoint: SyscallTracepoint,
    degraded: Vec<Degraded>,
    undecodable: u64,
    /// Holds the programs' links.
    object: Ebpf,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes")
            .field("options", &self.options)
            .field("tracepoint", &self.tracepoint)
            .field("degraded", &self.degraded)
            .field("undecodable", &self.undecodable)
            .finish_non_exhaustive()
    }
}

impl Probes {
    /// Loads and attaches the programs. Nothing is observed until a process is selected.
    pub fn load(options: &LoaderOptions) -> Result<Self, LoadError> {
        options.validate()?;
        let kernel = host::prepare()?;
        let mut choice = syscalls::Choice::make(options.syscall_tracepoint, kernel)?;
        grace::wait().map_err(LoadError::Grace)?;
        let fields = FieldOffsets::read()?;
        let mut object = attach::load_object(options, &fields)?;
        if let Err(error) = syscalls::attach(&mut object, choice.tracepoint) {
            choice = choice.second(error)?;
            object = attach::load_object(options, &fields)?;
            syscalls::attach(&mut object, choice.tracepoint)?;
        }
        let mut degraded = attach::attach_others(&mut object);
        degraded.extend(host::check_pid_namespace().into_iter().chain(choice.missed));
        Ok(Self {
            tasks: attach::take_map(&mut object, maps::TASKS)?,
            slots: attach::take_map(&mut object, maps::SLOTS)?,
            connections: attach::take_map(&mut object, maps::CONNECTIONS)?,
            locals: attach::take_map(&mut object, maps::LOCALS)?,
            events: attach::take_map(&mut object, maps::EVENTS)?,
            raw: attach::take_map(&mut object, maps::RAW)?,
            processes: attach::take_map(&mut object, maps::PROCESSES)?,
            stats: attach::take_map(&mut object, maps::STATS)?,
            tables: Tables::take(&mut object, options)?,
            options: *options,
            tracepoint: choice.tracepoint,
            degraded,
            undecodable: 0,
            object,
        })
    }

    /// What is not observed although the rest is.
    #[must_use]
    pub fn degraded(&self) -> &[Degraded] {
        &self.degraded
    }

    /// How the kernel tells that a system call returns.
    #[must_use]
    pub const fn syscall_tracepoint(&self) -> SyscallTracepoint {
        self.tracepoint
    }

    /// Observes a process from now on, or changes what is said of one that is observed. What the kernel writes stays as it is.
    pub fn select(&mut self, tgid: u32, task: Task) -> Result<(), ProbeError> {
        // A loss that the kernel counts between this read and the write below is missing here, not in `stats`.
        let (lost, generation, strays, threads) = self.tasks.get(&tgid, 0).map_or_else(
            // What descriptors of an earlier process of this number led to is not what this one's lead to.
            |_unknown| (0, rand::random(), 0, 0),
            |known| (known.lost, known.generation, known.strays, known.threads),
        );
        let task = Task {
            lost,
            generation,
            strays,
            threads,
            ..task
        };
        self.tasks
            .insert(tgid, task, 0)
            .map_err(|source| full_or_refused(source, maps::TASKS, self.options.max_tasks, "max_tasks"))?;
        self.set_slot(tgid, true)
    }

    /// Forgets a process. Returns how many of its finished requests were lost; 0 for an unknown one. Its connections are forgotten
    /// when they are closed.
    pub fn deselect(&mut self, tgid: u32) -> Result<u64, ProbeError> {
        let lost = self.lost(tgid);
        ignore_absent(maps::TASKS, self.tasks.remove(&tgid))?;
        self.set_slot(tgid, false)?;
        // After it: the kernel may have added a child that shares the slot before it was emptied, and those added later set it anew.
        let shares = |other: &u32| task_slot(*other) == task_slot(tgid);
        if self.tasks.keys().filter_map(Result::ok).any(|other| shares(&other)) {
            self.set_slot(tgid, true)?;
        }
        Ok(lost)
    }

    fn set_slot(&mut self, tgid: u32, taken: bool) -> Result<(), ProbeError> {
        self.slots
            .set(task_slot(tgid), u32::from(taken), 0)
            .map_err(|source| ProbeError::Map {
                map: maps::SLOTS,
                source,
            })
    }

    /// Ends the connections of Unix sockets that are gone; of those the kernel brings no news. One system call for each Unix
    /// socket that is followed.
    pub fn end_locals(&mut self) -> Result<(), ProbeError> {
        let known = |degraded: &Degraded| matches!(degraded, Degraded::LocalEnd(_));
        if self.degraded.iter().any(known) {
            return Ok(());
        }
        // What is removed under the hands of a walk makes it begin anew.
        let socks: Vec<u64> = self
            .locals
            .keys()
            .take(self.options.max_connections as usize)
            .filter_map(Result::ok)
            .collect();
        for sock in socks {
            attach::end_local(&self.object, sock).map_err(ProbeError::LocalEnd)?;
        }
        Ok(())
    }

    /// Hands over every counter, summed over all CPUs. They are cumulative.
    pub fn counters(&self, sink: &mut dyn FnMut(CounterKey, &Counter)) -> Result<(), ProbeError> {
        self.tables.read_counters(sink)
    }

    /// What the programs cost. It may outlive the probes.
    #[must_use]
    pub fn price(&self) -> Price {
        Price::of(&self.object)
    }

    /// Routes, policies and counters.
    pub fn tables(&mut self) -> &mut Tables {
        &mut self.tables
    }

    /// Hands every waiting request to `sink`, oldest first, without allocating. Returns how many; at 65,536 it stops, and
    /// more may wait.
    pub fn drain(&mut self, sink: &mut impl FnMut(RequestEvent<'_>)) -> usize {
        drain_ring(&mut self.events, &mut self.undecodable, |record| {
            RequestEvent::decode(record).map(&mut *sink).is_ok()
        })
    }

    /// Hands every waiting piece of news of connections that the kernel does not pair to `sink`, as [`drain`](Self::drain) does.
    pub fn drain_raw(&mut self, sink: &mut impl FnMut(RawEvent<'_>)) -> usize {
        drain_ring(&mut self.raw, &mut self.undecodable, |record| {
            RawEvent::decode(record).map(&mut *sink).is_ok()
        })
    }

    /// Hands every waiting piece of news of processes to `sink`, oldest first. Returns how many.
    pub fn drain_processes(&mut self, mut sink: impl FnMut(ProcessEvent)) -> usize {
        drain_ring(&mut self.processes, &mut self.undecodable, |record| {
            ProcessEvent::decode(record).map(&mut sink).is_ok()
        })
    }

    /// The kernel's counters, summed over all CPUs.
    pub fn stats(&self) -> Result<Stats, ProbeError> {
        let mut stats = Stats {
            undecodable: self.undecodable,
            recursion_misses: price::recursion_misses(&self.object),
            ..Stats::default()
        };
        for (stat, count) in Stat::ALL.into_iter().zip(&mut stats.counts) {
            let per_cpu = self.stats.get(&stat.index(), 0).map_err(|source| ProbeError::Map {
                map: maps::STATS,
                source,
            })?;
            *count = per_cpu.iter().sum();
        }
        Ok(stats)
    }

    /// Finished requests of a process that were lost because the ring was full; 0 for a process that is not selected.
    #[must_use]
    pub fn lost(&self, tgid: u32) -> u64 {
        self.tasks.get(&tgid, 0).map_or(0, |task| task.lost)
    }

    /// How full the maps are. It walks them: meant for a slow cadence.
    #[must_use]
    pub fn fullness(&self) -> Fullness {
        let usage = |count: usize, max: u32| Usage {
            // The walk may start again and see an entry twice.
            used: u32::try_from(count).unwrap_or(max).min(max),
            max,
        };
        let LoaderOptions {
            max_tasks: tasks,
            max_connections: connections,
            max_counters: counters,
            ..
        } = self.options;
        Fullness {
            tasks: usage(self.tasks.keys().take(tasks as usize).count(), tasks),
            connections: usage(self.connections.keys().take(connections as usize).count(), connections),
            counters: usage(self.tables.counters(), counters),
            routes: usage(self.tables.routes(), MAX_ROUTES),
        }
    }
}

fn drain_ring(ring: &mut RingBuf<MapData>, undecodable: &mut u64, mut take: impl FnMut(&[u8]) -> bool) -> usize {
    let mut taken = 0;
    for _ in 0..DRAIN_LIMIT {
        let Some(record) = ring.next() else {
            break;
        };
        if take(&record) {
            taken += 1;
        } else {
            *undecodable += 1;
        }
    }
    taken
}

/// What a map answers to a new entry.
pub(super) fn full_or_refused(source: MapError, map: &'static str, max: u32, option: &'static str) -> ProbeError {
    match os_error(&source) {
        Some(libc::E2BIG) => ProbeError::Full { map, max, option },
        _ => ProbeError::Map { map, source },
    }
}

pub(super) fn ignore_absent(map: &'static str, result: Result<(), MapError>) -> Result<(), ProbeError> {
    match result {
        Err(source) if os_error(&source) != Some(libc::ENOENT) => Err(ProbeError::Map { map, source }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: LoaderOptions) -> Option<&'static str> {
        match options.validate() {
            Err(LoadError::Options { option, .. }) => Some(option),
            _ => None,
        }
    }

    #[test]
    fn sizes_outside_their_bounds_are_refused_by_name() {
        let valid = LoaderOptions::default();
        assert_eq!(refused(valid), None);
        for ring_bytes in [0, 2048, 5000, (1 << 30) + 1, 1 << 31] {
            assert_eq!(refused(LoaderOptions { ring_bytes, ..valid }), Some("ring_bytes"));
            let raw_ring_bytes = ring_bytes;
            assert_eq!(
                refused(LoaderOptions {
                    raw_ring_bytes,
                    ..valid
                }),
                Some("raw_ring_bytes")
            );
        }
        for max_tasks in [0, 65_537] {
            assert_eq!(refused(LoaderOptions { max_tasks, ..valid }), Some("max_tasks"));
        }
        for max_connections in [0, (1 << 20) + 1] {
            assert_eq!(
                refused(LoaderOptions {
                    max_connections,
                    ..valid
                }),
                Some("max_connections")
            );
        }
        for max_counters in [0, 65_537] {
            assert_eq!(refused(LoaderOptions { max_counters, ..valid }), Some("max_counters"));
        }
    }
}

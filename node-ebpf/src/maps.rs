//! The maps. Sizes are defaults: the loader sets them from its options.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, PerCpuArray, RingBuf},
};
use shoalwatch_ebpf_common::{
    Connection, DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_TASKS, DEFAULT_RING_BYTES, PROCESS_RING_BYTES, Stat, Task,
};

/// The observed processes, by tgid.
#[map]
pub(crate) static TASKS: HashMap<u32, Task> = HashMap::with_max_entries(DEFAULT_MAX_TASKS, 0);

/// The connections of observed processes, by tgid and descriptor. Not LRU: eviction would drop the slowest requests, which
/// matter most.
#[map]
pub(crate) static CONNECTIONS: HashMap<u64, Connection> = HashMap::with_max_entries(DEFAULT_MAX_CONNECTIONS, 0);

/// Finished requests.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(DEFAULT_RING_BYTES, 0);

/// News of processes.
#[map]
pub(crate) static PROCESSES: RingBuf = RingBuf::with_byte_size(PROCESS_RING_BYTES, 0);

/// Counters, by [`Stat`].
#[map]
pub(crate) static STATS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Stat::COUNT as u32, 0);

//! The maps. Sizes are defaults: the loader sets them from its options.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, ProgramArray, RingBuf},
};
use shoalwatch_ebpf_common::{
    Connection, Counter, CounterKey, DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_COUNTERS, DEFAULT_MAX_DESCRIPTORS,
    DEFAULT_MAX_TASKS, DEFAULT_MAX_THREADS, DEFAULT_RAW_RING_BYTES, DEFAULT_RING_BYTES, MAX_ROUTES, MAX_ROWS,
    PROCESS_RING_BYTES, RouteKey, RouteRows, Serving, Stat, TASK_SLOTS, Task,
    limit::{Bucket, MAX_LIMITS, Pace},
    sampling::Row,
};

/// The observed processes, by tgid.
#[map]
pub(crate) static TASKS: HashMap<u32, Task> = HashMap::with_max_entries(DEFAULT_MAX_TASKS, 0);

/// 1 where an observed process may have that [`task_slot`](shoalwatch_ebpf_common::task_slot).
#[map]
pub(crate) static SLOTS: Array<u32> = Array::with_max_entries(TASK_SLOTS, 0);

/// What descriptors lead to, so that it need not be looked up in the kernel's structures each time. Only a memory: what is evicted is
/// looked up again.
#[map]
pub(crate) static DESCRIPTORS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(DEFAULT_MAX_DESCRIPTORS, 0);

/// The connections of observed processes, by the address of their `struct sock`: whichever descriptor of whichever process
/// leads to it, it is the same connection. Not LRU: eviction would drop the slowest requests, which matter most.
#[map]
pub(crate) static CONNECTIONS: HashMap<u64, Connection> = HashMap::with_max_entries(DEFAULT_MAX_CONNECTIONS, 0);

/// Those of them that are Unix sockets; room for as many.
#[map]
pub(crate) static LOCALS: HashMap<u64, u8> = HashMap::with_max_entries(DEFAULT_MAX_CONNECTIONS, 0);

/// The routes that the worker taught, by number.
#[map]
pub(crate) static ROUTES: HashMap<RouteKey, u32> = HashMap::with_max_entries(MAX_ROUTES, 0);

/// Which row decides, by route and method; two slots.
#[map]
pub(crate) static ROUTE_ROWS: Array<RouteRows> = Array::with_max_entries(2 * MAX_ROUTES, 0);

/// The policies, folded; two slots.
#[map]
pub(crate) static ROWS: Array<Row> = Array::with_max_entries(2 * MAX_ROWS, 0);

/// The policies' limits; two slots.
#[map]
pub(crate) static LIMITS: Array<Pace> = Array::with_max_entries(2 * MAX_LIMITS, 0);

/// What each CPU used of them. Of no slot: a new policy does not begin with a new burst.
#[map]
pub(crate) static LIMITED: PerCpuArray<Bucket> = PerCpuArray::with_max_entries(MAX_LIMITS, 0);

/// The slot in force. Read once for each request, so that a request sees one policy whole.
#[map]
pub(crate) static SLOT: Array<u32> = Array::with_max_entries(1, 0);

/// Finished requests, counted.
#[map]
pub(crate) static COUNTERS: PerCpuHashMap<CounterKey, Counter> =
    PerCpuHashMap::with_max_entries(DEFAULT_MAX_COUNTERS, 0);

/// Finished requests that become spans or are not counted here.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(DEFAULT_RING_BYTES, 0);

/// The transfers of connections that are not paired here.
#[map]
pub(crate) static RAW: RingBuf = RingBuf::with_byte_size(DEFAULT_RAW_RING_BYTES, 0);

/// What threads serve, by tid. Only a memory: what is evicted is a thread that serves nothing, as far as is known.
#[map]
pub(crate) static SERVING: LruHashMap<u32, Serving> = LruHashMap::with_max_entries(DEFAULT_MAX_THREADS, 0);

/// What `sys_exit` goes on with: programs of their own, so that the verifier follows each of them alone.
#[map]
pub(crate) static NEXT: ProgramArray = ProgramArray::with_max_entries(3, 0);

/// News of processes.
#[map]
pub(crate) static PROCESSES: RingBuf = RingBuf::with_byte_size(PROCESS_RING_BYTES, 0);

/// Counters, by [`Stat`].
#[map]
pub(crate) static STATS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Stat::COUNT as u32, 0);

//! What the eBPF programs and the node worker must agree on: record layouts, map names and sizes, counters, and the
//! recognition of HTTP/1.x heads.
//!
//! Records are plain `#[repr(C)]` structures in the machine's byte order, without implicit padding: the kernel side sends
//! them as they lie in memory, and the assertions beside each structure stop a build that would move a field. Everything
//! here is `no_std` and free of dependencies; the feature `user` adds what only the worker needs.

#![no_std]
#![expect(
    clippy::inline_always,
    reason = "a call between BPF functions is dearer than its body, and `inline` is not obeyed"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "the low byte of a word is meant, and numbers that are bounded by a loop"
)]

#[cfg(any(feature = "user", test))]
extern crate std;

mod connection;
mod counter;
#[cfg(feature = "user")]
mod decode;
pub mod head;
pub mod http1;
pub mod http2;
pub mod limit;
mod process;
mod raw;
mod request;
pub mod sampling;
pub mod shape;
mod stat;
mod task;
#[cfg(feature = "user")]
mod user;

pub use connection::{APPEND_BYTES, Connection, ConnectionState, Ending};
pub use counter::{BOUNDS_NS, BUCKETS, Counter, CounterKey, RouteKey, RouteRows, bucket};
#[cfg(feature = "user")]
pub use decode::{Caller, DecodeError, ProcessEvent, RawEvent, RawNews, RawRequest, RequestEvent};
pub use process::{ProcessKind, ProcessRecord};
pub use raw::{MAX_HTTP2_RECORDS, MAX_RAW_RECORDS, RAW_BYTES, RAW_SMALL_BYTES, RawKind, RawRecord, UnderWay};
pub use request::{HEAD_BYTES, RequestRecord, Role, peer_hash};
pub use stat::Stat;
pub use task::{
    MIXED, NO_SPANS, ONE_EACH, PEERS_FULL, ROUTES_FULL, Serving, TASK_SLOTS, Task, descriptor_key, task_slot,
};

/// Names of the maps, as the loader finds them in the object.
pub mod maps {
    /// Hash map: process id (tgid) → [`Task`](crate::Task). Only tasks listed here are observed.
    pub const TASKS: &str = "TASKS";
    /// Array: 1 where a task listed in [`TASKS`] may have that [`task_slot`](crate::task_slot).
    pub const SLOTS: &str = "SLOTS";
    /// LRU hash map: [`descriptor_key`](crate::descriptor_key) → address of the socket's `struct sock`, 0 for what is no socket.
    pub const DESCRIPTORS: &str = "DESCRIPTORS";
    /// Hash map: address of the kernel's `struct sock` → [`Connection`](crate::Connection).
    pub const CONNECTIONS: &str = "CONNECTIONS";
    /// Hash map: addresses of the Unix sockets among [`CONNECTIONS`], whose ends have to be looked for.
    pub const LOCALS: &str = "LOCALS";
    /// Hash map: [`RouteKey`](crate::RouteKey) → the route's number. What is not in it is not counted in the kernel.
    pub const ROUTES: &str = "ROUTES";
    /// Array: two slots of [`RouteRows`](crate::RouteRows), by the route's number.
    pub const ROUTE_ROWS: &str = "ROUTE_ROWS";
    /// Array: two slots of [`Row`](crate::sampling::Row)s.
    pub const ROWS: &str = "ROWS";
    /// Array: two slots of [`Pace`](crate::limit::Pace)s, by [`RouteRows::limit`](crate::RouteRows::limit).
    pub const LIMITS: &str = "LIMITS";
    /// Array with one entry: the slot in force, 0 or 1.
    pub const SLOT: &str = "SLOT";
    /// Per-CPU hash map: [`CounterKey`](crate::CounterKey) → [`Counter`](crate::Counter).
    pub const COUNTERS: &str = "COUNTERS";
    /// Ring buffer of [`RequestRecord`](crate::RequestRecord)s, each cut after its head.
    pub const EVENTS: &str = "EVENTS";
    /// Ring buffer of [`RawRecord`](crate::RawRecord)s.
    pub const RAW: &str = "RAW";
    /// LRU hash map: tid → [`Serving`](crate::Serving).
    pub const SERVING: &str = "SERVING";
    /// Program array: what `sys_exit` goes on with, by number.
    pub const NEXT: &str = "NEXT";
    /// Ring buffer of [`ProcessRecord`](crate::ProcessRecord)s; its own, so that a flood of requests neither delays nor
    /// loses the news of a process.
    pub const PROCESSES: &str = "PROCESSES";
    /// Per-CPU array indexed by [`Stat`](crate::Stat).
    pub const STATS: &str = "STATS";
}

/// Names of the programs, as the loader finds them in the object.
pub mod programs {
    /// Raw tracepoint `sys_exit`, its arguments typed: requests and answers.
    pub const SYS_EXIT: &str = "sys_exit";
    /// The same tracepoint, called by that program only: tells the transfers of a connection that is not paired in the kernel.
    pub const RAW_TRANSFER: &str = "raw_transfer";
    /// The same, called by that program only: a request began whose thread may tell what it belongs to.
    pub const REQUEST_BEGUN: &str = "request_begun";
    /// The same, called by that program only: a client wrote what may be its first HTTP/2 request.
    pub const HTTP2_BEGUN: &str = "http2_begun";
    /// The same as [`SYS_EXIT`], of the perf tracepoint `raw_syscalls/sys_exit`.
    pub const PERF_SYS_EXIT: &str = "perf_sys_exit";
    /// The same as [`RAW_TRANSFER`], of that tracepoint.
    pub const PERF_RAW_TRANSFER: &str = "perf_raw_transfer";
    /// The same as [`REQUEST_BEGUN`], of that tracepoint.
    pub const PERF_REQUEST_BEGUN: &str = "perf_request_begun";
    /// The same as [`HTTP2_BEGUN`], of that tracepoint.
    pub const PERF_HTTP2_BEGUN: &str = "perf_http2_begun";
    /// Raw tracepoint `sched_process_exec`: a process runs a new program.
    pub const PROCESS_EXEC: &str = "process_exec";
    /// Raw tracepoint `task_newtask`: an observed process forks.
    pub const PROCESS_FORK: &str = "process_fork";
    /// Raw tracepoint `inet_sock_set_state`: a connection ends.
    pub const SOCKET_STATE: &str = "socket_state";
    /// The same once more, for what the kernel leaves out of that program while it runs.
    pub const SOCKET_STATE_AGAIN: &str = "socket_state_again";
    /// Run by the worker with the address of a Unix socket: ends its connection if the socket is gone.
    pub const LOCAL_END: &str = "local_end";
}

/// Read-only variables of the object that the loader sets from the running kernel.
pub mod globals {
    /// Offset of `pid` in `struct task_struct`.
    pub const TASK_PID: &str = "TASK_PID";
    /// Offset of `files` in `struct task_struct`.
    pub const TASK_FILES: &str = "TASK_FILES";
    /// Offset of `task_works` in `struct task_struct`.
    pub const TASK_WORKS: &str = "TASK_WORKS";
    /// Offset in `struct file` of what is queued there when the file is given back.
    pub const FILE_WORK: &str = "FILE_WORK";
    /// Offset of `fdt` in `struct files_struct`.
    pub const FILES_FDT: &str = "FILES_FDT";
    /// Offset of `max_fds` in `struct fdtable`; `fd` follows it at the next multiple of eight.
    pub const FDTABLE_MAX_FDS: &str = "FDTABLE_MAX_FDS";
    /// Offset of `private_data` in `struct file`.
    pub const FILE_PRIVATE_DATA: &str = "FILE_PRIVATE_DATA";
    /// Offset of `type` in `struct socket`.
    pub const SOCKET_TYPE: &str = "SOCKET_TYPE";
    /// Offset of `file` in `struct socket`; `sk` follows it.
    pub const SOCKET_FILE: &str = "SOCKET_FILE";
    /// Offset of `i_ino` of its file behind a `struct socket`.
    pub const SOCKET_INODE: &str = "SOCKET_INODE";
    /// Offset of `sk_socket` in `struct sock`.
    pub const SOCK_SOCKET: &str = "SOCK_SOCKET";
    /// Offset of `skc_family` in `struct sock_common`.
    pub const SOCK_FAMILY: &str = "SOCK_FAMILY";
    /// Offset of `skc_daddr` in `struct sock_common`.
    pub const SOCK_DADDR: &str = "SOCK_DADDR";
    /// Offset of `skc_v6_daddr` in `struct sock_common`.
    pub const SOCK_V6_DADDR: &str = "SOCK_V6_DADDR";
    /// Offset of `skc_dport` in `struct sock_common`.
    pub const SOCK_DPORT: &str = "SOCK_DPORT";
}

/// Routes of all services together, each slot of [`maps::ROUTE_ROWS`].
pub const MAX_ROUTES: u32 = 16_384;
/// Rows of all policies together, each slot of [`maps::ROWS`].
pub const MAX_ROWS: u32 = 256;
/// Default number of kinds of answers counted in the kernel at once: 128 bytes each on every CPU.
pub const DEFAULT_MAX_COUNTERS: u32 = 4096;
/// Default number of processes observed at once.
pub const DEFAULT_MAX_TASKS: u32 = 4096;
/// Default number of connections tracked at once.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 16_384;
/// Default number of descriptors whose socket is remembered.
pub const DEFAULT_MAX_DESCRIPTORS: u32 = 16_384;
/// Default number of threads whose requests are remembered.
pub const DEFAULT_MAX_THREADS: u32 = 8192;
/// Default size of the ring of finished requests, in bytes: about 30,000 requests with heads of 200 bytes.
pub const DEFAULT_RING_BYTES: u32 = 8 << 20;
/// Default size of the ring of transfers that are not paired in the kernel, in bytes: about 8,000 small records.
pub const DEFAULT_RAW_RING_BYTES: u32 = 2 << 20;
/// Size of the ring of process events, in bytes.
pub const PROCESS_RING_BYTES: u32 = 64 << 10;

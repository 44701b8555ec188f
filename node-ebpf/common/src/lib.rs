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

#[cfg(any(feature = "user", test))]
extern crate std;

mod connection;
#[cfg(feature = "user")]
mod decode;
pub mod http1;
mod process;
mod request;
mod stat;
mod task;
#[cfg(feature = "user")]
mod user;

pub use connection::{APPEND_BYTES, Connection, ConnectionState, connection_key};
#[cfg(feature = "user")]
pub use decode::{DecodeError, ProcessEvent, RequestEvent};
pub use process::{ProcessKind, ProcessRecord};
pub use request::{HEAD_BYTES, RequestRecord};
pub use stat::Stat;
pub use task::Task;

/// Names of the maps, as the loader finds them in the object.
pub mod maps {
    /// Hash map: process id (tgid) → [`Task`](crate::Task). Only tasks listed here are observed.
    pub const TASKS: &str = "TASKS";
    /// Hash map: [`connection_key`](crate::connection_key) → [`Connection`](crate::Connection).
    pub const CONNECTIONS: &str = "CONNECTIONS";
    /// Ring buffer of [`RequestRecord`](crate::RequestRecord)s, each cut after its head.
    pub const EVENTS: &str = "EVENTS";
    /// Ring buffer of [`ProcessRecord`](crate::ProcessRecord)s; its own, so that a flood of requests neither delays nor
    /// loses the news of a process.
    pub const PROCESSES: &str = "PROCESSES";
    /// Per-CPU array indexed by [`Stat`](crate::Stat).
    pub const STATS: &str = "STATS";
}

/// Names of the programs, as the loader finds them in the object.
pub mod programs {
    /// Raw tracepoint `sys_exit`: requests and answers.
    pub const SYS_EXIT: &str = "sys_exit";
    /// Raw tracepoint `sched_process_exec`: a process runs a new program.
    pub const PROCESS_EXEC: &str = "process_exec";
    /// Tracepoint `task/task_newtask`: an observed process forks.
    pub const PROCESS_FORK: &str = "process_fork";
}

/// Read-only variables of the object that the loader sets from the running kernel.
pub mod globals {
    /// Offset of `pid` in the record of `task/task_newtask`.
    pub const NEWTASK_PID_OFFSET: &str = "NEWTASK_PID_OFFSET";
    /// Offset of `clone_flags` in the record of `task/task_newtask`.
    pub const NEWTASK_FLAGS_OFFSET: &str = "NEWTASK_FLAGS_OFFSET";
}

/// Default number of processes observed at once.
pub const DEFAULT_MAX_TASKS: u32 = 4096;
/// Default number of connections tracked at once.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 16_384;
/// Default size of the ring of finished requests, in bytes: about 30,000 requests with heads of 200 bytes.
pub const DEFAULT_RING_BYTES: u32 = 8 << 20;
/// Size of the ring of process events, in bytes.
pub const PROCESS_RING_BYTES: u32 = 64 << 10;

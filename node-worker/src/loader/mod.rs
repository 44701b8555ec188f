//! Loads the eBPF programs and speaks with them.
//!
//! [`Probes::load`] puts the committed object into the kernel and attaches it. From then on the worker names the processes
//! to observe ([`Probes::select`]), fetches finished requests, transfers that the kernel does not pair,
//! and news of processes at its own pace ([`Probes::drain`], [`Probes::drain_raw`], [`Probes::drain_processes`]: the kernel never wakes
//! it up, because a wake-up costs more than an event), and reads what was lost ([`Probes::stats`], [`Probes::lost`]).
//!
//! # What it needs
//! x86-64, Linux 5.10 with BTF, `CAP_BPF` and `CAP_PERFMON` (or root), the initial pid namespace; from Linux 7.0 on also the tracing
//! file system, and `kernel.perf_event_paranoid` at 2 at most. What is missing is either a [`LoadError`] that says what to do, or, where the rest works without it, a [`Degraded`].
//!
//! # What it costs
//! One look-up for each system call of the machine. Map memory, all allocated at load: `ring_bytes` + `raw_ring_bytes` + about 970 bytes
//! per connection + about 100 bytes per task + 128 bytes per counter and CPU + 3 MiB for routes and policies.

mod attach;
mod error;
mod grace;
mod host;
mod kernel_types;
mod object;
mod price;
mod probes;
mod stats;
mod syscalls;
mod tables;
mod tracefs;

pub use error::{Degraded, LoadError, ProbeError};
pub use kernel_types::TypesError;
pub use price::{Price, PriceError, Work};
pub use probes::{LoaderOptions, Probes};
pub use shoalwatch_ebpf_common::{
    BUCKETS, Caller, Counter, CounterKey, HEAD_BYTES, MAX_ROUTES, MAX_ROWS, NO_SPANS, PEERS_FULL, ProcessEvent,
    ProcessKind, ROUTES_FULL, RawEvent, RawKind, RawNews, RawRequest, RequestEvent, Role, RouteKey, RouteRows, Stat,
    Task, UnderWay,
    http1::{self, Method},
    limit, peer_hash, sampling,
};
pub use stats::{Fullness, Stats, Usage};
pub use syscalls::SyscallTracepoint;
pub use tables::{Slot, Tables};

//! Loads the eBPF programs and speaks with them.
//!
//! [`Probes::load`] puts the committed object into the kernel and attaches it. From then on the worker names the processes
//! to observe ([`Probes::select`]), fetches finished requests and news of processes at its own pace ([`Probes::drain`],
//! [`Probes::drain_processes`]: the kernel never wakes it up, because a wake-up costs more than an event), and reads what
//! was lost ([`Probes::stats`], [`Probes::lost`]).
//!
//! # What it needs
//! x86-64, Linux 5.10, `CAP_BPF` and `CAP_PERFMON` (or root), the initial pid namespace; to adopt the open sockets of other
//! users' processes also `CAP_SYS_PTRACE`; for forks the tracing file system. What is missing is either a [`LoadError`] that
//! says what to do, or, where the rest works without it, a [`Degraded`].
//!
//! # What it costs
//! One hash look-up for each system call of the machine. Map memory: `ring_bytes` + about 920 bytes per connection + about
//! 90 bytes per task, all allocated at load.

mod attach;
mod error;
mod host;
mod object;
mod probes;
mod sockets;
mod stats;
mod tracefs;

pub use error::{Degraded, LoadError, ProbeError};
pub use probes::{Adopted, LoaderOptions, Probes};
pub use shoalwatch_ebpf_common::{HEAD_BYTES, ProcessEvent, ProcessKind, RequestEvent, Stat};
pub use stats::{Fullness, Stats, Usage};

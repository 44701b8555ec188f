//! What can go wrong, and what to do about it.

use std::{error::Error, io};

use aya::{EbpfError, maps::MapError, programs::ProgramError};

use super::kernel_types::TypesError;

/// Why nothing is observed at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// An option is outside its bounds.
    #[error("{option} is {value}: set it to {rule}")]
    Options {
        /// The option's name.
        option: &'static str,
        /// What was given.
        value: u32,
        /// What it must be.
        rule: &'static str,
    },
    /// The programs know the registers of x86-64 only.
    #[error(
        "request tracing needs x86-64, this is {}: run the worker without probes on this node",
        std::env::consts::ARCH
    )]
    Architecture,
    /// The kernel lacks what the programs use.
    #[error("request tracing needs Linux 5.10 or later, this is {release}: upgrade the node's kernel")]
    KernelTooOld {
        /// The running kernel's release.
        release: String,
    },
    /// The kernel's release could not be read.
    #[error("the kernel's release cannot be read: mount /proc")]
    KernelRelease(#[source] io::Error),
    /// Where the kernel keeps a process's sockets is not known.
    #[error("the connections of processes cannot be found")]
    Types(#[from] TypesError),
    /// The kernel does not let this process load programs.
    #[error(
        "the kernel refused eBPF: run as root, or grant CAP_BPF and CAP_PERFMON (Linux 5.10: also CAP_SYS_RESOURCE)"
    )]
    Permission(#[source] Box<dyn Error + Send + Sync>),
    /// The limit of locked memory, which holds maps below Linux 5.11, cannot be raised.
    #[error(
        "the limit of locked memory cannot be raised: grant CAP_SYS_RESOURCE beside CAP_BPF and CAP_PERFMON, or start with \
         `ulimit -l unlimited`"
    )]
    MemoryLock(#[source] io::Error),
    /// The kernel has no memory for the maps.
    #[error("the kernel has no memory for the maps: lower ring_bytes or max_connections, or raise the memory limit")]
    OutOfMemory(#[source] Box<dyn Error + Send + Sync>),
    /// The embedded object is not what this worker expects.
    #[error("the embedded eBPF object does not fit this worker: run `make ebpf` and build again")]
    Object(#[source] Box<dyn Error + Send + Sync>),
    /// The embedded object lacks a part.
    #[error("the embedded eBPF object has no {name}: run `make ebpf` and build again")]
    Missing {
        /// A map's or program's name.
        name: &'static str,
    },
    /// The kernel's verifier rejected a program.
    #[error(
        "the kernel's verifier rejected program {program}: please report it with the kernel's release and the log below"
    )]
    Verifier {
        /// The program's name.
        program: &'static str,
        /// With the verifier's log.
        #[source]
        source: ProgramError,
    },
    /// The kernel would not say when its programs have finished, and policies could not change without a seam.
    #[error(
        "a grace period cannot be waited for: the kernel needs CONFIG_MEMBARRIER, and no nohz_full among its options"
    )]
    Grace(#[source] io::Error),
    /// The perf tracepoint was asked for and cannot be had.
    #[error(
        "the perf tracepoint of system calls cannot be used: it needs Linux 5.15, tracefs at /sys/kernel/tracing, and sysctl \
         kernel.perf_event_paranoid at 2 at most; `--syscall-tracepoint=auto` goes without where it must"
    )]
    PerfTracepoint(#[source] Box<dyn Error + Send + Sync>),
    /// A loaded program could not be attached.
    #[error(
        "program {program} cannot be attached: the kernel needs CONFIG_BPF_EVENTS and CONFIG_HAVE_SYSCALL_TRACEPOINTS"
    )]
    Attach {
        /// The program's name.
        program: &'static str,
        /// The kernel's answer.
        #[source]
        source: ProgramError,
    },
}

impl LoadError {
    /// A bounded name for metric labels and conditions.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Options { .. } => "options",
            Self::Architecture => "architecture",
            Self::KernelTooOld { .. } | Self::KernelRelease(_) => "kernel",
            Self::Types(_) => "types",
            Self::Permission(_) => "permission",
            Self::MemoryLock(_) => "memory_lock",
            Self::OutOfMemory(_) => "out_of_memory",
            Self::Object(_) | Self::Missing { .. } => "object",
            Self::Verifier { .. } => "verifier",
            Self::Attach { .. } => "attach",
            Self::Grace(_) => "grace",
            Self::PerfTracepoint(_) => "perf_tracepoint",
        }
    }

    /// Sorts what aya says of an object: a refusal and a lack of memory have an advice of their own.
    pub(super) fn from_object(error: EbpfError) -> Self {
        match os_error(&error) {
            Some(libc::EPERM | libc::EACCES) => Self::Permission(Box::new(error)),
            Some(libc::ENOMEM) => Self::OutOfMemory(Box::new(error)),
            _ => Self::Object(Box::new(error)),
        }
    }

    /// Sorts what aya says of a map.
    pub(super) fn from_map(error: MapError) -> Self {
        Self::from_object(EbpfError::MapError(error))
    }

    /// Sorts what aya says when a program is loaded.
    pub(super) fn from_program(program: &'static str, source: ProgramError) -> Self {
        match (&source, os_error(&source)) {
            // The verifier refuses with EACCES too, but then it says why.
            (ProgramError::LoadError { verifier_log, .. }, Some(libc::EPERM | libc::EACCES))
                if verifier_log.to_string().is_empty() =>
            {
                Self::Permission(Box::new(source))
            }
            (_, Some(libc::EPERM)) => Self::Permission(Box::new(source)),
            _ => Self::Verifier { program, source },
        }
    }
}

/// What is not observed although the rest is.
#[derive(Debug, thiserror::Error)]
pub enum Degraded {
    /// Process ids in events are those of the initial pid namespace and would be taken for others.
    #[error(
        "the worker is not in the initial pid namespace ({found}): set hostPID: true, or nothing will be attributed"
    )]
    PidNamespace {
        /// The namespace, as `/proc/self/ns/pid` names it.
        found: String,
    },
    /// Children of observed processes are observed only after the worker has found them itself.
    #[error("forks are not followed at once: the kernel refused the raw tracepoint task_newtask")]
    Fork(#[source] Box<dyn Error + Send + Sync>),
    /// Requests that are cut off are not seen to end, and connections are forgotten late.
    #[error("the ends of connections are not seen: the kernel refused the raw tracepoint inet_sock_set_state")]
    SocketState(#[source] Box<dyn Error + Send + Sync>),
    /// Requests over Unix sockets that are closed without an answer are seen to end only when the socket's address is used again.
    #[error("the ends of Unix sockets are seen late: the kernel refused the program that looks for them")]
    LocalEnd(#[source] Box<dyn Error + Send + Sync>),
    /// System calls are missed while a thread is preempted within a program of the raw tracepoint; each is told as lost.
    #[error(
        "system calls are missed where threads are preempted (Linux 7.0 and later): mount tracefs at /sys/kernel/tracing (in a pod: as \
         a hostPath), and set sysctl kernel.perf_event_paranoid to 2 at most"
    )]
    Preempted(#[source] Box<dyn Error + Send + Sync>),
    /// New programs are observed only after the worker has found them itself.
    #[error("new programs are not seen at once: the kernel refused the raw tracepoint sched_process_exec")]
    Exec(#[source] Box<dyn Error + Send + Sync>),
}

impl Degraded {
    /// A bounded name for metric labels and conditions.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::PidNamespace { .. } => "pid_namespace",
            Self::Fork(_) => "fork",
            Self::Exec(_) => "exec",
            Self::SocketState(_) => "socket_state",
            Self::LocalEnd(_) => "local_end",
            Self::Preempted(_) => "preempted",
        }
    }
}

/// Why an order to loaded probes failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A map has no room.
    #[error("map {map} is full at {max} entries: raise {option}")]
    Full {
        /// The map's name.
        map: &'static str,
        /// Its size.
        max: u32,
        /// The option that sizes it.
        option: &'static str,
    },
    /// The kernel refused a map operation.
    #[error("map {map} cannot be used")]
    Map {
        /// The map's name.
        map: &'static str,
        /// The kernel's answer.
        #[source]
        source: MapError,
    },
    /// The kernel did not look whether a Unix socket is gone.
    #[error("the ends of Unix sockets cannot be looked for: they are seen when their addresses are used again")]
    LocalEnd(#[source] ProgramError),
    /// The kernel does not say when its programs have finished.
    #[error("a grace period cannot be waited for, although it could when the probes were loaded: restart the worker")]
    Grace(#[source] io::Error),
}

impl ProbeError {
    /// A bounded name for metric labels and conditions.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Full { .. } => "map_full",
            Self::Map { .. } => "map",
            Self::LocalEnd(_) => "local_end",
            Self::Grace(_) => "grace",
        }
    }
}

/// The number of the system's error at the root of an error, where there is one.
pub(super) fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(number);
        }
        current = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map_error(number: i32) -> MapError {
        MapError::CreateError {
            name: "EVENTS".into(),
            io_error: io::Error::from_raw_os_error(number),
        }
    }

    #[test]
    fn a_refusal_a_lack_of_memory_and_a_broken_object_are_told_apart() {
        let category = |number| LoadError::from_map(map_error(number)).category();
        assert_eq!(category(libc::EPERM), "permission");
        assert_eq!(category(libc::ENOMEM), "out_of_memory");
        assert_eq!(category(libc::EINVAL), "object");
    }

    #[test]
    fn the_system_error_is_found_below_other_errors() {
        let error = EbpfError::MapError(map_error(libc::E2BIG));
        assert_eq!(os_error(&error), Some(libc::E2BIG));
        assert_eq!(os_error(&MapError::KeyNotFound), None);
    }

    #[test]
    fn a_message_does_not_repeat_its_source() {
        let error = LoadError::from_map(map_error(libc::EPERM));
        let source = error.source().map(ToString::to_string).unwrap_or_default();
        assert!(!source.is_empty() && !error.to_string().contains(&source));
    }
}

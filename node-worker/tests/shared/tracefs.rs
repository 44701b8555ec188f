//! The tracing file system, which not every machine has mounted.

/// The shell lines that give a program the tracing file system, without which forks are followed late.
pub(crate) const WITH_TRACEFS: &[&str] = &[
    "unshare",
    "--mount",
    "--propagation=private",
    "sh",
    "-ec",
    "[ -e /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing; exec \"$@\"",
    "sh",
];

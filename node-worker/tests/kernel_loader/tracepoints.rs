//! What is seen of system calls, once more with the tracepoint that this kernel would not be given.

use std::{path::Path, process::Command};

use shoalwatch_node_worker::loader::{LoadError, LoaderOptions, Probes, SyscallTracepoint};

use crate::{
    harness::{Outcome, TRACEPOINT, probes, turn},
    tracefs::WITH_TRACEFS,
};

const ROOMS: [&str; 8] = [
    "counting::",
    "descriptors::",
    "flips::",
    "http2::",
    "losses::",
    "pairing::",
    "raw::",
    "threads::",
];
/// So many tests they have at least: a room that was renamed would run nothing and succeed.
const TESTS: u32 = 45;

fn tracefs_is_mounted() -> bool {
    Path::new("/sys/kernel/tracing/events").is_dir()
}

/// This binary, where the tracing file system is mounted.
fn this_binary_with_tracefs() -> Outcome<Command> {
    let binary = std::env::current_exe()?;
    if tracefs_is_mounted() {
        return Ok(Command::new(binary));
    }
    let mut command = Command::new(WITH_TRACEFS[0]);
    command.args(&WITH_TRACEFS[1..]).arg(binary);
    Ok(command)
}

/// From the line of a summary, `test result: ok. 48 passed; …`.
fn passed(summary: &str) -> Option<u32> {
    let (before, _) = summary.split_once(" passed")?;
    before.rsplit(' ').next()?.parse().ok()
}

/// Linux 5.10 to 5.14 do not tell its programs the registers.
fn is_too_old_for_perf() -> Outcome<bool> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let minor = release.strip_prefix("5.").and_then(|rest| rest.split('.').next());
    Ok(minor.is_some_and(|minor| matches!(minor, "10" | "11" | "12" | "13" | "14")))
}

fn assert_perf_is_refused() {
    let options = LoaderOptions {
        syscall_tracepoint: Some(SyscallTracepoint::Perf),
        ..LoaderOptions::default()
    };
    assert!(matches!(Probes::load(&options), Err(LoadError::PerfTracepoint(_))));
}

#[test]
fn what_is_seen_does_not_depend_on_the_tracepoint() {
    let needed: &[&str] = if tracefs_is_mounted() { &[] } else { &WITH_TRACEFS[..1] };
    let Some(_turn) = turn(needed) else { return };
    let other = match probes().unwrap().syscall_tracepoint() {
        SyscallTracepoint::Raw if is_too_old_for_perf().unwrap() => return assert_perf_is_refused(),
        SyscallTracepoint::Raw => "perf",
        SyscallTracepoint::Perf => "raw",
    };
    let output = this_binary_with_tracefs()
        .unwrap()
        .args(ROOMS)
        .arg("--test-threads=1")
        .env(TRACEPOINT, other)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(passed(&text) >= Some(TESTS), "{text}");
}

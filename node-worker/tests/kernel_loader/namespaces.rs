//! What the loader says where something is missing; each in namespaces of its own, so that the machine stays as it is.

use std::process::Command;

use shoalwatch_node_worker::loader::{Degraded, LoaderOptions, Probes, SyscallTracepoint};

use crate::{
    harness::{Outcome, turn},
    scenario::{Scenario, seen},
};

const WITHOUT_TRACEFS: &[&str] = &[
    "unshare",
    "--mount",
    "--propagation=private",
    "sh",
    "-ec",
    "mount -t tmpfs none /sys/kernel/tracing; mount -t tmpfs none /sys/kernel/debug; exec \"$@\"",
    "sh",
];
const OTHER_PIDS: &[&str] = &[
    "unshare",
    "--mount",
    "--propagation=private",
    "--pid",
    "--fork",
    "--mount-proc",
];
const WITHOUT_RIGHTS: &[&str] = &["setpriv", "--bounding-set=-all", "--inh-caps=-all"];

const INSIDE: &str = "SHOALWATCH_TEST_INSIDE";

/// Runs the test of that name again below `wrapper`, and asserts that it succeeds there. Returns true inside, where the
/// test's body belongs.
fn alone(name: &str, wrapper: &[&str]) -> Outcome<bool> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(true);
    }
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(std::env::current_exe()?);
    let output = command
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()?;
    let text = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    // A wrong name would run nothing and succeed.
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    Ok(false)
}

#[test]
fn without_tracefs_requests_are_still_seen_and_only_what_needs_it_asks_for_it() {
    let Some(_turn) = turn(&["unshare"]) else { return };
    let name = "namespaces::without_tracefs_requests_are_still_seen_and_only_what_needs_it_asks_for_it";
    if !alone(name, WITHOUT_TRACEFS).unwrap() {
        return;
    }
    let mut scenario = Scenario::new().unwrap();
    assert_eq!(scenario.probes.syscall_tracepoint(), SyscallTracepoint::Raw);
    // From Linux 7.0 on the other one misses less.
    let says_what_to_do = |degraded: &Degraded| {
        matches!(degraded, Degraded::Preempted(_)) && degraded.to_string().contains("/sys/kernel/tracing")
    };
    assert!(
        scenario.probes.degraded().iter().all(says_what_to_do),
        "{:?}",
        scenario.probes
    );
    let mut pair = scenario.connect().unwrap();
    pair.exchange("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n")
        .unwrap();
    assert_eq!(scenario.drain(), [seen(200, "GET / HTTP/1.1\r\n\r\n")]);
    let asked = LoaderOptions {
        syscall_tracepoint: Some(SyscallTracepoint::Perf),
        ..LoaderOptions::default()
    };
    let error = Probes::load(&asked).unwrap_err();
    assert_eq!(error.category(), "perf_tracepoint");
}

#[test]
fn in_a_pid_namespace_of_its_own_the_loader_says_that_nothing_will_be_attributed() {
    let Some(_turn) = turn(&["unshare"]) else { return };
    let name = "namespaces::in_a_pid_namespace_of_its_own_the_loader_says_that_nothing_will_be_attributed";
    if !alone(name, OTHER_PIDS).unwrap() {
        return;
    }
    let probes = Probes::load(&LoaderOptions::default()).unwrap();
    assert!(
        probes
            .degraded()
            .iter()
            .any(|reason| reason.category() == "pid_namespace"),
        "{probes:?}"
    );
}

#[test]
fn without_rights_the_loader_names_the_capabilities_that_it_needs() {
    let Some(_turn) = turn(&["setpriv"]) else { return };
    if !alone(
        "namespaces::without_rights_the_loader_names_the_capabilities_that_it_needs",
        WITHOUT_RIGHTS,
    )
    .unwrap()
    {
        return;
    }
    let error = Probes::load(&LoaderOptions::default()).unwrap_err();
    // Below Linux 5.11 maps are locked memory, and the right to that is what is missed first.
    assert!(["permission", "memory_lock"].contains(&error.category()), "{error}");
    assert!(error.to_string().contains("CAP_BPF"), "{error}");
}

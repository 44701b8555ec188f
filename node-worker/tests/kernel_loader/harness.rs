//! What every kernel test needs: a turn on the machine, its prerequisites, and waiting for a level.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use shoalwatch_node_worker::loader::{LoaderOptions, Probes, SyscallTracepoint};

#[path = "../shared/machine.rs"]
mod machine;

pub(crate) use machine::{Outcome, find, skip, turn};

/// Names the tracepoint that this run of the tests is for, where it is not the kernel's.
pub(crate) const TRACEPOINT: &str = "SHOALWATCH_TEST_TRACEPOINT";

/// Probes of the default sizes.
pub(crate) fn probes() -> Outcome<Probes> {
    load(&LoaderOptions::default())
}

/// Probes under the tracepoint that this run of the tests is for.
pub(crate) fn load(options: &LoaderOptions) -> Outcome<Probes> {
    let tracepoint = std::env::var(TRACEPOINT).ok();
    let syscall_tracepoint = match tracepoint.as_deref() {
        None => None,
        Some("raw") => Some(SyscallTracepoint::Raw),
        Some("perf") => Some(SyscallTracepoint::Perf),
        Some(other) => return Err(format!("{TRACEPOINT} is {other}").into()),
    };
    Ok(Probes::load(&LoaderOptions {
        syscall_tracepoint,
        ..*options
    })?)
}

/// Asks again until it holds; an error after a time that no healthy machine needs.
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) -> Outcome<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        if Instant::now() > deadline {
            return Err(format!("{what}: not within 20 s").into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// A child process, ended when dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        Ok(Self(command.spawn().map_err(|error| format!("{command:?}: {error}"))?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// It and all its descendants.
    pub(crate) fn family(&self) -> Vec<u32> {
        let mut family = vec![self.id()];
        let mut next = 0;
        while let Some(parent) = family.get(next) {
            family.extend(children(*parent));
            next += 1;
        }
        family
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // nginx's master ends its workers when it is asked to; whatever is left then dies with it.
        let family = self.family();
        for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
            for pid in family
                .iter()
                .filter_map(|pid| rustix::process::Pid::from_raw(i32::try_from(*pid).ok()?))
            {
                rustix::process::kill_process(pid, signal).ok();
            }
            if signal == rustix::process::Signal::TERM {
                wait_for("end", || matches!(self.0.try_wait(), Ok(Some(_)))).ok();
            }
        }
        self.0.wait().ok();
    }
}

fn children(parent: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// A file of `tests/servers`.
pub(crate) fn server_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name)
}

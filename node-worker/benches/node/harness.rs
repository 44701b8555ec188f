//! What every measurement needs: a core of its own, waiting for a level, and processes that end with the benchmark.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// Result of everything here; the first error ends the benchmark.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Who works where. On a machine with one core both are the same, and ratios mean little.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    /// nginx and the worker share it: what the worker takes is missing to nginx.
    pub(crate) server: usize,
    /// The load tool, the OTLP receiver and the unselected process.
    pub(crate) client: usize,
}

impl Cores {
    pub(crate) fn choose() -> Outcome<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let server = cores.next().ok_or("no core")?;
        let client = cores.next_back().unwrap_or(server);
        Ok(Self { server, client })
    }
}

/// This thread, and what it starts, stay on a core.
pub(crate) fn stay_on(core: usize) -> Outcome<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// A program of the search path; the administrator's folder may be missing from it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Asks again until there is an answer; an error after a time that no healthy machine needs.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Outcome<Option<T>>) -> Outcome<T> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = ask();
        if let Ok(Some(answer)) = answer {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return Err(format!("{what}: not within 20 s ({:?})", answer.map(|_| "not yet")).into());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A child process, ended when dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it on a core; the caller goes back to its own.
    pub(crate) fn start(command: &mut Command, core: usize) -> Outcome<Self> {
        let own = sched_getaffinity(None)?;
        stay_on(core)?;
        let child = command.spawn();
        sched_setaffinity(None, &own)?;
        Ok(Self(child.map_err(|error| format!("{command:?}: {error}"))?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    fn stop(&mut self) -> Outcome<()> {
        let pid = Pid::from_raw(self.id().try_into()?).ok_or("no pid")?;
        kill_process(pid, Signal::TERM)?;
        wait_for("the process's end", || Ok(self.0.try_wait()?))?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A server ends its own children when it is asked to.
        if self.stop().is_err() {
            self.0.kill().ok();
        }
        self.0.wait().ok();
    }
}

//! What every test here needs: a turn on the machine, its prerequisites, waiting for a level, and processes that end with the test.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Result of helpers; tests unwrap it.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

static MACHINE: Mutex<()> = Mutex::new(());

/// A turn on the machine, or none where something is missing and skipping is allowed.
pub(crate) fn turn(programs: &[&str]) -> Option<MutexGuard<'static, ()>> {
    let root = rustix::process::geteuid().is_root();
    let missing = programs.iter().filter(|program| find(program).is_none()).copied();
    let missing: Vec<_> = (!root).then_some("root").into_iter().chain(missing).collect();
    if missing.is_empty() {
        return Some(MACHINE.lock().unwrap_or_else(PoisonError::into_inner));
    }
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!in_ci, "needs {}", missing.join(", "));
    eprintln!("skipped: needs {}", missing.join(", "));
    None
}

/// A program of the search path; the administrator's folders may be missing from it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/go/bin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Asks again until there is an answer; an error after a time that no healthy machine needs.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Outcome<Option<T>>) -> Outcome<T> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let answer = ask();
        if let Ok(Some(answer)) = answer {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return Err(format!("{what}: not within a minute ({:?})", answer.map(|_| "not yet")).into());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A child process, ended when dropped.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        Ok(Self(command.spawn().map_err(|error| format!("{command:?}: {error}"))?))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Outcome<()> {
        let pid = Pid::from_raw(self.0.id().try_into()?).ok_or("no pid")?;
        Ok(kill_process(pid, signal)?)
    }

    pub(crate) fn wait(&mut self) -> Outcome<std::process::ExitStatus> {
        wait_for("the process's end", || Ok(self.0.try_wait()?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A server ends its own children when it is asked to.
        if self.signal(Signal::TERM).is_err() || self.wait().is_err() {
            self.0.kill().ok();
        }
        self.0.wait().ok();
    }
}

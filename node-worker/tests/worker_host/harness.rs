//! What every test here needs: a turn on the machine, its prerequisites, waiting for a level, and processes that end with the test.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

#[path = "../shared/machine.rs"]
mod machine;

pub(crate) use machine::{Outcome, find, turn};

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

//! What every kernel test needs: a turn on the machine, its prerequisites, and waiting for a level.

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use shoalwatch_node_worker::loader::{LoaderOptions, Probes};

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

/// Probes of the default sizes.
pub(crate) fn probes() -> Outcome<Probes> {
    Ok(Probes::load(&LoaderOptions::default())?)
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

//! A turn on the machine, and its programs.

use std::{
    error::Error,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

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
    skip(&missing.join(", "));
    None
}

/// The test cannot be run, which in CI is a failure.
pub(crate) fn skip(missing: &str) {
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!in_ci, "needs {missing}");
    eprintln!("skipped: needs {missing}");
}

/// A program of the search path; the administrator's folders may be missing from it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/go/bin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

//! What the machine must offer before anything is loaded.

use std::{fs, io};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::error::{Degraded, LoadError};

/// The oldest kernel that has all helpers and map types in use.
const OLDEST: (u32, u32) = (5, 10);
/// From here on maps are charged to the memory cgroup and not to the limit of locked memory.
const CGROUP_MEMORY: (u32, u32) = (5, 11);
/// The initial pid namespace's inode, fixed in the kernel (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Checks architecture and kernel, and raises the limit of locked memory where maps count against it. Returns the kernel's version.
pub(super) fn prepare() -> Result<(u32, u32), LoadError> {
    if !cfg!(target_arch = "x86_64") {
        return Err(LoadError::Architecture);
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").map_err(LoadError::KernelRelease)?;
    let version = check_release(release.trim())?;
    if version < CGROUP_MEMORY {
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        setrlimit(Resource::Memlock, unlimited).map_err(|errno| LoadError::MemoryLock(errno.into()))?;
    }
    Ok(version)
}

fn check_release(release: &str) -> Result<(u32, u32), LoadError> {
    parse_release(release)
        .filter(|version| *version >= OLDEST)
        .ok_or_else(|| LoadError::KernelTooOld {
            release: release.to_owned(),
        })
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Whether the worker sees process ids as the kernel's programs do.
pub(super) fn check_pid_namespace() -> Option<Degraded> {
    let found = fs::read_link("/proc/self/ns/pid").map_or_else(unreadable, |link| link.to_string_lossy().into_owned());
    (found != INITIAL_PID_NAMESPACE).then_some(Degraded::PidNamespace { found })
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_or_else wants")]
fn unreadable(error: io::Error) -> String {
    format!("unreadable: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_are_understood() {
        assert_eq!(parse_release("5.10.0-35-cloud-amd64"), Some((5, 10)));
        assert_eq!(parse_release("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(parse_release("7.2+"), Some((7, 2)));
        assert_eq!(parse_release("unknown"), None);
    }

    #[test]
    fn a_kernel_below_the_floor_is_refused_with_its_release() {
        assert!(check_release("5.10.0").is_ok());
        let error = check_release("5.4.0-150-generic").unwrap_err();
        assert_eq!(error.category(), "kernel");
        assert!(error.to_string().contains("5.4.0-150-generic"), "{error}");
    }
}

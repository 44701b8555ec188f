//! What the probes cost, as the kernel tells it of this process's own descriptors: that takes no capability.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

use aya::{
    Ebpf,
    programs::ProgramFd,
    sys::{Stats as Statistics, SyscallError, enable_stats},
};
use shoalwatch_ebpf_common::programs;

const FDINFO: &str = "/proc/self/fdinfo";

/// Why BPF statistics could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// The kernel refused.
    #[error(
        "BPF statistics cannot be enabled: grant CAP_SYS_ADMIN, or leave --bpf-stats out and set sysctl kernel.bpf_stats_enabled=1"
    )]
    Statistics(#[source] SyscallError),
}

impl PriceError {
    /// A bounded name for metric labels and conditions.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Statistics(_) => "bpf_statistics",
        }
    }
}

/// What one program did since it was loaded, as far as BPF statistics were on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Nanoseconds in the program, with the cost of the statistics themselves: about 20 of each run.
    pub run_time_ns: u64,
    /// How often it ran.
    pub runs: u64,
}

/// The programs' price tags. Holds the programs, not what they are attached to.
#[derive(Debug, Default)]
pub struct Price {
    programs: Vec<(String, OwnedFd)>,
    map_bytes: u64,
    /// Statistics are on while it is open.
    statistics: Option<OwnedFd>,
}

impl Price {
    /// Of an object whose programs are loaded. What cannot be read is left out.
    pub(super) fn of(object: &Ebpf) -> Self {
        let programs = object.programs().filter_map(|(name, program)| {
            let fd: ProgramFd = program.fd().ok()?.try_clone().ok()?;
            Some((name.to_owned(), fd.as_fd().try_clone_to_owned().ok()?))
        });
        Self {
            programs: programs.collect(),
            map_bytes: map_bytes(Path::new(FDINFO)).unwrap_or_default(),
            statistics: None,
        }
    }

    /// Has the kernel take the time of every BPF program of the machine, until this is dropped.
    pub fn enable_statistics(&mut self) -> Result<(), PriceError> {
        self.statistics = Some(enable_stats(Statistics::RunTime).map_err(PriceError::Statistics)?);
        Ok(())
    }

    /// Each program that ran while statistics were on, whoever turned them on.
    pub fn programs(&self) -> impl Iterator<Item = (&str, Work)> {
        let work = |fd: &OwnedFd| work(&info(fd)?).filter(|work| work.runs > 0);
        self.programs
            .iter()
            .filter_map(move |(name, fd)| Some((name.as_str(), work(fd)?)))
    }

    /// Bytes of all maps; they were all allocated at load.
    #[must_use]
    pub const fn map_bytes(&self) -> u64 {
        self.map_bytes
    }
}

/// How often the kernel left a program out because it was running on that processor already, and no other one stood in; 0 below Linux
/// 5.12, which does not tell.
pub(super) fn recursion_misses(object: &Ebpf) -> u64 {
    let misses = object.programs().filter_map(|(name, program)| {
        let misses = field(&info(program.fd().ok()?)?, "recursion_misses")?;
        Some((name, misses))
    });
    misses_of(misses)
}

/// Of the two programs that do the same, what the one missed is not missed unless the other one missed it too.
fn misses_of<'a>(programs: impl Iterator<Item = (&'a str, u64)>) -> u64 {
    let (mut alone, mut first, mut second) = (0, 0, 0);
    for (name, misses) in programs {
        *match name {
            programs::SOCKET_STATE => &mut first,
            programs::SOCKET_STATE_AGAIN => &mut second,
            _ => &mut alone,
        } += misses;
    }
    alone + first.min(second)
}

fn info(fd: &impl AsFd) -> Option<String> {
    fs::read_to_string(Path::new(FDINFO).join(fd.as_fd().as_raw_fd().to_string())).ok()
}

/// The maps that this process holds, each once.
fn map_bytes(folder: &Path) -> io::Result<u64> {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        // A descriptor may be closed meanwhile.
        let Ok(info) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        if let (Some(id), Some(bytes)) = (field(&info, "map_id"), field(&info, "memlock")) {
            maps.insert(id, bytes);
        }
    }
    Ok(maps.into_values().sum())
}

fn work(info: &str) -> Option<Work> {
    Some(Work {
        run_time_ns: field(info, "run_time_ns")?,
        runs: field(info, "run_cnt")?,
    })
}

/// `name:\tnumber`, as the kernel's `bpf_prog_show_fdinfo` and `bpf_map_show_fdinfo` write it.
fn field(info: &str, name: &str) -> Option<u64> {
    let value = info
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "pos:\t0\nflags:\t02000002\nprog_type:\t17\nprog_jited:\t1\nmemlock:\t8192\nprog_id:\t42\n\
                           run_time_ns:\t1234\nrun_cnt:\t56\nrecursion_misses:\t3\n";

    fn map(id: u32, bytes: u32) -> String {
        format!("pos:\t0\nmap_type:\t1\nmax_entries:\t4096\nmemlock:\t{bytes}\nmap_id:\t{id}\nfrozen:\t0\n")
    }

    #[test]
    fn a_programs_work_is_read_as_the_kernel_writes_it() {
        let expected = Work {
            run_time_ns: 1234,
            runs: 56,
        };
        assert_eq!(work(PROGRAM), Some(expected));
        assert_eq!(field(PROGRAM, "recursion_misses"), Some(3));
        assert_eq!(work("link_type:\traw_tracepoint\nprog_id:\t42\n"), None);
    }

    #[test]
    fn what_one_of_two_programs_missed_is_not_missed_unless_the_other_one_missed_it_too() {
        let misses = |first, second| {
            let programs = [
                (programs::SYS_EXIT, 5),
                (programs::SOCKET_STATE, first),
                (programs::PROCESS_EXEC, 1),
                (programs::SOCKET_STATE_AGAIN, second),
            ];
            misses_of(programs.into_iter())
        };
        assert_eq!(misses(4, 0), 6);
        assert_eq!(misses(0, 3), 6);
        assert_eq!(misses(4, 3), 9);
    }

    #[test]
    fn a_map_of_two_descriptors_is_counted_once_and_a_program_is_none() {
        let folder = tempfile::tempdir().unwrap();
        for (fd, info) in [map(7, 4096), map(7, 4096), map(8, 100), PROGRAM.to_owned()]
            .iter()
            .enumerate()
        {
            fs::write(folder.path().join(fd.to_string()), info).unwrap();
        }
        assert_eq!(map_bytes(folder.path()).unwrap(), 4196);
    }
}

//! The hook at the end of system calls: which tracepoint, and its programs.

use std::io;

use aya::{
    Btf, Ebpf,
    maps::ProgramArray,
    programs::{BtfTracePoint, ProgramError, ProgramFd, TracePoint},
};
use shoalwatch_ebpf_common::{maps, programs};

use super::{
    error::{Degraded, LoadError},
    kernel_types::TypesError,
    tracefs,
};

/// From here on a thread can be preempted within the programs of raw tracepoints (`__bpf_trace_run` no longer keeps it from that), and
/// the kernel leaves such a program out for the other threads of its processor until it goes on.
const PREEMPTED: (u32, u32) = (7, 0);
/// From here on a program of a perf tracepoint is told the registers (`bpf_task_pt_regs`).
const TOLD_REGISTERS: (u32, u32) = (5, 15);

/// How the kernel tells that a system call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyscallTracepoint {
    /// The raw tracepoint `sys_exit`, its arguments typed: the cheapest.
    Raw,
    /// The perf tracepoint `raw_syscalls/sys_exit`: dearer, and never preempted. It needs Linux 5.15 and tracefs.
    Perf,
}

/// The programs of a tracepoint: the one that is attached, and those that it goes on with by their numbers in [`maps::NEXT`].
struct Programs {
    attached: &'static str,
    next: [&'static str; 2],
}

impl SyscallTracepoint {
    const fn programs(self) -> Programs {
        match self {
            Self::Raw => Programs {
                attached: programs::SYS_EXIT,
                next: [programs::RAW_TRANSFER, programs::REQUEST_BEGUN],
            },
            Self::Perf => Programs {
                attached: programs::PERF_SYS_EXIT,
                next: [programs::PERF_RAW_TRANSFER, programs::PERF_REQUEST_BEGUN],
            },
        }
    }
}

/// The tracepoint that was asked for, else the one that misses nothing on this kernel; and what is missed where that cannot be had.
pub(super) fn choose(
    asked: Option<SyscallTracepoint>,
    kernel: (u32, u32),
) -> Result<(SyscallTracepoint, Option<Degraded>), LoadError> {
    choose_from(asked, kernel, &tracefs::check_sys_exit)
}

fn choose_from(
    asked: Option<SyscallTracepoint>,
    kernel: (u32, u32),
    check: &dyn Fn() -> io::Result<()>,
) -> Result<(SyscallTracepoint, Option<Degraded>), LoadError> {
    match asked {
        Some(SyscallTracepoint::Raw) => Ok((SyscallTracepoint::Raw, None)),
        Some(SyscallTracepoint::Perf) => {
            let usable = told_registers(kernel).and_then(|()| check());
            usable.map_err(LoadError::PerfTracepoint)?;
            Ok((SyscallTracepoint::Perf, None))
        }
        None if kernel < PREEMPTED => Ok((SyscallTracepoint::Raw, None)),
        None => Ok(match check() {
            Ok(()) => (SyscallTracepoint::Perf, None),
            Err(error) => (SyscallTracepoint::Raw, Some(Degraded::Preempted(Box::new(error)))),
        }),
    }
}

fn told_registers((major, minor): (u32, u32)) -> io::Result<()> {
    let too_old = || io::Error::new(io::ErrorKind::Unsupported, format!("this is Linux {major}.{minor}"));
    ((major, minor) >= TOLD_REGISTERS).then_some(()).ok_or_else(too_old)
}

/// Loads the programs and attaches the first one. Those that it goes on with are in place before it runs.
pub(super) fn attach(object: &mut Ebpf, tracepoint: SyscallTracepoint) -> Result<(), LoadError> {
    let types = Types::of(tracepoint)?;
    let Programs { attached, next } = tracepoint.programs();
    for (number, name) in (0..).zip(next) {
        connect(object, &types, number, name)?;
    }
    types.load(object, attached)?;
    attach_loaded(object, tracepoint, attached).map_err(|source| LoadError::Attach {
        program: attached,
        source,
    })
}

fn attach_loaded(object: &mut Ebpf, tracepoint: SyscallTracepoint, name: &str) -> Result<(), ProgramError> {
    let program = object.program_mut(name).ok_or(ProgramError::UnexpectedProgramType)?;
    match tracepoint {
        SyscallTracepoint::Raw => <&mut BtfTracePoint>::try_from(program)?.attach().map(drop),
        SyscallTracepoint::Perf => <&mut TracePoint>::try_from(program)?
            .attach("raw_syscalls", "sys_exit")
            .map(drop),
    }
}

/// The array stays in the object: the kernel empties it when its last descriptor is closed.
fn connect(object: &mut Ebpf, types: &Types, number: u32, name: &'static str) -> Result<(), LoadError> {
    let fd = types.load(object, name)?;
    let map = object
        .map_mut(maps::NEXT)
        .ok_or(LoadError::Missing { name: maps::NEXT })?;
    let mut next = ProgramArray::try_from(map).map_err(LoadError::from_map)?;
    next.set(number, &fd, 0).map_err(LoadError::from_map)
}

/// What the verifier has to be told of a tracepoint's arguments: the kernel's types, for the raw one.
struct Types(Option<Btf>);

impl Types {
    fn of(tracepoint: SyscallTracepoint) -> Result<Self, TypesError> {
        let types = match tracepoint {
            SyscallTracepoint::Raw => Some(Btf::from_sys_fs().map_err(TypesError::Unusable)?),
            SyscallTracepoint::Perf => None,
        };
        Ok(Self(types))
    }

    fn load(&self, object: &mut Ebpf, name: &'static str) -> Result<ProgramFd, LoadError> {
        let program = object.program_mut(name).ok_or(LoadError::Missing { name })?;
        let loaded = match &self.0 {
            Some(types) => load_raw(program, types),
            None => load_perf(program),
        };
        loaded.map_err(|error| LoadError::from_program(name, error))
    }
}

fn load_raw(program: &mut aya::programs::Program, types: &Btf) -> Result<ProgramFd, ProgramError> {
    let program: &mut BtfTracePoint = program.try_into()?;
    program.load("sys_exit", types)?;
    program.fd()?.try_clone().map_err(ProgramError::IOError)
}

fn load_perf(program: &mut aya::programs::Program) -> Result<ProgramFd, ProgramError> {
    let program: &mut TracePoint = program.try_into()?;
    program.load()?;
    program.fd()?.try_clone().map_err(ProgramError::IOError)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTED: fn() -> io::Result<()> = || Ok(());
    const UNMOUNTED: fn() -> io::Result<()> = || Err(io::ErrorKind::NotFound.into());

    fn chosen(
        asked: Option<SyscallTracepoint>,
        kernel: (u32, u32),
        check: fn() -> io::Result<()>,
    ) -> (Option<SyscallTracepoint>, &'static str) {
        match choose_from(asked, kernel, &check) {
            Ok((tracepoint, None)) => (Some(tracepoint), ""),
            Ok((tracepoint, Some(degraded))) => (Some(tracepoint), degraded.category()),
            Err(error) => (None, error.category()),
        }
    }

    #[test]
    fn where_the_raw_tracepoint_misses_calls_the_perf_one_is_taken_unless_there_is_no_tracefs() {
        use SyscallTracepoint::{Perf, Raw};
        assert_eq!(chosen(None, (6, 19), UNMOUNTED), (Some(Raw), ""));
        assert_eq!(chosen(None, (7, 0), MOUNTED), (Some(Perf), ""));
        assert_eq!(chosen(None, (7, 2), UNMOUNTED), (Some(Raw), "preempted"));
    }

    #[test]
    fn what_was_asked_for_is_taken_or_refused() {
        use SyscallTracepoint::{Perf, Raw};
        assert_eq!(chosen(Some(Raw), (7, 2), MOUNTED), (Some(Raw), ""));
        assert_eq!(chosen(Some(Perf), (5, 15), MOUNTED), (Some(Perf), ""));
        assert_eq!(chosen(Some(Perf), (5, 14), MOUNTED), (None, "perf_tracepoint"));
        assert_eq!(chosen(Some(Perf), (7, 2), UNMOUNTED), (None, "perf_tracepoint"));
    }
}

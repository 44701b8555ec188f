//! The hook at the end of system calls: which tracepoint, and its programs.

use std::io;

use aya::{
    Btf, Ebpf,
    maps::ProgramArray,
    programs::{BtfTracePoint, Program, ProgramError, ProgramFd, TracePoint},
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
    /// The raw tracepoint `sys_exit`, its arguments typed. It needs no more than the right to load programs.
    Raw,
    /// The perf tracepoint `raw_syscalls/sys_exit`, which is never preempted. It needs Linux 5.15, tracefs, and on Debian's kernels
    /// the sysctl `kernel.perf_event_paranoid` at 2 at most.
    Perf,
}

/// The programs of a tracepoint: the one that is attached, and those that it goes on with by their numbers in [`maps::NEXT`].
struct Programs {
    attached: &'static str,
    next: [&'static str; 3],
}

impl SyscallTracepoint {
    const fn programs(self) -> Programs {
        match self {
            Self::Raw => Programs {
                attached: programs::SYS_EXIT,
                next: [programs::RAW_TRANSFER, programs::REQUEST_BEGUN, programs::HTTP2_BEGUN],
            },
            Self::Perf => Programs {
                attached: programs::PERF_SYS_EXIT,
                next: [
                    programs::PERF_RAW_TRANSFER,
                    programs::PERF_REQUEST_BEGUN,
                    programs::PERF_HTTP2_BEGUN,
                ],
            },
        }
    }
}

/// Which tracepoint, and what is missed by it.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) tracepoint: SyscallTracepoint,
    pub(super) missed: Option<Degraded>,
    /// Nobody asked for it.
    own: bool,
}

impl Choice {
    /// The tracepoint that was asked for, else the one that misses nothing on this kernel.
    pub(super) fn make(asked: Option<SyscallTracepoint>, kernel: (u32, u32)) -> Result<Self, LoadError> {
        Self::make_by(asked, kernel, &tracefs::check_sys_exit)
    }

    fn make_by(
        asked: Option<SyscallTracepoint>,
        kernel: (u32, u32),
        check: &dyn Fn() -> io::Result<()>,
    ) -> Result<Self, LoadError> {
        let fitting = if kernel < PREEMPTED {
            SyscallTracepoint::Raw
        } else {
            SyscallTracepoint::Perf
        };
        let choice = Self {
            tracepoint: asked.unwrap_or(fitting),
            missed: None,
            own: asked.is_none(),
        };
        if choice.tracepoint == SyscallTracepoint::Raw {
            return Ok(choice);
        }
        match told_registers(kernel).and_then(|()| check()) {
            Ok(()) => Ok(choice),
            Err(error) => choice.second(LoadError::PerfTracepoint(Box::new(error))),
        }
    }

    /// The raw tracepoint where the perf one cannot be had, unless it was asked for.
    pub(super) fn second(self, error: LoadError) -> Result<Self, LoadError> {
        match error {
            LoadError::PerfTracepoint(source) if self.own => Ok(Self {
                tracepoint: SyscallTracepoint::Raw,
                missed: Some(Degraded::Preempted(source)),
                own: true,
            }),
            error => Err(error),
        }
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
    let program = object
        .program_mut(attached)
        .ok_or(LoadError::Missing { name: attached })?;
    match tracepoint {
        SyscallTracepoint::Raw => attach_raw(program).map_err(|source| LoadError::Attach {
            program: attached,
            source,
        }),
        SyscallTracepoint::Perf => attach_perf(program).map_err(|error| LoadError::PerfTracepoint(Box::new(error))),
    }
}

fn attach_raw(program: &mut Program) -> Result<(), ProgramError> {
    let program: &mut BtfTracePoint = program.try_into()?;
    program.attach().map(drop)
}

fn attach_perf(program: &mut Program) -> Result<(), ProgramError> {
    let program: &mut TracePoint = program.try_into()?;
    program.attach("raw_syscalls", "sys_exit").map(drop)
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

fn load_raw(program: &mut Program, types: &Btf) -> Result<ProgramFd, ProgramError> {
    let program: &mut BtfTracePoint = program.try_into()?;
    program.load("sys_exit", types)?;
    program.fd()?.try_clone().map_err(ProgramError::IOError)
}

fn load_perf(program: &mut Program) -> Result<ProgramFd, ProgramError> {
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
        told(Choice::make_by(asked, kernel, &check))
    }

    fn told(choice: Result<Choice, LoadError>) -> (Option<SyscallTracepoint>, &'static str) {
        match choice {
            Ok(choice) => {
                let missed = choice.missed.map_or("", |degraded| degraded.category());
                (Some(choice.tracepoint), missed)
            }
            Err(error) => (None, error.category()),
        }
    }

    #[test]
    fn where_the_raw_tracepoint_misses_calls_the_perf_one_is_taken_if_it_can_be_had() {
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

    #[test]
    fn a_refusal_to_attach_is_overcome_unless_the_perf_tracepoint_was_asked_for_or_something_else_is_wrong() {
        let made = |asked| Choice::make_by(asked, (7, 2), &MOUNTED).unwrap();
        let refused = || LoadError::PerfTracepoint(Box::new(io::Error::from_raw_os_error(libc::EACCES)));
        assert_eq!(
            told(made(None).second(refused())),
            (Some(SyscallTracepoint::Raw), "preempted")
        );
        let asked = made(Some(SyscallTracepoint::Perf));
        assert_eq!(told(asked.second(refused())), (None, "perf_tracepoint"));
        let missing = LoadError::Missing { name: maps::NEXT };
        assert_eq!(told(made(None).second(missing)), (None, "object"));
    }
}

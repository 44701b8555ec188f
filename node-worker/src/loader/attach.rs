//! Puts the object into the kernel and its programs to their hooks, but for [`syscalls`](super::syscalls).

use aya::{
    Ebpf, EbpfLoader,
    maps::Map,
    programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _},
};
use shoalwatch_ebpf_common::{globals, maps, programs};

use super::{
    error::{Degraded, LoadError},
    kernel_types::FieldOffsets,
    object::OBJECT,
    probes::LoaderOptions,
};

/// Creates the maps and reads the programs; nothing runs yet.
pub(super) fn load_object(options: &LoaderOptions, fields: &FieldOffsets) -> Result<Ebpf, LoadError> {
    let mut loader = EbpfLoader::new();
    // Nothing is relocated against the kernel's types, so its BTF need not be parsed.
    loader.btf(None);
    loader.map_max_entries(maps::EVENTS, options.ring_bytes);
    loader.map_max_entries(maps::RAW, options.raw_ring_bytes);
    loader.map_max_entries(maps::TASKS, options.max_tasks);
    loader.map_max_entries(maps::CONNECTIONS, options.max_connections);
    loader.map_max_entries(maps::LOCALS, options.max_connections);
    loader.map_max_entries(maps::COUNTERS, options.max_counters);
    for (global, offset) in named(fields) {
        loader.override_global(global, offset, true);
    }
    loader.load(OBJECT).map_err(LoadError::from_object)
}

const fn named(offsets: &FieldOffsets) -> [(&'static str, &u32); 15] {
    [
        (globals::TASK_PID, &offsets.task_pid),
        (globals::TASK_FILES, &offsets.task_files),
        (globals::TASK_WORKS, &offsets.task_works),
        (globals::FILE_WORK, &offsets.file_work),
        (globals::FILES_FDT, &offsets.files_fdt),
        (globals::FDTABLE_MAX_FDS, &offsets.fdtable_max_fds),
        (globals::FILE_PRIVATE_DATA, &offsets.file_private_data),
        (globals::SOCKET_TYPE, &offsets.socket_type),
        (globals::SOCKET_FILE, &offsets.socket_file),
        (globals::SOCKET_INODE, &offsets.socket_inode),
        (globals::SOCK_SOCKET, &offsets.sock_socket),
        (globals::SOCK_FAMILY, &offsets.sock_family),
        (globals::SOCK_DADDR, &offsets.sock_daddr),
        (globals::SOCK_V6_DADDR, &offsets.sock_v6_daddr),
        (globals::SOCK_DPORT, &offsets.sock_dport),
    ]
}

/// The programs whose absence is a degradation. Returns what could not be had.
pub(super) fn attach_others(object: &mut Ebpf) -> Vec<Degraded> {
    let exec = attach_exec(object).map_err(|error| Degraded::Exec(Box::new(error)));
    let fork = attach_fork(object).map_err(|error| Degraded::Fork(Box::new(error)));
    let ends = attach_socket_state(object).map_err(|error| Degraded::SocketState(Box::new(error)));
    let local_ends = load_local_end(object).map_err(|error| Degraded::LocalEnd(Box::new(error)));
    [exec, fork, ends, local_ends]
        .into_iter()
        .filter_map(Result::err)
        .collect()
}

fn attach_exec(object: &mut Ebpf) -> Result<(), ProgramError> {
    let program: &mut RawTracePoint = program(object, programs::PROCESS_EXEC)?.try_into()?;
    program.load()?;
    program.attach("sched_process_exec")?;
    Ok(())
}

fn attach_socket_state(object: &mut Ebpf) -> Result<(), ProgramError> {
    for name in [programs::SOCKET_STATE, programs::SOCKET_STATE_AGAIN] {
        let program: &mut RawTracePoint = program(object, name)?.try_into()?;
        program.load()?;
        program.attach("inet_sock_set_state")?;
    }
    Ok(())
}

/// It is run by [`end_local`] only.
fn load_local_end(object: &mut Ebpf) -> Result<(), ProgramError> {
    let program: &mut RawTracePoint = program(object, programs::LOCAL_END)?.try_into()?;
    program.load()
}

/// Ends the connection of a Unix socket if the socket is gone.
pub(super) fn end_local(object: &Ebpf, sock: u64) -> Result<(), ProgramError> {
    let program: &RawTracePoint = object
        .program(programs::LOCAL_END)
        .ok_or(ProgramError::UnexpectedProgramType)?
        .try_into()?;
    let mut options = RawTracePointRunOptions::new();
    options.args[0] = sock;
    program.test_run(options)?;
    Ok(())
}

fn attach_fork(object: &mut Ebpf) -> Result<(), ProgramError> {
    let program: &mut RawTracePoint = program(object, programs::PROCESS_FORK)?.try_into()?;
    program.load()?;
    program.attach("task_newtask")?;
    Ok(())
}

fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut aya::programs::Program, ProgramError> {
    object.program_mut(name).ok_or(ProgramError::UnexpectedProgramType)
}

/// Takes a map out of the object, as the type that the worker uses.
pub(super) fn take_map<T>(object: &mut Ebpf, name: &'static str) -> Result<T, LoadError>
where
    T: TryFrom<Map, Error = aya::maps::MapError>,
{
    let map = object.take_map(name).ok_or(LoadError::Missing { name })?;
    T::try_from(map).map_err(LoadError::from_map)
}

//! From a descriptor to the connection behind it.
//!
//! A connection is the kernel's `struct sock`. Descriptors are only names for it: duplicated, inherited or passed to another process
//! they need not be followed, for each is resolved through the kernel's own structures, whose layout the loader reads from the running
//! kernel's type information. That is six reads, so what a descriptor leads to is remembered until a call changes it.

use aya_ebpf::{
    Global,
    helpers::{bpf_get_current_task, bpf_probe_read_kernel},
};
use shoalwatch_ebpf_common::{Connection, RequestRecord, Task, descriptor_key};

use crate::{
    connection::Caller,
    maps::{CONNECTIONS, DESCRIPTORS},
};

/// Offsets; see [`shoalwatch_ebpf_common::globals`].
#[unsafe(no_mangle)]
static TASK_FILES: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TASK_WORKS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FILE_WORK: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FILES_FDT: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FDTABLE_MAX_FDS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FILE_PRIVATE_DATA: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCKET_TYPE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCKET_FILE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCKET_INODE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_SOCKET: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_FAMILY: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_DADDR: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_V6_DADDR: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_DPORT: Global<u32> = Global::new(0);

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
/// The last four bytes of an IPv4 address in IPv6 follow these.
const MAPPED: u64 = 0xffff_0000;

/// A socket that a descriptor of the current process leads to.
#[derive(Clone, Copy)]
pub(crate) struct Socket {
    /// The address of its `struct sock`.
    pub(crate) sock: u64,
}

/// What a transfer's connection is, once it matters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// TCP: the kernel tells its end.
    Internet,
    /// A Unix stream: it does not.
    Local,
    /// Anything else.
    Other,
}

impl Socket {
    /// The socket behind a descriptor of a call that returns; none for a file, a pipe, or a descriptor that is closed already.
    #[inline(always)]
    pub(crate) fn of(caller: &Caller, fd: u32) -> Option<Self> {
        let mut sock = if has_strays(caller.task) { given_back() } else { 0 };
        if sock == 0 {
            sock = led_to(caller, fd)?;
        }
        (sock != 0).then_some(Self { sock })
    }

    #[inline(always)]
    pub(crate) fn kind(self) -> Kind {
        let stream = open(self.sock).and_then(|socket| kernel::<u16>(socket, &SOCKET_TYPE)) == Some(SOCK_STREAM);
        match kernel::<u16>(self.sock, &SOCK_FAMILY) {
            Some(AF_INET | AF_INET6) if stream => Kind::Internet,
            Some(AF_UNIX) if stream => Kind::Local,
            _ => Kind::Other,
        }
    }

    /// Writes down who is at the other end.
    #[inline(always)]
    pub(crate) fn name_peer(self, record: &mut RequestRecord) {
        let Some(port) = kernel::<u16>(self.sock, &SOCK_DPORT) else {
            return;
        };
        record.peer_port = u16::from_be(port);
        let address = if kernel::<u16>(self.sock, &SOCK_FAMILY) == Some(AF_INET6) {
            kernel::<[u64; 2]>(self.sock, &SOCK_V6_DADDR)
        } else {
            kernel::<u32>(self.sock, &SOCK_DADDR).map(|address| [0, u64::from(address) << 32 | MAPPED])
        };
        if let Some([high, low]) = address {
            let [a, b] = [high.to_ne_bytes(), low.to_ne_bytes()];
            record.peer_address[..8].copy_from_slice(&a);
            record.peer_address[8..].copy_from_slice(&b);
        }
    }
}

/// The address of the `struct sock` that a descriptor leads to, 0 for what is no socket.
#[inline(always)]
fn led_to(caller: &Caller, fd: u32) -> Option<u64> {
    let key = descriptor_key(caller.tgid, generation(caller.task), fd)?;
    // SAFETY: the value is copied at once.
    if let Some(sock) = unsafe { DESCRIPTORS.get(key) } {
        return Some(*sock);
    }
    let sock = resolve(fd).unwrap_or(0);
    // What finds no room is resolved again.
    DESCRIPTORS.insert(key, sock, 0).ok();
    Some(sock)
}

/// The `struct sock` behind a descriptor of the current process.
#[inline(always)]
fn resolve(fd: u32) -> Option<u64> {
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let files: u64 = kernel(task, &TASK_FILES)?;
    let table: u64 = kernel(files, &FILES_FDT)?;
    let [max_fds, descriptors]: [u64; 2] = kernel(table, &FDTABLE_MAX_FDS)?;
    if fd >= max_fds as u32 {
        return None;
    }
    sock_of(kernel_at(descriptors + u64::from(fd) * 8)?)
}

/// The `struct sock` of a file that is a socket's.
#[inline(always)]
fn sock_of(file: u64) -> Option<u64> {
    let socket: u64 = kernel(file, &FILE_PRIVATE_DATA)?;
    let [owner, sock]: [u64; 2] = kernel(socket, &SOCKET_FILE)?;
    // Only a socket knows its file: whatever else `private_data` may be is told apart by this.
    (owner == file).then_some(sock)
}

/// What waits for a call's return at most, that is looked at.
const WORKS: usize = 3;

/// The `struct sock` that nobody but the call at hand had open any more, 0 if there is none: the call began when its number led there,
/// and the number was closed since. The kernel gives such a socket back in two steps: it notes the work, and does it after the call's
/// return was seen here.
#[inline(always)]
fn given_back() -> u64 {
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let mut work: u64 = kernel(task, &TASK_WORKS).unwrap_or(0);
    for _ in 0..WORKS {
        if work == 0 {
            break;
        }
        if let Some(sock) = sock_of(work - u64::from(FILE_WORK.load())) {
            return sock;
        }
        work = kernel_at(work).unwrap_or(0);
    }
    0
}

/// The number of a socket's file, 0 where nobody has it open any more. No two sockets of an address have the same one.
#[inline(always)]
pub(crate) fn inode(sock: u64) -> u32 {
    open(sock).and_then(|socket| kernel(socket, &SOCKET_INODE)).unwrap_or(0)
}

/// The `struct socket` of a `struct sock`; none where nobody has it open any more.
#[inline(always)]
fn open(sock: u64) -> Option<u64> {
    kernel(sock, &SOCK_SOCKET).filter(|socket| *socket != 0)
}

/// Whether a connection is of a Unix socket that is gone, and its address perhaps another one's.
#[inline(always)]
pub(crate) fn is_another(connection: &Connection, sock: u64) -> bool {
    connection.inode != 0 && connection.inode != inode(sock)
}

/// A descriptor may lead to something else from now on.
#[inline(always)]
pub(crate) fn forget(caller: &Caller, fd: u32) {
    let Some(key) = descriptor_key(caller.tgid, generation(caller.task), fd) else {
        return;
    };
    // SAFETY: the value is copied at once.
    let Some(sock) = unsafe { DESCRIPTORS.get(key) }.copied() else {
        return;
    };
    // Another call may have been faster.
    DESCRIPTORS.remove(key).ok();
    if lives_on(sock) {
        expect_strays(caller.task);
    }
}

/// Every descriptor may.
#[inline(always)]
pub(crate) fn forget_all(task: *mut Task) {
    // SAFETY: the map gave the pointer, and it lives as long as the program runs. Two at a time may count as one, which is enough.
    unsafe { (*task).generation = (*task).generation.wrapping_add(1) };
}

/// Whether somebody has a connection open still that a descriptor led to until now.
#[inline(always)]
fn lives_on(sock: u64) -> bool {
    CONNECTIONS.get_ptr(sock).is_some() && inode(sock) != 0 && given_back() != sock
}

/// From here on a call's return is asked whose it is.
#[inline(always)]
pub(crate) fn expect_strays(task: *mut Task) {
    // SAFETY: as above. All write the same.
    unsafe { (*task).strays = 1 };
}

#[inline(always)]
fn has_strays(task: *mut Task) -> bool {
    // SAFETY: as above.
    unsafe { (*task).strays != 0 }
}

#[inline(always)]
fn generation(task: *mut Task) -> u32 {
    // SAFETY: as above.
    unsafe { (*task).generation }
}

/// A field of a kernel structure; none where it cannot be read.
#[inline(always)]
fn kernel<T>(structure: u64, offset: &Global<u32>) -> Option<T> {
    kernel_at(structure + u64::from(offset.load()))
}

#[inline(always)]
fn kernel_at<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address and fails on one that cannot be read.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

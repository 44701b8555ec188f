//! The memory of the observed process that a call read into or wrote from.

use aya_ebpf::helpers::{bpf_probe_read_user, generated};
use shoalwatch_ebpf_common::{HEAD_BYTES, Stat};

use crate::stats::count;

/// How many entries of a vector are looked at for the first one that is not empty.
const MAX_EMPTY_PIECES: u64 = 4;

/// Where a call's data lies.
#[derive(Clone, Copy)]
pub(crate) enum Buffer {
    /// One buffer and its length.
    Flat { address: u64, len: u64 },
    /// An array of `iovec`s and their number.
    Vector { address: u64, pieces: u64 },
    /// A `msghdr`.
    Message { address: u64 },
}

/// One contiguous part of it.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) address: u64,
    pub(crate) len: u64,
}

impl Piece {
    const EMPTY: Self = Self { address: 0, len: 0 };
}

/// The kernel's `struct iovec`.
#[repr(C)]
struct Iovec {
    base: u64,
    len: u64,
}

/// The two fields of `struct user_msghdr` that follow its name, from byte 16 on.
#[repr(C)]
struct MessageVector {
    iov: u64,
    pieces: u64,
}

const MESSAGE_VECTOR_OFFSET: u64 = 16;

impl Buffer {
    /// The first part that is not empty; none where there is no such part or it cannot be read.
    #[inline(always)]
    pub(crate) fn first_piece(self) -> Option<Piece> {
        let (address, pieces) = match self {
            Self::Flat { address, len } => return Some(Piece { address, len }),
            Self::Vector { address, pieces } => (address, pieces),
            Self::Message { address } => {
                let vector: MessageVector = read(address + MESSAGE_VECTOR_OFFSET)?;
                (vector.iov, vector.pieces)
            }
        };
        for i in 0..MAX_EMPTY_PIECES {
            if i >= pieces {
                break;
            }
            let iovec: Iovec = read(address + i * size_of::<Iovec>() as u64)?;
            if iovec.len > 0 {
                return Some(Piece {
                    address: iovec.base,
                    len: iovec.len,
                });
            }
        }
        None
    }
}

impl Buffer {
    /// All parts, one after the other.
    #[inline(always)]
    pub(crate) fn pieces(self) -> Option<Pieces> {
        let (vector, pieces, piece) = match self {
            Self::Flat { address, len } => (0, 0, Piece { address, len }),
            Self::Vector { address, pieces } => (address, pieces, Piece::EMPTY),
            Self::Message { address } => {
                let vector: MessageVector = read(address + MESSAGE_VECTOR_OFFSET)?;
                (vector.iov, vector.pieces, Piece::EMPTY)
            }
        };
        Some(Pieces {
            vector,
            ahead: pieces,
            piece,
        })
    }
}

/// The parts of a buffer that were not looked at yet.
pub(crate) struct Pieces {
    /// The next `iovec`, and how many there are.
    vector: u64,
    ahead: u64,
    piece: Piece,
}

impl Pieces {
    /// How many bytes of the current part are left, perhaps none; absent behind the last one.
    #[inline(always)]
    pub(crate) fn available(&mut self) -> Option<u64> {
        if self.piece.len == 0 {
            if self.ahead == 0 {
                return None;
            }
            let iovec: Iovec = read(self.vector)?;
            self.vector += size_of::<Iovec>() as u64;
            self.ahead -= 1;
            self.piece = Piece {
                address: iovec.base,
                len: iovec.len,
            };
        }
        Some(self.piece.len)
    }

    /// Adds zeros that the verifier does not know to be any.
    #[inline(always)]
    pub(crate) fn blur(&mut self, zero: impl Fn() -> u64) {
        self.vector = self.vector.wrapping_add(zero());
        self.ahead = self.ahead.wrapping_add(zero());
        self.piece.address = self.piece.address.wrapping_add(zero());
        self.piece.len = self.piece.len.wrapping_add(zero());
    }

    /// Where they lie.
    #[inline(always)]
    pub(crate) fn address(&self) -> u64 {
        self.piece.address
    }

    /// Leaves `len` of them, at most all, behind.
    #[inline(always)]
    pub(crate) fn advance(&mut self, len: u64) {
        self.piece.address += len;
        self.piece.len -= len;
    }
}

/// Reads a `T` of the process; a failure is counted.
#[inline(always)]
pub(crate) fn read<T>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address and fails on one that cannot be read.
    let value = unsafe { bpf_probe_read_user(address as *const T) };
    if value.is_err() {
        count(Stat::ReadFailed);
    }
    value.ok()
}

/// Copies `len` bytes of the process, `MAX` at most, to `to`; a failure is counted. Returns whether it worked.
///
/// # Safety
/// `to` must have room for `MAX` bytes, in a way that the verifier sees.
#[inline(always)]
pub(crate) unsafe fn copy<const MAX: u64>(to: *mut u8, len: u64, address: u64) -> bool {
    let len = at_most::<MAX>(len);
    // SAFETY: the caller gives the room, the helper checks the address.
    let failed = unsafe { generated::bpf_probe_read_user(to.cast(), len as u32, address as *const _) } != 0;
    if failed {
        count(Stat::ReadFailed);
    }
    !failed
}

/// The lesser of `len` and `MAX`. By hand, right where it is used: the compiler keeps a length in memory and compares a copy of it,
/// and the verifiers of Linux 5.10 and 6.1 then know nothing of what they load again.
#[inline(always)]
#[cfg(target_arch = "bpf")]
fn at_most<const MAX: u64>(len: u64) -> u64 {
    let mut len = len;
    // SAFETY: a comparison and an assignment of one register.
    unsafe {
        core::arch::asm!("if {0} <= {max} goto +1", "{0} = {max}", inout(reg) len, max = const MAX, options(nostack, pure, nomem))
    };
    len
}

/// The same where the programs are only checked, not run.
#[inline(always)]
#[cfg(not(target_arch = "bpf"))]
fn at_most<const MAX: u64>(len: u64) -> u64 {
    len.min(MAX)
}

/// Eight bytes of the programs' own memory, aligned or not. By hand: the compiler believes that this target must read bytes one by
/// one.
///
/// # Safety
/// `from` must be valid for eight bytes, in a way that the verifier sees.
#[inline(always)]
#[cfg(target_arch = "bpf")]
pub(crate) unsafe fn word_at(from: *const u8) -> u64 {
    let word;
    // SAFETY: one load from where the caller promises that there are eight bytes.
    unsafe {
        core::arch::asm!("{0} = *(u64 *)({1} + 0)", out(reg) word, in(reg) from, options(nostack, pure, readonly))
    };
    word
}

/// The same where the programs are only checked, not run.
///
/// # Safety
/// `from` must be valid for eight bytes.
#[inline(always)]
#[cfg(not(target_arch = "bpf"))]
pub(crate) unsafe fn word_at(from: *const u8) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { from.cast::<u64>().read_unaligned() }
}

/// A zero that neither the compiler nor the verifier knows to be one, each time anew.
///
/// # Safety
/// `from` must be valid for eight bytes, which are all zero, in a way that the verifier sees.
#[inline(always)]
#[cfg(target_arch = "bpf")]
pub(crate) unsafe fn zero_at(from: *const u64) -> usize {
    let zero;
    // SAFETY: one load from where the caller promises that there are eight bytes.
    unsafe { core::arch::asm!("{0} = *(u64 *)({1} + 0)", out(reg) zero, in(reg) from, options(nostack)) };
    zero
}

/// The same where the programs are only checked, not run.
///
/// # Safety
/// None here.
#[inline(always)]
#[cfg(not(target_arch = "bpf"))]
pub(crate) unsafe fn zero_at(_from: *const u64) -> usize {
    0
}

/// An offset below `HEAD_BYTES`. By hand: where the compiler knows that already it leaves the mask out, and the verifier does not know.
#[inline(always)]
#[cfg(target_arch = "bpf")]
pub(crate) fn within_head(at: usize) -> usize {
    let mut at = at;
    // SAFETY: arithmetic on one register.
    unsafe {
        core::arch::asm!("{0} &= {mask}", inout(reg) at, mask = const HEAD_BYTES - 1, options(nostack, pure, nomem))
    };
    at
}

/// The same where the programs are only checked, not run.
#[inline(always)]
#[cfg(not(target_arch = "bpf"))]
pub(crate) fn within_head(at: usize) -> usize {
    at & (HEAD_BYTES - 1)
}

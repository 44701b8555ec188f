//! One at a time on a connection, although one thread may read from it while another one writes to it, and a third processor ends it.
//!
//! What is asked and what is answered take turns, by Peterson's algorithm: it needs no more than stores, loads and a fence, and old kernels
//! have no more. Two threads that ask, or answer, at the same time are not told apart; HTTP/1 has no use for them.
//!
//! Whatever is removed from the map may be another connection's a moment later, also under the hands of a program that found it before.
//! So who ends a held connection leaves it to its holder to remove it. Each side writes, and then reads what the other one wrote:
//! either the end is seen by the holder, or the holder by the end.

use shoalwatch_ebpf_common::{Connection, Ending};

use crate::{maps::CONNECTIONS, stats::add};

/// Looks at the other holder, some nanoseconds each: more than any program takes that is not interrupted for long. Waiting for good is
/// nothing that the kernel lets a program do.
const LOOKS: u32 = 300;

/// What a program does on a connection.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    /// It looks at a request.
    Asks = 0,
    /// It looks at an answer.
    Answers = 1,
}

/// Waits for its turn. From here on the connection is not removed by others.
#[inline(always)]
pub(crate) fn take(connection: *mut Connection, side: Side) {
    // SAFETY: the map gave the pointer, and both places are the connection's.
    unsafe {
        let (own, other) = places(connection, side);
        let turn = &raw mut (*connection).turn;
        own.write_volatile(1);
        turn.write_volatile(1 - side as u8);
        fence(connection);
        for _ in 0..LOOKS {
            if other.read_volatile() == 0 || turn.read_volatile() == side as u8 {
                return;
            }
        }
    }
}

/// Whether an answer is looked at, by somebody who was interrupted for longer than can be waited.
#[inline(always)]
pub(crate) fn is_held_to_answer(connection: *mut Connection) -> bool {
    // SAFETY: as above.
    unsafe { places(connection, Side::Answers).0.read_volatile() != 0 }
}

/// Where the connection ended while it was held, `last` is told how, an [`Ending`], before the connection is removed.
#[inline(always)]
pub(crate) fn release(connection: *mut Connection, side: Side, sock: u64, last: impl FnOnce(u16)) {
    // SAFETY: as above.
    let (ending, held) = unsafe {
        let (own, other) = places(connection, side);
        own.write_volatile(0);
        fence(connection);
        ((&raw const (*connection).ending).read_volatile(), other.read_volatile())
    };
    if ending == 0 {
        return;
    }
    last(ending);
    if held == 0 {
        CONNECTIONS.remove(sock).ok();
    }
}

/// Whether somebody was here with [`end`] before.
#[inline(always)]
pub(crate) fn has_ended(connection: *mut Connection) -> bool {
    // SAFETY: as above.
    unsafe { (&raw const (*connection).ending).read_volatile() != 0 }
}

/// Who holds a connection that ends.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    /// Somebody does, who removes it then.
    pub(crate) by_any: bool,
    /// For an answer, which is paired with the request that waits.
    pub(crate) to_answer: bool,
}

/// The connection ends.
#[inline(always)]
pub(crate) fn end(connection: *mut Connection, ending: Ending) -> Held {
    // SAFETY: as above.
    unsafe {
        (&raw mut (*connection).ending).write_volatile(ending as u16);
        fence(connection);
        let (asking, answering) = places(connection, Side::Asks);
        let (asking, answering) = (asking.read_volatile(), answering.read_volatile());
        Held {
            by_any: asking | answering != 0,
            to_answer: answering != 0,
        }
    }
}

/// The place of a side, and that of the other one.
#[inline(always)]
unsafe fn places(connection: *mut Connection, side: Side) -> (*mut u8, *mut u8) {
    // SAFETY: both places are the connection's, as the caller promises that it is valid.
    unsafe {
        let first = (&raw mut (*connection).held).cast::<u8>();
        (first.add(side as usize), first.add(1 - side as usize))
    }
}

/// What is written before is seen before what is read after. An atomic addition is the only fence that old kernels know.
#[inline(always)]
unsafe fn fence(connection: *mut Connection) {
    // SAFETY: the field is aligned and valid, as the caller promises, and stays what it is.
    unsafe { add(&raw mut (*connection).zero, 0) };
}

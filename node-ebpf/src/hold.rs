//! Working on a connection while another processor ends it.
//!
//! Whatever is removed from the map may be another connection's a moment later, also under the hands of a program that found it before.
//! So who works on a connection for long holds it, and who ends it leaves a held one to the last who does. Each side writes, and then
//! reads what the other one wrote: either the end is seen by the holder, or the holder by the end.

use shoalwatch_ebpf_common::{Connection, Ending};

use crate::{maps::CONNECTIONS, stats::add};

/// From here on the connection is not removed by others.
#[inline(always)]
pub(crate) fn take(connection: &mut Connection) {
    // SAFETY: the field is aligned and valid.
    unsafe { add(&raw mut connection.busy, 1) };
}

/// Returns how the connection ended while it was held, an [`Ending`]; 0: it did not.
#[inline(always)]
pub(crate) fn release(connection: &mut Connection, sock: u64) -> u16 {
    // SAFETY: the field is aligned and valid, and was counted up before.
    unsafe { add(&raw mut connection.busy, u64::MAX) };
    let ending = connection.ending;
    if ending != 0 && connection.busy == 0 {
        CONNECTIONS.remove(sock).ok();
    }
    ending
}

/// The connection ends. Returns whether somebody holds it, who removes it then.
#[inline(always)]
pub(crate) fn end(connection: &mut Connection, ending: Ending) -> bool {
    connection.ending = ending as u16;
    // What is written before is seen before what is read after. An atomic addition is the only fence that old kernels know.
    // SAFETY: the field is aligned and valid, and stays what it is.
    unsafe { add(&raw mut connection.busy, 0) };
    connection.busy != 0
}

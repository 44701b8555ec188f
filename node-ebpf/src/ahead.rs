//! The first bytes of what may be the next request, read before the current one was seen answered.

use shoalwatch_ebpf_common::{Connection, ConnectionState};

/// Whether the connection left the fast path while this was read ahead, by somebody who could not wait for it and did not tell it.
#[inline(always)]
pub(crate) fn is_untold(connection: &mut Connection) -> bool {
    let untold = connection.ahead_len > 0 && connection.state == ConnectionState::Raw as u8;
    if untold {
        connection.ahead_len = 0;
    }
    untold
}

/// What was read ahead begins the next request, now that the one before is answered.
#[inline(always)]
pub(crate) fn take_up(connection: &mut Connection) {
    if connection.ahead_len > 0 {
        connection.state = ConnectionState::Beginning as u8;
        let record = &mut connection.record;
        record.head[..8].copy_from_slice(&connection.ahead);
        record.head_len = u16::from(connection.ahead_len);
        record.start_ns = connection.ahead_ns;
        connection.ahead_len = 0;
    }
}

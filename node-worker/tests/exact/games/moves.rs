//! What can be played.

use proptest::{prelude::*, sample::Index};

/// How a request is read.
pub(crate) const READS: [&str; 7] = ["read", "recv", "readv", "recvmsg", "peek", "thread", "pass"];
/// How an answer is written.
pub(crate) const WRITES: [&str; 9] = [
    "write", "send", "writev", "sendmsg", "file", "thread", "fork", "exec", "pass",
];

/// One move. What it is about is picked from what there is when it is made; where there is nothing it is none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Move {
    Connect,
    /// Cut: where its head is cut into two reads by two numbers. A body travels apart, and says that it is a request.
    Request {
        socket: Index,
        number: [Index; 2],
        how: [Index; 2],
        cut: Option<Index>,
        body: bool,
    },
    Answer {
        socket: Index,
        number: Index,
        how: Index,
    },
    /// A thread begins an answer that the client does not read yet.
    Fly {
        socket: Index,
    },
    /// The client reads it.
    Land {
        socket: Index,
    },
    /// A child answers after all descriptors of this process were closed.
    Leave {
        socket: Index,
    },
    /// The client closes.
    Part {
        socket: Index,
    },
    Shutdown {
        socket: Index,
    },
    Idle {
        socket: Index,
    },
    Dup {
        number: Index,
        by_fcntl: bool,
    },
    Over {
        number: Index,
        other: Index,
        by_dup3: bool,
    },
    Close {
        number: Index,
    },
    CloseRange {
        first: Index,
        more: u8,
    },
    Pipe,
    File,
    /// Writes and reads HTTP where there is no connection.
    Chat {
        place: Index,
    },
}

/// Requests and answers are played most.
pub(crate) fn a_move() -> impl Strategy<Value = Move> {
    let index = any::<Index>;
    prop_oneof![
        6 => Just(Move::Connect),
        16 => (index(), any::<[Index; 2]>(), any::<[Index; 2]>(), any::<Option<Index>>(), any::<bool>())
            .prop_map(|(socket, number, how, cut, body)| Move::Request { socket, number, how, cut, body }),
        12 => (index(), index(), index()).prop_map(|(socket, number, how)| Move::Answer { socket, number, how }),
        3 => index().prop_map(|socket| Move::Fly { socket }),
        3 => index().prop_map(|socket| Move::Land { socket }),
        1 => index().prop_map(|socket| Move::Leave { socket }),
        1 => index().prop_map(|socket| Move::Part { socket }),
        1 => index().prop_map(|socket| Move::Shutdown { socket }),
        1 => index().prop_map(|socket| Move::Idle { socket }),
        2 => (index(), any::<bool>()).prop_map(|(number, by_fcntl)| Move::Dup { number, by_fcntl }),
        2 => (index(), index(), any::<bool>())
            .prop_map(|(number, other, by_dup3)| Move::Over { number, other, by_dup3 }),
        2 => index().prop_map(|number| Move::Close { number }),
        1 => (index(), 0_u8..3).prop_map(|(first, more)| Move::CloseRange { first, more }),
        1 => Just(Move::Pipe),
        1 => Just(Move::File),
        2 => index().prop_map(|place| Move::Chat { place }),
    ]
}

use shoalwatch_protocols::http1::connection::{
    Connection, Exchange, GaveUp, MAX_OUTSTANDING, MAX_REQUEST_HEAD, Segment, Side,
};

/// One transfer as the input describes it.
#[derive(Clone, Copy)]
struct Piece<'a> {
    side: Side,
    time_ns: u64,
    bytes: &'a [u8],
    gap: u64,
}

/// How much of the connection is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    New,
    Resumed,
    Answered,
}

type Emitted = (u64, u64, Vec<u8>, bool, Option<u16>);

/// A connection. The input is a list of transfers, each ended by a byte from 0x80, whose bits say: 1 answer side, 2 a gap follows,
/// 4 (the first transfer only) the connection is resumed, 8 to 64 the length of the gap. Where the first transfer is followed by no gap,
/// 8 says that the first request was answered before it is resumed.
///
/// Where nothing is missing the transfers must mean the same byte by byte.
pub fn connection(data: &[u8]) {
    let control = data
        .iter()
        .find(|byte| **byte >= 0x80)
        .map_or(0, |control| control & 0x0e);
    let resumed = control & 4 != 0;
    let begin = match control {
        12 => Begin::Answered,
        _ if resumed => Begin::Resumed,
        _ => Begin::New,
    };
    let pieces: Vec<Piece<'_>> = pieces(data).collect();
    let whole = follow(begin, pieces.iter().copied());
    check(&whole.0, data);
    // A resumed connection looks at the beginnings of transfers.
    if !resumed && pieces.iter().all(|piece| piece.gap == 0) {
        let bytes = pieces
            .iter()
            .flat_map(|piece| piece.bytes.chunks(1).map(|bytes| Piece { bytes, ..*piece }));
        assert_eq!(follow(Begin::New, bytes), whole);
    }
}

fn pieces(data: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    data.split_inclusive(|byte| *byte >= 0x80)
        .zip(1..)
        .map(|(piece, time_ns)| {
            let (bytes, control) = match piece.split_last() {
                Some((control, bytes)) if *control >= 0x80 => (bytes, *control),
                _ => (piece, 0x80),
            };
            let gap = if control & 2 != 0 {
                u64::from((control & 0x78) >> 3) + 1
            } else {
                0
            };
            let side = if control & 1 != 0 { Side::Answer } else { Side::Request };
            Piece {
                side,
                time_ns,
                bytes,
                gap,
            }
        })
}

fn follow<'a>(begin: Begin, pieces: impl Iterator<Item = Piece<'a>>) -> (Vec<Emitted>, Option<GaveUp>) {
    let mut connection = if begin == Begin::New {
        Connection::new()
    } else {
        Connection::resumed()
    };
    let mut answered = begin == Begin::Answered;
    let (mut emitted, mut gave_up) = (Vec::new(), None);
    for piece in pieces {
        let segment = Segment {
            side: piece.side,
            time_ns: piece.time_ns,
            total_len: piece.bytes.len() as u64 + piece.gap,
            captured: piece.bytes,
        };
        let before = emitted.len();
        let result = connection.feed(segment, &mut |exchange| emitted.push(keep(&exchange)));
        assert!(connection.outstanding() <= MAX_OUTSTANDING);
        if let Some(gave_up) = gave_up {
            assert_eq!((result, emitted.len()), (Err(gave_up), before), "giving up is for good");
        }
        gave_up = gave_up.or(result.err());
        if std::mem::take(&mut answered) {
            let waiting = connection.outstanding();
            gave_up = gave_up.or(connection.answered().err());
            assert!(gave_up.is_some() || connection.outstanding() == waiting.saturating_sub(1));
        }
    }
    connection.close(u64::MAX, &mut |exchange| emitted.push(keep(&exchange)));
    connection.close(u64::MAX, &mut |_| unreachable!("closed once, emitted twice"));
    (emitted, gave_up)
}

fn keep(exchange: &Exchange<'_>) -> Emitted {
    let Exchange {
        start_ns,
        end_ns,
        head,
        whole,
        status,
    } = *exchange;
    (start_ns, end_ns, head.to_vec(), whole, status)
}

/// Requests come in order, each with a head, a status that is final and as many line ends in the input as that takes.
fn check(emitted: &[Emitted], data: &[u8]) {
    for (start_ns, end_ns, head, _, status) in emitted {
        assert!(start_ns <= end_ns && !head.is_empty() && head.len() <= MAX_REQUEST_HEAD);
        assert!(status.is_none_or(|status| status == 101 || (200..=999).contains(&status)));
    }
    assert!(emitted.is_sorted_by_key(|exchange| (exchange.4.is_none(), exchange.0)));
    let answered = emitted.iter().filter(|exchange| exchange.4.is_some()).count();
    let lines = data.split(|byte| *byte == b'\n').skip(1).count();
    assert!(answered <= lines && emitted.len() - answered <= lines / 2);
}

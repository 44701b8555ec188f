//! From a conversation to transfers in an order that could have been, with what must be seen of them.

use crate::conversation::{Conversation, Ending, Style, Turn};
use proptest::sample::Index;
use shoalwatch_protocols::http1::connection::{Connection, Exchange, GaveUp, MAX_REQUEST_HEAD, Segment, Side};

/// An exchange that outlives its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) head: Vec<u8>,
    pub(crate) whole: bool,
    pub(crate) status: Option<u16>,
}

/// One transfer: bytes that were kept and how many were not.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    side: Side,
    time_ns: u64,
    pub(crate) bytes: Vec<u8>,
    gap: u64,
}

impl Piece {
    pub(crate) fn from_parts((request, bytes, gap, time_ns): (bool, Vec<u8>, u64, u64)) -> Self {
        let side = if request { Side::Request } else { Side::Answer };
        Self {
            side,
            time_ns,
            bytes,
            gap: gap.saturating_sub(4),
        }
    }

    /// The same, byte by byte, at the same time.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = Self> {
        self.bytes.iter().map(|byte| Self {
            bytes: vec![*byte],
            ..*self
        })
    }
}

/// The same transfers, of which at most `kept` bytes each were kept.
pub(crate) fn capture(pieces: &[Piece], kept: usize) -> Vec<Piece> {
    let cut = |piece: &Piece| {
        let kept = piece.bytes.len().min(kept);
        Piece {
            bytes: piece.bytes[..kept].to_vec(),
            gap: (piece.bytes.len() - kept) as u64,
            ..*piece
        }
    };
    pieces.iter().map(cut).collect()
}

/// What the parser says of these transfers and a close behind them.
pub(crate) fn feed(pieces: &[Piece]) -> (Vec<Seen>, Option<GaveUp>) {
    let (mut connection, mut seen, mut gave_up) = (Connection::new(), Vec::new(), None);
    let mut emit = |exchange: Exchange<'_>| {
        seen.push(Seen {
            start_ns: exchange.start_ns,
            end_ns: exchange.end_ns,
            head: exchange.head.to_vec(),
            whole: exchange.whole,
            status: exchange.status,
        });
    };
    for piece in pieces {
        let segment = Segment {
            side: piece.side,
            time_ns: piece.time_ns,
            total_len: piece.bytes.len() as u64 + piece.gap,
            captured: &piece.bytes,
        };
        gave_up = gave_up.or(connection.feed(segment, &mut emit).err());
    }
    connection.close(u64::MAX, &mut emit);
    (seen, gave_up)
}

/// Positions in the bytes of both sides that one turn reaches.
struct Marks {
    request: usize,
    method_end: usize,
    head_end: usize,
    request_end: usize,
    answer: usize,
    status_end: usize,
    answer_end: usize,
    status: u16,
}

/// Both sides' bytes.
#[derive(Default)]
struct Streams {
    requests: Vec<u8>,
    answers: Vec<u8>,
    marks: Vec<Marks>,
}

impl Streams {
    fn of(conversation: &Conversation) -> Self {
        let mut streams = Self::default();
        for turn in &conversation.turns {
            streams.push(turn);
        }
        streams.after(conversation.turns.last().map(|turn| turn.ending));
        streams
    }

    fn push(&mut self, turn: &Turn) {
        self.requests.extend(&turn.blank);
        let (request, answer) = (self.requests.len(), self.answers.len());
        self.requests
            .extend([&turn.request.first_line[..], &turn.request.headers].concat());
        let head_end = self.requests.len();
        self.requests.extend(&turn.request.body);
        self.answers
            .extend([&turn.interim[..], &turn.answer.first_line].concat());
        let status_end = self.answers.len();
        self.answers
            .extend([&turn.answer.headers[..], &turn.answer.body].concat());
        let method = turn
            .request
            .first_line
            .iter()
            .position(|byte| *byte == b' ')
            .unwrap_or(0);
        self.marks.push(Marks {
            request,
            method_end: request + method + 1,
            head_end,
            request_end: self.requests.len(),
            answer,
            status_end,
            answer_end: self.answers.len(),
            status: turn.status,
        });
    }

    /// What is said when HTTP is over.
    fn after(&mut self, ending: Option<Ending>) {
        if matches!(ending, Some(Ending::Upgrade | Ending::Tunnel)) {
            self.requests.extend(b"\x16\x03\n GET / HTTP/1.1\r\n\r\n");
            self.answers.extend(b"HTTP/1.1 500 No\r\n\r\n\0");
        }
    }

    /// How far the client may go, given how far the server is.
    fn request_limit(&self, turns: &[Turn], answers: usize) -> usize {
        let waits = |(marks, turn): (&Marks, &Turn)| match turn.ending {
            Ending::Refused | Ending::Upgrade if answers < marks.status_end => Some(marks.request_end),
            _ => None,
        };
        self.marks
            .iter()
            .zip(turns)
            .find_map(waits)
            .unwrap_or(self.requests.len())
    }

    /// How far the server may go, given how far the client is.
    fn answer_limit(&self, turns: &[Turn], requests: usize) -> usize {
        let waits = |(marks, turn): (&Marks, &Turn)| {
            let ready = if turn.early { marks.method_end } else { marks.head_end };
            (requests < ready).then_some(marks.answer)
        };
        self.marks
            .iter()
            .zip(turns)
            .find_map(waits)
            .unwrap_or(self.answers.len())
    }

    /// The end of the message at a position, for transfers that carry no more than one.
    fn message_end(&self, side: Side, position: usize) -> usize {
        let end = |marks: &Marks| match side {
            Side::Request => marks.request_end,
            Side::Answer => marks.answer_end,
        };
        self.marks
            .iter()
            .map(end)
            .find(|end| *end > position)
            .unwrap_or(usize::MAX)
    }
}

/// Cuts both sides into transfers and mixes them; `end` says after how many the connection is closed.
pub(crate) fn schedule(conversation: &Conversation, dice: &[(bool, u16, u8)], end: Index) -> (Vec<Piece>, Vec<Seen>) {
    let streams = Streams::of(conversation);
    let (mut pieces, mut at, mut time_ns) = (Vec::new(), (0, 0), 0);
    for (request_first, length, pause) in dice.iter().cycle() {
        let limits = (
            streams.request_limit(&conversation.turns, at.1),
            streams.answer_limit(&conversation.turns, at.0),
        );
        let (can_request, can_answer) = (at.0 < limits.0, at.1 < limits.1);
        if !can_request && !can_answer {
            break;
        }
        let side = if can_request && (*request_first || !can_answer) {
            Side::Request
        } else {
            Side::Answer
        };
        let (stream, position, limit) = match side {
            Side::Request => (&streams.requests, &mut at.0, limits.0),
            Side::Answer => (&streams.answers, &mut at.1, limits.1),
        };
        let mut to = limit.min(*position + usize::from(*length));
        if conversation.style == Style::Lengths {
            to = to.min(streams.message_end(side, *position));
        }
        time_ns += u64::from(*pause) + 1;
        pieces.push(Piece {
            side,
            time_ns,
            bytes: stream[*position..to].to_vec(),
            gap: 0,
        });
        *position = to;
    }
    pieces.truncate(end.index(pieces.len() + 1));
    let expected = reference(&streams, &pieces);
    (pieces, expected)
}

/// What must be seen of these transfers, told from the marks alone.
fn reference(streams: &Streams, pieces: &[Piece]) -> Vec<Seen> {
    streams
        .marks
        .iter()
        .filter_map(|marks| see(streams, marks, pieces))
        .collect()
}

fn see(streams: &Streams, marks: &Marks, pieces: &[Piece]) -> Option<Seen> {
    let (start_ns, _) = reached(pieces, Side::Request, marks.request + 1)?;
    let answered = reached(pieces, Side::Answer, marks.status_end);
    let (end_ns, requests) = answered.unwrap_or((u64::MAX, sent(pieces, Side::Request)));
    if answered.is_none() && requests < marks.head_end {
        return None;
    }
    let head = &streams.requests[marks.request..requests.min(marks.head_end)];
    Some(Seen {
        start_ns,
        end_ns,
        head: head[..head.len().min(MAX_REQUEST_HEAD)].to_vec(),
        whole: requests >= marks.request_end,
        status: answered.is_some().then_some(marks.status),
    })
}

fn sent(pieces: &[Piece], side: Side) -> usize {
    pieces
        .iter()
        .filter(|piece| piece.side == side)
        .map(|piece| piece.bytes.len())
        .sum()
}

/// When a side had sent that many bytes, and how many the client had sent then.
fn reached(pieces: &[Piece], side: Side, position: usize) -> Option<(u64, usize)> {
    let index = (0..pieces.len()).find(|index| sent(&pieces[..=*index], side) >= position)?;
    Some((pieces[index].time_ns, sent(&pieces[..=index], Side::Request)))
}

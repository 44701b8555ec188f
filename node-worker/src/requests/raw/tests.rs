use std::sync::Arc;

use shoalwatch_pipeline::loss::{Loss, Stage};
use shoalwatch_protocols::http1::{connection::Reason, parse_head};

use super::{followed::loss_of, *};
use crate::loader::Role;

mod endings;
mod invariants;

const MAX: usize = 3;
const A: &str = "GET /a HTTP/1.1\r\n\r\n";
const B: &str = "GET /b HTTP/1.1\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const TEAPOT: &str = "HTTP/1.1 418 Short\r\nContent-Length: 0\r\n\r\n";

/// A request as it was told: path, status, start, end, and how much of it came.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    path: String,
    status: u16,
    start_ns: u64,
    end_ns: u64,
    came: Came,
    /// Process, thread, descriptor, service, flags.
    owner: [u32; 5],
    role: Role,
    peer: Option<std::net::SocketAddr>,
}

/// A table, what it is told, and what it says.
struct Ring {
    table: RawConnections,
    counters: Arc<Counters>,
    now_ns: u64,
    /// What every record says of itself.
    record: RawEvent<'static>,
    told: Vec<Told>,
    lost: Vec<(Loss, u64)>,
}

impl Ring {
    fn new() -> Self {
        Self::with_max(MAX)
    }

    fn with_max(max: usize) -> Self {
        let counters = Arc::new(Counters::default());
        Self {
            table: RawConnections::new(max, Arc::clone(&counters)),
            counters,
            now_ns: 1_000,
            record: RawEvent {
                time_ns: 0,
                sock: 7,
                opened_ns: 70,
                total_len: 0,
                tgid: 11,
                tid: 12,
                fd: 13,
                service: 14,
                flags: 15,
                role: Role::Server,
                news: RawNews::Close { reset: false },
            },
            told: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// The next records are about another connection.
    fn on(&mut self, sock: u64) -> &mut Self {
        self.record.sock = sock;
        self.record.opened_ns = sock * 10;
        self
    }

    fn take(&mut self, total_len: usize, news: RawNews<'_>) {
        self.now_ns += 1;
        let event = RawEvent {
            time_ns: self.now_ns,
            total_len: u32::try_from(total_len).unwrap(),
            news,
            ..self.record
        };
        let (told, lost) = (&mut self.told, &mut self.lost);
        self.table
            .take(&event, self.now_ns, &mut |said| hear(&said, told, lost));
    }

    fn open(&mut self, under_way: UnderWay, head: &str) {
        self.open_cut(under_way, head, head.len());
    }

    fn open_cut(&mut self, under_way: UnderWay, head: &str, read: usize) {
        let request = request(head, read);
        self.take(head.len(), RawNews::Open { under_way, request });
    }

    fn fast_reset(&mut self, head: &str) {
        let request = request(head, head.len());
        self.take(
            head.len(),
            RawNews::Ended {
                reset: true,
                under_way: UnderWay::Waiting,
                request,
            },
        );
    }

    fn ended(&mut self, under_way: UnderWay, head: &str) {
        let (reset, request) = (false, request(head, head.len()));
        self.take(
            head.len(),
            RawNews::Ended {
                reset,
                under_way,
                request,
            },
        );
    }

    fn segment(&mut self, answer: bool, text: &str) {
        let bytes = text.as_bytes();
        self.take(text.len(), RawNews::Segment { answer, bytes });
    }

    fn ask(&mut self, text: &str) {
        self.segment(false, text);
    }

    fn answer(&mut self, text: &str) {
        self.segment(true, text);
    }

    fn orphan(&mut self, text: &str) {
        self.orphan_of(text, false);
    }

    fn orphan_of(&mut self, text: &str, counted: bool) {
        let opened_ns = std::mem::take(&mut self.record.opened_ns);
        let bytes = text.as_bytes();
        self.take(
            text.len(),
            RawNews::Orphan {
                counted,
                answer: true,
                bytes,
            },
        );
        self.record.opened_ns = opened_ns;
    }

    fn close(&mut self, reset: bool) {
        self.take(0, RawNews::Close { reset });
    }

    /// A look after which the ring is empty.
    fn look_after(&mut self, nanoseconds: u64) {
        self.now_ns += nanoseconds;
        let (told, lost) = (&mut self.told, &mut self.lost);
        self.table.look_ends(self.now_ns, &mut |said| hear(&said, told, lost));
    }

    /// Path and status of each request that was told.
    fn brief(&self) -> Vec<(&str, u16)> {
        self.told.iter().map(|told| (told.path.as_str(), told.status)).collect()
    }

    fn count(&self, count: Count) -> u64 {
        self.counters.get(count)
    }
}

fn request(head: &str, read: usize) -> RawRequest<'_> {
    RawRequest {
        start_ns: 900,
        read_bytes: u32::try_from(read).unwrap(),
        peer: None,
        head: head.as_bytes(),
    }
}

fn hear(said: &Said<'_>, told: &mut Vec<Told>, lost: &mut Vec<(Loss, u64)>) {
    match said {
        Said::Request(event, came) => {
            assert_eq!(
                (event.counted, event.decision),
                (None, crate::loader::sampling::Decision::Undecided)
            );
            told.push(Told {
                path: str::from_utf8(parse_head(event.head).unwrap().path).unwrap().to_owned(),
                status: event.status,
                start_ns: event.start_ns,
                end_ns: event.end_ns,
                came: *came,
                owner: [event.tgid, event.tid, event.fd, event.service, event.flags],
                role: event.role,
                peer: event.peer,
            });
        }
        Said::Lost(some) => {
            assert_eq!((some.tgid, some.service), (11, 14));
            lost.push((some.loss, some.requests));
        }
        Said::Exports { .. } => panic!("nothing was exported"),
    }
}

#[test]
fn requests_that_were_read_at_once_are_told_with_their_answers() {
    let mut ring = Ring::new();
    ring.open(UnderWay::Waiting, &format!("{A}{B}{A}"));
    ring.answer(&format!("{OK}{TEAPOT}"));
    ring.answer(TEAPOT);
    assert_eq!(ring.brief(), [("/a", 200), ("/b", 418), ("/a", 418)]);
    assert_eq!(ring.told[1].start_ns, 900);
    assert_eq!(ring.lost, []);
}

#[test]
fn requests_that_were_read_ahead_are_told_with_their_answers() {
    let mut ring = Ring::new();
    ring.open(UnderWay::Waiting, A);
    ring.ask(B);
    ring.ask("GET /c HT");
    ring.ask("TP/1.1\r\n\r\n");
    ring.answer(OK);
    ring.answer(TEAPOT);
    ring.answer(OK);
    assert_eq!(ring.brief(), [("/a", 200), ("/b", 418), ("/c", 200)]);
    let times: Vec<_> = ring.told.iter().map(|told| (told.start_ns, told.end_ns)).collect();
    assert_eq!(times, [(900, 1_005), (1_002, 1_006), (1_003, 1_007)]);
}

#[test]
fn a_status_line_may_come_in_pieces() {
    let mut ring = Ring::new();
    ring.open(UnderWay::Waiting, A);
    for piece in ["HTTP", "/1.1 4", "18 Short\r", "\nContent-Length: 0\r\n\r\n"] {
        ring.answer(piece);
    }
    assert_eq!(ring.brief(), [("/a", 418)]);
}

#[test]
fn an_interim_answer_and_the_final_one_may_be_written_at_once() {
    let mut ring = Ring::new();
    ring.open(
        UnderWay::Waiting,
        "PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    );
    ring.ask("hi");
    ring.answer(&format!("HTTP/1.1 100 Continue\r\n\r\n{OK}"));
    assert_eq!(ring.brief(), [("/a", 200)]);
}

#[test]
fn an_upgrade_is_told_and_what_follows_is_nothing() {
    let mut ring = Ring::new();
    ring.open(UnderWay::Waiting, "GET /a HTTP/1.1\r\nUpgrade: x\r\n\r\n");
    ring.answer("HTTP/1.1 101 Switching Protocols\r\n\r\n\u{1}");
    ring.ask(B);
    ring.close(false);
    assert_eq!((ring.brief(), ring.lost.len()), (vec![("/a", 101)], 0));
}

#[test]
fn what_the_kernel_counted_is_not_told_again() {
    let mut ring = Ring::new();
    ring.open(UnderWay::Counted, &format!("{A}{B}"));
    ring.answer(OK);
    ring.answer(TEAPOT);
    assert_eq!(ring.brief(), [("/b", 418)]);
    ring.on(8).open(UnderWay::Answered, &format!("{A}{B}"));
    ring.answer(TEAPOT);
    ring.on(9).open(UnderWay::Answered, A);
    ring.answer("the rest");
    ring.ask(B);
    ring.answer(OK);
    assert_eq!(ring.brief(), [("/b", 418), ("/b", 418), ("/b", 200)]);
    for sock in [7, 8, 9] {
        ring.on(sock).close(false);
    }
    assert_eq!((ring.told.len(), ring.lost.len(), ring.table.len()), (3, 0, 0));
}

#[test]
fn what_the_kernel_counted_is_not_lost_either() {
    for under_way in [UnderWay::Counted, UnderWay::Answered] {
        let mut ring = Ring::new();
        ring.open_cut(under_way, "GET /a HTTP/1.1\r\nCookie: a", 5_000);
        assert_eq!(ring.lost, []);
        ring.on(8).open_cut(under_way, &format!("{A}{B}"), 5_000);
        assert_eq!(ring.lost, [(Loss::RawGap, 1)]);
        ring.on(9).open(under_way, A);
        ring.close(false);
        assert_eq!((ring.told.len(), ring.lost.len()), (0, 1));
    }
    let mut ring = Ring::new();
    ring.open(UnderWay::Counted, &format!("{A}{B}"));
    ring.answer("what?\r\n");
    assert_eq!(ring.lost, [(Loss::RawLostAnswer, 1)]);
    ring.on(8).open(UnderWay::Counted, A);
    ring.take(1, RawNews::Close { reset: false });
    assert_eq!((ring.told.len(), ring.lost.len()), (0, 1));
}

#[test]
fn a_body_that_nobody_kept_is_skipped() {
    let mut ring = Ring::new();
    let post = "POST /a HTTP/1.1\r\nContent-Length: 9000\r\n\r\nbody";
    ring.open_cut(UnderWay::Waiting, post, post.len() + 1_000);
    ring.take(
        7_996,
        RawNews::Segment {
            answer: false,
            bytes: b"GET /no HTTP/1.1\r\n\r\n",
        },
    );
    ring.answer(OK);
    ring.ask(B);
    ring.answer(TEAPOT);
    assert_eq!(
        (ring.brief(), ring.told[0].came),
        (vec![("/a", 200), ("/b", 418)], Came::Whole)
    );
}

#[test]
fn a_request_is_told_of_whoever_answered_it() {
    let mut ring = Ring::new();
    let peer = Some(([10, 0, 0, 1], 80).into());
    let request = RawRequest {
        peer,
        ..request(A, A.len())
    };
    ring.record.role = Role::Client;
    let under_way = UnderWay::Waiting;
    ring.take(0, RawNews::Open { under_way, request });
    ring.record = RawEvent {
        tgid: 21,
        tid: 22,
        fd: 23,
        service: 24,
        flags: 25,
        role: Role::Server,
        ..ring.record
    };
    ring.answer(OK);
    ring.ask(B);
    ring.close(false);
    let seen: Vec<_> = ring
        .told
        .iter()
        .map(|told| (told.owner, told.role, told.peer))
        .collect();
    let expected = [[21, 22, 23, 24, 25], [21, 21, 0, 24, 25]].map(|owner| (owner, Role::Client, peer));
    assert_eq!(seen, expected);
}

#[test]
fn a_connection_is_given_up_once_and_its_later_requests_are_lost() {
    let mut ring = Ring::new();
    ring.open(UnderWay::Waiting, &format!("{A}{B}"));
    for garbage in ["what?\r\n", OK, "again?\r\n"] {
        ring.answer(garbage);
    }
    assert_eq!(
        (ring.lost.clone(), ring.count(Count::RawGivenUp)),
        (vec![(Loss::RawLostAnswer, 2)], 1)
    );
    ring.ask("a body");
    ring.ask(A);
    ring.answer(OK);
    ring.close(false);
    assert_eq!(ring.lost[1..], [(Loss::RawLostAnswer, 1)]);
    assert_eq!((ring.told.len(), ring.table.len()), (0, 0));
}

#[test]
fn a_request_whose_own_head_is_given_up_is_lost() {
    let mut ring = Ring::new();
    ring.open_cut(UnderWay::Waiting, "GET /a HTTP/1.1\r\nCookie: a", 5_000);
    ring.on(8)
        .open(UnderWay::Waiting, "POST /a HTTP/1.1\r\nContent-Length: x\r\n\r\n");
    assert_eq!(ring.lost, [(Loss::RawGap, 1), (Loss::RawContentLength, 1)]);
}

#[test]
fn a_newcomer_to_a_full_table_is_refused_and_its_requests_are_lost() {
    let mut ring = Ring::new();
    for sock in 1..=MAX as u64 {
        ring.on(sock).open(UnderWay::Waiting, A);
    }
    ring.on(8).open(UnderWay::Waiting, A);
    ring.ask(B);
    ring.answer(OK);
    ring.close(false);
    ring.on(9).fast_reset(A);
    ring.on(10).open(UnderWay::Counted, A);
    ring.answer(OK);
    ring.on(11).open(UnderWay::Answered, &format!("{A}{B}"));
    ring.on(12).open(UnderWay::Waiting, "GET /half");
    ring.on(13).open(UnderWay::Waiting, "");
    let full = (Loss::RawTableFull, 1);
    let lost = [full, (Loss::RawUnknownConnection, 1), full, full, full];
    assert_eq!(
        (&ring.lost[..], ring.table.len(), ring.count(Count::RawRefused)),
        (&lost[..], MAX, 6)
    );
    ring.on(1).close(false);
    ring.on(8).open(UnderWay::Waiting, B);
    ring.answer(OK);
    assert_eq!(ring.brief(), [("/a", 0), ("/b", 200)]);
    assert_eq!(ring.count(Count::RawFollowed), MAX as u64 + 1);
}

#[test]
fn records_are_counted_by_kind() {
    let mut ring = Ring::new();
    ring.open(UnderWay::Waiting, A);
    ring.answer(OK);
    ring.answer("more");
    ring.close(false);
    ring.fast_reset(A);
    ring.orphan(OK);
    let counts = [
        Count::RawOpen,
        Count::RawSegment,
        Count::RawClose,
        Count::RawEnded,
        Count::RawOrphan,
    ];
    assert_eq!(counts.map(|count| ring.count(count)), [1, 2, 1, 1, 1]);
}

#[test]
fn every_reason_to_give_up_is_a_loss_of_that_name() {
    for reason in Reason::ALL {
        let loss = loss_of(reason);
        assert_eq!((loss.stage(), loss.reason()), (Stage::Raw, reason.category()));
    }
}

#[test]
fn a_request_that_the_kernel_paired_while_it_was_reset_is_not_told_again() {
    for early in [true, false] {
        let mut ring = Ring::new();
        if early {
            ring.orphan_of("", true);
        }
        ring.fast_reset(A);
        if !early {
            ring.orphan_of("", true);
        }
        assert_eq!(ring.table.len(), 0);
        ring.look_after(RESET_NS);
        ring.look_after(RESET_NS);
        assert_eq!((ring.told.len(), ring.lost.len()), (0, 0), "early {early}");
    }
}

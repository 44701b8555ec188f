use super::*;
use crate::http1::NotHttp;

type Seen = (String, Option<u16>, bool, u64, u64);

/// What a connection emitted, and how it went.
#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    result: Option<GaveUp>,
}

impl Log {
    /// Method and path of each exchange, and its status; 0 where there was none.
    fn brief(&self) -> Vec<(&str, u16)> {
        let brief = |seen: &'_ Seen| seen.1.unwrap_or(0);
        self.seen
            .iter()
            .map(|seen| (seen.0.split(" HTTP").next().unwrap(), brief(seen)))
            .collect()
    }

    fn reason(&self) -> Option<Reason> {
        self.result.map(|gave_up| gave_up.reason)
    }
}

/// A transfer of `text`, of which `text` alone is kept and `gap` bytes are not.
#[derive(Clone, Copy)]
struct Step<'a> {
    side: Side,
    text: &'a str,
    gap: u64,
}

const fn req(text: &str) -> Step<'_> {
    Step {
        side: Side::Request,
        text,
        gap: 0,
    }
}

const fn ans(text: &str) -> Step<'_> {
    Step {
        side: Side::Answer,
        text,
        gap: 0,
    }
}

const fn gap(gap: u64, step: Step<'_>) -> Step<'_> {
    Step { gap, ..step }
}

const GET: Step<'_> = req("GET /a HTTP/1.1\r\n\r\n");
const NEXT: Step<'_> = req("GET /next HTTP/1.1\r\n\r\n");
const OK: Step<'_> = ans("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
const TEAPOT: Step<'_> = ans("HTTP/1.1 418 Short\r\nContent-Length: 0\r\n\r\n");

/// Feeds the steps at 1, 2, 3 … nanoseconds and closes at 1000.
fn follow(connection: Connection, steps: &[Step<'_>]) -> Log {
    follow_on(connection, steps, |_| Ok(()))
}

/// The same; after the first step something else happens.
fn follow_on(
    mut connection: Connection,
    steps: &[Step<'_>],
    between: impl FnOnce(&mut Connection) -> Result<(), GaveUp>,
) -> Log {
    let mut log = Log::default();
    let mut between = Some(between);
    let mut emit = |exchange: Exchange<'_>| {
        let head = str::from_utf8(exchange.head).unwrap().to_owned();
        log.seen.push((
            head,
            exchange.status,
            exchange.whole,
            exchange.start_ns,
            exchange.end_ns,
        ));
    };
    for (step, time_ns) in steps.iter().zip(1..) {
        let segment = Segment {
            side: step.side,
            time_ns,
            total_len: step.text.len() as u64 + step.gap,
            captured: step.text.as_bytes(),
        };
        log.result = log.result.or(connection.feed(segment, &mut emit).err());
        if let Some(between) = between.take() {
            log.result = log.result.or(between(&mut connection).err());
        }
    }
    connection.close(1000, &mut emit);
    log
}

fn run(steps: &[Step<'_>]) -> Log {
    follow(Connection::new(), steps)
}

/// The steps in one go and byte by byte; both must show these exchanges and nothing wrong.
fn shows(steps: &[Step<'_>], expected: &[(&str, u16)]) {
    let log = run(steps);
    assert_eq!((log.brief(), log.result), (expected.to_vec(), None));
    let bytes: Vec<Step<'_>> = steps
        .iter()
        .flat_map(|step| {
            (0..step.text.len()).map(|at| {
                gap(
                    0,
                    Step {
                        text: &step.text[at..=at],
                        ..*step
                    },
                )
            })
        })
        .collect();
    if steps.iter().all(|step| step.gap == 0) {
        let log = run(&bytes);
        assert_eq!((log.brief(), log.result), (expected.to_vec(), None), "byte by byte");
    }
}

/// A pair of exchanges of which the first is not as simple as the second.
fn shows_first(steps: &[Step<'_>], first: (&str, u16)) {
    shows(&[steps, &[NEXT, TEAPOT]].concat(), &[first, ("GET /next", 418)]);
}

/// As [`shows_first`], for steps that are too long to be fed byte by byte.
fn shows_first_whole(steps: &[Step<'_>], first: (&str, u16)) {
    let log = run(&[steps, &[NEXT, TEAPOT]].concat());
    assert_eq!((log.brief(), log.result), (vec![first, ("GET /next", 418)], None));
}

fn gives_up(steps: &[Step<'_>], expected: Reason) -> Log {
    let log = run(steps);
    assert_eq!(log.reason(), Some(expected), "{:?}", log.seen);
    log
}

#[test]
fn an_exchange_has_its_head_its_status_and_its_times() {
    let log = run(&[
        req("POST /a HTTP/1.1\r\nHost: x\r\n"),
        req("Content-Length: 4\r\n\r\nbo"),
        req("dy"),
        ans("HTTP/1.1 20"),
        ans("1 Created\r"),
        ans("\nContent-Length: 0\r\n\r\n"),
    ]);
    let head = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n".to_owned();
    assert_eq!((log.seen, log.result), (vec![(head, Some(201), true, 1, 6)], None));
}

#[test]
fn a_head_is_kept_up_to_its_bound_and_read_to_its_end() {
    let text = format!(
        "GET /{} HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
        "a".repeat(MAX_REQUEST_HEAD)
    );
    let log = run(&[req(&text), OK, NEXT, TEAPOT]);
    assert_eq!(log.seen.len(), 2);
    assert_eq!(log.seen[0].0, text[..MAX_REQUEST_HEAD]);
    let other = text.replace("HTTP/1.1", "HTTP/3.1");
    gives_up(&[req(&other)], Reason::RequestLine(NotHttp::Version));
}

#[test]
fn pipelined_requests_take_their_answers_in_order() {
    let steps = [
        req("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nHEAD /c HTTP/1.1\r\n\r\nGET /d HTTP/1.1\r\n\r\n"),
        ans("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
        ans("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"),
    ];
    shows(
        &steps,
        &[("GET /a", 200), ("GET /b", 404), ("HEAD /c", 200), ("GET /d", 500)],
    );
}

#[test]
fn the_queue_can_be_used_up_again_and_again() {
    let round = [GET, GET, OK, OK];
    let log = run(&round.repeat(MAX_OUTSTANDING));
    assert_eq!((log.seen.len(), log.result), (2 * MAX_OUTSTANDING, None));
}

#[test]
fn a_body_of_known_length_is_not_read_as_messages() {
    let post = "POST /a HTTP/1.1\r\nContent-Length: 21\r\n\r\nGET /no HTTP/1.1\r\n\r\n!\r\n";
    let answer = "HTTP/1.1 200 OK\r\ncontent-length:\t19 \r\n\r\nHTTP/1.1 500 No\r\n\r\n";
    shows_first(&[req(post), ans(answer)], ("POST /a", 200));
    let twice = "POST /a HTTP/1.1\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nhi";
    shows_first(&[req(twice), OK], ("POST /a", 200));
}

#[test]
fn chunks_have_extensions_and_trailers() {
    let chunks = "5;a=\"b\"\r\nGET /\r\n00A \r\n0123456789\r\n0\r\nContent-Length: 7\r\n\r\n";
    let post = format!("POST /a HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n{chunks}");
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    shows_first(&[req(&post), ans(&answer)], ("POST /a", 200));
    let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(1000));
    let post = format!("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{long}");
    shows_first(&[req(&post), OK], ("POST /a", 200));
}

#[test]
fn an_interim_answer_is_not_the_answer() {
    let expecting = req("PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    let go_on = ans("HTTP/1.1 100 Continue\r\n\r\n");
    let hints = ans("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 9\r\n\r\n");
    shows_first(&[expecting, go_on, req("hi"), hints, OK], ("PUT /a", 200));
    gives_up(&[go_on], Reason::Unrequested);
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    for (request, answer) in [
        ("HEAD /a", "200 OK\r\nContent-Length: 9"),
        ("HEAD /a", "200 OK\r\nTransfer-Encoding: chunked"),
        ("HEAD /a", "404 No"),
        ("GET /a", "204 No Content"),
        ("GET /a", "304 Not Modified\r\nContent-Length: 9"),
        ("GET /a", "304 Not Modified\r\nContent-Length: 9\r\nContent-Length: 8"),
    ] {
        let head = format!("{request} HTTP/1.1\r\n\r\n");
        let answer_head = format!("HTTP/1.1 {answer}\r\n\r\n");
        shows_first(
            &[req(&head), ans(&answer_head)],
            (request, answer[..3].parse().unwrap()),
        );
    }
}

#[test]
fn an_upgrade_is_answered_and_ends_http() {
    let upgrade = req("GET /a HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
    let switching = ans("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x02");
    shows(
        &[upgrade, switching, GET, OK, req("\0\n"), ans("\0\n")],
        &[("GET /a", 101)],
    );
    shows_first(&[upgrade, OK], ("GET /a", 200));
    gives_up(&[upgrade, NEXT, switching], Reason::Tunnel);
    gives_up(&[upgrade, req("G"), switching], Reason::Tunnel);
}

#[test]
fn a_connect_ends_http_when_it_is_granted_and_only_then() {
    let connect = req("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n");
    let granted = ans("HTTP/1.1 200 Connected\r\n\r\n");
    let tunnelled = req("\x16\x03\n");
    shows(&[connect, granted, tunnelled, GET, OK], &[("CONNECT h:443", 200)]);
    shows(&[connect, tunnelled, granted], &[("CONNECT h:443", 200)]);
    shows_first(&[connect, TEAPOT], ("CONNECT h:443", 418));
    let log = gives_up(&[connect, tunnelled, TEAPOT], Reason::Tunnel);
    assert_eq!(log.brief(), [("CONNECT h:443", 418)]);
    gives_up(&[connect, gap(1, tunnelled), TEAPOT], Reason::Tunnel);
    let with_body = req("CONNECT h:443 HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
    gives_up(&[with_body], Reason::Ambiguous);
}

#[test]
fn an_answer_without_a_length_goes_on_to_the_close() {
    for answer in [
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    ] {
        let steps = [
            req("GET /a HTTP/1.0\r\n\r\n"),
            ans(answer),
            ans("HTTP/1.1 500 No\r\n\r\n"),
            NEXT,
            OK,
        ];
        shows(&steps, &[("GET /a", 200), ("GET /next", 0)]);
    }
}

#[test]
fn an_answer_may_come_before_the_end_of_its_request() {
    let log = run(&[
        req("POST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo"),
        TEAPOT,
        req("dyGET /next HTTP/1.1\r\n\r\n"),
        OK,
    ]);
    assert_eq!(log.brief(), [("POST /a", 418), ("GET /next", 200)]);
    assert_eq!(log.seen.iter().map(|seen| seen.2).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn an_answer_may_come_before_the_end_of_the_head() {
    let log = run(&[
        req("HEAD /a HTTP/1.1\r\nCookie: aaaaa"),
        ans("HTTP/1.1 431 Too Large\r\nContent-Length: 5\r\n\r\n"),
        req("aaaa\r\n\r\n"),
        NEXT,
        TEAPOT,
    ]);
    assert_eq!(
        (log.brief(), log.result),
        (vec![("HEAD /a", 431), ("GET /next", 418)], None)
    );
    assert_eq!((log.seen[0].0.len(), log.seen[0].2), (31, false));
    gives_up(&[req("GET"), TEAPOT], Reason::BeforeMethod);
}

#[test]
fn a_connect_that_is_refused_before_the_end_of_its_head_is_followed_by_http() {
    let steps = [req("CONNECT h:443 HTTP/1.1\r\n"), TEAPOT, req("\r\n"), NEXT, OK];
    let log = run(&steps);
    assert_eq!(
        (log.brief(), log.result),
        (vec![("CONNECT h:443", 418), ("GET /next", 200)], None)
    );
}

#[test]
fn bare_line_feeds_end_lines_and_empty_lines_before_a_message_are_nothing() {
    let steps = [
        req("\r\n\n\r\nPOST /a HTTP/1.1\nContent-Length: 2\n\nhi\r\n"),
        ans("\r\nHTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\nx\n0\n\n"),
    ];
    shows_first(&steps, ("POST /a", 200));
    let log = run(&[req("\r\n"), GET, OK]);
    assert_eq!(log.seen[0].3, 2);
}

#[test]
fn a_close_aborts_what_waits_and_forgets_what_is_no_request_yet() {
    let log = run(&[GET, req("POST /b HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo")]);
    let shown: Vec<_> = log.seen.iter().map(|seen| (seen.1, seen.2, seen.3, seen.4)).collect();
    assert_eq!(shown, [(None, true, 1, 1000), (None, false, 2, 1000)]);
    shows(&[GET, OK, req("GET /half HTTP/1.1\r\n")], &[("GET /a", 200)]);
    let log = run(&[GET, req("GET /half HTTP/1.1\r\n")]);
    assert_eq!((log.brief(), log.seen[0].2), (vec![("GET /a", 0)], true));
}

#[test]
fn a_closed_connection_is_as_new() {
    for before in [
        &[req("POST /b HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo")][..],
        &[req("GE")],
        &[GET, ans("HTTP/1.1 200 OK\r\n\r\n")],
        &[GET, ans("HTTP/1.1 101 Switching\r\n\r\n")],
        &[OK],
    ] {
        let mut connection = Connection::new();
        for step in before {
            let segment = Segment {
                side: step.side,
                time_ns: 1,
                total_len: step.text.len() as u64,
                captured: step.text.as_bytes(),
            };
            let _either = connection.feed(segment, &mut |_| {});
        }
        connection.close(2, &mut |_| {});
        assert_eq!(connection.outstanding(), 0);
        let log = follow(connection, &[GET, OK]);
        assert_eq!((log.brief(), log.result), (vec![("GET /a", 200)], None));
    }
}

#[test]
fn time_that_runs_backwards_gives_no_negative_duration() {
    let mut connection = Connection::new();
    let mut ends = Vec::new();
    for (side, time_ns, step) in [(Side::Request, 9, GET), (Side::Answer, 5, OK)] {
        let segment = Segment {
            side,
            time_ns,
            total_len: step.text.len() as u64,
            captured: step.text.as_bytes(),
        };
        connection
            .feed(segment, &mut |exchange| ends.push(exchange.end_ns))
            .unwrap();
    }
    assert_eq!(ends, [9]);
}

#[test]
fn a_connection_is_small() {
    assert!(size_of::<Connection>() < 1536, "{}", size_of::<Connection>());
}

mod answered;
mod gaps;
mod refusals;

//! What ends the pairing, each by its name.

use super::*;

#[test]
fn a_broken_chunk_is_given_up() {
    for chunks in [
        "\r\n",
        "x\r\n",
        "5x\r\n",
        "1\r\nxy\r\n",
        "10000000000000000\r\n",
        "-1\r\n",
        ";a\r\n",
    ] {
        let post = format!("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        gives_up(&[req(&post)], Reason::Chunk);
    }
}

#[test]
fn what_is_no_status_line_is_given_up() {
    for line in [
        "HTTP/1.1 20",
        "HTTP/1.1 2000",
        "HTTP/1.1 099 X",
        "HTTP/2 200",
        "HTTP/1.1  200",
        "HTTP/1.x 200",
        "http/1.1 200",
    ] {
        let answer = format!("{line}\r\n\r\n");
        gives_up(&[GET, ans(&answer)], Reason::StatusLine);
    }
    shows(&[GET, ans("HTTP/1.1 200\n\n")], &[("GET /a", 200)]);
}

#[test]
fn a_length_that_is_none_is_given_up() {
    for length in [
        "",
        "x",
        "+1",
        "-1",
        "1 2",
        "1,2",
        "1,",
        "18446744073709551616",
        "0x10",
        "1\r\nContent-Length: 2",
    ] {
        let post = format!("POST /a HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
        gives_up(&[req(&post)], Reason::ContentLength);
    }
    let padded = format!("POST /a HTTP/1.1\r\nContent-Length: {}1\r\n\r\n", " ".repeat(200));
    gives_up(&[req(&padded)], Reason::ContentLength);
    let huge = "POST /a HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n";
    shows(&[req(huge), TEAPOT], &[("POST /a", 418)]);
}

#[test]
fn a_coding_that_leaves_the_end_open_is_given_up() {
    for coding in [
        "gzip",
        "",
        "chunked, gzip",
        "chunked, chunked",
        "chunked;a=b",
        "chunked\r\nTransfer-Encoding: chunked",
    ] {
        let post = format!("POST /a HTTP/1.1\r\nTransfer-Encoding: {coding}\r\n\r\n");
        gives_up(&[req(&post)], Reason::TransferEncoding);
    }
    for coding in ["chunked, gzip", "chunked;a=b", "chunked\r\nTransfer-Encoding: gzip"] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n");
        let log = gives_up(&[GET, ans(&answer)], Reason::TransferEncoding);
        assert_eq!(log.brief(), [("GET /a", 200)]);
    }
    let padded = format!(
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked{},gzip\r\n\r\n",
        " ".repeat(200)
    );
    gives_up(&[req(&padded)], Reason::TransferEncoding);
}

#[test]
fn lengths_that_servers_read_differently_are_given_up() {
    for head in [
        "POST /a HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1",
        "POST /a HTTP/1.0\r\nTransfer-Encoding: chunked",
        "POST /a HTTP/1.1\r\nContent-Length : 1",
        "POST /a HTTP/1.1\r\nTransfer-Encoding\t: chunked",
        "POST /a HTTP/1.1\r\nTransfer-Encoding: gzip,\r\n chunked",
        "POST /a HTTP/1.1\r\nContent-Length: 1\r\n\t1",
    ] {
        let head = format!("{head}\r\n\r\n");
        gives_up(&[req(&head)], Reason::Ambiguous);
    }
    let both = ans("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    gives_up(&[GET, both], Reason::Ambiguous);
    shows_first(
        &[req("GET /a HTTP/1.1\r\nX: a\r\n Content-Length: 5\r\n\r\n"), OK],
        ("GET /a", 200),
    );
}

#[test]
fn another_protocol_is_given_up_at_its_first_line() {
    gives_up(
        &[req("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")],
        Reason::RequestLine(NotHttp::Http2),
    );
    gives_up(&[req("GET /\r\n")], Reason::RequestLine(NotHttp::Target));
    let endless = "\x16".repeat(MAX_REQUEST_HEAD);
    gives_up(&[req(&endless)], Reason::RequestLine(NotHttp::Method));
}

#[test]
fn sections_without_an_end_are_given_up() {
    let endless = "x".repeat(MAX_SECTION);
    let header = format!("GET / HTTP/1.1\r\nX: {endless}");
    gives_up(&[req(&header)], Reason::TooLong);
    let lines = format!("GET / HTTP/1.1\r\n{}", "X:\n".repeat(MAX_SECTION / 3));
    gives_up(&[req(&lines)], Reason::TooLong);
    let extension = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;{endless}");
    gives_up(&[req(&extension)], Reason::TooLong);
    let reason = format!("HTTP/1.1 200 {endless}");
    gives_up(&[GET, ans(&reason)], Reason::TooLong);
    let many = format!(
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        "1\r\nx\r\n".repeat(MAX_SECTION / 4)
    );
    shows_first_whole(&[req(&many), OK], ("POST /a", 200));
}

#[test]
fn an_answer_that_nobody_asked_for_is_given_up() {
    gives_up(&[OK], Reason::Unrequested);
    gives_up(&[GET, OK, TEAPOT], Reason::Unrequested);
    let log = gives_up(&[GET, NEXT, ans("Hello\n"), OK], Reason::StatusLine);
    assert_eq!((log.seen.len(), log.result.unwrap().unanswered), (0, 2));
}

#[test]
fn more_requests_than_the_queue_holds_are_given_up() {
    let held = "GET / HTTP/1.1\r\n\r\n".repeat(MAX_OUTSTANDING);
    let log = run(&[req(&held), OK]);
    assert_eq!((log.seen.len(), log.result), (MAX_OUTSTANDING, None));
    let log = gives_up(&[req(&held), GET, OK], Reason::TooManyOutstanding);
    assert_eq!((log.seen.len(), log.result.unwrap().unanswered), (0, MAX_OUTSTANDING));
}

#[test]
fn after_giving_up_nothing_is_emitted_and_the_reason_stays() {
    let log = gives_up(&[GET, OK, OK, GET, TEAPOT, req("\0\n")], Reason::Unrequested);
    assert_eq!(log.brief(), [("GET /a", 200)]);
    let mut connection = Connection::new();
    let segment = Segment {
        side: Side::Answer,
        time_ns: 1,
        total_len: 1,
        captured: b"\0\n but only the first byte counts",
    };
    assert_eq!(connection.feed(segment, &mut |_| {}), Ok(()));
    let line = Segment {
        captured: b"\n",
        ..segment
    };
    let gave_up = connection.feed(line, &mut |_| {});
    assert_eq!(gave_up.map_err(|gave_up| gave_up.category()), Err("status_line"));
    let empty = Segment {
        total_len: 0,
        captured: b"",
        ..segment
    };
    assert_eq!(connection.feed(empty, &mut |_| {}), gave_up);
}

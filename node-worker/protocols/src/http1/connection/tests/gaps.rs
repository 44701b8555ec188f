//! Bytes that a transfer carried and nobody kept.

use super::*;

#[test]
fn a_gap_within_a_body_is_skipped() {
    let post = req("POST /a HTTP/1.1\r\nContent-Length: 10\r\n\r\n01");
    let answer = ans("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01");
    shows_first(&[gap(8, post), gap(8, answer)], ("POST /a", 200));
    shows_first(&[gap(7, post), req("9"), gap(7, answer), ans("9")], ("POST /a", 200));
    shows_first(&[post, gap(8, req("")), answer, gap(8, ans(""))], ("POST /a", 200));
}

#[test]
fn a_gap_beyond_a_body_is_given_up() {
    let post = req("POST /a HTTP/1.1\r\nContent-Length: 10\r\n\r\n01");
    gives_up(&[gap(9, post)], Reason::Gap);
    let answer = ans("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01");
    gives_up(&[GET, gap(9, answer)], Reason::Gap);
    gives_up(&[GET, gap(1, OK)], Reason::Gap);
}

#[test]
fn a_gap_within_a_chunk_or_over_its_end_is_skipped() {
    let rest = "5\r\nabcde\r\n0\r\n\r\n";
    for (hidden, shown) in [(4, "4\r\n"), (5, "\r\n"), (7, "")] {
        let rest = format!("{}{rest}", if hidden == 4 { "e\r\n" } else { shown });
        let post = req("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n01");
        shows_first(&[gap(hidden, post), req(&rest), OK], ("POST /a", 200));
        let answer = ans("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n01");
        shows_first(&[GET, gap(hidden, answer), ans(&rest)], ("GET /a", 200));
    }
}

#[test]
fn a_gap_that_may_hide_the_end_of_a_request_is_given_up() {
    let post = req("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n01");
    for hidden in [6, 8, 12, 1000] {
        gives_up(&[gap(hidden, post)], Reason::Gap);
    }
    for cut in ["", "\r\n", "GE", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n\r\n"] {
        gives_up(&[gap(1, req(cut))], Reason::Gap);
    }
    let sized = req("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7");
    gives_up(&[gap(1, sized)], Reason::Gap);
}

#[test]
fn a_gap_before_a_final_status_line_is_given_up() {
    for cut in [
        "",
        "HTTP/1.1 200 OK\r",
        "HTTP/1.1 100 Continue\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let log = gives_up(&[GET, gap(1, ans(cut))], Reason::Gap);
        assert_eq!((log.seen.len(), log.result.unwrap().unanswered), (0, 1), "{cut}");
    }
}

const CUT_HEAD: Step<'_> = ans("HTTP/1.1 200 OK\r\nX: a");
const CUT_CHUNKS: Step<'_> = ans("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n01");

#[test]
fn the_rest_of_the_only_answer_may_be_hidden() {
    for cut in [CUT_HEAD, CUT_CHUNKS] {
        shows_first(&[GET, gap(1000, cut)], ("GET /a", 200));
        shows_first(
            &[GET, gap(1000, cut), ans("more\r\n"), gap(7, ans("HTTP/1.1 500 No\r\n"))],
            ("GET /a", 200),
        );
        shows_first(&[GET, gap(1000, cut), req("\r\n"), ans("0\r\n\r\n")], ("GET /a", 200));
    }
    let early = req("POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\n");
    shows_first(&[early, gap(1000, CUT_HEAD), req("hi")], ("POST /a", 200));
}

#[test]
fn the_rest_of_an_answer_is_not_hidden_where_another_may_follow_it() {
    for cut in [CUT_HEAD, CUT_CHUNKS] {
        for other in [NEXT, req("GET /next HT")] {
            let log = gives_up(&[GET, other, gap(1000, cut)], Reason::Gap);
            assert_eq!(log.brief(), [("GET /a", 200)]);
        }
    }
}

#[test]
fn an_answer_that_was_lost_is_found_at_the_beginning_of_a_transfer_or_not_at_all() {
    let lost = [GET, gap(1000, CUT_CHUNKS), NEXT];
    for bad in [ans("0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), gap(9, ans("")), ans("HTTQ")] {
        gives_up(&[&lost[..], &[bad]].concat(), Reason::LostAnswer);
    }
    for bytes in [
        &["HTTP/1.1 418 No\r\n"][..],
        &["HT", "TP/1.1 418 No\r\n"],
        &["HTTP/1.1 100 Go\r\n\r\n", "HTTP/1.1 418 No\r\n"],
    ] {
        let answers: Vec<_> = bytes.iter().map(|text| ans(text)).collect();
        shows(
            &[&lost[..2], &[ans("HTTP/1.")], &lost[2..], &answers].concat(),
            &[("GET /a", 200), ("GET /next", 418)],
        );
    }
}

#[test]
fn a_resumed_connection_takes_up_the_request_in_flight() {
    let log = follow(
        Connection::resumed(),
        &[
            gap(5, req("POST /a HTTP/1.1\r\nContent-Length: 6\r\n\r\nb")),
            NEXT,
            OK,
            TEAPOT,
        ],
    );
    assert_eq!(
        (log.brief(), log.result),
        (vec![("POST /a", 200), ("GET /next", 418)], None)
    );
}

#[test]
fn a_resumed_connection_may_still_be_in_an_earlier_answer() {
    let log = follow(
        Connection::resumed(),
        &[ans("body\n"), gap(99, ans("HTTP/1.1 200 no head\r\n")), GET, OK],
    );
    assert_eq!((log.brief(), log.result), (vec![("GET /a", 200)], None));
    let log = follow(Connection::resumed(), &[GET, ans("body\n"), OK]);
    assert_eq!((log.brief(), log.reason()), (vec![], Some(Reason::LostAnswer)));
}

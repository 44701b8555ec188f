//! Connections that are taken over when their first request was answered already.

use super::*;

/// Takes the connection over with the first step, whose first request was answered.
fn taken_over(steps: &[Step<'_>]) -> Log {
    follow_on(Connection::resumed(), steps, Connection::answered)
}

/// Behind the first request the connection is as any other.
fn goes_on(steps: &[Step<'_>]) {
    let log = taken_over(&[steps, &[NEXT, TEAPOT]].concat());
    assert_eq!((log.brief(), log.result), (vec![("GET /next", 418)], None));
}

#[test]
fn the_first_request_is_emitted_no_more_and_what_was_read_behind_it_is() {
    goes_on(&[GET]);
    goes_on(&[req("")]);
    let log = taken_over(&[
        req("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n"),
        OK,
        TEAPOT,
    ]);
    assert_eq!(
        (log.brief(), log.result),
        (vec![("GET /b", 200), ("GET /c", 418)], None)
    );
    let log = taken_over(&[GET]);
    assert_eq!((log.brief(), log.result), (vec![], None));
}

#[test]
fn the_rest_of_its_answer_is_nothing() {
    goes_on(&[GET, ans("body\n"), gap(99, ans("HTTP/1.1 200 no head\r\n"))]);
    let both = req("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n");
    let log = taken_over(&[both, ans("body\n"), OK]);
    assert_eq!(log.reason(), Some(Reason::LostAnswer));
    assert_eq!(log.result.map(|gave_up| gave_up.unanswered), Some(1));
}

#[test]
fn the_rest_of_the_request_is_its_own() {
    goes_on(&[
        req("POST /a HTTP/1.1\r\nContent-Length: 24\r\n\r\nbo"),
        req("GET / HTTP/1.1\r\n\r\n...!"),
    ]);
    goes_on(&[gap(3, req("POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nbo"))]);
    goes_on(&[req("POST /a HTTP/1.1\r\nContent-Le"), req("ngth: 2\r\n\r\nhi")]);
}

#[test]
fn what_a_connect_was_answered_with_is_not_known() {
    for connect in [
        "CONNECT h:443 HTTP/1.1\r\n\r\n",
        "CONNECT h:443 HTTP/1.1\r\n",
        "CONNECT ",
    ] {
        let log = taken_over(&[req(connect), NEXT, OK]);
        assert_eq!((log.brief(), log.reason()), (vec![], Some(Reason::Tunnel)), "{connect}");
        assert_eq!(log.result.map(|gave_up| gave_up.unanswered), Some(0));
    }
    let log = taken_over(&[req("CON"), req("NECT h:443 HTTP/1.1\r\n\r\n")]);
    assert_eq!(log.reason(), Some(Reason::BeforeMethod));
}

#[test]
fn a_connection_that_was_given_up_stays_so() {
    let log = taken_over(&[req("\0\n"), NEXT, OK]);
    assert_eq!(log.seen.len(), 0);
    assert_eq!(log.reason(), Some(Reason::RequestLine(NotHttp::Method)));
}

#[test]
fn every_reason_has_a_category_of_its_own() {
    let categories: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.category()).collect();
    assert_eq!(categories.len(), Reason::ALL.len());
}

//! What leaves the fast path, and what is told of it then.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    process,
    time::Duration,
};

use shoalwatch_node_worker::loader::{LoaderOptions, Stat, UnderWay};

use crate::{
    harness::{turn, wait_for},
    scenario::{Scenario, Told, seen},
};

const GET: &str = "GET /orders/7?x=1 HTTP/1.1\r\nHost: shop\r\n\r\n";
const HEAD: &str = "HEAD /early HTTP/1.1\r\n\r\n";
const POST: &str = "POST /orders HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

fn open(under_way: UnderWay, head: impl Into<String>) -> Told {
    Told::Open(under_way, head.into())
}

fn asked(bytes: impl Into<String>) -> Told {
    Told::Asked(bytes.into())
}

fn answered(bytes: impl Into<String>) -> Told {
    Told::Answered(bytes.into())
}

#[test]
fn a_request_before_the_answer_opens_a_connection_that_is_told_until_it_is_closed() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    pair.exchange(GET, OK).unwrap();
    pair.request(GET.as_bytes()).unwrap();
    pair.request(HEAD.as_bytes()).unwrap();
    pair.answer(OK.as_bytes()).unwrap();
    pair.answer(NOT_FOUND.as_bytes()).unwrap();
    pair.exchange(HEAD, OK).unwrap();
    drop(pair.server);
    assert_eq!(scenario.drain(), [seen(200, GET)]);
    let expected = [
        open(UnderWay::Waiting, GET),
        asked(HEAD),
        answered(OK),
        answered(NOT_FOUND),
        asked(HEAD),
        answered(OK),
        Told::Close(false),
    ];
    assert_eq!(scenario.told(), expected);
    assert_eq!(scenario.stat(Stat::Raw).unwrap(), 1);
    scenario.connect().unwrap().exchange(GET, OK).unwrap();
    assert_eq!(scenario.drain(), [seen(200, GET)]);
}

#[test]
fn requests_of_one_read_are_told_with_the_first_answer() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    let both = format!("{GET}{HEAD}");
    pair.exchange(&both, OK).unwrap();
    pair.answer(NOT_FOUND.as_bytes()).unwrap();
    assert_eq!(scenario.drain(), [seen(200, &both)]);
    let expected = [open(UnderWay::Counted, both), answered(OK), answered(NOT_FOUND)];
    assert_eq!(scenario.told(), expected);
}

#[test]
fn requests_that_fill_more_than_the_heads_room_are_told_from_the_first_byte() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    let many = GET.repeat(60);
    pair.exchange(&many, &OK.repeat(2)).unwrap();
    assert_eq!(scenario.drain(), []);
    let parts = many
        .as_bytes()
        .chunks(1024)
        .map(|part| asked(String::from_utf8_lossy(part)));
    let expected: Vec<_> = [open(UnderWay::Waiting, "")]
        .into_iter()
        .chain(parts)
        .chain([answered(OK.repeat(2))])
        .collect();
    assert_eq!(scenario.told(), expected);
}

#[test]
fn a_byte_read_before_requests_that_fill_more_than_the_heads_room_is_told_before_them() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    let many = GET.repeat(20);
    pair.exchange(GET, OK).unwrap();
    pair.request(&many.as_bytes()[..1]).unwrap();
    pair.request(&many.as_bytes()[1..]).unwrap();
    assert_eq!(scenario.drain(), [seen(200, GET)]);
    let told = [open(UnderWay::Waiting, ""), asked("G"), asked(&many[1..])];
    assert_eq!(scenario.told(), told);
}

#[test]
fn one_request_that_fills_more_than_the_heads_room_stays_on_the_fast_path() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    for cookie in [400, 470, 480, 600, 5000] {
        let head = format!("GET /big HTTP/1.1\r\nCookie: {}\r\n\r\n", "c".repeat(cookie));
        pair.exchange(&head, OK).unwrap();
        assert_eq!(scenario.drain(), [seen(200, &head[..head.len().min(512)])]);
    }
    assert_eq!(scenario.told(), []);
}

#[test]
fn a_body_behind_a_head_is_no_request() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    let search = "GET /_search HTTP/1.1\r\nContent-Length: 9\r\n\r\n{\"q\": 1}\n";
    for request in [search, &format!("{POST}hello")] {
        pair.exchange(request, OK).unwrap();
        assert_eq!(scenario.drain(), [seen(200, request)]);
    }
    assert_eq!(scenario.told(), []);
}

#[test]
fn an_answer_that_belongs_to_bytes_behind_a_body_is_told_with_them() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    let both = format!("{POST}hello{GET}");
    pair.exchange(&both, OK).unwrap();
    pair.answer(NOT_FOUND.as_bytes()).unwrap();
    assert_eq!(scenario.drain(), [seen(200, &both)]);
    assert_eq!(scenario.told(), [open(UnderWay::Answered, both), answered(NOT_FOUND)]);
}

#[test]
fn answers_of_another_shape_are_told() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    for answer in [["HTTP/1.1 ", "200 OK\r\n\r\n"], ["HTTP/1.1 100 Continue\r\n\r\n", OK]] {
        let mut pair = scenario.connect().unwrap();
        pair.request(POST.as_bytes()).unwrap();
        for piece in answer {
            pair.answer(piece.as_bytes()).unwrap();
        }
        drop(pair.server);
        let expected = [
            open(UnderWay::Waiting, POST),
            answered(answer[0]),
            answered(answer[1]),
            Told::Close(false),
        ];
        assert_eq!(scenario.told(), expected);
    }
    assert_eq!(scenario.drain(), []);
}

#[test]
fn a_byte_read_ahead_is_told_before_what_follows() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    pair.request(GET.as_bytes()).unwrap();
    pair.request(b"G").unwrap();
    pair.answer(b"HTTP/1.1 103 Early Hints\r\n\r\n").unwrap();
    pair.answer(OK.as_bytes()).unwrap();
    pair.request(&GET.as_bytes()[1..]).unwrap();
    let expected = [
        open(UnderWay::Waiting, GET),
        asked("G"),
        answered("HTTP/1.1 103 Early Hints\r\n\r\n"),
        answered(OK),
        asked(&GET[1..]),
    ];
    assert_eq!(scenario.told(), expected);
}

#[test]
fn an_opening_says_how_much_of_the_body_was_read() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let head = "POST /orders HTTP/1.1\r\nContent-Length: 10\r\n\r\n";
    let mut pair = scenario.connect().unwrap();
    pair.client.write_all(format!("{head}12345").as_bytes()).unwrap();
    let (mut first, mut second) = (vec![0; head.len()], [0; 5]);
    let mut parts = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(
        rustix::io::readv(pair.server.as_fd(), &mut parts).unwrap(),
        head.len() + 5
    );
    pair.request(b"678").unwrap();
    pair.answer(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    assert_eq!(
        scenario.told(),
        [
            open(UnderWay::Waiting, head),
            Told::Gap(8),
            answered("HTTP/1.1 100 Continue\r\n\r\n")
        ]
    );
}

#[test]
fn a_byte_read_behind_a_body_is_told_once() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    pair.request(format!("{POST}hello").as_bytes()).unwrap();
    pair.request(b"G").unwrap();
    pair.answer(b"HTTP/1.1 103 Early Hints\r\n\r\n").unwrap();
    assert_eq!(
        scenario.told(),
        [
            open(UnderWay::Waiting, format!("{POST}helloG")),
            answered("HTTP/1.1 103 Early Hints\r\n\r\n")
        ]
    );
}

#[test]
fn every_part_of_a_gathered_write_is_told_and_what_is_too_much_is_a_gap() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    pair.request(GET.as_bytes()).unwrap();
    pair.request(GET.as_bytes()).unwrap();
    let body = "b".repeat(1024 * 15 + 7);
    let pieces = ["", OK, "", &body];
    rustix::io::writev(pair.server.as_fd(), &pieces.map(|piece| IoSlice::new(piece.as_bytes()))).unwrap();
    let told = scenario.told();
    assert_eq!(told[..3], [open(UnderWay::Waiting, GET), asked(GET), answered(OK)]);
    let kept: usize = told[3..]
        .iter()
        .map(|told| match told {
            Told::Answered(bytes) => bytes.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(told.last(), Some(&Told::Gap(body.len() - kept)));
    assert_eq!(kept, 13 * 1024);
}

#[test]
fn what_follows_the_end_of_http_is_nothing() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let connect = "CONNECT shop:443 HTTP/1.1\r\n\r\n";
    for (request, status) in [(GET, 101), (connect, 200)] {
        let mut pair = scenario.connect().unwrap();
        pair.exchange(request, &format!("HTTP/1.1 {status} Go\r\n\r\n"))
            .unwrap();
        pair.exchange(GET, OK).unwrap();
        assert_eq!(scenario.drain(), [seen(status, request)]);
    }
    let mut pair = scenario.connect().unwrap();
    pair.exchange(connect, NOT_FOUND).unwrap();
    pair.exchange(GET, OK).unwrap();
    assert_eq!(scenario.drain(), [seen(404, connect), seen(200, GET)]);
    assert_eq!(scenario.told(), []);
}

#[test]
fn a_connection_that_its_peer_resets_is_told_with_an_answer_that_came_too_late() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    pair.exchange(GET, OK).unwrap();
    pair.answer(b"tail").unwrap();
    pair.request(HEAD.as_bytes()).unwrap();
    rustix::net::sockopt::set_socket_linger(&*pair.client, Some(Duration::ZERO)).unwrap();
    drop(pair.client);
    wait_for("the reset", || {
        scenario.stat(Stat::Reset).is_ok_and(|resets| resets == 1)
    })
    .unwrap();
    assert_eq!(scenario.drain(), [seen(200, GET)]);
    assert_eq!(scenario.told(), [Told::Ended(true, UnderWay::Waiting, HEAD.to_owned())]);
    assert_eq!(scenario.stat(Stat::Aborted).unwrap(), 0);
    // The kernel refuses it, so it was not written before: nothing is told of a call that failed.
    pair.server.write_all(OK.as_bytes()).unwrap_err();
    assert_eq!(scenario.told(), []);
}

/// The observed end of a Unix socket on which a request was read. Neither write of the other end begins with a whole method: it is
/// nobody's client.
fn ask_locally() -> io::Result<(UnixStream, UnixStream)> {
    let (mut client, mut server) = UnixStream::pair()?;
    let (first, rest) = GET.split_at(2);
    client.write_all(first.as_bytes())?;
    client.write_all(rest.as_bytes())?;
    server.read_exact(&mut vec![0; GET.len()])?;
    Ok((client, server))
}

#[test]
fn a_request_over_a_unix_socket_is_aborted_when_nobody_has_the_socket_any_more() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let (_client, server) = ask_locally().unwrap();
    let copy = server.try_clone().unwrap();
    drop(server);
    scenario.probes.end_locals().unwrap();
    assert_eq!(scenario.stat(Stat::Aborted).unwrap(), 0);
    drop(copy);
    scenario.probes.end_locals().unwrap();
    assert_eq!(scenario.drain(), [seen(0, GET)]);
    assert_eq!(scenario.probes.fullness().connections.used, 0);
}

#[test]
fn every_request_over_unix_sockets_ends_once_also_where_their_addresses_are_used_again() {
    const ROUNDS: usize = 200;
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    for round in 0..ROUNDS {
        let (_client, mut server) = ask_locally().unwrap();
        if round % 2 == 0 {
            server.write_all(OK.as_bytes()).unwrap();
        }
    }
    scenario.probes.end_locals().unwrap();
    let told = scenario.told();
    let seen_ends = scenario.drain();
    let replaced = Told::Ended(false, UnderWay::Waiting, GET.to_owned());
    assert!(told.iter().all(|told| *told == replaced), "{told:?}");
    let answered = seen_ends.iter().filter(|seen| seen.status == 200).count();
    assert_eq!((answered, seen_ends.len() + told.len()), (ROUNDS / 2, ROUNDS));
    assert_eq!(scenario.probes.fullness().connections.used, 0);
}

#[test]
fn an_answer_on_an_unknown_connection_is_told_for_itself() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    pair.answer(OK.as_bytes()).unwrap();
    assert_eq!(scenario.told(), [Told::Orphan(OK.to_owned())]);
}

#[test]
fn requests_of_one_read_that_nobody_answers_all_end() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    let both = format!("{GET}{HEAD}");
    pair.request(both.as_bytes()).unwrap();
    drop(pair.server);
    assert_eq!(scenario.drain(), [seen(0, &both)]);
    assert_eq!(scenario.told(), [Told::Ended(false, UnderWay::Counted, both)]);
}

#[test]
fn a_full_ring_gives_the_connection_up_and_says_so() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::with(&LoaderOptions {
        raw_ring_bytes: 4096,
        ..LoaderOptions::default()
    })
    .unwrap();
    let mut pair = scenario.connect().unwrap();
    let requests = 32;
    for _ in 0..requests {
        pair.request(GET.as_bytes()).unwrap();
    }
    let told = scenario.told();
    assert!((1..requests).contains(&told.len()), "{told:?}");
    assert_eq!(scenario.stat(Stat::RawFull).unwrap(), 1);
    assert_eq!(
        scenario.stat(Stat::GivenUp).unwrap(),
        (requests - told.len() - 1) as u64
    );
    assert_eq!(scenario.probes.lost(process::id()), 1);
    drop(pair.server);
    assert_eq!(scenario.told(), [Told::Close(false), Told::Gap(1)]);
}

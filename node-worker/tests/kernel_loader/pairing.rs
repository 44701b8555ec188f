//! Which reads and writes make a request, system call by system call.

use std::{
    io::{IoSlice, IoSliceMut, Read, Write},
    os::fd::AsFd,
};

use rustix::net::{RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags};
use shoalwatch_node_worker::loader::{HEAD_BYTES, Stat};

use crate::{
    harness::{Outcome, turn, wait_for},
    scenario::{Pair, Scenario, Told, seen},
};

const GET: &str = "GET /orders/7?x=1 HTTP/1.1\r\nHost: shop\r\n\r\n";
const POST: &str = "POST /orders HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

/// One way to read from the server's end.
type ReadCall = fn(&mut Pair, &mut [u8]) -> Outcome<usize>;
/// One way to write to it.
type WriteCall = fn(&mut Pair, &[u8]) -> Outcome<usize>;

const READS: [(&str, ReadCall); 5] = [
    ("read", |pair, to| Ok(rustix::io::read(&pair.server, to)?)),
    ("recvfrom", |pair, to| Ok(pair.server.read(to)?)),
    ("readv", |pair, to| {
        let mut pieces = [IoSliceMut::new(&mut []), IoSliceMut::new(to)];
        Ok(rustix::io::readv(&pair.server, &mut pieces)?)
    }),
    ("recvmsg", |pair, to| {
        let mut control = RecvAncillaryBuffer::default();
        let pieces = &mut [IoSliceMut::new(to)];
        Ok(rustix::net::recvmsg(&pair.server, pieces, &mut control, RecvFlags::empty())?.bytes)
    }),
    ("recvfrom after a peek", |pair, to| {
        rustix::net::recv(&pair.server, &mut *to, RecvFlags::PEEK)?;
        let mut control = RecvAncillaryBuffer::default();
        let pieces = &mut [IoSliceMut::new(&mut *to)];
        rustix::net::recvmsg(&pair.server, pieces, &mut control, RecvFlags::PEEK)?;
        Ok(pair.server.read(to)?)
    }),
];

const WRITES: [(&str, WriteCall); 4] = [
    ("write", |pair, from| Ok(rustix::io::write(&pair.server, from)?)),
    ("sendto", |pair, from| Ok(pair.server.write(from)?)),
    ("writev", |pair, from| {
        let (head, body) = from.split_at(20);
        let pieces = [IoSlice::new(&[]), IoSlice::new(head), IoSlice::new(body)];
        Ok(rustix::io::writev(pair.server.as_fd(), &pieces)?)
    }),
    ("sendmsg", |pair, from| {
        let mut control = SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(
            &pair.server,
            &[IoSlice::new(from)],
            &mut control,
            SendFlags::empty(),
        )?)
    }),
];

#[test]
fn every_pair_of_read_and_write_calls_makes_one_request() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    for (read_name, read) in READS {
        for (write_name, write) in WRITES {
            pair.client.write_all(GET.as_bytes()).unwrap();
            assert_eq!(read(&mut pair, &mut [0; 1024]).unwrap(), GET.len());
            assert_eq!(write(&mut pair, OK.as_bytes()).unwrap(), OK.len());
            pair.client.read_exact(&mut [0; OK.len()]).unwrap();
            let seen_now = scenario.drain();
            assert_eq!(
                seen_now,
                [seen(200, GET)],
                "{read_name}, {write_name}: {:?}, {:?}",
                scenario.told(),
                scenario.probes.stats()
            );
        }
    }
    assert_eq!(scenario.stat(Stat::UnpairedAnswer).unwrap(), 0);
    assert_eq!(
        scenario.stat(Stat::Requests).unwrap(),
        (READS.len() * WRITES.len()) as u64
    );
}

#[test]
fn a_head_cut_in_two_reads_at_any_byte_is_one_request_with_its_whole_head() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    for cut in 1..GET.len() {
        pair.request(&GET.as_bytes()[..cut]).unwrap();
        pair.request(&GET.as_bytes()[cut..]).unwrap();
        pair.answer(OK.as_bytes()).unwrap();
        assert_eq!(scenario.drain(), [seen(200, GET)], "cut at {cut}");
    }
    assert_eq!(scenario.told(), []);
}

#[test]
fn a_head_read_byte_by_byte_is_one_request() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    for byte in GET.as_bytes() {
        pair.request(&[*byte]).unwrap();
    }
    pair.answer(OK.as_bytes()).unwrap();
    assert_eq!(scenario.drain(), [seen(200, GET)]);
}

#[test]
fn a_byte_read_before_the_answer_was_written_belongs_to_the_next_request() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    for first in [GET, POST] {
        pair.request(first.as_bytes()).unwrap();
        pair.request(b"G").unwrap();
        pair.answer(OK.as_bytes()).unwrap();
        pair.request(&GET.as_bytes()[1..]).unwrap();
        pair.answer(NOT_FOUND.as_bytes()).unwrap();
        assert_eq!(scenario.drain(), [seen(200, first), seen(404, GET)]);
    }
}

#[test]
fn a_body_is_not_a_request_whatever_it_says() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    for body in [GET, "G", "hello", OK] {
        pair.request(POST.as_bytes()).unwrap();
        pair.request(body.as_bytes()).unwrap();
        pair.exchange("tail of the body", OK).unwrap();
        pair.answer(b"HTTP is spoken in this body too").unwrap();
        assert_eq!(scenario.drain(), [seen(200, POST)], "{body}");
    }
    assert_eq!(scenario.told(), []);
}

#[test]
fn an_answer_without_a_request_is_told_and_makes_no_event() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    pair.exchange("BREW /pot HTCPCP/1.0\r\n\r\n", NOT_FOUND).unwrap();
    assert_eq!(scenario.drain(), []);
    assert_eq!(scenario.told(), [Told::Orphan(NOT_FOUND.to_owned())]);
    pair.exchange(GET, OK).unwrap();
    assert_eq!(scenario.drain(), [seen(200, GET)]);
}

#[test]
fn garbage_and_binary_protocols_make_no_event() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let hello: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0xff];
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let redis = b"*1\r\n$4\r\nPING\r\n";
    for bytes in [
        hello,
        preface,
        redis,
        &[0; 4096],
        b"\r\n\r\n",
        b"GETGETGET",
        b"get / HTTP/1.1\r\n\r\n",
    ] {
        let mut pair = scenario.connect().unwrap();
        pair.request(bytes).unwrap();
        pair.answer(bytes).unwrap();
        pair.request(&bytes[..1]).unwrap();
        pair.answer(&bytes[..1]).unwrap();
    }
    assert_eq!(scenario.drain(), []);
    let counted = [
        Stat::Requests,
        Stat::UnpairedAnswer,
        Stat::Raw,
        Stat::GivenUp,
        Stat::ReadFailed,
    ];
    for stat in counted {
        assert_eq!(scenario.stat(stat).unwrap(), 0, "{}", stat.name());
    }
}

#[test]
fn a_head_with_a_gap_is_cut_before_it() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    // More than one further read can add.
    let second = "b".repeat(300);
    for piece in ["GET /", &second, " HTTP/1.1\r\n\r\n"] {
        pair.request(piece.as_bytes()).unwrap();
    }
    pair.answer(OK.as_bytes()).unwrap();
    let expected = format!("GET /{}", &second[..256]);
    assert_eq!(scenario.drain(), [seen(200, &expected)]);
}

#[test]
fn a_call_that_moved_nothing_is_nothing_whatever_its_buffer_holds() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    pair.server.set_nonblocking(true).unwrap();
    let mut buffer = GET.as_bytes().to_vec();
    assert_eq!(
        rustix::io::read(&pair.server, &mut buffer),
        Err(rustix::io::Errno::AGAIN)
    );
    pair.client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(wait_for_end(&pair, &mut buffer), 0);
    pair.answer(OK.as_bytes()).unwrap();
    assert_eq!(scenario.drain(), []);
    assert_eq!(scenario.stat(Stat::Requests).unwrap(), 0);
}

fn wait_for_end(pair: &Pair, buffer: &mut [u8]) -> usize {
    let mut read = None;
    wait_for("the end of the connection", || {
        read = rustix::io::read(&pair.server, &mut *buffer).ok();
        read.is_some()
    })
    .ok();
    read.unwrap_or(usize::MAX)
}

#[test]
fn a_byte_that_was_not_the_next_request_does_not_hide_it() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    pair.request(POST.as_bytes()).unwrap();
    // The last byte of the body looks like a beginning.
    pair.request(b"G").unwrap();
    pair.answer(OK.as_bytes()).unwrap();
    pair.exchange(GET, NOT_FOUND).unwrap();
    assert_eq!(scenario.drain(), [seen(200, POST), seen(404, GET)]);
}

#[test]
fn half_a_request_leaves_nothing_behind_for_the_next_connection_of_its_number() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    for half in ["G", "GET /half", "GET /half HTTP/1.1\r\nHost: shop\r\n"] {
        let mut pair = scenario.connect().unwrap();
        pair.request(half.as_bytes()).unwrap();
        drop(pair);
        let mut pair = scenario.connect().unwrap();
        pair.answer(OK.as_bytes()).unwrap();
        pair.exchange(GET, NOT_FOUND).unwrap();
        assert_eq!(scenario.drain(), [seen(404, GET)], "{half}");
    }
    assert_eq!(scenario.stat(Stat::Aborted).unwrap(), 0);
}

#[test]
fn a_request_whose_connection_is_closed_ends_without_an_answer() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    for (request, body) in [(GET, ""), (POST, ""), (POST, "hell"), (POST, "hello")] {
        let mut pair = scenario.connect().unwrap();
        pair.exchange(GET, OK).unwrap();
        pair.request(request.as_bytes()).unwrap();
        pair.request(body.as_bytes()).unwrap();
        drop(pair.server);
        let mut came = Vec::new();
        scenario
            .probes
            .drain(&mut |event| came.push((event.status, event.answer_bytes as usize)));
        // Whether a body is whole user space says, by the bytes that came.
        assert_eq!(
            came,
            [(200, OK.len()), (0, request.len() + body.len())],
            "{request}{body}"
        );
    }
    assert_eq!(scenario.stat(Stat::Aborted).unwrap(), 4);
}

#[test]
fn a_head_of_one_megabyte_is_one_request_with_its_first_bytes() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    let head = format!("GET /big HTTP/1.1\r\nCookie: {}\r\n\r\n", "c".repeat(1 << 20));
    for piece in head.as_bytes().chunks(16 << 10) {
        pair.request(piece).unwrap();
    }
    pair.answer(b"HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n")
        .unwrap();
    let mut read_bytes = 0;
    scenario.probes.drain(&mut |event| {
        assert_eq!((event.status, event.head), (431, &head.as_bytes()[..HEAD_BYTES]));
        read_bytes = event.read_bytes as usize;
    });
    assert!(read_bytes > HEAD_BYTES, "{read_bytes}");
    pair.exchange(GET, OK).unwrap();
    assert_eq!(scenario.drain(), [seen(200, GET)]);
}

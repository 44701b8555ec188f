//! A connection is the same whichever descriptor leads to it, and a descriptor is whatever it leads to now.

use std::{
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    thread,
};

use rustix::stdio::{dup2_stdin, stdin};

use shoalwatch_node_worker::loader::Stat;

use crate::{
    harness::turn,
    scenario::{Scenario, seen},
};

const GET: &str = "GET /games HTTP/1.1\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\n\r\n";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\n\r\n";

#[test]
fn a_request_read_by_one_descriptor_is_answered_by_its_duplicate() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    let mut duplicate = pair.server.try_clone().unwrap();
    for _ in 0..3 {
        pair.request(GET.as_bytes()).unwrap();
        duplicate.write_all(OK.as_bytes()).unwrap();
        assert_eq!(scenario.drain(), [seen(200, GET)]);
    }
    assert_eq!(scenario.stat(Stat::UnpairedAnswer).unwrap(), 0);
}

#[test]
fn a_descriptor_that_is_put_over_another_leads_to_its_own_connection() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let (mut one, mut other) = (scenario.connect().unwrap(), scenario.connect().unwrap());
    one.exchange(GET, OK).unwrap();
    other.exchange(GET, OK).unwrap();
    assert_eq!(scenario.drain().len(), 2);
    one.request(GET.as_bytes()).unwrap();
    // The first connection's number now leads to the second; the first is closed without an answer.
    let mut number = OwnedFd::from(one.server);
    rustix::io::dup2(other.server.as_fd(), &mut number).unwrap();
    other.request(GET.as_bytes()).unwrap();
    rustix::io::write(&number, NOT_FOUND.as_bytes()).unwrap();
    assert_eq!(scenario.drain(), [seen(0, GET), seen(404, GET)]);
}

#[test]
fn a_number_used_again_is_a_new_connection() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    for _ in 0..20 {
        let mut pair = scenario.connect().unwrap();
        pair.exchange(GET, OK).unwrap();
        pair.exchange(GET, NOT_FOUND).unwrap();
        assert_eq!(scenario.drain(), [seen(200, GET), seen(404, GET)]);
    }
    assert_eq!(scenario.stat(Stat::Aborted).unwrap(), 0);
}

#[test]
fn a_file_that_takes_a_sockets_number_is_no_connection() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    pair.exchange(GET, OK).unwrap();
    scenario.drain();
    let mut number = OwnedFd::from(pair.server);
    let file = tempfile::tempfile().unwrap();
    rustix::io::dup2(file.as_fd(), &mut number).unwrap();
    rustix::io::write(&number, GET.as_bytes()).unwrap();
    rustix::io::write(&number, OK.as_bytes()).unwrap();
    assert_eq!(scenario.drain(), []);
    assert_eq!(scenario.stat(Stat::Requests).unwrap(), 1);
}

/// The standard input, whose number any thread may use while another one puts something else there.
struct Input(OwnedFd);

impl Input {
    fn borrow() -> io::Result<Self> {
        Ok(Self(rustix::io::dup(stdin())?))
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // A test that failed before may leave it as it is.
        let _failed = dup2_stdin(&self.0);
    }
}

/// An answer that no socket takes at once.
fn long_answer() -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 16777216\r\n\r\n".to_vec();
    answer.resize(answer.len() + (16 << 20), b'.');
    answer
}

#[test]
fn an_answer_in_flight_is_of_the_connection_that_its_number_led_to_when_it_began() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let (mut slow, mut other) = (scenario.connect().unwrap(), scenario.connect().unwrap());
    other.request(GET.as_bytes()).unwrap();
    let _before = Input::borrow().unwrap();
    dup2_stdin(&slow.server).unwrap();
    drop(slow.server);
    slow.client.write_all(GET.as_bytes()).unwrap();
    assert_eq!(rustix::io::read(stdin(), &mut [0; 1024]).unwrap(), GET.len());
    let answer = long_answer();
    thread::scope(|scope| {
        let flight = scope.spawn(|| rustix::io::write(stdin(), &answer).unwrap());
        slow.client.read_exact(&mut [0]).unwrap();
        dup2_stdin(&other.server).unwrap();
        slow.client.read_exact(&mut vec![0; answer.len() - 1]).unwrap();
        assert_eq!(flight.join().unwrap(), answer.len());
    });
    assert_eq!(scenario.drain(), [seen(200, GET)]);
    rustix::io::write(stdin(), NOT_FOUND.as_bytes()).unwrap();
    assert_eq!(scenario.drain(), [seen(404, GET)]);
    assert_eq!(scenario.stat(Stat::UnpairedAnswer).unwrap(), 0);
}

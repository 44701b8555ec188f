//! What a thread asks while it serves a request belongs to that request, where threads serve one request each.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    num::NonZeroU64,
    process, thread,
};

use shoalwatch_ebpf_common::{Caller, ONE_EACH};
use shoalwatch_node_worker::loader::{Role, Stat, Task};

use crate::{
    harness::{Outcome, turn},
    scenario::{Pair, SERVICE, Scenario, Stranger},
};

const GET: &str = "GET /served HTTP/1.1\r\n\r\n";
const ASK: &str = "GET /asked HTTP/1.1\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\n\r\n";
/// The same with a caller.
const CALLED: &str =
    "GET /served HTTP/1.1\r\ntraceparent: 00-0102030405060708090a0b0c0d0e0f10-00000000000000aa-01\r\n\r\n";
const WITH_STATE: &str = "GET /served HTTP/1.1\r\ntraceparent: 00-0102030405060708090a0b0c0d0e0f10-00000000000000aa-01\r\n\
                          tracestate: ot=rv:00000000000001\r\n\r\n";

/// What a request was told with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    role: Role,
    seed: Option<NonZeroU64>,
    caller: Option<Caller>,
}

/// This process as a service that asks another one.
struct Service {
    scenario: Scenario,
    pair: Pair,
    other: (TcpStream, Stranger),
}

impl Service {
    fn new() -> Outcome<Self> {
        let mut scenario = Scenario::new()?;
        let task = Task {
            service: SERVICE,
            ..Task::default()
        };
        scenario.probes.select(process::id(), task)?;
        let (pair, other) = (scenario.connect()?, scenario.call()?);
        Ok(Self { scenario, pair, other })
    }

    /// One whose threads were seen to serve one request each.
    fn watched() -> Outcome<Self> {
        let mut service = Self::new()?;
        for _ in 0..ONE_EACH {
            service.serve(GET)?;
        }
        Ok(service)
    }

    fn ask(&mut self) -> io::Result<()> {
        let (client, server) = &mut self.other;
        client.write_all(ASK.as_bytes())?;
        server.read_exact(&mut [0; ASK.len()])?;
        server.write_all(OK.as_bytes())?;
        client.read_exact(&mut [0; OK.len()])
    }

    /// Asks while it serves. Returns what it asked, and what it served.
    fn serve(&mut self, head: &str) -> Outcome<[Told; 2]> {
        self.pair.request(head.as_bytes())?;
        self.ask()?;
        self.pair.answer(OK.as_bytes())?;
        self.told().try_into().map_err(|told| format!("{told:?}").into())
    }

    /// However much is served from now on, nothing is known of what belongs to it.
    fn assert_silent(&mut self) {
        for _ in 0..=ONE_EACH {
            let told = self.serve(GET).map(|told| told.map(|told| told.seed));
            assert_eq!(told.ok(), Some([None; 2]));
        }
    }

    fn told(&mut self) -> Vec<Told> {
        let mut all = Vec::new();
        self.scenario.probes.drain(&mut |event| {
            all.push(Told {
                role: event.role,
                seed: event.seed,
                caller: event.caller,
            });
        });
        all
    }
}

#[test]
fn what_a_thread_asks_belongs_to_what_it_serves_once_enough_was_seen() {
    let Some(_turn) = turn(&[]) else { return };
    let mut service = Service::new().unwrap();
    for served in 0..=ONE_EACH {
        let [asked, answered] = service.serve(GET).unwrap();
        assert_eq!((asked.role, answered.role), (Role::Client, Role::Server));
        // The first call of all says that it matters.
        assert_eq!(answered.seed.is_some(), served > 0, "{served}");
        let joined = served >= ONE_EACH;
        assert_eq!(asked.seed, answered.seed.filter(|_| joined), "{served}");
        assert_eq!(asked.caller, None);
    }
    assert_eq!(service.scenario.stat(Stat::Joined).unwrap(), 1);
}

#[test]
fn two_requests_of_a_connection_have_nothing_in_common() {
    let Some(_turn) = turn(&[]) else { return };
    let mut service = Service::watched().unwrap();
    let [one, other] = [service.serve(GET).unwrap(), service.serve(GET).unwrap()];
    assert_eq!((one[0].seed, other[0].seed), (one[1].seed, other[1].seed));
    assert_ne!(one[0].seed, other[0].seed);
}

#[test]
fn the_caller_of_what_is_served_is_known_to_what_is_asked() {
    let Some(_turn) = turn(&[]) else { return };
    let mut service = Service::watched().unwrap();
    let [asked, answered] = service.serve(CALLED).unwrap();
    assert_eq!(asked.seed, answered.seed);
    let caller = Caller {
        trace_id: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
        sampled: true,
    };
    assert_eq!((asked.caller, answered.caller), (Some(caller), None));
    let [asked, _] = service.serve(GET).unwrap();
    assert!(asked.seed.is_some() && asked.caller.is_none());
}

#[test]
fn a_caller_that_only_user_space_can_read_leaves_them_apart() {
    let Some(_turn) = turn(&[]) else { return };
    let mut service = Service::watched().unwrap();
    let [asked, answered] = service.serve(WITH_STATE).unwrap();
    assert!(asked.seed.is_none() && answered.seed.is_some());
}

#[test]
fn what_is_asked_after_the_answer_belongs_to_nothing() {
    let Some(_turn) = turn(&[]) else { return };
    let mut service = Service::watched().unwrap();
    service.ask().unwrap();
    assert_eq!(service.told()[0].seed, None);
}

#[test]
fn what_another_thread_asks_belongs_to_nothing() {
    let Some(_turn) = turn(&[]) else { return };
    let mut service = Service::watched().unwrap();
    service.pair.request(GET.as_bytes()).unwrap();
    thread::scope(|scope| scope.spawn(|| service.ask().unwrap()).join().unwrap());
    assert_eq!(service.told()[0].seed, None);
}

#[test]
fn threads_that_serve_two_requests_at_once_say_nothing_any_more() {
    let Some(_turn) = turn(&[]) else { return };
    let mut service = Service::watched().unwrap();
    let mut second = service.scenario.connect().unwrap();
    service.pair.request(GET.as_bytes()).unwrap();
    second.request(GET.as_bytes()).unwrap();
    service.ask().unwrap();
    second.answer(OK.as_bytes()).unwrap();
    service.pair.answer(OK.as_bytes()).unwrap();
    assert_eq!(service.told()[0].seed, None);
    service.assert_silent();
}

#[test]
fn threads_that_answer_what_others_read_say_nothing_any_more() {
    let Some(_turn) = turn(&[]) else { return };
    let mut service = Service::watched().unwrap();
    service.pair.request(GET.as_bytes()).unwrap();
    thread::scope(|scope| {
        scope
            .spawn(|| service.pair.answer(OK.as_bytes()).unwrap())
            .join()
            .unwrap();
    });
    service.told();
    service.assert_silent();
}

#[test]
fn a_request_that_was_never_answered_is_none_that_a_thread_serves() {
    let Some(_turn) = turn(&[]) else { return };
    let mut service = Service::watched().unwrap();
    let mut second = service.scenario.connect().unwrap();
    second.request(GET.as_bytes()).unwrap();
    drop(second);
    assert_eq!(service.told().len(), 1);
    let [asked, answered] = service.serve(GET).unwrap();
    assert!(asked.seed.is_some() && asked.seed == answered.seed);
}

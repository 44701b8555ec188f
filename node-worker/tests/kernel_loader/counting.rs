//! What the kernel counts and decides by itself: every request once, whatever finds no room.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::Ipv4Addr,
    process, thread,
};

use shoalwatch_node_worker::loader::{
    LoaderOptions, MAX_ROWS, PEERS_FULL, Role, RouteKey, RouteRows, Slot, Stat, Task,
    limit::Pace,
    peer_hash,
    sampling::{self, Decision, Row},
};
use shoalwatch_protocols::route::shape_hash;

use crate::{
    harness::{Outcome, turn},
    scenario::{SERVICE, Scenario},
};

const TAUGHT: u32 = 1;
const OTHERS: u32 = 2;
const PEER: u32 = 3;
const OTHER_PEERS: u32 = 4;
const KEEP: u16 = 2;
const TINY: LoaderOptions = LoaderOptions {
    ring_bytes: 4096,
    raw_ring_bytes: 4096,
    max_tasks: 16,
    max_connections: 16,
    max_counters: 16,
    syscall_tracepoint: None,
};

/// Requests by route and status.
type Counts = BTreeMap<(u32, u16), u64>;

/// Observes this process, teaches `/orders/{id}`, and has a row decide about it in the slot in force.
fn taught(options: &LoaderOptions, row: u16) -> Outcome<Scenario> {
    let mut scenario = Scenario::with(options)?;
    let task = Task {
        service: SERVICE,
        others: [OTHERS, OTHER_PEERS],
        ..Task::default()
    };
    scenario.probes.select(process::id(), task)?;
    let keep = Row {
        thresholds: [[0; 4]; sampling::COLUMNS],
        ..Row::NEVER
    };
    let tables = scenario.probes.tables();
    for slot in [Slot::First, Slot::Second] {
        tables.set_row(slot, 0, &Row::NEVER)?;
        tables.set_row(slot, KEEP.into(), &keep)?;
    }
    tables.set_route_rows(Slot::First, TAUGHT, rows(row))?;
    let key = RouteKey {
        service: SERVICE,
        role: Role::Server as u32,
        shape: shape_hash(b"/orders/1"),
    };
    tables.teach(key, TAUGHT)?;
    Ok(scenario)
}

fn rows(row: u16) -> RouteRows {
    let mut rows = RouteRows::default();
    rows.rows.fill(row);
    rows
}

fn exchange(scenario: &Scenario, path: impl Fn(u32) -> String, requests: u32) -> Outcome<()> {
    let mut pair = scenario.connect()?;
    for number in 0..requests {
        let request = format!("GET {} HTTP/1.1\r\nHost: shop\r\n\r\n", path(number));
        pair.exchange(&request, "HTTP/1.1 200 OK\r\n\r\n")?;
    }
    Ok(())
}

fn counts(scenario: &Scenario) -> Outcome<Counts> {
    let mut counts = Counts::new();
    scenario.probes.counters(&mut |key, counter| {
        *counts.entry((key.route, key.status)).or_default() += counter.count();
    })?;
    Ok(counts)
}

/// Events by the route they were counted under, with the decision.
fn events(scenario: &mut Scenario) -> Vec<(Option<u32>, Decision)> {
    let mut events = Vec::new();
    scenario
        .probes
        .drain(&mut |event| events.push((event.counted, event.decision)));
    events
}

#[test]
fn a_taught_route_is_counted_and_makes_no_event_unless_it_is_kept() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = taught(&LoaderOptions::default(), 0).unwrap();
    exchange(&scenario, |number| format!("/orders/{number}?page=2"), 50).unwrap();
    assert_eq!(counts(&scenario).unwrap(), Counts::from([((TAUGHT, 200), 50)]));
    assert_eq!(events(&mut scenario), []);
    assert_eq!(scenario.stat(Stat::DroppedNever).unwrap(), 50);
}

#[test]
fn a_full_ring_costs_spans_and_no_count() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = taught(&TINY, KEEP).unwrap();
    exchange(&scenario, |number| format!("/orders/{number}"), 200).unwrap();
    assert_eq!(counts(&scenario).unwrap(), Counts::from([((TAUGHT, 200), 200)]));
    let events = events(&mut scenario);
    assert!(events.iter().all(|event| *event == (Some(TAUGHT), Decision::Keep)));
    let lost = scenario.stat(Stat::SpanLost).unwrap();
    assert!(lost > 0 && !events.is_empty(), "{lost} lost, {} came", events.len());
    assert_eq!(events.len() as u64 + lost, 200);
    assert_eq!(scenario.probes.lost(process::id()), 0);
}

/// Has the taught route kept under a limit, in the slot in force.
fn limit(scenario: &mut Scenario, pace: Pace) -> Outcome<()> {
    let tables = scenario.probes.tables();
    let slot = tables.slot();
    tables.set_limit(slot, 1, pace)?;
    let rows = RouteRows { limit: 1, ..rows(KEEP) };
    Ok(tables.set_route_rows(slot, TAUGHT, rows)?)
}

#[test]
fn a_limit_keeps_a_flood_out_of_the_ring_and_costs_no_count() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = taught(&TINY, KEEP).unwrap();
    // Three spans on each CPU, and no more for a day.
    let day_ns = 86_400_000_000_000;
    let three = Pace {
        token_ns: day_ns,
        burst_ns: 3 * day_ns,
    };
    limit(&mut scenario, three).unwrap();
    exchange(&scenario, |number| format!("/orders/{number}"), 200).unwrap();
    assert_eq!(counts(&scenario).unwrap(), Counts::from([((TAUGHT, 200), 200)]));
    let kept = events(&mut scenario).len() as u64;
    let cpus = thread::available_parallelism().unwrap().get() as u64;
    assert!((3..=3 * cpus).contains(&kept), "{kept} kept");
    assert_eq!(scenario.stat(Stat::DroppedLimit).unwrap(), 200 - kept);
    assert_eq!(scenario.stat(Stat::SpanLost).unwrap(), 0);
    // What user space has to see passes.
    exchange(&scenario, |_| "/new".to_owned(), 5).unwrap();
    assert_eq!(events(&mut scenario), [(None, Decision::Undecided); 5]);
}

#[test]
fn a_limit_turns_with_its_slot() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = taught(&LoaderOptions::default(), KEEP).unwrap();
    // No room for a single token.
    let nothing = Pace {
        token_ns: 1,
        burst_ns: 0,
    };
    limit(&mut scenario, nothing).unwrap();
    exchange(&scenario, |_| "/orders/1".to_owned(), 5).unwrap();
    assert_eq!(events(&mut scenario), []);
    let tables = scenario.probes.tables();
    let rows = RouteRows { limit: 1, ..rows(KEEP) };
    tables.set_route_rows(Slot::Second, TAUGHT, rows).unwrap();
    tables.turn().unwrap();
    exchange(&scenario, |_| "/orders/1".to_owned(), 5).unwrap();
    assert_eq!(events(&mut scenario).len(), 5);
    assert_eq!(counts(&scenario).unwrap(), Counts::from([((TAUGHT, 200), 10)]));
}

#[test]
fn a_full_ring_costs_the_name_of_a_route_and_no_count() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = taught(&TINY, 0).unwrap();
    exchange(&scenario, |number| format!("/new-{number}"), 200).unwrap();
    let reported = events(&mut scenario);
    assert!(reported.iter().all(|event| *event == (None, Decision::Undecided)));
    let others = counts(&scenario).unwrap()[&(OTHERS, 200)];
    assert_eq!(others, scenario.stat(Stat::RouteLost).unwrap());
    assert!(others > 0 && !reported.is_empty());
    assert_eq!(reported.len() as u64 + others, 200);
}

/// This process asks the same again and again on a connection of its own.
fn call(scenario: &Scenario, path: &str, requests: u32) -> Outcome<()> {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
    let (mut client, mut server) = scenario.call()?;
    let request = format!("POST {path} HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n");
    for _ in 0..requests {
        client.write_all(request.as_bytes())?;
        server.read_exact(&mut vec![0; request.len()])?;
        server.write_all(ANSWER)?;
        client.read_exact(&mut [0; ANSWER.len()])?;
    }
    Ok(())
}

/// Teaches whom [`call`] calls.
fn teach_peer(scenario: &mut Scenario) -> Outcome<()> {
    let octets = Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
    let ([high, low], _) = octets.as_chunks::<8>() else {
        return Err("sixteen octets are two halves".into());
    };
    let shape = peer_hash(u64::from_le_bytes(*high), u64::from_le_bytes(*low), scenario.port()?);
    let key = RouteKey {
        service: SERVICE,
        role: Role::Client as u32,
        shape,
    };
    Ok(scenario.probes.tables().teach(key, PEER)?)
}

#[test]
fn calls_of_a_taught_peer_are_counted_and_make_no_event_unless_they_are_kept() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = taught(&LoaderOptions::default(), 0).unwrap();
    call(&scenario, "/orders/1", 1).unwrap();
    assert_eq!(events(&mut scenario), [(None, Decision::Undecided)]);
    teach_peer(&mut scenario).unwrap();
    call(&scenario, "/orders/1", 50).unwrap();
    assert_eq!(counts(&scenario).unwrap(), Counts::from([((PEER, 200), 50)]));
    assert_eq!(events(&mut scenario), []);
    let tables = scenario.probes.tables();
    tables.set_route_rows(Slot::First, PEER, rows(KEEP)).unwrap();
    call(&scenario, "/orders/1", 2).unwrap();
    assert_eq!(events(&mut scenario), [(Some(PEER), Decision::Keep); 2]);
    assert_eq!(counts(&scenario).unwrap(), Counts::from([((PEER, 200), 52)]));
}

/// The service has all peers that it may have.
fn fill_peers(scenario: &mut Scenario) -> Outcome<()> {
    let task = Task {
        service: SERVICE,
        flags: PEERS_FULL,
        others: [OTHERS, OTHER_PEERS],
        ..Task::default()
    };
    Ok(scenario.probes.select(process::id(), task)?)
}

#[test]
fn an_export_of_spans_is_always_told() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = taught(&LoaderOptions::default(), 0).unwrap();
    teach_peer(&mut scenario).unwrap();
    fill_peers(&mut scenario).unwrap();
    call(&scenario, "/v1/metrics", 3).unwrap();
    call(&scenario, "/v1/traces", 2).unwrap();
    assert_eq!(events(&mut scenario), [(None, Decision::Undecided); 2]);
    assert_eq!(counts(&scenario).unwrap(), Counts::from([((PEER, 200), 3)]));
}

#[test]
fn calls_of_peers_that_are_too_many_are_counted_among_all_others() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = taught(&LoaderOptions::default(), 0).unwrap();
    fill_peers(&mut scenario).unwrap();
    call(&scenario, "/orders/1", 5).unwrap();
    exchange(&scenario, |_| "/new".to_owned(), 1).unwrap();
    assert_eq!(counts(&scenario).unwrap(), Counts::from([((OTHER_PEERS, 200), 5)]));
    // Routes are not full: what this process answers is told.
    assert_eq!(events(&mut scenario), [(None, Decision::Undecided)]);
}

#[test]
fn a_full_ring_costs_the_name_of_a_peer_and_no_count() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = taught(&TINY, 0).unwrap();
    // One connection: the map has room for few.
    call(&scenario, "/orders/1", 200).unwrap();
    let reported = events(&mut scenario).len() as u64;
    let others = counts(&scenario).unwrap()[&(OTHER_PEERS, 200)];
    assert_eq!(others, scenario.stat(Stat::RouteLost).unwrap());
    assert!(others > 0 && reported > 0);
    assert_eq!((reported + others, scenario.probes.lost(process::id())), (200, 0));
}

#[test]
fn a_turn_puts_the_other_slot_in_force() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = taught(&LoaderOptions::default(), 0).unwrap();
    for row in [KEEP, 0, KEEP] {
        let tables = scenario.probes.tables();
        tables.wait_until_unread().unwrap();
        let slot = tables.slot().other();
        tables.set_route_rows(slot, TAUGHT, rows(row)).unwrap();
        tables.turn().unwrap();
        exchange(&scenario, |_| "/orders/1".to_owned(), 5).unwrap();
        assert_eq!(events(&mut scenario).len(), if row == KEEP { 5 } else { 0 });
    }
    assert_eq!(counts(&scenario).unwrap(), Counts::from([((TAUGHT, 200), 15)]));
}

#[test]
fn places_beyond_the_tables_are_refused() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = taught(&LoaderOptions::default(), 0).unwrap();
    let error = scenario
        .probes
        .tables()
        .set_row(Slot::Second, MAX_ROWS, &Row::NEVER)
        .unwrap_err();
    assert_eq!(error.category(), "map");
}

//! What the kernel counts and decides by itself: every request once, whatever finds no room.

use std::{collections::BTreeMap, process, thread};

use shoalwatch_node_worker::loader::{
    LoaderOptions, MAX_ROWS, Role, RouteKey, RouteRows, Slot, Stat, Task,
    limit::Pace,
    sampling::{self, Decision, Row},
};
use shoalwatch_protocols::route::shape_hash;

use crate::{
    harness::{Outcome, turn},
    scenario::{SERVICE, Scenario},
};

const TAUGHT: u32 = 1;
const OTHERS: u32 = 2;
const KEEP: u16 = 2;
const TINY: LoaderOptions = LoaderOptions {
    ring_bytes: 4096,
    raw_ring_bytes: 4096,
    max_tasks: 16,
    max_connections: 16,
    max_counters: 16,
};

/// Requests by route and status.
type Counts = BTreeMap<(u32, u16), u64>;

/// Observes this process, teaches `/orders/{id}`, and has a row decide about it in the slot in force.
fn taught(options: &LoaderOptions, row: u16) -> Outcome<Scenario> {
    let mut scenario = Scenario::with(options)?;
    let task = Task {
        service: SERVICE,
        other_route: OTHERS,
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

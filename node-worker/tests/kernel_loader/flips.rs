//! A request is judged by one policy whole, however fast policies follow one another.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use shoalwatch_node_worker::loader::{
    LoaderOptions, Role, RouteKey, RouteRows, Slot, Stat, Tables, Task,
    sampling::{self, Row},
};
use shoalwatch_protocols::route::shape_hash;

use crate::{
    harness::{Outcome, turn},
    scenario::{SERVICE, Scenario},
};

const REQUEST: &[u8; 48] = b"GET /orders/1 HTTP/1.1\r\nHost: a.shop.example\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
/// Where nobody waits for the end of those under way, about 40 of so many are judged by a mix.
const REQUESTS: usize = 150_000;
/// How long the longest interrupt lets an answer go on.
const SPREAD_NS: i64 = 8000;
const ROUTE: u32 = 1;
/// The rows that a policy may point to. Each policy points to the one that never keeps; the other one keeps.
const ROWS: [u16; 2] = [2, 3];

/// Writes a policy to the slot that is not in force, and turns the kernel to it, as the worker does.
fn put_in_force(tables: &mut Tables, policy: usize) -> Outcome<()> {
    let slot = tables.slot().other();
    tables.wait_until_unread()?;
    write(tables, slot, policy)?;
    Ok(tables.turn()?)
}

/// Every request is dropped by either policy. Who reads one policy's route and the other's rows keeps it.
fn write(tables: &mut Tables, slot: Slot, policy: usize) -> Outcome<()> {
    let keep = Row {
        thresholds: [[0; 4]; sampling::COLUMNS],
        ..Row::NEVER
    };
    for (place, row) in ROWS.into_iter().enumerate() {
        tables.set_row(slot, row.into(), if place == policy { &Row::NEVER } else { &keep })?;
    }
    let mut rows = RouteRows::default();
    rows.rows.fill(ROWS[policy]);
    Ok(tables.set_route_rows(slot, ROUTE, rows)?)
}

/// A process whose one route is taught.
fn taught() -> Outcome<Scenario> {
    let mut scenario = Scenario::with(&LoaderOptions::default())?;
    let task = Task {
        service: SERVICE,
        ..Task::default()
    };
    scenario.probes.select(process::id(), task)?;
    let tables = scenario.probes.tables();
    write(tables, Slot::First, 0)?;
    let key = RouteKey {
        service: SERVICE,
        role: Role::Server as u32,
        shape: shape_hash(b"/orders/1"),
    };
    tables.teach(key, ROUTE)?;
    Ok(scenario)
}

/// Sends many requests in one call. None of its calls begins with a method, or the probes would take it for a client.
fn send(mut socket: UnixStream) -> std::io::Result<()> {
    let mut bulk = REQUEST.repeat(1000);
    socket.write_all(&REQUEST[..2])?;
    bulk.rotate_left(2);
    // Until the server closes.
    while socket.write_all(&bulk).is_ok() {}
    Ok(())
}

/// Reads each request in one call and answers it in one. An interrupt of this processor falls into most answers, each time a little
/// later: in some it holds up the judgement halfway.
fn serve(mut socket: UnixStream) -> std::io::Result<()> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::empty())?;
    let mut buffer = [0; REQUEST.len()];
    for delay_ns in (0..SPREAD_NS).step_by(20).cycle().take(REQUESTS) {
        socket.read_exact(&mut buffer)?;
        let soon = Timespec {
            tv_sec: 0,
            tv_nsec: 500 + delay_ns,
        };
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: soon,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
        socket.write_all(ANSWER)?;
    }
    Ok(())
}

/// Takes the answers, many in one call.
fn take(mut socket: UnixStream) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    while socket.read(&mut buffer)? > 0 {}
    Ok(())
}

#[test]
fn no_request_is_judged_by_parts_of_two_policies() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = taught().unwrap();
    let (client, server) = UnixStream::pair().unwrap();
    let answers = client.try_clone().unwrap();
    let over = AtomicBool::new(false);
    let mut turns = 0;
    thread::scope(|scope| {
        scope.spawn(|| send(client));
        scope.spawn(|| take(answers));
        let serving = scope.spawn(|| {
            let result = serve(server);
            over.store(true, Ordering::Relaxed);
            result
        });
        while !over.load(Ordering::Relaxed) {
            // Each slot gets the other policy than it had.
            put_in_force(scenario.probes.tables(), turns / 2 % 2).unwrap();
            turns += 1;
        }
        serving.join().unwrap().unwrap();
    });
    let stats = scenario.probes.stats().unwrap();
    eprintln!(
        "{turns} turns in {REQUESTS} requests by {:?}: kept {}, left out {}",
        scenario.probes.syscall_tracepoint(),
        stats.get(Stat::Events),
        stats.recursion_misses
    );
    assert!(turns > 2);
    assert_eq!(
        (stats.get(Stat::Events), stats.get(Stat::RingFull)),
        (0, 0),
        "kept by a mix"
    );
    // A kernel that leaves programs out where threads are preempted says so.
    let judged = stats.get(Stat::DroppedNever);
    let all = judged == REQUESTS as u64;
    assert!(
        judged <= REQUESTS as u64 && (all || stats.recursion_misses > 0),
        "{judged} of {REQUESTS}"
    );
}

//! What does not fit is counted, where it was lost and whose it was.

use std::{
    io::{BufRead, BufReader, Write},
    process::{self, Command, Stdio},
};

use shoalwatch_node_worker::loader::{LoaderOptions, Stat, Usage};

use crate::{
    harness::{Process, find, skip, turn},
    scenario::{Scenario, seen, task},
};

const GET: &str = "GET /lost HTTP/1.1\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\n\r\n";

#[test]
fn a_full_ring_loses_events_and_says_of_whom_and_how_many() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::with(&LoaderOptions {
        ring_bytes: 4096,
        ..LoaderOptions::default()
    })
    .unwrap();
    let mut pair = scenario.connect().unwrap();
    let (mut got, sent) = (0, 500);
    for number in 0..sent {
        pair.exchange(GET, OK).unwrap();
        if number % 100 == 99 {
            got += scenario.drain().len() as u64;
        }
    }
    let lost = scenario.probes.lost(process::id());
    assert!(lost > 0 && got > 0, "lost {lost}, got {got}");
    assert_eq!(got + lost, sent);
    assert_eq!(scenario.stat(Stat::RingFull).unwrap(), lost);
    assert_eq!(scenario.stat(Stat::Events).unwrap(), got);
    // Being selected again must not forgive the loss.
    scenario.probes.select(process::id(), task()).unwrap();
    assert_eq!(scenario.probes.lost(process::id()), lost);
    assert_eq!(scenario.probes.deselect(process::id()).unwrap(), lost);
}

#[test]
fn a_connection_that_finds_no_room_is_counted_and_makes_no_event() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::with(&LoaderOptions {
        max_connections: 2,
        ..LoaderOptions::default()
    })
    .unwrap();
    let mut pairs: Vec<_> = (0..3).map(|_| scenario.connect().unwrap()).collect();
    for pair in &mut pairs {
        pair.exchange(GET, OK).unwrap();
    }
    assert_eq!(scenario.drain(), [seen(200, GET), seen(200, GET)]);
    assert_eq!(scenario.stat(Stat::MapFull).unwrap(), 1);
    assert_eq!(scenario.probes.fullness().connections, Usage { used: 2, max: 2 });
    // A closed connection makes room.
    pairs.remove(0);
    assert_eq!(scenario.probes.fullness().connections.used, 1);
    scenario.connect().unwrap().exchange(GET, OK).unwrap();
    assert_eq!(scenario.drain(), [seen(200, GET)]);
}

#[test]
fn more_processes_than_fit_are_refused_with_the_option_to_raise() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::with(&LoaderOptions {
        max_tasks: 2,
        ..LoaderOptions::default()
    })
    .unwrap();
    scenario.probes.select(1, task()).unwrap();
    let error = scenario.probes.select(2, task()).unwrap_err();
    assert_eq!(error.category(), "map_full");
    assert!(error.to_string().contains("max_tasks"), "{error}");
    assert_eq!(scenario.probes.fullness().tasks, Usage { used: 2, max: 2 });
}

#[test]
fn a_process_that_lets_the_kernel_transfer_on_its_own_is_noticed() {
    const SETS_UP: &str = "import ctypes, sys
sys.stdin.readline()
print(ctypes.CDLL(None).syscall(425, 4, ctypes.create_string_buffer(120)), flush=True)
sys.stdin.readline()";
    let Some(_turn) = turn(&["python3"]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut command = Command::new(find("python3").unwrap());
    command
        .args(["-c", SETS_UP])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = Process::start(&mut command).unwrap();
    scenario.probes.select(child.id(), task()).unwrap();
    let mut stdin = child.0.stdin.take().unwrap();
    stdin.write_all(b"go\n").unwrap();
    let mut answer = String::new();
    BufReader::new(child.0.stdout.take().unwrap())
        .read_line(&mut answer)
        .unwrap();
    // Where the machine forbids it there is nothing to notice.
    let rings = u64::from(answer.trim() != "-1");
    assert_eq!(scenario.stat(Stat::IoUring).unwrap(), rings);
    assert_eq!(scenario.probes.lost(child.id()), rings);
}

/// Interrupts are not to be had on demand: that the second program does what the first does is the compiler's, that it runs is shown here.
#[test]
fn the_end_of_a_connection_is_looked_at_twice() {
    let Some(_turn) = turn(&[]) else { return };
    let scenario = Scenario::new().unwrap();
    let mut price = scenario.probes.price();
    if price.enable_statistics().is_err() {
        return skip("CAP_SYS_ADMIN");
    }
    drop(scenario.connect().unwrap());
    let ran: Vec<_> = price.programs().map(|(name, _)| name.to_owned()).collect();
    for name in ["socket_state", "socket_state_again"] {
        assert!(ran.iter().any(|other| other == name), "{name} of {ran:?}");
    }
}

//! Who is observed, from when on, and until when.

use std::{
    io::Write,
    process::{self, Command, Stdio},
};

use shoalwatch_node_worker::loader::{ProcessKind, Stat};

use crate::{
    client::Client,
    harness::{Outcome, Process, find, probes, server_file, turn, wait_for},
    scenario::{SERVICE, Scenario, seen, task},
    servers::free_port,
};

const GET: &str = "GET /life HTTP/1.1\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\n\r\n";

#[test]
fn only_a_selected_process_is_observed_and_only_until_it_is_deselected() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let mut pair = scenario.connect().unwrap();
    pair.exchange(GET, OK).unwrap();
    assert_eq!(scenario.drain().len(), 1);
    scenario.probes.deselect(process::id()).unwrap();
    assert_eq!(scenario.probes.fullness().tasks.used, 0);
    pair.exchange(GET, OK).unwrap();
    assert_eq!(scenario.drain(), []);
    scenario.probes.deselect(process::id()).unwrap();
}

#[test]
fn connections_from_before_the_selection_are_followed() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    scenario.probes.deselect(process::id()).unwrap();
    let mut pair = scenario.connect().unwrap();
    pair.exchange(GET, OK).unwrap();
    scenario.probes.select(process::id(), task()).unwrap();
    pair.exchange(GET, OK).unwrap();
    assert_eq!(scenario.drain(), [seen(200, GET)]);
}

#[test]
fn a_new_program_is_reported_under_its_process() {
    let Some(_turn) = turn(&[]) else { return };
    let mut probes = probes().unwrap();
    let child = Process::start(Command::new("sleep").arg("600")).unwrap();
    let mut reported = None;
    wait_for("exec", || {
        probes.drain_processes(|event| {
            if event.tgid == child.id() {
                reported = Some((event.kind, event.time_ns > 0));
            }
        });
        reported.is_some()
    })
    .unwrap();
    assert_eq!(reported, Some((ProcessKind::Exec, true)));
}

#[test]
fn a_child_of_an_observed_process_is_observed_with_the_sockets_it_inherited() {
    let Some(_turn) = turn(&["python3"]) else { return };
    let mut probes = probes().unwrap();
    let port = free_port().unwrap();
    let mut command = Command::new(find("python3").unwrap());
    command
        .arg(server_file("server.py"))
        .arg(port.to_string())
        .arg("fork")
        .stdin(Stdio::piped());
    let mut server = Process::start(&mut command).unwrap();
    probes.select(server.id(), task()).unwrap();

    let mut client = connect(port).unwrap();
    let mut children = Vec::new();
    wait_for("fork", || {
        probes.drain_processes(|event| {
            if event.kind == ProcessKind::Fork && event.parent == server.id() {
                children.push(event.tgid);
            }
        });
        !children.is_empty()
    })
    .unwrap();
    // It waits for the line, so nothing of the connection was read yet.
    server.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(client.get("/status/201/forked").unwrap(), 201);
    let mut events = Vec::new();
    wait_for("event", || {
        probes.drain_processes(|event| children.extend((event.parent == server.id()).then_some(event.tgid)));
        probes.drain(&mut |event| events.push((event.tgid, event.service, event.status)));
        !events.is_empty()
    })
    .unwrap();
    let [(child, service, status)] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((service, status), (SERVICE, 201));
    assert!(children.contains(&child), "{child} of {children:?}");
}

fn connect(port: u16) -> Outcome<Client> {
    let mut client = None;
    wait_for("the server", || {
        client = Client::connect(port).ok();
        client.is_some()
    })?;
    Ok(client.ok_or("no client")?)
}

#[test]
fn a_new_thread_is_no_new_process() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    std::thread::spawn(|| {}).join().unwrap();
    let mut forks = Vec::new();
    scenario
        .probes
        .drain_processes(|event| forks.extend((event.parent == process::id()).then_some(event)));
    assert_eq!(forks, []);
    assert_eq!(scenario.probes.fullness().tasks.used, 1);
}

#[test]
fn a_task_in_32_bit_mode_is_skipped_and_counted() {
    let Some(_turn) = turn(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("read32");
    std::fs::write(&program, read32()).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let Ok(mut child) = Process::start(Command::new(&program).stdin(Stdio::piped())) else {
        eprintln!("skipped: this kernel runs no 32-bit programs");
        return;
    };
    let mut probes = probes().unwrap();
    probes.select(child.id(), task()).unwrap();
    child.0.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    wait_for("the count", || {
        probes.stats().is_ok_and(|stats| stats.get(Stat::Task32Bit) > 0)
    })
    .unwrap();
}

/// A 32-bit program that reads bytes from standard input for ever.
fn read32() -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    const CODE_BYTES: u32 = 20;
    // mov eax, 3; xor ebx, ebx; lea ecx, [esp-64]; mov edx, 1; int 0x80; jmp to the start
    let code: &[u8; CODE_BYTES as usize] =
        b"\xb8\x03\x00\x00\x00\x31\xdb\x8d\x4c\x24\xc0\xba\x01\x00\x00\x00\xcd\x80\xeb\xec";
    let size = HEADERS + CODE_BYTES;
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves = |elf: &mut Vec<u8>, numbers: &[u16]| numbers.iter().for_each(|n| elf.extend(n.to_le_bytes()));
    let words = |elf: &mut Vec<u8>, numbers: &[u32]| numbers.iter().for_each(|n| elf.extend(n.to_le_bytes()));
    halves(&mut elf, &[2, 3]);
    words(&mut elf, &[1, BASE + HEADERS, 52, 0, 0]);
    halves(&mut elf, &[52, 32, 1, 0, 0, 0]);
    words(&mut elf, &[1, 0, BASE, BASE, size, size, 5, 0x1000]);
    elf.extend(code);
    elf
}

#[test]
fn a_process_stays_observed_when_one_that_shares_its_slot_is_forgotten() {
    let Some(_turn) = turn(&[]) else { return };
    let mut scenario = Scenario::new().unwrap();
    let twin = process::id() + (1 << 14);
    scenario.probes.select(twin, task()).unwrap();
    scenario.probes.deselect(twin).unwrap();
    scenario.connect().unwrap().exchange(GET, OK).unwrap();
    assert_eq!(scenario.drain(), [seen(200, GET)]);
}

//! What the worker says of its own price.

use std::process::Command;

use crate::{
    harness::{Outcome, turn, wait_for},
    load::load,
    servers::Server,
    worker::{ConfigFile, Worker},
};

fn top(worker: &Worker) -> Outcome<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_shoalwatch-node-worker"))
        .args(["top", "--once", "--url", &format!("http://{}/metrics", worker.admin)])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn with_statistics_the_programs_tell_their_runs_and_top_shows_their_time() {
    let Some(_turn) = turn(&["nginx"]) else { return };
    let server = Server::nginx().unwrap();
    let config = ConfigFile::new(&[("web", &server)], "0").unwrap();
    let worker = Worker::start_as(&config, None, |command| {
        command.arg("--bpf-stats");
    })
    .unwrap();
    worker.wait_for_processes(server.processes).unwrap();
    let sent: u64 = load(&server, 100).unwrap().values().sum();
    wait_for("runs", || {
        let runs = worker.metric("shoalwatch_bpf_runs_total", &["program=\"sys_exit\""])?;
        // Each request takes nginx a read and a write at least.
        Ok((runs >= 2 * sent).then_some(()))
    })
    .unwrap();
    // The ring of requests alone is 8 MiB.
    assert!(worker.metric("shoalwatch_bpf_map_memory_bytes", &[]).unwrap() > 8 << 20);
    let screen = top(&worker).unwrap();
    assert!(
        screen.contains("\nPRICE     eBPF ") && !screen.contains("not taken"),
        "{screen}"
    );
}

//! Edits, faults and ends while requests go on.

use std::{
    os::unix::process::CommandExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use rustix::process::Signal;

use crate::{
    client::Client,
    harness::{Outcome, turn, wait_for},
    servers::{Counts, Server},
    sink::Sink,
    worker::{ConfigFile, Worker},
};

/// Requests one after the other until told to stop; gives how many, all of them answered.
fn keep_asking(server: &Server, stop: &AtomicBool) -> Result<u64, String> {
    let mut client = Client::connect(server.address).map_err(|error| error.to_string())?;
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let (status, _) = client.get("/status/200/x", "").map_err(|error| error.to_string())?;
        assert_eq!(status, 200);
        count += 1;
    }
    Ok(count)
}

fn under_load<T>(server: &Server, story: impl FnOnce() -> Outcome<T>) -> Outcome<(T, u64)> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| keep_asking(server, &stop));
        let told = story();
        stop.store(true, Ordering::Relaxed);
        let asked = asking.join().map_err(|panic| format!("{panic:?}"))?;
        Ok((told?, asked?))
    })
}

#[test]
fn an_edit_changes_sampling_under_load_and_nothing_is_lost_or_restarted() {
    let Some(_turn) = turn(&["node"]) else { return };
    let server = Server::script("node", "server.js").unwrap();
    let sink = Sink::start().unwrap();
    let config = ConfigFile::new(&[("web", &server)], "0").unwrap();
    let mut worker = Worker::start(&config, Some(&sink)).unwrap();
    worker.wait_for_processes(1).unwrap();
    let (first, asked) = under_load(&server, || {
        wait_for("requests before the edit", || {
            Ok((worker.counts("web")?.values().sum::<u64>() > 100).then_some(()))
        })?;
        assert!(sink.spans().is_empty());
        let edited = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        config.set_probability("1")?;
        let spans = wait_for("spans", || Ok(Some(sink.spans()).filter(|spans| !spans.is_empty())))?;
        let first = spans
            .iter()
            .map(|(_, span)| u128::from(span.end_time_unix_nano))
            .min()
            .unwrap_or_default();
        Ok(first - edited)
    })
    .unwrap();
    eprintln!("first span after the edit: {} ms", first / 1_000_000);
    let expected = Counts::from([(("/status/{id}/x".to_owned(), 200), asked)]);
    wait_for("all requests", || Ok((worker.counts("web")? == expected).then_some(()))).unwrap();
    assert!(worker.process.0.try_wait().unwrap().is_none(), "the worker still runs");
}

#[test]
fn an_invalid_edit_leaves_the_last_good_configuration_in_force() {
    let Some(_turn) = turn(&["node"]) else { return };
    let server = Server::script("node", "server.js").unwrap();
    let sink = Sink::start().unwrap();
    let config = ConfigFile::new(&[("web", &server)], "1").unwrap();
    let worker = Worker::start(&config, Some(&sink)).unwrap();
    worker.wait_for_processes(1).unwrap();
    for (text, result) in [
        ("config: {policies: [{id: a, probability: 2}]}", "result=\"invalid\""),
        ("config: {polices: []}", "result=\"unreadable\""),
        (": : not YAML", "result=\"unreadable\""),
    ] {
        let before = worker.metric("shoalwatch_config_updates_total", &[result]).unwrap();
        config.write(text).unwrap();
        wait_for("the refusal", || {
            Ok((worker.metric("shoalwatch_config_updates_total", &[result])? > before).then_some(()))
        })
        .unwrap();
    }
    assert!(
        worker
            .log()
            .iter()
            .any(|line| line.contains("policies[0].probability: 2 is outside 0 to 1"))
    );
    Client::connect(server.address)
        .unwrap()
        .get("/status/200/x", "")
        .unwrap();
    wait_for("the span", || Ok((sink.span_count() == 1).then_some(()))).unwrap();
}

#[test]
fn a_killed_worker_starts_again_and_sees_connections_that_were_open() {
    let Some(_turn) = turn(&["node"]) else { return };
    let server = Server::script("node", "server.js").unwrap();
    let config = ConfigFile::new(&[("web", &server)], "0").unwrap();
    let mut client = Client::connect(server.address).unwrap();
    for requests in [3, 5] {
        let mut worker = Worker::start(&config, None).unwrap();
        worker.wait_for_processes(1).unwrap();
        for _ in 0..requests {
            client.get("/status/200/x", "").unwrap();
        }
        let expected = Counts::from([(("/status/{id}/x".to_owned(), 200), requests)]);
        wait_for("the counts", || Ok((worker.counts("web")? == expected).then_some(()))).unwrap();
        worker.process.signal(Signal::KILL).unwrap();
        worker.process.wait().unwrap();
    }
}

#[test]
fn a_server_that_starts_later_is_observed_and_forgotten_when_it_ends() {
    let Some(_turn) = turn(&["node"]) else { return };
    let first = Server::script("node", "server.js").unwrap();
    let config = ConfigFile::new(&[("web", &first)], "0").unwrap();
    config.write("config: {policies: [{id: a, probability: 0}], hostServices: [{name: late, argumentContains: tests/servers/server.js}]}").unwrap();
    let worker = Worker::start(&config, None).unwrap();
    worker.wait_for_processes(1).unwrap();
    let began = Instant::now();
    let late = Server::script("node", "server.js").unwrap();
    worker.wait_for_processes(2).unwrap();
    eprintln!("observed {} ms after its start began", began.elapsed().as_millis());
    Client::connect(late.address).unwrap().get("/status/200/x", "").unwrap();
    wait_for("the count", || {
        Ok((worker.counts("late")?.values().sum::<u64>() == 1).then_some(()))
    })
    .unwrap();
    drop(late);
    worker.wait_for_processes(1).unwrap();
}

#[test]
fn a_stop_sends_what_waits() {
    let Some(_turn) = turn(&["node"]) else { return };
    let server = Server::script("node", "server.js").unwrap();
    let sink = Sink::start().unwrap();
    let config = ConfigFile::new(&[("web", &server)], "1").unwrap();
    let mut worker = Worker::start(&config, Some(&sink)).unwrap();
    worker.wait_for_processes(1).unwrap();
    let mut client = Client::connect(server.address).unwrap();
    for _ in 0..20 {
        client.get("/status/200/x", "").unwrap();
    }
    worker.process.signal(Signal::TERM).unwrap();
    assert!(worker.process.wait().unwrap().success(), "{:#?}", worker.log());
    assert_eq!(sink.span_count(), 20);
    assert_eq!(sink.counts("web").values().sum::<u64>(), 20);
}

#[test]
fn a_worker_without_permission_stays_up_and_says_why() {
    let Some(_turn) = turn(&["node"]) else { return };
    let server = Server::script("node", "server.js").unwrap();
    let config = ConfigFile::new(&[("web", &server)], "0").unwrap();
    let worker = Worker::start_as(&config, None, |command| {
        command.uid(65_534).gid(65_534);
    })
    .unwrap();
    let (status, page) = wait_for("readiness", || {
        Ok(Some(worker.page("/ready")?).filter(|(status, _)| *status == 200))
    })
    .unwrap();
    assert_eq!(status, 200);
    assert!(page.contains("degraded: ") && page.contains("CAP_BPF"), "{page}");
    assert_eq!(worker.metric("shoalwatch_probes_info", &["state=\"none\""]).unwrap(), 1);
    assert_eq!(worker.page("/live").unwrap().0, 200);
}

#[test]
fn garbage_and_a_head_without_end_make_no_wrong_count() {
    let Some(_turn) = turn(&["nginx"]) else { return };
    let server = Server::nginx().unwrap();
    let config = ConfigFile::new(&[("web", &server)], "0").unwrap();
    let worker = Worker::start(&config, None).unwrap();
    worker.wait_for_processes(server.processes).unwrap();
    let endless = format!("GET /big HTTP/1.1\r\nCookie: {}\r\n\r\n", "c".repeat(1 << 20));
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /half HTTP/1.1\r\nHost: lo",
        b"GET \x01\x02 HTTP/1.1\r\n\r\n",
        endless.as_bytes(),
    ] {
        let mut client = Client::connect(server.address).unwrap();
        // nginx may close while the client still sends, answer, or wait for the rest.
        client.send(bytes).ok();
        if bytes.starts_with(b"GET ") && bytes.ends_with(b"\r\n") {
            // Were the client gone, the answer would be one of a connection that is reset; nginx may reset it behind the answer.
            client.answer().ok();
        }
    }
    Client::connect(server.address)
        .unwrap()
        .get("/status/200/after", "")
        .unwrap();
    let route = |name: &str, status| ((name.to_owned(), status), 1);
    let expected = Counts::from([route("/big", 400), route("/status/{id}/after", 200)]);
    wait_for("the counts", || {
        let counts = worker.counts("web")?;
        if counts == expected {
            Ok(Some(()))
        } else {
            Err(format!("{counts:?}").into())
        }
    })
    .unwrap();
    assert_eq!(
        worker
            .metric("shoalwatch_not_http_total", &["reason=\"target\""])
            .unwrap(),
        1
    );
}

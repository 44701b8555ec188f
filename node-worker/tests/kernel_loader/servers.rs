//! Real servers that know nothing of the probes: what is seen equals what was sent, exactly.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    process::{Command, Stdio},
    thread,
};

use shoalwatch_node_worker::loader::{Probes, Stat, Task};
use tempfile::TempDir;

use crate::{
    client::Client,
    harness::{Outcome, Process, find, probes, server_file, turn, wait_for},
};

const SERVICE: u32 = 3;
const STATUSES: [u16; 5] = [200, 201, 404, 500, 503];
const CLIENTS: usize = 4;
const REQUESTS_PER_CLIENT: usize = 500;

/// How often each request line got each status.
type Counts = BTreeMap<(String, u16), u32>;

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

struct Server {
    process: Process,
    port: u16,
    /// Its files live as long as it does.
    _folder: TempDir,
}

impl Server {
    fn start(command: impl FnOnce(u16, &TempDir) -> Outcome<Command>) -> Outcome<Self> {
        let (port, folder) = (free_port()?, tempfile::tempdir()?);
        let mut command = command(port, &folder)?;
        let process = Process::start(command.stdout(Stdio::null()).stdin(Stdio::null()))?;
        wait_for("the server", || Client::connect(port).is_ok())?;
        let server = Self {
            process,
            port,
            _folder: folder,
        };
        Ok(server)
    }

    fn select(&self, probes: &mut Probes) -> Outcome<()> {
        for tgid in self.process.family() {
            let task = Task {
                service: SERVICE,
                ..Task::default()
            };
            probes.select(tgid, task)?;
        }
        Ok(())
    }
}

fn nginx(port: u16, folder: &TempDir) -> Outcome<Command> {
    let path = folder.path().to_str().ok_or("folder")?;
    let config = fs::read_to_string(server_file("nginx.conf"))?.replace("PORT", &port.to_string());
    fs::write(folder.path().join("nginx.conf"), config.replace("FOLDER", path))?;
    fs::create_dir(folder.path().join("file"))?;
    fs::write(folder.path().join("file/static"), vec![b'x'; 100_000])?;
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mut command = Command::new(find("nginx").ok_or("nginx")?);
    command.args(["-p", path, "-c", "nginx.conf", "-e", "error.log"]);
    Ok(command)
}

fn script(interpreter: &'static str, file: &'static str) -> impl FnOnce(u16, &TempDir) -> Outcome<Command> {
    move |port, _| {
        let mut command = Command::new(find(interpreter).ok_or(interpreter)?);
        command.arg(server_file(file)).arg(port.to_string());
        Ok(command)
    }
}

fn go(port: u16, _folder: &TempDir) -> Outcome<Command> {
    let binary = concat!(env!("CARGO_TARGET_TMPDIR"), "/server-go");
    let mut build = Command::new(find("go").ok_or("go")?);
    let status = build
        .args(["build", "-o", binary])
        .arg(server_file("server.go"))
        .env("GO111MODULE", "off")
        .status()?;
    if !status.success() {
        return Err("the Go server does not build".into());
    }
    let mut command = Command::new(binary);
    command.arg(port.to_string());
    Ok(command)
}

/// Sends from several connections at a time; returns what was sent and answered.
fn load(port: u16, apart: bool) -> Outcome<Counts> {
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| thread::spawn(move || run_client(port, client, apart).map_err(|error| error.to_string())))
        .collect();
    let mut all = Counts::new();
    for client in clients {
        for (request, count) in client.join().map_err(|panic| format!("{panic:?}"))?? {
            *all.entry(request).or_default() += count;
        }
    }
    Ok(all)
}

fn run_client(port: u16, number: usize, apart: bool) -> Outcome<Counts> {
    let mut client = Client::connect(port)?;
    let mut sent = Counts::new();
    for request in 0..REQUESTS_PER_CLIENT {
        let status = STATUSES[(number + request) % STATUSES.len()];
        let path = format!("/status/{status}/{}?client={number}", request % 7);
        let is_post = request % 10 == 9;
        let (method, got) = if is_post {
            ("POST", client.post(&path, "a body", apart)?)
        } else {
            ("GET", client.get(&path)?)
        };
        *sent.entry((format!("{method} {path}"), got)).or_default() += 1;
    }
    Ok(sent)
}

/// Takes events until as many came as were sent, and then whatever else there is.
fn collect(probes: &mut Probes, expected: &Counts) -> Outcome<Counts> {
    let mut seen = Counts::new();
    let mut missing: i64 = expected.values().copied().map(i64::from).sum();
    // The client may have its answer before the server's call has returned.
    let waited = wait_for("events", || {
        probes.drain(&mut |event| {
            let line = String::from_utf8_lossy(event.head)
                .split(" HTTP/1")
                .next()
                .map(str::to_owned);
            *seen.entry((line.unwrap_or_default(), event.status)).or_default() += 1;
            missing -= 1;
        });
        missing <= 0
    });
    waited.map_err(|error| format!("{error}, {missing} missing: {:?}", probes.stats()))?;
    Ok(seen)
}

/// `apart`: bodies travel apart from their heads. A server that answers without them may read them late, which is not the fast path.
fn measure(server: &Server, apart: bool) -> Outcome<()> {
    let mut probes = probes()?;
    server.select(&mut probes)?;
    let sent = load(server.port, apart)?;
    let seen = collect(&mut probes, &sent)?;
    assert_eq!(seen, sent);
    let stats = probes.stats()?;
    for stat in [
        Stat::UnpairedAnswer,
        Stat::GivenUp,
        Stat::Raw,
        Stat::RingFull,
        Stat::ReadFailed,
    ] {
        assert_eq!(stats.get(stat), 0, "{}: {stats:?}", stat.name());
    }
    Ok(())
}

#[test]
fn every_request_to_nginx_is_seen_once() {
    let Some(_turn) = turn(&["nginx"]) else { return };
    measure(&Server::start(nginx).unwrap(), false).unwrap();
}

#[test]
fn every_request_to_python_is_seen_once() {
    let Some(_turn) = turn(&["python3"]) else { return };
    measure(&Server::start(script("python3", "server.py")).unwrap(), true).unwrap();
}

#[test]
fn every_request_to_node_is_seen_once() {
    let Some(_turn) = turn(&["node"]) else { return };
    measure(&Server::start(script("node", "server.js")).unwrap(), true).unwrap();
}

#[test]
fn every_request_to_go_is_seen_once() {
    let Some(_turn) = turn(&["go"]) else { return };
    measure(&Server::start(go).unwrap(), true).unwrap();
}

#[test]
fn a_file_sent_by_the_kernel_is_one_request() {
    let Some(_turn) = turn(&["nginx"]) else { return };
    let server = Server::start(nginx).unwrap();
    let mut probes = probes().unwrap();
    server.select(&mut probes).unwrap();
    let mut client = Client::connect(server.port).unwrap();
    let expected = Counts::from([(("GET /file/static".to_owned(), 200), 3)]);
    for _ in 0..3 {
        assert_eq!(client.get("/file/static").unwrap(), 200);
    }
    assert_eq!(collect(&mut probes, &expected).unwrap(), expected);
}

#[test]
fn what_nginx_makes_of_garbage_makes_no_wrong_count() {
    let Some(_turn) = turn(&["nginx"]) else { return };
    let server = Server::start(nginx).unwrap();
    let mut probes = probes().unwrap();
    server.select(&mut probes).unwrap();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut client = Client::connect(server.port).unwrap();
        client.send(garbage).unwrap();
        // nginx answers 400 or closes; either way it is done with the garbage when the next connection is served.
        client.answer().ok();
    }
    let header = format!("GET /big HTTP/1.1\r\nCookie: {}\r\n\r\n", "c".repeat(1 << 20));
    let mut client = Client::connect(server.port).unwrap();
    // nginx closes while the client still sends.
    client.send(header.as_bytes()).ok();
    let mut client = Client::connect(server.port).unwrap();
    assert_eq!(client.get("/status/200/after").unwrap(), 200);
    let mut seen = Vec::new();
    wait_for("the request after the garbage", || {
        probes.drain(&mut |event| seen.push((event.head.starts_with(b"GET /big"), event.status)));
        seen.contains(&(false, 200))
    })
    .unwrap();
    seen.sort_unstable();
    assert_eq!(seen, [(false, 200), (true, 400)]);
}

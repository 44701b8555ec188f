//! The built operator as a process of its own, used through its command line and its pages alone.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Outcome, objects::HOME};

/// Of `/proc/PID/stat`; Linux has had no other for user space in decades.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running operator, ended when dropped.
pub(crate) struct Operator {
    child: Child,
    admin: SocketAddr,
    /// Where workers connect.
    pub(crate) workers: SocketAddr,
    _folder: TempDir,
}

impl Operator {
    pub(crate) fn start(api: SocketAddr) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        let context = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "scale",
            "clusters": [{"name": "scale", "cluster": {"server": format!("http://{api}")}}],
            "users": [{"name": "scale", "user": {}}],
            "contexts": [{"name": "scale", "context": {"cluster": "scale", "user": "scale"}}],
        });
        fs::write(&kubeconfig, context.to_string())?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_shoalwatch-operator"))
            .args(["--namespace", HOME, "--pod-name", "operator-0", "--pod-ip", "127.0.0.1"])
            .args(["--distribution-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .env("KUBECONFIG", &kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (log, lines) = mpsc::channel();
        drain(child.stdout.take(), log.clone());
        drain(child.stderr.take(), log);
        let found = addresses(&lines);
        if found.is_err() {
            child.kill()?;
        }
        let (admin, workers) = found?;
        Ok(Self {
            child,
            admin,
            workers,
            _folder: folder,
        })
    }

    /// Seconds of CPU since its start, of user and system together.
    pub(crate) fn cpu(&self) -> Outcome<f64> {
        cpu(&self.child.id().to_string())
    }

    /// Resident memory in MiB: now, and at most.
    pub(crate) fn memory(&self) -> Outcome<(f64, f64)> {
        let field = |name| field(&format!("/proc/{}/status", self.child.id()), name);
        Ok((field("VmRSS:")? / 1_024.0, field("VmHWM:")? / 1_024.0))
    }

    /// Bytes that it had written to files since its start; what it says over sockets is not among them.
    pub(crate) fn written(&self) -> Outcome<f64> {
        field(&format!("/proc/{}/io", self.child.id()), "write_bytes:")
    }

    /// The sum of all samples of a metric.
    pub(crate) async fn metric(&self, name: &str) -> Outcome<f64> {
        let mut stream = TcpStream::connect(self.admin).await?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n")
            .await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        let is_of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let samples = page.lines().filter(is_of).filter_map(|line| line.rsplit(' ').next());
        Ok(samples.map(str::parse::<f64>).sum::<Result<f64, _>>()?)
    }
}

/// Seconds of CPU that a process has used.
pub(crate) fn cpu(process: &str) -> Outcome<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let rest = stat.rsplit_once(") ").ok_or("no stat")?.1;
    let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_SECOND)
}

/// A number of a page of `/proc`, without its unit.
fn field(page: &str, name: &str) -> Outcome<f64> {
    let page = fs::read_to_string(page)?;
    let found = page.lines().find_map(|line| line.strip_prefix(name));
    Ok(found.ok_or("no such field")?.trim().trim_end_matches(" kB").parse()?)
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// To the end, or the operator would wait for somebody to read its log.
fn drain(pipe: Option<impl std::io::Read + Send + 'static>, log: mpsc::Sender<String>) {
    let Some(pipe) = pipe else { return };
    let shows = std::env::var_os("SCALE_LOG").is_some();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if shows {
                eprintln!("{line}");
            }
            log.send(line).ok();
        }
    });
}

/// Of the admin port and of the distribution, as the log names them.
fn addresses(log: &mpsc::Receiver<String>) -> Outcome<(SocketAddr, SocketAddr)> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let (mut admin, mut workers) = (None, None);
    let mut seen = Vec::new();
    while let Ok(line) = log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        let address = line
            .split("\"address\":\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let address = address.and_then(|address| address.parse().ok());
        if line.contains("admin port open") {
            admin = address;
        }
        if line.contains("workers can connect") {
            workers = address;
        }
        if let (Some(admin), Some(workers)) = (admin, workers) {
            return Ok((admin, workers));
        }
        seen.push(line);
    }
    Err(format!("the operator does not serve: {}", seen.join("\n")).into())
}

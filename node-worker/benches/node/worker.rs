//! The built worker, used through its command line, its file and its pages alone.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    client::Client,
    harness::{Cores, Outcome, Process, wait_for},
    nginx::Nginx,
    sink::Sink,
};

/// Rules that no request of the load tool matches, before the policy's own probability.
const RULES: usize = 16;

/// A running worker that observes nginx.
pub(crate) struct Worker {
    process: Process,
    admin: SocketAddr,
}

impl Worker {
    /// Returns when nginx's processes are observed.
    pub(crate) fn start(config: &ConfigFile, sink: &Sink, cores: Cores) -> Outcome<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shoalwatch-node-worker"));
        command
            .args(["--admin-addr", "127.0.0.1:0", "--node-name", "here", "--config"])
            .arg(&config.path)
            .arg("--otlp-endpoint")
            .arg(format!("http://{}", sink.address))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = Process::start(&mut command, cores.server)?;
        let stderr = BufReader::new(process.child().stderr.take().ok_or("no stderr")?);
        let (log, lines) = mpsc::channel();
        // To the end, or the worker would wait for somebody to read its log.
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| {
                log.send(line).ok();
            });
        });
        let admin = admin_address(&lines)?;
        let worker = Self { process, admin };
        wait_for("observed processes", || {
            let observed = worker.metric("shoalwatch_used", &["of=\"kernel_tasks\""])?;
            Ok((observed == Nginx::PROCESSES).then_some(()))
        })?;
        Ok(worker)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The sum of all samples of a metric that have these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Outcome<u64> {
        let (_, page) = Client::connect(self.admin)?.get("/metrics", "")?;
        let is_of = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let samples = page
            .lines()
            .filter(|line| is_of(line) && labels.iter().all(|label| line.contains(label)));
        samples
            .map(|line| Ok(line.rsplit(' ').next().ok_or("no value")?.parse::<u64>()?))
            .sum()
    }

    /// Until so many answered requests are counted; returns how many were lost.
    pub(crate) fn lost_of(&self, requests: u64) -> Outcome<u64> {
        const COUNT: &str = "http_server_request_duration_seconds_count";
        wait_for("all requests", || {
            let lost = self.metric("shoalwatch_lost_total", &[])?;
            Ok((self.metric(COUNT, &[])? + lost >= requests).then_some(lost))
        })
    }
}

fn admin_address(log: &mpsc::Receiver<String>) -> Outcome<SocketAddr> {
    let mut seen = String::new();
    while let Ok(line) = log.recv_timeout(Duration::from_secs(20)) {
        if let Some(address) = line
            .split("\"address\":\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
        {
            return Ok(address.parse()?);
        }
        writeln!(seen, "{line}")?;
    }
    Err(format!("the worker does not serve: {seen}").into())
}

/// The worker's configuration file: nginx under one policy.
pub(crate) struct ConfigFile {
    path: PathBuf,
    executable: String,
    _folder: TempDir,
}

impl ConfigFile {
    pub(crate) fn new(nginx: &Nginx, probability: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let file = Self {
            path: folder.path().join("config.yaml"),
            executable: nginx.executable.clone(),
            _folder: folder,
        };
        file.set_probability(probability)?;
        Ok(file)
    }

    /// As editors do it: a new file takes the name.
    pub(crate) fn set_probability(&self, probability: &str) -> Outcome<()> {
        let mut text = format!(
            "config:\n  hostServices: [{{name: web, namespace: bench, executable: {}}}]\n  slis: [{{id: web, namespace: \
             bench, workload: web, bad: [5xx, Aborted]}}]\n  policies:\n  - id: bench/all\n    probability: {probability}\n    \
             honourParent: false\n    rules:\n",
            self.executable
        );
        for rule in 0..RULES {
            writeln!(
                text,
                "    - {{name: r{rule}, route: {{prefix: /none/{rule}}}, methods: [GET, POST], probability: 1}}"
            )?;
        }
        let new = self.path.with_extension("new");
        fs::write(&new, text)?;
        Ok(fs::rename(new, &self.path)?)
    }
}

//! The built worker.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tempfile::TempDir;

use crate::{
    client::Client,
    harness::{Outcome, Process, wait_for},
    servers::{Calls, Counts, Server},
    sink::Sink,
};

/// A running worker.
pub(crate) struct Worker {
    pub(crate) process: Process,
    pub(crate) admin: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Worker {
    pub(crate) fn start(config: &ConfigFile, sink: Option<&Sink>) -> Outcome<Self> {
        Self::start_as(config, sink, |_| {})
    }

    pub(crate) fn start_as(
        config: &ConfigFile,
        sink: Option<&Sink>,
        change: impl FnOnce(&mut Command),
    ) -> Outcome<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shoalwatch-node-worker"));
        command.args([
            "--admin-addr",
            "127.0.0.1:0",
            "--metrics-interval",
            "0.2",
            "--node-name",
            "here",
            "--config",
        ]);
        command
            .arg(&config.path)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(sink) = sink {
            command.arg("--otlp-endpoint").arg(format!("http://{}", sink.address));
        }
        change(&mut command);
        let mut process = Process::start(&mut command)?;
        let stderr = BufReader::new(process.0.stderr.take().ok_or("no stderr")?);
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let mut worker = Self {
            process,
            admin: ([127, 0, 0, 1], 0).into(),
            log,
        };
        worker.admin = wait_for("the admin address", || {
            let line = worker.log().into_iter().find(|line| line.contains("serving /live"));
            let address =
                line.and_then(|line| Some(line.split("\"address\":\"").nth(1)?.split('"').next()?.to_owned()));
            Ok(address.map(|address| address.parse()).transpose()?)
        })
        .map_err(|error| format!("{error}: {:#?}", worker.log()))?;
        Ok(worker)
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn page(&self, path: &str) -> Outcome<(u16, String)> {
        Client::connect(self.admin)?.get(path, "")
    }

    /// The sum of all samples of a metric that have these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Outcome<u64> {
        let (_, page) = self.page("/metrics")?;
        let samples = page
            .lines()
            .filter(|line| is_of(line, name) && labels.iter().all(|label| line.contains(label)));
        samples.map(value).sum()
    }

    /// The counts of a service, as Prometheus would scrape them; status 0 where there was no answer.
    pub(crate) fn counts(&self, service: &str) -> Outcome<Counts> {
        self.samples("http_server_request_duration_seconds_count", service, |line| {
            label(line, "http_route").unwrap_or_default().to_owned()
        })
    }

    /// The same of what it asked others.
    pub(crate) fn calls(&self, service: &str) -> Outcome<Calls> {
        self.samples("http_client_request_duration_seconds_count", service, |line| {
            let address = label(line, "server_address").unwrap_or_default();
            label(line, "server_port").map_or(address.to_owned(), |port| format!("{address}:{port}"))
        })
    }

    /// The samples of a metric by what their lines are and by status.
    pub(crate) fn samples(
        &self,
        name: &str,
        service: &str,
        of: impl Fn(&str) -> String,
    ) -> Outcome<BTreeMap<(String, u16), u64>> {
        let (_, page) = self.page("/metrics")?;
        let mut counts = BTreeMap::new();
        let service = format!("service_name=\"{service}\"");
        for line in page.lines().filter(|line| is_of(line, name) && line.contains(&service)) {
            let status = label(line, "http_response_status_code").map_or(Ok(0), str::parse)?;
            *counts.entry((of(line), status)).or_default() += value(line)?;
        }
        Ok(counts)
    }

    /// Until so many processes are observed.
    pub(crate) fn wait_for_processes(&self, count: u64) -> Outcome<()> {
        wait_for("observed processes", || {
            let observed = self.metric("shoalwatch_used", &["of=\"kernel_tasks\""])?;
            Ok((observed == count).then_some(()))
        })
        .map_err(|error| format!("{error}: {:#?}", self.log()).into())
    }
}

fn is_of(line: &str, name: &str) -> bool {
    line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
}

/// The value of a sample's label.
pub(crate) fn label<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(&format!("{name}=\"")).nth(1)?.split('"').next()
}

fn value(line: &str) -> Outcome<u64> {
    Ok(line.rsplit(' ').next().ok_or("no value")?.parse()?)
}

/// The worker's configuration file.
pub(crate) struct ConfigFile {
    path: PathBuf,
    services: String,
    _folder: TempDir,
}

impl ConfigFile {
    /// Named host services, all under one policy, with an SLI each.
    pub(crate) fn new(services: &[(&str, &Server)], probability: &str) -> Outcome<Self> {
        let services: Vec<_> = services
            .iter()
            .map(|(name, server)| (*name, server.selector.as_str()))
            .collect();
        Self::selecting(&services, probability)
    }

    /// The same by the fields that select each.
    pub(crate) fn selecting(services: &[(&str, &str)], probability: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let services = services
            .iter()
            .map(|(name, selector)| format!("  - {{name: {name}, namespace: test, {selector}}}\n"));
        let file = Self {
            path: folder.path().join("config.yaml"),
            services: services.collect(),
            _folder: folder,
        };
        file.set_probability(probability)?;
        Ok(file)
    }

    pub(crate) fn set_probability(&self, probability: &str) -> Outcome<()> {
        self.set(probability, "bad: [5xx]")
    }

    /// With what the SLI calls bad.
    pub(crate) fn set(&self, probability: &str, bad: &str) -> Outcome<()> {
        let text = format!(
            "config:\n  policies:\n  - {{id: test/all, namespace: test, probability: {probability}}}\n  slis:\n  \
             - {{id: web, namespace: test, workload: web, {bad}}}\n  hostServices:\n{}",
            self.services
        );
        self.write(&text)
    }

    /// As editors do it: a new file takes the name.
    pub(crate) fn write(&self, text: &str) -> Outcome<()> {
        let new = self.path.with_extension("new");
        fs::write(&new, text)?;
        Ok(fs::rename(new, &self.path)?)
    }
}

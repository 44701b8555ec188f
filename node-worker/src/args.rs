//! The worker's options: flags, each with an environment variable.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args as Section, Parser, Subcommand, ValueEnum, builder::FalseyValueParser};

use crate::{
    loader::{LoaderOptions, SyscallTracepoint},
    requests::DEFAULT_MAX_RAW_CONNECTIONS,
};

/// Watches the requests of selected processes with eBPF and exports what it sees. Runs on every node under the Shoalwatch operator, or
/// alone on one machine with --config.
#[derive(Clone, Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// Something else than to run.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Configuration file; the worker then needs neither Kubernetes nor an operator. It is read again whenever it changes.
    #[arg(
        long,
        value_name = "FILE",
        env = "SHOALWATCH_CONFIG",
        conflicts_with = "operator_endpoint"
    )]
    pub config: Option<PathBuf>,

    /// This node's name in Kubernetes. Without Kubernetes: the machine's name, unless given.
    #[arg(long, env = "NODE_NAME")]
    pub node_name: Option<String>,

    #[command(flatten)]
    pub(crate) operator: OperatorArgs,

    #[command(flatten)]
    pub(crate) export: ExportArgs,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    /// Where /live, /ready and /metrics are served.
    #[arg(long, default_value = "0.0.0.0:9464", env = "SHOALWATCH_ADMIN_ADDR")]
    pub admin_addr: SocketAddr,

    /// Takes the time of the eBPF programs, for /metrics and `top`. Needs `CAP_SYS_ADMIN`, and costs about 20 ns of every run of every BPF
    /// program of the machine.
    #[arg(long, value_parser = FalseyValueParser::new(), env = "SHOALWATCH_BPF_STATS")]
    pub bpf_stats: bool,

    /// How the kernel tells that a system call returns.
    #[arg(long, value_enum, default_value_t = SyscallTracepointArg::Auto, env = "SHOALWATCH_SYSCALL_TRACEPOINT")]
    pub(crate) syscall_tracepoint: SyscallTracepointArg,

    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Json, env = "SHOALWATCH_LOG_FORMAT")]
    pub log_format: LogFormat,

    /// Which log lines are written, as `RUST_LOG` understands it.
    #[arg(long, default_value = "info", env = "RUST_LOG")]
    pub log: String,

    /// How long a stop may take to send what waits, in seconds.
    #[arg(long, default_value = "10", value_parser = seconds, env = "SHOALWATCH_STOP_TIMEOUT")]
    pub stop_timeout: Duration,
}

/// What the program does instead of running as the node's worker.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Shows a running worker's numbers, and what it costs, on the terminal.
    Top(TopArgs),
}

/// Which worker is shown, and how.
#[derive(Clone, Debug, Section)]
pub struct TopArgs {
    /// The worker's page.
    #[arg(long, default_value = "http://127.0.0.1:9464/metrics")]
    pub url: String,

    /// One screen, after a second, and the end.
    #[arg(long)]
    pub once: bool,
}

/// How the operator is reached.
#[derive(Clone, Debug, Section)]
pub(crate) struct OperatorArgs {
    /// Where the operator listens; each address behind the name is a replica, 8 at most, and has a stream of its own.
    /// Default: <https://shoalwatch-operator.NAMESPACE.svc:8443>
    #[arg(long, env = "SHOALWATCH_OPERATOR_ENDPOINT")]
    pub(crate) operator_endpoint: Option<String>,

    /// The namespace of the operator, and of the ConfigMap with its certificate.
    #[arg(long, env = "POD_NAMESPACE", default_value = "shoalwatch-system")]
    pub(crate) operator_namespace: String,

    /// ServiceAccount token of the audience shoalwatch.dev/distribution. Read anew for each connection.
    #[arg(
        long,
        default_value = "/var/run/secrets/shoalwatch/token",
        env = "SHOALWATCH_TOKEN_FILE"
    )]
    pub(crate) token_file: PathBuf,

    /// The certificate to trust for the operator. Default: the ConfigMap shoalwatch-ca of the operator's namespace.
    #[arg(long, env = "SHOALWATCH_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Folder on the node that keeps the last good configuration.
    #[arg(long, default_value = "/var/lib/shoalwatch", env = "SHOALWATCH_STATE_DIR")]
    pub(crate) state_dir: PathBuf,
}

impl OperatorArgs {
    /// As given, or the operator's Service.
    pub(crate) fn endpoint(&self) -> String {
        let default = || format!("https://shoalwatch-operator.{}.svc:8443", self.operator_namespace);
        self.operator_endpoint.clone().unwrap_or_else(default)
    }
}

/// Where telemetry goes.
#[derive(Clone, Debug, Section)]
pub(crate) struct ExportArgs {
    /// OTLP/gRPC receiver, such as <http://collector:4317>. Without it spans are not made, and numbers are at /metrics only.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,

    /// The certificate to trust for an https receiver.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE")]
    pub(crate) otlp_ca_file: Option<PathBuf>,

    /// Seconds between two exports of metrics, at least 0.1.
    #[arg(long, default_value = "5", value_parser = seconds, env = "SHOALWATCH_METRICS_INTERVAL")]
    pub(crate) metrics_interval: Duration,
}

/// How much memory is used at most.
#[derive(Clone, Copy, Debug, Section)]
pub(crate) struct LimitArgs {
    /// Bytes of the ring between kernel and worker: a power of two, 4 KiB to 1 GiB.
    #[arg(long, default_value_t = LoaderOptions::default().ring_bytes, env = "SHOALWATCH_RING_BYTES")]
    pub(crate) ring_bytes: u32,

    /// Bytes of the ring for connections that the kernel does not pair by itself: a power of two, 4 KiB to 1 GiB.
    #[arg(long, default_value_t = LoaderOptions::default().raw_ring_bytes, env = "SHOALWATCH_RAW_RING_BYTES")]
    pub(crate) raw_ring_bytes: u32,

    /// Connections that the kernel does not pair by itself, followed at once; up to 36 KiB each.
    #[arg(long, default_value_t = DEFAULT_MAX_RAW_CONNECTIONS, env = "SHOALWATCH_MAX_RAW_CONNECTIONS")]
    pub(crate) max_raw_connections: usize,

    /// Connections followed at once; about 1 KiB each.
    #[arg(long, default_value_t = LoaderOptions::default().max_connections, env = "SHOALWATCH_MAX_CONNECTIONS")]
    pub(crate) max_connections: u32,

    /// Processes observed at once.
    #[arg(long, default_value_t = LoaderOptions::default().max_tasks, env = "SHOALWATCH_MAX_PROCESSES")]
    pub(crate) max_processes: u32,

    /// Kinds of answers (route, method, status) counted in the kernel at once; 128 bytes each on every CPU.
    #[arg(long, default_value_t = LoaderOptions::default().max_counters, env = "SHOALWATCH_MAX_COUNTERS")]
    pub(crate) max_counters: u32,

    /// Containers and host services with numbers of their own at once.
    #[arg(long, default_value = "1000", env = "SHOALWATCH_MAX_SERVICES")]
    pub(crate) max_services: usize,
}

impl From<LimitArgs> for LoaderOptions {
    fn from(limits: LimitArgs) -> Self {
        Self {
            ring_bytes: limits.ring_bytes,
            raw_ring_bytes: limits.raw_ring_bytes,
            max_connections: limits.max_connections,
            max_tasks: limits.max_processes,
            max_counters: limits.max_counters,
            syscall_tracepoint: None,
        }
    }
}

/// See [`SyscallTracepoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SyscallTracepointArg {
    /// `raw`, and from Linux 7.0 on `perf`.
    Auto,
    /// The raw tracepoint; from Linux 7.0 on it misses calls where threads are preempted.
    Raw,
    /// The perf tracepoint, which is never preempted; needs Linux 5.15, tracefs, and on Debian `kernel.perf_event_paranoid` at 2 at most.
    Perf,
}

impl From<SyscallTracepointArg> for Option<SyscallTracepoint> {
    fn from(asked: SyscallTracepointArg) -> Self {
        match asked {
            SyscallTracepointArg::Auto => None,
            SyscallTracepointArg::Raw => Some(SyscallTracepoint::Raw),
            SyscallTracepointArg::Perf => Some(SyscallTracepoint::Perf),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_not_a_number| format!("{text:?} is no number of seconds"))?;
    if (0.1..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("{text} is outside 0.1 to 86400 seconds"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_operator_is_found_in_its_namespace_unless_told_otherwise() {
        let args = Args::parse_from(["worker", "--operator-namespace", "ops"]);
        assert_eq!(args.operator.endpoint(), "https://shoalwatch-operator.ops.svc:8443");
        let args = Args::parse_from(["worker", "--operator-endpoint", "https://here:1"]);
        assert_eq!(args.operator.endpoint(), "https://here:1");
    }

    #[test]
    fn an_interval_out_of_bounds_is_refused() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "NaN", "inf", "x"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}

//! Puts the worker together, and takes it apart again without losing what waits.

use std::{future::pending, sync::Arc};

use anyhow::{Context, bail};
use kube::Client;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::Instant,
};
use tonic::transport::Uri;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::{
    admin::{self, Admin},
    args::{Args, LogFormat},
    counters::Counters,
    discovery::ProcFs,
    distribution::{Applier, Authority, ClientSettings, ConfigFile, LastGood, LastWords, OperatorClient, Resolve, dns},
    enrichment::follow_pods,
    export::{ExportSettings, Exporters},
    health::{Health, sentence},
    loader::{LoaderOptions, Price, Probes},
    requests::{Blind, EventLoop, Kernel, LoopEnded, Setup},
};

/// Runs until SIGTERM or SIGINT.
pub fn run(args: Args) -> anyhow::Result<()> {
    init_log(&args)?;
    raise_open_files();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?
        .block_on(serve(args))
}

fn init_log(args: &Args) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log).with_context(|| format!("--log {:?} is not understood", args.log))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Each observed process takes a descriptor.
fn raise_open_files() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!(%error, "the limit of open files cannot be raised");
    }
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let counters = Arc::new(Counters::default());
    let (kernel, health, price) = load_probes(&args);
    let health = Arc::new(health);
    let node_name = node_name(&args)?;
    let mut exporters = Exporters::start_spans(&export_settings(&args), &counters)?;
    let setup = Setup {
        kernel,
        proc_fs: ProcFs::default(),
        node_name: node_name.clone(),
        kubernetes: args.config.is_none(),
        max_services: args.limits.max_services,
        max_raw_connections: args.limits.max_raw_connections,
        spans: exporters.spans(),
        counters: Arc::clone(&counters),
    };
    let (events, thread) = EventLoop::start(setup).context("the event loop cannot be started")?;
    exporters.start_metrics(&events, &counters);
    let applier = Applier::new(events.clone(), Arc::clone(&counters));
    let mut services = JoinSet::new();
    let admin = Admin {
        events: events.clone(),
        counters: Arc::clone(&counters),
        health: Arc::clone(&health),
        price: Arc::new(price),
        in_force: applier.in_force(),
    };
    serve_admin(&args, admin, &mut services).await?;
    let operator = follow_configuration(&args, node_name, &health, applier, &events, counters, &mut services).await?;
    let ended = tokio::select! {
        Some(ended) = services.join_next() => Some(ended),
        () = stop => None,
    };
    info!("stopping");
    if let Some(operator) = operator {
        operator.say_the_last_words().await;
    }
    services.shutdown().await;
    let drained = tokio::time::timeout(args.stop_timeout, exporters.drain(&events)).await;
    if drained.is_err() {
        warn!("not everything could be sent before the stop");
    }
    match ended {
        Some(ended) => bail!(ended.map_or_else(|error| error.to_string(), |ended| ended.to_string())),
        None if thread.join().is_ok() => Ok(()),
        None => bail!(LoopEnded),
    }
}

/// Without probes the worker stays up and says why: a restart would not mend the node.
fn load_probes(args: &Args) -> (Box<dyn Kernel>, Health, Price) {
    let options = LoaderOptions {
        syscall_tracepoint: args.syscall_tracepoint.into(),
        ..args.limits.into()
    };
    match Probes::load(&options) {
        Ok(probes) => {
            let degraded: Vec<_> = probes.degraded().iter().map(|degraded| sentence(degraded)).collect();
            for what in &degraded {
                warn!(what, "degraded");
            }
            info!(syscall_tracepoint = ?probes.syscall_tracepoint(), "probes are loaded");
            let price = price(&probes, args.bpf_stats);
            (Box::new(probes), Health { degraded, blind: false }, price)
        }
        Err(error) => {
            let what = sentence(&error);
            warn!(what, category = error.category(), "no requests are seen on this node");
            let degraded = vec![what];
            (Box::new(Blind), Health { degraded, blind: true }, Price::default())
        }
    }
}

fn price(probes: &Probes, statistics: bool) -> Price {
    let mut price = probes.price();
    if statistics && let Err(error) = price.enable_statistics() {
        warn!(
            what = sentence(&error),
            category = error.category(),
            "the time of the eBPF programs is not taken"
        );
    }
    price
}

fn export_settings(args: &Args) -> ExportSettings {
    ExportSettings {
        endpoint: args
            .export
            .otlp_endpoint
            .clone()
            .filter(|endpoint| !endpoint.is_empty()),
        ca_file: args.export.otlp_ca_file.clone(),
        metrics_interval: args.export.metrics_interval,
    }
}

async fn serve_admin(args: &Args, admin: Admin, services: &mut JoinSet<LoopEnded>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.admin_addr)
        .await
        .with_context(|| format!("--admin-addr {} cannot be listened on", args.admin_addr))?;
    info!(address = %listener.local_addr()?, "serving /live, /ready and /metrics");
    services.spawn(async move {
        if let Err(error) = axum::serve(listener, admin::router(admin)).await {
            warn!(%error, "the admin server ended");
        }
        pending().await
    });
    Ok(())
}

async fn follow_configuration(
    args: &Args,
    node_name: String,
    health: &Health,
    applier: Applier,
    events: &EventLoop,
    counters: Arc<Counters>,
    services: &mut JoinSet<LoopEnded>,
) -> anyhow::Result<Option<LastWords>> {
    if let Some(path) = &args.config {
        let file = ConfigFile::open(path, applier).await?;
        services.spawn(async move { file.follow(&counters).await });
        return Ok(None);
    }
    let client = Client::try_default()
        .await
        .context("no Kubernetes: name a configuration file with --config")?;
    let (host, resolve) = replicas(&args.operator.endpoint())?;
    let settings = client_settings(args, host, node_name.clone(), health, client.clone());
    let last_good = LastGood::new(&args.operator.state_dir);
    let operator = OperatorClient::new(settings, resolve, applier, events.clone(), last_good, counters);
    let last_words = operator.last_words();
    services.spawn(operator.run());
    let events = events.clone();
    services.spawn(async move { follow_pods(client, &node_name, events).await });
    Ok(Some(last_words))
}

/// The name on the operator's certificate, and how its replicas are found.
fn replicas(endpoint: &str) -> anyhow::Result<(String, Resolve)> {
    let uri: Uri = endpoint
        .parse()
        .with_context(|| format!("--operator-endpoint {endpoint:?} is no address"))?;
    if uri.scheme_str() != Some("https") {
        bail!("--operator-endpoint {endpoint:?} is not https: the token must not travel in the open");
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(443);
    Ok((host.clone(), dns(host, port)))
}

fn client_settings(args: &Args, host: String, node_name: String, health: &Health, client: Client) -> ClientSettings {
    let authority = match &args.operator.ca_file {
        Some(path) => Authority::File(path.clone()),
        None => Authority::ConfigMap {
            client,
            namespace: args.operator.operator_namespace.clone(),
        },
    };
    ClientSettings {
        host,
        authority,
        token_file: args.operator.token_file.clone(),
        node_name,
        start_id: format!("{:032x}", rand::random::<u128>()),
        started: Instant::now(),
        kernel_release: rustix::system::uname().release().to_string_lossy().into_owned(),
        degraded: health.degraded.clone(),
    }
}

fn node_name(args: &Args) -> anyhow::Result<String> {
    match (&args.node_name, &args.config) {
        (Some(name), _) => Ok(name.clone()),
        (None, Some(_)) => Ok(rustix::system::uname().nodename().to_string_lossy().into_owned()),
        (None, None) => bail!("--node-name is missing: in a pod set NODE_NAME from spec.nodeName"),
    }
}

fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

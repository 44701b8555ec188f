//! Wires the rooms together, runs them, and stops them in order.
//!
//! What stops first is what others wait for: the streams and the controllers, then, when nothing writes any more, the
//! Lease and the admin port.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use kube::Client;
use shoalwatch_node_api::{REPLICA_AUDIENCE, TOKEN_AUDIENCE};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{self, Readiness},
    args::Args,
    clock::{SharedClock, SystemClock},
    controllers,
    distribution::{
        self, DELIVERIES, Distribution,
        auth::TokenReviewer,
        server::Server,
        serving::{LOOK_EVERY, Serving},
    },
    lease::{self, Campaign},
    logging::{self, chain},
    metrics,
    replicas::{self, Replica, peers::Peers, server::Copies},
    supervise::{Death, Shift, Supervisor},
};

/// All tasks together may take so long to stop: less than a pod's 30 s.
const GRACE: Duration = Duration::from_secs(20);

/// Why the process ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No threads or no signal handlers.
    #[error("the system refuses")]
    System(#[source] std::io::Error),
    /// There is no API server to talk to.
    #[error("no Kubernetes: run in a pod with a ServiceAccount, or set KUBECONFIG")]
    Client(#[source] kube::Error),
    /// The admin port is taken, or forbidden.
    #[error("cannot listen on {address}: choose another with --admin-addr")]
    Bind {
        /// As given.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A task that must live died.
    #[error(transparent)]
    Death(#[from] Death),
}

/// Runs the operator as a process: until SIGTERM or SIGINT, or until something in it dies.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    if let Err(error) = logging::init(args.log_format, &args.log_filter) {
        eprintln!("{}", chain(&error));
        return ExitCode::FAILURE;
    }
    match start(args) {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(error = chain(&error), "the operator ends");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<(), Error> {
    // Somebody who installed one before us chose it on purpose.
    drop(rustls::crypto::ring::default_provider().install_default());
    let threads = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::System)?;
    threads.block_on(async {
        let asked = asked_to_stop().map_err(Error::System)?;
        let client = Client::try_default().await.map_err(Error::Client)?;
        run(args, client, asked).await
    })
}

fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "asked to stop"),
            _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "asked to stop"),
        }
    })
}

/// Runs the operator against `client`'s API server until `asked`.
pub async fn run(args: &Args, client: Client, asked: impl Future<Output = ()>) -> Result<(), Error> {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = args.namespace,
        "starting"
    );
    let admin = bind_admin(args.admin_addr).await?;
    let mut supervisor = Supervisor::default();
    wire(args, &client, admin, &mut supervisor);
    supervisor.run(asked, GRACE).await?;
    Ok(())
}

async fn bind_admin(address: SocketAddr) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| Error::Bind { address, source })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "admin port open");
    }
    Ok(listener)
}

/// Makes every room and starts its task.
fn wire(args: &Args, client: &Client, admin: TcpListener, supervisor: &mut Supervisor) {
    let clock: SharedClock = Arc::new(SystemClock);
    let readiness = Readiness::default();
    let mut registry = metrics::registry();

    let campaign = Campaign::new(
        client.clone(),
        &args.namespace,
        args.pod_name.clone(),
        Arc::clone(&clock),
        lease::Metrics::register(&mut registry),
    );
    let may_lead = CancellationToken::new();
    let campaign = campaign.after(may_lead.clone());
    let leadership = campaign.leadership();

    let streams = distribution::metrics::Metrics::register(&mut registry);
    let (distribution, pusher) = Distribution::new(leadership.clone(), Arc::clone(&clock), streams.clone());
    let (deliveries, delivered) = mpsc::channel(DELIVERIES);
    metrics::watch_queue(&mut registry, "sli_delivery", &deliveries);
    let reviewer = TokenReviewer::new(
        client.clone(),
        &args.namespace,
        &args.worker_service_account,
        TOKEN_AUDIENCE,
        Arc::clone(&clock),
        streams.clone(),
    );
    let stop = supervisor.stop(Shift::Early);
    let residents = distribution.residents();
    let server = Server::new(
        &distribution,
        reviewer,
        residents.clone(),
        deliveries.clone(),
        streams.clone(),
        stop.clone(),
    );
    let replicas = replicas::metrics::Metrics::register(&mut registry);
    let (store, stored) = watch::channel(None);
    let reviewer = TokenReviewer::new(
        client.clone(),
        &args.namespace,
        &args.service_account,
        REPLICA_AUDIENCE,
        Arc::clone(&clock),
        streams.clone(),
    );
    let server = server.with_copies(Copies::new(reviewer, stored, leadership.clone(), replicas.clone()));
    let replica = Replica {
        peers: Peers {
            client: client.clone(),
            namespace: args.namespace.clone(),
            own: args.pod_ip,
            port: args.distribution_addr.port(),
            token_file: args.replica_token_file.clone(),
            metrics: replicas.clone(),
            #[cfg(test)]
            listed: Some(Vec::new()),
        },
        store,
        may_lead,
        readiness: readiness.clone(),
        metrics: replicas,
    };
    let serving = Serving {
        client: client.clone(),
        namespace: args.namespace.clone(),
        pod_ip: args.pod_ip,
        address: args.distribution_addr,
        clock: Arc::clone(&clock),
        metrics: streams,
        readiness: readiness.clone(),
        look_every: LOOK_EVERY,
        stop: stop.clone(),
    };
    let controllers = controllers::run(controllers::Inputs {
        client: client.clone(),
        namespace: args.namespace.clone(),
        distribution,
        deliveries: delivered,
        leadership,
        data_dir: args.data_dir.clone(),
        destinations: args.allowed_destinations.clone(),
        clock,
        replica: Some(replica),
        registry: &mut registry,
        stop: stop.clone(),
    });

    let late = supervisor.stop(Shift::Late);
    let serving_admin = admin::serve(admin, readiness.clone(), Arc::new(registry), late.clone());
    supervisor.spawn("admin", Shift::Late, serving_admin);
    supervisor.spawn("lease", Shift::Late, endless(campaign.run(readiness, late)));
    let following = residents.follow(client.clone(), stop.clone());
    supervisor.spawn("residents", Shift::Early, endless(following));
    supervisor.spawn("pusher", Shift::Early, endless(pusher.run(stop)));
    supervisor.spawn("controllers", Shift::Early, async move {
        let ended = controllers.await;
        // Until here: both stop at once, and a queue that closes under the controllers would look like a death to them.
        drop(deliveries);
        ended
    });
    supervisor.spawn("distribution", Shift::Early, serving.run(server));
}

/// A task that cannot fail.
async fn endless(work: impl Future<Output = ()>) -> Result<(), std::convert::Infallible> {
    work.await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::testing::{ApiServer, api_server};

    /// On free ports, with a folder that is removed when dropped.
    fn args(folder: &tempfile::TempDir) -> Args {
        let data = format!("--data-dir={}", folder.path().display());
        let ports = ["--admin-addr=127.0.0.1:0", "--distribution-addr=127.0.0.1:0"];
        Args::parse_from(
            ["operator", "--namespace=x", "--pod-name=me", &data]
                .into_iter()
                .chain(ports),
        )
    }

    /// A server that refuses everything but `GET what`, which it answers with `found`.
    async fn refuse_all_but(mut server: ApiServer, what: &str, found: serde_json::Value) {
        let get = format!("GET {what}");
        loop {
            let refused =
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden"});
            server
                .answer(|asked| {
                    if asked.what == get {
                        (200, found.clone())
                    } else {
                        (403, refused)
                    }
                })
                .await;
        }
    }

    #[tokio::test]
    async fn without_any_rights_it_stays_up_and_stops_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let (client, server) = api_server();
        let server = tokio::spawn(refuse_all_but(server, "", json!(null)));
        run(&args(&folder), client, ready(())).await.unwrap();
        server.abort();
    }

    #[tokio::test]
    async fn an_authority_that_cannot_serve_ends_the_process_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let (client, server) = api_server();
        let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "shoalwatch-ca"}, "data": {}});
        let what = "/api/v1/namespaces/x/secrets/shoalwatch-ca";
        let server = tokio::spawn(refuse_all_but(server, what, secret));
        let error = run(&args(&folder), client, pending()).await.unwrap_err();
        server.abort();
        let told = chain(&error);
        assert!(told.starts_with("task distribution failed: "), "{told}");
        assert!(
            told.contains("has no data under \"ca.crt\". Delete it and restart"),
            "{told}"
        );
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_the_flag_that_chooses_another() {
        let folder = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, _server) = api_server();
        let args = Args {
            admin_addr: taken.local_addr().unwrap(),
            ..args(&folder)
        };
        let error = run(&args, client, pending()).await.unwrap_err();
        assert!(
            chain(&error).contains("--admin-addr: Address already in use"),
            "{}",
            chain(&error)
        );
    }
}

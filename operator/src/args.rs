//! The command line. Every flag can be given as an environment variable, which is what the manifests do.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use crate::http_client::Destinations;
use crate::logging::Format;

/// The Shoalwatch operator: watches the kinds, programs the nodes, judges SLOs and undoes bad releases.
#[derive(Clone, Debug, clap::Parser)]
#[command(version)]
pub struct Args {
    /// The namespace that the operator lives in, which is also the root namespace: sampling policies in it are defaults
    /// for the whole cluster. Lease, Secret and ConfigMap of the operator are there.
    #[arg(long, env = "POD_NAMESPACE", value_parser = label)]
    pub namespace: String,

    /// This pod's name: its identity in the Lease. A StatefulSet gives the same name to the pod's successor, which
    /// therefore leads at once instead of waiting 15 s.
    #[arg(long, env = "POD_NAME", value_parser = label)]
    pub pod_name: String,

    /// This pod's address. Workers that dial it by address need it in the server's certificate; without it they must
    /// use the Service's name.
    #[arg(long, env = "POD_IP")]
    pub pod_ip: Option<IpAddr>,

    /// Where workers connect: gRPC over TLS. Port 0 takes a free one, which the log names.
    #[arg(long, env = "SHOALWATCH_DISTRIBUTION_ADDR", default_value = "0.0.0.0:8443")]
    pub distribution_addr: SocketAddr,

    /// Where /live, /ready and /metrics are served: plain HTTP, for the kubelet and Prometheus. Port 0 takes a free one.
    #[arg(long, env = "SHOALWATCH_ADMIN_ADDR", default_value = "0.0.0.0:8080")]
    pub admin_addr: SocketAddr,

    /// Where the history of SLOs is kept: a folder on the replica's volume, made if it is missing. Lost, error budgets
    /// begin anew.
    #[arg(long, env = "SHOALWATCH_DATA_DIR", default_value = "/var/lib/shoalwatch")]
    pub data_dir: PathBuf,

    /// The ServiceAccount of the node workers, in the operator's namespace: no other may connect.
    #[arg(long, env = "SHOALWATCH_WORKER_SERVICE_ACCOUNT", default_value = "shoalwatch-node-worker", value_parser = label)]
    pub worker_service_account: String,

    /// The operator's own ServiceAccount: other replicas may copy the history from this one.
    #[arg(long, env = "SHOALWATCH_SERVICE_ACCOUNT", default_value = "shoalwatch-operator", value_parser = label)]
    pub service_account: String,

    /// A token of it of the audience shoalwatch.dev/replicas, to be shown to other replicas.
    #[arg(
        long,
        env = "SHOALWATCH_REPLICA_TOKEN_FILE",
        default_value = "/var/run/secrets/shoalwatch/token"
    )]
    pub replica_token_file: PathBuf,

    /// Where SLOs may have the operator connect, for webhooks and indicator.prometheus: up to 256, comma-separated, of names as they
    /// are written in SLOs, *.example.org for all names below one, and blocks of addresses such as 10.0.0.0/8. Default: anywhere.
    /// Its own host and its cloud's metadata (loopback, link-local) are refused unless a block among them is listed.
    #[arg(
        long,
        env = "SHOALWATCH_ALLOWED_DESTINATIONS",
        default_value = "",
        hide_default_value = true
    )]
    pub allowed_destinations: Destinations,

    /// How a line of the log looks.
    #[arg(long, env = "SHOALWATCH_LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: Format,

    /// What is logged: a level (error, warn, info, debug, trace), or directives such as info,kube=debug.
    #[arg(long, env = "SHOALWATCH_LOG", default_value = "info")]
    pub log_filter: String,
}

/// A name as Kubernetes wants it: these become parts of object names and of certificates.
fn label(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edges = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = (1..=253).contains(&text.len())
        && text.chars().all(allowed)
        && text.starts_with(edges)
        && text.ends_with(edges);
    if good {
        Ok(text.to_owned())
    } else {
        Err("write a Kubernetes name: 1 to 253 of a-z, 0-9, '-' and '.', a letter or digit first and last".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_definition_holds_together_and_every_flag_is_documented() {
        let command = Args::command();
        command.clone().debug_assert();
        for flag in command.get_arguments() {
            assert!(flag.get_help().is_some(), "--{}", flag.get_id());
            assert!(
                flag.get_env().is_some() || ["help", "version"].contains(&flag.get_id().as_str()),
                "--{} has no variable",
                flag.get_id()
            );
        }
    }

    #[test]
    fn a_namespace_that_is_no_name_is_refused_with_what_to_write() {
        let error = Args::try_parse_from(["operator", "--namespace=Not_A_Name", "--pod-name=a"]).unwrap_err();
        assert!(error.to_string().contains("write a Kubernetes name"), "{error}");
    }

    #[test]
    fn destinations_are_any_unless_they_are_listed_and_what_is_none_is_named() {
        let with = |list: &str| {
            let list = format!("--allowed-destinations={list}");
            Args::try_parse_from(["operator", "--namespace=a", "--pod-name=a", &list])
        };
        let allowed = |list: &str| with(list).unwrap().allowed_destinations;
        assert_eq!(allowed(""), Destinations::default());
        assert_ne!(allowed("prometheus.monitoring,10.0.0.0/8"), Destinations::default());
        let error = with("prometheus.monitoring,http://a").unwrap_err().to_string();
        assert!(
            error.contains("\"http://a\" is no destination: write a name"),
            "{error}"
        );
    }
}

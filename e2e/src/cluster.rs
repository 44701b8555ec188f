//! One Kubernetes cluster, through its API.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config,
    api::{ListParams, LogParams},
    config::KubeConfigOptions,
};
use tokio::{io::AsyncWriteExt, process::Command};

/// The names of the images in `manifests/demo`; `SHOALWATCH_IMAGES` and `SHOALWATCH_TAG` say where else they are.
const IMAGES: &str = "shoalwatch.local/";

/// One Kubernetes cluster.
#[derive(Clone)]
pub struct Cluster {
    /// For typed access.
    pub client: Client,
    context: Option<String>,
}

impl Cluster {
    /// The cluster of `SHOALWATCH_CONTEXT`, else of the current kubeconfig.
    pub async fn connect() -> Result<Self> {
        // The first caller installs it, and all install the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let context = std::env::var("SHOALWATCH_CONTEXT")
            .ok()
            .filter(|context| !context.is_empty());
        let options = KubeConfigOptions {
            context: context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_kubeconfig(&options)
            .await
            .context("no cluster: start one with `make cluster`")?;
        Ok(Self {
            client: Client::try_from(config)?,
            context,
        })
    }

    /// Runs kubectl and gives its output.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with(arguments, "").await
    }

    /// Runs kubectl with `input` on its standard input.
    pub async fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new("kubectl");
        command.args(self.context.iter().flat_map(|context| ["--context", context]));
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("kubectl is not there: run through `make`")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        bail!(
            "kubectl {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )
    }

    /// Applies a kustomize folder, with the images of this run.
    pub async fn apply_folder(&self, folder: &Path) -> Result<()> {
        let path = folder.to_str().context("the folder's name is not UTF-8")?;
        let rendered = self.kubectl(&["kustomize", path]).await?;
        self.apply(&rendered).await
    }

    /// Applies YAML by client-side apply, with the images of this run.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.kubectl_with(&["apply", "-f", "-"], &with_images(yaml))
            .await
            .map(drop)
    }

    /// Applies YAML by server-side apply, without force.
    pub async fn apply_server_side(&self, yaml: &str, manager: &str) -> Result<()> {
        let manager = format!("--field-manager={manager}");
        self.kubectl_with(&["apply", "--server-side", &manager, "-f", "-"], &with_images(yaml))
            .await
            .map(drop)
    }

    /// Makes a namespace for one test; gone with [`delete_namespace`](Self::delete_namespace).
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        self.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}"
        ))
        .await
    }

    /// Deletes a namespace without waiting for its end.
    pub async fn delete_namespace(&self, name: &str) -> Result<()> {
        self.kubectl(&["delete", "namespace", name, "--ignore-not-found", "--wait=false"])
            .await
            .map(drop)
    }

    /// GET of any path of the API server.
    pub async fn raw(&self, path: &str) -> Result<String> {
        let request = http::Request::get(path).body(Vec::new())?;
        self.client
            .request_text(request)
            .await
            .with_context(|| format!("GET {path}"))
    }

    /// What a pod's HTTP port answers.
    pub async fn pod_http(&self, namespace: &str, pod: &str, port: u16, path: &str) -> Result<String> {
        self.raw(&format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}"))
            .await
    }

    /// The pods that a label selector selects.
    pub async fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        Ok(pods.list(&ListParams::default().labels(selector)).await?.items)
    }

    /// The name of the one running and ready pod that a label selector selects.
    pub async fn ready_pod(&self, namespace: &str, selector: &str) -> Result<String> {
        let ready = self.pods(namespace, selector).await?.into_iter().find(is_ready);
        ready
            .and_then(|pod| pod.metadata.name)
            .with_context(|| format!("no ready pod {selector} in {namespace}"))
    }

    /// A pod's log.
    pub async fn log(&self, namespace: &str, pod: &str) -> Result<String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        Ok(pods.logs(pod, &LogParams::default()).await?)
    }
}

fn with_images(yaml: &str) -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(registry) = set("SHOALWATCH_IMAGES") else {
        return yaml.to_owned();
    };
    let tag = set("SHOALWATCH_TAG").unwrap_or_else(|| "dev".to_owned());
    let line = |line: &str| match line
        .split_once(IMAGES)
        .and_then(|(before, image)| Some((before, image.split_once(':')?)))
    {
        Some((before, (name, _))) => format!("{before}{registry}/{name}:{tag}\n"),
        None => format!("{line}\n"),
    };
    yaml.lines().map(line).collect()
}

/// Whether a pod is ready and not on its way out.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

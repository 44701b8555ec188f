//! Writes an SLO's rules for Prometheus: an object of its own, which the SLO owns, so that it goes with it.
//!
//! It is written by server-side apply, without force: a field that somebody else has taken stays theirs, and the SLO says whose
//! it is. An object of that name that the SLO does not own is never touched.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::{GroupVersionKind, Resource};
use serde_json::{Value, json};
use shoalwatch_core::rules::{RuleFile, Subject};
use shoalwatch_crds::slo::{RulesKind, WrittenRules};
use shoalwatch_crds::{Slo, names};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::retry;
use crate::rollback::access::SERVICE_ACCOUNT;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);
/// Longest name of an object.
const NAME: usize = 253;

/// An object with rules, as it should be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    kind: RulesKind,
    namespace: String,
    name: String,
    slo: String,
    uid: String,
    labels: BTreeMap<String, String>,
    file: RuleFile,
}

/// Why rules are not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The cluster does not know the kind.
    #[error(
        "the cluster has no PrometheusRule: install the Prometheus Operator, or write rules.configMap instead of rules.prometheusRule"
    )]
    NoPrometheusOperator,
    /// The right is missing.
    #[error(
        "the operator may not write a {} in namespace {namespace}: kubectl create rolebinding {role} -n {namespace} \
         --clusterrole={role} --serviceaccount={home}:{SERVICE_ACCOUNT}", kind.as_str(), role = role(*kind)
    )]
    Forbidden {
        kind: RulesKind,
        namespace: String,
        home: String,
    },
    /// Somebody else's object has the name.
    #[error("{} {name} is there already, and this SLO does not own it: delete or rename it", kind.as_str())]
    NotOwned { kind: RulesKind, name: String },
    /// Somebody else has taken fields.
    #[error("somebody else writes fields of {} {name}, and keeps them until that ends: {who}", kind.as_str())]
    Conflict { kind: RulesKind, name: String, who: String },
    /// The API server did not do it.
    #[error("the API server did not take {} {name} ({}): {told}", kind.as_str(), retry::category(source))]
    Request {
        kind: RulesKind,
        name: String,
        told: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// It did not answer.
    #[error("the API server did not answer within {} s; tried again", REQUEST.as_secs())]
    Timeout,
    /// The rules could not be written as YAML.
    #[error("the rules cannot be written as YAML; write rules.prometheusRule instead")]
    Yaml(#[source] serde_saphyr::ser::Error),
}

impl Refusal {
    /// The reason of `RulesRendered=False`.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoPrometheusOperator => "NoPrometheusOperator",
            Self::Forbidden { .. } => "Forbidden",
            Self::NotOwned { .. } => "NotOwned",
            Self::Conflict { .. } => "Conflict",
            Self::Request { .. } | Self::Timeout => "NotWritten",
            Self::Yaml(_) => "Unwritable",
        }
    }

    /// For [`retry::Backoff`]: what somebody has to mend is looked at seldom.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::NoPrometheusOperator => "not_found",
            Self::Forbidden { .. } => "forbidden",
            // Of an SLO that was made again, the predecessor's rules are about to go.
            Self::NotOwned { .. } => "not_owned",
            Self::Conflict { .. } | Self::Yaml(_) => "invalid",
            Self::Request { source, .. } => retry::category(source),
            Self::Timeout => "timeout",
        }
    }
}

/// The `ClusterRole` that a `RoleBinding` must name, as the manifests install it.
const fn role(kind: RulesKind) -> &'static str {
    match kind {
        RulesKind::PrometheusRule => "shoalwatch-prometheus-rules",
        RulesKind::ConfigMap => "shoalwatch-config-map-rules",
    }
}

impl Wanted {
    pub(crate) fn new(
        kind: RulesKind,
        subject: &Subject<'_>,
        labels: &BTreeMap<String, String>,
        file: RuleFile,
        uid: &str,
    ) -> Self {
        Self {
            kind,
            namespace: subject.namespace.to_owned(),
            name: fitting(format!("slo-{}", subject.slo)),
            slo: subject.slo.to_owned(),
            uid: uid.to_owned(),
            labels: labels.clone(),
            file,
        }
    }

    /// Whether it is this object.
    pub(crate) fn is(&self, written: &WrittenRules) -> bool {
        self.kind == written.kind && self.name == written.name
    }

    pub(crate) fn written(&self) -> WrittenRules {
        WrittenRules {
            kind: self.kind,
            name: self.name.clone(),
        }
    }

    fn body(&self) -> Result<Value, Refusal> {
        let resource = resource(self.kind);
        let mut body = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": self.labels,
                "ownerReferences": [{
                    "apiVersion": Slo::api_version(&()), "kind": Slo::kind(&()), "name": self.slo, "uid": self.uid,
                    "controller": true,
                }],
            },
        });
        match self.kind {
            RulesKind::PrometheusRule => body["spec"] = json!(self.file),
            RulesKind::ConfigMap => {
                let text = serde_saphyr::to_string(&self.file).map_err(Refusal::Yaml)?;
                // Of all namespaces in one folder, as sidecars that gather them lay them down.
                let key = fitting(format!("{}.{}.rules.yaml", self.namespace, self.slo));
                body["data"] = json!({ key: text });
            }
        }
        Ok(body)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: usize = self.file.groups.iter().map(|group| group.rules.len()).sum();
        write!(formatter, "{} {} has {rules} rules", self.kind.as_str(), self.name)
    }
}

/// A name that is too long ends in a hash of the whole.
fn fitting(name: String) -> String {
    use sha2::Digest;
    if name.len() <= NAME {
        return name;
    }
    let hash: [u8; 32] = sha2::Sha256::digest(name.as_bytes()).into();
    let hash = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    let kept: String = name.chars().take(NAME - 9).collect();
    format!("{}-{hash:08x}", kept.trim_end_matches(['-', '.']))
}

fn resource(kind: RulesKind) -> ApiResource {
    match kind {
        RulesKind::PrometheusRule => {
            let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", kind.as_str());
            ApiResource::from_gvk_with_plural(&kind, "prometheusrules")
        }
        RulesKind::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
    }
}

/// Where rules are written.
#[derive(Clone)]
pub(crate) struct Pen<'a> {
    pub(crate) client: &'a Client,
    /// The operator's own namespace.
    pub(crate) home: &'a str,
}

impl Pen<'_> {
    /// Makes the object what it should be.
    pub(crate) async fn write(&self, wanted: &Wanted) -> Result<(), Refusal> {
        let (written, namespace) = (wanted.written(), wanted.namespace.as_str());
        let body = wanted.body()?;
        if let Some(there) = self.find(&written, namespace).await?
            && !is_owned(&there, &wanted.uid)
        {
            return Err(Refusal::NotOwned {
                kind: written.kind,
                name: written.name,
            });
        }
        let (api, params) = (self.api(&written, namespace), PatchParams::apply(names::FIELD_MANAGER));
        let patch = Patch::Apply(&body);
        let patched = timeout(REQUEST, api.patch(&written.name, &params, &patch)).await;
        match self.told(&written, namespace, patched) {
            // It was looked for before: what is not found is the kind.
            Err(Refusal::Request { source, .. })
                if written.kind == RulesKind::PrometheusRule && retry::category(&source) == "not_found" =>
            {
                Err(Refusal::NoPrometheusOperator)
            }
            other => other.map(|_stored| ()),
        }
    }

    /// Removes an object that is not wanted any more, if the SLO owns it.
    pub(crate) async fn remove(&self, obsolete: &WrittenRules, namespace: &str, owner: &str) -> Result<(), Refusal> {
        let Some(there) = self
            .find(obsolete, namespace)
            .await?
            .filter(|there| is_owned(there, owner))
        else {
            return Ok(());
        };
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: there.metadata.uid,
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let deleted = timeout(REQUEST, self.api(obsolete, namespace).delete(&obsolete.name, &params)).await;
        self.told(obsolete, namespace, deleted)?;
        info!(namespace, name = obsolete.name, "rules removed");
        Ok(())
    }

    async fn find(&self, written: &WrittenRules, namespace: &str) -> Result<Option<DynamicObject>, Refusal> {
        let found = timeout(REQUEST, self.api(written, namespace).get_opt(&written.name)).await;
        self.told(written, namespace, found)
    }

    fn api(&self, written: &WrittenRules, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource(written.kind))
    }

    fn told<T>(
        &self,
        written: &WrittenRules,
        namespace: &str,
        answer: Result<Result<T, kube::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, Refusal> {
        let WrittenRules { kind, name } = written.clone();
        let Ok(answer) = answer else {
            return Err(Refusal::Timeout);
        };
        answer.map_err(|error| {
            warn!(%error, namespace, name, "rules not written");
            let told = match &error {
                kube::Error::Api(status) => status.message.clone(),
                _ => "no answer".to_owned(),
            };
            match retry::category(&error) {
                "forbidden" => Refusal::Forbidden {
                    kind,
                    namespace: namespace.to_owned(),
                    home: self.home.to_owned(),
                },
                "conflict" => Refusal::Conflict { kind, name, who: told },
                _ => Refusal::Request {
                    kind,
                    name,
                    told,
                    source: Box::new(error),
                },
            }
        })
    }
}

fn is_owned(object: &DynamicObject, owner: &str) -> bool {
    let mut owners = object.metadata.owner_references.iter().flatten();
    owners.any(|each| each.uid == owner)
}

#[cfg(test)]
mod tests;

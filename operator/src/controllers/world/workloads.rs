//! Views of Deployments, `ReplicaSets` and the workers' DaemonSet.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::Value;
use shoalwatch_core::release::{Crashing, GitOps};
use shoalwatch_core::rollback::RollbackRecord;
use shoalwatch_core::{Millis, ReleaseId, Revision};
use shoalwatch_crds::names;

use super::Readiness;
use crate::rollback::{TEMPLATE_HASH_LABEL, deployment, gitops, release_id};

/// The API server's default of `spec.revisionHistoryLimit`.
const DEFAULT_HISTORY: u32 = 10;

/// How long it is believed that pods crash; they are looked at more often.
const BELIEVED: Duration = Duration::from_secs(20);

/// A Deployment, as far as decisions need it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field of the object, not a state"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeploymentView {
    /// `metadata.uid`.
    pub(crate) uid: String,
    /// `metadata.resourceVersion`.
    pub(crate) resource_version: String,
    /// `spec.paused`.
    pub(crate) paused: bool,
    /// `metadata.deletionTimestamp` is set.
    pub(crate) deleting: bool,
    /// `spec.replicas`.
    pub(crate) replicas: u32,
    /// `spec.revisionHistoryLimit`.
    pub(crate) revision_history_limit: u32,
    /// The release of its template.
    pub(crate) release: ReleaseId,
    /// The proof of the last act.
    pub(crate) record: Option<RollbackRecord>,
    /// `shoalwatch.dev/accept`.
    pub(crate) accept: Option<String>,
    /// The template says `shoalwatch.dev/rollback: never`.
    pub(crate) never: bool,
    /// Who wrote the template last.
    pub(crate) writer: Option<String>,
    /// The operator still manages fields that an act took.
    pub(crate) owes_fields: bool,
    /// No progress within its deadline, said of the current template.
    pub(crate) stalled: bool,
    /// What applies it from Git.
    pub(crate) gitops: Option<GitOps>,
}

impl DeploymentView {
    /// The view of an object, unless the known one is newer: an answer to a request may overtake the watch.
    pub(super) fn newer(known: Option<&Self>, object: &DynamicObject) -> Self {
        let fresh = Self::of(object);
        match known {
            Some(known) if known.uid == fresh.uid && is_older(&fresh.resource_version, &known.resource_version) => {
                known.clone()
            }
            _ => fresh,
        }
    }

    fn of(object: &DynamicObject) -> Self {
        let spec = object.data.get("spec").unwrap_or(&Value::Null);
        let template = spec.get("template").unwrap_or(&Value::Null);
        let note = |name: &str| object.annotations().get(name).cloned();
        let never = template
            .pointer("/metadata/annotations")
            .and_then(|notes| notes.get(names::ROLLBACK_ANNOTATION))
            .and_then(Value::as_str);
        Self {
            uid: object.uid().unwrap_or_default(),
            resource_version: object.resource_version().unwrap_or_default(),
            paused: spec.get("paused").and_then(Value::as_bool).unwrap_or(false),
            deleting: object.metadata.deletion_timestamp.is_some(),
            replicas: number(spec.get("replicas")).unwrap_or(1),
            revision_history_limit: number(spec.get("revisionHistoryLimit")).unwrap_or(DEFAULT_HISTORY),
            release: release_id(template),
            record: deployment::record(object),
            accept: note(names::ACCEPT_ANNOTATION),
            never: never == Some(names::ROLLBACK_NEVER),
            writer: writer(object.managed_fields()),
            owes_fields: deployment::owes_fields(object.managed_fields()),
            stalled: is_stalled(object),
            gitops: gitops::owner(object),
        }
    }
}

/// Whether the Deployment controller says that the current template's rollout makes no progress. What it says of an earlier
/// template stands until `observedGeneration` has caught up.
fn is_stalled(object: &DynamicObject) -> bool {
    let seen = object
        .data
        .pointer("/status/observedGeneration")
        .and_then(Value::as_i64);
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let says = |condition: &Value| {
        let member = |name: &str| condition.get(name).and_then(Value::as_str);
        member("type") == Some("Progressing")
            && member("status") == Some("False")
            && member("reason") == Some("ProgressDeadlineExceeded")
    };
    seen.is_some_and(|seen| seen >= object.metadata.generation.unwrap_or_default())
        && conditions.into_iter().flatten().any(says)
}

/// Resource versions of one object are compared as numbers where they are numbers, as they are in etcd.
fn is_older(one: &str, other: &str) -> bool {
    let number = |version: &str| version.parse::<u128>().ok();
    matches!((number(one), number(other)), (Some(one), Some(other)) if one < other)
}

/// The manager, other than the operator, that wrote a field of the template last.
fn writer(managed: &[ManagedFieldsEntry]) -> Option<String> {
    let wrote = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref();
        entry.manager.as_deref() != Some(names::FIELD_MANAGER)
            && fields.is_some_and(|fields| fields.0.pointer("/f:spec/f:template").is_some())
    };
    let last = managed
        .iter()
        .filter(wrote)
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
    last.and_then(|entry| entry.manager.clone())
}

/// A `ReplicaSet`, as far as decisions need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaSetView {
    /// The uid of its Deployment.
    pub(crate) owner: String,
    /// Its `pod-template-hash`.
    pub(crate) revision: Revision,
    /// The release of its template.
    pub(crate) release: ReleaseId,
    /// `metadata.creationTimestamp`.
    pub(crate) created: Millis,
    /// Its ready pods.
    pub(crate) readiness: Readiness,
    /// It has pods that are not ready.
    pub(crate) waits: bool,
    /// Its pods that crash, and when that was seen.
    pub(crate) crashing: Option<(Millis, Crashing)>,
}

impl ReplicaSetView {
    /// The view of an object, following on the one before. `listed`: the object was found by a list. `None`: it belongs to no
    /// Deployment.
    pub(super) fn followed(known: Option<&Self>, object: &DynamicObject, listed: bool, now: Millis) -> Option<Self> {
        let owner = object
            .owner_references()
            .iter()
            .find(|owner| owner.controller == Some(true));
        let owner = owner.filter(|owner| owner.kind == "Deployment")?.uid.clone();
        let revision = object.labels().get(TEMPLATE_HASH_LABEL)?.as_str().into();
        let ready = number(object.data.pointer("/status/readyReplicas")).unwrap_or(0);
        let pods = number(object.data.pointer("/status/replicas")).unwrap_or(0);
        let readiness = match known {
            Some(known) => known.readiness.clone().with(ready, now),
            None if listed => Readiness::found(ready),
            None => Readiness::default().with(ready, now),
        };
        let created = object.creation_timestamp();
        // A template never changes after its set was made.
        let release = known.map(|known| known.release.clone());
        Some(Self {
            owner,
            revision,
            release: release
                .unwrap_or_else(|| release_id(object.data.pointer("/spec/template").unwrap_or(&Value::Null))),
            created: Millis(created.map_or(0, |time| time.0.as_millisecond())),
            readiness,
            waits: pods > ready,
            crashing: known.and_then(|known| known.crashing).filter(|_| pods > ready),
        })
    }

    /// Its pods that crash, as far as that was seen lately.
    pub(crate) fn crashing(&self, now: Millis) -> Option<Crashing> {
        let (at, found) = self.crashing?;
        (now.since(at) < BELIEVED).then_some(found)
    }
}

/// `status.desiredNumberScheduled` of a DaemonSet.
pub(super) fn desired_pods(object: &DynamicObject) -> Option<u32> {
    number(object.data.pointer("/status/desiredNumberScheduled"))
}

fn number(value: Option<&Value>) -> Option<u32> {
    value
        .and_then(Value::as_u64)
        .and_then(|number| u32::try_from(number).ok())
}

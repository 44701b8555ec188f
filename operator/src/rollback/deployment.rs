//! Undoes a release of a Deployment.
//!
//! As `kubectl rollout undo` does it: the good `ReplicaSet`'s template becomes the Deployment's, in one JSON patch that holds
//! only under the resourceVersion the decision was made on. The annotation `shoalwatch.dev/rollback` in the same patch is the
//! proof of the act. Two differences: the release to return to is named, never "the one before", which would go back and
//! forth; and `managedFields` is left as it was found (see [`super::ownership`]).
//!
//! Templates travel as the JSON that the API server sent, so a field that this program does not know survives.
//!
//! What a client-side apply had removed from the template and the good release still has stays in place after the next
//! client-side apply, because that compares with its own last manifest only. Server-side apply removes it.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{Resource, ResourceExt};
use serde_json::{Value, json};
use shoalwatch_core::rollback::{self, PatchOutcome, RollbackRecord};
use shoalwatch_crds::names;
use tokio::time::timeout;

use super::access;
use super::ownership::given_back;
use super::release::{TEMPLATE_HASH_LABEL, release_id, without_hash_label};

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);
/// How often the managers' fields are computed anew when somebody writes at the same time.
const GIVE_BACK_ATTEMPTS: usize = 8;

/// A Deployment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What became of an act.
#[derive(Clone, Debug)]
pub struct Undone {
    /// For the machine.
    pub outcome: PatchOutcome,
    /// After an act: the target as it is now, and its managers as they were found.
    pub after: Option<Box<(DynamicObject, Vec<ManagedFieldsEntry>)>>,
}

/// Why a request did not bring what it should.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The API server said no, or could not be reached.
    #[error("the API server refused a request about a Deployment")]
    Api(#[source] kube::Error),
    /// It did not answer.
    #[error("the API server did not answer within 5 s")]
    Timeout,
    /// The patch could not be written.
    #[error("the patch is no JSON patch")]
    Patch(#[source] serde_json::Error),
}

impl RequestError {
    /// A bounded word for metrics.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Api(error) => crate::retry::category(error),
            Self::Timeout => "timeout",
            Self::Patch(_) => "patch",
        }
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Api(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Api(kube::Error::Api(status)) => status.message.clone(),
            Self::Api(error) => error.to_string(),
            other => other.to_string(),
        }
    }
}

/// Undoes a release: reads target and `ReplicaSet` afresh, checks that they are what was judged, patches once.
pub async fn undo(client: &Client, target: &Target, patch: &rollback::Patch) -> Undone {
    match try_undo(client, target, patch).await {
        Ok(after) => after.map_or_else(|| failed(PatchOutcome::Conflict), |after| applied(*after)),
        Err(error) => failed(refused(client, target, patch, error).await),
    }
}

fn applied(after: (DynamicObject, Vec<ManagedFieldsEntry>)) -> Undone {
    Undone {
        outcome: PatchOutcome::Applied,
        after: Some(Box::new(after)),
    }
}

fn failed(outcome: PatchOutcome) -> Undone {
    Undone { outcome, after: None }
}

type After = Option<Box<(DynamicObject, Vec<ManagedFieldsEntry>)>>;

/// `None`: the target is not what was judged.
async fn try_undo(client: &Client, target: &Target, patch: &rollback::Patch) -> Result<After, RequestError> {
    let found = get(client, target).await?;
    let template = good_template(client, target, patch).await?;
    let Some(template) = template.filter(|_| is_as_judged(&found, patch)) else {
        return Ok(None);
    };
    let operations = undo_patch(&found, &template, &patch.record).map_err(RequestError::Patch)?;
    let after = send(client, target, operations).await?;
    Ok(Some(Box::new((
        after,
        found.metadata.managed_fields.unwrap_or_default(),
    ))))
}

fn is_as_judged(found: &DynamicObject, patch: &rollback::Patch) -> bool {
    let meta = found.meta();
    let paused = found
        .data
        .pointer("/spec/paused")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let release = found.data.pointer("/spec/template").map(release_id);
    meta.uid.as_deref() == Some(&patch.target_uid)
        && meta.resource_version.as_deref() == Some(&patch.resource_version)
        && meta.deletion_timestamp.is_none()
        && !paused
        && release.as_ref() == Some(&patch.from)
}

/// The template to return to, as the Deployment had it.
async fn good_template(
    client: &Client,
    target: &Target,
    patch: &rollback::Patch,
) -> Result<Option<Value>, RequestError> {
    let api: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        &target.namespace,
        &ApiResource::erase::<ReplicaSet>(&()),
    );
    let selector = ListParams::default().labels(&format!("{TEMPLATE_HASH_LABEL}={}", patch.to_revision));
    let sets = within(api.list(&selector)).await?;
    let owned = |set: &&DynamicObject| set.owner_references().iter().any(|owner| owner.uid == patch.target_uid);
    let template = sets
        .items
        .iter()
        .find(owned)
        .and_then(|set| set.data.pointer("/spec/template").cloned());
    Ok(template
        .map(without_hash_label)
        .filter(|template| release_id(template) == patch.record.to))
}

/// The one patch of an act.
fn undo_patch(found: &DynamicObject, template: &Value, record: &RollbackRecord) -> Result<Value, serde_json::Error> {
    let proof = serde_json::to_string(record)?;
    let annotate = if found.metadata.annotations.is_some() {
        json!({"op": "add", "path": annotation_path(), "value": proof})
    } else {
        json!({"op": "add", "path": "/metadata/annotations", "value": {names::ROLLBACK_ANNOTATION: proof}})
    };
    Ok(json!([
        precondition(found),
        {"op": "replace", "path": "/spec/template", "value": template},
        annotate,
    ]))
}

fn annotation_path() -> String {
    format!(
        "/metadata/annotations/{}",
        names::ROLLBACK_ANNOTATION.replace('~', "~0").replace('/', "~1")
    )
}

fn precondition(found: &DynamicObject) -> Value {
    json!({"op": "test", "path": "/metadata/resourceVersion", "value": found.metadata.resource_version})
}

/// What a failed request means. A refused patch is looked into: the API server answers a failed `test` as it answers an
/// invalid template, and a webhook as it answers a missing right.
async fn refused(client: &Client, target: &Target, patch: &rollback::Patch, error: RequestError) -> PatchOutcome {
    match error.code() {
        Some(404) => PatchOutcome::NotFound,
        Some(409) => arrived(client, target, patch).await.unwrap_or(PatchOutcome::Conflict),
        Some(403) => match access::may_patch(client.clone(), &target.namespace).await {
            Ok(true) => PatchOutcome::Rejected(error.sentence()),
            _ => PatchOutcome::Forbidden(error.sentence()),
        },
        Some(400 | 422) => arrived(client, target, patch)
            .await
            .unwrap_or_else(|| PatchOutcome::Rejected(error.sentence())),
        _ => PatchOutcome::Unknown(error.sentence()),
    }
}

/// Whether the target moved on: by this very act (whose first answer got lost), or otherwise; `None` if it did not.
async fn arrived(client: &Client, target: &Target, patch: &rollback::Patch) -> Option<PatchOutcome> {
    let now = get(client, target).await.ok()?;
    if record(&now).as_ref() == Some(&patch.record) {
        return Some(PatchOutcome::Applied);
    }
    let moved = now.metadata.resource_version.as_deref() != Some(&patch.resource_version);
    moved.then_some(PatchOutcome::Conflict)
}

/// What to change in Git so that a release stays undone: see [`remedy`](super::remedy). `None`: the target or the good set is
/// not what was asked about any more.
pub async fn remedy(client: &Client, target: &Target, patch: &rollback::Patch) -> Result<Option<String>, RequestError> {
    let found = get(client, target).await?;
    let bad = found.data.pointer("/spec/template");
    let Some(bad) = bad.filter(|template| release_id(template) == patch.from) else {
        return Ok(None);
    };
    let good = good_template(client, target, patch).await?;
    Ok(good.map(|good| super::remedy::lines(bad, &good)))
}

/// The proof of the last act on a target, if there is one that can be read.
#[must_use]
pub fn record(target: &DynamicObject) -> Option<RollbackRecord> {
    let text = target.annotations().get(names::ROLLBACK_ANNOTATION)?;
    serde_json::from_str(text).ok()
}

/// Whether the operator is the manager of more than its annotation.
#[must_use]
pub fn owes_fields(managed: &[ManagedFieldsEntry]) -> bool {
    given_back(None, managed).is_some()
}

/// Gives the fields that the act took back to their managers; `before` as found before the act, if that is known. Computed
/// anew when somebody else writes at the same time, a few times. Says whether it is done.
pub async fn give_back(
    client: &Client,
    target: &Target,
    before: Option<&[ManagedFieldsEntry]>,
) -> Result<bool, RequestError> {
    for _ in 0..GIVE_BACK_ATTEMPTS {
        let found = get(client, target).await?;
        let Some(entries) = given_back(before, found.managed_fields()) else {
            return Ok(true);
        };
        let operations = json!([
            precondition(&found),
            {"op": "replace", "path": "/metadata/managedFields", "value": entries},
        ]);
        match send(client, target, operations).await {
            Ok(_) => return Ok(true),
            // The Deployment controller writes right after every change of the template.
            Err(error) if matches!(error.code(), Some(409 | 422)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// The target as it is, not as a cache has it.
pub async fn get(client: &Client, target: &Target) -> Result<DynamicObject, RequestError> {
    within(deployments(client, target).get(&target.name)).await
}

async fn send(client: &Client, target: &Target, operations: Value) -> Result<DynamicObject, RequestError> {
    let patch: Patch<()> = Patch::Json(serde_json::from_value(operations).map_err(RequestError::Patch)?);
    let params = PatchParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    within(deployments(client, target).patch(&target.name, &params, &patch)).await
}

fn deployments(client: &Client, target: &Target) -> Api<DynamicObject> {
    Api::namespaced_with(
        client.clone(),
        &target.namespace,
        &ApiResource::erase::<Deployment>(&()),
    )
}

async fn within<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, RequestError> {
    timeout(REQUEST, request)
        .await
        .map_err(|_elapsed| RequestError::Timeout)?
        .map_err(RequestError::Api)
}

#[cfg(test)]
mod tests;

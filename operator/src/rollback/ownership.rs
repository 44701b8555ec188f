//! Leaves `metadata.managedFields` as it was found.
//!
//! Replacing the template makes the operator the manager of every field that changed, and takes these fields from whoever
//! applied them. The next release by server-side apply would then run into a conflict with the operator. So after the act each
//! field goes back:
//!
//! 1. to the managers that had it before the act,
//! 2. a field of the template that nobody had (it is in the good release only) to the manager that applies the template, so
//!    that its next apply without the field removes it,
//! 3. else to nobody. The operator keeps its annotation and nothing else.
//!
//! Without knowledge of the state before (the operator was killed between the two patches), rule 2 gives every field of the
//! template to the one who applies it, which is right wherever a single manager does.
//!
//! Entries keep their times. What others did meanwhile stays theirs: only fields that the operator owns now are given away.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use shoalwatch_crds::names;

use super::field_set::FieldSet;

const UPDATE: &str = "Update";
const APPLY: &str = "Apply";

/// What `metadata.managedFields` should be instead of `now`; `None` where nothing is to be given back. `before`: as found
/// before the act.
pub(super) fn given_back(
    before: Option<&[ManagedFieldsEntry]>,
    now: &[ManagedFieldsEntry],
) -> Option<Vec<ManagedFieldsEntry>> {
    let (ours, mut entries): (Vec<_>, Vec<_>) = now.iter().cloned().partition(is_ours);
    let owned = ours
        .iter()
        .fold(FieldSet::default(), |sum, entry| sum.union(&fields(entry)));
    let kept = owned.filtered(is_annotation);
    let mut taken = owned.difference(&kept);
    if taken.is_empty() {
        return None;
    }
    for entry in before.unwrap_or_default().iter().filter(|entry| !is_ours(entry)) {
        give(&mut entries, entry, &fields(entry).intersection(&taken));
    }
    for entry in before.unwrap_or_default() {
        taken = taken.difference(&fields(entry));
    }
    if let Some(applier) = applier(before.unwrap_or(now)).or_else(|| applier(now)) {
        give(&mut entries, &applier, &taken.filtered(is_template));
    }
    if let Some(mut own) = ours.into_iter().next().filter(|_| !kept.is_empty()) {
        own.fields_v1 = Some(FieldsV1(kept.render()));
        entries.push(own);
    }
    Some(entries)
}

/// Adds fields to the entry of the same manager, or to a copy of `owner` where it lost its last field.
fn give(entries: &mut Vec<ManagedFieldsEntry>, owner: &ManagedFieldsEntry, more: &FieldSet) {
    if more.is_empty() {
        return;
    }
    if let Some(entry) = entries.iter_mut().find(|entry| same_manager(entry, owner)) {
        entry.fields_v1 = Some(FieldsV1(fields(entry).union(more).render()));
        return;
    }
    entries.push(ManagedFieldsEntry {
        fields_v1: Some(FieldsV1(more.render())),
        ..owner.clone()
    });
}

/// The manager that applies most of the template by server-side apply.
fn applier(entries: &[ManagedFieldsEntry]) -> Option<ManagedFieldsEntry> {
    let appliers = entries.iter().filter(|entry| entry.operation.as_deref() == Some(APPLY));
    let weighed = appliers.map(|entry| (fields(entry).filtered(is_template).len(), entry));
    weighed
        .filter(|(owned, _)| *owned > 0)
        .max_by_key(|(owned, _)| *owned)
        .map(|(_, entry)| entry.clone())
}

fn fields(entry: &ManagedFieldsEntry) -> FieldSet {
    entry
        .fields_v1
        .as_ref()
        .map(|fields| FieldSet::parse(&fields.0))
        .unwrap_or_default()
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(names::FIELD_MANAGER)
        && entry.operation.as_deref() == Some(UPDATE)
        && entry.subresource.as_deref().unwrap_or_default().is_empty()
}

fn same_manager(one: &ManagedFieldsEntry, other: &ManagedFieldsEntry) -> bool {
    (&one.manager, &one.operation, &one.api_version, &one.subresource)
        == (&other.manager, &other.operation, &other.api_version, &other.subresource)
}

fn is_template(path: &[String]) -> bool {
    matches!(path, [spec, template, ..] if spec == "f:spec" && template == "f:template")
}

fn is_annotation(path: &[String]) -> bool {
    let [metadata, annotations, rest @ ..] = path else {
        return false;
    };
    let ours = |name: &String| name.strip_prefix("f:") == Some(names::ROLLBACK_ANNOTATION);
    metadata == "f:metadata" && annotations == "f:annotations" && rest.first().is_none_or(ours)
}

#[cfg(test)]
mod tests;

//! Which release a pod template is.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use shoalwatch_core::ReleaseId;

/// The label by which a Deployment tells its `ReplicaSets` apart.
pub const TEMPLATE_HASH_LABEL: &str = "pod-template-hash";
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Hex digits of an id: 40 bits among the at most 16 releases that are remembered.
const DIGITS: usize = 10;

/// The id of the release that this pod template is: a hash of it without the label that the Deployment controller adds to a
/// `ReplicaSet` and without the annotation of `kubectl rollout restart`. So a Deployment and its `ReplicaSet` agree, and a
/// restart is no new release.
#[must_use]
pub fn release_id(template: &Value) -> ReleaseId {
    let mut template = template.clone();
    forget(&mut template, "labels", TEMPLATE_HASH_LABEL);
    forget(&mut template, "annotations", RESTARTED_AT);
    if let Some(metadata) = metadata(&mut template) {
        // Older servers write it, newer ones leave it out.
        metadata.remove("creationTimestamp");
    }
    let mut hasher = Sha256::new();
    hash(&template, &mut hasher);
    let digest = hasher.finalize();
    let nibbles = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(DIGITS);
    let hex: String = nibbles
        .filter_map(|nibble| char::from_digit(nibble.into(), 16))
        .collect();
    ReleaseId::new(hex)
}

/// The template of a `ReplicaSet` as its Deployment had it: without the label that its controller added.
#[must_use]
pub(super) fn without_hash_label(mut template: Value) -> Value {
    forget(&mut template, "labels", TEMPLATE_HASH_LABEL);
    template
}

fn metadata(template: &mut Value) -> Option<&mut Map<String, Value>> {
    template.get_mut("metadata")?.as_object_mut()
}

/// Drops one entry of a map in the template's metadata, and the map with its last entry.
fn forget(template: &mut Value, map: &str, key: &str) {
    let Some(metadata) = metadata(template) else { return };
    let Some(entries) = metadata.get_mut(map).and_then(Value::as_object_mut) else {
        return;
    };
    entries.remove(key);
    if entries.is_empty() {
        metadata.remove(map);
    }
}

/// Feeds JSON in an order that does not depend on how its maps are kept. Every value is delimited, so no two share a text.
fn hash(value: &Value, hasher: &mut Sha256) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            hasher.update(b"{");
            for (key, value) in members {
                hasher.update(Value::from(key.as_str()).to_string());
                hash(value, hasher);
            }
            hasher.update(b"}");
        }
        Value::Array(items) => {
            hasher.update(b"[");
            for item in items {
                hash(item, hasher);
                hasher.update(b",");
            }
            hasher.update(b"]");
        }
        scalar => hasher.update(scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template() -> Value {
        json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "app", "image": "shop:1"}]}})
    }

    #[test]
    fn a_replica_set_and_a_restart_are_the_same_release() {
        let release = release_id(&template());
        let mut of_set = template();
        of_set["metadata"]["labels"][TEMPLATE_HASH_LABEL] = json!("6c9f7");
        of_set["metadata"]["creationTimestamp"] = json!(null);
        assert_eq!(release_id(&of_set), release);
        let mut restarted = template();
        restarted["metadata"]["annotations"] = json!({RESTARTED_AT: "2026-11-22T04:00:00Z"});
        assert_eq!(release_id(&restarted), release);
    }

    #[test]
    fn everything_else_is_another_release() {
        let release = release_id(&template());
        let mut image = template();
        image["spec"]["containers"][0]["image"] = json!("shop:2");
        let mut note = template();
        note["metadata"]["annotations"] = json!({"shoalwatch.dev/rollback": "never"});
        assert_ne!(release_id(&image), release);
        assert_ne!(release_id(&note), release);
    }

    #[test]
    fn the_order_of_members_does_not_matter_and_that_of_items_does() {
        let one: Value = serde_json::from_str(r#"{"a": 1, "b": [1, 2]}"#).unwrap();
        let same: Value = serde_json::from_str(r#"{"b": [1, 2], "a": 1}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"a": 1, "b": [2, 1]}"#).unwrap();
        assert_eq!(release_id(&one), release_id(&same));
        assert_ne!(release_id(&one), release_id(&other));
    }

    #[test]
    fn garbage_has_an_id_too() {
        for value in [json!(null), json!({"metadata": 3}), json!({"metadata": {"labels": []}})] {
            assert_eq!(release_id(&value).as_str().len(), DIGITS);
        }
    }
}

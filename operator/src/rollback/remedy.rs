//! What to change in Git so that an undone release stays undone: the difference between two pod templates, line by line.
//!
//! Values are shown where they are an image, a number or a truth value. Of everything else, such as arguments and environment,
//! only the place is named, for it may be a secret, and what is said here stands in a status and in Events.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Most lines; the rest is counted.
const MAX_LINES: usize = 6;
/// Longest line, in characters.
const MAX_LINE: usize = 160;
/// Nesting beyond which a difference is named as a whole.
const MAX_DEPTH: usize = 16;
/// Annotations and labels that nobody keeps in Git.
const NOT_IN_GIT: [&str; 2] = ["pod-template-hash", "kubectl.kubernetes.io/restartedAt"];

/// The lines, such as `spec.template.spec.containers[app].image: shop:2 -> shop:1`; at most about 1,000 characters.
#[must_use]
pub fn lines(bad: &Value, good: &Value) -> String {
    let mut found = Vec::new();
    compare("spec.template", bad, good, MAX_DEPTH, &mut found);
    // What a person looks for first.
    found.sort_by_key(|line| !line.contains(".image: "));
    let more = found.len().saturating_sub(MAX_LINES);
    found.truncate(MAX_LINES);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    found.join("; ")
}

fn compare(path: &str, bad: &Value, good: &Value, depth: usize, found: &mut Vec<String>) {
    if bad == good {
        return;
    }
    match (members(bad), members(good)) {
        (Some(bad), Some(good)) if depth > 0 => {
            let names: BTreeSet<_> = bad.keys().chain(good.keys()).collect();
            for name in names.into_iter().filter(|name| !NOT_IN_GIT.contains(&name.as_str())) {
                let of = |members: &BTreeMap<String, &Value>| {
                    members.get(name).map_or(Value::Null, |value| (*value).clone())
                };
                let path = if name.starts_with('[') {
                    format!("{path}{name}")
                } else {
                    format!("{path}.{name}")
                };
                compare(&path, &of(&bad), &of(&good), depth - 1, found);
            }
        }
        _ => found.push(line(path, bad, good)),
    }
}

/// Members of a map, or items of a list by their names where they have one, else by their place.
fn members(value: &Value) -> Option<BTreeMap<String, &Value>> {
    match value {
        Value::Object(members) => Some(members.iter().map(|(name, value)| (name.clone(), value)).collect()),
        Value::Array(items) => Some(
            items
                .iter()
                .enumerate()
                .map(|(place, item)| (called(place, item), item))
                .collect(),
        ),
        _ => None,
    }
}

fn called(place: usize, item: &Value) -> String {
    let name = item.get("name").and_then(Value::as_str);
    name.map_or_else(|| format!("[{place}]"), |name| format!("[{name}]"))
}

fn line(path: &str, bad: &Value, good: &Value) -> String {
    let line = match (bad, good) {
        (_, Value::Null) => format!("{path}: remove it"),
        (Value::Null, good) if is_shown(path, good) => format!("{path}: add {}", plain(good)),
        (Value::Null, _) => format!("{path}: add it back"),
        (bad, good) if is_shown(path, bad) && is_shown(path, good) => {
            format!("{path}: {} -> {}", plain(bad), plain(good))
        }
        _ => format!("{path}: put back the value before"),
    };
    if line.chars().count() <= MAX_LINE {
        return line;
    }
    line.chars().take(MAX_LINE - 1).chain(['…']).collect()
}

fn is_shown(path: &str, value: &Value) -> bool {
    value.is_number() || value.is_boolean() || (value.is_string() && path.rsplit('.').next() == Some("image"))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn template(image: &str) -> Value {
        json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [
            {"name": "sidecar", "image": "proxy:7"}, {"name": "app", "image": image}]}})
    }

    #[test]
    fn an_image_is_named_with_its_container_and_both_values() {
        let text = lines(&template("shop:2"), &template("shop:1"));
        assert_eq!(text, "spec.template.spec.containers[app].image: shop:2 -> shop:1");
    }

    #[test]
    fn the_image_comes_first_and_what_may_be_secret_is_only_named() {
        let (mut bad, mut good) = (template("shop:2"), template("shop:1"));
        bad["spec"]["containers"][1]["env"] =
            json!([{"name": "TOKEN", "value": "s3cret"}, {"name": "NEW", "value": "x"}]);
        good["spec"]["containers"][1]["env"] = json!([{"name": "TOKEN", "value": "hunter2"}]);
        good["spec"]["containers"][1]["ports"] = json!([{"containerPort": 8080}]);
        bad["spec"]["terminationGracePeriodSeconds"] = json!(5);
        good["spec"]["terminationGracePeriodSeconds"] = json!(30);
        let text = lines(&bad, &good);
        let expected = "spec.template.spec.containers[app].image: shop:2 -> shop:1; \
            spec.template.spec.containers[app].env[NEW]: remove it; \
            spec.template.spec.containers[app].env[TOKEN].value: put back the value before; \
            spec.template.spec.containers[app].ports: add it back; \
            spec.template.spec.terminationGracePeriodSeconds: 5 -> 30";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_nobody_keeps_in_git_is_left_out() {
        let mut bad = template("shop:2");
        bad["metadata"]["labels"]["pod-template-hash"] = json!("7d41b");
        bad["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "now", "note": "2"});
        let mut good = template("shop:2");
        good["metadata"]["annotations"] = json!({"note": "1"});
        assert_eq!(
            lines(&bad, &good),
            "spec.template.metadata.annotations.note: put back the value before"
        );
    }

    #[test]
    fn many_changes_are_cut_and_counted() {
        let env = |value: &str| {
            let env: Vec<_> = (0..40)
                .map(|n| json!({"name": format!("{n}{}", "X".repeat(300)), "value": value}))
                .collect();
            json!({"spec": {"containers": [{"name": "app", "env": env}]}})
        };
        let text = lines(&env("1"), &env("2"));
        assert!(text.ends_with("; and 34 more"), "{text}");
        assert!(text.chars().count() <= 1_024, "{}", text.len());
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[a-z]{0,6}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,4}", inner, 0..4).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn equal_templates_need_nothing_and_any_others_are_described_within_bounds(one in json_value(), other in json_value()) {
            prop_assert_eq!(lines(&one, &one), "");
            prop_assert!(lines(&one, &other).chars().count() <= 1_024);
        }
    }
}

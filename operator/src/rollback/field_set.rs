//! The fields that one manager owns, as a set: what `fieldsV1` of an entry in `metadata.managedFields` means.
//!
//! `{"f:a": {".": {}, "f:b": {}}}` is the set {a, a.b}; `{"f:a": {"f:b": {}}}` is {a.b} alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// One field: the steps to it, as `fieldsV1` spells them (`f:name`, `k:{…}`, `v:…`, `i:0`).
pub(super) type Path = Vec<String>;

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet(BTreeSet<Path>);

impl FieldSet {
    pub(super) fn parse(fields: &Value) -> Self {
        let mut set = Self::default();
        if let Value::Object(members) = fields {
            set.collect(members, &mut Vec::new());
        }
        set
    }

    fn collect(&mut self, members: &Map<String, Value>, path: &mut Path) {
        for (step, below) in members {
            if step == "." {
                self.0.insert(path.clone());
                continue;
            }
            path.push(step.clone());
            match below {
                Value::Object(below) if !below.is_empty() => self.collect(below, path),
                _ => {
                    self.0.insert(path.clone());
                }
            }
            path.pop();
        }
    }

    pub(super) fn render(&self) -> Value {
        let mut root = Node::default();
        for path in &self.0 {
            let mut node = &mut root;
            for step in path {
                node = node.below.entry(step).or_default();
            }
            node.owned = true;
        }
        root.render()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    pub(super) fn difference(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }

    pub(super) fn filtered(&self, keep: impl Fn(&[String]) -> bool) -> Self {
        Self(self.0.iter().filter(|path| keep(path)).cloned().collect())
    }
}

#[derive(Default)]
struct Node<'a> {
    owned: bool,
    below: BTreeMap<&'a String, Node<'a>>,
}

impl Node<'_> {
    fn render(&self) -> Value {
        let mut members = Map::new();
        // A leaf is owned by being there; only an inner node has to say so.
        if self.owned && !self.below.is_empty() {
            members.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (step, node) in &self.below {
            members.insert((*step).clone(), node.render());
        }
        Value::Object(members)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_set_is_read_and_written_as_the_api_server_spells_it() {
        let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"app\"}": {".": {}, "f:image": {}}}}}}});
        let set = FieldSet::parse(&fields);
        assert_eq!(set.len(), 4);
        assert_eq!(set.render(), fields);
    }

    #[test]
    fn what_is_no_object_owns_nothing() {
        for fields in [json!(null), json!([1]), json!("f:spec"), json!({})] {
            assert!(FieldSet::parse(&fields).is_empty());
        }
    }

    fn paths() -> impl Strategy<Value = FieldSet> {
        let step = prop::sample::select(vec!["f:a", "f:b", "k:{\"name\":\"x\"}", "v:1"]);
        let path = prop::collection::vec(step.prop_map(str::to_owned), 1..4);
        prop::collection::btree_set(path, 0..8).prop_map(FieldSet)
    }

    proptest! {
        #[test]
        fn rendering_keeps_every_field(set in paths()) {
            prop_assert_eq!(FieldSet::parse(&set.render()), set);
        }
    }
}

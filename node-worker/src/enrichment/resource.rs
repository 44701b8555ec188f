//! Attributes of the resource that telemetry is about, under OpenTelemetry's names.

use std::{borrow::Cow, sync::Arc};

use shoalwatch_pipeline::otlp;

/// Attributes of one resource at most; more come only from a pod's annotations.
pub(crate) const MAX_ATTRIBUTES: usize = 48;

/// Attributes in the order of their names, each name once, no value empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Resource(Vec<(Cow<'static, str>, String)>);

impl Resource {
    /// Sets an attribute; an empty value leaves it out, and so does a full resource.
    pub(crate) fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        match self.0.binary_search_by(|(other, _)| other.cmp(&name)) {
            _ if value.is_empty() => {}
            Ok(at) => self.0[at].1 = value,
            Err(at) if self.0.len() < MAX_ATTRIBUTES => self.0.insert(at, (name, value)),
            Err(_) => {}
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(other, _)| other.as_ref().cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    /// What is within an OTLP `Resource`.
    pub(crate) fn to_otlp(&self) -> Arc<[u8]> {
        let mut bytes = Vec::new();
        otlp::resource(self.iter(), &mut bytes);
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_there_once_and_in_order_and_empty_values_are_left_out() {
        let mut resource = Resource::default();
        for (name, value) in [("b", "1"), ("a", "2"), ("b", "3"), ("c", "")] {
            resource.set(name, value);
        }
        assert_eq!(resource.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(resource.get("b"), Some("3"));
        assert_eq!(resource.get("c"), None);
    }

    #[test]
    fn annotations_cannot_make_a_resource_grow_without_bound() {
        let mut resource = Resource::default();
        for number in 0..1000 {
            resource.set(number.to_string(), "x");
        }
        assert_eq!(resource.iter().count(), MAX_ATTRIBUTES);
    }
}

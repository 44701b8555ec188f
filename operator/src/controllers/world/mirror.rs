//! The objects of one kind, as one watch tells them.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::core::{DeserializeGuard, Resource};
use kube::runtime::watcher::Event;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shoalwatch_core::Millis;

use super::Name;

/// Views of the objects of one kind.
#[derive(Debug)]
pub(crate) struct Mirror<V> {
    objects: BTreeMap<Name, V>,
    /// What a list that is under way has brought so far; it replaces everything when it is whole.
    listing: Option<BTreeMap<Name, V>>,
    synced: bool,
}

impl<V> Default for Mirror<V> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            listing: None,
            synced: false,
        }
    }
}

impl<V> Mirror<V> {
    /// Takes in an event. `view` makes a view of an object, given the one before; `None`: the object is of no interest.
    pub(super) fn apply<K: Resource>(&mut self, event: Event<K>, view: impl FnOnce(Option<&V>, K) -> Option<V>) {
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                let name = Name::of(&object);
                if let (Some(view), Some(listing)) = (view(self.objects.get(&name), object), &mut self.listing) {
                    listing.insert(name, view);
                }
            }
            Event::InitDone => {
                self.objects = self.listing.take().unwrap_or_default();
                self.synced = true;
            }
            Event::Apply(object) => {
                let name = Name::of(&object);
                self.update(&name, |known| view(known, object));
            }
            Event::Delete(object) => {
                self.objects.remove(&Name::of(&object));
            }
        }
    }

    pub(super) fn update(&mut self, name: &Name, view: impl FnOnce(Option<&V>) -> Option<V>) {
        match view(self.objects.get(name)) {
            Some(view) => {
                self.objects.insert(name.clone(), view);
            }
            None => {
                self.objects.remove(name);
            }
        }
    }

    /// The view of an object.
    #[must_use]
    pub(crate) fn get(&self, name: &Name) -> Option<&V> {
        self.objects.get(name)
    }

    /// All views, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, &V)> {
        self.objects.iter()
    }

    /// Whether a list was whole once.
    #[must_use]
    pub(crate) fn is_synced(&self) -> bool {
        self.synced
    }
}

/// An object of one of the operator's kinds, readable or not: what was asked for, and what its status said.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<S> {
    /// `metadata.uid`.
    pub(crate) uid: String,
    /// `metadata.generation`.
    pub(crate) generation: i64,
    /// `metadata.creationTimestamp`.
    pub(crate) created: Millis,
    /// The spec, or why the object cannot be read.
    pub(crate) spec: Result<Box<S>, String>,
    /// As JSON, which is a fraction of its size as values: only who meets the object, or begins to lead, asks for it.
    status: Option<Box<str>>,
}

impl<S> Mirror<Guarded<S>> {
    /// Whether an event tells of another spec: most tell of statuses that were written here.
    pub(super) fn is_news<K: Resource<DynamicType = ()>>(&self, event: &Event<DeserializeGuard<K>>) -> bool {
        let Event::Apply(guard) = event else {
            return matches!(event, Event::InitDone | Event::Delete(_));
        };
        let same = |known: &Guarded<S>| {
            Some(known.uid.as_str()) == guard.meta().uid.as_deref()
                && Some(known.generation) == guard.meta().generation
                && known.spec.is_ok() == guard.0.is_ok()
        };
        !self.get(&Name::of(guard)).is_some_and(same)
    }
}

impl<S> Guarded<S> {
    /// `parts`: the spec and the status of a readable object.
    pub(super) fn new<K, T>(guard: DeserializeGuard<K>, parts: impl FnOnce(K) -> (S, Option<T>)) -> Self
    where
        K: Resource<DynamicType = ()>,
        T: Serialize,
    {
        let created = guard.creation_timestamp();
        let (uid, generation) = (guard.uid(), guard.meta().generation);
        let (spec, status) = match guard.0.map(parts) {
            Ok((spec, status)) => (Ok(Box::new(spec)), status),
            Err(invalid) => (Err(invalid.error), None),
        };
        let status = status.and_then(|status| serde_json::to_string(&status).ok());
        Self {
            uid: uid.unwrap_or_default(),
            generation: generation.unwrap_or_default(),
            created: Millis(created.map_or(0, |time| time.0.as_millisecond())),
            spec,
            status: status.map(String::into_boxed_str),
        }
    }

    /// What its status said when it was told of last.
    pub(crate) fn status<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.status.as_deref()?).ok()
    }
}

//! What the API server keeps: objects by kind, and every change of them for those who watch.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;

/// Namespace and name.
pub(crate) type Place = (String, String);

/// What was asked of the API server, by verb and resource.
pub(crate) type Asked = BTreeMap<(String, String), u64>;

/// The objects of all kinds, by the resource's plural name.
pub(crate) struct Store {
    kinds: Mutex<BTreeMap<String, Objects>>,
    asked: Mutex<Asked>,
    /// Changes with every change of any object.
    pub(crate) news: watch::Sender<u64>,
}

#[derive(Default)]
struct Objects {
    by_name: BTreeMap<Place, Value>,
    /// Lines of a watch, each with its version.
    log: Vec<(u64, Bytes)>,
}

/// One page of a list.
pub(crate) struct Page {
    pub(crate) items: Vec<Value>,
    pub(crate) version: u64,
    pub(crate) next: Option<usize>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            kinds: Mutex::default(),
            asked: Mutex::default(),
            news: watch::Sender::new(1),
        }
    }

    fn kinds(&self) -> MutexGuard<'_, BTreeMap<String, Objects>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, verb: &str, resource: &str) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *asked.entry((verb.to_owned(), resource.to_owned())).or_default() += 1;
    }

    pub(crate) fn asked(&self) -> Asked {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn get(&self, resource: &str, place: &Place) -> Option<Value> {
        self.kinds().get(resource)?.by_name.get(place).cloned()
    }

    /// Stores an object, with a new version, and tells those who watch.
    pub(crate) fn put(&self, resource: &str, mut object: Value) -> Value {
        let mut kinds = self.kinds();
        let objects = kinds.entry(resource.to_owned()).or_default();
        let name = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let place = (name("namespace"), name("name"));
        let version = *self.news.borrow() + 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let known = objects.by_name.insert(place, object.clone()).is_some();
        let line = json!({"type": if known { "MODIFIED" } else { "ADDED" }, "object": object});
        objects.log.push((version, Bytes::from(format!("{line}\n"))));
        // While the objects are locked, so that nobody hears of a version that is not there yet.
        self.news.send_replace(version);
        object
    }

    /// Changes an object that is there.
    pub(crate) fn change(&self, resource: &str, place: &Place, change: impl FnOnce(&mut Value)) -> Option<Value> {
        let mut object = self.get(resource, place)?;
        change(&mut object);
        Some(self.put(resource, object))
    }

    pub(crate) fn list(&self, resource: &str, namespace: &str, from: usize, limit: usize) -> Page {
        let kinds = self.kinds();
        let objects = kinds.get(resource).map(|objects| &objects.by_name);
        let found = objects
            .into_iter()
            .flatten()
            .filter(|((own, _), _)| namespace.is_empty() || own == namespace);
        let mut rest = found.skip(from);
        let items: Vec<Value> = rest.by_ref().take(limit).map(|(_, object)| object.clone()).collect();
        let next = rest.next().is_some().then_some(from + items.len());
        Page {
            items,
            version: *self.news.borrow(),
            next,
        }
    }

    /// What changed after `version`, and what the newest version is.
    pub(crate) fn since(&self, resource: &str, version: u64) -> (Vec<Bytes>, u64) {
        let kinds = self.kinds();
        let log = kinds.get(resource).map_or(&[][..], |objects| &objects.log);
        let begin = log.partition_point(|(own, _)| *own <= version);
        let lines = log.iter().skip(begin).map(|(_, line)| line.clone()).collect();
        (lines, *self.news.borrow())
    }
}

//! Numbers for the names that one service has many of: bounded, and the same for ever.

use crate::request::ServiceId;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Gives each distinct name of a service a number, from 1 in the order in which they come. Numbers mean something only together with
/// their service.
#[derive(Debug)]
pub(crate) struct Interned<K> {
    max_per_service: usize,
    max_services: usize,
    services: HashMap<ServiceId, Names<K>>,
    refused: u64,
}

#[derive(Debug)]
struct Names<K> {
    ids: HashMap<K, u32>,
    /// The name of number `n` is at `n − 1`.
    names: Vec<K>,
}

impl<K> Interned<K> {
    pub(crate) fn new(max_per_service: usize, max_services: usize) -> Self {
        Self {
            max_per_service,
            max_services,
            services: HashMap::new(),
            refused: 0,
        }
    }

    /// The number of a name, a new one if it is new. Absent, and counted, where it does not fit. Allocates only for a new one.
    pub(crate) fn intern<Q>(&mut self, service: ServiceId, name: &Q) -> Option<u32>
    where
        K: Borrow<Q> + Clone + Hash + Eq,
        Q: ToOwned<Owned = K> + Hash + Eq + ?Sized,
    {
        let (known, max) = (self.services.len(), self.max_per_service);
        let number = match self.services.get_mut(&service) {
            Some(names) => names.intern(name, max),
            None if known < self.max_services => self.services.entry(service).or_default().intern(name, max),
            None => None,
        };
        self.refused += u64::from(number.is_none());
        number
    }

    /// Absent for 0 and numbers that were never given.
    pub(crate) fn name(&self, service: ServiceId, number: u32) -> Option<&K> {
        let index = (number as usize).checked_sub(1)?;
        self.services.get(&service)?.names.get(index)
    }

    pub(crate) fn remove_service(&mut self, service: ServiceId) {
        self.services.remove(&service);
    }

    pub(crate) fn len(&self, service: ServiceId) -> usize {
        self.services.get(&service).map_or(0, |names| names.names.len())
    }

    pub(crate) fn services(&self) -> usize {
        self.services.len()
    }

    pub(crate) fn fullest(&self) -> usize {
        let lengths = self.services.values().map(|names| names.names.len());
        lengths.max().unwrap_or(0)
    }

    pub(crate) const fn refused(&self) -> u64 {
        self.refused
    }
}

impl<K> Default for Names<K> {
    fn default() -> Self {
        Self {
            ids: HashMap::new(),
            names: Vec::new(),
        }
    }
}

impl<K: Clone + Hash + Eq> Names<K> {
    fn intern<Q>(&mut self, name: &Q, max: usize) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: ToOwned<Owned = K> + Hash + Eq + ?Sized,
    {
        if let Some(number) = self.ids.get(name) {
            return Some(*number);
        }
        if self.names.len() >= max {
            return None;
        }
        let number = u32::try_from(self.names.len() + 1).ok()?;
        self.names.push(name.to_owned());
        self.ids.insert(name.to_owned(), number);
        Some(number)
    }
}

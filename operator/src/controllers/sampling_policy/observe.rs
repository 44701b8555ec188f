//! What is known of every policy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shoalwatch_core::policy::Policy;
use shoalwatch_crds::{SamplingPolicySpec, SamplingPolicyStatus};
use tracing::{info, warn};

use super::validate::validate;
use crate::controllers::invalid::Invalid;
use crate::controllers::world::{Guarded, Name, World};
use crate::status::{Key, Kind};

/// One policy.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) uid: String,
    pub(super) generation: i64,
    /// Why the newest spec is not in force.
    pub(super) invalid: Option<Invalid>,
    /// What is in force, and of which generation.
    pub(super) good: Option<(i64, Policy)>,
    /// The status that was found with the object, until it was told with the first one that was made here.
    pub(super) found: Option<Value>,
    /// The status as it should be.
    pub(super) status: SamplingPolicyStatus,
}

/// A spec that made sense, as the history file keeps it.
#[derive(Serialize, Deserialize)]
struct Kept {
    generation: i64,
    spec: SamplingPolicySpec,
}

/// All policies.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    pub(super) known: BTreeMap<Name, Known>,
    /// One came or went.
    moved: bool,
}

impl Policies {
    /// Follows the world. `saved`: last good specs by uid. Returns good specs to save, by uid.
    pub(crate) fn observe(&mut self, world: &World, saved: &BTreeMap<String, Vec<u8>>) -> Vec<(String, Vec<u8>)> {
        let all = self.known.len();
        self.known.retain(|name, known| {
            let still = world.policies.get(name);
            still.is_some_and(|guarded| guarded.uid == known.uid)
        });
        self.moved |= self.known.len() < all;
        let mut fresh = Vec::new();
        for (name, guarded) in world.policies.iter() {
            let before = self.known.get(name);
            if before.is_some_and(|known| known.generation == guarded.generation) {
                continue;
            }
            let before = self.known.remove(name);
            self.moved |= before.is_none();
            let known = Known::examined(name, guarded, before, saved);
            fresh.extend(known.to_keep(guarded));
            self.known.insert(name.clone(), known);
        }
        fresh
    }

    /// Whether one came or went since this was asked last.
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// This replica leads from now on: what statuses say was written by another one.
    pub(crate) fn take_over(&mut self, world: &World) {
        for (name, known) in &mut self.known {
            if let Some(guarded) = world.policies.get(name).filter(|guarded| guarded.spec.is_ok()) {
                known.found = guarded.status();
                known.status = guarded.status().unwrap_or_default();
            }
        }
    }

    /// Every spec in force.
    pub(crate) fn in_force(&self) -> impl Iterator<Item = &Policy> {
        let good = self.known.values().filter_map(|known| known.good.as_ref());
        good.map(|(_, policy)| policy)
    }

    /// Objects whose newest spec makes no sense, by category.
    pub(crate) fn invalid(&self) -> impl Iterator<Item = &'static str> {
        self.known
            .values()
            .filter_map(|known| known.invalid.as_ref().map(Invalid::category))
    }

    /// Keys of all objects.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.known.iter().map(|(name, known)| Key {
            kind: Kind::SamplingPolicy,
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            uid: known.uid.clone(),
        })
    }
}

impl Known {
    fn examined(
        name: &Name,
        guarded: &Guarded<SamplingPolicySpec>,
        before: Option<Self>,
        saved: &BTreeMap<String, Vec<u8>>,
    ) -> Self {
        let spec = guarded.spec.as_ref().map_err(|problem| Invalid::Unreadable {
            problem: problem.clone(),
        });
        let checked = spec.and_then(|spec| validate(name, guarded.created, spec));
        let (good, invalid) = match checked {
            Ok(policy) => {
                info!(policy = %name, generation = guarded.generation, "policy accepted");
                (Some((guarded.generation, policy)), None)
            }
            Err(invalid) => {
                warn!(policy = %name, generation = guarded.generation, error = %invalid, "policy refused");
                let last = before.as_ref().and_then(|known| known.good.clone());
                (last.or_else(|| kept(name, guarded, saved)), Some(invalid))
            }
        };
        let (found, status) = match before {
            Some(known) => (known.found, known.status),
            None => (guarded.status(), guarded.status().unwrap_or_default()),
        };
        Self {
            uid: guarded.uid.clone(),
            generation: guarded.generation,
            invalid,
            good,
            found,
            status,
        }
    }

    fn to_keep(&self, guarded: &Guarded<SamplingPolicySpec>) -> Option<(String, Vec<u8>)> {
        let spec = guarded.spec.as_ref().ok().filter(|_| self.invalid.is_none())?;
        let spec = SamplingPolicySpec::clone(spec);
        let generation = guarded.generation;
        let json = serde_json::to_vec(&Kept { generation, spec }).ok()?;
        Some((self.uid.clone(), json))
    }
}

/// The last good spec from before the operator's start.
fn kept(
    name: &Name,
    guarded: &Guarded<SamplingPolicySpec>,
    saved: &BTreeMap<String, Vec<u8>>,
) -> Option<(i64, Policy)> {
    let kept: Kept = serde_json::from_slice(saved.get(&guarded.uid)?).ok()?;
    let policy = validate(name, guarded.created, &kept.spec).ok()?;
    Some((kept.generation, policy))
}

//! The containers and host services under observation, by number.

use std::{collections::HashMap, sync::Arc};

use shoalwatch_pipeline::{
    request::{ByRole, PodId, Role, ServiceId},
    sli::RowId,
};

use crate::enrichment::{Identity, IdentityKey};

/// A number that no service gets: that of processes whose pod is not known yet.
pub(super) const PENDING: u32 = 0;
/// Nanoseconds that the numbers of a service without processes are kept: its last counts must be exported and scraped.
const KEPT_NS: u64 = 300_000_000_000;

/// One container of one pod, or one host service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) identity: Arc<Identity>,
    /// Its resource as OTLP.
    pub(super) otlp: Arc<[u8]>,
    pub(super) pod: PodId,
    /// Indices of the policies that decide, the last one for good.
    pub(super) policies: Vec<usize>,
    /// It has all routes, and all peers, that it may have.
    pub(super) full: ByRole<bool>,
    /// It sends spans of its own: it was seen exporting them over OTLP.
    pub(super) instrumented: bool,
    /// Counters of the SLIs that are about it.
    pub(super) rows: Vec<RowId>,
    processes: usize,
    /// Since when it has no process, on the monotonic clock.
    idle_since: u64,
}

impl Service {
    /// Whether nothing asks for it.
    pub(super) fn is_idle(&self) -> bool {
        self.policies.is_empty() && self.rows.is_empty()
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Services {
    max: usize,
    by_id: HashMap<ServiceId, Service>,
    by_key: HashMap<IdentityKey, ServiceId>,
    /// Pods with at least one process: how many services of each have one.
    pods: HashMap<Box<str>, (PodId, usize)>,
    last: u32,
}

impl Services {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            by_id: HashMap::new(),
            by_key: HashMap::new(),
            pods: HashMap::new(),
            last: PENDING,
        }
    }

    pub(super) fn get(&self, id: ServiceId) -> Option<&Service> {
        self.by_id.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ServiceId, &Service)> {
        self.by_id.iter().map(|(id, service)| (*id, service))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) const fn max(&self) -> usize {
        self.max
    }

    /// The number of an identity. What the identity says now replaces what it said before. Absent when there are too many.
    pub(super) fn intern(&mut self, identity: &Arc<Identity>, now_ns: u64) -> Option<ServiceId> {
        if let Some(id) = self.by_key.get(&identity.key) {
            if let Some(service) = self.by_id.get_mut(id) {
                if service.identity.resource != identity.resource {
                    service.otlp = identity.resource.to_otlp();
                }
                service.identity = Arc::clone(identity);
            }
            return Some(*id);
        }
        if self.by_id.len() >= self.max {
            return None;
        }
        let id = ServiceId(self.next_number()?);
        let pod = match self.pods.get(identity.pod()) {
            Some((pod, _)) => *pod,
            None => PodId(self.next_number()?),
        };
        self.pods.entry(identity.pod().into()).or_insert((pod, 0));
        self.by_key.insert(identity.key.clone(), id);
        let service = Service {
            identity: Arc::clone(identity),
            otlp: identity.resource.to_otlp(),
            pod,
            policies: Vec::new(),
            full: ByRole::default(),
            instrumented: false,
            rows: Vec::new(),
            processes: 0,
            idle_since: now_ns,
        };
        self.by_id.insert(id, service);
        Some(id)
    }

    /// Numbers are never used again: an old record in the ring must not be taken for another service's.
    fn next_number(&mut self) -> Option<u32> {
        self.last = self.last.checked_add(1)?;
        Some(self.last)
    }

    /// Returns whether other policies decide than before.
    pub(super) fn set_duties(&mut self, id: ServiceId, policies: Vec<usize>, rows: Vec<RowId>) -> bool {
        let Some(service) = self.by_id.get_mut(&id) else {
            return false;
        };
        service.rows = rows;
        let changed = service.policies != policies;
        service.policies = policies;
        changed
    }

    /// Returns whether it was not closed before.
    pub(super) fn close(&mut self, id: ServiceId, role: Role) -> bool {
        let Some(service) = self.by_id.get_mut(&id) else {
            return false;
        };
        !std::mem::replace(service.full.of_mut(role), true)
    }

    /// Returns whether that is new.
    pub(super) fn set_instrumented(&mut self, id: ServiceId) -> bool {
        let Some(service) = self.by_id.get_mut(&id) else {
            return false;
        };
        !std::mem::replace(&mut service.instrumented, true)
    }

    pub(super) fn add_process(&mut self, id: ServiceId) {
        let Some(service) = self.by_id.get_mut(&id) else { return };
        service.processes += 1;
        if service.processes == 1
            && let Some((_, services)) = self.pods.get_mut(service.identity.pod())
        {
            *services += 1;
        }
    }

    /// The pod, if this was the last process of all its services.
    pub(super) fn remove_process(&mut self, id: ServiceId, now_ns: u64) -> Option<PodId> {
        let service = self.by_id.get_mut(&id)?;
        service.processes = service.processes.saturating_sub(1);
        if service.processes > 0 {
            return None;
        }
        service.idle_since = now_ns;
        let (pod, services) = self.pods.get_mut(service.identity.pod())?;
        *services = services.saturating_sub(1);
        (*services == 0).then_some(*pod)
    }

    pub(super) fn has_processes(&self, id: ServiceId) -> bool {
        self.by_id.get(&id).is_some_and(|service| service.processes > 0)
    }

    /// Forgets the services that had no process for long enough, and names them.
    pub(super) fn expire(&mut self, now_ns: u64) -> Vec<ServiceId> {
        let expired: Vec<ServiceId> = self
            .by_id
            .iter()
            .filter(|(_, service)| service.processes == 0 && service.idle_since.saturating_add(KEPT_NS) <= now_ns)
            .map(|(id, _)| *id)
            .collect();
        for id in &expired {
            if let Some(service) = self.by_id.remove(id) {
                self.by_key.remove(&service.identity.key);
                let pod = service.identity.pod();
                if !self.by_id.values().any(|other| other.identity.pod() == pod) {
                    self.pods.remove(pod);
                }
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use shoalwatch_node_api::config::HostService;

    use super::*;
    use crate::enrichment::host_identity;

    fn identity(name: &str) -> Arc<Identity> {
        let service = HostService {
            name: name.into(),
            ..HostService::default()
        };
        Arc::new(host_identity(&service, "n1"))
    }

    fn container(name: &str) -> Arc<Identity> {
        let mut identity = Identity::clone(&identity(name));
        identity.key = IdentityKey::Container {
            pod_uid: "u-1".into(),
            container: Some(name.into()),
        };
        Arc::new(identity)
    }

    #[test]
    fn an_identity_keeps_its_number_and_no_number_is_used_again() {
        let mut services = Services::new(8);
        let shop = services.intern(&identity("shop"), 0).unwrap();
        assert_eq!(services.intern(&identity("shop"), 0), Some(shop));
        assert_eq!(services.expire(KEPT_NS), [shop]);
        assert_ne!(services.intern(&identity("shop"), 0), Some(shop));
        assert_ne!(shop.0, PENDING);
    }

    #[test]
    fn a_service_with_processes_never_expires_and_one_without_only_after_a_while() {
        let mut services = Services::new(8);
        let shop = services.intern(&identity("shop"), 0).unwrap();
        services.add_process(shop);
        assert_eq!(services.expire(u64::MAX), []);
        services.remove_process(shop, 10);
        assert_eq!(services.expire(10 + KEPT_NS - 1), []);
        assert_eq!(services.expire(10 + KEPT_NS), [shop]);
    }

    #[test]
    fn a_pod_ends_with_the_last_process_of_its_last_container() {
        let mut services = Services::new(8);
        let [app, proxy] = ["app", "proxy"].map(|name| services.intern(&container(name), 0).unwrap());
        let pod = services.get(app).unwrap().pod;
        assert_eq!(services.get(proxy).unwrap().pod, pod);
        for service in [app, app, proxy] {
            services.add_process(service);
        }
        assert_eq!(services.remove_process(app, 0), None);
        assert_eq!(services.remove_process(app, 0), None);
        assert_eq!(services.remove_process(proxy, 0), Some(pod));
    }

    #[test]
    fn there_are_at_most_so_many() {
        let mut services = Services::new(1);
        assert!(services.intern(&identity("shop"), 0).is_some());
        assert_eq!(services.intern(&identity("bank"), 0), None);
    }
}

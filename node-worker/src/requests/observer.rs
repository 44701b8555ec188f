//! Which processes are observed, and as what.
//!
//! A process is observed while a policy covers its pod (or host service) or an SLI is about its workload. It is examined when it
//! runs a new program, when a slow look at `/proc` finds it, and again whenever the configuration or a pod changes. A process in a
//! container whose pod, or whose container's name, is not known yet is observed at once; its requests wait for at most
//! [`PATIENCE_NS`], so that the first failing answers of a new release are seen.

use std::sync::Arc;

use shoalwatch_pipeline::{folding::RowTable, loss::Loss, request::ServiceId, sli::NoRow};
use tracing::{debug, warn};

use super::{
    clock::Now,
    held::Held,
    kernel::Kernel,
    processes::{Processes, State},
    raw::RawConnections,
    services::{PENDING, Service, Services},
    taught::Taught,
    traffic::Traffic,
};
use crate::{
    counters::{Count, Counters},
    discovery::{ContainerRef, Exits, ProcFs},
    enrichment::{Identity, PodIndex, host_identity, service_of},
    in_force::InForce,
    loader::{ProcessEvent, ProcessKind, Stats},
};

mod intake;
mod teaching;

/// How long requests wait for their pod to become known.
pub(super) const PATIENCE_NS: u64 = 2_000_000_000;

/// What the process turned out to be.
enum Finding {
    /// Nothing that a configuration can name.
    Nobody,
    /// Worth waiting for; who it is as far as that is known now.
    NotYet(Option<Identity>),
    /// Known.
    Somebody(Identity),
}

/// Everything that the event loop owns.
pub(super) struct Observer {
    pub(super) kernel: Box<dyn Kernel>,
    pub(super) exits: Exits,
    pub(super) proc_fs: ProcFs,
    pub(super) node_name: Box<str>,
    pub(super) in_force: Arc<InForce>,
    /// Absent outside Kubernetes, and until the node's pods were listed.
    pub(super) pods: Option<PodIndex>,
    pub(super) kubernetes: bool,
    pub(super) processes: Processes,
    pub(super) services: Services,
    pub(super) held: Held,
    /// Connections that the kernel does not pair.
    pub(super) raw: RawConnections,
    pub(super) traffic: Traffic,
    pub(super) counters: Arc<Counters>,
    /// A process was selected since the last look; children that it had before are not known yet.
    pub(super) selected_lately: bool,
    /// What the kernel could not see and nobody's in particular, as far as it was counted as incomplete.
    pub(super) unseen: u64,
    /// Routes that the kernel counts, and the policies as it decides by them.
    pub(super) taught: Taught,
    pub(super) rows: RowTable,
    /// A service is decided about by other policies than the kernel knows.
    pub(super) duties_changed: bool,
    /// The kernel refused them, and is asked again from then on: monotonic nanoseconds.
    pub(super) refused_until_ns: u64,
    /// When the kernel's counters were read last.
    pub(super) counted_unix_ns: u64,
    /// What the kernel had counted then, for the counters that are told on.
    pub(super) kernel_counts: Stats,
}

impl Observer {
    /// Puts a configuration in force: every request handed on after this call is judged by it. False: the kernel refused it, and is
    /// asked again.
    pub(super) fn configure(&mut self, in_force: Arc<InForce>, now: Now) -> bool {
        // What was counted until now was counted for the SLIs in force until now.
        self.count(now);
        self.traffic.configure(&in_force, now);
        self.in_force = in_force;
        self.examine_all(now);
        self.duties_changed = true;
        self.refused_until_ns = 0;
        self.follow_duties(now);
        !self.duties_changed
    }

    /// What the API server says now about this node's pods.
    pub(super) fn set_pods(&mut self, pods: PodIndex, now: Now) {
        self.pods = Some(pods);
        self.examine_all(now);
    }

    fn examine_all(&mut self, now: Now) {
        let services: Vec<_> = self.services.iter().map(|(id, _)| id).collect();
        for id in services {
            self.assign_duties(id);
        }
        for tgid in self.processes.tgids() {
            self.examine(tgid, now);
        }
    }

    /// Looks at `/proc`: what the kernel's news missed.
    pub(super) fn rescan(&mut self, now: Now) {
        let running: std::collections::HashSet<u32> = match self.proc_fs.processes() {
            Ok(processes) => processes.collect(),
            Err(error) => return warn!(%error, "processes cannot be listed: is /proc mounted?"),
        };
        for tgid in self.processes.tgids() {
            if !running.contains(&tgid) {
                self.end(tgid, now);
            }
        }
        for tgid in running {
            if self.processes.get(tgid).is_none() {
                self.discover(tgid, now);
            }
        }
        let expired = self.services.expire(now.monotonic_ns);
        if !expired.is_empty() {
            self.count(now);
            self.taught.forget(&expired, &mut *self.kernel);
            self.traffic.forget(&expired);
        }
    }

    /// News from the kernel.
    pub(super) fn take_news(&mut self, now: Now) {
        let mut news = Vec::new();
        self.kernel.drain_processes(&mut |event| news.push(event));
        for event in news {
            match event.kind {
                ProcessKind::Exec => self.discover(event.tgid, now),
                ProcessKind::Fork => self.adopt_child(event, now),
            }
        }
    }

    /// The kernel observes the child already; its inherited sockets are not known to it.
    fn adopt_child(&mut self, event: ProcessEvent, now: Now) {
        let parent = self.processes.get(event.parent).map(|parent| parent.container.clone());
        match parent {
            Some(container) => {
                if self.processes.insert(event.tgid, container) {
                    self.examine(event.tgid, now);
                }
            }
            None => self.discover(event.tgid, now),
        }
        // It ended already, or is nobody of interest: the kernel must not keep it for ever.
        if !self.processes.is_selected(event.tgid) {
            self.deselect(event.tgid);
        }
    }

    fn discover(&mut self, tgid: u32, now: Now) {
        // The worker's own requests are of no interest to anybody.
        if tgid == std::process::id() {
            return;
        }
        let container = self.proc_fs.container(tgid);
        if self.processes.insert(tgid, container) {
            self.examine(tgid, now);
        }
    }

    /// Processes that ended. To be called after their last requests were taken.
    pub(super) fn end_all(&mut self, ended: &[u32], now: Now) {
        for tgid in ended {
            self.end(*tgid, now);
        }
    }

    fn end(&mut self, tgid: u32, now: Now) {
        if self.processes.is_pending(tgid) {
            self.processes.set_ended(tgid);
            return self.deselect(tgid);
        }
        self.release(tgid, now);
        self.processes.remove(tgid);
    }

    /// Those that waited for long enough are taken for what is known of them.
    pub(super) fn settle_pending(&mut self, now: Now) {
        for tgid in self.processes.pending() {
            self.examine(tgid, now);
        }
    }

    /// Decides whether a process is observed, and as what.
    fn examine(&mut self, tgid: u32, now: Now) {
        let Some(process) = self.processes.get(tgid) else {
            return;
        };
        let ended = process.ended;
        let may_wait = match process.state {
            State::Ignored => true,
            State::Pending { since_ns } => now.monotonic_ns.saturating_sub(since_ns) < PATIENCE_NS,
            State::GivenUp | State::Observed { .. } => false,
        };
        match self.find(tgid) {
            Finding::Nobody => self.ignore(tgid, now),
            Finding::NotYet(_) if may_wait => self.wait(tgid, now),
            Finding::Somebody(identity) | Finding::NotYet(Some(identity)) => {
                self.observe(tgid, &Arc::new(identity), now);
            }
            Finding::NotYet(None) => self.give_up(tgid, now),
        }
        if ended && !self.processes.is_pending(tgid) {
            self.release(tgid, now);
            self.processes.remove(tgid);
        }
    }

    fn find(&self, tgid: u32) -> Finding {
        let Some(process) = self.processes.get(tgid) else {
            return Finding::Nobody;
        };
        match &process.container {
            Some(container) if self.kubernetes && container.pod_uid.is_some() => self.find_pod(container),
            _ => self.find_host_service(tgid),
        }
    }

    fn find_pod(&self, container: &ContainerRef) -> Finding {
        let Some(pods) = &self.pods else {
            return Finding::NotYet(None);
        };
        let Some(pod) = pods.find(container) else {
            return Finding::NotYet(None);
        };
        match pod.container(&container.container_id) {
            Some(name) => Finding::Somebody(pod.identity(Some(name))),
            None => Finding::NotYet(Some(pod.identity(None))),
        }
    }

    fn find_host_service(&self, tgid: u32) -> Finding {
        let services = &self.in_force.host_services;
        if services.is_empty() {
            return Finding::Nobody;
        }
        let command = self.proc_fs.command(tgid);
        match command.and_then(|command| service_of(services, &command)) {
            Some(service) => Finding::Somebody(host_identity(service, &self.node_name)),
            None => Finding::Nobody,
        }
    }

    fn wait(&mut self, tgid: u32, now: Now) {
        let pending = self.processes.is_pending(tgid);
        if !pending && !self.in_force.is_idle() && self.select(tgid, PENDING) {
            let since_ns = now.monotonic_ns;
            self.processes.set_state(tgid, State::Pending { since_ns });
        }
    }

    /// Its pod is not known, or not any more: a pod is often gone from the API server before its last process.
    fn give_up(&mut self, tgid: u32, now: Now) {
        if let Some(id) = self.processes.service(tgid) {
            let idle = self.services.get(id).is_none_or(Service::is_idle);
            if idle {
                self.ignore(tgid, now);
            }
            return;
        }
        let waiting = self.held.take(tgid).len() as u64;
        self.counters.losses.add(Loss::UnknownProcess, waiting);
        self.release(tgid, now);
        self.processes.set_state(tgid, State::GivenUp);
    }

    fn observe(&mut self, tgid: u32, identity: &Arc<Identity>, now: Now) {
        let wanted =
            !self.in_force.policies_for(identity).is_empty() || self.in_force.slis_for(identity).next().is_some();
        if !wanted {
            return self.ignore(tgid, now);
        }
        let Some(id) = self.services.intern(identity, now.monotonic_ns) else {
            self.counters.one(Count::ServicesFull);
            return self.ignore(tgid, now);
        };
        if self.processes.service(tgid) == Some(id) {
            return self.assign_duties(id);
        }
        let lost = self.attribute_losses_of(tgid, now);
        self.release_service(tgid, now);
        let ended = self.processes.get(tgid).is_some_and(|process| process.ended);
        if !ended && !self.select(tgid, id.0) {
            return self.ignore(tgid, now);
        }
        self.services.add_process(id);
        self.assign_duties(id);
        self.processes.set_state(tgid, State::Observed { service: id, lost });
        debug!(
            tgid,
            service = id.0,
            name = identity.resource.get("service.name"),
            "observing process"
        );
        self.replay(tgid, id, now);
        if self.processes.get(tgid).is_some_and(|process| process.exporting) {
            self.mute(id);
        }
    }

    /// The requests that waited for this moment.
    fn replay(&mut self, tgid: u32, id: ServiceId, now: Now) {
        let Some(service) = self.services.get(id) else { return };
        for request in self.held.take(tgid) {
            self.traffic
                .take(&request.as_event(tgid, id.0), request.came, id, service, now);
        }
    }

    /// Policies and SLIs of a service, from the configuration in force.
    fn assign_duties(&mut self, id: ServiceId) {
        let Some(service) = self.services.get(id) else { return };
        let (identity, pod) = (Arc::clone(&service.identity), service.pod);
        let alive = self.services.has_processes(id);
        let policies = self.in_force.policies_for(&identity);
        let mut rows = Vec::new();
        for sli in self.in_force.slis_for(&identity) {
            match self.traffic.slis.row(sli, &identity.revision) {
                Ok(row) => rows.push(row),
                Err(NoRow::Full) => {
                    self.counters.one(Count::SliRowsFull);
                    self.counters.losses.add(Loss::SliRowsFull, 1);
                }
                Err(NoRow::UnknownSli) => {}
            }
        }
        for row in rows.iter().filter(|_| alive) {
            if !self.traffic.slis.observe_pod(*row, pod) {
                self.counters.one(Count::PodsFull);
            }
        }
        self.duties_changed |= self.services.set_duties(id, policies, rows);
    }

    /// Tells the kernel. Not needed again while the number stays.
    fn select(&mut self, tgid: u32, service: u32) -> bool {
        match self.exits.watch(tgid) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return false,
            Err(error) => {
                warn!(tgid, %error, "the end of a process cannot be watched: raise the limit of open files");
                self.counters.one(Count::SelectFailed);
                return false;
            }
        }
        let task = self.task(service);
        if let Err(error) = self.kernel.select(tgid, task) {
            warn!(tgid, %error, "process cannot be observed");
            self.counters.one(Count::SelectFailed);
            self.exits.forget(tgid);
            return false;
        }
        self.selected_lately = true;
        true
    }

    fn ignore(&mut self, tgid: u32, now: Now) {
        // Nobody asked for what waited.
        self.held.take(tgid);
        self.release(tgid, now);
        self.processes.set_state(tgid, State::Ignored);
    }

    /// Stops observing a process, if it is observed.
    fn release(&mut self, tgid: u32, now: Now) {
        self.attribute_losses_of(tgid, now);
        self.release_service(tgid, now);
        if self.processes.is_selected(tgid) {
            self.deselect(tgid);
            self.exits.forget(tgid);
        }
    }

    fn deselect(&mut self, tgid: u32) {
        if let Err(error) = self.kernel.deselect(tgid) {
            warn!(tgid, %error, "process cannot be released");
        }
    }

    fn release_service(&mut self, tgid: u32, now: Now) {
        let Some(id) = self.processes.service(tgid) else { return };
        if let Some(pod) = self.services.remove_process(id, now.monotonic_ns) {
            self.traffic.slis.forget_pod(pod);
        }
    }

    /// What the kernel lost is good for no SLI.
    pub(super) fn attribute_losses(&mut self, now: Now) {
        let unseen = self.kernel.stats().unseen();
        self.traffic.slis.lose_everywhere(unseen.saturating_sub(self.unseen));
        self.unseen = self.unseen.max(unseen);
        let observed: Vec<u32> = self.processes.observed().map(|(tgid, _)| tgid).collect();
        for tgid in observed {
            self.attribute_losses_of(tgid, now);
        }
    }

    /// Gives what was attributed so far.
    fn attribute_losses_of(&mut self, tgid: u32, now: Now) -> u64 {
        let Some(State::Observed { service, lost }) = self.processes.get(tgid).map(|process| process.state) else {
            return 0;
        };
        let total = self.kernel.lost(tgid).max(lost);
        self.traffic.lose(&self.services, service, total - lost, now);
        self.processes.set_state(tgid, State::Observed { service, lost: total });
        total
    }
}

#[cfg(test)]
mod tests;

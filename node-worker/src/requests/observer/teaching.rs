//! What the kernel is taught, and what it counted by it.

use shoalwatch_pipeline::{
    folding::{RowTable, UNDECIDED_ROWS, peer_rows, route_rows},
    loss::Loss,
    request::{PeerId, RouteId, ServiceId, Target},
};
use shoalwatch_protocols::route::OTHER;
use tracing::{info, warn};

use super::{Count, Now, Observer, PENDING};
use crate::{
    loader::{NO_SPANS, PEERS_FULL, ROUTES_FULL, RouteRows, Stat, Task},
    requests::{
        lesson::Lesson,
        services::Service,
        taught::{Route, key_of},
        traffic::Traffic,
    },
};

impl Observer {
    /// What the kernel has to know of a process.
    pub(super) fn task(&mut self, service: u32) -> Task {
        let id = ServiceId(service);
        let known = self.taught.len();
        let all = [Target::Route(RouteId::OTHER), Target::Peer(PeerId::OTHER)];
        let others = all.map(|target| match service {
            PENDING => None,
            _ => self.taught.others(id, target),
        });
        // A new number has no rows yet.
        self.duties_changed |= self.taught.len() != known;
        let service_is = |is: fn(&Service) -> bool| self.services.get(id).is_some_and(is);
        let flag = |flag, is: fn(&Service) -> bool| if service_is(is) { flag } else { 0 };
        let flags = flag(ROUTES_FULL, |service| service.full.server)
            | flag(PEERS_FULL, |service| service.full.client)
            | flag(NO_SPANS, |service| service.instrumented);
        Task {
            service,
            flags,
            others: others.map(|number| number.unwrap_or(0)),
            ..Task::default()
        }
    }

    /// Has the kernel count routes and peers that came as events.
    pub(super) fn teach(&mut self, lessons: &[Lesson]) {
        for lesson in lessons {
            // One look into the ring may hold the same lesson several times.
            if !self.taught.is_new(lesson) {
                continue;
            }
            if lesson.is_of_others() || !self.teach_one(lesson) {
                self.close(lesson);
            }
        }
    }

    /// False: there is no room for one more.
    fn teach_one(&mut self, lesson: &Lesson) -> bool {
        let template: Box<str> = match lesson.target {
            Target::Route(route) => self.traffic.routes.name(lesson.service, route).into(),
            Target::Peer(_) => OTHER.into(),
        };
        let Some(number) = self.taught.learn(lesson, &template) else {
            return false;
        };
        let rows = rows_of(
            &mut self.rows,
            &self.traffic,
            self.services.get(lesson.service),
            (lesson.target, &template),
        );
        if let Err(error) = self.kernel.teach(key_of(lesson), number, rows, &self.rows) {
            warn!(%error, "the kernel cannot be taught a route");
            self.counters.one(Count::TeachFailed);
        }
        true
    }

    /// The kernel counts what comes now among all others.
    fn close(&mut self, lesson: &Lesson) {
        if self.services.close(lesson.service, lesson.target.role()) {
            self.select_again(lesson.service);
        }
    }

    /// A service that exports spans of its own gets none from here; it is counted as before.
    pub(super) fn mute(&mut self, id: ServiceId) {
        if self.services.set_instrumented(id) {
            info!(
                service = id.0,
                "sends spans of its own over OTLP: none are made of its requests"
            );
            self.counters.one(Count::Instrumented);
            self.select_again(id);
        }
    }

    /// Tells the kernel what changed of a service.
    fn select_again(&mut self, id: ServiceId) {
        let task = self.task(id.0);
        let processes: Vec<u32> = self
            .processes
            .observed()
            .filter(|(_, of)| *of == id)
            .map(|(tgid, _)| tgid)
            .collect();
        for tgid in processes {
            if let Err(error) = self.kernel.select(tgid, task) {
                warn!(tgid, %error, "what changed of a process cannot be told to the kernel");
            }
        }
    }

    /// Has the kernel decide as user space does.
    pub(in crate::requests) fn follow_duties(&mut self, now: Now) {
        if !self.duties_changed || now.monotonic_ns < self.refused_until_ns {
            return;
        }
        self.duties_changed = false;
        let mut table = RowTable::default();
        for (place, limit) in self.traffic.limits() {
            table.limit(place, limit);
        }
        let of = |(number, route): (u32, &Route)| {
            let rows = rows_of(
                &mut table,
                &self.traffic,
                self.services.get(route.service),
                (route.target, &route.template),
            );
            (number, rows)
        };
        let routes: Vec<(u32, RouteRows)> = self.taught.iter().map(of).collect();
        if let Err(error) = self.kernel.decide_by(&table, &routes) {
            warn!(%error, "the kernel still decides by the earlier policies");
            self.counters.one(Count::TeachFailed);
            self.duties_changed = true;
            self.refused_until_ns = now.monotonic_ns + REFUSED_NS;
        }
        self.rows = table;
    }

    /// Takes in what the kernel counted since the last call.
    pub(in crate::requests) fn count(&mut self, now: Now) {
        let Self {
            kernel,
            services,
            traffic,
            taught,
            counted_unix_ns: since,
            ..
        } = self;
        taught.read(&**kernel, &mut |more| {
            if let Some(service) = services.get(more.route.service) {
                traffic.add(more, service, *since, now);
            }
        });
        *since = now.unix_ns;
        self.tell_on();
    }

    /// What the kernel decided and left out counts as if user space had.
    fn tell_on(&mut self) {
        let stats = self.kernel.stats();
        let more = |stat| stats.get(stat).saturating_sub(self.kernel_counts.get(stat));
        let told = [
            (Stat::DroppedProbability, Count::SpanProbability),
            (Stat::DroppedNever, Count::SpanNever),
            (Stat::DroppedParent, Count::SpanParent),
            (Stat::DroppedLimit, Count::SpanRateLimited),
            (Stat::Probe, Count::KubeProbe),
            (Stat::Scrape, Count::PrometheusScrape),
        ];
        for (stat, count) in told {
            self.counters.add(count, more(stat));
        }
        self.counters.losses.add(Loss::RateLimited, more(Stat::DroppedLimit));
        self.kernel_counts = stats;
    }
}

/// How long a refused configuration waits until it is offered to the kernel again.
const REFUSED_NS: u64 = 1_000_000_000;

/// Which rows decide about a route or a peer. More than one policy is only where some of them run dry: that is left to user space.
fn rows_of(
    table: &mut RowTable,
    traffic: &Traffic,
    service: Option<&Service>,
    (target, template): (Target, &str),
) -> RouteRows {
    let mut rows = |policy| match target {
        Target::Route(_) => route_rows(table, policy, template),
        Target::Peer(_) => peer_rows(table, policy),
    };
    let policies = service.map_or(&[][..], |service| &service.policies);
    match policies {
        [] => rows(None),
        [policy] => RouteRows {
            limit: traffic.limit_place(*policy),
            ..rows(traffic.policy(*policy))
        },
        _ => UNDECIDED_ROWS,
    }
}

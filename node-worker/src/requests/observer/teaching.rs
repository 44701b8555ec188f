//! What the kernel is taught, and what it counted by it.

use shoalwatch_pipeline::{
    folding::{RowTable, UNDECIDED, route_rows},
    loss::Loss,
    request::{RouteId, ServiceId},
};
use shoalwatch_protocols::route::OTHER;
use tracing::{info, warn};

use super::{Count, Now, Observer, PENDING};
use crate::{
    loader::{Method, NO_SPANS, ROUTES_FULL, RouteRows, Stat, Task},
    requests::{
        services::Service,
        taught::{Route, server_key},
        traffic::{Lesson, Traffic},
    },
};

impl Observer {
    /// What the kernel has to know of a process.
    pub(super) fn task(&mut self, service: u32) -> Task {
        let id = ServiceId(service);
        let known = self.taught.len();
        let others = match service {
            PENDING => None,
            _ => self.taught.others(id, OTHER),
        };
        // A new number has no rows yet.
        self.duties_changed |= self.taught.len() != known;
        let service_is = |is: fn(&Service) -> bool| self.services.get(id).is_some_and(is);
        let full = if service_is(|service| service.routes_full) {
            ROUTES_FULL
        } else {
            0
        };
        let mute = if service_is(|service| service.instrumented) {
            NO_SPANS
        } else {
            0
        };
        Task {
            service,
            flags: full | mute,
            other_route: others.unwrap_or(0),
            ..Task::default()
        }
    }

    /// Has the kernel count routes that came as events.
    pub(super) fn teach(&mut self, lessons: &[Lesson]) {
        for lesson in lessons {
            // One look into the ring may hold the same lesson several times.
            if !self.taught.is_new(lesson) {
                continue;
            }
            if lesson.route == RouteId::OTHER || !self.teach_one(*lesson) {
                self.close_routes(lesson.service);
            }
        }
    }

    /// False: there is no room for one more route.
    fn teach_one(&mut self, lesson: Lesson) -> bool {
        let template: Box<str> = self.traffic.routes.name(lesson.service, lesson.route).into();
        let key = server_key(lesson.service, lesson.shape);
        let Some(number) = self.taught.learn(key, lesson.route, &template) else {
            return false;
        };
        let rows = rows_of(
            &mut self.rows,
            &self.traffic,
            self.services.get(lesson.service),
            &template,
        );
        if let Err(error) = self.kernel.teach(key, number, rows, &self.rows) {
            warn!(%error, "the kernel cannot be taught a route");
            self.counters.one(Count::TeachFailed);
        }
        true
    }

    /// The kernel counts what comes now among all others.
    fn close_routes(&mut self, id: ServiceId) {
        if self.services.close_routes(id) {
            self.select_again(id);
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
                &route.template,
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

const UNDECIDED_ROWS: RouteRows = RouteRows {
    rows: [UNDECIDED; Method::NUMBERS + 1],
    limit: 0,
};

/// Which rows decide about a route. More than one policy is only where some of them run dry: that is left to user space.
fn rows_of(table: &mut RowTable, traffic: &Traffic, service: Option<&Service>, template: &str) -> RouteRows {
    let policies = service.map_or(&[][..], |service| &service.policies);
    match policies {
        [] => route_rows(table, None, template),
        [policy] => RouteRows {
            limit: traffic.limit_place(*policy),
            ..route_rows(table, traffic.policy(*policy), template)
        },
        _ => UNDECIDED_ROWS,
    }
}

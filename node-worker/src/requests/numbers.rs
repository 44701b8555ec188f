//! Snapshots, taken between two requests: the numbers that OTLP and Prometheus both tell, and the state of the loop itself.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use shoalwatch_pipeline::{
    red::{Histogram, SeriesId, SeriesKey},
    request::{ByRole, Role, RouteId, ServiceId, Status, Target},
    sli::ReportRow,
};

use super::{clock::Now, held::Held, observer::Observer, processes};
use crate::{
    enrichment::Resource,
    loader::{Fullness, Stats},
};

/// The requests of one moment.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// Nanoseconds since the Unix epoch.
    pub(crate) at_ns: u64,
    pub(crate) services: Vec<ServiceNumbers>,
    /// Requests of services that were too many to have an overflow series of their own.
    pub(crate) overflow: ByRole<Option<Histogram>>,
}

/// What the page `/metrics` shows of one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) numbers: Numbers,
    /// Every row of the SLIs in force.
    pub(crate) slis: Vec<ReportRow>,
    pub(crate) kernel: Stats,
    pub(crate) gauges: Vec<Gauge>,
    /// Requests that went to an overflow series, and requests whose route or peer had no room.
    pub(crate) overflowed: u64,
    pub(crate) routes_refused: u64,
    pub(crate) peers_refused: u64,
}

/// The series of one resource.
#[derive(Debug)]
pub(crate) struct ServiceNumbers {
    pub(crate) resource: Arc<Resource>,
    pub(crate) series: ByRole<Vec<Series>>,
}

/// One series of `http.server.request.duration` or `http.client.request.duration`.
#[derive(Debug)]
pub(crate) struct Series {
    /// Absent: the service's overflow series.
    pub(crate) attributes: Option<SeriesAttributes>,
    pub(crate) histogram: Histogram,
}

/// What tells a series of one resource from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeriesAttributes {
    pub(crate) target: SeriesTarget,
    pub(crate) method: &'static str,
    /// Without a code there is no `http.response.status_code`; a failure's text is its `error.type`.
    pub(crate) status: Status,
}

impl SeriesAttributes {
    /// The value of `error.type`, where there is one.
    pub(crate) fn error_type(&self) -> Option<String> {
        let failed = self.status.is_failure(self.target.role());
        failed.then(|| self.status.to_string())
    }
}

/// What a series' requests went to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SeriesTarget {
    /// `http.route`; absent: the path was not seen whole, or there were too many.
    Route(Option<Box<str>>),
    /// `server.address` and `server.port`; absent: it is not known, or there were too many.
    Peer(Option<SocketAddr>),
}

impl SeriesTarget {
    const fn role(&self) -> Role {
        match self {
            Self::Route(_) => Role::Server,
            Self::Peer(_) => Role::Client,
        }
    }
}

/// How full something bounded is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gauge {
    pub(crate) name: &'static str,
    pub(crate) used: usize,
    pub(crate) max: usize,
}

impl Observer {
    pub(super) fn numbers(&mut self, now: Now) -> Numbers {
        self.count(now);
        let mut services: HashMap<ServiceId, ServiceNumbers> = HashMap::new();
        let mut overflow = ByRole::default();
        for (id, histogram) in self.traffic.red.iter() {
            let (service, role, attributes) = match id {
                SeriesId::Overflow(role) => {
                    *overflow.of_mut(role) = Some(histogram.clone());
                    continue;
                }
                SeriesId::ServiceOverflow(service, role) => (service, role, None),
                SeriesId::Series(key) => (key.service, key.target.role(), Some(self.attributes(&key))),
            };
            let Some(known) = self.services.get(service) else {
                continue;
            };
            let numbers = services.entry(service).or_insert_with(|| ServiceNumbers {
                resource: Arc::clone(&known.identity.resource),
                series: ByRole::default(),
            });
            numbers.series.of_mut(role).push(Series {
                attributes,
                histogram: histogram.clone(),
            });
        }
        Numbers {
            at_ns: now.unix_ns,
            services: services.into_values().collect(),
            overflow,
        }
    }

    fn attributes(&self, key: &SeriesKey) -> SeriesAttributes {
        let traffic = &self.traffic;
        let target = match key.target {
            Target::Route(RouteId::OTHER) => SeriesTarget::Route(None),
            Target::Route(route) => SeriesTarget::Route(Some(traffic.routes.name(key.service, route).into())),
            Target::Peer(peer) => SeriesTarget::Peer(traffic.peers.peer(key.service, peer)),
        };
        SeriesAttributes {
            target,
            method: key.method.as_str(),
            status: key.status,
        }
    }

    /// Walks the kernel's maps: meant for a scrape's cadence.
    pub(super) fn snapshot(&mut self, now: Now) -> Snapshot {
        Snapshot {
            numbers: self.numbers(now),
            slis: self.traffic.sli_rows(),
            kernel: self.kernel.stats(),
            gauges: self.gauges(self.kernel.fullness()),
            overflowed: self.traffic.red.overflowed(),
            routes_refused: self.traffic.routes.refused(),
            peers_refused: self.traffic.peers.refused(),
        }
    }

    fn gauges(&self, kernel: Fullness) -> Vec<Gauge> {
        let gauge = |name, used, max| Gauge { name, used, max };
        let traffic = &self.traffic;
        let mut gauges = vec![
            gauge("kernel_tasks", kernel.tasks.used as usize, kernel.tasks.max as usize),
            gauge(
                "kernel_connections",
                kernel.connections.used as usize,
                kernel.connections.max as usize,
            ),
            gauge("processes", self.processes.len(), processes::MAX_PROCESSES),
            gauge("services", self.services.len(), self.services.max()),
            gauge("raw_connections", self.raw.len(), self.raw.max()),
            gauge("held_requests", self.held.len(), Held::max()),
            gauge("series", traffic.red.len(Role::Server), traffic.red.limits().series),
            gauge(
                "client_series",
                traffic.red.len(Role::Client),
                traffic.red.limits().series,
            ),
            gauge(
                "routes_of_one_service",
                traffic.routes.fullest(),
                traffic.routes.limits().per_service,
            ),
            gauge(
                "peers_of_one_service",
                traffic.peers.fullest(),
                traffic.peers.limits().per_service,
            ),
            gauge("kernel_routes", self.taught.len(), crate::loader::MAX_ROUTES as usize),
            gauge(
                "kernel_counters",
                kernel.counters.used as usize,
                kernel.counters.max as usize,
            ),
            gauge("sli_rows", traffic.slis.rows(), traffic.slis.limits().rows),
            gauge(
                "sli_receivers",
                traffic.slis.receivers(),
                traffic.slis.limits().receivers,
            ),
        ];
        if let Some(spans) = &traffic.spans {
            let limits = spans.limits();
            gauges.push(gauge("span_queue", spans.len(), limits.capacity));
            gauges.push(gauge("span_queue_bytes", spans.bytes(), limits.capacity_bytes));
        }
        gauges
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use shoalwatch_pipeline::{
        ids::IdSource,
        red::RedMetrics,
        request::{Method, Request, Trace},
    };
    use shoalwatch_protocols::trace_context::OtState;

    use super::*;

    fn histogram(durations_ns: &[u64]) -> Histogram {
        let mut red = RedMetrics::default();
        for duration in durations_ns {
            red.record(&Request {
                service: ServiceId(1),
                start_ns: 1_000,
                end_ns: 1_000 + duration,
                method: Method::Get,
                target: Target::Route(RouteId::OTHER),
                template: "/",
                status: Status::new(200).unwrap(),
                trace: Trace::join(None, OtState::default(), &mut IdSource::new([1, 2, 3, 4])),
            });
        }
        red.iter().next().map(|(_, histogram)| histogram.clone()).unwrap()
    }

    /// A service that answers, with two series of its own, the second of aborted requests, and an overflow series; and that asks, with
    /// a series of a known peer, one of others, and one of aborted calls; and the overflow series of all services.
    pub(crate) fn example() -> Numbers {
        let mut resource = Resource::default();
        resource.set("service.name", "web");
        let series = |target, status, durations: &[u64]| Series {
            attributes: Some(SeriesAttributes {
                target,
                method: "GET",
                status,
            }),
            histogram: histogram(durations),
        };
        let cart = || SeriesTarget::Route(Some("/cart/{id}".into()));
        let peer = || SeriesTarget::Peer(Some(SocketAddr::from(([10, 0, 0, 1], 8080))));
        let overflow = Series {
            attributes: None,
            histogram: histogram(&[1]),
        };
        let code = |code| Status::new(code).unwrap();
        let durations = [3_000_000, 700_000_000, 700_000_000, 60_000_000_000];
        Numbers {
            at_ns: 5_000,
            services: vec![ServiceNumbers {
                resource: Arc::new(resource),
                series: ByRole {
                    server: vec![
                        series(cart(), code(503), &durations),
                        series(cart(), Status::ABORTED, &[2_000_000_000]),
                        overflow,
                    ],
                    client: vec![
                        series(peer(), code(404), &[1, 2]),
                        series(SeriesTarget::Peer(None), code(200), &[1]),
                        series(peer(), Status::ABORTED, &[1]),
                    ],
                },
            }],
            overflow: ByRole {
                server: Some(histogram(&[1, 2])),
                client: None,
            },
        }
    }
}

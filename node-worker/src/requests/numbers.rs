//! Snapshots, taken between two requests: the numbers that OTLP and Prometheus both tell, and the state of the loop itself.

use std::{collections::HashMap, sync::Arc};

use shoalwatch_pipeline::{
    red::{Histogram, SeriesId},
    request::{Method, RouteId, ServiceId, Status},
    routes::RouteTable,
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
    pub(crate) overflow: Option<Histogram>,
}

/// What the page `/metrics` shows of one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) numbers: Numbers,
    /// Every row of the SLIs in force.
    pub(crate) slis: Vec<ReportRow>,
    pub(crate) kernel: Stats,
    pub(crate) gauges: Vec<Gauge>,
    /// Requests that went to an overflow series, and requests whose route had no room.
    pub(crate) overflowed: u64,
    pub(crate) routes_refused: u64,
}

/// The series of one resource.
#[derive(Debug)]
pub(crate) struct ServiceNumbers {
    pub(crate) resource: Arc<Resource>,
    pub(crate) series: Vec<Series>,
}

/// One series of `http.server.request.duration`.
#[derive(Debug)]
pub(crate) struct Series {
    /// Absent: the service's overflow series.
    pub(crate) attributes: Option<SeriesAttributes>,
    pub(crate) histogram: Histogram,
}

/// What tells a series of one resource from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeriesAttributes {
    /// Absent: the path was not seen whole, or there were too many.
    pub(crate) route: Option<Box<str>>,
    pub(crate) method: &'static str,
    /// Without a code there is no `http.response.status_code`; a failure's text is its `error.type`.
    pub(crate) status: Status,
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
        let mut overflow = None;
        for (id, histogram) in self.traffic.red.iter() {
            let (service, attributes) = match id {
                SeriesId::Overflow => {
                    overflow = Some(histogram.clone());
                    continue;
                }
                SeriesId::ServiceOverflow(service) => (service, None),
                SeriesId::Series(key) => {
                    let route = route_name(&self.traffic.routes, key.service, key.route);
                    let attributes = SeriesAttributes {
                        route,
                        method: Method::as_str(key.method),
                        status: key.status,
                    };
                    (key.service, Some(attributes))
                }
            };
            let Some(known) = self.services.get(service) else {
                continue;
            };
            let numbers = services.entry(service).or_insert_with(|| ServiceNumbers {
                resource: Arc::clone(&known.identity.resource),
                series: Vec::new(),
            });
            numbers.series.push(Series {
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

    /// Walks the kernel's maps: meant for a scrape's cadence.
    pub(super) fn snapshot(&mut self, now: Now) -> Snapshot {
        Snapshot {
            numbers: self.numbers(now),
            slis: self.traffic.sli_rows(),
            kernel: self.kernel.stats(),
            gauges: self.gauges(self.kernel.fullness()),
            overflowed: self.traffic.red.overflowed(),
            routes_refused: self.traffic.routes.refused(),
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
            gauge("held_requests", self.held.len(), Held::max()),
            gauge("series", traffic.red.len(), traffic.red.limits().series),
            gauge(
                "routes_of_one_service",
                traffic.routes.fullest(),
                traffic.routes.limits().per_service,
            ),
            gauge("kernel_routes", self.taught.len(), crate::loader::MAX_ROUTES as usize),
            gauge(
                "kernel_counters",
                kernel.counters.used as usize,
                kernel.counters.max as usize,
            ),
            gauge("sli_rows", traffic.slis.rows(), traffic.slis.limits().rows),
        ];
        if let Some(spans) = &traffic.spans {
            let limits = spans.limits();
            gauges.push(gauge("span_queue", spans.len(), limits.capacity));
            gauges.push(gauge("span_queue_bytes", spans.bytes(), limits.capacity_bytes));
        }
        gauges
    }
}

fn route_name(routes: &RouteTable, service: ServiceId, route: RouteId) -> Option<Box<str>> {
    (route != RouteId::OTHER).then(|| routes.name(service, route).into())
}

#[cfg(test)]
pub(crate) mod tests {
    use shoalwatch_pipeline::{
        ids::IdSource,
        red::RedMetrics,
        request::{Request, Trace},
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
                route: RouteId::OTHER,
                template: "/",
                status: Status::new(200).unwrap(),
                trace: Trace::join(None, OtState::default(), &mut IdSource::new([1, 2, 3, 4])),
            });
        }
        red.iter().next().map(|(_, histogram)| histogram.clone()).unwrap()
    }

    /// A service with two series of its own, the second of aborted requests, and an overflow series; and the overflow series of all
    /// services.
    pub(crate) fn example() -> Numbers {
        let mut resource = Resource::default();
        resource.set("service.name", "web");
        let cart = |status| SeriesAttributes {
            route: Some("/cart/{id}".into()),
            method: "GET",
            status,
        };
        let series = |attributes, durations: &[u64]| Series {
            attributes,
            histogram: histogram(durations),
        };
        Numbers {
            at_ns: 5_000,
            services: vec![ServiceNumbers {
                resource: Arc::new(resource),
                series: vec![
                    series(
                        Status::new(503).map(cart),
                        &[3_000_000, 700_000_000, 700_000_000, 60_000_000_000],
                    ),
                    series(Some(cart(Status::ABORTED)), &[2_000_000_000]),
                    series(None, &[1]),
                ],
            }],
            overflow: Some(histogram(&[1, 2])),
        }
    }
}

use super::*;
use crate::request::{PeerId, RouteId, tests::request};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Seen = (u32, Target, Method, u16, u64);

const ROLES: [Role; 2] = [Role::Server, Role::Client];

fn recorded(seen: &Seen) -> Request<'static> {
    let (service, target, method, code, duration) = *seen;
    let (service, status) = (ServiceId(service), Status::recorded(code).unwrap());
    Request {
        service,
        target,
        method,
        status,
        start_ns: 50,
        end_ns: 50 + duration,
        ..request()
    }
}

fn record_all(seen: &[Seen], limits: RedLimits) -> RedMetrics {
    let mut metrics = RedMetrics::new(limits);
    for seen in seen {
        metrics.record(&recorded(seen));
    }
    metrics
}

fn requests() -> impl Strategy<Value = Vec<Seen>> {
    let method = prop::sample::select(&[Method::Get, Method::Post][..]);
    let duration = prop_oneof![0..20_000_000_000u64, prop::sample::select(&BOUNDS_NS[..])];
    let status = prop::sample::select(&[0u16, 200, 503][..]);
    let target = (any::<bool>(), 0u32..4).prop_map(|(serves, number)| {
        if serves {
            Target::Route(RouteId(number))
        } else {
            Target::Peer(PeerId(number))
        }
    });
    prop::collection::vec((0u32..4, target, method, status, duration), 0..120)
}

fn sum<'a>(series: impl Iterator<Item = (SeriesId, &'a Histogram)>) -> (u64, f64) {
    series.fold((0, 0.0), |(count, seconds), (_, histogram)| {
        (count + histogram.count(), seconds + histogram.sum_seconds())
    })
}

proptest! {
    #[test]
    fn no_measurement_is_lost_or_doubled_whatever_the_limits(
        seen in requests(),
        series in 0usize..8,
        series_per_service in 0usize..5,
        services in 0usize..3,
    ) {
        let metrics = record_all(&seen, RedLimits { series, series_per_service, services });
        let (count, seconds) = sum(metrics.iter());
        prop_assert_eq!(count, seen.len() as u64);
        let total: u64 = seen.iter().map(|(.., duration)| duration).sum();
        #[expect(clippy::cast_precision_loss, reason = "compared with a tolerance")]
        let expected = total as f64 / 1e9;
        prop_assert!((seconds - expected).abs() < 1e-6);
        for role in ROLES {
            let of_role = metrics.iter().filter(|(id, _)| matches!(id, SeriesId::Series(key) if key.target.role() == role));
            prop_assert_eq!(metrics.len(role), of_role.count());
            prop_assert!(metrics.len(role) <= series);
            for service in 0..4 {
                let own = |id: &SeriesId| {
                    matches!(id, SeriesId::Series(key) if key.service == ServiceId(service) && key.target.role() == role)
                };
                prop_assert!(metrics.iter().filter(|(id, _)| own(id)).count() <= series_per_service);
            }
            let overflows = metrics.iter().filter(|(id, _)| matches!(id, SeriesId::ServiceOverflow(_, of) if *of == role));
            prop_assert!(overflows.count() <= services);
        }
        let with_attributes = metrics.iter().filter(|(id, _)| matches!(id, SeriesId::Series(_)));
        prop_assert_eq!(sum(with_attributes).0 + metrics.overflowed(), count);
    }

    #[test]
    fn with_room_each_series_has_exactly_its_requests(seen in requests(), removed in 0u32..4) {
        let mut metrics = record_all(&seen, RedLimits::default());
        metrics.remove_service(ServiceId(removed));
        let mut expected: BTreeMap<SeriesId, [u64; 15]> = BTreeMap::new();
        for seen in seen.iter().filter(|seen| seen.0 != removed) {
            let buckets = expected.entry(SeriesId::Series(SeriesKey::from(&recorded(seen)))).or_default();
            // The slow way: count the bounds that the duration is above.
            buckets[BOUNDS_NS.iter().filter(|bound| seen.4 > **bound).count()] += 1;
        }
        let actual: BTreeMap<SeriesId, [u64; 15]> = metrics.iter().map(|(id, histogram)| (id, *histogram.buckets())).collect();
        prop_assert_eq!(actual, expected);
    }

    #[test]
    fn what_is_asked_takes_no_room_from_what_is_answered(seen in requests(), series in 0usize..8, series_per_service in 0usize..5) {
        let limits = RedLimits { series, series_per_service, services: 2 };
        let role_of = |id: SeriesId| match id {
            SeriesId::Series(key) => key.target.role(),
            SeriesId::ServiceOverflow(_, role) | SeriesId::Overflow(role) => role,
        };
        let both = record_all(&seen, limits);
        for role in ROLES {
            let alone: Vec<Seen> = seen.iter().filter(|seen| seen.1.role() == role).copied().collect();
            let alone = record_all(&alone, limits);
            let expected: BTreeMap<SeriesId, [u64; 15]> = alone.iter().map(|(id, histogram)| (id, *histogram.buckets())).collect();
            let of_role = both.iter().filter(|(id, _)| role_of(*id) == role);
            prop_assert_eq!(of_role.map(|(id, histogram)| (id, *histogram.buckets())).collect::<BTreeMap<_, _>>(), expected);
        }
    }

    #[test]
    fn a_services_total_is_right_even_when_its_series_overflow(seen in requests()) {
        let metrics = record_all(&seen, RedLimits { series: 3, series_per_service: 2, services: 4 });
        for service in 0..4 {
            let own = metrics.iter().filter(|(id, _)| match id {
                SeriesId::Series(key) => key.service == ServiceId(service),
                SeriesId::ServiceOverflow(id, _) => *id == ServiceId(service),
                SeriesId::Overflow(_) => false,
            });
            prop_assert_eq!(sum(own).0, seen.iter().filter(|seen| seen.0 == service).count() as u64);
        }
    }
}

#[test]
fn bounds_in_seconds_and_nanoseconds_are_the_same_and_inclusive() {
    for (seconds, nanoseconds) in BOUNDS_SECONDS.iter().zip(BOUNDS_NS) {
        assert_eq!(
            std::time::Duration::from_secs_f64(*seconds).as_nanos(),
            u128::from(nanoseconds)
        );
    }
    let mut histogram = Histogram::new(0);
    histogram.record(BOUNDS_NS[0]);
    histogram.record(BOUNDS_NS[0] + 1);
    assert_eq!(histogram.buckets()[..3], [1, 1, 0]);
}

#[test]
fn a_series_begins_with_its_first_request_and_room_is_given_back() {
    let mut metrics = RedMetrics::new(RedLimits {
        series: 1,
        series_per_service: 1,
        services: 1,
    });
    assert!(metrics.is_empty());
    metrics.record(&Request {
        service: ServiceId(1),
        start_ns: 70,
        ..request()
    });
    metrics.record(&Request {
        service: ServiceId(1),
        start_ns: 90,
        ..request()
    });
    assert_eq!(
        metrics
            .iter()
            .map(|(_, histogram)| histogram.start_ns())
            .collect::<Vec<_>>(),
        [70]
    );
    metrics.remove_service(ServiceId(1));
    for service in [2, 1] {
        metrics.record(&Request {
            service: ServiceId(service),
            ..request()
        });
    }
    let second = SeriesId::Series(SeriesKey::from(&Request {
        service: ServiceId(2),
        ..request()
    }));
    assert_eq!(
        metrics.iter().map(|(id, _)| id).collect::<Vec<_>>(),
        [second, SeriesId::ServiceOverflow(ServiceId(1), Role::Server)]
    );
}

#[test]
fn a_removed_service_may_have_as_many_series_again() {
    let mut metrics = RedMetrics::new(RedLimits {
        series: 9,
        series_per_service: 1,
        services: 1,
    });
    for _ in 0..2 {
        metrics.record(&request());
        assert_eq!((metrics.len(Role::Server), metrics.overflowed()), (1, 0));
        metrics.remove_service(request().service);
    }
}

//! Route tables and batch buffers against simple models.

use proptest::prelude::*;
use shoalwatch_pipeline::batch::{BatchBuffer, BatchLimits};
use shoalwatch_pipeline::loss::{Loss, LossCounters};
use shoalwatch_pipeline::request::{RouteId, ServiceId};
use shoalwatch_pipeline::routes::{RouteLimits, RouteTable};
use std::collections::HashMap;

proptest! {
    #[test]
    fn a_template_has_one_number_for_ever_and_the_numbers_are_bounded(
        seen in prop::collection::vec((0u32..4, "/[a-d]{1,2}"), 0..100),
        per_service in 0usize..5,
        services in 0usize..4,
    ) {
        let mut table = RouteTable::new(RouteLimits { per_service, services });
        let mut given: HashMap<(u32, String), RouteId> = HashMap::new();
        let mut refused = 0;
        for (service, template) in seen {
            let id = table.intern(ServiceId(service), &template);
            refused += u64::from(id == RouteId::OTHER);
            let name = if id == RouteId::OTHER { "_OTHER" } else { &template };
            prop_assert_eq!(table.name(ServiceId(service), id), name);
            prop_assert_eq!(*given.entry((service, template)).or_insert(id), id);
            prop_assert!(table.len(ServiceId(service)) <= per_service && table.services() <= services);
        }
        prop_assert_eq!(table.refused(), refused);
        for service in 0..4 {
            let mut ids: Vec<u32> = given.iter().filter(|((of, _), id)| *of == service && id.0 > 0).map(|(_, id)| id.0).collect();
            ids.sort_unstable();
            let expected: Vec<u32> = (1..).take(table.len(ServiceId(service))).collect();
            prop_assert_eq!(ids, expected);
        }
    }

    #[test]
    fn every_item_is_sent_once_in_order_or_counted_as_lost(
        steps in prop::collection::vec((any::<bool>(), 0u64..30), 0..200),
        capacity in 0usize..10,
        batch in 0usize..6,
    ) {
        let mut buffer = BatchBuffer::new(BatchLimits { capacity, batch, max_age_ns: 50 });
        let losses = LossCounters::default();
        let (mut now, mut pushed, mut kept, mut sent, mut out) = (0, 0u64, Vec::new(), Vec::new(), Vec::new());
        for (push, wait) in steps {
            now += wait;
            if push {
                pushed += 1;
                if buffer.push((now, pushed), now, &losses) {
                    kept.push(pushed);
                }
            } else {
                let oldest = buffer.due_at();
                let due = buffer.len() >= batch.max(1) || oldest.is_some_and(|due| due <= now);
                prop_assert_eq!(buffer.take_due(now, &mut out), due);
                prop_assert!(out.len() <= batch.max(1) && out.is_empty() != due);
                prop_assert!(oldest.is_none_or(|oldest| out.first().is_none_or(|(at, _)| at + 50 == oldest)));
                sent.extend(out.iter().map(|(_, item)| *item));
            }
            prop_assert!(buffer.len() <= buffer.capacity());
        }
        while buffer.take_any(&mut out) {
            sent.extend(out.iter().map(|(_, item)| *item));
        }
        prop_assert_eq!(kept.len() as u64 + losses.get(Loss::QueueFull), pushed);
        prop_assert_eq!(sent, kept);
    }
}

#[test]
fn a_removed_service_gives_its_room_back() {
    let mut table = RouteTable::new(RouteLimits {
        per_service: 1,
        services: 1,
    });
    assert_eq!(table.intern(ServiceId(1), "/a"), RouteId(1));
    assert_eq!(table.intern(ServiceId(2), "/b"), RouteId::OTHER);
    table.remove_service(ServiceId(1));
    assert_eq!(table.intern(ServiceId(2), "/b"), RouteId(1));
    assert_eq!(
        (
            table.name(ServiceId(2), RouteId(1)),
            table.name(ServiceId(1), RouteId(1))
        ),
        ("/b", "_OTHER")
    );
    assert_eq!(table.fullest(), 1);
}

#[test]
fn other_takes_no_room() {
    let mut table = RouteTable::new(RouteLimits::default());
    assert_eq!(table.intern(ServiceId(1), "_OTHER"), RouteId::OTHER);
    assert_eq!((table.refused(), table.services()), (0, 0));
}

#[test]
fn what_is_left_at_the_end_is_counted_as_lost() {
    let mut buffer = BatchBuffer::new(BatchLimits::default());
    let losses = LossCounters::default();
    assert!(buffer.push("a", 0, &losses) && buffer.push("b", 0, &losses));
    buffer.discard(Loss::QueueShutdown, &losses);
    assert!(buffer.is_empty());
    assert_eq!(losses.get(Loss::QueueShutdown), 2);
}

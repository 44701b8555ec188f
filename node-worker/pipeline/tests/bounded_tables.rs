//! Tables of routes and peers against a simple model.

use proptest::prelude::*;
use shoalwatch_pipeline::peers::{PeerLimits, PeerTable};
use shoalwatch_pipeline::request::{PeerId, RouteId, ServiceId};
use shoalwatch_pipeline::routes::{RouteLimits, RouteTable};
use std::collections::HashMap;
use std::net::SocketAddr;

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
    fn a_peer_keeps_its_number_and_one_too_many_is_other(
        seen in prop::collection::vec((0u32..3, 1u16..6), 0..60),
        per_service in 0usize..5,
        services in 0usize..3,
    ) {
        let mut table = PeerTable::new(PeerLimits { per_service, services });
        let mut given: HashMap<(u32, SocketAddr), PeerId> = HashMap::new();
        let mut refused = 0;
        for (service, port) in seen {
            let peer = SocketAddr::from(([10, 0, 0, 1], port));
            let id = table.intern(ServiceId(service), peer);
            refused += u64::from(id == PeerId::OTHER);
            prop_assert_eq!(table.peer(ServiceId(service), id), (id != PeerId::OTHER).then_some(peer));
            prop_assert_eq!(*given.entry((service, peer)).or_insert(id), id);
            prop_assert!(table.fullest() <= per_service && id.0 as usize <= per_service);
        }
        prop_assert_eq!(table.refused(), refused);
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
fn a_removed_service_gives_the_room_of_its_peers_back() {
    let (mut table, peer) = (
        PeerTable::new(PeerLimits {
            per_service: 1,
            services: 1,
        }),
        SocketAddr::from(([10, 0, 0, 1], 80)),
    );
    assert_eq!(table.intern(ServiceId(1), peer), PeerId(1));
    assert_eq!(table.intern(ServiceId(2), peer), PeerId::OTHER);
    table.remove_service(ServiceId(1));
    assert_eq!(table.peer(ServiceId(1), PeerId(1)), None);
    assert_eq!(table.intern(ServiceId(2), peer), PeerId(1));
}

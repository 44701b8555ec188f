//! What the kernel can be taught, so that it counts by itself.

use std::net::{IpAddr, SocketAddr};

use shoalwatch_pipeline::request::{PeerId, RouteId, ServiceId, Target};
use shoalwatch_protocols::{
    http1::{RequestHead, TargetForm},
    route,
};

use crate::loader::{RequestEvent, Role, peer_hash};

/// A route, or a peer, whose requests the kernel could count by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lesson {
    pub(super) service: ServiceId,
    /// All others: the service has all that it may have.
    pub(super) target: Target,
    pub(super) shape: u64,
}

impl Lesson {
    pub(super) const fn is_of_others(&self) -> bool {
        matches!(self.target, Target::Route(RouteId::OTHER) | Target::Peer(PeerId::OTHER))
    }
}

/// How the kernel knows the route, or the peer; absent where it could not tell it from others.
pub(super) fn shape(event: &RequestEvent<'_>, head: &RequestHead<'_>) -> Option<u64> {
    match event.role {
        Role::Server => {
            let tells_apart = head.form == TargetForm::Origin && !head.path_cut;
            tells_apart.then(|| route::shape_hash(head.path))
        }
        Role::Client => event.peer.map(peer_shape),
    }
}

fn peer_shape(peer: SocketAddr) -> u64 {
    let address = match peer.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let address = u128::from_le_bytes(address.octets());
    peer_hash(low_half(address), low_half(address >> 64), peer.port())
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
const fn low_half(number: u128) -> u64 {
    number as u64
}

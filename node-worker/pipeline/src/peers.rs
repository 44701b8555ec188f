//! A number for each peer that a service calls, and one for all that are too many.

use crate::interned::Interned;
use crate::request::{PeerId, ServiceId};
use std::net::SocketAddr;

/// Bounds of a [`PeerTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Peers of one service. A service calls few others, but each at as many addresses as it has pods, unless a Service stands
    /// before them.
    pub per_service: usize,
    /// Services that have peers at all.
    pub services: usize,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            per_service: 64,
            services: 1_000,
        }
    }
}

/// Gives each distinct peer of a service a number, in the order in which they come. Peers beyond the bounds are [`PeerId::OTHER`].
/// Numbers mean something only together with their service.
#[derive(Debug)]
pub struct PeerTable {
    limits: PeerLimits,
    peers: Interned<SocketAddr>,
}

impl Default for PeerTable {
    fn default() -> Self {
        Self::new(PeerLimits::default())
    }
}

impl PeerTable {
    /// An empty table.
    #[must_use]
    pub fn new(limits: PeerLimits) -> Self {
        Self {
            limits,
            peers: Interned::new(limits.per_service, limits.services),
        }
    }

    /// The number of a peer, a new one if it is new and fits. Allocates only for a new one.
    pub fn intern(&mut self, service: ServiceId, peer: SocketAddr) -> PeerId {
        self.peers.intern(service, &peer).map_or(PeerId::OTHER, PeerId)
    }

    /// The peer of a number; absent for [`PeerId::OTHER`] and numbers that were never given.
    #[must_use]
    pub fn peer(&self, service: ServiceId, number: PeerId) -> Option<SocketAddr> {
        self.peers.name(service, number.0).copied()
    }

    /// Forgets a service. Its numbers must not be used any more: remove its series first.
    pub fn remove_service(&mut self, service: ServiceId) {
        self.peers.remove_service(service);
    }

    /// Peers of the service that has most, for a fullness metric against [`PeerLimits::per_service`].
    #[must_use]
    pub fn fullest(&self) -> usize {
        self.peers.fullest()
    }

    /// Requests whose peer did not fit.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.peers.refused()
    }

    /// The bounds.
    #[must_use]
    pub const fn limits(&self) -> PeerLimits {
        self.limits
    }
}

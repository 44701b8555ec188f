//! A number for each route template of a service, and one for all that are too many.

use crate::interned::Interned;
use crate::request::{RouteId, ServiceId};
use shoalwatch_protocols::route::OTHER;

/// Bounds of a [`RouteTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteLimits {
    /// Templates of one service.
    pub per_service: usize,
    /// Services that have templates at all.
    pub services: usize,
}

impl Default for RouteLimits {
    fn default() -> Self {
        Self {
            per_service: 200,
            services: 1_000,
        }
    }
}

/// Gives each distinct template of a service a number, in the order in which they come. Templates beyond the bounds are
/// [`RouteId::OTHER`]. Numbers mean something only together with their service.
#[derive(Debug)]
pub struct RouteTable {
    limits: RouteLimits,
    templates: Interned<String>,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::new(RouteLimits::default())
    }
}

impl RouteTable {
    /// An empty table.
    #[must_use]
    pub fn new(limits: RouteLimits) -> Self {
        Self {
            limits,
            templates: Interned::new(limits.per_service, limits.services),
        }
    }

    /// The number of a template, a new one if it is new and fits. Allocates only for a new one.
    pub fn intern(&mut self, service: ServiceId, template: &str) -> RouteId {
        if template == OTHER {
            return RouteId::OTHER;
        }
        self.templates.intern(service, template).map_or(RouteId::OTHER, RouteId)
    }

    /// The template of a number; `_OTHER` for [`RouteId::OTHER`] and numbers that were never given.
    #[must_use]
    pub fn name(&self, service: ServiceId, route: RouteId) -> &str {
        self.templates.name(service, route.0).map_or(OTHER, String::as_str)
    }

    /// Forgets a service. Its numbers must not be used any more: remove its series first.
    pub fn remove_service(&mut self, service: ServiceId) {
        self.templates.remove_service(service);
    }

    /// Templates of one service, for a fullness metric against [`RouteLimits::per_service`].
    #[must_use]
    pub fn len(&self, service: ServiceId) -> usize {
        self.templates.len(service)
    }

    /// Services that have templates, for a fullness metric against [`RouteLimits::services`].
    #[must_use]
    pub fn services(&self) -> usize {
        self.templates.services()
    }

    /// Templates of the service that has most.
    #[must_use]
    pub fn fullest(&self) -> usize {
        self.templates.fullest()
    }

    /// Requests that became `_OTHER` because their template did not fit.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.templates.refused()
    }

    /// The bounds.
    #[must_use]
    pub const fn limits(&self) -> RouteLimits {
        self.limits
    }
}

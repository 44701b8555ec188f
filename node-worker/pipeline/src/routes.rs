//! A number for each route template of a service, and one for all that are too many.

use crate::request::{RouteId, ServiceId};
use shoalwatch_protocols::route::OTHER;
use std::collections::HashMap;

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
#[derive(Debug, Default)]
pub struct RouteTable {
    limits: RouteLimits,
    services: HashMap<ServiceId, Routes>,
    refused: u64,
}

#[derive(Debug, Default)]
struct Routes {
    ids: HashMap<Box<str>, RouteId>,
    /// The name of route `n` is at `n − 1`.
    names: Vec<Box<str>>,
}

impl RouteTable {
    /// An empty table.
    #[must_use]
    pub fn new(limits: RouteLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// The number of a template, a new one if it is new and fits. Allocates only for a new one.
    pub fn intern(&mut self, service: ServiceId, template: &str) -> RouteId {
        if template == OTHER {
            return RouteId::OTHER;
        }
        let known = self.services.len();
        let id = match self.services.get_mut(&service) {
            Some(routes) => routes.intern(template, self.limits.per_service),
            None if known < self.limits.services => self
                .services
                .entry(service)
                .or_default()
                .intern(template, self.limits.per_service),
            None => None,
        };
        id.unwrap_or_else(|| {
            self.refused += 1;
            RouteId::OTHER
        })
    }

    /// The template of a number; `_OTHER` for [`RouteId::OTHER`] and numbers that were never given.
    #[must_use]
    pub fn name(&self, service: ServiceId, route: RouteId) -> &str {
        let index = (route.0 as usize).checked_sub(1);
        let routes = self.services.get(&service);
        routes
            .zip(index)
            .and_then(|(routes, index)| routes.names.get(index))
            .map_or(OTHER, |name| name)
    }

    /// Forgets a service. Its numbers must not be used any more: remove its series first.
    pub fn remove_service(&mut self, service: ServiceId) {
        self.services.remove(&service);
    }

    /// Templates of one service, for a fullness metric against [`RouteLimits::per_service`].
    #[must_use]
    pub fn len(&self, service: ServiceId) -> usize {
        self.services.get(&service).map_or(0, |routes| routes.names.len())
    }

    /// Services that have templates, for a fullness metric against [`RouteLimits::services`].
    #[must_use]
    pub fn services(&self) -> usize {
        self.services.len()
    }

    /// Templates of the service that has most.
    #[must_use]
    pub fn fullest(&self) -> usize {
        self.services
            .values()
            .map(|routes| routes.names.len())
            .max()
            .unwrap_or(0)
    }

    /// Requests that became `_OTHER` because their template did not fit.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// The bounds.
    #[must_use]
    pub const fn limits(&self) -> RouteLimits {
        self.limits
    }
}

impl Routes {
    fn intern(&mut self, template: &str, max: usize) -> Option<RouteId> {
        if let Some(id) = self.ids.get(template) {
            return Some(*id);
        }
        if self.names.len() >= max {
            return None;
        }
        let id = RouteId(u32::try_from(self.names.len() + 1).ok()?);
        self.names.push(template.into());
        self.ids.insert(template.into(), id);
        Some(id)
    }
}

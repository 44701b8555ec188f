//! Routes and peers that the kernel counts by itself.
//!
//! A route's first requests come as events. The worker gives the route a number, tells the kernel the shape of its paths, and from then
//! on reads histograms in place of events. Counters in the kernel are cumulative and live as long as their service: what is new in them
//! since the last reading goes into the same series as the events did. A client's peer is its route: the same holds for it.

use std::collections::{HashMap, HashSet};

use shoalwatch_pipeline::request::{self, ServiceId, Target};
use shoalwatch_protocols::route::OTHER;
use tracing::warn;

use super::{kernel::Kernel, lesson::Lesson};
use crate::loader::{Counter, CounterKey, MAX_ROUTES, Role, RouteKey};

/// A number that no route gets: it means "not counted in the kernel".
const NONE: u32 = 0;

/// What a number stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) service: ServiceId,
    pub(super) target: Target,
    /// What rules know a server's route by.
    pub(super) template: Box<str>,
    /// How the kernel knows it; absent for the numbers of all others of a service.
    key: Option<RouteKey>,
}

/// All numbers in use.
#[derive(Debug, Default)]
pub(super) struct Taught {
    /// By number.
    routes: Vec<Option<Route>>,
    free: Vec<u32>,
    known: HashSet<RouteKey>,
    others: HashMap<(ServiceId, Target), u32>,
    seen: HashMap<CounterKey, Counter>,
    in_use: usize,
}

/// What was counted since the last reading.
pub(super) struct More<'a> {
    pub(super) route: &'a Route,
    pub(super) method: u8,
    pub(super) status: u16,
    pub(super) counter: Counter,
}

impl Taught {
    /// The number that everything is counted under that has none of its own: `target` is all others. Given on first use. Absent where
    /// there are too many.
    pub(super) fn others(&mut self, service: ServiceId, target: Target) -> Option<u32> {
        if let Some(number) = self.others.get(&(service, target)) {
            return Some(*number);
        }
        let number = self.give(Route {
            service,
            target,
            template: OTHER.into(),
            key: None,
        })?;
        self.others.insert((service, target), number);
        Some(number)
    }

    /// Whether the kernel has to be told of a route. Events of it may still be on their way when it was.
    pub(super) fn is_new(&self, lesson: &Lesson) -> bool {
        !self.known.contains(&key_of(lesson))
    }

    /// A number for a route or a peer. Absent where there are too many.
    pub(super) fn learn(&mut self, lesson: &Lesson, template: &str) -> Option<u32> {
        let key = key_of(lesson);
        let number = self.give(Route {
            service: lesson.service,
            target: lesson.target,
            template: template.into(),
            key: Some(key),
        })?;
        self.known.insert(key);
        Some(number)
    }

    fn give(&mut self, route: Route) -> Option<u32> {
        let number = if let Some(number) = self.free.pop() {
            number
        } else {
            let next = u32::try_from(self.routes.len()).ok()?.max(NONE + 1);
            self.routes.resize(next as usize, None);
            (next < MAX_ROUTES).then_some(next)?
        };
        let place = number as usize;
        if place == self.routes.len() {
            self.routes.push(None);
        }
        self.routes[place] = Some(route);
        self.in_use += 1;
        Some(number)
    }

    /// Every number with what it stands for.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Route)> {
        (0..)
            .zip(&self.routes)
            .filter_map(|(number, route)| Some((number, route.as_ref()?)))
    }

    /// Hands over what was counted since the last call.
    pub(super) fn read(&mut self, kernel: &dyn Kernel, sink: &mut dyn FnMut(&More<'_>)) {
        let Self { routes, seen, .. } = self;
        let result = kernel.read_counters(&mut |key, counter| {
            let before = seen.insert(key, *counter).unwrap_or(Counter::EMPTY);
            let more = counter.since(&before);
            let route = routes.get(key.route as usize).and_then(Option::as_ref);
            if let Some(route) = route.filter(|_| more.count() > 0) {
                sink(&More {
                    route,
                    method: key.method,
                    status: key.status,
                    counter: more,
                });
            }
        });
        if let Err(error) = result {
            warn!(%error, "the kernel's counters cannot be read");
        }
    }

    /// Forgets services that have no process any more. What was counted for them must have been read.
    pub(super) fn forget(&mut self, services: &[ServiceId], kernel: &mut dyn Kernel) {
        let gone: Vec<u32> = self
            .iter()
            .filter(|(_, route)| services.contains(&route.service))
            .map(|(number, _)| number)
            .collect();
        for number in &gone {
            let key = self.routes[*number as usize].take().and_then(|route| route.key);
            if let Some(key) = key {
                self.known.remove(&key);
                kernel.forget_route(key);
            }
        }
        self.others.retain(|(service, _), _| !services.contains(service));
        let counters: Vec<CounterKey> = self
            .seen
            .keys()
            .filter(|key| gone.contains(&key.route))
            .copied()
            .collect();
        for key in counters {
            self.seen.remove(&key);
            kernel.forget_counter(key);
        }
        self.in_use -= gone.len();
        self.free.extend(gone);
    }

    pub(super) const fn len(&self) -> usize {
        self.in_use
    }
}

/// How the kernel knows what it is taught.
pub(super) const fn key_of(lesson: &Lesson) -> RouteKey {
    let role = match lesson.target.role() {
        request::Role::Server => Role::Server,
        request::Role::Client => Role::Client,
    };
    RouteKey {
        service: lesson.service.0,
        role: role as u32,
        shape: lesson.shape,
    }
}

#[cfg(test)]
mod tests {
    use shoalwatch_pipeline::request::{PeerId, RouteId};

    use super::*;
    use crate::requests::FakeKernel;

    const OTHERS: Target = Target::Route(RouteId::OTHER);

    fn lesson(service: u32, shape: u64) -> Lesson {
        Lesson {
            service: ServiceId(service),
            target: Target::Route(RouteId(1)),
            shape,
        }
    }

    fn counter(requests: u64) -> Counter {
        let mut counter = Counter::EMPTY;
        counter.buckets[0] = requests;
        counter.sum_ns = requests * 10;
        counter
    }

    fn key(route: u32, status: u16) -> CounterKey {
        CounterKey {
            route,
            status,
            method: 2,
            reserved: 0,
        }
    }

    fn read(taught: &mut Taught, kernel: &FakeKernel) -> Vec<(u32, u16, u64)> {
        let mut all = Vec::new();
        taught.read(kernel, &mut |more| {
            all.push((more.route.service.0, more.status, more.counter.count()));
        });
        all
    }

    #[test]
    fn only_what_is_new_is_handed_over_and_only_once() {
        let (mut taught, kernel) = (Taught::default(), FakeKernel::default());
        let number = taught.learn(&lesson(7, 1), "/a").unwrap();
        kernel.lock().counters.insert((number, 200, 2), counter(3));
        assert_eq!(read(&mut taught, &kernel), [(7, 200, 3)]);
        assert_eq!(read(&mut taught, &kernel), []);
        kernel.lock().counters.insert((number, 200, 2), counter(5));
        assert_eq!(read(&mut taught, &kernel), [(7, 200, 2)]);
    }

    #[test]
    fn a_number_is_used_again_only_after_its_counters_are_gone() {
        let (mut taught, mut kernel) = (Taught::default(), FakeKernel::default());
        let [old, stays] = [7, 8].map(|id| taught.learn(&lesson(id, 1), "/a").unwrap());
        kernel.lock().counters.insert((old, 200, 2), counter(3));
        read(&mut taught, &kernel);
        taught.forget(&[ServiceId(7)], &mut kernel);
        assert!(kernel.lock().counters.is_empty());
        assert_eq!((taught.len(), kernel.lock().forgotten.len()), (1, 1));
        let again = taught.learn(&lesson(9, 1), "/b").unwrap();
        assert_eq!((again, again == stays), (old, false));
        kernel.lock().counters.insert((again, 200, 2), counter(1));
        assert_eq!(read(&mut taught, &kernel), [(9, 200, 1)]);
        assert!(!taught.seen.contains_key(&key(old, 503)));
    }

    #[test]
    fn there_are_at_most_as_many_as_the_kernel_has_room_for() {
        let mut taught = Taught::default();
        let given = (0..1 << 20).map_while(|shape| taught.learn(&lesson(1, shape), "/a"));
        assert_eq!(given.count(), MAX_ROUTES as usize - 1);
        assert_eq!(taught.others(ServiceId(1), OTHERS), None);
    }

    #[test]
    fn a_peer_is_no_route_although_they_are_known_by_the_same_number() {
        let mut taught = Taught::default();
        taught.learn(&lesson(1, 5), "/a").unwrap();
        let peer = Lesson {
            target: Target::Peer(PeerId(1)),
            ..lesson(1, 5)
        };
        assert!(taught.is_new(&peer));
        taught.learn(&peer, OTHER).unwrap();
        assert!(!taught.is_new(&peer));
        assert_ne!(
            taught.others(ServiceId(1), OTHERS),
            taught.others(ServiceId(1), Target::Peer(PeerId::OTHER))
        );
    }

    #[test]
    fn a_service_has_one_number_for_all_others() {
        let mut taught = Taught::default();
        let number = taught.others(ServiceId(1), OTHERS).unwrap();
        assert_ne!(number, NONE);
        assert_eq!(taught.others(ServiceId(1), OTHERS), Some(number));
        assert_ne!(taught.others(ServiceId(2), OTHERS), Some(number));
    }
}

//! From a process to who it is: pod, container, owner, revision, or a service of the host.

mod host;
mod identity;
mod image;
mod index;
mod pod;
mod resource;
mod watch;

pub(crate) use host::{identity as host_identity, service_of};
pub(crate) use identity::{Identity, IdentityKey};
pub(crate) use index::PodIndex;
#[cfg(test)]
pub(crate) use pod::PodFacts;
pub(crate) use resource::Resource;
pub(crate) use watch::follow_pods;

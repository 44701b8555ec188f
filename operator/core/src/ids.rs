//! Names that must not be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps a name as it is.
            #[must_use]
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The `pod-template-hash` of a `ReplicaSet`: what workers see on a pod. `rollout restart` makes a new one.
    Revision
}
name! {
    /// The hash of a pod template without `kubectl.kubernetes.io/restartedAt`: what is judged. A restart keeps it.
    ReleaseId
}
name! {
    /// The indicator of one SLO, unique and stable for the SLO's life.
    SliId
}
name! {
    /// A node worker; the name of its node.
    WorkerId
}
name! {
    /// One start of a worker: its cumulative counts begin at zero with it. Random, without order.
    StartId
}

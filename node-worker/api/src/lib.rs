//! The contract between operator and node workers.
//!
//! [`wire`] is what travels (`proto/distribution.proto`, generated code checked in); [`config`] is the same
//! configuration as validated Rust types, which is also the format of a worker's `--config` file and of its last-good
//! file. What crosses from one to the other is checked once, in [`convert`]; later code need not look again.

#![forbid(unsafe_code)]

pub mod config;
pub mod convert;
pub mod limits;
mod version;

pub use version::{content_hash, encoded_hash};

/// The ServiceAccount token's audience; a token made for another one is refused.
pub const TOKEN_AUDIENCE: &str = "shoalwatch.dev/distribution";

/// The same for tokens that the operator's replicas show each other.
pub const REPLICA_AUDIENCE: &str = "shoalwatch.dev/replicas";

/// The ConfigMap in the operator's namespace whose key [`CA_KEY`] holds the certificate that workers trust.
pub const CA_CONFIG_MAP: &str = "shoalwatch-ca";

/// See [`CA_CONFIG_MAP`].
pub const CA_KEY: &str = "ca.crt";

/// Generated from `proto/distribution.proto`: rewrite with `make proto`.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod wire {
    include!("generated/shoalwatch.node.v1alpha1.rs");
}

/// What replicas of the operator say to each other. Generated from `proto/replicas.proto`: rewrite with `make proto`.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod replicas {
    include!("generated/shoalwatch.operator.v1alpha1.rs");
}

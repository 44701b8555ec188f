//! The Kubernetes kinds of Shoalwatch, as Rust types and as generated CRDs.
//!
//! Two kinds of group [`names::GROUP`], both namespaced: [`SamplingPolicy`] says which traces are exported, [`Slo`] says what
//! a workload promises and whether a release that breaks the promise is undone.
//!
//! - Doc comments are the API's documentation: `kubectl explain` shows them.
//! - Whatever a schema can check is a CEL rule whose message says what to write; the rest is checked by the operator, which
//!   reads texts through [`values`] and gets the same message.
//! - Defaults stand in the schema, so the API server writes them into every object, and in serde, for files.
//! - Unknown fields are pruned by the API server, so no type refuses them.
//! - `cargo run -p shoalwatch-crds --bin crdgen` writes `crds/yaml/`; a test keeps it golden.
#![forbid(unsafe_code)]

pub mod conditions;
mod definitions;
pub mod names;
#[expect(
    clippy::duplicated_attributes,
    unreachable_pub,
    reason = "columns repeat their keys; KubeSchema copies every struct into a function"
)]
pub mod sampling_policy;
mod schema;
#[expect(
    clippy::duplicated_attributes,
    unreachable_pub,
    reason = "columns repeat their keys; KubeSchema copies every struct into a function"
)]
pub mod slo;
pub mod text;
pub mod values;

pub use definitions::{DefinitionError, DefinitionFile, definition, files};
pub use sampling_policy::{SamplingPolicy, SamplingPolicySpec, SamplingPolicyStatus};
pub use slo::{Slo, SloSpec, SloStatus};

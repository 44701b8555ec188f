//! Where configurations come from: an operator, the node's disk, or a file.

mod apply;
mod client;
mod credentials;
mod file;
mod last_good;
mod programme;
mod replicas;
#[cfg(test)]
mod tests;

pub(crate) use apply::Applier;
pub(crate) use client::ClientSettings;
pub(crate) use credentials::Authority;
pub(crate) use file::ConfigFile;
pub(crate) use last_good::LastGood;
pub(crate) use replicas::{LastWords, OperatorClient, Resolve, dns};

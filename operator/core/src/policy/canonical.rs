//! An encoding in which equal content has equal bytes and different content has different bytes.
//!
//! Every value is written with a length or at a fixed width, every list with its length: no two values share an encoding.
//! Changing this file changes every version and so pushes every plan once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::model::{HttpStatus, Limit, Policy, Probability, Requirement, Route, Rule, Selector, SliSpec};

/// A value that can be hashed.
pub(super) trait Canonical {
    fn write(&self, out: &mut Hasher);
}

/// SHA-256 over canonical bytes.
#[derive(Default)]
pub(super) struct Hasher(Sha256);

impl Hasher {
    /// Lower-case hex.
    pub(super) fn finish(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bytes = self.0.finalize();
        bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|half| char::from(DIGITS[usize::from(half)]))
            .collect()
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

impl Canonical for u64 {
    fn write(&self, out: &mut Hasher) {
        out.bytes(&self.to_be_bytes());
    }
}

impl Canonical for bool {
    fn write(&self, out: &mut Hasher) {
        u64::from(*self).write(out);
    }
}

impl Canonical for str {
    fn write(&self, out: &mut Hasher) {
        length(self.len()).write(out);
        out.bytes(self.as_bytes());
    }
}

impl Canonical for String {
    fn write(&self, out: &mut Hasher) {
        self.as_str().write(out);
    }
}

impl Canonical for Duration {
    fn write(&self, out: &mut Hasher) {
        self.as_secs().write(out);
        u64::from(self.subsec_nanos()).write(out);
    }
}

impl Canonical for Probability {
    fn write(&self, out: &mut Hasher) {
        self.value().to_bits().write(out);
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn write(&self, out: &mut Hasher) {
        self.is_some().write(out);
        if let Some(value) = self {
            value.write(out);
        }
    }
}

impl<T: Canonical> Canonical for Arc<T> {
    fn write(&self, out: &mut Hasher) {
        self.as_ref().write(out);
    }
}

impl<T: Canonical> Canonical for [T] {
    fn write(&self, out: &mut Hasher) {
        length(self.len()).write(out);
        for value in self {
            value.write(out);
        }
    }
}

impl<T: Canonical> Canonical for BTreeSet<T> {
    fn write(&self, out: &mut Hasher) {
        length(self.len()).write(out);
        for value in self {
            value.write(out);
        }
    }
}

impl Canonical for BTreeMap<String, String> {
    fn write(&self, out: &mut Hasher) {
        length(self.len()).write(out);
        for (key, value) in self {
            key.write(out);
            value.write(out);
        }
    }
}

impl Canonical for HttpStatus {
    fn write(&self, out: &mut Hasher) {
        let (kind, value) = match *self {
            Self::Code(code) => (0_u64, u64::from(code)),
            Self::Class(class) => (1, u64::from(class)),
            Self::Aborted => (2, 0),
        };
        kind.write(out);
        value.write(out);
    }
}

impl Canonical for Route {
    fn write(&self, out: &mut Hasher) {
        let (kind, text) = match self {
            Self::Exact(text) => (0_u64, text),
            Self::Prefix(text) => (1, text),
        };
        kind.write(out);
        text.write(out);
    }
}

impl Canonical for Rule {
    fn write(&self, out: &mut Hasher) {
        let Self {
            name,
            route,
            methods,
            status,
            duration_at_least,
            probability,
        } = self;
        name.write(out);
        route.write(out);
        methods.write(out);
        status.write(out);
        duration_at_least.write(out);
        probability.write(out);
    }
}

impl Canonical for Limit {
    fn write(&self, out: &mut Hasher) {
        u64::from(self.traces_per_second).write(out);
        u64::from(self.burst).write(out);
    }
}

impl Canonical for Requirement {
    fn write(&self, out: &mut Hasher) {
        let Self { key, operator, values } = self;
        key.write(out);
        (*operator as u64).write(out);
        values.write(out);
    }
}

impl Canonical for Selector {
    fn write(&self, out: &mut Hasher) {
        self.match_labels.write(out);
        self.match_expressions.write(out);
    }
}

impl Canonical for Policy {
    /// Without age and priority: they decide the order, and the order is written.
    fn write(&self, out: &mut Hasher) {
        let Self {
            namespace,
            name,
            created: _,
            priority: _,
            selector,
            probability,
            rules,
            limit,
            honour_parent,
            dry_run,
        } = self;
        namespace.write(out);
        name.write(out);
        selector.write(out);
        probability.write(out);
        rules.as_slice().write(out);
        limit.write(out);
        honour_parent.write(out);
        dry_run.write(out);
    }
}

impl Canonical for SliSpec {
    fn write(&self, out: &mut Hasher) {
        let Self {
            id,
            namespace,
            workload,
            container,
            bad,
            slower_than,
            routes,
            report_interval,
        } = self;
        id.as_str().write(out);
        namespace.write(out);
        workload.write(out);
        container.write(out);
        bad.write(out);
        slower_than.write(out);
        routes.write(out);
        report_interval.write(out);
    }
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

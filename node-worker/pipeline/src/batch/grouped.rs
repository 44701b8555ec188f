//! The spans of one message, by resource.

use crate::otlp::wire::{self, bytes_length};
use std::{collections::HashMap, ops::Range, sync::Arc};

/// `ScopeSpans.spans`
pub(super) const SPANS: u32 = 2;
/// `ScopeSpans.scope`
const SCOPE: u32 = 1;
/// `ResourceSpans.resource`
const RESOURCE: u32 = 1;
/// `ResourceSpans.scope_spans`
const SCOPE_SPANS: u32 = 2;
/// `ExportTraceServiceRequest.resource_spans`
const RESOURCE_SPANS: u32 = 1;
/// What the heads of a group's four messages take at most: a tag and the length of up to 2^35 bytes each.
pub(super) const HEADS: usize = 4 * (1 + 5);

/// Spans lie in the order in which they came; each resource knows its own.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Spans as fields of a `ScopeSpans`.
    bytes: Vec<u8>,
    runs: Vec<Run>,
    groups: Vec<Group>,
    /// By the address of the resource, which stays while its group keeps it.
    places: HashMap<usize, usize>,
    spans: usize,
    cost: usize,
    oldest_ns: u64,
}

/// Spans of one resource with none of another between them.
#[derive(Debug)]
struct Run {
    place: Range<usize>,
    group: usize,
    /// The same resource's next one.
    next: Option<usize>,
}

#[derive(Debug)]
struct Group {
    resource: Arc<[u8]>,
    first: usize,
    last: usize,
    /// Bytes of all its spans.
    length: usize,
}

impl Batch {
    pub(super) const fn spans(&self) -> usize {
        self.spans
    }

    /// Bytes of the message, or a few more.
    pub(super) const fn cost(&self) -> usize {
        self.cost
    }

    pub(super) const fn oldest_ns(&self) -> u64 {
        self.oldest_ns
    }

    /// The number of a resource that has spans here already. Those of one resource mostly come one after the other.
    pub(super) fn group(&self, resource: &Arc<[u8]>) -> Option<usize> {
        let last = self.runs.last()?.group;
        if Arc::ptr_eq(&self.groups[last].resource, resource) {
            return Some(last);
        }
        self.places.get(&address(resource)).copied()
    }

    /// `group` is the resource's number. The message grows by `cost`.
    pub(super) fn push(&mut self, span: &[u8], resource: &Arc<[u8]>, group: Option<usize>, cost: usize, now_ns: u64) {
        if self.spans == 0 {
            self.oldest_ns = now_ns;
        }
        let start = self.bytes.len();
        wire::bytes(&mut self.bytes, SPANS, span);
        self.spans += 1;
        self.cost += cost;
        match group {
            Some(group) => self.lengthen(group, start..self.bytes.len()),
            None => self.open(resource, start..self.bytes.len()),
        }
    }

    fn open(&mut self, resource: &Arc<[u8]>, place: Range<usize>) {
        let (group, run) = (self.groups.len(), self.runs.len());
        self.places.insert(address(resource), group);
        self.groups.push(Group {
            resource: Arc::clone(resource),
            first: run,
            last: run,
            length: place.len(),
        });
        self.runs.push(Run {
            place,
            group,
            next: None,
        });
    }

    fn lengthen(&mut self, group: usize, place: Range<usize>) {
        let run = self.runs.len();
        let of_group = &mut self.groups[group];
        of_group.length += place.len();
        let last = &mut self.runs[of_group.last];
        if last.place.end == place.start {
            last.place.end = place.end;
            return;
        }
        last.next = Some(run);
        of_group.last = run;
        self.runs.push(Run {
            place,
            group,
            next: None,
        });
    }

    /// Appends the message: an entry for each resource, in the order in which they first came.
    pub(super) fn write(&self, scope: &[u8], out: &mut Vec<u8>) {
        out.reserve(self.cost);
        for group in &self.groups {
            let scope_spans = bytes_length(SCOPE, scope.len()) + group.length;
            let whole = bytes_length(RESOURCE, group.resource.len()) + bytes_length(SCOPE_SPANS, scope_spans);
            wire::head(out, RESOURCE_SPANS, whole);
            wire::bytes(out, RESOURCE, &group.resource);
            wire::head(out, SCOPE_SPANS, scope_spans);
            wire::bytes(out, SCOPE, scope);
            let runs = std::iter::successors(Some(&self.runs[group.first]), |run| Some(&self.runs[run.next?]));
            for run in runs {
                out.extend_from_slice(&self.bytes[run.place.clone()]);
            }
        }
    }

    /// Keeps the buffers.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
        self.groups.clear();
        self.places.clear();
        (self.spans, self.cost) = (0, 0);
    }
}

fn address(resource: &Arc<[u8]>) -> usize {
    Arc::as_ptr(resource).addr()
}

//! The queue of spans against a simple model.

use std::sync::Arc;

use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span};
use proptest::prelude::*;
use prost::Message;
use shoalwatch_pipeline::batch::{BatchLimits, SpanQueue};
use shoalwatch_pipeline::loss::{Loss, LossCounters};

fn queue(limits: BatchLimits) -> SpanQueue {
    SpanQueue::new(limits, Box::default())
}

fn resource() -> Arc<[u8]> {
    Arc::from(Vec::new())
}

fn push(queue: &mut SpanQueue, resource: &Arc<[u8]>, name: &str, now: u64, losses: &LossCounters) -> bool {
    let span = Span {
        name: name.to_owned(),
        ..Span::default()
    };
    queue.push(resource, now, losses, |out| out.extend(span.encode_to_vec()))
}

/// Names of a message's spans, by resource.
fn names(message: &[u8]) -> Vec<Vec<String>> {
    let groups = ExportTraceServiceRequest::decode(message)
        .expect("a message")
        .resource_spans;
    let group = |spans: Vec<Span>| spans.into_iter().map(|span| span.name).collect();
    groups
        .into_iter()
        .map(|of_resource| {
            of_resource
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans)
                .collect()
        })
        .map(group)
        .collect()
}

/// Number and time of a span, for a name of some length.
fn name(number: usize, at: u64, length: usize) -> String {
    format!("{number}@{at}:{}", "x".repeat(length))
}

fn parse(name: &str) -> (usize, u64) {
    let mut numbers = name.split(['@', ':']).map_while(|part| part.parse().ok());
    let mut next = || numbers.next().expect("a name of this test");
    let number = next();
    (usize::try_from(number).expect("a small number"), next())
}

#[derive(Debug, Clone)]
enum Step {
    Push { resource: usize, length: usize },
    TakeDue,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..3, 0usize..60).prop_map(|(resource, length)| Step::Push { resource, length }),
        1 => Just(Step::TakeDue),
        1 => (0u64..30).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn every_span_is_sent_once_within_the_bounds_or_counted_as_lost(
        steps in prop::collection::vec(step(), 0..200),
        capacity in 0usize..10,
        capacity_bytes in 0usize..700,
        batch in 0usize..6,
        batch_bytes in 0usize..400,
    ) {
        let limits = BatchLimits { capacity, capacity_bytes, batch, batch_bytes, max_age_ns: 50 };
        let (mut queue, losses) = (queue(limits), LossCounters::default());
        let resources = [resource(), resource(), resource()];
        let (mut now, mut pushed, mut kept, mut messages) = (0, 0u64, Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Wait(nanoseconds) => now += nanoseconds,
                Step::Push { resource, length } => {
                    pushed += 1;
                    let (full, waits) = (queue.len() >= queue.limits().capacity, queue.len());
                    let fits = push(&mut queue, &resources[resource], &name(kept.len(), now, length), now, &losses);
                    if fits {
                        kept.push(resource);
                    }
                    prop_assert!(!(full && fits) && (waits > 0 || fits));
                }
                Step::TakeDue => {
                    let (oldest, waits, mut out) = (queue.due_at(), queue.len(), Vec::new());
                    let taken = queue.take_due(now, &mut out);
                    prop_assert_eq!(queue.len() + taken, waits);
                    let by_number_or_age = waits >= batch.max(1) || oldest.is_some_and(|due| due <= now);
                    prop_assert!(taken > 0 || !by_number_or_age);
                    if taken > 0 {
                        let first = names(&out).iter().flatten().map(|name| parse(name)).min();
                        prop_assert_eq!(first.map(|(_, at)| at + 50), oldest);
                        messages.push((taken, out));
                    }
                }
            }
            prop_assert!(queue.len() <= queue.limits().capacity);
            prop_assert!(queue.bytes() <= capacity_bytes || queue.len() == 1);
        }
        loop {
            let mut out = Vec::new();
            match queue.take_any(&mut out) {
                0 => break,
                taken => messages.push((taken, out)),
            }
        }
        prop_assert_eq!((queue.len(), queue.bytes()), (0, 0));
        prop_assert_eq!(kept.len() as u64 + losses.get(Loss::QueueFull), pushed);
        let mut next = 0;
        for (taken, message) in messages {
            prop_assert!(taken <= batch.max(1) && (taken == 1 || message.len() <= batch_bytes));
            let mut of_message = Vec::new();
            for group in names(&message) {
                let numbers: Vec<usize> = group.iter().map(|name| parse(name).0).collect();
                prop_assert!(numbers.is_sorted() && numbers.iter().all(|number| kept[*number] == kept[numbers[0]]));
                of_message.extend(numbers);
            }
            of_message.sort_unstable();
            prop_assert_eq!(of_message, (next..next + taken).collect::<Vec<_>>());
            next += taken;
        }
        prop_assert_eq!(next, kept.len());
    }
}

#[test]
fn spans_of_one_resource_travel_together() {
    let (mut queue, losses) = (queue(BatchLimits::default()), LossCounters::default());
    let (web, shop) = (resource(), resource());
    for (resource, name) in [(&web, "a"), (&web, "b"), (&shop, "c"), (&web, "d"), (&shop, "e")] {
        assert!(push(&mut queue, resource, name, 0, &losses));
    }
    let mut message = Vec::new();
    assert_eq!(queue.take_any(&mut message), 5);
    assert_eq!(names(&message), [vec!["a", "b", "d"], vec!["c", "e"]]);
}

#[test]
fn what_is_left_at_the_end_is_counted_as_lost() {
    let (mut queue, losses) = (queue(BatchLimits::default()), LossCounters::default());
    assert!(push(&mut queue, &resource(), "a", 0, &losses) && push(&mut queue, &resource(), "b", 0, &losses));
    queue.discard(Loss::QueueShutdown, &losses);
    assert!(queue.is_empty());
    assert_eq!((losses.get(Loss::QueueShutdown), queue.bytes()), (2, 0));
}

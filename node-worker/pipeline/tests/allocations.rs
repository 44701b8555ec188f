//! The hot path allocates nothing once it is warm. In a binary of its own, for the allocator that counts.
#![expect(unsafe_code, reason = "an allocator can be written in no other way")]

mod hot_path;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use hot_path::{HotPath, RECORDS};

const EVENTS: usize = 10_000;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

// SAFETY: every call goes on unchanged to the system's allocator, which keeps the contract. The counter is a constant without a
// destructor, so that reaching it neither allocates nor fails.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and `place` came from `System`.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps `realloc`'s contract, and `place` came from `System`.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `run` allocates.
fn allocations(run: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

fn events(path: &mut HotPath) {
    for (now_ns, record) in (1..).zip(RECORDS.iter().cycle().take(EVENTS)) {
        path.take(record, now_ns);
    }
}

#[test]
fn ten_thousand_events_become_bytes_without_an_allocation() {
    let mut path = HotPath::new();
    let cold = allocations(|| events(&mut path));
    assert!(cold > 0, "the allocator does not count");
    let (spans, bytes) = (path.spans, path.bytes);
    assert_eq!(allocations(|| events(&mut path)), 0);
    assert!(
        path.spans - spans > EVENTS - 512,
        "{} spans were written",
        path.spans - spans
    );
    assert!(
        path.bytes - bytes > 200 * EVENTS,
        "{} bytes were written",
        path.bytes - bytes
    );
}

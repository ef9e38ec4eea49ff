//! A global allocator that counts, for the current thread.
#![allow(dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;
thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|c| c.set(c.get() + 1));
        let held = HELD.with(|c| {
            c.set(c.get() + layout.size() as i64);
            c.get()
        });
        PEAK.with(|c| c.set(c.get().max(held)));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        HELD.with(|c| c.set(c.get() - layout.size() as i64));
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations so far.
pub fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// The most bytes held at one time during `f`, beyond those held before.
pub fn peak_bytes<R>(f: impl FnOnce() -> R) -> (i64, R) {
    let before = HELD.with(Cell::get);
    PEAK.with(|c| c.set(before));
    let r = f();
    (PEAK.with(Cell::get) - before, r)
}

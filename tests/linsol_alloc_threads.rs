//! Warm factorizations on threads do not allocate, whichever thread does the work: alone in its process, counting everything.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use costate::linalg::{SparseMatrix, Storage};
use costate::linsol::{Ldl, LdlOptions, LinearSolver};
use costate::observe::StopToken;

struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        unsafe { System.dealloc(p, layout) }
    }
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(p, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// [4 + L, I; I, -1] with the 5-point stencil L on a grid: large enough for threads.
fn matrix(side: usize) -> SparseMatrix {
    let cells = side * side;
    let (mut rows, mut cols, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut put = |i, j, v| {
        rows.push(i);
        cols.push(j);
        values.push(v);
    };
    for k in 0..cells {
        put(k, k, 4.5);
        put(cells + k, k, 1.0);
        put(cells + k, cells + k, -1.0);
        if k % side + 1 < side {
            put(k + 1, k, -1.0);
        }
        if k + side < cells {
            put(k + side, k, -1.0);
        }
    }
    let n = 2 * cells;
    let (mut a, at) = SparseMatrix::from_coordinates(n, n, &rows, &cols, Storage::SymmetricLower);
    at.iter().zip(&values).for_each(|(&p, v)| a.values[p] += v);
    a
}

#[test]
fn warm_factorizations_on_threads_do_not_allocate() {
    const TIMES: usize = 50;
    let mut a = matrix(150);
    let stop = StopToken::default();
    let mut ldl = Ldl::new(LdlOptions { threads: 3, ..LdlOptions::default() });
    let found = ldl.prepare(&mut a, &stop).unwrap().inertia.unwrap();
    assert_eq!((found.positive, found.negative, found.zero), (150 * 150, 150 * 150, 0));
    for _ in 0..3 {
        ldl.prepare(&mut a, &stop).unwrap();
    }
    let before = COUNT.load(Ordering::Relaxed);
    for _ in 0..TIMES {
        ldl.prepare(&mut a, &stop).unwrap();
    }
    let count = COUNT.load(Ordering::Relaxed) - before;
    eprintln!("{count} allocations in {TIMES} factorizations");
    // The queue of the pool takes a new block now and then.
    assert!(count <= TIMES / 10, "{count} allocations in {TIMES} factorizations");
}

//! Warm linear solvers do not allocate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use costate::linalg::{LinOp, SparseMatrix, Storage};
use costate::linsol::{Accuracy, Ldl, LdlOptions, LinearSolver, LinearSolverKind, build};
use costate::observe::StopToken;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn count() -> usize {
    COUNT.with(Cell::get)
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|c| c.set(c.get() + 1));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        unsafe { System.dealloc(p, layout) }
    }
    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|c| c.set(c.get() + 1));
        unsafe { System.realloc(p, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Tridiagonal saddle-point matrix: n variables, n/2 constraints.
fn matrix(n: usize) -> SparseMatrix {
    let (mut rows, mut cols, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut put = |i, j, v| {
        rows.push(i);
        cols.push(j);
        values.push(v);
    };
    for i in 0..n {
        put(i, i, 4.0);
        if i + 1 < n {
            put(i + 1, i, 1.0);
        }
    }
    for r in 0..n / 2 {
        put(n + r, 2 * r, 1.0);
        put(n + r, 2 * r + 1, 3.0);
    }
    let m = n + n / 2;
    let (mut a, at) = SparseMatrix::from_coordinates(m, m, &rows, &cols, Storage::SymmetricLower);
    for (p, v) in at.iter().zip(values) {
        a.values[*p] = v;
    }
    a
}

/// Allocations of the second `prepare` and of two warm solves.
fn allocations(solver: &mut dyn LinearSolver, a: &mut SparseMatrix) -> (usize, usize) {
    let n = a.nrows();
    let (b, stop) = (vec![1.0; n], StopToken::default());
    let accuracy = Accuracy { relative: 1e-9, max_iterations: 200 };
    let mut x = vec![0.0; n];
    solver.prepare(a, &stop).unwrap();
    solver.solve(a, &b, &mut x, accuracy, &stop).unwrap();
    a.values[0] = 5.0;
    let before = count();
    solver.prepare(a, &stop).unwrap();
    let prepare = count() - before;
    x.fill(0.0);
    let before = count();
    solver.solve(a, &b, &mut x, accuracy, &stop).unwrap();
    solver.solve(a, &b, &mut x, accuracy, &stop).unwrap();
    (prepare, count() - before)
}

#[test]
fn the_counter_counts() {
    let before = count();
    std::hint::black_box(vec![1u8; 100]);
    assert!(count() > before);
}

#[test]
fn warm_solves_do_not_allocate() {
    for kind in LinearSolverKind::ALL {
        for n in [6, 200] {
            let (_, solve) = allocations(&mut *build(kind, 1, 1), &mut matrix(n));
            assert_eq!(solve, 0, "{kind} n = {n}");
        }
    }
}

#[test]
fn warm_preparation_does_not_allocate_but_where_libraries_do() {
    for kind in LinearSolverKind::ALL {
        for n in [6, 200] {
            let (prepare, _) = allocations(&mut *build(kind, 1, 1), &mut matrix(n));
            // The small eigenvalue problem of the sketch is faer's.
            if kind != LinearSolverKind::SketchedKrylov {
                assert_eq!(prepare, 0, "{kind} n = {n}");
            }
        }
    }
}

/// Zero diagonals of the constraints: every other pivot is delayed.
#[test]
fn delayed_pivots_do_not_allocate() {
    let n = 300;
    let mut t: Vec<(usize, usize)> = (0..n).map(|j| (j, j)).collect();
    t.extend((1..n).map(|j| (j, j - 1)));
    t.extend((0..n / 2).flat_map(|i| [(n + i, 2 * i), (n + i, 2 * i + 1)]));
    let rows: Vec<usize> = t.iter().map(|e| e.0).collect();
    let cols: Vec<usize> = t.iter().map(|e| e.1).collect();
    let size = n + n / 2;
    let (mut a, _) = SparseMatrix::from_coordinates(size, size, &rows, &cols, Storage::SymmetricLower);
    for (k, v) in a.values.iter_mut().enumerate() {
        *v = 1.0 + ((k * 37) % 11) as f64 / 7.0;
    }
    let options = LdlOptions { dense_up_to: 0, ..LdlOptions::default() };
    assert_eq!(allocations(&mut Ldl::new(options), &mut a), (0, 0));
}

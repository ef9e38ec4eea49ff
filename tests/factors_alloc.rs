//! Factorizations allocate once, then not again.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use costate::linalg::Pattern;
use costate::linsol::factors::conformance::{Demands, check};
use costate::linsol::factors::*;

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

#[test]
fn the_counter_counts() {
    let before = count();
    std::hint::black_box(vec![1u8; 100]);
    assert!(count() > before);
}

#[test]
fn factorizations_do_not_allocate_again() {
    let demands = Demands { allocations: Some(count), ..Demands::default() };
    assert_eq!(check::<f64>(&|| Box::new(DenseLu::new()), &demands), Ok(()));
    assert_eq!(check::<f64>(&|| Box::new(BandLu::new()), &demands), Ok(()));
    assert_eq!(check::<f32>(&|| Box::new(BandLu::new()), &demands), Ok(()));
    // With much fill faer's blocks allocate.
    let blocks = Demands { refactoring_allocates: true, ..demands };
    assert_eq!(check::<f64>(&|| Box::new(SparseLu::new()), &blocks), Ok(()));
    let demands = Demands { any_matrix: false, residual: 1e5, ..demands };
    for method in [KrylovMethod::Gmres { restart: 60 }, KrylovMethod::BiCgStab] {
        let options = KrylovOptions { method, ..KrylovOptions::default() };
        let make = move || -> Box<dyn Factors<f64>> { Box::new(Krylov::new(options)) };
        assert_eq!(check::<f64>(&make, &demands), Ok(()), "{method:?}");
    }
}

#[test]
fn step_matrices_do_not_allocate_again() {
    let n = 200;
    let place = |i: usize| (i * 37 + 5) % n;
    let band = Pattern::banded(n, 2, 2);
    let scattered = Pattern::new(n, n, band.entries().map(|(i, j)| (place(i), place(j)))).unwrap();
    let arrow = Pattern::new(n, n, (0..n).flat_map(|j| [(j, j), (0, j), (j, 0)])).unwrap();
    for (pattern, begins) in [(band, "band 2 + 2, 5"), (scattered, "band"), (arrow, "sparse")] {
        let layout = costate::linsol::factors::Layout::Sparse(pattern);
        let mut step = StepMatrix::<f64>::new(layout, Mass::Identity, &ChooseOptions::default()).unwrap();
        assert!(step.choice().to_string().starts_with(begins), "{}", step.choice());
        let mut b = vec![1.0; n];
        let mut before = 0;
        for round in 0..4 {
            for (k, v) in step.jacobian_mut().iter_mut().enumerate() {
                *v = ((k * 31 + round) % 17) as f64 / 17.0 - 0.5;
            }
            step.refactor(0.1 + 0.01 * round as f64).unwrap();
            step.solve(&mut b).unwrap();
            step.solve_t(&mut b).unwrap();
            if round == 0 {
                before = count();
            }
        }
        assert_eq!(count() - before, 0, "{}", step.choice());
    }
}

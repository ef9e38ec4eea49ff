//! The Newton iteration does not allocate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::Path;

use costate::linsol::LinearSolverKind;
use costate::observe::Event;
use costate::opt::{AccuracyRule, Options, solve};
use costate::sif::{SifOptions, SifProblem};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
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
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations during the whole solve after its second iteration, and the number of iterations.
fn allocations(file: &str, linear: LinearSolverKind, accuracy: AccuracyRule) -> (usize, u64) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("problems").join(file);
    let mut problem = SifProblem::from_file(&path, &SifOptions::default()).expect("a problem of our own");
    let options = Options { linear, accuracy, ..Options::default() };
    let (mut warm, mut last, mut iterations) = (0, 0, 0);
    let mut watch = |event: &Event<'_>| {
        if let Event::Iteration(row) = event {
            last = COUNT.with(Cell::get);
            iterations = row.iteration;
            if row.iteration <= 2 {
                warm = last;
            }
        }
        ControlFlow::Continue(())
    };
    let report = solve(&mut problem, &options, &mut watch).expect("a problem that is supported");
    assert!(report.solved(), "{file}: {}", report.message);
    (last - warm, iterations)
}

#[test]
fn iterations_do_not_allocate() {
    use AccuracyRule::{Certified, Practical};
    use LinearSolverKind::{Gmres, Kaczmarz, Ldl, Minres};
    for (file, linear, accuracy) in [
        ("hs7.SIF", Ldl, Practical),
        ("hs7.SIF", Minres, Practical),
        ("hs7.SIF", Minres, Certified),
        ("hs7.SIF", Gmres, Practical),
        ("hs7.SIF", Kaczmarz, Practical),
        ("rosenbr.SIF", Ldl, Practical),
    ] {
        let (count, iterations) = allocations(file, linear, accuracy);
        assert!(iterations >= 6, "{file} needs {iterations} iterations only: a poor test");
        assert_eq!(count, 0, "{file} with {linear}: allocations after the second of {iterations} iterations");
    }
}

//! The Newton iteration does not allocate, nor does a `Solver` from its second solve on.

#[path = "common/mpc.rs"]
mod mpc;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::Path;

use costate::linsol::LinearSolverKind;
use costate::nlp::Nlp;
use costate::observe::{Event, Silent};
use costate::opt::{AccuracyRule, Options, Solver, Start, WarmStart, solve};
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

/// Allocations of the solves after the first; `change` moves the data of the problem, `edit` the warm start.
fn later_allocations<P: Nlp>(
    mut problem: P,
    (warm, solves): (bool, usize),
    mut change: impl FnMut(&mut P, usize),
    edit: impl Fn(&mut WarmStart),
) -> usize {
    let mut solver = Solver::new(Options::default()).expect("default options");
    let mut point = WarmStart::default();
    let mut first = 0;
    for k in 0..solves {
        change(&mut problem, k);
        let start = if warm && k > 0 { Start::At(&point) } else { Start::Problem };
        let report = solver.solve(&mut problem, start, &mut Silent).expect("a legal problem");
        assert!(report.solved(), "{}", report.message);
        point.set(report);
        edit(&mut point);
        if k == 0 {
            // The first warm solve makes the method of warm starts.
            solver.solve(&mut problem, Start::At(&point), &mut Silent).expect("a legal problem");
            first = COUNT.with(Cell::get);
        }
    }
    COUNT.with(Cell::get) - first
}

#[test]
fn a_solver_does_not_allocate_from_its_second_solve_on() {
    for warm in [false, true] {
        let side = |k: usize| 1.0 + 0.01 * ((k * 7919) % 11) as f64 / 11.0;
        let state = |p: &mut mpc::Mpc, k: usize| p.set_state(1.4 * side(k) - 0.4, 0.0);
        assert_eq!(later_allocations(mpc::Mpc::new(), (warm, 20), state, mpc::shift), 0, "mpc, warm: {warm}");
        // Known to be quadratic: the predictor-corrector.
        let mut known = mpc::Mpc::new();
        known.set_quadratic();
        assert_eq!(later_allocations(known, (warm, 20), state, mpc::shift), 0, "quadratic mpc, warm: {warm}");
        let sides = |p: &mut mpc::Hs71, k: usize| p.set_sides(25.0 * side(k), 40.0 * side(k + 3));
        assert_eq!(later_allocations(mpc::Hs71::new(), (warm, 20), sides, |_| ()), 0, "hs71, warm: {warm}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("problems/hs7.SIF");
    let problem = SifProblem::from_file(&path, &SifOptions::default()).expect("a problem of our own");
    assert_eq!(later_allocations(problem, (false, 5), |_, _| (), |_| ()), 0, "hs7");
}

//! What every linear solver must do, as a function that a solver of your own can be run through.
//!
//! ```
//! use costate::linsol::{LinearSolver, Minres, conformance};
//!
//! let mut make = || -> Box<dyn LinearSolver> { Box::new(Minres::new()) };
//! conformance::check(&mut make, &conformance::Demands::default()).unwrap();
//! ```
//!
//! The systems are random with fixed seeds: definite ones with a condition of about 3, saddle points [H J'; J 0], singular and inconsistent ones,
//! and matrices that are no legal input. Every residual is computed again, independently of the solver.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::testing::{Kkt, Random, kkt, symmetric};
use super::{Accuracy, Inertia, LinSolError, LinearSolver, Prepared, SolveEnd, Solved};
use crate::linalg::{LinOp, SparseMatrix, SparseRef, Storage, norm2};
use crate::observe::StopToken;

#[cfg(test)]
mod tests;

/// What is asked of a solver beyond its [`facts`](LinearSolver::facts), which are checked too.
#[derive(Debug, Clone, PartialEq)]
pub struct Demands {
    /// Unknowns of the largest definite system; the suite has them up to 257.
    pub definite_up_to: usize,
    /// Unknowns of the largest saddle-point system; the suite has them up to 290.
    pub saddle_up_to: usize,
    /// Saddle points whose H is indefinite, too.
    pub indefinite: bool,
    /// Square matrices that are not symmetric: solved if true, an error of shape if false.
    pub unsymmetric: bool,
    /// One iteration after another from a random stream: k iterations and then l are the same as k + l, to the last bit.
    pub exact_iterations: bool,
}

impl Default for Demands {
    fn default() -> Self {
        Self {
            definite_up_to: usize::MAX,
            saddle_up_to: usize::MAX,
            indefinite: true,
            unsymmetric: false,
            exact_iterations: false,
        }
    }
}

/// A demand that is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The demand, in words.
    pub demand: &'static str,
    /// What was found instead.
    pub found: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.demand, self.found)
    }
}

/// Runs solvers fresh from `make` through the suite; all failures, one for each demand.
pub fn check(make: &mut dyn FnMut() -> Box<dyn LinearSolver>, demands: &Demands) -> Result<(), Vec<Failure>> {
    let mut suite = Suite { make, demands };
    let failures: Vec<_> = ALL
        .iter()
        .filter_map(|&(demand, f)| f(&mut suite).err().map(|found| Failure { demand, found }))
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

type Outcome = Result<(), String>;
type Demand = fn(&mut Suite<'_>) -> Outcome;

const ALL: [(&str, Demand); 18] = [
    ("solves definite systems", definite_systems),
    ("solves saddle-point systems", saddle_points),
    ("solves singular consistent systems", singular_systems),
    ("inconsistent systems end without a claim", inconsistent_systems),
    ("the inertia is right, and given exactly by those whose facts say so", inertia),
    ("the solution for a right-hand side of zero is zero", zero_right_hand_side),
    ("a second call to a tighter accuracy continues, a looser one does nothing", second_call),
    ("iterations in two calls are those of one", two_calls),
    ("two solvers made alike give the same bits", same_bits),
    ("entries that are not finite are errors", not_finite),
    ("products that are not finite are errors", not_finite_products),
    ("without entries it solves, or says that it needs them, as its facts do", matrix_free),
    ("other shapes, and a solve before prepare, are errors", shapes),
    ("matrices that are not symmetric are solved or refused", not_symmetric),
    ("a raised stop token is honoured", stop_token),
    ("the iteration limit is kept", iteration_limit),
    ("matrices of other sizes and values one after the other", one_after_the_other),
    ("no unknowns", no_unknowns),
];

const MANY: usize = 20_000_000;

struct Suite<'a> {
    make: &'a mut dyn FnMut() -> Box<dyn LinearSolver>,
    demands: &'a Demands,
}

macro_rules! ensure {
    ($holds:expr, $($text:tt)*) => {
        // A comparison with NaN does not hold.
        let holds: bool = $holds;
        if !holds {
            return Err(format!($($text)*));
        }
    };
}

fn go() -> StopToken {
    StopToken::default()
}

fn raised() -> StopToken {
    StopToken { flag: Some(Arc::new(AtomicBool::new(true))), deadline: None }
}

fn to(relative: f64) -> Accuracy {
    Accuracy { relative, max_iterations: MANY }
}

impl Suite<'_> {
    fn new_solver(&mut self) -> Box<dyn LinearSolver> {
        (self.make)()
    }

    /// The size wanted, or what the demands allow.
    fn size(&self, wanted: usize) -> usize {
        wanted.min(self.demands.definite_up_to)
    }

    /// Solves from zero and computes the residual again.
    fn solves(&mut self, a: &mut SparseMatrix, b: &[f64], relative: f64, what: &str) -> Outcome {
        let mut solver = self.new_solver();
        prepare(&mut *solver, a, what)?;
        solve_checked(&mut *solver, a, b, relative, what)
    }
}

fn prepare(solver: &mut dyn LinearSolver, a: &mut dyn LinOp, what: &str) -> Result<Prepared, String> {
    solver.prepare(a, &go()).map_err(|e| format!("{what}: prepare: {e}"))
}

fn solve(
    solver: &mut dyn LinearSolver,
    a: &mut dyn LinOp,
    b: &[f64],
    x: &mut [f64],
    accuracy: Accuracy,
    what: &str,
) -> Result<Solved, String> {
    solver.solve(a, b, x, accuracy, &go()).map_err(|e| format!("{what}: solve: {e}"))
}

fn solve_checked(
    solver: &mut dyn LinearSolver,
    a: &mut SparseMatrix,
    b: &[f64],
    relative: f64,
    what: &str,
) -> Outcome {
    let mut x = vec![0.0; a.nrows];
    let s = solve(solver, a, b, &mut x, to(relative), what)?;
    ensure!(s.end == SolveEnd::Reached, "{what}: {s:?}");
    let r = true_residual(a.as_ref(), b, &x);
    ensure!(r <= 1.001 * relative + 1e-15, "{what}: claims {:e} but has {r:e}", s.relative_residual);
    ensure!((r - s.relative_residual).abs() <= 1e-3 * r + 1e-14, "{what}: {s:?}, but the residual is {r:e}");
    Ok(())
}

/// Forgets the entries.
struct MatrixFree(SparseMatrix);

impl LinOp for MatrixFree {
    fn nrows(&self) -> usize {
        self.0.nrows
    }
    fn ncols(&self) -> usize {
        self.0.ncols
    }
    fn apply(&mut self, alpha: f64, x: &[f64], beta: f64, y: &mut [f64]) {
        self.0.apply(alpha, x, beta, y);
    }
    fn apply_t(&mut self, alpha: f64, x: &[f64], beta: f64, y: &mut [f64]) {
        self.0.apply_t(alpha, x, beta, y);
    }
}

/// |b - A x| / |b|, independently of the solvers.
fn true_residual(a: SparseRef<'_>, b: &[f64], x: &[f64]) -> f64 {
    let mut r = b.to_vec();
    for j in 0..a.ncols {
        for p in a.col_ptr[j]..a.col_ptr[j + 1] {
            let i = a.row_idx[p];
            r[i] -= a.values[p] * x[j];
            if i != j && a.storage == Storage::SymmetricLower {
                r[j] -= a.values[p] * x[i];
            }
        }
    }
    norm2(&r) / norm2(b)
}

/// Diagonally dominant, condition about 3.
fn definite(n: usize, random: &mut Random) -> SparseMatrix {
    let mut t: Vec<_> = (0..n).map(|i| (i, i, 3.0 + random.unit())).collect();
    t.extend((1..n).map(|i| (i, random.below(i), 0.5 * random.symmetric())));
    symmetric(n, &t)
}

fn consistent(a: &mut SparseMatrix, random: &mut Random) -> Vec<f64> {
    let want = random.vector(a.nrows);
    let mut b = vec![0.0; a.nrows];
    a.apply(1.0, &want, 0.0, &mut b);
    b
}

fn definite_systems(suite: &mut Suite<'_>) -> Outcome {
    let sizes = [1, 2, 3, 10, 15, 16, 17, 31, 32, 33, 49, 50, 51, 63, 64, 65, 99, 100, 101, 128, 257];
    for n in sizes.into_iter().filter(|&n| n <= suite.demands.definite_up_to) {
        let mut random = Random::new(n as u64);
        let mut a = definite(n, &mut random);
        let b = random.vector(n);
        suite.solves(&mut a, &b, 1e-8, &format!("{n} unknowns"))?;
    }
    Ok(())
}

fn saddle_points(suite: &mut Suite<'_>) -> Outcome {
    let sizes =
        [(1, 1), (2, 1), (2, 2), (4, 2), (10, 4), (20, 8), (30, 15), (40, 24), (60, 40), (61, 40), (200, 90)];
    for form in [Kkt::Convex, Kkt::Indefinite] {
        if form == Kkt::Indefinite && !suite.demands.indefinite {
            continue;
        }
        for (n, m) in sizes.into_iter().filter(|(n, m)| n + m <= suite.demands.saddle_up_to) {
            let mut random = Random::new(100 + n as u64);
            let mut a = kkt(form, n, m, &mut random);
            let b = random.vector(n + m);
            suite.solves(&mut a, &b, 1e-7, &format!("{form:?}, {n} + {m} unknowns"))?;
        }
    }
    Ok(())
}

fn singular_systems(suite: &mut Suite<'_>) -> Outcome {
    let (n, m) = if suite.demands.saddle_up_to < 17 { (4, 2) } else { (12, 5) };
    let mut random = Random::new(21);
    let mut a = kkt(Kkt::Deficient, n, m, &mut random);
    let b = consistent(&mut a, &mut random);
    suite.solves(&mut a, &b, 1e-7, "dependent rows")?;
    let mut a = symmetric(4, &[(0, 0, 2.0), (1, 0, 1.0), (1, 1, -3.0), (3, 3, 1.5)]);
    suite.solves(&mut a, &[1.0, -2.0, 0.0, 0.5], 1e-8, "a zero row and column")
}

fn inconsistent_systems(suite: &mut Suite<'_>) -> Outcome {
    let mut a = symmetric(3, &[(0, 0, 2.0), (1, 1, 1.0)]);
    let b = [1.0, 1.0, 1.0];
    let mut solver = suite.new_solver();
    let mut x = vec![0.0; 3];
    prepare(&mut *solver, &mut a, "a zero row")?;
    let accuracy = Accuracy { relative: 1e-8, max_iterations: 2000 };
    let s = solve(&mut *solver, &mut a, &b, &mut x, accuracy, "a zero row")?;
    ensure!(matches!(s.end, SolveEnd::Stagnated | SolveEnd::MaxIterations), "{s:?}");
    let r = true_residual(a.as_ref(), &b, &x);
    ensure!((s.relative_residual - r).abs() < 1e-12, "{s:?}, but the residual is {r:e}");
    ensure!(x.iter().all(|v| v.is_finite()), "{x:?}");
    ensure!(s.iterations <= 2000, "{s:?}");
    Ok(())
}

fn inertia(suite: &mut Suite<'_>) -> Outcome {
    for (n, m) in [(5, 2), (40, 17), (150, 60)] {
        for (form, zero) in [(Kkt::Convex, 0), (Kkt::Deficient, 1), (Kkt::DenseRow, 0)] {
            let mut a = kkt(form, n, m, &mut Random::new(3));
            let mut solver = suite.new_solver();
            let what = format!("{form:?}, {n} + {m} unknowns");
            let p = prepare(&mut *solver, &mut a, &what)?;
            let gives = solver.facts().inertia;
            ensure!(p.inertia.is_some() == gives, "{what}: {p:?}, but {:?}", solver.facts());
            let want = Inertia { positive: n, negative: m - zero, zero };
            if let Some(i) = p.inertia
                && p.perturbed_pivots == 0
            {
                ensure!(i == want, "{what}: {i:?}, not {want:?}");
            }
            ensure!(p.work.is_finite() && p.work >= 0.0, "{what}: {p:?}");
        }
    }
    Ok(())
}

fn zero_right_hand_side(suite: &mut Suite<'_>) -> Outcome {
    let mut a = definite(6, &mut Random::new(1));
    let mut solver = suite.new_solver();
    let mut x = vec![1.0; 6];
    prepare(&mut *solver, &mut a, "6 unknowns")?;
    let s = solve(&mut *solver, &mut a, &[0.0; 6], &mut x, to(1e-10), "6 unknowns")?;
    ensure!(s.end == SolveEnd::Reached && s.relative_residual == 0.0, "{s:?}");
    ensure!(x.iter().all(|&v| v == 0.0), "x = {x:?}");
    Ok(())
}

fn second_call(suite: &mut Suite<'_>) -> Outcome {
    let n = if suite.demands.definite_up_to < 60 { suite.size(8) } else { 60 };
    let mut random = Random::new(31);
    let mut a = definite(n, &mut random);
    let b = random.vector(n);
    let mut solver = suite.new_solver();
    let mut x = vec![0.0; n];
    prepare(&mut *solver, &mut a, "first")?;
    let (mut last, mut all) = (1.0, 0);
    for relative in [1e-1, 1e-3, 1e-6, 1e-9] {
        let s = solve(&mut *solver, &mut a, &b, &mut x, to(relative), "tighter")?;
        ensure!(s.relative_residual <= last && s.end == SolveEnd::Reached, "{s:?} after {last:e}");
        last = s.relative_residual;
        all += s.iterations;
    }
    let kept = x.clone();
    let s = solve(&mut *solver, &mut a, &b, &mut x, to(1e-2), "looser")?;
    ensure!(s.iterations == 0 && x == kept, "a looser call: {s:?}");
    // Four calls cost no more than about four times one call: they do not start again.
    let mut fresh = suite.new_solver();
    prepare(&mut *fresh, &mut a, "at once")?;
    let one = solve(&mut *fresh, &mut a, &b, &mut vec![0.0; n], to(1e-9), "at once")?.iterations;
    ensure!(all <= 2 * one + 2 * n + 8, "{all} iterations in four calls, {one} in one");
    Ok(())
}

fn two_calls(suite: &mut Suite<'_>) -> Outcome {
    if !suite.demands.exact_iterations {
        return Ok(());
    }
    let n = suite.size(30);
    let mut random = Random::new(8);
    let a = definite(n, &mut random);
    let b = random.vector(n);
    let mut run = |parts: &[usize]| {
        let mut solver = suite.new_solver();
        let (mut x, mut a) = (vec![0.0; n], a.clone());
        prepare(&mut *solver, &mut a, "parts")?;
        for &max_iterations in parts {
            let accuracy = Accuracy { relative: 0.0, max_iterations };
            let s = solve(&mut *solver, &mut a, &b, &mut x, accuracy, "parts")?;
            ensure!(s.iterations == max_iterations && s.end == SolveEnd::MaxIterations, "{s:?}");
        }
        Ok(x)
    };
    let (one, two) = (run(&[40])?, run(&[17, 23])?);
    ensure!(one == two, "40 iterations are not 17 and 23");
    Ok(())
}

fn same_bits(suite: &mut Suite<'_>) -> Outcome {
    let n = suite.size(20);
    let mut random = Random::new(9);
    let mut a = definite(n, &mut random);
    let b = random.vector(n);
    let mut run = || {
        let mut solver = suite.new_solver();
        let mut x = vec![0.0; n];
        prepare(&mut *solver, &mut a, "first")?;
        let s = solve(&mut *solver, &mut a, &b, &mut x, to(1e-5), "first")?;
        Ok::<_, String>((s.iterations, x))
    };
    let (first, second) = (run()?, run()?);
    ensure!(first == second, "{} iterations, then {}, or other bits", first.0, second.0);
    Ok(())
}

fn not_finite(suite: &mut Suite<'_>) -> Outcome {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut a = definite(7, &mut Random::new(2));
        let mut solver = suite.new_solver();
        let mut x = vec![0.0; 7];
        prepare(&mut *solver, &mut a, "finite")?;
        let mut b = vec![1.0; 7];
        b[3] = bad;
        let e = solver.solve(&mut a, &b, &mut x, to(1e-8), &go());
        let right = matches!(e, Err(LinSolError::NotFinite { what: "right-hand side", .. }));
        ensure!(right, "{bad} in the right-hand side: {e:?}");
        let good = std::mem::replace(&mut a.values[2], bad);
        let e = solver.prepare(&mut a, &go());
        ensure!(
            matches!(e, Err(LinSolError::NotFinite { what: "matrix", .. })),
            "{bad} in the matrix: {e:?}"
        );
        a.values[2] = good;
        prepare(&mut *solver, &mut a, "finite again")?;
        x[1] = bad;
        let s = solve(&mut *solver, &mut a, &[1.0; 7], &mut x, to(1e-6), "a start that is not finite")?;
        ensure!(s.end == SolveEnd::Reached, "a start with {bad} is to be replaced: {s:?}");
    }
    Ok(())
}

fn not_finite_products(suite: &mut Suite<'_>) -> Outcome {
    let mut a = definite(7, &mut Random::new(2));
    a.values[2] = f64::NAN;
    let mut a = MatrixFree(a);
    let mut solver = suite.new_solver();
    let result = solver
        .prepare(&mut a, &go())
        .and_then(|_| solver.solve(&mut a, &[1.0; 7], &mut [0.0; 7], to(1e-8), &go()).map(|_| ()));
    let right = matches!(result, Err(LinSolError::NotFinite { .. } | LinSolError::NeedsEntries { .. }));
    ensure!(right, "{result:?}");
    Ok(())
}

fn matrix_free(suite: &mut Suite<'_>) -> Outcome {
    let n = if suite.demands.definite_up_to < 40 { suite.size(8) } else { 40 };
    let mut random = Random::new(12);
    let entries = definite(n, &mut random);
    let b = random.vector(n);
    let mut a = MatrixFree(entries.clone());
    let mut solver = suite.new_solver();
    let prepared = solver.prepare(&mut a, &go());
    if solver.facts().needs_entries {
        ensure!(matches!(prepared, Err(LinSolError::NeedsEntries { .. })), "{prepared:?}");
        return Ok(());
    }
    prepared.map_err(|e| e.to_string())?;
    let mut x = vec![0.0; n];
    let s = solve(&mut *solver, &mut a, &b, &mut x, to(1e-8), "products")?;
    let r = true_residual(entries.as_ref(), &b, &x);
    ensure!(s.end == SolveEnd::Reached && r <= 1.001e-8, "{s:?}, the residual is {r:e}");
    Ok(())
}

fn shapes(suite: &mut Suite<'_>) -> Outcome {
    let (mut a, _) = SparseMatrix::from_coordinates(3, 2, &[0, 2], &[0, 1], Storage::General);
    let mut solver = suite.new_solver();
    let e = solver.prepare(&mut a, &go());
    ensure!(matches!(e, Err(LinSolError::Shape { .. })), "a 3 x 2 matrix: {e:?}");
    let mut a = definite(4, &mut Random::new(2));
    prepare(&mut *solver, &mut a, "square")?;
    let e = solver.solve(&mut a, &[1.0; 3], &mut [0.0; 4], to(1e-8), &go());
    ensure!(matches!(e, Err(LinSolError::Shape { .. })), "3 right-hand sides for 4 unknowns: {e:?}");
    let e = suite.new_solver().solve(&mut a, &[1.0; 4], &mut [0.0; 4], to(1e-8), &go());
    ensure!(e.is_err(), "nothing prepared: {e:?}");
    Ok(())
}

fn not_symmetric(suite: &mut Suite<'_>) -> Outcome {
    let n = suite.size(12);
    let (mut rows, mut cols) = ((0..n).collect::<Vec<_>>(), (0..n).collect::<Vec<_>>());
    rows.extend(0..n - 1);
    cols.extend(1..n);
    let (mut a, at) = SparseMatrix::from_coordinates(n, n, &rows, &cols, Storage::General);
    for (k, p) in at.iter().enumerate() {
        a.values[*p] = if k < n { 2.0 } else { 0.5 };
    }
    if suite.demands.unsymmetric {
        let b = Random::new(3).vector(n);
        return suite.solves(&mut a, &b, 1e-8, "bidiagonal");
    }
    let e = suite.new_solver().prepare(&mut a, &go());
    ensure!(matches!(e, Err(LinSolError::Shape { .. })), "{e:?}");
    Ok(())
}

fn stop_token(suite: &mut Suite<'_>) -> Outcome {
    let n = 150;
    let mut random = Random::new(4);
    let mut a = definite(n, &mut random);
    let b = random.vector(n);
    let mut solver = suite.new_solver();
    match solver.prepare(&mut a, &raised()) {
        Err(LinSolError::Stopped) => {
            prepare(&mut *solver, &mut a, "after a stop")?;
        }
        Err(e) => return Err(format!("prepare: {e}")),
        Ok(_) => {}
    }
    let mut x = vec![0.0; n];
    let s = solver.solve(&mut a, &b, &mut x, to(1e-12), &raised()).map_err(|e| e.to_string())?;
    ensure!(s.end == SolveEnd::Stopped && s.iterations == 0, "{s:?}");
    ensure!(x.iter().all(|&v| v == 0.0), "x has changed");
    Ok(())
}

fn iteration_limit(suite: &mut Suite<'_>) -> Outcome {
    let n = 80;
    let mut random = Random::new(4);
    let mut a = definite(n, &mut random);
    let b = random.vector(n);
    let mut solver = suite.new_solver();
    prepare(&mut *solver, &mut a, "80 unknowns")?;
    for max_iterations in [0, 1, 3] {
        let mut x = vec![0.0; n];
        let accuracy = Accuracy { relative: 0.0, max_iterations };
        let s = solve(&mut *solver, &mut a, &b, &mut x, accuracy, "80 unknowns")?;
        let kept = s.iterations <= max_iterations && s.end != SolveEnd::Reached;
        ensure!(kept, "{s:?} with a limit of {max_iterations}");
    }
    Ok(())
}

fn one_after_the_other(suite: &mut Suite<'_>) -> Outcome {
    let mut solver = suite.new_solver();
    for n in [5, 2, 9, 9, 1] {
        let mut random = Random::new(n as u64);
        let mut a = definite(n, &mut random);
        let b = random.vector(n);
        // The same pattern once more, with other values.
        for round in 0..2 {
            a.values.iter_mut().for_each(|v| *v *= 1.0 + round as f64);
            let what = format!("{n} unknowns, values {round}");
            prepare(&mut *solver, &mut a, &what)?;
            solve_checked(&mut *solver, &mut a, &b, 1e-7, &what)?;
        }
    }
    Ok(())
}

fn no_unknowns(suite: &mut Suite<'_>) -> Outcome {
    let mut a = symmetric(0, &[]);
    let mut solver = suite.new_solver();
    prepare(&mut *solver, &mut a, "empty")?;
    let s = solve(&mut *solver, &mut a, &[], &mut [], to(1e-8), "empty")?;
    ensure!(s.end == SolveEnd::Reached, "{s:?}");
    Ok(())
}

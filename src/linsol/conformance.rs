//! What every linear solver must do, tested on all of them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::testing::{Kkt, Random, kkt, symmetric};
use super::*;
use crate::linalg::{SparseMatrix, SparseRef, Storage, norm2};

const MANY: usize = 20_000_000;

fn go() -> StopToken {
    StopToken::default()
}

fn raised() -> StopToken {
    StopToken { flag: Some(Arc::new(AtomicBool::new(true))), deadline: None }
}

fn to(relative: f64) -> Accuracy {
    Accuracy { relative, max_iterations: MANY }
}

/// Single vectors converge at a rate of about 1/(n cond^2) a step: small systems only.
fn is_single_vector(kind: LinearSolverKind) -> bool {
    use LinearSolverKind::*;
    matches!(kind, Gaussian | Kaczmarz | KaczmarzNorm)
}

fn is_sketch(kind: LinearSolverKind) -> bool {
    use LinearSolverKind::*;
    is_single_vector(kind) || matches!(kind, BlockGaussian | BlockKaczmarz | CountSketch)
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

fn check_solves(kind: LinearSolverKind, a: &mut SparseMatrix, b: &[f64], relative: f64, what: &str) {
    let mut solver = build(kind, 7, 1);
    let mut x = vec![0.0; a.nrows];
    let p = solver.prepare(a, &go()).unwrap_or_else(|e| panic!("{kind} {what}: {e}"));
    assert_eq!((p.inertia.is_some(), p.work > 0.0), (solver.facts().inertia, kind == LinearSolverKind::Ldl));
    let s = solver.solve(a, b, &mut x, to(relative), &go()).unwrap_or_else(|e| panic!("{kind} {what}: {e}"));
    assert_eq!(s.end, SolveEnd::Reached, "{kind} {what}: {s:?}");
    let r = true_residual(a.as_ref(), b, &x);
    assert!(r <= 1.001 * relative + 1e-15, "{kind} {what}: claims {} but has {r}", s.relative_residual);
    assert!((r - s.relative_residual).abs() <= 1e-3 * r + 1e-14, "{kind} {what}: {s:?} against {r}");
}

#[test]
fn solves_definite_systems() {
    for kind in LinearSolverKind::ALL {
        let sizes: &[usize] = if is_single_vector(kind) {
            &[1, 2, 3, 10]
        } else {
            &[1, 2, 3, 15, 16, 17, 31, 32, 33, 49, 50, 51, 63, 64, 65, 99, 100, 101, 128, 257]
        };
        for &n in sizes {
            let mut random = Random::new(n as u64);
            let mut a = definite(n, &mut random);
            let b = random.vector(n);
            check_solves(kind, &mut a, &b, 1e-8, &format!("definite {n}"));
        }
    }
}

#[test]
fn solves_saddle_point_systems() {
    for kind in LinearSolverKind::ALL {
        let sizes: &[(usize, usize)] = match kind {
            k if is_single_vector(k) => &[(1, 1), (2, 1), (4, 2)],
            k if is_sketch(k) => &[(1, 1), (2, 1), (10, 4), (20, 8)],
            // Restarts: full GMRES only.
            LinearSolverKind::Gmres => &[(1, 1), (2, 1), (10, 4), (30, 15)],
            _ => &[(1, 1), (2, 1), (2, 2), (10, 4), (40, 24), (60, 40), (61, 40), (200, 90)],
        };
        for form in [Kkt::Convex, Kkt::Indefinite] {
            for &(n, m) in sizes {
                let mut random = Random::new(100 + n as u64);
                let mut a = kkt(form, n, m, &mut random);
                let b = random.vector(n + m);
                // Of a square indefinite matrix with random entries the condition can be anything: sketches get the convex.
                if form == Kkt::Convex || !is_sketch(kind) {
                    check_solves(kind, &mut a, &b, 1e-7, &format!("{form:?} {n} {m}"));
                }
            }
        }
    }
}

#[test]
fn solves_singular_consistent_systems() {
    for kind in LinearSolverKind::ALL {
        let (n, m) = if is_single_vector(kind) { (4, 2) } else { (12, 5) };
        let mut random = Random::new(21);
        let mut a = kkt(Kkt::Deficient, n, m, &mut random);
        let b = consistent(&mut a, &mut random);
        check_solves(kind, &mut a, &b, 1e-7, "dependent rows");
        // A zero row and column.
        let mut a = symmetric(4, &[(0, 0, 2.0), (1, 0, 1.0), (1, 1, -3.0), (3, 3, 1.5)]);
        let b = [1.0, -2.0, 0.0, 0.5];
        check_solves(kind, &mut a, &b, 1e-8, "zero row");
    }
}

#[test]
fn inconsistent_systems_end_without_a_claim() {
    for kind in LinearSolverKind::ALL {
        let mut a = symmetric(3, &[(0, 0, 2.0), (1, 1, 1.0)]);
        let b = [1.0, 1.0, 1.0];
        let mut solver = build(kind, 7, 1);
        let mut x = vec![0.0; 3];
        solver.prepare(&mut a, &go()).unwrap();
        let accuracy = Accuracy { relative: 1e-8, max_iterations: 2000 };
        let s = solver.solve(&mut a, &b, &mut x, accuracy, &go()).unwrap();
        assert!(matches!(s.end, SolveEnd::Stagnated | SolveEnd::MaxIterations), "{kind}: {s:?}");
        assert!((s.relative_residual - true_residual(a.as_ref(), &b, &x)).abs() < 1e-12, "{kind}");
        assert!(x.iter().all(|v| v.is_finite()), "{kind}: {x:?}");
        assert!(s.iterations <= 2000, "{kind}: {s:?}");
    }
}

#[test]
fn zero_right_hand_side_gives_zero() {
    for kind in LinearSolverKind::ALL {
        let mut a = definite(6, &mut Random::new(1));
        let mut solver = build(kind, 7, 1);
        let mut x = vec![1.0; 6];
        solver.prepare(&mut a, &go()).unwrap();
        let s = solver.solve(&mut a, &[0.0; 6], &mut x, to(1e-10), &go()).unwrap();
        assert_eq!((s.end, s.relative_residual, x), (SolveEnd::Reached, 0.0, vec![0.0; 6]), "{kind}");
    }
}

#[test]
fn a_second_call_continues() {
    for kind in LinearSolverKind::ALL {
        let n = if is_single_vector(kind) { 8 } else { 60 };
        let mut random = Random::new(31);
        let mut a = definite(n, &mut random);
        let b = random.vector(n);
        let mut solver = build(kind, 7, 1);
        let mut x = vec![0.0; n];
        solver.prepare(&mut a, &go()).unwrap();
        let mut last = 1.0;
        let mut all = 0;
        for relative in [1e-1, 1e-3, 1e-6, 1e-9] {
            let s = solver.solve(&mut a, &b, &mut x, to(relative), &go()).unwrap();
            assert!(s.relative_residual <= last && s.end == SolveEnd::Reached, "{kind}: {s:?} after {last}");
            last = s.relative_residual;
            all += s.iterations;
        }
        // A looser call has nothing to do and changes nothing.
        let kept = x.clone();
        let s = solver.solve(&mut a, &b, &mut x, to(1e-2), &go()).unwrap();
        assert_eq!((s.iterations, &x), (0, &kept), "{kind}");
        // Four calls cost no more than about four times one call: they do not start again.
        let mut fresh = build(kind, 7, 1);
        fresh.prepare(&mut a, &go()).unwrap();
        let one = fresh.solve(&mut a, &b, &mut vec![0.0; n], to(1e-9), &go()).unwrap().iterations;
        assert!(all <= 2 * one + 2 * n + 8, "{kind}: {all} in four calls, {one} in one");
    }
}

#[test]
fn a_second_call_continues_the_random_stream() {
    for kind in LinearSolverKind::ALL.into_iter().filter(|k| is_sketch(*k)) {
        let n = 30;
        let mut random = Random::new(8);
        let mut a = definite(n, &mut random);
        let b = random.vector(n);
        let run = |parts: &[usize]| {
            let mut solver = build(kind, 5, 1);
            let mut x = vec![0.0; n];
            let mut m = a.clone();
            solver.prepare(&mut m, &go()).unwrap();
            for &max_iterations in parts {
                let accuracy = Accuracy { relative: 0.0, max_iterations };
                let s = solver.solve(&mut m, &b, &mut x, accuracy, &go()).unwrap();
                assert_eq!((s.iterations, s.end), (max_iterations, SolveEnd::MaxIterations), "{kind}");
            }
            x
        };
        assert_eq!(run(&[40]), run(&[17, 23]), "{kind}");
        a.values[0] += 0.0;
    }
}

#[test]
fn one_seed_gives_one_answer() {
    for kind in LinearSolverKind::ALL {
        let n = 20;
        let mut random = Random::new(9);
        let mut a = definite(n, &mut random);
        let b = random.vector(n);
        let mut run = |seed| {
            let mut solver = build(kind, seed, 1);
            let mut x = vec![0.0; n];
            solver.prepare(&mut a, &go()).unwrap();
            let s = solver.solve(&mut a, &b, &mut x, to(1e-5), &go()).unwrap();
            (s.iterations, x)
        };
        let first = run(1);
        assert_eq!(first, run(1), "{kind}");
        if is_sketch(kind) {
            assert_ne!(first.1, run(2).1, "{kind}");
        }
    }
}

#[test]
fn entries_that_are_not_finite_are_errors() {
    for kind in LinearSolverKind::ALL {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut a = definite(7, &mut Random::new(2));
            let mut solver = build(kind, 7, 1);
            let mut x = vec![0.0; 7];
            solver.prepare(&mut a, &go()).unwrap();
            let mut b = vec![1.0; 7];
            b[3] = bad;
            let e = solver.solve(&mut a, &b, &mut x, to(1e-8), &go()).unwrap_err();
            assert!(matches!(e, LinSolError::NotFinite { what: "right-hand side", .. }), "{kind}: {e}");
            a.values[2] = bad;
            let e = solver.prepare(&mut a, &go()).unwrap_err();
            assert!(matches!(e, LinSolError::NotFinite { what: "matrix", .. }), "{kind}: {e}");
            // A start that is not finite is replaced.
            a.values[2] = 0.25;
            solver.prepare(&mut a, &go()).unwrap();
            x[1] = bad;
            let s = solver.solve(&mut a, &[1.0; 7], &mut x, to(1e-6), &go()).unwrap();
            assert_eq!(s.end, SolveEnd::Reached, "{kind}");
        }
    }
}

#[test]
fn nan_from_a_matrix_free_product_is_an_error() {
    for kind in LinearSolverKind::ALL {
        let mut a = definite(7, &mut Random::new(2));
        a.values[2] = f64::NAN;
        let mut solver = build(kind, 7, 1);
        let mut x = vec![0.0; 7];
        let mut a = MatrixFree(a);
        let result = solver
            .prepare(&mut a, &go())
            .and_then(|_| solver.solve(&mut a, &[1.0; 7], &mut x, to(1e-8), &go()).map(|_| ()));
        let want = matches!(result, Err(LinSolError::NotFinite { .. } | LinSolError::NeedsEntries { .. }));
        assert!(want, "{kind}: {result:?}");
    }
}

#[test]
fn matrix_free_where_possible() {
    use LinearSolverKind::*;
    for kind in LinearSolverKind::ALL {
        let n = if is_single_vector(kind) { 8 } else { 40 };
        let mut random = Random::new(12);
        let entries = definite(n, &mut random);
        let b = random.vector(n);
        let mut a = MatrixFree(entries.clone());
        let mut solver = build(kind, 7, 1);
        let prepared = solver.prepare(&mut a, &go());
        let facts = solver.facts();
        assert_eq!(
            facts.needs_entries,
            matches!(kind, Ldl | Kaczmarz | KaczmarzNorm | BlockKaczmarz),
            "{kind}"
        );
        if facts.needs_entries {
            assert!(matches!(prepared, Err(LinSolError::NeedsEntries { .. })), "{kind}");
            continue;
        }
        prepared.unwrap();
        let mut x = vec![0.0; n];
        let s = solver.solve(&mut a, &b, &mut x, to(1e-8), &go()).unwrap();
        assert_eq!(s.end, SolveEnd::Reached, "{kind}");
        assert!(true_residual(entries.as_ref(), &b, &x) <= 1.001e-8, "{kind}");
    }
}

#[test]
fn other_shapes_are_errors() {
    for kind in LinearSolverKind::ALL {
        let (mut a, _) = SparseMatrix::from_coordinates(3, 2, &[0, 2], &[0, 1], Storage::General);
        let mut solver = build(kind, 7, 1);
        let e = solver.prepare(&mut a, &go()).unwrap_err();
        assert!(matches!(e, LinSolError::Shape { .. }), "{kind}: {e}");
        let mut a = definite(4, &mut Random::new(2));
        solver.prepare(&mut a, &go()).unwrap();
        let e = solver.solve(&mut a, &[1.0; 3], &mut [0.0; 4], to(1e-8), &go()).unwrap_err();
        assert!(matches!(e, LinSolError::Shape { .. }), "{kind}: {e}");
        // Nothing prepared.
        let e = build(kind, 7, 1).solve(&mut a, &[1.0; 4], &mut [0.0; 4], to(1e-8), &go());
        assert!(e.is_err(), "{kind}");
    }
}

#[test]
fn square_matrices_that_are_not_symmetric() {
    use LinearSolverKind::*;
    for kind in LinearSolverKind::ALL {
        let n = 12;
        let (mut rows, mut cols) = ((0..n).collect::<Vec<_>>(), (0..n).collect::<Vec<_>>());
        rows.extend(0..n - 1);
        cols.extend(1..n);
        let (mut a, at) = SparseMatrix::from_coordinates(n, n, &rows, &cols, Storage::General);
        for (k, p) in at.iter().enumerate() {
            a.values[*p] = if k < n { 2.0 } else { 0.5 };
        }
        if matches!(kind, Ldl | Minres | SketchedKrylov) {
            let e = build(kind, 7, 1).prepare(&mut a, &go()).unwrap_err();
            assert!(matches!(e, LinSolError::Shape { .. }), "{kind}: {e}");
        } else {
            let b = Random::new(3).vector(n);
            check_solves(kind, &mut a, &b, 1e-8, "bidiagonal");
        }
    }
}

#[test]
fn a_raised_stop_token_is_honoured() {
    for kind in LinearSolverKind::ALL {
        let n = 150;
        let mut random = Random::new(4);
        let mut a = definite(n, &mut random);
        let b = random.vector(n);
        let mut solver = build(kind, 7, 1);
        match solver.prepare(&mut a, &raised()) {
            Err(LinSolError::Stopped) => {
                solver.prepare(&mut a, &go()).unwrap();
            }
            other => {
                other.unwrap();
            }
        }
        let mut x = vec![0.0; n];
        let s = solver.solve(&mut a, &b, &mut x, to(1e-12), &raised()).unwrap();
        assert_eq!((s.end, s.iterations), (SolveEnd::Stopped, 0), "{kind}");
        assert_eq!(x, vec![0.0; n], "{kind}");
    }
}

#[test]
fn the_iteration_limit_is_kept() {
    for kind in LinearSolverKind::ALL {
        let n = 80;
        let mut random = Random::new(4);
        let mut a = definite(n, &mut random);
        let b = random.vector(n);
        let mut solver = build(kind, 7, 1);
        solver.prepare(&mut a, &go()).unwrap();
        for max_iterations in [0, 1, 3] {
            let mut x = vec![0.0; n];
            let accuracy = Accuracy { relative: 0.0, max_iterations };
            let s = solver.solve(&mut a, &b, &mut x, accuracy, &go()).unwrap();
            assert!(s.iterations <= max_iterations && s.end != SolveEnd::Reached, "{kind}: {s:?}");
        }
    }
}

#[test]
fn matrices_of_other_sizes_one_after_the_other() {
    for kind in LinearSolverKind::ALL {
        let mut solver = build(kind, 7, 1);
        for n in [5, 2, 9, 9, 1] {
            let mut random = Random::new(n as u64);
            let mut a = definite(n, &mut random);
            let b = random.vector(n);
            let mut x = vec![0.0; n];
            solver.prepare(&mut a, &go()).unwrap();
            let s = solver.solve(&mut a, &b, &mut x, to(1e-7), &go()).unwrap();
            assert_eq!(s.end, SolveEnd::Reached, "{kind} {n}");
            assert!(true_residual(a.as_ref(), &b, &x) <= 1.001e-7, "{kind} {n}");
        }
    }
}

#[test]
fn names_are_those_of_the_command_line() {
    for kind in LinearSolverKind::ALL {
        assert_eq!(build(kind, 0, 1).name(), kind.as_str());
    }
}

#[test]
fn no_unknowns() {
    for kind in LinearSolverKind::ALL {
        let mut a = symmetric(0, &[]);
        let mut solver = build(kind, 7, 1);
        solver.prepare(&mut a, &go()).unwrap();
        let s = solver.solve(&mut a, &[], &mut [], to(1e-8), &go()).unwrap();
        assert_eq!(s.end, SolveEnd::Reached, "{kind}");
    }
}

#[test]
fn the_choice_says_why() {
    let facts = |unknowns, entries| Facts { unknowns, entries, symmetric: true };
    assert_eq!(choose(facts(10, Some(40))).0, LinearSolverKind::Ldl);
    assert_eq!(choose(facts(0, Some(0))).0, LinearSolverKind::Ldl);
    assert_eq!(choose(facts(200_000, Some(2_000_000))).0, LinearSolverKind::Ldl);
    assert_eq!(choose(facts(20_000, Some(200_000_000))).0, LinearSolverKind::Minres);
    assert_eq!(choose(facts(100, None)).0, LinearSolverKind::Minres);
    let (kind, why) = choose(Facts { unknowns: 9, entries: None, symmetric: false });
    assert_eq!(kind, LinearSolverKind::Gmres);
    assert!(why.contains("not symmetric"));
}

//! LDL' of random symmetric systems: inertia against eigenvalues, residuals, and what must not depend on the order or scale of the unknowns.

use costate::linalg::{LinOp, SparseMatrix, Storage};
use costate::linsol::{Accuracy, Inertia, Ldl, LdlOptions, LinearSolver};
use costate::observe::StopToken;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// [H J'; J -D], H and J sparse.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// H and D positive definite.
    QuasiDefinite,
    /// H with any diagonal, D = 0; singular where J is not of full rank.
    Kkt,
    /// The same with the last unknown a copy of another.
    Singular,
}

#[derive(Debug, Clone)]
struct System {
    n: usize,
    m: usize,
    a: SparseMatrix,
    /// A solution, to make right-hand sides from.
    x: Vec<f64>,
}

fn symmetric(n: usize, t: &[(usize, usize, f64)]) -> SparseMatrix {
    let (rows, cols): (Vec<_>, Vec<_>) = t.iter().map(|e| (e.0, e.1)).unzip();
    let (mut a, at) = SparseMatrix::from_coordinates(n, n, &rows, &cols, Storage::SymmetricLower);
    at.iter().zip(t).for_each(|(&p, e)| a.values[p] += e.2);
    a
}

fn triplets(a: &SparseMatrix) -> Vec<(usize, usize, f64)> {
    let column = |j: usize| (a.col_ptr[j]..a.col_ptr[j + 1]).map(move |p| (p, j));
    (0..a.ncols).flat_map(column).map(|(p, j)| (a.row_idx[p], j, a.values[p])).collect()
}

fn system(kind: Kind) -> impl Strategy<Value = System> {
    let sizes = (1usize..60, 0usize..40);
    let entry = || (any::<Index>(), any::<Index>(), -1.0..1.0f64);
    let parts = (vec(entry(), 0..90), vec(entry(), 0..90), vec(0.05..1.0f64, 100), vec(-1.0..1.0f64, 200));
    (sizes, parts).prop_map(move |((n, m), (hessian, jacobian, positive, any))| {
        let mut t: Vec<(usize, usize, f64)> = Vec::new();
        // Gershgorin: the diagonal of a quasi-definite block exceeds the sum of its row.
        let mut sums = vec![0.0; n];
        for (i, j, v) in &hessian {
            let (i, j) = (i.index(n), j.index(n));
            t.push((i.max(j), i.min(j), *v));
            sums[i] += v.abs();
            sums[j] += v.abs();
        }
        for j in 0..n {
            let d = if kind == Kind::QuasiDefinite { sums[j] + positive[j] } else { 2.0 * any[j] };
            t.push((j, j, d));
        }
        for r in 0..m {
            t.push((n + r, r % n, 1.0 + positive[r]));
            if kind == Kind::QuasiDefinite {
                t.push((n + r, n + r, -positive[99 - r]));
            }
        }
        for (i, j, v) in jacobian.iter().filter(|_| m > 0) {
            t.push((n + i.index(m), j.index(n), *v));
        }
        let mut size = n + m;
        if kind == Kind::Singular {
            // A copy of unknown 0: row and column `size` equal to row and column 0.
            let a = symmetric(size, &t);
            t = triplets(&a);
            let of_zero: Vec<_> = t.iter().filter(|e| e.1 == 0).copied().collect();
            for (i, _, v) in of_zero {
                t.push((size, i, v));
                if i == 0 {
                    t.push((size, size, v));
                }
            }
            size += 1;
        }
        System { n, m, a: symmetric(size, &t), x: any[100..100 + size].to_vec() }
    })
}

fn eigenvalues(a: &SparseMatrix) -> Vec<f64> {
    let mut dense = faer::Mat::<f64>::zeros(a.nrows, a.nrows);
    for (i, j, v) in triplets(a) {
        dense[(i, j)] = v;
        dense[(j, i)] = v;
    }
    dense.self_adjoint_eigenvalues(faer::Side::Lower).expect("eigenvalues")
}

/// Inertia from eigenvalues and the condition without the zero ones; None where an eigenvalue is neither zero nor clearly not.
fn judged(a: &SparseMatrix) -> Option<(Inertia, f64)> {
    let e = eigenvalues(a);
    let big = e.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let is_zero = |v: &f64| v.abs() <= 1e-13 * big;
    let small = e.iter().filter(|v| !is_zero(v)).fold(big, |m, v| m.min(v.abs()));
    if small < 1e-9 * big {
        return None;
    }
    let zero = e.iter().filter(|v| is_zero(v)).count();
    let positive = e.iter().filter(|v| !is_zero(v) && **v > 0.0).count();
    Some((Inertia { positive, negative: e.len() - positive - zero, zero }, big / small))
}

/// Dense and sparse, the latter for systems whose rank it judges rightly: see `many_zero_eigenvalues`.
fn solvers(s: &System) -> Vec<Ldl> {
    let sizes: &[usize] = if s.m <= s.n { &[usize::MAX, 0] } else { &[usize::MAX] };
    sizes.iter().map(|&dense_up_to| Ldl::new(LdlOptions { dense_up_to, ..LdlOptions::default() })).collect()
}

fn product(a: &mut SparseMatrix, x: &[f64]) -> Vec<f64> {
    let mut b = vec![0.0; a.nrows];
    a.apply(1.0, x, 0.0, &mut b);
    b
}

/// Inertia, solution of A x = b and relative residual.
fn solved(solver: &mut Ldl, a: &mut SparseMatrix, b: &[f64]) -> (Inertia, Vec<f64>, f64) {
    let stop = StopToken::default();
    let prepared = solver.prepare(a, &stop).expect("prepare");
    let mut x = vec![0.0; a.nrows];
    let accuracy = Accuracy { relative: 1e-14, max_iterations: 20 };
    let s = solver.solve(a, b, &mut x, accuracy, &stop).expect("solve");
    (prepared.inertia.expect("inertia"), x, s.relative_residual)
}

fn distance(x: &[f64], y: &[f64]) -> f64 {
    let size = x.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    x.iter().zip(y).fold(0.0f64, |m, (x, y)| m.max((x - y).abs())) / size.max(f64::MIN_POSITIVE)
}

/// Where many eigenvalues are zero (more constraints than unknowns: a third of them), the sparse LDL' still takes rounding for pivots in one of
/// ten small systems; `Ldl::doubtful_pivots` tells in some of these only. Threshold pivoting within a block of rounding errors lets them grow;
/// the dense LDL' has no such case. The optimizer adds a dual regularization as soon as one zero is found.
#[test]
fn many_zero_eigenvalues() {
    let mut runner = TestRunner::deterministic();
    let (mut compared, mut wrong, mut none_found) = (0, 0, 0);
    while compared < 1000 {
        let mut s = system(Kind::Kkt).new_tree(&mut runner).expect("a system").current();
        let Some((want, _)) = judged(&s.a).filter(|_| s.m > s.n) else { continue };
        let b = product(&mut s.a, &s.x);
        let mut sparse = Ldl::new(LdlOptions { dense_up_to: 0, ..LdlOptions::default() });
        let inertia = solved(&mut sparse, &mut s.a, &b).0;
        compared += 1;
        wrong += usize::from(inertia != want);
        none_found += usize::from(inertia.zero == 0);
    }
    println!("{wrong} of {compared} wrong, {none_found} without a zero");
    assert!(wrong < compared / 8 && none_found < compared / 100, "{wrong} {none_found}");
}

fn config() -> ProptestConfig {
    // The same cases every time.
    let rng_seed = proptest::test_runner::RngSeed::Fixed(1);
    ProptestConfig { cases: 500, failure_persistence: None, rng_seed, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// (n, m, 0) whatever the order of pivots (Vanderbei 1995).
    #[test]
    fn quasi_definite_matrices_have_the_inertia_of_their_blocks(mut s in system(Kind::QuasiDefinite)) {
        let b = product(&mut s.a, &s.x);
        for mut solver in solvers(&s) {
            let (inertia, x, residual) = solved(&mut solver, &mut s.a, &b);
            prop_assert_eq!(inertia, Inertia { positive: s.n, negative: s.m, zero: 0 });
            prop_assert!(residual < 1e-12, "{residual:e}");
            prop_assert!(distance(&s.x, &x) < 1e-9);
        }
    }

    #[test]
    fn inertia_is_that_of_the_eigenvalues(
        mut s in prop_oneof![system(Kind::QuasiDefinite), system(Kind::Kkt), system(Kind::Singular)],
    ) {
        let b = product(&mut s.a, &s.x);
        for mut solver in solvers(&s) {
            let (inertia, _, residual) = solved(&mut solver, &mut s.a, &b);
            prop_assert_eq!(inertia.positive + inertia.negative + inertia.zero, s.a.nrows);
            if let Some((want, _)) = judged(&s.a) {
                prop_assert_eq!(inertia, want);
                prop_assert!(residual < 1e-10, "{residual:e}");
            }
        }
    }

    /// One unknown stands twice: at least one eigenvalue is zero, and consistent systems are solved all the same.
    #[test]
    fn singular_matrices_show_it(mut s in system(Kind::Singular)) {
        let b = product(&mut s.a, &s.x);
        for mut solver in solvers(&s) {
            let (inertia, x, residual) = solved(&mut solver, &mut s.a, &b);
            prop_assert!(inertia.zero >= 1, "{inertia:?}");
            prop_assert!(x.iter().all(|v| v.is_finite()));
            prop_assert!(judged(&s.a).is_none() || residual < 1e-10, "{residual:e}");
        }
    }

    /// P A P' has the inertia of A, and P x as its solution.
    #[test]
    fn the_order_of_the_unknowns_does_not_matter(
        (mut s, keys) in (system(Kind::Kkt), vec(any::<u64>(), 120)),
    ) {
        let n = s.a.nrows;
        let mut place: Vec<usize> = (0..n).collect();
        place.sort_by_key(|&j| keys[j]);
        let moved: Vec<_> = triplets(&s.a).iter().map(|&(i, j, v)| (place[i], place[j], v)).collect();
        let mut permuted = symmetric(n, &moved);
        let b = product(&mut s.a, &s.x);
        let mut pb = vec![0.0; n];
        (0..n).for_each(|j| pb[place[j]] = b[j]);
        for mut solver in solvers(&s) {
            let (inertia, x, _) = solved(&mut solver, &mut s.a, &b);
            let (again, y, residual) = solved(&mut solver, &mut permuted, &pb);
            if let Some((want, condition)) = judged(&s.a) {
                prop_assert_eq!((inertia, again), (want, want));
                prop_assert!(residual < 1e-10, "{residual:e}");
                if want.zero == 0 {
                    let back: Vec<f64> = (0..n).map(|j| y[place[j]]).collect();
                    prop_assert!(distance(&x, &back) < 1e-13 * condition, "{:e} {condition:e}", distance(&x, &back));
                }
            }
        }
    }

    /// S A S has the inertia of A, and S^-1 x as its solution.
    #[test]
    fn the_scale_of_the_unknowns_does_not_matter(
        (mut s, exponents) in (system(Kind::Kkt), vec(-20i32..20, 120)),
    ) {
        let n = s.a.nrows;
        let scale: Vec<f64> = exponents[..n].iter().map(|&e| 2f64.powi(e)).collect();
        let t: Vec<_> = triplets(&s.a).iter().map(|&(i, j, v)| (i, j, v * scale[i] * scale[j])).collect();
        let mut scaled = symmetric(n, &t);
        let b = product(&mut s.a, &s.x);
        let sb: Vec<f64> = b.iter().zip(&scale).map(|(b, s)| b * s).collect();
        for mut solver in solvers(&s) {
            let (inertia, x, _) = solved(&mut solver, &mut s.a, &b);
            let (again, y, _) = solved(&mut solver, &mut scaled, &sb);
            if let Some((want, condition)) = judged(&s.a) {
                prop_assert_eq!((inertia, again), (want, want));
                if want.zero == 0 && condition < 1e6 {
                    let back: Vec<f64> = y.iter().zip(&scale).map(|(y, s)| y * s).collect();
                    prop_assert!(distance(&x, &back) < 1e-8, "{:e} {condition:e}", distance(&x, &back));
                }
            }
        }
    }
}

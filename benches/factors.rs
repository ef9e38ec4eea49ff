//! Nanoseconds a row of factorizations and solves, beside faer and nalgebra on the same matrices in the same run.
//!
//!     cargo bench --bench factors                # all tables
//!     cargo bench --bench factors -- band dense  # some of: dense band grid step
//!
//! Each number is the fastest of many calls in one thread.

use std::hint::black_box;
use std::time::Instant;

use costate::linalg::{BandMut, BandRef, MatrixRef, Pattern};
use costate::linsol::factors::*;
use faer::prelude::Solve;
use faer::sparse::{SparseColMat, Triplet};

/// Seconds of the fastest of many calls.
fn best(mut f: impl FnMut()) -> f64 {
    f();
    let start = Instant::now();
    let (mut fastest, mut calls) = (f64::INFINITY, 0);
    while calls < 5 || (start.elapsed().as_secs_f64() < 0.3 && calls < 20_000) {
        let t = Instant::now();
        f();
        fastest = fastest.min(t.elapsed().as_secs_f64());
        calls += 1;
    }
    fastest
}

/// Nanoseconds a row of factorization, solve and transposed solve.
fn ours(factors: &mut dyn Factors<f64>, a: MatrixRef<'_, f64>) -> [f64; 3] {
    let n = a.n();
    let ns = |seconds: f64| 1e9 * seconds / n as f64;
    let b: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
    let mut x = b.clone();
    let factor = best(|| factors.factor(black_box(a)).expect("a factorization"));
    let solve = best(|| {
        x.copy_from_slice(&b);
        factors.solve(&mut x).expect("a solve");
    });
    let mut r = b.clone();
    a.apply(-1.0, &x, 1.0, &mut r);
    let size = r.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    assert!(size < 1e-2, "{}: residual {size:e}", factors.name());
    let solve_t = best(|| {
        x.copy_from_slice(&b);
        factors.solve_t(&mut x).expect("a solve");
    });
    [ns(factor), ns(solve), ns(solve_t)]
}

/// faer's general sparse LU: symbolic analysis, numeric factorization, solve.
fn faers(a: &Pattern, values: &[f64]) -> [f64; 3] {
    let n = a.nrows();
    let triplets: Vec<_> = a.entries().zip(values).map(|((i, j), v)| Triplet::new(i, j, *v)).collect();
    let a = SparseColMat::<usize, f64>::try_new_from_triplets(n, n, &triplets).expect("a matrix");
    let symbolic = faer::sparse::linalg::solvers::SymbolicLu::try_new(a.symbolic()).expect("an analysis");
    let lu = |symbolic| {
        faer::sparse::linalg::solvers::Lu::try_new_with_symbolic(symbolic, a.as_ref()).expect("factors")
    };
    let analysis = best(|| {
        black_box(faer::sparse::linalg::solvers::SymbolicLu::try_new(a.symbolic()).expect("an analysis"));
    });
    let factor = best(|| {
        black_box(lu(symbolic.clone()));
    });
    let done = lu(symbolic.clone());
    let b = faer::Col::from_fn(n, |i| (i as f64).sin());
    let solve = best(|| {
        black_box(done.solve(&b));
    });
    [analysis, factor, solve].map(|s| 1e9 * s / n as f64)
}

/// I / (h gamma) - J of the one-dimensional Brusselator of n unknowns near its start, with h gamma = 1e-3: two diagonals on each side.
fn brusselator(n: usize) -> (Pattern, Vec<f64>) {
    let points = n / 2;
    let d = (points + 1).pow(2) as f64 / 50.0;
    let pattern = Pattern::banded(n, 2, 2);
    let value = |(i, j): (usize, usize)| {
        let x = (i / 2 + 1) as f64 / (points + 1) as f64;
        let (u, v) = (1.0 + (2.0 * std::f64::consts::PI * x).sin(), 3.0);
        match (i % 2, i as isize - j as isize) {
            (0, 0) => 1e3 - (2.0 * u * v - 4.0 - 2.0 * d),
            (0, -1) => -u * u,
            (1, 0) => 1e3 - (-u * u - 2.0 * d),
            (1, 1) => -(3.0 - 2.0 * u * v),
            (_, 2 | -2) => -d,
            _ => 0.0,
        }
    };
    let values = pattern.entries().map(value).collect();
    (pattern, values)
}

fn line(what: &str, columns: &[(&str, f64)]) {
    let columns: Vec<_> = columns.iter().map(|(name, v)| format!("{name} {v:8.1}")).collect();
    println!("{what:<34} {}", columns.join("  "));
}

fn dense_table() {
    println!("\ndense, ns a row: own elimination, with faer's, nalgebra");
    for n in [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 500] {
        let values: Vec<f64> = (0..n * n)
            .map(|k| {
                ((k * 7919 + 13) % 1009) as f64 / 1009.0 - 0.5 + if k % (n + 1) == 0 { 3.0 } else { 0.0 }
            })
            .collect();
        let a = MatrixRef::Dense { n, values: &values };
        let [factor, solve, solve_t] = ours(&mut DenseLu::blocked_above(usize::MAX), a);
        let [blocked, ..] = ours(&mut DenseLu::blocked_above(0), a);
        let matrix = nalgebra::DMatrix::from_column_slice(n, n, &values);
        let b = nalgebra::DVector::from_fn(n, |i, _| (i as f64).sin());
        let theirs = 1e9 / n as f64
            * best(|| {
                black_box(matrix.clone().lu());
            });
        let lu = matrix.clone().lu();
        let theirs_solve = 1e9 / n as f64
            * best(|| {
                black_box(lu.solve(&b));
            });
        line(
            &format!("n = {n}"),
            &[
                ("factor", factor),
                ("solve", solve),
                ("transposed", solve_t),
                ("| with faer's factor", blocked),
                ("| nalgebra", theirs),
                ("solve", theirs_solve),
            ],
        );
    }
}

fn band_table() {
    println!(
        "\nband: Brusselator (2 + 2), then random bands of 10 000 rows, ns a row: ours, faer's general sparse LU"
    );
    for n in [500, 1000, 2000, 4000, 10_000, 30_000, 100_000] {
        let (pattern, values) = brusselator(n);
        band_line(&format!("Brusselator, n = {n}"), &pattern, &values, 2, n <= 30_000);
    }
    for k in [1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 64] {
        let pattern = Pattern::banded(10_000, k, k);
        let mut x = 1u64;
        let mut noise = || {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (x >> 40) as f64 / (1u64 << 24) as f64 - 0.5
        };
        let on = k as f64 + 1.0;
        let values: Vec<f64> =
            pattern.entries().map(|(i, j)| noise() + if i == j { on } else { 0.0 }).collect();
        band_line(&format!("{k} + {k}, dominant"), &pattern, &values, k, k <= 8);
        let values: Vec<f64> = pattern.entries().map(|_| noise()).collect();
        band_line(&format!("{k} + {k}, rows exchanged"), &pattern, &values, k, false);
    }
}

fn band_line(what: &str, pattern: &Pattern, values: &[f64], k: usize, peer: bool) {
    let n = pattern.nrows();
    let mut band = vec![0.0; n * (2 * k + 1)];
    for ((i, j), v) in pattern.entries().zip(values) {
        *BandMut { n, lower: k, upper: k, values: &mut band }.at(i, j) = *v;
    }
    let a = MatrixRef::Band(BandRef { n, lower: k, upper: k, values: &band });
    let [factor, solve, solve_t] = ours(&mut BandLu::new(), a);
    let mut columns = vec![("factor", factor), ("solve", solve), ("transposed", solve_t)];
    if peer {
        let [analysis, factor, solve] = faers(pattern, values);
        columns.extend([("| faer: analysis", analysis), ("factor", factor), ("solve", solve)]);
    }
    line(what, &columns);
}

/// 1 / (h gamma) + the five-point Laplacian of a torus of side m (Allen-Cahn's matrix): the diffusion numbers are those of its stiffest steps.
fn torus(m: usize, diffusion: f64) -> (Pattern, Vec<f64>) {
    let n = m * m;
    let neighbours = |k: usize| {
        let (x, y) = (k % m, k / m);
        [k, y * m + (x + 1) % m, y * m + (x + m - 1) % m, (k + m) % n, (k + n - m) % n]
    };
    let entries = (0..n).flat_map(|k| neighbours(k).map(|l| (l, k)));
    let pattern = Pattern::new(n, n, entries).expect("entries inside");
    let values = pattern
        .entries()
        .map(|(i, j)| if i == j { 1.0 + 4.0 * diffusion + 0.1 * (i as f64).sin() } else { -diffusion })
        .collect();
    (pattern, values)
}

fn grid_table() {
    println!("\nfive-point Laplacian on a torus, ns a row: direct, by iteration, faer's general sparse LU");
    for m in [64, 256] {
        for diffusion in [1.0, 100.0] {
            let (pattern, values) = torus(m, diffusion);
            let n = pattern.nrows();
            let a = MatrixRef::Sparse(pattern.with_values(&values));
            let what = format!("{m} x {m}, diffusion {diffusion}");
            let mut lu = SparseLu::new();
            let analysis = best(|| {
                black_box(lu.analyze(&pattern).expect("an analysis"));
            });
            let [factor, solve, solve_t] = ours(&mut lu, a);
            let analysis = 1e9 * analysis / n as f64;
            let columns =
                [("analysis", analysis), ("factor", factor), ("solve", solve), ("transposed", solve_t)];
            line(&format!("{what}: sparse LU"), &columns);
            for method in [KrylovMethod::Gmres { restart: 30 }, KrylovMethod::BiCgStab] {
                for tolerance in [1e-4, 1e-10] {
                    let options =
                        KrylovOptions { method, tolerance: Some(tolerance), ..KrylovOptions::default() };
                    let mut krylov = Krylov::new(options);
                    let [factor, solve, solve_t] = ours(&mut krylov, a);
                    let name = format!("  {} + ILU(0) to {tolerance:.0e}", krylov.name());
                    let products = krylov.facts().iterations as f64;
                    let columns = [
                        ("products", products),
                        ("factor", factor),
                        ("solve", solve),
                        ("transposed", solve_t),
                    ];
                    line(&name, &columns);
                }
            }
            let [analysis, factor, solve] = faers(&pattern, &values);
            line("  faer", &[("analysis", analysis), ("factor", factor), ("solve", solve)]);
        }
    }
}

/// The whole of a step's linear algebra: J written, W formed and factored, a solve.
fn step_table() {
    println!("\nstep matrices, ns a row: M / (h gamma) - J formed and factored, a solve");
    let scattered = |n: usize| {
        // All u, then all v.
        let place = |i: usize| i / 2 + (i % 2) * (n / 2);
        let (pattern, _) = brusselator(n);
        Pattern::new(n, n, pattern.entries().map(|(i, j)| (place(i), place(j)))).expect("entries inside")
    };
    let mut all = Vec::new();
    for n in [500, 10_000, 100_000] {
        all.push((format!("Brusselator, n = {n}"), Layout::Band { n, lower: 2, upper: 2 }));
        all.push((format!("u, then v, n = {n}"), Layout::Sparse(scattered(n))));
    }
    all.push(("torus 64 x 64".into(), Layout::Sparse(torus(64, 1.0).0)));
    all.push(("torus 256 x 256".into(), Layout::Sparse(torus(256, 1.0).0)));
    for n in [2, 4, 8, 20, 100] {
        all.push((format!("dense, n = {n}"), Layout::Dense { n }));
    }
    for (what, layout) in all {
        let n = layout.n();
        let ns = |seconds: f64| 1e9 * seconds / n as f64;
        let start = Instant::now();
        let mut w =
            StepMatrix::<f64>::new(layout, Mass::Identity, &ChooseOptions::default()).expect("a matrix");
        let made = start.elapsed().as_secs_f64();
        let jacobian: Vec<f64> = (0..w.layout().len()).map(|k| ((k * 31) % 17) as f64 / 17.0 - 0.5).collect();
        let factor = best(|| {
            w.jacobian_mut().copy_from_slice(&jacobian);
            w.refactor(0.1).expect("a factorization");
        });
        let mut b: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
        let solve = best(|| w.solve(&mut b).expect("a solve"));
        line(&what, &[("once", ns(made)), ("factor", ns(factor)), ("solve", ns(solve))]);
        println!("    {}", w.choice());
    }
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|a| a == name);
    if wanted("dense") {
        dense_table();
    }
    if wanted("grid") {
        grid_table();
    }
    if wanted("step") {
        step_table();
    }
    if wanted("band") {
        band_table();
    }
}

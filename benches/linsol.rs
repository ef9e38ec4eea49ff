//! Factor and solve: small dense systems, a PDE-constrained problem, every solver on one common system.
//!
//! `cargo bench --bench linsol` runs criterion; `cargo bench --bench linsol -- --table [NAME]` compares our sparse LDL' with
//! peers on the KKT matrices of the larger reference instances, if they are there, and on made-up ones.

mod factorizations;

use std::hint::black_box;

use costate::linalg::{LinOp, SparseMatrix, Storage};
use costate::linsol::{Accuracy, Ldl, LdlOptions, LinearSolver, LinearSolverKind, build};
use costate::observe::StopToken;
use criterion::{BenchmarkId, Criterion};
use factorizations::MadeUp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn symmetric(n: usize, t: &[(usize, usize, f64)]) -> SparseMatrix {
    let rows: Vec<_> = t.iter().map(|e| e.0).collect();
    let cols: Vec<_> = t.iter().map(|e| e.1).collect();
    let (mut a, at) = SparseMatrix::from_coordinates(n, n, &rows, &cols, Storage::SymmetricLower);
    for (p, e) in at.iter().zip(t) {
        a.values[*p] += e.2;
    }
    a
}

/// [I 0 L; 0 alpha I I; L I 0] with the 5-point Laplacian L on a grid.
fn poisson_control(side: usize) -> SparseMatrix {
    let cells = side * side;
    let mut t = Vec::new();
    for k in 0..cells {
        t.push((k, k, 1.0));
        t.push((cells + k, cells + k, 0.1));
        t.push((2 * cells + k, k, 4.0));
        t.push((2 * cells + k, 2 * cells + k, 0.0));
        t.push((2 * cells + k, cells + k, 1.0));
        let (i, j) = (k / side, k % side);
        for (there, l) in [
            (i > 0, k.wrapping_sub(side)),
            (i + 1 < side, k + side),
            (j > 0, k.wrapping_sub(1)),
            (j + 1 < side, k + 1),
        ] {
            if there {
                t.push((2 * cells + k, l, -1.0));
            }
        }
    }
    symmetric(3 * cells, &t)
}

/// The same with the 7-point Laplacian on a grid in space.
fn poisson_control_in_space(side: usize) -> SparseMatrix {
    let cells = side * side * side;
    let mut t = Vec::new();
    for k in 0..cells {
        t.push((k, k, 1.0));
        t.push((cells + k, cells + k, 0.1));
        t.push((2 * cells + k, k, 6.0));
        t.push((2 * cells + k, 2 * cells + k, 0.0));
        t.push((2 * cells + k, cells + k, 1.0));
        for stride in [1, side, side * side] {
            let at = k / stride % side;
            t.extend((at > 0).then(|| (2 * cells + k, k - stride, -1.0)));
            t.extend((at + 1 < side).then(|| (2 * cells + k, k + stride, -1.0)));
        }
    }
    symmetric(3 * cells, &t)
}

/// Dense random KKT matrix, two thirds of the unknowns primal.
fn dense(n: usize) -> SparseMatrix {
    let mut random = StdRng::seed_from_u64(1);
    let primal = 2 * n / 3 + 1;
    let mut t = Vec::new();
    for i in 0..n {
        for j in 0..=i {
            if j < primal {
                t.push((i, j, random.random::<f64>() - 0.5 + if i == j { 3.0 } else { 0.0 }));
            } else if i == j {
                t.push((i, i, 0.0));
            }
        }
    }
    symmetric(n, &t)
}

fn factor_and_solve(
    solver: &mut dyn LinearSolver,
    a: &mut SparseMatrix,
    b: &[f64],
    x: &mut [f64],
    relative: f64,
) {
    let stop = StopToken::default();
    x.fill(0.0);
    black_box(solver.prepare(a, &stop).unwrap());
    let accuracy = Accuracy { relative, max_iterations: 1_000_000 };
    black_box(solver.solve(a, b, x, accuracy, &stop).unwrap());
}

fn small(c: &mut Criterion) {
    let mut group = c.benchmark_group("ldl small dense KKT");
    for n in [5, 10, 20, 50, 100] {
        let mut a = dense(n);
        let (b, mut x) = (vec![1.0; n], vec![0.0; n]);
        for (name, options) in [
            ("dense", LdlOptions::default()),
            ("sparse", LdlOptions { dense_up_to: 0, ..LdlOptions::default() }),
        ] {
            let mut solver = Ldl::new(options);
            group.bench_function(BenchmarkId::new(name, n), |bench| {
                bench.iter(|| factor_and_solve(&mut solver, &mut a, &b, &mut x, 1e-10));
            });
        }
    }
    group.finish();
}

fn grid(c: &mut Criterion) {
    let mut group = c.benchmark_group("ldl Poisson control KKT");
    group.sample_size(10);
    for side in [30, 100] {
        let mut a = poisson_control(side);
        let (b, mut x) = (vec![1.0; a.nrows()], vec![0.0; a.nrows()]);
        let mut solver = Ldl::default();
        group.bench_function(BenchmarkId::new("ldl", side), |bench| {
            bench.iter(|| factor_and_solve(&mut solver, &mut a, &b, &mut x, 1e-10));
        });
    }
    group.finish();
}

fn every_solver(c: &mut Criterion) {
    let mut group = c.benchmark_group("every solver, 12 unknowns");
    let t: Vec<_> =
        (0..12usize).flat_map(|i| [(i, i, 3.0 + 0.1 * i as f64), (i, i.saturating_sub(1), 0.3)]).collect();
    let mut a = symmetric(12, &t);
    let (b, mut x) = (vec![1.0; 12], vec![0.0; 12]);
    for kind in LinearSolverKind::ALL {
        let mut solver = build(kind, 1, 1);
        group.bench_function(kind.as_str(), |bench| {
            bench.iter(|| factor_and_solve(&mut *solver, &mut a, &b, &mut x, 1e-6));
        });
    }
    group.finish();
}

fn families() -> Vec<MadeUp> {
    let grid = |side: usize| -> MadeUp {
        (
            format!("Poisson control {side} x {side}"),
            Box::new(move || (poisson_control(side), 2 * side * side)),
        )
    };
    let full = |n: usize| -> MadeUp { (format!("dense {n}"), Box::new(move || (dense(n), 2 * n / 3 + 1))) };
    let space = |side: usize| -> MadeUp {
        let name = format!("Poisson control {side} x {side} x {side}");
        (name, Box::new(move || (poisson_control_in_space(side), 2 * side * side * side)))
    };
    vec![grid(30), grid(100), grid(200), space(26), full(200), full(1000)]
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.iter().any(|a| a == "--table" || a == "--peer") {
        factorizations::main(&args, families());
        return;
    }
    let mut c = Criterion::default().configure_from_args();
    small(&mut c);
    grid(&mut c);
    every_solver(&mut c);
    c.final_summary();
}

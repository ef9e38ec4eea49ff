//! Regression and least squares on generated tall data: exact against randomized methods.
//!
//! `cargo bench --bench large_data` runs criterion on one solve of each at 20 000 x 100; sizes of any kind: examples/large_regression.rs, which prints a table.

use std::hint::black_box;
use std::sync::Arc;

use costate::randomized::{LeastSquaresMethod, LeastSquaresOptions, SketchKind, least_squares, sketch};
use costate::regression::generated::Generated;
use costate::regression::{Family, HessianModel, Regression, RegressionOptions, StepMethod};
use criterion::Criterion;

fn main() {
    let of = Generated { rows: 20_000, columns: 100, condition: 1e6, heavy_every: 5000, seed: 1 };
    let matrix = Arc::new(of.matrix().expect("a size without zeros"));
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    for (name, kind) in SketchKind::ALL {
        criterion.bench_function(&format!("sketch/{name}"), |b| {
            b.iter(|| black_box(sketch(&matrix, None, None, kind, 1200, 1).map(|s| s.rows)));
        });
    }
    let side = of.responses(&matrix, Family::LeastSquares).expect("rows in memory");
    for (name, method) in
        [("conjugate-gradients", LeastSquaresMethod::Auto), ("momentum", LeastSquaresMethod::Momentum)]
    {
        let options = LeastSquaresOptions { method, ..LeastSquaresOptions::default() };
        criterion.bench_function(&format!("least-squares/{name}"), |b| {
            b.iter(|| black_box(least_squares(&matrix, &side, &options).map(|s| s.backward_error)));
        });
    }
    let labels = of.responses(&matrix, Family::Logistic).expect("rows in memory");
    let fit = Regression::new(Family::Logistic, matrix, labels).expect("two classes");
    for (name, hessian) in
        [("exact", HessianModel::Exact), ("leverage-rows", HessianModel::Sketched(SketchKind::LeverageRows))]
    {
        let options = RegressionOptions { hessian, step: StepMethod::Auto, ..Default::default() };
        criterion.bench_function(&format!("logistic/{name}"), |b| {
            b.iter(|| black_box(fit.solve(&options).map(|f| f.residual)));
        });
    }
    criterion.final_summary();
}

use super::*;
use crate::linalg::{LinOp, SparseMatrix, Storage};
use crate::linsol::testing::Random;
use crate::linsol::{Accuracy, LinearSolver, SolveEnd};
use crate::observe::StopToken;

/// X'D X / rows + shift I by products, X dense, D the weights of a logistic loss.
struct Normal {
    x: Vec<f64>,
    d: Vec<f64>,
    n: usize,
    shift: f64,
    products: usize,
    work: Vec<f64>,
}

impl Normal {
    /// Columns of X shrink geometrically.
    fn new(rows: usize, n: usize, decay: f64, shift: f64) -> Self {
        let mut random = Random::new(17);
        let mut x = random.vector(rows * n);
        for row in x.chunks_exact_mut(n) {
            for (j, v) in row.iter_mut().enumerate() {
                *v *= decay.powi(j as i32);
            }
        }
        let d = (0..rows).map(|_| 0.05 + 0.2 * random.unit()).collect();
        Self { x, d, n, shift, products: 0, work: vec![0.0; n] }
    }
}

impl LinOp for Normal {
    fn nrows(&self) -> usize {
        self.n
    }
    fn ncols(&self) -> usize {
        self.n
    }
    fn apply(&mut self, alpha: f64, v: &[f64], beta: f64, y: &mut [f64]) {
        self.products += 1;
        self.work.fill(0.0);
        for (row, d) in self.x.chunks_exact(self.n).zip(&self.d) {
            let t = d * crate::linalg::dot(row, v) / self.d.len() as f64;
            crate::linalg::axpy(t, row, &mut self.work);
        }
        for i in 0..self.n {
            let old = if beta == 0.0 { 0.0 } else { beta * y[i] };
            y[i] = alpha * (self.work[i] + self.shift * v[i]) + old;
        }
    }
    fn apply_t(&mut self, alpha: f64, x: &[f64], beta: f64, y: &mut [f64]) {
        self.apply(alpha, x, beta, y);
    }
}

#[test]
fn a_sketch_saves_most_products_where_the_spectrum_decays() {
    let (n, stop) = (200, StopToken::default());
    let b = Random::new(2).vector(n);
    let (mut products, mut iterations) = ([0; 2], [0; 2]);
    let mut solvers: [Box<dyn LinearSolver>; 2] = [Box::new(Minres::new()), Box::new(SketchedKrylov::new(3))];
    for (k, solver) in solvers.iter_mut().enumerate() {
        let mut a = Normal::new(400, n, 0.8, 1e-9);
        let mut x = vec![0.0; n];
        solver.prepare(&mut a, &stop).unwrap();
        let accuracy = Accuracy { relative: 1e-8, max_iterations: 100_000 };
        let s = solver.solve(&mut a, &b, &mut x, accuracy, &stop).unwrap();
        assert_eq!(s.end, SolveEnd::Reached, "{}: {s:?}", solver.name());
        (products[k], iterations[k]) = (a.products, s.iterations);
    }
    println!("products {products:?}, of them in the solve {iterations:?}");
    assert!(
        iterations[0] > 8 * iterations[1] && products[0] > 4 * products[1],
        "{iterations:?} {products:?}"
    );
}

#[test]
fn ritz_values_are_the_large_eigenvalues() {
    // Eigenvalues of both signs: 10, -9, 8, -7, ..., 1e-3.
    let n = 60;
    let rows: Vec<usize> = (0..n).collect();
    let (mut a, _) = SparseMatrix::from_coordinates(n, n, &rows, &rows, Storage::SymmetricLower);
    for (i, v) in a.values.iter_mut().enumerate() {
        *v = if i < 10 { (10.0 - i as f64) * if i % 2 == 0 { 1.0 } else { -1.0 } } else { 1e-3 };
    }
    let mut solver = SketchedKrylov::with_columns(1, 20);
    solver.prepare(&mut a, &StopToken::default()).unwrap();
    let mut found = solver.sketch().values().to_vec();
    found.sort_by(|x, y| y.abs().total_cmp(&x.abs()));
    for (i, v) in found.iter().take(10).enumerate() {
        assert!((v - a.values[i]).abs() < 1e-5, "{found:?}");
    }
    let accuracy = Accuracy { relative: 1e-10, max_iterations: 30 };
    let (b, mut x) = (Random::new(2).vector(n), vec![0.0; n]);
    let s = solver.solve(&mut a, &b, &mut x, accuracy, &StopToken::default()).unwrap();
    assert_eq!(s.end, SolveEnd::Reached, "{s:?}");
}

//! The user's preconditioner on a problem with bounds, inequalities and a fixed variable: it is handed the diagonals that make it exact.

use costate::Report;
use costate::linsol::LinearSolverKind;
use costate::nlp::{EvalError, Nlp, NlpMeta, Preconditioning};
use costate::observe::Silent;
use costate::opt::{Method, Options, solve};

/// min sum h_j x_j^2 / 2 + q_j x_j, A x within bounds. With H diagonal, P = diag(H + S, A (H + S)^-1 A' + dual) has three eigenvalues with K
/// (Murphy, Golub and Wathen 2000).
struct Separable {
    meta: NlpMeta,
    h: Vec<f64>,
    q: Vec<f64>,
    /// Dense, by rows.
    a: Vec<f64>,
    preconditions: bool,
    calls: usize,
    largest_barrier: f64,
    dual_of_equality: f64,
    dual_of_inequality: f64,
}

const N: usize = 40;
const M: usize = 3;

impl Separable {
    /// `size`: of the objective and the rows, which are scaled if it is large.
    fn new(preconditions: bool, size: f64) -> Self {
        let mut meta = NlpMeta::equality("separable", N, M);
        let wave = |k: usize, of: f64| (of * (k + 1) as f64).sin();
        let a: Vec<f64> = (0..M * N).map(|k| size * wave(k, 0.7)).collect();
        for j in 0..N {
            match j % 4 {
                0 => (meta.x_lower[j], meta.x_upper[j]) = (-0.3, 0.4),
                1 => meta.x_lower[j] = 0.0,
                2 => meta.x_upper[j] = 0.5,
                _ => {}
            }
        }
        (meta.x_lower[4], meta.x_upper[4]) = (0.25, 0.25);
        // An equality, a range, one side.
        (meta.c_lower[0], meta.c_upper[0]) = (0.1 * size, 0.1 * size);
        (meta.c_lower[1], meta.c_upper[1]) = (-0.5 * size, 0.2 * size);
        (meta.c_lower[2], meta.c_upper[2]) = (0.3 * size, f64::INFINITY);
        meta.x0 = (0..N).map(|j| 0.1 * wave(j, 1.3)).collect();
        (meta.jacobian_products, meta.hessian_products, meta.preconditioner) = (true, true, preconditions);
        Self {
            meta,
            h: (0..N).map(|j| size * 10f64.powf(2.0 * wave(j, 2.1))).collect(),
            q: (0..N).map(|j| size * 3.0 * wave(j, 0.3)).collect(),
            a,
            preconditions,
            calls: 0,
            largest_barrier: 0.0,
            dual_of_equality: 0.0,
            dual_of_inequality: 0.0,
        }
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.a[i * N..(i + 1) * N]
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// y <- B^-1 y, B symmetric positive definite, m x m.
fn solve_small(b: &mut [[f64; M]; M], y: &mut [f64]) {
    for k in 0..M {
        for i in k + 1..M {
            let f = b[i][k] / b[k][k];
            (k..M).for_each(|j| b[i][j] -= f * b[k][j]);
            y[i] -= f * y[k];
        }
    }
    for k in (0..M).rev() {
        let sum: f64 = (k + 1..M).map(|j| b[k][j] * y[j]).sum();
        y[k] = (y[k] - sum) / b[k][k];
    }
}

impl Nlp for Separable {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        Ok((0..N).map(|j| (0.5 * self.h[j] * x[j] + self.q[j]) * x[j]).sum())
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        (0..N).for_each(|j| g[j] = self.h[j] * x[j] + self.q[j]);
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        (0..M).for_each(|i| c[i] = dot(self.row(i), x));
        Ok(())
    }
    fn jac_prod(&mut self, _: &[f64], v: &[f64], jv: &mut [f64]) -> Result<(), EvalError> {
        (0..M).for_each(|i| jv[i] = dot(self.row(i), v));
        Ok(())
    }
    fn jac_t_prod(&mut self, _: &[f64], w: &[f64], jtw: &mut [f64]) -> Result<(), EvalError> {
        (0..N).for_each(|j| jtw[j] = (0..M).map(|i| self.a[i * N + j] * w[i]).sum());
        Ok(())
    }
    fn hess_prod(
        &mut self,
        _: &[f64],
        s: f64,
        _: &[f64],
        v: &[f64],
        hv: &mut [f64],
    ) -> Result<(), EvalError> {
        (0..N).for_each(|j| hv[j] = s * self.h[j] * v[j]);
        Ok(())
    }
    fn precondition(&mut self, at: &Preconditioning<'_>, r: &[f64], z: &mut [f64]) -> Result<(), EvalError> {
        assert!(self.preconditions);
        assert_eq!((at.x.len(), at.y.len(), at.barrier.len(), at.dual.len()), (N, M, N, M));
        assert!(at.barrier.iter().chain(at.dual).all(|v| *v >= 0.0 && v.is_finite()));
        // A fixed variable has no barrier, and its value.
        assert_eq!((at.barrier[4], at.x[4]), (0.0, 0.25));
        self.calls += 1;
        self.largest_barrier = at.barrier.iter().fold(self.largest_barrier, |a, b| a.max(*b));
        self.dual_of_equality = self.dual_of_equality.max(at.dual[0]);
        self.dual_of_inequality = self.dual_of_inequality.max(at.dual[1].min(at.dual[2]));
        // K has no column of the fixed variable.
        let inverse: Vec<f64> =
            (0..N).map(|j| if j == 4 { 0.0 } else { 1.0 / (self.h[j] + at.barrier[j]) }).collect();
        (0..N).for_each(|j| z[j] = inverse[j] * r[j]);
        let mut schur = [[0.0; M]; M];
        for (i, row) in schur.iter_mut().enumerate() {
            for (k, b) in row.iter_mut().enumerate() {
                *b = (0..N).map(|j| self.a[i * N + j] * inverse[j] * self.a[k * N + j]).sum();
            }
            row[i] += at.dual[i];
        }
        z[N..].copy_from_slice(&r[N..]);
        solve_small(&mut schur, &mut z[N..]);
        Ok(())
    }
}

fn run(preconditions: bool, size: f64, method: Method) -> (Report, Separable) {
    let mut problem = Separable::new(preconditions, size);
    let options = Options { linear: LinearSolverKind::Minres, method, ..Options::default() };
    let report = solve(&mut problem, &options, &mut Silent).expect("a valid problem");
    (report, problem)
}

fn solves(report: &Report) -> f64 {
    let (solves, inner_iterations) = (report.linear.solves, report.linear.inner_iterations);
    inner_iterations as f64 / solves as f64
}

#[test]
fn an_exact_preconditioner_needs_few_products_with_bounds_and_inequalities() {
    for size in [1.0, 3e3] {
        let (plain, _) = run(false, size, Method::InteriorPoint);
        let (report, problem) = run(true, size, Method::InteriorPoint);
        assert!(report.solved(), "{}", report.message);
        assert!(plain.solved(), "{}", plain.message);
        assert!((report.objective - plain.objective).abs() <= 1e-6 * (1.0 + plain.objective.abs()));
        assert!(problem.calls > 0 && problem.largest_barrier > 1e2 * size, "{}", problem.largest_barrier);
        assert!(problem.dual_of_equality <= 1e-6 && problem.dual_of_inequality > 0.0);
        // Three clusters of eigenvalues: a handful of products for each solve, however near the bounds.
        assert!(
            solves(&report) <= 6.0,
            "size {size}: {} a solve, {} without",
            solves(&report),
            solves(&plain)
        );
        assert!(solves(&plain) > 2.0 * solves(&report), "{} {}", solves(&plain), solves(&report));
    }
}

/// delta belongs to the method: it must reach the user, or P is not that of K.
#[test]
fn the_dual_regularization_of_the_augmented_lagrangian_is_handed_on() {
    let (report, problem) = run(true, 1.0, Method::AugmentedLagrangian);
    assert!(report.solved(), "{}", report.message);
    assert!(problem.dual_of_equality > 1e-9, "{}", problem.dual_of_equality);
    assert!(solves(&report) <= 6.0, "{}", solves(&report));
}

//! Other crates on the same right-hand sides.

use differential_equations::linalg::Matrix;
use differential_equations::prelude::{IVP, ImplicitRungeKutta, ODE};
use diffsol::{FaerSparseLU, FaerSparseMat, OdeBuilder, OdeSolverMethod, OdeSolverStopReason};

use super::problems::Brusselator;

/// diffsol's BDF with faer's sparse LU, its colours and its own detection of the sparsity. The problem is built once; each integration makes its solver anew, as ours does.
pub fn bdf(
    f: impl Fn(&[f64], &mut [f64]) + 'static,
    jv: impl Fn(&[f64], &[f64], &mut [f64]) + 'static,
    y0: Vec<f64>,
    t1: f64,
    tol: f64,
) -> impl FnMut() -> (Vec<f64>, u64) {
    let n = y0.len();
    let problem = OdeBuilder::<FaerSparseMat<f64>>::new()
        .rtol(tol)
        .atol(vec![tol; n])
        .use_coloring(true)
        .rhs_implicit(
            move |y: &[f64], _: &[f64], _: f64, dy: &mut [f64]| f(y, dy),
            move |y: &[f64], _: &[f64], _: f64, v: &[f64], out: &mut [f64]| jv(y, v, out),
        )
        .init(move |_: &[f64], _: f64, y: &mut [f64]| y.copy_from_slice(&y0), n)
        .build()
        .unwrap();
    move || {
        let mut solver = problem.bdf::<FaerSparseLU<f64>>().unwrap();
        solver.set_stop_time(t1).unwrap();
        let mut steps = 0;
        loop {
            steps += 1;
            if let OdeSolverStopReason::TstopReached = solver.step().unwrap() {
                break;
            }
        }
        let state = solver.state();
        ((0..n).map(|i| state.y[i]).collect(), steps)
    }
}

impl<const N: usize> ODE<f64, [f64; N]> for Brusselator {
    fn diff(&self, _: f64, y: &[f64; N], dydt: &mut [f64; N]) {
        self.value(y, dydt);
    }
    fn jacobian(&self, _: f64, y: &[f64; N], j: &mut Matrix<f64>) {
        let mut band = vec![0.0; 5 * N];
        self.band(y, &mut band);
        for column in 0..N {
            for row in column.saturating_sub(2)..N.min(column + 3) {
                j[(row, column)] = band[5 * column + 2 + row - column];
            }
        }
    }
}

/// Radau IIA of order 5; its matrices are full. States of a length that is not known when it is compiled (`Vec`) end in a panic of its own.
pub fn radau5<const N: usize>(pr: Brusselator, t1: f64, tol: f64) -> impl FnMut() -> (Vec<f64>, u64) {
    let y0: [f64; N] = pr.start().try_into().unwrap();
    move || {
        let method = ImplicitRungeKutta::radau5().rtol(tol).atol(tol);
        let s = IVP::ode(&pr, 0.0, t1, y0).method(method).solve().unwrap();
        (s.y.last().unwrap().to_vec(), s.t.len() as u64 - 1)
    }
}

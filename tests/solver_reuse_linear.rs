//! A linear solver of the user's own: it passes the conformance suite and solves HS71.

#[path = "common/mpc.rs"]
mod mpc;

use costate::linalg::{LinOp, norm2};
use costate::linsol::{
    Accuracy, Inertia, LinSolError, LinearSolver, Prepared, SolveEnd, Solved, SolverFacts, conformance,
};
use costate::nlp::Problem;
use costate::observe::{Silent, StopToken};
use costate::opt::{Options, Solver, Start};
use mpc::Hs71;

const NAME: &str = "dense Bunch-Kaufman";

/// P A P' = L D L' with pivots of size 1 and 2 (Bunch and Kaufman 1977), dense; A is read by products with unit vectors.
#[derive(Default)]
struct BunchKaufman {
    n: usize,
    ready: bool,
    /// Lower triangle of L, D on and below its diagonal, columns of length n.
    a: Vec<f64>,
    /// Row k was exchanged with this one; a pivot of size 2 begins at k where `two`.
    exchanged: Vec<usize>,
    two: Vec<bool>,
    residual: Vec<f64>,
    step: Vec<f64>,
}

impl BunchKaufman {
    fn at(&self, i: usize, j: usize) -> f64 {
        self.a[if i >= j { j * self.n + i } else { i * self.n + j }]
    }

    fn set(&mut self, i: usize, j: usize, v: f64) {
        let k = if i >= j { j * self.n + i } else { i * self.n + j };
        self.a[k] = v;
    }

    /// Exchanges rows and columns p < q of the whole triangle, the finished part of L included.
    fn exchange(&mut self, p: usize, q: usize) {
        if p == q {
            return;
        }
        for k in (0..self.n).filter(|&k| k != p && k != q) {
            // In a finished column both entries are of L; else they are of the rest.
            let (u, v) = (self.at(p, k), self.at(q, k));
            self.set(p, k, v);
            self.set(q, k, u);
        }
        let (u, v) = (self.at(p, p), self.at(q, q));
        self.set(p, p, v);
        self.set(q, q, u);
    }

    /// Largest |a_ij| of column j below k, other than the diagonal, and its row.
    fn largest(&self, j: usize, k: usize) -> (f64, usize) {
        (k..self.n).filter(|&i| i != j).fold((0.0, j), |best, i| {
            let v = self.at(i, j).abs();
            if v > best.0 { (v, i) } else { best }
        })
    }

    fn factor(&mut self) -> (Inertia, usize) {
        let n = self.n;
        let size = self.a.iter().fold(0.0f64, |a, v| a.max(v.abs()));
        let zero = 1e-14 * size * n as f64;
        let alpha = (1.0 + 17f64.sqrt()) / 8.0;
        let mut inertia = Inertia { positive: 0, negative: 0, zero: 0 };
        let mut doubtful = 0;
        let mut k = 0;
        while k < n {
            let (below, r) = self.largest(k, k);
            let own = self.at(k, k).abs();
            let mut pivot = (k, false);
            if own < alpha * below {
                let (other, _) = self.largest(r, k);
                if own * other >= alpha * below * below {
                } else if self.at(r, r).abs() >= alpha * other {
                    pivot = (r, false);
                } else {
                    pivot = (r, true);
                }
            }
            if pivot.1 && k + 1 < n {
                self.exchange(k + 1, pivot.0);
                (self.exchanged[k], self.exchanged[k + 1]) = (k, pivot.0);
                (self.two[k], self.two[k + 1]) = (true, false);
                let (a, b, c) = (self.at(k, k), self.at(k + 1, k), self.at(k + 1, k + 1));
                let det = a * c - b * b;
                for j in k + 2..n {
                    let (u, v) = (self.at(j, k), self.at(j, k + 1));
                    let (lu, lv) = ((c * u - b * v) / det, (a * v - b * u) / det);
                    for i in j..n {
                        let w = self.at(i, j) - (self.at(i, k) * lu + self.at(i, k + 1) * lv);
                        self.set(i, j, w);
                    }
                    // Columns k and k + 1 of L; rows above j are finished.
                    self.step[j] = lu;
                    self.residual[j] = lv;
                }
                for j in k + 2..n {
                    let (lu, lv) = (self.step[j], self.residual[j]);
                    self.set(j, k, lu);
                    self.set(j, k + 1, lv);
                }
                // det < 0: one of each sign.
                inertia.positive += 1;
                inertia.negative += 1;
                k += 2;
                continue;
            }
            self.exchange(k, pivot.0);
            (self.exchanged[k], self.two[k]) = (pivot.0, false);
            let d = self.at(k, k);
            if d.abs() <= zero {
                inertia.zero += 1;
                doubtful += 1;
                self.set(k, k, 0.0);
                (k + 1..n).for_each(|i| self.set(i, k, 0.0));
            } else {
                inertia.positive += usize::from(d > 0.0);
                inertia.negative += usize::from(d < 0.0);
                for j in k + 1..n {
                    let l = self.at(j, k) / d;
                    for i in j..n {
                        let w = self.at(i, j) - self.at(i, k) * l;
                        self.set(i, j, w);
                    }
                }
                for j in k + 1..n {
                    let l = self.at(j, k) / d;
                    self.set(j, k, l);
                }
            }
            k += 1;
        }
        (inertia, doubtful)
    }

    /// x <- A^-1 x with x = `step`; 0 along pivots of 0.
    fn correct(&mut self) {
        let n = self.n;
        let mut x = std::mem::take(&mut self.step);
        for k in 0..n {
            x.swap(k, self.exchanged[k]);
        }
        for j in 0..n {
            let from = j + 1 + usize::from(self.two[j]);
            (from..n).for_each(|i| x[i] -= self.at(i, j) * x[j]);
        }
        let mut k = 0;
        while k < n {
            if self.two[k] {
                let (a, b, c) = (self.at(k, k), self.at(k + 1, k), self.at(k + 1, k + 1));
                let (u, v, det) = (x[k], x[k + 1], a * c - b * b);
                (x[k], x[k + 1]) = ((c * u - b * v) / det, (a * v - b * u) / det);
                k += 2;
            } else {
                let d = self.at(k, k);
                x[k] = if d == 0.0 { 0.0 } else { x[k] / d };
                k += 1;
            }
        }
        for j in (0..n).rev() {
            let from = j + 1 + usize::from(self.two[j]);
            x[j] -= (from..n).map(|i| self.at(i, j) * x[i]).sum::<f64>();
        }
        for k in (0..n).rev() {
            x.swap(k, self.exchanged[k]);
        }
        self.step = x;
    }

    fn residual(&mut self, a: &mut dyn LinOp, b: &[f64], x: &[f64]) -> f64 {
        self.residual.copy_from_slice(b);
        a.apply(-1.0, x, 1.0, &mut self.residual);
        norm2(&self.residual)
    }
}

impl LinearSolver for BunchKaufman {
    fn name(&self) -> &'static str {
        NAME
    }

    fn facts(&self) -> SolverFacts {
        SolverFacts { inertia: true, needs_entries: false }
    }

    fn prepare(&mut self, a: &mut dyn LinOp, stop: &StopToken) -> Result<Prepared, LinSolError> {
        self.ready = false;
        let (n, columns) = (a.nrows(), a.ncols());
        let shape = |expected, found: String| LinSolError::Shape { solver: NAME, expected, found };
        if n != columns {
            return Err(shape("square", format!("{n} x {columns}")));
        }
        if stop.check().is_some() {
            return Err(LinSolError::Stopped);
        }
        self.n = n;
        self.a.resize(n * n, 0.0);
        self.exchanged.resize(n, 0);
        self.two.resize(n, false);
        self.residual.resize(n, 0.0);
        self.step.resize(n, 0.0);
        let mut unit = vec![0.0; n];
        for j in 0..n {
            unit[j] = 1.0;
            a.apply(1.0, &unit, 0.0, &mut self.a[j * n..(j + 1) * n]);
            unit[j] = 0.0;
        }
        let size = norm2(&self.a);
        if !size.is_finite() {
            return Err(LinSolError::NotFinite { solver: NAME, what: "matrix" });
        }
        if (0..n).any(|j| (0..j).any(|i| (self.a[j * n + i] - self.a[i * n + j]).abs() > 1e-12 * size)) {
            return Err(shape("symmetric", "one that is not".into()));
        }
        let (inertia, perturbed_pivots) = self.factor();
        self.ready = true;
        let work = (n as f64).powi(3) / 6.0;
        Ok(Prepared { inertia: Some(inertia), factor_nonzeros: n * (n + 1) / 2, perturbed_pivots, work })
    }

    fn solve(
        &mut self,
        a: &mut dyn LinOp,
        b: &[f64],
        x: &mut [f64],
        accuracy: Accuracy,
        stop: &StopToken,
    ) -> Result<Solved, LinSolError> {
        if !self.ready {
            return Err(LinSolError::Factorization { solver: NAME, reason: "prepare comes first".into() });
        }
        if b.len() != self.n || x.len() != self.n || a.nrows() != self.n {
            let found = format!("{} and {} entries", b.len(), x.len());
            return Err(LinSolError::Shape { solver: NAME, expected: "vectors of the matrix's", found });
        }
        let size = norm2(b);
        if x.iter().any(|v| !v.is_finite()) {
            x.fill(0.0);
        }
        if !size.is_finite() {
            return Err(LinSolError::NotFinite { solver: NAME, what: "right-hand side" });
        }
        if size == 0.0 {
            x.fill(0.0);
            return Ok(Solved {
                relative_residual: 0.0,
                at_rounding: false,
                iterations: 0,
                end: SolveEnd::Reached,
            });
        }
        let mut r = self.residual(a, b, x);
        if !r.is_finite() {
            return Err(LinSolError::NotFinite { solver: NAME, what: "matrix" });
        }
        let mut iterations = 0;
        let end = loop {
            if r <= accuracy.relative * size {
                break SolveEnd::Reached;
            }
            if iterations >= accuracy.max_iterations {
                break SolveEnd::MaxIterations;
            }
            if stop.check().is_some() {
                break SolveEnd::Stopped;
            }
            self.step.copy_from_slice(&self.residual);
            self.correct();
            x.iter_mut().zip(&self.step).for_each(|(x, d)| *x += d);
            iterations += 1;
            let new = self.residual(a, b, x);
            if new.is_nan() || new >= r {
                x.iter_mut().zip(&self.step).for_each(|(x, d)| *x -= d);
                break SolveEnd::Stagnated;
            }
            let stalled = new > 0.5 * r;
            r = new;
            if stalled && r > accuracy.relative * size {
                break SolveEnd::Stagnated;
            }
        };
        Ok(Solved { relative_residual: r / size, at_rounding: false, iterations, end })
    }
}

#[test]
fn it_passes_the_conformance_suite() {
    let mut make = || -> Box<dyn LinearSolver> { Box::<BunchKaufman>::default() };
    if let Err(failures) = conformance::check(&mut make, &conformance::Demands::default()) {
        panic!("{}", failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn it_solves_hs71_again_and_again() {
    let solver = Solver::new(Options::default()).unwrap();
    let mut solver = solver.with_linear_solver(Box::<BunchKaufman>::default());
    let mut problem = Hs71::new();
    for (start, f) in [(Start::Problem, 17.0140173), (Start::Last, 17.0140173), (Start::Problem, 17.0140173)]
    {
        let report = solver.solve(&mut problem, start, &mut Silent).unwrap();
        assert!(report.solved() && (report.objective - f).abs() < 1e-6, "{}", report.message);
        assert_eq!(report.linear.solver, NAME);
    }
    // A problem of another structure gets the same solver.
    let mut other = Problem::new("other", 2)
        .bounds(&[0.0, 0.25], &[1.0, 1.0])
        .objective(|x| x[0] * x[0] + x[1])
        .gradient(|x, g| g.copy_from_slice(&[2.0 * x[0], 1.0]))
        .hessian(|_, sigma, _, h| h.copy_from_slice(&[2.0 * sigma, 0.0, 0.0, 0.0]))
        .build()
        .unwrap();
    let report = solver.solve(&mut other, Start::Problem, &mut Silent).unwrap();
    assert!(
        report.is_answer() && report.linear.solver == NAME,
        "{} {}",
        report.message,
        report.linear.solver
    );
}

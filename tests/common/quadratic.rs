//! Random convex quadratic programs and their KKT conditions.

#![allow(dead_code)]

use costate::nlp::{ClosureProblem, Problem};
use costate::observe::Silent;
use costate::opt::{HessianModel, Method, Options, solve};
use costate::{PointKind, Report};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

pub const INF: f64 = f64::INFINITY;

/// min x'Qx/2 + q'x, lower <= A x <= upper, box.0 <= x <= box.1.
#[derive(Debug, Clone, Default)]
pub struct Quadratic {
    pub hessian: Vec<Vec<f64>>,
    pub linear: Vec<f64>,
    pub rows: Vec<Vec<f64>>,
    pub row_bounds: Vec<(f64, f64)>,
    pub bounds: Vec<(f64, f64)>,
    pub start: Vec<f64>,
    /// A feasible point.
    pub inside: Vec<f64>,
    /// The problem says that it is a quadratic program.
    pub known: bool,
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Quadratic {
    pub fn n(&self) -> usize {
        self.linear.len()
    }

    pub fn gradient(&self, x: &[f64]) -> Vec<f64> {
        self.hessian.iter().zip(&self.linear).map(|(row, q)| dot(row, x) + q).collect()
    }

    pub fn problem(&self) -> ClosureProblem<'_> {
        let n = self.n();
        let (lower, upper): (Vec<f64>, Vec<f64>) = self.bounds.iter().copied().unzip();
        let (c_lower, c_upper): (Vec<f64>, Vec<f64>) = self.row_bounds.iter().copied().unzip();
        let mut problem = Problem::new("quadratic", n)
            .start(&self.start)
            .bounds(&lower, &upper)
            .objective(|x| {
                x.iter().zip(self.gradient(x)).zip(&self.linear).map(|((x, g), q)| 0.5 * x * (g + q)).sum()
            })
            .gradient(|x, g| g.copy_from_slice(&self.gradient(x)))
            .hessian(move |_, sigma, _, h| {
                for (i, row) in self.hessian.iter().enumerate() {
                    (0..n).for_each(|j| h[i * n + j] = sigma * row[j]);
                }
            });
        if self.known {
            problem = problem.quadratic_objective();
        }
        if !self.rows.is_empty() {
            if self.known {
                problem = problem.linear_constraints(&vec![true; self.rows.len()]);
            }
            problem = problem
                .constraints(&c_lower, &c_upper, |x, c| {
                    c.iter_mut().zip(&self.rows).for_each(|(c, row)| *c = dot(row, x));
                })
                .jacobian(move |_, j| {
                    j.chunks_exact_mut(n).zip(&self.rows).for_each(|(j, row)| j.copy_from_slice(row))
                });
        }
        problem.build().expect("a valid problem")
    }

    pub fn solve(&self, hessian: HessianModel, method: Method) -> Report {
        self.solve_with(&Options { hessian, method, ..Options::default() })
    }

    pub fn solve_with(&self, options: &Options) -> Report {
        solve(&mut self.problem(), options, &mut Silent).expect("a valid problem")
    }

    /// What is wrong with a point and its multipliers, by the conditions of docs/notation.md; for a convex problem they suffice.
    pub fn wrong(&self, report: &Report) -> Option<String> {
        let (x, y, z) = (&report.x, &report.y, &report.z);
        if !report.solved() || report.point != PointKind::Kkt {
            return Some(format!("{} ({})", report.stop.as_str(), report.message));
        }
        let mut g = self.gradient(x);
        let size = g.iter().fold(1.0, |s: f64, g| s.max(g.abs()));
        for (row, y) in self.rows.iter().zip(y) {
            g.iter_mut().zip(row).for_each(|(g, a)| *g += a * y);
        }
        for j in 0..self.n() {
            let r = g[j] + z[j];
            if r.abs() > 1e-6 * size {
                return Some(format!("stationarity of variable {j}: {r:e}"));
            }
            let (lower, upper) = self.bounds[j];
            if x[j] < lower || x[j] > upper {
                return Some(format!("variable {j} is outside its bounds"));
            }
            if let Some(what) = multiplier_is_wrong(z[j], x[j], lower, upper) {
                return Some(format!("variable {j}: {what}"));
            }
        }
        for (i, row) in self.rows.iter().enumerate() {
            let (c, (lower, upper)) = (dot(row, x), self.row_bounds[i]);
            if c < lower - 1e-6 || c > upper + 1e-6 {
                return Some(format!("row {i} is {c}, outside [{lower}, {upper}]"));
            }
            if let Some(what) = multiplier_is_wrong(y[i], c, lower, upper) {
                return Some(format!("row {i}: {what}"));
            }
        }
        None
    }

    /// Variables x = d x', rows times r, the objective times s.
    pub fn scaled(&self, d: &[f64], r: &[f64], s: f64) -> Self {
        let times = |row: &[f64], factor: f64| row.iter().zip(d).map(|(a, d)| factor * a * d).collect();
        Self {
            hessian: self.hessian.iter().zip(d).map(|(row, d)| times(row, s * d)).collect(),
            linear: times(&self.linear, s),
            rows: self.rows.iter().zip(r).map(|(row, r)| times(row, *r)).collect(),
            row_bounds: self.row_bounds.iter().zip(r).map(|((l, u), r)| (r * l, r * u)).collect(),
            bounds: self.bounds.iter().zip(d).map(|((l, u), d)| (l / d, u / d)).collect(),
            start: self.start.iter().zip(d).map(|(x, d)| x / d).collect(),
            inside: self.inside.iter().zip(d).map(|(x, d)| x / d).collect(),
            known: self.known,
        }
    }

    /// Variable k of the result is variable `order[k]`, rows in reverse.
    pub fn permuted(&self, order: &[usize]) -> Self {
        let pick = |v: &[f64]| order.iter().map(|&k| v[k]).collect::<Vec<f64>>();
        Self {
            hessian: order.iter().map(|&k| pick(&self.hessian[k])).collect(),
            linear: pick(&self.linear),
            rows: self.rows.iter().rev().map(|row| pick(row)).collect(),
            row_bounds: self.row_bounds.iter().rev().copied().collect(),
            bounds: order.iter().map(|&k| self.bounds[k]).collect(),
            start: pick(&self.start),
            inside: pick(&self.inside),
            known: self.known,
        }
    }
}

/// Sign and complementarity: positive only at an upper bound, negative only at a lower one.
fn multiplier_is_wrong(m: f64, value: f64, lower: f64, upper: f64) -> Option<String> {
    let gap = match m {
        m if m > 0.0 => upper - value,
        m if m < 0.0 => value - lower,
        _ => 0.0,
    };
    let product = if gap.is_infinite() { m.abs() } else { (m * gap).abs() };
    (product > 1e-5 * (1.0 + m.abs())).then(|| format!("multiplier {m:e} at {value} in [{lower}, {upper}]"))
}

/// Convex and feasible: the bounds and rows hold at a random point. `least`: smallest curvature.
pub fn quadratic(least: f64) -> impl Strategy<Value = Quadratic> {
    let numbers = |count: usize| prop::collection::vec(-2.0..2.0f64, count);
    (1usize..8).prop_flat_map(move |n| {
        let kinds = prop::collection::vec(0u8..5, n);
        let rows = prop::collection::vec((numbers(n), 0u8..4, 0.0..1.5f64, 0.0..1.5f64), 0..n);
        let widths = prop::collection::vec((0.0..2.0f64, 0.0..2.0f64), n);
        (numbers(n * n), numbers(n), numbers(n), numbers(n), kinds, rows, widths).prop_map(
            move |(root, linear, inside, start, kinds, rows, widths)| {
                let column = |j: usize| (0..n).map(|i| root[i * n + j]).collect::<Vec<f64>>();
                let entry =
                    |i: usize, j: usize| dot(&column(i), &column(j)) + if i == j { least } else { 0.0 };
                let bounds = (0..n).map(|j| {
                    let (x, (down, up)) = (inside[j], widths[j]);
                    match kinds[j] {
                        // Without curvature everywhere the minimum must be bounded.
                        0 if least > 0.0 => (-INF, INF),
                        1 if least > 0.0 => (x - down, INF),
                        2 if least > 0.0 => (-INF, x + up),
                        _ => (x - down - 0.01, x + up + 0.01),
                    }
                });
                // At most half as many equations as variables.
                let mut equations = 0;
                let row_bounds = rows.iter().map(|(row, kind, down, up)| {
                    let c = dot(row, &inside);
                    match kind {
                        0 if 2 * (equations + 1) <= n => {
                            equations += 1;
                            (c, c)
                        }
                        1 => (-INF, c + up),
                        2 => (c - down, INF),
                        _ => (c - down - 0.01, c + up + 0.01),
                    }
                });
                Quadratic {
                    hessian: (0..n).map(|i| (0..n).map(|j| entry(i, j)).collect()).collect(),
                    linear: linear.iter().map(|q| 3.0 * q).collect(),
                    row_bounds: row_bounds.collect(),
                    rows: rows.iter().map(|r| r.0.clone()).collect(),
                    bounds: bounds.collect(),
                    start,
                    known: false,
                    inside: inside.clone(),
                }
            },
        )
    })
}

/// Runs a property on the same cases each time.
pub fn check<S: Strategy>(cases: u32, strategy: S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    runner.run(&strategy, property).unwrap_or_else(|e| panic!("{e}"));
}

//! Derivative checker: compares what a problem says with central differences and with itself.

use std::fmt;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::linalg::{SparseMatrix, Storage, dot, norm_inf};
use crate::nlp::differences::{Differences, Direction};
use crate::nlp::{EvalError, Nlp, NlpMeta, Pattern};

/// How much to check.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Points: the given one and `points - 1` random ones near it, inside the bounds.
    pub points: usize,
    /// Seed of points, multipliers, columns and directions.
    pub seed: u64,
    /// Random points differ from the given one by up to `radius (1 + |x_j|)` in each variable.
    pub radius: f64,
    /// Relative difference from which an entry disagrees, where the differences are accurate enough to tell.
    pub tolerance: f64,
    /// Columns compared one by one at each point; with more variables, a random subset and random directions through all.
    pub max_columns: usize,
    /// Disagreements kept in the report (all are counted).
    pub max_reported: usize,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { points: 2, seed: 0, radius: 0.1, tolerance: 1e-6, max_columns: 200, max_reported: 50 }
    }
}

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Gradient of the objective against differences of f.
    Gradient,
    /// Jacobian values against differences of c.
    Jacobian,
    /// Hessian values against differences of the gradient of the Lagrangian.
    Hessian,
    /// Jacobian products against differences of c.
    JacobianProduct,
    /// Hessian products against differences of the gradient of the Lagrangian.
    HessianProduct,
    /// Jacobian products against Jacobian values.
    JacobianProductValues,
    /// Transposed Jacobian products against Jacobian values.
    TransposedProductValues,
    /// Hessian products against Hessian values.
    HessianProductValues,
    /// <J v, w> = <v, J'w>.
    TransposeIdentity,
    /// <H v, w> = <v, H w>.
    HessianSymmetry,
}

impl Quantity {
    /// All, in the order of a report.
    pub const ALL: [Self; 10] = [
        Self::Gradient,
        Self::Jacobian,
        Self::Hessian,
        Self::JacobianProduct,
        Self::HessianProduct,
        Self::JacobianProductValues,
        Self::TransposedProductValues,
        Self::HessianProductValues,
        Self::TransposeIdentity,
        Self::HessianSymmetry,
    ];

    /// Name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gradient => "gradient",
            Self::Jacobian => "Jacobian",
            Self::Hessian => "Hessian",
            Self::JacobianProduct => "Jacobian product",
            Self::HessianProduct => "Hessian product",
            Self::JacobianProductValues => "Jacobian product against values",
            Self::TransposedProductValues => "transposed product against values",
            Self::HessianProductValues => "Hessian product against values",
            Self::TransposeIdentity => "transpose identity <Jv,w> = <v,J'w>",
            Self::HessianSymmetry => "Hessian symmetry <Hv,w> = <v,Hw>",
        }
    }
}

/// Two numbers that should be equal.
#[derive(Debug, Clone, PartialEq)]
pub struct Disagreement {
    /// Point, 0 for the given one.
    pub point: usize,
    /// What was compared.
    pub quantity: Quantity,
    /// Constraint, variable or `objective`.
    pub row: String,
    /// Variable or direction.
    pub column: String,
    /// The problem's value.
    pub analytic: f64,
    /// The difference quotient, or the other way to compute it.
    pub numeric: f64,
    /// |analytic - numeric| / max(|analytic|, |numeric|).
    pub relative_error: f64,
    /// The pattern has no such entry.
    pub missing: bool,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}, {}): given {:.9e}, expected {:.9e}, relative error {:.1e}",
            self.quantity.as_str(),
            self.row,
            self.column,
            self.analytic,
            self.numeric,
            self.relative_error
        )?;
        if self.missing { write!(f, ", not in the pattern") } else { Ok(()) }
    }
}

/// Comparisons of one quantity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tally {
    /// What was compared.
    pub quantity: Quantity,
    /// Numbers compared.
    pub compared: usize,
    /// Of those: the differences were too inaccurate (or not finite) to tell.
    pub undecided: usize,
    /// Of those: wrong.
    pub disagreeing: usize,
    /// Largest relative error among the decided ones (absolute below 1).
    pub worst: f64,
}

/// Result of a check.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// Points at which everything could be evaluated.
    pub points: usize,
    /// Why points were left out, one sentence each.
    pub skipped: Vec<String>,
    /// Columns compared one by one at each point.
    pub columns: usize,
    /// What was compared, only quantities that the problem provides.
    pub tallies: Vec<Tally>,
    /// The worst disagreements, worst first.
    pub disagreements: Vec<Disagreement>,
}

impl CheckReport {
    /// Something was checked and nothing disagrees.
    pub fn passed(&self) -> bool {
        self.points > 0 && self.disagreeing() == 0
    }
    /// Numbers that disagree, reported or not.
    pub fn disagreeing(&self) -> usize {
        self.tallies.iter().map(|t| t.disagreeing).sum()
    }
}

/// Checks all derivatives of a problem at x and at random points near it.
pub fn check_derivatives(nlp: &mut dyn Nlp, x: &[f64], options: &CheckOptions) -> CheckReport {
    let meta = nlp.meta().clone();
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut checker = Checker { nlp, meta: &meta, options, report: CheckReport::default(), point: 0 };
    for k in 0..options.points {
        let at: Vec<f64> = if k == 0 {
            x.to_vec()
        } else {
            let near = |j: usize, u: f64| x[j] + options.radius * (1.0 + x[j].abs()) * u;
            let inside = |j: usize, v: f64| v.max(meta.x_lower[j]).min(meta.x_upper[j]);
            (0..x.len()).map(|j| inside(j, near(j, rng.random_range(-1.0..1.0)))).collect()
        };
        checker.point = k;
        match checker.check_point(&at, &mut rng) {
            Ok(()) => checker.report.points += 1,
            Err(error) => checker.report.skipped.push(format!("point {k}: {error}")),
        }
    }
    let mut report = checker.report;
    report.disagreements.sort_by(|a, b| b.relative_error.total_cmp(&a.relative_error));
    report.disagreements.truncate(options.max_reported);
    report
}

/// A sparse matrix of the problem at one point.
struct Matrix {
    sparse: SparseMatrix,
    position: Vec<usize>,
}

impl Matrix {
    fn new(pattern: &Pattern, nrows: usize, ncols: usize, storage: Storage) -> Self {
        let (sparse, position) =
            SparseMatrix::from_coordinates(nrows, ncols, &pattern.rows, &pattern.cols, storage);
        Self { sparse, position }
    }
    fn set(&mut self, values: &[f64]) {
        self.sparse.values.fill(0.0);
        for (&p, v) in self.position.iter().zip(values) {
            self.sparse.values[p] += v;
        }
    }
    fn has(&self, i: usize, j: usize) -> bool {
        let s = &self.sparse;
        let (i, j) = if s.storage == Storage::SymmetricLower { (i.max(j), i.min(j)) } else { (i, j) };
        s.row_idx[s.col_ptr[j]..s.col_ptr[j + 1]].binary_search(&i).is_ok()
    }
}

struct Checker<'a> {
    nlp: &'a mut dyn Nlp,
    meta: &'a NlpMeta,
    options: &'a CheckOptions,
    report: CheckReport,
    point: usize,
}

/// The matrices at one point, where the problem gives entries.
struct Matrices {
    g: Vec<f64>,
    y: Vec<f64>,
    jacobian: Option<Matrix>,
    hessian: Option<Matrix>,
}

/// Factor by which an estimated error of a difference is distrusted.
const DISTRUST: f64 = 100.0;
/// Sigma of the Lagrangian: not 1, so that a forgotten sigma is found.
const SIGMA: f64 = 0.75;

impl Checker<'_> {
    fn check_point(&mut self, x: &[f64], rng: &mut StdRng) -> Result<(), EvalError> {
        let (n, m) = (self.meta.n(), self.meta.m());
        let y: Vec<f64> = (0..m).map(|_| sign(rng) * rng.random_range(0.5..1.5)).collect();
        let matrices = self.evaluate(x, y)?;
        let all = n <= self.options.max_columns;
        let mut columns: Vec<usize> = if all {
            (0..n).collect()
        } else {
            (0..self.options.max_columns).map(|_| rng.random_range(0..n)).collect()
        };
        columns.sort_unstable();
        columns.dedup();
        self.report.columns = columns.len();
        for &j in &columns {
            self.check_along(x, &matrices, Direction::Column(j));
        }
        for _ in 0..2 {
            let v: Vec<f64> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
            let v2: Vec<f64> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
            let w: Vec<f64> = (0..m).map(|_| rng.random_range(-1.0..1.0)).collect();
            if !all {
                self.check_along(x, &matrices, Direction::Vector(&v));
            }
            self.check_jacobian_products(x, &matrices, &v, &w)?;
            self.check_hessian_products(x, &matrices, &v, &v2)?;
        }
        Ok(())
    }

    /// Evaluates everything at the point; anything not finite leaves the point out.
    fn evaluate(&mut self, x: &[f64], y: Vec<f64>) -> Result<Matrices, EvalError> {
        let (n, m) = (self.meta.n(), self.meta.m());
        let (mut g, mut c) = (vec![0.0; n], vec![0.0; m]);
        let f = self.nlp.obj(x)?;
        finite("objective", &[f])?;
        self.nlp.cons(x, &mut c)?;
        finite("constraints", &c)?;
        self.nlp.grad(x, &mut g)?;
        finite("gradient", &g)?;
        let mut jacobian = None;
        if let Some(pattern) = &self.meta.jacobian {
            let mut values = vec![0.0; pattern.len()];
            self.nlp.jac_values(x, &mut values)?;
            finite("Jacobian", &values)?;
            let matrix = jacobian.insert(Matrix::new(pattern, m, n, Storage::General));
            matrix.set(&values);
        }
        let mut hessian = None;
        if let Some(pattern) = &self.meta.hessian {
            let mut values = vec![0.0; pattern.len()];
            self.nlp.hess_values(x, SIGMA, &y, &mut values)?;
            finite("Hessian", &values)?;
            let matrix = hessian.insert(Matrix::new(pattern, n, n, Storage::SymmetricLower));
            matrix.set(&values);
        }
        Ok(Matrices { g, y, jacobian, hessian })
    }

    /// Differences of (f, c) and of the gradient of the Lagrangian along a direction.
    fn check_along(&mut self, x: &[f64], at: &Matrices, direction: Direction<'_>) {
        let (n, m) = (self.meta.n(), self.meta.m());
        let v = direction.to_vec(n);
        let mut d = Differences::new(1 + m);
        let nlp = &mut *self.nlp;
        d.along(x, direction, |x, out| {
            let (f, c) = out.split_at_mut(1);
            f[0] = nlp.obj_cons(x, c)?;
            Ok(())
        });
        self.compare(Quantity::Gradient, direction, &[dot(&at.g, &v)], &d.value[..1], &d.error[..1], None);
        let mut jv = vec![0.0; m];
        if let Some(matrix) = &at.jacobian {
            matrix.sparse.as_ref().apply(1.0, &v, 0.0, &mut jv);
            self.compare(Quantity::Jacobian, direction, &jv, &d.value[1..], &d.error[1..], Some(matrix));
        }
        if self.meta.jacobian_products && m > 0 && self.nlp.jac_prod(x, &v, &mut jv).is_ok() {
            self.compare(Quantity::JacobianProduct, direction, &jv, &d.value[1..], &d.error[1..], None);
        }
        if at.hessian.is_none() && !self.meta.hessian_products {
            return;
        }
        let mut d = Differences::new(n);
        let mut lagrangian = LagrangianGradient::new(self.nlp, self.meta, &at.y);
        d.along(x, direction, |x, out| lagrangian.eval(x, out));
        let mut hv = vec![0.0; n];
        if let Some(matrix) = &at.hessian {
            matrix.sparse.as_ref().apply(1.0, &v, 0.0, &mut hv);
            self.compare(Quantity::Hessian, direction, &hv, &d.value, &d.error, Some(matrix));
        }
        if self.meta.hessian_products && self.nlp.hess_prod(x, SIGMA, &at.y, &v, &mut hv).is_ok() {
            self.compare(Quantity::HessianProduct, direction, &hv, &d.value, &d.error, None);
        }
    }

    fn check_jacobian_products(
        &mut self,
        x: &[f64],
        at: &Matrices,
        v: &[f64],
        w: &[f64],
    ) -> Result<(), EvalError> {
        if !self.meta.jacobian_products || w.is_empty() {
            return Ok(());
        }
        let (mut jv, mut jtw) = (vec![0.0; w.len()], vec![0.0; v.len()]);
        self.nlp.jac_prod(x, v, &mut jv)?;
        self.nlp.jac_t_prod(x, w, &mut jtw)?;
        if let Some(matrix) = &at.jacobian {
            let (mut jv2, mut jtw2) = (vec![0.0; w.len()], vec![0.0; v.len()]);
            matrix.sparse.as_ref().apply(1.0, v, 0.0, &mut jv2);
            matrix.sparse.as_ref().apply_t(1.0, w, 0.0, &mut jtw2);
            self.compare_exact(Quantity::JacobianProductValues, &jv, &jv2);
            self.compare_exact(Quantity::TransposedProductValues, &jtw, &jtw2);
        }
        self.compare_inner(Quantity::TransposeIdentity, (&jv, w), (v, &jtw));
        Ok(())
    }

    fn check_hessian_products(
        &mut self,
        x: &[f64],
        at: &Matrices,
        v: &[f64],
        w: &[f64],
    ) -> Result<(), EvalError> {
        if !self.meta.hessian_products {
            return Ok(());
        }
        let (mut hv, mut hw) = (vec![0.0; v.len()], vec![0.0; v.len()]);
        self.nlp.hess_prod(x, SIGMA, &at.y, v, &mut hv)?;
        self.nlp.hess_prod(x, SIGMA, &at.y, w, &mut hw)?;
        if let Some(matrix) = &at.hessian {
            let mut hv2 = vec![0.0; v.len()];
            matrix.sparse.as_ref().apply(1.0, v, 0.0, &mut hv2);
            self.compare_exact(Quantity::HessianProductValues, &hv, &hv2);
        }
        self.compare_inner(Quantity::HessianSymmetry, (&hv, w), (v, &hw));
        Ok(())
    }

    /// Compares a column (or directional derivative) with its differences.
    fn compare(
        &mut self,
        quantity: Quantity,
        direction: Direction<'_>,
        analytic: &[f64],
        numeric: &[f64],
        error: &[f64],
        matrix: Option<&Matrix>,
    ) {
        let largest = norm_inf(analytic);
        for (i, ((&a, &d), &e)) in analytic.iter().zip(numeric).zip(error).enumerate() {
            let verdict = if !d.is_finite() || !e.is_finite() {
                Verdict::Undecided
            } else if (a - d).abs() <= self.options.tolerance * a.abs().max(d.abs()) {
                Verdict::Agree
            } else if (a - d).abs() <= DISTRUST * e {
                let fine = DISTRUST * e <= self.options.tolerance * largest.max(1.0);
                if fine { Verdict::Agree } else { Verdict::Undecided }
            } else if e > (1e-2 * d.abs()).max(self.options.tolerance * a.abs()) {
                // Quotients that do not settle: a function that oscillates faster than the smallest step.
                Verdict::Undecided
            } else {
                Verdict::Disagree
            };
            let missing = match (matrix, direction) {
                (Some(m), Direction::Column(j)) => verdict == Verdict::Disagree && !m.has(i, j),
                _ => false,
            };
            self.record(quantity, verdict, a, d, missing, |meta| {
                let column = match direction {
                    Direction::Column(j) => meta.variable_name(j),
                    Direction::Vector(_) => "a random direction".into(),
                };
                (row_name(meta, quantity, i), column)
            });
        }
    }

    /// Compares two ways to compute the same vector, which may differ by rounding only.
    fn compare_exact(&mut self, quantity: Quantity, product: &[f64], values: &[f64]) {
        let scale = norm_inf(values).max(norm_inf(product));
        for (i, (&a, &b)) in product.iter().zip(values).enumerate() {
            let agree = (a - b).abs() <= 1e-10 * scale.max(f64::MIN_POSITIVE);
            let verdict = if agree { Verdict::Agree } else { Verdict::Disagree };
            self.record(quantity, verdict, a, b, false, |meta| {
                (row_name(meta, quantity, i), "a random direction".into())
            });
        }
    }

    fn compare_inner(&mut self, quantity: Quantity, left: (&[f64], &[f64]), right: (&[f64], &[f64])) {
        let (a, b) = (dot(left.0, left.1), dot(right.0, right.1));
        let size = |p: (&[f64], &[f64])| p.0.iter().zip(p.1).map(|(a, b)| (a * b).abs()).sum::<f64>();
        let scale = size(left).max(size(right)).max(f64::MIN_POSITIVE);
        let verdict = if (a - b).abs() <= 1e-10 * scale { Verdict::Agree } else { Verdict::Disagree };
        self.record(quantity, verdict, a, b, false, |_| ("random v".into(), "random w".into()));
    }

    fn record(
        &mut self,
        quantity: Quantity,
        verdict: Verdict,
        analytic: f64,
        numeric: f64,
        missing: bool,
        names: impl FnOnce(&NlpMeta) -> (String, String),
    ) {
        let place = self.report.tallies.iter().position(|t| t.quantity == quantity).unwrap_or_else(|| {
            let new = Tally { quantity, compared: 0, undecided: 0, disagreeing: 0, worst: 0.0 };
            self.report.tallies.push(new);
            self.report.tallies.len() - 1
        });
        let tally = &mut self.report.tallies[place];
        tally.compared += 1;
        if verdict == Verdict::Undecided {
            tally.undecided += 1;
            return;
        }
        let size = analytic.abs().max(numeric.abs());
        let gap = (analytic - numeric).abs();
        tally.worst = tally.worst.max(gap / size.max(1.0));
        if verdict == Verdict::Agree {
            return;
        }
        tally.disagreeing += 1;
        let (row, column) = names(self.meta);
        let relative_error = gap / size;
        let point = self.point;
        let found = Disagreement { point, quantity, row, column, analytic, numeric, relative_error, missing };
        let kept = &mut self.report.disagreements;
        kept.push(found);
        // Keeps memory bounded without losing the worst.
        if kept.len() >= 4 * self.options.max_reported.max(16) {
            kept.sort_by(|a, b| b.relative_error.total_cmp(&a.relative_error));
            kept.truncate(self.options.max_reported);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Agree,
    Undecided,
    Disagree,
}

fn sign(rng: &mut StdRng) -> f64 {
    if rng.random_range(0.0..1.0) < 0.5 { -1.0 } else { 1.0 }
}

fn finite(function: &'static str, values: &[f64]) -> Result<(), EvalError> {
    if values.iter().all(|v| v.is_finite()) {
        return Ok(());
    }
    Err(EvalError::Failed { function, reason: "not finite".into() })
}

fn row_name(meta: &NlpMeta, quantity: Quantity, i: usize) -> String {
    match quantity {
        Quantity::Gradient => "objective".into(),
        Quantity::Jacobian | Quantity::JacobianProduct | Quantity::JacobianProductValues => {
            meta.constraint_name(i)
        }
        _ => meta.variable_name(i),
    }
}

/// sigma grad f + J'y at moving points.
struct LagrangianGradient<'a> {
    nlp: &'a mut dyn Nlp,
    meta: &'a NlpMeta,
    y: &'a [f64],
    values: Vec<f64>,
    product: Vec<f64>,
}

impl<'a> LagrangianGradient<'a> {
    fn new(nlp: &'a mut dyn Nlp, meta: &'a NlpMeta, y: &'a [f64]) -> Self {
        let values = vec![0.0; meta.jacobian.as_ref().map_or(0, Pattern::len)];
        Self { nlp, meta, y, values, product: vec![0.0; meta.n()] }
    }

    fn eval(&mut self, x: &[f64], out: &mut [f64]) -> Result<(), EvalError> {
        self.nlp.grad(x, out)?;
        out.iter_mut().for_each(|v| *v *= SIGMA);
        if self.y.is_empty() {
            return Ok(());
        }
        if let Some(p) = &self.meta.jacobian {
            self.nlp.jac_values(x, &mut self.values)?;
            for ((&i, &j), v) in p.rows.iter().zip(&p.cols).zip(&self.values) {
                out[j] += v * self.y[i];
            }
        } else {
            self.nlp.jac_t_prod(x, self.y, &mut self.product)?;
            out.iter_mut().zip(&self.product).for_each(|(o, p)| *o += p);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;

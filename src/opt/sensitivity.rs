//! Derivatives of a solution by the data of its problem.
//!
//! Where the active bounds A (fixed variables included) keep their sides strictly and the active rows are independent, the solution moves with the
//! data: with changes dg of grad_x L at fixed (x, y), dc of c (less those of the sides) and w of the bounds,
//!
//! ```text
//!     dx_A = w_A,   [ H   J' ] (dx, dy) = -(dg, dc)  in the other variables and the active rows,   dy_i = 0 in the others,
//!                   [ J   0  ]
//!     dz_A = -(dg + H dx + J'dy)_A,   dz_j = 0 else
//! ```
//!
//! (Fiacco 1976). The matrix is K of the standard form, stiff at active bounds, factored once at the solution. It is symmetric: transposed products
//! solve with it, too. With u = (v, zbar_A) and (v, v_y) = K^-1 (xbar - H zbar_A, ybar - J zbar_A):
//!
//! ```text
//!     gbar = -u,   cbar = -v_y,   wbar_A = xbar_A - (H u + J'v_y)_A
//! ```

use super::hessian::Of;
use super::kkt::{REFINED, System};
use super::phase::{Solve, linear};
use crate::error::Error;
use crate::linalg::{axpy, dot, norm_inf, norm2};
use crate::nlp::{NlpMeta, Pattern};
use crate::report::{Report, StopReason};

/// S of a bound that holds, relative to the largest entry of H: everything else is rounding beside it.
const STIFF: f64 = 1e18;
/// Distance and multiplier of a bound are both small below this, times the root of the tolerance, and comparable within COMPARABLE.
const SMALL: f64 = 10.0;
const COMPARABLE: f64 = 100.0;
/// A solution of K z = b larger than this times b shows that K is singular.
const SINGULAR: f64 = 1e10;
/// A row depends on others if this share of it is left.
const DEPENDENT: f64 = 1e-8;
/// Largest relative residual of a solve.
const RESIDUAL: f64 = 1e-6;

/// A change of the data of a problem, or what belongs to it in a transposed product; empty vectors are zero.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProblemChange {
    /// Of grad f + J'y at fixed x and y, length n.
    pub gradient: Vec<f64>,
    /// Of c(x) at fixed x, less that of the side that holds, length m.
    pub constraints: Vec<f64>,
    /// Of the bound that holds, or of a fixed variable's value, length n; the others are not looked at.
    pub bounds: Vec<f64>,
}

/// A change of the solution, or the weights of a transposed product; empty vectors are zero.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SolutionChange {
    /// Of x, length n.
    pub x: Vec<f64>,
    /// Of y, length m.
    pub y: Vec<f64>,
    /// Of z, length n.
    pub z: Vec<f64>,
}

/// Derivatives of a solution. It holds the factored KKT matrix of the last solve; see [`Solver::sensitivity`](super::Solver::sensitivity).
///
/// # Errors
/// Making one is an [`Error::Unsupported`] that names the bound or row where strict complementarity is lost or where active rows depend on each
/// other: there the solution has no derivative. So it is without entries of the user's own second derivatives or without a direct linear solver.
pub struct Sensitivity<'a> {
    s: Solve<'a>,
    /// User's variables that are fixed or at a bound.
    held: Vec<bool>,
    /// The user's entries at the solution.
    hessian: Vec<f64>,
    jacobian: Vec<f64>,
    /// u, H u + J'y, J u in the user's variables.
    direction: Vec<f64>,
    product: Vec<f64>,
    rows: Vec<f64>,
}

fn entry(v: &[f64], k: usize) -> f64 {
    v.get(k).copied().unwrap_or(0.0)
}

fn check(what: &str, v: &[f64], length: usize) -> Result<(), Error> {
    if v.is_empty() || v.len() == length {
        return Ok(());
    }
    let what = format!("{what} has {} entries, expected {length} or none", v.len());
    Err(Error::Option { option: "sensitivity".into(), what })
}

/// out <- H v + J'y, rows <- J v.
fn multiply(
    meta: &NlpMeta,
    (hessian, jacobian): (&[f64], &[f64]),
    (v, y): (&[f64], impl Fn(usize) -> f64),
    (out, rows): (&mut [f64], &mut [f64]),
) {
    out.fill(0.0);
    rows.fill(0.0);
    if let Some(p) = &meta.hessian {
        for ((i, j), h) in p.entries().zip(hessian) {
            out[i] += h * v[j];
            if i != j {
                out[j] += h * v[i];
            }
        }
    }
    if let Some(p) = &meta.jacobian {
        for ((i, j), a) in p.entries().zip(jacobian) {
            rows[i] += a * v[j];
            out[j] += a * y(i);
        }
    }
}

impl<'a> Sensitivity<'a> {
    /// At the best point of the last solve, which is a KKT point.
    pub(super) fn new(s: Solve<'a>, report: &Report) -> Result<Self, Error> {
        let meta = s.problem.nlp().meta();
        let (n, m) = (meta.n(), meta.m());
        let entries = |p: &Option<Pattern>| vec![0.0; p.as_ref().map_or(0, Pattern::len)];
        let held = (0..n).map(|j| meta.x_lower[j] == meta.x_upper[j]).collect();
        let mut new = Self {
            held,
            hessian: entries(&meta.hessian),
            jacobian: entries(&meta.jacobian),
            direction: vec![0.0; n],
            product: vec![0.0; n],
            rows: vec![0.0; m],
            s,
        };
        new.evaluate(report)?;
        new.hold()?;
        new.factor()?;
        Ok(new)
    }

    fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::Unsupported { name: self.s.problem.nlp().meta().name.clone(), what: what.into() }
    }

    /// Everything at the solution.
    fn evaluate(&mut self, report: &Report) -> Result<(), Error> {
        let s = &mut self.s;
        if report.stop == StopReason::LeastSquares || s.at.best_residuals.scaled.is_nan() {
            return Err(self.unsupported("sensitivities need a KKT point"));
        }
        if !s.kkt.is_direct() || !s.hessian.is_given() {
            return Err(self.unsupported(
                "sensitivities need a direct linear solver and entries of the problem's own second derivatives",
            ));
        }
        s.at.current.copy_from(&s.at.best);
        let at = &mut s.at.current;
        let evaluated = at
            .derivatives(&mut s.problem)
            .and_then(|()| s.hessian.observe(&mut s.problem, at, Of::Lagrangian))
            .and_then(|()| {
                s.problem.user_entries(&report.x, &report.y, &mut self.hessian, &mut self.jacobian)
            });
        evaluated.map_err(|bad| self.unsupported(format!("at the solution: {}", bad.function)))
    }

    /// S, stiff at bounds that hold.
    fn hold(&mut self) -> Result<(), Error> {
        let (kkt, e) = linear(&mut self.s);
        kkt.fill(&e, System::Optimality);
        let s = &mut self.s;
        let stiff = STIFF * s.kkt.largest_hessian_entry().max(1.0);
        let (p, form) = (&s.at.current, &*s.problem.form);
        let small = SMALL * s.options.tolerance.sqrt();
        let stiffness = &mut s.kkt.barrier;
        stiffness.fill(0.0);
        let mut lost = None;
        let mut judge = |j: usize, z: f64, d: f64| {
            let (z, d) = (z.max(0.0), d.max(0.0));
            let comparable = z <= COMPARABLE * d && d <= COMPARABLE * z;
            if z.max(d) <= 0.1 * small * small || (z.max(d) <= small && comparable) {
                lost = lost.or(Some(j));
            }
            if z > d {
                stiffness[j] = stiff;
            }
        };
        let bounds = &form.bounds;
        bounds.with_lower.iter().for_each(|&j| judge(j, p.zl[j], p.x[j] - bounds.lower[j]));
        bounds.with_upper.iter().for_each(|&j| judge(j, p.zu[j], bounds.upper[j] - p.x[j]));
        for (&j, stiffness) in form.free.iter().zip(&s.kkt.barrier) {
            self.held[j] |= *stiffness > 0.0;
        }
        let Some(j) = lost else { return Ok(()) };
        let meta = s.problem.nlp().meta();
        let name = match form.free.get(j) {
            Some(&j) => format!("a bound of {}", meta.variable_name(j)),
            None => format!("a side of {}", meta.constraint_name(form.slacked[j - form.free_count()])),
        };
        Err(self.unsupported(format!("strict complementarity is lost at {name}")))
    }

    fn factor(&mut self) -> Result<(), Error> {
        let n = self.s.problem.form.n;
        let (kkt, mut e) = linear(&mut self.s);
        let right = kkt.factor_exactly(&mut e).unwrap_or(false);
        // A solve with arbitrary rows shows whether K is singular.
        for (k, r) in kkt.rhs.iter_mut().enumerate() {
            *r = if k < n { 0.0 } else { 1.0 + ((k * 7919 + 13) % 101) as f64 / 101.0 };
        }
        kkt.step.fill(0.0);
        let solved = right && kkt.solve(&mut e, REFINED).is_ok_and(|s| s.relative_residual <= RESIDUAL);
        let bounded = norm_inf(&kkt.step) <= SINGULAR * norm_inf(&kkt.rhs).max(f64::MIN_POSITIVE);
        if solved && (bounded || kkt.rhs.len() == n) {
            return Ok(());
        }
        let row = self.dependent_row();
        let meta = self.s.problem.nlp().meta();
        Err(self.unsupported(match row {
            Some(i) => {
                let name = meta.constraint_name(i);
                format!("the active constraints are dependent: {name} on rows before it and active bounds")
            }
            None => "the second derivatives are not positive along the active constraints".to_string(),
        }))
    }

    /// The first active row that depends on those before it in the variables that are not held: Gram and Schmidt, on failure only.
    fn dependent_row(&self) -> Option<usize> {
        let (form, stiffness) = (&*self.s.problem.form, &self.s.kkt.barrier);
        let pattern = self.s.problem.nlp().meta().jacobian.as_ref()?;
        let mut rows = vec![vec![0.0; self.held.len()]; form.m];
        for ((i, j), v) in pattern.entries().zip(&self.jacobian) {
            rows[i][j] += if self.held[j] { 0.0 } else { *v };
        }
        let mut active = vec![true; form.m];
        for (k, &i) in form.slacked.iter().enumerate() {
            active[i] = stiffness[form.free_count() + k] > 0.0;
        }
        let mut basis: Vec<Vec<f64>> = Vec::new();
        for (i, mut row) in rows.into_iter().enumerate().filter(|(i, _)| active[*i]) {
            let before = norm2(&row);
            for _ in 0..2 {
                basis.iter().for_each(|q| axpy(-dot(q, &row), q, &mut row));
            }
            let left = norm2(&row);
            if left <= DEPENDENT * before {
                return Some(i);
            }
            row.iter_mut().for_each(|v| *v /= left);
            basis.push(row);
        }
        None
    }

    /// K z = b with b = (x, y) in the user's variables and units, of which held ones and those of fixed variables do not count; the y of rows that
    /// are not active comes out as 0.
    fn solve(&mut self, x: impl Fn(usize) -> f64, y: impl Fn(usize) -> f64) -> Result<(), Error> {
        let form = &*self.s.problem.form;
        let (n, scale) = (form.n, &form.scale);
        let rhs = &mut self.s.kkt.rhs;
        rhs.fill(0.0);
        for (r, &j) in rhs.iter_mut().zip(&form.free) {
            *r = if self.held[j] { 0.0 } else { scale.objective * x(j) };
        }
        for (i, r) in rhs[n..].iter_mut().enumerate() {
            *r = scale.constraints[i] * y(i);
        }
        let (kkt, mut e) = linear(&mut self.s);
        kkt.step.fill(0.0);
        let solved = kkt.solve(&mut e, REFINED).is_ok_and(|s| s.relative_residual <= RESIDUAL);
        if !solved {
            return Err(self.unsupported("the linear system of a sensitivity could not be solved"));
        }
        let form = &*self.s.problem.form;
        let y = &mut self.s.kkt.step[form.n..];
        for (i, y) in y.iter_mut().enumerate() {
            *y = form.scale.original_multiplier(i, *y);
        }
        // Without bounds and inequalities there is no barrier.
        let stiffness = self.s.kkt.barrier.iter().skip(form.free_count());
        for (&i, stiffness) in form.slacked.iter().zip(stiffness) {
            if *stiffness == 0.0 {
                y[i] = 0.0;
            }
        }
        Ok(())
    }

    /// `product` <- H u + J'y, `rows` <- J u with u = `direction`, y that of the last solve, or 0.
    fn multiply(&mut self, with_multipliers: bool) {
        let y = &self.s.kkt.step[self.s.problem.form.n..];
        let y = |i: usize| if with_multipliers { y[i] } else { 0.0 };
        let entries = (&*self.hessian, &*self.jacobian);
        let meta = self.s.problem.nlp().meta();
        multiply(meta, entries, (&self.direction, y), (&mut self.product, &mut self.rows));
    }

    /// `direction` <- `held` entries as given, those of the last solve else.
    fn set_direction(&mut self, held: &[f64], solved: bool) {
        self.direction.fill(0.0);
        if solved {
            for (&j, v) in self.s.problem.form.free.iter().zip(&self.s.kkt.step) {
                self.direction[j] = *v;
            }
        }
        for (j, d) in self.direction.iter_mut().enumerate().filter(|(j, _)| self.held[*j]) {
            *d = entry(held, j);
        }
    }

    /// The change of the solution with that of the data.
    ///
    /// # Errors
    /// [`Error::Option`] for a vector of the wrong length, [`Error::Unsupported`] where the linear system cannot be solved.
    pub fn forward(&mut self, of: &ProblemChange, out: &mut SolutionChange) -> Result<(), Error> {
        let (n, m) = (self.held.len(), self.rows.len());
        check("gradient", &of.gradient, n)?;
        check("constraints", &of.constraints, m)?;
        check("bounds", &of.bounds, n)?;
        self.set_direction(&of.bounds, false);
        self.multiply(false);
        let (product, rows) = (std::mem::take(&mut self.product), std::mem::take(&mut self.rows));
        let solved = self
            .solve(|j| -(entry(&of.gradient, j) + product[j]), |i| -(entry(&of.constraints, i) + rows[i]));
        (self.product, self.rows) = (product, rows);
        solved?;
        self.set_direction(&of.bounds, true);
        self.multiply(true);
        out.x.clone_from(&self.direction);
        out.y.clear();
        out.y.extend_from_slice(&self.s.kkt.step[self.s.problem.form.n..]);
        out.z.clear();
        out.z.extend(
            self.product
                .iter()
                .zip(&self.held)
                .enumerate()
                .map(|(j, (p, &held))| if held { -(p + entry(&of.gradient, j)) } else { 0.0 }),
        );
        Ok(())
    }

    /// The transposed product: <forward(d), w> = <d, transposed(w)> for all changes d of the data.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn transposed(&mut self, of: &SolutionChange, out: &mut ProblemChange) -> Result<(), Error> {
        let (n, m) = (self.held.len(), self.rows.len());
        check("x", &of.x, n)?;
        check("y", &of.y, m)?;
        check("z", &of.z, n)?;
        self.set_direction(&of.z, false);
        self.multiply(false);
        let (product, rows) = (std::mem::take(&mut self.product), std::mem::take(&mut self.rows));
        let solved = self.solve(|j| entry(&of.x, j) - product[j], |i| entry(&of.y, i) - rows[i]);
        (self.product, self.rows) = (product, rows);
        solved?;
        self.set_direction(&of.z, true);
        self.multiply(true);
        out.gradient.clear();
        out.gradient.extend(self.direction.iter().map(|u| -u));
        out.constraints.clear();
        out.constraints.extend(self.s.kkt.step[self.s.problem.form.n..].iter().map(|v| -v));
        out.bounds.clear();
        out.bounds.extend(
            self.product.iter().zip(&self.held).enumerate().map(
                |(j, (p, &held))| {
                    if held { entry(&of.x, j) - p } else { 0.0 }
                },
            ),
        );
        Ok(())
    }
}

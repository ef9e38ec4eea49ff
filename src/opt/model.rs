//! The problem as the solver sees it: scaled, counted, timed, checked for finite values.
//!
//! Scaled functions: f~ = s_f f, c~_i = s_i (c_i - b_i) with b the right-hand side of the equality.
//! Their multipliers y~ belong to the original ones by y_i = s_i y~_i / s_f (`docs/notation.md`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::linalg::{LinOp, SparseMatrix, Storage, norm_inf};
use crate::nlp::{EvalError, Nlp, Pattern};
use crate::observe::StopToken;
use crate::report::Counts;

use super::differences::HessianDifferences;
use super::options::HessianModel;
use super::quasi_newton::QuasiNewton;

/// Gradients above this are scaled down to it.
pub(super) const TARGET_GRADIENT: f64 = 100.0;

/// Scale of a function with a gradient of this size.
fn factor(size: f64) -> f64 {
    if size > TARGET_GRADIENT { (TARGET_GRADIENT / size).max(1e-8) } else { 1.0 }
}

/// An evaluation that cannot be used.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct BadEvaluation {
    /// The function, in words.
    pub function: String,
}

impl BadEvaluation {
    fn not_finite(function: &str) -> Self {
        Self { function: format!("{function} (not finite)") }
    }
}

impl From<EvalError> for BadEvaluation {
    fn from(e: EvalError) -> Self {
        Self { function: e.to_string() }
    }
}

/// The result of `f`, or the words with which it panicked.
pub(super) fn catching<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let words = payload.downcast_ref::<&str>().map(|s| s.to_string());
        words.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
    })
}

/// Values that come in the order of a user's pattern, kept as a compressed matrix.
struct Assembled {
    matrix: SparseMatrix,
    raw: Vec<f64>,
    position: Vec<usize>,
}

impl Assembled {
    fn new(nrows: usize, ncols: usize, rows: &[usize], cols: &[usize], storage: Storage) -> Self {
        let (matrix, position) = SparseMatrix::from_coordinates(nrows, ncols, rows, cols, storage);
        Self { matrix, raw: vec![0.0; rows.len()], position }
    }

    fn scatter(&mut self) {
        self.matrix.values.fill(0.0);
        for (v, &p) in self.raw.iter().zip(&self.position) {
            self.matrix.values[p] += v;
        }
    }
}

/// B and what it learns from: the point of the last `hess` with its gradient and Jacobian.
struct Learner {
    b: QuasiNewton,
    /// `hess` was last asked for the Lagrangian, not for the constraints alone.
    active: bool,
    known: bool,
    x: Vec<f64>,
    gradient: Vec<f64>,
    jacobian: Vec<f64>,
    /// Gradient of the last `grad_jac`.
    newest: Vec<f64>,
    step: Vec<f64>,
    change: Vec<f64>,
    work: Vec<f64>,
}

impl Learner {
    fn new(n: usize) -> Self {
        let zeros = || vec![0.0; n];
        Self {
            b: QuasiNewton::new(n),
            active: false,
            known: false,
            x: zeros(),
            gradient: zeros(),
            jacobian: Vec::new(),
            newest: zeros(),
            step: zeros(),
            change: zeros(),
            work: zeros(),
        }
    }
}

pub(super) struct Model<'a> {
    nlp: &'a mut dyn Nlp,
    pub n: usize,
    pub m: usize,
    pub objective_scale: f64,
    pub constraint_scale: Vec<f64>,
    /// Rows were left as they are that scaling would change.
    pub steep_rows: bool,
    right_hand_side: Vec<f64>,
    jacobian: Option<Assembled>,
    hessian: Option<Assembled>,
    y_raw: Vec<f64>,
    /// In place of the Hessian.
    quasi: Option<Learner>,
    /// In place of the problem's values.
    differences: Option<HessianDifferences>,
    pub counts: Counts,
    pub seconds: f64,
    /// Seen between the gradients of a difference.
    pub stop: StopToken,
    /// A function panicked: nothing is evaluated any more.
    pub panicked: Option<String>,
}

impl<'a> Model<'a> {
    /// Without second derivatives, or where they are not wanted, the Hessian is a limited-memory approximation.
    pub fn new(nlp: &'a mut dyn Nlp, hessian_model: HessianModel) -> Self {
        let meta = nlp.meta();
        let (n, m) = (meta.n(), meta.m());
        let jacobian =
            meta.jacobian.as_ref().map(|p| Assembled::new(m, n, &p.rows, &p.cols, Storage::General));
        let provided = meta.hessian.is_some() || meta.hessian_products;
        let learns = hessian_model == HessianModel::LimitedMemory || !provided;
        let diagonal = Pattern { rows: (0..n).collect(), cols: (0..n).collect() };
        let entries =
            if learns { (m == 0 || jacobian.is_some()).then_some(&diagonal) } else { meta.hessian.as_ref() };
        let hessian = entries.map(|p| Assembled::new(n, n, &p.rows, &p.cols, Storage::SymmetricLower));
        let right_hand_side = meta.c_lower.clone();
        let mut model = Self {
            nlp,
            n,
            m,
            objective_scale: 1.0,
            constraint_scale: vec![1.0; m],
            steep_rows: false,
            right_hand_side,
            jacobian,
            hessian,
            y_raw: vec![0.0; m],
            quasi: learns.then(|| Learner::new(n)),
            differences: None,
            counts: Counts::default(),
            seconds: 0.0,
            stop: StopToken::default(),
            panicked: None,
        };
        if hessian_model == HessianModel::Differences {
            model.take_differences();
        }
        model
    }

    pub fn nlp(&self) -> &dyn Nlp {
        &*self.nlp
    }

    /// Jacobian at the point of the last `grad_jac`, if the problem gives entries.
    pub fn jacobian(&self) -> Option<&SparseMatrix> {
        self.jacobian.as_ref().map(|a| &a.matrix)
    }

    /// Hessian of the last `hess`, if the problem gives entries.
    pub fn hessian(&self) -> Option<&SparseMatrix> {
        self.hessian.as_ref().map(|a| &a.matrix)
    }

    /// The KKT matrix can be formed.
    pub fn has_entries(&self) -> bool {
        self.hessian.is_some() && (self.jacobian.is_some() || self.m == 0)
    }

    /// Gradient-based scaling (Waechter and Biegler 2006, section 3.8): s_f = min(1, 100 / |grad f|), s_i likewise by the
    /// rows of J at the start, never below 1e-8. Needs `grad_jac` at the start; rescales what that call stored. The rows of systems with more equations
    /// than unknowns stay as they are: their least squares are those of the user.
    pub fn set_scaling(&mut self, gradient: &mut [f64], c: &mut [f64], f: &mut f64) {
        self.objective_scale = factor(norm_inf(gradient));
        gradient.iter_mut().for_each(|g| *g *= self.objective_scale);
        *f *= self.objective_scale;
        if let Some(l) = &mut self.quasi {
            l.newest.copy_from_slice(gradient);
        }
        if self.m <= self.n {
            self.scale_rows(c);
        } else {
            self.steep_rows = norm_inf(&self.row_sizes()) > TARGET_GRADIENT;
        }
    }

    /// Largest entries of the rows of J; zeros without a pattern.
    fn row_sizes(&self) -> Vec<f64> {
        let mut largest = vec![0.0f64; self.m];
        if let Some(jac) = &self.jacobian {
            for (&i, v) in jac.matrix.row_idx.iter().zip(&jac.matrix.values) {
                largest[i] = largest[i].max(v.abs());
            }
        }
        largest
    }

    /// The same for unscaled rows only.
    pub fn scale_rows(&mut self, c: &mut [f64]) {
        let largest = self.row_sizes();
        let Some(jac) = &mut self.jacobian else { return };
        for (s, size) in self.constraint_scale.iter_mut().zip(largest) {
            *s = factor(size);
        }
        for (&i, v) in jac.matrix.row_idx.iter().zip(&mut jac.matrix.values) {
            *v *= self.constraint_scale[i];
        }
        for (ci, s) in c.iter_mut().zip(&self.constraint_scale) {
            *ci *= s;
        }
    }

    /// Calls a function of the problem, timed; a panic in it ends the solve, not the program.
    fn call<R>(
        &mut self,
        function: &str,
        f: impl FnOnce(&mut Self) -> Result<R, EvalError>,
    ) -> Result<R, BadEvaluation> {
        if let Some(what) = &self.panicked {
            return Err(BadEvaluation { function: what.clone() });
        }
        let start = Instant::now();
        let result = catching(|| f(self));
        self.seconds += start.elapsed().as_secs_f64();
        match result {
            Ok(r) => Ok(r?),
            Err(words) => {
                let what = format!("{function} panicked: {words}");
                self.panicked = Some(what.clone());
                Err(BadEvaluation { function: what })
            }
        }
    }

    /// Scaled f and c.
    pub fn obj_cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<f64, BadEvaluation> {
        self.counts.objective += 1;
        self.counts.constraints += u64::from(self.m > 0);
        let with_constraints = self.m > 0;
        let f = self.call("objective or constraints", |s| {
            if with_constraints { s.nlp.obj_cons(x, c) } else { s.nlp.obj(x) }
        })?;
        if !f.is_finite() {
            return Err(BadEvaluation::not_finite("objective"));
        }
        if let Some(i) = c.iter().position(|v| !v.is_finite()) {
            let name = self.nlp.meta().constraint_name(i);
            return Err(BadEvaluation::not_finite(&format!("constraint {name}")));
        }
        for ((ci, b), s) in c.iter_mut().zip(&self.right_hand_side).zip(&self.constraint_scale) {
            *ci = (*ci - b) * s;
        }
        Ok(f * self.objective_scale)
    }

    /// Scaled gradient; the Jacobian's entries are stored where there are any.
    pub fn grad_jac(&mut self, x: &[f64], gradient: &mut [f64]) -> Result<(), BadEvaluation> {
        self.counts.gradient += 1;
        self.counts.jacobian += u64::from(self.m > 0 && self.jacobian.is_some());
        self.call("gradient or Jacobian", |s| match &mut s.jacobian {
            Some(jac) if s.m > 0 => s.nlp.grad_jac_values(x, gradient, &mut jac.raw),
            _ => s.nlp.grad(x, gradient),
        })?;
        if !gradient.iter().all(|v| v.is_finite()) {
            return Err(BadEvaluation::not_finite("gradient of the objective"));
        }
        gradient.iter_mut().for_each(|g| *g *= self.objective_scale);
        if let Some(l) = &mut self.quasi {
            l.newest.copy_from_slice(gradient);
        }
        if let Some(jac) = &mut self.jacobian {
            jac.scatter();
            if !jac.matrix.values.iter().all(|v| v.is_finite()) {
                return Err(BadEvaluation::not_finite("Jacobian of the constraints"));
            }
            for (&i, v) in jac.matrix.row_idx.iter().zip(&mut jac.matrix.values) {
                *v *= self.constraint_scale[i];
            }
        }
        Ok(())
    }

    fn unscale_multipliers(&mut self, y: &[f64]) {
        for ((raw, yi), s) in self.y_raw.iter_mut().zip(y).zip(&self.constraint_scale) {
            *raw = yi * s;
        }
    }

    /// Stores the entries of sigma hess f~ + sum y_i hess c~_i; nothing to do for a problem with products only.
    pub fn hess(&mut self, x: &[f64], sigma: f64, y: &[f64]) -> Result<(), BadEvaluation> {
        self.unscale_multipliers(y);
        if let Some(learner) = self.quasi.take() {
            let (learner, result) = self.learn(learner, x, sigma, y);
            self.quasi = Some(learner);
            return result;
        }
        let Some(hessian) = &mut self.hessian else { return Ok(()) };
        if let Some(mut differences) = self.differences.take() {
            let mut values = std::mem::take(&mut hessian.matrix.values);
            let result = self.difference_hessian(&mut differences, (x, sigma, y), 1.0, &mut values);
            self.differences = Some(differences);
            if let Some(hessian) = &mut self.hessian {
                hessian.matrix.values = values;
            }
            return result;
        }
        self.counts.hessian += 1;
        self.call("Hessian", |s| match &mut s.hessian {
            Some(hess) => s.nlp.hess_values(x, sigma * s.objective_scale, &s.y_raw, &mut hess.raw),
            None => Ok(()),
        })?;
        let Some(hess) = &mut self.hessian else { return Ok(()) };
        hess.scatter();
        if !hess.matrix.values.iter().all(|v| v.is_finite()) {
            return Err(BadEvaluation::not_finite("Hessian of the Lagrangian"));
        }
        Ok(())
    }

    /// B, where K is formed without its low-rank part.
    pub fn low_rank(&mut self) -> Option<&mut QuasiNewton> {
        self.quasi.as_mut().filter(|l| l.active && l.b.columns() > 0).map(|l| &mut l.b)
    }

    /// The Hessian is an approximation.
    pub fn is_quasi_newton(&self) -> bool {
        self.quasi.is_some()
    }

    /// From now on the Hessian's entries come from differences of gradients.
    pub fn take_differences(&mut self) {
        self.differences = self.hessian().filter(|_| self.quasi.is_none()).map(HessianDifferences::new);
    }

    /// The Hessian's entries come from differences of gradients.
    pub fn takes_differences(&self) -> bool {
        self.differences.is_some()
    }

    /// Forgets what was learned: the next point is far from the last.
    pub fn forget(&mut self) {
        if let Some(l) = &mut self.quasi {
            l.known = false;
            l.b.reset();
        }
    }

    /// The step since the last call, with the change of grad L at the present multipliers; sigma = 0: W = 0.
    fn learn(
        &mut self,
        mut l: Learner,
        x: &[f64],
        sigma: f64,
        y: &[f64],
    ) -> (Learner, Result<(), BadEvaluation>) {
        l.active = sigma != 0.0;
        if l.active {
            if l.known {
                if let Err(e) = self.lagrangian_change(&mut l, x, y) {
                    return (l, Err(e));
                }
                l.b.update(&l.step, &l.change, &mut l.work);
            }
            l.known = true;
            l.x.copy_from_slice(x);
            l.gradient.copy_from_slice(&l.newest);
            if let Some(jac) = &self.jacobian {
                l.jacobian.clear();
                l.jacobian.extend_from_slice(&jac.matrix.values);
            }
        }
        let diagonal = if l.active { l.b.sigma } else { 0.0 };
        if let Some(hess) = &mut self.hessian {
            hess.matrix.values.fill(diagonal);
        }
        (l, Ok(()))
    }

    /// step <- x - x_old, change <- grad f + J'y - (grad f + J'y)_old.
    fn lagrangian_change(&mut self, l: &mut Learner, x: &[f64], y: &[f64]) -> Result<(), BadEvaluation> {
        self.jac_t_mul(x, y, &mut l.change)?;
        if let Some(jac) = &mut self.jacobian {
            std::mem::swap(&mut jac.matrix.values, &mut l.jacobian);
        }
        let old = self.jac_t_mul(&l.x, y, &mut l.work);
        if let Some(jac) = &mut self.jacobian {
            std::mem::swap(&mut jac.matrix.values, &mut l.jacobian);
        }
        old?;
        for (j, c) in l.change.iter_mut().enumerate() {
            *c += l.newest[j] - l.gradient[j] - l.work[j];
            l.step[j] = x[j] - l.x[j];
        }
        Ok(())
    }

    /// out <- J v, scaled; with entries J is that of the last `grad_jac`.
    pub fn jac_mul(&mut self, x: &[f64], v: &[f64], out: &mut [f64]) -> Result<(), BadEvaluation> {
        if self.m == 0 {
            return Ok(());
        }
        if let Some(jac) = &mut self.jacobian {
            jac.matrix.apply(1.0, v, 0.0, out);
            return Ok(());
        }
        self.counts.products += 1;
        self.call("Jacobian product", |s| s.nlp.jac_prod(x, v, out))?;
        for (o, s) in out.iter_mut().zip(&self.constraint_scale) {
            *o *= s;
        }
        Ok(())
    }

    /// z <- P~^-1 r for the scaled K~ = D K D, D = diag(s_f^1/2 I, S_c s_f^-1/2): P~ = D P D. False without a preconditioner.
    /// `y` is scaled, `work` has the length of r.
    pub fn precondition(&mut self, x: &[f64], y: &[f64], r: &[f64], z: &mut [f64], work: &mut [f64]) -> bool {
        if !self.nlp.meta().preconditioner {
            return false;
        }
        let n = self.n;
        let root = self.objective_scale.sqrt();
        self.unscale_multipliers(y);
        self.y_raw.iter_mut().for_each(|v| *v /= self.objective_scale);
        let weight = |k: usize, scale: &[f64]| if k < n { root } else { scale[k - n] / root };
        for (k, (w, v)) in work.iter_mut().zip(r).enumerate() {
            *w = v / weight(k, &self.constraint_scale);
        }
        self.counts.products += 1;
        let ok = self.call("preconditioner", |s| s.nlp.precondition(x, &s.y_raw, work, z)).is_ok();
        for (k, v) in z.iter_mut().enumerate() {
            *v /= weight(k, &self.constraint_scale);
        }
        ok && z.iter().all(|v| v.is_finite())
    }

    /// out <- J' w, scaled.
    pub fn jac_t_mul(&mut self, x: &[f64], w: &[f64], out: &mut [f64]) -> Result<(), BadEvaluation> {
        if self.m == 0 {
            out.fill(0.0);
            return Ok(());
        }
        if let Some(jac) = &mut self.jacobian {
            jac.matrix.apply_t(1.0, w, 0.0, out);
            return Ok(());
        }
        self.unscale_multipliers(w);
        self.counts.products += 1;
        self.call("transposed Jacobian product", |s| s.nlp.jac_t_prod(x, &s.y_raw, out))
    }

    /// out <- (sigma hess f~ + sum y_i hess c~_i) v; with entries the matrix is that of the last `hess`.
    pub fn hess_mul(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        v: &[f64],
        out: &mut [f64],
    ) -> Result<(), BadEvaluation> {
        if let Some(l) = &mut self.quasi {
            if l.active {
                l.b.apply(v, out)
            } else {
                out.fill(0.0)
            }
            return Ok(());
        }
        if let Some(hess) = &mut self.hessian {
            hess.matrix.apply(1.0, v, 0.0, out);
            return Ok(());
        }
        self.unscale_multipliers(y);
        self.counts.products += 1;
        self.call("Hessian product", |s| s.nlp.hess_prod(x, sigma * s.objective_scale, &s.y_raw, v, out))
    }
}

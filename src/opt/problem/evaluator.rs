//! The user's functions in standard form: scaled, counted, timed, checked for finite values.
//!
//! f~ = s_f f, c~_i = s_i (c_i - w_i s_i - b_i). Their multipliers y~ belong to the original ones by y_i = s_i y~_i / s_f.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::back::{OriginalPoint, Scaled};
use super::form::Form;
use crate::nlp::{EvalError, Nlp, NlpMeta, Preconditioning};
use crate::observe::StopToken;
use crate::report::Counts;

/// An evaluation that cannot be used.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::opt) struct BadEvaluation {
    /// The function, in words.
    pub function: Cow<'static, str>,
    /// The constraint that is meant.
    row: Option<usize>,
}

impl BadEvaluation {
    fn not_finite(function: &str) -> Self {
        Self::of(format!("{function} (not finite)"))
    }

    pub fn of(function: impl Into<Cow<'static, str>>) -> Self {
        Self { function: function.into(), row: None }
    }

    /// With the name of the constraint, which trial points of a line search do not ask for.
    pub fn describe(&self, meta: &NlpMeta) -> String {
        self.row.map_or_else(
            || self.function.to_string(),
            |i| format!("constraint {} (not finite)", meta.constraint_name(i)),
        )
    }
}

impl From<EvalError> for BadEvaluation {
    fn from(e: EvalError) -> Self {
        Self::of(e.to_string())
    }
}

/// The result of `f`, or the words with which it panicked.
pub(in crate::opt) fn catching<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let words = payload.downcast_ref::<&str>().map(|s| s.to_string());
        words.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
    })
}

/// Vectors of the user's lengths.
#[derive(Debug, Default)]
pub(in crate::opt) struct Buffers {
    /// User's x: fixed variables hold their values.
    pub x: Vec<f64>,
    /// Gradients, directions, products.
    pub other: Vec<f64>,
    pub product: Vec<f64>,
    /// Entries of J and user's y.
    pub jacobian: Vec<f64>,
    pub y: Vec<f64>,
    /// For the preconditioner, of length n + m: right-hand side, solution; and its diagonals, n and m.
    pub preconditioner: [Vec<f64>; 4],
}

impl Buffers {
    /// `x`: the user's start, within its bounds.
    pub fn new(form: &Form, x: &[f64], jacobian_entries: usize) -> Self {
        let zeros = |k: usize| vec![0.0; k];
        let (n, m) = (x.len(), form.m);
        let lengths = if form.preconditioner { [n + m, n + m, n, m] } else { [0; 4] };
        Self {
            x: x.to_vec(),
            other: zeros(n),
            product: zeros(n),
            jacobian: zeros(jacobian_entries),
            y: zeros(m),
            preconditioner: lengths.map(zeros),
        }
    }
}

/// A point with the entries of its Jacobian (empty where there are none).
#[derive(Debug, Clone, Copy)]
pub(in crate::opt) struct At<'p> {
    pub x: &'p [f64],
    pub jacobian: &'p [f64],
}

/// What a preconditioner is asked for: K at x, y (scaled), with S, t D and delta; slacks included.
#[derive(Debug, Clone, Copy)]
pub(in crate::opt) struct Preconditioned<'p> {
    pub x: &'p [f64],
    pub y: &'p [f64],
    /// S, or empty.
    pub barrier: &'p [f64],
    pub shift: f64,
    /// D.
    pub weights: &'p [f64],
    pub dual: f64,
}

fn is_fixed(meta: &NlpMeta) -> Vec<bool> {
    meta.x_lower.iter().zip(&meta.x_upper).map(|(l, u)| l == u).collect()
}

/// The functions of one solve.
pub(in crate::opt) struct Evaluator<'a> {
    pub form: &'a mut Form,
    nlp: &'a mut dyn Nlp,
    work: &'a mut Buffers,
    pub counts: Counts,
    /// Seconds spent in the user's functions.
    pub seconds: f64,
    /// Seen between the gradients of a difference.
    pub stop: StopToken,
    /// A function panicked: nothing is evaluated any more.
    pub panicked: Option<String>,
}

impl<'a> Evaluator<'a> {
    pub fn new(form: &'a mut Form, nlp: &'a mut dyn Nlp, work: &'a mut Buffers, stop: StopToken) -> Self {
        Self { form, nlp, work, counts: Counts::default(), seconds: 0.0, stop, panicked: None }
    }

    pub fn nlp(&self) -> &dyn Nlp {
        &*self.nlp
    }

    /// The point as the user's.
    pub fn original(&self, p: &Scaled<'_>, point: &mut OriginalPoint) {
        point.set(self.form, self.nlp.meta(), &self.work.x, p);
    }

    fn place(&mut self, v: &[f64]) {
        for (&j, v) in self.form.free.iter().zip(v) {
            self.work.x[j] = *v;
        }
    }

    /// Calls a function of the problem, timed; a panic in it ends the solve, not the program.
    fn call<R>(
        &mut self,
        function: &str,
        f: impl FnOnce(&mut dyn Nlp, &mut Buffers) -> Result<R, EvalError>,
    ) -> Result<R, BadEvaluation> {
        if let Some(what) = &self.panicked {
            return Err(BadEvaluation::of(what.clone()));
        }
        let start = Instant::now();
        let result = catching(|| f(self.nlp, self.work));
        self.seconds += start.elapsed().as_secs_f64();
        match result {
            Ok(r) => Ok(r?),
            Err(words) => {
                let what = format!("{function} panicked: {words}");
                self.panicked = Some(what.clone());
                Err(BadEvaluation::of(what))
            }
        }
    }

    /// c <- c~(x), returns f~(x).
    pub fn functions(&mut self, x: &[f64], c: &mut [f64]) -> Result<f64, BadEvaluation> {
        self.place(x);
        self.counts.objective += 1;
        self.counts.constraints += u64::from(self.form.m > 0);
        let with_constraints = self.form.m > 0;
        let f = self.call("objective or constraints", |nlp, work| {
            if with_constraints { nlp.obj_cons(&work.x, c) } else { nlp.obj(&work.x) }
        })?;
        self.form.subtract_slacks(x, c);
        if !f.is_finite() {
            return Err(BadEvaluation::of("objective (not finite)"));
        }
        if let Some(i) = c.iter().position(|v| !v.is_finite()) {
            return Err(BadEvaluation { function: "a constraint (not finite)".into(), row: Some(i) });
        }
        let scale = &self.form.scale;
        for ((ci, b), s) in c.iter_mut().zip(&self.form.side).zip(&scale.constraints) {
            *ci = (*ci - b) * s;
        }
        Ok(f * scale.objective)
    }

    /// gradient <- grad f~(x), jacobian <- entries of J~(x), where there are any.
    pub fn derivatives(
        &mut self,
        x: &[f64],
        gradient: &mut [f64],
        jacobian: &mut [f64],
    ) -> Result<(), BadEvaluation> {
        self.place(x);
        let entries = self.form.m > 0 && self.form.jacobian.is_some();
        self.counts.gradient += 1;
        self.counts.jacobian += u64::from(entries);
        self.call("gradient or Jacobian", |nlp, work| match entries {
            true => nlp.grad_jac_values(&work.x, &mut work.other, &mut work.jacobian),
            false => nlp.grad(&work.x, &mut work.other),
        })?;
        self.form.gather(&self.work.other, gradient);
        if !gradient.iter().all(|v| v.is_finite()) {
            let bad = self.form.free.iter().find(|&&j| !self.work.other[j].is_finite());
            let name = bad.map(|&j| self.nlp.meta().variable_name(j)).unwrap_or_default();
            return Err(BadEvaluation::not_finite(&format!("gradient of the objective at {name}")));
        }
        let s = self.form.scale.objective;
        gradient.iter_mut().for_each(|g| *g *= s);
        if entries {
            self.form.scatter_jacobian(&self.work.jacobian, jacobian);
            if let Some(p) = jacobian.iter().position(|v| !v.is_finite()) {
                let row = self.form.jacobian.as_ref().map_or(0, |j| j.row_idx[p]);
                let name = self.nlp.meta().constraint_name(row);
                return Err(BadEvaluation::not_finite(&format!("gradient of constraint {name}")));
            }
        }
        Ok(())
    }

    /// z of the fixed variables: z_j = -(grad f + J'y)_j. One evaluation, only where there are any; not counted, it is for the report.
    pub fn fixed_multipliers(&mut self, point: &mut OriginalPoint) {
        if self.form.free_count() == point.x.len() {
            return;
        }
        let meta = self.nlp.meta();
        let (pattern, fixed) = (meta.jacobian.clone(), is_fixed(meta));
        let OriginalPoint { x, y, z, .. } = point;
        let evaluated = self.call("gradient or Jacobian", |nlp, work| {
            nlp.grad(x, &mut work.other)?;
            match &pattern {
                _ if y.is_empty() => {}
                None => {
                    nlp.jac_t_prod(x, y, &mut work.product)?;
                    work.other.iter_mut().zip(&work.product).for_each(|(g, p)| *g += p);
                }
                Some(p) => {
                    nlp.jac_values(x, &mut work.jacobian)?;
                    for ((&i, &j), v) in p.rows.iter().zip(&p.cols).zip(&work.jacobian) {
                        work.other[j] += v * y[i];
                    }
                }
            }
            Ok(())
        });
        if evaluated.is_ok() {
            for (j, z) in z.iter_mut().enumerate().filter(|(j, _)| fixed[*j]) {
                *z = -self.work.other[j];
            }
        }
    }

    /// The user's own entries of the Hessian of the Lagrangian and of J, not counted.
    pub fn user_entries(
        &mut self,
        x: &[f64],
        y: &[f64],
        hessian: &mut [f64],
        jacobian: &mut [f64],
    ) -> Result<(), BadEvaluation> {
        let with_jacobian = !jacobian.is_empty();
        self.call("Hessian or Jacobian", |nlp, _| {
            nlp.hess_values(x, 1.0, y, hessian)?;
            if with_jacobian { nlp.jac_values(x, jacobian) } else { Ok(()) }
        })?;
        let finite = hessian.iter().chain(&*jacobian).all(|v| v.is_finite());
        if finite { Ok(()) } else { Err(BadEvaluation::not_finite("Hessian or Jacobian")) }
    }

    fn unscale_multipliers(&mut self, y: &[f64]) {
        for ((raw, yi), s) in self.work.y.iter_mut().zip(y).zip(&self.form.scale.constraints) {
            *raw = yi * s;
        }
    }

    /// values <- entries of sigma hess f~ + sum y_i hess c~_i in the user's order.
    pub fn hessian(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        values: &mut [f64],
    ) -> Result<(), BadEvaluation> {
        self.place(x);
        self.unscale_multipliers(y);
        self.counts.hessian += 1;
        let sigma = sigma * self.form.scale.objective;
        self.call("Hessian", |nlp, work| nlp.hess_values(&work.x, sigma, &work.y, values))?;
        let finite = match &self.form.hessian {
            Some(places) => places.rows.iter().zip(&*values).all(|(&r, v)| r == u32::MAX || v.is_finite()),
            None => true,
        };
        if finite { Ok(()) } else { Err(BadEvaluation::not_finite("Hessian of the Lagrangian")) }
    }

    /// out <- (sigma hess f~ + sum y_i hess c~_i) v by the user's products.
    pub fn hess_mul(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        v: &[f64],
        out: &mut [f64],
    ) -> Result<(), BadEvaluation> {
        self.place(x);
        self.unscale_multipliers(y);
        self.form.scatter(v, &mut self.work.other);
        self.counts.products += 1;
        let sigma = sigma * self.form.scale.objective;
        self.call("Hessian product", |nlp, w| nlp.hess_prod(&w.x, sigma, &w.y, &w.other, &mut w.product))?;
        self.form.gather(&self.work.product, out);
        Ok(())
    }

    /// out <- J~ v.
    pub fn jac_mul(&mut self, at: At<'_>, v: &[f64], out: &mut [f64]) -> Result<(), BadEvaluation> {
        if self.form.m == 0 {
            return Ok(());
        }
        if let Some(pattern) = &self.form.jacobian {
            pattern.with(at.jacobian).apply(1.0, v, 0.0, out);
            return Ok(());
        }
        self.place(at.x);
        self.form.scatter(v, &mut self.work.other);
        self.counts.products += 1;
        self.call("Jacobian product", |nlp, work| nlp.jac_prod(&work.x, &work.other, out))?;
        self.form.subtract_slacks(v, out);
        for (o, s) in out.iter_mut().zip(&self.form.scale.constraints) {
            *o *= s;
        }
        Ok(())
    }

    /// out <- J~' w.
    pub fn jac_t_mul(&mut self, at: At<'_>, w: &[f64], out: &mut [f64]) -> Result<(), BadEvaluation> {
        if self.form.m == 0 {
            out.fill(0.0);
            return Ok(());
        }
        if let Some(pattern) = &self.form.jacobian {
            pattern.with(at.jacobian).apply_t(1.0, w, 0.0, out);
            return Ok(());
        }
        self.place(at.x);
        self.unscale_multipliers(w);
        self.counts.products += 1;
        self.call("transposed Jacobian product", |nlp, work| {
            nlp.jac_t_prod(&work.x, &work.y, &mut work.other)
        })?;
        self.form.gather(&self.work.other, out);
        let slacks = &mut out[self.form.free_count()..];
        for ((&i, weight), o) in self.form.slacked.iter().zip(&self.form.weight).zip(slacks) {
            *o = -weight * self.work.y[i];
        }
        Ok(())
    }

    /// z <- P~^-1 r for the scaled K~ = E K E, E = diag(s_f^1/2 I, S_c s_f^-1/2): P~ = E P E. Slacks are eliminated: with
    /// S_s their diagonal, row i has delta_i = delta + w_i^2 / S_s and the slack 1 / S_s. False without a preconditioner.
    pub fn precondition(&mut self, at: &Preconditioned<'_>, r: &[f64], z: &mut [f64]) -> bool {
        if !self.form.preconditioner {
            return false;
        }
        let (nf, n) = (self.form.free_count(), self.form.n);
        let user_n = self.work.x.len();
        self.place(at.x);
        self.unscale_multipliers(at.y);
        let Form { scale, free, slacked, weight, .. } = &*self.form;
        let (s_f, root) = (scale.objective, scale.objective.sqrt());
        self.work.y.iter_mut().for_each(|v| *v /= s_f);
        let diagonal = |k: usize| at.barrier.get(k).copied().unwrap_or(0.0) + at.shift * at.weights[k];
        let [rhs, _, barrier, dual] = &mut self.work.preconditioner;
        rhs.fill(0.0);
        barrier.fill(0.0);
        for (k, &j) in free.iter().enumerate() {
            rhs[j] = r[k] / root;
            barrier[j] = diagonal(k) / s_f;
        }
        for (i, d) in dual.iter_mut().enumerate() {
            let s = scale.constraints[i];
            rhs[user_n + i] = r[n + i] / (s / root);
            *d = at.dual * s_f / (s * s);
        }
        for (k, (&i, w)) in slacked.iter().zip(weight).enumerate() {
            dual[i] += w * w * s_f / diagonal(nf + k).max(f64::MIN_POSITIVE);
        }
        self.counts.products += 1;
        let ok = self.call("preconditioner", |nlp, work| {
            let [rhs, solution, barrier, dual] = &mut work.preconditioner;
            let at = Preconditioning { x: &work.x, y: &work.y, barrier, dual };
            nlp.precondition(&at, rhs, solution)
        });
        let Form { scale, free, slacked, .. } = &*self.form;
        let solution = &self.work.preconditioner[1];
        for (z, &j) in z.iter_mut().zip(free) {
            *z = solution[j] / root;
        }
        for k in 0..slacked.len() {
            z[nf + k] = r[nf + k] / diagonal(nf + k).max(f64::MIN_POSITIVE);
        }
        for (i, s) in scale.constraints.iter().enumerate() {
            z[n + i] = solution[user_n + i] / (s / root);
        }
        ok.is_ok() && z.iter().all(|v| v.is_finite())
    }
}

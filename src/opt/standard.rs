//! The problem in the form that the interior-point method works on: no fixed variables, equality constraints only.
//!
//! ```text
//!     v = (x_free, s),   c_i(x) = cl_i  for an equality,   c_i(x) - w_i s_i = 0,  cl_i / w_i <= s_i <= cu_i / w_i  else
//! ```
//!
//! w_i = max(1, |row i of J| / 100) at the start, so that the scaled row reads c~_i - s_i = 0. The multipliers y are those
//! of the original constraints; a slack's bound multiplier z equals w_i y_i.

use super::engine::FirstPoint;
use super::interior::Bounds;
use super::model::{TARGET_GRADIENT, catching};
use super::options::{Options, WarmStart};
use crate::linalg::norm_inf;
use crate::nlp::{EvalError, INFINITE_BOUND, Nlp, NlpMeta, Pattern};
use crate::report::Report;

/// Slack bounds are relaxed by this times max(1, |bound|), so that feasible sets without interior can be approached.
/// The bounds of the variables are relaxed only where the user allows it (`Options::relax_bounds`).
const RELAXATION: f64 = 1e-8;
/// The start keeps this distance from its bounds, absolute and relative to their distance.
const PUSH: f64 = 1e-2;
/// The same for a warm start, until its residual tells how good it is.
const WARM_PUSH: f64 = 1e-10;

/// Where the entries of a pattern of the original problem go.
#[derive(Default)]
struct Gather {
    /// Original entries that stay, in order.
    kept: Vec<usize>,
    /// All original values.
    raw: Vec<f64>,
}

/// The original problem, seen in standard form.
pub(super) struct Standard<'a> {
    inner: &'a mut dyn Nlp,
    meta: NlpMeta,
    /// Original index of each free variable.
    free: Vec<usize>,
    /// Constraint of each slack.
    slacked: Vec<usize>,
    /// w of each slack.
    weight: Vec<f64>,
    /// Original x: fixed variables hold their values.
    x: Vec<f64>,
    /// Of the bounds of the variables.
    relaxation: f64,
    /// Vectors of the original length.
    other: Vec<f64>,
    product: Vec<f64>,
    jacobian: Gather,
    hessian: Gather,
}

impl<'a> Standard<'a> {
    /// Evaluates the Jacobian once at the start to weigh the slacks; where that fails they have weight 1.
    pub fn new(inner: &'a mut dyn Nlp, options: &Options) -> Self {
        let mut original = inner.meta().clone();
        if let Some(w) = &options.warm_start {
            original.x0.copy_from_slice(&w.x);
            original.y0.copy_from_slice(&w.y);
        }
        let (n, m) = (original.n(), original.m());
        let free: Vec<usize> = (0..n).filter(|&j| original.x_lower[j] < original.x_upper[j]).collect();
        let slacked: Vec<usize> = (0..m).filter(|&i| !original.is_equality(i)).collect();
        let mut x = original.x0.clone();
        for (v, (l, u)) in x.iter_mut().zip(original.x_lower.iter().zip(&original.x_upper)) {
            *v = v.clamp(*l, *u);
        }
        let weight = if options.scaling {
            slack_weights(inner, &original, &slacked, &x)
        } else {
            vec![1.0; slacked.len()]
        };
        let mut position = vec![usize::MAX; n];
        for (k, &j) in free.iter().enumerate() {
            position[j] = k;
        }
        let mut standard = Self {
            meta: NlpMeta::default(),
            jacobian: Gather::default(),
            hessian: Gather::default(),
            relaxation: options.relax_bounds,
            other: vec![0.0; n],
            product: vec![0.0; n],
            inner,
            free,
            slacked,
            weight,
            x,
        };
        standard.meta = standard.standard_meta(&original, &position);
        standard.start_inside(if options.warm_start.is_some() { WARM_PUSH } else { PUSH });
        if options.warm_start.is_none() && standard.slacked.is_empty() {
            standard.other_starts_inside(&original.other_starts);
        }
        standard
    }

    /// The start in this form, with multipliers of all bounds if it is a warm one.
    pub fn first_point(&self, warm: Option<&WarmStart>) -> FirstPoint {
        let slack_multiplier =
            |y: &[f64]| self.slacked.iter().zip(&self.weight).map(|(&i, w)| w * y[i]).collect::<Vec<_>>();
        FirstPoint {
            x: self.meta.x0.clone(),
            y: self.meta.y0.clone(),
            z: warm.map_or(Vec::new(), |w| {
                self.free.iter().map(|&j| w.z[j]).chain(slack_multiplier(&w.y)).collect()
            }),
        }
    }

    fn standard_meta(&mut self, original: &NlpMeta, position: &[usize]) -> NlpMeta {
        let (nf, m) = (self.free.len(), original.m());
        let pick = |v: &[f64]| self.free.iter().map(|&j| v[j]).collect::<Vec<f64>>();
        let relax = |v: &[f64], sign: f64| {
            let by = |b: f64| {
                if b.abs() < INFINITE_BOUND { sign * self.relaxation * b.abs().max(1.0) } else { 0.0 }
            };
            self.free.iter().map(|&j| v[j] + by(v[j])).collect::<Vec<f64>>()
        };
        let mut meta = NlpMeta {
            name: original.name.clone(),
            x_lower: relax(&original.x_lower, -1.0),
            x_upper: relax(&original.x_upper, 1.0),
            x0: pick(&self.x),
            c_lower: original.c_lower.clone(),
            c_upper: original.c_upper.clone(),
            y0: original.y0.clone(),
            constraint_names: original.constraint_names.clone(),
            jacobian_products: original.jacobian_products,
            hessian_products: original.hessian_products,
            ..NlpMeta::default()
        };
        for (&i, w) in self.slacked.iter().zip(&self.weight) {
            let relaxed = |b: f64, sign: f64| {
                if b.abs() < INFINITE_BOUND { (b + sign * RELAXATION * b.abs().max(1.0)) / w } else { b }
            };
            meta.x_lower.push(relaxed(original.c_lower[i], -1.0));
            meta.x_upper.push(relaxed(original.c_upper[i], 1.0));
            meta.x0.push(0.0);
            (meta.c_lower[i], meta.c_upper[i]) = (0.0, 0.0);
        }
        meta.jacobian = original.jacobian.as_ref().map(|p| {
            let mut pattern = kept(p, &mut self.jacobian, |_, j| position[j] != usize::MAX);
            pattern.cols.iter_mut().for_each(|j| *j = position[*j]);
            pattern.rows.extend(&self.slacked);
            pattern.cols.extend(nf..nf + self.slacked.len());
            pattern
        });
        meta.hessian = original.hessian.as_ref().map(|p| {
            let mut pattern =
                kept(p, &mut self.hessian, |i, j| position[i] != usize::MAX && position[j] != usize::MAX);
            pattern.rows.iter_mut().for_each(|i| *i = position[*i]);
            pattern.cols.iter_mut().for_each(|j| *j = position[*j]);
            pattern
        });
        debug_assert_eq!(meta.m(), m);
        meta
    }

    /// Moves the start inside the bounds, first x, then s = c(x) / w (0 where c cannot be evaluated).
    fn start_inside(&mut self, push: f64) {
        let nf = self.free.len();
        let bounds = Bounds::new(&self.meta.x_lower, &self.meta.x_upper);
        let mut start = std::mem::take(&mut self.meta.x0);
        bounds.push_inside(&mut start, push, push);
        let mut c = vec![0.0; self.meta.m()];
        self.place(&start);
        if !self.slacked.is_empty() && matches!(catching(|| self.inner.cons(&self.x, &mut c)), Ok(Ok(()))) {
            for ((&i, w), s) in self.slacked.iter().zip(&self.weight).zip(&mut start[nf..]) {
                *s = if c[i].is_finite() { c[i] / w } else { 0.0 };
            }
        }
        bounds.push_inside(&mut start, push, push);
        self.meta.x0 = start;
    }

    /// The further starts of a problem without slacks, inside the bounds.
    fn other_starts_inside(&mut self, starts: &[Vec<f64>]) {
        let bounds = Bounds::new(&self.meta.x_lower, &self.meta.x_upper);
        for start in starts {
            let mut x: Vec<f64> = self.free.iter().map(|&j| start[j]).collect();
            bounds.push_inside(&mut x, PUSH, PUSH);
            self.meta.other_starts.push(x);
        }
    }

    /// The report of the original problem: x, z, and its own residuals at this point.
    pub fn original_report(&mut self, mut report: Report, tolerance: f64) -> Report {
        self.place(&report.x);
        let meta = self.inner.meta().clone();
        let (n, m) = (meta.n(), meta.m());
        let mut z = vec![0.0; n];
        scatter_free(&self.free, &report.z, &mut z);
        let (mut c, mut lagrangian, mut jt_y) = (vec![0.0; m], vec![0.0; n], vec![0.0; n]);
        let evaluated = catching(|| {
            self.inner.obj_cons(&self.x, &mut c).is_ok()
                && self.inner.grad(&self.x, &mut lagrangian).is_ok()
                && self.lagrangian_terms(&report.y, &mut jt_y)
        });
        if evaluated == Ok(true) {
            for (l, v) in lagrangian.iter_mut().zip(&jt_y) {
                *l += v;
            }
            for j in 0..n {
                if meta.x_lower[j] == meta.x_upper[j] {
                    z[j] = -lagrangian[j];
                }
                lagrangian[j] += z[j];
            }
            report.dual = norm_inf(&lagrangian);
            let outside = |v: f64, l: f64, u: f64| (l - v).max(v - u).max(0.0);
            let mut worst: Vec<(usize, f64)> =
                (0..m).map(|i| (i, outside(c[i], meta.c_lower[i], meta.c_upper[i]))).collect();
            let in_bounds = (0..n).map(|j| outside(self.x[j], meta.x_lower[j], meta.x_upper[j]));
            report.primal = worst.iter().map(|w| w.1).chain(in_bounds).fold(0.0, f64::max);
            worst.retain(|w| w.1 > tolerance);
            worst.sort_by(|a, b| b.1.total_cmp(&a.1));
            worst.truncate(10);
            report.worst_constraints = worst;
            let product = |multiplier: f64, v: f64, l: f64, u: f64| {
                let (gap, bound) = if multiplier > 0.0 { (u - v, u) } else { (v - l, l) };
                // Without a bound on its side a multiplier is an error by itself.
                let factor = if bound.abs() < INFINITE_BOUND { gap } else { 1.0 };
                if l == u { 0.0 } else { (multiplier * factor).abs() }
            };
            let bound_products = (0..n).map(|j| product(z[j], self.x[j], meta.x_lower[j], meta.x_upper[j]));
            let row_products = (0..m).map(|i| product(report.y[i], c[i], meta.c_lower[i], meta.c_upper[i]));
            report.complementarity = bound_products.chain(row_products).fold(0.0, f64::max);
        }
        if let Some(entry) = &mut report.wrong_entry {
            // Slacks are linear: both are variables.
            (entry.row, entry.col) = (self.free[entry.row], self.free[entry.col]);
        }
        report.x.clear();
        report.x.extend_from_slice(&self.x);
        report.z = z;
        report.message = super::message(&report, &meta);
        report
    }

    /// J'y of the original problem at the present x.
    fn lagrangian_terms(&mut self, y: &[f64], out: &mut [f64]) -> bool {
        let meta = self.inner.meta();
        if meta.m() == 0 {
            return true;
        }
        let Some(p) = meta.jacobian.clone() else { return self.inner.jac_t_prod(&self.x, y, out).is_ok() };
        if self.inner.jac_values(&self.x, &mut self.jacobian.raw).is_err() {
            return false;
        }
        for ((&i, &j), v) in p.rows.iter().zip(&p.cols).zip(&self.jacobian.raw) {
            out[j] += v * y[i];
        }
        true
    }

    fn place(&mut self, v: &[f64]) {
        for (&j, v) in self.free.iter().zip(v) {
            self.x[j] = *v;
        }
    }

    fn subtract_slacks(&self, v: &[f64], c: &mut [f64]) {
        for ((&i, w), s) in self.slacked.iter().zip(&self.weight).zip(&v[self.free.len()..]) {
            c[i] -= w * s;
        }
    }
}

/// The entries for which `keep(row, column)` holds.
fn kept(p: &Pattern, gather: &mut Gather, keep: impl Fn(usize, usize) -> bool) -> Pattern {
    gather.raw = vec![0.0; p.len()];
    gather.kept = (0..p.len()).filter(|&k| keep(p.rows[k], p.cols[k])).collect();
    Pattern {
        rows: gather.kept.iter().map(|&k| p.rows[k]).collect(),
        cols: gather.kept.iter().map(|&k| p.cols[k]).collect(),
    }
}

/// w_i = max(1, largest entry of row i / 100), at most 1e8.
fn slack_weights(inner: &mut dyn Nlp, meta: &NlpMeta, slacked: &[usize], x: &[f64]) -> Vec<f64> {
    let mut largest = vec![0.0f64; meta.m()];
    if let Some(p) = &meta.jacobian {
        let mut values = vec![0.0; p.len()];
        if matches!(catching(|| inner.jac_values(x, &mut values)), Ok(Ok(()))) {
            for ((&i, &j), v) in p.rows.iter().zip(&p.cols).zip(&values) {
                if v.is_finite() && meta.x_lower[j] < meta.x_upper[j] {
                    largest[i] = largest[i].max(v.abs());
                }
            }
        }
    }
    slacked.iter().map(|&i| (largest[i] / TARGET_GRADIENT).clamp(1.0, 1e8)).collect()
}

impl Nlp for Standard<'_> {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }

    fn obj(&mut self, v: &[f64]) -> Result<f64, EvalError> {
        self.place(v);
        self.inner.obj(&self.x)
    }

    fn grad(&mut self, v: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.place(v);
        self.inner.grad(&self.x, &mut self.other)?;
        gather_free(&self.free, &self.other, g);
        Ok(())
    }

    fn cons(&mut self, v: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        self.place(v);
        self.inner.cons(&self.x, c)?;
        self.subtract_slacks(v, c);
        Ok(())
    }

    fn obj_cons(&mut self, v: &[f64], c: &mut [f64]) -> Result<f64, EvalError> {
        self.place(v);
        let f = self.inner.obj_cons(&self.x, c)?;
        self.subtract_slacks(v, c);
        Ok(f)
    }

    fn jac_prod(&mut self, v: &[f64], d: &[f64], jd: &mut [f64]) -> Result<(), EvalError> {
        self.place(v);
        scatter_free(&self.free, d, &mut self.other);
        self.inner.jac_prod(&self.x, &self.other, jd)?;
        self.subtract_slacks(d, jd);
        Ok(())
    }

    fn jac_t_prod(&mut self, v: &[f64], w: &[f64], jtw: &mut [f64]) -> Result<(), EvalError> {
        self.place(v);
        self.inner.jac_t_prod(&self.x, w, &mut self.other)?;
        gather_free(&self.free, &self.other, jtw);
        for ((&i, weight), out) in self.slacked.iter().zip(&self.weight).zip(&mut jtw[self.free.len()..]) {
            *out = -weight * w[i];
        }
        Ok(())
    }

    fn hess_prod(
        &mut self,
        v: &[f64],
        sigma: f64,
        y: &[f64],
        d: &[f64],
        hd: &mut [f64],
    ) -> Result<(), EvalError> {
        self.place(v);
        scatter_free(&self.free, d, &mut self.other);
        self.inner.hess_prod(&self.x, sigma, y, &self.other, &mut self.product)?;
        gather_free(&self.free, &self.product, hd);
        Ok(())
    }

    fn jac_values(&mut self, v: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.place(v);
        self.inner.jac_values(&self.x, &mut self.jacobian.raw)?;
        self.jacobian_entries(values);
        Ok(())
    }

    fn grad_jac_values(&mut self, v: &[f64], g: &mut [f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.place(v);
        self.inner.grad_jac_values(&self.x, &mut self.other, &mut self.jacobian.raw)?;
        gather_free(&self.free, &self.other, g);
        self.jacobian_entries(values);
        Ok(())
    }

    fn hess_values(&mut self, v: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.place(v);
        self.inner.hess_values(&self.x, sigma, y, &mut self.hessian.raw)?;
        for (out, &k) in values.iter_mut().zip(&self.hessian.kept) {
            *out = self.hessian.raw[k];
        }
        Ok(())
    }
}

impl Standard<'_> {
    fn jacobian_entries(&self, values: &mut [f64]) {
        let (own, slacks) = values.split_at_mut(self.jacobian.kept.len());
        for (out, &k) in own.iter_mut().zip(&self.jacobian.kept) {
            *out = self.jacobian.raw[k];
        }
        for (out, w) in slacks.iter_mut().zip(&self.weight) {
            *out = -w;
        }
    }
}

/// The free entries of an original vector; entries of slacks are 0.
fn gather_free(free: &[usize], original: &[f64], out: &mut [f64]) {
    let (own, slacks) = out.split_at_mut(free.len());
    for (o, &j) in own.iter_mut().zip(free) {
        *o = original[j];
    }
    slacks.fill(0.0);
}

/// An original vector with the free entries of `v`, 0 at fixed variables.
fn scatter_free(free: &[usize], v: &[f64], original: &mut [f64]) {
    original.fill(0.0);
    for (&j, v) in free.iter().zip(v) {
        original[j] = *v;
    }
}

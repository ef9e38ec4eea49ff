//! The first point of the standard problem: strictly inside its bounds, slacks at the values of their rows.

use super::bounds::Bounds;
use super::evaluator::{Buffers, catching};
use super::form::Form;
use super::scale::TARGET_GRADIENT;
use crate::linalg::norm_inf;
use crate::nlp::{Nlp, NlpMeta};
use crate::opt::options::{Options, WarmStart};

/// The start keeps this distance from its bounds, absolute and relative to their distance.
const PUSH: f64 = 1e-2;
/// The same for a warm start of a method with a barrier, until its residual tells how good it is.
pub(in crate::opt) const WARM_PUSH: f64 = 1e-10;
const LARGEST_WEIGHT: f64 = 1e8;

/// Where an attempt starts.
#[derive(Debug, Clone, Default)]
pub(in crate::opt) struct FirstPoint {
    pub x: Vec<f64>,
    /// User's multipliers; scaled once the scales are known.
    pub y: Vec<f64>,
    /// z = zu - zl, original; empty unless the start is a warm one.
    pub z: Vec<f64>,
    /// Further start points of a problem without inequalities.
    pub others: Vec<Vec<f64>>,
}

/// A point to begin at, with its multipliers, in the user's variables.
#[derive(Debug, Clone, Copy)]
pub(in crate::opt) struct Given<'g> {
    pub x: &'g [f64],
    pub y: &'g [f64],
    pub z: &'g [f64],
}

impl<'g> From<&'g WarmStart> for Given<'g> {
    fn from(w: &'g WarmStart) -> Self {
        Self { x: &w.x, y: &w.y, z: &w.z }
    }
}

impl FirstPoint {
    /// The start of a problem, or the `warm` one. `anew`: evaluates J once to weigh the slacks. c is evaluated once to place them; where that
    /// fails they have weight 1 and value 0.
    pub fn set(
        &mut self,
        form: &mut Form,
        work: &mut Buffers,
        nlp: &mut dyn Nlp,
        options: &Options,
        (warm, anew): (Option<Given<'_>>, bool),
    ) {
        if anew && options.scaling && !form.slacked.is_empty() {
            work.x.copy_from_slice(&nlp.meta().x0);
            weigh_slacks(form, work, nlp);
            form.set_bounds(nlp.meta(), options.relax_bounds);
        }
        self.place(form, work, nlp, warm);
        form.start_size = norm_inf(&self.x);
        form.start.clone_from(&self.x);
        self.others.clear();
        if warm.is_none() && form.slacked.is_empty() {
            self.others = other_starts(form, &nlp.meta().other_starts);
        }
    }

    fn place(&mut self, form: &Form, work: &mut Buffers, nlp: &mut dyn Nlp, warm: Option<Given<'_>>) {
        let meta = nlp.meta();
        let (x0, y0) = warm.map_or((&*meta.x0, &*meta.y0), |w| (w.x, w.y));
        clamp(x0, meta, &mut work.x);
        self.x.resize(form.n, 0.0);
        form.gather(&work.x, &mut self.x);
        self.y.clear();
        self.y.extend_from_slice(y0);
        self.z.clear();
        if let Some(w) = warm {
            self.z.extend(form.free.iter().map(|&j| w.z[j]));
            self.z.extend(form.slacked.iter().zip(&form.weight).map(|(&i, weight)| weight * w.y[i]));
        }
        if form.bounds.count() > 0 {
            // A warm start stays where it is; a method that needs it moves it inside.
            self.move_inside(form, work, nlp, if warm.is_some() { 0.0 } else { PUSH });
        }
    }

    /// First x, then s = c(x) / w (0 where c cannot be evaluated).
    fn move_inside(&mut self, form: &Form, work: &mut Buffers, nlp: &mut dyn Nlp, push: f64) {
        let nf = form.free_count();
        form.bounds.push_inside(&mut self.x, push, push);
        for (&j, v) in form.free.iter().zip(&self.x) {
            work.x[j] = *v;
        }
        let c = &mut work.y;
        if !form.slacked.is_empty() && matches!(catching(|| nlp.cons(&work.x, c)), Ok(Ok(()))) {
            for ((&i, w), s) in form.slacked.iter().zip(&form.weight).zip(&mut self.x[nf..]) {
                *s = if c[i].is_finite() { c[i] / w } else { 0.0 };
            }
        }
        form.bounds.push_inside(&mut self.x, push, push);
    }
}

/// x <- start within the bounds of the variables.
fn clamp(start: &[f64], meta: &NlpMeta, x: &mut [f64]) {
    for (v, (s, (l, u))) in x.iter_mut().zip(start.iter().zip(meta.x_lower.iter().zip(&meta.x_upper))) {
        *v = s.clamp(*l, *u);
    }
}

/// w_i = max(1, largest entry of row i / 100), at most 1e8, at the clamped start.
fn weigh_slacks(form: &mut Form, work: &mut Buffers, nlp: &mut dyn Nlp) {
    let largest = &mut work.y;
    largest.fill(0.0);
    let values = &mut work.jacobian;
    if nlp.meta().jacobian.is_some() && matches!(catching(|| nlp.jac_values(&work.x, values)), Ok(Ok(()))) {
        let meta = nlp.meta();
        for ((i, j), v) in meta.jacobian.iter().flat_map(|p| p.entries()).zip(&*values) {
            if v.is_finite() && meta.x_lower[j] < meta.x_upper[j] {
                largest[i] = largest[i].max(v.abs());
            }
        }
    }
    for (w, &i) in form.weight.iter_mut().zip(&form.slacked) {
        *w = (largest[i] / TARGET_GRADIENT).clamp(1.0, LARGEST_WEIGHT);
    }
}

/// The further starts, inside the bounds.
fn other_starts(form: &Form, starts: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let bounds: &Bounds = &form.bounds;
    let inside = |start: &Vec<f64>| {
        let mut x: Vec<f64> = form.free.iter().map(|&j| start[j]).collect();
        bounds.push_inside(&mut x, PUSH, PUSH);
        x
    };
    starts.iter().map(inside).collect()
}

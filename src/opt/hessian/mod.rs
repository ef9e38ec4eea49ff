//! Second derivatives of the Lagrangian (or of the violation): the user's, differences of gradients, or learned from first ones.

mod check;
mod differences;
mod exact;
mod first_scale;
mod quasi_newton;

pub(super) use check::wrong_entry;
pub(super) use differences::Differences;
pub(super) use exact::Exact;
pub(super) use quasi_newton::{LimitedMemory, QuasiNewton};

use super::iterate::Point;
use super::options::HessianModel;
use super::problem::{BadEvaluation, Coordinates, Evaluator, Form};

/// Which function's Hessian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// hess f + sum y_i hess c_i.
    Lagrangian,
    /// sum c_i hess c_i: the second part of the Hessian of |c|^2 / 2.
    Violation,
}

impl Of {
    /// sigma and the multipliers at a point.
    fn arguments(self, at: &Point) -> (f64, &[f64]) {
        match self {
            Self::Lagrangian => (1.0, &at.y),
            Self::Violation => (0.0, &at.c),
        }
    }
}

/// A source of second derivatives, scaled, in standard variables.
pub(super) trait Model {
    /// Lower triangle: row and column of each value; `None`: known by products only.
    fn coordinates(&self) -> Option<&Coordinates>;
    /// Takes over the point: values and products are those of its Hessian from now on.
    fn observe(&mut self, p: &mut Evaluator<'_>, at: &Point, of: Of) -> Result<(), BadEvaluation>;
    /// In the order of `coordinates`.
    fn values(&self) -> &[f64];
    /// out <- H v at the observed point.
    fn apply(
        &mut self,
        p: &mut Evaluator<'_>,
        at: &Point,
        of: Of,
        v: &[f64],
        out: &mut [f64],
    ) -> Result<(), BadEvaluation>;
    /// The part of H that `values` leave out.
    fn low_rank(&mut self) -> Option<&mut QuasiNewton> {
        None
    }
    /// H is learned, not computed: its inertia says nothing of the problem.
    fn is_learned(&self) -> bool {
        false
    }
    /// Learns from a step and the change of the gradient of the Lagrangian along it.
    fn learn(&mut self, step: &[f64], change: &[f64]) {
        let _ = (step, change);
    }
    /// Learned, and not yet compared with the curvature of the problem near a solution.
    fn is_unseen(&self) -> bool {
        false
    }
    /// It has been compared now.
    fn set_seen(&mut self) {}
    /// Forgets what was learned: the next point is far from the last.
    fn forget(&mut self) {}
    /// The values are the user's own, which may be wrong.
    fn is_given(&self) -> bool {
        false
    }
    /// For the header, behind the name of the method.
    fn label(&self) -> &'static str;
}

/// As the options say; learned where the problem provides no second derivatives.
pub(super) fn build(kind: HessianModel, form: &Form) -> Box<dyn Model> {
    let provided = form.hessian.is_some() || form.hessian_products;
    match (kind, &form.hessian) {
        (HessianModel::LimitedMemory, _) => Box::new(LimitedMemory::new(form)),
        _ if !provided => Box::new(LimitedMemory::new(form)),
        (HessianModel::Differences, Some(places)) => Box::new(Differences::new(form.n, places)),
        _ => Box::new(Exact::new(form.hessian.clone())),
    }
}

/// out <- H v from the entries of a lower triangle.
fn multiply(places: &Coordinates, values: &[f64], v: &[f64], out: &mut [f64]) {
    out.fill(0.0);
    for ((&i, &j), value) in places.rows.iter().zip(&places.cols).zip(values) {
        if i == super::problem::DROPPED {
            continue;
        }
        let (i, j) = (i as usize, j as usize);
        out[i] += value * v[j];
        if i != j {
            out[j] += value * v[i];
        }
    }
}

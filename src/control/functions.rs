//! The functions of a phase in numbers: dynamics, running cost and path constraints with their derivatives, compiled once.

use super::problem::{Phase, Point, Problem};
use crate::Error;
use crate::model::{Expr, Model, Var, variable};
use crate::nlp::Nlp;

/// f, L and g of a phase as functions of (t, x, u, p).
#[derive(Debug)]
pub(super) struct PhaseFunctions {
    model: Model,
    /// States, controls, parameters.
    sizes: (usize, usize, usize),
    /// Arguments.
    z: Vec<f64>,
    /// f, L, g.
    values: Vec<f64>,
    jacobian: Vec<f64>,
}

impl PhaseFunctions {
    /// Records the functions of a phase.
    pub fn new(problem: &Problem, phase: &Phase) -> Result<Self, Error> {
        let sizes = (phase.states.len(), phase.controls.len(), problem.parameters.len());
        let mut model = Model::new(&problem.name);
        let mut some = |n: usize| -> Vec<Expr> {
            let vars: Vec<Var> = (0..n).map(|_| model.add(variable())).collect();
            vars.into_iter().map(Expr::from).collect()
        };
        let t = some(1).remove(0);
        let point = Point { t, x: some(sizes.0), u: some(sizes.1), p: some(sizes.2) };
        let mut rows = dynamics(problem, phase, &point)?;
        rows.push(phase.cost.as_ref().map_or(Expr::from(0.0), |cost| cost(&point)));
        rows.extend(phase.paths.iter().map(|path| (path.body)(&point)));
        let count = rows.len();
        for row in rows {
            // A row of a model is not a constant.
            model.subject_to(crate::model::Expression::between(row, f64::NEG_INFINITY, f64::INFINITY));
        }
        model.check()?;
        let entries = model.meta().jacobian.as_ref().map_or(0, crate::nlp::Pattern::len);
        Ok(Self {
            z: vec![0.0; 1 + sizes.0 + sizes.1 + sizes.2],
            values: vec![0.0; count],
            jacobian: vec![0.0; entries],
            model,
            sizes,
        })
    }

    fn set(&mut self, t: f64, x: &[f64], u: &[f64], p: &[f64]) {
        let (nx, nu, _) = self.sizes;
        self.z[0] = t;
        self.z[1..=nx].copy_from_slice(x);
        self.z[1 + nx..1 + nx + nu].copy_from_slice(u);
        self.z[1 + nx + nu..].copy_from_slice(p);
    }

    /// f, L and g, one after the other; NaN where they cannot be evaluated.
    pub fn values(&mut self, t: f64, x: &[f64], u: &[f64], p: &[f64]) -> &[f64] {
        self.set(t, x, u, p);
        if self.model.cons(&self.z, &mut self.values).is_err() {
            self.values.fill(f64::NAN);
        }
        &self.values
    }

    /// `out` <- (d(f, L) / dx)' w for w of length states + 1.
    pub fn pull_states(&mut self, at: (f64, &[f64], &[f64], &[f64]), w: &[f64], out: &mut [f64]) {
        let (t, x, u, p) = at;
        self.set(t, x, u, p);
        let nx = self.sizes.0;
        out.fill(0.0);
        if self.model.jac_values(&self.z, &mut self.jacobian).is_err() {
            out.fill(f64::NAN);
            return;
        }
        if let Some(pattern) = &self.model.meta().jacobian {
            for ((&i, &j), v) in pattern.rows.iter().zip(&pattern.cols).zip(&self.jacobian) {
                if i < w.len() && (1..=nx).contains(&j) {
                    out[j - 1] += v * w[i];
                }
            }
        }
    }
}

/// f at a point, as many values as states.
pub(super) fn dynamics(problem: &Problem, phase: &Phase, point: &Point) -> Result<Vec<Expr>, Error> {
    let f = phase.dynamics.as_ref().map_or(Vec::new(), |f| f(point));
    if f.len() != phase.states.len() {
        let what = format!(
            "the dynamics of the phase {} have {} values for {} states",
            phase.name,
            f.len(),
            phase.states.len()
        );
        return Err(problem.error(what));
    }
    Ok(f)
}

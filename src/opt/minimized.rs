//! Maximization: the iterations minimize -f, what the user sees is f.

use std::ops::ControlFlow;

use crate::error::Error;
use crate::nlp::{EvalError, Nlp, NlpMeta, Preconditioning};
use crate::observe::{Event, IterationRow, Observer};
use crate::report::Report;

/// The problem with -f for f. Its meta data stay those of the user.
pub(super) struct Minimized<'a>(pub &'a mut dyn Nlp);

fn negate(g: &mut [f64]) {
    g.iter_mut().for_each(|g| *g = -*g);
}

impl Nlp for Minimized<'_> {
    fn meta(&self) -> &NlpMeta {
        self.0.meta()
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        self.0.obj(x).map(|f| -f)
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.0.grad(x, g)?;
        negate(g);
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        self.0.cons(x, c)
    }
    fn jac_prod(&mut self, x: &[f64], v: &[f64], jv: &mut [f64]) -> Result<(), EvalError> {
        self.0.jac_prod(x, v, jv)
    }
    fn jac_t_prod(&mut self, x: &[f64], w: &[f64], jtw: &mut [f64]) -> Result<(), EvalError> {
        self.0.jac_t_prod(x, w, jtw)
    }
    fn hess_prod(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        v: &[f64],
        hv: &mut [f64],
    ) -> Result<(), EvalError> {
        self.0.hess_prod(x, -sigma, y, v, hv)
    }
    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.0.jac_values(x, values)
    }
    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.0.hess_values(x, -sigma, y, values)
    }
    fn precondition(&mut self, at: &Preconditioning<'_>, r: &[f64], z: &mut [f64]) -> Result<(), EvalError> {
        self.0.precondition(at, r, z)
    }
    fn obj_cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<f64, EvalError> {
        self.0.obj_cons(x, c).map(|f| -f)
    }
    fn grad_jac_values(&mut self, x: &[f64], g: &mut [f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.0.grad_jac_values(x, g, values)?;
        negate(g);
        Ok(())
    }
}

/// Tells the user's observer of f. The end is told outside, by whom the report is of the user's problem.
pub(super) struct Maximized<'a>(pub &'a mut dyn Observer);

impl Observer for Maximized<'_> {
    fn event(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Iteration(row) => {
                let row = IterationRow { objective: -row.objective, ..(*row).clone() };
                self.0.event(&Event::Iteration(&row))
            }
            Event::Start(_) | Event::Note { .. } | Event::Stop(_) => self.0.event(event),
        }
    }
}

/// A solve, in whose sense the objective is.
pub(super) type InSense<'f> =
    dyn FnMut(&mut dyn Nlp, &mut dyn Observer, &mut Report) -> Result<(), Error> + 'f;

/// Solves -f where f is to be maximized.
pub(super) fn in_sense(
    nlp: &mut dyn Nlp,
    observer: &mut dyn Observer,
    report: &mut Report,
    solve: &mut InSense<'_>,
) -> Result<(), Error> {
    if !nlp.meta().maximize {
        return solve(nlp, observer, report);
    }
    solve(&mut Minimized(nlp), &mut Maximized(observer), report)?;
    report.objective = -report.objective;
    Ok(())
}

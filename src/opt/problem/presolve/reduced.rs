//! The smaller problem, evaluated by the functions of the user's.

use super::Presolve;
use crate::nlp::{EvalError, Nlp, NlpMeta};

/// See the module. Vectors `x`, `g`, `v`, `y`, `c` and the entries have the user's lengths.
pub(in crate::opt) struct Reduced<'a> {
    nlp: &'a mut dyn Nlp,
    presolve: &'a Presolve,
    x: Vec<f64>,
    g: Vec<f64>,
    v: Vec<f64>,
    y: Vec<f64>,
    c: Vec<f64>,
    jacobian: Vec<f64>,
    hessian: Vec<f64>,
}

impl<'a> Reduced<'a> {
    pub fn new(nlp: &'a mut dyn Nlp, presolve: &'a Presolve) -> Self {
        let meta = nlp.meta();
        let (n, m) = (meta.n(), meta.m());
        let zeros = |k: usize| vec![0.0; k];
        let len = |p: &Option<crate::nlp::Pattern>| p.as_ref().map_or(0, |p| p.len());
        Self {
            x: zeros(n),
            g: zeros(n),
            v: zeros(n),
            y: zeros(m),
            c: zeros(m),
            jacobian: zeros(len(&meta.jacobian)),
            hessian: zeros(len(&meta.hessian)),
            nlp,
            presolve,
        }
    }

    fn place(&mut self, x: &[f64]) {
        self.presolve.user_x(x, &mut self.x);
    }

    /// v <- the user's direction of a direction.
    fn direct(&mut self, v: &[f64]) {
        for (out, image) in self.v.iter_mut().zip(&self.presolve.image) {
            *out = image.factor * v[image.of];
        }
    }

    fn set_multipliers(&mut self, y: &[f64]) {
        self.y.fill(0.0);
        for (&i, v) in self.presolve.rows.iter().zip(y) {
            self.y[i] = *v;
        }
    }

    /// The gradient by the variables that are left.
    fn gather(&self, out: &mut [f64]) {
        self.presolve.gather(&self.g, out);
    }

    fn gather_rows(&self, out: &mut [f64]) {
        for (o, &i) in out.iter_mut().zip(&self.presolve.rows) {
            *o = self.c[i];
        }
    }

    fn gather_entries(map: &[(usize, f64)], user: &[f64], out: &mut [f64]) {
        for (o, &(k, factor)) in out.iter_mut().zip(map) {
            *o = factor * user[k];
        }
    }
}

impl Nlp for Reduced<'_> {
    fn meta(&self) -> &NlpMeta {
        &self.presolve.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        self.place(x);
        self.nlp.obj(&self.x)
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.place(x);
        self.nlp.grad(&self.x, &mut self.g)?;
        self.gather(g);
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        self.place(x);
        self.nlp.cons(&self.x, &mut self.c)?;
        self.gather_rows(c);
        Ok(())
    }
    fn jac_prod(&mut self, x: &[f64], v: &[f64], jv: &mut [f64]) -> Result<(), EvalError> {
        self.place(x);
        self.direct(v);
        self.nlp.jac_prod(&self.x, &self.v, &mut self.c)?;
        self.gather_rows(jv);
        Ok(())
    }
    fn jac_t_prod(&mut self, x: &[f64], w: &[f64], jtw: &mut [f64]) -> Result<(), EvalError> {
        self.place(x);
        self.set_multipliers(w);
        self.nlp.jac_t_prod(&self.x, &self.y, &mut self.g)?;
        self.gather(jtw);
        Ok(())
    }
    fn hess_prod(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        v: &[f64],
        hv: &mut [f64],
    ) -> Result<(), EvalError> {
        self.place(x);
        self.direct(v);
        self.set_multipliers(y);
        self.nlp.hess_prod(&self.x, sigma, &self.y, &self.v, &mut self.g)?;
        self.gather(hv);
        Ok(())
    }
    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.place(x);
        self.nlp.jac_values(&self.x, &mut self.jacobian)?;
        Self::gather_entries(&self.presolve.jacobian, &self.jacobian, values);
        Ok(())
    }
    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.place(x);
        self.set_multipliers(y);
        self.nlp.hess_values(&self.x, sigma, &self.y, &mut self.hessian)?;
        Self::gather_entries(&self.presolve.hessian, &self.hessian, values);
        Ok(())
    }
    fn obj_cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<f64, EvalError> {
        self.place(x);
        let f = self.nlp.obj_cons(&self.x, &mut self.c)?;
        self.gather_rows(c);
        Ok(f)
    }
    fn grad_jac_values(&mut self, x: &[f64], g: &mut [f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.place(x);
        self.nlp.grad_jac_values(&self.x, &mut self.g, &mut self.jacobian)?;
        self.gather(g);
        Self::gather_entries(&self.presolve.jacobian, &self.jacobian, values);
        Ok(())
    }
}

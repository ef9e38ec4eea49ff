//! A fit with constraints as a nonlinear program.
//!
//! Variables: w (n), and where an L1 penalty or an L1 ball is asked for, t (n) with |w_j| <= t_j. Rows: the linear constraints, |w|^2, sum t, w - t <= 0,
//! -w - t <= 0. The Hessian of the data term is one dense block; that of the Lagrangian adds the L2 penalty and 2 y |w|^2 to its diagonal.

use super::constraints::{Constraints, Norm};
use super::data_term::DataTerm;
use super::hessian::{HessianMaker, HessianModel};
use crate::error::Error;
use crate::nlp::{EvalError, Nlp, NlpMeta, Pattern};

/// Data term, penalties and constraints behind [`Nlp`].
#[derive(Debug)]
pub struct ConstrainedFit {
    meta: NlpMeta,
    term: DataTerm,
    maker: HessianMaker,
    l2: Vec<f64>,
    l1: Vec<f64>,
    constraints: Constraints,
    /// Coefficients.
    n: usize,
    /// There are variables t.
    split: bool,
    hessian: Vec<f64>,
}

impl ConstrainedFit {
    /// From penalties of length n (zero: none), constraints, a start for the coefficients and the start multiplier of every constraint.
    ///
    /// # Errors
    /// Lengths or constraints that contradict each other.
    pub fn new(
        term: DataTerm,
        (l2, l1): (Vec<f64>, Vec<f64>),
        constraints: Constraints,
        (start, multiplier): (&[f64], f64),
        (model, sketch_rows, seed): (HessianModel, Option<usize>, u64),
    ) -> Result<Self, Error> {
        let n = term.rows().matrix.columns();
        constraints.validate(n)?;
        let valid = |v: &[f64]| v.len() == n && v.iter().all(|p| *p >= 0.0 && p.is_finite());
        if !valid(&l2) || !valid(&l1) || start.len() != n {
            let what =
                format!("needs {n} penalties of each kind that are at least 0, and a start of that length");
            return Err(Error::Problem { name: "fit".into(), what });
        }
        let split = constraints.l1_norm.is_some() || l1.iter().any(|l| *l > 0.0);
        let maker = HessianMaker::new(model, sketch_rows, seed, &term.rows().matrix);
        let meta = meta(&term, &constraints, split, (start, multiplier));
        meta.validate()?;
        let hessian = vec![0.0; n * n];
        Ok(Self { meta, term, maker, l2, l1, constraints, n, split, hessian })
    }
    /// The data term, with its number of passes.
    pub fn term(&self) -> &DataTerm {
        &self.term
    }
    /// Which Hessian.
    pub fn model(&self) -> HessianModel {
        self.maker.model()
    }
    fn evaluate(&mut self, x: &[f64], function: &'static str) -> Result<(), EvalError> {
        let failed = |e: Error| EvalError::Failed { function, reason: e.to_string() };
        self.term.evaluate(&x[..self.n]).map_err(failed)
    }
    fn has_norm(&self) -> bool {
        self.constraints.norm != Norm::Free
    }
}

fn meta(
    term: &DataTerm,
    constraints: &Constraints,
    split: bool,
    (start, multiplier): (&[f64], f64),
) -> NlpMeta {
    let n = start.len();
    let unknowns = if split { 2 * n } else { n };
    let mut meta = NlpMeta { name: term.family().name().into(), ..NlpMeta::default() };
    let bounds = |of: &[f64], free: f64| if of.is_empty() { vec![free; n] } else { of.to_vec() };
    meta.x_lower = bounds(&constraints.lower, f64::NEG_INFINITY);
    meta.x_upper = bounds(&constraints.upper, f64::INFINITY);
    meta.x0 = start.to_vec();
    if split {
        meta.x_lower.resize(unknowns, 0.0);
        meta.x_upper.resize(unknowns, f64::INFINITY);
        meta.x0.extend(start.iter().map(|w| w.abs() + 0.1));
    }
    let mut jacobian = Pattern::default();
    let mut push = |row: usize, column: usize| {
        jacobian.rows.push(row);
        jacobian.cols.push(column);
    };
    let mut row = 0;
    let mut side = |lower: f64, upper: f64, linear: bool| {
        meta.c_lower.push(lower);
        meta.c_upper.push(upper);
        meta.linear.push(linear);
    };
    for linear in &constraints.linear {
        linear.entries.iter().for_each(|(j, _)| push(row, *j));
        side(linear.lower, linear.upper, true);
        row += 1;
    }
    match constraints.norm {
        Norm::Free => {}
        Norm::Equal(r) => side(r * r, r * r, false),
        Norm::AtMost(r) => side(f64::NEG_INFINITY, r * r, false),
    }
    if constraints.norm != Norm::Free {
        (0..n).for_each(|j| push(row, j));
        row += 1;
    }
    if let Some(r) = constraints.l1_norm {
        (0..n).for_each(|j| push(row, n + j));
        side(f64::NEG_INFINITY, r, true);
        row += 1;
    }
    for j in 0..if split { 2 * n } else { 0 } {
        push(row + j, j % n);
        push(row + j, n + j % n);
        side(f64::NEG_INFINITY, 0.0, true);
    }
    meta.y0 = vec![multiplier; meta.c_lower.len()];
    meta.jacobian = Some(jacobian);
    meta.hessian = Some(Pattern::dense_lower(n));
    meta.jacobian_products = true;
    meta.hessian_products = true;
    meta.variable_names = (0..n).map(|j| format!("w[{j}]")).collect();
    if split {
        meta.variable_names.extend((0..n).map(|j| format!("abs w[{j}]")));
    }
    meta
}

impl Nlp for ConstrainedFit {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        self.evaluate(x, "objective")?;
        let ridge: f64 = x.iter().zip(&self.l2).map(|(w, l)| 0.5 * l * w * w).sum();
        let lasso: f64 = x[self.n..].iter().zip(&self.l1).map(|(t, l)| l * t).sum();
        Ok(self.term.value() + ridge + lasso)
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.evaluate(x, "gradient")?;
        let n = self.n;
        for j in 0..n {
            g[j] = self.term.gradient()[j] + self.l2[j] * x[j];
        }
        if self.split {
            g[n..].copy_from_slice(&self.l1);
        }
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        let n = self.n;
        let mut next = c.iter_mut();
        let mut put = |v: f64| {
            if let Some(c) = next.next() {
                *c = v;
            }
        };
        for row in &self.constraints.linear {
            put(row.entries.iter().map(|(j, v)| v * x[*j]).sum());
        }
        if self.has_norm() {
            put(x[..n].iter().map(|w| w * w).sum());
        }
        if self.constraints.l1_norm.is_some() {
            put(x[n..].iter().sum());
        }
        if self.split {
            (0..n).for_each(|j| put(x[j] - x[n + j]));
            (0..n).for_each(|j| put(-x[j] - x[n + j]));
        }
        Ok(())
    }
    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        let n = self.n;
        let mut next = values.iter_mut();
        let mut put = |v: f64| {
            if let Some(value) = next.next() {
                *value = v;
            }
        };
        self.constraints.linear.iter().flat_map(|row| &row.entries).for_each(|(_, v)| put(*v));
        if self.has_norm() {
            x[..n].iter().for_each(|w| put(2.0 * w));
        }
        if self.constraints.l1_norm.is_some() {
            (0..n).for_each(|_| put(1.0));
        }
        if self.split {
            for sign in [1.0, -1.0] {
                (0..n).for_each(|_| {
                    put(sign);
                    put(-1.0);
                });
            }
        }
        Ok(())
    }
    fn jac_prod(&mut self, x: &[f64], v: &[f64], jv: &mut [f64]) -> Result<(), EvalError> {
        let mut values = vec![0.0; self.meta.jacobian.as_ref().map_or(0, Pattern::len)];
        self.jac_values(x, &mut values)?;
        jv.fill(0.0);
        if let Some(p) = &self.meta.jacobian {
            (0..values.len()).for_each(|k| jv[p.rows[k]] += values[k] * v[p.cols[k]]);
        }
        Ok(())
    }
    fn jac_t_prod(&mut self, x: &[f64], w: &[f64], jtw: &mut [f64]) -> Result<(), EvalError> {
        let mut values = vec![0.0; self.meta.jacobian.as_ref().map_or(0, Pattern::len)];
        self.jac_values(x, &mut values)?;
        jtw.fill(0.0);
        if let Some(p) = &self.meta.jacobian {
            (0..values.len()).for_each(|k| jtw[p.cols[k]] += values[k] * w[p.rows[k]]);
        }
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
        self.evaluate(x, "Hessian product")?;
        let n = self.n;
        let failed = |e: Error| EvalError::Failed { function: "Hessian product", reason: e.to_string() };
        self.term.hessian_product(&v[..n], &mut hv[..n]).map_err(failed)?;
        let norm = if self.has_norm() { 2.0 * y[self.constraints.linear.len()] } else { 0.0 };
        for j in 0..n {
            hv[j] = sigma * (hv[j] + self.l2[j] * v[j]) + norm * v[j];
        }
        hv[n..].fill(0.0);
        Ok(())
    }
    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.evaluate(x, "Hessian")?;
        let failed = |e: Error| EvalError::Failed { function: "Hessian", reason: e.to_string() };
        self.maker.fill(&mut self.term, &mut self.hessian).map_err(failed)?;
        let n = self.n;
        let norm = if self.has_norm() { 2.0 * y[self.constraints.linear.len()] } else { 0.0 };
        let mut next = values.iter_mut();
        for i in 0..n {
            for (j, value) in (0..=i).zip(&mut next) {
                let diagonal = if i == j { sigma * self.l2[i] + norm } else { 0.0 };
                *value = sigma * self.hessian[j * n + i] + diagonal;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;

//! The problem: with the weighted residuals s_i = w_i r_i(x) of some rows of another problem,
//!
//! ```text
//!     min f(x) + sum phi(s_i)   subject to its other rows and its bounds
//!     gradient   grad f + sum phi'(s_i) w_i grad r_i
//!     Hessian    hess f + sum phi'(s_i) w_i hess r_i + sum phi''(s_i) w_i^2 grad r_i grad r_i'
//! ```
//!
//! Where the other problem has no second derivatives those of the residuals are left out (Gauss and Newton): good where the residuals are small or nearly linear.

use super::Loss;
use crate::diff::Active;
use crate::error::Error;
use crate::model::{Expr, Expression, Model};
use crate::nlp::{ClosureProblem, EvalError, Nlp, NlpMeta, Pattern, Problem};

/// A fit as a problem for [`opt::solve`](crate::opt::solve): rows of another problem are residuals; its objective (0 as a rule) stays, its other rows are constraints.
#[derive(Debug)]
pub struct LeastSquares<P> {
    pub(super) problem: P,
    pub(super) meta: NlpMeta,
    pub(super) loss: Loss,
    /// w_i: square roots of weights, or 1 / sigma.
    pub(super) weights: Vec<f64>,
    /// The deviations of the data are known.
    pub(super) known_deviations: bool,
    /// Observations, if they are known.
    pub(super) observed: Option<Vec<f64>>,
    /// Rows of the problem.
    pub(super) residual_rows: Vec<usize>,
    pub(super) constraint_rows: Vec<usize>,
    products: Products,
    work: Work,
}

/// Where the Jacobian of the problem has the rows of the residuals and of the constraints, and the Hessian their products.
#[derive(Debug, Default)]
pub(super) struct Products {
    /// (column, entry of the problem's Jacobian) of each residual.
    pub entries: Vec<Vec<(usize, usize)>>,
    /// Entries of the constraints, in the order of their pattern.
    constraints: Vec<usize>,
    /// Which of `places` a residual has.
    shape: Vec<usize>,
    /// Places of the pairs of a row in the Hessian: the places of the problem's own entries come first.
    places: Vec<Vec<u32>>,
}

#[derive(Debug, Default)]
struct Work {
    /// All rows, all entries of the Jacobian and of the Hessian of the problem, its multipliers.
    rows: Vec<f64>,
    jacobian: Vec<f64>,
    hessian: Vec<f64>,
    y: Vec<f64>,
    /// Where `rows` and `jacobian` are.
    at: Vec<f64>,
}

fn wrong(name: &str, what: String) -> Error {
    Error::Problem { name: name.to_string(), what }
}

impl LeastSquares<ClosureProblem<'_>> {
    /// The parameters b of y = f(t; b) from observations y at t, with a start for b.
    ///
    /// # Errors
    /// [`Error::Problem`]: lengths that do not fit, or numbers that are not finite.
    pub fn curve<'a>(
        t: &'a [f64],
        y: &'a [f64],
        start: &[f64],
        mut f: impl FnMut(f64, &[Active]) -> Active + Send + 'a,
    ) -> Result<LeastSquares<ClosureProblem<'a>>, Error> {
        if t.len() != y.len() || t.iter().chain(y).any(|v| !v.is_finite()) {
            let what =
                format!("{} places and {} observations, expected as many, all finite", t.len(), y.len());
            return Err(wrong("curve", what));
        }
        let problem = Problem::from_dual(start.len(), t.len(), move |b, r| {
            for ((r, t), y) in r.iter_mut().zip(t).zip(y) {
                *r = f(*t, b) - *y;
            }
            Active::from(0.0)
        });
        let names = (0..start.len()).map(|j| format!("b[{j}]"));
        let problem = problem.name("curve").start(start).variable_names(names).build()?;
        Ok(LeastSquares::of(problem, 0..t.len())?.observed(y))
    }
}

impl LeastSquares<Model> {
    /// Residuals as expressions of a model, whose bounds, constraints and objective (0 as a rule) stay as they are. Handles of its variables and rows are good for
    /// reports of the fit.
    ///
    /// # Errors
    /// [`Error::Problem`]: an expression of another model.
    pub fn model(mut model: Model, residuals: impl IntoIterator<Item = Expr>) -> Result<Self, Error> {
        let first = model.meta().m();
        for (k, r) in residuals.into_iter().enumerate() {
            model.subject_to(r.eq(0.0).named(format!("residual {k}")));
        }
        model.check()?;
        let end = model.meta().m();
        Self::of(model, first..end)
    }
}

impl<P: Nlp> LeastSquares<P> {
    /// Rows of a problem as residuals: r_i = c_i(x) - b_i for rows c_i(x) = b_i.
    ///
    /// # Errors
    /// [`Error::Problem`]: a row that is no equality, a problem without the entries of its Jacobian, or one to be maximized.
    pub fn of(problem: P, residuals: impl IntoIterator<Item = usize>) -> Result<Self, Error> {
        let mut fit = Self {
            meta: NlpMeta::default(),
            loss: Loss::Squares,
            weights: Vec::new(),
            known_deviations: false,
            observed: None,
            residual_rows: residuals.into_iter().collect(),
            constraint_rows: Vec::new(),
            products: Products::default(),
            work: Work::default(),
            problem,
        };
        let inner = fit.problem.meta();
        let (m, fail) = (inner.m(), |what: String| Err(wrong(&inner.name, what)));
        let mut is_residual = vec![false; m];
        for &i in &fit.residual_rows {
            if i >= m || std::mem::replace(&mut is_residual[i], true) {
                return fail(format!("residual row {i}, expected different ones of {m} rows"));
            }
            if !inner.is_equality(i) {
                return fail(format!("residual {} is not an equality", inner.constraint_name(i)));
            }
        }
        if inner.maximize {
            return fail("the objective of a fit is minimized".into());
        }
        if inner.jacobian.is_none() && !fit.residual_rows.is_empty() {
            return fail("a fit needs the entries of the Jacobian, products are not enough".into());
        }
        fit.weights = vec![1.0; fit.residual_rows.len()];
        fit.constraint_rows = (0..m).filter(|i| !is_residual[*i]).collect();
        fit.prepare();
        Ok(fit)
    }

    /// The loss of all residuals; squares unless said otherwise.
    ///
    /// # Errors
    /// [`Error::Problem`]: a scale that is not positive and finite.
    pub fn loss(mut self, loss: Loss) -> Result<Self, Error> {
        if let Some(c) = loss.scale().filter(|c| !(*c > 0.0 && c.is_finite())) {
            return Err(wrong(
                &self.meta.name,
                format!("the loss has scale {c}, expected a positive number"),
            ));
        }
        self.loss = loss;
        self.refresh();
        Ok(self)
    }
    /// Weights of the squares, one a residual: how much they count relative to each other. The variance of a residual of weight 1 is estimated.
    ///
    /// # Errors
    /// [`Error::Problem`]: a weight that is negative or not finite, or another number of them.
    pub fn weights(self, weights: &[f64]) -> Result<Self, Error> {
        self.weighted(weights, |w| w.sqrt(), |w| w >= 0.0 && w.is_finite(), false)
    }
    /// Standard deviations of the observations, one a residual, known: residuals are divided by them, and the covariance of the parameters is not scaled by what is
    /// left of the residuals.
    ///
    /// # Errors
    /// [`Error::Problem`]: a deviation that is not positive and finite, or another number of them.
    pub fn sigma(self, deviations: &[f64]) -> Result<Self, Error> {
        self.weighted(deviations, f64::recip, |s| s > 0.0 && s.is_finite(), true)
    }
    fn weighted(
        mut self,
        given: &[f64],
        weight: fn(f64) -> f64,
        good: fn(f64) -> bool,
        known: bool,
    ) -> Result<Self, Error> {
        let m = self.residual_rows.len();
        if given.len() != m || given.iter().any(|w| !good(*w)) {
            let what =
                format!("{} weights or deviations, expected {m} that are positive and finite", given.len());
            return Err(wrong(&self.meta.name, what));
        }
        self.weights = given.iter().map(|w| weight(*w)).collect();
        self.known_deviations = known;
        Ok(self)
    }
    /// The observations of which the residuals are what a model leaves: for R^2.
    #[must_use]
    pub fn observed(mut self, y: &[f64]) -> Self {
        self.observed = Some(y.to_vec());
        self
    }
    /// Lower and upper bounds of the parameters, n numbers each.
    #[must_use]
    pub fn bounds(mut self, lower: &[f64], upper: &[f64]) -> Self {
        self.meta.x_lower = lower.to_vec();
        self.meta.x_upper = upper.to_vec();
        self
    }
    /// Changes where a solve begins.
    pub fn set_start(&mut self, x0: &[f64]) {
        self.meta.x0 = x0.to_vec();
    }
    /// The problem.
    pub fn problem(&self) -> &P {
        &self.problem
    }
    /// Changes the problem: parameters, starts, bounds, sides; not what rows and variables it has.
    pub fn change(&mut self, f: impl FnOnce(&mut P)) {
        let data = |meta: &NlpMeta| [meta.x0.clone(), meta.x_lower.clone(), meta.x_upper.clone()];
        let before = data(self.problem.meta());
        f(&mut self.problem);
        let after = data(self.problem.meta());
        let mine = [&mut self.meta.x0, &mut self.meta.x_lower, &mut self.meta.x_upper];
        for ((mine, before), after) in mine.into_iter().zip(before).zip(after) {
            // What was not changed stays as it was set here.
            if before != after {
                *mine = after;
            }
        }
        self.work.at.clear();
        self.refresh();
    }

    /// Sides and what is known, from the problem.
    fn refresh(&mut self) {
        let inner = self.problem.meta();
        let of = |all: &[f64]| self.constraint_rows.iter().map(|&i| all[i]).collect();
        self.meta.c_lower = of(&inner.c_lower);
        self.meta.c_upper = of(&inner.c_upper);
        let linear = |i: &usize| inner.linear.get(*i).copied().unwrap_or(false);
        self.meta.quadratic_objective =
            self.loss == Loss::Squares && inner.quadratic_objective && self.residual_rows.iter().all(linear);
    }

    fn prepare(&mut self) {
        let inner = self.problem.meta();
        let (n, m) = (inner.n(), inner.m());
        let none = Pattern::default();
        let jacobian = inner.jacobian.as_ref().unwrap_or(&none);
        let mut rows = vec![Vec::new(); m];
        jacobian.entries().enumerate().for_each(|(k, (i, j))| rows[i].push((j, k)));
        let mut p = Products::default();
        let mut pattern = Pattern::default();
        for (row, &i) in self.constraint_rows.iter().enumerate() {
            for &(j, k) in &rows[i] {
                pattern.rows.push(row);
                pattern.cols.push(j);
                p.constraints.push(k);
            }
        }
        p.entries = self.residual_rows.iter().map(|&i| std::mem::take(&mut rows[i])).collect();
        let hessian = p.with_hessian(inner.hessian.as_ref().unwrap_or(&none));
        let names = |all: &[String]| match all {
            [] => vec![],
            all => self.constraint_rows.iter().map(|&i| all[i].clone()).collect(),
        };
        self.work = Work {
            rows: vec![0.0; m],
            jacobian: vec![0.0; jacobian.len()],
            hessian: vec![0.0; inner.hessian.as_ref().map_or(0, Pattern::len)],
            y: vec![0.0; m],
            at: Vec::with_capacity(n),
        };
        self.meta = NlpMeta {
            name: inner.name.clone(),
            x_lower: inner.x_lower.clone(),
            x_upper: inner.x_upper.clone(),
            x0: inner.x0.clone(),
            other_starts: inner.other_starts.clone(),
            y0: self.constraint_rows.iter().map(|&i| inner.y0[i]).collect(),
            linear: match inner.linear.as_slice() {
                [] => vec![],
                all => self.constraint_rows.iter().map(|&i| all[i]).collect(),
            },
            variable_names: inner.variable_names.clone(),
            constraint_names: names(&inner.constraint_names),
            jacobian: (!self.constraint_rows.is_empty()).then_some(pattern),
            hessian: Some(hessian),
            ..NlpMeta::default()
        };
        self.products = p;
        self.refresh();
    }

    /// Rows and Jacobian of the problem at x.
    fn at(&mut self, x: &[f64], anew: bool) -> Result<(), EvalError> {
        if anew || self.work.at != x {
            self.work.at.clear();
            self.problem.cons(x, &mut self.work.rows)?;
            self.problem.jac_values(x, &mut self.work.jacobian)?;
            self.work.at.extend_from_slice(x);
        }
        Ok(())
    }

    /// s_i = w_i r_i of residual k, from the rows last evaluated.
    fn weighted_residual(&self, k: usize) -> f64 {
        let i = self.residual_rows[k];
        self.weights[k] * (self.work.rows[i] - self.problem.meta().c_lower[i])
    }

    /// Weighted residuals and their gradients (column, value), for each.
    #[allow(clippy::type_complexity)]
    pub(super) fn linearized(&mut self, x: &[f64]) -> Result<(Vec<f64>, Vec<Vec<(usize, f64)>>), EvalError> {
        self.at(x, true)?;
        let gradient = |(entries, w): (&Vec<(usize, usize)>, &f64)| {
            entries.iter().map(|&(j, k)| (j, w * self.work.jacobian[k])).collect()
        };
        let gradients = self.products.entries.iter().zip(&self.weights).map(gradient).collect();
        Ok(((0..self.weights.len()).map(|k| self.weighted_residual(k)).collect(), gradients))
    }
}

impl Products {
    /// The pattern of the Hessian: that of the problem, and the pairs of each residual.
    fn with_hessian(&mut self, inner: &Pattern) -> Pattern {
        let columns = |k: usize| self.entries[k].iter().map(|e| e.0).collect::<Vec<_>>();
        // Neighbours with the same columns, as in most fits, share their places.
        let mut shapes: Vec<Vec<usize>> = Vec::new();
        let mut shape = Vec::with_capacity(self.entries.len());
        for k in 0..self.entries.len() {
            let mine = columns(k);
            if shapes.last() != Some(&mine) {
                shapes.push(mine);
            }
            shape.push(shapes.len() - 1);
        }
        let pairs = |columns: &Vec<usize>| {
            let mut found = Vec::with_capacity(columns.len() * (columns.len() + 1) / 2);
            for (a, &i) in columns.iter().enumerate() {
                found.extend(columns[..=a].iter().map(|&j| (i.min(j), i.max(j))));
            }
            found
        };
        let mut new: Vec<(usize, usize)> = shapes.iter().flat_map(pairs).collect();
        new.sort_unstable();
        new.dedup();
        let mut known: Vec<((usize, usize), usize)> =
            inner.entries().enumerate().map(|(k, (i, j))| ((j, i), k)).collect();
        known.sort_unstable();
        let mut pattern = inner.clone();
        // Places of `new`, among those of the problem or behind them.
        let place: Vec<u32> = new
            .iter()
            .map(|&(j, i)| {
                let at = known.partition_point(|e| e.0 < (j, i));
                if let Some((_, k)) = known.get(at).filter(|e| e.0 == (j, i)) {
                    return *k as u32;
                }
                pattern.rows.push(i);
                pattern.cols.push(j);
                pattern.len() as u32 - 1
            })
            .collect();
        let find = |pair: (usize, usize)| place[new.partition_point(|p| *p < pair)];
        self.places = shapes.iter().map(|s| pairs(s).into_iter().map(find).collect()).collect();
        self.shape = shape;
        pattern
    }

    /// Adds factor grad r_k grad r_k'.
    fn add_product(&self, k: usize, factor: f64, jacobian: &[f64], hessian: &mut [f64]) {
        let mut places = self.places[self.shape[k]].iter();
        for (a, &(i, p)) in self.entries[k].iter().enumerate() {
            let left = factor * jacobian[p];
            for ((b, &(j, q)), place) in self.entries[k][..=a].iter().enumerate().zip(&mut places) {
                // Two entries in one place: both halves of their product fall on the diagonal.
                let twice = if i == j && a != b { 2.0 } else { 1.0 };
                hessian[*place as usize] += twice * left * jacobian[q];
            }
        }
    }
}

impl<P: Nlp> Nlp for LeastSquares<P> {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        self.work.at.clear();
        let f = self.problem.obj_cons(x, &mut self.work.rows)?;
        Ok(f + (0..self.weights.len()).map(|k| self.loss.terms(self.weighted_residual(k))[0]).sum::<f64>())
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.at(x, true)?;
        self.problem.grad(x, g)?;
        for (k, entries) in self.products.entries.iter().enumerate() {
            let factor = self.weights[k] * self.loss.terms(self.weighted_residual(k))[1];
            entries.iter().for_each(|&(j, p)| g[j] += factor * self.work.jacobian[p]);
        }
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        self.work.at.clear();
        self.problem.cons(x, &mut self.work.rows)?;
        c.iter_mut().zip(&self.constraint_rows).for_each(|(c, &i)| *c = self.work.rows[i]);
        Ok(())
    }
    fn obj_cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<f64, EvalError> {
        let f = self.obj(x)?;
        c.iter_mut().zip(&self.constraint_rows).for_each(|(c, &i)| *c = self.work.rows[i]);
        Ok(f)
    }
    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.at(x, false)?;
        values.iter_mut().zip(&self.products.constraints).for_each(|(v, &k)| *v = self.work.jacobian[k]);
        Ok(())
    }
    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.at(x, false)?;
        values.fill(0.0);
        let own = self.work.hessian.len();
        if self.problem.meta().hessian.is_some() {
            self.constraint_rows.iter().zip(y).for_each(|(&i, y)| self.work.y[i] = *y);
            for k in 0..self.weights.len() {
                let slope = self.loss.terms(self.weighted_residual(k))[1];
                self.work.y[self.residual_rows[k]] = sigma * self.weights[k] * slope;
            }
            self.problem.hess_values(x, sigma, &self.work.y, &mut self.work.hessian)?;
            values[..own].copy_from_slice(&self.work.hessian);
        }
        for (k, w) in self.weights.iter().enumerate() {
            let curvature = self.loss.terms(self.weighted_residual(k))[2];
            self.products.add_product(k, sigma * w * w * curvature, &self.work.jacobian, values);
        }
        Ok(())
    }
}

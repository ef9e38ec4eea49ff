//! Problems made of closures.
//!
//! ```
//! use costate::nlp::Problem;
//!
//! // min x0 + x1  subject to  x0^2 + x1^2 = 2
//! let problem = Problem::new("circle", 2)
//!     .start(&[1.0, 0.5])
//!     .objective(|x| x[0] + x[1])
//!     .gradient(|_, g| g.fill(1.0))
//!     .equality(1, |x, c| c[0] = x[0] * x[0] + x[1] * x[1] - 2.0)
//!     .jacobian(|x, j| j.copy_from_slice(&[2.0 * x[0], 2.0 * x[1]]))
//!     .hessian(|_, _, y, h| {
//!         h[0] = 2.0 * y[0];
//!         h[3] = 2.0 * y[0];
//!     })
//!     .build()?;
//! # Ok::<(), costate::Error>(())
//! ```
//!
//! Nothing is approximated unless asked for: a missing derivative is an error of [`Problem::build`], and the
//! `*_by_differences` methods say how accurate central differences are.

use crate::error::Error;
use crate::linalg::{axpy, dot};
use crate::nlp::{EvalError, Nlp, NlpMeta, Pattern};

type Scalar<'a> = Box<dyn FnMut(&[f64]) -> f64 + 'a>;
type Vector<'a> = Box<dyn FnMut(&[f64], &mut [f64]) + 'a>;
type Product<'a> = Box<dyn FnMut(&[f64], &[f64], &mut [f64]) + 'a>;
type Lagrangian<'a> = Box<dyn FnMut(&[f64], f64, &[f64], &mut [f64]) + 'a>;
type LagrangianProduct<'a> = Box<dyn FnMut(&[f64], f64, &[f64], &[f64], &mut [f64]) + 'a>;

/// A derivative: given, or by central differences because the user asked for them.
enum Source<T> {
    Given(T),
    Differences,
}

/// Builds a problem from closures, which may borrow. Every output slice arrives filled with zeros.
pub struct Problem<'a> {
    meta: NlpMeta,
    objective: Option<Scalar<'a>>,
    gradient: Option<Source<Vector<'a>>>,
    constraints: Option<Vector<'a>>,
    jacobian: Option<Source<Vector<'a>>>,
    jacobian_pattern: Option<Pattern>,
    jacobian_products: Option<(Product<'a>, Product<'a>)>,
    hessian: Option<Source<Lagrangian<'a>>>,
    hessian_pattern: Option<Pattern>,
    hessian_product: Option<Source<LagrangianProduct<'a>>>,
    hessian_learned: bool,
}

impl<'a> Problem<'a> {
    /// A problem with n free variables, start 0 and no constraints.
    pub fn new(name: &str, n: usize) -> Self {
        Self {
            meta: NlpMeta::equality(name, n, 0),
            objective: None,
            gradient: None,
            constraints: None,
            jacobian: None,
            jacobian_pattern: None,
            jacobian_products: None,
            hessian: None,
            hessian_pattern: None,
            hessian_product: None,
            hessian_learned: false,
        }
    }

    /// Start point, length n.
    #[must_use]
    pub fn start(mut self, x0: &[f64]) -> Self {
        self.meta.x0 = x0.to_vec();
        self
    }
    /// A further start point ([`NlpMeta::other_starts`]).
    #[must_use]
    pub fn other_start(mut self, x: &[f64]) -> Self {
        self.meta.other_starts.push(x.to_vec());
        self
    }
    /// Start multipliers, length m; after the constraints.
    #[must_use]
    pub fn start_multipliers(mut self, y0: &[f64]) -> Self {
        self.meta.y0 = y0.to_vec();
        self
    }
    /// Bounds of the variables, length n each; infinite where there is none.
    #[must_use]
    pub fn bounds(mut self, lower: &[f64], upper: &[f64]) -> Self {
        self.meta.x_lower = lower.to_vec();
        self.meta.x_upper = upper.to_vec();
        self
    }
    /// Names of the variables, length n.
    #[must_use]
    pub fn variable_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.meta.variable_names = names.into_iter().map(Into::into).collect();
        self
    }
    /// Names of the constraints, length m.
    #[must_use]
    pub fn constraint_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.meta.constraint_names = names.into_iter().map(Into::into).collect();
        self
    }

    /// f(x). Without it the objective is 0: a system of equations.
    #[must_use]
    pub fn objective(mut self, f: impl FnMut(&[f64]) -> f64 + 'a) -> Self {
        self.objective = Some(Box::new(f));
        self
    }
    /// g <- grad f(x).
    #[must_use]
    pub fn gradient(mut self, g: impl FnMut(&[f64], &mut [f64]) + 'a) -> Self {
        self.gradient = Some(Source::Given(Box::new(g)));
        self
    }
    /// Gradient by central differences: 2n evaluations of f, relative error about 1e-10 where f is smooth and of size 1.
    #[must_use]
    pub fn gradient_by_differences(mut self) -> Self {
        self.gradient = Some(Source::Differences);
        self
    }

    /// m equality constraints: c <- c(x), c(x) = 0.
    #[must_use]
    pub fn equality(self, m: usize, c: impl FnMut(&[f64], &mut [f64]) + 'a) -> Self {
        self.constraints(&vec![0.0; m], &vec![0.0; m], c)
    }
    /// Constraints lower <= c(x) <= upper.
    #[must_use]
    pub fn constraints(
        mut self,
        lower: &[f64],
        upper: &[f64],
        c: impl FnMut(&[f64], &mut [f64]) + 'a,
    ) -> Self {
        self.meta.c_lower = lower.to_vec();
        self.meta.c_upper = upper.to_vec();
        self.meta.y0 = vec![0.0; lower.len()];
        self.constraints = Some(Box::new(c));
        self
    }

    /// Dense Jacobian, m x n, row by row: entry (i, j) is `values[i * n + j]`.
    #[must_use]
    pub fn jacobian(mut self, values: impl FnMut(&[f64], &mut [f64]) + 'a) -> Self {
        self.jacobian = Some(Source::Given(Box::new(values)));
        self.jacobian_pattern = None;
        self
    }
    /// Sparse Jacobian: values in the order of the pattern, duplicates add.
    #[must_use]
    pub fn sparse_jacobian(mut self, pattern: Pattern, values: impl FnMut(&[f64], &mut [f64]) + 'a) -> Self {
        self.jacobian = Some(Source::Given(Box::new(values)));
        self.jacobian_pattern = Some(pattern);
        self
    }
    /// Dense Jacobian by central differences: 2n evaluations of c, relative error about 1e-10 as for the gradient.
    #[must_use]
    pub fn jacobian_by_differences(mut self) -> Self {
        self.jacobian = Some(Source::Differences);
        self.jacobian_pattern = None;
        self
    }
    /// Products without a matrix: jv <- J(x) v from (x, v), jtw <- J(x)' w from (x, w).
    #[must_use]
    pub fn jacobian_products(
        mut self,
        jv: impl FnMut(&[f64], &[f64], &mut [f64]) + 'a,
        jtw: impl FnMut(&[f64], &[f64], &mut [f64]) + 'a,
    ) -> Self {
        self.jacobian_products = Some((Box::new(jv), Box::new(jtw)));
        self
    }

    /// Dense Hessian of the Lagrangian sigma f + y'c from (x, sigma, y): n x n, entry (i, j) is `h[i * n + j]`; only the lower
    /// triangle (i >= j) is read.
    #[must_use]
    pub fn hessian(mut self, h: impl FnMut(&[f64], f64, &[f64], &mut [f64]) + 'a) -> Self {
        self.hessian = Some(Source::Given(Box::new(h)));
        self.hessian_pattern = None;
        self
    }
    /// Sparse Hessian of the Lagrangian: values in the order of the pattern (lower triangle), duplicates add.
    #[must_use]
    pub fn sparse_hessian(
        mut self,
        pattern: Pattern,
        values: impl FnMut(&[f64], f64, &[f64], &mut [f64]) + 'a,
    ) -> Self {
        self.hessian = Some(Source::Given(Box::new(values)));
        self.hessian_pattern = Some(pattern);
        self
    }
    /// Dense Hessian by central differences. Of gradient and Jacobian where both are given: 2n evaluations of them, relative
    /// error about 1e-10. Otherwise of f and c: about 2n^2 evaluations, relative error about 1e-7.
    #[must_use]
    pub fn hessian_by_differences(mut self) -> Self {
        self.hessian = Some(Source::Differences);
        self.hessian_pattern = None;
        self
    }
    /// Products with the Hessian of the Lagrangian: hv from (x, sigma, y, v).
    #[must_use]
    pub fn hessian_product(mut self, hv: impl FnMut(&[f64], f64, &[f64], &[f64], &mut [f64]) + 'a) -> Self {
        self.hessian_product = Some(Source::Given(Box::new(hv)));
        self
    }
    /// Products with the Hessian by central differences of the gradient of the Lagrangian: two of them a product, relative error
    /// about 1e-10. Gradient and Jacobian must be given.
    #[must_use]
    pub fn hessian_product_by_differences(mut self) -> Self {
        self.hessian_product = Some(Source::Differences);
        self
    }

    /// No second derivatives: the solver approximates them from first ones (limited-memory BFGS). More iterations than with
    /// exact ones, for any number of variables.
    #[must_use]
    pub fn limited_memory_hessian(mut self) -> Self {
        self.hessian_learned = true;
        self
    }

    /// Checks that everything is there and fits together.
    ///
    /// # Errors
    /// [`Error::Problem`] names what is missing or contradictory.
    pub fn build(mut self) -> Result<ClosureProblem<'a>, Error> {
        let (n, m) = (self.meta.n(), self.meta.m());
        if let Some(what) = self.missing() {
            return Err(Error::Problem { name: self.meta.name, what: what.into() });
        }
        if self.jacobian.is_some() && m > 0 {
            self.meta.jacobian = Some(self.jacobian_pattern.take().unwrap_or_else(|| Pattern::dense(m, n)));
        }
        let dense = self.hessian_pattern.is_none();
        if self.hessian.is_some() {
            self.meta.hessian = Some(self.hessian_pattern.take().unwrap_or_else(|| Pattern::dense_lower(n)));
        }
        self.meta.jacobian_products = self.jacobian_products.is_some() && m > 0;
        self.meta.hessian_products = self.hessian_product.is_some();
        self.meta.validate()?;
        let dense_hessian = dense && matches!(self.hessian, Some(Source::Given(_)));
        Ok(ClosureProblem {
            square: if dense_hessian { vec![0.0; n * n] } else { Vec::new() },
            jacobian_values: vec![0.0; self.meta.jacobian.as_ref().map_or(0, Pattern::len)],
            point: vec![0.0; n],
            plus: vec![0.0; n.max(m)],
            minus: vec![0.0; n.max(m)],
            transposed: vec![0.0; n],
            dense_hessian,
            parts: self,
        })
    }

    /// What is missing, as a sentence.
    fn missing(&self) -> Option<&'static str> {
        let no_jacobian = self.jacobian.is_none() && self.jacobian_products.is_none();
        let by_differences = matches!(self.gradient, Some(Source::Differences))
            || matches!(self.jacobian, Some(Source::Differences));
        if self.objective.is_none() && self.constraints.is_none() {
            return Some("neither an objective nor constraints are given");
        }
        if self.objective.is_some() && self.gradient.is_none() {
            return Some("no gradient: give .gradient(..) or ask for .gradient_by_differences()");
        }
        if self.constraints.is_some() && no_jacobian {
            return Some(
                "no Jacobian: give .jacobian(..), .sparse_jacobian(..) or .jacobian_products(..), or ask for \
                 .jacobian_by_differences()",
            );
        }
        if self.hessian.is_none() && self.hessian_product.is_none() && !self.hessian_learned {
            return Some(
                "no Hessian: give .hessian(..), .sparse_hessian(..) or .hessian_product(..), or ask for \
                 .hessian_by_differences() or .limited_memory_hessian()",
            );
        }
        if matches!(self.hessian_product, Some(Source::Differences)) && by_differences {
            return Some(
                "Hessian products by differences need a gradient and a Jacobian that are not differences themselves",
            );
        }
        None
    }
}

/// A problem made of closures, ready to be solved.
pub struct ClosureProblem<'a> {
    parts: Problem<'a>,
    /// The closure writes n x n, the pattern is the lower triangle.
    dense_hessian: bool,
    square: Vec<f64>,
    jacobian_values: Vec<f64>,
    point: Vec<f64>,
    plus: Vec<f64>,
    minus: Vec<f64>,
    transposed: Vec<f64>,
}

/// Step of a central difference that is exact in floating point: (x + h, x - h, 2h) with h ~ scale max(1, |x|).
fn step(x: f64, scale: f64) -> (f64, f64, f64) {
    let h = scale * x.abs().max(1.0);
    let (plus, minus) = (x + h, x - h);
    (plus, minus, plus - minus)
}

/// Balances truncation h^2 and rounding eps / h of a first difference.
fn first_order() -> f64 {
    f64::EPSILON.cbrt()
}

/// Balances truncation h^2 and rounding eps / h^2 of a second difference.
fn second_order() -> f64 {
    f64::EPSILON.sqrt().sqrt()
}

impl ClosureProblem<'_> {
    /// J'w added to out, from values or products.
    fn add_jacobian_transposed(&mut self, x: &[f64], w: &[f64], out: &mut [f64]) -> Result<(), EvalError> {
        if let Some((_, jtw)) = &mut self.parts.jacobian_products {
            self.transposed.fill(0.0);
            jtw(x, w, &mut self.transposed);
            axpy(1.0, &self.transposed, out);
            return Ok(());
        }
        let mut values = std::mem::take(&mut self.jacobian_values);
        let result = self.jac_values(x, &mut values);
        if let Some(p) = &self.parts.meta.jacobian {
            for ((&i, &j), v) in p.rows.iter().zip(&p.cols).zip(&values) {
                out[j] += v * w[i];
            }
        }
        self.jacobian_values = values;
        result
    }

    /// out <- sigma grad f + J'y.
    fn lagrangian_gradient(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        out: &mut [f64],
    ) -> Result<(), EvalError> {
        self.grad(x, out)?;
        out.iter_mut().for_each(|v| *v *= sigma);
        if y.is_empty() { Ok(()) } else { self.add_jacobian_transposed(x, y, out) }
    }

    /// sigma f + y'c.
    fn lagrangian(&mut self, x: &[f64], sigma: f64, y: &[f64]) -> Result<f64, EvalError> {
        let mut c = std::mem::take(&mut self.plus);
        let result = self.cons(x, &mut c[..y.len()]);
        let yc = dot(y, &c[..y.len()]);
        self.plus = c;
        result?;
        Ok(sigma * self.obj(x)? + yc)
    }

    /// Lower triangle by rows from differences of gradients: h_ij is the mean of both ways to compute it.
    fn hessian_of_gradients(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        values: &mut [f64],
    ) -> Result<(), EvalError> {
        let n = x.len();
        values.fill(0.0);
        let mut point = x.to_vec();
        let (mut plus, mut minus) = (vec![0.0; n], vec![0.0; n]);
        for j in 0..n {
            let (right, left, width) = step(x[j], first_order());
            point[j] = right;
            self.lagrangian_gradient(&point, sigma, y, &mut plus)?;
            point[j] = left;
            self.lagrangian_gradient(&point, sigma, y, &mut minus)?;
            point[j] = x[j];
            for i in 0..n {
                let (row, col) = (i.max(j), i.min(j));
                let share = if i == j { 1.0 } else { 0.5 };
                values[row * (row + 1) / 2 + col] += share * (plus[i] - minus[i]) / width;
            }
        }
        Ok(())
    }

    /// Lower triangle by rows from second differences of the Lagrangian.
    fn hessian_of_values(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        values: &mut [f64],
    ) -> Result<(), EvalError> {
        let mut point = x.to_vec();
        let center = self.lagrangian(x, sigma, y)?;
        for i in 0..x.len() {
            let (up, down, high) = step(x[i], second_order());
            for j in 0..i {
                let (right, left, wide) = step(x[j], second_order());
                let mut sum = 0.0;
                for (xi, xj, sign) in
                    [(up, right, 1.0), (up, left, -1.0), (down, right, -1.0), (down, left, 1.0)]
                {
                    point[i] = xi;
                    point[j] = xj;
                    sum += sign * self.lagrangian(&point, sigma, y)?;
                }
                point[j] = x[j];
                values[i * (i + 1) / 2 + j] = sum / (high * wide);
            }
            point[i] = up;
            let above = self.lagrangian(&point, sigma, y)?;
            point[i] = down;
            let below = self.lagrangian(&point, sigma, y)?;
            point[i] = x[i];
            let h = 0.5 * high;
            values[i * (i + 1) / 2 + i] = (above - 2.0 * center + below) / (h * h);
        }
        Ok(())
    }

    /// hv <- (grad L(x + t v) - grad L(x - t v)) / 2t.
    fn product_of_gradients(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        v: &[f64],
        hv: &mut [f64],
    ) -> Result<(), EvalError> {
        let size = v.iter().zip(x).fold(0.0_f64, |s, (v, x)| s.max(v.abs() / x.abs().max(1.0)));
        if size == 0.0 {
            hv.fill(0.0);
            return Ok(());
        }
        let t = first_order() / size;
        let (mut point, mut minus) = (std::mem::take(&mut self.point), std::mem::take(&mut self.minus));
        let shift = |point: &mut [f64], t: f64| {
            point.iter_mut().zip(x).zip(v).for_each(|((p, x), v)| *p = x + t * v);
        };
        shift(&mut point, t);
        let mut result = self.lagrangian_gradient(&point, sigma, y, hv);
        if result.is_ok() {
            shift(&mut point, -t);
            result = self.lagrangian_gradient(&point, sigma, y, &mut minus[..x.len()]);
        }
        hv.iter_mut().zip(&minus).for_each(|(a, b)| *a = (*a - b) / (2.0 * t));
        self.point = point;
        self.minus = minus;
        result
    }
}

impl Nlp for ClosureProblem<'_> {
    fn meta(&self) -> &NlpMeta {
        &self.parts.meta
    }

    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(self.parts.objective.as_mut().map_or(0.0, |f| f(x)))
    }

    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        g.fill(0.0);
        match (&mut self.parts.gradient, &mut self.parts.objective) {
            (Some(Source::Given(gradient)), _) => gradient(x, g),
            (Some(Source::Differences), Some(f)) => {
                self.point.copy_from_slice(x);
                for j in 0..x.len() {
                    let (right, left, width) = step(x[j], first_order());
                    self.point[j] = right;
                    let plus = f(&self.point);
                    self.point[j] = left;
                    g[j] = (plus - f(&self.point)) / width;
                    self.point[j] = x[j];
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        c.fill(0.0);
        if let Some(constraints) = &mut self.parts.constraints {
            constraints(x, c);
        }
        Ok(())
    }

    fn jac_prod(&mut self, x: &[f64], v: &[f64], jv: &mut [f64]) -> Result<(), EvalError> {
        let (product, _) = self
            .parts
            .jacobian_products
            .as_mut()
            .ok_or(EvalError::NotProvided { function: "Jacobian product" })?;
        jv.fill(0.0);
        product(x, v, jv);
        Ok(())
    }

    fn jac_t_prod(&mut self, x: &[f64], w: &[f64], jtw: &mut [f64]) -> Result<(), EvalError> {
        let (_, product) = self
            .parts
            .jacobian_products
            .as_mut()
            .ok_or(EvalError::NotProvided { function: "transposed Jacobian product" })?;
        jtw.fill(0.0);
        product(x, w, jtw);
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
        match &mut self.parts.hessian_product {
            Some(Source::Given(product)) => {
                hv.fill(0.0);
                product(x, sigma, y, v, hv);
                Ok(())
            }
            Some(Source::Differences) => self.product_of_gradients(x, sigma, y, v, hv),
            None => Err(EvalError::NotProvided { function: "Hessian product" }),
        }
    }

    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        values.fill(0.0);
        match (&mut self.parts.jacobian, &mut self.parts.constraints) {
            (Some(Source::Given(jacobian)), _) => jacobian(x, values),
            (Some(Source::Differences), Some(c)) => {
                let (n, m) = (x.len(), self.parts.meta.m());
                self.point.copy_from_slice(x);
                for j in 0..n {
                    let (right, left, width) = step(x[j], first_order());
                    self.point[j] = right;
                    self.plus.fill(0.0);
                    c(&self.point, &mut self.plus[..m]);
                    self.point[j] = left;
                    self.minus.fill(0.0);
                    c(&self.point, &mut self.minus[..m]);
                    self.point[j] = x[j];
                    for i in 0..m {
                        values[i * n + j] = (self.plus[i] - self.minus[i]) / width;
                    }
                }
            }
            _ => return Err(EvalError::NotProvided { function: "Jacobian" }),
        }
        Ok(())
    }

    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        match &mut self.parts.hessian {
            Some(Source::Given(hessian)) if self.dense_hessian => {
                let n = x.len();
                self.square.fill(0.0);
                hessian(x, sigma, y, &mut self.square);
                for i in 0..n {
                    let first = i * (i + 1) / 2;
                    values[first..=first + i].copy_from_slice(&self.square[i * n..=i * n + i]);
                }
                Ok(())
            }
            Some(Source::Given(hessian)) => {
                values.fill(0.0);
                hessian(x, sigma, y, values);
                Ok(())
            }
            Some(Source::Differences) => {
                let differences = matches!(self.parts.gradient, Some(Source::Differences))
                    || (matches!(self.parts.jacobian, Some(Source::Differences))
                        && self.parts.jacobian_products.is_none());
                if differences {
                    self.hessian_of_values(x, sigma, y, values)
                } else {
                    self.hessian_of_gradients(x, sigma, y, values)
                }
            }
            None => Err(EvalError::NotProvided { function: "Hessian" }),
        }
    }
}

#[cfg(test)]
#[path = "closure_tests.rs"]
mod tests;

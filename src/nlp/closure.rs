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
//! `*_by_differences` methods say how accurate central differences are. They are taken inside the bounds, and their steps shrink where
//! the functions change over shorter lengths.

use super::closure_problem::{ClosureProblem, Places};
use super::steps::Steps;
use crate::error::Error;
use crate::nlp::coloring::Columns;
use crate::nlp::{NlpMeta, Pattern};

pub(super) type Scalar<'a> = Box<dyn FnMut(&[f64]) -> f64 + 'a>;
pub(super) type Vector<'a> = Box<dyn FnMut(&[f64], &mut [f64]) + 'a>;
pub(super) type Product<'a> = Box<dyn FnMut(&[f64], &[f64], &mut [f64]) + 'a>;
pub(super) type Lagrangian<'a> = Box<dyn FnMut(&[f64], f64, &[f64], &mut [f64]) + 'a>;
pub(super) type LagrangianProduct<'a> = Box<dyn FnMut(&[f64], f64, &[f64], &[f64], &mut [f64]) + 'a>;

/// A derivative: given, or by central differences because the user asked for them.
pub(super) enum Source<T> {
    Given(T),
    Differences,
}

/// Builds a problem from closures, which may borrow. Every output slice arrives filled with zeros.
pub struct Problem<'a> {
    pub(super) meta: NlpMeta,
    pub(super) objective: Option<Scalar<'a>>,
    pub(super) gradient: Option<Source<Vector<'a>>>,
    pub(super) constraints: Option<Vector<'a>>,
    pub(super) jacobian: Option<Source<Vector<'a>>>,
    jacobian_pattern: Option<Pattern>,
    pub(super) jacobian_products: Option<(Product<'a>, Product<'a>)>,
    pub(super) hessian: Option<Source<Lagrangian<'a>>>,
    hessian_pattern: Option<Pattern>,
    pub(super) hessian_product: Option<Source<LagrangianProduct<'a>>>,
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
    /// Gradient by central differences: 2n + 1 evaluations of f, relative error about 1e-10 where f is smooth and of size 1.
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

    /// Which constraints are linear, length m: presolve may remove such rows, and where all are, methods for linear and quadratic programs
    /// may be used.
    #[must_use]
    pub fn linear_constraints(mut self, linear: &[bool]) -> Self {
        self.meta.linear = linear.to_vec();
        self
    }
    /// The objective is linear or quadratic.
    #[must_use]
    pub fn quadratic_objective(mut self) -> Self {
        self.meta.quadratic_objective = true;
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
    /// Dense Jacobian by central differences: 2n + 1 evaluations of c, relative error about 1e-10 as for the gradient.
    #[must_use]
    pub fn jacobian_by_differences(mut self) -> Self {
        self.jacobian = Some(Source::Differences);
        self.jacobian_pattern = None;
        self
    }
    /// Sparse Jacobian by central differences: variables that share no row are moved together, 2 evaluations of c a group and 1 more.
    #[must_use]
    pub fn sparse_jacobian_by_differences(mut self, pattern: Pattern) -> Self {
        self.jacobian = Some(Source::Differences);
        self.jacobian_pattern = Some(pattern);
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
    /// Dense Hessian by central differences. Of gradient and Jacobian where both are given: 2n + 1 evaluations of them, relative
    /// error about 1e-10. Otherwise of f and c: 2n^2 + 1 evaluations, relative error about 1e-7.
    #[must_use]
    pub fn hessian_by_differences(mut self) -> Self {
        self.hessian = Some(Source::Differences);
        self.hessian_pattern = None;
        self
    }
    /// Sparse Hessian by central differences (pattern of the lower triangle). Of gradient and Jacobian where both are given: variables
    /// that share no row are moved together, 2 evaluations a group and 1 more. Otherwise of f and c: 4 evaluations for every entry off
    /// the diagonal, 2 for every variable, and 1.
    #[must_use]
    pub fn sparse_hessian_by_differences(mut self, pattern: Pattern) -> Self {
        self.hessian = Some(Source::Differences);
        self.hessian_pattern = Some(pattern);
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
        let by_differences = matches!(self.jacobian, Some(Source::Differences));
        let jacobian_entries = self.meta.jacobian.as_ref().filter(|_| by_differences);
        let jacobian_columns = jacobian_entries.map(|p| Columns::new(n, p.entries()));
        let by_differences = matches!(self.hessian, Some(Source::Differences));
        let hessian_entries = self.meta.hessian.as_ref().filter(|_| by_differences);
        let hessian_columns = hessian_entries.map(|p| Columns::symmetric(n, p.entries()));
        let steps = || Steps::new(&self.meta.x_lower, &self.meta.x_upper);
        Ok(ClosureProblem {
            square: if dense_hessian { vec![0.0; n * n] } else { Vec::new() },
            jacobian_values: vec![0.0; self.meta.jacobian.as_ref().map_or(0, Pattern::len)],
            point: vec![0.0; n],
            values: vec![0.0; m],
            minus: vec![0.0; n],
            transposed: vec![0.0; n],
            gradient_columns: Columns::new(n, (0..n).map(|j| (0, j))),
            gradient_steps: steps(),
            jacobian_places: jacobian_entries.map(Places::new).unwrap_or_default(),
            jacobian_columns: jacobian_columns.unwrap_or_default(),
            jacobian_steps: steps(),
            hessian_places: hessian_entries.map(Places::new).unwrap_or_default(),
            hessian_columns: hessian_columns.unwrap_or_default(),
            hessian_steps: steps(),
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

#[cfg(test)]
#[path = "closure_tests.rs"]
mod tests;

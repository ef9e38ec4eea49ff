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
//! [`Problem::from_dual`] takes functions written once, without derivatives, and has exact ones.
//!
//! Nothing is approximated unless asked for: a missing derivative is an error of [`Problem::build`], and the
//! `*_by_differences` methods say how accurate central differences are. They are taken inside the bounds, and their steps shrink where
//! the functions change over shorter lengths.

use super::closure_problem::{ClosureProblem, Closures, Functions, Places};
use super::from_dual::{DualFunction, DualProblem};
use super::steps::Steps;
use crate::diff::Active;
use crate::diff::detect::{EVALUATIONS, detect};
use crate::error::Error;
use crate::nlp::coloring::Columns;
use crate::nlp::{NlpMeta, Pattern};

pub(super) type Scalar<'a> = Box<dyn FnMut(&[f64]) -> f64 + Send + 'a>;
pub(super) type Vector<'a> = Box<dyn FnMut(&[f64], &mut [f64]) + Send + 'a>;
pub(super) type Product<'a> = Box<dyn FnMut(&[f64], &[f64], &mut [f64]) + Send + 'a>;
pub(super) type Lagrangian<'a> = Box<dyn FnMut(&[f64], f64, &[f64], &mut [f64]) + Send + 'a>;
pub(super) type LagrangianProduct<'a> = Box<dyn FnMut(&[f64], f64, &[f64], &[f64], &mut [f64]) + Send + 'a>;

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
    dual: Option<DualFunction<'a>>,
    detect: Detect,
    linear: bool,
}

/// Patterns that are looked for when the problem is built.
#[derive(Debug, Clone, Copy, Default)]
struct Detect {
    jacobian: bool,
    hessian: bool,
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
            dual: None,
            detect: Detect::default(),
            linear: false,
        }
    }

    /// n variables, and f for everything: it writes the m numbers c(x) and returns the objective (0 for a system of equations), written once for [`Active`]
    /// numbers. Gradient, Jacobian and Hessian are exact. The m rows are equalities c(x) = 0 unless [`constraint_bounds`](Self::constraint_bounds) says otherwise.
    ///
    /// ```
    /// use costate::nlp::Problem;
    /// use costate::{observe::Silent, opt};
    /// // Hock and Schittkowski, problem 71.
    /// let mut p = Problem::from_dual(4, 2, |x, c| {
    ///     c[0] = x[0] * x[1] * x[2] * x[3];
    ///     c[1] = x.iter().map(|x| x.powi(2)).sum();
    ///     x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2]
    /// })
    /// .start(&[1.0, 5.0, 5.0, 1.0])
    /// .bounds(&[1.0; 4], &[5.0; 4])
    /// .constraint_bounds(&[25.0, 40.0], &[f64::INFINITY, 40.0])
    /// .build()?;
    /// let report = opt::solve(&mut p, &opt::Options::default(), &mut Silent)?;
    /// assert!(report.solved() && (report.objective - 17.0140173).abs() < 1e-6);
    /// # Ok::<(), costate::Error>(())
    /// ```
    ///
    /// Up to 32 variables the patterns are full. For more they are found when the problem is built, from the operations at the start point and the
    /// [other starts](Self::other_start), or given ([`jacobian_pattern`](Self::jacobian_pattern), [`hessian_pattern`](Self::hessian_pattern)); columns that share no row are
    /// then differentiated together. What is found does not depend on values (x - x and 0 x count; `max`, `min` and `select` count with both sides), but of an
    /// `if` there is the branch that was taken. Every evaluation is compared with the patterns: where another branch needs an entry that they lack, it fails with a
    /// sentence that names the entry. Rows and objectives that are seen to be linear or quadratic, without a look at a value, are marked so.
    pub fn from_dual(
        n: usize,
        m: usize,
        f: impl FnMut(&[Active], &mut [Active]) -> Active + Send + 'a,
    ) -> Self {
        let mut problem = Self::new("problem", n);
        problem.meta = NlpMeta::equality("problem", n, m);
        problem.dual = Some(Box::new(f));
        problem
    }

    /// Name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.meta.name = name.to_string();
        self
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
    pub fn objective(mut self, f: impl FnMut(&[f64]) -> f64 + Send + 'a) -> Self {
        self.objective = Some(Box::new(f));
        self
    }
    /// g <- grad f(x).
    #[must_use]
    pub fn gradient(mut self, g: impl FnMut(&[f64], &mut [f64]) + Send + 'a) -> Self {
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
    pub fn equality(self, m: usize, c: impl FnMut(&[f64], &mut [f64]) + Send + 'a) -> Self {
        self.constraints(&vec![0.0; m], &vec![0.0; m], c)
    }
    /// Constraints lower <= c(x) <= upper.
    #[must_use]
    pub fn constraints(
        mut self,
        lower: &[f64],
        upper: &[f64],
        c: impl FnMut(&[f64], &mut [f64]) + Send + 'a,
    ) -> Self {
        self.meta.c_lower = lower.to_vec();
        self.meta.c_upper = upper.to_vec();
        self.meta.y0 = vec![0.0; lower.len()];
        self.constraints = Some(Box::new(c));
        self
    }

    /// Other sides of the constraints that are there: lower <= c(x) <= upper.
    #[must_use]
    pub fn constraint_bounds(mut self, lower: &[f64], upper: &[f64]) -> Self {
        self.meta.c_lower = lower.to_vec();
        self.meta.c_upper = upper.to_vec();
        self
    }
    /// The objective is to be maximized ([`NlpMeta::maximize`]).
    #[must_use]
    pub fn maximize(mut self) -> Self {
        self.meta.maximize = true;
        self
    }
    /// Objective and constraints are linear: there are no second derivatives to be given.
    #[must_use]
    pub fn linear(mut self) -> Self {
        self.linear = true;
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
    pub fn jacobian(mut self, values: impl FnMut(&[f64], &mut [f64]) + Send + 'a) -> Self {
        self.jacobian = Some(Source::Given(Box::new(values)));
        self.detect.jacobian = false;
        self.jacobian_pattern = None;
        self
    }
    /// Sparse Jacobian: values in the order of the pattern, duplicates add.
    #[must_use]
    pub fn sparse_jacobian(
        mut self,
        pattern: Pattern,
        values: impl FnMut(&[f64], &mut [f64]) + Send + 'a,
    ) -> Self {
        self.jacobian = Some(Source::Given(Box::new(values)));
        self.detect.jacobian = false;
        self.jacobian_pattern = Some(pattern);
        self
    }
    /// Dense Jacobian by central differences: 2n + 1 evaluations of c, relative error about 1e-10 as for the gradient.
    #[must_use]
    pub fn jacobian_by_differences(mut self) -> Self {
        self.jacobian = Some(Source::Differences);
        self.jacobian_pattern = None;
        self.detect.jacobian = false;
        self
    }
    /// Sparse Jacobian by central differences: variables that share no row are moved together, 2 evaluations of c a group and 1 more.
    #[must_use]
    pub fn sparse_jacobian_by_differences(mut self, pattern: Pattern) -> Self {
        self.jacobian = Some(Source::Differences);
        self.jacobian_pattern = Some(pattern);
        self.detect.jacobian = false;
        self
    }
    /// As [`sparse_jacobian_by_differences`](Self::sparse_jacobian_by_differences), with a pattern that is found when the problem is built, by evaluations of c at the start
    /// point with NaN in some variables ([`detect`](fn@crate::diff::detect::detect)): exact where NaN is passed on, which min, max and branches do not do.
    #[must_use]
    pub fn detected_jacobian_by_differences(mut self) -> Self {
        self = self.jacobian_by_differences();
        self.detect.jacobian = true;
        self
    }
    /// Pattern of the Jacobian for [`from_dual`](Self::from_dual).
    #[must_use]
    pub fn jacobian_pattern(mut self, pattern: Pattern) -> Self {
        self.jacobian_pattern = Some(pattern);
        self
    }
    /// Pattern of the Hessian of the Lagrangian, lower triangle, for [`from_dual`](Self::from_dual).
    #[must_use]
    pub fn hessian_pattern(mut self, pattern: Pattern) -> Self {
        self.hessian_pattern = Some(pattern);
        self
    }
    /// Products without a matrix: jv <- J(x) v from (x, v), jtw <- J(x)' w from (x, w).
    #[must_use]
    pub fn jacobian_products(
        mut self,
        jv: impl FnMut(&[f64], &[f64], &mut [f64]) + Send + 'a,
        jtw: impl FnMut(&[f64], &[f64], &mut [f64]) + Send + 'a,
    ) -> Self {
        self.jacobian_products = Some((Box::new(jv), Box::new(jtw)));
        self
    }

    /// Dense Hessian of the Lagrangian sigma f + y'c from (x, sigma, y): n x n, entry (i, j) is `h[i * n + j]`; only the lower
    /// triangle (i >= j) is read.
    #[must_use]
    pub fn hessian(mut self, h: impl FnMut(&[f64], f64, &[f64], &mut [f64]) + Send + 'a) -> Self {
        self.hessian = Some(Source::Given(Box::new(h)));
        self.detect.hessian = false;
        self.hessian_pattern = None;
        self
    }
    /// Sparse Hessian of the Lagrangian: values in the order of the pattern (lower triangle), duplicates add.
    #[must_use]
    pub fn sparse_hessian(
        mut self,
        pattern: Pattern,
        values: impl FnMut(&[f64], f64, &[f64], &mut [f64]) + Send + 'a,
    ) -> Self {
        self.hessian = Some(Source::Given(Box::new(values)));
        self.detect.hessian = false;
        self.hessian_pattern = Some(pattern);
        self
    }
    /// Dense Hessian by central differences. Of gradient and Jacobian where both are given: 2n + 1 evaluations of them, relative
    /// error about 1e-10. Otherwise of f and c: 2n^2 + 1 evaluations, relative error about 1e-7.
    #[must_use]
    pub fn hessian_by_differences(mut self) -> Self {
        self.hessian = Some(Source::Differences);
        self.hessian_pattern = None;
        self.detect.hessian = false;
        self
    }
    /// Sparse Hessian by central differences (pattern of the lower triangle). Of gradient and Jacobian where both are given: variables
    /// that share no row are moved together, 2 evaluations a group and 1 more. Otherwise of f and c: 4 evaluations for every entry off
    /// the diagonal, 2 for every variable, and 1.
    #[must_use]
    pub fn sparse_hessian_by_differences(mut self, pattern: Pattern) -> Self {
        self.hessian = Some(Source::Differences);
        self.hessian_pattern = Some(pattern);
        self.detect.hessian = false;
        self
    }
    /// As [`sparse_hessian_by_differences`](Self::sparse_hessian_by_differences) of gradient and Jacobian, which must be given, with a pattern that is found when
    /// the problem is built, by evaluations of them at the start point with NaN in some variables, as for the
    /// [Jacobian](Self::detected_jacobian_by_differences).
    #[must_use]
    pub fn detected_hessian_by_differences(mut self) -> Self {
        self = self.hessian_by_differences();
        self.detect.hessian = true;
        self
    }
    /// Products with the Hessian of the Lagrangian: hv from (x, sigma, y, v).
    #[must_use]
    pub fn hessian_product(
        mut self,
        hv: impl FnMut(&[f64], f64, &[f64], &[f64], &mut [f64]) + Send + 'a,
    ) -> Self {
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
        if self.linear {
            self.meta.linear = vec![true; self.meta.m()];
            self.meta.quadratic_objective = true;
            self.hessian_pattern = Some(Pattern::default());
            if self.dual.is_none() {
                self.hessian = Some(Source::Given(Box::new(|_, _, _, _| {})));
            }
        }
        if let Some(what) = self.missing() {
            return Err(Error::Problem { name: self.meta.name, what: what.into() });
        }
        let functions: Box<dyn Functions + 'a> = match self.dual.take() {
            Some(function) => {
                // Lengths and bounds; the patterns may still be missing.
                NlpMeta { jacobian_products: true, ..self.meta.clone() }.validate()?;
                let (jacobian, hessian) = (self.jacobian_pattern.take(), self.hessian_pattern.take());
                let meta = NlpMeta { jacobian, hessian, ..self.meta };
                Box::new(DualProblem::new(meta, function, !self.hessian_learned)?)
            }
            None => Box::new(self.build_closures()?),
        };
        Ok(ClosureProblem { functions })
    }

    fn build_closures(mut self) -> Result<Closures<'a>, Error> {
        let (n, m) = (self.meta.n(), self.meta.m());
        self.meta.jacobian_products = self.jacobian_products.is_some() && m > 0;
        self.meta.hessian_products = self.hessian_product.is_some();
        if self.detect.jacobian && m > 0 {
            NlpMeta { jacobian_products: true, ..self.meta.clone() }.validate()?;
            self.jacobian_pattern = self.detected_jacobian()?;
        }
        if self.jacobian.is_some() && m > 0 {
            self.meta.jacobian = Some(self.jacobian_pattern.take().unwrap_or_else(|| Pattern::dense(m, n)));
        }
        let dense = self.hessian_pattern.is_none();
        if self.hessian.is_some() && !self.detect.hessian {
            self.meta.hessian = Some(self.hessian_pattern.take().unwrap_or_else(|| Pattern::dense_lower(n)));
        }
        self.meta.validate()?;
        let dense_hessian = dense && matches!(self.hessian, Some(Source::Given(_)));
        let by_differences = matches!(self.jacobian, Some(Source::Differences));
        let jacobian_entries = self.meta.jacobian.as_ref().filter(|_| by_differences);
        let jacobian_columns = jacobian_entries.map(|p| Columns::new(n, p.entries()));
        let steps = || Steps::new(&self.meta.x_lower, &self.meta.x_upper);
        let mut closures = Closures {
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
            hessian_places: Places::default(),
            hessian_columns: Columns::default(),
            hessian_steps: steps(),
            dense_hessian,
            parts: self,
        };
        if closures.parts.detect.hessian {
            closures.parts.meta.hessian = Some(closures.detected_hessian()?);
        }
        let by_differences = matches!(closures.parts.hessian, Some(Source::Differences));
        if let Some(pattern) = closures.parts.meta.hessian.as_ref().filter(|_| by_differences) {
            closures.hessian_places = Places::new(pattern);
            closures.hessian_columns = Columns::symmetric(n, pattern.entries());
        }
        Ok(closures)
    }

    /// The pattern of the Jacobian, by NaN.
    fn detected_jacobian(&mut self) -> Result<Option<Pattern>, Error> {
        let Some(constraints) = &mut self.constraints else { return Ok(None) };
        let mut c = |x: &[f64], out: &mut [f64]| {
            out.fill(0.0);
            constraints(x, out);
        };
        let found = detect(&mut c, &self.meta.x0, self.meta.c_lower.len(), EVALUATIONS)
            .map_err(|e| Error::Problem { name: self.meta.name.clone(), what: e.to_string() })?;
        let (rows, cols) = found.pattern.entries().unzip();
        Ok(Some(Pattern { rows, cols }))
    }

    /// What is missing, as a sentence.
    fn missing(&self) -> Option<&'static str> {
        let no_jacobian = self.jacobian.is_none() && self.jacobian_products.is_none();
        let by_differences = matches!(self.gradient, Some(Source::Differences))
            || matches!(self.jacobian, Some(Source::Differences));
        if self.dual.is_some() {
            let others = self.objective.is_some()
                || self.gradient.is_some()
                || self.constraints.is_some()
                || self.jacobian.is_some()
                || self.jacobian_products.is_some()
                || self.hessian.is_some()
                || self.hessian_product.is_some();
            return others.then_some("from_dual gives all functions and derivatives, no others go with it");
        }
        if self.detect.hessian && (by_differences || (self.constraints.is_some() && no_jacobian)) {
            return Some(
                "the pattern of the Hessian is found from a gradient and a Jacobian that are not differences",
            );
        }
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

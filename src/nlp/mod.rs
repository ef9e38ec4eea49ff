//! Nonlinear programs: min f(x) subject to cl <= c(x) <= cu, xl <= x <= xu.

pub mod check;
mod closure;
mod closure_problem;
pub(crate) mod differences;
pub(crate) mod expressed;
mod from_dual;
pub mod solution;
mod stats;
mod steps;

pub(crate) use crate::diff::colour as coloring;
pub use crate::report::Kink;
pub use closure::Problem;
pub use closure_problem::ClosureProblem;
pub use expressed::Expressible;
pub use stats::ProblemStats;

use crate::error::Error;

/// Magnitude from which a bound counts as infinite (CUTEst's convention).
pub const INFINITE_BOUND: f64 = 1e20;

/// A function could not be evaluated at a point. Solvers shorten the step.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EvalError {
    /// This problem does not provide the function.
    #[error("{function} is not provided by this problem")]
    NotProvided {
        /// The function.
        function: &'static str,
    },
    /// The evaluation failed at this point.
    #[error("{function}: {reason}")]
    Failed {
        /// The function.
        function: &'static str,
        /// Why.
        reason: String,
    },
}

/// Coordinates of the structural nonzeros of a sparse matrix. Duplicates are allowed: their values add.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pattern {
    /// Row of each entry.
    pub rows: Vec<usize>,
    /// Column of each entry.
    pub cols: Vec<usize>,
}

impl Pattern {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    /// No entries.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// (row, column) of each entry.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, usize)> {
        self.rows.iter().copied().zip(self.cols.iter().copied())
    }
    /// All entries of an `nrows` x `ncols` matrix, row by row.
    pub fn dense(nrows: usize, ncols: usize) -> Self {
        let rows = (0..nrows).flat_map(|i| std::iter::repeat_n(i, ncols)).collect();
        let cols = (0..nrows).flat_map(|_| 0..ncols).collect();
        Self { rows, cols }
    }
    /// The lower triangle with diagonal of an n x n matrix, row by row.
    pub fn dense_lower(n: usize) -> Self {
        let rows = (0..n).flat_map(|i| std::iter::repeat_n(i, i + 1)).collect();
        let cols = (0..n).flat_map(|i| 0..=i).collect();
        Self { rows, cols }
    }
}

/// What is known about a problem before any evaluation. What the problem can compute is data here.
#[derive(Debug, Clone, Default)]
pub struct NlpMeta {
    /// Name.
    pub name: String,
    /// Lower bounds of the variables, length n; `-INFINITE_BOUND` or below: none.
    pub x_lower: Vec<f64>,
    /// Upper bounds of the variables, length n.
    pub x_upper: Vec<f64>,
    /// Lower bounds of the constraints, length m; equal to the upper bound for an equality.
    pub c_lower: Vec<f64>,
    /// Upper bounds of the constraints, length m.
    pub c_upper: Vec<f64>,
    /// Start point, length n.
    pub x0: Vec<f64>,
    /// Further start points, each of length n. A system of more equations than unknowns is solved from them where the first one leads neither to a
    /// solution nor to a least violation.
    pub other_starts: Vec<Vec<f64>>,
    /// Start multipliers, length m.
    pub y0: Vec<f64>,
    /// Constraints known to be linear, length m (or empty: none known).
    pub linear: Vec<bool>,
    /// Constraints w(x) <= 0 whose w is a product of two factors that bounds and other constraints keep from being negative: complementarity conditions.
    /// [`opt::solve`](crate::opt::solve) relaxes them to w <= tau, tau decreasing to the tolerance.
    pub complementarity: Vec<usize>,
    /// The objective is to be maximized. Functions and reports have it in the user's sense; multipliers are those of the minimized -f.
    pub maximize: bool,
    /// The objective is known to be linear or quadratic: its second derivatives are constant.
    pub quadratic_objective: bool,
    /// Names of the variables, length n or empty.
    pub variable_names: Vec<String>,
    /// Names of the constraints, length m or empty.
    pub constraint_names: Vec<String>,
    /// Pattern of the Jacobian, m x n, if `jac_values` is provided.
    pub jacobian: Option<Pattern>,
    /// Pattern of the Hessian of the Lagrangian, lower triangle (row >= column), if `hess_values` is provided.
    pub hessian: Option<Pattern>,
    /// `jac_prod` and `jac_t_prod` are provided.
    pub jacobian_products: bool,
    /// `hess_prod` is provided.
    pub hessian_products: bool,
    /// `precondition` is provided.
    pub preconditioner: bool,
}

impl NlpMeta {
    /// A problem with n free variables and m equality constraints c(x) = 0, start 0, nothing provided yet.
    pub fn equality(name: &str, n: usize, m: usize) -> Self {
        Self {
            name: name.to_string(),
            x_lower: vec![f64::NEG_INFINITY; n],
            x_upper: vec![f64::INFINITY; n],
            c_lower: vec![0.0; m],
            c_upper: vec![0.0; m],
            x0: vec![0.0; n],
            y0: vec![0.0; m],
            ..Self::default()
        }
    }

    /// Variables.
    pub fn n(&self) -> usize {
        self.x_lower.len()
    }
    /// Constraints.
    pub fn m(&self) -> usize {
        self.c_lower.len()
    }
    /// Name of variable j, `x[j]` if it has none.
    pub fn variable_name(&self, j: usize) -> String {
        self.variable_names.get(j).cloned().unwrap_or_else(|| format!("x[{j}]"))
    }
    /// Name of constraint i, `c[i]` if it has none.
    pub fn constraint_name(&self, i: usize) -> String {
        self.constraint_names.get(i).cloned().unwrap_or_else(|| format!("c[{i}]"))
    }
    /// Variable j has a finite lower or upper bound.
    pub fn is_bounded(&self, j: usize) -> bool {
        self.x_lower[j] > -INFINITE_BOUND || self.x_upper[j] < INFINITE_BOUND
    }
    /// Constraint i is an equality.
    pub fn is_equality(&self, i: usize) -> bool {
        self.c_lower[i] == self.c_upper[i]
    }

    /// Checks lengths, bounds, start and patterns against each other.
    ///
    /// # Errors
    /// [`Error::Problem`] names the first contradiction.
    pub fn validate(&self) -> Result<(), Error> {
        let (n, m) = (self.n(), self.m());
        let fail = |what: String| Err(Error::Problem { name: self.name.clone(), what });
        for (what, len, want) in [
            ("x_upper", self.x_upper.len(), n),
            ("x0", self.x0.len(), n),
            ("c_upper", self.c_upper.len(), m),
            ("y0", self.y0.len(), m),
        ] {
            if len != want {
                return fail(format!("{what} has {len} entries, expected {want}"));
            }
        }
        for (k, start) in self.other_starts.iter().enumerate() {
            if start.len() != n || start.iter().any(|x| !x.is_finite()) {
                return fail(format!("start point {} is not of {n} finite numbers", k + 2));
            }
        }
        for (what, len, want) in [
            ("linear", self.linear.len(), m),
            ("variable_names", self.variable_names.len(), n),
            ("constraint_names", self.constraint_names.len(), m),
        ] {
            if len != 0 && len != want {
                return fail(format!("{what} has {len} entries, expected {want} or none"));
            }
        }
        for j in 0..n {
            let (l, u) = (self.x_lower[j], self.x_upper[j]);
            if l.is_nan() || u.is_nan() || l > u || l >= INFINITE_BOUND || u <= -INFINITE_BOUND {
                return fail(format!(
                    "variable {} has bounds [{l}, {u}], expected lower <= upper",
                    self.variable_name(j)
                ));
            }
            if !self.x0[j].is_finite() {
                return fail(format!(
                    "variable {} starts at {}, expected a finite number",
                    self.variable_name(j),
                    self.x0[j]
                ));
            }
        }
        for i in 0..m {
            let (l, u) = (self.c_lower[i], self.c_upper[i]);
            if l.is_nan() || u.is_nan() || l > u || l >= INFINITE_BOUND || u <= -INFINITE_BOUND {
                return fail(format!(
                    "constraint {} has bounds [{l}, {u}], expected lower <= upper",
                    self.constraint_name(i)
                ));
            }
            if !self.y0[i].is_finite() {
                return fail(format!(
                    "multiplier of {} starts at {}, expected a finite number",
                    self.constraint_name(i),
                    self.y0[i]
                ));
            }
        }
        if let Some(i) = self.complementarity.iter().find(|i| **i >= m || self.c_upper[**i] != 0.0) {
            return fail(format!(
                "the complementarity condition {i} is none of the {m} constraints, or its upper side is not 0"
            ));
        }
        for (what, pattern, nrows, lower) in
            [("Jacobian", &self.jacobian, m, false), ("Hessian", &self.hessian, n, true)]
        {
            let Some(p) = pattern else { continue };
            if p.rows.len() != p.cols.len() {
                return fail(format!(
                    "{what} pattern has {} rows and {} columns",
                    p.rows.len(),
                    p.cols.len()
                ));
            }
            for (&i, &j) in p.rows.iter().zip(&p.cols) {
                if i >= nrows || j >= n || (lower && i < j) {
                    let shape = if lower { "the lower triangle of" } else { "" };
                    return fail(format!(
                        "{what} pattern has entry ({i}, {j}), expected {shape} {nrows} x {n}"
                    ));
                }
            }
        }
        if m > 0 && self.jacobian.is_none() && !self.jacobian_products {
            return fail("neither a Jacobian pattern nor Jacobian products are provided".into());
        }
        Ok(())
    }
}

/// Where a preconditioner is asked for, in the user's variables and units.
#[derive(Debug, Clone, Copy)]
pub struct Preconditioning<'a> {
    /// Variables, length n.
    pub x: &'a [f64],
    /// Multipliers, length m.
    pub y: &'a [f64],
    /// S: the diagonal of the barrier and of a shift of the Hessian, length n; zero without either.
    pub barrier: &'a [f64],
    /// Dual regularization, and the slacks of inequalities, length m; zero without either.
    pub dual: &'a [f64],
}

/// A nonlinear program. Every slice has the length that its symbol in [`NlpMeta`] says; outputs are overwritten.
///
/// Provide `jac_values`/`hess_values` (with patterns in the meta data), products, or both. Functions that the meta data
/// does not announce are never called.
pub trait Nlp {
    /// Sizes, bounds, start, names, patterns. Constant over the life of the problem.
    fn meta(&self) -> &NlpMeta;
    /// f(x).
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError>;
    /// g <- grad f(x).
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError>;
    /// c <- c(x).
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError>;

    /// jv <- J(x) v.
    fn jac_prod(&mut self, x: &[f64], v: &[f64], jv: &mut [f64]) -> Result<(), EvalError> {
        let _ = (x, v, jv);
        Err(EvalError::NotProvided { function: "Jacobian product" })
    }
    /// jtw <- J(x)' w.
    fn jac_t_prod(&mut self, x: &[f64], w: &[f64], jtw: &mut [f64]) -> Result<(), EvalError> {
        let _ = (x, w, jtw);
        Err(EvalError::NotProvided { function: "transposed Jacobian product" })
    }
    /// hv <- (sigma hess f(x) + sum_i y_i hess c_i(x)) v.
    fn hess_prod(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        v: &[f64],
        hv: &mut [f64],
    ) -> Result<(), EvalError> {
        let _ = (x, sigma, y, v, hv);
        Err(EvalError::NotProvided { function: "Hessian product" })
    }
    /// Values of the Jacobian in the order of its pattern.
    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        let _ = (x, values);
        Err(EvalError::NotProvided { function: "Jacobian" })
    }
    /// Values of sigma hess f + sum_i y_i hess c_i in the order of its pattern.
    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        let _ = (x, sigma, y, values);
        Err(EvalError::NotProvided { function: "Hessian" })
    }

    /// z <- P^-1 r, r and z of length n + m, for a symmetric positive definite P that resembles |K|,
    /// K = [hess f + sum_i y_i hess c_i + S, J'; J, -diag(dual)] at (x, y). For example P = diag(A, J A^-1 J' + diag(dual)) with A
    /// resembling the Hessian and S: with such a P the number of MINRES iterations does not grow with the size (Murphy, Golub,
    /// Wathen, SISC 21, 2000). It may be asked for at points of the barrier's path, where S is large for variables near their bounds.
    fn precondition(&mut self, at: &Preconditioning<'_>, r: &[f64], z: &mut [f64]) -> Result<(), EvalError> {
        let _ = (at, r, z);
        Err(EvalError::NotProvided { function: "preconditioner" })
    }

    /// The operations that have a kink or a jump within `near` of x, relative to 1 and their operands; none where they are not known.
    fn kinks(&self, x: &[f64], near: f64) -> Vec<Kink> {
        let _ = (x, near);
        Vec::new()
    }

    /// c <- c(x), returns f(x); override where they share work.
    fn obj_cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<f64, EvalError> {
        self.cons(x, c)?;
        self.obj(x)
    }
    /// g <- grad f(x) and the values of the Jacobian; override where they share work.
    fn grad_jac_values(&mut self, x: &[f64], g: &mut [f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.grad(x, g)?;
        self.jac_values(x, values)
    }
}

//! The statistics that identify a problem: sizes, sums, functions and derivatives at two points.

use serde::Serialize;

use super::{EvalError, INFINITE_BOUND, Nlp};
use crate::linalg::norm2;

/// Statistics of a problem in CUTEst's conventions; `_x1` at x1_j = x0_j + 0.01 (1 + |x0_j|) ((j mod 7) - 3) / 3, j from 1.
#[derive(Debug, Clone, Serialize)]
pub struct ProblemStats {
    /// Problem name.
    pub name: String,
    /// Classification.
    pub class: String,
    /// Variables.
    pub n: usize,
    /// Constraints.
    pub m: usize,
    /// Equality constraints.
    pub neq: usize,
    /// Inequality constraints.
    pub nineq: usize,
    /// Linear constraints.
    pub nlinear_con: usize,
    /// Variables with equal bounds.
    pub nfixed: usize,
    /// Variables with a finite bound that are not fixed.
    pub nbounded: usize,
    /// Variables without finite bounds.
    pub nfree: usize,
    /// Entries of the Jacobian, without the objective's gradient.
    pub nnzj: usize,
    /// Entries of one triangle of the Hessian of the Lagrangian as CUTEst counts them: all pairs of variables of each element.
    /// For other formats: of its pattern.
    pub nnzh: usize,
    /// Sum of the start point.
    pub sum_x0: f64,
    /// Sum of the finite lower bounds.
    pub sum_bl: f64,
    /// Sum of the finite upper bounds.
    pub sum_bu: f64,
    /// Sum of the finite lower bounds of the constraints.
    pub sum_cl: f64,
    /// Sum of the finite upper bounds of the constraints.
    pub sum_cu: f64,
    /// Sum of the start multipliers.
    pub sum_y0: f64,
    /// f(x0).
    pub f: f64,
    /// |grad f(x0)|.
    pub norm_g: f64,
    /// |c(x0)|.
    pub norm_c: f64,
    /// |J(x0)' v|, v_i = 1 / i.
    #[serde(rename = "norm_JTv")]
    pub norm_jtv: f64,
    /// |H w|, H the Hessian of f + y'c at x0, y_i = 1 / i, w_i = 1 / i.
    #[serde(rename = "norm_Hw")]
    pub norm_hw: f64,
    /// f(x1).
    pub f_x1: f64,
    /// |grad f(x1)|.
    pub norm_g_x1: f64,
    /// |c(x1)|.
    pub norm_c_x1: f64,
    /// |J(x1)' v|.
    #[serde(rename = "norm_JTv_x1")]
    pub norm_jtv_x1: f64,
    /// |H w| at x1.
    #[serde(rename = "norm_Hw_x1")]
    pub norm_hw_x1: f64,
}

/// f, |g|, |c|, |J'v|, |Hw|.
fn functions(problem: &mut dyn Nlp, x: &[f64]) -> [f64; 5] {
    let (n, m) = (problem.meta().n(), problem.meta().m());
    let decreasing = |len: usize| -> Vec<f64> { (1..=len).map(|i| 1.0 / i as f64).collect() };
    let (y, w) = (decreasing(m), decreasing(n));
    let (mut c, mut a) = (vec![0.0; m], vec![0.0; n]);
    // A function that is not provided has no norm.
    let f = problem.obj_cons(x, &mut c).unwrap_or(f64::NAN);
    let norm = |done: Result<(), EvalError>, a: &[f64]| done.map_or(f64::NAN, |()| norm2(a));
    let g = problem.grad(x, &mut a);
    let g = norm(g, &a);
    let jtv = problem.jac_t_prod(x, &y, &mut a);
    let jtv = norm(jtv, &a);
    let hw = problem.hess_prod(x, 1.0, &y, &w, &mut a);
    let hw = norm(hw, &a);
    [f, g, norm2(&c), jtv, hw]
}

/// Sum of the finite bounds.
fn finite(bounds: &[f64]) -> f64 {
    bounds.iter().filter(|b| b.abs() < INFINITE_BOUND).sum()
}

impl ProblemStats {
    /// Computes all statistics.
    ///
    /// `class`: the classification; `pairs`: entries of the Hessian as its format counts them.
    pub fn new(problem: &mut dyn Nlp, class: String, pairs: usize) -> Self {
        let meta = problem.meta();
        let (n, m) = (meta.n(), meta.m());
        let fixed = |j: usize| meta.x_lower[j] == meta.x_upper[j];
        let count = |test: &dyn Fn(usize) -> bool, len: usize| (0..len).filter(|&k| test(k)).count();
        let neq = count(&|i| meta.is_equality(i), m);
        let x0 = meta.x0.clone();
        let x1: Vec<f64> = x0
            .iter()
            .enumerate()
            .map(|(j, x)| x + 0.01 * (1.0 + x.abs()) * (((j + 1) % 7) as f64 - 3.0) / 3.0)
            .collect();
        let mut stats = Self {
            name: meta.name.clone(),
            class,
            n,
            m,
            neq,
            nineq: m - neq,
            nlinear_con: meta.linear.iter().filter(|l| **l).count(),
            nfixed: count(&fixed, n),
            nbounded: count(&|j| meta.is_bounded(j) && !fixed(j), n),
            nfree: count(&|j| !meta.is_bounded(j), n),
            nnzj: meta.jacobian.as_ref().map_or(0, |p| p.len()),
            nnzh: pairs,
            sum_x0: x0.iter().sum(),
            sum_bl: finite(&meta.x_lower),
            sum_bu: finite(&meta.x_upper),
            sum_cl: finite(&meta.c_lower),
            sum_cu: finite(&meta.c_upper),
            sum_y0: meta.y0.iter().sum(),
            f: 0.0,
            norm_g: 0.0,
            norm_c: 0.0,
            norm_jtv: 0.0,
            norm_hw: 0.0,
            f_x1: 0.0,
            norm_g_x1: 0.0,
            norm_c_x1: 0.0,
            norm_jtv_x1: 0.0,
            norm_hw_x1: 0.0,
        };
        [stats.f, stats.norm_g, stats.norm_c, stats.norm_jtv, stats.norm_hw] = functions(problem, &x0);
        [stats.f_x1, stats.norm_g_x1, stats.norm_c_x1, stats.norm_jtv_x1, stats.norm_hw_x1] =
            functions(problem, &x1);
        stats
    }
}

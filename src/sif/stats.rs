//! Sizes, sums and norms that identify a problem: the columns of CUTEst's reference values.

use serde::Serialize;

use super::{Decoded, GroupKind, SifProblem};
use crate::linalg::norm2;
use crate::nlp::{EvalError, INFINITE_BOUND, Nlp};

/// Statistics of a problem; names and definitions of CUTEst's conventions.
///
/// Norms are Euclidean. v_i = y_i = w_i = 1/i (i from 1); the suffix `_x1` stands for the point
/// x1_j = x0_j + 0.01 (1 + |x0_j|) ((j mod 7) - 3) / 3 (j from 1).
#[derive(Debug, Clone, Serialize)]
pub struct SifStats {
    /// Problem name.
    pub name: String,
    /// Classification.
    pub class: String,
    /// Variables.
    pub n: usize,
    /// Constraints.
    pub m: usize,
    /// Equalities.
    pub neq: usize,
    /// Inequalities.
    pub nineq: usize,
    /// Linear constraints.
    pub nlinear_con: usize,
    /// Fixed variables.
    pub nfixed: usize,
    /// Variables with a bound that are not fixed.
    pub nbounded: usize,
    /// Free variables.
    pub nfree: usize,
    /// Jacobian entries as CUTEst counts them: all variables of every element.
    pub nnzj: usize,
    /// Entries of one triangle of the Hessian of the Lagrangian as CUTEst counts them: full blocks of elements and of nontrivial groups.
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
    /// f.
    pub f: f64,
    /// |grad f|.
    pub norm_g: f64,
    /// |c|.
    pub norm_c: f64,
    /// |J'v|.
    #[serde(rename = "norm_JTv")]
    pub norm_jtv: f64,
    /// |H w|, H the Hessian of f + y'c.
    #[serde(rename = "norm_Hw")]
    pub norm_hw: f64,
    /// f at x1.
    pub f_x1: f64,
    /// |grad f| at x1.
    pub norm_g_x1: f64,
    /// |c| at x1.
    pub norm_c_x1: f64,
    /// |J'v| at x1.
    #[serde(rename = "norm_JTv_x1")]
    pub norm_jtv_x1: f64,
    /// |H w| at x1.
    #[serde(rename = "norm_Hw_x1")]
    pub norm_hw_x1: f64,
}

/// f, |g|, |c|, |J'v|, |H w| at a point.
fn norms(problem: &mut SifProblem, x: &[f64]) -> Result<[f64; 5], EvalError> {
    let (n, m) = (problem.meta().n(), problem.meta().m());
    let weights = |len: usize| (1..=len).map(|i| 1.0 / i as f64).collect::<Vec<_>>();
    let (v, w) = (weights(m), weights(n));
    let (mut c, mut g) = (vec![0.0; m], vec![0.0; n]);
    let f = problem.obj_cons(x, &mut c)?;
    problem.grad(x, &mut g)?;
    let norm_g = norm2(&g);
    problem.jac_t_prod(x, &v, &mut g)?;
    let norm_jtv = norm2(&g);
    problem.hess_prod(x, 1.0, &v, &w, &mut g)?;
    Ok([f, norm_g, norm2(&c), norm_jtv, norm2(&g)])
}

fn finite_sum(values: &[f64]) -> f64 {
    values.iter().filter(|v| v.abs() < INFINITE_BOUND).sum()
}

impl SifStats {
    /// Evaluates the problem at x0 and x1.
    ///
    /// # Errors
    /// [`EvalError`] if a function cannot be evaluated; values that are not finite are not an error.
    pub fn new(problem: &mut SifProblem) -> Result<Self, EvalError> {
        let x0 = problem.meta().x0.clone();
        let x1: Vec<f64> = x0
            .iter()
            .enumerate()
            .map(|(k, x)| x + 0.01 * (1.0 + x.abs()) * (((k + 1) % 7) as f64 - 3.0) / 3.0)
            .collect();
        let [f, norm_g, norm_c, norm_jtv, norm_hw] = norms(problem, &x0)?;
        let [f_x1, norm_g_x1, norm_c_x1, norm_jtv_x1, norm_hw_x1] = norms(problem, &x1)?;
        let (nnzj, nnzh) = (problem.cutest_jacobian_count(), problem.cutest_hessian_count());
        let meta = problem.meta();
        let (n, m) = (meta.n(), meta.m());
        let neq = (0..m).filter(|&i| meta.is_equality(i)).count();
        let nfixed = (0..n).filter(|&j| meta.x_lower[j] == meta.x_upper[j]).count();
        let nbounded = (0..n).filter(|&j| meta.is_bounded(j)).count() - nfixed;
        Ok(Self {
            name: meta.name.clone(),
            class: problem.decoded().class.clone().unwrap_or_default(),
            n,
            m,
            neq,
            nineq: m - neq,
            nlinear_con: meta.linear.iter().filter(|l| **l).count(),
            nfixed,
            nbounded,
            nfree: n - nfixed - nbounded,
            nnzj,
            nnzh,
            sum_x0: meta.x0.iter().sum(),
            sum_bl: finite_sum(&meta.x_lower),
            sum_bu: finite_sum(&meta.x_upper),
            sum_cl: finite_sum(&meta.c_lower),
            sum_cu: finite_sum(&meta.c_upper),
            sum_y0: meta.y0.iter().sum(),
            f,
            norm_g,
            norm_c,
            norm_jtv,
            norm_hw,
            f_x1,
            norm_g_x1,
            norm_c_x1,
            norm_jtv_x1,
            norm_hw_x1,
        })
    }
}

impl Decoded {
    /// Variables of each group, with repetitions: linear terms and all variables of its elements.
    fn group_variables(&self, g: usize) -> impl Iterator<Item = u32> + '_ {
        let linear = self.linear.get(g).iter().map(|t| t.0);
        let elements = self.uses.get(g).iter();
        linear.chain(elements.flat_map(|(e, _)| self.element_vars.get(*e as usize).iter().copied()))
    }
}

impl SifProblem {
    fn cutest_jacobian_count(&self) -> usize {
        let d = self.decoded();
        let mut seen = vec![usize::MAX; d.variables.len()];
        let mut count = 0;
        for g in (0..d.groups.len()).filter(|&g| d.kind[g] != GroupKind::Objective) {
            for j in d.group_variables(g) {
                if std::mem::replace(&mut seen[j as usize], g) != g {
                    count += 1;
                }
            }
        }
        count
    }

    fn cutest_hessian_count(&self) -> usize {
        let d = self.decoded();
        let n = d.variables.len();
        let (mut major, mut minor) = (Vec::new(), Vec::new());
        let mut block = |vars: &[u32]| {
            for (k, &i) in vars.iter().enumerate() {
                for &j in &vars[..=k] {
                    major.push(i.min(j));
                    minor.push(i.max(j));
                }
            }
        };
        let mut used = vec![false; d.elements.len()];
        let mut seen = vec![usize::MAX; n];
        for g in 0..d.groups.len() {
            if d.group_type[g].is_some() {
                let distinct: Vec<u32> = d
                    .group_variables(g)
                    .filter(|&j| std::mem::replace(&mut seen[j as usize], g) != g)
                    .collect();
                block(&distinct);
            } else {
                for &(e, _) in d.uses.get(g) {
                    if !std::mem::replace(&mut used[e as usize], true) {
                        block(d.element_vars.get(e as usize));
                    }
                }
            }
        }
        for &(i, j, _) in &d.quadratic {
            block(&[i, j]);
        }
        super::pattern::unique(n, n, &major, &minor).minor.len()
    }
}

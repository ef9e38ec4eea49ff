//! Optimal control of an elliptic equation.
//!
//! ```text
//!     min 1/2 |y - y_d|^2_M + alpha/2 |u|^2_N   subject to   K y + M phi(y) - B u = M f,   bounds on y and u
//! ```
//!
//! M: lumped masses; u lives on all unknowns (N = M, B = M) or on sides of the grid (N: surface weights, B = N on their nodes). Everything is divided by
//! the volume of a cell: the objective times [`Control::unit`] is the integral.
//!
//! The preconditioner of the KKT systems is P = diag(H_y, H_u, S) with H the diagonal of second derivatives and barrier and
//! S = (K' + Z) H_y^-1 (K' + Z), K' = K + M phi'(y), Z^2 = H_y (B H_u^-1 B + delta): Pearson and Wathen, "A new approximation of the Schur complement
//! in preconditioners for PDE-constrained optimization", NLAA 19 (2012), where Z = M / sqrt(alpha); with the diagonal of a barrier Pearson and
//! Gondzio, "Fast interior point solution of quadratic programming problems arising from PDE-constrained optimization", Numer. Math. 137 (2017).
//! Each inverse of K' + Z is a fixed number of multigrid cycles.

use super::equation::{Equation, StateEquation};
use super::grid::{Grid, Scheme};
use super::multigrid::MultigridOptions;
use super::operator::Diffusion;
use super::parallel::{over, sum};
use crate::error::Error;
use crate::nlp::{EvalError, INFINITE_BOUND, Nlp, NlpMeta, Preconditioning};
use crate::opt::WarmStart;

/// H_y counts as at least this share of the mass where second derivatives are negative or small.
const LEAST_CURVATURE: f64 = 1e-3;

/// phi(y) of a semilinear equation with its first and second derivatives.
#[derive(Debug, Clone, Copy)]
pub struct Reaction {
    /// phi.
    pub value: fn(f64) -> f64,
    /// phi', not negative.
    pub slope: fn(f64) -> f64,
    /// phi''.
    pub curvature: fn(f64) -> f64,
}

impl Reaction {
    /// phi(y) = y^3.
    pub const CUBIC: Self = Self { value: |y| y * y * y, slope: |y| 3.0 * y * y, curvature: |y| 6.0 * y };
}

/// Where the control acts.
#[derive(Debug, Clone, PartialEq)]
pub enum Where {
    /// On all unknowns.
    Everywhere,
    /// On Neumann or Robin sides of a grid: (axis, at its high end).
    Sides(Vec<(usize, bool)>),
    /// On some unknowns, with their weights.
    Nodes(Vec<(usize, f64)>),
}

/// What describes a problem.
#[derive(Debug, Clone)]
pub struct ControlSpec {
    /// The linear part of the state equation.
    pub equation: StateEquation,
    /// phi, none where the equation is linear.
    pub reaction: Option<Reaction>,
    /// Where the control acts.
    pub control: Where,
    /// Weight of the control's norm, positive.
    pub alpha: f64,
    /// y_d, one number an unknown.
    pub target: Vec<f64>,
    /// f, one number an unknown, or empty: 0.
    pub source: Vec<f64>,
    /// Bounds of the control.
    pub control_bounds: (f64, f64),
    /// Bounds of the state.
    pub state_bounds: (f64, f64),
    /// Multigrid cycles for each inverse in the preconditioner.
    pub cycles: usize,
}

impl ControlSpec {
    /// -lap y by finite differences on a grid, control everywhere, no bounds, one cycle.
    pub fn new(grid: Grid, alpha: f64, target: Vec<f64>) -> Self {
        let equation = StateEquation::Grid {
            grid,
            scheme: Scheme::FiniteDifferences,
            diffusion: Diffusion::Constant(1.0),
            multigrid: MultigridOptions::default(),
        };
        Self::with(equation, alpha, target)
    }

    /// Any equation, control everywhere, no bounds, one cycle.
    pub fn with(equation: StateEquation, alpha: f64, target: Vec<f64>) -> Self {
        Self {
            equation,
            reaction: None,
            control: Where::Everywhere,
            alpha,
            target,
            source: Vec::new(),
            control_bounds: (f64::NEG_INFINITY, f64::INFINITY),
            state_bounds: (f64::NEG_INFINITY, f64::INFINITY),
            cycles: 1,
        }
    }

    fn validate(&self) -> Result<(), Error> {
        let n = self.equation.unknowns();
        let fail = |what: String| Err(Error::Problem { name: "control".into(), what });
        if !(self.alpha > 0.0 && self.alpha.is_finite()) {
            return fail(format!("alpha is {}, expected a positive finite number", self.alpha));
        }
        if self.cycles == 0 {
            return fail("0 multigrid cycles, expected at least 1".into());
        }
        for (what, v, may_be_empty) in [("target", &self.target, false), ("source", &self.source, true)] {
            if v.len() != n && !(may_be_empty && v.is_empty()) {
                return fail(format!("the {what} has {} entries for {n} unknowns", v.len()));
            }
            if v.iter().any(|v| !v.is_finite()) {
                return fail(format!("the {what} has an entry that is not finite"));
            }
        }
        for (what, (low, high)) in [("control", self.control_bounds), ("state", self.state_bounds)] {
            if low > high || low.is_nan() || high.is_nan() {
                return fail(format!("bounds [{low}, {high}] of the {what}, expected lower <= upper"));
            }
        }
        Ok(())
    }
}

/// The diagonals of a preconditioner and what they were made for.
#[derive(Debug, Default)]
struct Diagonals {
    /// Made at least once.
    ready: bool,
    barrier: Vec<f64>,
    dual: Vec<f64>,
    x: Vec<f64>,
    y: Vec<f64>,
    /// H_y and H_u.
    state: Vec<f64>,
    control: Vec<f64>,
}

/// See the module. Variables x = (y, u); constraints are the state equation.
#[derive(Debug)]
pub struct Control {
    meta: NlpMeta,
    spec: ControlSpec,
    equation: Equation,
    mass: Vec<f64>,
    /// Unknowns with control and their weights; empty where it acts on all.
    nodes: Vec<usize>,
    weights: Vec<f64>,
    diagonals: Diagonals,
    work: Vec<f64>,
}

impl Control {
    /// Checks the description and builds operators and grids.
    ///
    /// # Errors
    /// [`Error::Problem`] for an alpha that is not positive, vectors of wrong lengths, sides without unknowns, bounds that exclude each
    /// other, or a state equation without a unique solution.
    pub fn new(spec: ControlSpec) -> Result<Self, Error> {
        spec.validate()?;
        let fail = |what: String| Error::Problem { name: "control".into(), what };
        let n = spec.equation.unknowns();
        let equation = Equation::new(&spec.equation)?;
        let mass = spec.equation.mass();
        let weighted = weighted_nodes(&spec, n).map_err(fail)?;
        let (nodes, weights): (Vec<usize>, Vec<f64>) = weighted.into_iter().unzip();
        let controls = if nodes.is_empty() { n } else { nodes.len() };
        let meta = meta(&spec, n, controls);
        let (diagonals, work) = (Diagonals::default(), vec![0.0; n]);
        Ok(Self { meta, spec, equation, mass, nodes, weights, diagonals, work })
    }

    /// Unknowns of the state, which come first in x.
    pub fn states(&self) -> usize {
        self.mass.len()
    }
    /// The objective times this is the integral.
    pub fn unit(&self) -> f64 {
        self.spec.equation.unit()
    }
    /// The description.
    pub fn spec(&self) -> &ControlSpec {
        &self.spec
    }
    /// Unknowns at which the control acts, in its order; empty: all.
    pub fn control_nodes(&self) -> &[usize] {
        &self.nodes
    }
    /// The multigrid will be that of another matrix.
    pub(super) fn forget_preconditioner(&mut self) {
        self.diagonals.ready = false;
    }
    pub(super) fn parts(&mut self) -> (&mut Equation, &[f64], &ControlSpec) {
        (&mut self.equation, &self.mass, &self.spec)
    }

    /// A start with multipliers: control 0 or the nearest within its bounds, the state and the adjoint state of the linear part to `tolerance`, bounds
    /// with multipliers 1. Where the optimizer has no entries of the matrix it would need many products for an estimate of multipliers.
    pub fn start(&mut self, tolerance: f64) -> WarmStart {
        let n = self.states();
        let mut x = self.meta.x0.clone();
        let mut f = vec![0.0; n];
        self.diagonals.ready = false;
        let _ = self.equation.shift_by(&[]);
        self.add_control(&x[n..], 1.0, &mut f);
        if !self.spec.source.is_empty() {
            f.iter_mut().zip(&self.mass).zip(&self.spec.source).for_each(|((f, m), s)| *f += m * s);
        }
        self.equation.solve(&f, &mut x[..n], tolerance, 100);
        let (low, high) = self.spec.state_bounds;
        x[..n].iter_mut().for_each(|v| *v = v.clamp(low, high));
        let mut y = vec![0.0; n];
        for p in 0..n {
            f[p] = self.mass[p] * (self.spec.target[p] - x[p]);
        }
        self.equation.solve(&f, &mut y, tolerance, 100);
        // Multipliers of bounds balance the weighted adjoint state.
        let size = y.iter().zip(&self.mass).fold(0.0f64, |a, (y, m)| a.max((y * m).abs()));
        let size = if size > 0.0 { size } else { 1.0 };
        let z = (0..self.meta.n())
            .map(|j| {
                let finite = (self.meta.x_lower[j] > -INFINITE_BOUND, self.meta.x_upper[j] < INFINITE_BOUND);
                match finite {
                    (true, false) => size,
                    (false, true) => -size,
                    _ => 0.0,
                }
            })
            .collect();
        WarmStart { x, y, z }
    }

    /// out <- out + sign B u.
    fn add_control(&self, u: &[f64], sign: f64, out: &mut [f64]) {
        if self.nodes.is_empty() {
            let m = &self.mass;
            over(out, |at, out| {
                for ((o, m), u) in out.iter_mut().zip(&m[at..]).zip(&u[at..]) {
                    *o += sign * m * u;
                }
            });
        } else {
            for ((p, w), u) in self.nodes.iter().zip(&self.weights).zip(u) {
                out[*p] += sign * w * u;
            }
        }
    }

    /// N, the weight of each control.
    fn control_weights(&self) -> &[f64] {
        if self.nodes.is_empty() { &self.mass } else { &self.weights }
    }

    /// H, Z and the multigrid of K' + Z where they are not those of this point already.
    fn refresh(&mut self, at: &Preconditioning<'_>) -> Result<(), EvalError> {
        let nonlinear = self.spec.reaction.is_some();
        let d = &mut self.diagonals;
        let same = d.barrier == at.barrier && d.dual == at.dual;
        if d.ready && same && (!nonlinear || (d.x == at.x && d.y == at.y)) {
            return Ok(());
        }
        d.barrier.clear();
        d.barrier.extend_from_slice(at.barrier);
        d.dual.clear();
        d.dual.extend_from_slice(at.dual);
        if nonlinear {
            d.x.clear();
            d.x.extend_from_slice(at.x);
            d.y.clear();
            d.y.extend_from_slice(at.y);
        }
        let (n, alpha) = (self.mass.len(), self.spec.alpha);
        let (of_y, of_u) = at.barrier.split_at(n);
        let curvature = |p: usize| match self.spec.reaction {
            Some(phi) => (1.0 + at.y[p] * (phi.curvature)(at.x[p])).abs().max(LEAST_CURVATURE),
            None => 1.0,
        };
        d.state.clear();
        d.state.extend((0..n).map(|p| self.mass[p] * curvature(p) + of_y[p]));
        d.control.clear();
        let weights = if self.nodes.is_empty() { &self.mass } else { &self.weights };
        d.control.extend(weights.iter().zip(of_u).map(|(w, b)| alpha * w + b));
        // With neither, Z is a multiple of the mass, which needs no vector of its own.
        let plain = !nonlinear && self.nodes.is_empty();
        let result = if plain && at.barrier.iter().chain(at.dual).all(|v| *v == 0.0) {
            self.equation.shift(1.0 / alpha.sqrt(), &self.mass)
        } else {
            let field = &mut self.work;
            field.copy_from_slice(at.dual);
            if self.nodes.is_empty() {
                for ((z, m), h) in field.iter_mut().zip(&self.mass).zip(&d.control) {
                    *z += m * m / h;
                }
            } else {
                for ((p, w), h) in self.nodes.iter().zip(&self.weights).zip(&d.control) {
                    field[*p] += w * w / h;
                }
            }
            field.iter_mut().zip(&d.state).for_each(|(z, h)| *z = (*z * h).sqrt());
            if let Some(phi) = self.spec.reaction {
                for ((z, m), y) in field.iter_mut().zip(&self.mass).zip(at.x) {
                    *z += m * (phi.slope)(*y);
                }
            }
            self.equation.shift_by(field)
        };
        d.ready = true;
        result.map_err(|e| EvalError::Failed { function: "preconditioner", reason: e.to_string() })
    }
}

/// Unknowns with control and weights, in ascending order; none where it acts on all.
fn weighted_nodes(spec: &ControlSpec, n: usize) -> Result<Vec<(usize, f64)>, String> {
    let mut on = vec![0.0; n];
    match (&spec.control, &spec.equation) {
        (Where::Everywhere, _) => return Ok(Vec::new()),
        (Where::Sides(sides), StateEquation::Grid { grid, .. }) => {
            for &(axis, high) in sides {
                let (side, w) = grid.side(axis, high);
                if side.is_empty() {
                    let end = if high { "high" } else { "low" };
                    return Err(format!("no unknowns on the {end} side of axis {}", axis + 1));
                }
                side.into_iter().zip(w).for_each(|(p, w)| on[p] += w);
            }
        }
        (Where::Sides(_), _) => return Err("control on sides, but there is no grid".into()),
        (Where::Nodes(nodes), _) => {
            for &(p, w) in nodes {
                if p >= n || !(w > 0.0 && w.is_finite()) {
                    return Err(format!("control at unknown {p} of {n} with weight {w}"));
                }
                on[p] += w;
            }
        }
    }
    let found: Vec<(usize, f64)> = on.into_iter().enumerate().filter(|(_, w)| *w > 0.0).collect();
    if found.is_empty() { Err("no unknown with a control".into()) } else { Ok(found) }
}

fn meta(spec: &ControlSpec, n: usize, controls: usize) -> NlpMeta {
    let mut meta = NlpMeta::equality("control", n + controls, n);
    let bounds = |of: (f64, f64), count: usize| (vec![of.0; count], vec![of.1; count]);
    let (mut lower, mut upper) = bounds(spec.state_bounds, n);
    let (low, high) = bounds(spec.control_bounds, controls);
    lower.extend(low);
    upper.extend(high);
    (meta.x_lower, meta.x_upper) = (lower, upper);
    let inside = |(low, high): (f64, f64)| 0.0f64.clamp(low, high);
    meta.x0[..n].fill(inside(spec.state_bounds));
    meta.x0[n..].fill(inside(spec.control_bounds));
    meta.quadratic_objective = true;
    if spec.reaction.is_none() {
        meta.linear = vec![true; n];
    }
    (meta.jacobian_products, meta.hessian_products, meta.preconditioner) = (true, true, true);
    meta
}

impl Nlp for Control {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }

    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        let (y, u) = x.split_at(self.states());
        let (m, target) = (&self.mass, &self.spec.target);
        let misfit = sum(y.len(), |r| r.map(|p| m[p] * (y[p] - target[p]).powi(2)).sum());
        let w = self.control_weights();
        let effort = sum(u.len(), |r| r.map(|q| w[q] * u[q] * u[q]).sum());
        Ok(0.5 * misfit + 0.5 * self.spec.alpha * effort)
    }

    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        let n = self.states();
        let (y, u) = x.split_at(n);
        let (gy, gu) = g.split_at_mut(n);
        let (m, target, alpha, w) = (&self.mass, &self.spec.target, self.spec.alpha, self.control_weights());
        over(gy, |at, g| {
            g.iter_mut().enumerate().for_each(|(i, g)| *g = m[at + i] * (y[at + i] - target[at + i]))
        });
        over(gu, |at, g| g.iter_mut().enumerate().for_each(|(i, g)| *g = alpha * w[at + i] * u[at + i]));
        Ok(())
    }

    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        let (y, u) = x.split_at(self.states());
        self.equation.apply(y, c);
        self.add_control(u, -1.0, c);
        let (m, source, reaction) = (&self.mass, &self.spec.source, self.spec.reaction);
        if let Some(phi) = reaction {
            over(c, |at, c| {
                c.iter_mut().enumerate().for_each(|(i, c)| *c += m[at + i] * (phi.value)(y[at + i]))
            });
        }
        if !source.is_empty() {
            over(c, |at, c| c.iter_mut().enumerate().for_each(|(i, c)| *c -= m[at + i] * source[at + i]));
        }
        Ok(())
    }

    fn jac_prod(&mut self, x: &[f64], v: &[f64], jv: &mut [f64]) -> Result<(), EvalError> {
        let (vy, vu) = v.split_at(self.states());
        self.equation.apply(vy, jv);
        self.add_control(vu, -1.0, jv);
        self.add_slope(x, vy, jv);
        Ok(())
    }

    fn jac_t_prod(&mut self, x: &[f64], w: &[f64], jtw: &mut [f64]) -> Result<(), EvalError> {
        let (of_y, of_u) = jtw.split_at_mut(self.states());
        self.equation.apply(w, of_y);
        self.add_slope(x, w, of_y);
        if self.nodes.is_empty() {
            let m = &self.mass;
            over(of_u, |at, o| o.iter_mut().enumerate().for_each(|(i, o)| *o = -m[at + i] * w[at + i]));
        } else {
            for ((o, p), b) in of_u.iter_mut().zip(&self.nodes).zip(&self.weights) {
                *o = -b * w[*p];
            }
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
        let n = self.states();
        let (hy, hu) = hv.split_at_mut(n);
        let (m, w, reaction) = (&self.mass, self.control_weights(), self.spec.reaction);
        let of_u = sigma * self.spec.alpha;
        over(hy, |at, h| {
            for (i, h) in h.iter_mut().enumerate() {
                let p = at + i;
                let more = reaction.map_or(0.0, |phi| y[p] * (phi.curvature)(x[p]));
                *h = m[p] * (sigma + more) * v[p];
            }
        });
        over(hu, |at, h| h.iter_mut().enumerate().for_each(|(i, h)| *h = of_u * w[at + i] * v[n + at + i]));
        Ok(())
    }

    fn precondition(&mut self, at: &Preconditioning<'_>, r: &[f64], z: &mut [f64]) -> Result<(), EvalError> {
        self.refresh(at)?;
        let (n, cycles) = (self.states(), self.spec.cycles);
        let Self { diagonals: d, equation, work, meta, .. } = self;
        let (zx, zp) = z.split_at_mut(meta.n());
        let (rx, rp) = r.split_at(meta.n());
        let (state, control) = (&d.state, &d.control);
        equation.cycles(rp, work, cycles);
        over(work, |at, t| t.iter_mut().zip(&state[at..]).for_each(|(t, h)| *t *= h));
        equation.cycles(work, zp, cycles);
        over(zx, |at, z| {
            for (i, z) in z.iter_mut().enumerate() {
                let j = at + i;
                *z = rx[j] / if j < n { state[j] } else { control[j - n] };
            }
        });
        Ok(())
    }
}

impl Control {
    /// out <- out + M phi'(y) v.
    fn add_slope(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        let Some(phi) = self.spec.reaction else { return };
        let m = &self.mass;
        over(out, |at, o| {
            o.iter_mut().enumerate().for_each(|(i, o)| *o += m[at + i] * (phi.slope)(x[at + i]) * v[at + i]);
        });
    }
}

//! Linear and convex quadratic programs: a predictor-corrector interior-point method.
//!
//! Mehrotra, "On the implementation of a primal-dual interior point method", SIAM J. Optim. 2, 1992; Wright, "Primal-Dual Interior-Point Methods",
//! 1997, chapter 10; Gertz and Wright, "Object-oriented software for quadratic programming", ACM TOMS 29, 2003; centrality correctors: Gondzio,
//! "Multiple centrality corrections in a primal-dual method for linear programming", Comput. Optim. Appl. 6, 1996. With distances d to the bounds,
//! nb of them, and one factorization of K a step:
//!
//! ```text
//!     predictor   K (dx, dy) = -(grad f + J'y, c),            dz d + z dd = -z d
//!     centring    mu = z'd / nb,   sigma = ((z + dz)'(d + dd) / (mu nb))^3 at the predictor's step lengths
//!     corrector   the same with dz d + z dd = sigma mu - z d - (dz dd of the predictor)
//!     centrality  products that would leave [0.1, 10] sigma mu at a longer step are moved back, as long as that lengthens the steps
//! ```
//!
//! No line search: c is linear, so that a step of length alpha leaves (1 - alpha) c. With second derivatives primal and dual steps are of one
//! length. A Hessian that is not convex on null(J) is left to the next method: for a quadratic program one factorization tells at the start.

use super::barrier::Barrier;
use super::{Method, With, fill_optimality};
use crate::linalg::norm_inf;
use crate::observe::IterationRow;
use crate::opt::iterate::{Point, Residuals};
use crate::opt::kkt::{DELTA, Direction, REFINED};
use crate::opt::phase::{Cause, NoStep, PhaseEnd, Solve, Taken, linear, no_direction};
use crate::opt::problem::{Bounds, Form, multiplier_length};
use crate::opt::verdict;

/// Share of the way to a bound: 1 - mu within these.
const TAU: (f64, f64) = (0.9995, 1.0 - 1e-6);
/// Products of centrality correctors stay within these factors of their target.
const CENTRAL: (f64, f64) = (0.1, 10.0);
/// A centrality corrector aims at steps longer by this, and must gain this share of it.
const LONGER: f64 = 0.1;
const GAIN: f64 = 0.1;
/// Centrality correctors of one step.
const CORRECTORS: u32 = 2;
/// The smallest shift that is tried where K is singular, relative to max(1, |H|), and the largest that does not count as lack of convexity.
const FIRST_SHIFT: f64 = 1e-12;
const CONVEX: f64 = 1e-6;
/// Steps shorter than this lead nowhere; so many in a row end the method.
const SHORT: f64 = 1e-6;
const PATIENCE: u32 = 3;
/// The first point keeps this share of the width between two bounds from each of them.
const INSIDE: f64 = 0.1;
/// Smallest first distance and multiplier, and first product relative to their mean.
const LEAST: f64 = 1e-2;
const LEAST_PRODUCT: f64 = 0.1;

/// See the module.
#[derive(Debug)]
pub(in crate::opt) struct PredictorCorrector {
    /// For K and its right-hand side, with mu = 0; it has the steps of z.
    barrier: Barrier,
    warm: bool,
    mu: f64,
    /// The first part of the right-hand side without targets.
    base: Vec<f64>,
    /// What z d + dz d + z dd should be, lower and upper bounds.
    targets: [Vec<f64>; 2],
    /// The steps of z that are kept while others are tried.
    kept: [Vec<f64>; 2],
    short: u32,
}

/// Step lengths of x, and of y and z.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Lengths {
    primal: f64,
    dual: f64,
}

impl PredictorCorrector {
    pub fn new(form: &Form, warm: bool) -> Self {
        let nz = if form.bounds.count() > 0 { form.n } else { 0 };
        let zeros = || [vec![0.0; nz], vec![0.0; nz]];
        Self {
            barrier: Barrier::new(form, With { relative_shift: false, keep_delta: true }),
            warm,
            mu: 0.0,
            base: vec![0.0; form.n],
            targets: zeros(),
            kept: zeros(),
            short: 0,
        }
    }

    /// As new, with its memory.
    pub fn renew(&mut self, warm: bool) {
        self.warm = warm;
    }

    /// Mehrotra's first point: the nearest x with J x = b, least-squares multipliers there, both moved into the interior.
    fn begin_cold(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        let n = s.problem.form.n;
        s.kkt.barrier.fill(0.0);
        fill_optimality(s, false)?;
        let size = s.kkt.largest_hessian_entry();
        if size > 0.0 && !is_convex(s, CONVEX * size.max(1.0))? {
            return Err(not_convex());
        }
        let bounds = &s.problem.form.bounds;
        for &j in bounds.with_lower.iter().chain(&bounds.with_upper) {
            s.kkt.barrier[j] = 1.0;
        }
        begin_shifts(s);
        // K has S = 1 now; the factorization serves both solves.
        s.kkt.rhs[..n].fill(0.0);
        for (r, c) in s.kkt.rhs[n..].iter_mut().zip(&s.at.current.c) {
            *r = -c;
        }
        self.barrier.direction(s, 0.0)?;
        let p = &mut s.at.current;
        p.x.iter_mut().zip(&s.kkt.step).for_each(|(x, d)| *x += d);
        move_inside(&s.problem.form.bounds, &mut p.x);
        p.evaluate(&mut s.problem)?;
        s.kkt.rhs[n..].fill(0.0);
        s.kkt.rhs[..n].iter_mut().zip(&s.at.current.grad).for_each(|(r, g)| *r = -g);
        solve(s)?;
        let p = &mut s.at.current;
        p.y.copy_from_slice(&s.kkt.step[n..]);
        // S dx + H dx + J'y = -grad f: what is left over for z.
        self.base.iter_mut().zip(&s.kkt.step).for_each(|(over, d)| *over = -d);
        first_multipliers(&s.problem.form.bounds, p, &self.base);
        Ok(p.evaluate(&mut s.problem)?)
    }

    /// Solves K z = b for the targets; the steps of z.
    fn solve_for_targets(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        let n = s.problem.form.n;
        let (p, bounds) = (&s.at.current, &s.problem.form.bounds);
        let rhs = &mut s.kkt.rhs[..n];
        rhs.copy_from_slice(&self.base);
        for &j in &bounds.with_lower {
            rhs[j] += self.targets[0][j] / bounds.below(&p.x, j);
        }
        for &j in &bounds.with_upper {
            rhs[j] -= self.targets[1][j] / bounds.above(&p.x, j);
        }
        solve(s)?;
        let (p, bounds) = (&s.at.current, &s.problem.form.bounds);
        let dx = &s.kkt.step[..n];
        let [lower, upper] = &self.targets;
        for &j in &bounds.with_lower {
            let d = bounds.below(&p.x, j);
            self.barrier.dzl[j] = (lower[j] - p.zl[j] * dx[j]) / d - p.zl[j];
        }
        for &j in &bounds.with_upper {
            let d = bounds.above(&p.x, j);
            self.barrier.dzu[j] = (upper[j] + p.zu[j] * dx[j]) / d - p.zu[j];
        }
        Ok(())
    }

    /// The longest steps that keep (1 - tau) of each distance and multiplier.
    fn lengths(&self, s: &Solve<'_>, tau: f64) -> Lengths {
        let (p, bounds) = (&s.at.current, &s.problem.form.bounds);
        let primal = bounds.primal_step(&p.x, &s.kkt.step[..p.x.len()], tau);
        if bounds.count() == 0 {
            return Lengths { primal, dual: 1.0 };
        }
        let dual = multiplier_length(&bounds.with_lower, &p.zl, &self.barrier.dzl, tau)
            .min(multiplier_length(&bounds.with_upper, &p.zu, &self.barrier.dzu, tau));
        Lengths { primal, dual }
    }

    /// Calls `f` with each product z d after steps of these lengths, its target (of the lower, upper bounds), and the place of the latter.
    fn for_products(&mut self, s: &Solve<'_>, a: Lengths, mut f: impl FnMut(f64, &mut f64, f64)) {
        let (p, bounds) = (&s.at.current, &s.problem.form.bounds);
        let dx = &s.kkt.step[..p.x.len()];
        let [lower, upper] = &mut self.targets;
        for &j in &bounds.with_lower {
            let second = self.barrier.dzl[j] * dx[j];
            let d = bounds.below(&p.x, j) + a.primal * dx[j];
            f((p.zl[j] + a.dual * self.barrier.dzl[j]) * d, &mut lower[j], second);
        }
        for &j in &bounds.with_upper {
            let second = -self.barrier.dzu[j] * dx[j];
            let d = bounds.above(&p.x, j) - a.primal * dx[j];
            f((p.zu[j] + a.dual * self.barrier.dzu[j]) * d, &mut upper[j], second);
        }
    }

    fn mean_product(&mut self, s: &Solve<'_>, a: Lengths) -> f64 {
        let count = s.problem.form.bounds.count().max(1) as f64;
        let mut sum = 0.0;
        self.for_products(s, a, |product, _, _| sum += product);
        sum / count
    }

    /// Corrector, then centrality correctors; the step lengths.
    fn correct(&mut self, s: &mut Solve<'_>) -> Result<Lengths, PhaseEnd> {
        let here = Lengths { primal: 0.0, dual: 0.0 };
        self.mu = self.mean_product(s, here);
        let tau = (1.0 - self.mu).clamp(TAU.0, TAU.1);
        let a = self.lengths(s, 1.0);
        let share = self.mean_product(s, a) / self.mu.max(f64::MIN_POSITIVE);
        let share = share.clamp(0.0, 1.0);
        let target = share.powi(3) * self.mu;
        self.for_products(s, here, |_, t, second| *t = target - second);
        self.solve_for_targets(s)?;
        let mut best = self.lengths(s, tau);
        for _ in 0..CORRECTORS {
            let aim = Lengths { primal: longer(best.primal), dual: longer(best.dual) };
            if best.primal >= 0.9 && best.dual >= 0.9 {
                break;
            }
            self.keep(s);
            let (low, high) = (CENTRAL.0 * target, CENTRAL.1 * target);
            self.for_products(s, aim, |product, t, _| *t += (product.clamp(low, high) - product).max(-high));
            self.solve_for_targets(s)?;
            let now = self.lengths(s, tau);
            if now.primal < best.primal + GAIN * LONGER || now.dual < best.dual + GAIN * LONGER {
                self.restore(s);
                break;
            }
            best = now;
        }
        Ok(best)
    }

    fn keep(&mut self, s: &mut Solve<'_>) {
        let (step, kept) = (&s.kkt.step, &mut s.kkt.kept);
        kept.copy_from_slice(step);
        self.kept[0].copy_from_slice(&self.barrier.dzl);
        self.kept[1].copy_from_slice(&self.barrier.dzu);
    }

    fn restore(&mut self, s: &mut Solve<'_>) {
        let (step, kept) = (&mut s.kkt.step, &s.kkt.kept);
        step.copy_from_slice(kept);
        self.barrier.dzl.copy_from_slice(&self.kept[0]);
        self.barrier.dzu.copy_from_slice(&self.kept[1]);
    }

    /// The trial point, evaluated.
    fn place(&mut self, s: &mut Solve<'_>, a: Lengths, d: &Direction) -> Result<Taken, PhaseEnd> {
        let n = s.problem.form.n;
        let bounds = &s.problem.form.bounds;
        s.at.place(bounds, &s.kkt.step, a.primal);
        let (current, trial) = (&s.at.current, &mut s.at.trial);
        for (t, (y, dy)) in trial.y.iter_mut().zip(current.y.iter().zip(&s.kkt.step[n..])) {
            *t = y + a.dual * dy;
        }
        for &j in &bounds.with_lower {
            trial.zl[j] += a.dual * self.barrier.dzl[j];
        }
        for &j in &bounds.with_upper {
            trial.zu[j] += a.dual * self.barrier.dzu[j];
        }
        trial.evaluate(&mut s.problem)?;
        Ok(Taken {
            length: a.primal,
            trials: 1,
            norm: a.primal * norm_inf(&s.kkt.step[..n]),
            shift: s.kkt.t,
            dual: s.kkt.delta,
            inner_iterations: d.inner_iterations,
            linear_residual: f64::NAN,
            kind: if s.kkt.t > 0.0 { 'r' } else { ' ' },
        })
    }
}

fn longer(length: f64) -> f64 {
    (length + LONGER).min(1.0)
}

fn not_convex() -> PhaseEnd {
    PhaseEnd::no_step(Cause::Linear, "the objective is not convex on the linear rows")
}

/// The inertia of K with a shift, S = 0, as filled.
fn is_convex(s: &mut Solve<'_>, shift: f64) -> Result<bool, PhaseEnd> {
    let (n, m) = (s.problem.form.n, s.problem.form.m);
    let (kkt, mut e) = linear(s);
    for delta in [0.0, DELTA] {
        let inertia = kkt.factor(&mut e, shift, delta).ok().and_then(|p| p.inertia);
        if inertia.is_some_and(|i| i.positive == n && i.negative == m) {
            return Ok(true);
        }
        if m == 0 {
            break;
        }
    }
    Ok(false)
}

/// A singular K gets a shift that is hardly one.
fn begin_shifts(s: &mut Solve<'_>) {
    let first = FIRST_SHIFT * s.kkt.largest_hessian_entry().max(1.0);
    // The first shift tried is a third of the last.
    s.kkt.memory.last_t = 3.0 * first;
}

/// `step` <- K^-1 `rhs` with the present factorization.
fn solve(s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
    let (kkt, mut e) = linear(s);
    kkt.step.fill(0.0);
    let solved = kkt.solve(&mut e, REFINED).map_err(Into::into);
    let finite = s.kkt.step.iter().all(|v| v.is_finite());
    match solved {
        Ok(_) if finite => Ok(()),
        Ok(_) => Err(PhaseEnd::no_step(Cause::Linear, "the linear system could not be solved accurately")),
        Err(failed) => Err(no_direction(s, failed)),
    }
}

/// Distances to one-sided bounds become positive by one shift; between two bounds x keeps a share of the width.
fn move_inside(bounds: &Bounds, x: &mut [f64]) {
    let least = one_sided(bounds).map(|(j, sign)| distance(bounds, x, j, sign)).fold(f64::INFINITY, f64::min);
    let shift = if least.is_finite() { (-1.5 * least).max(0.0) } else { 0.0 };
    for (j, sign) in one_sided(bounds) {
        let d = (distance(bounds, x, j, sign) + shift).max(LEAST);
        x[j] = if sign > 0.0 { bounds.lower[j] + d } else { bounds.upper[j] - d };
    }
    bounds.push_inside(x, LEAST, INSIDE);
}

/// Variables with one bound, and on which side: 1 lower, -1 upper.
fn one_sided(bounds: &Bounds) -> impl Iterator<Item = (usize, f64)> + '_ {
    bounds.one_sided().iter().copied()
}

fn distance(bounds: &Bounds, x: &[f64], j: usize, sign: f64) -> f64 {
    if sign > 0.0 { x[j] - bounds.lower[j] } else { bounds.upper[j] - x[j] }
}

/// z from what is left over of grad f + J'y, positive by one shift, and both x and z from products that are too small.
fn first_multipliers(bounds: &Bounds, p: &mut Point, over: &[f64]) {
    let mut least = f64::INFINITY;
    for (j, sign) in one_sided(bounds) {
        least = least.min(sign * over[j]);
    }
    let shift = if least.is_finite() { (-1.5 * least).max(0.0) } else { 0.0 };
    for &j in &bounds.with_lower {
        p.zl[j] = (over[j] + shift).max(LEAST);
    }
    for &j in &bounds.with_upper {
        p.zu[j] = (shift - over[j]).max(LEAST);
    }
    let (mut products, mut distances, mut multipliers) = (0.0, 0.0, 0.0);
    for &j in &bounds.with_lower {
        let d = bounds.below(&p.x, j);
        (products, distances, multipliers) = (products + d * p.zl[j], distances + d, multipliers + p.zl[j]);
    }
    for &j in &bounds.with_upper {
        let d = bounds.above(&p.x, j);
        (products, distances, multipliers) = (products + d * p.zu[j], distances + d, multipliers + p.zu[j]);
    }
    if bounds.count() == 0 {
        return;
    }
    for (j, sign) in one_sided(bounds) {
        p.x[j] += sign * 0.5 * products / multipliers;
    }
    bounds.with_lower.iter().for_each(|&j| p.zl[j] += 0.5 * products / distances);
    bounds.with_upper.iter().for_each(|&j| p.zu[j] += 0.5 * products / distances);
    raise_products(bounds, p);
}

/// Raises multipliers whose products are far below their mean.
fn raise_products(bounds: &Bounds, p: &mut Point) {
    let lower: f64 = bounds.with_lower.iter().map(|&j| p.zl[j] * bounds.below(&p.x, j)).sum();
    let upper: f64 = bounds.with_upper.iter().map(|&j| p.zu[j] * bounds.above(&p.x, j)).sum();
    let least = LEAST_PRODUCT * (lower + upper) / bounds.count() as f64;
    for &j in &bounds.with_lower {
        p.zl[j] = p.zl[j].max(least / bounds.below(&p.x, j));
    }
    for &j in &bounds.with_upper {
        p.zu[j] = p.zu[j].max(least / bounds.above(&p.x, j));
    }
}

impl Method for PredictorCorrector {
    fn begin(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        self.short = 0;
        if std::mem::take(&mut self.warm) {
            self.barrier.begin(s, true);
        } else {
            self.begin_cold(s)?;
        }
        self.barrier.mu = 0.0;
        begin_shifts(s);
        Ok(())
    }

    fn test(&mut self, s: &mut Solve<'_>, _: &Residuals, solved: bool) -> Option<PhaseEnd> {
        verdict::ended(s, solved).or_else(|| verdict::is_contradiction(s).then_some(PhaseEnd::Infeasible))
    }

    fn step(&mut self, s: &mut Solve<'_>) -> Result<Taken, PhaseEnd> {
        let n = s.problem.form.n;
        self.barrier.prepare(s)?;
        self.base.copy_from_slice(&s.kkt.rhs[..n]);
        for (r, c) in s.kkt.rhs[n..].iter_mut().zip(&s.at.current.c) {
            *r = -c;
        }
        let direction = self.barrier.direction(s, 0.0)?;
        let curved = s.kkt.largest_hessian_entry();
        if curved > 0.0 && s.kkt.t > CONVEX * curved.max(1.0) {
            return Err(not_convex());
        }
        let mut lengths = if s.problem.form.bounds.count() > 0 {
            self.correct(s)?
        } else {
            Lengths { primal: 1.0, dual: 1.0 }
        };
        if curved > 0.0 {
            let length = lengths.primal.min(lengths.dual);
            lengths = Lengths { primal: length, dual: length };
        }
        self.short = if lengths.primal.max(lengths.dual) < SHORT { self.short + 1 } else { 0 };
        if self.short >= PATIENCE {
            return Err(PhaseEnd::no_step(Cause::Slow, "short steps"));
        }
        self.place(s, lengths, &direction)
    }

    fn recover(&mut self, _: &mut Solve<'_>, why: NoStep) -> Result<(), PhaseEnd> {
        Err(PhaseEnd::NoStep(why))
    }

    fn fill_row(&self, form: &Form, at: &Point, row: &mut IterationRow) {
        row.merit = at.f;
        row.barrier = if form.bounds.count() > 0 { self.mu } else { 0.0 };
    }
}

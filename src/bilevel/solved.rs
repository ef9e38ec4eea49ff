//! Training of a differential equation with a price on the expected number of steps; theta has the logarithms of the price.
//!
//! ```text
//! y' = f(t, y; p_f),   z = head(y(t_1) or saved states; p_h),   loss_t(z) + e^theta_i N,   N = sum_j E_j^(1/k)
//! ```
//!
//! with theta in as many equal pieces of the training as it has numbers. Gradients are those of the frozen steps ([`crate::adjoint`]), and so are their derivatives along directions of the
//! parameters ([`Tangent`]): of the states, of the loss, and of the error estimates.

use super::taught::Curved;
use super::unroll::Inner;
use crate::adjoint::{Adjoint, Bars, Heuristics, Memory, Tangent, Term};
use crate::diff::{At, BarsMut, Dots, Kept, Map, Offers};
use crate::error::{OdeError, check_len};
use crate::ode::{Integrator, Options, SaveAt, Tableau};

/// What is solved in every step of the training.
#[derive(Debug, Clone)]
pub struct SolvedProblem {
    /// An explicit method with one error estimate.
    pub method: &'static Tableau,
    /// Tolerances.
    pub options: Options,
    /// Start and end.
    pub span: (f64, f64),
    /// Save points; without any the head sees y(t_1).
    pub times: Vec<f64>,
    /// Start states, dim x batch, of one step after another; those of step t are number t mod their count.
    pub starts: Vec<f64>,
    /// Trajectories a step.
    pub batch: usize,
    /// Steps of the training.
    pub steps: usize,
    /// Pieces with a price of their own; at least 1.
    pub pieces: usize,
}

/// See the module. F is the equation's field, H the head, L the loss of its outputs, outputs x (batch x save points).
#[derive(Debug)]
pub struct Solved<F: Map<f64> + Clone, H, L> {
    problem: SolvedProblem,
    field: F,
    head: H,
    loss: L,
    solver: Adjoint<f64>,
    tangent: Tangent<f64, Integrator<f64>, F>,
    save: SaveAt<f64>,
    heuristics: Heuristics<f64>,
    room: Room,
    work: u64,
    last: SolvedLoss,
}

/// Parts of the loss of a pass.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SolvedLoss {
    /// Of the outputs.
    pub data: f64,
    /// Expected steps.
    pub steps: f64,
    /// Evaluations of the field in the forward pass.
    pub evaluations: u64,
}

/// Of the head: what it saw, gave and kept, their bars, and derivatives.
#[derive(Debug, Clone, Default)]
struct Room {
    x: Vec<f64>,
    z: Vec<f64>,
    keep: Vec<f64>,
    z_bar: Vec<f64>,
    x_bar: Vec<f64>,
    p_bar: Vec<f64>,
    z_dot: Vec<f64>,
    keep_dot: Vec<f64>,
    z_bar_dot: Vec<f64>,
    x_bar_dot: Vec<f64>,
    start: Vec<f64>,
}

impl<F: Map<f64> + Clone, H: Map<f64>, L: Curved> Solved<F, H, L> {
    /// Storage for it.
    ///
    /// # Errors
    /// Sizes that do not fit, options out of range, or maps without the tangent of their vector-Jacobian product.
    pub fn new(problem: SolvedProblem, field: F, head: H, loss: L) -> Result<Self, OdeError> {
        let (dim, batch) = (field.outputs(), problem.batch);
        let wanted = Offers::VJP | Offers::JVP | Offers::TANGENT;
        let fine = problem.pieces > 0 && problem.steps > 0 && batch > 0 && !problem.starts.is_empty();
        if !fine || !problem.starts.len().is_multiple_of(dim * batch) {
            let what = "training of an equation needs steps, pieces of it, and start states of whole batches";
            return Err(OdeError::Mismatch { what: what.into() });
        }
        if !field.offers().has(wanted) || !head.offers().has(wanted) {
            let what = "unrolled training needs a field and a head with vjp, jvp and vjp_tangent";
            return Err(OdeError::Mismatch { what: what.into() });
        }
        check_len("inputs of the head", head.inputs(), dim)?;
        let columns = batch * problem.times.len().max(1);
        loss.check(head.outputs(), columns)?;
        let SolvedProblem { method, options, .. } = &problem;
        let solver = Adjoint::new(*method, dim, batch, options, Memory::States)?;
        let tangent = solver.tangent(field.clone(), 1)?;
        let room = || vec![0.0; head.outputs() * columns];
        let (kept, states) = (|| vec![0.0; head.keep_len(columns)], || vec![0.0; dim * columns]);
        let (z, z_bar, z_dot, z_bar_dot) = (room(), room(), room(), room());
        let (x_bar, x_bar_dot, start) = (states(), states(), vec![0.0; dim * batch]);
        let (keep, keep_dot, p_bar) = (kept(), kept(), vec![0.0; head.n_params()]);
        let x = vec![];
        let room = Room { x, z, keep, z_bar, x_bar, p_bar, z_dot, keep_dot, z_bar_dot, x_bar_dot, start };
        let (save, last) = (SaveAt::new(&problem.times), SolvedLoss::default());
        let heuristics = Heuristics::new(method.stability, method.error_order as f64 + 1.0, false);
        Ok(Self { problem, field, head, loss, solver, tangent, save, heuristics, room, work: 0, last })
    }
    /// Evaluations and pullbacks of the field so far; those along a direction count twice.
    pub fn work(&self) -> u64 {
        self.work
    }
    /// The loss of the last pass without the price.
    pub fn last(&self) -> SolvedLoss {
        self.last
    }
    fn price(&self, t: usize, theta: &[f64]) -> (usize, f64) {
        let piece = (t * self.problem.pieces / self.problem.steps).min(self.problem.pieces - 1);
        (piece, theta[piece].exp())
    }

    /// Solves, and takes the bars of the states: false where the solver failed.
    fn pass(&mut self, t: usize, p: &[f64], price: f64) -> bool {
        let Self { problem, field, head, loss, solver, save, heuristics, room, .. } = self;
        let n = room.start.len();
        let first = t % (problem.starts.len() / n) * n;
        let y0 = &problem.starts[first..][..n];
        let (p_field, p_head) = p.split_at(field.n_params());
        let report = solver.forward(field, problem.span, y0, p_field, &mut (&mut *save, &mut *heuristics));
        let Ok(report) = report else { return false };
        self.work += report.counts.evals;
        if !report.ok() {
            return false;
        }
        let states = if problem.times.is_empty() { solver.y() } else { save.states() };
        room.x.clear();
        room.x.extend_from_slice(states);
        let at = At::new(0.0, &room.x, p_head);
        head.forward(at, &mut room.z, &mut room.keep);
        let data = loss.loss(t, &room.z, &mut room.z_bar);
        room.x_bar.fill(0.0);
        room.p_bar.fill(0.0);
        let of = Kept { y: &room.z, keep: &room.keep };
        head.vjp(at, of, &room.z_bar, BarsMut::new(&mut room.x_bar, &mut room.p_bar));
        let Ok(steps) = heuristics.add(&Term::expected_steps(), price) else { return false };
        self.last = SolvedLoss { data, steps, evaluations: report.counts.evals };
        true
    }
    /// The derivative of the gradient by p along w, and that of N.
    fn along(&mut self, t: usize, p: &[f64], price: f64, w: &[f64], p_bar: &mut [f64]) -> Option<f64> {
        let (p_field, p_head) = p.split_at(self.field.n_params());
        let (w_field, w_head) = w.split_at(p_field.len());
        let (g_field, g_head) = p_bar.split_at_mut(p_field.len());
        let tangents = self.tangent.forward(&self.solver, p_field, &[], w_field, &self.problem.times).ok()?;
        let x_dot = if self.problem.times.is_empty() { &tangents.y1_dot } else { &tangents.saved_dot };
        let (head, loss, room) = (&mut self.head, &mut self.loss, &mut self.room);
        let (at, of) = (At::new(0.0, &room.x, p_head), Kept { y: &room.z, keep: &room.keep });
        let dots = Dots { count: 1, t: &[], x: x_dot, p: w_head };
        head.jvp(at, of, dots, &mut room.z_dot, &mut room.keep_dot);
        loss.along(t, &room.z, &room.z_dot, &mut room.z_bar_dot);
        room.x_bar_dot.fill(0.0);
        let dot = Kept { y: &room.z_dot, keep: &room.keep_dot };
        let to = BarsMut::new(&mut room.x_bar_dot, g_head);
        head.vjp_tangent(at, of, dots, dot, &room.z_bar, &room.z_bar_dot, to);
        // Of the estimates: price phi'(E_j), and its derivative price phi''(E_j) E_dot_j.
        let error = self.heuristics.error_bar().to_vec();
        let mut error_dot = vec![0.0; error.len()];
        let term = Term::expected_steps();
        self.heuristics.add_along(&term, price, &tangents.error_dot, &mut error_dot).ok()?;
        let times = &self.problem.times;
        let bars = bars_of(times, &self.room.x_bar, &error);
        let bars_dot = bars_of(times, &self.room.x_bar_dot, &error_dot);
        let products = self.tangent.reverse(&bars, &bars_dot).ok()?;
        g_field.iter_mut().zip(&products.p_bar_dot).for_each(|(g, d)| *g += d);
        let again = (self.problem.method.stages as u64 - 1) * error.len() as u64;
        self.work += 2 * (again + products.counts.evals + products.counts.pullbacks);
        Some(error.iter().zip(&tangents.error_dot).map(|(bar, dot)| bar * dot).sum::<f64>() / price)
    }
}

fn bars_of<'a>(times: &'a [f64], states: &'a [f64], error: &'a [f64]) -> Bars<'a, f64> {
    let (y1, saved) = if times.is_empty() { (states, &[][..]) } else { (&[][..], states) };
    Bars { y1, times, saved, error, ..Bars::default() }
}

impl<F: Map<f64> + Clone, H: Map<f64>, L: Curved> Inner for Solved<F, H, L> {
    fn sizes(&self) -> (usize, usize) {
        (self.field.n_params() + self.head.n_params(), self.problem.pieces)
    }
    /// NaN where the solver fails.
    fn gradient(&mut self, t: usize, p: &[f64], theta: &[f64], g: &mut [f64]) -> f64 {
        let (_, price) = self.price(t, theta);
        g.fill(f64::NAN);
        if !self.pass(t, p, price) {
            return f64::NAN;
        }
        let (g_field, g_head) = g.split_at_mut(self.field.n_params());
        g_field.fill(0.0);
        g_head.copy_from_slice(&self.room.p_bar);
        let Self { problem, field, solver, heuristics, room, .. } = self;
        let bars = bars_of(&problem.times, &room.x_bar, heuristics.error_bar());
        let p_field = &p[..field.n_params()];
        match solver.reverse(field, p_field, &bars, &mut room.start, g_field) {
            Ok(counts) => self.work += counts.evals + counts.pullbacks,
            Err(_) => return f64::NAN,
        }
        self.last.data + price * self.last.steps
    }
    fn gradient_transposed(
        &mut self,
        t: usize,
        (p, theta): (&[f64], &[f64]),
        w: &[f64],
        (p_bar, theta_bar): (&mut [f64], &mut [f64]),
    ) {
        let (piece, price) = self.price(t, theta);
        let slope = if self.pass(t, p, price) { self.along(t, p, price, w, p_bar) } else { None };
        theta_bar[piece] += price * slope.unwrap_or(f64::NAN);
    }
}

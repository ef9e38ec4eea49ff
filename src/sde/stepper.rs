//! Steps along a Brownian path, on its ticks.

use super::brownian::Brownian;
use super::field::{Noise, Sde};
use super::method::{SdeMethod, Suits};
use super::path::{Path, Track};
use super::srk::{SdeStages, Srk};
use crate::diff::{At, Map};
use crate::error::{OdeError, check_len};
use crate::linalg::Scalar;
use crate::linalg::kernels::{Scale, all_finite, scaled_norm};
use crate::ode::check::check_ask;
use crate::ode::step::StepBody;
use crate::ode::stepper::{Aligned, Ask, Carrier, Facts, Measure, Stepper, Stretch, Trial};
use crate::ode::{Driver, Method, OdeCounts, Options, StepBuffers};

/// A stochastic method with its storage: made once, used for any number of integrations; no allocation per step once the path's tree has grown. Integrates an
/// [`Sde`] forwards, along the path that the equation follows.
///
/// The storage is made for diagonal noise, and made again by the first run with noise of another shape.
pub type SdeIntegrator<T> = Driver<T, StochasticRk<T>>;

/// Steps of stochastic Runge-Kutta methods. Carried from step to step besides y: where the path is.
#[derive(Debug, Clone)]
pub struct StochasticRk<T> {
    pub(crate) srk: Srk<T>,
    pub(crate) st: SdeStages<T>,
    pub(crate) track: Track,
    /// What it reads; a seeded path with its interval and cells.
    path: Path,
    delta: f64,
    fixed_step: Option<f64>,
    /// Number added to those of the path's trajectories.
    trajectory: u32,
    clock: Clock,
    /// Where the step that is tried ends.
    target: Clock,
    /// The tick from which the shortest step was tried already.
    tried: Option<u64>,
}

/// A time on the path. In double precision: the path's ticks must not depend on T.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Clock {
    t: f64,
    tick: u64,
    /// Start of the grid of fixed steps, and number of its points behind.
    origin: f64,
    grid: u64,
}

impl<T: Scalar> Driver<T, StochasticRk<T>> {
    /// Storage for states of dim x batch.
    pub fn new(
        method: &'static SdeMethod,
        dim: usize,
        batch: usize,
        options: &Options,
    ) -> Result<Self, OdeError> {
        if !method.is_adaptive() && options.fixed_step.is_none() {
            let what = format!("{} has no error estimate: give a fixed_step", method.name);
            return Err(OdeError::Mismatch { what });
        }
        let stepper = StochasticRk::new(method, (dim, batch), options)?;
        Self::make(dim, batch, options, |_| stepper)
    }
    /// The method.
    pub fn method(&self) -> &'static SdeMethod {
        self.stepper.srk.method
    }
}

impl<T: Scalar> StochasticRk<T> {
    fn new(
        method: &'static SdeMethod,
        (dim, batch): (usize, usize),
        options: &Options,
    ) -> Result<Self, OdeError> {
        let (noise, delta) = (Noise::Diagonal, options.delta.unwrap_or(method.delta));
        let srk = Srk::new(method, noise, dim, batch, delta);
        Ok(Self {
            st: srk.stages(),
            track: Track::new(noise.width(dim), batch)?,
            path: Path::Seeded(Brownian::new(0)),
            srk,
            delta,
            fixed_step: options.fixed_step,
            trajectory: 0,
            clock: Clock::default(),
            target: Clock::default(),
            tried: None,
        })
    }

    /// Storage for this shape of noise; the state stays.
    fn reshape(&mut self, noise: Noise) -> Result<(), OdeError> {
        if noise == self.srk.noise {
            return Ok(());
        }
        let Srk { method, dim, batch, .. } = self.srk;
        self.srk = Srk::new(method, noise, dim, batch, self.delta);
        let y0 = std::mem::take(&mut self.st.y0);
        self.st = SdeStages { y0, ..self.srk.stages() };
        self.track = Track::new(noise.width(dim), batch)?;
        Ok(())
    }

    /// The path of this run. With a fixed step and no cells given: one cell a step.
    fn resolve(&self, path: &Path, (t0, t1): (f64, f64)) -> Result<Path, OdeError> {
        let Path::Seeded(b) = path else { return Ok(path.clone()) };
        let b = b.skip(self.trajectory)?;
        let (from, to) = b.interval.unwrap_or((t0, t1));
        let whole = b.over(from, to).with_cells(b.cells.unwrap_or(1));
        let Some(h) = self.fixed_step.filter(|_| b.cells.is_none() && b.interval.is_none()) else {
            return Ok(whole.into());
        };
        let cells = ((t1 - t0) / h - 1e-8).ceil();
        if cells > u32::MAX as f64 {
            return Ok(whole.into());
        }
        let cells = cells.max(1.0);
        Ok(b.over(t0, (t0 + cells * h).max(t1)).with_cells(cells as u32).into())
    }

    /// The end of a step of the grid t0 + j h, unless the stretch ends before. A save point on the grid up to rounding is the grid's point.
    fn on_grid(&self, h: f64, end: Clock) -> Option<Clock> {
        let Clock { origin, grid, .. } = self.clock;
        let grid = grid + 1;
        let t = origin + grid as f64 * h;
        let tolerance = 1e-8 * h + 2.0 * T::EPSILON.f64() * t.abs();
        let tick = self.track.tick_of(t);
        if end.t > t + tolerance {
            self.track.has(t).then_some(Clock { t, tick, grid, origin })
        } else if end.t > t - tolerance {
            Some(Clock { grid, tick, ..end })
        } else {
            Some(end)
        }
    }

    /// A tick not beyond the planned step. None: the step is shorter than the path resolves.
    fn on_tick(&mut self, h: f64, end: Clock) -> Option<Clock> {
        let from = self.clock.tick;
        let mut tick = self.track.reach(from, h);
        if tick <= from && self.tried != Some(from) {
            // Where ticks are coarse, one of them may do though less was planned.
            self.tried = self.track.is_coarse().then_some(from);
            tick += self.track.is_coarse() as u64;
        }
        if tick <= from {
            return None;
        }
        if tick >= end.tick {
            return Some(end);
        }
        Some(Clock { t: self.track.time_of(tick), tick, ..self.clock })
    }

    /// The path's beginning.
    fn read(&mut self, span: (f64, f64)) -> Result<(), OdeError> {
        let srk = &self.srk;
        self.track.set(&self.path, span, (srk.noise.width(srk.dim), srk.batch), self.trajectory)?;
        if srk.method.needs_area() && !self.track.has_areas() {
            let what = format!("{} needs the areas of given increments", srk.method.name);
            return Err(OdeError::Mismatch { what });
        }
        Ok(())
    }
    /// The path of the last run for another track; returns where the run began on it.
    pub(crate) fn read_again(&self, track: &mut Track) -> Result<u64, OdeError> {
        let (srk, span) = (&self.srk, (self.clock.origin, self.clock.t));
        track.set(&self.path, span, (srk.noise.width(srk.dim), srk.batch), self.trajectory)?;
        Ok(track.tick_of(self.clock.origin))
    }

    /// k_0 and g_0 at (t, y0).
    fn evaluate<F: Map<T>, G: Map<T>>(
        &mut self,
        sde: &mut Sde<F, G>,
        t: T,
        p: &[T],
        counts: &mut OdeCounts,
    ) -> bool {
        let (pf, pg) = sde.ranges();
        let (n, gl) = (self.srk.n(), self.srk.g_len());
        let (k, g) = (&mut self.st.k[..n], &mut self.st.g[..gl]);
        sde.drift.value(At::new(t, &self.st.y0, &p[pf]), k);
        sde.diffusion.value(At::new(t, &self.st.y0, &p[pg]), g);
        (counts.evals, counts.diffusions) = (counts.evals + 1, counts.diffusions + 1);
        all_finite(k) && all_finite(g)
    }

    /// The step at which the error estimate would be about 1/2 if E1 = h f sum e1 and E2 = g h^order in units of the problem's own time;
    /// a guess that the controller corrects: at most a tenth of the span.
    fn first_step(&mut self, span: f64, (options, scale): (&Options, &Scale<T>)) -> f64 {
        let (n, norm) = (self.srk.n(), options.norm);
        let st = &mut self.st;
        let df = scaled_norm(norm, scale, &st.y0, &st.y0, &st.k[..n]).f64();
        // |g_i| over the motions that drive component i.
        let (len, dim) = (self.srk.noise.len(self.srk.dim), self.srk.dim);
        for (c, g) in st.g[..self.srk.g_len()].chunks_exact(len).enumerate() {
            for i in 0..dim {
                st.arg[c * dim + i] = g.iter().skip(i).step_by(dim).map(|&v| v * v).sum::<T>().sqrt();
            }
        }
        let dg = scaled_norm(norm, scale, &st.y0, &st.y0, &st.arg).f64();
        let m = self.srk.method;
        let weight = (self.srk.delta.f64() * m.e1.iter().sum::<f64>()).max(0.1);
        let h = (0.1 * span).min(0.5 / (weight * df)).min((0.5 / dg).powf(1.0 / m.control_order));
        h.min(options.max_step).max(options.min_step).max(self.track.shortest())
    }
}

impl<T: Scalar> Carrier<T> for StochasticRk<T> {
    const SMOOTH: bool = false;

    fn facts(&self) -> Facts {
        let m = self.srk.method;
        Facts { control_order: m.control_order, stability: m.stability }
    }
    fn set_trajectory(&mut self, number: u32) {
        self.trajectory = number;
    }
    fn y(&self) -> &[T] {
        &self.st.y0
    }
    fn slope(&self) -> &[T] {
        &self.st.k[..self.st.y0.len()]
    }
    fn carried(&self) -> Vec<u64> {
        let Clock { t, tick, origin, grid } = self.clock;
        let ((from, to), cells) = match &self.path {
            Path::Seeded(b) => (b.interval.unwrap_or((t, t)), b.cells.unwrap_or(1) as u64),
            Path::Given(_) => ((t, t), 1),
        };
        vec![t.to_bits(), tick, origin.to_bits(), grid, from.to_bits(), to.to_bits(), cells]
    }
    fn carry(&mut self, carried: &[u64]) -> Result<(), OdeError> {
        let &[t, tick, origin, grid, from, to, cells] = carried else { return Ok(()) };
        let f = f64::from_bits;
        if let Path::Seeded(b) = &mut self.path {
            *b = b.over(f(from), f(to)).with_cells(cells as u32);
        }
        self.clock = Clock { t: f(t), tick, origin: f(origin), grid };
        self.read((f(origin), self.target.t))?;
        self.track.seek(tick);
        Ok(())
    }
    fn align(&mut self, on: Stretch<T>, h: T, last: bool) -> Option<Aligned<T>> {
        let stop = on.end.f64();
        let end = Clock { t: stop, tick: self.track.tick_of(stop).max(self.clock.tick), ..self.clock };
        self.target = match self.fixed_step {
            Some(h) => self.on_grid(h, end)?,
            None if last => end,
            None => self.on_tick(h.f64(), end)?,
        };
        if self.target.t == stop && !self.track.has(stop) {
            // Given increments have no such time: beyond it, if only a sink wants a state there.
            if on.declared {
                return None;
            }
            let tick = self.track.after(stop);
            self.target = Clock { t: self.track.time_of(tick), tick, ..self.target };
        }
        let t_next = T::of(self.target.t);
        let last = t_next >= on.end && self.track.has(stop);
        if last && self.target.t != end.t {
            self.target = end;
        }
        let (behind, before) = (on.t - on.from, if last { on.end - on.goal } else { T::ZERO });
        let h = T::of(self.target.t - before.f64() - self.clock.t - behind.f64());
        Some(Aligned { h, t_next: if last { on.end } else { t_next }, last })
    }
    fn end_mut(&mut self) -> &mut [T] {
        &mut self.st.y1
    }
    fn start(&mut self, y0: &[T]) {
        self.st.y0.copy_from_slice(y0);
    }
    fn commit(&mut self, moved: Option<&mut Vec<T>>) {
        self.track.accept();
        self.clock = self.target;
        std::mem::swap(&mut self.st.y0, moved.unwrap_or(&mut self.st.y1));
    }
    fn lend(&mut self, take: impl FnOnce(&mut StepBuffers<'_, T>)) {
        take(&mut self.st.buffers());
    }
}

impl<T: Scalar, F: Map<T>, G: Map<T>> Stepper<T, Sde<F, G>> for StochasticRk<T> {
    fn sizes(sde: &Sde<F, G>) -> (usize, usize) {
        (sde.dim(), sde.n_params())
    }
    fn check(&self, sde: &Sde<F, G>, ask: &Ask<'_, T>) -> Result<(), OdeError> {
        check_equation(&self.srk, sde)?;
        check_ask(ask, sde.n_params())?;
        let (t0, t1) = (ask.span.0.f64(), ask.span.1.f64());
        if t1 < t0 {
            let what =
                format!("the span goes back from {t0} to {t1}: a stochastic equation is integrated forwards");
            return Err(OdeError::Mismatch { what });
        }
        Ok(())
    }
    fn prepare(&mut self, sde: &Sde<F, G>, span: (T, T), keep: bool) -> Result<(), OdeError> {
        let span = (span.0.f64(), span.1.f64());
        self.reshape(sde.noise())?;
        self.path = self.resolve(sde.path(), span)?;
        self.read(span)?;
        let tick = self.track.tick_of(span.0);
        self.track.seek(tick);
        self.tried = None;
        self.clock = Clock { t: span.0, tick, origin: span.0, grid: 0 };
        self.target = Clock { t: span.1, ..self.clock };
        self.srk.resize_keep(sde, keep, &mut self.st);
        Ok(())
    }
    fn begin(
        &mut self,
        sde: &mut Sde<F, G>,
        span: (T, T),
        p: &[T],
        by: (&Options, &Scale<T>),
        counts: &mut OdeCounts,
    ) -> Option<T> {
        let options = by.0;
        if let Some(h) = options.fixed_step.or(options.first_step) {
            return Some(T::of(h.min(options.max_step)));
        }
        let finite = self.evaluate(sde, span.0, p, counts);
        finite.then(|| T::of(self.first_step(span.1.f64() - span.0.f64(), by)))
    }
    fn starts(&mut self, sde: &mut Sde<F, G>, t: T, p: &[T], counts: &mut OdeCounts) -> bool {
        self.evaluate(sde, t, p, counts)
    }
    fn attempt(
        &mut self,
        sde: &mut Sde<F, G>,
        (t, h): (T, T),
        p: &[T],
        by: Measure<'_, T>,
        counts: &mut OdeCounts,
    ) -> Trial<T> {
        let (w, area) = self.track.look(self.target.tick);
        self.srk.set_noise(h, w, area, &mut self.st);
        let (f, g) = self.srk.step(sde, t, h, p, &mut self.st);
        (counts.evals, counts.diffusions) = (counts.evals + f, counts.diffusions + g);
        let error = self.srk.scaled_error(h, by, &mut self.st);
        let e = error.f64();
        Trial { error, square: e * e }
    }
    fn derivative(&self, sde: &mut Sde<F, G>, at: At<'_, T>, out: &mut [T], counts: &mut OdeCounts) {
        let range = sde.ranges().0;
        sde.drift.value(At::new(at.t, at.x, &at.p[range]), out);
        counts.evals += 1;
    }
    fn body<'a>(&'a mut self, _: &'a mut Sde<F, G>, _: &'a [T]) -> impl StepBody<T> + 'a {
        SrkBody { srk: &self.srk, st: &mut self.st, tick: self.target.tick }
    }
    /// Its S sees the last step only.
    fn probe(&mut self, _: &mut Sde<F, G>, _: (T, T), _: &[T], _: &mut OdeCounts) -> Option<T> {
        None
    }
}

/// A stochastic step. Between its ends the solution is drawn straight.
struct SrkBody<'a, T> {
    srk: &'a Srk<T>,
    st: &'a mut SdeStages<T>,
    tick: u64,
}

impl<T: Scalar> StepBody<T> for SrkBody<'_, T> {
    fn note(&self) -> Option<u64> {
        Some(self.tick)
    }
    fn increments(&self) -> &[T] {
        &self.st.x[0]
    }
    fn y0(&self) -> &[T] {
        &self.st.y0
    }
    fn y1(&self) -> &[T] {
        &self.st.y1
    }
    fn dy0(&self) -> &[T] {
        &self.st.k[..self.st.y0.len()]
    }
    fn stiffness(&mut self, h: T) -> T {
        self.srk.stiffness(h, self.st)
    }
    fn degree(&self) -> usize {
        0
    }
    fn prepare_dense(&mut self, _: T, _: T) -> u64 {
        0
    }
    fn interpolate(&mut self, theta: T, _: T, out: &mut [T]) {
        straight(&self.st.y0, &self.st.y1, theta, out);
    }
    fn coefficients(&mut self, _: T, _: &mut [T]) {}
}

/// out <- (1 - theta) y0 + theta y1.
pub(crate) fn straight<T: Scalar>(y0: &[T], y1: &[T], theta: T, out: &mut [T]) {
    for ((o, a), b) in out.iter_mut().zip(y0).zip(y1) {
        *o = (T::ONE - theta) * *a + theta * *b;
    }
}

impl<T: Scalar> Method<T> for &'static SdeMethod {
    type Integrator = SdeIntegrator<T>;
    fn integrator(self, dim: usize, batch: usize, options: &Options) -> Result<SdeIntegrator<T>, OdeError> {
        SdeIntegrator::new(self, dim, batch, options)
    }
}

/// Whether the method may be used with this equation.
pub(crate) fn check_equation<T: Scalar, F: Map<T>, G: Map<T>>(
    srk: &Srk<T>,
    sde: &Sde<F, G>,
) -> Result<(), OdeError> {
    check_len("the drift's state", sde.drift.inputs(), srk.dim)?;
    let (method, noise) = (srk.method, sde.noise());
    let matrix = matches!(noise, Noise::Matrix(_));
    let (ok, must) = match method.suits {
        Suits::Any => (true, ""),
        Suits::DiagonalOrScalar => (!matrix, "diagonal or scalar noise"),
        Suits::Commutative => (
            !matrix || sde.is_commutative(),
            "diagonal or scalar noise, or matrix noise that is said to be commutative",
        ),
        Suits::Additive => (sde.is_additive(), "noise that is said to be additive"),
    };
    if ok {
        return Ok(());
    }
    Err(OdeError::Mismatch { what: format!("{} needs {must}, this is {noise:?} noise", method.name) })
}

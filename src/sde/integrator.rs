//! The driver: steps on the path's ticks, control, limits.

use std::ops::ControlFlow;

use super::brownian::{Brownian, BrownianPath};
use super::field::{Noise, Sde};
use super::method::{SdeMethod, Suits};
use super::options::SdeOptions;
use super::report::{SdeCounts, SdeReport};
use super::sinks::{SdeBuffers, SdeSink, SdeStep};
use super::srk::{SdeStages, Srk};
use crate::diff::{At, Map};
use crate::error::{catch, check_len};
use crate::linalg::Scalar;
use crate::linalg::kernels::{Scale, all_finite, scaled_norm};
use crate::ode::check::check_finite;
use crate::ode::domain::{Domain, Place};
use crate::ode::options::ControlState;
use crate::ode::{OdeError, OdeStop, Options, Start};

/// A method with its storage: made once, used for any number of integrations; no allocation per step once the path's tree has grown.
#[derive(Debug, Clone)]
pub struct SdeIntegrator<T: Scalar> {
    pub(crate) srk: Srk<T>,
    pub(crate) st: SdeStages<T>,
    pub(crate) path: BrownianPath,
    pub(crate) scale: Scale<T>,
    pub(crate) options: Options,
    domain: Domain<T>,
}

/// What changes during an integration. Time is kept in double precision: the path's ticks must not depend on T.
struct Drive {
    t: f64,
    tick: u64,
    t0: f64,
    t1: f64,
    h: f64,
    /// How far the evaluations stay away from declared stops, and from t: behind one.
    gap: f64,
    behind: f64,
    /// Steps of the fixed grid behind.
    grid: u64,
    control: ControlState,
    counts: SdeCounts,
    err: f64,
    stiffness: Option<f64>,
}

/// The end of the next step.
struct Target {
    t: f64,
    tick: u64,
    grid: u64,
    /// Whether a save point or t1 ended it early.
    clipped: bool,
}

impl<T: Scalar> SdeIntegrator<T> {
    /// Storage for states of dim x batch, with this shape of noise.
    pub fn new(
        method: &'static SdeMethod,
        noise: Noise,
        dim: usize,
        batch: usize,
        options: &SdeOptions,
    ) -> Result<Self, OdeError> {
        let checked = options.check()?;
        if dim * batch * noise.width(dim) == 0 {
            let what =
                format!("a state of {dim} components, a batch of {batch} and {noise:?} noise are empty");
            return Err(OdeError::Mismatch { what });
        }
        if !method.is_adaptive() && options.fixed_step.is_none() {
            let what = format!("{} has no error estimate: give a fixed_step", method.name);
            return Err(OdeError::Mismatch { what });
        }
        let srk = Srk::new(method, noise, dim, batch, options.delta.unwrap_or(method.delta));
        Ok(Self {
            st: srk.stages(),
            path: BrownianPath::new(&Brownian::new(0), (0.0, 1.0), noise.width(dim), batch)?,
            scale: checked.scale(dim, batch)?,
            domain: Domain::new(&checked, dim)?,
            options: checked,
            srk,
        })
    }

    /// The final state of the last run.
    pub fn y(&self) -> &[T] {
        &self.st.y0
    }
    /// The method.
    pub fn method(&self) -> &'static SdeMethod {
        self.srk.method
    }

    /// Integrates from (t0, y0) to t1 > t0 along the given path; `sinks` see every accepted step.
    pub fn run<F: Map<T>, G: Map<T>, S: SdeSink<T>>(
        &mut self,
        sde: &mut Sde<F, G>,
        span: (T, T),
        y0: &[T],
        p: &[T],
        brownian: &Brownian,
        sinks: &mut S,
    ) -> Result<SdeReport, OdeError> {
        self.check(sde, span, y0, p)?;
        let span64 = (span.0.f64(), span.1.f64());
        self.path.set(&self.with_grid(brownian, span64), span64)?;
        // A panic of the user's functions or sinks becomes an error: all storage here is overwritten by the next run.
        catch(|| {
            sinks.start(&Start { t0: span.0, t1: span.1, y0, dim: self.srk.dim })?;
            self.srk.resize_keep(sde, sinks.wants_keep(), &mut self.st);
            self.st.y0.copy_from_slice(y0);
            Ok(self.drive(sde, span64, p, sinks))
        })?
    }

    /// With a fixed step and no cells given: one cell a step.
    fn with_grid(&self, b: &Brownian, (t0, t1): (f64, f64)) -> Brownian {
        let Some(h) = self.options.fixed_step.filter(|_| b.cells.is_none() && b.interval.is_none()) else {
            return *b;
        };
        let cells = ((t1 - t0) / h - 1e-8).ceil();
        if cells > u32::MAX as f64 {
            return *b;
        }
        let cells = cells.max(1.0);
        b.over(t0, (t0 + cells * h).max(t1)).with_cells(cells as u32)
    }

    pub(crate) fn check<F: Map<T>, G: Map<T>>(
        &self,
        sde: &Sde<F, G>,
        (t0, t1): (T, T),
        y0: &[T],
        p: &[T],
    ) -> Result<(), OdeError> {
        check_len("the drift's state", sde.drift.inputs(), self.srk.dim)?;
        check_noise(self.srk.method, self.srk.noise, sde)?;
        check_len("the start", y0.len(), self.srk.n())?;
        check_len("the parameter vector", p.len(), sde.n_params())?;
        if !(t0.is_finite() && t1.is_finite()) {
            return Err(OdeError::SpanNotFinite { t0: t0.f64(), t1: t1.f64() });
        }
        if t0 == t1 {
            return Err(OdeError::EmptySpan { t0: t0.f64() });
        }
        if t1 < t0 {
            let what = format!(
                "the span goes back from {} to {}: a stochastic equation is integrated forwards",
                t0.f64(),
                t1.f64()
            );
            return Err(OdeError::Mismatch { what });
        }
        check_finite("the start", y0)?;
        check_finite("the parameter vector", p)
    }

    fn drive<F: Map<T>, G: Map<T>, S: SdeSink<T>>(
        &mut self,
        sde: &mut Sde<F, G>,
        (t0, t1): (f64, f64),
        p: &[T],
        sinks: &mut S,
    ) -> SdeReport {
        let tick = self.path.tick_of(t0);
        self.path.seek(tick);
        let mut d = Drive {
            t: t0,
            tick,
            t0,
            t1,
            h: 0.0,
            gap: 4.0 * T::EPSILON.f64() * t0.abs().max(t1.abs()),
            behind: 0.0,
            grid: 0,
            control: ControlState::default(),
            counts: SdeCounts::default(),
            err: 0.0,
            stiffness: None,
        };
        if let Some(h) = self.options.fixed_step.or(self.options.first_step) {
            d.h = h.min(self.options.max_step);
        } else if !self.start_is_finite(sde, p, &mut d) {
            return self.report(OdeStop::StartNotFinite, &d);
        } else {
            d.h = self.first_step(&d);
        }
        let mut stop = self.steps(sde, p, sinks, &mut d);
        let early = matches!(stop, OdeStop::StepUnderflow | OdeStop::NotFinite) && d.counts.accepted == 0;
        if early && !self.start_is_finite(sde, p, &mut d) {
            stop = OdeStop::StartNotFinite;
        }
        self.report(stop, &d)
    }

    /// k_0 and g_0 at the start.
    fn start_is_finite<F: Map<T>, G: Map<T>>(&mut self, sde: &mut Sde<F, G>, p: &[T], d: &mut Drive) -> bool {
        let (pf, pg) = sde.ranges();
        let (n, gl) = (self.srk.n(), self.srk.g_len());
        let (k, g) = (&mut self.st.k[..n], &mut self.st.g[..gl]);
        sde.drift.value(At::new(T::of(d.t), &self.st.y0, &p[pf]), k);
        sde.diffusion.value(At::new(T::of(d.t), &self.st.y0, &p[pg]), g);
        (d.counts.drift, d.counts.diffusion) = (d.counts.drift + 1, d.counts.diffusion + 1);
        all_finite(k) && all_finite(g)
    }

    /// The step at which the error estimate would be about 1/2 if E1 = h f sum e1 and E2 = g h^order in units of the problem's own time;
    /// a guess that the controller corrects: at most a tenth of the span.
    fn first_step(&mut self, d: &Drive) -> f64 {
        let (n, norm) = (self.srk.n(), self.options.norm);
        let st = &mut self.st;
        let df = scaled_norm(norm, &self.scale, &st.y0, &st.y0, &st.k[..n]).f64();
        // |g_i| over the motions that drive component i.
        let (len, dim) = (self.srk.noise.len(self.srk.dim), self.srk.dim);
        for (c, g) in st.g[..self.srk.g_len()].chunks_exact(len).enumerate() {
            for i in 0..dim {
                st.arg[c * dim + i] = g.iter().skip(i).step_by(dim).map(|&v| v * v).sum::<T>().sqrt();
            }
        }
        let dg = scaled_norm(norm, &self.scale, &st.y0, &st.y0, &st.arg).f64();
        let m = self.srk.method;
        let weight = (self.srk.delta.f64() * m.e1.iter().sum::<f64>()).max(0.1);
        let h = (0.1 * (d.t1 - d.t)).min(0.5 / (weight * df)).min((0.5 / dg).powf(1.0 / m.control_order));
        h.min(self.options.max_step).max(self.options.min_step).max(64.0 * self.path.tick())
    }

    /// Where the next step ends. Without a save point in reach: on a tick divisible by a power of two of at least 1/64 of the step, not beyond
    /// the planned step, so that only the upper part of the path's tree is needed. None: the step is shorter than the path resolves.
    fn target(&self, stop: f64, d: &Drive) -> Option<Target> {
        let end = Target { t: stop, tick: self.path.tick_of(stop).max(d.tick), grid: d.grid, clipped: true };
        if self.options.fixed_step.is_some() {
            let grid = d.grid + 1;
            let t = d.t0 + grid as f64 * d.h;
            // A save point on the grid up to rounding is the grid's point.
            let tolerance = 1e-8 * d.h + 2.0 * T::EPSILON.f64() * t.abs();
            let tick = self.path.tick_of(t);
            return Some(if stop > t + tolerance {
                Target { t, tick, grid, clipped: false }
            } else if stop > t - tolerance {
                Target { grid, tick, ..end }
            } else {
                end
            });
        }
        // Stretch a little rather than leave a sliver; a rejected step must shrink.
        let stretch = if d.control.rejected { 1.0 } else { 1.01 };
        if d.t + stretch * d.h >= stop {
            return Some(end);
        }
        let ticks = d.h / self.path.tick();
        let unit = 1u64 << ((ticks / 32.0).max(1.0).log2() as u32);
        let tick = (d.tick + ticks as u64) / unit * unit;
        if d.h < self.options.min_step || tick <= d.tick {
            return None;
        }
        if tick >= end.tick {
            return Some(end);
        }
        Some(Target { t: self.path.time_of(tick), tick, grid: 0, clipped: false })
    }

    fn steps<F: Map<T>, G: Map<T>, S: SdeSink<T>>(
        &mut self,
        sde: &mut Sde<F, G>,
        p: &[T],
        sinks: &mut S,
        d: &mut Drive,
    ) -> OdeStop {
        let k = self.srk.method.control_order;
        let fixed = self.options.fixed_step.is_some();
        loop {
            if d.counts.accepted + d.counts.rejected >= self.options.max_steps {
                return OdeStop::MaxSteps;
            }
            let declared = self.next_declared(d);
            let stop = sinks.next_stop(T::of(d.t)).map_or(d.t1, |s| s.f64().min(d.t1)).min(declared);
            let Some(target) = self.target(stop, d) else { return OdeStop::StepUnderflow };
            let before = if target.t == declared { d.gap } else { 0.0 };
            let (t, h) = (T::of(d.t + d.behind), target.t - before - d.t - d.behind);
            let step = T::of(h);
            let (w, area) = self.path.look(target.tick);
            self.srk.set_noise(step, w, area, &mut self.st);
            let (f, g) = self.srk.step(sde, t, step, p, &mut self.st);
            (d.counts.drift, d.counts.diffusion) = (d.counts.drift + f, d.counts.diffusion + g);
            let mut err = self.error(step);
            if (err.f64() <= 1.0 || fixed) && !self.domain.is_everything() {
                let outside = self.domain.place(&mut self.st.y1) == Place::Outside;
                d.counts.outside += outside as u64;
                // No error of the method, so a finite one.
                err = if outside && !fixed { T::of(f32::MAX as f64) } else { err };
            }
            d.err = err.f64();
            if !(d.err <= 1.0 || (fixed && d.err.is_finite())) {
                d.counts.rejected += 1;
                d.counts.not_finite += !d.err.is_finite() as u64;
                if fixed {
                    return OdeStop::NotFinite;
                }
                d.h = h * d.control.rejected(&self.options.controller, k, d.err);
                continue;
            }
            self.path.accept();
            let factor = d.control.accepted(&self.options.controller, k, d.err * d.err);
            if !fixed {
                let next = h * factor;
                // A step cut short by a save point must not shrink the plan.
                let next = if target.clipped { next.max(d.h) } else { next };
                d.h = next.min(self.options.max_step);
            }
            d.behind = if target.t == declared { d.gap } else { 0.0 };
            if self.accept(sinks, d, &target, (t, step), err).is_break() {
                return OdeStop::Stopped;
            }
            if d.t == d.t1 {
                return OdeStop::Finished;
            }
        }
    }

    /// The next declared stop; infinite if there is none.
    fn next_declared(&self, d: &Drive) -> f64 {
        let ahead = self.options.stops.iter().filter(|s| **s > d.t + 2.0 * d.gap && **s < d.t1 - 2.0 * d.gap);
        ahead.fold(f64::INFINITY, |a, b| a.min(*b))
    }

    /// E of the step in `st`.
    pub(crate) fn error(&mut self, h: T) -> T {
        self.srk.error(h, &mut self.st);
        let st = &self.st;
        scaled_norm(self.options.norm, &self.scale, &st.y0, &st.y1, &st.arg)
    }

    /// Shows the step to the sinks and moves on.
    fn accept<S: SdeSink<T>>(
        &mut self,
        sinks: &mut S,
        d: &mut Drive,
        target: &Target,
        (t, h): (T, T),
        err: T,
    ) -> ControlFlow<()> {
        let mut step = SdeStep {
            srk: &self.srk,
            st: &mut self.st,
            t,
            h,
            t_next: T::of(target.t),
            ticks: (d.tick, target.tick),
            err,
            index: d.counts.accepted,
            stiffness: None,
        };
        let flow = sinks.accepted(&mut step);
        if self.srk.method.stiffness.is_some() {
            let hs = (step.stiffness() * h).f64();
            d.stiffness = Some(d.stiffness.unwrap_or(0.0).max(hs));
        }
        d.counts.accepted += 1;
        (d.t, d.tick, d.grid) = (target.t, target.tick, target.grid);
        sinks.retain(&mut SdeBuffers(&mut self.st));
        std::mem::swap(&mut self.st.y0, &mut self.st.y1);
        flow
    }

    fn report(&self, stop: OdeStop, d: &Drive) -> SdeReport {
        SdeReport {
            stop,
            t: d.t,
            h: d.h,
            error: d.err,
            stiffness: d.stiffness,
            stability: self.srk.method.stability,
            counts: d.counts,
        }
    }
}

/// Whether the method may be used with this diffusion.
pub(crate) fn check_noise<F, G>(method: &SdeMethod, noise: Noise, sde: &Sde<F, G>) -> Result<(), OdeError> {
    let found = sde.noise();
    if found != noise {
        let what = format!("the diffusion has {found:?} noise, the integrator was made for {noise:?}");
        return Err(OdeError::Mismatch { what });
    }
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

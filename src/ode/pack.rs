//! Ensembles whose trajectories are integrated several at a time, in the lanes of vector registers, each with its own time and step.
//!
//! A lane that ends its trajectory takes the next one. All arithmetic of a trajectory is that of [`Integrator`](super::Integrator), operation by
//! operation, so the result is to the bit the one it has alone, whatever its neighbours and the number of threads.

use rayon::prelude::*;

use super::ensemble::{Ensemble, Params, check_ensemble, one_by_one};
use super::explicit::{Integrator, check_order};
use super::options::Options;
use super::pace::{Limits, Pace};
use super::report::{OdeReport, OdeStop};
use super::short;
use super::sinks::SaveAt;
use super::stepper::Stepper;
use super::tableau::Tableau;
use crate::diff::{Formula, Lanes, Number, Size, Values, WIDTH};
use crate::error::{OdeError, catch};
use crate::expr::Real;
use crate::linalg::Norm;
use crate::linalg::Scalar;
use crate::linalg::kernels::Scale;
use crate::ode::check::check_finite;
use crate::simd::any_length;

/// Trajectories handed to one thread at a time.
const CHUNK: usize = 128;

/// As [`solve_ensemble`](super::solve_ensemble) for a [`Formula`](crate::diff::Formula): eight trajectories at a time, each with its own steps, the results the same to
/// the bit. Worth it for cheap fields of arithmetic and square roots; other functions are computed one lane after the other.
pub fn solve_lanes<T: Real, F: Formula<T>>(
    method: &'static Tableau,
    options: &Options,
    field: &F,
    span: (T, T),
    y0: &[T],
    params: Params<'_, T>,
    save_at: &[T],
) -> Result<Ensemble<T>, OdeError> {
    let Size { inputs: dim, outputs, params: n_params } = field.size();
    if outputs != dim {
        let what = format!("a formula with {dim} inputs and {outputs} outputs is no field");
        return Err(OdeError::Mismatch { what });
    }
    Integrator::<T>::new(method, dim, 1, options)?;
    check_order(method, &Values(field))?;
    let count = check_ensemble((dim, n_params), span, y0, params, save_at)?;
    let width = dim * save_at.len();
    let starts: Vec<usize> = (0..count).step_by(CHUNK).collect();
    let parts: Vec<Result<Ensemble<T>, OdeError>> = starts
        .into_par_iter()
        .map(|first| {
            let task = Task { field, span, y0, params, save_at, first, end: count.min(first + CHUNK) };
            let mut pack = Pack::new(&task, method, options)?;
            if let Ok(done) = catch(|| pack.run(&task)) {
                done?;
                let Part { y1, saved, reports } = pack.out;
                let reports = reports.into_iter().flatten().collect();
                return Ok(Ensemble { y1, saved, reports, panics: vec![] });
            }
            // Which lane panicked is not known: one trajectory after the other, with the same operations, says it.
            let (sizes, part) = ((dim, n_params), &y0[first * dim..task.end * dim]);
            one_by_one(method, options, || Values(field), sizes, span, (first, part), params, save_at)
        })
        .collect();
    let mut out = Ensemble {
        y1: Vec::with_capacity(y0.len()),
        saved: Vec::with_capacity(width * count),
        reports: Vec::with_capacity(count),
        panics: vec![],
    };
    for (part, first) in parts.into_iter().zip((0..).step_by(CHUNK)) {
        let part = part?;
        out.y1.extend(part.y1);
        out.saved.extend(part.saved);
        out.reports.extend(part.reports);
        out.panics.extend(part.panics.into_iter().map(|(i, text)| (first + i, text)));
    }
    Ok(out)
}

/// Trajectories first..end of an ensemble.
struct Task<'a, T, F> {
    field: &'a F,
    span: (T, T),
    y0: &'a [T],
    params: Params<'a, T>,
    save_at: &'a [T],
    first: usize,
    end: usize,
}

impl<T: Scalar, F: Formula<T>> Task<'_, T, F> {
    fn p(&self, trajectory: usize) -> &[T] {
        self.params.of(trajectory, self.field.size().params)
    }
}

/// Results of a task.
struct Part<T> {
    y1: Vec<T>,
    saved: Vec<T>,
    reports: Vec<Option<OdeReport>>,
}

/// Where the trajectory of a lane is.
struct Track<T> {
    trajectory: usize,
    drive: Pace<T>,
    save: SaveAt<T>,
    h: T,
    last: bool,
}

/// States and stages of all lanes; component m of stage i is k[i n + m].
struct Pack<T: Scalar> {
    one: Integrator<T>,
    lim: Limits<T>,
    scale: Scale<T>,
    norm: Norm,
    n: usize,
    next: usize,
    tracks: [Option<Track<T>>; WIDTH],
    t: Lanes<T>,
    h: Lanes<T>,
    y: Vec<Lanes<T>>,
    y1: Vec<Lanes<T>>,
    k: Vec<Lanes<T>>,
    p: Vec<Lanes<T>>,
    out: Part<T>,
}

impl<T: Real> Pack<T> {
    fn new<F: Formula<T>>(
        task: &Task<'_, T, F>,
        method: &'static Tableau,
        options: &Options,
    ) -> Result<Self, OdeError> {
        let Size { inputs: n, params: n_params, .. } = task.field.size();
        let one = Integrator::new(method, n, 1, options)?;
        let (zero, count) = (Lanes::splat(T::ZERO), task.end - task.first);
        Ok(Self {
            lim: one.limits(),
            scale: options.scale(n, 1)?,
            norm: options.norm,
            n,
            next: task.first,
            tracks: std::array::from_fn(|_| None),
            t: zero,
            h: zero,
            y: vec![zero; n],
            y1: vec![zero; n],
            k: vec![zero; method.stages * n],
            p: vec![zero; n_params],
            out: Part {
                y1: vec![T::ZERO; n * count],
                saved: vec![T::ZERO; n * task.save_at.len() * count],
                reports: vec![None; count],
            },
            one,
        })
    }

    fn run<F: Formula<T>>(&mut self, task: &Task<'_, T, F>) -> Result<(), OdeError> {
        for l in 0..WIDTH {
            self.load(task, l)?;
        }
        // Every lane starts with something finite.
        if let Some(full) = self.tracks.iter().position(Option::is_some) {
            for l in (0..WIDTH).filter(|&l| self.tracks[l].is_none()).collect::<Vec<_>>() {
                self.copy_lane(full, l);
            }
        }
        while self.tracks.iter().any(Option::is_some) {
            for l in 0..WIDTH {
                self.plan(task, l)?;
            }
            let e = any_length(
                #[inline(always)]
                || self.attempt(task.field),
            );
            let mut accepted = Lanes::splat(T::ZERO);
            for l in 0..WIDTH {
                accepted.0[l] = if self.judge(task, l, e.0[l]) { T::ONE } else { T::ZERO };
            }
            let last = self.k.len() - self.n;
            for m in 0..self.n {
                self.y[m] = Lanes::blend(&accepted, self.y1[m], self.y[m]);
                self.k[m] = Lanes::blend(&accepted, self.k[last + m], self.k[m]);
            }
            for l in 0..WIDTH {
                self.restart(task, l);
                if self.tracks[l].as_ref().is_some_and(|t| t.drive.at_end()) {
                    self.finish(task, l, OdeStop::Finished);
                }
                if self.tracks[l].is_none() && self.next < task.end {
                    self.load(task, l)?;
                }
            }
        }
        Ok(())
    }

    /// Gives lane l the next trajectory that can be started, if there is one; an idle lane repeats a step of length zero.
    fn load<F: Formula<T>>(&mut self, task: &Task<'_, T, F>, l: usize) -> Result<(), OdeError> {
        self.h.0[l] = T::ZERO;
        while self.next < task.end {
            let (trajectory, n) = (self.next, self.n);
            self.next += 1;
            let (y0, p) = (&task.y0[trajectory * n..][..n], task.p(trajectory));
            check_finite("the parameter vector", p)?;
            let mut save = SaveAt::new(task.save_at);
            self.one.set_start(task.span, y0, &mut save)?;
            match self.one.begin(&mut Values(task.field), task.span, p) {
                Ok(drive) => {
                    self.y.iter_mut().zip(y0).for_each(|(to, &y)| to.0[l] = y);
                    self.k.iter_mut().zip(&self.one.stepper.st.k).take(n).for_each(|(to, &k)| to.0[l] = k);
                    self.p.iter_mut().zip(p).for_each(|(to, &x)| to.0[l] = x);
                    let h = T::ZERO;
                    self.tracks[l] = Some(Track { trajectory, drive, save, h, last: false });
                    return Ok(());
                }
                Err(report) => self.store(task, trajectory, report, y0, save.states()),
            }
        }
        self.tracks[l] = None;
        Ok(())
    }

    /// Behind a stop the derivative is made anew.
    #[inline(always)]
    fn restart<F: Formula<T>>(&mut self, task: &Task<'_, T, F>, l: usize) {
        let Some(track) = self.tracks[l].as_mut().filter(|t| t.drive.moved) else { return };
        let d = &mut track.drive;
        d.moved = false;
        let st = &mut self.one.stepper.st;
        st.y0.iter_mut().zip(&self.y).for_each(|(to, y)| *to = y.0[l]);
        let (field, p) = (&mut Values(task.field), task.p(track.trajectory));
        Stepper::refresh(&mut self.one.stepper, field, d.t, p, &mut d.counts);
        self.k.iter_mut().zip(&self.one.stepper.st.k).take(self.n).for_each(|(to, &k)| to.0[l] = k);
    }

    fn copy_lane(&mut self, from: usize, to: usize) {
        for v in self.y.iter_mut().chain(&mut self.k).chain(&mut self.p) {
            v.0[to] = v.0[from];
        }
        self.t.0[to] = self.t.0[from];
    }

    /// The next attempt of lane l; a trajectory that must give up is replaced.
    fn plan<F: Formula<T>>(&mut self, task: &Task<'_, T, F>, l: usize) -> Result<(), OdeError> {
        while let Some(track) = &mut self.tracks[l] {
            match track.drive.plan(&self.lim) {
                Ok((h, last)) => {
                    (track.h, track.last) = (h, last);
                    (self.h.0[l], self.t.0[l]) = (h, track.drive.t);
                    break;
                }
                Err(stop) => {
                    self.finish(task, l, stop);
                    self.load(task, l)?;
                }
            }
        }
        Ok(())
    }

    /// The attempted step of all lanes, last stage included: the squares of the scaled errors.
    #[inline(always)]
    fn attempt<F: Formula<T>>(&mut self, field: &F) -> Lanes<T> {
        let erk = &self.one.stepper.erk;
        let (th, p) = ((self.t, self.h), &self.p[..]);
        let f = |t, g: &[Lanes<T>], dy: &mut [Lanes<T>]| field.eval(t, g, p, dy);
        short::attempt_any(
            f,
            &erk.dense,
            &erk.c,
            self.norm,
            &self.scale,
            th,
            &self.y,
            &mut self.k,
            &mut self.y1,
        )
    }

    /// Accepts or rejects the attempt of lane l as the integrator would.
    #[inline(always)]
    fn judge<F: Formula<T>>(&mut self, task: &Task<'_, T, F>, l: usize, square: T) -> bool {
        let Some(track) = &mut self.tracks[l] else { return false };
        let (d, tab) = (&mut track.drive, self.one.stepper.erk.tab);
        let late = !tab.error_uses_last as u64;
        d.err = square.sqrt();
        d.counts.evals += tab.stages as u64 - 1 - late;
        let mut good = Pace::passes(&self.lim, square.f64());
        if good && late == 1 {
            d.counts.evals += 1;
            let last = self.k.len() - self.n;
            good = self.k[last..].iter().all(|k| k.0[l].is_finite());
            if !good {
                d.err = T::of(f64::NAN);
            }
        }
        if !good {
            if let Err(stop) = d.reject(&self.lim, track.h, d.err.f64()) {
                self.finish(task, l, stop);
                self.h.0[l] = T::ZERO;
            }
            return false;
        }
        let t_next = d.advance(&self.lim, track.h, track.last, square.f64());
        if d.stiffness_due() || track.save.reaches(d.t, t_next) {
            self.show(task, l, t_next);
        }
        if let Some(track) = &mut self.tracks[l] {
            track.drive.move_to(t_next);
        }
        true
    }

    /// Save points and the stiffness estimate of lane l, from its numbers alone.
    #[cold]
    fn show<F: Formula<T>>(&mut self, task: &Task<'_, T, F>, l: usize, t_next: T) {
        let Some(mut track) = self.tracks[l].take() else { return };
        let st = &mut self.one.stepper.st;
        st.dense = false;
        for m in 0..self.n {
            (st.y0[m], st.y1[m]) = (self.y[m].0[l], self.y1[m].0[l]);
        }
        st.k.iter_mut().zip(&self.k).for_each(|(to, k)| *to = k.0[l]);
        let p = task.p(track.trajectory);
        let _ = self.one.show(&mut Values(task.field), p, &mut track.save, &mut track.drive, track.h, t_next);
        self.tracks[l] = Some(track);
    }

    /// Ends the trajectory of lane l at the state it has now.
    #[cold]
    fn finish<F: Formula<T>>(&mut self, task: &Task<'_, T, F>, l: usize, stop: OdeStop) {
        let Some(mut track) = self.tracks[l].take() else { return };
        let y: Vec<T> = self.y.iter().map(|y| y.0[l]).collect();
        self.one.stepper.st.y0.copy_from_slice(&y);
        let p = task.p(track.trajectory);
        let report = self.one.end(&mut Values(task.field), p, stop, &mut track.drive);
        self.store(task, track.trajectory, report, &y, track.save.states());
    }

    fn store<F: Formula<T>>(
        &mut self,
        task: &Task<'_, T, F>,
        trajectory: usize,
        report: OdeReport,
        y: &[T],
        saved: &[T],
    ) {
        let i = trajectory - task.first;
        self.out.y1[i * self.n..][..self.n].copy_from_slice(y);
        self.out.saved[i * saved.len()..][..saved.len()].copy_from_slice(saved);
        self.out.reports[i] = Some(report);
    }
}

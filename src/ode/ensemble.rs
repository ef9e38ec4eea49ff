//! Many independent trajectories, each with its own steps, on all cores.

use rayon::prelude::*;

use super::method::{Integrate, Method, Storage};
use super::options::Options;
use super::report::{OdeCounts, OdeReport};
use super::sinks::{SaveAt, check_save_points};
use crate::error::{OdeError, catch, check_len};
use crate::linalg::Scalar;
use crate::ode::check::{check_finite, check_span};

/// Parameters of an ensemble.
#[derive(Debug, Clone, Copy)]
pub enum Params<'a, T> {
    /// The same for all trajectories.
    Shared(&'a [T]),
    /// One column of length n_params for each.
    Each(&'a [T]),
}

impl<'a, T> Params<'a, T> {
    /// Those of a trajectory.
    pub(crate) fn of(self, trajectory: usize, n_params: usize) -> &'a [T] {
        match self {
            Params::Shared(p) => p,
            Params::Each(p) => &p[trajectory * n_params..][..n_params],
        }
    }
}

/// What came out of an ensemble; trajectory i is number i of the input whatever the number of threads.
///
/// A trajectory whose field panics ends with [`OdeStop::Panicked`](super::OdeStop::Panicked), the others go on with a field of their own; its report
/// names t0 and no counts, for how far it came is lost.
#[derive(Debug, Clone)]
pub struct Ensemble<T> {
    /// Final states, dim x count; NaN where the field panicked.
    pub y1: Vec<T>,
    /// States at the save points, dim x saves x count; NaN where a trajectory ended early.
    pub saved: Vec<T>,
    /// One report a trajectory.
    pub reports: Vec<OdeReport>,
    /// Trajectories whose field panicked, ascending, and the text of the panic.
    pub panics: Vec<(usize, String)>,
}

impl<T> Ensemble<T> {
    /// Sum of all counts.
    pub fn counts(&self) -> OdeCounts {
        self.reports.iter().fold(OdeCounts::default(), |mut sum, r| {
            sum += r.counts;
            sum
        })
    }
    /// Trajectories that did not reach the end.
    pub fn failed(&self) -> impl Iterator<Item = (usize, &OdeReport)> {
        self.reports.iter().enumerate().filter(|(_, r)| !r.ok())
    }
}

/// Integrates every column of `y0` (dim x count) on its own, in rayon's current pool; where there is noise, column i follows the path of trajectory
/// `first_trajectory + i`. Each trajectory is computed by one thread with the same operations in the same order, so the result does not depend on the number of
/// threads. `make` makes a system for a thread.
///
/// ```
/// use costate::diff::{FnMap, Map};
/// use costate::ode::{Options, Params, RODAS5P, solve_ensemble};
/// // y' = -p (y - cos t) - sin t, y(0) = 1: y = cos t, from hardly stiff to very stiff.
/// let make = || {
///     let f = FnMap::new(1, 1, |t: f64, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = -p[0] * (y[0] - t.cos()) - t.sin());
///     f.with_jacobian(|_t, _y: &[f64], p: &[f64], jac: &mut [f64]| jac[0] = -p[0])
/// };
/// let rates = [1.0, 1e3, 1e6, 1e9];
/// let o = Options::tolerances(1e-6, 1e-6);
/// let s = solve_ensemble(&RODAS5P, &o, make, (0.0, 2.0), &[1.0; 4], Params::Each(&rates), &[])?;
/// assert!(s.failed().count() == 0 && s.y1.iter().all(|y| (y - 2f64.cos()).abs() < 1e-6));
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
pub fn solve_ensemble<T, D, S, M>(
    method: D,
    options: &Options,
    make: M,
    span: (T, T),
    y0: &[T],
    params: Params<'_, T>,
    save_at: &[T],
) -> Result<Ensemble<T>, OdeError>
where
    T: Scalar,
    D: Method<T> + Sync,
    D::Integrator: Integrate<T, S>,
    M: Fn() -> S + Sync,
{
    let sizes = catch(|| D::Integrator::sizes(&make()))?;
    method.integrator(sizes.0, 1, options)?;
    let count = check_ensemble(sizes, span, y0, params, save_at)?;
    if count as u64 > 1 << 32 {
        return Err(OdeError::Mismatch { what: format!("{count} trajectories are more than 2^32") });
    }
    one_by_one(method, options, make, sizes, span, (0, y0), params, save_at)
}

/// The trajectories whose starts are the columns of `y0`, numbered from `first`; the input is checked already.
#[allow(clippy::too_many_arguments)]
pub(super) fn one_by_one<T, D, S, M>(
    method: D,
    options: &Options,
    make: M,
    (dim, np): (usize, usize),
    span: (T, T),
    (first, y0): (usize, &[T]),
    params: Params<'_, T>,
    save_at: &[T],
) -> Result<Ensemble<T>, OdeError>
where
    T: Scalar,
    D: Method<T> + Sync,
    D::Integrator: Integrate<T, S>,
    M: Fn() -> S + Sync,
{
    let stability = method.integrator(dim, 1, options)?.facts().stability;
    each_trajectory(
        (dim, y0),
        save_at,
        || Ok((catch(&make)?, method.integrator(dim, 1, options)?)),
        |(system, integrator), i, y0, y1, save| {
            integrator.set_trajectory((first + i) as u32);
            let report = integrator.run(system, span, y0, params.of(first + i, np), save)?;
            y1.copy_from_slice(integrator.y());
            Ok(report)
        },
        || OdeReport::panicked(span.0.f64(), stability),
    )
}

/// Trajectories handed to one thread at a time.
const CHUNK: usize = 16;

/// Runs every column of `y0` in rayon's current pool: `run(worker, i, y0, y1, save)` integrates trajectory i and writes its end. `make` makes a
/// worker for a thread, and another one after a panic, whose trajectory gets the report `panicked`. The input is checked already.
fn each_trajectory<T: Scalar, W>(
    (dim, y0): (usize, &[T]),
    save_at: &[T],
    make: impl Fn() -> Result<W, OdeError> + Sync,
    run: impl Fn(&mut W, usize, &[T], &mut [T], &mut SaveAt<T>) -> Result<OdeReport, OdeError> + Sync,
    panicked: impl Fn() -> OdeReport + Sync,
) -> Result<Ensemble<T>, OdeError> {
    let (count, width) = (y0.len() / dim, dim * save_at.len());
    let mut out = Ensemble {
        y1: vec![T::ZERO; y0.len()],
        saved: vec![T::ZERO; width * count],
        reports: Vec::with_capacity(count),
        panics: vec![],
    };
    // A slice of length zero has no chunks: one number a trajectory stands in.
    let mut none = vec![T::ZERO; if width == 0 { count } else { 0 }];
    let saved: &mut [T] = if width == 0 { &mut none } else { &mut out.saved };
    let w = width.max(1);
    type Reports = (Vec<OdeReport>, Vec<(usize, String)>);
    let parts: Vec<Result<Reports, OdeError>> = y0
        .par_chunks(CHUNK * dim)
        .zip(out.y1.par_chunks_mut(CHUNK * dim))
        .zip(saved.par_chunks_mut(CHUNK * w))
        .enumerate()
        .map_init(
            || (make(), SaveAt::new(save_at)),
            |(worker, save), (chunk, ((y0, y1), saved))| {
                let columns =
                    y0.chunks_exact(dim).zip(y1.chunks_exact_mut(dim)).zip(saved.chunks_exact_mut(w));
                let (mut reports, mut panics) = (Vec::with_capacity(CHUNK), vec![]);
                for (i, ((y0, y1), saved)) in columns.enumerate() {
                    let (i, ready) = (chunk * CHUNK + i, worker.as_mut().map_err(|e| e.clone())?);
                    reports.push(match run(ready, i, y0, y1, save) {
                        Err(OdeError::FieldPanicked { message }) => {
                            y1.fill(T::of(f64::NAN));
                            panics.push((i, message));
                            *worker = make();
                            panicked()
                        }
                        result => result?,
                    });
                    if width > 0 {
                        saved.copy_from_slice(save.states());
                    }
                }
                Ok((reports, panics))
            },
        )
        .collect();
    for part in parts {
        let (reports, panics) = part?;
        out.reports.extend(reports);
        out.panics.extend(panics);
    }
    Ok(out)
}

/// The number of trajectories, or what is wrong with starts and parameters.
fn check_starts<T: Scalar>(
    (dim, n_params): (usize, usize),
    y0: &[T],
    params: Params<'_, T>,
) -> Result<usize, OdeError> {
    if y0.is_empty() || !y0.len().is_multiple_of(dim) {
        return Err(OdeError::Length {
            what: "the start of an ensemble",
            found: y0.len(),
            expected: y0.len().div_ceil(dim).max(1) * dim,
        });
    }
    let count = y0.len() / dim;
    check_finite("the start of an ensemble", y0)?;
    match params {
        Params::Shared(p) => {
            check_len("the parameter vector", p.len(), n_params)?;
            check_finite("the parameter vector", p)?;
        }
        Params::Each(p) => {
            check_len("the parameter matrix", p.len(), n_params * count)?;
            check_finite("the parameter matrix", p)?;
        }
    }
    Ok(count)
}

/// As [`check_starts`], with span and save points.
pub(crate) fn check_ensemble<T: Scalar>(
    sizes: (usize, usize),
    span: (T, T),
    y0: &[T],
    params: Params<'_, T>,
    save_at: &[T],
) -> Result<usize, OdeError> {
    let count = check_starts(sizes, y0, params)?;
    check_span(span)?;
    check_save_points(save_at, span.0, span.1)?;
    Ok(count)
}

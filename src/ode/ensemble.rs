//! Many independent trajectories, each with its own steps, on all cores.

use rayon::prelude::*;

use super::error::{OdeError, check_finite, check_len, check_span};
use super::field::VectorField;
use super::integrator::Integrator;
use super::options::Options;
use super::report::{OdeCounts, OdeReport};
use super::sinks::{SaveAt, check_save_points};
use super::tableau::Tableau;
use crate::linalg::Scalar;

/// Parameters of an ensemble.
#[derive(Debug, Clone, Copy)]
pub enum Params<'a, T> {
    /// The same for all trajectories.
    Shared(&'a [T]),
    /// One column of length n_params for each.
    Each(&'a [T]),
}

/// What came out of an ensemble; trajectory i is number i of the input whatever the number of threads.
#[derive(Debug, Clone)]
pub struct Ensemble<T> {
    /// Final states, dim x count.
    pub y1: Vec<T>,
    /// States at the save points, dim x saves x count; NaN where a trajectory ended early.
    pub saved: Vec<T>,
    /// One report a trajectory.
    pub reports: Vec<OdeReport>,
}

impl<T> Ensemble<T> {
    /// Sum of all counts.
    pub fn counts(&self) -> OdeCounts {
        self.reports.iter().fold(OdeCounts::default(), |mut s, r| {
            s.evals += r.counts.evals;
            s.accepted += r.counts.accepted;
            s.rejected += r.counts.rejected;
            s.not_finite += r.counts.not_finite;
            s
        })
    }
    /// Trajectories that did not reach the end.
    pub fn failed(&self) -> impl Iterator<Item = (usize, &OdeReport)> {
        self.reports.iter().enumerate().filter(|(_, r)| !r.ok())
    }
}

/// Trajectories handed to one thread at a time.
const CHUNK: usize = 16;

/// Integrates every column of `y0` (dim x count) on its own, in rayon's current pool. Each trajectory is computed by one thread with the same
/// operations in the same order, so the result does not depend on the number of threads. `make` makes a field for a thread.
pub fn solve_ensemble<T, F, M>(
    method: &'static Tableau,
    options: &Options,
    make: M,
    span: (T, T),
    y0: &[T],
    params: Params<'_, T>,
    save_at: &[T],
) -> Result<Ensemble<T>, OdeError>
where
    T: Scalar,
    F: VectorField<T>,
    M: Fn() -> F + Sync,
{
    let probe = make();
    let (dim, np) = (probe.dim(), probe.n_params());
    drop(probe);
    let count = check_ensemble(method, options, dim, np, span, y0, params, save_at)?;
    let width = dim * save_at.len();
    let mut out = Ensemble {
        y1: vec![T::ZERO; y0.len()],
        saved: vec![T::ZERO; width * count],
        reports: Vec::with_capacity(count),
    };
    // A slice of length zero has no chunks: one number a trajectory stands in.
    let mut none = vec![T::ZERO; if width == 0 { count } else { 0 }];
    let saved: &mut [T] = if width == 0 { &mut none } else { &mut out.saved };
    let w = width.max(1);
    let parts: Vec<Result<Vec<OdeReport>, OdeError>> = y0
        .par_chunks(CHUNK * dim)
        .zip(out.y1.par_chunks_mut(CHUNK * dim))
        .zip(saved.par_chunks_mut(CHUNK * w))
        .enumerate()
        .map_init(
            || (make(), Integrator::<T>::new(method, dim, 1, options), SaveAt::new(save_at)),
            |(field, integrator, save), (chunk, ((y0, y1), saved))| {
                let integrator = integrator.as_mut().map_err(|e| e.clone())?;
                let mut reports = Vec::with_capacity(CHUNK);
                let columns =
                    y0.chunks_exact(dim).zip(y1.chunks_exact_mut(dim)).zip(saved.chunks_exact_mut(w));
                for (i, ((y0, y1), saved)) in columns.enumerate() {
                    let p = match params {
                        Params::Shared(p) => p,
                        Params::Each(p) => &p[(chunk * CHUNK + i) * np..][..np],
                    };
                    let report = if width == 0 {
                        integrator.run(field, span, y0, p, &mut ())?
                    } else {
                        let report = integrator.run(field, span, y0, p, save)?;
                        saved.copy_from_slice(save.states());
                        report
                    };
                    y1.copy_from_slice(integrator.y());
                    reports.push(report);
                }
                Ok(reports)
            },
        )
        .collect();
    for part in parts {
        out.reports.extend(part?);
    }
    Ok(out)
}

/// The number of trajectories, or what is wrong with the input.
#[allow(clippy::too_many_arguments)]
pub(crate) fn check_ensemble<T: Scalar>(
    method: &'static Tableau,
    options: &Options,
    dim: usize,
    n_params: usize,
    span: (T, T),
    y0: &[T],
    params: Params<'_, T>,
    save_at: &[T],
) -> Result<usize, OdeError> {
    Integrator::<T>::new(method, dim, 1, options)?;
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
    check_span(span)?;
    check_save_points(save_at, span.0, span.1)?;
    Ok(count)
}

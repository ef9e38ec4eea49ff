//! Many independent trajectories, each with its own path and its own steps, on all cores.

use rayon::prelude::*;

use super::brownian::Brownian;
use super::field::{Diffusion, Sde};
use super::integrator::SdeIntegrator;
use super::method::SdeMethod;
use super::options::SdeOptions;
use super::report::{SdeCounts, SdeReport};
use crate::linalg::Scalar;
use crate::ode::internal::{check_len, check_save_points};
use crate::ode::{OdeError, Params, SaveAt, VectorField};

/// What came out of an ensemble; trajectory i is number i of the input whatever the number of threads.
#[derive(Debug, Clone)]
pub struct SdeEnsemble<T> {
    /// Final states, dim x count.
    pub y1: Vec<T>,
    /// States at the save points, dim x saves x count; NaN where a trajectory ended early.
    pub saved: Vec<T>,
    /// One report a trajectory.
    pub reports: Vec<SdeReport>,
}

impl<T> SdeEnsemble<T> {
    /// Sum of all counts.
    pub fn counts(&self) -> SdeCounts {
        self.reports.iter().fold(SdeCounts::default(), |mut s, r| {
            s.drift += r.counts.drift;
            s.diffusion += r.counts.diffusion;
            s.accepted += r.counts.accepted;
            s.rejected += r.counts.rejected;
            s.not_finite += r.counts.not_finite;
            s
        })
    }
    /// Trajectories that did not reach the end.
    pub fn failed(&self) -> impl Iterator<Item = (usize, &SdeReport)> {
        self.reports.iter().enumerate().filter(|(_, r)| !r.ok())
    }
}

/// Trajectories handed to one thread at a time.
const CHUNK: usize = 16;

/// Integrates every column of `y0` (dim x count) on its own, in rayon's current pool; column i follows the path of trajectory
/// `first_trajectory + i`. Each is computed by one thread with the same operations in the same order: the result does not depend on
/// the number of threads. `make` makes an equation for a thread.
#[allow(clippy::too_many_arguments)]
pub fn solve_sde_ensemble<T, F, G, M>(
    method: &'static SdeMethod,
    options: &SdeOptions,
    make: M,
    span: (T, T),
    y0: &[T],
    params: Params<'_, T>,
    brownian: &Brownian,
    save_at: &[T],
) -> Result<SdeEnsemble<T>, OdeError>
where
    T: Scalar,
    F: VectorField<T>,
    G: Diffusion<T>,
    M: Fn() -> Sde<F, G> + Sync,
{
    let probe = make();
    let (dim, np, noise) = (probe.dim(), probe.n_params(), probe.diffusion.noise());
    drop(probe);
    SdeIntegrator::<T>::new(method, noise, dim, 1, options)?;
    if y0.is_empty() || !y0.len().is_multiple_of(dim) {
        let expected = y0.len().div_ceil(dim).max(1) * dim;
        return Err(OdeError::Length { what: "the start of an ensemble", found: y0.len(), expected });
    }
    let count = y0.len() / dim;
    if brownian.first_trajectory as u64 + count as u64 > 1 << 32 {
        let (option, value) = ("first_trajectory", brownian.first_trajectory as f64);
        return Err(OdeError::Option { option, value, must: "such that all trajectories are below 2^32" });
    }
    match params {
        Params::Shared(p) => check_len("the parameter vector", p.len(), np)?,
        Params::Each(p) => check_len("the parameter matrix", p.len(), np * count)?,
    }
    if span.0 < span.1 {
        check_save_points(save_at, span.0, span.1)?;
    }
    let width = dim * save_at.len();
    let mut out = SdeEnsemble {
        y1: vec![T::ZERO; y0.len()],
        saved: vec![T::ZERO; width * count],
        reports: Vec::with_capacity(count),
    };
    // A slice of length zero has no chunks: one number a trajectory stands in.
    let mut none = vec![T::ZERO; if width == 0 { count } else { 0 }];
    let saved: &mut [T] = if width == 0 { &mut none } else { &mut out.saved };
    let w = width.max(1);
    let parts: Vec<Result<Vec<SdeReport>, OdeError>> = y0
        .par_chunks(CHUNK * dim)
        .zip(out.y1.par_chunks_mut(CHUNK * dim))
        .zip(saved.par_chunks_mut(CHUNK * w))
        .enumerate()
        .map_init(
            || {
                let integrator = SdeIntegrator::<T>::new(method, noise, dim, 1, options);
                (make(), integrator, SaveAt::new(save_at))
            },
            |(sde, integrator, save), (chunk, ((y0, y1), saved))| {
                let integrator = integrator.as_mut().map_err(|e| e.clone())?;
                let mut reports = Vec::with_capacity(CHUNK);
                let columns =
                    y0.chunks_exact(dim).zip(y1.chunks_exact_mut(dim)).zip(saved.chunks_exact_mut(w));
                for (i, ((y0, y1), saved)) in columns.enumerate() {
                    let number = chunk * CHUNK + i;
                    let p = match params {
                        Params::Shared(p) => p,
                        Params::Each(p) => &p[number * np..][..np],
                    };
                    let path = brownian.trajectories_from(brownian.first_trajectory + number as u32);
                    let report = integrator.run(sde, span, y0, p, &path, save)?;
                    if width > 0 {
                        saved.copy_from_slice(save.states());
                    }
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

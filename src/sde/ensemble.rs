//! Many independent trajectories, each with its own path and its own steps, on all cores.

use super::brownian::Brownian;
use super::field::Sde;
use super::integrator::SdeIntegrator;
use super::method::SdeMethod;
use super::options::SdeOptions;
use super::report::{SdeCounts, SdeReport};
use crate::diff::Map;
use crate::error::catch;
use crate::linalg::Scalar;
use crate::ode::ensemble::{check_starts, each_trajectory};
use crate::ode::sinks::check_save_points;
use crate::ode::{Ensemble, OdeError, Params};

/// What came out of an ensemble of stochastic trajectories.
pub type SdeEnsemble<T> = Ensemble<T, SdeReport>;

impl<T> Ensemble<T, SdeReport> {
    /// Sum of all counts.
    pub fn counts(&self) -> SdeCounts {
        self.reports.iter().fold(SdeCounts::default(), |mut sum, r| {
            sum += r.counts;
            sum
        })
    }
    /// Trajectories that did not reach the end.
    pub fn failed(&self) -> impl Iterator<Item = (usize, &SdeReport)> {
        self.reports.iter().enumerate().filter(|(_, r)| !r.ok())
    }
}

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
    F: Map<T>,
    G: Map<T>,
    M: Fn() -> Sde<F, G> + Sync,
{
    let (dim, np, noise) = catch(|| {
        let probe = make();
        (probe.dim(), probe.n_params(), probe.noise())
    })?;
    SdeIntegrator::<T>::new(method, noise, dim, 1, options)?;
    let count = check_starts((dim, np), y0, params)?;
    if brownian.first_trajectory as u64 + count as u64 > 1 << 32 {
        let (option, value) = ("first_trajectory", brownian.first_trajectory as f64);
        return Err(OdeError::Option { option, value, must: "such that all trajectories are below 2^32" });
    }
    // Another span is refused by the integrator.
    if span.0 < span.1 {
        check_save_points(save_at, span.0, span.1)?;
    }
    each_trajectory(
        (dim, y0),
        save_at,
        || Ok((catch(&make)?, SdeIntegrator::new(method, noise, dim, 1, options)?)),
        |(sde, integrator), i, y0, y1, save| {
            let path = brownian.trajectories_from(brownian.first_trajectory + i as u32);
            let report = integrator.run(sde, span, y0, params.of(i, np), &path, save)?;
            y1.copy_from_slice(integrator.y());
            Ok(report)
        },
        || SdeReport::panicked(span.0.f64(), method.stability),
    )
}

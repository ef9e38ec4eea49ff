//! Stochastic differential equations: adaptive strong methods whose steps can be transposed.
//!
//! ```text
//! dy = f(t, y, p) dt + g(t, y, p) dW,   y(t0) = y0,   from t0 to t1 > t0, in the sense of Ito
//! ```
//!
//! Drift and diffusion are [`Map`]s; an [`Sde`] holds both and knows the shape of the noise. A batch is n x batch,
//! column-major; column j follows its own Brownian path, a pure function of (seed, trajectory, t): see [`Brownian`].
//!
//! Which method to choose: the table in [`crate::ode`].
//!
//! # What the orders presuppose
//!
//! Diagonal noise has its order if g_i depends on t and y_i only; where it depends on other components, as in most neural SDEs, all methods here have
//! order 1/2 in the worst case, because the Levy areas of pairs of motions are not simulated. Weak orders on geometric Brownian motion,
//! by quadrature: Euler-Maruyama and Milstein 1, SRIW1 2. SOSRI and SOSRI2, for which 2 is often quoted, have 1.5 in the limit: the conditions of strong
//! order 1.5, which their published coefficients satisfy to rounding, leave a term c h^(5/2) in the mean of a step's error (SRIW1 has none); it is small,
//! so 1.6 to 1.8 is what one sees.
//!
//! # Steps
//!
//! With u = delta E1 + E2 of the method, the scaled error of a step is that of [`crate::ode`]. E1 = h sum_i k_i is of first order (it is the
//! published estimate, made for loose tolerances): steps shrink in proportion to the tolerance where the drift dominates, and errors are far
//! below the tolerance. [`SdeOptions::delta`] lowers its weight. E <= 1 accepts; a rejected step shrinks strictly and meets the same path again;
//! values that are not finite are a rejection. There is no interpolant: steps end on save points.
//!
//! # Example
//!
//! ```
//! use costate::diff::FnMap;
//! use costate::ode::OdeError;
//! use costate::sde::{solve_sde, Brownian, Noise, Sde, SdeOptions, SOSRI};
//! // Geometric Brownian motion dy = mu y dt + sigma y dW, 100 paths.
//! let drift = FnMap::new(1, 1, |_t, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = p[0] * y[0]);
//! let noise = FnMap::new(1, 1, |_t, y: &[f64], p: &[f64], g: &mut [f64]| g[0] = p[0] * y[0]);
//! let mut sde = Sde::new(drift, noise, Noise::Diagonal)?;
//! let options = SdeOptions::tolerances(1e-3, 1e-3);
//! let s = solve_sde(&mut sde, &SOSRI, &options, (0.0, 1.0), &[1.0; 100], &[0.1, 0.2], &Brownian::new(7), &[0.5, 1.0])?;
//! assert!(s.report.ok());
//! let mean = s.y1.iter().sum::<f64>() / 100.0;
//! assert!((mean - 0.1f64.exp()).abs() < 0.1);
//! # Ok::<(), OdeError>(())
//! ```

mod brownian;
mod ensemble;
mod field;
pub(crate) mod integrator;
mod method;
mod options;
mod report;
mod sinks;
pub(crate) mod srk;

pub use brownian::{Brownian, BrownianPath};
pub use ensemble::{SdeEnsemble, solve_sde_ensemble};
pub use field::{Noise, Sde};
pub use integrator::SdeIntegrator;
pub use method::{EULER_MARUYAMA, MILSTEIN, SOSRA, SOSRA2, SOSRI, SOSRI2, SRA1, SRIW1, SdeMethod, Suits};
pub use options::SdeOptions;
pub use report::{SdeCounts, SdeReport};
pub use sinks::{FnSdeSink, SdeBuffers, SdeSink, SdeStep};

use crate::diff::Map;
use crate::linalg::Scalar;
use crate::ode::{OdeError, SaveAt};

/// States at the save points and at the end.
#[derive(Debug, Clone)]
pub struct SdeSolution<T> {
    /// How it ended.
    pub report: SdeReport,
    /// The state where it ended.
    pub y1: Vec<T>,
    saved: SaveAt<T>,
}

impl<T: Scalar> SdeSolution<T> {
    /// State at save point i; NaN if it was not reached.
    pub fn state(&self, i: usize) -> &[T] {
        self.saved.state(i)
    }
    /// The save points.
    pub fn times(&self) -> &[T] {
        self.saved.times()
    }
    /// All saved states, one after another.
    pub fn states(&self) -> &[T] {
        self.saved.states()
    }
}

/// Integrates once, one shared step for the batch of y0.len() / dim. To integrate often use an [`SdeIntegrator`] with sinks; for a step per
/// trajectory and all cores [`solve_sde_ensemble`].
#[allow(clippy::too_many_arguments)]
pub fn solve_sde<T: Scalar, F: Map<T>, G: Map<T>>(
    sde: &mut Sde<F, G>,
    method: &'static SdeMethod,
    options: &SdeOptions,
    span: (T, T),
    y0: &[T],
    p: &[T],
    brownian: &Brownian,
    save_at: &[T],
) -> Result<SdeSolution<T>, OdeError> {
    let (dim, noise) = (sde.dim(), sde.noise());
    let batch = y0.len().checked_div(dim).unwrap_or(0);
    let mut integrator = SdeIntegrator::new(method, noise, dim, batch.max(1), options)?;
    let mut saved = SaveAt::new(save_at);
    let report = integrator.run(sde, span, y0, p, brownian, &mut saved)?;
    Ok(SdeSolution { report, y1: integrator.y().to_vec(), saved })
}

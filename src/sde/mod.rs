//! Stochastic differential equations: adaptive strong methods whose steps can be transposed.
//!
//! ```text
//! dy = f(t, y, p) dt + g(t, y, p) dW,   y(t0) = y0,   from t0 to t1 > t0, in the sense of Ito
//! ```
//!
//! Drift and diffusion are [`Map`](crate::diff::Map)s; an [`Sde`] holds both and knows the shape of the noise. A batch is n x batch,
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
//! below the tolerance. [`Options::delta`](crate::ode::Options::delta) lowers its weight. E <= 1 accepts; a rejected step shrinks strictly and meets the same path again;
//! values that are not finite are a rejection. A solution driven by noise has no smooth interpolant of the
//! method's order: steps end on save points, and a [`DenseSolution`](crate::ode::DenseSolution) is drawn straight between the ends of steps.
//!
//! # Example
//!
//! ```
//! use costate::diff::FnMap;
//! use costate::ode::{solve, OdeError, Options};
//! use costate::sde::{Brownian, Noise, Sde, SOSRI};
//! // Geometric Brownian motion dy = mu y dt + sigma y dW, 100 paths.
//! let drift = FnMap::new(1, 1, |_t, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = p[0] * y[0]);
//! let noise = FnMap::new(1, 1, |_t, y: &[f64], p: &[f64], g: &mut [f64]| g[0] = p[0] * y[0]);
//! let mut sde = Sde::new(drift, noise, Noise::Diagonal)?.along(Brownian::new(7));
//! let options = Options::noisy().with_tolerances(1e-3, 1e-3);
//! let s = solve(&mut sde, &SOSRI, &options, (0.0, 1.0), &[1.0; 100], &[0.1, 0.2], &[0.5, 1.0])?;
//! assert!(s.report.ok());
//! let mean = s.y1.iter().sum::<f64>() / 100.0;
//! assert!((mean - 0.1f64.exp()).abs() < 0.1);
//! # Ok::<(), OdeError>(())
//! ```

mod brownian;
mod field;
mod method;
pub(crate) mod path;
pub(crate) mod srk;
pub(crate) mod stepper;

pub use brownian::{Brownian, BrownianPath};
pub use field::{Noise, Sde};
pub use method::{EULER_MARUYAMA, MILSTEIN, SOSRA, SOSRA2, SOSRI, SOSRI2, SRA1, SRIW1, SdeMethod, Suits};
pub use path::{Increments, Path};
pub use stepper::{SdeIntegrator, StochasticRk};

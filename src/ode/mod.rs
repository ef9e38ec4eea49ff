//! Ordinary differential equations: adaptive explicit Runge-Kutta and linearly implicit methods whose steps can be transposed.
//!
//! ```text
//! dy/dt = f(t, y, p),   y(t0) = y0,   from t0 to t1 (forwards or backwards)
//! ```
//!
//! # Which method to choose
//!
//! One table for explicit, stiff and stochastic problems; [`solve`] takes the methods in the second column, [`solve_ensemble`] too.
//! A step's cost is in evaluations of f (of f and g with noise), besides what is said.
//!
//! | problem | method | order | a step costs | adjoint | remarks |
//! |---|---|---|---|---|---|
//! | nothing special, rtol 1e-3 to 1e-8; neural ODEs | [`TSIT54`] | 5 | 6 | [`Adjoint`] | |
//! | as above, to compare with other codes | [`DP54`] | 5 | 6 | [`Adjoint`] | the classical pair |
//! | smooth, rtol 1e-3 to 1e-8 | [`BS54`] | 5 | 7 | [`Adjoint`] | 0.76 to 0.86 of the evaluations of [`TSIT54`] at equal error, mean of seven problems (0.55 to 1.04) |
//! | q'' = a(t, q): orbits, molecules, waves ([`SecondOrder`]) | [`DPRKN64`] | 6 | 5 | [`Adjoint`] | 0.62 to 0.67 of the evaluations of [`BS54`] on Pleiades |
//! | H = T(p) + V(q) over many periods: the energy must not drift ([`Separable`], [`SecondOrder`]) | [`BLANES_MOAN4`], [`VERLET`] | 4, 2 | 6, 1 | [`Adjoint`] | fixed step; [`SymplecticIntegrator`] |
//! | rough solutions, rtol above 1e-3, fields with kinks | [`BS32`] | 3 | 3 | [`Adjoint`] | S is rough, see below |
//! | smooth, rtol 1e-8 to 1e-13, cheap field | [`VERN76`] | 7 | 10; 16 with dense output | [`Adjoint`] | |
//! | smooth, rtol below 1e-5, long orbits | [`VERN87`] | 8 | 13; 16 with dense output | [`Adjoint`] | error constant 22 times smaller than the next; f64 |
//! | as above, rtol below 1e-12, or dense output below 1e-11 | [`DOP853`] | 8 | 12; 15 with dense output | [`Adjoint`] | small weights: less rounding |
//! | stiff ([`OdeReport::stiff_at`] is set, or the message says so), rtol 1e-3 to 1e-8 | [`RODAS5P`] | 5 | 8; a Jacobian, a factorization | [`StiffAdjoint`] | [`StiffIntegrator`] for sinks |
//! | as above, rtol above 1e-4, or costly evaluations | [`RODAS4`], [`RODAS3P`] | 4, 3 | 6, or 3; a Jacobian, a factorization | [`StiffAdjoint`] | |
//! | stiff in parts, or not known | [`Auto`] | its two methods' | theirs | [`Adjoint`] with both | explicit until S h stays at the stability limit, and back |
//! | stiff and large | [`RODAS5P`], above 1e-4 [`RODAS4`], with a structured Jacobian or none, see below | 5 | 8; as the matrix | [`StiffAdjoint`] | |
//! | noise, diagonal or scalar | [`SOSRI`] | strong 1.5 | 4 + 4 | [`SdeAdjoint`] | [`SRIW1`] has half the evaluations of f, [`SOSRI2`] estimates S |
//! | noise, additive, any shape | [`SOSRA`] | strong 1.5 | 3 + 3 | [`SdeAdjoint`] | [`SRA1`] is cheaper, [`SOSRA2`] estimates S |
//! | noise, a matrix that commutes | [`MILSTEIN`] | strong 1 | 1 + 1 + columns | [`SdeAdjoint`] | fixed step |
//! | noise, any other matrix; moments by many paths at low accuracy | [`EULER_MARUYAMA`] | strong 0.5, weak 1 | 1 + 1 | [`SdeAdjoint`] | fixed step |
//!
//! What the orders of stochastic methods presuppose is in [`crate::sde`]. Stiff means: fast decay that has died out limits the step of an explicit method;
//! the methods for it need the Jacobian df/dy:
//!
//! | derivatives | from |
//! |---|---|
//! | a closure that is recorded ([`record`](fn@crate::expr::record)) or a generic formula ([`formula`](fn@crate::expr::formula)) | exact, sparse where they are, and exact second derivatives for the adjoint |
//! | the Jacobian by hand | [`Map::with_jacobian`] |
//! | a pullback by hand ([`Map::with_vjp`]) or of a network | n pullbacks a Jacobian |
//! | nothing | [`Differences`](crate::diff::Differences): n evaluations a Jacobian |
//!
//! Many unknowns: the structure of the Jacobian decides what a step costs.
//!
//! | unknowns, df/dy | say so by | W = I / (h gamma) - J is |
//! |---|---|---|
//! | up to 30 | nothing | full, own kernels |
//! | more, full | nothing | full, faer's blocked LU from 129 on, where it is not mostly zeros |
//! | a band, or one after reordering: lines, chains | a recorded formula; [`Map::with_structured_jacobian`]; [`Map::with_structure`] for products or differences | a band: work and memory grow with n (docs/stiff-experiments.md) |
//! | sparse: surfaces, networks | the same; [`Map::with_detected_structure`] where it is not known | sparse LU |
//! | so much that factors do not fit, or volumes | [`Map::by_products`], with a preconditioner where h gamma times the largest eigenvalue is above some hundred | nothing: GMRES with products |
//! | an explicit method may do: mildly stiff, costly factors | [`Auto`] | as above, once it pays |
//!
//! [`StiffIntegrator::structure`] says what was chosen. The adjoint solves with the same factors, transposed.
//!
//! A field is a [`Map`] with as many outputs as inputs ([`crate::diff`]). df/dt is the field's ([`Map::with_time_derivative`]), zero after
//! [`Map::autonomous`], else one forward difference.
//!
//! # The stiffness estimate
//!
//! S, an estimate of the dominant eigenvalue of df/dy ([`Step::stiffness`], [`OdeReport::stiffness`], what [`Auto`] and regularizers use), divides the
//! difference of f at two arguments by their distance. All explicit methods but one compare two stages at the same time t + h, so that only
//! the state differs. [`BS32`] has a single stage there and takes the one at t + 3h/4 as the other: what f changes by itself in between, and
//! what the solution moves, count too. At the stability limit that is half a percent (1.004e6 for 1e6), but along the slow solution of
//! y' = -100 (y - cos t) its S is 0.001 to 7 where all others say 100 (`tests/ode_forward.rs`): do not regularize by it.
//!
//! # A step
//!
//! Stages, state, error u and interpolant are in [`tableau`](Tableau). The scaled error of a step from y0 to y1 is
//!
//! ```text
//! sc_i = atol_i + rtol_i max(|y0_i|, |y1_i|),   E = sqrt(mean_i (u_i / sc_i)^2)   or   max_i |u_i / sc_i|
//! ```
//!
//! over the whole batch; Dormand-Prince 8(5,3) uses E = E5^2 / sqrt(E5^2 + 0.01 E3^2) of its two estimates, Bogacki-Shampine 5(4) the larger one of two ([`Join`]).
//! E <= 1 accepts. A rejected step shrinks strictly; values that are not finite (of a stage, the error or the new state) are a rejection.
//! The next step is the [`Controller`]'s.
//!
//! One loop, [`Driver`], serves explicit, Nystrom, Rosenbrock and stochastic steps: limits, control, rejections, sinks, events and reports are the same. It knows no family;
//! one is a file with a stepper ([`Explicit`], [`LinearlyImplicit`], [`StochasticRk`](crate::sde::StochasticRk)) that attempts a step, shows it and goes on, and a [`Method`] that chooses it.
//!
//! Nystrom methods are refused, with one sentence, for a field that is not of second order.
//! The stages of stiff methods are in [`RosenbrockTableau`]; their error, control, limits, sinks and report are the same.
//!
//! Batches share one step: y is n x batch, column-major, and E is one number. For a step per trajectory use [`solve_ensemble`] or
//! [`solve_lanes`] for a field written as a [`Formula`](crate::diff::Formula): several times faster for cheap fields, the same bits.
//! A panic of the field's is an [`OdeError`] of a single integration and ends one trajectory of an ensemble ([`Ensemble::panics`]).
//!
//! [`Map`]: crate::diff::Map
//! [`Map::with_jacobian`]: crate::diff::Map::with_jacobian
//! [`Map::with_vjp`]: crate::diff::Map::with_vjp
//! [`Map::with_structured_jacobian`]: crate::diff::Map::with_structured_jacobian
//! [`Map::with_structure`]: crate::diff::Map::with_structure
//! [`Map::with_detected_structure`]: crate::diff::Map::with_detected_structure
//! [`Map::by_products`]: crate::diff::Map::by_products
//! [`Map::with_time_derivative`]: crate::diff::Map::with_time_derivative
//! [`Map::autonomous`]: crate::diff::Map::autonomous
//! [`Adjoint`]: crate::adjoint::Adjoint
//! [`StiffAdjoint`]: crate::adjoint::StiffAdjoint
//! [`SdeAdjoint`]: crate::adjoint::SdeAdjoint
//! [`SOSRI`]: crate::sde::SOSRI
//! [`SOSRI2`]: crate::sde::SOSRI2
//! [`SRIW1`]: crate::sde::SRIW1
//! [`SOSRA`]: crate::sde::SOSRA
//! [`SOSRA2`]: crate::sde::SOSRA2
//! [`SRA1`]: crate::sde::SRA1
//! [`MILSTEIN`]: crate::sde::MILSTEIN
//! [`EULER_MARUYAMA`]: crate::sde::EULER_MARUYAMA
//!
//! # Example
//!
//! ```
//! use costate::diff::FnMap;
//! use costate::ode::{solve, Options, TSIT54};
//! // y' = -p y
//! let mut field = FnMap::new(1, 1, |_t, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = -p[0] * y[0]);
//! let s = solve(&mut field, &TSIT54, &Options::tolerances(1e-8, 1e-10), (0.0, 1.0), &[1.0], &[2.0], &[0.5, 1.0])?;
//! assert!(s.report.ok());
//! assert!((s.state(0)[0] - (-1.0f64).exp()).abs() < 1e-7);
//! # Ok::<(), costate::ode::OdeError>(())
//! ```

pub(crate) mod check;
mod diagnosis;
pub(crate) mod domain;
mod driver;
pub(crate) mod ensemble;
pub(crate) mod erk;
mod events;
mod explicit;
mod method;
mod nystrom;
pub(crate) mod options;
mod pace;
mod pack;
mod report;
mod second_order;
mod separable;
mod short;
pub(crate) mod sinks;
pub(crate) mod step;
pub(crate) mod stepper;
pub(crate) mod stiff;
pub(crate) mod symplectic;
mod tableau;
mod tableau_data;
mod tableau_eight;
mod tableau_nystrom;

pub use crate::error::OdeError;
pub use crate::linalg::Norm;
pub use diagnosis::Diagnosis;
pub use domain::Bound;
pub use driver::{Driver, Saved};
pub use ensemble::{Ensemble, Params, solve_ensemble};
pub use events::{AtEvent, Crossing, Events, Occurrence};
pub use explicit::{Explicit, Integrator};
pub use method::{Integrate, Method, Solution, Storage, solve};
pub use options::{Controller, Options, Tolerance};
pub use pack::solve_lanes;
pub use report::{OdeCounts, OdeReport, OdeStop};
pub use second_order::SecondOrder;
pub use separable::{Separable, SeparableMap};
pub use sinks::{DenseSolution, EveryStep, SaveAt};
pub use step::{FnSink, Start, Step, StepBuffers, StepSink};
pub use stepper::Facts;
pub use stiff::{
    Auto, LinearlyImplicit, RODAS3P, RODAS4, RODAS5P, RosenbrockTableau, SavedAuto, StiffIntegrator, Switch,
};
pub use symplectic::{BLANES_MOAN4, Symplectic, SymplecticIntegrator, SymplecticTableau, VERLET};
pub use tableau::{Join, Tableau, Velocity};
pub use tableau_data::{BS32, BS54, DP54, TSIT54, VERN76};
pub use tableau_eight::{DOP853, VERN87};
pub use tableau_nystrom::DPRKN64;

//! Constants of the globalization, with their sources. WB: Waechter and Biegler 2006.

/// Armijo's slope parameter on the exact augmented Lagrangian (beta of the paper is 0.1; smaller values lose fewer good steps).
pub(in crate::opt) const ARMIJO_EXACT: f64 = 1e-4;
/// On the augmented Lagrangian with a barrier.
pub(in crate::opt) const ARMIJO_AUGMENTED: f64 = 1e-4;
/// eta_phi of WB.
pub(in crate::opt) const ARMIJO_FILTER: f64 = 1e-8;
/// Shortest steps on the three merit functions; WB (23) for the filter where that is longer.
pub(in crate::opt) const SHORTEST_EXACT: f64 = 0.99e-10;
pub(in crate::opt) const SHORTEST_AUGMENTED: f64 = 1e-12;
pub(in crate::opt) const SHORTEST_FILTER: f64 = 1e-14;
/// Margins of the filter, gamma_theta and gamma_phi of WB.
pub(in crate::opt) const GAMMA_THETA: f64 = 1e-5;
pub(in crate::opt) const GAMMA_PHI: f64 = 1e-8;
/// gamma_alpha of WB (23).
pub(in crate::opt) const GAMMA_ALPHA: f64 = 0.05;
/// Exponents of the switching condition, s_phi and s_theta of WB.
pub(in crate::opt) const S_PHI: f64 = 2.3;
pub(in crate::opt) const S_THETA: f64 = 1.1;
/// theta_min and theta_max relative to max(1, theta at the start), WB.
pub(in crate::opt) const THETA_MIN: f64 = 1e-4;
pub(in crate::opt) const THETA_MAX: f64 = 1e4;
/// Second-order corrections of one step, and the reduction of theta that each must bring (p_max, kappa_soc of WB).
pub(in crate::opt) const CORRECTIONS: u32 = 4;
pub(in crate::opt) const CORRECTION_REDUCTION: f64 = 0.99;
/// Differences of merit values below this many units of rounding say nothing.
pub(in crate::opt) const ROUNDING_UNITS: f64 = 10.0;
/// Full steps in a row with a shift of the Hessian after which longer ones are tried: ours.
pub(in crate::opt) const SHIFTED_STEPS: u32 = 4;
/// Longest multiple of such a step, and trials along a direction of negative curvature: ours.
pub(in crate::opt) const LONGEST_STRETCH: f64 = 1e6;
pub(in crate::opt) const CURVATURE_TRIALS: u32 = 12;

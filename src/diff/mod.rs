//! Parametrized differentiable maps: what fields, diffusions, layers, events and their combinations are.
//!
//! A [`Map`] takes x (inputs x batch) to y (outputs x batch), column-major, at a time t with parameters p. It says what derivatives it [`Offers`]:
//! vector-Jacobian and Jacobian-vector products, the tangent of the former, a Jacobian, dy/dt. Whoever needs one asks before it begins ([`need`]).
//!
//! | from | by |
//! |---|---|
//! | a closure, derivatives by recording it | [`crate::expr::record`] |
//! | a [`Formula`] for any kind of [`Number`], derivatives by recording it | [`crate::expr::formula`] |
//! | a closure | [`FnMap`], then [`Map::with_vjp`], [`Map::with_jvp`], [`Map::with_jacobian`], [`Map::with_time_derivative`], [`Map::autonomous`] |
//! | a closure, derivatives by differences | [`Differences::of`] |
//! | (no map) a function that branches on values: gradients, sparse Jacobians and Hessians | [`Active`], [`crate::nlp::Problem::from_dual`] |
//! | where the Jacobian has entries | [`Map::with_structure`], [`Map::with_detected_structure`] |
//! | no Jacobian, only products with it | [`Map::by_products`], with [`ByProducts::precondition`] or [`ByProducts::precondition_by`] |
//! | other maps | [`Map::plus`], [`Map::plus_shared`], [`Map::times`], [`Map::then`], [`Map::stack`], [`Map::scaled`], [`Map::on`], [`Map::with_integral`], [`Scale`] |
//! | networks | [`crate::nn`] |
//! | the derivatives of a map along directions, as a map | [`Variational`] |
//!
//! `-D y + NN(y)` is `Scale::fixed(-d).plus(network)`. [`Spec`] names the parameters, and [`check_map`] compares what a map offers with differences.

mod active;
mod chain;
mod check;
mod closure;
pub mod colour;
mod coloured;
mod combine;
pub mod detect;
mod differences;
mod dual;
pub(crate) mod forward;
mod integral;
mod lanes;
mod linearize;
mod map;
pub(crate) mod number;
mod operand;
mod per_sample;
mod products;
mod scale;
mod select;
mod spec;
pub(crate) mod tape;
mod variational;

pub use active::Active;
pub use chain::Chain;
pub use check::{CheckOptions, MapReport, Wrong, check_map};
pub use closure::{Autonomous, FnMap, WithJacobian, WithJvp, WithStructure, WithTimeDerivative, WithVjp};
pub use combine::{Product, Stack, Sum};
pub(crate) use differences::tangent_differences;
pub use differences::{Differences, Work};
pub use dual::Dual;
pub use integral::WithIntegral;
pub use lanes::Lanes;
pub(crate) use lanes::{Lane, WIDTH};
pub use linearize::{Linearizer, Source};
pub(crate) use map::VjpRoom;
pub use map::{At, BarsMut, Dots, Kept, Map, Offers, Preconditioner, Size, Structure, need};
pub(crate) use number::Values;
pub use number::{Formula, Left, Number};
pub(crate) use per_sample::gram_by_rows;
pub use per_sample::{LayerInputs, jacobian_rows, unit_rows};
pub use products::{ByProducts, Preconditioned, PreconditionedBy};
pub use scale::{Scale, Scaled};
pub use select::On;
pub use spec::{Entry, Init, Spec};
pub use variational::Variational;

//! The problem as methods see it: v = (x_free, s) within bounds, equalities c(v) = 0, scaled (`docs/notation.md`).
//!
//! `form` says what goes where, `evaluator` calls the user's functions, `start` finds the first point, `scaling` the scales,
//! `back` the way back to the user's problem; `presolve` makes a smaller problem of the user's before.

mod back;
mod bounds;
mod evaluator;
mod form;
mod presolve;
mod scale;
mod scaling;
mod start;

pub(super) use back::{OriginalPoint, Scaled, outside, product};
pub(super) use bounds::{Bounds, multiplier_length};
pub(super) use evaluator::{At, BadEvaluation, Buffers, Evaluator, Preconditioned, catching};
pub(super) use form::{Coordinates, DROPPED, Form};
pub(super) use presolve::{Contradiction, Found, Presolve, Reduced, Restored};
pub(super) use start::{FirstPoint, Given, WARM_PUSH};

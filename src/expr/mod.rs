//! Expressions: graphs without duplicates, compiled to programs.
//!
//! Two ways in. A model file gives `Parts`: functions of element and group types with their derivatives, and where they are
//! used; `Evaluator` sorts equal types into batches, finds sparsity patterns and computes values, gradients, Jacobians and
//! Hessians, block by block. A formula written once in Rust is recorded ([`record`](fn@record)); [`Recorded`] has its values, products with its first and
//! second derivatives, and its sparse Jacobian, and [`Recorded::into_map`] makes a field or layer of it. [`formula`](fn@formula)
//! does the same for one that is generic in its number, and takes its values from the compiler. Derivatives are nodes of the same graph.
//!
//! ```
//! use costate::expr::{Point, record};
//! let mut f = record(2, 1, |t, y, p, dy| {
//!     dy[0] = y[1];
//!     dy[1] = p[0] * (1.0 - y[0] * y[0]) * y[1] - y[0] + 0.1 * t.sin();
//! })?;
//! let at = Point { t: 0.0, x: &[2.0, 0.5], p: &[3.0] };
//! assert_eq!(f.jacobian_pattern().items, [1, 0, 1]);
//! let (mut jacobian, mut dt) = ([0.0; 3], [0.0; 2]);
//! f.jacobian(at, &mut jacobian, &mut dt);
//! assert_eq!((jacobian, dt), ([1.0, -7.0, -9.0], [0.0, 0.1]));
//! let (mut y_bar, mut p_bar) = ([0.0; 2], [0.0; 1]);
//! f.vjp(at, &[0.0, 1.0], &mut y_bar, &mut p_bar);
//! assert_eq!((y_bar, p_bar), ([-7.0, -9.0], [-1.5]));
//! # Ok::<(), costate::expr::RecordError>(())
//! ```

pub(crate) mod batch;
mod derive;
pub(crate) mod evaluate;
mod external;
mod formula;
pub(crate) mod graph;
mod hessian;
mod kernels;
pub(crate) mod kinks;
mod lanes;
mod map;
pub(crate) mod parts;
mod program;
mod record;
pub(crate) mod separate;
mod shapes;
pub(crate) mod structure;
mod text;
mod traced;
mod types;

pub(crate) use external::External;
pub use formula::{Directions, Point, Recorded, Sizes};
pub use map::RecordedMap;
pub use parts::{Parts, Ragged};
pub use record::{RecordError, Var, record, record_map};
pub use text::{TextError, TextFormula};
pub use traced::{Formulated, Real, Traced, formula};

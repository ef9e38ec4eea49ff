//! Matrix-free Krylov solvers.

mod gmres;
mod lanczos;
mod minres;
mod sketched;
#[cfg(test)]
mod tests;

pub use gmres::Gmres;
pub use minres::Minres;
pub use sketched::{EigenSketch, SketchedKrylov};

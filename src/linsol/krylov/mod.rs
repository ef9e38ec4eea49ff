//! Matrix-free Krylov solvers.

mod bicgstab;
mod cycle;
mod gmres;
mod lanczos;
mod minres;
mod sketched;
#[cfg(test)]
mod tests;

pub(crate) use bicgstab::BiCgStab;
pub(crate) use cycle::{Cycle, CycleEnd, Sums};
pub use gmres::Gmres;
pub use minres::Minres;
pub use sketched::{EigenSketch, SketchedKrylov};

//! The door to faer, whose kernels exist for f32 and f64 only.

use std::any::Any;

use faer::dyn_stack::MemBuffer;
use faer::linalg::lu::partial_pivoting as lu;
use faer::traits::RealField;
use faer::{MatMut, Par};

use super::faer_sparse::{SparseBackend, SparseLuBackend, room};
use crate::linalg::Scalar;

/// Dense LU with partial pivoting.
pub(super) trait DenseBackend<T> {
    /// P A = L U in place, n columns `ld` apart; row i of L U is row `rows[i]` of A.
    fn factor(&mut self, n: usize, ld: usize, a: &mut [T], rows: &mut [u32]);
}

/// faer's for T; `None` for numbers that it does not know.
pub(super) fn dense<T: Scalar>() -> Option<Box<dyn DenseBackend<T> + Send>> {
    type Made<T> = Box<dyn DenseBackend<T> + Send>;
    let of_f64: Made<f64> = Box::<Blocked>::default();
    let of_f32: Made<f32> = Box::<Blocked>::default();
    pick(of_f64, of_f32)
}

/// faer's sparse LU for T.
pub(super) fn sparse<T: Scalar>() -> Option<Box<dyn SparseBackend<T> + Send>> {
    type Made<T> = Box<dyn SparseBackend<T> + Send>;
    let of_f64: Made<f64> = Box::new(SparseLuBackend::<f64>::new());
    let of_f32: Made<f32> = Box::new(SparseLuBackend::<f32>::new());
    pick(of_f64, of_f32)
}

/// The one of the two that is a `Made` (of T).
fn pick<Made: 'static>(of_f64: impl Any, of_f32: impl Any) -> Option<Made> {
    let both: [Box<dyn Any>; 2] = [Box::new(of_f64), Box::new(of_f32)];
    both.into_iter().find_map(|made| made.downcast::<Made>().ok().map(|made| *made))
}

#[derive(Default)]
struct Blocked {
    rows: Vec<usize>,
    inverse: Vec<usize>,
    memory: Option<MemBuffer>,
}

impl<T: Scalar + RealField> DenseBackend<T> for Blocked {
    fn factor(&mut self, n: usize, ld: usize, a: &mut [T], rows: &mut [u32]) {
        self.rows.resize(n, 0);
        self.inverse.resize(n, 0);
        let need = lu::factor::lu_in_place_scratch::<usize, T>(n, n, Par::Seq, Default::default());
        let stack = room(&mut self.memory, need);
        let a = MatMut::from_column_major_slice_with_stride_mut(a, n, n, ld);
        lu::factor::lu_in_place(a, &mut self.rows, &mut self.inverse, Par::Seq, stack, Default::default());
        rows.iter_mut().zip(&self.rows).for_each(|(to, from)| *to = *from as u32);
    }
}

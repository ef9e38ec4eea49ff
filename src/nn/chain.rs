//! Composition, and maps as right-hand sides.

use super::Map;
use crate::linalg::Scalar;
use crate::ode::{OdeError, Pullback, VectorField};

/// x -> B(A(x)); parameters: those of A, then those of B.
#[derive(Debug, Clone)]
pub struct Chain<A, B, T> {
    pub(super) a: A,
    pub(super) b: B,
    bar: Vec<T>,
}

impl<T: Scalar, A: Map<T>, B: Map<T>> Chain<A, B, T> {
    /// B after A.
    pub fn new(a: A, b: B) -> Result<Self, OdeError> {
        if a.outputs() != b.inputs() {
            let what =
                format!("a map with {} outputs cannot feed one with {} inputs", a.outputs(), b.inputs());
            return Err(OdeError::Mismatch { what });
        }
        Ok(Self { a, b, bar: vec![] })
    }
}

impl<T: Scalar, A: Map<T>, B: Map<T>> Map<T> for Chain<A, B, T> {
    fn inputs(&self) -> usize {
        self.a.inputs()
    }
    fn outputs(&self) -> usize {
        self.b.outputs()
    }
    fn n_params(&self) -> usize {
        self.a.n_params() + self.b.n_params()
    }
    /// What A keeps, A's output, what B keeps.
    fn keep_len(&self, batch: usize) -> usize {
        self.a.keep_len(batch) + self.a.outputs() * batch + self.b.keep_len(batch)
    }
    fn forward(&mut self, t: T, x: &[T], p: &[T], y: &mut [T], keep: &mut [T]) {
        let batch = x.len() / self.inputs();
        let (ka, rest) = keep.split_at_mut(self.a.keep_len(batch));
        let (mid, kb) = rest.split_at_mut(self.a.outputs() * batch);
        let (pa, pb) = p.split_at(self.a.n_params());
        self.a.forward(t, x, pa, mid, ka);
        self.b.forward(t, mid, pb, y, kb);
    }
    fn backward(
        &mut self,
        t: T,
        x: &[T],
        p: &[T],
        y: &[T],
        keep: &[T],
        w: &[T],
        x_bar: &mut [T],
        p_bar: &mut [T],
    ) {
        let batch = x.len() / self.inputs();
        let (ka, rest) = keep.split_at(self.a.keep_len(batch));
        let (mid, kb) = rest.split_at(self.a.outputs() * batch);
        let (pa, pb) = p.split_at(self.a.n_params());
        let (pa_bar, pb_bar) = p_bar.split_at_mut(self.a.n_params());
        self.bar.clear();
        self.bar.resize(mid.len(), T::ZERO);
        self.b.backward(t, mid, pb, y, kb, w, &mut self.bar, pb_bar);
        self.a.backward(t, x, pa, mid, ka, &self.bar, x_bar, pa_bar);
    }
}

/// dy/dt = map(t, y, p).
#[derive(Debug, Clone)]
pub struct MapField<M, T> {
    map: M,
    keep: Vec<T>,
    y: Vec<T>,
}

impl<T: Scalar, M: Map<T>> MapField<M, T> {
    /// From a map with as many outputs as inputs.
    pub fn new(map: M) -> Result<Self, OdeError> {
        if map.inputs() != map.outputs() {
            let what = format!(
                "a right-hand side needs as many outputs as inputs, this map has {} and {}",
                map.outputs(),
                map.inputs()
            );
            return Err(OdeError::Mismatch { what });
        }
        Ok(Self { map, keep: vec![], y: vec![] })
    }
    /// The map.
    pub fn map(&self) -> &M {
        &self.map
    }
    /// The map, to evaluate it.
    pub fn map_mut(&mut self) -> &mut M {
        &mut self.map
    }
    fn grow(&mut self, len: usize) -> Vec<T> {
        let mut keep = std::mem::take(&mut self.keep);
        keep.resize(self.map.keep_len(len / self.map.inputs()), T::ZERO);
        keep
    }
}

impl<T: Scalar, M: Map<T>> VectorField<T> for MapField<M, T> {
    fn dim(&self) -> usize {
        self.map.inputs()
    }
    fn n_params(&self) -> usize {
        self.map.n_params()
    }
    fn eval(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]) {
        let mut keep = self.grow(y.len());
        self.map.forward(t, y, p, dy, &mut keep);
        self.keep = keep;
    }
    fn keep_len(&self, batch: usize) -> usize {
        self.map.keep_len(batch)
    }
    fn eval_keep(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T], keep: &mut [T]) {
        self.map.forward(t, y, p, dy, keep);
    }
}

impl<T: Scalar, M: Map<T>> Pullback<T> for MapField<M, T> {
    fn pullback(&mut self, t: T, y: &[T], p: &[T], w: &[T], y_bar: &mut [T], p_bar: &mut [T]) {
        let mut keep = self.grow(y.len());
        let mut dy = std::mem::take(&mut self.y);
        dy.resize(y.len(), T::ZERO);
        self.map.forward(t, y, p, &mut dy, &mut keep);
        self.map.backward(t, y, p, &dy, &keep, w, y_bar, p_bar);
        (self.keep, self.y) = (keep, dy);
    }
    fn pullback_kept(
        &mut self,
        t: T,
        y: &[T],
        p: &[T],
        dy: &[T],
        keep: &[T],
        w: &[T],
        y_bar: &mut [T],
        p_bar: &mut [T],
    ) {
        self.map.backward(t, y, p, dy, keep, w, y_bar, p_bar);
    }
}

//! Maps inside a combination: where their outputs and what they keep lie.

use super::map::{At, Dots, Kept, Map, Offers};
use crate::linalg::Scalar;

/// A map inside a combination. Of it the combination keeps [what it keeps, y], or nothing where its products need nothing.
#[derive(Debug, Clone)]
pub(super) struct Operand<M, T> {
    pub map: M,
    /// Whether the combination itself needs y.
    with_y: bool,
    /// y or a y_dot that is not kept.
    room: Vec<T>,
}

impl<T: Scalar, M: Map<T>> Operand<M, T> {
    pub fn new(map: M, with_y: bool) -> Self {
        Self { map, with_y, room: vec![] }
    }
    fn stores(&self) -> bool {
        self.with_y || !self.map.offers().has(Offers::ALONE)
    }
    /// Numbers kept.
    pub fn len(&self, batch: usize) -> usize {
        if self.stores() { self.map.keep_len(batch) + self.map.outputs() * batch } else { 0 }
    }
    fn split<'k>(&self, batch: usize, keep: &'k mut [T]) -> (&'k mut [T], &'k mut [T]) {
        keep.split_at_mut(self.map.keep_len(batch))
    }
    /// What [`forward`](Self::forward) kept.
    pub fn kept<'k>(&self, batch: usize, keep: &'k [T]) -> Kept<'k, T> {
        if !self.stores() {
            return Kept::NONE;
        }
        let (keep, y) = keep.split_at(self.map.keep_len(batch));
        Kept { y, keep }
    }
    /// y, without keeping anything.
    pub fn value(&mut self, at: At<'_, T>, batch: usize) -> &mut [T] {
        self.room.resize(self.map.outputs() * batch, T::ZERO);
        self.map.value(at, &mut self.room);
        &mut self.room
    }
    /// y, keeping what is needed.
    pub fn forward<'k>(&'k mut self, at: At<'_, T>, batch: usize, keep: &'k mut [T]) -> &'k [T] {
        if !self.stores() {
            return self.value(at, batch);
        }
        let (keep, y) = self.split(batch, keep);
        self.map.forward(at, y, keep);
        y
    }
    /// y_dot along one direction, keeping what is needed.
    pub fn jvp<'k>(
        &'k mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        dots: Dots<'_, T>,
        batch: usize,
        keep_dot: &'k mut [T],
    ) -> &'k [T] {
        if !self.stores() {
            self.room.resize(self.map.outputs() * batch, T::ZERO);
            self.map.jvp(at, of, dots, &mut self.room, &mut []);
            return &self.room;
        }
        let (keep, y) = self.split(batch, keep_dot);
        self.map.jvp(at, of, dots, y, keep);
        y
    }
}

/// What a combination of two offers: what both do, of those that it can pass on.
pub(super) fn both<T: Scalar, A: Map<T>, B: Map<T>>(a: &A, b: &B) -> Offers {
    let (one, other) = (a.offers(), b.offers());
    let all = one.and(other);
    let tangent = Offers::TANGENT | Offers::JVP | Offers::VJP;
    let passed = all.and(Offers::VJP | Offers::JVP | Offers::ALONE | Offers::AUTONOMOUS);
    passed | Offers::TANGENT.when(all.has(tangent)) | (one | other).and(Offers::DIFFERENCES)
}

/// a_i <- b_i c_i.
pub(super) fn multiply<T: Scalar>(a: &mut Vec<T>, b: &[T], c: &[T]) {
    a.clear();
    a.extend(b.iter().zip(c).map(|(b, c)| *b * *c));
}

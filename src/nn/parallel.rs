//! A map on columns in parallel.

use rayon::prelude::*;

use crate::diff::{At, BarsMut, Kept, LayerInputs, Map, Offers, Size, Spec, VjpRoom};
use crate::linalg::Scalar;

/// The same map, the batch cut into pieces of `width` columns that rayon's threads share. The pieces do not depend on the number of threads
/// and their parameter bars are added in order, so results are the same bits for any number of threads. A batch of one piece is the map itself.
#[derive(Debug, Clone)]
pub struct Parallel<M, T> {
    width: usize,
    /// One for each piece of the largest batch seen: the map with its work storage, and its parameter bars.
    parts: Vec<(M, Vec<T>)>,
}

impl<T: Scalar, M: Map<T> + Clone> Parallel<M, T> {
    /// In pieces of `width` columns, at least one; `usize::MAX`: never cut.
    pub fn new(map: M, width: usize) -> Self {
        Self { width: width.max(1), parts: vec![(map, vec![])] }
    }
    /// The map.
    pub fn map(&self) -> &M {
        &self.parts[0].0
    }
    /// The map, to be used on one thread.
    pub fn map_mut(&mut self) -> &mut M {
        &mut self.parts[0].0
    }
    /// Lengths of a piece's input, output and what it keeps; none if x is at most one piece. Otherwise there are enough parts after it.
    fn pieces(&mut self, x: &[T]) -> Option<(usize, usize, usize)> {
        let nx = self.map().inputs().saturating_mul(self.width);
        if x.len() <= nx {
            return None;
        }
        let count = x.len().div_ceil(nx);
        if count > self.parts.len() {
            let part = self.parts[0].clone();
            self.parts.resize(count, part);
        }
        Some((nx, self.map().outputs() * self.width, self.map().keep_len(self.width)))
    }
}

impl<T: Scalar, M: Map<T> + Clone + Send> Map<T> for Parallel<M, T> {
    fn size(&self) -> Size {
        self.map().size()
    }
    fn offers(&self) -> Offers {
        let known = Offers::AUTONOMOUS | Offers::SECOND_ORDER;
        self.map().offers().and(Offers::VJP | Offers::ALONE | known)
    }
    fn spec(&self) -> Spec {
        self.map().spec()
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let Some((nx, ny, _)) = self.pieces(at.x) else {
            return self.map_mut().value(at, y);
        };
        let jobs = at.x.par_chunks(nx).zip(y.par_chunks_mut(ny)).zip(self.parts.par_iter_mut());
        jobs.for_each(|((x, y), part)| part.0.value(At { x, ..at }, y));
    }
    fn keep_len(&self, batch: usize) -> usize {
        let map = self.map();
        match batch / self.width {
            0 => map.keep_len(batch),
            full => full * map.keep_len(self.width) + map.keep_len(batch % self.width),
        }
    }
    fn forward(&mut self, at: At<'_, T>, y: &mut [T], keep: &mut [T]) {
        let Some((nx, ny, kept)) = self.pieces(at.x) else {
            return self.map_mut().forward(at, y, keep);
        };
        let jobs = at.x.par_chunks(nx).zip(y.par_chunks_mut(ny)).zip(self.parts.par_iter_mut());
        if kept == 0 {
            return jobs.for_each(|((x, y), part)| part.0.forward(At { x, ..at }, y, &mut []));
        }
        jobs.zip(keep.par_chunks_mut(kept))
            .for_each(|(((x, y), part), k)| part.0.forward(At { x, ..at }, y, k));
    }
    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let Some((nx, ny, kept)) = self.pieces(at.x) else {
            return self.map_mut().vjp(at, of, w, bars);
        };
        let count = at.x.len().div_ceil(nx);
        let jobs = at.x.par_chunks(nx).zip(w.par_chunks(ny)).zip(bars.x.par_chunks_mut(nx));
        jobs.zip(self.parts.par_iter_mut()).enumerate().for_each(|(c, (((x, w), x_bar), (map, bar)))| {
            bar.clear();
            bar.resize(at.p.len(), T::ZERO);
            // Both are empty where the map needs neither.
            let piece = |v: &'_ [T], len: usize| (v.len().min(c * len), v.len().min((c + 1) * len));
            let ((y0, y1), (k0, k1)) = (piece(of.y, ny), piece(of.keep, kept));
            let of = Kept { y: &of.y[y0..y1], keep: &of.keep[k0..k1] };
            map.vjp(At { x, ..at }, of, w, BarsMut::new(x_bar, bar));
        });
        for (_, bar) in &self.parts[..count] {
            bars.p.iter_mut().zip(bar).for_each(|(a, b)| *a += *b);
        }
    }
    /// Of the map itself: where the batch is in pieces, it is evaluated once more in one.
    fn gram(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], gram: &mut [f64]) {
        if self.pieces(at.x).is_none() {
            return self.map_mut().gram(at, of, w, gram);
        }
        let mut room = VjpRoom::default();
        let map = self.map_mut();
        let of = room.evaluate(map, at);
        map.gram(at, of, w, gram);
    }
    fn layer_inputs(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        start: usize,
        layers: &mut Vec<LayerInputs<T>>,
    ) -> bool {
        if self.pieces(at.x).is_none() {
            return self.map_mut().layer_inputs(at, of, start, layers);
        }
        let mut room = VjpRoom::default();
        let map = self.map_mut();
        let of = room.evaluate(map, at);
        map.layer_inputs(at, of, start, layers)
    }
}

//! A map on columns in parallel.

use rayon::prelude::*;

use super::Map;
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
    fn inputs(&self) -> usize {
        self.map().inputs()
    }
    fn outputs(&self) -> usize {
        self.map().outputs()
    }
    fn n_params(&self) -> usize {
        self.map().n_params()
    }
    fn keep_len(&self, batch: usize) -> usize {
        let map = self.map();
        match batch / self.width {
            0 => map.keep_len(batch),
            full => full * map.keep_len(self.width) + map.keep_len(batch % self.width),
        }
    }
    fn forward(&mut self, t: T, x: &[T], p: &[T], y: &mut [T], keep: &mut [T]) {
        let Some((nx, ny, kept)) = self.pieces(x) else {
            return self.map_mut().forward(t, x, p, y, keep);
        };
        let jobs = x.par_chunks(nx).zip(y.par_chunks_mut(ny)).zip(self.parts.par_iter_mut());
        if kept == 0 {
            return jobs.for_each(|((x, y), part)| part.0.forward(t, x, p, y, &mut []));
        }
        jobs.zip(keep.par_chunks_mut(kept)).for_each(|(((x, y), part), k)| part.0.forward(t, x, p, y, k));
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
        let Some((nx, ny, kept)) = self.pieces(x) else {
            return self.map_mut().backward(t, x, p, y, keep, w, x_bar, p_bar);
        };
        let count = x.len().div_ceil(nx);
        let jobs = x.par_chunks(nx).zip(y.par_chunks(ny)).zip(w.par_chunks(ny));
        let jobs = jobs.zip(x_bar.par_chunks_mut(nx)).zip(self.parts.par_iter_mut()).enumerate();
        jobs.for_each(|(c, ((((x, y), w), x_bar), (map, bar)))| {
            bar.clear();
            bar.resize(p.len(), T::ZERO);
            let end = keep.len().min((c + 1) * kept);
            map.backward(t, x, p, y, &keep[c * kept..end], w, x_bar, bar);
        });
        for (_, bar) in &self.parts[..count] {
            p_bar.iter_mut().zip(bar).for_each(|(a, b)| *a += *b);
        }
    }
}

//! A map on columns in parallel.

use rayon::prelude::*;

use super::Map;
use crate::linalg::Scalar;

/// The same map, the batch cut into pieces of `width` columns that rayon's threads share. The pieces do not depend on the number of threads
/// and their parameter bars are added in order, so results are the same bits for any number of threads.
#[derive(Debug, Clone)]
pub struct Parallel<M, T> {
    width: usize,
    parts: Vec<(M, Vec<T>)>,
}

impl<T: Scalar, M: Map<T> + Clone> Parallel<M, T> {
    /// For batches of up to `batch` columns.
    pub fn new(map: M, width: usize, batch: usize) -> Self {
        let width = width.clamp(1, batch.max(1));
        Self { width, parts: vec![(map, vec![]); batch.div_ceil(width).max(1)] }
    }
    pub(super) fn first(&self) -> &M {
        &self.parts[0].0
    }
    /// The map.
    pub fn inner(&mut self) -> &mut M {
        &mut self.parts[0].0
    }
}

impl<T: Scalar, M: Map<T> + Clone + Send> Map<T> for Parallel<M, T> {
    fn inputs(&self) -> usize {
        self.parts[0].0.inputs()
    }
    fn outputs(&self) -> usize {
        self.parts[0].0.outputs()
    }
    fn n_params(&self) -> usize {
        self.parts[0].0.n_params()
    }
    fn keep_len(&self, batch: usize) -> usize {
        let map = &self.parts[0].0;
        (batch / self.width) * map.keep_len(self.width) + map.keep_len(batch % self.width)
    }
    fn forward(&mut self, t: T, x: &[T], p: &[T], y: &mut [T], keep: &mut [T]) {
        let (nx, ny) = (self.inputs() * self.width, self.outputs() * self.width);
        if x.len() <= nx {
            return self.parts[0].0.forward(t, x, p, y, keep);
        }
        assert!(x.len() <= nx * self.parts.len(), "a batch larger than the one announced");
        let kept = self.parts[0].0.keep_len(self.width);
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
        let (nx, ny) = (self.inputs() * self.width, self.outputs() * self.width);
        if x.len() <= nx {
            return self.parts[0].0.backward(t, x, p, y, keep, w, x_bar, p_bar);
        }
        let kept = self.parts[0].0.keep_len(self.width);
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

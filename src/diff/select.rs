//! A map of a few components.

use super::combine::block;
use super::map::{At, BarsMut, Dots, Kept, Map, Offers, Size};
use super::operand::Operand;
use super::spec::Spec;
use crate::error::{OdeError, check_len};
use crate::linalg::Scalar;

/// A on some components of n, its outputs in some of n: the others are zero ([`Map::on`]).
#[derive(Debug, Clone)]
pub struct On<A, T> {
    a: Operand<A, T>,
    reads: Vec<usize>,
    writes: Vec<usize>,
    n: usize,
    x: Vec<T>,
    x_bar: Vec<T>,
    x_dot: Vec<T>,
    part: Vec<T>,
    w: [Vec<T>; 2],
}

impl<T: Scalar, A: Map<T>> On<A, T> {
    pub(super) fn new(a: A, reads: &[usize], writes: &[usize], n: usize) -> Result<Self, OdeError> {
        check_len("the list of components read", reads.len(), a.inputs())?;
        check_len("the list of components written", writes.len(), a.outputs())?;
        if let Some(i) = reads.iter().chain(writes).find(|i| **i >= n) {
            return Err(OdeError::Mismatch {
                what: format!("component {i} is none of {n}, which count from 0"),
            });
        }
        if let Some(i) = (1..writes.len()).find(|&i| writes[..i].contains(&writes[i])) {
            return Err(OdeError::Mismatch { what: format!("component {} is written twice", writes[i]) });
        }
        let (reads, writes) = (reads.to_vec(), writes.to_vec());
        let none = Vec::new;
        Ok(Self {
            a: Operand::new(a, false),
            reads,
            writes,
            n,
            x: none(),
            x_bar: none(),
            x_dot: none(),
            part: none(),
            w: [none(), none()],
        })
    }
}

impl<A, T> On<A, T> {
    /// The map itself.
    pub(crate) fn inner_mut(&mut self) -> &mut A {
        &mut self.a.map
    }
}

/// The listed rows of every column.
fn gather<T: Scalar>(to: &mut Vec<T>, from: &[T], n: usize, rows: &[usize]) {
    to.clear();
    from.chunks_exact(n).for_each(|column| to.extend(rows.iter().map(|&i| column[i])));
}

/// The listed rows of every column <- or += those of `from`.
fn scatter<T: Scalar>(to: &mut [T], from: &[T], n: usize, rows: &[usize]) {
    for (to, from) in to.chunks_exact_mut(n).zip(from.chunks_exact(rows.len().max(1))) {
        rows.iter().zip(from).for_each(|(&i, v)| to[i] += *v);
    }
}

impl<T: Scalar, A: Map<T>> Map<T> for On<A, T> {
    fn size(&self) -> Size {
        Size { inputs: self.n, outputs: self.n, params: self.a.map.n_params() }
    }
    fn offers(&self) -> Offers {
        self.a.map.offers().without(Offers::JACOBIAN | Offers::SECOND_ORDER)
    }
    fn spec(&self) -> Spec {
        self.a.map.spec()
    }
    /// What A needs; its input is gathered again.
    fn keep_len(&self, batch: usize) -> usize {
        self.a.len(batch)
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        gather(&mut self.x, at.x, self.n, &self.reads);
        y.fill(T::ZERO);
        let part = self.a.value(At { x: &self.x, ..at }, at.x.len() / self.n);
        scatter(y, part, self.n, &self.writes);
    }
    fn forward(&mut self, at: At<'_, T>, y: &mut [T], keep: &mut [T]) {
        gather(&mut self.x, at.x, self.n, &self.reads);
        y.fill(T::ZERO);
        let part = self.a.forward(At { x: &self.x, ..at }, at.x.len() / self.n, keep);
        scatter(y, part, self.n, &self.writes);
    }
    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let kept = self.a.kept(at.x.len() / self.n, of.keep);
        gather(&mut self.x, at.x, self.n, &self.reads);
        gather(&mut self.w[0], w, self.n, &self.writes);
        self.x_bar.clear();
        self.x_bar.resize(self.x.len(), T::ZERO);
        let inner = BarsMut::new(&mut self.x_bar, bars.p);
        self.a.map.vjp(At { x: &self.x, ..at }, kept, &self.w[0], inner);
        scatter(bars.x, &self.x_bar, self.n, &self.reads);
    }
    fn jvp(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        dots: Dots<'_, T>,
        y_dot: &mut [T],
        keep_dot: &mut [T],
    ) {
        let (batch, params) = (at.x.len() / self.n, at.p.len());
        let (kept, len) = (self.a.kept(batch, of.keep), self.a.len(batch));
        gather(&mut self.x, at.x, self.n, &self.reads);
        for (i, y_dot) in y_dot.chunks_exact_mut(at.x.len()).enumerate() {
            let one = dots.one(i, at.x.len(), params);
            gather(&mut self.x_bar, one.x, self.n, &self.reads);
            y_dot.fill(T::ZERO);
            let inner = At { x: &self.x, ..at };
            let keep_dot = &mut keep_dot[i * len..][..len];
            let part = self.a.jvp(inner, kept, one.with_x(&self.x_bar), batch, keep_dot);
            scatter(y_dot, part, self.n, &self.writes);
        }
    }
    fn vjp_tangent(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        dots: Dots<'_, T>,
        dot: Kept<'_, T>,
        w: &[T],
        w_dot: &[T],
        mut bars: BarsMut<'_, T>,
    ) {
        let (n, batch, params) = (at.x.len(), at.x.len() / self.n, at.p.len());
        let (kept, len) = (self.a.kept(batch, of.keep), self.a.len(batch));
        gather(&mut self.x, at.x, self.n, &self.reads);
        for i in 0..dots.count {
            let one = dots.one(i, n, params);
            gather(&mut self.x_dot, one.x, self.n, &self.reads);
            gather(&mut self.w[0], &w[i * n..][..n], self.n, &self.writes);
            gather(&mut self.w[1], block(w_dot, i, n), self.n, &self.writes);
            self.x_bar.clear();
            self.x_bar.resize(self.x.len(), T::ZERO);
            let kept_dot = self.a.kept(batch, block(dot.keep, i, len));
            let (inner, one) = (At { x: &self.x, ..at }, one.with_x(&self.x_dot));
            let inner_bars = BarsMut::new(&mut self.x_bar, bars.again().p);
            self.a.map.vjp_tangent(inner, kept, one, kept_dot, &self.w[0], &self.w[1], inner_bars);
            scatter(bars.x, &self.x_bar, self.n, &self.reads);
        }
    }
    fn time_derivative(&mut self, at: At<'_, T>, dt: &mut [T]) {
        gather(&mut self.x, at.x, self.n, &self.reads);
        self.part.resize(self.writes.len() * (at.x.len() / self.n), T::ZERO);
        self.a.map.time_derivative(At { x: &self.x, ..at }, &mut self.part);
        dt.fill(T::ZERO);
        scatter(dt, &self.part, self.n, &self.writes);
    }
}

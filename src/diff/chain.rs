//! One map after another.

use super::combine::block;
use super::map::{At, BarsMut, Dots, Kept, Map, Offers, Size};
use super::operand::both;
use super::spec::Spec;
use crate::error::OdeError;
use crate::linalg::Scalar;

/// x -> B(A(x)) ([`Map::then`]); parameters: those of A, then those of B.
#[derive(Debug, Clone)]
pub struct Chain<A, B, T> {
    pub(crate) a: A,
    pub(crate) b: B,
    mid: Vec<T>,
    bar: Vec<T>,
    bar_dot: Vec<T>,
    p_bar: Vec<T>,
}

impl<T: Scalar, A: Map<T>, B: Map<T>> Chain<A, B, T> {
    /// B after A.
    pub fn new(a: A, b: B) -> Result<Self, OdeError> {
        if a.outputs() != b.inputs() {
            let what =
                format!("a map with {} outputs cannot feed one with {} inputs", a.outputs(), b.inputs());
            return Err(OdeError::Mismatch { what });
        }
        Ok(Self { a, b, mid: vec![], bar: vec![], bar_dot: vec![], p_bar: vec![] })
    }
    /// Columns, and the lengths of what A keeps and of its output.
    fn cuts(&self, x: &[T]) -> (usize, usize, usize) {
        let batch = x.len() / self.a.inputs();
        (batch, self.a.keep_len(batch), self.a.outputs() * batch)
    }
}

impl<T: Scalar, A: Map<T>, B: Map<T>> Map<T> for Chain<A, B, T> {
    fn size(&self) -> Size {
        let (a, b) = (self.a.size(), self.b.size());
        Size { inputs: a.inputs, outputs: b.outputs, params: a.params + b.params }
    }
    fn offers(&self) -> Offers {
        both(&self.a, &self.b).without(Offers::ALONE)
    }
    fn spec(&self) -> Spec {
        self.a.spec().under("a").then(self.b.spec().under("b"))
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let (pa, pb) = at.p.split_at(self.a.n_params());
        self.mid.resize(self.a.outputs() * (at.x.len() / self.a.inputs()), T::ZERO);
        self.a.value(At { p: pa, ..at }, &mut self.mid);
        self.b.value(At::new(at.t, &self.mid, pb), y);
    }
    /// What A keeps, A's output, what B keeps.
    fn keep_len(&self, batch: usize) -> usize {
        self.a.keep_len(batch) + self.a.outputs() * batch + self.b.keep_len(batch)
    }
    fn forward(&mut self, at: At<'_, T>, y: &mut [T], keep: &mut [T]) {
        let (_, la, lm) = self.cuts(at.x);
        let (ka, rest) = keep.split_at_mut(la);
        let (mid, kb) = rest.split_at_mut(lm);
        let (pa, pb) = at.p.split_at(self.a.n_params());
        self.a.forward(At { p: pa, ..at }, mid, ka);
        self.b.forward(At::new(at.t, mid, pb), y, kb);
    }
    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let (_, la, lm) = self.cuts(at.x);
        let (ka, rest) = of.keep.split_at(la);
        let (mid, kb) = rest.split_at(lm);
        let (pa, pb) = at.p.split_at(self.a.n_params());
        let (pa_bar, pb_bar) = bars.p.split_at_mut(pa.len());
        self.bar.clear();
        self.bar.resize(mid.len(), T::ZERO);
        let of_b = Kept { y: of.y, keep: kb };
        self.b.vjp(At::new(at.t, mid, pb), of_b, w, BarsMut::new(&mut self.bar, pb_bar));
        let of_a = Kept { y: mid, keep: ka };
        self.a.vjp(At { p: pa, ..at }, of_a, &self.bar, BarsMut::new(bars.x, pa_bar));
    }
    fn jvp(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        dots: Dots<'_, T>,
        y_dot: &mut [T],
        keep_dot: &mut [T],
    ) {
        let (batch, la, lm) = self.cuts(at.x);
        let (size, len) = (self.size(), self.keep_len(batch));
        let (ka, rest) = of.keep.split_at(la);
        let (mid, kb) = rest.split_at(lm);
        let (pa, pb) = at.p.split_at(self.a.n_params());
        for (i, y_dot) in y_dot.chunks_exact_mut(size.outputs * batch).enumerate() {
            let (da, db) = dots.one(i, at.x.len(), size.params).split_p(pa.len());
            let (ka_dot, rest) = keep_dot[i * len..][..len].split_at_mut(la);
            let (mid_dot, kb_dot) = rest.split_at_mut(lm);
            self.a.jvp(At { p: pa, ..at }, Kept { y: mid, keep: ka }, da, mid_dot, ka_dot);
            let of_b = Kept { y: of.y, keep: kb };
            self.b.jvp(At::new(at.t, mid, pb), of_b, db.with_x(mid_dot), y_dot, kb_dot);
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
        bars: BarsMut<'_, T>,
    ) {
        let (batch, la, lm) = self.cuts(at.x);
        let (size, len) = (self.size(), self.keep_len(batch));
        let n = size.outputs * batch;
        let (ka, rest) = of.keep.split_at(la);
        let (mid, kb) = rest.split_at(lm);
        let (pa, pb) = at.p.split_at(self.a.n_params());
        let (pa_bar, pb_bar) = bars.p.split_at_mut(pa.len());
        let (of_a, of_b) = (Kept { y: mid, keep: ka }, Kept { y: of.y, keep: kb });
        let at_b = At::new(at.t, mid, pb);
        for i in 0..dots.count {
            let (da, db) = dots.one(i, at.x.len(), size.params).split_p(pa.len());
            let (ka_dot, rest) = dot.keep[i * len..][..len].split_at(la);
            let (mid_dot, kb_dot) = rest.split_at(lm);
            let w = &w[i * n..][..n];
            for v in [&mut self.bar, &mut self.bar_dot] {
                v.clear();
                v.resize(mid.len(), T::ZERO);
            }
            // The bar of A's output; its parameters' part is no tangent.
            self.p_bar.clear();
            self.p_bar.resize(pb.len(), T::ZERO);
            self.b.vjp(at_b, of_b, w, BarsMut::new(&mut self.bar, &mut self.p_bar));
            let dot_b = Kept { y: block(dot.y, i, n), keep: kb_dot };
            let bars_b = BarsMut::new(&mut self.bar_dot, pb_bar);
            self.b.vjp_tangent(at_b, of_b, db.with_x(mid_dot), dot_b, w, block(w_dot, i, n), bars_b);
            let dot_a = Kept { y: mid_dot, keep: ka_dot };
            let bars_a = BarsMut::new(bars.x, pa_bar);
            self.a.vjp_tangent(At { p: pa, ..at }, of_a, da, dot_a, &self.bar, &self.bar_dot, bars_a);
        }
    }
}

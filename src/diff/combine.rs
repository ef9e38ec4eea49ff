//! Sums, products, and one map below another.
//!
//! Tangents go direction by direction, because the bars between two maps have a tangent of their own for each.

use super::map::{At, BarsMut, Dots, Kept, Map, Offers, Size, Structure};
use super::operand::{Operand, both, multiply};
use super::spec::Spec;
use crate::error::{OdeError, check_len};
use crate::linalg::Scalar;

/// Block i of n numbers; an empty slice is zeros and stays it.
pub(super) fn block<T>(v: &[T], i: usize, n: usize) -> &[T] {
    if v.is_empty() { v } else { &v[i * n..][..n] }
}

/// A + B ([`Map::plus`], [`Map::plus_shared`]).
#[derive(Debug, Clone)]
pub struct Sum<A, B, T> {
    a: Operand<A, T>,
    b: Operand<B, T>,
    /// Where the parameters of B begin.
    cut: Option<usize>,
    room: Vec<T>,
}

impl<T: Scalar, A: Map<T>, B: Map<T>> Sum<A, B, T> {
    pub(super) fn new(a: A, b: B, shared: bool) -> Result<Self, OdeError> {
        check_len("the input of the second summand", b.inputs(), a.inputs())?;
        check_len("the output of the second summand", b.outputs(), a.outputs())?;
        if shared {
            check_len("the parameter vector of the second summand", b.n_params(), a.n_params())?;
        }
        let cut = if shared { None } else { Some(a.n_params()) };
        Ok(Self { a: Operand::new(a, false), b: Operand::new(b, false), cut, room: vec![] })
    }
    fn batch(&self, at: &At<'_, T>) -> usize {
        at.x.len() / self.a.map.inputs()
    }
    /// Where A and where B is evaluated.
    #[inline(always)]
    fn split<'a>(&self, at: At<'a, T>) -> (At<'a, T>, At<'a, T>) {
        let (pa, pb) = self.cut.map_or((at.p, at.p), |cut| at.p.split_at(cut));
        (At { p: pa, ..at }, At { p: pb, ..at })
    }
    fn split_dots<'a>(&self, dots: Dots<'a, T>) -> (Dots<'a, T>, Dots<'a, T>) {
        self.cut.map_or((dots, dots), |cut| dots.split_p(cut))
    }
}

impl<A, B, T> Sum<A, B, T> {
    /// The summands.
    pub(crate) fn parts_mut(&mut self) -> (&mut A, &mut B) {
        (&mut self.a.map, &mut self.b.map)
    }
}

impl<T: Scalar, A: Map<T>, B: Map<T>> Map<T> for Sum<A, B, T> {
    #[inline(always)]
    fn size(&self) -> Size {
        let a = self.a.map.size();
        Size { params: a.params + self.cut.map_or(0, |_| self.b.map.n_params()), ..a }
    }
    fn offers(&self) -> Offers {
        let (a, b) = (&self.a.map, &self.b.map);
        let dense = *a.structure() == Structure::Dense && *b.structure() == Structure::Dense;
        let all = a.offers().and(b.offers());
        both(a, b) | all.and(Offers::DT) | all.and(Offers::JACOBIAN.when(dense))
    }
    fn spec(&self) -> Spec {
        if self.cut.is_none() {
            return self.a.map.spec();
        }
        self.a.map.spec().under("a").then(self.b.map.spec().under("b"))
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let (a, b) = self.split(at);
        self.a.map.value(a, y);
        let other = self.b.value(b, at.x.len() / self.a.map.inputs());
        y.iter_mut().zip(other).for_each(|(y, b)| *y += *b);
    }
    #[inline(always)]
    fn value_one(&mut self, at: At<'_, T>, y: &mut [T]) {
        let (a, b) = self.split(at);
        self.a.map.value_one(a, y);
        self.room.resize(y.len(), T::ZERO);
        self.b.map.value_one(b, &mut self.room);
        y.iter_mut().zip(&self.room).for_each(|(y, b)| *y += *b);
    }
    fn keep_len(&self, batch: usize) -> usize {
        self.a.len(batch) + self.b.len(batch)
    }
    fn forward(&mut self, at: At<'_, T>, y: &mut [T], keep: &mut [T]) {
        let ((a, b), batch) = (self.split(at), self.batch(&at));
        let (ka, kb) = keep.split_at_mut(self.a.len(batch));
        y.copy_from_slice(self.a.forward(a, batch, ka));
        y.iter_mut().zip(self.b.forward(b, batch, kb)).for_each(|(y, b)| *y += *b);
    }
    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], mut bars: BarsMut<'_, T>) {
        let ((a, b), batch) = (self.split(at), self.batch(&at));
        let (ka, kb) = of.keep.split_at(self.a.len(batch));
        let (ka, kb) = (self.a.kept(batch, ka), self.b.kept(batch, kb));
        let Some(cut) = self.cut else {
            self.a.map.vjp(a, ka, w, bars.again());
            return self.b.map.vjp(b, kb, w, bars);
        };
        let (pa, pb) = bars.p.split_at_mut(cut);
        self.a.map.vjp(a, ka, w, BarsMut::new(bars.x, pa));
        self.b.map.vjp(b, kb, w, BarsMut::new(bars.x, pb));
    }
    fn jvp(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        dots: Dots<'_, T>,
        y_dot: &mut [T],
        keep_dot: &mut [T],
    ) {
        let ((a, b), batch, size) = (self.split(at), self.batch(&at), self.size());
        let (la, len) = (self.a.len(batch), self.keep_len(batch));
        let (ka, kb) = of.keep.split_at(la);
        let (ka, kb) = (self.a.kept(batch, ka), self.b.kept(batch, kb));
        for (i, y_dot) in y_dot.chunks_exact_mut(size.outputs * batch).enumerate() {
            let (da, db) = self.split_dots(dots.one(i, at.x.len(), size.params));
            let (ka_dot, kb_dot) = keep_dot[i * len..][..len].split_at_mut(la);
            y_dot.copy_from_slice(self.a.jvp(a, ka, da, batch, ka_dot));
            y_dot.iter_mut().zip(self.b.jvp(b, kb, db, batch, kb_dot)).for_each(|(y, b)| *y += *b);
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
        let ((a, b), batch, size) = (self.split(at), self.batch(&at), self.size());
        let (la, len, n) = (self.a.len(batch), self.keep_len(batch), size.outputs * batch);
        let (ka, kb) = of.keep.split_at(la);
        let (ka, kb) = (self.a.kept(batch, ka), self.b.kept(batch, kb));
        for i in 0..dots.count {
            let (da, db) = self.split_dots(dots.one(i, at.x.len(), size.params));
            let (ka_dot, kb_dot) = block(dot.keep, i, len).split_at(la);
            let (ka_dot, kb_dot) = (self.a.kept(batch, ka_dot), self.b.kept(batch, kb_dot));
            let (w, w_dot) = (&w[i * n..][..n], block(w_dot, i, n));
            let Some(cut) = self.cut else {
                self.a.map.vjp_tangent(a, ka, da, ka_dot, w, w_dot, bars.again());
                self.b.map.vjp_tangent(b, kb, db, kb_dot, w, w_dot, bars.again());
                continue;
            };
            let (pa, pb) = bars.p.split_at_mut(cut);
            self.a.map.vjp_tangent(a, ka, da, ka_dot, w, w_dot, BarsMut::new(bars.x, pa));
            self.b.map.vjp_tangent(b, kb, db, kb_dot, w, w_dot, BarsMut::new(bars.x, pb));
        }
    }
    fn jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) {
        let (a, b) = self.split(at);
        self.a.map.jacobian(a, jac);
        self.room.resize(jac.len(), T::ZERO);
        self.b.map.jacobian(b, &mut self.room);
        jac.iter_mut().zip(&self.room).for_each(|(j, b)| *j += *b);
    }
    fn time_derivative(&mut self, at: At<'_, T>, dt: &mut [T]) {
        let (a, b) = self.split(at);
        self.a.map.time_derivative(a, dt);
        self.room.resize(dt.len(), T::ZERO);
        self.b.map.time_derivative(b, &mut self.room);
        dt.iter_mut().zip(&self.room).for_each(|(d, b)| *d += *b);
    }
}

/// The componentwise product ([`Map::times`]).
#[derive(Debug, Clone)]
pub struct Product<A, B, T> {
    a: Operand<A, T>,
    b: Operand<B, T>,
    w: Vec<T>,
    w_dot: Vec<T>,
}

impl<T: Scalar, A: Map<T>, B: Map<T>> Product<A, B, T> {
    pub(super) fn new(a: A, b: B) -> Result<Self, OdeError> {
        check_len("the input of the second factor", b.inputs(), a.inputs())?;
        check_len("the output of the second factor", b.outputs(), a.outputs())?;
        Ok(Self { a: Operand::new(a, true), b: Operand::new(b, true), w: vec![], w_dot: vec![] })
    }
    fn split<'a>(&self, at: At<'a, T>) -> (At<'a, T>, At<'a, T>, usize) {
        let (pa, pb) = at.p.split_at(self.a.map.n_params());
        (At { p: pa, ..at }, At { p: pb, ..at }, at.x.len() / self.a.map.inputs())
    }
    fn kept<'k>(&self, batch: usize, keep: &'k [T]) -> (Kept<'k, T>, Kept<'k, T>) {
        let (ka, kb) = keep.split_at(self.a.len(batch));
        (self.a.kept(batch, ka), self.b.kept(batch, kb))
    }
}

/// to <- [w_dot] b + w b_dot, an empty w_dot being zeros.
fn product_dot<T: Scalar>(to: &mut Vec<T>, (w, w_dot): (&[T], &[T]), (b, b_dot): (&[T], &[T])) {
    multiply(to, w, b_dot);
    to.iter_mut().zip(w_dot).zip(b).for_each(|((to, w), b)| *to += *w * *b);
}

impl<T: Scalar, A: Map<T>, B: Map<T>> Map<T> for Product<A, B, T> {
    fn size(&self) -> Size {
        let a = self.a.map.size();
        Size { params: a.params + self.b.map.n_params(), ..a }
    }
    fn offers(&self) -> Offers {
        both(&self.a.map, &self.b.map).without(Offers::ALONE)
    }
    fn spec(&self) -> Spec {
        self.a.map.spec().under("a").then(self.b.map.spec().under("b"))
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let (a, b, batch) = self.split(at);
        self.a.map.value(a, y);
        y.iter_mut().zip(self.b.value(b, batch)).for_each(|(y, b)| *y *= *b);
    }
    fn keep_len(&self, batch: usize) -> usize {
        self.a.len(batch) + self.b.len(batch)
    }
    fn forward(&mut self, at: At<'_, T>, y: &mut [T], keep: &mut [T]) {
        let (a, b, batch) = self.split(at);
        let (ka, kb) = keep.split_at_mut(self.a.len(batch));
        y.copy_from_slice(self.a.forward(a, batch, ka));
        y.iter_mut().zip(self.b.forward(b, batch, kb)).for_each(|(y, b)| *y *= *b);
    }
    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let (a, b, batch) = self.split(at);
        let (ka, kb) = self.kept(batch, of.keep);
        let (pa, pb) = bars.p.split_at_mut(a.p.len());
        multiply(&mut self.w, w, kb.y);
        self.a.map.vjp(a, ka, &self.w, BarsMut::new(bars.x, pa));
        multiply(&mut self.w, w, ka.y);
        self.b.map.vjp(b, kb, &self.w, BarsMut::new(bars.x, pb));
    }
    fn jvp(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        dots: Dots<'_, T>,
        y_dot: &mut [T],
        keep_dot: &mut [T],
    ) {
        let ((a, b, batch), size) = (self.split(at), self.size());
        let (la, len) = (self.a.len(batch), self.keep_len(batch));
        let (ka, kb) = self.kept(batch, of.keep);
        for (i, y_dot) in y_dot.chunks_exact_mut(size.outputs * batch).enumerate() {
            let (da, db) = dots.one(i, at.x.len(), size.params).split_p(a.p.len());
            let (ka_dot, kb_dot) = keep_dot[i * len..][..len].split_at_mut(la);
            let a_dot = self.a.jvp(a, ka, da, batch, ka_dot);
            y_dot.iter_mut().zip(a_dot).zip(kb.y).for_each(|((y, a), b)| *y = *a * *b);
            let b_dot = self.b.jvp(b, kb, db, batch, kb_dot);
            y_dot.iter_mut().zip(b_dot).zip(ka.y).for_each(|((y, b), a)| *y += *a * *b);
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
        let ((a, b, batch), size) = (self.split(at), self.size());
        let (len, n) = (self.keep_len(batch), size.outputs * batch);
        let (ka, kb) = self.kept(batch, of.keep);
        let (pa, pb) = bars.p.split_at_mut(a.p.len());
        for i in 0..dots.count {
            let (da, db) = dots.one(i, at.x.len(), size.params).split_p(a.p.len());
            let (ka_dot, kb_dot) = self.kept(batch, block(dot.keep, i, len));
            let ws = (&w[i * n..][..n], block(w_dot, i, n));
            multiply(&mut self.w, ws.0, kb.y);
            product_dot(&mut self.w_dot, ws, (kb.y, kb_dot.y));
            self.a.map.vjp_tangent(a, ka, da, ka_dot, &self.w, &self.w_dot, BarsMut::new(bars.x, pa));
            multiply(&mut self.w, ws.0, ka.y);
            product_dot(&mut self.w_dot, ws, (ka.y, ka_dot.y));
            self.b.map.vjp_tangent(b, kb, db, kb_dot, &self.w, &self.w_dot, BarsMut::new(bars.x, pb));
        }
    }
}

/// (A(x); B(x)) in every column ([`Map::stack`]).
#[derive(Debug, Clone)]
pub struct Stack<A, B, T> {
    a: Operand<A, T>,
    b: Operand<B, T>,
    w: [Vec<T>; 4],
}

impl<T: Scalar, A: Map<T>, B: Map<T>> Stack<A, B, T> {
    pub(super) fn new(a: A, b: B) -> Result<Self, OdeError> {
        check_len("the input of the lower map", b.inputs(), a.inputs())?;
        Ok(Self { a: Operand::new(a, false), b: Operand::new(b, false), w: [const { Vec::new() }; 4] })
    }
    fn split<'a>(&self, at: At<'a, T>) -> (At<'a, T>, At<'a, T>, usize) {
        let (pa, pb) = at.p.split_at(self.a.map.n_params());
        (At { p: pa, ..at }, At { p: pb, ..at }, at.x.len() / self.a.map.inputs())
    }
    fn kept<'k>(&self, batch: usize, keep: &'k [T]) -> (Kept<'k, T>, Kept<'k, T>) {
        let (ka, kb) = keep.split_at(self.a.len(batch));
        (self.a.kept(batch, ka), self.b.kept(batch, kb))
    }
}

/// The rows from `from` on of every column of `part` <- those of the map, `rows` of them.
fn put<T: Scalar>(y: &mut [T], column: usize, from: usize, part: &[T], rows: usize) {
    for (y, part) in y.chunks_exact_mut(column).zip(part.chunks_exact(rows)) {
        y[from..][..rows].copy_from_slice(part);
    }
}

/// The rows from `from` on, `rows` of them, of every column.
fn take<T: Scalar>(to: &mut Vec<T>, y: &[T], column: usize, from: usize, rows: usize) {
    to.clear();
    y.chunks_exact(column).for_each(|y| to.extend_from_slice(&y[from..][..rows]));
}

impl<T: Scalar, A: Map<T>, B: Map<T>> Map<T> for Stack<A, B, T> {
    fn size(&self) -> Size {
        let (a, b) = (self.a.map.size(), self.b.map.size());
        Size { inputs: a.inputs, outputs: a.outputs + b.outputs, params: a.params + b.params }
    }
    fn offers(&self) -> Offers {
        both(&self.a.map, &self.b.map)
    }
    fn spec(&self) -> Spec {
        self.a.map.spec().under("a").then(self.b.map.spec().under("b"))
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let (a, b, batch) = self.split(at);
        let (ma, mb) = (self.a.map.outputs(), self.b.map.outputs());
        put(y, ma + mb, 0, self.a.value(a, batch), ma);
        put(y, ma + mb, ma, self.b.value(b, batch), mb);
    }
    fn keep_len(&self, batch: usize) -> usize {
        self.a.len(batch) + self.b.len(batch)
    }
    fn forward(&mut self, at: At<'_, T>, y: &mut [T], keep: &mut [T]) {
        let (a, b, batch) = self.split(at);
        let (ma, mb) = (self.a.map.outputs(), self.b.map.outputs());
        let (ka, kb) = keep.split_at_mut(self.a.len(batch));
        put(y, ma + mb, 0, self.a.forward(a, batch, ka), ma);
        put(y, ma + mb, ma, self.b.forward(b, batch, kb), mb);
    }
    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let (a, b, batch) = self.split(at);
        let (ma, mb) = (self.a.map.outputs(), self.b.map.outputs());
        let (ka, kb) = self.kept(batch, of.keep);
        let (pa, pb) = bars.p.split_at_mut(a.p.len());
        let [wa, wb, ..] = &mut self.w;
        take(wa, w, ma + mb, 0, ma);
        take(wb, w, ma + mb, ma, mb);
        self.a.map.vjp(a, ka, wa, BarsMut::new(bars.x, pa));
        self.b.map.vjp(b, kb, wb, BarsMut::new(bars.x, pb));
    }
    fn jvp(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        dots: Dots<'_, T>,
        y_dot: &mut [T],
        keep_dot: &mut [T],
    ) {
        let ((a, b, batch), size) = (self.split(at), self.size());
        let (ma, mb) = (self.a.map.outputs(), self.b.map.outputs());
        let (la, len) = (self.a.len(batch), self.keep_len(batch));
        let (ka, kb) = self.kept(batch, of.keep);
        for (i, y_dot) in y_dot.chunks_exact_mut(size.outputs * batch).enumerate() {
            let (da, db) = dots.one(i, at.x.len(), size.params).split_p(a.p.len());
            let (ka_dot, kb_dot) = keep_dot[i * len..][..len].split_at_mut(la);
            put(y_dot, ma + mb, 0, self.a.jvp(a, ka, da, batch, ka_dot), ma);
            put(y_dot, ma + mb, ma, self.b.jvp(b, kb, db, batch, kb_dot), mb);
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
        let ((a, b, batch), size) = (self.split(at), self.size());
        let (ma, mb) = (self.a.map.outputs(), self.b.map.outputs());
        let (len, n) = (self.keep_len(batch), size.outputs * batch);
        let (ka, kb) = self.kept(batch, of.keep);
        let (pa, pb) = bars.p.split_at_mut(a.p.len());
        for i in 0..dots.count {
            let (da, db) = dots.one(i, at.x.len(), size.params).split_p(a.p.len());
            let (ka_dot, kb_dot) = self.kept(batch, block(dot.keep, i, len));
            let (w, w_dot) = (&w[i * n..][..n], block(w_dot, i, n));
            let [wa, wb, va, vb] = &mut self.w;
            for (to, from, first, rows) in
                [(wa, w, 0, ma), (wb, w, ma, mb), (va, w_dot, 0, ma), (vb, w_dot, ma, mb)]
            {
                take(to, from, ma + mb, first, rows);
            }
            let [wa, wb, va, vb] = &self.w;
            self.a.map.vjp_tangent(a, ka, da, ka_dot, wa, va, BarsMut::new(bars.x, pa));
            self.b.map.vjp_tangent(b, kb, db, kb_dot, wb, vb, BarsMut::new(bars.x, pb));
        }
    }
}

//! Multiples: of a map by a number, of components by numbers of their own.

use super::combine::block;
use super::map::{At, BarsMut, Dots, Kept, Map, Offers, Size, Structure};
use super::operand::Operand;
use super::spec::{Init, Spec};
use crate::linalg::Scalar;

/// c A ([`Map::scaled`]).
#[derive(Debug, Clone)]
pub struct Scaled<A, T> {
    a: Operand<A, T>,
    c: T,
    w: [Vec<T>; 2],
}

impl<T: Scalar, A: Map<T>> Scaled<A, T> {
    pub(super) fn new(a: A, c: T) -> Self {
        Self { a: Operand::new(a, false), c, w: [vec![], vec![]] }
    }
    fn times(c: T, y: &mut [T]) {
        y.iter_mut().for_each(|y| *y *= c);
    }
    fn load(to: &mut Vec<T>, c: T, w: &[T]) {
        to.clear();
        to.extend(w.iter().map(|w| c * *w));
    }
}

impl<T: Scalar, A: Map<T>> Map<T> for Scaled<A, T> {
    #[inline(always)]
    fn size(&self) -> Size {
        self.a.map.size()
    }
    fn offers(&self) -> Offers {
        self.a.map.offers().without(Offers::SECOND_ORDER)
    }
    fn spec(&self) -> Spec {
        self.a.map.spec()
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        self.a.map.value(at, y);
        Self::times(self.c, y);
    }
    #[inline(always)]
    fn value_one(&mut self, at: At<'_, T>, y: &mut [T]) {
        self.a.map.value_one(at, y);
        Self::times(self.c, y);
    }
    fn keep_len(&self, batch: usize) -> usize {
        self.a.len(batch)
    }
    fn forward(&mut self, at: At<'_, T>, y: &mut [T], keep: &mut [T]) {
        let batch = at.x.len() / self.a.map.inputs();
        y.copy_from_slice(self.a.forward(at, batch, keep));
        Self::times(self.c, y);
    }
    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let kept = self.a.kept(at.x.len() / self.a.map.inputs(), of.keep);
        Self::load(&mut self.w[0], self.c, w);
        self.a.map.vjp(at, kept, &self.w[0], bars);
    }
    fn jvp(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        dots: Dots<'_, T>,
        y_dot: &mut [T],
        keep_dot: &mut [T],
    ) {
        let Size { inputs, outputs, params } = self.size();
        let batch = at.x.len() / inputs;
        let (kept, len) = (self.a.kept(batch, of.keep), self.a.len(batch));
        for (i, y_dot) in y_dot.chunks_exact_mut(outputs * batch).enumerate() {
            let dots = dots.one(i, at.x.len(), params);
            y_dot.copy_from_slice(self.a.jvp(at, kept, dots, batch, &mut keep_dot[i * len..][..len]));
            Self::times(self.c, y_dot);
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
        let Size { inputs, outputs, params } = self.size();
        let batch = at.x.len() / inputs;
        let (kept, len, n) = (self.a.kept(batch, of.keep), self.a.len(batch), outputs * batch);
        for i in 0..dots.count {
            let kept_dot = self.a.kept(batch, block(dot.keep, i, len));
            Self::load(&mut self.w[0], self.c, &w[i * n..][..n]);
            Self::load(&mut self.w[1], self.c, block(w_dot, i, n));
            let one = dots.one(i, at.x.len(), params);
            self.a.map.vjp_tangent(at, kept, one, kept_dot, &self.w[0], &self.w[1], bars.again());
        }
    }
    fn structure(&self) -> &Structure {
        self.a.map.structure()
    }
    fn jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) {
        self.a.map.jacobian(at, jac);
        Self::times(self.c, jac);
    }
    fn time_derivative(&mut self, at: At<'_, T>, dt: &mut [T]) {
        self.a.map.time_derivative(at, dt);
        Self::times(self.c, dt);
    }
}

/// y_i = v_i x_i, with v fixed or as parameters.
#[derive(Debug, Clone)]
pub struct Scale<T> {
    n: usize,
    fixed: Option<Vec<T>>,
}

static DIAGONAL: Structure = Structure::Banded { lower: 0, upper: 0 };

impl<T: Scalar> Scale<T> {
    /// By these numbers.
    pub fn fixed(v: &[T]) -> Self {
        Self { n: v.len(), fixed: Some(v.to_vec()) }
    }
    /// By n parameters.
    pub fn learned(n: usize) -> Self {
        Self { n, fixed: None }
    }
    fn v<'a>(&'a self, p: &'a [T]) -> &'a [T] {
        self.fixed.as_deref().unwrap_or(p)
    }
}

impl<T: Scalar> Map<T> for Scale<T> {
    fn size(&self) -> Size {
        Size { inputs: self.n, outputs: self.n, params: if self.fixed.is_some() { 0 } else { self.n } }
    }
    fn offers(&self) -> Offers {
        let products = Offers::VJP | Offers::JVP | Offers::TANGENT | Offers::JACOBIAN;
        products | Offers::ALONE | Offers::AUTONOMOUS | Offers::DT
    }
    fn spec(&self) -> Spec {
        if self.fixed.is_some() { Spec::none() } else { Spec::none().with("scale", &[self.n], Init::Zeros) }
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let v = self.v(at.p);
        for (x, y) in at.x.chunks_exact(self.n).zip(y.chunks_exact_mut(self.n)) {
            y.iter_mut().zip(x).zip(v).for_each(|((y, x), v)| *y = *v * *x);
        }
    }
    fn vjp(&mut self, at: At<'_, T>, _: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let columns = at.x.chunks_exact(self.n).zip(w.chunks_exact(self.n));
        for ((x, w), x_bar) in columns.zip(bars.x.chunks_exact_mut(self.n)) {
            x_bar.iter_mut().zip(w).zip(self.v(at.p)).for_each(|((b, w), v)| *b += *v * *w);
            if self.fixed.is_none() {
                bars.p.iter_mut().zip(w).zip(x).for_each(|((b, w), x)| *b += *x * *w);
            }
        }
    }
    fn jvp(&mut self, at: At<'_, T>, _: Kept<'_, T>, dots: Dots<'_, T>, y_dot: &mut [T], _: &mut [T]) {
        let n = self.n;
        for (i, y_dot) in y_dot.chunks_exact_mut(at.x.len()).enumerate() {
            let one = dots.one(i, at.x.len(), n);
            y_dot.fill(T::ZERO);
            for (y, x) in y_dot.chunks_exact_mut(n).zip(one.x.chunks_exact(n)) {
                y.iter_mut().zip(x).zip(self.v(at.p)).for_each(|((y, x), v)| *y = *v * *x);
            }
            if self.fixed.is_none() && !one.p.is_empty() {
                for (y, x) in y_dot.chunks_exact_mut(n).zip(at.x.chunks_exact(n)) {
                    y.iter_mut().zip(x).zip(one.p).for_each(|((y, x), v)| *y += *v * *x);
                }
            }
        }
    }
    fn vjp_tangent(
        &mut self,
        at: At<'_, T>,
        _: Kept<'_, T>,
        dots: Dots<'_, T>,
        _: Kept<'_, T>,
        w: &[T],
        w_dot: &[T],
        mut bars: BarsMut<'_, T>,
    ) {
        let (n, len) = (self.n, at.x.len());
        for i in 0..dots.count {
            let (one, w) = (dots.one(i, len, n), &w[i * len..][..len]);
            if !w_dot.is_empty() {
                self.vjp(at, Kept::NONE, block(w_dot, i, len), bars.again());
            }
            if self.fixed.is_some() {
                continue;
            }
            for (c, w) in w.chunks_exact(n).enumerate() {
                let x_bar = &mut bars.x[c * n..][..n];
                x_bar.iter_mut().zip(w).zip(one.p).for_each(|((b, w), v)| *b += *v * *w);
                let x_dot = block(one.x, c, n);
                bars.p.iter_mut().zip(w).zip(x_dot).for_each(|((b, w), x)| *b += *x * *w);
            }
        }
    }
    fn structure(&self) -> &Structure {
        &DIAGONAL
    }
    fn jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) {
        jac.chunks_exact_mut(self.n).for_each(|block| block.copy_from_slice(self.v(at.p)));
    }
    fn time_derivative(&mut self, _: At<'_, T>, dt: &mut [T]) {
        dt.fill(T::ZERO);
    }
}

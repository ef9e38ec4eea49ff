//! Variational equations: a map and its derivatives along directions as one map.

use super::combine::block;
use super::differences::{CENTRAL, growth, largest};
use super::linearize::Linearizer;
use super::map::{At, BarsMut, Dots, Kept, Map, Offers, Size, Structure, VjpRoom, need};
use crate::error::OdeError;
use crate::linalg::Scalar;

/// y = A(t, x, p) and its derivatives y_i = A_x x_i + A_p p_i along k directions: of a field f the variational equations
///
/// ```text
/// y' = f(t, y, p),   y_i' = f_y y_i + f_p p_i,   i = 1..k
/// ```
///
/// A state is (x; x_1; ..; x_k), a batch in each part, and so is y; the parameters are (p; p_1; ..; p_k). To whoever counts columns it is a batch of k + 1 times as many. A step of a
/// Runge-Kutta, Nystrom or Rosenbrock method for it is the step for A and the exact derivatives of that step, of which [`Tangent`](crate::adjoint::Tangent) and
/// [`sensitivities`](crate::adjoint::sensitivities) are made.
///
/// The parts of [`Map::jacobian`] are J = A_x and its derivatives J_i along the directions, each stored as A's own: the Jacobian of all is J on the diagonal and the J_i below it,
/// so that one factorization of W = I / (h gamma) - J serves all directions. The J_i come of tangents of A's vjp, exact, a row or colour at a time or where
/// directions are many an entry at a time, or where A has none of fourth-order differences of J. The vjp of all
/// needs A's and its tangent; the tangent of that is exact but for third derivatives of A.
///
/// ```
/// use costate::diff::{At, Map, Variational};
/// use costate::expr::record;
/// // y' = p y^2 along (1; 0) and (0; 1).
/// let field = record(1, 1, |_, y, p, dy| dy[0] = p[0] * y[0] * y[0])?.into_map();
/// let mut both = Variational::new(field, 2)?;
/// let mut dy = [0.0; 3];
/// both.value(At::new(0.0, &[3.0, 1.0, 0.0], &[2.0, 0.0, 1.0]), &mut dy);
/// assert_eq!(dy, [18.0, 12.0, 9.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Variational<M, T> {
    map: M,
    directions: usize,
    room: Room<T>,
    lin: Linearizer<T>,
    lin_dot: Linearizer<T>,
}

/// Up to so many unknowns the derivatives of dA/dt are exact, whatever the number of directions.
const FEW: usize = 64;

/// Storage between calls.
#[derive(Debug, Clone, Default)]
struct Room<T> {
    pull: VjpRoom<T>,
    y_dot: Vec<T>,
    keep_dot: Vec<T>,
    w_dot: Vec<T>,
    /// A shifted point, and what is evaluated there.
    x: Vec<T>,
    p: Vec<T>,
    shifted: Vec<T>,
    /// Of [`Variational::slopes`].
    bars: [Vec<T>; 2],
    /// The entries of J: row, column, place.
    places: Vec<(usize, usize, usize)>,
}

impl<T: Scalar> Room<T> {
    /// Along a direction of x and p.
    fn slope(&self, x_dot: &[T], p_dot: &[T]) -> T {
        let product = |a: &[T], b: &[T]| a.iter().zip(b).fold(T::ZERO, |s, (a, b)| s + *a * *b);
        product(&self.bars[0], x_dot) + product(&self.bars[1], p_dot)
    }
}

impl<T: Scalar, M: Map<T>> Variational<M, T> {
    /// Of this map, which must have a Jacobian-vector product, along so many directions, at least one.
    pub fn new(map: M, directions: usize) -> Result<Self, OdeError> {
        need(&map, Offers::JVP, "the derivative along a direction")?;
        if directions == 0 {
            return Err(OdeError::Mismatch { what: "variational equations need a direction".to_string() });
        }
        let (lin, lin_dot) = (Linearizer::default(), Linearizer::default());
        Ok(Self { map, directions, room: Room::default(), lin, lin_dot })
    }
    /// The map.
    pub fn inner(&self) -> &M {
        &self.map
    }
    fn is_alone(&self) -> bool {
        self.map.offers().has(Offers::ALONE)
    }
    /// A point of the map, and the directions.
    fn split<'a>(&self, at: At<'a, T>) -> (At<'a, T>, Dots<'a, T>) {
        let (x, x_dot) = at.x.split_at(at.x.len() / (self.directions + 1));
        let (p, p_dot) = at.p.split_at(self.map.n_params());
        (At { x, p, ..at }, Dots { count: self.directions, t: &[], x: x_dot, p: p_dot })
    }
    /// What `forward` left of the map, and of its derivatives.
    fn kept<'a>(&self, of: Kept<'a, T>) -> (Kept<'a, T>, Kept<'a, T>) {
        let first = |v: &'a [T]| v.split_at(v.len() / (self.directions + 1));
        let ((y, y_dot), (keep, keep_dot)) = (first(of.y), first(of.keep));
        (Kept { y, keep }, Kept { y: y_dot, keep: keep_dot })
    }

    /// ADDS P'[v; w] + P[w_dot].
    fn tangent(&mut self, at: At<'_, T>, v: Dots<'_, T>, w: &[T], w_dot: &[T], bars: BarsMut<'_, T>) {
        let Room { pull, y_dot, keep_dot, .. } = &mut self.room;
        add_tangent(&mut self.map, (pull, y_dot, keep_dot), at, v, (w, w_dot), bars);
    }

    /// ADDS the derivative of P'[v; w] along u, an increment of a step: fourth-order differences.
    fn third(&mut self, at: At<'_, T>, u: Dots<'_, T>, v: Dots<'_, T>, w: &[T], mut bars: BarsMut<'_, T>) {
        let Self { map, room: Room { pull, y_dot, keep_dot, x, p, shifted, .. }, .. } = self;
        if w.iter().all(|w| *w == T::ZERO) {
            return;
        }
        let d = T::of(T::EPSILON.f64().powf(0.2)) / growth(largest(u.x), largest(at.x));
        for (steps, factor) in CENTRAL {
            let (e, factor) = (T::of(steps) * d, T::of(factor / 12.0) / d);
            shift(x, at.x, e, u.x);
            shift(p, at.p, e, u.p);
            shifted.clear();
            shifted.extend(w.iter().map(|w| factor * *w));
            let t = u.t.iter().fold(at.t, |t, dot| t + e * *dot);
            add_tangent(map, (pull, y_dot, keep_dot), At::new(t, x, p), v, (shifted, &[]), bars.again());
        }
    }

    fn has_second(&self) -> bool {
        self.map.offers().has(Offers::VJP | Offers::TANGENT)
    }
    /// Whether J has fewer entries than all J_i have rows, or colours of them.
    fn by_entries(&mut self) -> bool {
        let (n, places) = (self.map.inputs(), &mut self.room.places);
        if places.is_empty() {
            self.map.structure().entries(n, n, |i, j, k| places.push((i, j, k)));
        }
        let column = |j: usize| places.iter().filter(|p| p.1 == j).count();
        let rows = if self.directions < n { 0 } else { (0..n).map(column).max().unwrap_or(0) };
        places.len() < self.directions * rows && self.has_second()
    }

    /// All J_i from the derivative of each entry of J by x and p, column by column.
    fn jacobian_entries(&mut self, at: At<'_, T>, dots: Dots<'_, T>, jac: &mut [T]) {
        let (n, all, params) = (self.map.inputs(), at.x.len(), at.p.len());
        let (len, batch) = (jac.len() / self.directions, at.x.len() / n);
        let places = std::mem::take(&mut self.room.places);
        let mut e = std::mem::take(&mut self.room.x);
        e.clear();
        e.resize(n, T::ZERO);
        for (c, &(i, j, k)) in (0..batch).flat_map(|c| places.iter().map(move |p| (c, p))) {
            e[j] = T::ONE;
            self.slopes(At { x: &at.x[c * n..][..n], ..at }, Dots { count: 1, t: &[], x: &e, p: &[] }, i);
            e[j] = T::ZERO;
            for (l, jac) in jac.chunks_exact_mut(len).enumerate() {
                let dot = dots.one(l, all, params);
                jac[c * (len / batch) + k] = self.room.slope(&dot.x[c * n..][..n], dot.p);
            }
        }
        (self.room.places, self.room.x) = (places, e);
    }

    /// The derivatives of dA/dt along all directions from those of each component by x and p, column by column.
    fn rate_entries(&mut self, at: At<'_, T>, dots: Dots<'_, T>, dt: &mut [T]) {
        let (n, all, params) = (self.map.inputs(), at.x.len(), at.p.len());
        for (k, c) in (0..all).map(|k| (k, k / n)) {
            let time = Dots { count: 1, t: &[T::ONE], x: &[], p: &[] };
            self.slopes(At { x: &at.x[c * n..][..n], ..at }, time, k % n);
            for (l, dt) in dt.chunks_exact_mut(all).enumerate() {
                let dot = dots.one(l, all, params);
                dt[k] = self.room.slope(&dot.x[c * n..][..n], dot.p);
            }
        }
    }

    /// The derivatives by x and p of component i of the derivative of A along v.
    fn slopes(&mut self, at: At<'_, T>, v: Dots<'_, T>, i: usize) {
        let Room { pull, y_dot, keep_dot, w_dot: w, bars: [x, p], .. } = &mut self.room;
        for (to, len) in [(&mut *w, self.map.outputs()), (&mut *x, at.x.len()), (&mut *p, at.p.len())] {
            to.clear();
            to.resize(len, T::ZERO);
        }
        w[i] = T::ONE;
        add_tangent(&mut self.map, (pull, y_dot, keep_dot), at, v, (w, &[]), BarsMut::new(x, p));
    }

    /// out <- the derivative, along one direction, of what `make` writes at a point: fourth-order differences by steps of some eps^(1/5) of the numbers moved.
    fn differentiate(
        &mut self,
        at: At<'_, T>,
        dot: Dots<'_, T>,
        out: &mut [T],
        make: impl Fn(&mut Linearizer<T>, &mut M, At<'_, T>, &mut [T]),
    ) {
        let Self { map, lin, room: Room { x, p, shifted, .. }, .. } = self;
        out.fill(T::ZERO);
        let ratio = largest_ratio(at.x, dot.x) + largest_ratio(at.p, dot.p);
        if ratio == T::ZERO {
            return;
        }
        let d = T::of(T::EPSILON.f64().powf(0.2)) / ratio;
        shifted.resize(out.len(), T::ZERO);
        for (steps, factor) in CENTRAL {
            let (e, factor) = (T::of(steps) * d, T::of(factor / 12.0) / d);
            shift(x, at.x, e, dot.x);
            shift(p, at.p, e, dot.p);
            make(lin, map, At::new(at.t, x, p), shifted);
            out.iter_mut().zip(&*shifted).for_each(|(o, v)| *o += factor * *v);
        }
    }
}

/// ADDS the tangent of the vjp of w along the one direction v, and the vjp of `w_dot`, where nothing was evaluated before.
fn add_tangent<T: Scalar, M: Map<T>>(
    map: &mut M,
    (pull, y_dot, keep_dot): (&mut VjpRoom<T>, &mut Vec<T>, &mut Vec<T>),
    at: At<'_, T>,
    v: Dots<'_, T>,
    (w, w_dot): (&[T], &[T]),
    bars: BarsMut<'_, T>,
) {
    let of = pull.evaluate(map, at);
    let mut dot = Kept::NONE;
    if !map.offers().has(Offers::ALONE) {
        y_dot.resize(of.y.len(), T::ZERO);
        keep_dot.resize(of.keep.len(), T::ZERO);
        map.jvp(at, of, v, y_dot, keep_dot);
        dot = Kept { y: y_dot, keep: keep_dot };
    }
    map.vjp_tangent(at, of, v, dot, w, w_dot, bars);
}

/// A state and its directions; an empty one has empty parts.
#[derive(Clone, Copy)]
struct Parts<'a, T> {
    all: &'a [T],
    len: usize,
}

impl<'a, T> Parts<'a, T> {
    fn of(all: &'a [T], directions: usize) -> Self {
        Self { all, len: all.len() / (directions + 1) }
    }
    fn get(&self, i: usize) -> &'a [T] {
        &self.all[i * self.len..][..self.len]
    }
    fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// to <- x + e x_dot.
fn shift<T: Scalar>(to: &mut Vec<T>, x: &[T], e: T, dot: &[T]) {
    to.clear();
    to.extend_from_slice(x);
    to.iter_mut().zip(dot).for_each(|(x, d)| *x += e * *d);
}

/// The largest |x_dot_j / x_j|, with the x_j not below 1e-3 of their largest: differences along a direction that moves one close to zero would be rounding.
fn largest_ratio<T: Scalar>(x: &[T], dot: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let most = largest(x);
    let least = if most > T::ZERO { T::of(1e-3) * most } else { T::ONE };
    x.iter().zip(dot).fold(T::ZERO, |m, (x, d)| larger(m, d.abs() / larger(x.abs(), least)))
}

impl<T: Scalar, M: Map<T>> Map<T> for Variational<M, T> {
    fn size(&self) -> Size {
        let Size { inputs, outputs, params } = self.map.size();
        Size { inputs, outputs, params: params * (self.directions + 1) }
    }
    fn offers(&self) -> Offers {
        let inner = self.map.offers();
        let passed = Offers::ALONE | Offers::AUTONOMOUS | Offers::SECOND_ORDER;
        let second = inner.has(Offers::VJP | Offers::TANGENT);
        let products = Offers::VJP | Offers::TANGENT | Offers::TANGENT_ALONE;
        inner.and(passed) | products.when(second) | Offers::JACOBIAN | Offers::DT
    }
    fn directions(&self) -> usize {
        self.directions
    }
    fn structure(&self) -> &Structure {
        self.map.structure()
    }
    fn integrals(&self) -> usize {
        self.map.integrals()
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let (at, dots) = self.split(at);
        let (y, y_dot) = y.split_at_mut(y.len() / (self.directions + 1));
        let (alone, batch) = (self.is_alone(), at.x.len() / self.map.inputs());
        let Self { map, room: Room { pull, keep_dot, .. }, directions, .. } = self;
        keep_dot.resize(*directions * map.keep_len(batch), T::ZERO);
        let of = pull.evaluate(map, at);
        if alone {
            map.value(at, y);
        } else {
            y.copy_from_slice(of.y);
        }
        map.jvp(at, of, dots, y_dot, keep_dot);
    }
    fn keep_len(&self, batch: usize) -> usize {
        let parts = self.directions + 1;
        if self.is_alone() { 0 } else { self.map.keep_len(batch / parts) * parts }
    }
    fn forward(&mut self, at: At<'_, T>, y: &mut [T], keep: &mut [T]) {
        if self.is_alone() {
            return self.value(at, y);
        }
        let ((at, dots), parts) = (self.split(at), self.directions + 1);
        let (y, y_dot) = y.split_at_mut(y.len() / parts);
        let (keep, keep_dot) = keep.split_at_mut(keep.len() / parts);
        self.map.forward(at, y, keep);
        self.map.jvp(at, Kept { y, keep }, dots, y_dot, keep_dot);
    }
    /// With the weights (w; w_1; ..): sum_i [the tangent of vjp(w_i) along direction i] + vjp(w) for x and p, vjp(w_i) for x_i and p_i.
    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let ((at, dots), (of, dot)) = (self.split(at), self.kept(of));
        let m = w.len() / (self.directions + 1);
        let (w, w_i) = w.split_at(m);
        let (x_bar, x_bars) = bars.x.split_at_mut(at.x.len());
        let (p_bar, p_bars) = bars.p.split_at_mut(at.p.len());
        let w_dot = &mut self.room.w_dot;
        w_dot.clear();
        w_dot.extend_from_slice(w);
        w_dot.resize(w_i.len(), T::ZERO);
        self.map.vjp_tangent(at, of, dots, dot, w_i, w_dot, BarsMut::new(x_bar, p_bar));
        for i in 0..self.directions {
            let x_bar = &mut x_bars[i * at.x.len()..][..at.x.len()];
            let p_bar = &mut p_bars[i * at.p.len()..][..at.p.len()];
            self.map.vjp(at, of, &w_i[i * m..][..m], BarsMut::new(x_bar, p_bar));
        }
    }
    /// With (u; u_1; ..) a direction and (w; w_1; ..) its weights, `P(x)[w]` the vjp and `P'(x)[v; w]` its tangent along v: the derivatives of
    /// `P[w] + sum_i P'[x_i; w_i]` for x, those of `P[w_i]` for x_i. What is linear, `P'[u; w]`, `P'[u_i; w_i]` and `P'[u; w_i]`, is exact, and only the third derivative is one of differences.
    fn vjp_tangent(
        &mut self,
        at: At<'_, T>,
        _: Kept<'_, T>,
        dots: Dots<'_, T>,
        _: Kept<'_, T>,
        w: &[T],
        w_dot: &[T],
        bars: BarsMut<'_, T>,
    ) {
        let (len, params) = (at.x.len(), at.p.len());
        let (n, m) = (len / (self.directions + 1), w.len() / dots.count.max(1));
        let (at, along) = self.split(at);
        let (x_bar, x_bars) = bars.x.split_at_mut(n);
        let (p_bar, p_bars) = bars.p.split_at_mut(at.p.len());
        let mut own = BarsMut::new(x_bar, p_bar);
        for l in 0..dots.count {
            let u = dots.one(l, len, params);
            let (w, w_dot) = (Parts::of(&w[l * m..][..m], self.directions), block(w_dot, l, m));
            let (w_dot, x, p) = (
                Parts::of(w_dot, self.directions),
                Parts::of(u.x, self.directions),
                Parts::of(u.p, self.directions),
            );
            let first = Dots { count: 1, t: u.t, x: x.get(0), p: p.get(0) };
            self.tangent(at, first, w.get(0), w_dot.get(0), own.again());
            for i in 0..self.directions {
                let (w_i, dot_i) = (w.get(i + 1), along.one(i, n, at.p.len()));
                let bars =
                    BarsMut::new(&mut x_bars[i * n..][..n], &mut p_bars[i * at.p.len()..][..at.p.len()]);
                self.tangent(at, first, w_i, w_dot.get(i + 1), bars);
                let moved = Dots { count: 1, t: &[], x: x.get(i + 1), p: p.get(i + 1) };
                self.tangent(at, moved, w_i, &[], own.again());
                if !w_dot.is_empty() {
                    self.tangent(at, dot_i, w_dot.get(i + 1), &[], own.again());
                }
                self.third(at, first, dot_i, w_i, own.again());
            }
        }
    }
    fn jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) {
        let (at, dots) = self.split(at);
        let params = at.p.len();
        let len = jac.len() / (self.directions + 1);
        let (first, rest) = jac.split_at_mut(len);
        self.lin.jacobian(&mut self.map, at, first);
        if self.by_entries() {
            return self.jacobian_entries(at, dots, rest);
        }
        for (i, block) in rest.chunks_exact_mut(len.max(1)).enumerate() {
            let dot = dots.one(i, at.x.len(), params);
            if self.map.offers().has(Offers::VJP | Offers::TANGENT) {
                let mut along = Along { map: &mut self.map, dot, pull: &mut self.room.pull };
                self.lin_dot.jacobian(&mut along, at, block);
            } else {
                self.differentiate(at, dot, block, Linearizer::jacobian);
            }
        }
    }
    fn time_derivative(&mut self, at: At<'_, T>, dt: &mut [T]) {
        let ((at, dots), params) = (self.split(at), at.p.len() / (self.directions + 1));
        if self.map.offers().has(Offers::AUTONOMOUS) {
            return dt.fill(T::ZERO);
        }
        let (first, rest) = dt.split_at_mut(dt.len() / (self.directions + 1));
        self.lin.rate_at(&mut self.map, at, first);
        if self.has_second() && self.map.inputs() <= FEW.max(CENTRAL.len() * self.directions) {
            return self.rate_entries(at, dots, rest);
        }
        for (i, dt) in rest.chunks_exact_mut(first.len().max(1)).enumerate() {
            self.differentiate(at, dots.one(i, at.x.len(), params), dt, Linearizer::rate_at);
        }
    }
}

/// The derivative of a map along one direction as a map of x: its vjp is the tangent of the map's.
struct Along<'a, M, T> {
    map: &'a mut M,
    dot: Dots<'a, T>,
    pull: &'a mut VjpRoom<T>,
}

impl<T: Scalar, M: Map<T>> Along<'_, M, T> {
    fn is_alone(&self) -> bool {
        self.map.offers().has(Offers::ALONE)
    }
}

impl<T: Scalar, M: Map<T>> Map<T> for Along<'_, M, T> {
    fn size(&self) -> Size {
        self.map.size()
    }
    fn offers(&self) -> Offers {
        Offers::VJP | Offers::AUTONOMOUS | self.map.offers().and(Offers::ALONE)
    }
    fn structure(&self) -> &Structure {
        self.map.structure()
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let mut keep_dot = vec![T::ZERO; self.map.keep_len(at.x.len() / self.map.inputs())];
        let of = self.pull.evaluate(self.map, at);
        self.map.jvp(at, of, self.dot, y, &mut keep_dot);
    }
    /// The map's y, what it keeps, and the derivative of that.
    fn keep_len(&self, batch: usize) -> usize {
        if self.is_alone() { 0 } else { self.map.outputs() * batch + 2 * self.map.keep_len(batch) }
    }
    fn forward(&mut self, at: At<'_, T>, y_dot: &mut [T], keep: &mut [T]) {
        if self.is_alone() {
            return self.value(at, y_dot);
        }
        let (y, keep) = keep.split_at_mut(y_dot.len());
        let (keep, keep_dot) = keep.split_at_mut(keep.len() / 2);
        self.map.forward(at, y, keep);
        self.map.jvp(at, Kept { y, keep }, self.dot, y_dot, keep_dot);
    }
    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let (y, keep) = of.keep.split_at(of.y.len());
        let (keep, keep_dot) = keep.split_at(keep.len() / 2);
        let (of, dot) = (Kept { y, keep }, Kept { y: of.y, keep: keep_dot });
        self.map.vjp_tangent(at, of, self.dot, dot, w, &[], bars);
    }
}

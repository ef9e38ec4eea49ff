//! Integrals along a solution as further components of the state.

use super::combine::block;
use super::linearize::Linearizer;
use super::map::{At, BarsMut, Dots, Kept, Map, Offers, Size, Structure};
use super::operand::{Operand, both};
use super::spec::Spec;
use crate::error::{OdeError, check_len};
use crate::linalg::Scalar;

/// y' = f(t, y, p), q' = Q(t, y, p): a field with integrals of Q along its solutions ([`Map::with_integral`]). A state is (y; q).
///
/// ```
/// use costate::expr::record;
/// use costate::diff::Map;
/// use costate::ode::{Options, TSIT54, solve};
/// // y' = -p y and the integral of y^2: (1 - exp(-2 p t)) / (2 p).
/// let field = record(1, 1, |_, y, p, dy| dy[0] = -p[0] * y[0])?.into_map();
/// let square = record(1, 1, |_, y, _, q| q[0] = y[0] * y[0])?.into_map();
/// let mut both = field.with_integral(square)?;
/// let options = Options::tolerances(1e-9, 1e-9).with_integrals(1, 1);
/// let s = solve(&mut both, &TSIT54, &options, (0.0, 1.0), &[1.0, 0.0], &[0.5], &[])?;
/// assert!((s.y1[1] - (1.0 - (-1.0f64).exp())).abs() < 1e-8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct WithIntegral<F, Q, T> {
    f: Operand<F, T>,
    q: Operand<Q, T>,
    /// Components of y and of q, and of both.
    n: usize,
    m: usize,
    /// Whether Q has the parameters of f; else its own behind them.
    shared: bool,
    structure: Structure,
    places: [Vec<(usize, usize)>; 2],
    room: Room<T>,
    lin: [Linearizer<T>; 2],
}

/// Storage between calls.
#[derive(Debug, Clone, Default)]
struct Room<T> {
    y: Vec<T>,
    y_dot: Vec<T>,
    y_bar: Vec<T>,
    /// Weights of y and q, and their directions.
    w: [Vec<T>; 4],
    /// Jacobians of f and Q, a block for each column.
    jac: [Vec<T>; 2],
    dt: [Vec<T>; 2],
}

impl<T: Scalar, F: Map<T>, Q: Map<T>> WithIntegral<F, Q, T> {
    pub(super) fn new(f: F, q: Q, shared: bool) -> Result<Self, OdeError> {
        let (n, m) = (f.inputs(), q.outputs());
        check_len("the output of the field", f.outputs(), n)?;
        check_len("the input of the integrand", q.inputs(), n)?;
        if shared {
            check_len("the parameter vector of the integrand", q.n_params(), f.n_params())?;
        }
        let (structure, places) = joint(f.structure(), q.structure(), n, m);
        let (f, q) = (Operand::new(f, false), Operand::new(q, false));
        let (room, lin) = (Room::default(), [Linearizer::default(), Linearizer::default()]);
        Ok(Self { f, q, n, m, shared, structure, places, room, lin })
    }
    fn batch(&self, x: &[T]) -> usize {
        x.len() / (self.n + self.m)
    }
    /// The parameters of f and those of Q.
    fn split<'a>(&self, p: &'a [T]) -> (&'a [T], &'a [T]) {
        if self.shared { (p, p) } else { p.split_at(self.f.map.n_params()) }
    }
    fn split_dots<'a>(&self, dots: Dots<'a, T>) -> (Dots<'a, T>, Dots<'a, T>) {
        if self.shared { (dots, dots) } else { dots.split_p(self.f.map.n_params()) }
    }
    /// Where the parameters of Q begin.
    fn own_params(&self) -> usize {
        if self.shared { 0 } else { self.f.map.n_params() }
    }
    fn kept<'k>(&self, batch: usize, keep: &'k [T]) -> (Kept<'k, T>, Kept<'k, T>) {
        let (kf, kq) = keep.split_at(self.f.len(batch).min(keep.len()));
        (self.f.kept(batch, kf), self.q.kept(batch, kq))
    }
}

/// The structure of (f_y 0; Q_y 0), full where f's is, and for the entries of both (from, to).
fn joint(f: &Structure, q: &Structure, n: usize, m: usize) -> (Structure, [Vec<(usize, usize)>; 2]) {
    let mut rows = vec![vec![]; n + m];
    f.entries(n, n, |i, j, _| rows[j].push(i));
    q.entries(m, n, |i, j, _| rows[j].push(n + i));
    rows.iter_mut().for_each(|r| r.sort_unstable());
    let mut col_ptr = vec![0; n + m + 1];
    for (j, r) in rows.iter().enumerate() {
        col_ptr[j + 1] = col_ptr[j] + r.len();
    }
    let full = *f == Structure::Dense;
    let place = |i: usize, j: usize| {
        if full { j * (n + m) + i } else { col_ptr[j] + rows[j].partition_point(|&r| r < i) }
    };
    let (mut of_f, mut of_q) = (vec![], vec![]);
    f.entries(n, n, |i, j, k| of_f.push((k, place(i, j))));
    q.entries(m, n, |i, j, k| of_q.push((k, place(n + i, j))));
    let structure =
        if full { Structure::Dense } else { Structure::Sparse { row_idx: rows.concat(), col_ptr } };
    (structure, [of_f, of_q])
}

/// to <- the rows from `from` on, `rows` of them, of every column.
fn take<T: Scalar>(to: &mut Vec<T>, x: &[T], column: usize, from: usize, rows: usize) {
    to.clear();
    x.chunks_exact(column.max(1)).for_each(|x| to.extend_from_slice(&x[from..][..rows]));
}

/// The rows from `from` on of every column <- those of `part`.
fn put<T: Scalar>(y: &mut [T], column: usize, from: usize, part: &[T], rows: usize) {
    for (y, part) in y.chunks_exact_mut(column).zip(part.chunks_exact(rows.max(1))) {
        y[from..][..rows].copy_from_slice(part);
    }
}

/// The first rows of every column += those of `part`.
fn add<T: Scalar>(x: &mut [T], column: usize, part: &[T], rows: usize) {
    for (x, part) in x.chunks_exact_mut(column).zip(part.chunks_exact(rows)) {
        x.iter_mut().zip(part).for_each(|(x, p)| *x += *p);
    }
}

impl<T: Scalar, F: Map<T>, Q: Map<T>> Map<T> for WithIntegral<F, Q, T> {
    fn size(&self) -> Size {
        let own = if self.shared { 0 } else { self.q.map.n_params() };
        Size::field(self.n + self.m, self.f.map.n_params() + own)
    }
    fn offers(&self) -> Offers {
        let (f, q) = (self.f.map.offers(), self.q.map.offers());
        let any = |o: Offers, of: &[Offers]| of.iter().any(|one| o.has(*one));
        let jacobian = [Offers::JACOBIAN, Offers::JVP, Offers::VJP];
        let rate = [Offers::AUTONOMOUS, Offers::DT, Offers::JVP];
        both(&self.f.map, &self.q.map)
            | Offers::JACOBIAN.when(any(f, &jacobian) && any(q, &jacobian))
            | Offers::DT.when(any(f, &rate) && any(q, &rate))
    }
    fn spec(&self) -> Spec {
        if self.shared {
            return self.f.map.spec();
        }
        self.f.map.spec().under("field").then(self.q.map.spec().under("integrand"))
    }
    fn structure(&self) -> &Structure {
        &self.structure
    }
    fn integrals(&self) -> usize {
        self.m
    }
    #[inline(always)]
    fn value_one(&mut self, at: At<'_, T>, dy: &mut [T]) {
        let (pf, pq) = self.split(at.p);
        let (x, (dy, dq)) = (&at.x[..self.n], dy.split_at_mut(self.n));
        self.f.map.value_one(At { x, p: pf, ..at }, dy);
        self.q.map.value_one(At { x, p: pq, ..at }, dq);
    }
    fn value(&mut self, at: At<'_, T>, dy: &mut [T]) {
        let (n, m, batch) = (self.n, self.m, self.batch(at.x));
        if batch == 1 {
            return self.value_one(at, dy);
        }
        let (pf, pq) = self.split(at.p);
        take(&mut self.room.y, at.x, n + m, 0, n);
        let x = &self.room.y[..];
        put(dy, n + m, 0, self.f.value(At { x, p: pf, ..at }, batch), n);
        put(dy, n + m, n, self.q.value(At { x, p: pq, ..at }, batch), m);
    }
    fn keep_len(&self, batch: usize) -> usize {
        self.f.len(batch) + self.q.len(batch)
    }
    fn forward(&mut self, at: At<'_, T>, dy: &mut [T], keep: &mut [T]) {
        let (n, m, batch) = (self.n, self.m, self.batch(at.x));
        let (pf, pq) = self.split(at.p);
        let (kf, kq) = keep.split_at_mut(self.f.len(batch));
        take(&mut self.room.y, at.x, n + m, 0, n);
        let x = &self.room.y[..];
        put(dy, n + m, 0, self.f.forward(At { x, p: pf, ..at }, batch, kf), n);
        put(dy, n + m, n, self.q.forward(At { x, p: pq, ..at }, batch, kq), m);
    }
    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let (n, m, batch) = (self.n, self.m, self.batch(at.x));
        let ((pf, pq), (kf, kq)) = (self.split(at.p), self.kept(batch, of.keep));
        let own = self.own_params();
        let Room { y, y_bar, w: [wf, wq, ..], .. } = &mut self.room;
        take(y, at.x, n + m, 0, n);
        take(wf, w, n + m, 0, n);
        take(wq, w, n + m, n, m);
        y_bar.clear();
        y_bar.resize(y.len(), T::ZERO);
        self.f.map.vjp(At { x: y, p: pf, ..at }, kf, wf, BarsMut::new(y_bar, &mut bars.p[..pf.len()]));
        self.q.map.vjp(At { x: y, p: pq, ..at }, kq, wq, BarsMut::new(y_bar, &mut bars.p[own..]));
        add(bars.x, n + m, y_bar, n);
    }
    fn jvp(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        dots: Dots<'_, T>,
        dy_dot: &mut [T],
        keep_dot: &mut [T],
    ) {
        let (n, m, batch, params) = (self.n, self.m, self.batch(at.x), at.p.len());
        let ((pf, pq), (kf, kq)) = (self.split(at.p), self.kept(batch, of.keep));
        let (lf, len) = (self.f.len(batch), self.keep_len(batch));
        take(&mut self.room.y, at.x, n + m, 0, n);
        for (i, dy_dot) in dy_dot.chunks_exact_mut(at.x.len()).enumerate() {
            let one = dots.one(i, at.x.len(), params);
            take(&mut self.room.y_dot, one.x, n + m, 0, n);
            let (x, (df, dq)) = (&self.room.y[..], self.split_dots(one.with_x(&self.room.y_dot)));
            let (kf_dot, kq_dot) = keep_dot[i * len..][..len].split_at_mut(lf);
            put(dy_dot, n + m, 0, self.f.jvp(At { x, p: pf, ..at }, kf, df, batch, kf_dot), n);
            put(dy_dot, n + m, n, self.q.jvp(At { x, p: pq, ..at }, kq, dq, batch, kq_dot), m);
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
        let (n, m, batch, params) = (self.n, self.m, self.batch(at.x), at.p.len());
        let ((pf, pq), (kf, kq)) = (self.split(at.p), self.kept(batch, of.keep));
        let (all, len) = (at.x.len(), self.keep_len(batch));
        let own = self.own_params();
        take(&mut self.room.y, at.x, n + m, 0, n);
        for i in 0..dots.count {
            let one = dots.one(i, all, params);
            let (kf_dot, kq_dot) = self.kept(batch, block(dot.keep, i, len));
            let (w, w_dot) = (&w[i * all..][..all], block(w_dot, i, all));
            let cut = if self.shared { None } else { Some(pf.len()) };
            let Room { y, y_dot, y_bar, w: [wf, wq, vf, vq], .. } = &mut self.room;
            take(y_dot, one.x, n + m, 0, n);
            let one = one.with_x(y_dot);
            let (df, dq) = cut.map_or((one, one), |cut| one.split_p(cut));
            for (to, from, first, rows) in
                [(&mut *wf, w, 0, n), (&mut *wq, w, n, m), (&mut *vf, w_dot, 0, n), (&mut *vq, w_dot, n, m)]
            {
                take(to, from, n + m, first, rows);
            }
            y_bar.clear();
            y_bar.resize(y.len(), T::ZERO);
            let (at_f, at_q) = (At { x: y, p: pf, ..at }, At { x: y, p: pq, ..at });
            let (f, q) = (&mut self.f.map, &mut self.q.map);
            f.vjp_tangent(at_f, kf, df, kf_dot, wf, vf, BarsMut::new(y_bar, &mut bars.p[..pf.len()]));
            q.vjp_tangent(at_q, kq, dq, kq_dot, wq, vq, BarsMut::new(y_bar, &mut bars.p[own..]));
            add(bars.x, n + m, y_bar, n);
        }
    }
    fn jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) {
        let (n, m, batch) = (self.n, self.m, self.batch(at.x));
        let (pf, pq) = self.split(at.p);
        let Room { y, jac: [jf, jq], .. } = &mut self.room;
        take(y, at.x, n + m, 0, n);
        let (f, q) = (&mut self.f.map, &mut self.q.map);
        let (lf, lq) = (f.structure().len(n, n), q.structure().len(m, n));
        jf.resize(lf * batch, T::ZERO);
        jq.resize(lq * batch, T::ZERO);
        self.lin[0].jacobian(f, At { x: y, p: pf, ..at }, jf);
        self.lin[1].jacobian(q, At { x: y, p: pq, ..at }, jq);
        let len = self.structure.len(n + m, n + m);
        for (c, jac) in jac.chunks_exact_mut(len.max(1)).enumerate() {
            let (jf, jq) = (&jf[c * lf..][..lf], &jq[c * lq..][..lq]);
            jac.fill(T::ZERO);
            self.places[0].iter().for_each(|&(k, to)| jac[to] = jf[k]);
            self.places[1].iter().for_each(|&(k, to)| jac[to] = jq[k]);
        }
    }
    fn time_derivative(&mut self, at: At<'_, T>, dt: &mut [T]) {
        let (n, m, batch) = (self.n, self.m, self.batch(at.x));
        let (pf, pq) = self.split(at.p);
        let Room { y, dt: [df, dq], .. } = &mut self.room;
        take(y, at.x, n + m, 0, n);
        df.resize(n * batch, T::ZERO);
        dq.resize(m * batch, T::ZERO);
        self.lin[0].rate_at(&mut self.f.map, At { x: y, p: pf, ..at }, df);
        self.lin[1].rate_at(&mut self.q.map, At { x: y, p: pq, ..at }, dq);
        put(dt, n + m, 0, df, n);
        put(dt, n + m, n, dq, m);
    }
}

//! A recorded formula as a [`Map`]: a field, a layer, an event with all its derivatives.

use std::marker::PhantomData;

use super::formula::{Directions, Point, Recorded, Sizes};
use crate::diff::{At, BarsMut, Dots, Kept, Map, Offers, Size, Structure};
use crate::linalg::Scalar;

/// A recorded formula (see [`record`](super::record)) for integrators, adjoints and networks. It offers everything: both products, the
/// tangent of the vector-Jacobian product, the Jacobian with its exact structure, and the time derivative.
///
/// ```
/// use costate::expr::record;
/// use costate::ode::{Options, RODAS5P, solve};
/// // Robertson's reactions.
/// let mut field = record(3, 3, |_, y, p, dy| {
///     let (a, b, c) = (p[0] * y[0], p[1] * y[1] * y[2], p[2] * y[1] * y[1]);
///     (dy[0], dy[1], dy[2]) = (b - a, a - b - c, c);
/// })?
/// .into_map();
/// let p = [0.04, 1e4, 3e7];
/// let s = solve(&mut field, &RODAS5P, &Options::default(), (0.0, 1e5), &[1.0, 0.0, 0.0], &p, &[])?;
/// assert!((s.y1[0] - 0.0178659).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With T = `f32` all is computed in `f64` and rounded at the end.
#[derive(Debug, Clone)]
pub struct RecordedMap<T = f64> {
    double: Double,
    /// Numbers of another kind than `f64` are converted here: t of the directions, x, p, w and their directions, results.
    room: Room,
    kind: PhantomData<T>,
}

#[derive(Debug, Clone, Default)]
struct Room {
    x: Vec<f64>,
    p: Vec<f64>,
    w: Vec<f64>,
    t_dot: Vec<f64>,
    x_dot: Vec<f64>,
    p_dot: Vec<f64>,
    w_dot: Vec<f64>,
    out: [Vec<f64>; 2],
}

/// The map in `f64`.
#[derive(Debug, Clone)]
struct Double {
    formula: Recorded,
    structure: Structure,
    /// For each entry of the formula's Jacobian, row by row, its place in the structure.
    places: Vec<usize>,
    entries: Vec<f64>,
    dt: Vec<f64>,
    autonomous: bool,
}

impl Recorded {
    /// For what takes a [`Map`]. The Jacobian is compiled here.
    pub fn into_map(self) -> RecordedMap {
        self.into_map_of()
    }

    /// As [`into_map`](Self::into_map), for numbers of the kind T.
    pub fn into_map_of<T: Scalar>(self) -> RecordedMap<T> {
        RecordedMap { double: self.into_double(), room: Room::default(), kind: PhantomData }
    }

    fn into_double(mut self) -> Double {
        let (Sizes { inputs, outputs, .. }, autonomous) = (self.sizes(), !self.uses_time());
        let pattern = self.jacobian_pattern();
        let entries =
            || (0..pattern.len()).flat_map(|i| pattern.get(i).iter().map(move |&j| (i, j as usize)));
        let (structure, places) = if pattern.items.len() == inputs * outputs {
            (Structure::Dense, entries().map(|(i, j)| j * outputs + i).collect())
        } else {
            by_columns(entries(), inputs)
        };
        let (entries, dt) = (vec![0.0; pattern.items.len()], vec![0.0; outputs]);
        Double { formula: self, structure, places, entries, dt, autonomous }
    }
}

/// Compressed columns of entries given row by row, and the place of each.
fn by_columns(
    entries: impl Iterator<Item = (usize, usize)> + Clone,
    inputs: usize,
) -> (Structure, Vec<usize>) {
    let mut col_ptr = vec![0; inputs + 1];
    entries.clone().for_each(|(_, j)| col_ptr[j + 1] += 1);
    for j in 0..inputs {
        col_ptr[j + 1] += col_ptr[j];
    }
    let (mut next, mut row_idx) = (col_ptr.clone(), vec![0; col_ptr[inputs]]);
    let place = |(i, j): (usize, usize)| {
        let k = next[j];
        next[j] += 1;
        row_idx[k] = i;
        k
    };
    let places = entries.map(place).collect();
    (Structure::Sparse { col_ptr, row_idx }, places)
}

/// Block k of equal blocks; an empty slice stays empty.
fn block(v: &[f64], k: usize, len: usize) -> &[f64] {
    if v.is_empty() { v } else { &v[k * len..][..len] }
}

impl<T> RecordedMap<T> {
    /// The formula.
    pub fn formula(&self) -> &Recorded {
        &self.double.formula
    }
}

impl Double {
    /// Without inputs there is one column.
    fn columns(&self, at: &At<'_, f64>) -> usize {
        at.x.len().checked_div(self.formula.sizes().inputs).unwrap_or(1)
    }

    /// Column c of the batch.
    fn point<'a>(&self, at: &At<'a, f64>, c: usize) -> Point<'a> {
        Point { t: at.t, x: block(at.x, c, self.formula.sizes().inputs), p: at.p }
    }

    fn value(&mut self, at: At<'_, f64>, y: &mut [f64]) {
        let m = self.formula.sizes().outputs;
        for c in 0..self.columns(&at) {
            let point = self.point(&at, c);
            self.formula.value(point, &mut y[c * m..][..m]);
        }
    }

    fn vjp(&mut self, at: At<'_, f64>, w: &[f64], bars: BarsMut<'_, f64>) {
        let Sizes { inputs, outputs, .. } = self.formula.sizes();
        for c in 0..self.columns(&at) {
            let point = self.point(&at, c);
            self.formula.vjp(point, block(w, c, outputs), &mut bars.x[c * inputs..][..inputs], bars.p);
        }
    }

    fn jvp(&mut self, at: At<'_, f64>, dots: Dots<'_, f64>, y_dot: &mut [f64]) {
        let (s, columns) = (self.formula.sizes(), self.columns(&at));
        if columns == 1 {
            let all = Directions { count: dots.count, t: dots.t, x: dots.x, p: dots.p, w: &[] };
            return self.formula.jvp(self.point(&at, 0), &all, y_dot);
        }
        for (k, y_dot) in y_dot.chunks_exact_mut(s.outputs.max(1)).enumerate() {
            let (i, c) = (k / columns, k % columns);
            let point = self.point(&at, c);
            self.formula.jvp(point, &direction(&dots, s, (i, c, columns)), y_dot);
        }
    }

    fn vjp_tangent(
        &mut self,
        at: At<'_, f64>,
        dots: Dots<'_, f64>,
        w: &[f64],
        w_dot: &[f64],
        bars: BarsMut<'_, f64>,
    ) {
        let (s, columns) = (self.formula.sizes(), self.columns(&at));
        for k in 0..dots.count * columns {
            let (i, c) = (k / columns, k % columns);
            let along = Directions { w: block(w_dot, k, s.outputs), ..direction(&dots, s, (i, c, columns)) };
            let x_bar = &mut bars.x[c * s.inputs..][..s.inputs];
            let point = self.point(&at, c);
            self.formula.vjp_tangent(point, block(w, k, s.outputs), &along, x_bar, bars.p);
        }
    }

    fn jacobian(&mut self, at: At<'_, f64>, jac: &mut [f64]) {
        let len = self.places.len();
        for c in 0..self.columns(&at) {
            let point = self.point(&at, c);
            self.formula.jacobian(point, &mut self.entries, &mut self.dt);
            let block = &mut jac[c * len..][..len];
            self.places.iter().zip(&self.entries).for_each(|(&k, v)| block[k] = *v);
        }
    }

    fn time_derivative(&mut self, at: At<'_, f64>, dt: &mut [f64]) {
        let m = self.formula.sizes().outputs;
        let time = Directions { count: 1, t: &[1.0], ..Directions::default() };
        for c in 0..self.columns(&at) {
            let point = self.point(&at, c);
            self.formula.jvp(point, &time, &mut dt[c * m..][..m]);
        }
    }
}

/// Direction i of column c, of `columns`.
fn direction<'a>(d: &Dots<'a, f64>, s: Sizes, (i, c, columns): (usize, usize, usize)) -> Directions<'a> {
    Directions {
        count: 1,
        t: block(d.t, i, 1),
        x: block(d.x, i * columns + c, s.inputs),
        p: block(d.p, i, s.params),
        w: &[],
    }
}

/// `v` in `f64`.
#[inline(always)]
fn wide<'a, T: Scalar>(v: &'a [T], room: &'a mut Vec<f64>) -> &'a [f64] {
    match T::as_f64s(v) {
        Some(v) => v,
        None => {
            room.clear();
            room.extend(v.iter().map(|x| x.f64()));
            room
        }
    }
}

/// Runs f on `out` in `f64`.
#[inline(always)]
fn update<T: Scalar>(out: &mut [T], room: &mut Vec<f64>, f: impl FnOnce(&mut [f64])) {
    match T::as_f64s_mut(out) {
        Some(out) => f(out),
        None => {
            wide(out, room);
            f(room);
            out.iter_mut().zip(room).for_each(|(o, v)| *o = T::of(*v));
        }
    }
}

impl Room {
    fn at<'a, T: Scalar>(x: &'a mut Vec<f64>, p: &'a mut Vec<f64>, at: At<'a, T>) -> At<'a, f64> {
        At::new(at.t.f64(), wide(at.x, x), wide(at.p, p))
    }
}

impl<T: Scalar> Map<T> for RecordedMap<T> {
    fn size(&self) -> Size {
        let Sizes { inputs, outputs, params } = self.double.formula.sizes();
        Size { inputs, outputs, params }
    }

    fn offers(&self) -> Offers {
        let all = Offers::VJP | Offers::JVP | Offers::TANGENT | Offers::JACOBIAN | Offers::DT | Offers::ALONE;
        all | Offers::AUTONOMOUS.when(self.double.autonomous)
    }

    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let Room { x, p, out: [out, _], .. } = &mut self.room;
        let at = Room::at(x, p, at);
        update(y, out, |y| self.double.value(at, y));
    }

    fn vjp(&mut self, at: At<'_, T>, _: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let Room { x, p, w: w_room, out: [x_room, p_room], .. } = &mut self.room;
        let (at, w) = (Room::at(x, p, at), wide(w, w_room));
        update(bars.x, x_room, |x_bar| {
            update(bars.p, p_room, |p_bar| self.double.vjp(at, w, BarsMut::new(x_bar, p_bar)));
        });
    }

    fn jvp(&mut self, at: At<'_, T>, _: Kept<'_, T>, dots: Dots<'_, T>, y_dot: &mut [T], _: &mut [T]) {
        let Room { x, p, t_dot, x_dot, p_dot, out: [out, _], .. } = &mut self.room;
        let at = Room::at(x, p, at);
        let (t, x, p) = (wide(dots.t, t_dot), wide(dots.x, x_dot), wide(dots.p, p_dot));
        let dots = Dots { count: dots.count, t, x, p };
        update(y_dot, out, |y_dot| self.double.jvp(at, dots, y_dot));
    }

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
        let Room { x, p, w: w_room, t_dot, x_dot, p_dot, w_dot: wd_room, out: [x_room, p_room] } =
            &mut self.room;
        let at = Room::at(x, p, at);
        let (t, x, p) = (wide(dots.t, t_dot), wide(dots.x, x_dot), wide(dots.p, p_dot));
        let dots = Dots { count: dots.count, t, x, p };
        let (w, w_dot) = (wide(w, w_room), wide(w_dot, wd_room));
        update(bars.x, x_room, |x_bar| {
            update(bars.p, p_room, |p_bar| {
                self.double.vjp_tangent(at, dots, w, w_dot, BarsMut::new(x_bar, p_bar));
            });
        });
    }

    fn structure(&self) -> &Structure {
        &self.double.structure
    }

    fn jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) {
        let Room { x, p, out: [out, _], .. } = &mut self.room;
        let at = Room::at(x, p, at);
        update(jac, out, |jac| self.double.jacobian(at, jac));
    }

    fn time_derivative(&mut self, at: At<'_, T>, dt: &mut [T]) {
        let Room { x, p, out: [out, _], .. } = &mut self.room;
        let at = Room::at(x, p, at);
        update(dt, out, |dt| self.double.time_derivative(at, dt));
    }
}

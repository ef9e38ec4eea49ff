//! The scaled norm of an error estimate: its bars, its derivative along a direction, and the bars of that.

use crate::linalg::kernels::Scale;
use crate::linalg::{Norm, Scalar};
use crate::ode::stepper::Measure;

/// sc = atol + rtol max(|y0|, |y1|) of component i, rtol, and whether |y0| is the larger.
fn scale_at<T: Scalar>(by: Measure<'_, T>, (y0, y1): (&[T], &[T]), i: usize) -> (T, T, bool) {
    let (atol, rtol) = match by.scale {
        Scale::One { atol, rtol } => (*atol, *rtol),
        Scale::Each { atol, rtol } => (atol[i], rtol[i]),
    };
    let (a0, a1) = (y0[i].abs(), y1[i].abs());
    (atol + rtol * if a0 > a1 { a0 } else { a1 }, rtol, a0 > a1)
}

/// Where the norm is a maximum: the first of the largest.
fn largest<T: Scalar>(by: Measure<'_, T>, ends: (&[T], &[T]), u: &[T]) -> usize {
    let mut top = (T::ZERO, 0);
    if by.norm == Norm::Max {
        for (i, u) in u.iter().enumerate() {
            let v = (*u / scale_at(by, ends, i).0).abs();
            top = if v > top.0 { (v, i) } else { top };
        }
    }
    top.1
}

/// Through v = |u / sc|, sc = atol + rtol max(|y0|, |y1|): overwrites u by its bar, adds to the bars of y0 and y1.
pub(crate) fn norm_bars<T: Scalar>(
    by: Measure<'_, T>,
    (y0, y1): (&[T], &[T]),
    u: &mut [T],
    (value, bar): (T, T),
    y0_bar: &mut [T],
    y1_bar: &mut [T],
) {
    if value == T::ZERO || bar == T::ZERO {
        return u.fill(T::ZERO);
    }
    let count = T::of(u.len() as f64);
    let top = largest(by, (y0, y1), u);
    for (i, u) in u.iter_mut().enumerate() {
        let (sc, rtol, from_y0) = scale_at(by, (y0, y1), i);
        let v = *u / sc;
        // dE/dv.
        let dv = match by.norm {
            Norm::Rms => v / (count * value),
            Norm::Max if i != top => T::ZERO,
            Norm::Max if v > T::ZERO => T::ONE,
            Norm::Max => -T::ONE,
        };
        *u = bar * dv / sc;
        let scale_bar = -bar * dv * v / sc * rtol;
        let (y, target) = if from_y0 { (y0[i], &mut y0_bar[i]) } else { (y1[i], &mut y1_bar[i]) };
        *target += if y < T::ZERO { -scale_bar } else { scale_bar };
    }
}

/// Numbers of one component of an error estimate along a direction.
struct Along<T> {
    /// sc and its derivative.
    sc: [T; 2],
    /// v = u / sc and its derivative, v_dot = (u_dot - v sc_dot) / sc.
    v: [T; 2],
    /// dsc/dy of the larger end.
    slope: T,
    from_y0: bool,
}

impl<T: Scalar> Along<T> {
    /// Component i of states with their derivatives behind them.
    fn new(by: Measure<'_, T>, (y0, y1): (&[T], &[T]), u: &[T], i: usize) -> Self {
        let n = u.len() / 2;
        let (sc, rtol, from_y0) = scale_at(by, (y0, y1), i);
        let y = if from_y0 { y0 } else { y1 };
        let slope = if y[i] < T::ZERO { -rtol } else { rtol };
        let sc_dot = slope * y[n + i];
        let v = u[i] / sc;
        Self { sc: [sc, sc_dot], v: [v, (u[n + i] - v * sc_dot) / sc], slope, from_y0 }
    }
}

/// E = |u / sc| and its derivative along a direction, where y0, y1 and u have theirs behind them.
pub(crate) fn norm_along<T: Scalar>(by: Measure<'_, T>, ends: (&[T], &[T]), u: &[T]) -> [T; 2] {
    let n = u.len() / 2;
    if by.norm == Norm::Max {
        let top = Along::new(by, ends, u, largest(by, ends, &u[..n]));
        return if top.v[0] < T::ZERO { [-top.v[0], -top.v[1]] } else { top.v };
    }
    let (mut squares, mut products) = (T::ZERO, T::ZERO);
    for i in 0..n {
        let [v, v_dot] = Along::new(by, ends, u, i).v;
        squares += v * v;
        products += v * v_dot;
    }
    let count = T::of(n as f64);
    let value = (squares / count).sqrt();
    [value, if value == T::ZERO { T::ZERO } else { products / (count * value) }]
}

/// Through [`norm_along`], from the bars (a, b) of E and E_dot: overwrites u by its bar, adds to the bars of y0 and y1. With s = a E + b E_dot and the root of the mean square,
///
/// ```text
/// ds/dv_dot = b v / (n E),   ds/dv = (a v + b (v_dot - v E_dot / E)) / (n E)
/// ```
pub(crate) fn norm_bars_along<T: Scalar>(
    by: Measure<'_, T>,
    ends: (&[T], &[T]),
    u: &mut [T],
    (a, b): (T, T),
    y0_bar: &mut [T],
    y1_bar: &mut [T],
) {
    let n = u.len() / 2;
    let [value, dot] = norm_along(by, ends, u);
    if value == T::ZERO {
        return u.fill(T::ZERO);
    }
    let top = largest(by, ends, &u[..n]);
    let share = T::ONE / (T::of(n as f64) * value);
    for i in 0..n {
        let Along { sc: [sc, sc_dot], v: [v, v_dot], slope, from_y0 } = Along::new(by, ends, u, i);
        let (v_bar, v_dot_bar) = match by.norm {
            Norm::Rms => (share * (a * v + b * (v_dot - v * dot / value)), share * b * v),
            Norm::Max if i != top => (T::ZERO, T::ZERO),
            Norm::Max if v > T::ZERO => (a, b),
            Norm::Max => (-a, -b),
        };
        // v_dot = (u_dot - v sc_dot) / sc, v = u / sc.
        let v_bar = v_bar - v_dot_bar * sc_dot / sc;
        let sc_bar = -(v_bar * v + v_dot_bar * v_dot) / sc;
        let sc_dot_bar = -v_dot_bar * v / sc;
        u[i] = v_bar / sc;
        u[n + i] = v_dot_bar / sc;
        let to = if from_y0 { &mut *y0_bar } else { &mut *y1_bar };
        to[i] += slope * sc_bar;
        to[n + i] += slope * sc_dot_bar;
    }
}

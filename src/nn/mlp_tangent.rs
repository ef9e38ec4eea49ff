//! Tangents of a perceptron: of its value, and of its pullback.
//!
//! With a = W x + t w + b and y = act(a) in every layer, s = act'(a) and s_v = ds/dv, both functions of v, which is y or, where y does not say it all, a; delta is the bar
//! of a:
//!
//! ```text
//! y_dot = s a_dot,   a_dot = W x_dot + W_dot x + t_dot w + t w_dot + b_dot
//! delta = s y_bar,   delta_dot = s y_bar_dot + s_v v_dot y_bar
//! x_bar = W' delta,  x_bar_dot = W' delta_dot + W_dot' delta
//! W_bar_dot = delta_dot x' + delta x_dot',   w_bar_dot = t delta_dot 1 + t_dot delta 1,   b_bar_dot = delta_dot 1
//! ```

use super::Activation;
use super::layer::Layer;
use crate::diff::{At, BarsMut, Dots, Kept};
use crate::linalg::{Dense, Scalar};

/// Room for one direction.
#[derive(Debug, Clone, Default)]
pub(super) struct TangentRoom<T> {
    bar: Vec<T>,
    bar_dot: Vec<T>,
    delta: Vec<T>,
    delta_dot: Vec<T>,
}

/// Parameters of one layer: W, w (empty without time), b.
fn parts<T>(layer: &Layer, p: &[T]) -> (usize, usize) {
    let w = layer.inputs * layer.outputs;
    debug_assert!(p.len() >= layer.n_params());
    (w, w + layer.time as usize * layer.outputs)
}

/// y_dot <- derivative of the layer's output along one direction, of which an empty slice is zero, and a_dot where it is kept; `v` is what slopes are functions of.
fn layer_dot<T: Scalar>(
    layer: &Layer,
    (t, t_dot): (T, T),
    (x, x_dot): (&[T], &[T]),
    (p, p_dot): (&[T], &[T]),
    v: &[T],
    (y_dot, a_dot): (&mut [T], &mut [T]),
) {
    let Layer { inputs, outputs, activation, time } = *layer;
    let (batch, (w, b)) = (x.len() / inputs, parts(layer, p));
    if x_dot.is_empty() {
        y_dot.fill(T::ZERO);
    } else {
        T::gemm(T::ONE, Dense::new(p, outputs, inputs), Dense::new(x_dot, inputs, batch), false, y_dot, 1);
    }
    if !p_dot.is_empty() {
        T::gemm(T::ONE, Dense::new(p_dot, outputs, inputs), Dense::new(x, inputs, batch), true, y_dot, 1);
    }
    for (c, (y_dot, v)) in y_dot.chunks_exact_mut(outputs).zip(v.chunks_exact(outputs)).enumerate() {
        for o in 0..outputs {
            if time {
                y_dot[o] += t_dot * p[w + o];
            }
            if !p_dot.is_empty() {
                y_dot[o] += p_dot[b + o] + if time { t * p_dot[w + o] } else { T::ZERO };
            }
            if let Some(a_dot) = a_dot.get_mut(c * outputs + o) {
                *a_dot = y_dot[o];
            }
            y_dot[o] *= activation.slope(v[o]);
        }
    }
}

/// Layers of a perceptron, and where each begins in p and in what is kept.
pub(super) struct Tangents<'a> {
    pub layers: &'a [Layer],
    pub batch: usize,
}

impl Tangents<'_> {
    /// Input of layer l among what was kept; the first one's is x.
    fn input<'k, T>(&self, l: usize, x: &'k [T], keep: &'k [T]) -> &'k [T] {
        let Some(before) = l.checked_sub(1) else { return x };
        let n = self.layers[before].outputs * self.batch;
        &keep[self.kept(l) - n..][..n]
    }
    /// What slopes of layer l are functions of: the arguments kept, or its outputs.
    fn of_slopes<'k, T>(&self, l: usize, of: Kept<'k, T>) -> &'k [T] {
        match self.layers[l].arguments() * self.batch {
            0 if l + 1 == self.layers.len() => of.y,
            0 => self.input(l + 1, of.y, of.keep),
            n => &of.keep[self.kept(l)..][..n],
        }
    }
    /// Where what is kept of layer l begins.
    fn kept(&self, l: usize) -> usize {
        self.layers[..l].iter().map(|l| (l.arguments() + l.outputs) * self.batch).sum()
    }
    fn params(&self, l: usize) -> usize {
        self.layers[..l].iter().map(Layer::n_params).sum()
    }

    /// y_dot and keep_dot along one direction.
    pub fn forward<T: Scalar>(
        &self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        one: Dots<'_, T>,
        y_dot: &mut [T],
        keep_dot: &mut [T],
    ) {
        let t = (at.t, one.t.first().copied().unwrap_or(T::ZERO));
        for (l, layer) in self.layers.iter().enumerate() {
            let from = self.params(l);
            let p_dot = if one.p.is_empty() { one.p } else { &one.p[from..] };
            let x = self.input(l, at.x, of.keep);
            let (before, here) = keep_dot.split_at_mut(self.kept(l));
            let x_dot = if l == 0 { one.x } else { &before[before.len() - layer.inputs * self.batch..] };
            let (a_dot, rest) = here.split_at_mut(layer.arguments() * self.batch);
            let last = l + 1 == self.layers.len();
            let y_dot = if last { &mut *y_dot } else { &mut rest[..layer.outputs * self.batch] };
            let v = self.of_slopes(l, of);
            layer_dot(layer, t, (x, x_dot), (&at.p[from..], p_dot), v, (y_dot, a_dot));
        }
    }

    /// ADDS the tangent of the vjp of w along one direction, and the vjp of w_dot (an empty one is zero).
    #[allow(clippy::too_many_arguments)]
    pub fn backward<T: Scalar>(
        &self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        one: Dots<'_, T>,
        dot: Kept<'_, T>,
        (w, w_dot): (&[T], &[T]),
        bars: BarsMut<'_, T>,
        room: &mut TangentRoom<T>,
    ) {
        let (batch, t_dot) = (self.batch, one.t.first().copied().unwrap_or(T::ZERO));
        let TangentRoom { bar, bar_dot, delta, delta_dot } = room;
        bar.clear();
        bar.extend_from_slice(w);
        bar_dot.clear();
        bar_dot.extend_from_slice(w_dot);
        bar_dot.resize(w.len(), T::ZERO);
        for l in (0..self.layers.len()).rev() {
            let Layer { inputs, outputs, activation, time } = self.layers[l];
            let from = self.params(l);
            let (p, p_bar) = (&at.p[from..], &mut bars.p[from..]);
            let v = (self.of_slopes(l, of), self.of_slopes(l, dot));
            activation_bars(activation, v, (bar, bar_dot), (delta, delta_dot));
            let (x, x_dot) = (self.input(l, at.x, of.keep), self.input(l, one.x, dot.keep));
            let (d, dd) = (Dense::new(delta, outputs, batch), Dense::new(delta_dot, outputs, batch));
            T::gemm(T::ONE, dd, Dense::new(x, inputs, batch).t(), true, p_bar, 1);
            if !x_dot.is_empty() {
                T::gemm(T::ONE, d, Dense::new(x_dot, inputs, batch).t(), true, p_bar, 1);
            }
            let (wt, b) = parts(&self.layers[l], p);
            for (d, dd) in delta.chunks_exact(outputs).zip(delta_dot.chunks_exact(outputs)) {
                for o in 0..outputs {
                    if time {
                        p_bar[wt + o] += at.t * dd[o] + t_dot * d[o];
                    }
                    p_bar[b + o] += dd[o];
                }
            }
            // The bars of the layer's input: of x itself only the tangent, which is added.
            let weights = Dense::new(p, outputs, inputs).t();
            let (to_dot, add) = if l == 0 {
                (&mut *bars.x, true)
            } else {
                bar_dot.resize(inputs * batch, T::ZERO);
                bar.resize(inputs * batch, T::ZERO);
                T::gemm(T::ONE, weights, d, false, bar, 1);
                (&mut bar_dot[..], false)
            };
            T::gemm(T::ONE, weights, dd, add, to_dot, 1);
            if !one.p.is_empty() {
                T::gemm(T::ONE, Dense::new(&one.p[from..], outputs, inputs).t(), d, true, to_dot, 1);
            }
        }
    }
}

/// delta <- s y_bar, delta_dot <- s y_bar_dot + s_v v_dot y_bar.
fn activation_bars<T: Scalar>(
    activation: Activation,
    (v, v_dot): (&[T], &[T]),
    (bar, bar_dot): (&[T], &[T]),
    (delta, delta_dot): (&mut Vec<T>, &mut Vec<T>),
) {
    delta.clear();
    delta.extend(bar.iter().zip(v).map(|(b, v)| *b * activation.slope(*v)));
    delta_dot.clear();
    for (k, b) in bar.iter().enumerate() {
        let slope_dot = activation.slope_derivative(v[k]) * v_dot[k];
        delta_dot.push(bar_dot[k] * activation.slope(v[k]) + *b * slope_dot);
    }
}

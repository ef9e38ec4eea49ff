//! Tangents of a perceptron: of its value, and of its pullback.
//!
//! With a = W x + t w + b and y = act(a) in every layer, s = act'(a) and s_y = ds/dy (both functions of y), delta the bar of a:
//!
//! ```text
//! y_dot = s a_dot,   a_dot = W x_dot + W_dot x + t_dot w + t w_dot + b_dot
//! delta = s y_bar,   delta_dot = s y_bar_dot + s_y y_dot y_bar
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

/// y_dot <- derivative of the layer's output y along one direction, of which an empty slice is zero.
fn layer_dot<T: Scalar>(
    layer: &Layer,
    (t, t_dot): (T, T),
    (x, x_dot): (&[T], &[T]),
    (p, p_dot): (&[T], &[T]),
    y: &[T],
    y_dot: &mut [T],
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
    for (y_dot, y) in y_dot.chunks_exact_mut(outputs).zip(y.chunks_exact(outputs)) {
        for o in 0..outputs {
            if time {
                y_dot[o] += t_dot * p[w + o];
            }
            if !p_dot.is_empty() {
                y_dot[o] += p_dot[b + o] + if time { t * p_dot[w + o] } else { T::ZERO };
            }
            y_dot[o] *= activation.slope(y[o]);
        }
    }
}

/// Layers of a perceptron, and where each begins in p and in what is kept.
pub(super) struct Tangents<'a> {
    pub layers: &'a [Layer],
    pub batch: usize,
}

impl Tangents<'_> {
    /// Input of layer l among what was kept, and where its outputs end; the first one's is x.
    fn input<'k, T>(&self, l: usize, x: &'k [T], keep: &'k [T]) -> &'k [T] {
        if l == 0 { x } else { &keep[self.kept(l - 1)..][..self.layers[l - 1].outputs * self.batch] }
    }
    fn kept(&self, l: usize) -> usize {
        self.layers[..l].iter().map(|l| l.outputs * self.batch).sum()
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
            let x_dot = if l == 0 { one.x } else { &before[self.kept(l - 1)..] };
            if l + 1 == self.layers.len() {
                layer_dot(layer, t, (x, x_dot), (&at.p[from..], p_dot), of.y, y_dot);
            } else {
                let y = self.input(l + 1, at.x, of.keep);
                layer_dot(layer, t, (x, x_dot), (&at.p[from..], p_dot), y, &mut here[..y.len()]);
            }
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
            let last = l + 1 == self.layers.len();
            let (y, y_dot) = if last {
                (of.y, dot.y)
            } else {
                (self.input(l + 1, at.x, of.keep), self.input(l + 1, at.x, dot.keep))
            };
            activation_bars(activation, (y, y_dot), (bar, bar_dot), (delta, delta_dot));
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

/// delta <- s y_bar, delta_dot <- s y_bar_dot + s_y y_dot y_bar.
fn activation_bars<T: Scalar>(
    activation: Activation,
    (y, y_dot): (&[T], &[T]),
    (bar, bar_dot): (&[T], &[T]),
    (delta, delta_dot): (&mut Vec<T>, &mut Vec<T>),
) {
    delta.clear();
    delta.extend(bar.iter().zip(y).map(|(b, y)| *b * activation.slope(*y)));
    delta_dot.clear();
    for (k, b) in bar.iter().enumerate() {
        let slope_dot = activation.slope_derivative(y[k]) * y_dot[k];
        delta_dot.push(bar_dot[k] * activation.slope(y[k]) + *b * slope_dot);
    }
}

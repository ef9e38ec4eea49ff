//! Multilayer perceptron on a batch.

use super::activation::Activation;
use super::jets::Jet;
use super::layer::Layer;
use super::mlp_tangent::{TangentRoom, Tangents};
use super::narrow;
use super::per_sample::{GramRoom, layer_inputs, mlp_gram};
use crate::diff::{At, BarsMut, Dots, Init, Kept, LayerInputs, Map, Offers, Size, Spec};
use crate::error::OdeError;
use crate::linalg::tanh::tanh;
use crate::linalg::{Dense, Scalar};
use crate::simd::vectorized;

/// Bytes of the widest layer's output in one block of columns.
const CACHE: usize = 1 << 18;

/// Layers one after another. Work storage grows to the largest batch seen and stays.
#[derive(Debug, Clone)]
pub struct Mlp<T> {
    layers: Vec<Layer>,
    threads: usize,
    /// Columns treated together: their numbers stay in the cache from the product to the activation.
    block: usize,
    /// b + t w.
    bias: Vec<T>,
    delta: Vec<T>,
    delta2: Vec<T>,
    sums: Vec<T>,
    /// What `forward` keeps where nobody wants it.
    room: Vec<T>,
    tangent: TangentRoom<T>,
    gram: GramRoom,
}

impl<T: Scalar> Mlp<T> {
    /// From layers whose sizes fit.
    pub fn new(layers: &[Layer]) -> Result<Self, OdeError> {
        let fits = layers.windows(2).all(|w| w[0].outputs == w[1].inputs);
        if layers.is_empty() || !fits || layers.iter().any(|l| l.inputs * l.outputs == 0) {
            let what = "a perceptron needs at least one layer, none of them empty, each with as many inputs as the one before has outputs";
            return Err(OdeError::Mismatch { what: what.to_string() });
        }
        let widest = layers.iter().map(|l| l.inputs.max(l.outputs)).max().unwrap_or(1);
        let fits = CACHE / (widest * size_of::<T>());
        Ok(Self {
            layers: layers.to_vec(),
            threads: 1,
            block: (fits / 16 * 16).max(32),
            bias: vec![],
            delta: vec![],
            delta2: vec![],
            sums: vec![],
            room: vec![],
            tangent: TangentRoom::default(),
            gram: GramRoom::default(),
        })
    }
    /// Layers of these sizes, `inner` after all but the last, `outer` after the last, time at every layer or at none.
    pub fn dense(
        sizes: &[usize],
        inner: Activation,
        outer: Activation,
        time: bool,
    ) -> Result<Self, OdeError> {
        let last = sizes.len().saturating_sub(2);
        let layer = |(i, w): (usize, &[usize])| Layer {
            inputs: w[0],
            outputs: w[1],
            activation: if i == last { outer } else { inner },
            time,
        };
        Self::new(&sizes.windows(2).enumerate().map(layer).collect::<Vec<_>>())
    }
    /// W x + b.
    pub fn linear(inputs: usize, outputs: usize) -> Result<Self, OdeError> {
        Self::dense(&[inputs, outputs], Activation::Identity, Activation::Identity, false)
    }
    /// Threads of the matrix products (1 unless set); more pay only for large layers and batches.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }
    /// The layers.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// y of the layer; the arguments of its activation where they are kept, else an empty slice.
    fn layer_forward(&mut self, l: usize, t: T, x: &[T], p: &[T], y: &mut [T], arguments: &mut [T]) {
        let Layer { inputs, outputs, activation, time } = self.layers[l];
        let batch = x.len() / inputs;
        let (w, rest) = p.split_at(inputs * outputs);
        self.bias.clear();
        self.bias.extend_from_slice(&rest[time as usize * outputs..][..outputs]);
        if time {
            self.bias.iter_mut().zip(rest).for_each(|(b, w)| *b += t * *w);
        }
        // One column is a product with a vector: columns of W, contiguous.
        if inputs <= narrow::MOST {
            narrow::forward(inputs, w, &self.bias, x, y);
        } else if batch == 1 {
            for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs)) {
                y.copy_from_slice(&self.bias);
                for (xj, wj) in x.iter().zip(w.chunks_exact(outputs)) {
                    crate::linalg::kernels::add_scaled(y, *xj, wj);
                }
            }
        } else {
            T::gemm(
                T::ONE,
                Dense::new(w, outputs, inputs),
                Dense::new(x, inputs, batch),
                false,
                y,
                self.threads,
            );
            let bias = &self.bias[..];
            vectorized(
                y.len(),
                #[inline(always)]
                || {
                    for (c, y) in y.chunks_exact_mut(outputs).enumerate() {
                        match activation {
                            Activation::Gelu => {
                                let arguments = &mut arguments[c * outputs..][..outputs];
                                for ((y, b), a) in y.iter_mut().zip(bias).zip(arguments) {
                                    *a = *y + *b;
                                    *y = Activation::Gelu.value(*a);
                                }
                            }
                            Activation::Tanh => y.iter_mut().zip(bias).for_each(|(y, b)| *y = tanh(*y + *b)),
                            Activation::Identity => y.iter_mut().zip(bias).for_each(|(y, b)| *y += *b),
                            other => y.iter_mut().zip(bias).for_each(|(y, b)| *y = other.value(*y + *b)),
                        }
                    }
                },
            );
            return;
        }
        match activation {
            Activation::Tanh => super::tanh_slice(y),
            Activation::Identity => {}
            other => {
                if other.by_argument() {
                    arguments.copy_from_slice(y);
                }
                vectorized(
                    y.len(),
                    #[inline(always)]
                    || y.iter_mut().for_each(|y| *y = other.value(*y)),
                );
            }
        }
    }

    /// delta <- bar of the affine part from the bar of y and what slopes are functions of; its sums over the columns.
    fn through_activation(&mut self, l: usize, bar: &[T], of: &[T], delta: &mut [T]) {
        let Layer { outputs, activation, .. } = self.layers[l];
        self.sums.clear();
        self.sums.resize(outputs, T::ZERO);
        let sums = &mut self.sums[..];
        vectorized(
            delta.len(),
            #[inline(always)]
            // The choice of the activation stands outside of the loop.
            || match activation {
                Activation::Identity => times_slope(delta, bar, of, sums, |b, _| b),
                Activation::Tanh => times_slope(delta, bar, of, sums, |b, y| b * Activation::Tanh.slope(y)),
                Activation::Gelu => times_slope(delta, bar, of, sums, |b, a| b * Activation::Gelu.slope(a)),
                other => times_slope(delta, bar, of, sums, |b, y| b * other.slope(y)),
            },
        );
    }

    /// delta (bar of the affine part) to p_bar and, through W', to x_bar (replaced or added).
    #[allow(clippy::too_many_arguments)]
    fn layer_backward(
        &mut self,
        l: usize,
        t: T,
        x: &[T],
        p: &[T],
        delta: &[T],
        x_bar: &mut [T],
        add: bool,
        p_bar: &mut [T],
    ) {
        let Layer { inputs, outputs, time, .. } = self.layers[l];
        let batch = x.len() / inputs;
        let w = &p[..inputs * outputs];
        let (w_bar, rest) = p_bar.split_at_mut(inputs * outputs);
        if time {
            rest[..outputs].iter_mut().zip(&self.sums).for_each(|(b, s)| *b += t * *s);
        }
        rest[time as usize * outputs..][..outputs].iter_mut().zip(&self.sums).for_each(|(b, s)| *b += *s);
        if inputs <= narrow::MOST {
            return narrow::backward(inputs, w, x, delta, x_bar, add, w_bar);
        }
        if batch == 1 {
            for ((x, d), xb) in
                x.chunks_exact(inputs).zip(delta.chunks_exact(outputs)).zip(x_bar.chunks_exact_mut(inputs))
            {
                for (j, (xj, xb)) in x.iter().zip(xb).enumerate() {
                    crate::linalg::kernels::add_scaled(&mut w_bar[j * outputs..][..outputs], *xj, d);
                    let s = dot(&w[j * outputs..][..outputs], d);
                    *xb = if add { *xb + s } else { s };
                }
            }
            return;
        }
        let (d, xm) = (Dense::new(delta, outputs, batch), Dense::new(x, inputs, batch));
        T::gemm(T::ONE, d, xm.t(), true, w_bar, self.threads);
        T::gemm(T::ONE, Dense::new(w, outputs, inputs).t(), d, add, x_bar, self.threads);
    }
}

/// For Taylor coefficients: the affine part of one order and its transpose.
impl<T: Scalar> Mlp<T> {
    /// a_k <- W x_k + [k = 0] (t w + b) + [k = 1] dt w.
    pub(super) fn affine_jet(&mut self, l: usize, at: Jet<T>, x: &[T], p: &[T], a: &mut [T]) {
        let Layer { inputs, outputs, time, .. } = self.layers[l];
        let (w, rest) = p.split_at(inputs * outputs);
        T::gemm(
            T::ONE,
            Dense::new(w, outputs, inputs),
            Dense::new(x, inputs, at.batch),
            false,
            a,
            self.threads,
        );
        let slope = at.time();
        for a in a.chunks_exact_mut(outputs) {
            if time {
                a.iter_mut().zip(rest).for_each(|(a, w)| *a += slope * *w);
            }
            if at.k == 0 {
                a.iter_mut().zip(&rest[time as usize * outputs..]).for_each(|(a, b)| *a += *b);
            }
        }
    }
    #[allow(clippy::too_many_arguments)]
    pub(super) fn affine_jet_bar(
        &mut self,
        l: usize,
        at: Jet<T>,
        x: &[T],
        p: &[T],
        a_bar: &[T],
        x_bar: &mut [T],
        p_bar: &mut [T],
    ) {
        let Layer { inputs, outputs, time, .. } = self.layers[l];
        let (w, (w_bar, rest)) = (&p[..inputs * outputs], p_bar.split_at_mut(inputs * outputs));
        let slope = at.time();
        for a in a_bar.chunks_exact(outputs) {
            if time {
                rest.iter_mut().zip(a).for_each(|(b, a)| *b += slope * *a);
            }
            if at.k == 0 {
                rest[time as usize * outputs..].iter_mut().zip(a).for_each(|(b, a)| *b += *a);
            }
        }
        let (d, xm) = (Dense::new(a_bar, outputs, at.batch), Dense::new(x, inputs, at.batch));
        T::gemm(T::ONE, d, xm.t(), true, w_bar, self.threads);
        T::gemm(T::ONE, Dense::new(w, outputs, inputs).t(), d, true, x_bar, self.threads);
    }
}

/// delta <- f(bar, y), and sums over the columns, each as long as `sums`.
#[inline(always)]
fn times_slope<T: Scalar>(delta: &mut [T], bar: &[T], y: &[T], sums: &mut [T], f: impl Fn(T, T) -> T) {
    let n = sums.len();
    for ((d, bar), y) in delta.chunks_exact_mut(n).zip(bar.chunks_exact(n)).zip(y.chunks_exact(n)) {
        for (((d, b), y), s) in d.iter_mut().zip(bar).zip(y).zip(sums.iter_mut()) {
            *d = f(*b, *y);
            *s += *d;
        }
    }
}

/// a'b with eight partial sums.
fn dot<T: Scalar>(a: &[T], b: &[T]) -> T {
    let mut acc = [T::ZERO; 8];
    let (ca, cb) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail = ca.remainder().iter().zip(cb.remainder()).map(|(x, y)| *x * *y).sum::<T>();
    for (x, y) in ca.zip(cb) {
        for l in 0..8 {
            acc[l] += x[l] * y[l];
        }
    }
    acc.into_iter().sum::<T>() + tail
}

impl<T: Scalar> Mlp<T> {
    /// Lengths of one input and one output.
    fn ends(&self) -> (usize, usize) {
        (self.layers[0].inputs, self.layers[self.layers.len() - 1].outputs)
    }
}

impl<T: Scalar> Map<T> for Mlp<T> {
    fn size(&self) -> Size {
        let (inputs, outputs) = self.ends();
        Size { inputs, outputs, params: self.layers.iter().map(Layer::n_params).sum() }
    }
    fn offers(&self) -> Offers {
        Offers::VJP | Offers::JVP | Offers::TANGENT
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
        let tangents = Tangents { layers: &self.layers, batch };
        let len = of.keep.len();
        for (i, y_dot) in y_dot.chunks_exact_mut(outputs * batch).enumerate() {
            let one = dots.one(i, at.x.len(), params);
            tangents.forward(at, of, one, y_dot, &mut keep_dot[i * len..][..len]);
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
        let (n, len) = (outputs * batch, of.keep.len());
        let tangents = Tangents { layers: &self.layers, batch };
        for (i, w) in w.chunks_exact(n).enumerate() {
            let one = dots.one(i, at.x.len(), params);
            let dot = Kept { y: &dot.y[i * n..][..n], keep: &dot.keep[i * len..][..len] };
            let w_dot = if w_dot.is_empty() { w_dot } else { &w_dot[i * n..][..n] };
            tangents.backward(at, of, one, dot, (w, w_dot), bars.again(), &mut self.tangent);
        }
    }
    /// `l.weight`, of shape [inputs + time, outputs], and `l.bias` for layer l.
    fn spec(&self) -> Spec {
        self.layers.iter().enumerate().fold(Spec::none(), |spec, (l, layer)| {
            let (inputs, outputs) = (layer.inputs + layer.time as usize, layer.outputs);
            let weight = Init::Glorot { inputs, outputs };
            spec.with(&format!("{l}.weight"), &[inputs, outputs], weight).with(
                &format!("{l}.bias"),
                &[outputs],
                Init::Zeros,
            )
        })
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let mut keep = std::mem::take(&mut self.room);
        keep.resize(self.keep_len(at.x.len() / self.ends().0), T::ZERO);
        self.forward(at, y, &mut keep);
        self.room = keep;
    }
    fn gram(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], gram: &mut [f64]) {
        let mut room = std::mem::take(&mut self.gram);
        mlp_gram(&self.layers, (at, of), w, &mut room, gram);
        self.gram = room;
    }
    fn layer_inputs(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        start: usize,
        layers: &mut Vec<LayerInputs<T>>,
    ) -> bool {
        layer_inputs(&self.layers, at, of.keep, start, layers);
        true
    }
    /// Layer after layer the arguments of its activation, where slopes are functions of them, and its outputs, without those of the last.
    fn keep_len(&self, batch: usize) -> usize {
        let all: usize = self.layers.iter().map(|l| l.arguments() + l.outputs).sum();
        (all - self.ends().1) * batch
    }

    fn forward(&mut self, at: At<'_, T>, y: &mut [T], keep: &mut [T]) {
        let (At { t, x, p }, (inputs, outputs)) = (at, self.ends());
        let batch = x.len() / inputs;
        let mut first = 0;
        while first < batch {
            let columns = self.block.min(batch - first);
            let (mut p, mut keep, mut before): (&[T], &mut [T], &[T]) = (p, &mut *keep, &x[first * inputs..]);
            for l in 0..self.layers.len() {
                let layer = self.layers[l];
                let x = &before[..columns * layer.inputs];
                let (arguments, rest) = keep.split_at_mut(layer.arguments() * batch);
                let arguments = &mut arguments[first * layer.arguments()..][..columns * layer.arguments()];
                if l + 1 == self.layers.len() {
                    let y = &mut y[first * outputs..][..columns * outputs];
                    self.layer_forward(l, t, x, p, y, arguments);
                    break;
                }
                let (out, rest) = rest.split_at_mut(layer.outputs * batch);
                let out = &mut out[first * layer.outputs..][..columns * layer.outputs];
                self.layer_forward(l, t, x, p, out, arguments);
                p = &p[layer.n_params()..];
                (before, keep) = (out, rest);
            }
            first += columns;
        }
    }

    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let (At { t, x, p }, (inputs, outputs)) = (at, self.ends());
        let (Kept { y, keep }, BarsMut { x: x_bar, p: p_bar }) = (of, bars);
        let batch = x.len() / inputs;
        let (n_params, keep_len) = (self.n_params(), self.keep_len(batch));
        let mut delta = std::mem::take(&mut self.delta);
        let mut next = std::mem::take(&mut self.delta2);
        let mut first = 0;
        while first < batch {
            let columns = self.block.min(batch - first);
            // The block's columns of a matrix with this many rows.
            let part = |rows: usize| first * rows..(first + columns) * rows;
            let (mut p_end, mut k_end) = (n_params, keep_len);
            let mut out = &y[part(outputs)];
            let mut bar = &w[part(outputs)];
            for l in (0..self.layers.len()).rev() {
                let layer = self.layers[l];
                p_end -= layer.n_params();
                let (p, p_bar) = (&p[p_end..], &mut p_bar[p_end..]);
                delta.resize(bar.len(), T::ZERO);
                k_end -= layer.arguments() * batch;
                let of = if layer.arguments() > 0 { &keep[k_end..][part(layer.outputs)] } else { out };
                self.through_activation(l, bar, of, &mut delta);
                if l == 0 {
                    let range = part(inputs);
                    self.layer_backward(0, t, &x[range.clone()], p, &delta, &mut x_bar[range], true, p_bar);
                    break;
                }
                k_end -= layer.inputs * batch;
                let input = &keep[k_end..][part(layer.inputs)];
                next.resize(input.len(), T::ZERO);
                self.layer_backward(l, t, input, p, &delta, &mut next, false, p_bar);
                (out, bar) = (input, &next);
            }
            first += columns;
        }
        (self.delta, self.delta2) = (delta, next);
    }
}

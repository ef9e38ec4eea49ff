//! A perceptron whose weights respond to hyper-parameters (MacKay, Vicol, Lorraine, Duvenaud, Grosse, ICLR 2019).
//!
//! In every layer, with h the hyper-parameters of the sample and * by components:
//!
//! ```text
//! y = W x + b + s_w * (V x) + s_b * c,   [s_w; s_b] = C h
//! ```
//!
//! so that W + diag(s_w) V and b + s_b * c are the weights at h; with C = 0 it is a perceptron.

use crate::diff::{At, BarsMut, Init, Kept, Map, Offers, Size, Spec};
use crate::error::OdeError;
use crate::linalg::{Dense, Scalar};
use crate::nn::Activation;

/// See the module. Inputs: x above h in every column. Parameters of a layer, one after another: W and V (outputs x inputs), b and c (outputs), C (2 outputs x hyper-parameters).
#[derive(Debug, Clone)]
pub struct Responsive<T> {
    sizes: Vec<usize>,
    hyper: usize,
    activation: Activation,
    h: Vec<T>,
    x: Vec<T>,
    room: Vec<T>,
    delta: Vec<T>,
    du: Vec<T>,
    ds: Vec<T>,
    next: Vec<T>,
    h_bar: Vec<T>,
}

/// The parameters of a layer, or their bars.
struct Layer<S> {
    w: S,
    v: S,
    b: S,
    c: S,
    r: S,
}

/// Where they begin in the layer's numbers, in this order, and where the next layer does.
fn places(n: usize, m: usize, k: usize) -> [usize; 5] {
    let wv = n * m;
    [wv, 2 * wv, 2 * wv + m, 2 * wv + 2 * m, 2 * wv + 2 * m + 2 * m * k]
}

impl<T: Scalar> Responsive<T> {
    /// Lengths of input, hidden layers and output; number of hyper-parameters; activation of the hidden layers.
    ///
    /// # Errors
    /// Fewer than two lengths, or one that is zero; an activation whose slope is not a function of its value (GELU).
    pub fn new(sizes: &[usize], hyper: usize, activation: Activation) -> Result<Self, OdeError> {
        if sizes.len() < 2 || hyper == 0 || sizes.contains(&0) {
            let what = "a network that responds needs an input, an output and a hyper-parameter, none of length zero";
            return Err(OdeError::Mismatch { what: what.to_string() });
        }
        if activation.by_argument() {
            let what = "a network that responds keeps the values of its activations: choose one whose slope is a function of its value";
            return Err(OdeError::Mismatch { what: what.to_string() });
        }
        let (sizes, empty) = (sizes.to_vec(), Vec::new);
        let (h, x, room, delta) = (empty(), empty(), empty(), empty());
        let (du, ds, next, h_bar) = (empty(), empty(), empty(), empty());
        Ok(Self { sizes, hyper, activation, h, x, room, delta, du, ds, next, h_bar })
    }
    /// Number of hyper-parameters.
    pub fn hyper(&self) -> usize {
        self.hyper
    }
    fn layers(&self) -> usize {
        self.sizes.len() - 1
    }
    fn len(&self, l: usize) -> usize {
        places(self.sizes[l], self.sizes[l + 1], self.hyper)[4]
    }
    fn act(&self, l: usize) -> Activation {
        if l + 1 == self.layers() { Activation::Identity } else { self.activation }
    }
    fn layer<'a>(&self, l: usize, p: &'a [T]) -> Layer<&'a [T]> {
        let [v, b, c, r, end] = places(self.sizes[l], self.sizes[l + 1], self.hyper);
        Layer { w: &p[..v], v: &p[v..b], b: &p[b..c], c: &p[c..r], r: &p[r..end] }
    }
    fn layer_mut<'a>(&self, l: usize, p: &'a mut [T]) -> Layer<&'a mut [T]> {
        let [v, b, c, r, end] = places(self.sizes[l], self.sizes[l + 1], self.hyper);
        let (w, rest) = p[..end].split_at_mut(v);
        let (v, rest) = rest.split_at_mut(b - v);
        let (b, rest) = rest.split_at_mut(c - b);
        let (c, r) = rest.split_at_mut(r - c);
        Layer { w, v, b, c, r }
    }
    /// x and h each in one piece.
    fn split(&mut self, xh: &[T]) {
        let n = self.sizes[0];
        self.x.clear();
        self.h.clear();
        for column in xh.chunks_exact(n + self.hyper) {
            self.x.extend_from_slice(&column[..n]);
            self.h.extend_from_slice(&column[n..]);
        }
    }

    /// Layer l: `responses` <- V x and [s_w; s_b], `out` <- the output.
    fn respond(&self, l: usize, p: &[T], x: &[T], responses: &mut [T], out: &mut [T]) {
        let (n, m, k) = (self.sizes[l], self.sizes[l + 1], self.hyper);
        let (of, batch, act) = (self.layer(l, p), x.len() / n, self.act(l));
        let (u, s) = responses.split_at_mut(m * batch);
        let x = Dense::new(x, n, batch);
        T::gemm(T::ONE, Dense::new(of.w, m, n), x, false, out, 1);
        T::gemm(T::ONE, Dense::new(of.v, m, n), x, false, u, 1);
        T::gemm(T::ONE, Dense::new(of.r, 2 * m, k), Dense::new(&self.h, k, batch), false, s, 1);
        for c in 0..batch {
            let (s, u) = (&s[2 * m * c..][..2 * m], &u[m * c..][..m]);
            for (i, y) in out[m * c..][..m].iter_mut().enumerate() {
                *y = act.value(*y + of.b[i] + s[i] * u[i] + s[m + i] * of.c[i]);
            }
        }
    }

    /// The weights and biases of layer l at h: W + diag(s_w) V, column-major, and b + s_b * c.
    pub fn weights(&self, l: usize, p: &[T], h: &[T]) -> (Vec<T>, Vec<T>) {
        let from = (0..l).map(|l| self.len(l)).sum::<usize>();
        let (of, m) = (self.layer(l, &p[from..]), self.sizes[l + 1]);
        let s = |i: usize| (0..self.hyper).map(|k| of.r[k * 2 * m + i] * h[k]).sum::<T>();
        let w = of.w.iter().zip(of.v).enumerate().map(|(j, (w, v))| *w + s(j % m) * *v).collect();
        (w, (0..m).map(|i| of.b[i] + s(m + i) * of.c[i]).collect())
    }

    /// sum_c factor_c |weights at h_c|^2 without the biases, h hyper x columns: a penalty on the weights with a factor and a response of each sample. ADDS its derivative by p.
    pub fn squares(&self, p: &[T], h: &[T], factor: &[T], p_bar: Option<&mut [T]>) -> f64 {
        let (k, mut total, mut from, mut bars) = (self.hyper, 0.0, 0, p_bar);
        let two = T::of(2.0);
        for l in 0..self.layers() {
            let (n, m) = (self.sizes[l], self.sizes[l + 1]);
            let of = self.layer(l, &p[from..]);
            let row = |a: &[T], b: &[T], i: usize| (0..n).map(|j| a[j * m + i] * b[j * m + i]).sum::<T>();
            let len = self.len(l);
            let mut bars = bars.as_deref_mut().map(|bars| self.layer_mut(l, &mut bars[from..from + len]));
            for i in 0..m {
                let [ww, wv, vv] = [row(of.w, of.w, i), row(of.w, of.v, i), row(of.v, of.v, i)];
                // Sums of the factors times 1, s, s^2.
                let mut sums = [T::ZERO; 3];
                for (h, f) in h.chunks_exact(k).zip(factor) {
                    let s = (0..k).map(|q| of.r[q * 2 * m + i] * h[q]).sum::<T>();
                    sums = [sums[0] + *f, sums[1] + *f * s, sums[2] + *f * s * s];
                    if let Some(bars) = &mut bars {
                        let s_bar = two * *f * (wv + s * vv);
                        (0..k).for_each(|q| bars.r[q * 2 * m + i] += s_bar * h[q]);
                    }
                }
                total += (sums[0] * ww + two * sums[1] * wv + sums[2] * vv).f64();
                let Some(bars) = &mut bars else { continue };
                for at in (i..n * m).step_by(m) {
                    bars.w[at] += two * (sums[0] * of.w[at] + sums[1] * of.v[at]);
                    bars.v[at] += two * (sums[1] * of.w[at] + sums[2] * of.v[at]);
                }
            }
            from += len;
        }
        total
    }
}

impl<T: Scalar> Map<T> for Responsive<T> {
    fn size(&self) -> Size {
        let params = (0..self.layers()).map(|l| self.len(l)).sum();
        Size { inputs: self.sizes[0] + self.hyper, outputs: self.sizes[self.layers()], params }
    }
    fn offers(&self) -> Offers {
        Offers::VJP | Offers::AUTONOMOUS
    }
    /// Of layer l `l.weight`, `l.weight_response`, `l.bias`, `l.bias_response`, `l.response`; the last are small, so that it begins as a perceptron.
    fn spec(&self) -> Spec {
        (0..self.layers()).fold(Spec::none(), |spec, l| {
            let (inputs, outputs) = (self.sizes[l], self.sizes[l + 1]);
            let glorot = Init::Glorot { inputs, outputs };
            spec.with(&format!("{l}.weight"), &[inputs, outputs], glorot)
                .with(&format!("{l}.weight_response"), &[inputs, outputs], glorot)
                .with(&format!("{l}.bias"), &[outputs], Init::Zeros)
                .with(&format!("{l}.bias_response"), &[outputs], Init::Zeros)
                .with(&format!("{l}.response"), &[self.hyper, 2 * outputs], Init::Normal { deviation: 0.01 })
        })
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let mut keep = std::mem::take(&mut self.room);
        keep.resize(self.keep_len(at.x.len() / (self.sizes[0] + self.hyper)), T::ZERO);
        self.forward(at, y, &mut keep);
        self.room = keep;
    }
    /// Of every layer V x, [s_w; s_b] and, but for the last, the output.
    fn keep_len(&self, batch: usize) -> usize {
        let hidden: usize = self.sizes[1..self.layers()].iter().sum();
        batch * (3 * self.sizes[1..].iter().sum::<usize>() + hidden)
    }
    fn forward(&mut self, at: At<'_, T>, y: &mut [T], keep: &mut [T]) {
        self.split(at.x);
        let batch = self.h.len() / self.hyper;
        let (mut p, mut keep) = (at.p, keep);
        let mut before: &[T] = &self.x;
        for l in 0..self.layers() {
            let m = self.sizes[l + 1];
            let (responses, rest) = keep.split_at_mut(3 * m * batch);
            if l + 1 == self.layers() {
                self.respond(l, p, before, responses, y);
                break;
            }
            let (out, rest) = rest.split_at_mut(m * batch);
            self.respond(l, p, before, responses, out);
            p = &p[self.len(l)..];
            (before, keep) = (out, rest);
        }
    }
    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        self.split(at.x);
        let (k, batch) = (self.hyper, self.h.len() / self.hyper);
        let (mut p_end, mut k_end) = (self.size().params, self.keep_len(batch));
        let take = std::mem::take;
        let (mut delta, mut du, mut ds, mut next) =
            (take(&mut self.delta), take(&mut self.du), take(&mut self.ds), take(&mut self.next));
        let mut h_bar = take(&mut self.h_bar);
        h_bar.clear();
        h_bar.resize(k * batch, T::ZERO);
        delta.clear();
        delta.extend_from_slice(w);
        for l in (0..self.layers()).rev() {
            let (n, m) = (self.sizes[l], self.sizes[l + 1]);
            p_end -= self.len(l);
            let hidden = if l + 1 == self.layers() { 0 } else { m * batch };
            k_end -= 3 * m * batch + hidden;
            let (layer, bar) = (self.layer(l, &at.p[p_end..]), self.layer_mut(l, &mut bars.p[p_end..]));
            let (u, s) = of.keep[k_end..][..3 * m * batch].split_at(m * batch);
            let out = if hidden == 0 { of.y } else { &of.keep[k_end + 3 * m * batch..][..hidden] };
            du.resize(m * batch, T::ZERO);
            ds.resize(2 * m * batch, T::ZERO);
            let act = self.act(l);
            for c in 0..batch {
                let (s, ds) = (&s[2 * m * c..][..2 * m], &mut ds[2 * m * c..][..2 * m]);
                for i in 0..m {
                    let at = m * c + i;
                    let d = delta[at] * act.slope(out[at]);
                    (delta[at], du[at]) = (d, s[i] * d);
                    (ds[i], ds[m + i]) = (d * u[at], d * layer.c[i]);
                    bar.b[i] += d;
                    bar.c[i] += s[m + i] * d;
                }
            }
            let x = if l == 0 {
                &self.x[..]
            } else {
                // The output of the layer before.
                let len = n * batch;
                &of.keep[k_end - len..][..len]
            };
            let (d, du, s_bar) =
                (Dense::new(&delta, m, batch), Dense::new(&du, m, batch), Dense::new(&ds, 2 * m, batch));
            let (x, h) = (Dense::new(x, n, batch), Dense::new(&self.h, k, batch));
            T::gemm(T::ONE, d, x.t(), true, bar.w, 1);
            T::gemm(T::ONE, du, x.t(), true, bar.v, 1);
            T::gemm(T::ONE, s_bar, h.t(), true, bar.r, 1);
            T::gemm(T::ONE, Dense::new(layer.r, 2 * m, k).t(), s_bar, true, &mut h_bar, 1);
            next.resize(n * batch, T::ZERO);
            T::gemm(T::ONE, Dense::new(layer.w, m, n).t(), d, false, &mut next, 1);
            T::gemm(T::ONE, Dense::new(layer.v, m, n).t(), du, true, &mut next, 1);
            std::mem::swap(&mut delta, &mut next);
        }
        let n = self.sizes[0];
        let columns = delta.chunks_exact(n).zip(h_bar.chunks_exact(k));
        for (to, (x, h)) in bars.x.chunks_exact_mut(n + k).zip(columns) {
            to[..n].iter_mut().zip(x).for_each(|(t, v)| *t += *v);
            to[n..].iter_mut().zip(h).for_each(|(t, v)| *t += *v);
        }
        (self.delta, self.du, self.ds, self.next, self.h_bar) = (delta, du, ds, next, h_bar);
    }
}

//! Derivatives of each sample of a batch by the parameters: Gram matrices of perceptrons, and the inputs of layers.
//!
//! Row i = s outputs + k is the gradient of output k of sample s. For a perceptron no row is formed: with a_l the inputs of layer l (one column a sample, 1 for the
//! bias and t beside them) and D_l the derivatives of the outputs by its pre-activations (one column a row),
//!
//! ```text
//! (J J')_ij = sum over layers (D_l' D_l)_ij (a_l' a_l)_{s(i) s(j)}
//! ```

use std::ops::Range;

use super::layer::Layer;
use crate::diff::{At, Kept};
use crate::linalg::{Dense, Scalar};

/// What one affine layer y = W x saw: the 1 of the bias, and the time if it takes it, are inputs too.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerInputs<T> {
    /// W among the parameters: outputs x inputs, column by column.
    pub range: Range<usize>,
    /// Rows of W.
    pub outputs: usize,
    /// Columns of W.
    pub inputs: usize,
    /// inputs x batch.
    pub x: Vec<T>,
}

impl<T> LayerInputs<T> {
    /// Samples.
    pub fn batch(&self) -> usize {
        self.x.len() / self.inputs.max(1)
    }
}

/// Work storage of [`mlp_gram`], in f64.
#[derive(Debug, Clone, Default)]
pub(super) struct GramRoom {
    delta: Vec<f64>,
    next: Vec<f64>,
    weights: Vec<f64>,
    inputs: Vec<f64>,
    products: Vec<f64>,
    of_inputs: Vec<f64>,
}

/// [`Map::gram`] of a perceptron: `gram` <- J J' of its outputs by its parameters, (outputs batch) squared, by the formula of its layers; sums in f64, whatever T.
pub(super) fn mlp_gram<T: Scalar>(
    layers: &[Layer],
    at: At<'_, T>,
    of: Kept<'_, T>,
    room: &mut GramRoom,
    gram: &mut [f64],
) {
    let (inputs, outputs) = (layers[0].inputs, layers[layers.len() - 1].outputs);
    let batch = at.x.len() / inputs;
    let m = outputs * batch;
    gram.fill(0.0);
    // The derivative of output k of sample s by the outputs of the last layer.
    room.delta.clear();
    room.delta.resize(outputs * m, 0.0);
    (0..m).for_each(|i| room.delta[i * outputs + i % outputs] = 1.0);
    let (mut p_end, mut k_end) = (at.p.len(), of.keep.len());
    let mut y = of.y;
    for (l, layer) in layers.iter().enumerate().rev() {
        p_end -= layer.n_params();
        let rows = layer.outputs;
        for (i, d) in room.delta.chunks_exact_mut(rows).enumerate() {
            let y = &y[i / outputs * rows..][..rows];
            d.iter_mut().zip(y).for_each(|(d, y)| *d *= layer.activation.slope(y.f64()));
        }
        let x = if l == 0 {
            at.x
        } else {
            k_end -= layer.inputs * batch;
            &of.keep[k_end..][..layer.inputs * batch]
        };
        room.inputs.clear();
        room.inputs.extend(x.iter().map(|v| v.f64()));
        let d = Dense::new(&room.delta, rows, m);
        let a = Dense::new(&room.inputs, layer.inputs, batch);
        room.products.resize(m * m, 0.0);
        room.of_inputs.resize(batch * batch, 0.0);
        f64::gemm(1.0, d.t(), d, false, &mut room.products, 1);
        f64::gemm(1.0, a.t(), a, false, &mut room.of_inputs, 1);
        let constant = 1.0 + if layer.time { at.t.f64() * at.t.f64() } else { 0.0 };
        for j in 0..m {
            for i in 0..m {
                let inner = room.of_inputs[j / outputs * batch + i / outputs] + constant;
                gram[j * m + i] += room.products[j * m + i] * inner;
            }
        }
        if l > 0 {
            room.weights.clear();
            room.weights.extend(at.p[p_end..][..rows * layer.inputs].iter().map(|v| v.f64()));
            room.next.resize(layer.inputs * m, 0.0);
            let w = Dense::new(&room.weights, rows, layer.inputs);
            f64::gemm(1.0, w.t(), d, false, &mut room.next, 1);
            std::mem::swap(&mut room.delta, &mut room.next);
            room.delta.truncate(layer.inputs * m);
        }
        y = x;
    }
}

/// Adds what each layer saw of the batch at `at`, with `keep` as `forward` left it; `start` is where the network's parameters start among all.
pub(super) fn layer_inputs<T: Scalar>(
    layers: &[Layer],
    at: At<'_, T>,
    keep: &[T],
    start: usize,
    out: &mut Vec<LayerInputs<T>>,
) {
    let (mut p, mut k) = (start, 0);
    let batch = at.x.len() / layers[0].inputs;
    let mut x = at.x;
    for layer in layers {
        let inputs = layer.inputs + layer.time as usize + 1;
        let mut all = Vec::with_capacity(inputs * batch);
        for x in x.chunks_exact(layer.inputs) {
            all.extend_from_slice(x);
            if layer.time {
                all.push(at.t);
            }
            all.push(T::ONE);
        }
        out.push(LayerInputs { range: p..p + layer.n_params(), outputs: layer.outputs, inputs, x: all });
        p += layer.n_params();
        if k < keep.len() {
            x = &keep[k..][..layer.outputs * batch];
            k += layer.outputs * batch;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{BarsMut, Map, jacobian_rows};
    use crate::nn::{Activation, Mlp, Params};
    use crate::train::data::{Stream, generator};
    use rand::RngExt;

    struct Case<T> {
        net: Mlp<T>,
        p: Vec<T>,
        x: Vec<T>,
        y: Vec<T>,
        keep: Vec<T>,
    }

    fn case<T: Scalar>(batch: usize, time: bool) -> Case<T> {
        let layer = |inputs, outputs, activation| Layer { inputs, outputs, activation, time };
        let layers = [
            layer(3, 7, Activation::Tanh),
            layer(7, 5, Activation::Sigmoid),
            layer(5, 4, Activation::Relu),
            layer(4, 2, Activation::Identity),
        ];
        let mut net = Mlp::new(&layers).unwrap();
        let mut rng = generator(5, Stream::Init, 0);
        let mut params = Params::new();
        params.add_spec("net", net.spec(), &mut rng);
        // Biases that are not zero.
        params.values_mut().iter_mut().for_each(|v| *v += T::of(0.3 * rng.random::<f64>() - 0.1));
        let x: Vec<T> = (0..3 * batch).map(|_| T::of(2.0 * rng.random::<f64>() - 1.0)).collect();
        let (mut y, mut keep) = (vec![T::ZERO; 2 * batch], vec![T::ZERO; net.keep_len(batch)]);
        let p = params.values().to_vec();
        net.forward(At::new(T::of(0.7), &x, &p), &mut y, &mut keep);
        Case { net, p, x, y, keep }
    }

    /// The gradient of output k of sample s by a pullback of a batch of one.
    fn row<T: Scalar>(c: &mut Case<T>, s: usize, k: usize) -> Vec<T> {
        let x = &c.x[3 * s..][..3];
        let (mut y, mut keep) = (vec![T::ZERO; 2], vec![T::ZERO; c.net.keep_len(1)]);
        let at = At::new(T::of(0.7), x, &c.p);
        c.net.forward(at, &mut y, &mut keep);
        let mut w = vec![T::ZERO; 2];
        w[k] = T::ONE;
        let (mut x_bar, mut p_bar) = (vec![T::ZERO; 3], vec![T::ZERO; c.p.len()]);
        c.net.vjp(at, Kept { y: &y, keep: &keep }, &w, BarsMut::new(&mut x_bar, &mut p_bar));
        p_bar
    }

    #[test]
    fn rows_and_gram_are_those_of_single_samples() {
        for (batch, time) in [(1, false), (6, false), (5, true)] {
            let mut c = case::<f64>(batch, time);
            let m = 2 * batch;
            let singles: Vec<Vec<f64>> = (0..m).map(|i| row(&mut c, i / 2, i % 2)).collect();
            let (n, p, x) = (c.p.len(), c.p.clone(), c.x.clone());
            let (at, of) = (At::new(0.7, &x[..], &p[..]), Kept { y: &c.y, keep: &c.keep });
            let mut rows = vec![f64::NAN; n * m];
            jacobian_rows(&mut c.net, at, of, &mut rows);
            let mut gram = vec![f64::NAN; m * m];
            c.net.gram(at, of, &mut gram);
            let mut plain = vec![f64::NAN; m * m];
            crate::diff::gram_by_rows(&mut c.net, at, of, &mut plain);
            for i in 0..m {
                assert!(singles[i].iter().zip(&rows[i * n..]).all(|(a, b)| (a - b).abs() < 1e-13));
                for j in 0..m {
                    let want: f64 = singles[i].iter().zip(&singles[j]).map(|(a, b)| a * b).sum();
                    assert!((gram[j * m + i] - want).abs() < 1e-12 * (1.0 + want.abs()), "{i} {j}");
                    assert!((plain[j * m + i] - want).abs() < 1e-12 * (1.0 + want.abs()));
                }
            }
        }
    }

    #[test]
    fn single_precision_sums_in_double() {
        let (wide, narrow) = (case::<f64>(4, true), case::<f32>(4, true));
        let (mut a, mut b) = (vec![0.0; 64], vec![0.0; 64]);
        let room = &mut GramRoom::default();
        mlp_gram(
            wide.net.layers(),
            At::new(0.7, &wide.x, &wide.p),
            Kept { y: &wide.y, keep: &wide.keep },
            room,
            &mut a,
        );
        mlp_gram(
            narrow.net.layers(),
            At::new(0.7, &narrow.x, &narrow.p),
            Kept { y: &narrow.y, keep: &narrow.keep },
            room,
            &mut b,
        );
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5 * (1.0 + a.abs())));
    }

    /// Gradients are sums of (derivative by a layer's output) x (its inputs): the layers' inputs and places fit the pullback.
    #[test]
    fn layer_inputs_make_the_gradient() {
        let mut c = case::<f64>(5, true);
        let mut layers = vec![];
        c.net.layer_inputs(At::new(0.7, &c.x, &c.p), &c.keep, 10, &mut layers);
        assert_eq!(layers.len(), 4);
        assert_eq!((layers[0].range.start, layers[3].range.end), (10, 10 + c.p.len()));
        // The last layer is linear: its outputs are W x.
        let last = &layers[3];
        for s in 0..5 {
            for k in 0..2 {
                let w = &c.p[last.range.start - 10..];
                let y: f64 = (0..last.inputs).map(|j| w[j * 2 + k] * last.x[s * last.inputs + j]).sum();
                assert!((y - c.y[2 * s + k]).abs() < 1e-14);
                // The gradient of output k by W is e_k x'.
                let g = row(&mut c, s, k);
                for j in 0..last.inputs {
                    let g = &g[last.range.start - 10..];
                    assert!(
                        (g[j * 2 + k] - last.x[s * last.inputs + j]).abs() < 1e-14 && g[j * 2 + 1 - k] == 0.0
                    );
                }
            }
        }
    }
}

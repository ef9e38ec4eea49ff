//! Derivatives of each sample of a batch by the parameters of a perceptron: Gram matrices, and the inputs of layers.
//!
//! Row i = s q + k is the gradient of w_sk' y_s, q numbers of each sample. No row is formed: with a_l the inputs of layer l (one column a sample, 1 for the bias and t beside
//! them) and D_l the derivatives of the q numbers by its pre-activations (one column a row),
//!
//! ```text
//! (M M')_ij = sum over layers (D_l' D_l)_ij (a_l' a_l)_{s(i) s(j)}
//! ```

use super::layer::Layer;
use crate::diff::{At, Kept, LayerInputs};
use crate::linalg::{Dense, Scalar};

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

/// [`Map::gram`](crate::diff::Map::gram) of a perceptron by the formula of its layers; sums in f64, whatever T.
pub(super) fn mlp_gram<T: Scalar>(
    layers: &[Layer],
    (at, of): (At<'_, T>, Kept<'_, T>),
    w: &[T],
    room: &mut GramRoom,
    gram: &mut [f64],
) {
    let (inputs, outputs) = (layers[0].inputs, layers[layers.len() - 1].outputs);
    let batch = at.x.len() / inputs;
    let (m, per) = (w.len() / outputs, w.len() / (outputs * batch));
    gram.fill(0.0);
    // The derivatives by the outputs of the last layer.
    room.delta.clear();
    room.delta.extend(w.iter().map(|w| w.f64()));
    let (mut p_end, mut k_end) = (at.p.len(), of.keep.len());
    let mut y = of.y;
    for (l, layer) in layers.iter().enumerate().rev() {
        p_end -= layer.n_params();
        let rows = layer.outputs;
        k_end -= layer.arguments() * batch;
        let of_slopes = if layer.arguments() > 0 { &of.keep[k_end..][..rows * batch] } else { y };
        for (i, d) in room.delta.chunks_exact_mut(rows).enumerate() {
            let v = &of_slopes[i / per * rows..][..rows];
            d.iter_mut().zip(v).for_each(|(d, v)| *d *= layer.activation.slope(v.f64()));
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
                let inner = room.of_inputs[j / per * batch + i / per] + constant;
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
        k += layer.arguments() * batch;
        if k < keep.len() {
            x = &keep[k..][..layer.outputs * batch];
            k += layer.outputs * batch;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{BarsMut, Map, jacobian_rows, unit_rows};
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

    fn case<T: Scalar>(batch: usize, time: bool, last: Activation) -> Case<T> {
        let layer = |inputs, outputs, activation| Layer { inputs, outputs, activation, time };
        let layers = [
            layer(3, 7, Activation::Tanh),
            layer(7, 5, Activation::Sigmoid),
            layer(5, 6, Activation::Gelu),
            layer(6, 4, Activation::Relu),
            layer(4, 2, last),
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
        let (plain, gelu) = (Activation::Identity, Activation::Gelu);
        for (batch, time, last) in [(1, false, plain), (6, false, plain), (5, true, gelu)] {
            let mut c = case::<f64>(batch, time, last);
            let singles: Vec<Vec<f64>> = (0..2 * batch).map(|i| row(&mut c, i / 2, i % 2)).collect();
            let (n, p, x) = (c.p.len(), c.p.clone(), c.x.clone());
            let (at, of) = (At::new(0.7, &x[..], &p[..]), Kept { y: &c.y, keep: &c.keep });
            // The Jacobian's rows, and one combination of the two outputs a sample.
            let one: Vec<f64> = (0..2 * batch).map(|i| (i as f64 + 0.5).cos()).collect();
            for w in [unit_rows(2, batch), one] {
                let (m, per) = (w.len() / 2, w.len() / 2 / batch);
                let want = |i: usize| -> Vec<f64> {
                    let (s, w) = (i / per, &w[2 * i..2 * i + 2]);
                    (0..n).map(|j| w[0] * singles[2 * s][j] + w[1] * singles[2 * s + 1][j]).collect()
                };
                let want: Vec<Vec<f64>> = (0..m).map(want).collect();
                let mut rows = vec![f64::NAN; n * m];
                jacobian_rows(&mut c.net, at, of, &w, &mut rows);
                let (mut gram, mut plain) = (vec![f64::NAN; m * m], vec![f64::NAN; m * m]);
                c.net.gram(at, of, &w, &mut gram);
                crate::diff::gram_by_rows(&mut c.net, at, of, &w, &mut plain);
                for i in 0..m {
                    assert!(want[i].iter().zip(&rows[i * n..]).all(|(a, b)| (a - b).abs() < 1e-13));
                    for j in 0..m {
                        let want: f64 = want[i].iter().zip(&want[j]).map(|(a, b)| a * b).sum();
                        assert!((gram[j * m + i] - want).abs() < 1e-12 * (1.0 + want.abs()), "{i} {j}");
                        assert!((plain[j * m + i] - want).abs() < 1e-12 * (1.0 + want.abs()));
                    }
                }
            }
        }
    }

    #[test]
    fn single_precision_sums_in_double() {
        let last = Activation::Identity;
        let (mut wide, mut narrow) = (case::<f64>(4, true, last), case::<f32>(4, true, last));
        let (mut a, mut b) = (vec![0.0; 64], vec![0.0; 64]);
        let of = Kept { y: &wide.y, keep: &wide.keep };
        wide.net.gram(At::new(0.7, &wide.x, &wide.p), of, &unit_rows(2, 4), &mut a);
        let of = Kept { y: &narrow.y, keep: &narrow.keep };
        narrow.net.gram(At::new(0.7, &narrow.x, &narrow.p), of, &unit_rows(2, 4), &mut b);
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5 * (1.0 + a.abs())));
    }

    /// Gradients are sums of (derivative by a layer's output) x (its inputs): the layers' inputs and places fit the pullback.
    #[test]
    fn layer_inputs_make_the_gradient() {
        let mut c = case::<f64>(5, true, Activation::Identity);
        let mut layers = vec![];
        let of = Kept { y: &c.y, keep: &c.keep };
        assert!(c.net.layer_inputs(At::new(0.7, &c.x, &c.p), of, 10, &mut layers));
        assert_eq!(layers.len(), 5);
        assert_eq!((layers[0].range.start, layers[4].range.end), (10, 10 + c.p.len()));
        // The last layer is linear: its outputs are W x.
        let last = &layers[4];
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

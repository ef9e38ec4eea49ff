//! Losses, Taylor coefficients and parameter files.

use std::path::PathBuf;

use costate::diff::At;
use costate::nn::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

fn noise(n: usize, seed: u64) -> Vec<f64> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..n)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Fourth-order differences of f at x against g.
fn differences(what: &str, x: &[f64], g: &[f64], tol: f64, mut f: impl FnMut(&[f64]) -> f64) {
    let size = g.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    for i in 0..x.len() {
        let mut at = |d: f64| {
            let mut x = x.to_vec();
            x[i] += d;
            f(&x)
        };
        let d = 1e-3;
        let fd = (8.0 * (at(d) - at(-d)) - (at(2.0 * d) - at(-2.0 * d))) / (12.0 * d);
        assert!((fd - g[i]).abs() < tol * size, "{what} {i}: {fd} {}", g[i]);
    }
}

#[test]
fn derivatives_of_losses() {
    let (z, labels) = (noise(12, 1), [2, 0, 1, 2]);
    let mut bar = vec![1.0; 12];
    let (loss, correct) = softmax_cross_entropy(&z, &labels, 0.7, Some(&mut bar));
    let (same, _) = softmax_cross_entropy(&z, &labels, 0.7, None);
    assert_eq!(loss, same);
    let by_hand: f64 = (0..4)
        .map(|s| {
            let z = &z[3 * s..3 * s + 3];
            0.7 * (z.iter().map(|v| v.exp()).sum::<f64>().ln() - z[labels[s]])
        })
        .sum();
    assert!((loss - by_hand).abs() < 1e-14);
    let right = (0..4).filter(|&s| (0..3).all(|c| z[3 * s + c] <= z[3 * s + labels[s]])).count();
    assert_eq!(correct, right);
    bar.iter_mut().for_each(|b| *b -= 1.0);
    differences("entropy", &z, &bar, 1e-10, |z| softmax_cross_entropy(z, &labels, 0.7, None).0);

    let (y, mut x, mask) = (noise(6, 2), noise(6, 3), [1.0, 0.0, 1.0, 1.0, 0.0, 0.5]);
    x[1] = f64::NAN;
    let mut bar = vec![0.0; 6];
    let nll = gaussian_nll(&y, &x, &mask, 0.3, 2.0, Some(&mut bar));
    let one = |i: usize| (y[i] - x[i]).powi(2) / 0.18 + (0.3 * (2.0 * std::f64::consts::PI).sqrt()).ln();
    assert!((nll - 2.0 * (one(0) + one(2) + one(3) + 0.5 * one(5))).abs() < 1e-12);
    assert_eq!((bar[1], bar[4]), (0.0, 0.0));
    differences("likelihood", &y, &bar, 1e-10, |y| gaussian_nll(y, &x, &mask, 0.3, 2.0, None));

    let (m, l) = (noise(4, 4), noise(4, 5));
    let (mut mb, mut lb) = (vec![0.0; 4], vec![0.0; 4]);
    let kl = kl_standard_normal(&m, &l, 1.5, Some((&mut mb, &mut lb)));
    assert!(kl > 0.0 && kl_standard_normal(&[0.0], &[0.0], 1.0, None) == 0.0);
    differences("mean", &m, &mb, 1e-10, |m| kl_standard_normal(m, &l, 1.5, None));
    differences("log variance", &l, &lb, 1e-10, |l| kl_standard_normal(&m, l, 1.5, None));

    let mut bar = vec![0.0; 4];
    squared_error(&m, &l, 0.25, Some(&mut bar));
    differences("squares", &m, &bar, 1e-10, |m| squared_error(m, &l, 0.25, None));
}

#[test]
fn extreme_logits_are_finite_and_nan_stays_nan() {
    let mut bar = [0.0f32; 2];
    let (loss, correct) = softmax_cross_entropy(&[1e30f32, -1e30], &[0], 1.0, Some(&mut bar));
    assert_eq!((loss, correct, bar), (0.0, 1, [0.0, 0.0]));
    let (loss, correct) = softmax_cross_entropy(&[f32::NAN, f32::NAN], &[0], 1.0, None);
    assert!(loss.is_nan() && correct == 0);
}

/// Coefficients of the map along x(s), t(s).
fn forward(
    map: &mut dyn Jets<f64>,
    k: usize,
    (t, dt): (f64, f64),
    x: &[f64],
    p: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let batch = x.len() / k / map.inputs();
    let mut y = vec![f64::NAN; map.outputs() * batch * k];
    let mut store = vec![f64::NAN; map.jet_len(batch, k)];
    for order in 0..k {
        map.jet_forward(Jet { k: order, orders: k, batch, t, dt }, x, p, &mut y, &mut store);
    }
    (y, store)
}

fn maps() -> Vec<(&'static str, Box<dyn Jets<f64>>)> {
    use Activation::*;
    let net = |sizes: &[usize], a, b, time| Mlp::dense(sizes, a, b, time).unwrap();
    let cubic = Chain::new(Power { dim: 3, exponent: 3 }, net(&[3, 5, 3], Tanh, Identity, true)).unwrap();
    vec![
        ("linear", Box::new(net(&[3, 2], Identity, Identity, true))),
        ("tanh", Box::new(net(&[3, 4, 3], Tanh, Tanh, true))),
        ("sigmoid", Box::new(net(&[2, 4, 3], Sigmoid, Sigmoid, false))),
        ("relu", Box::new(net(&[2, 4, 3], Relu, Identity, true))),
        ("gelu", Box::new(net(&[2, 4, 3], Gelu, Gelu, true))),
        ("elementwise gelu", Box::new(Elementwise { dim: 2, activation: Gelu })),
        ("power", Box::new(Power { dim: 2, exponent: 3 })),
        ("elementwise", Box::new(Elementwise { dim: 2, activation: Sigmoid })),
        ("square", Box::new(Power { dim: 2, exponent: 2 })),
        ("one", Box::new(Power { dim: 2, exponent: 0 })),
        ("chain", Box::new(cubic.clone())),
        ("pieces", Box::new(Parallel::new(cubic, 1))),
    ]
}

#[test]
fn taylor_coefficients_of_maps() {
    // Interpolation of the map along the curve at nine points.
    for (name, mut map) in maps() {
        let (k, batch, t, dt) = (5, 2, 0.3, 0.8);
        let (nx, ny) = (map.inputs() * batch, map.outputs() * batch);
        let x: Vec<f64> = noise(nx * k, 1).iter().map(|v| 0.5 * v).collect();
        let p = noise(map.n_params(), 2);
        let (y, _) = forward(&mut *map, k, (t, dt), &x, &p);
        let h = 0.02;
        let nodes: Vec<f64> = (-4..=4).map(|i| i as f64 * h).collect();
        let mut keep = vec![0.0; map.keep_len(batch)];
        let mut table: Vec<Vec<f64>> = nodes
            .iter()
            .map(|s| {
                let at: Vec<f64> =
                    (0..nx).map(|i| (0..k).map(|j| x[j * nx + i] * s.powi(j as i32)).sum()).collect();
                let mut y = vec![0.0; ny];
                map.forward(At::new(t + s * dt, &at, &p), &mut y, &mut keep);
                y
            })
            .collect();
        // Newton's divided differences, then the coefficients of the polynomial.
        for level in 1..9 {
            for i in (level..9).rev() {
                let (head, tail) = table.split_at_mut(i);
                for (value, before) in tail[0].iter_mut().zip(&head[i - 1]) {
                    *value = (*value - before) / (nodes[i] - nodes[i - level]);
                }
            }
        }
        for c in 0..ny {
            let mut poly = [0.0; 9];
            for i in (0..9).rev() {
                for j in (1..9).rev() {
                    poly[j] = poly[j - 1] - nodes[i] * poly[j];
                }
                poly[0] = table[i][c] - nodes[i] * poly[0];
            }
            for (j, coefficient) in poly.iter().enumerate().take(k) {
                let tol = [1e-12, 1e-9, 1e-8, 1e-6, 1e-5][j];
                let got = y[j * ny + c];
                assert!(
                    (coefficient - got).abs() < tol * got.abs().max(1.0),
                    "{name} y_{j}: {coefficient} {got}"
                );
            }
        }
    }
}

#[test]
fn transposed_taylor_coefficients() {
    for (name, mut map) in maps() {
        let (k, batch, time) = (4, 2, (0.3, 0.8));
        let x = noise(map.inputs() * batch * k, 1);
        let p = noise(map.n_params(), 2);
        let w = noise(map.outputs() * batch * k, 3);
        let (y, store) = forward(&mut *map, k, time, &x, &p);
        let (mut xb, mut pb, mut yb) = (vec![0.0; x.len()], vec![0.0; p.len()], w.clone());
        let mut sb = vec![0.0; store.len()];
        for order in (0..k).rev() {
            let at = Jet { k: order, orders: k, batch, t: time.0, dt: time.1 };
            let of = JetPass { x: &x, p: &p, y: &y, store: &store };
            let bars = JetBars { x: &mut xb, p: &mut pb, y: &mut yb, store: &mut sb };
            map.jet_backward(at, of, bars);
        }
        // The bar of y_k must be complete before order k is done: for a map alone it is w plus what its own lower orders got.
        differences(name, &x, &xb, 2e-8, |x| dot(&w, &forward(&mut *map, k, time, x, &p).0));
        differences(name, &p, &pb, 2e-8, |p| dot(&w, &forward(&mut *map, k, time, &x, p).0));
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("costate-nn-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn params<T: costate::linalg::Scalar>(hidden: usize, seed: u64) -> Params<T> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut params = Params::new();
    let net = Mlp::<T>::dense(&[20, hidden, 10], Activation::Tanh, Activation::Identity, true).unwrap();
    let range = params.add_spec("field", net.spec(), &mut rng);
    assert_eq!(range.len(), net.n_params());
    params.add_spec("encoder", Gru::<f64>::new(4, 6).unwrap().spec(), &mut rng);
    params
}

#[test]
fn glorot_bounds_and_moments() {
    let p = params::<f64>(300, 1);
    let w = p.get("field.0.weight").unwrap();
    let bound = (6.0f64 / (21.0 + 300.0)).sqrt();
    assert_eq!(w.len(), 21 * 300);
    assert!(w.iter().all(|v| v.abs() < bound) && w.iter().any(|v| v.abs() > 0.999 * bound));
    let n = w.len() as f64;
    let variance = w.iter().map(|v| v * v).sum::<f64>() / n;
    // Uniform: variance bound^2/3, standard deviation of the estimate bound^2 sqrt(4/45/n). Six of them: 2e-9.
    assert!((variance - bound * bound / 3.0).abs() < 6.0 * bound * bound * (4.0 / 45.0 / n).sqrt());
    assert!(p.get("field.0.bias").unwrap().iter().all(|v| *v == 0.0));
}

#[test]
fn files_of_parameters() {
    let folder = Folder::new("params");
    let path = folder.0.join("p.safetensors");
    let saved = params::<f32>(7, 1);
    saved.save(&path).unwrap();
    let mut loaded = params::<f32>(7, 2);
    assert_ne!(saved, loaded);
    loaded.load(&path, &[]).unwrap();
    assert_eq!(saved, loaded);
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside the file");

    // Wrong shape, wrong precision, a parameter more or less: nothing is changed.
    let before = params::<f32>(8, 3);
    let mut other = before.clone();
    let text = other.load(&path, &[]).unwrap_err().to_string();
    assert!(text.contains("field.0.weight is F32 [21, 7] in the file, F32 [21, 8] in the model"), "{text}");
    assert_eq!(other, before);
    let text = params::<f64>(7, 3).load(&path, &[]).unwrap_err().to_string();
    assert!(text.contains("in the file, F64"), "{text}");
    let mut small = Params::<f32>::new();
    let text = small.load(&path, &[]).unwrap_err().to_string();
    assert!(text.contains("the model has no parameter"), "{text}");
    small.load(&path, &["field", "encoder"]).unwrap();
    let mut large = params::<f32>(7, 1);
    large.add("extra", &[2], Init::Zeros, &mut StdRng::seed_from_u64(0));
    let text = large.load(&path, &[]).unwrap_err().to_string();
    assert!(text.contains("parameter extra is missing"), "{text}");

    // Truncated at any length, or something else: an error, never a panic.
    let bytes = std::fs::read(&path).unwrap();
    for cut in [0, 1, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let text = params::<f32>(7, 1).load(&path, &[]).unwrap_err().to_string();
        assert!(text.contains("not a complete safetensors file"), "{text}");
    }
    let text = params::<f32>(7, 1).load(&folder.0.join("absent"), &[]).unwrap_err().to_string();
    assert!(text.contains("absent: "), "{text}");
}

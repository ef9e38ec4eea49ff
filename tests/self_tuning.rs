//! Networks whose weights respond to hyper-parameters: derivatives, penalties, and ridge regression that tunes its own penalty.

use costate::bilevel::*;
use costate::diff::{At, BarsMut, Kept, Map};
use costate::nn::Activation;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

fn wave(n: usize, phase: f64) -> Vec<f64> {
    (0..n).map(|k| 0.6 * (1.7 * k as f64 + phase).sin()).collect()
}
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
fn moved(a: &[f64], e: f64, d: &[f64]) -> Vec<f64> {
    a.iter().zip(d).map(|(a, d)| a + e * d).collect()
}
/// d/de f(e) at 0, of fourth order.
fn slope(mut f: impl FnMut(f64) -> f64) -> f64 {
    let h = 1e-4;
    (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)
}

#[test]
fn the_pullback_is_transposed() {
    let mut net = Responsive::<f64>::new(&[3, 5, 2], 2, Activation::Tanh).unwrap();
    let (batch, n) = (4, net.n_params());
    let (x, p) = (wave(net.inputs() * batch, 0.1), wave(n, 0.7));
    let (w, dx, dp) = (wave(2 * batch, 1.0), wave(x.len(), 2.0), wave(n, 3.0));
    let (mut y, mut keep) = (vec![0.0; 2 * batch], vec![0.0; net.keep_len(batch)]);
    net.forward(At::new(0.0, &x, &p), &mut y, &mut keep);
    let (mut x_bar, mut p_bar) = (vec![0.0; x.len()], vec![0.0; n]);
    let of = Kept { y: &y, keep: &keep };
    net.vjp(At::new(0.0, &x, &p), of, &w, BarsMut::new(&mut x_bar, &mut p_bar));
    let want = slope(|e| {
        let mut y = vec![0.0; 2 * batch];
        net.value(At::new(0.0, &moved(&x, e, &dx), &moved(&p, e, &dp)), &mut y);
        dot(&y, &w)
    });
    let got = dot(&x_bar, &dx) + dot(&p_bar, &dp);
    assert!((got - want).abs() < 1e-9 * (1.0 + want.abs()), "{got} {want}");
}

/// The weights at h make the network's outputs, and their squares are the penalty.
#[test]
fn weights_at_h() {
    let mut net = Responsive::<f64>::new(&[3, 4, 2], 2, Activation::Tanh).unwrap();
    let p = wave(net.n_params(), 0.7);
    let (x, h) = (wave(3, 0.2), [0.4, -0.9]);
    let layer = |l: usize, x: &[f64], act: fn(f64) -> f64| -> Vec<f64> {
        let (w, b) = net.weights(l, &p, &h);
        let m = b.len();
        (0..m).map(|i| act(b[i] + x.iter().enumerate().map(|(j, x)| w[j * m + i] * x).sum::<f64>())).collect()
    };
    let want = layer(1, &layer(0, &x, f64::tanh), |v| v);
    let squares: f64 = (0..2).map(|l| dot(&net.weights(l, &p, &h).0, &net.weights(l, &p, &h).0)).sum();
    let mut y = [0.0; 2];
    net.value(At::new(0.0, &[x, h.to_vec()].concat(), &p), &mut y);
    assert!(y.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-14));
    assert!((net.squares(&p, &h, &[1.0], None) - squares).abs() < 1e-12);
    // Its derivative, with two columns.
    let (hs, factor, d) = (wave(4, 0.3), [0.7, 0.2], wave(p.len(), 2.0));
    let mut p_bar = vec![0.0; p.len()];
    net.squares(&p, &hs, &factor, Some(&mut p_bar));
    let want = slope(|e| net.squares(&moved(&p, e, &d), &hs, &factor, None));
    assert!((dot(&p_bar, &d) - want).abs() < 1e-9 * (1.0 + want.abs()));
}

/// Ridge regression, n = 40, d = 20: |y - X w|^2 / n + e^h |w|^2.
struct Ridge {
    d: usize,
    data: [(Vec<f64>, Vec<f64>); 2],
}

impl Ridge {
    fn new(seed: u64) -> Self {
        let (n, d) = (40, 20);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let truth: Vec<f64> = (0..d).map(|_| 0.4 * normal()).collect();
        let data = [(); 2].map(|()| {
            let x: Vec<f64> = (0..n * d).map(|_| normal()).collect();
            let y = x.chunks_exact(d).map(|x| dot(x, &truth) + normal()).collect();
            (x, y)
        });
        Self { d, data }
    }
    /// The exact response: (X'X / n + e^h I)^-1 X'y / n, by elimination.
    fn exact(&self, h: f64) -> Vec<f64> {
        let (d, (x, y)) = (self.d, &self.data[0]);
        let n = y.len() as f64;
        let mut a = vec![vec![0.0; d + 1]; d];
        for (x, y) in x.chunks_exact(d).zip(y) {
            for i in 0..d {
                (0..d).for_each(|j| a[i][j] += x[i] * x[j] / n);
                a[i][d] += x[i] * y / n;
            }
        }
        (0..d).for_each(|i| a[i][i] += h.exp());
        for i in 0..d {
            for r in 0..d {
                if r != i {
                    let m = a[r][i] / a[i][i];
                    (i..=d).for_each(|c| a[r][c] -= m * a[i][c]);
                }
            }
        }
        (0..d).map(|i| a[i][d] / a[i][i]).collect()
    }
    fn validation(&self, w: &[f64]) -> f64 {
        let (x, y) = &self.data[1];
        x.chunks_exact(self.d).zip(y).map(|(x, y)| (dot(x, w) - y).powi(2)).sum::<f64>() / y.len() as f64
    }
}

impl Tuned for Ridge {
    fn load(&mut self, validation: bool, _: &mut StdRng, x: &mut Vec<f64>) {
        x.clone_from(&self.data[validation as usize].0);
    }
    fn loss(&mut self, validation: bool, z: &[f64], _: &[f64], z_bar: &mut [f64]) -> f64 {
        let y = &self.data[validation as usize].1;
        let share = 1.0 / y.len() as f64;
        z_bar.iter_mut().zip(z.iter().zip(y)).for_each(|(b, (z, y))| *b += 2.0 * share * (z - y));
        z.iter().zip(y).map(|(z, y)| share * (z - y).powi(2)).sum()
    }
    fn penalty(&mut self, net: &Responsive<f64>, p: &[f64], h: &[f64], p_bar: &mut [f64]) -> f64 {
        let batch = h.len() as f64;
        let factor: Vec<f64> = h.iter().map(|h| h.exp() / batch).collect();
        net.squares(p, h, &factor, Some(p_bar))
    }
}

/// The criterion of the method: validation loss at most 1 % above the best of a fine grid, in 9 of 10 seeds.
#[test]
fn ridge_regression_tunes_its_penalty() {
    let mut good = 0;
    for seed in 0..10 {
        let mut task = Ridge::new(seed);
        let best =
            (-80..=40).map(|k| task.validation(&task.exact(0.05 * k as f64))).fold(f64::INFINITY, f64::min);
        let mut net = Responsive::new(&[20, 1], 1, Activation::Identity).unwrap();
        let options =
            TuneOptions { tune_width: false, rate: 0.02, hyper_rate: 0.01, seed, ..TuneOptions::default() };
        let report = tune(&mut task, &mut net, &[0.0], &options).unwrap();
        let found = task.validation(&task.exact(report.h[0]));
        println!("seed {seed}: h {:.3}, loss {found:.5}, best {best:.5}", report.h[0]);
        good += (found <= 1.01 * best) as usize;
    }
    assert!(good >= 9, "{good} of 10");
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let run = || {
        let mut net = Responsive::new(&[20, 1], 1, Activation::Identity).unwrap();
        let options = TuneOptions { steps: 600, seed: 3, ..TuneOptions::default() };
        let r = tune(&mut Ridge::new(1), &mut net, &[-1.0], &options).unwrap();
        (r.h, r.widths, r.params.values().to_vec())
    };
    assert_eq!(run(), run());
}

#[test]
fn bad_input_is_one_sentence() {
    let mut net = Responsive::new(&[20, 1], 1, Activation::Identity).unwrap();
    let text = tune(&mut Ridge::new(0), &mut net, &[], &TuneOptions::default()).unwrap_err().to_string();
    assert!(text.contains("hyper-parameters at the start"), "{text}");
    let options = TuneOptions { rate: 1e6, ..TuneOptions::default() };
    let text = tune(&mut Ridge::new(0), &mut net, &[0.0], &options).unwrap_err().to_string();
    assert!(text.contains("not finite at step"), "{text}");
    assert!(Responsive::<f64>::new(&[3], 1, Activation::Tanh).is_err());
}

//! Derivatives through unrolled training: against differences, transposed, with few states kept, and in closed form.

use costate::adjoint::Memory;
use costate::bilevel::*;
use costate::diff::Map;
use costate::nn::{Activation, Mlp, Power};
use costate::ode::{Options, TSIT54};

fn wave(n: usize, phase: f64) -> Vec<f64> {
    (0..n).map(|k| 0.6 * (1.7 * k as f64 + phase).sin()).collect()
}

const STEPS: usize = 5;
const BATCH: usize = 4;

fn net() -> Mlp<f64> {
    Mlp::dense(&[3, 5, 3], Activation::Tanh, Activation::Identity, false).unwrap()
}

fn taught() -> Taught<Mlp<f64>, CrossEntropy> {
    Taught::new(net(), CrossEntropy { labels: vec![0, 2, 1, 1] }, BATCH, STEPS).unwrap()
}

/// An equation with a price on its steps, a head and cross entropy; or saved states and squares. The step is fixed, so that differences see the frozen steps.
fn priced() -> Solved<Mlp<f64>, Mlp<f64>, Vec<CrossEntropy>> {
    let field = Mlp::dense(&[2, 3, 2], Activation::Tanh, Activation::Tanh, true).unwrap();
    let losses = [vec![0, 2, 1], vec![1, 1, 0]].map(|labels| CrossEntropy { labels }).to_vec();
    Solved::new(problem(vec![], wave(2 * 3 * 2, 0.2), 3), field, Mlp::linear(2, 3).unwrap(), losses).unwrap()
}
fn saved() -> Solved<Mlp<f64>, Power, SquaredError> {
    let field = Mlp::dense(&[2, 3, 2], Activation::Tanh, Activation::Identity, false).unwrap();
    let loss = SquaredError { targets: wave(6, 0.5), batch: 3 };
    let head = Power { dim: 2, exponent: 1 };
    Solved::new(problem(vec![0.0, 1.6, 4.0], vec![0.7, -0.4], 1), field, head, loss).unwrap()
}
fn problem(times: Vec<f64>, starts: Vec<f64>, batch: usize) -> SolvedProblem {
    // Long steps: of short ones the estimate is a difference of numbers that cancel, and differences see its rounding.
    let options = Options::tolerances(1e-4, 1e-4).with_fixed_step(1.0);
    SolvedProblem {
        method: &TSIT54,
        options,
        span: (0.0, 4.0),
        times,
        starts,
        batch,
        steps: STEPS,
        pieces: 2,
    }
}

/// F = sum_i c_i p_i + p_i^2 / 2.
fn outer(p: &[f64]) -> (f64, Vec<f64>) {
    let c = wave(p.len(), 0.3);
    let value = p.iter().zip(&c).map(|(p, c)| c * p + 0.5 * p * p).sum();
    (value, p.iter().zip(&c).map(|(p, c)| c + p).collect())
}

/// All that is learned, one after another: start, theta, rates, momenta.
fn value<I: Inner>(inner: &mut I, all: &[f64]) -> f64 {
    let (n, m) = inner.sizes();
    let (p, rest) = all.split_at(n);
    let (theta, rest) = rest.split_at(m);
    let (rates, momenta) = rest.split_at(rest.len() / 2);
    let mut it = Unrolled::new(Memory::States);
    outer(it.forward(inner, p, theta, InnerSteps { rates, momenta }).unwrap()).0
}

fn gradient<I: Inner>(inner: &mut I, all: &[f64], memory: Memory) -> Vec<f64> {
    let (n, m) = inner.sizes();
    let (p, rest) = all.split_at(n);
    let (theta, rest) = rest.split_at(m);
    let (rates, momenta) = rest.split_at(rest.len() / 2);
    let mut it = Unrolled::new(memory);
    let bar = outer(it.forward(inner, p, theta, InnerSteps { rates, momenta }).unwrap()).1;
    let d = it.reverse(inner, &bar).unwrap();
    [d.start, d.theta, d.rates, d.momenta].concat()
}

fn all_of<I: Inner>(inner: &I, steps: usize) -> Vec<f64> {
    let (n, m) = inner.sizes();
    let rates = (0..steps).map(|t| 0.3 - 0.03 * t as f64);
    let momenta = (0..steps).map(|t| 0.5 + 0.05 * t as f64);
    wave(n, 1.0).into_iter().chain(wave(m, 2.0)).chain(rates).chain(momenta).collect()
}

#[test]
fn derivatives_are_those_of_differences() {
    // Of equations: a smaller price and rates, with which the training is no explosion.
    fn check<I: Inner>(mut inner: I, equation: bool) {
        let mut all = all_of(&inner, STEPS);
        let (n, m) = inner.sizes();
        if equation {
            all[n..n + m].iter_mut().for_each(|theta| *theta -= 2.0);
            all[n + m..n + m + STEPS].iter_mut().for_each(|rate| *rate *= 0.05);
        }
        let got = gradient(&mut inner, &all, Memory::States);
        let size = got.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let h = 1e-5;
        for k in 0..all.len() {
            let mut at = |d: f64| {
                let mut x = all.clone();
                x[k] += d;
                value(&mut inner, &x)
            };
            let want = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            assert!((got[k] - want).abs() <= 1e-6 * (size + want.abs()), "{k}: {} {want}", got[k]);
        }
    }
    check(taught(), false);
    let loss = SquaredError { targets: wave(3 * BATCH, 0.5), batch: BATCH };
    check(Taught::new(net(), loss, BATCH, STEPS).unwrap(), false);
    check(priced(), true);
    check(saved(), true);
}

/// The gradient is that of loss + e^theta N, and the price matters in it.
#[test]
fn the_gradient_of_a_priced_equation() {
    fn check<I: Inner>(mut inner: I) {
        let (n, m) = inner.sizes();
        let (p, theta) = (wave(n, 1.0), wave(m, 2.0));
        let (mut g, mut free, mut scrap) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let loss = inner.gradient(3, &p, &theta, &mut g);
        assert!(inner.gradient(3, &p, &[-60.0, -60.0], &mut free) < loss);
        let size = g.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        assert!(g.iter().zip(&free).any(|(a, b)| (a - b).abs() > 1e-3 * size));
        for k in 0..n {
            let mut at = |e: f64| {
                let mut q = p.clone();
                q[k] += e;
                inner.gradient(3, &q, &theta, &mut scrap)
            };
            let h = 1e-4;
            let want = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            assert!((g[k] - want).abs() < 1e-7 * size, "{k} {} {want}", g[k]);
        }
    }
    check(priced());
    check(saved());
}

/// The products with second derivatives: u'(dg/dp)'w = w'(dg/dp) u, the right side by differences of gradients.
#[test]
fn second_derivatives_are_transposed() {
    transposed(taught(), 1e-4, 1e-9);
    transposed(priced(), 1e-3, 1e-8);
    transposed(saved(), 3e-4, 1e-7);
}

fn transposed<I: Inner>(mut inner: I, h: f64, tolerance: f64) {
    let (n, m) = inner.sizes();
    let (p, theta, w) = (wave(n, 1.0), wave(m, 2.0), wave(n, 3.0));
    let (mut p_bar, mut theta_bar) = (vec![0.0; n], vec![0.0; m]);
    inner.gradient_transposed(2, (&p, &theta), &w, (&mut p_bar, &mut theta_bar));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (u, s) = (wave(n, 4.0), wave(m, 5.0));
    let mut along = |e: f64| {
        let moved = |a: &[f64], d: &[f64]| a.iter().zip(d).map(|(a, d)| a + e * d).collect::<Vec<_>>();
        let mut g = vec![0.0; n];
        inner.gradient(2, &moved(&p, &u), &moved(&theta, &s), &mut g);
        dot(&g, &w)
    };
    let want = (8.0 * (along(h) - along(-h)) - (along(2.0 * h) - along(-2.0 * h))) / (12.0 * h);
    let got = dot(&p_bar, &u) + dot(&theta_bar, &s);
    assert!((got - want).abs() < tolerance * (1.0 + want.abs()), "{got} {want}");
}

#[test]
fn few_states_give_the_same_bits() {
    let mut inner = taught();
    let all = all_of(&inner, STEPS);
    let want = gradient(&mut inner, &all, Memory::States);
    for memory in
        [Memory::Stages, Memory::Every(2), Memory::Every(3), Memory::Every(9), Memory::Checkpoints(4)]
    {
        assert_eq!(gradient(&mut inner, &all, memory), want, "{memory:?}");
    }
}

/// T = 1, momentum 0: dF/dx = -a (d2L/dp dx)' grad F.
#[test]
fn one_step_has_a_closed_form() {
    let loss = CrossEntropy { labels: vec![0, 2, 1, 1] };
    let mut inner = Taught::new(net(), loss, BATCH, 1).unwrap();
    let (n, m) = inner.sizes();
    let mut all = all_of(&inner, 1);
    (all[n + m], all[n + m + 1]) = (0.3, 0.0);
    let got = gradient(&mut inner, &all, Memory::States);
    let mut it = Unrolled::new(Memory::States);
    let steps = InnerSteps { rates: &[0.3], momenta: &[0.0] };
    let bar = outer(it.forward(&mut inner, &all[..n], &all[n..n + m], steps).unwrap()).1;
    let (mut p_bar, mut theta_bar) = (vec![0.0; n], vec![0.0; m]);
    inner.gradient_transposed(0, (&all[..n], &all[n..n + m]), &bar, (&mut p_bar, &mut theta_bar));
    for k in 0..m {
        assert!((got[n + k] + 0.3 * theta_bar[k]).abs() < 1e-15);
    }
    for k in 0..n {
        assert!((got[k] - (bar[k] - 0.3 * p_bar[k])).abs() < 1e-14);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut it = Unrolled::new(Memory::States);
    let mut inner = taught();
    let n = inner.map().n_params();
    let steps = InnerSteps { rates: &[0.1], momenta: &[] };
    let theta = vec![0.0; inner.sizes().1];
    let text = it.forward(&mut inner, &vec![0.0; n], &theta, steps).unwrap_err().to_string();
    assert!(text.contains("momenta"), "{text}");
    assert!(it.reverse(&mut inner, &vec![0.0; n]).is_err());
    for (labels, batch) in [(vec![], 0), (vec![0, 1], 3), (vec![0, 3], 2)] {
        assert!(Taught::new(net(), CrossEntropy { labels }, batch, 3).is_err());
    }
    // An equation: no whole batches, no pieces, a head of other sizes, no labels; and a solver that gives up is NaN.
    let field = || Mlp::dense(&[2, 3, 2], Activation::Tanh, Activation::Tanh, true).unwrap();
    let head = |n: usize| Mlp::linear(n, 3).unwrap();
    let loss = || CrossEntropy { labels: vec![0, 1, 2] };
    let starts = || wave(6, 0.1);
    assert!(Solved::new(problem(vec![], starts(), 2), field(), head(2), loss()).is_err());
    let none = SolvedProblem { pieces: 0, ..problem(vec![], starts(), 3) };
    assert!(Solved::new(none, field(), head(2), loss()).is_err());
    assert!(Solved::new(problem(vec![], starts(), 3), field(), head(3), loss()).is_err());
    assert!(Solved::new(problem(vec![], starts(), 3), field(), head(2), Vec::<CrossEntropy>::new()).is_err());
    let mut inner = Solved::new(problem(vec![], starts(), 3), field(), head(2), loss()).unwrap();
    let (n, mut g) = (inner.sizes().0, vec![0.0; inner.sizes().0]);
    assert!(inner.gradient(0, &vec![f64::NAN; n], &[0.0; 2], &mut g).is_nan() && g[0].is_nan());
    let short = SquaredError { targets: vec![0.0; 5], batch: 2 };
    assert!(Taught::new(net(), short, 2, 3).is_err());
}

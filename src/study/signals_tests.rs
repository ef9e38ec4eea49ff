use super::*;
use crate::diagnose::sharpness;
use crate::train::data::{Stream, generator};

/// Loss and gradient on all samples, or some.
fn at(problem: &mut Problem, p: &[f64], samples: &[usize]) -> (f64, Vec<f64>) {
    let (mut g, mut rng) = (vec![0.0; p.len()], generator(0, Stream::Pass, 0));
    let (pass, _) = problem.gradient(p, samples, &Progress::default(), &mut rng, &mut g).unwrap();
    (pass.loss, g)
}

fn start(problem: &Problem) -> Vec<f64> {
    problem.params(&mut generator(0, Stream::Init, 0)).values().to_vec()
}

#[test]
fn gradients_by_differences() {
    for (mut problem, samples) in [(Problem::toy(1), vec![0]), (Problem::net(1), vec![0, 1, 2, 20, 33])] {
        let p = start(&problem);
        let (_, g) = at(&mut problem, &p, &samples);
        for i in 0..p.len() {
            let mut moved = |h: f64| {
                let mut q = p.clone();
                q[i] += h;
                at(&mut problem, &q, &samples).0
            };
            let want = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((g[i] - want).abs() < 1e-6 * want.abs().max(1.0), "{i}: {} {want}", g[i]);
        }
    }
}

#[test]
fn losses_of_samples_add_up() {
    let mut problem = Problem::net(2);
    let p = start(&problem);
    let all: Vec<usize> = (0..SAMPLES).collect();
    let (loss, g) = at(&mut problem, &p, &all);
    let (mut sum, mut total) = (0.0, vec![0.0; p.len()]);
    for i in 0..SAMPLES {
        let (one, own) = at(&mut problem, &p, &[i]);
        sum += one / SAMPLES as f64;
        total.iter_mut().zip(own).for_each(|(t, g)| *t += g / SAMPLES as f64);
    }
    assert!((loss - sum).abs() < 1e-11 * loss);
    assert!(g.iter().zip(&total).all(|(a, b)| (a - b).abs() < 1e-10 * loss));
}

/// The Hessian of the toy, column by column, by its formula.
fn hessian(p: &[f64], beta: &[f64]) -> Vec<Vec<f64>> {
    let (n, c, o) = (p.len(), p[0], p[1]);
    let mut h = vec![vec![0.0; n]; n];
    h[0][0] = ALPHA * o * o + p[2..].iter().map(|b| b * b).sum::<f64>();
    h[0][1] = 2.0 * ALPHA * c * o;
    h[1][0] = h[0][1];
    h[1][1] = ALPHA * c * c;
    for i in 2..n {
        h[0][i] = 2.0 * c * p[i] - beta[i - 2];
        h[i][0] = h[0][i];
        h[i][i] = c * c;
    }
    h
}

#[test]
fn sharpness_of_the_toy_is_that_of_its_hessian() {
    let mut problem = Problem::toy(3);
    let p = start(&problem);
    let Problem::Toy { beta, .. } = &problem else { unreachable!() };
    let h = hessian(&p, beta);
    let n = p.len();
    // The formula against differences of gradients.
    for j in 0..n {
        let mut moved = |e: f64| {
            let mut q = p.clone();
            q[j] += e;
            at(&mut problem, &q, &[0]).1
        };
        let (up, down) = (moved(1e-5), moved(-1e-5));
        for i in 0..n {
            let want = (up[i] - down[i]) / 2e-5;
            assert!((h[j][i] - want).abs() < 1e-6 * want.abs().max(1.0), "{i} {j}: {} {want}", h[j][i]);
        }
    }
    let dense = faer::Mat::from_fn(n, n, |i, j| h[i][j]);
    let values = dense.self_adjoint_eigenvalues(faer::Side::Lower).unwrap();
    let want = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut product = |v: &[f64], out: &mut [f64]| {
        (0..n).for_each(|i| out[i] = h[i].iter().zip(v).map(|(h, v)| h * v).sum());
    };
    let found = sharpness(&mut product, n, 30, 0).unwrap();
    assert!((found.value - want).abs() < 1e-9 * want, "{} {want}", found.value);
    // At the start about alpha c^2 = 9, as in the reference 10.
    assert!(want > 9.0 && want < 11.0, "{want}");
}

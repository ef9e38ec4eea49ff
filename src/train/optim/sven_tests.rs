//! Sven on linear residuals r = A p - b, where every step has a closed form.

use rand::RngExt;
use rand::rngs::StdRng;

use super::*;
use crate::linalg::Svd;
use crate::train::data::{Stream, generator};
use crate::train::residual::{ResidualRows, ResidualTask};
use crate::train::{PassStats, Progress, TrainError};

struct Linear {
    m: usize,
    n: usize,
    a: Vec<f64>,
    b: Vec<f64>,
    rows: ResidualRows,
}

impl Linear {
    /// Random, m x n; singular values from 1 down to 1 / condition.
    fn new(m: usize, n: usize, condition: f64) -> Self {
        let mut rng = generator(7, Stream::Data, (m * 100 + n) as u64);
        let raw: Vec<f64> = (0..m * n).map(|_| rng.random::<f64>() - 0.5).collect();
        let b = (0..m).map(|_| rng.random::<f64>() - 0.5).collect();
        let mut svd = Svd::new(m, n);
        assert!(svd.compute(&raw));
        let k = m.min(n);
        let sigma = |l: usize| condition.powf(-(l as f64) / (k - 1).max(1) as f64);
        let entry = |i: usize, j: usize| (0..k).map(|l| sigma(l) * svd.left(l)[i] * svd.right(l)[j]).sum();
        let a = (0..m * n).map(|at| entry(at % m, at / m)).collect();
        Self { m, n, a, b, rows: ResidualRows::default() }
    }
    fn residuals(&self, p: &[f64]) -> Vec<f64> {
        let row = |i: usize| (0..self.n).map(|j| self.a[j * self.m + i] * p[j]).sum::<f64>();
        (0..self.m).map(|i| row(i) - self.b[i]).collect()
    }
    /// p after one step of this rate.
    fn step(&mut self, config: &SvenConfig, rate: f64, p: &[f64]) -> (Vec<f64>, Facts) {
        let mut o = config.build::<f64>(&[]);
        let (mut r, mut d, mut p) = (vec![], vec![f64::NAN; self.n], p.to_vec());
        let mut rng = generator(0, Stream::Pass, 0);
        self.linearize(&p, &[], &Progress::default(), &mut rng, &mut r).unwrap();
        o.by_residuals().unwrap().direction(&r, self, &mut d);
        o.step(rate, &mut p, &d);
        let mut facts = Facts::default();
        o.facts(&mut facts);
        (p, facts)
    }
}

impl ResidualTask<f64> for Linear {
    fn linearize(
        &mut self,
        p: &[f64],
        _: &[usize],
        _: &Progress,
        _: &mut StdRng,
        r: &mut Vec<f64>,
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        *r = self.residuals(p);
        self.rows.reset(self.m, self.n);
        for i in 0..self.m {
            let row = self.rows.row_mut(i);
            (0..self.n).for_each(|j| row[j] = self.a[j * self.m + i]);
        }
        Ok((PassStats::default(), None))
    }
    fn gram(&mut self, g: &mut [f64]) {
        self.rows.gram(g);
    }
    fn rows(&mut self, rows: &mut [f64]) {
        rows.copy_from_slice(self.rows.values());
    }
    fn pull(&mut self, w: &[f64], out: &mut [f64]) {
        self.rows.pull(w, out);
    }
}

fn config(form: Form) -> SvenConfig {
    SvenConfig { form, rtol: 1e-6, k: 1000, power: 1.0 }
}

fn close(a: &[f64], b: &[f64], tol: f64) {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).for_each(|(a, b)| assert!((a - b).abs() < tol, "{a} {b}"));
}

#[test]
fn both_forms_take_the_same_step() {
    for (m, n) in [(5, 20), (20, 5), (12, 12)] {
        let mut task = Linear::new(m, n, 100.0);
        let p: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
        for (k, rtol, power) in
            [(1000, 1e-6, 1.0), (3, 1e-6, 1.0), (1000, 0.1, 1.0), (1000, 1e-6, 0.5), (4, 1e-3, 0.0)]
        {
            let of = |form| SvenConfig { k, rtol, power, form };
            let (gram, facts) = task.step(&of(Form::Gram), 0.7, &p);
            let (svd, same) = task.step(&of(Form::Svd), 0.7, &p);
            close(&gram, &svd, 1e-9);
            assert_eq!(facts.get("kept"), same.get("kept"));
            assert!((facts.get("sigma_max").unwrap() - 1.0).abs() < 1e-12);
        }
    }
}

/// Under-determined: one step at rate 1 meets all conditions, by the least change (the pseudo-inverse by the definition).
#[test]
fn one_step_solves_a_consistent_model_with_least_change() {
    for form in [Form::Gram, Form::Svd] {
        let mut task = Linear::new(6, 15, 10.0);
        let p: Vec<f64> = (0..15).map(|i| (i as f64).cos()).collect();
        let (q, _) = task.step(&config(form), 1.0, &p);
        close(&task.residuals(&q), &[0.0; 6], 1e-10);
        let mut svd = Svd::new(6, 15);
        assert!(svd.compute(&task.a));
        let r = task.residuals(&p);
        for j in 0..15 {
            let change: f64 = (0..6)
                .map(|k| {
                    let ur: f64 = svd.left(k).iter().zip(&r).map(|(u, r)| u * r).sum();
                    svd.right(k)[j] * ur / svd.values()[k]
                })
                .sum();
            assert!((q[j] - p[j] + change).abs() < 1e-10);
        }
    }
}

/// Over-determined: one full step gives the solution of the normal equations.
#[test]
fn one_step_solves_least_squares() {
    for form in [Form::Gram, Form::Svd] {
        let mut task = Linear::new(20, 4, 5.0);
        let (q, facts) = task.step(&config(form), 1.0, &[0.3; 4]);
        let r = task.residuals(&q);
        for j in 0..4 {
            let slope: f64 = (0..20).map(|i| task.a[j * 20 + i] * r[i]).sum();
            assert!(slope.abs() < 1e-9, "{slope}");
        }
        assert_eq!(facts.get("kept"), Some(4.0));
    }
}

/// With one singular value kept the step is along the leading right singular vector, and removes that mode of the residuals.
#[test]
fn one_mode() {
    let mut task = Linear::new(5, 9, 30.0);
    let p = vec![0.2; 9];
    let (q, facts) = task.step(&SvenConfig { k: 1, ..config(Form::Gram) }, 1.0, &p);
    let mut svd = Svd::new(5, 9);
    assert!(svd.compute(&task.a));
    let along: f64 = (0..9).map(|j| (q[j] - p[j]) * svd.right(0)[j]).sum();
    for j in 0..9 {
        assert!((q[j] - p[j] - along * svd.right(0)[j]).abs() < 1e-10);
    }
    let mode = |p: &[f64]| task.residuals(p).iter().zip(svd.left(0)).map(|(r, u)| r * u).sum::<f64>();
    assert!(mode(&q).abs() < 1e-10 && mode(&p).abs() > 1e-3);
    assert_eq!(facts.get("kept"), Some(1.0));
}

/// rtol is a share of the largest singular value, not of the eigenvalue of the Gram matrix.
#[test]
fn rtol_acts_on_singular_values() {
    // Singular values 1, 10^-1/2, .., 10^-2.
    let mut task = Linear::new(5, 8, 100.0);
    for (rtol, kept) in [(0.5, 1.0), (0.2, 2.0), (0.05, 3.0), (0.02, 4.0), (0.005, 5.0)] {
        for form in [Form::Gram, Form::Svd] {
            let (_, facts) = task.step(&SvenConfig { rtol, ..config(form) }, 1.0, &[0.0; 8]);
            assert_eq!(facts.get("kept"), Some(kept), "{rtol} {form:?}");
        }
    }
}

/// Half-inverse: U' r goes to S^1/2 U'r in the change of the residuals.
#[test]
fn half_inverse() {
    let mut task = Linear::new(4, 7, 50.0);
    let p = vec![-0.1; 7];
    let (q, _) = task.step(&SvenConfig { power: 0.5, ..config(Form::Gram) }, 1.0, &p);
    let mut svd = Svd::new(4, 7);
    assert!(svd.compute(&task.a));
    let (before, after) = (task.residuals(&p), task.residuals(&q));
    for k in 0..4 {
        let mode = |r: &[f64]| r.iter().zip(svd.left(k)).map(|(r, u)| r * u).sum::<f64>();
        let want = (1.0 - svd.values()[k].sqrt()) * mode(&before);
        assert!((mode(&after) - want).abs() < 1e-10);
    }
}

#[test]
fn numbers_that_are_not_finite_come_out_as_nan() {
    let mut task = Linear::new(3, 4, 2.0);
    task.a[0] = f64::NAN;
    for form in [Form::Gram, Form::Svd] {
        assert!(task.step(&config(form), 1.0, &[0.0; 4]).0.iter().all(|v| v.is_nan()));
    }
}

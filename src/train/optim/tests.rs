//! The Adam family and what all optimizers have in common.

use super::*;
use crate::diff::{Init, Spec};

/// One array of n numbers.
pub(super) fn vector(n: usize) -> Vec<Entry> {
    Spec::one("p", &[n]).entries().to_vec()
}

/// A matrix of `rows` x `cols`, column by column, and behind it a vector, if it is not empty.
pub(super) fn matrix_and_vector(rows: usize, cols: usize, n: usize) -> Vec<Entry> {
    Spec::one("w", &[cols, rows]).with("b", &[n], Init::Zeros).entries().to_vec()
}

/// The first five of the list, AdamW with more decay.
fn family() -> Vec<OptimizerConfig> {
    vec![
        SgdConfig::default().into(),
        AdamConfig::default().into(),
        AdamWConfig { decay: 0.1, ..Default::default() }.into(),
        AdaMaxConfig::default().into(),
        AdaBeliefConfig::default().into(),
    ]
}

/// Two steps with gradients 0.5 and -0.2, rate 0.1, from p = 1, by the papers' formulas written out.
#[test]
fn two_steps_by_hand() {
    let (g1, g2, a) = (0.5f64, -0.2f64, 0.1f64);
    let mut want = vec![];
    let v = -a * g1;
    want.push(1.0 + v + (0.9 * v - a * g2));
    let (m1, v1) = (0.1 * g1, 0.001 * g1 * g1);
    let (m2, v2) = (0.9 * m1 + 0.1 * g2, 0.999 * v1 + 0.001 * g2 * g2);
    let hat = |m: f64, v: f64, t: i32| {
        (m / (1.0 - 0.9f64.powi(t))) / ((v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8)
    };
    want.push(1.0 - a * hat(m1, v1, 1) - a * hat(m2, v2, 2));
    let after = 1.0 - a * 0.1 - a * hat(m1, v1, 1);
    want.push(after - a * 0.1 * after - a * hat(m2, v2, 2));
    let (u1, u2) = (g1.abs(), (0.999 * g1.abs()).max(g2.abs()));
    want.push(1.0 - a * (m1 / 0.1) / (u1 + 1e-8) - a * (m2 / (1.0 - 0.81)) / (u2 + 1e-8));
    let s1 = 0.001 * (g1 - m1).powi(2) + 1e-16;
    let s2 = 0.999 * s1 + 0.001 * (g2 - m2).powi(2) + 1e-16;
    let bel = |m: f64, s: f64, t: i32| {
        (m / (1.0 - 0.9f64.powi(t))) / ((s / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-16)
    };
    want.push(1.0 - a * bel(m1, s1, 1) - a * bel(m2, s2, 2));
    for (config, want) in family().iter().zip(want) {
        let mut o = config.build::<f64>(&vector(1));
        let mut p = [1.0];
        o.step(a, &mut p, &[g1]);
        o.step(a, &mut p, &[g2]);
        assert!((p[0] - want).abs() < 1e-14, "{config:?}: {} {want}", p[0]);
        assert_eq!(*o.count(), 2);
    }
}

#[test]
fn all_minimize_a_quadratic() {
    for config in family() {
        let mut o = config.build::<f64>(&vector(2));
        let mut p = [3.0, -2.0];
        for n in 0..3000 {
            let g = [p[0] - 1.0, 10.0 * (p[1] - 0.5)];
            o.step(0.05 / (1.0 + 0.01 * n as f64), &mut p, &g);
        }
        let shrunk = matches!(config, OptimizerConfig::AdamW(_));
        let near = if shrunk { 0.2 } else { 1e-3 };
        assert!((p[0] - 1.0).abs() < near && (p[1] - 0.5).abs() < near, "{config:?} {p:?}");
    }
}

/// A step of each kind from saved vectors and count is the step of the original, to the bit; 13 steps go beyond the intervals of roots.
fn restores<T: Scalar>(config: &OptimizerConfig) {
    let entries = matrix_and_vector(3, 2, 2);
    let gradient = |p: &[T]| -> Vec<T> {
        p.iter().enumerate().map(|(i, p)| (*p * T::of(1.3) + T::of(i as f64)).sin()).collect()
    };
    let mut a = config.build::<T>(&entries);
    let mut p: Vec<T> = (0..8).map(|i| T::of(0.3 * i as f64 - 1.0)).collect();
    for _ in 0..5 {
        let g = gradient(&p);
        a.step(0.01, &mut p, &g);
    }
    let mut b = config.build::<T>(&entries);
    let saved: Vec<Vec<T>> = a.state().into_iter().map(|(_, v)| v.clone()).collect();
    for ((_, v), s) in b.state().into_iter().zip(saved) {
        assert_eq!(v.len(), s.len(), "{config:?}");
        *v = s;
    }
    *b.count() = *a.count();
    let mut q = p.clone();
    let before = p.clone();
    for _ in 0..13 {
        let g = gradient(&p);
        a.step(0.01, &mut p, &g);
        let g = gradient(&q);
        b.step(0.01, &mut q, &g);
    }
    assert!(p == q && p != before, "{config:?}");
}

#[test]
fn state_restores_the_trajectory() {
    for config in OptimizerConfig::every() {
        restores::<f32>(&config);
        restores::<f64>(&config);
        let mut o = config.build::<f64>(&matrix_and_vector(3, 2, 2));
        let mut names: Vec<_> = o.state().into_iter().map(|(name, _)| name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{config:?}: names of state are unique");
    }
}

/// Those that take a gradient alone reduce a convex quadratic of a matrix and a vector.
#[test]
fn all_descend() {
    let entries = matrix_and_vector(3, 2, 2);
    let best: Vec<f64> = (0..8).map(|i| (i as f64).cos()).collect();
    for config in OptimizerConfig::every() {
        let mut o = config.build::<f64>(&entries);
        let mut p = vec![0.0; 8];
        let scale = |i: usize| 1.0 + i as f64 / 4.0;
        let value = |p: &[f64]| -> f64 { (0..8).map(|i| scale(i) * (p[i] - best[i]).powi(2)).sum() };
        let before = value(&p);
        for t in 0..600 {
            let g: Vec<f64> = (0..8).map(|i| 2.0 * scale(i) * (p[i] - best[i])).collect();
            o.step(0.02 / (1.0 + 0.02 * t as f64), &mut p, &g);
        }
        assert!(value(&p) < 0.05 * before, "{config:?}: {before} {}", value(&p));
    }
}

#[test]
fn constants_out_of_range_are_named() {
    for (config, want) in [
        (
            OptimizerConfig::from(LionConfig { beta2: 1.0, ..Default::default() }),
            "beta2 is 1, it must be in [0, 1)",
        ),
        (AmConfig { lambda: -1.0, ..Default::default() }.into(), "lambda is -1, it must be at least zero"),
        (ShampooConfig { every: 0, ..Default::default() }.into(), "every is 0, it must be at least one"),
        (DeepMomentumConfig { layers: 3, ..Default::default() }.into(), "layers is 3, it must be 1 or 2"),
        (SvenConfig { rtol: 1e-8, ..Default::default() }.into(), "set form = \"svd\""),
        (SvenConfig { power: 2.0, ..Default::default() }.into(), "power is 2, it must be in [0, 1]"),
        (
            MuonConfig { epsilon: f64::NAN, ..Default::default() }.into(),
            "epsilon is NaN, it must be positive",
        ),
    ] {
        let text = config.problem().unwrap();
        assert!(text.contains(want), "{text}");
    }
    assert!(OptimizerConfig::every().iter().all(|c| c.problem().is_none()));
    let mut kinds: Vec<_> = OptimizerConfig::every().iter().map(|c| c.kind()).collect();
    kinds.dedup();
    assert_eq!(kinds.len(), OptimizerConfig::every().len());
}

#[test]
fn clipping() {
    let mut g = [3.0, 4.0];
    assert_eq!(clip_norm(&mut g, Some(10.0)), 5.0);
    assert_eq!(g, [3.0, 4.0]);
    assert_eq!(clip_norm(&mut g, Some(1.0)), 5.0);
    assert!((g[0] - 0.6f64).abs() < 1e-15 && (g[1] - 0.8).abs() < 1e-15);
    assert!(clip_norm(&mut [f64::NAN], Some(1.0)).is_nan());
}

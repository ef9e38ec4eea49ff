//! The Brownian tree: a function of (seed, trajectory, t), with the law it should have.

use costate::sde::{Brownian, BrownianPath};

const MOTIONS: usize = 20_000;

/// (w, H) of every motion between consecutive times.
fn increments(b: &Brownian, times: &[f64]) -> Vec<(Vec<f64>, Vec<f64>)> {
    let mut path = BrownianPath::new(b, (0.0, 1.0), 1, MOTIONS).unwrap();
    path.advance(times[0]).unwrap();
    times[1..]
        .iter()
        .map(|&t| {
            let (w, area) = path.advance(t).unwrap();
            (w.to_vec(), area.to_vec())
        })
        .collect()
}

fn mean(v: impl Iterator<Item = f64>) -> f64 {
    v.sum::<f64>() / MOTIONS as f64
}

/// Standardized to variance one, every pair of variables must have covariance 0 or 1 within 5 standard errors (of a product of two
/// independent standard normals, or of a square), every mean 0, every fourth moment 3: each fails by chance with probability 6e-7. The
/// number of statistics is at most 2000: false alarm under 1.2e-3 for all of this file, once, as seeds are fixed.
fn check_standard_normal(what: &str, columns: &[Vec<f64>]) {
    let root = (MOTIONS as f64).sqrt();
    for (i, a) in columns.iter().enumerate() {
        let m = mean(a.iter().copied());
        assert!(m.abs() < 5.0 / root, "{what}: mean of {i} is {m}");
        let f = mean(a.iter().map(|x| x.powi(4)));
        assert!((f - 3.0).abs() < 5.0 * 96.0f64.sqrt() / root, "{what}: fourth moment of {i} is {f}");
        for (j, b) in columns.iter().enumerate().skip(i) {
            let c = mean(a.iter().zip(b).map(|(x, y)| x * y));
            let (want, sd) = if i == j { (1.0, 2.0f64.sqrt()) } else { (0.0, 1.0) };
            assert!((c - want).abs() < 5.0 * sd / root, "{what}: covariance of {i} and {j} is {c}");
        }
    }
}

/// w / sqrt(h) and H / sqrt(h / 12) of consecutive intervals are independent standard normals.
fn standardized(b: &Brownian, times: &[f64]) -> Vec<Vec<f64>> {
    let mut out = vec![];
    for ((w, area), t) in increments(b, times).into_iter().zip(times.windows(2)) {
        let h = t[1] - t[0];
        out.push(w.iter().map(|w| w / h.sqrt()).collect());
        out.push(area.iter().map(|a| a / (h / 12.0).sqrt()).collect());
    }
    out
}

#[test]
fn increments_and_areas_of_neighbouring_intervals_are_independent_normals() {
    // Dyadic, uneven, and hardly resolved intervals; one cell and several; intervals within a cell, across cells, and of many cells.
    let times = [0.0, 0.125, 0.25, 0.3, 0.31, 0.310001, 0.5, 0.71, 0.9, 1.0];
    for cells in [1, 3, 10] {
        check_standard_normal(
            &format!("{cells} cells"),
            &standardized(&Brownian::new(5).with_cells(cells), &times),
        );
    }
    check_standard_normal("one interval", &standardized(&Brownian::new(6).with_cells(7), &[0.0, 1.0]));
}

#[test]
fn components_and_trajectories_are_independent() {
    let mut path = BrownianPath::new(&Brownian::new(9), (0.0, 1.0), 4, MOTIONS).unwrap();
    let (w, area) = path.advance(0.37).unwrap();
    let column = |v: &[f64], i: usize, s: f64| v.iter().skip(i).step_by(4).map(|x| x / s).collect::<Vec<_>>();
    let mut all: Vec<_> = (0..4).map(|i| column(w, i, 0.37f64.sqrt())).collect();
    all.extend((0..4).map(|i| column(area, i, (0.37f64 / 12.0).sqrt())));
    // Neighbouring trajectories.
    let shifted: Vec<_> = all[0].iter().cycle().skip(1).take(MOTIONS).copied().collect();
    all.push(shifted);
    check_standard_normal("components", &all);
}

#[test]
fn area_is_the_integral_of_the_path() {
    // I10 = h (w/2 + H) of a whole interval against the trapezoidal sum of W over 4096 pieces: the difference has variance n (h/n)^3 / 12.
    let n = 4096;
    let b = Brownian::new(17);
    let whole = increments(&b, &[0.0, 1.0]);
    let times: Vec<f64> = (0..=n).map(|i| i as f64 / n as f64).collect();
    let mut path = BrownianPath::new(&b, (0.0, 1.0), 1, MOTIONS).unwrap();
    let (mut w, mut integral) = (vec![0.0; MOTIONS], vec![0.0; MOTIONS]);
    for &t in &times[1..] {
        let dw = path.advance(t).unwrap().0;
        for i in 0..MOTIONS {
            integral[i] += (w[i] + 0.5 * dw[i]) / n as f64;
            w[i] += dw[i];
        }
    }
    let sd = (1.0 / 12.0f64).sqrt() / n as f64;
    let (w1, area) = &whole[0];
    let mut squares = 0.0;
    for i in 0..MOTIONS {
        assert!((w[i] - w1[i]).abs() < 1e-12);
        let d = (integral[i] - (0.5 * w1[i] + area[i])) / sd;
        // 20 000 standard normals: beyond 6.5 with probability 1.6e-6.
        assert!(d.abs() < 6.5, "{i}: {d} standard deviations");
        squares += d * d;
    }
    // Chi-squared with 20 000 degrees of freedom, five standard deviations.
    assert!((squares / MOTIONS as f64 - 1.0).abs() < 5.0 * (2.0 / MOTIONS as f64).sqrt());
}

#[test]
fn the_path_does_not_depend_on_where_it_was_looked_at() {
    let b = Brownian::new(3).with_cells(3);
    let fine: Vec<f64> = (0..=97).map(|i| i as f64 / 97.0).collect();
    let sum = |times: &[f64], to: f64| {
        let mut path = BrownianPath::new(&b, (0.0, 1.0), 2, 5).unwrap();
        let mut w = vec![0.0; 10];
        for &t in times.iter().filter(|&&t| t <= to) {
            path.advance(t).unwrap().0.iter().zip(&mut w).for_each(|(d, w)| *w += d);
        }
        w
    };
    for to in [fine[1], fine[50], fine[96], 1.0] {
        let (a, c) = (sum(&fine, to), sum(&[to], to));
        assert!(a.iter().zip(&c).all(|(a, c)| (a - c).abs() < 1e-13), "{a:?} {c:?}");
    }
}

#[test]
fn trajectories_do_not_depend_on_the_batch() {
    let of = |first: u32, batch: usize| {
        let b = Brownian::new(3).trajectories_from(first);
        let mut path = BrownianPath::new(&b, (0.0, 1.0), 2, batch).unwrap();
        let mut all = vec![];
        for t in [0.1, 0.77, 1.0] {
            let (w, h) = path.advance(t).unwrap();
            all.push((w.to_vec(), h.to_vec()));
        }
        all
    };
    let all = of(0, 200);
    for first in [0, 7, 150] {
        for ((w, h), (w1, h1)) in all.iter().zip(of(first as u32, 3)) {
            assert_eq!(&w[2 * first..][..6], &w1[..]);
            assert_eq!(&h[2 * first..][..6], &h1[..]);
        }
    }
    assert_ne!(of(0, 1), {
        let mut path = BrownianPath::new(&Brownian::new(4), (0.0, 1.0), 2, 1).unwrap();
        let mut all = vec![];
        for t in [0.1, 0.77, 1.0] {
            let (w, h) = path.advance(t).unwrap();
            all.push((w.to_vec(), h.to_vec()));
        }
        all
    });
}

#[test]
fn bad_input_is_an_error() {
    let make = |b: Brownian, span| BrownianPath::new(&b, span, 1, 2).unwrap_err().to_string();
    let b = Brownian::new(1);
    assert_eq!(make(Brownian { depth: 31, ..b }, (0.0, 1.0)), "option depth is 31: it must be at most 30");
    assert_eq!(make(b.with_cells(0), (0.0, 1.0)), "option cells is 0: it must be at least one");
    assert!(make(b, (1.0, 0.0)).contains("of positive, finite length"));
    assert!(make(b, (0.0, f64::NAN)).contains("of positive, finite length"));
    assert!(make(b.over(0.0, 0.5), (0.0, 1.0)).contains("contains the span"));
    assert!(make(b.trajectories_from(u32::MAX), (0.0, 1.0)).contains("below 2^32"));
}

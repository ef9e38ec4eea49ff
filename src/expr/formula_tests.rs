//! Recorded formulas against the graph, differences, transposes and themselves.

use super::*;
use crate::expr::derive::tests::interpret;
use crate::expr::record::{Var, record, record_map};

struct Case {
    name: &'static str,
    f: Recorded,
    t: f64,
    x: Vec<f64>,
    p: Vec<f64>,
}

/// Numbers in [-1, 1], always the same.
fn numbers(n: usize, seed: f64) -> Vec<f64> {
    (0..n).map(|k| (seed + 1.7 * k as f64).sin()).collect()
}

fn network() -> Case {
    let f = record(4, 76, |t, y, p, dy| {
        let neuron = |j: usize| (0..4).fold(p[32 + j], |sum, k| sum + p[8 * k + j] * y[k]).tanh();
        let hidden: Vec<Var> = (0..8).map(neuron).collect();
        for i in 0..4 {
            let sum = (0..8).fold(p[72 + i], |sum, j| sum + p[40 + 4 * j + i] * hidden[j]);
            dy[i] = 10f64.powi(i as i32) * (sum - y[i] + 0.1 * ((1.0 + i as f64) * t).sin());
        }
    });
    Case { name: "network", f: f.unwrap(), t: 0.3, x: numbers(4, 0.1), p: numbers(76, 0.2) }
}

/// A chain of cells with boundary values, one parameter for all.
fn diffusion(n: usize) -> Case {
    let f = record(n, 2, |t, y, p, dy| {
        for i in 0..n {
            let left = if i == 0 { t.sin() } else { y[i - 1] };
            let right = if i + 1 == n { Var::from(0.5) } else { y[i + 1] };
            dy[i] = p[0] * (left - 2.0 * y[i] + right) + p[1] * y[i] * (1.0 - y[i] * y[i]);
        }
    });
    Case { name: "diffusion", f: f.unwrap(), t: 0.3, x: numbers(n, 0.1), p: vec![1.3, -0.4] }
}

/// Everything that is irregular: other numbers of outputs, outputs that are inputs, constants, equal or unused ones, branches, sums of
/// many terms by one parameter, products of products.
fn irregular() -> Case {
    let sizes = Sizes { inputs: 3, outputs: 9, params: 3 };
    let f = record_map(sizes, |t, x, p, y| {
        y[0] = x[1];
        y[1] = Var::from(2.5);
        y[2] = p[0];
        y[3] = t;
        y[4] = (x[0] * p[0]).exp() / (1.5 + x[1].cos()) - x[0].atan2(x[1] + 2.0) * t;
        y[5] = y[4];
        y[6] = (x[0] - 5.0).select(x[0].ln(), (x[1] * x[0]).max(p[0]) + (2.0 + x[1]).powf(p[0] + 2.0));
        y[7] = (0..40).map(|k| (0.1 * f64::from(k) * p[2] * x[2] + t).sin()).sum::<Var>();
        let product = (0..6).map(|k| x[k % 3] - p[k % 2] - 2.0).product::<Var>();
        y[8] = product - (x[2] - 3.0) * (x[0] + t) - x[1].powi(3) / (x[2] * x[2] + 1.0).sqrt();
    });
    Case { name: "irregular", f: f.unwrap(), t: 0.3, x: vec![0.4, -0.3, 0.7], p: vec![0.6, -0.2, 0.9] }
}

/// Two networks beside each other, all of whose outputs depend on all of their inputs: the Jacobian is computed by products.
fn wide_networks() -> Case {
    let layer = |x: &[Var], p: &[Var], outputs: usize| -> Vec<Var> {
        let n = x.len();
        let neuron = |j: usize| (0..n).fold(p[j], |sum, k| sum + p[outputs + n * j + k] * x[k]).tanh();
        (0..outputs).map(neuron).collect()
    };
    let f = record_map(Sizes { inputs: 30, outputs: 80, params: 4560 }, |t, y, p, dy| {
        for k in 0..2 {
            let p = &p[2280 * k..];
            let hidden = layer(&y[15 * k..15 * k + 15], p, 40);
            dy[40 * k..40 * k + 40].copy_from_slice(&layer(&hidden, &p[640..], 40));
        }
        dy[3] += t * t;
    });
    let p = numbers(4560, 0.2).iter().map(|p| 0.3 * p).collect();
    Case { name: "wide networks", f: f.unwrap(), t: 0.3, x: numbers(30, 0.1), p }
}

fn cases() -> Vec<Case> {
    vec![network(), diffusion(1), diffusion(2), diffusion(23), diffusion(300), irregular(), wide_networks()]
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn near(a: f64, b: f64, tolerance: f64, what: &str) {
    assert!((a - b).abs() <= tolerance * (1.0 + a.abs().max(b.abs())), "{what}: {a} {b}");
}

impl Case {
    fn at(&self) -> Point<'_> {
        Point { t: self.t, x: &self.x, p: &self.p }
    }
    fn value(&self, t: f64, x: &[f64], p: &[f64]) -> Vec<f64> {
        let mut y = vec![f64::NAN; self.f.sizes().outputs];
        self.f.clone().value(Point { t, x, p }, &mut y);
        y
    }
    /// x_bar, then p_bar.
    fn vjp(&self, t: f64, x: &[f64], p: &[f64], w: &[f64]) -> Vec<f64> {
        let mut x_bar = vec![0.0; x.len()];
        let mut p_bar = vec![0.0; p.len()];
        self.f.clone().vjp(Point { t, x, p }, w, &mut x_bar, &mut p_bar);
        [x_bar, p_bar].concat()
    }
    fn directions(&self) -> [Vec<f64>; 4] {
        let s = self.f.sizes();
        [vec![0.7], numbers(s.inputs, 2.1), numbers(s.params, 3.3), numbers(s.outputs, 4.5)]
    }
}

/// (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h.
fn slope(f: impl Fn(f64) -> Vec<f64>) -> Vec<f64> {
    let h = 1e-3;
    let v = [h, -h, 2.0 * h, -2.0 * h].map(f);
    (0..v[0].len()).map(|k| (8.0 * (v[0][k] - v[1][k]) - (v[2][k] - v[3][k])) / (12.0 * h)).collect()
}

fn along(a: &[f64], s: f64, d: &[f64]) -> Vec<f64> {
    if d.is_empty() { a.to_vec() } else { a.iter().zip(d).map(|(a, d)| a + s * d).collect() }
}

#[test]
fn values_are_the_graph_s() {
    for c in cases() {
        let vars: Vec<f64> = c.x.iter().copied().chain([c.t]).collect();
        let all = interpret(&c.f.graph, &vars, &c.p);
        let y = c.value(c.t, &c.x, &c.p);
        for (k, &id) in c.f.outputs.iter().enumerate() {
            assert_eq!(y[k].to_bits(), all[id as usize].to_bits(), "{} output {k}", c.name);
        }
    }
}

/// Each part of the directions alone and all together against differences, then the transpose.
#[test]
fn products() {
    for c in cases() {
        let [t, x, p, w] = c.directions();
        let m = w.len();
        let mut last = vec![0.0; m];
        for (td, xd, pd) in [
            (&t[..], &[][..], &[][..]),
            (&[][..], &x[..], &[][..]),
            (&[][..], &[][..], &p[..]),
            (&[], &x, &p),
            (&t, &x, &[]),
            (&t, &x, &p),
            (&[], &x, &p),
        ] {
            let d = Directions { count: 1, t: td, x: xd, p: pd, w: &[] };
            let mut y_dot = vec![f64::NAN; m];
            c.f.clone().jvp(c.at(), &d, &mut y_dot);
            let moved = |s: f64| {
                let dt = td.first().map_or(0.0, |d| s * d);
                c.value(c.t + dt, &along(&c.x, s, xd), &along(&c.p, s, pd))
            };
            let want = slope(moved);
            (0..m).for_each(|k| near(y_dot[k], want[k], 1e-8, &format!("{} jvp {k}", c.name)));
            last = y_dot;
        }
        let bars = c.vjp(c.t, &c.x, &c.p, &w);
        near(dot(&last, &w), dot(&bars, &[x, p].concat()), 1e-12, &format!("{} transpose", c.name));
    }
}

#[test]
fn jacobians() {
    for c in cases() {
        let s = c.f.sizes();
        let mut f = c.f.clone();
        let pattern = f.jacobian_pattern().clone();
        let (mut values, mut dt) = (vec![f64::NAN; pattern.items.len()], vec![f64::NAN; s.outputs]);
        f.jacobian(c.at(), &mut values, &mut dt);
        // Columns by products, all directions at once.
        let n = s.inputs;
        let unit: Vec<f64> = (0..n * n).map(|k| if k % n == k / n { 1.0 } else { 0.0 }).collect();
        let mut columns = vec![0.0; n * s.outputs];
        f.jvp(c.at(), &Directions { count: n, x: &unit, ..Directions::default() }, &mut columns);
        for row in 0..s.outputs {
            let entries = pattern.start[row]..pattern.start[row + 1];
            assert!(pattern.get(row).is_sorted_by(|a, b| a < b));
            for column in 0..n {
                let at = entries.clone().find(|&k| pattern.items[k] as usize == column);
                let value = at.map_or(0.0, |k| values[k]);
                near(value, columns[column * s.outputs + row], 1e-13, &format!("{} {row} {column}", c.name));
            }
        }
        let mut by_t = vec![0.0; s.outputs];
        f.jvp(c.at(), &Directions { count: 1, t: &[1.0], ..Directions::default() }, &mut by_t);
        (0..s.outputs).for_each(|k| near(dt[k], by_t[k], 1e-14, &format!("{} dt {k}", c.name)));
    }
    let mut f = wide_networks().f;
    f.jacobian_pattern();
    let Some(Jacobian { entries: Entries::Products(products), .. }) = &f.jacobian else {
        panic!("by a program")
    };
    assert_eq!(products.groups.len(), 15);
    let mut f = diffusion(23).f;
    let band: Vec<u32> = (0..23u32).flat_map(|i| i.saturating_sub(1)..(i + 2).min(23)).collect();
    assert_eq!(f.jacobian_pattern().items, band);
    let mut f = irregular().f;
    let rows: Vec<&[u32]> = vec![&[1], &[], &[], &[], &[0, 1], &[0, 1], &[0, 1], &[2], &[0, 1, 2]];
    assert_eq!((0..9).map(|k| f.jacobian_pattern().get(k).to_vec()).collect::<Vec<_>>(), rows);
}

/// The tangent of the vector-Jacobian product along every set of parts against differences of it; symmetric in x and p.
#[test]
fn second_order_products() {
    for c in cases() {
        let [t, x, p, wd] = c.directions();
        let w = numbers(wd.len(), 0.8);
        let tangent = |d: &Directions<'_>| {
            let (mut x_bar, mut p_bar) = (vec![0.0; x.len()], vec![0.0; p.len()]);
            c.f.clone().vjp_tangent(c.at(), &w, d, &mut x_bar, &mut p_bar);
            [x_bar, p_bar].concat()
        };
        for mask in 1..16 {
            let part = |k: usize, v: &[f64]| if mask & (1 << k) != 0 { v.to_vec() } else { Vec::new() };
            let [t, x, p, wd] = [part(0, &t), part(1, &x), part(2, &p), part(3, &wd)];
            let got = tangent(&Directions { count: 1, t: &t, x: &x, p: &p, w: &wd });
            let want = slope(|s| {
                let dt = t.first().map_or(0.0, |d| s * d);
                c.vjp(c.t + dt, &along(&c.x, s, &x), &along(&c.p, s, &p), &along(&w, s, &wd))
            });
            for k in 0..got.len() {
                near(got[k], want[k], 1e-7, &format!("{} tangent {mask} {k}", c.name));
            }
        }
        let (x2, p2) = (numbers(x.len(), 5.9), numbers(p.len(), 6.4));
        let first = tangent(&Directions { count: 1, x: &x, p: &p, ..Directions::default() });
        let second = tangent(&Directions { count: 1, x: &x2, p: &p2, ..Directions::default() });
        let (a, b) = (dot(&first, &[x2, p2].concat()), dot(&second, &[x.clone(), p.clone()].concat()));
        near(a, b, 1e-11, &format!("{} symmetry", c.name));
    }
}

/// Many directions at once, one at a time, and again: the same bits. Bars are added to.
#[test]
fn same_bits() {
    for mut c in cases() {
        let s = c.f.sizes();
        let (t, x) = (numbers(11, 0.3), numbers(11 * s.inputs, 0.9));
        let (p, wd) = (numbers(11 * s.params, 1.4), numbers(11 * s.outputs, 2.2));
        let w = numbers(s.outputs, 0.8);
        let mut f = c.f.clone();
        let run = |f: &mut Recorded, first: usize, count: usize, bars: &mut (Vec<f64>, Vec<f64>)| {
            let part = |v: &[f64], len: usize| v[first * len..(first + count) * len].to_vec();
            let (t, x, p) = (part(&t, 1), part(&x, s.inputs), part(&p, s.params));
            let wd = part(&wd, s.outputs);
            let mut d = Directions { count, t: &t, x: &x, p: &p, w: &wd };
            f.vjp_tangent(c.at(), &w, &d, &mut bars.0, &mut bars.1);
            d.w = &[];
            let mut y_dot = vec![0.0; count * s.outputs];
            f.jvp(c.at(), &d, &mut y_dot);
            y_dot
        };
        let start = || (numbers(s.inputs, 7.0), numbers(s.params, 8.0));
        let mut at_once = start();
        let all = run(&mut f, 0, 11, &mut at_once);
        let mut again = start();
        assert_eq!(run(&mut f, 0, 11, &mut again), all);
        let mut one_by_one = start();
        let ones: Vec<f64> = (0..11).flat_map(|i| run(&mut f, i, 1, &mut one_by_one)).collect();
        assert_eq!((&at_once, &all), (&again, &ones), "{}", c.name);
        assert_eq!(at_once, one_by_one, "{}", c.name);
        // An empty slice is left out.
        let mut alone = start();
        c.f.vjp(Point { t: c.t, x: &c.x, p: &c.p }, &w, &mut alone.0, &mut []);
        let mut both = start();
        c.f.vjp(Point { t: c.t, x: &c.x, p: &c.p }, &w, &mut both.0, &mut both.1);
        assert_eq!(alone.0, both.0);
    }
}

/// Time and memory grow with the graph: ten times the cells take as many instructions.
#[test]
fn equal_cells_are_lanes() {
    let count = |n: usize| {
        let mut f = diffusion(n).f;
        let at = (numbers(n, 0.1), [0.5, 0.4]);
        let at = Point { t: 0.0, x: &at.0, p: &at.1 };
        let (mut y, mut p_bar) = (vec![0.0; n], [0.0; 2]);
        f.value(at, &mut y);
        f.vjp(at, &numbers(n, 0.7), &mut y, &mut p_bar);
        f.jacobian_pattern();
        let Some(Jacobian { entries: Entries::Program(jacobian), .. }) = &f.jacobian else {
            panic!("by products")
        };
        let programs = [f.value.as_ref(), f.vjp.as_ref(), Some(&**jacobian)];
        let programs: Vec<&LaneProgram> = programs.into_iter().flatten().collect();
        let instructions: usize = programs.iter().map(|p| p.early.len()).sum();
        (instructions, f.graph.nodes.len())
    };
    let (small, large) = (count(200), count(2000));
    assert!(large.0 < 100 && large.0 <= small.0 + 60, "{small:?} {large:?}");
    assert!(large.1 < 10 * small.1, "{small:?} {large:?}");
}

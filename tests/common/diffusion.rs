//! Large stiff problems on a line.
#![allow(dead_code)]

use costate::diff::{At, BarsMut, Dots, Kept, Map, Offers, Size, Structure};
use costate::expr::{RecordedMap, Var, record};

/// The Brusselator with diffusion in one dimension, 2 N = n unknowns: u_t = A + u^2 v - (B + 1) u + a u_xx, v_t = B u - u^2 v + a v_xx, u = 1 and v = 3 at
/// both ends; p = (A, B, a). Unknowns interleaved, or all u before all v (Hairer and Wanner, Solving ODEs II, IV.10).
pub struct Brusselator {
    pub n: usize,
    pub interleaved: bool,
}

pub const P: [f64; 3] = [1.0, 3.0, 0.02];

impl Brusselator {
    pub fn new(n: usize) -> Self {
        Self { n, interleaved: true }
    }
    /// Places of u_i and v_i.
    pub fn at(&self, i: usize) -> (usize, usize) {
        if self.interleaved { (2 * i, 2 * i + 1) } else { (i, self.n / 2 + i) }
    }
    pub fn field(&self) -> RecordedMap {
        let cells = self.n / 2;
        let h2 = (cells as f64 + 1.0).powi(2);
        let f = |_: Var, y: &[Var], p: &[Var], dy: &mut [Var]| {
            let a = p[2] * h2;
            for i in 0..cells {
                let (u, v) = self.at(i);
                let left = if i > 0 { self.at(i - 1) } else { (0, 0) };
                let right = if i + 1 < cells { self.at(i + 1) } else { (0, 0) };
                let value = |inside: bool, k: usize, end: f64| if inside { y[k] } else { Var::from(end) };
                let second = |k: usize, l: usize, r: usize, end: f64| {
                    value(i > 0, l, end) - 2.0 * y[k] + value(i + 1 < cells, r, end)
                };
                let reaction = y[u] * y[u] * y[v];
                dy[u] = p[0] + reaction - (p[1] + 1.0) * y[u] + a * second(u, left.0, right.0, 1.0);
                dy[v] = p[1] * y[u] - reaction + a * second(v, left.1, right.1, 3.0);
            }
        };
        record(self.n, 3, f).unwrap().into_map()
    }
    pub fn start(&self) -> Vec<f64> {
        let cells = self.n / 2;
        let mut y = vec![3.0; self.n];
        for i in 0..cells {
            let x = (i + 1) as f64 / (cells + 1) as f64;
            y[self.at(i).0] = 1.0 + (2.0 * std::f64::consts::PI * x).sin();
        }
        y
    }
    /// u and v at the point i = N / 2 of x_i = i / (N + 1).
    pub fn middle(&self, y: &[f64]) -> [f64; 2] {
        let (u, v) = self.at(self.n / 4 - 1);
        [y[u], y[v]]
    }
}

/// The same field with its Jacobian full.
pub struct Full(pub RecordedMap);

impl Map<f64> for Full {
    fn size(&self) -> Size {
        self.0.size()
    }
    fn offers(&self) -> Offers {
        self.0.offers()
    }
    fn value(&mut self, at: At<'_, f64>, y: &mut [f64]) {
        self.0.value(at, y);
    }
    fn vjp(&mut self, at: At<'_, f64>, of: Kept<'_, f64>, w: &[f64], bars: BarsMut<'_, f64>) {
        self.0.vjp(at, of, w, bars);
    }
    fn jvp(&mut self, at: At<'_, f64>, of: Kept<'_, f64>, d: Dots<'_, f64>, y: &mut [f64], k: &mut [f64]) {
        self.0.jvp(at, of, d, y, k);
    }
    fn vjp_tangent(
        &mut self,
        at: At<'_, f64>,
        of: Kept<'_, f64>,
        dots: Dots<'_, f64>,
        dot: Kept<'_, f64>,
        w: &[f64],
        w_dot: &[f64],
        bars: BarsMut<'_, f64>,
    ) {
        self.0.vjp_tangent(at, of, dots, dot, w, w_dot, bars);
    }
    fn jacobian(&mut self, at: At<'_, f64>, jac: &mut [f64]) {
        let (n, structure) = (self.size().inputs, self.0.structure().clone());
        let len = structure.len(n, n);
        let mut entries = vec![0.0; len * at.x.len() / n];
        self.0.jacobian(at, &mut entries);
        jac.fill(0.0);
        for (block, entries) in jac.chunks_exact_mut(n * n).zip(entries.chunks_exact(len)) {
            structure.entries(n, n, |i, j, k| block[j * n + i] = entries[k]);
        }
    }
    fn time_derivative(&mut self, at: At<'_, f64>, dt: &mut [f64]) {
        self.0.time_derivative(at, dt);
    }
}

/// y_i' = (n + 1)^2 (y_{i-1} - 2 y_i + y_{i+1}), zero at both ends, with a band as its Jacobian.
pub fn heat(n: usize) -> impl Map<f64> {
    let c = (n as f64 + 1.0).powi(2);
    let f = costate::diff::FnMap::new(n, 0, move |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
        for i in 0..n {
            let left = if i > 0 { y[i - 1] } else { 0.0 };
            let right = if i + 1 < n { y[i + 1] } else { 0.0 };
            dy[i] = c * (left - 2.0 * y[i] + right);
        }
    });
    let band = Structure::Banded { lower: 1, upper: 1 };
    f.with_structured_jacobian(band, move |_: f64, _: &[f64], _: &[f64], jac: &mut [f64]| {
        jac.chunks_exact_mut(3).for_each(|column| column.copy_from_slice(&[c, -2.0 * c, c]));
    })
    .autonomous()
}

/// Allen and Cahn's equation on a torus of m x m cells of side 1/m: u' = 0.01 Lap u + 5 (u - u^3), five points.
pub struct AllenCahn {
    pub m: usize,
}

impl AllenCahn {
    pub fn field(&self) -> RecordedMap {
        let m = self.m;
        let c = 0.01 * (m * m) as f64;
        let f = |_: Var, y: &[Var], _: &[Var], dy: &mut [Var]| {
            let at = |i: usize, j: usize| y[(i % m) * m + j % m];
            for k in 0..m * m {
                let (i, j, u) = (k / m, k % m, y[k]);
                let beside = at(i + 1, j) + at(i + m - 1, j) + at(i, j + 1) + at(i, j + m - 1);
                dy[k] = c * (beside - 4.0 * u) + 5.0 * (u - u * u * u);
            }
        };
        record(m * m, 0, f).unwrap().into_map()
    }
    pub fn start(&self) -> Vec<f64> {
        use std::f64::consts::PI;
        let m = self.m;
        let start = |k: usize| {
            let (x, y) = ((k / m) as f64 / m as f64, (k % m) as f64 / m as f64);
            let waves = 0.4 * (2.0 * PI * x).sin() * (4.0 * PI * y).cos();
            waves + 0.2 * (2.0 * PI * (3.0 * x + y)).cos() + 0.1
        };
        (0..m * m).map(start).collect()
    }
}

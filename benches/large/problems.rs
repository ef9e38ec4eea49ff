//! Large stiff problems written by hand, the same for everybody: right-hand side, Jacobian in its structure, product with it.

use std::f64::consts::PI;

use costate::diff::{FnMap, Map, Structure};

/// The Brusselator with diffusion on a line, u and v interleaved, 2 N = n unknowns.
#[derive(Clone, Copy)]
pub struct Brusselator {
    pub n: usize,
}

impl Brusselator {
    /// (N + 1)^2 / 50.
    fn a(&self) -> f64 {
        (self.n as f64 / 2.0 + 1.0).powi(2) / 50.0
    }
    pub fn value(&self, y: &[f64], dy: &mut [f64]) {
        let (n, a) = (self.n, self.a());
        for i in (0..n).step_by(2) {
            let (u, v) = (y[i], y[i + 1]);
            let (ul, vl) = if i > 0 { (y[i - 2], y[i - 1]) } else { (1.0, 3.0) };
            let (ur, vr) = if i + 2 < n { (y[i + 2], y[i + 3]) } else { (1.0, 3.0) };
            let r = u * u * v;
            dy[i] = 1.0 + r - 4.0 * u + a * (ul - 2.0 * u + ur);
            dy[i + 1] = 3.0 * u - r + a * (vl - 2.0 * v + vr);
        }
    }
    pub fn product(&self, y: &[f64], w: &[f64], dw: &mut [f64]) {
        let (n, a) = (self.n, self.a());
        for i in (0..n).step_by(2) {
            let (u, v) = (y[i], y[i + 1]);
            let (ul, vl) = if i > 0 { (w[i - 2], w[i - 1]) } else { (0.0, 0.0) };
            let (ur, vr) = if i + 2 < n { (w[i + 2], w[i + 3]) } else { (0.0, 0.0) };
            let r = 2.0 * u * v * w[i] + u * u * w[i + 1];
            dw[i] = r - 4.0 * w[i] + a * (ul - 2.0 * w[i] + ur);
            dw[i + 1] = 3.0 * w[i] - r + a * (vl - 2.0 * w[i + 1] + vr);
        }
    }
    /// Two diagonals on each side.
    pub fn band(&self, y: &[f64], jac: &mut [f64]) {
        let a = self.a();
        jac.fill(0.0);
        for (k, c) in jac.chunks_exact_mut(10).enumerate() {
            let (u, v) = (y[2 * k], y[2 * k + 1]);
            (c[0], c[4], c[5], c[9]) = (a, a, a, a);
            (c[2], c[3]) = (2.0 * u * v - 4.0 - 2.0 * a, 3.0 - 2.0 * u * v);
            (c[6], c[7]) = (u * u, -u * u - 2.0 * a);
        }
    }
    pub fn start(&self) -> Vec<f64> {
        let cells = self.n / 2;
        let x = |i: usize| (i + 1) as f64 / (cells + 1) as f64;
        (0..self.n).map(|k| if k % 2 == 0 { 1.0 + (2.0 * PI * x(k / 2)).sin() } else { 3.0 }).collect()
    }
    /// u and v at the point i = N / 2 of x_i = i / (N + 1).
    pub fn middle(&self, y: &[f64]) -> [f64; 2] {
        let k = 2 * (self.n / 4 - 1);
        [y[k], y[k + 1]]
    }
    pub fn field(self) -> impl Map<f64> {
        let f = FnMap::new(self.n, 0, move |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| self.value(y, dy));
        let band = Structure::Banded { lower: 2, upper: 2 };
        f.with_structured_jacobian(band, move |_, y: &[f64], _: &[f64], jac: &mut [f64]| self.band(y, jac))
            .autonomous()
    }
}

/// Allen and Cahn's equation on a torus of m x m cells.
#[derive(Clone, Copy)]
pub struct AllenCahn {
    pub m: usize,
}

impl AllenCahn {
    fn c(&self) -> f64 {
        0.01 * (self.m * self.m) as f64
    }
    /// The four cells beside cell k.
    fn beside(&self, k: usize) -> [usize; 4] {
        let (m, row, column) = (self.m, k / self.m, k % self.m);
        let at = |row: usize, column: usize| (row % m) * m + column % m;
        [at(row + m - 1, column), at(row, column + m - 1), at(row, column + 1), at(row + 1, column)]
    }
    /// dy <- c (the sum of the neighbours - 4 x) + g(y) x.
    fn sweep(&self, x: &[f64], g: impl Fn(usize) -> f64, dy: &mut [f64]) {
        let (m, c) = (self.m, self.c());
        for row in 0..m {
            let here = &x[row * m..][..m];
            let (above, below) = (&x[(row + m - 1) % m * m..][..m], &x[(row + 1) % m * m..][..m]);
            let cell = |j: usize, left: f64, right: f64| {
                c * (above[j] + below[j] + left + right - 4.0 * here[j]) + g(row * m + j) * here[j]
            };
            let out = &mut dy[row * m..][..m];
            out[0] = cell(0, here[m - 1], here[1]);
            for j in 1..m - 1 {
                out[j] = cell(j, here[j - 1], here[j + 1]);
            }
            out[m - 1] = cell(m - 1, here[m - 2], here[0]);
        }
    }
    pub fn value(&self, y: &[f64], dy: &mut [f64]) {
        self.sweep(y, |k| 5.0 * (1.0 - y[k] * y[k]), dy);
    }
    pub fn product(&self, y: &[f64], w: &[f64], dw: &mut [f64]) {
        self.sweep(w, |k| 5.0 * (1.0 - 3.0 * y[k] * y[k]), dw);
    }
    pub fn start(&self) -> Vec<f64> {
        let m = self.m;
        let start = |k: usize| {
            let (x, y) = ((k / m) as f64 / m as f64, (k % m) as f64 / m as f64);
            let waves = 0.4 * (2.0 * PI * x).sin() * (4.0 * PI * y).cos();
            waves + 0.2 * (2.0 * PI * (3.0 * x + y)).cos() + 0.1
        };
        (0..m * m).map(start).collect()
    }
    pub fn field(self) -> impl Map<f64> {
        let (n, c) = (self.m * self.m, self.c());
        let f = FnMap::new(n, 0, move |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| self.value(y, dy));
        let columns: Vec<Vec<usize>> = (0..n)
            .map(|k| {
                let mut rows = self.beside(k).to_vec();
                rows.push(k);
                rows.sort_unstable();
                rows
            })
            .collect();
        let diagonal: Vec<usize> = columns
            .iter()
            .enumerate()
            .map(|(k, rows)| 5 * k + rows.iter().position(|&i| i == k).unwrap())
            .collect();
        let structure =
            Structure::Sparse { col_ptr: (0..=n).map(|k| 5 * k).collect(), row_idx: columns.concat() };
        f.with_structured_jacobian(structure, move |_, y: &[f64], _: &[f64], jac: &mut [f64]| {
            jac.fill(c);
            for (&d, y) in diagonal.iter().zip(y) {
                jac[d] = 5.0 - 15.0 * y * y - 4.0 * c;
            }
        })
        .autonomous()
    }
    pub fn by_products(self) -> impl Map<f64> {
        let n = self.m * self.m;
        let f = FnMap::new(n, 0, move |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| self.value(y, dy));
        f.with_jvp(move |at, (_, w, _): (f64, &[f64], &[f64]), dw: &mut [f64]| self.product(at.x, w, dw))
            .autonomous()
            .by_products()
    }
}

//! The biodiesel problem: a published network as objective and constraints.
//!
//! ```text
//! x = (t / 120, Q / 20);  y_i = network(t i / 100, Q), i = 1..100, y = (TG, DG, MG, G, ME, T)
//! maximize mean_i ME_i / (TG_i + DG_i + MG_i)
//! subject to t Q <= 500, 0 <= t <= 120, 0 <= Q <= 20, concentrations >= 0, 20 <= T <= 65 at all times
//! ```
//!
//! Network 2-64-64-64-6, tanh, by V. Bibeau (Polytechnique Montreal, 2023), as published with arXiv 2510.01461 under the MIT licence
//! (`LICENSE-biodiesel` beside this file): minutes and watts of a batch reactor to concentrations and temperature. `biodiesel.f32` holds its 8902
//! parameters, little-endian f32, layer by layer, matrices column by column, then biases.

use crate::diff::{At, BarsMut, Dots, Kept, Map};
use crate::error::OdeError;
use crate::nn::{Activation, Mlp};
use crate::opt::surrogated::Surrogated;

/// Units of x.
pub const SCALE: [f64; 2] = [120.0, 20.0];
const TIMES: usize = 100;
const OUTPUTS: usize = 6;
/// t Q, four bounds, and for each time five concentrations and two limits of temperature.
const ROWS: usize = 5 + 7 * TIMES;

static WEIGHTS: &[u8] = include_bytes!("biodiesel.f32");

/// The problem, with room for its evaluations.
#[derive(Debug, Clone)]
pub struct Biodiesel {
    net: Mlp<f64>,
    p: Vec<f64>,
    z: Vec<f64>,
    z_dot: Vec<f64>,
    y: Vec<f64>,
    y_dot: Vec<f64>,
    keep: Vec<f64>,
    keep_dot: Vec<f64>,
    y_bar: Vec<f64>,
    z_bar: Vec<f64>,
    p_bar: Vec<f64>,
}

impl Biodiesel {
    /// With the published weights.
    ///
    /// # Errors
    /// Those of [`Mlp::dense`].
    pub fn new() -> Result<Self, OdeError> {
        let net = Mlp::dense(&[2, 64, 64, 64, OUTPUTS], Activation::Tanh, Activation::Identity, false)?;
        let read = |b: &[u8]| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let p: Vec<f64> = WEIGHTS.chunks_exact(4).map(read).collect();
        let (inputs, outputs, keep) = (2 * TIMES, OUTPUTS * TIMES, net.keep_len(TIMES));
        Ok(Self {
            p_bar: vec![0.0; p.len()],
            p,
            net,
            z: vec![0.0; inputs],
            z_dot: vec![0.0; inputs],
            y: vec![0.0; outputs],
            y_dot: vec![0.0; outputs],
            keep: vec![0.0; keep],
            keep_dot: vec![0.0; keep],
            y_bar: vec![0.0; outputs],
            z_bar: vec![0.0; inputs],
        })
    }
    fn inputs(&mut self, x: &[f64]) {
        for (i, z) in self.z.chunks_exact_mut(2).enumerate() {
            z[0] = SCALE[0] * x[0] * (i + 1) as f64 / TIMES as f64;
            z[1] = SCALE[1] * x[1];
        }
    }
    fn forward(&mut self, x: &[f64]) {
        self.inputs(x);
        self.net.forward(At::new(0.0, &self.z, &self.p), &mut self.y, &mut self.keep);
    }
}

impl Surrogated for Biodiesel {
    fn dim(&self) -> usize {
        2
    }
    fn constraints(&self) -> usize {
        ROWS
    }
    fn value(&mut self, x: &[f64], c: &mut [f64]) -> f64 {
        self.inputs(x);
        self.net.value(At::new(0.0, &self.z, &self.p), &mut self.y);
        c[..5].copy_from_slice(&[
            SCALE[0] * x[0] * SCALE[1] * x[1] - 500.0,
            -x[0],
            x[0] - 1.0,
            -x[1],
            x[1] - 1.0,
        ]);
        let mut sum = 0.0;
        for (y, c) in self.y.chunks_exact(OUTPUTS).zip(c[5..].chunks_exact_mut(7)) {
            sum += y[4] / (y[0] + y[1] + y[2]);
            c[..5].iter_mut().zip(y).for_each(|(c, y)| *c = -y);
            c[5] = 20.0 - y[5];
            c[6] = y[5] - 65.0;
        }
        sum / TIMES as f64
    }
    fn has_gradient(&self) -> bool {
        true
    }
    fn gradient(&mut self, x: &[f64], w: &[f64], g: &mut [f64]) {
        self.forward(x);
        let bars = self.y_bar.chunks_exact_mut(OUTPUTS).zip(self.y.chunks_exact(OUTPUTS));
        for ((bar, y), w) in bars.zip(w[5..].chunks_exact(7)) {
            let rest = y[0] + y[1] + y[2];
            let slope = -y[4] / (rest * rest) / TIMES as f64;
            bar[..3].fill(slope);
            bar[3] = 0.0;
            bar[4] = 1.0 / rest / TIMES as f64;
            bar[5] = w[6] - w[5];
            bar[..5].iter_mut().zip(w).for_each(|(b, w)| *b -= w);
        }
        self.z_bar.fill(0.0);
        let of = Kept { y: &self.y, keep: &self.keep };
        let bars = BarsMut::new(&mut self.z_bar, &mut self.p_bar);
        self.net.vjp(At::new(0.0, &self.z, &self.p), of, &self.y_bar, bars);
        let product = SCALE[0] * SCALE[1];
        g[0] = w[0] * product * x[1] - w[1] + w[2];
        g[1] = w[0] * product * x[0] - w[3] + w[4];
        for (i, z) in self.z_bar.chunks_exact(2).enumerate() {
            g[0] += SCALE[0] * (i + 1) as f64 / TIMES as f64 * z[0];
            g[1] += SCALE[1] * z[1];
        }
    }
    /// Two directions for 705 rows.
    fn jacobian(&mut self, x: &[f64], jac: &mut [f64]) {
        self.forward(x);
        let product = SCALE[0] * SCALE[1];
        for j in 0..2 {
            for (i, z) in self.z_dot.chunks_exact_mut(2).enumerate() {
                let first = if j == 0 { SCALE[0] * (i + 1) as f64 / TIMES as f64 } else { 0.0 };
                z.copy_from_slice(&[first, if j == 1 { SCALE[1] } else { 0.0 }]);
            }
            let of = Kept { y: &self.y, keep: &self.keep };
            let dots = Dots { count: 1, t: &[], x: &self.z_dot, p: &[] };
            let at = At::new(0.0, &self.z, &self.p);
            self.net.jvp(at, of, dots, &mut self.y_dot, &mut self.keep_dot);
            let mut rows = jac.chunks_exact_mut(2);
            let bounds = if j == 0 { [-1.0, 1.0, 0.0, 0.0] } else { [0.0, 0.0, -1.0, 1.0] };
            let first = [product * x[1 - j]];
            let network = self.y_dot.chunks_exact(OUTPUTS).flat_map(|y| {
                (0..7).map(|k| match k {
                    6 => y[5],
                    k => -y[k],
                })
            });
            for v in first.into_iter().chain(bounds).chain(network) {
                if let Some(row) = rows.next() {
                    row[j] = v;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Point, f, gradient, largest constraint, penalized value.
    type Row = ([f64; 2], f64, [f64; 2], f64, f64);

    /// As published with the network (fixture `biodiesel_network.json`).
    const REFERENCE: [Row; 8] = [
        (
            [0.3333333333333333, 0.3],
            0.5131006099419865,
            [2.0861671107961803, 1.4738862990535289],
            -0.000593862232065704,
            0.5131006099419865,
        ),
        (
            [0.69843084, 0.29828689],
            1.5248382315857427,
            [3.500924455872921, 5.904538706560442],
            -0.0005246783037526626,
            1.5248382315857427,
        ),
        (
            [0.6827429, 0.305141],
            1.5100340702456039,
            [3.5581886162665297, 5.932660587975694],
            -0.0010007488028540013,
            1.5100340702456039,
        ),
        (
            [0.6739746, 0.30911136],
            1.5022807827837181,
            [3.592310177747807, 5.953078222496153],
            -0.0003074925055976813,
            1.5022807827837181,
        ),
        (
            [1.0, 0.20833333333333334],
            1.87817998035997,
            [2.712246544800244, 8.296618413022452],
            3.552713678800501e-14,
            1.87817998035997,
        ),
        (
            [0.5, 0.2],
            0.7008694416414124,
            [1.797204722446712, 1.3713149038250305],
            -0.0005976313810795823,
            0.7008694416414124,
        ),
        (
            [0.25, 0.5],
            0.555776582401132,
            [2.9785268505432283, 0.4678316047208295],
            0.0045269939302744686,
            -54.89725070162279,
        ),
        (
            [0.1, 0.9],
            0.07854485298043094,
            [0.9275765765794032, -0.6070649787367086],
            -0.0002163332390841613,
            0.07854485298043094,
        ),
    ];

    #[test]
    fn reference_values_and_gradients() {
        let mut problem = Biodiesel::new().unwrap();
        let (mut c, mut g) = (vec![0.0; ROWS], [0.0; 2]);
        for (x, f, gradient, largest, penalized) in REFERENCE {
            let found = problem.value(&x, &mut c);
            assert!((found - f).abs() < 1e-6, "{x:?}: {found} {f}");
            let most = c.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            assert!((most - largest).abs() < 1e-6, "{x:?}: {most} {largest}");
            let penalty: f64 = c.iter().map(|c| (1000.0 * c.max(0.0)).powi(2)).sum();
            assert!(
                (found - penalty - penalized).abs() < 1e-6 * penalized.abs().max(1.0),
                "{x:?}: {penalty}"
            );
            problem.gradient(&x, &vec![0.0; ROWS], &mut g);
            for (a, b) in g.iter().zip(&gradient) {
                assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{x:?}: {g:?} {gradient:?}");
            }
        }
    }

    #[test]
    fn derivatives_agree_with_differences_and_each_other() {
        let mut problem = Biodiesel::new().unwrap();
        let x = [0.41, 0.33];
        let w: Vec<f64> = (0..ROWS).map(|i| ((i * 7919) % 13) as f64 / 13.0 - 0.4).collect();
        let (mut g, mut jac, mut c) = ([0.0; 2], vec![0.0; 2 * ROWS], vec![0.0; ROWS]);
        problem.gradient(&x, &w, &mut g);
        problem.jacobian(&x, &mut jac);
        let mut lagrangian = |x: &[f64]| {
            let f = problem.value(x, &mut c);
            f + c.iter().zip(&w).map(|(c, w)| c * w).sum::<f64>()
        };
        for j in 0..2 {
            let mut at = |h: f64| {
                let mut y = x;
                y[j] += h;
                lagrangian(&y)
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slope - g[j]).abs() < 1e-6 * g[j].abs().max(1.0), "{slope} {}", g[j]);
        }
        // J'w by columns against the gradient of f + w'c less that of f.
        let mut f = [0.0; 2];
        problem.gradient(&x, &vec![0.0; ROWS], &mut f);
        for j in 0..2 {
            let product: f64 = jac.chunks_exact(2).zip(&w).map(|(row, w)| row[j] * w).sum();
            assert!((product - (g[j] - f[j])).abs() < 1e-9 * product.abs().max(1.0));
        }
    }
}

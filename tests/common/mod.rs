//! Problems and fixtures shared by the tests.
#![allow(dead_code)]

use std::path::PathBuf;

use costate::diff::FnMap;

/// Steps and rejections on Lotka-Volterra at rtol = atol = 1e-6, t = 10 (with the default safety factor of 0.8).
pub const PINNED: [(&str, u64, u64); 7] = [
    ("bs32", 767, 0),
    ("dp54", 97, 0),
    ("tsit54", 100, 2),
    ("bs54", 65, 4),
    ("vern76", 57, 6),
    ("dop853", 44, 6),
    ("vern87", 34, 6),
];

pub type Field = FnMap<fn(f64, &[f64], &[f64], &mut [f64])>;

/// x' = a x - b x y, y' = -c y + d x y.
pub fn lotka_volterra() -> Field {
    FnMap::new(2, 4, |_, y, p, dy| {
        dy[0] = p[0] * y[0] - p[1] * y[0] * y[1];
        dy[1] = -p[2] * y[1] + p[3] * y[0] * y[1];
    })
}

/// x' = s (y - x), y' = x (r - z) - y, z' = x y - b z.
pub fn lorenz() -> Field {
    FnMap::new(3, 3, |_, y, p, dy| {
        dy[0] = p[0] * (y[1] - y[0]);
        dy[1] = y[0] * (p[1] - y[2]) - y[1];
        dy[2] = y[0] * y[1] - p[2] * y[2];
    })
}

/// Seven stars in a plane, masses 1..7 (Hairer, Norsett, Wanner II.10): x, y, x', y'.
pub fn pleiades() -> Field {
    FnMap::new(28, 0, |_, y, _, dy| {
        dy[..14].copy_from_slice(&y[14..28]);
        for i in 0..7 {
            let (mut ax, mut ay) = (0.0, 0.0);
            for j in 0..7 {
                if i != j {
                    let (dx, dz) = (y[j] - y[i], y[7 + j] - y[7 + i]);
                    let r2 = dx * dx + dz * dz;
                    let m = (j + 1) as f64 / (r2 * r2.sqrt());
                    ax += m * dx;
                    ay += m * dz;
                }
            }
            dy[14 + i] = ax;
            dy[21 + i] = ay;
        }
    })
}

pub const PLEIADES: [f64; 28] = [
    3.0, 3.0, -1.0, -3.0, 2.0, -2.0, 2.0, 3.0, -3.0, 2.0, 0.0, 0.0, -4.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.75,
    -1.5, 0.0, 0.0, 0.0, -1.25, 1.0, 0.0, 0.0,
];

/// Restricted three-body problem (Hairer, Norsett, Wanner II.0).
pub fn arenstorf() -> Field {
    FnMap::new(4, 0, |_, y, _, dy| {
        let mu = 0.012277471;
        let nu = 1.0 - mu;
        let d1 = ((y[0] + mu).powi(2) + y[1] * y[1]).powf(1.5);
        let d2 = ((y[0] - nu).powi(2) + y[1] * y[1]).powf(1.5);
        dy[0] = y[2];
        dy[1] = y[3];
        dy[2] = y[0] + 2.0 * y[3] - nu * (y[0] + mu) / d1 - mu * (y[0] - nu) / d2;
        dy[3] = y[1] - 2.0 * y[2] - nu * y[1] / d1 - mu * y[1] / d2;
    })
}

pub const ARENSTORF: [f64; 4] = [0.994, 0.0, 0.0, -2.0015851063790825];
pub const ARENSTORF_PERIOD: f64 = 17.065216560157964;

/// The folder of fixtures, if there is one; a missing one is an error while COSTATE_REQUIRE_SHARED is set.
pub fn fixtures() -> Option<PathBuf> {
    let root = match std::env::var_os("COSTATE_SHARED") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    let dir = root.join("data/nde");
    if dir.is_dir() {
        return Some(dir);
    }
    assert!(std::env::var_os("COSTATE_REQUIRE_SHARED").is_none(), "{} is required and absent", dir.display());
    eprintln!("skipped: {} is absent", dir.display());
    None
}

/// A JSON file of the fixtures.
pub fn reference(name: &str) -> Option<serde_json::Value> {
    let text = std::fs::read_to_string(fixtures()?.join(name)).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

/// A binary file of little-endian f32.
pub fn read_f32(name: &str) -> Option<Vec<f32>> {
    let bytes = std::fs::read(fixtures()?.join(name)).unwrap();
    Some(bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect())
}

/// A binary file of little-endian f64.
pub fn read_f64(name: &str) -> Option<Vec<f64>> {
    let bytes = std::fs::read(fixtures()?.join(name)).unwrap();
    Some(bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect())
}

/// The MNIST neural ODE of the fixtures.
pub struct Mnist {
    pub x: Vec<f32>,
    pub labels: Vec<usize>,
    pub p: Vec<f32>,
    pub w3: Vec<f32>,
    pub b3: Vec<f32>,
}

/// What one pass gives.
pub struct MnistPass {
    pub loss: f64,
    pub u1_norm: f64,
    pub grad_norms: Vec<(&'static str, f64)>,
    pub report: costate::ode::OdeReport,
    pub pullbacks: u64,
}

impl Mnist {
    pub fn load() -> Option<Self> {
        let p = ["W1", "b1", "W2", "b2"].map(|n| read_f32(&format!("mnist_like_{n}.bin")));
        let [Some(a), Some(b), Some(c), Some(d)] = p else { return None };
        let bytes = std::fs::read(fixtures()?.join("mnist_like_y.bin")).unwrap();
        let labels =
            bytes.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap()) as usize).collect();
        let p = [a, b, c, d].concat();
        Some(Self {
            x: read_f32("mnist_like_x.bin")?,
            labels,
            p,
            w3: read_f32("mnist_like_W3.bin")?,
            b3: read_f32("mnist_like_b3.bin")?,
        })
    }

    pub fn field() -> costate::nn::Mlp<f32> {
        use costate::nn::{Activation::Tanh, Mlp};
        Mlp::dense(&[784, 100, 784], Tanh, Tanh, true).unwrap()
    }

    /// Loss, bar of u(1), gradients of the head (W3 row-major 784 x 10, b3).
    pub fn head(&self, u: &[f32]) -> (f64, Vec<f32>, Vec<f32>, Vec<f32>) {
        let batch = self.labels.len();
        let (mut loss, mut bar) = (0.0, vec![0.0f32; u.len()]);
        let (mut w_bar, mut b_bar) = (vec![0.0f32; 7840], vec![0.0f32; 10]);
        for (s, u) in u.chunks(784).enumerate() {
            let mut z = [0.0f64; 10];
            for (c, z) in z.iter_mut().enumerate() {
                *z = self.b3[c] as f64
                    + (0..784).map(|i| u[i] as f64 * self.w3[10 * i + c] as f64).sum::<f64>();
            }
            let top = z.iter().cloned().fold(f64::MIN, f64::max);
            let sum: f64 = z.iter().map(|v| (v - top).exp()).sum();
            loss -= (z[self.labels[s]] - top - sum.ln()) / batch as f64;
            for c in 0..10 {
                let g = ((z[c] - top).exp() / sum - (c == self.labels[s]) as u8 as f64) / batch as f64;
                b_bar[c] += g as f32;
                for i in 0..784 {
                    bar[784 * s + i] += g as f32 * self.w3[10 * i + c];
                    w_bar[10 * i + c] += g as f32 * u[i];
                }
            }
        }
        (loss, bar, w_bar, b_bar)
    }

    pub fn value_and_gradient(&self, tol: f64, memory: costate::adjoint::Memory) -> MnistPass {
        use costate::adjoint::{Adjoint, Bars};
        use costate::ode::{Options, TSIT54};
        let mut field = Self::field();
        let mut solver =
            Adjoint::new(&TSIT54, 784, self.labels.len(), &Options::tolerances(tol, tol), memory).unwrap();
        let report = solver.forward(&mut field, (0.0, 1.0), &self.x, &self.p, &mut ()).unwrap();
        let (loss, bar, w_bar, b_bar) = self.head(solver.y());
        let (mut xb, mut pb) = (vec![0.0; self.x.len()], vec![0.0; self.p.len()]);
        let counts = solver
            .reverse(&mut field, &self.p, &Bars { y1: &bar, ..Bars::default() }, &mut xb, &mut pb)
            .unwrap();
        let norm = |x: &[f32]| x.iter().map(|v| *v as f64 * *v as f64).sum::<f64>().sqrt();
        let ends = [0, 78_500, 78_600, 157_784, 158_568];
        let mut grad_norms: Vec<_> = ["W1", "b1", "W2", "b2"]
            .iter()
            .zip(ends.windows(2))
            .map(|(n, e)| (*n, norm(&pb[e[0]..e[1]])))
            .collect();
        grad_norms.extend([("W3", norm(&w_bar)), ("b3", norm(&b_bar))]);
        MnistPass { loss, u1_norm: norm(solver.y()), grad_norms, report, pullbacks: counts.pullbacks }
    }
}

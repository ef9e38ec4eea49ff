//! Standard normal numbers as a pure function of (key, counter).
//!
//! Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011) turns a key of 64 bits and a counter of
//! 128 bits into 128 random bits r1, r2; Box and Muller (1958) turn those into two independent standard normals:
//!
//! ```text
//! u = 1 - (r1 >> 12) / 2^52 in (0, 1],   a = (pi/2) ((r2 >> 12) / 2^52 - 1/2),
//! (c, s) = sqrt(-2 ln u) (cos a, sin a), exchanged if bit 0 of r2 is set, both negated if bit 1 is
//! ```
//!
//! (a quarter of the circle, turned to one of four places). Logarithm, sine and cosine are polynomials made of +, *, / only, so that the loop
//! vectorizes and the numbers are the same on every machine.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::simd::vectorized;

/// What random numbers of a search are for: streams of one seed that do not meet. Codes below 100 are those of training (`train::data::Stream`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Directions and lengths of a derivative-free search; index: iteration.
    Search = 101,
    /// First points of a design; index: none.
    Design = 102,
    /// Candidates of an acquisition function; index: proposal.
    Candidates = 103,
    /// Weights of a network; index: none.
    Weights = 104,
    /// Thompson samples; index: round.
    Thompson = 105,
    /// Posterior samples; index: call.
    Posterior = 106,
    /// Hyper-parameters that a random search tries; index: candidate.
    Hyper = 121,
    /// Points of a random or quasi-random sweep; index: trial.
    Sweep = 122,
    /// Gaussian processes, pairs and steps of the training of a bridge; index: epoch.
    Bridge = 123,
    /// Steps of Hamiltonian Monte Carlo; index: step.
    Chain = 124,
}

/// The generator of one purpose (a code): depends on seed, purpose and index only, so nothing has to be remembered to go on after an interruption.
pub(crate) fn generator(seed: u64, purpose: u64, index: u64) -> StdRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&purpose.to_le_bytes());
    bytes[16..24].copy_from_slice(&index.to_le_bytes());
    StdRng::from_seed(bytes)
}

/// One standard normal.
pub(crate) fn normal(rng: &mut StdRng) -> f64 {
    StandardNormal.sample(rng)
}

const MASK: u64 = 0xFFFF_FFFF;

/// Ten rounds of Philox on four words of 32 bits.
#[inline(always)]
fn philox(mut c: [u64; 4], key: u64) -> [u64; 4] {
    let (mut k0, mut k1) = (key & MASK, key >> 32);
    for _ in 0..10 {
        let (p0, p1) = (0xD251_1F53 * c[0], 0xCD9E_8D57 * c[2]);
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & MASK, (p0 >> 32) ^ c[3] ^ k1, p0 & MASK];
        k0 = (k0 + 0x9E37_79B9) & MASK;
        k1 = (k1 + 0xBB67_AE85) & MASK;
    }
    c
}

/// ln u for u in (0, 1], normal numbers only: u = 2^e m, ln m = 2 artanh((m - 1)/(m + 1)), m in (1/sqrt 2, sqrt 2].
#[inline(always)]
fn ln(u: f64) -> f64 {
    let bits = u.to_bits();
    // 2^52 + biased exponent, exact.
    let e = f64::from_bits(0x4330_0000_0000_0000 | (bits >> 52)) - (4_503_599_627_370_496.0 + 1023.0);
    let m = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) | 0x3FF0_0000_0000_0000);
    let big = m > std::f64::consts::SQRT_2;
    let (e, m) = (if big { e + 1.0 } else { e }, if big { 0.5 * m } else { m });
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut q = 1.0 / 23.0;
    for d in [21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        q = q * z + 1.0 / d;
    }
    e * std::f64::consts::LN_2 + 2.0 * s * q
}

/// (cos a, sin a) for |a| <= pi/4, Taylor.
#[inline(always)]
fn cos_sin(a: f64) -> (f64, f64) {
    let z = a * a;
    // 1 - z/(1 2) (1 - z/(3 4) (..)), and a (1 - z/(2 3) (1 - z/(4 5) (..))).
    let (mut c, mut s) = (1.0, 1.0);
    for k in [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        c = 1.0 - z * (1.0 / ((2.0 * k - 1.0) * (2.0 * k))) * c;
        s = 1.0 - z * (1.0 / ((2.0 * k) * (2.0 * k + 1.0))) * s;
    }
    (c, a * s)
}

#[inline(always)]
fn pair(counter: [u64; 4], key: u64) -> (f64, f64) {
    let x = philox(counter, key);
    let (r1, r2) = (x[0] | (x[1] << 32), x[2] | (x[3] << 32));
    let unit = |r: u64| f64::from_bits((r >> 12) | 0x3FF0_0000_0000_0000);
    let radius = (-2.0 * ln(2.0 - unit(r1))).sqrt();
    let (c, s) = cos_sin(std::f64::consts::FRAC_PI_2 * (unit(r2) - 1.5));
    let (c, s) = if r2 & 1 == 1 { (s, c) } else { (c, s) };
    let radius = if r2 & 2 == 2 { -radius } else { radius };
    (radius * c, radius * s)
}

/// Numbers that a thread takes at a time; fewer are not shared.
const PIECE: usize = 2048;

/// x_i, z_i <- two standard normals from the counter (node, cell, component_i, trajectory_i). Each depends on its counter only, so many are shared
/// among the threads of rayon's current pool without changing a bit.
pub(crate) fn fill(
    key: u64,
    node: (u64, u64),
    component: &[u64],
    trajectory: &[u64],
    x: &mut [f64],
    z: &mut [f64],
) {
    if x.len() < 2 * PIECE {
        return fill_piece(key, node, component, trajectory, x, z);
    }
    let counters = component.par_chunks(PIECE).zip(trajectory.par_chunks(PIECE));
    let normals = x.par_chunks_mut(PIECE).zip(z.par_chunks_mut(PIECE));
    counters.zip(normals).for_each(|((c, t), (x, z))| fill_piece(key, node, c, t, x, z));
}

/// n standard normals that depend on the key only.
pub(crate) fn normals(key: u64, n: usize) -> Vec<f64> {
    let half = n.div_ceil(2);
    let (mut out, mut second) = (vec![0.0; half], vec![0.0; half]);
    let components: Vec<u64> = (0..half as u64).collect();
    fill(key, (0, 0), &components, &vec![0; half], &mut out, &mut second);
    out.append(&mut second);
    out.truncate(n);
    out
}

fn fill_piece(
    key: u64,
    (node, cell): (u64, u64),
    component: &[u64],
    trajectory: &[u64],
    x: &mut [f64],
    z: &mut [f64],
) {
    let n = x.len();
    let (component, trajectory, z) = (&component[..n], &trajectory[..n], &mut z[..n]);
    vectorized(
        n,
        #[inline(always)]
        || {
            for i in 0..n {
                (x[i], z[i]) = pair([node, cell, component[i], trajectory[i]], key);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_known_answers() {
        // Published with the reference implementation (Random123).
        assert_eq!(philox([0; 4], 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([MASK; 4], u64::MAX), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let key = 0xa409_3822 | (0x299f_31d0 << 32);
        let counter = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(philox(counter, key), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn many_normals_have_the_same_bits_on_any_number_of_threads() {
        let n = 5 * PIECE + 3;
        let (component, trajectory): (Vec<u64>, Vec<u64>) = (0..n as u64).map(|i| (i % 7, i / 7)).unzip();
        let mut want = vec![0.0; 2 * n];
        let (x, z) = want.split_at_mut(n);
        fill_piece(9, (3, 1), &component, &trajectory, x, z);
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut out = vec![0.0; 2 * n];
            let (x, z) = out.split_at_mut(n);
            pool.install(|| fill(9, (3, 1), &component, &trajectory, x, z));
            assert!(out == want, "{threads}");
        }
    }

    #[test]
    fn elementary_functions() {
        let mut worst = [0.0f64; 3];
        for i in 1..=100_000 {
            let v = i as f64 / 100_000.0;
            for u in [v, v.powi(8), 1.0 - 1e-6 * v, (2.0f64).powi(-(i % 52)) * (0.5 + 0.5 * v)] {
                let want = u.ln();
                if want != 0.0 {
                    worst[0] = worst[0].max(((ln(u) - want) / want).abs());
                }
            }
            let a = (v - 0.5) * std::f64::consts::FRAC_PI_2;
            let (c, s) = cos_sin(a);
            worst[1] = worst[1].max((c - a.cos()).abs());
            worst[2] = worst[2].max((s - a.sin()).abs());
        }
        assert!(worst.iter().all(|&w| w < 4.0 * f64::EPSILON), "{worst:?}");
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn vectorized_and_scalar_numbers_are_the_same() {
        let n = 1000;
        let (comp, traj): (Vec<u64>, Vec<u64>) = (0..n as u64).map(|i| (i % 3, i / 3)).unzip();
        let (mut x, mut z) = (vec![0.0; n], vec![0.0; n]);
        fill(42, (5, 7), &comp, &traj, &mut x, &mut z);
        for i in 0..n {
            assert_eq!((x[i], z[i]), pair([5, 7, comp[i], traj[i]], 42));
        }
    }

    #[test]
    fn moments_and_tails() {
        // 2^21 numbers. Five statistics and 12 cells, each within 5 standard errors: false alarm under 17 * 6e-7 = 1e-5 (and the seed is fixed).
        let n = 1 << 20;
        let (comp, traj) = (vec![0u64; n], (0..n as u64).collect::<Vec<_>>());
        let (mut x, mut z) = (vec![0.0; n], vec![0.0; n]);
        fill(1, (0, 0), &comp, &traj, &mut x, &mut z);
        let mean = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
        let root = (n as f64).sqrt();
        for v in [&x, &z] {
            let moments: [(f64, f64); 4] = [(0.0, 1.0), (1.0, 2.0), (0.0, 15.0), (3.0, 96.0)];
            for (k, (want, var)) in moments.into_iter().enumerate() {
                let m = mean(&|i| v[i].powi(k as i32 + 1));
                assert!((m - want).abs() < 5.0 * var.sqrt() / root, "moment {}: {m}", k + 1);
            }
        }
        assert!(mean(&|i| x[i] * z[i]).abs() < 5.0 / root);
        // P(X > k), k = -2..3, from the complementary error function's tabulated values.
        let p = [
            0.977_249_868_051_820_8,
            0.841_344_746_068_542_9,
            0.5,
            0.158_655_253_931_457_05,
            0.022_750_131_948_179_2,
            0.001_349_898_031_630_09,
        ];
        for (k, p) in (-2..=3).zip(p) {
            for v in [&x, &z] {
                let m = mean(&|i| (v[i] > k as f64) as u8 as f64);
                assert!((m - p).abs() < 5.0 * (p * (1.0 - p)).sqrt() / root, "tail {k}: {m} {p}");
            }
        }
    }
}

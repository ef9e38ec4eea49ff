//! Generated data of the studies, by a generator that is easy to write in any language.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): state += 0x9E3779B97F4A7C15, then two multiplications and three shifts. A uniform number is (u >> 11) 2^-53; normal
//! ones are Box and Muller's pairs r cos(2 pi v), r sin(2 pi v), r = sqrt(-2 ln(1 - u)), for two uniform numbers u, v.

use std::f64::consts::{E, PI};

/// SplitMix64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// Of a purpose (a small number) within a seed: the state begins at the first output of a generator of both.
    pub fn of(seed: u64, purpose: u64) -> Self {
        let mut mixed = Self(seed ^ purpose.wrapping_mul(0xD1B5_4A32_D192_ED03));
        Self(mixed.bits())
    }
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
    /// Standard normal numbers; a pair is begun anew with every call.
    pub fn normals(&mut self, n: usize) -> Vec<f64> {
        let mut out = Vec::with_capacity(n + 1);
        while out.len() < n {
            let (u, v) = (self.uniform(), self.uniform());
            let r = (-2.0 * (1.0 - u).ln()).sqrt();
            let (sin, cos) = (2.0 * PI * v).sin_cos();
            out.extend([r * cos, r * sin]);
        }
        out.truncate(n);
        out
    }
}

/// n points of the positive orthant of the unit sphere of dimension d, d + 1 numbers each, uniform: |normal| / length.
pub fn orthant(n: usize, d: usize, numbers: &mut SplitMix64) -> Vec<f64> {
    let mut x: Vec<f64> = numbers.normals(n * (d + 1)).into_iter().map(f64::abs).collect();
    for row in x.chunks_exact_mut(d + 1) {
        let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        row.iter_mut().for_each(|v| *v /= length);
    }
    x
}

/// Friedman's first function of ten uniform inputs (Multivariate adaptive regression splines, 1991), of which five count:
/// 10 sin(pi x1 x2) + 20 (x3 - 1/2)^2 + 10 x4 + 5 x5 + noise N(0, 1). Rows of ten numbers, and one value a row.
pub fn friedman(n: usize, noise: f64, numbers: &mut SplitMix64) -> (Vec<f64>, Vec<f64>) {
    let x: Vec<f64> = (0..10 * n).map(|_| numbers.uniform()).collect();
    let errors = numbers.normals(n);
    let value = |(x, e): (&[f64], f64)| {
        10.0 * (PI * x[0] * x[1]).sin() + 20.0 * (x[2] - 0.5).powi(2) + 10.0 * x[3] + 5.0 * x[4] + noise * e
    };
    let y = x.chunks_exact(10).zip(errors).map(value).collect();
    (x, y)
}

/// y = exp(-10 x^2) sin 2x at n points x, uniform in [-1, 1].
pub fn one_d(n: usize, numbers: &mut SplitMix64) -> (Vec<f64>, Vec<f64>) {
    let x: Vec<f64> = (0..n).map(|_| 2.0 * numbers.uniform() - 1.0).collect();
    let y = x.iter().map(|x| (-10.0 * x * x).exp() * (2.0 * x).sin()).collect();
    (x, y)
}

/// A sum of polynomials, one of each input: y = sum_i sum_k c_ik x_i^k, k = 1 to `degree`, x and c standard normal. Rows of `inputs` numbers, and one value a row.
pub fn additive_polynomial(
    n: usize,
    (inputs, degree): (usize, usize),
    numbers: &mut SplitMix64,
) -> (Vec<f64>, Vec<f64>) {
    let (c, x) = (numbers.normals(inputs * degree), numbers.normals(n * inputs));
    let part = |(x, c): (&f64, &[f64])| c.iter().rev().fold(0.0, |s, c| (s + c) * x);
    let y = x.chunks_exact(inputs).map(|x| x.iter().zip(c.chunks_exact(degree)).map(part).sum()).collect();
    (x, y)
}

/// Branin's function on [-5, 10] x [0, 15]; three minima of 0.397887.
pub fn branin(x: &[f64]) -> f64 {
    let a = x[1] - 5.1 / (4.0 * PI * PI) * x[0] * x[0] + 5.0 / PI * x[0] - 6.0;
    a * a + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * x[0].cos() + 10.0
}

/// Hartmann's function of six variables on the unit box; least value -3.322368.
pub fn hartmann6(x: &[f64]) -> f64 {
    const A: [[f64; 6]; 4] = [
        [10.0, 3.0, 17.0, 3.5, 1.7, 8.0],
        [0.05, 10.0, 17.0, 0.1, 8.0, 14.0],
        [3.0, 3.5, 1.7, 10.0, 17.0, 8.0],
        [17.0, 8.0, 0.05, 10.0, 0.1, 14.0],
    ];
    const P: [[f64; 6]; 4] = [
        [1312.0, 1696.0, 5569.0, 124.0, 8283.0, 5886.0],
        [2329.0, 4135.0, 8307.0, 3736.0, 1004.0, 9991.0],
        [2348.0, 1451.0, 3522.0, 2883.0, 3047.0, 6650.0],
        [4047.0, 8828.0, 8732.0, 5743.0, 1091.0, 381.0],
    ];
    let term = |k: usize| (0..6).map(|j| A[k][j] * (x[j] - 1e-4 * P[k][j]).powi(2)).sum::<f64>();
    -[1.0, 1.2, 3.0, 3.2].iter().enumerate().map(|(k, a)| a * (-term(k)).exp()).sum::<f64>()
}

/// Ackley's function of any number of variables on +-32.768; least value 0 at 0.
pub fn ackley(x: &[f64]) -> f64 {
    let n = x.len() as f64;
    let r = (x.iter().map(|x| x * x).sum::<f64>() / n).sqrt();
    let c = x.iter().map(|x| (2.0 * PI * x).cos()).sum::<f64>() / n;
    -20.0 * (-0.2 * r).exp() - c.exp() + 20.0 + E
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_outputs_of_the_generator() {
        let mut r = SplitMix64::new(42);
        let want = [13679457532755275413, 2949826092126892291, 5139283748462763858, 6349198060258255764];
        assert_eq!([r.bits(), r.bits(), r.bits(), r.bits()], want);
        assert_ne!(SplitMix64::of(1, 0), SplitMix64::of(1, 1));
        assert_ne!(SplitMix64::of(1, 0), SplitMix64::of(2, 0));
    }

    /// First values and sums of the reference data.
    #[test]
    fn checksums() {
        let x = orthant(100, 2, &mut SplitMix64::new(4));
        let first = [0.3693113133027056, 0.29622922025330317, 0.8808276806133823];
        assert!(x.iter().zip(first).all(|(a, b)| (a - b).abs() < 1e-15), "{:?}", &x[..3]);
        assert!((x.iter().sum::<f64>() - 150.5143251822789).abs() < 1e-11);
        let (x, y) = one_d(1000, &mut SplitMix64::new(1));
        let first = [
            (0.1331231503445618, 0.22038180797282308),
            (0.49156351452540226, 0.07427453229865759),
            (0.9420055071735924, 0.00013320528458923364),
        ];
        for ((x, y), (a, b)) in x.iter().zip(&y).zip(first) {
            assert!((x - a).abs() < 1e-15 && (y - b).abs() < 1e-15, "{x} {y}");
        }
        let sums = (x.iter().sum::<f64>(), y.iter().sum::<f64>());
        assert!((sums.0 + 36.230855043440215).abs() < 1e-11 && (sums.1 + 5.516674761715938).abs() < 1e-12);
        let spread = y.iter().map(|v| (v - sums.1 / 1000.0).powi(2)).sum::<f64>() / 1000.0;
        assert!((spread.sqrt() - 0.13545351094066882).abs() < 1e-13);
        let (_, y) = friedman(500, 1.0, &mut SplitMix64::new(2));
        let first = [20.023565295798033, 12.26015480613736, 8.933166078250508];
        assert!(y.iter().zip(first).all(|(a, b)| (a - b).abs() < 1e-13), "{:?}", &y[..3]);
        let sum: f64 = y.iter().sum();
        let variance = y.iter().map(|v| (v - sum / 500.0).powi(2)).sum::<f64>() / 500.0;
        assert!(
            (sum - 7222.003787235182).abs() < 1e-9 && (variance - 25.660633320622583).abs() < 1e-10,
            "{sum} {variance}"
        );
    }

    #[test]
    fn additive_polynomials_by_their_definition() {
        let (x, y) = additive_polynomial(4, (2, 3), &mut SplitMix64::new(3));
        let c = SplitMix64::new(3).normals(6);
        for (x, y) in x.chunks(2).zip(&y) {
            let want: f64 =
                (0..2).map(|i| (1..=3).map(|k| c[3 * i + k - 1] * x[i].powi(k as i32)).sum::<f64>()).sum();
            assert!((want - y).abs() < 1e-12);
        }
    }
}

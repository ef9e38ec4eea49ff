//! Sketches S A: few rows whose Gram matrix resembles A'A.
//!
//! | kind | S | cost, entries of A |
//! |---|---|---|
//! | `Count` | a row goes with a random sign to one of the rows of S A (Clarkson and Woodruff, STOC 2013) | 1 |
//! | `SparseSign` | to k of them, scaled by k^-1/2 (Nelson and Nguyen, FOCS 2013; Cohen, SODA 2016) | k |
//! | `Hadamard` | blocks of rows with random signs, transformed and sampled, then added (Ailon and Chazelle 2006; Balabanov, Beaupere, Grigori, Lederer, ICML 2023) | log2 of the block |
//! | `UniformRows` | rows drawn uniformly | the share of the rows |
//! | `LeverageRows` | rows drawn by approximate leverage, from a count sketch (Drineas, Magdon-Ismail, Mahoney, Woodruff, JMLR 13, 2012) | 9 |

use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;

use super::counter::Counter;
use super::factor::Factor;
use super::hadamard;
use super::leverage::{LeverageScores, RowSample};
use super::tall::TallMatrix;
use crate::error::Error;

/// How S is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SketchKind {
    /// Count sketch.
    Count,
    /// Sparse signs, this many a row.
    SparseSign(usize),
    /// Subsampled randomized Hadamard transforms of blocks of rows.
    Hadamard,
    /// Rows drawn uniformly.
    UniformRows,
    /// Rows drawn by approximate leverage.
    LeverageRows,
}

impl SketchKind {
    /// Every kind, with its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("count", Self::Count),
        ("sparse-sign", Self::SparseSign(4)),
        ("hadamard", Self::Hadamard),
        ("uniform-rows", Self::UniformRows),
        ("leverage-rows", Self::LeverageRows),
    ];
}

impl fmt::Display for SketchKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "count",
            Self::SparseSign(_) => "sparse-sign",
            Self::Hadamard => "hadamard",
            Self::UniformRows => "uniform-rows",
            Self::LeverageRows => "leverage-rows",
        })
    }
}

impl FromStr for SketchKind {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, kind)| *kind).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(n, _)| *n).collect();
            format!("unknown sketch '{name}', expected one of {}", names.join(", "))
        })
    }
}

/// S A and the factor of its Gram matrix.
#[derive(Debug, Clone)]
pub struct Sketched {
    /// Rows of S A.
    pub rows: usize,
    /// R with R'R = (S A)'(S A).
    pub factor: Factor,
    /// S b, if b was given: of length `rows`.
    pub side: Vec<f64>,
    /// S A, row after row.
    pub matrix: Vec<f64>,
}

/// S (D^1/2 A) and S b with D = diag(weights), none: the identity. About `rows` rows: the number of drawn rows is random.
///
/// # Errors
/// Rows cannot be read, a weight is negative, or the sketch has entries that are not finite.
pub fn sketch(
    a: &TallMatrix,
    weights: Option<&[f64]>,
    b: Option<&[f64]>,
    kind: SketchKind,
    rows: usize,
    seed: u64,
) -> Result<Sketched, Error> {
    if weights.is_some_and(|w| w.len() != a.rows() || w.par_iter().any(|v| !(*v >= 0.0 && v.is_finite())))
        || b.is_some_and(|b| b.len() != a.rows())
        || rows == 0
    {
        let what = format!(
            "needs at least one row, a nonnegative weight and a side for each of the {} rows",
            a.rows()
        );
        return Err(Error::Problem { name: "sketch".into(), what });
    }
    let n = a.columns();
    let (matrix, side) = match kind {
        SketchKind::Count => signs(a, weights, b, rows, 1, seed)?,
        SketchKind::SparseSign(k) => signs(a, weights, b, rows, k.clamp(1, rows), seed)?,
        SketchKind::Hadamard => hadamard::sketch(a, weights, b, rows, seed)?,
        SketchKind::UniformRows => {
            let scores = LeverageScores::uniform(a.rows());
            RowSample::draw(&scores, None, rows, seed).gather(a, weights, b)?
        }
        SketchKind::LeverageRows => {
            let (rough, _) = signs(a, weights, None, 4 * n, 2, seed ^ 0x5eed)?;
            let factor = Factor::of_rows(n, &rough)?;
            let scores = LeverageScores::approximate(a, &factor, seed)?;
            RowSample::draw(&scores, weights, rows, seed).gather(a, weights, b)?
        }
    };
    Ok(Sketched { rows: matrix.len() / n, factor: Factor::of_rows(n, &matrix)?, side, matrix })
}

/// The rows of A that go to each row of S A, with the place of the sign: S A is summed row by row of its own, in the order of the rows of A.
struct Buckets {
    start: Vec<usize>,
    /// Row of A, and k.
    member: Vec<(u32, u32)>,
}

impl Buckets {
    fn new(m: usize, s: usize, k: usize, places: Counter) -> Self {
        // The k places of a row are in different parts of S A, so that they differ.
        let place = |i: usize, c: usize| {
            let (from, to) = (c * s / k, (c + 1) * s / k);
            from + places.below((i * k + c) as u64, to - from)
        };
        let mut start = vec![0usize; s + 1];
        (0..m).for_each(|i| (0..k).for_each(|c| start[place(i, c) + 1] += 1));
        (0..s).for_each(|r| start[r + 1] += start[r]);
        let mut next = start.clone();
        let mut member = vec![(0, 0); m * k];
        for i in 0..m {
            for c in 0..k {
                let at = &mut next[place(i, c)];
                member[*at] = (i as u32, c as u32);
                *at += 1;
            }
        }
        Self { start, member }
    }
}

fn signs(
    a: &TallMatrix,
    weights: Option<&[f64]>,
    b: Option<&[f64]>,
    s: usize,
    k: usize,
    seed: u64,
) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let (m, n) = (a.rows(), a.columns());
    if m.checked_mul(k).is_none_or(|t| t > u32::MAX as usize) {
        let what = format!("{m} rows with {k} places each are too many");
        return Err(Error::Problem { name: "sketch".into(), what });
    }
    let (sign, unit) = (Counter::new(seed, 2), (k as f64).sqrt().recip());
    let factor =
        |i: usize, c: usize| sign.sign((i * k + c) as u64) * unit * weights.map_or(1.0, |d| d[i].sqrt());
    let mut out = vec![0.0; s * n];
    let mut side = vec![0.0; if b.is_some() { s } else { 0 }];
    let places = Counter::new(seed, 1);
    let buckets = Buckets::new(m, s, k, places);
    let members = |r: usize| &buckets.member[buckets.start[r]..buckets.start[r + 1]];
    if let Some(b) = b {
        side.par_iter_mut().enumerate().for_each(|(r, side)| {
            let unweighted = |i: usize, c: usize| sign.sign((i * k + c) as u64) * unit;
            *side =
                members(r).iter().map(|(i, c)| unweighted(*i as usize, *c as usize) * b[*i as usize]).sum();
        });
    }
    if a.is_streamed() {
        scatter(a, &buckets, &factor, &mut out)?;
    } else {
        out.par_chunks_mut(n).enumerate().try_for_each(|(r, out)| {
            for (i, c) in members(r) {
                let (i, c) = (*i as usize, *c as usize);
                a.block(i..i + 1, &mut vec![])?.add_row(0, factor(i, c), out);
            }
            Ok::<_, Error>(())
        })?;
    }
    Ok((out, side))
}

/// Rows that are read once, in their order.
fn scatter(
    a: &TallMatrix,
    buckets: &Buckets,
    factor: &(impl Fn(usize, usize) -> f64 + Sync),
    out: &mut [f64],
) -> Result<(), Error> {
    let n = a.columns();
    let rows_of_sketch = buckets.start.len() - 1;
    let k = buckets.member.len() / a.rows();
    let mut place = vec![0u32; a.rows() * k];
    for r in 0..rows_of_sketch {
        for (i, c) in &buckets.member[buckets.start[r]..buckets.start[r + 1]] {
            place[*i as usize * k + *c as usize] = r as u32;
        }
    }
    let groups = a.groups(1);
    let mut states = [out];
    a.visit(
        &groups,
        &mut states,
        |_| true,
        |out, block| {
            for i in 0..block.rows {
                for c in 0..k {
                    let (row, r) = (block.first + i, place[(block.first + i) * k + c] as usize);
                    block.add_row(i, factor(row, c), &mut out[r * n..(r + 1) * n]);
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Condition 1e4, rows of heavy leverage.
    fn matrix(m: usize, n: usize) -> TallMatrix {
        let c = Counter::new(11, 0);
        let heavy = |i: usize| if i % (m / 5) == 3 { 1e3 } else { 1.0 };
        let column = |j: usize| 10f64.powf(-4.0 * j as f64 / n as f64);
        let value = |k: usize| c.normal(k as u64) * heavy(k / n) * column(k % n);
        TallMatrix::dense(m, n, (0..m * n).map(value).collect()).unwrap()
    }

    /// Extreme eigenvalues of R^-T A'A R^-1.
    fn extremes(a: &TallMatrix, factor: &Factor) -> (f64, f64) {
        let n = a.columns();
        let mut gram = vec![0.0; n * n];
        a.gram(None, &mut gram).unwrap();
        for j in 0..n {
            (0..j).for_each(|i| gram[j * n + i] = gram[i * n + j]);
        }
        factor.solve_transposed(&mut gram);
        let mut turned = vec![0.0; n * n];
        (0..n * n).for_each(|k| turned[(k % n) * n + k / n] = gram[k]);
        factor.solve_transposed(&mut turned);
        let mut eigen = crate::linalg::SymmetricEigen::new(n);
        assert!(eigen.compute(&turned));
        (eigen.values()[0], eigen.values()[n - 1])
    }

    #[test]
    fn every_kind_embeds_the_columns() {
        let (m, n) = (6000, 30);
        let a = matrix(m, n);
        for (name, kind) in SketchKind::ALL {
            let s = sketch(&a, None, None, kind, 20 * n, 3).unwrap();
            let (low, high) = extremes(&a, &s.factor);
            if kind == SketchKind::UniformRows {
                // Rows of heavy leverage are missed.
                assert!(high > 50.0, "{name}: {low} {high}");
            } else {
                assert!(low > 0.4 && high < 3.0, "{name}: {low} {high}");
            }
        }
    }

    #[test]
    fn the_side_is_sketched_like_a_column_and_seeds_decide() {
        let a = matrix(3000, 10);
        let mut x = vec![0.0; 10];
        x[4] = 1.0;
        let mut b = vec![0.0; 3000];
        a.multiply(&x, &mut b).unwrap();
        for (name, kind) in SketchKind::ALL {
            let s = sketch(&a, None, Some(&b), kind, 150, 7).unwrap();
            let column: Vec<f64> = (0..s.rows).map(|r| s.matrix[r * 10 + 4]).collect();
            assert!(
                s.side.iter().zip(&column).all(|(a, b)| (a - b).abs() < 1e-9 * (1.0 + b.abs())),
                "{name}"
            );
            let again = sketch(&a, None, Some(&b), kind, 150, 7).unwrap();
            assert!(again.matrix == s.matrix, "{name}");
            assert!(sketch(&a, None, Some(&b), kind, 150, 8).unwrap().matrix != s.matrix, "{name}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for (name, kind) in SketchKind::ALL {
            assert_eq!((name.parse::<SketchKind>().unwrap(), kind.to_string().as_str()), (kind, name));
        }
        assert!("gauss".parse::<SketchKind>().unwrap_err().contains("expected one of count"));
    }
}

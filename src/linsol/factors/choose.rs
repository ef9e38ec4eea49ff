//! Which factorization suits a pattern.

use std::fmt;

use super::SparseLu;
use crate::diff::colour::colour;
use crate::linalg::order::{inverse, reverse_cuthill_mckee};
use crate::linalg::{Pattern, bandwidth};

/// How a matrix is held and factored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structure {
    /// [`super::DenseLu`].
    Dense,
    /// [`super::BandLu`], of the matrix as it is or after reordering.
    Band {
        /// Diagonals below the main one.
        lower: usize,
        /// Diagonals above it.
        upper: usize,
        /// The unknowns are reordered (reverse Cuthill-McKee).
        reordered: bool,
    },
    /// [`super::SparseLu`].
    Sparse,
    /// [`super::Krylov`] with ILU(0).
    Krylov,
    /// No matrix at all: GMRES with products, and this in the place of the inverse.
    Products(Preconditioning),
}

/// What stands in for the inverse of a matrix that is known by its products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preconditioning {
    /// Nothing.
    None,
    /// What the map brings.
    Own,
    /// [`super::Ilu0`] of a matrix that resembles it.
    Ilu0,
    /// A full factorization of one, [`super::BandLu`] or [`super::DenseLu`].
    Lu,
}

/// What a choice looks at beside the pattern.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChooseOptions {
    /// Diagonals beside the main one that a band may have.
    pub band_up_to: usize,
    /// Numbers that the factors of a direct method may take.
    pub fill_up_to: f64,
    /// Operations a row from which an iteration is taken instead of a factorization; infinite: only where memory ends.
    pub iterate_above: f64,
    /// Unknowns from which that holds. Few unknowns with much fill are no discretized diffusion, on which iterations do well.
    pub iterate_from: usize,
}

impl Default for ChooseOptions {
    fn default() -> Self {
        // 1 GiB of f64. 10 000 operations a row take some 3 us, GMRES with ILU(0) on a diffusion problem less (benches/factors.rs).
        Self { band_up_to: 64, fill_up_to: 1.3e8, iterate_above: 1e4, iterate_from: 10_000 }
    }
}

/// A structure for a pattern and why: its `Display` is one line for a report, `band 2 + 2 after reordering, 5 colours`.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The structure.
    pub structure: Structure,
    /// Unknown `order[k]` comes k-th, for a reordered band.
    pub order: Option<Vec<usize>>,
    /// Groups of columns of the Jacobian that are found together ([`crate::diff::colour`]).
    pub colours: usize,
    /// Operations of one factorization that are predicted; of ILU(0) for an iteration.
    pub flops: f64,
    /// Entries of the factors that are predicted.
    pub fill: f64,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.structure {
            Structure::Dense => write!(f, "dense")?,
            Structure::Band { lower, upper, reordered } => {
                write!(f, "band {lower} + {upper}{}", if reordered { " after reordering" } else { "" })?;
            }
            Structure::Sparse => write!(f, "sparse LU with about {:.0} entries", self.fill)?,
            Structure::Krylov => write!(f, "GMRES with ILU(0)")?,
            Structure::Products(by) => {
                return f.write_str(match by {
                    Preconditioning::None => "GMRES with products, no preconditioner",
                    Preconditioning::Own => "GMRES with products, the map's preconditioner",
                    Preconditioning::Ilu0 => "GMRES with products, ILU(0) of a matrix given",
                    Preconditioning::Lu => "GMRES with products, LU of a matrix given",
                });
            }
        }
        write!(f, ", {} {}", self.colours, if self.colours == 1 { "colour" } else { "colours" })
    }
}

impl Choice {
    /// No matrix: products and this preconditioner. The operations of a factorization are not known before.
    pub fn by_products(preconditioning: Preconditioning) -> Self {
        let structure = Structure::Products(preconditioning);
        Self { structure, order: None, colours: 0, flops: 0.0, fill: 0.0 }
    }
    /// A full matrix of n unknowns.
    pub fn dense(n: usize) -> Self {
        let x = n as f64;
        let (flops, fill) = (2.0 / 3.0 * x * x * x, x * x);
        Self { structure: Structure::Dense, order: None, colours: n, flops, fill }
    }
}

/// Operations of a band's factorization and its entries.
fn band_cost(n: usize, (lower, upper): (usize, usize)) -> (f64, f64) {
    let (n, l, above) = (n as f64, lower as f64, (lower + upper) as f64);
    (n * (1.0 + l + above + 2.0 * l * above), n * (l + above + 1.0))
}

/// The structure with the fewest operations for a factorization and four solves of a square matrix with this pattern, where an operation of
/// sparse LU counts twice (it follows indices). Up to four unknowns: dense. A pattern that is not square is dense too.
pub fn choose(a: &Pattern, options: &ChooseOptions) -> Choice {
    let n = a.nrows();
    let colours = colour(a).len();
    let dense = Choice { colours, ..Choice::dense(n) };
    if n <= 4 || a.ncols() != n {
        return dense;
    }
    let cost = |c: &Choice| {
        let weight = if c.structure == Structure::Sparse { 2.0 } else { 1.0 };
        weight * (c.flops + 8.0 * c.fill)
    };
    let mut best = if dense.fill <= options.fill_up_to { Some(dense) } else { None };
    let mut offer = |choice: Choice| {
        let better = best.as_ref().is_none_or(|b| cost(&choice) < cost(b));
        if better && choice.fill <= options.fill_up_to {
            best = Some(choice);
        }
    };
    let band = band(a, colours, options);
    // Nothing beats a band of a few diagonals, nor a dense factorization where a quarter of the entries are there.
    let narrow = band.as_ref().is_some_and(|b| b.fill <= 20.0 * n as f64);
    let full = 4.0 * a.len() as f64 >= n as f64 * n as f64;
    band.into_iter().for_each(&mut offer);
    if !narrow
        && !full
        && let Ok(facts) = SparseLu::<f64>::new().analyze(a)
    {
        let (flops, fill) = (facts.flops, facts.fill as f64);
        offer(Choice { structure: Structure::Sparse, order: None, colours, flops, fill });
    }
    match best {
        Some(best) if full || n < options.iterate_from || best.flops <= options.iterate_above * n as f64 => {
            best
        }
        _ => {
            let (flops, fill) = (10.0 * a.len() as f64, (a.len() + n) as f64);
            Choice { structure: Structure::Krylov, order: None, colours, flops, fill }
        }
    }
}

/// The band as it is or after reordering, whichever costs less by a quarter at least; none where it is too wide.
fn band(a: &Pattern, colours: usize, options: &ChooseOptions) -> Option<Choice> {
    let n = a.nrows();
    let plain = a.bandwidth();
    let order = reverse_cuthill_mckee(a);
    let place = inverse(&order);
    let after = bandwidth(a.entries().map(|(i, j)| (place[i], place[j])));
    let reordered = band_cost(n, after).0 < 0.75 * band_cost(n, plain).0;
    let (lower, upper) = if reordered { after } else { plain };
    if lower + upper > options.band_up_to {
        return None;
    }
    let (flops, fill) = band_cost(n, (lower, upper));
    let structure = Structure::Band { lower, upper, reordered };
    Some(Choice { structure, order: reordered.then_some(order), colours, flops, fill })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torus(m: usize) -> Pattern {
        let all = (0..m * m).flat_map(|k| {
            let right = k / m * m + (k + 1) % m;
            let below = (k + m) % (m * m);
            [(k, k), (k, right), (right, k), (k, below), (below, k)]
        });
        Pattern::new(m * m, m * m, all).unwrap()
    }

    fn says(a: &Pattern) -> String {
        choose(a, &ChooseOptions::default()).to_string()
    }

    #[test]
    fn choices_are_the_cheap_ones_and_say_so() {
        assert_eq!(says(&Pattern::dense(3, 3)), "dense, 3 colours");
        assert_eq!(says(&Pattern::dense(200, 200)), "dense, 200 colours");
        let band = Pattern::banded(10_000, 2, 2);
        assert_eq!(says(&band), "band 2 + 2, 5 colours");
        // u first, then v: reordering interleaves them.
        let n = 1000;
        let place = |i: usize| i / 2 + (i % 2) * (n / 2);
        let blocks = Pattern::banded(n, 2, 2);
        let blocks = Pattern::new(n, n, blocks.entries().map(|(i, j)| (place(i), place(j)))).unwrap();
        let choice = choose(&blocks, &ChooseOptions::default());
        assert!(
            matches!(choice.structure, Structure::Band { lower: 1..=3, upper: 1..=3, reordered: true }),
            "{choice}"
        );
        assert!(choice.to_string().contains("after reordering, 5 colours"), "{choice}");
        // A diagonal with one full row and column fills nothing in a sparse LU.
        let arrow = Pattern::new(500, 500, (0..500).flat_map(|j| [(j, j), (0, j), (j, 0)])).unwrap();
        assert_eq!(choose(&arrow, &ChooseOptions::default()).structure, Structure::Sparse);
        assert_eq!(choose(&torus(64), &ChooseOptions::default()).structure, Structure::Sparse);
        assert!(says(&torus(256)).starts_with("GMRES with ILU(0), "), "{}", says(&torus(256)));
        let direct = ChooseOptions { iterate_above: f64::INFINITY, ..ChooseOptions::default() };
        assert_eq!(choose(&torus(256), &direct).structure, Structure::Sparse);
        let short = ChooseOptions { fill_up_to: 1e4, ..direct };
        assert_eq!(choose(&torus(64), &short).structure, Structure::Krylov);
        assert_eq!(says(&Pattern::default()), "dense, 0 colours");
    }
}

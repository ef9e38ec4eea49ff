//! Incomplete LU without fill.

use super::entries::Entries;
use super::{FactorError, FactorFacts, Factors, right_hand_sides, well_formed};
use crate::linalg::{MatrixRef, Pattern, Scalar};

const NAME: &str = "ILU(0)";

/// L U on the pattern of A, without exchanges (Meijerink and van der Vorst 1977): a preconditioner, whose "solves" are approximate.
///
/// A diagonal that is missing counts as zero; a pivot of zero is an error. Nothing is allocated while the pattern stays.
#[derive(Debug, Clone)]
pub struct Ilu0<T> {
    n: Option<usize>,
    entries: Entries<T>,
    rows: Rows<T>,
    /// Position of each column in the row that is being eliminated.
    at: Vec<usize>,
    flops: f64,
}

/// A matrix row by row with a full diagonal.
#[derive(Debug, Clone, Default)]
struct Rows<T> {
    start: Vec<usize>,
    cols: Vec<usize>,
    values: Vec<T>,
    /// Position of the diagonal.
    diagonal: Vec<usize>,
    inverses: Vec<T>,
    /// Position of entry k of the columns.
    to: Vec<usize>,
}

const NONE: usize = usize::MAX;

impl<T: Scalar> Rows<T> {
    fn new(a: &Pattern) -> Self {
        let n = a.nrows();
        let mut columns_of: Vec<Vec<usize>> = (0..n).map(|i| vec![i]).collect();
        a.entries().for_each(|(i, j)| columns_of[i].push(j));
        // The pattern of the transpose with its diagonal.
        let rows = Pattern::of_columns(n, columns_of);
        Self {
            start: rows.col_ptr().to_vec(),
            cols: rows.row_idx().to_vec(),
            values: vec![T::ZERO; rows.len()],
            diagonal: (0..n).filter_map(|i| rows.position(i, i)).collect(),
            inverses: vec![T::ZERO; n],
            to: a.entries().filter_map(|(i, j)| rows.position(j, i)).collect(),
        }
    }
    fn row(&self, i: usize) -> std::ops::Range<usize> {
        self.start[i]..self.start[i + 1]
    }
}

impl<T: Scalar> Default for Ilu0<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar> Ilu0<T> {
    /// Nothing is factored yet.
    pub fn new() -> Self {
        Self { n: None, entries: Entries::default(), rows: Rows::default(), at: Vec::new(), flops: 0.0 }
    }

    fn eliminate(&mut self, n: usize) -> Result<(), usize> {
        let Self { rows, at, .. } = self;
        let mut pairs = 0usize;
        for i in 0..n {
            let row = rows.row(i);
            row.clone().for_each(|p| at[rows.cols[p]] = p);
            for p in row.start..rows.diagonal[i] {
                let k = rows.cols[p];
                let f = rows.values[p] * rows.inverses[k];
                rows.values[p] = f;
                let above = rows.diagonal[k] + 1..rows.start[k + 1];
                pairs += above.len();
                for q in above {
                    let to = at[rows.cols[q]];
                    if to != NONE {
                        let u = rows.values[q];
                        rows.values[to] -= f * u;
                    }
                }
            }
            row.for_each(|p| at[rows.cols[p]] = NONE);
            let d = rows.values[rows.diagonal[i]];
            rows.inverses[i] = T::ONE / d;
            if !(d.is_finite() && rows.inverses[i].is_finite()) {
                return Err(i);
            }
        }
        self.flops = 2.0 * pairs as f64 + self.rows.cols.len() as f64;
        Ok(())
    }

    fn run(&mut self, b: &mut [T], transposed: bool) -> Result<(), FactorError> {
        let Some(n) = self.n else {
            return Err(FactorError::Length { solver: NAME, found: b.len(), n: 0 });
        };
        if right_hand_sides(NAME, n, b.len())? == 0 {
            return Ok(());
        }
        for b in b.chunks_exact_mut(n) {
            if transposed { self.rows.solve_t(b) } else { self.rows.solve(b) }
        }
        Ok(())
    }
}

impl<T: Scalar> Rows<T> {
    fn solve(&self, b: &mut [T]) {
        let n = b.len();
        for i in 0..n {
            let mut sum = b[i];
            for p in self.start[i]..self.diagonal[i] {
                sum -= self.values[p] * b[self.cols[p]];
            }
            b[i] = sum;
        }
        for i in (0..n).rev() {
            let mut sum = b[i];
            for p in self.diagonal[i] + 1..self.start[i + 1] {
                sum -= self.values[p] * b[self.cols[p]];
            }
            b[i] = sum * self.inverses[i];
        }
    }

    fn solve_t(&self, b: &mut [T]) {
        let n = b.len();
        for i in 0..n {
            let x = b[i] * self.inverses[i];
            b[i] = x;
            for p in self.diagonal[i] + 1..self.start[i + 1] {
                b[self.cols[p]] -= self.values[p] * x;
            }
        }
        for i in (0..n).rev() {
            let x = b[i];
            for p in self.start[i]..self.diagonal[i] {
                b[self.cols[p]] -= self.values[p] * x;
            }
        }
    }
}

impl<T: Scalar> Factors<T> for Ilu0<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn factor(&mut self, a: MatrixRef<'_, T>) -> Result<(), FactorError> {
        self.n = None;
        let n = well_formed(NAME, &a)?;
        if let Some((row, column)) = a.not_finite() {
            return Err(FactorError::NotFinite { solver: NAME, row, column });
        }
        if self.entries.take(NAME, &a)? || self.rows.diagonal.len() != n {
            self.rows = Rows::new(&self.entries.pattern);
        }
        self.at.clear();
        self.at.resize(n, NONE);
        self.rows.values.fill(T::ZERO);
        for (&to, v) in self.rows.to.iter().zip(&self.entries.values) {
            self.rows.values[to] = *v;
        }
        self.eliminate(n).map_err(|column| FactorError::Singular { solver: NAME, column })?;
        self.n = Some(n);
        Ok(())
    }

    fn solve(&mut self, b: &mut [T]) -> Result<(), FactorError> {
        self.run(b, false)
    }

    fn solve_t(&mut self, b: &mut [T]) -> Result<(), FactorError> {
        self.run(b, true)
    }

    fn facts(&self) -> FactorFacts {
        let fill = self.rows.cols.len();
        FactorFacts {
            n: self.n.unwrap_or(0),
            flops: self.flops,
            solve_flops: 2.0 * fill as f64,
            fill,
            iterations: 0,
        }
    }
}

//! Tall matrices, row after row: dense, sparse, or read in blocks.
//!
//! A pass over the rows is cut into groups of blocks. The cut depends on the shape only, each group sums in the order of its rows, and the sums of the groups are
//! added in their order: the same bits for any number of threads.

use std::fmt;
use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::error::Error;

/// Groups of a pass whose partial results are vectors.
const VECTOR_GROUPS: usize = 32;
/// Groups of a pass whose partial results are matrices.
const MATRIX_GROUPS: usize = 8;
/// Numbers of a dense block: 1 MiB, which stays in the cache between two uses of a block.
const BLOCK_NUMBERS: usize = 1 << 17;

/// Rows that are read when they are needed, from a file or a generator.
pub trait RowSource: Send + Sync + fmt::Debug {
    /// Rows.
    fn rows(&self) -> usize;
    /// Columns.
    fn columns(&self) -> usize;
    /// The rows from `first` on, as many as `out` holds, row after row. May be called by several threads at once.
    ///
    /// # Errors
    /// The rows cannot be read.
    fn read(&self, first: usize, out: &mut [f64]) -> Result<(), Error>;
}

#[derive(Debug)]
enum Storage {
    Dense(Vec<f64>),
    /// Row i holds entries `start[i]..start[i + 1]`.
    Sparse {
        start: Vec<usize>,
        column: Vec<u32>,
        value: Vec<f64>,
    },
    Source(Box<dyn RowSource>),
}

/// An m x n matrix, m much larger than n as a rule, in rows.
#[derive(Debug)]
pub struct TallMatrix {
    rows: usize,
    columns: usize,
    storage: Storage,
}

/// Successive rows of a matrix.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Index of the first row.
    pub first: usize,
    /// Rows of the block.
    pub rows: usize,
    columns: usize,
    entries: Entries<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Entries<'a> {
    Dense(&'a [f64]),
    /// `start` has one entry more than there are rows.
    Sparse {
        start: &'a [usize],
        column: &'a [u32],
        value: &'a [f64],
    },
}

fn wrong(what: String) -> Error {
    Error::Problem { name: "tall matrix".into(), what }
}

impl TallMatrix {
    /// From numbers, row after row.
    ///
    /// # Errors
    /// The numbers are not rows x columns, there are none, or one is not finite.
    pub fn dense(rows: usize, columns: usize, values: Vec<f64>) -> Result<Self, Error> {
        if rows == 0 || columns == 0 || rows.checked_mul(columns) != Some(values.len()) {
            return Err(wrong(format!("{} numbers are not {rows} rows of {columns}", values.len())));
        }
        if let Some(k) = values.par_iter().position_first(|v| !v.is_finite()) {
            return Err(wrong(format!("row {} has {} in column {}", k / columns, values[k], k % columns)));
        }
        Ok(Self { rows, columns, storage: Storage::Dense(values) })
    }
    /// From compressed rows: row i holds entries `start[i]..start[i + 1]`, columns ascending.
    ///
    /// # Errors
    /// Lengths or columns contradict each other, or a value is not finite.
    pub fn sparse(
        columns: usize,
        start: Vec<usize>,
        column: Vec<u32>,
        value: Vec<f64>,
    ) -> Result<Self, Error> {
        let rows = start.len().saturating_sub(1);
        let lengths = column.len() == value.len() && start.last() == Some(&column.len()) && start[0] == 0;
        if rows == 0 || columns == 0 || !lengths || start.windows(2).any(|w| w[0] > w[1]) {
            return Err(wrong("the starts of the compressed rows do not fit the entries".into()));
        }
        for i in 0..rows {
            let here = start[i]..start[i + 1];
            let ascending = column[here.clone()].windows(2).all(|w| w[0] < w[1]);
            let inside = column[here.clone()].last().is_none_or(|c| (*c as usize) < columns);
            if !ascending || !inside || value[here].iter().any(|v| !v.is_finite()) {
                return Err(wrong(format!(
                    "row {i} needs ascending columns below {columns} and finite values"
                )));
            }
        }
        Ok(Self { rows, columns, storage: Storage::Sparse { start, column, value } })
    }
    /// Rows that are read in blocks at every pass.
    ///
    /// # Errors
    /// It has no rows or no columns.
    pub fn streamed(source: Box<dyn RowSource>) -> Result<Self, Error> {
        let (rows, columns) = (source.rows(), source.columns());
        if rows == 0 || columns == 0 {
            return Err(wrong(format!("a source of {rows} rows and {columns} columns")));
        }
        Ok(Self { rows, columns, storage: Storage::Source(source) })
    }

    /// Rows m.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Columns n.
    pub fn columns(&self) -> usize {
        self.columns
    }
    /// Stored entries.
    pub fn entries(&self) -> usize {
        match &self.storage {
            Storage::Sparse { value, .. } => value.len(),
            _ => self.rows * self.columns,
        }
    }
    /// Sparse storage.
    pub fn is_sparse(&self) -> bool {
        matches!(self.storage, Storage::Sparse { .. })
    }
    /// Every pass reads the rows anew.
    pub fn is_streamed(&self) -> bool {
        matches!(self.storage, Storage::Source(_))
    }

    fn block_rows(&self) -> usize {
        match self.storage {
            Storage::Sparse { .. } => 1024,
            _ => (BLOCK_NUMBERS / self.columns).clamp(16, 4096),
        }
    }
    /// At most `most` ranges of rows, each of whole blocks.
    pub(super) fn groups(&self, most: usize) -> Vec<Range<usize>> {
        let size = self.block_rows();
        let blocks = self.rows.div_ceil(size);
        let groups = blocks.min(most);
        let end = |g: usize| (g * blocks / groups * size).min(self.rows);
        (0..groups).map(|g| end(g)..end(g + 1)).collect()
    }
    /// Groups of a pass with a vector a group.
    pub fn vector_groups(&self) -> Vec<Range<usize>> {
        self.groups(VECTOR_GROUPS)
    }
    /// Groups of a pass with a matrix a group.
    pub fn matrix_groups(&self) -> Vec<Range<usize>> {
        self.groups(MATRIX_GROUPS)
    }

    /// Rows as a block; `buffer` is used for rows that have to be read.
    pub(super) fn block<'a>(
        &'a self,
        rows: Range<usize>,
        buffer: &'a mut Vec<f64>,
    ) -> Result<Block<'a>, Error> {
        let n = self.columns;
        let entries = match &self.storage {
            Storage::Dense(values) => Entries::Dense(&values[rows.start * n..rows.end * n]),
            Storage::Sparse { start, column, value } => {
                Entries::Sparse { start: &start[rows.start..=rows.end], column, value }
            }
            Storage::Source(source) => {
                buffer.resize(rows.len() * n, 0.0);
                source.read(rows.start, buffer)?;
                Entries::Dense(buffer)
            }
        };
        Ok(Block { first: rows.start, rows: rows.len(), columns: n, entries })
    }

    /// Visits all blocks for which `wanted` holds, those of a group in their order. `states` has one entry for each of `groups`.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn visit<S: Send>(
        &self,
        groups: &[Range<usize>],
        states: &mut [S],
        wanted: impl Fn(&Range<usize>) -> bool + Sync,
        visit: impl Fn(&mut S, &Block<'_>) + Sync,
    ) -> Result<(), Error> {
        let size = self.block_rows();
        groups.par_iter().zip(states).try_for_each(|(group, state)| {
            let mut buffer = vec![];
            for first in group.clone().step_by(size) {
                let rows = first..(first + size).min(group.end);
                if wanted(&rows) {
                    visit(state, &self.block(rows, &mut buffer)?);
                }
            }
            Ok(())
        })
    }

    /// y <- A x, x of length n, y of length m.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn multiply(&self, x: &[f64], y: &mut [f64]) -> Result<(), Error> {
        let groups = self.vector_groups();
        let mut parts = split(&groups, y);
        self.visit(
            &groups,
            &mut parts,
            |_| true,
            |(first, y), block| {
                let at = block.first - *first;
                block.multiply(x, &mut y[at..at + block.rows]);
            },
        )
    }
    /// y <- A' x, x of length m, y of length n.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn multiply_transposed(&self, x: &[f64], y: &mut [f64]) -> Result<(), Error> {
        self.sum_vectors(y, |_, sum, block| {
            block.add_transposed(&x[block.first..block.first + block.rows], sum);
        })
    }
    /// y <- A' D A x with D = diag(weights), none: the identity. One pass over the rows.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn multiply_normal(&self, weights: Option<&[f64]>, x: &[f64], y: &mut [f64]) -> Result<(), Error> {
        self.sum_vectors(y, |work, sum, block| {
            work.resize(block.rows, 0.0);
            block.multiply(x, work);
            if let Some(weights) = weights {
                work.iter_mut().zip(&weights[block.first..]).for_each(|(v, d)| *v *= d);
            }
            block.add_transposed(work, sum);
        })
    }
    /// r <- b - A x and y <- A' r in one pass.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn residual(&self, x: &[f64], b: &[f64], r: &mut [f64], y: &mut [f64]) -> Result<(), Error> {
        let (groups, n) = (self.vector_groups(), self.columns);
        let mut sums = vec![0.0; n * groups.len()];
        let mut states: Vec<_> = split(&groups, r).into_iter().zip(sums.chunks_mut(n)).collect();
        self.visit(
            &groups,
            &mut states,
            |_| true,
            |((first, r), sum), block| {
                let r = &mut r[block.first - *first..][..block.rows];
                block.multiply(x, r);
                r.iter_mut().zip(&b[block.first..]).for_each(|(r, b)| *r = b - *r);
                block.add_transposed(r, sum);
            },
        )?;
        add_up(&sums, y);
        Ok(())
    }
    /// y <- the sum over all blocks of what `add` adds; its first argument is memory that it may use.
    fn sum_vectors(
        &self,
        y: &mut [f64],
        add: impl Fn(&mut Vec<f64>, &mut [f64], &Block<'_>) + Sync,
    ) -> Result<(), Error> {
        let (groups, n) = (self.vector_groups(), self.columns);
        let mut sums = vec![0.0; n * groups.len()];
        let mut states: Vec<_> = sums.chunks_mut(n).map(|sum| (vec![], sum)).collect();
        self.visit(&groups, &mut states, |_| true, |(work, sum), block| add(work, sum, block))?;
        drop(states);
        add_up(&sums, y);
        Ok(())
    }
    /// Squared norms of the columns, length n.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn column_squares(&self) -> Result<Vec<f64>, Error> {
        let mut squares = vec![0.0; self.columns];
        self.sum_vectors(&mut squares, |_, sum, block| {
            for i in 0..block.rows {
                block.for_row(i, |j, v| sum[j] += v * v);
            }
        })?;
        Ok(squares)
    }
    /// The lower triangle of A' D A, n x n column by column, D = diag(weights) with weights that are at least 0; none: the identity.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn gram(&self, weights: Option<&[f64]>, product: &mut [f64]) -> Result<(), Error> {
        let groups = self.matrix_groups();
        let mut states: Vec<GramSum> = groups.iter().map(|_| GramSum::new(self.columns)).collect();
        self.visit(
            &groups,
            &mut states,
            |_| true,
            |sum, block| {
                for i in 0..block.rows {
                    sum.add(block, i, weights.map_or(1.0, |d| d[block.first + i]));
                }
                sum.flush();
            },
        )?;
        finish_gram(&states, product);
        Ok(())
    }
    /// The lower triangle of the sum of `weight` a_i a_i' over the rows (i, weight), i ascending.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn gram_of_rows(&self, picked: &[(usize, f64)], product: &mut [f64]) -> Result<(), Error> {
        let groups = self.matrix_groups();
        let mut states: Vec<GramSum> = groups.iter().map(|_| GramSum::new(self.columns)).collect();
        let within = |rows: &Range<usize>| {
            let at = |row: usize| picked.partition_point(|p| p.0 < row);
            &picked[at(rows.start)..at(rows.end)]
        };
        self.visit(
            &groups,
            &mut states,
            |rows| !within(rows).is_empty(),
            |sum, block| {
                for (i, weight) in within(&(block.first..block.first + block.rows)) {
                    sum.add(block, i - block.first, *weight);
                }
            },
        )?;
        states.par_iter_mut().for_each(GramSum::flush);
        finish_gram(&states, product);
        Ok(())
    }
    /// y <- the sum of `weight` b_i a_i over the rows (i, weight), i ascending.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn combine_rows(&self, picked: &[(usize, f64)], b: &[f64], y: &mut [f64]) -> Result<(), Error> {
        y.fill(0.0);
        let mut buffer = vec![];
        for (i, weight) in picked {
            self.block(*i..i + 1, &mut buffer)?.add_row(0, weight * b[*i], y);
        }
        Ok(())
    }
    /// What `visit` makes of each row of A P (its index, its k numbers), P n x k column by column.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub(super) fn multiply_columns(
        &self,
        p: &[f64],
        k: usize,
        visit: impl Fn(usize, &[f64]) -> f64 + Sync,
        out: &mut [f64],
    ) -> Result<(), Error> {
        let groups = self.vector_groups();
        let mut states: Vec<_> =
            split(&groups, out).into_iter().map(|(first, out)| (first, out, vec![])).collect();
        self.visit(
            &groups,
            &mut states,
            |_| true,
            |(first, out, work): &mut (usize, &mut [f64], Vec<f64>), block| {
                work.resize(k * block.rows, 0.0);
                block.multiply_columns(p, k, work);
                for (i, row) in work.chunks(k).enumerate() {
                    out[block.first + i - *first] = visit(block.first + i, row);
                }
            },
        )
    }
}

/// The parts of a vector with one number a row that belong to the groups, with the first row of each.
pub(crate) fn split<'a>(groups: &[Range<usize>], mut y: &'a mut [f64]) -> Vec<(usize, &'a mut [f64])> {
    let mut parts = Vec::with_capacity(groups.len());
    for group in groups {
        let (head, tail) = y.split_at_mut(group.len());
        parts.push((group.start, head));
        y = tail;
    }
    parts
}

/// y <- the sum of the vectors that follow each other in `sums`.
pub(crate) fn add_up(sums: &[f64], y: &mut [f64]) {
    y.fill(0.0);
    for sum in sums.chunks(y.len().max(1)) {
        y.iter_mut().zip(sum).for_each(|(y, v)| *y += v);
    }
}

fn finish_gram(states: &[GramSum], product: &mut [f64]) {
    product.fill(0.0);
    for state in states {
        product.iter_mut().zip(&state.product).for_each(|(y, v)| *y += v);
    }
}

/// Rows that wait for one dense product.
const WAITING: usize = 192;

/// The lower triangle of a sum of outer products.
struct GramSum {
    n: usize,
    product: Vec<f64>,
    /// Scaled dense rows that are not yet in the product.
    waiting: Vec<f64>,
}

impl GramSum {
    fn new(n: usize) -> Self {
        Self { n, product: vec![0.0; n * n], waiting: Vec::with_capacity(n * WAITING) }
    }
    fn add(&mut self, block: &Block<'_>, i: usize, weight: f64) {
        let n = self.n;
        match block.entries {
            Entries::Dense(values) => {
                let root = weight.sqrt();
                self.waiting.extend(values[i * n..(i + 1) * n].iter().map(|v| root * v));
                if self.waiting.len() == n * WAITING {
                    self.flush();
                }
            }
            Entries::Sparse { start, column, value } => {
                let here = start[i]..start[i + 1];
                let (column, value) = (&column[here.clone()], &value[here]);
                for (k, (j, v)) in column.iter().zip(value).enumerate() {
                    let scaled = weight * v;
                    let target = &mut self.product[*j as usize * n..(*j as usize + 1) * n];
                    column[k..].iter().zip(&value[k..]).for_each(|(i, u)| target[*i as usize] += scaled * u);
                }
            }
        }
    }
    fn flush(&mut self) {
        let n = self.n;
        if self.waiting.is_empty() {
            return;
        }
        let rows = MatRef::from_column_major_slice(&self.waiting, n, self.waiting.len() / n);
        triangular::matmul(
            MatMut::from_column_major_slice_mut(&mut self.product, n, n),
            BlockStructure::TriangularLower,
            Accum::Add,
            rows,
            BlockStructure::Rectangular,
            rows.transpose(),
            BlockStructure::Rectangular,
            1.0,
            Par::Seq,
        );
        self.waiting.clear();
    }
}

impl Block<'_> {
    /// Calls `f` for the stored entries (column, value) of row i of the block.
    #[inline]
    pub fn for_row(&self, i: usize, mut f: impl FnMut(usize, f64)) {
        match self.entries {
            Entries::Dense(values) => {
                let row = &values[i * self.columns..(i + 1) * self.columns];
                row.iter().enumerate().for_each(|(j, v)| f(j, *v));
            }
            Entries::Sparse { start, column, value } => {
                let here = start[i]..start[i + 1];
                column[here.clone()].iter().zip(&value[here]).for_each(|(j, v)| f(*j as usize, *v));
            }
        }
    }
    /// As [`Block::for_row`], only columns within a range.
    pub(super) fn for_columns(&self, i: usize, columns: Range<usize>, mut f: impl FnMut(usize, f64)) {
        match self.entries {
            Entries::Dense(values) => {
                let row = &values[i * self.columns..(i + 1) * self.columns][columns.clone()];
                row.iter().zip(columns).for_each(|(v, j)| f(j, *v));
            }
            Entries::Sparse { start, column, value } => {
                let (from, to) = (start[i], start[i + 1]);
                let first = from + column[from..to].partition_point(|j| (*j as usize) < columns.start);
                for (j, v) in column[first..to].iter().zip(&value[first..to]) {
                    if *j as usize >= columns.end {
                        break;
                    }
                    f(*j as usize, *v);
                }
            }
        }
    }
    /// y <- y + alpha a_i.
    pub fn add_row(&self, i: usize, alpha: f64, y: &mut [f64]) {
        match self.entries {
            Entries::Dense(values) => {
                let row = &values[i * self.columns..(i + 1) * self.columns];
                y.iter_mut().zip(row).for_each(|(y, v)| *y += alpha * v);
            }
            Entries::Sparse { .. } => self.for_row(i, |j, v| y[j] += alpha * v),
        }
    }
    /// y <- A x, y of the block's length.
    pub fn multiply(&self, x: &[f64], y: &mut [f64]) {
        match self.entries {
            Entries::Dense(values) => {
                let (fours, rest) = y.as_chunks_mut::<4>();
                let n = self.columns;
                let (head, tail) = values.split_at(4 * n * fours.len());
                for (y, rows) in fours.iter_mut().zip(head.chunks_exact(4 * n)) {
                    *y = dot4(rows, x);
                }
                for (y, row) in rest.iter_mut().zip(tail.chunks_exact(n)) {
                    *y = crate::linalg::dot(row, x);
                }
            }
            Entries::Sparse { start, column, value } => {
                for (i, y) in y.iter_mut().enumerate() {
                    let here = start[i]..start[i + 1];
                    *y = column[here.clone()].iter().zip(&value[here]).map(|(j, v)| v * x[*j as usize]).sum();
                }
            }
        }
    }
    /// y <- y + A' w, w of the block's length.
    pub fn add_transposed(&self, w: &[f64], y: &mut [f64]) {
        let Entries::Dense(values) = self.entries else {
            return w.iter().enumerate().for_each(|(i, w)| self.for_row(i, |j, v| y[j] += w * v));
        };
        let n = self.columns;
        let (fours, rest) = w.as_chunks::<4>();
        let (head, tail) = values.split_at(4 * n * fours.len());
        for (w, rows) in fours.iter().zip(head.chunks_exact(4 * n)) {
            add4(w, rows, y);
        }
        for (w, row) in rest.iter().zip(tail.chunks_exact(n)) {
            y.iter_mut().zip(row).for_each(|(y, v)| *y += w * v);
        }
    }
    /// y <- A P, P n x k column by column, y rows x k row after row.
    fn multiply_columns(&self, p: &[f64], k: usize, y: &mut [f64]) {
        match self.entries {
            Entries::Dense(values) => matmul(
                MatMut::from_row_major_slice_mut(y, self.rows, k),
                Accum::Replace,
                MatRef::from_row_major_slice(values, self.rows, self.columns),
                MatRef::from_column_major_slice(p, self.columns, k),
                1.0,
                Par::Seq,
            ),
            Entries::Sparse { .. } => {
                y.fill(0.0);
                for (i, y) in y.chunks_mut(k).enumerate() {
                    self.for_row(i, |j, v| {
                        y.iter_mut().enumerate().for_each(|(c, y)| *y += v * p[c * self.columns + j]);
                    });
                }
            }
        }
    }
}

/// Products of four rows with x, four partial sums each.
fn dot4(rows: &[f64], x: &[f64]) -> [f64; 4] {
    let n = x.len();
    let (r0, rest) = rows.split_at(n);
    let (r1, rest) = rest.split_at(n);
    let (r2, r3) = rest.split_at(n);
    let mut sums = [[0.0; 4]; 4];
    let (xs, x_end) = x.as_chunks::<4>();
    let (c0, e0) = r0.as_chunks::<4>();
    let (c1, e1) = r1.as_chunks::<4>();
    let (c2, e2) = r2.as_chunks::<4>();
    let (c3, e3) = r3.as_chunks::<4>();
    for ((((x, a), b), c), d) in xs.iter().zip(c0).zip(c1).zip(c2).zip(c3) {
        for k in 0..4 {
            sums[0][k] += x[k] * a[k];
            sums[1][k] += x[k] * b[k];
            sums[2][k] += x[k] * c[k];
            sums[3][k] += x[k] * d[k];
        }
    }
    let end = |e: &[f64]| e.iter().zip(x_end).map(|(a, b)| a * b).sum::<f64>();
    let of = |s: [f64; 4], e: &[f64]| (s[0] + s[1]) + (s[2] + s[3]) + end(e);
    [of(sums[0], e0), of(sums[1], e1), of(sums[2], e2), of(sums[3], e3)]
}

/// y <- y + w0 r0 + .. + w3 r3.
fn add4(w: &[f64; 4], rows: &[f64], y: &mut [f64]) {
    let n = y.len();
    let (r0, rest) = rows.split_at(n);
    let (r1, rest) = rest.split_at(n);
    let (r2, r3) = rest.split_at(n);
    for ((((y, a), b), c), d) in y.iter_mut().zip(r0).zip(r1).zip(r2).zip(r3) {
        *y += (w[0] * a + w[1] * b) + (w[2] * c + w[3] * d);
    }
}

#[cfg(test)]
#[path = "tall_tests.rs"]
mod tests;

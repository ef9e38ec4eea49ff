//! Parameters as matrices and vectors.

use std::ops::Range;

use super::moments::{Constants, Square};
use crate::linalg::Scalar;
use crate::nn::Entry;

/// One array as a matrix, column by column: its last dimension are the rows, the others together the columns. A layer's weight is W of y = W x, outputs x inputs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Block {
    /// Its place among the parameters.
    pub range: Range<usize>,
    pub rows: usize,
    pub cols: usize,
}

impl Block {
    fn of(entry: &Entry) -> Self {
        let rows = entry.shape.last().copied().unwrap_or(1).max(1);
        Self { range: entry.range.clone(), rows, cols: entry.range.len() / rows }
    }
    /// Neither side is 1.
    pub fn is_matrix(&self) -> bool {
        self.rows > 1 && self.cols > 1
    }
    /// All arrays.
    pub fn all(entries: &[Entry]) -> Vec<Self> {
        entries.iter().map(Self::of).collect()
    }
}

/// Adam for the arrays that are no matrices, beside an optimizer of those that are. First and second moments of vectors one after another.
pub(super) struct Vectors<T> {
    ranges: Vec<Range<usize>>,
    constants: Constants,
    pub m: Vec<T>,
    pub v: Vec<T>,
}

impl<T: Scalar> Vectors<T> {
    pub fn new(constants: Constants, blocks: &[Block]) -> Self {
        let ranges: Vec<_> = blocks.iter().filter(|b| !b.is_matrix()).map(|b| b.range.clone()).collect();
        let n = ranges.iter().map(Range::len).sum();
        Self { ranges, constants, m: vec![T::ZERO; n], v: vec![T::ZERO; n] }
    }
    /// Step t, counted from 1.
    pub fn step(&mut self, rate: f64, t: u64, p: &mut [T], g: &[T]) {
        let mut at = 0;
        for range in &self.ranges {
            let own = at..at + range.len();
            at = own.end;
            let (m, v) = (&mut self.m[own.clone()], &mut self.v[own]);
            self.constants.step::<T, Square>((rate, t), &mut p[range.clone()], &g[range.clone()], m, v);
        }
    }
}

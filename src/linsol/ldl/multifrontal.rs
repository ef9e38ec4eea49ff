//! Multifrontal LDL' with threshold pivoting and delayed pivots (Duff and Reid 1983).
//!
//! Each node of the assembly tree sums its entries and what its children left into a front, eliminates the pivots that
//! pass the threshold test, and leaves the rest, columns without a pivot included, to its parent.
//! The inertia is that of D. A warm factorization allocates nothing unless more columns are delayed than ever before.
//! For threads the tree is cut into parts ([`super::part`]).

use std::sync::Arc;

use rayon::ThreadPool;

use crate::linsol::{Inertia, LinSolError};
use crate::observe::StopToken;

use super::NAME;
use super::front::{Pivot, Thresholds};
use super::part::{Own, Part, Task};
use super::plan::{cut, whole};
use super::symbolic::Symbolic;

pub(super) struct Multifrontal {
    pub symbolic: Symbolic,
    root: Part,
    pool: Option<Arc<ThreadPool>>,
    /// Right-hand side by positions, and the rows of a block.
    x: Vec<f64>,
    local: Vec<f64>,
}

impl Multifrontal {
    /// `values`: see [`Symbolic::new`]; `pool`: gives threads for a number of multiplications, or none.
    pub fn new(
        n: usize,
        col_ptr: &[usize],
        row_idx: &[usize],
        values: &[f64],
        stop: &StopToken,
        pool: impl FnOnce(f64) -> Option<Arc<ThreadPool>>,
    ) -> Result<Self, LinSolError> {
        let symbolic = Symbolic::new(n, col_ptr, row_idx, values, stop)?;
        let pool = pool(symbolic.work);
        let mut root = if pool.is_some() { cut(&symbolic) } else { whole(&symbolic) };
        if !root.reserve(&symbolic) {
            let reason = format!("no memory for {} entries of the factor", symbolic.factor_nonzeros);
            return Err(LinSolError::TooLarge { solver: NAME, reason });
        }
        Ok(Self { symbolic, root, pool, x: vec![0.0; n], local: Vec::new() })
    }

    /// Entries of L.
    pub fn factor_nonzeros(&self) -> usize {
        let entries = |b: &super::part::Block| b.pivots * b.s - b.pivots * b.pivots.saturating_sub(1) / 2;
        let mut sum = 0;
        self.root.visit(&mut |own| sum += own.blocks.iter().map(entries).sum::<usize>());
        sum
    }

    /// Multiplications of the last factorization: half the sum of squares of the columns of L. Summed in integers, as the order of the
    /// sum depends on how the tree is cut.
    pub fn work(&self) -> f64 {
        let squares = |m: usize| {
            let m = m as u128;
            m * (m + 1) * (2 * m + 1) / 6
        };
        let mut sum = 0;
        let of_block = |b: &super::part::Block| squares(b.s) - squares(b.s - b.pivots);
        self.root.visit(&mut |own| sum += own.blocks.iter().map(of_block).sum::<u128>());
        0.5 * sum as f64
    }

    /// Parts of the tree.
    #[cfg(test)]
    pub fn parts(&self) -> usize {
        let mut count = 0;
        self.root.visit(&mut |_| count += 1);
        count
    }

    /// Columns that the last factorization handed from a front to its parent.
    pub fn delayed(&self) -> usize {
        let mut sum = 0;
        self.root.visit(&mut |own| sum += own.delayed);
        sum
    }

    /// Factorizes the matrix with these entries in the pattern given to `new`.
    pub fn factor(
        &mut self,
        values: &[f64],
        limits: Thresholds,
        stop: &StopToken,
    ) -> Result<Inertia, LinSolError> {
        let Self { symbolic, root, pool, .. } = self;
        let task = Task { symbolic, values, limits, stop, parallel: pool.is_some() };
        match pool {
            Some(pool) => pool.install(|| root.factor(task)),
            None => root.factor(task),
        }
        .ok_or(LinSolError::Stopped)?;
        let mut inertia = Inertia { positive: 0, negative: 0, zero: 0 };
        root.visit(&mut |own| add_inertia(own, limits.zero, &mut inertia));
        let largest = |own: &Own| own.blocks.iter().map(|b| b.s).max().unwrap_or(0);
        let mut most = 0;
        root.visit(&mut |own| most = most.max(largest(own)));
        self.local.resize(most, 0.0);
        Ok(inertia)
    }

    /// x <- A^-1 x with the last factors.
    pub fn solve(&mut self, x: &mut [f64]) {
        for (p, &j) in self.x.iter_mut().zip(&self.symbolic.order) {
            *p = x[j as usize];
        }
        self.root.solve_lower(&mut self.x, &mut self.local);
        self.root.solve_upper(&mut self.x, &mut self.local);
        for (p, &j) in self.x.iter().zip(&self.symbolic.order) {
            x[j as usize] = *p;
        }
    }
}

/// Adds the signs of the eigenvalues of D.
fn add_inertia(own: &Own, zero: f64, inertia: &mut Inertia) {
    let mut count = |d: f64| {
        if d > zero {
            inertia.positive += 1;
        } else if d < -zero {
            inertia.negative += 1;
        } else {
            inertia.zero += 1;
        }
    };
    let mut k = 0;
    while k < own.pivots.len() {
        let Pivot { diagonal, below } = own.pivots[k];
        if below == 0.0 {
            count(diagonal);
            k += 1;
        } else {
            let (a, b) = eigenvalues(diagonal, below, own.pivots[k + 1].diagonal);
            count(a);
            count(b);
            k += 2;
        }
    }
}

/// Of [a b; b c].
fn eigenvalues(a: f64, b: f64, c: f64) -> (f64, f64) {
    let mean = 0.5 * (a + c);
    let radius = (0.5 * (a - c)).hypot(b);
    // The eigenvalue of larger magnitude without cancellation, the other from the determinant.
    let big = if mean >= 0.0 { mean + radius } else { mean - radius };
    if big == 0.0 {
        return (0.0, 0.0);
    }
    (big, (a / big) * c - (b / big) * b)
}

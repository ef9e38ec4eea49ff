//! The matrices W = I / (h gamma) - J of a step: full ones with own kernels, those of many unknowns in the structure of the Jacobian with
//! [`StepMatrix`].
//!
//! Of [`Variational`](crate::diff::Variational) equations along k directions the blocks of the Jacobian are J and its derivatives J_i, and
//!
//! ```text
//! [ W             ]                                W x = b,   W x_i = b_i + J_i x
//! [ -J_1  W       ]
//! [ ..        ..  ],   factors of W alone:
//! [ -J_k        W ]                                W' x_i = b_i,   W' x = b + sum_i J_i' x_i   for the transpose
//! ```
//!
//! With integrals q' = Q(t, y) behind the state the matrices are those of y alone: W x = b as without them, and x_q = h gamma (b_q + Q_y x).

use std::fmt;

use super::super::report::OdeCounts;
use super::super::stepper::Measure;
use super::products::Products;
use crate::diff::{At, Map, Offers, Structure};
use crate::error::OdeError;
use crate::linalg::small_lu as lu;
use crate::linalg::{Pattern, Scalar};
use crate::linsol::factors::{Choice, ChooseOptions, FactorError, Layout, Mass, StepMatrix};
use crate::simd::vectorized;

/// Up to so many unknowns every Jacobian is held full and eliminated by own kernels.
pub(super) const SMALL: usize = 30;
/// Up to so many a full one is. Beyond, [`StepMatrix`] has faer's blocked kernels where it is full indeed: own ones pass over zeros, and many a band comes in full storage.
const FULL: usize = 128;
/// |b - W x| / |b| of iterations, where nothing else fits in memory: what the stages can lose without harm to the order.
const ITERATE_TO: f64 = 1e-12;

/// The Jacobians of a step and the factors of W, one for each column of the batch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matrices<T> {
    /// df/dy, a block a column of the batch: full, or in the field's structure.
    pub jac: Vec<T>,
    /// Factors of full matrices, their rows, and room for a solve.
    lu: Vec<T>,
    rows: Vec<u32>,
    work: Vec<T>,
    /// Of variational equations; zero for all others.
    directions: usize,
    /// Components of the state that full matrices leave out, and the last h gamma, for them.
    integrals: usize,
    h_gamma: T,
    /// A right-hand side with J_i x.
    moved: Vec<T>,
    large: Large<T>,
}

/// Matrices of many unknowns. A clone is empty until the next run.
struct Large<T> {
    structure: Structure,
    each: Vec<StepMatrix<T>>,
    /// In the place of matrices, where there are only products with them.
    products: Option<Products<T>>,
    /// Numbers of one Jacobian.
    len: usize,
    rows: Lines,
    columns: Lines,
    /// With integrals: where in the structure the entries of y's own matrix are, (row, column, place) of the others, and room for the former.
    own: Vec<usize>,
    others: Vec<(usize, usize, usize)>,
    values: Vec<T>,
    /// The last factorization failed.
    failed: bool,
}

impl<T> Default for Large<T> {
    fn default() -> Self {
        let (rows, columns) = (Lines::default(), Lines::default());
        let (own, others, values) = (vec![], vec![], vec![]);
        Self {
            structure: Structure::Dense,
            each: vec![],
            products: None,
            len: 0,
            rows,
            columns,
            own,
            others,
            values,
            failed: false,
        }
    }
}

impl<T> Clone for Large<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T> fmt::Debug for Large<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Large").field("matrices", &self.each.len()).field("entries", &self.len).finish()
    }
}

/// Places of the entries of each row or column.
#[derive(Default)]
struct Lines {
    ends: Vec<usize>,
    places: Vec<usize>,
}

impl Lines {
    /// `line` gives the row or the column of an entry.
    fn new(structure: &Structure, n: usize, line: impl Fn(usize, usize) -> usize) -> Self {
        let mut ends = vec![0; n + 1];
        structure.entries(n, n, |i, j, _| ends[line(i, j) + 1] += 1);
        for i in 0..n {
            ends[i + 1] += ends[i];
        }
        let (mut next, mut places) = (ends.clone(), vec![0; ends[n]]);
        structure.entries(n, n, |i, j, k| {
            let at = &mut next[line(i, j)];
            places[*at] = k;
            *at += 1;
        });
        Self { ends, places }
    }
    /// The largest sum of absolute values.
    fn norm<T: Scalar>(&self, values: &[T]) -> T {
        let sum = |w: &[usize]| self.places[w[0]..w[1]].iter().fold(T::ZERO, |s, &k| s + values[k].abs());
        self.ends.windows(2).map(sum).fold(T::ZERO, larger)
    }
}

fn larger<T: Scalar>(a: T, b: T) -> T {
    if b > a { b } else { a }
}

/// `len` zeros, unless there are so many numbers.
fn renew<V: Clone>(v: &mut Vec<V>, len: usize, zero: V) {
    if v.len() != len {
        *v = vec![zero; len];
    }
}

pub(super) fn malformed(e: FactorError) -> OdeError {
    OdeError::Mismatch { what: e.to_string() }
}

/// The layout of a field's Jacobian, or what is wrong with its structure.
pub(super) fn layout(structure: &Structure, n: usize) -> Result<Layout, OdeError> {
    let Structure::Sparse { col_ptr, row_idx } = structure else {
        return Ok(match *structure {
            Structure::Banded { lower, upper } => Layout::Band { n, lower, upper },
            _ => Layout::Dense { n },
        });
    };
    let columns = col_ptr.len() == n + 1
        && col_ptr[0] == 0
        && col_ptr[n] == row_idx.len()
        && col_ptr.is_sorted()
        && row_idx.iter().all(|&i| i < n);
    let entries = || (0..n).flat_map(|j| row_idx[col_ptr[j]..col_ptr[j + 1]].iter().map(move |&i| (i, j)));
    if columns && let Ok(pattern) = Pattern::new(n, n, entries()) {
        // Sorted and without repetitions it is as it was.
        if pattern.col_ptr() == col_ptr && pattern.row_idx() == row_idx {
            return Ok(Layout::Sparse(pattern));
        }
    }
    let what = format!(
        "the structure of the field's Jacobian is not that of {n} columns with rows in ascending order"
    );
    Err(OdeError::Mismatch { what })
}

/// Of a structure the leading n x n part, the places of its entries, and (row, column, place) of the rows below it.
#[allow(clippy::type_complexity)]
fn leading(
    structure: &Structure,
    n: usize,
    dim: usize,
) -> (Structure, Vec<usize>, Vec<(usize, usize, usize)>) {
    let (mut col_ptr, mut row_idx, mut own, mut others) = (vec![0; n + 1], vec![], vec![], vec![]);
    structure.entries(dim, dim, |i, j, k| {
        if i >= n {
            return others.push((i, j, k));
        }
        col_ptr[j + 1] += 1;
        row_idx.push(i);
        own.push(k);
    });
    for j in 0..n {
        col_ptr[j + 1] += col_ptr[j];
    }
    (Structure::Sparse { col_ptr, row_idx }, own, others)
}

impl<T: Scalar> Large<T> {
    fn new(structure: &Structure, dim: usize, batch: usize, integrals: usize) -> Result<Self, OdeError> {
        // Direct solves as long as they fit in memory.
        let options = ChooseOptions { iterate_above: f64::INFINITY, ..ChooseOptions::default() };
        let (n, mut all) = (dim - integrals, Self { structure: structure.clone(), ..Self::default() });
        let part;
        let inner = if integrals == 0 {
            structure
        } else {
            (part, all.own, all.others) = leading(structure, n, dim);
            &part
        };
        let layout = layout(inner, n)?;
        let first = StepMatrix::new(layout.clone(), Mass::Identity, &options).map_err(malformed)?;
        for _ in 1..batch {
            let choice = first.choice().clone();
            all.each
                .push(StepMatrix::with_choice(layout.clone(), Mass::Identity, choice).map_err(malformed)?);
        }
        all.each.push(first);
        let tolerance = ITERATE_TO.max(10.0 * T::EPSILON.f64());
        all.each.iter_mut().for_each(|w| w.set_tolerance(tolerance));
        // Of a full matrix every entry: no list.
        if integrals > 0 || *structure != Structure::Dense {
            (all.rows, all.columns) = (Lines::new(inner, n, |i, _| i), Lines::new(inner, n, |_, j| j));
        }
        if integrals > 0 {
            let own = &all.own;
            for lines in [&mut all.rows, &mut all.columns] {
                lines.places.iter_mut().for_each(|k| *k = own[*k]);
            }
        }
        all.len = structure.len(dim, dim);
        Ok(all)
    }

    fn factor(&mut self, h_gamma: T, jac: &[T]) -> bool {
        let Self { each, own, values, len, .. } = self;
        let mut factored = |(w, block): (&mut StepMatrix<T>, &[T])| {
            if own.is_empty() {
                return w.refactor_with(block, h_gamma).is_ok();
            }
            values.clear();
            values.extend(own.iter().map(|&k| block[k]));
            w.refactor_with(values, h_gamma).is_ok()
        };
        self.failed = !each.iter_mut().zip(jac.chunks_exact(*len)).all(&mut factored);
        !self.failed
    }

    /// x <- W^-1 b or W^-T b; NaN where that fails.
    fn solve(&mut self, (jac, h_gamma): (&[T], T), dim: usize, b: &[T], x: &mut [T], transposed: bool) {
        x.copy_from_slice(b);
        let blocks = self.each.iter_mut().zip(jac.chunks_exact(self.len));
        for ((w, jac), x) in blocks.zip(x.chunks_exact_mut(dim)) {
            let n = w.n();
            let (y, q) = x.split_at_mut(n);
            if transposed {
                q.iter_mut().for_each(|q| *q *= h_gamma);
                self.others.iter().for_each(|&(i, j, k)| y[j] += jac[k] * q[i - n]);
            }
            let done = if transposed { w.solve_t(y) } else { w.solve(y) };
            if done.is_err() || self.failed {
                y.fill(T::of(f64::NAN));
            }
            if !transposed {
                self.others.iter().for_each(|&(i, j, k)| q[i - n] += jac[k] * y[j]);
                q.iter_mut().for_each(|q| *q *= h_gamma);
            }
        }
    }

    fn radius(&self, n: usize, jac: &[T]) -> T {
        (0..self.each.len()).map(|k| &jac[k * self.len..][..self.len]).fold(T::ZERO, |most, values| {
            if self.rows.ends.is_empty() {
                return larger(most, full_norm(values, n, n));
            }
            let (rows, columns) = (self.rows.norm(values), self.columns.norm(values));
            larger(most, if rows < columns { rows } else { columns })
        })
    }
}

impl<T: Scalar> Matrices<T> {
    /// Few unknowns have their room from the start; for many it waits for the structure of a field.
    pub fn new(dim: usize, batch: usize) -> Self {
        let mut all = Self::default();
        if dim <= SMALL {
            all.full(dim, batch);
        }
        all
    }

    fn full(&mut self, dim: usize, batch: usize) {
        self.large.each.clear();
        let (factored, n) = (batch / (self.directions + 1), dim - self.integrals);
        renew(&mut self.jac, batch * dim * dim, T::ZERO);
        renew(&mut self.lu, factored * lu::size(n), T::ZERO);
        renew(&mut self.rows, factored * n, 0);
        renew(&mut self.work, lu::work(n), T::ZERO);
    }

    /// Room for a field's Jacobians, and the choice of their structure; nothing is done where that is as in the run before.
    pub fn prepare<F: Map<T> + ?Sized>(
        &mut self,
        field: &F,
        dim: usize,
        batch: usize,
        by: Measure<'_, T>,
    ) -> Result<(), OdeError> {
        let (structure, directions) = (field.structure(), field.directions());
        if dim > SMALL && *structure == Structure::Products {
            if directions > 0 {
                let what = "derivatives along directions need the Jacobian of a field of more than 30 unknowns: take it without `by_products`";
                return Err(OdeError::Mismatch { what: what.to_string() });
            }
            let fits = self.large.products.as_ref().is_some_and(|p| p.fits(field, dim * batch));
            if !fits {
                let products = Some(Products::new(field, (dim, batch), by)?);
                *self = Self { large: Large { products, ..Large::default() }, ..Self::default() };
            }
            self.large.products.iter_mut().for_each(Products::restart);
            return Ok(());
        }
        self.large.products = None;
        (self.directions, self.integrals) = (directions, field.integrals());
        let dense = *structure == Structure::Dense;
        if dim <= SMALL || (dense && dim <= FULL) {
            // A structure that is only given is coloured, and so must be well formed.
            if !field.offers().has(Offers::JACOBIAN) {
                layout(structure, dim)?;
            }
            self.full(dim, batch);
            return Ok(());
        }
        let factored = batch / (directions + 1);
        if self.large.each.len() != factored || self.large.structure != *structure {
            let (large, integrals) = (Large::new(structure, dim, factored, self.integrals)?, self.integrals);
            *self = Self { large, directions, integrals, ..Self::default() };
        }
        self.jac.resize(batch * self.large.len, T::ZERO);
        Ok(())
    }

    /// Whether the Jacobians are held in the field's structure.
    #[inline(always)]
    pub fn structured(&self) -> bool {
        !self.large.each.is_empty()
    }

    /// The solves by products, where there are no matrices.
    #[inline(always)]
    pub fn products(&mut self) -> Option<&mut Products<T>> {
        self.large.products.as_mut()
    }

    /// Whether there are any.
    #[inline(always)]
    pub fn are_held(&self) -> bool {
        self.large.products.is_none()
    }

    /// How structured matrices are held; none where they are full.
    pub fn choice(&self) -> Option<&Choice> {
        let products = self.large.products.as_ref().map(Products::choice);
        let full = self.large.structure == Structure::Dense;
        products.or_else(|| self.large.each.first().filter(|_| !full).map(StepMatrix::choice))
    }

    /// Adds to the counts what iterations took since the last call.
    #[inline(always)]
    pub fn tell(&mut self, counts: &mut OdeCounts) {
        if let Some(products) = &mut self.large.products {
            products.tell(counts);
        }
    }

    /// Factors W; false if it is singular or not finite.
    #[inline]
    pub fn factor(&mut self, dim: usize, h_gamma: T) -> bool {
        self.h_gamma = h_gamma;
        if dim > 4 && self.structured() {
            return self.large.factor(h_gamma, &self.jac);
        }
        if dim > SMALL
            && let Some(products) = self.products()
        {
            return products.factor(h_gamma);
        }
        match (dim - self.integrals, dim) {
            (1, 1) => self.factor_n(1, 1, h_gamma),
            (2, 2) => self.factor_n(2, 2, h_gamma),
            (3, 3) => self.factor_n(3, 3, h_gamma),
            (4, 4) => self.factor_n(4, 4, h_gamma),
            (n, dim) => vectorized(
                n,
                #[inline(always)]
                || self.factor_n(n, dim, h_gamma),
            ),
        }
    }

    /// The leading n x n blocks of W.
    #[inline(always)]
    fn factor_n(&mut self, n: usize, dim: usize, h_gamma: T) -> bool {
        let diagonal = T::ONE / h_gamma;
        let ld = lu::stride(n);
        let blocks = self.lu.chunks_exact_mut(lu::size(n)).zip(self.jac.chunks_exact(dim * dim));
        for ((lu, jac), rows) in blocks.zip(self.rows.chunks_exact_mut(n)) {
            let columns = lu.chunks_exact_mut(ld).zip(jac.chunks_exact(dim)).take(n);
            for (k, (w, j)) in columns.enumerate() {
                w.iter_mut().zip(&j[..n]).for_each(|(w, j)| *w = -*j);
                w[n..].fill(T::ZERO);
                w[k] += diagonal;
            }
            if lu::factor(n, lu, rows, &mut self.work).is_err() {
                return false;
            }
        }
        true
    }

    /// Makes the solves to come NaN: a factorization failed.
    pub fn spoil(&mut self) {
        self.large.failed = true;
        self.products().into_iter().for_each(Products::spoil);
        self.lu.fill(T::of(f64::NAN));
    }

    /// x <- W^-1 b; the field and the step's start make products, where there is no matrix.
    #[inline(always)]
    pub fn solve<F: Map<T> + ?Sized>(&mut self, dim: usize, f: &mut F, at: At<'_, T>, b: &[T], x: &mut [T]) {
        if dim > SMALL
            && let Some(products) = self.products()
        {
            return products.solve(f, at, b, x, false);
        }
        if self.directions > 0 {
            return self.solve_directions(dim, b, x);
        }
        self.solve_state(dim, b, x);
    }

    #[inline(always)]
    fn solve_state(&mut self, dim: usize, b: &[T], x: &mut [T]) {
        if dim > SMALL && self.structured() {
            return self.large.solve((&self.jac, self.h_gamma), dim, b, x, false);
        }
        if self.integrals > 0 {
            return self.solve_integrals(dim, b, x);
        }
        let blocks = self.lu.chunks_exact(lu::size(dim)).zip(self.rows.chunks_exact(dim));
        let columns = b.chunks_exact(dim).zip(x.chunks_exact_mut(dim));
        for ((lu, rows), (b, x)) in blocks.zip(columns) {
            lu::solve(dim, lu, rows, b, &mut self.work, x);
        }
    }

    /// As [`solve_state`](Self::solve_state) by columns with integrals.
    fn solve_integrals(&mut self, dim: usize, b: &[T], x: &mut [T]) {
        let n = dim - self.integrals;
        let blocks = self.lu.chunks_exact(lu::size(n)).zip(self.rows.chunks_exact(n));
        let columns = b.chunks_exact(dim).zip(x.chunks_exact_mut(dim)).zip(self.jac.chunks_exact(dim * dim));
        for ((lu, rows), ((b, x), jac)) in blocks.zip(columns) {
            let (x, x_q) = x.split_at_mut(n);
            lu::solve(n, lu, rows, &b[..n], &mut self.work, x);
            x_q.copy_from_slice(&b[n..]);
            for (x, j) in x.iter().zip(jac.chunks_exact(dim)) {
                x_q.iter_mut().zip(&j[n..]).for_each(|(q, j)| *q += *j * *x);
            }
            x_q.iter_mut().for_each(|q| *q *= self.h_gamma);
        }
    }

    #[cold]
    fn solve_directions(&mut self, dim: usize, b: &[T], x: &mut [T]) {
        let n = b.len() / (self.directions + 1);
        let (x, x_i) = x.split_at_mut(n);
        self.solve_state(dim, &b[..n], x);
        let mut moved = std::mem::take(&mut self.moved);
        for (i, x_i) in x_i.chunks_exact_mut(n).enumerate() {
            moved.clear();
            moved.extend_from_slice(&b[(i + 1) * n..][..n]);
            self.add_product(dim, i, (x, &mut moved), false);
            self.solve_state(dim, &moved, x_i);
        }
        self.moved = moved;
    }

    /// y += J_i x or J_i' x.
    fn add_product(&self, dim: usize, i: usize, (x, y): (&[T], &mut [T]), transposed: bool) {
        let (dense, part) = (Structure::Dense, self.jac.len() / (self.directions + 1));
        let structure = if self.structured() { &self.large.structure } else { &dense };
        let columns = x.chunks_exact(dim).zip(y.chunks_exact_mut(dim));
        let blocks = self.jac[(i + 1) * part..].chunks_exact(structure.len(dim, dim));
        for (jac, (x, y)) in blocks.zip(columns) {
            structure.entries(dim, dim, |r, c, k| {
                let (to, from) = if transposed { (c, r) } else { (r, c) };
                y[to] += jac[k] * x[from];
            });
        }
    }

    /// x <- W^-T b; `b` is used up.
    pub fn solve_transposed<F: Map<T> + ?Sized>(
        &mut self,
        dim: usize,
        f: &mut F,
        at: At<'_, T>,
        b: &mut [T],
        x: &mut [T],
    ) {
        if let Some(products) = self.products() {
            return products.solve(f, at, b, x, true);
        }
        let n = b.len() / (self.directions + 1);
        let ((b, b_i), (x, x_i)) = (b.split_at_mut(n), x.split_at_mut(n));
        for (i, (b_i, x_i)) in b_i.chunks_exact_mut(n).zip(x_i.chunks_exact_mut(n)).enumerate() {
            self.solve_state_transposed(dim, b_i, x_i);
            self.add_product(dim, i, (x_i, b), true);
        }
        self.solve_state_transposed(dim, b, x);
    }

    fn solve_state_transposed(&mut self, dim: usize, b: &mut [T], x: &mut [T]) {
        if self.structured() {
            return self.large.solve((&self.jac, self.h_gamma), dim, b, x, true);
        }
        let n = dim - self.integrals;
        let blocks = self.lu.chunks_exact(lu::size(n)).zip(self.rows.chunks_exact(n));
        let columns =
            b.chunks_exact_mut(dim).zip(x.chunks_exact_mut(dim)).zip(self.jac.chunks_exact(dim * dim));
        for ((lu, rows), ((b, x), jac)) in blocks.zip(columns) {
            let ((b, b_q), (x, x_q)) = (b.split_at_mut(n), x.split_at_mut(n));
            if self.integrals > 0 {
                x_q.iter_mut().zip(b_q).for_each(|(x, b)| *x = self.h_gamma * *b);
                for (b, j) in b.iter_mut().zip(jac.chunks_exact(dim)) {
                    *b += j[n..].iter().zip(&*x_q).map(|(j, x)| *j * *x).sum::<T>();
                }
            }
            lu::solve_transposed(n, lu, rows, b, x);
        }
    }

    /// min(|J|_1, |J|_inf), the largest over the batch: not below the spectral radius. Integrals, whose rows are no part of the spectrum, do not count. With products alone an
    /// estimate of it, by the power method.
    pub fn radius(&self, dim: usize) -> T {
        if let Some(products) = &self.large.products {
            return products.radius();
        }
        if self.structured() {
            return self.large.radius(dim, &self.jac);
        }
        let n = dim - self.integrals;
        self.jac.chunks_exact(dim * dim).fold(T::ZERO, |most, block| larger(most, full_norm(block, dim, n)))
    }
}

/// min(|J|_1, |J|_inf) of the leading n x n part of dim x dim numbers.
fn full_norm<T: Scalar>(block: &[T], dim: usize, n: usize) -> T {
    let sum = |s: T, v: &T| s + v.abs();
    let columns = block.chunks_exact(dim).map(|c| c[..n].iter().fold(T::ZERO, sum)).fold(T::ZERO, larger);
    let rows = (0..n).map(|i| block.iter().skip(i).step_by(dim).fold(T::ZERO, sum)).fold(T::ZERO, larger);
    if rows < columns { rows } else { columns }
}

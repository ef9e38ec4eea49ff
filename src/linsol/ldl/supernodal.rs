//! Sparse supernodal LDL' without pivoting (faer) of a matrix with a little static regularization: the fast path.
//!
//! K + delta S, S a diagonal of signs, is close to quasi-definite when K is a saddle-point matrix with a good primal
//! block (Vanderbei, "Symmetric quasidefinite matrices", SIOPT 1995), so that any elimination order works. Whether the
//! factors can be trusted is not decided here but by the caller's probe.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::ldlt::factor::LdltRegularization;
use faer::prelude::{MatMut, SparseColMatRef};
use faer::sparse::SymbolicSparseColMatRef;
use faer::sparse::linalg::SupernodalThreshold;
use faer::sparse::linalg::cholesky::supernodal::SupernodalLdltRef;
use faer::sparse::linalg::cholesky::{
    CholeskySymbolicParams, LdltRef, SymbolicCholesky, SymbolicCholeskyRaw, SymmetricOrdering,
    factorize_symbolic_cholesky,
};
use faer::{Conj, Par, Side};

use crate::linsol::{Inertia, LinSolError};

use super::NAME;

/// Symbolic analysis and storage for one pattern.
pub(super) struct Supernodal {
    n: usize,
    /// The pattern with every diagonal entry present; each column starts with its diagonal.
    col_ptr: Vec<usize>,
    row_idx: Vec<usize>,
    diagonal_added: Vec<bool>,
    values: Vec<f64>,
    symbolic: SymbolicCholesky<usize>,
    factor: Vec<f64>,
    memory: MemBuffer,
}

impl Supernodal {
    /// Orders (AMD) and analyses a lower triangle.
    pub(super) fn new(n: usize, col_ptr: &[usize], row_idx: &[usize]) -> Result<Self, LinSolError> {
        let too_large = |reason: String| LinSolError::TooLarge { solver: NAME, reason };
        let (mut full_ptr, mut full_idx) = (Vec::with_capacity(n + 1), Vec::with_capacity(row_idx.len() + n));
        let mut diagonal_added = Vec::with_capacity(n);
        full_ptr.push(0);
        for j in 0..n {
            let column = &row_idx[col_ptr[j]..col_ptr[j + 1]];
            diagonal_added.push(column.first() != Some(&j));
            if column.first() != Some(&j) {
                full_idx.push(j);
            }
            full_idx.extend_from_slice(column);
            full_ptr.push(full_idx.len());
        }
        let pattern = SymbolicSparseColMatRef::new_checked(n, n, &full_ptr, None, &full_idx);
        let params = CholeskySymbolicParams {
            supernodal_flop_ratio_threshold: SupernodalThreshold::FORCE_SUPERNODAL,
            ..Default::default()
        };
        let symbolic = factorize_symbolic_cholesky(pattern, Side::Lower, SymmetricOrdering::Amd, params)
            .map_err(|e| too_large(format!("symbolic analysis: {e}")))?;
        let mut factor = Vec::new();
        factor
            .try_reserve_exact(symbolic.len_val())
            .map_err(|_| too_large(format!("no memory for {} entries of the factor", symbolic.len_val())))?;
        factor.resize(symbolic.len_val(), 0.0);
        let scratch = symbolic
            .factorize_numeric_ldlt_scratch::<f64>(Par::Seq, Default::default())
            .or(symbolic.solve_in_place_scratch::<f64>(1, Par::Seq));
        let memory = MemBuffer::try_new(scratch).map_err(|_| too_large("no memory for work space".into()))?;
        let values = vec![0.0; full_idx.len()];
        Ok(Self { n, col_ptr: full_ptr, row_idx: full_idx, diagonal_added, values, symbolic, factor, memory })
    }

    /// Entries of the factor.
    pub(super) fn factor_nonzeros(&self) -> usize {
        self.factor.len()
    }

    /// Multiplications of one factorization, about.
    pub(super) fn work(&self) -> f64 {
        let SymbolicCholeskyRaw::Supernodal(symbolic) = self.symbolic.raw() else {
            return 0.0;
        };
        let factors = SupernodalLdltRef::new(symbolic, &self.factor);
        let supernode = |s| {
            let block = factors.supernode(s).val();
            (0..block.ncols()).map(|k| ((block.nrows() - k) as f64).powi(2)).sum::<f64>()
        };
        (0..symbolic.n_supernodes()).map(supernode).sum()
    }

    /// Factorizes A + delta S, the values those of A in the pattern given to `new`, `sign(j, a_jj)` the sign S_jj.
    /// None: a zero or not finite pivot.
    pub(super) fn factor(
        &mut self,
        values: &[f64],
        delta: f64,
        sign: impl Fn(usize, f64) -> f64,
    ) -> Option<Inertia> {
        let mut from = 0;
        for j in 0..self.n {
            let column = &mut self.values[self.col_ptr[j]..self.col_ptr[j + 1]];
            let stored = column.len() - usize::from(self.diagonal_added[j]);
            column[0] = 0.0;
            let first = column.len() - stored;
            column[first..].copy_from_slice(&values[from..from + stored]);
            from += stored;
            column[0] += delta * sign(j, column[0]);
        }
        // `new` has checked the pattern; here only its lengths are.
        let pattern =
            SymbolicSparseColMatRef::new_checked(self.n, self.n, &self.col_ptr, None, &self.row_idx);
        let matrix = SparseColMatRef::new(pattern, &self.values);
        self.symbolic
            .factorize_numeric_ldlt(
                &mut self.factor,
                matrix,
                Side::Lower,
                LdltRegularization::default(),
                Par::Seq,
                MemStack::new(&mut self.memory),
                Default::default(),
            )
            .ok()?;
        self.inertia()
    }

    /// Signs of D, which is stored on the diagonal of L.
    fn inertia(&self) -> Option<Inertia> {
        let SymbolicCholeskyRaw::Supernodal(symbolic) = self.symbolic.raw() else {
            return None;
        };
        let factors = SupernodalLdltRef::new(symbolic, &self.factor);
        let mut inertia = Inertia { positive: 0, negative: 0, zero: 0 };
        for s in 0..symbolic.n_supernodes() {
            let block = factors.supernode(s).val();
            for j in 0..block.ncols() {
                let d = block[(j, j)];
                if !d.is_finite() || d == 0.0 {
                    return None;
                }
                if d > 0.0 {
                    inertia.positive += 1;
                } else {
                    inertia.negative += 1;
                }
            }
        }
        Some(inertia)
    }

    /// x <- (A + delta S)^-1 x.
    pub(super) fn solve(&mut self, x: &mut [f64]) {
        let n = self.n;
        LdltRef::new(&self.symbolic, &self.factor).solve_in_place_with_conj(
            Conj::No,
            MatMut::from_column_major_slice_mut(x, n, 1),
            Par::Seq,
            MemStack::new(&mut self.memory),
        );
    }
}

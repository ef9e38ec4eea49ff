//! faer's sparse LU: an order of the columns and the symbolic analysis once a pattern, numeric factorizations and solves for its values.

use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::perm::PermRef;
use faer::sparse::linalg::lu::{simplicial, supernodal};
use faer::sparse::linalg::{LuError, SymbolicSupernodalParams, amd, colamd, qr};
use faer::sparse::{SparseColMatRef, SymbolicSparseColMatRef};
use faer::traits::RealField;
use faer::{Conj, MatMut, Par};

use crate::linalg::{Pattern, Scalar};

/// Memory of at least this size; kept where it suffices.
pub(super) fn room(memory: &mut Option<MemBuffer>, need: faer::dyn_stack::StackReq) -> &mut MemStack {
    let short = memory.as_ref().is_none_or(|m| m.len() < need.size_bytes() + need.align_bytes());
    if short {
        *memory = None;
    }
    let memory = memory.get_or_insert_with(|| {
        MemBuffer::new(faer::dyn_stack::StackReq::new::<u8>(need.size_bytes() + 2 * need.align_bytes()))
    });
    MemStack::new(memory)
}

/// What the analysis of a pattern predicts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Predicted {
    pub flops: f64,
    pub fill: f64,
}

/// Why a factorization ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Failed {
    /// No pivot for this column.
    Singular(usize),
    /// The factors are not finite.
    Overflow,
    Memory,
}

/// Sparse LU of matrices with one pattern.
pub(super) trait SparseBackend<T> {
    /// Takes over a pattern, which is square.
    fn analyze(&mut self, a: &Pattern) -> Result<Predicted, Failed>;
    /// Factors; the values are finite and in the order of the pattern.
    fn factor(&mut self, values: &[T]) -> Result<(), Failed>;
    /// b <- A^-1 b or A^-T b for k right-hand sides.
    fn solve(&mut self, b: &mut [T], k: usize, transposed: bool);
    /// Entries of the factors, where they are known.
    fn fill(&self) -> Option<usize>;
}

/// Operations an entry of the factors from which blocks of columns pay.
const BLOCKS_PAY: f64 = 40.0;

/// The order of columns and what belongs to it.
#[derive(Default)]
struct Order {
    columns: Vec<usize>,
    inverse: Vec<usize>,
}

enum Numeric<T> {
    Columns(simplicial::SimplicialLu<usize, T>),
    Blocks(supernodal::SymbolicSupernodalLu<usize>, supernodal::SupernodalLu<usize, T>),
}

/// faer's factorization.
pub(super) struct SparseLuBackend<T> {
    pattern: Pattern,
    order: Order,
    rows: Vec<usize>,
    rows_inverse: Vec<usize>,
    numeric: Numeric<T>,
    /// The transposed pattern, where its entries come from, and its values: blocks need them.
    transposed: (Pattern, Vec<usize>, Vec<T>),
    memory: Option<MemBuffer>,
    probe: Vec<T>,
}

impl<T: Scalar + RealField> SparseLuBackend<T> {
    pub(super) fn new() -> Self {
        Self {
            pattern: Pattern::default(),
            order: Order::default(),
            rows: Vec::new(),
            rows_inverse: Vec::new(),
            numeric: Numeric::Columns(simplicial::SimplicialLu::new()),
            transposed: Default::default(),
            memory: None,
            probe: Vec::new(),
        }
    }

    fn factor_columns(&mut self, values: &[T]) -> Result<(), Failed> {
        let Numeric::Columns(lu) = &mut self.numeric else { return Ok(()) };
        columns(
            &self.pattern,
            values,
            &self.order,
            &mut self.rows,
            &mut self.rows_inverse,
            lu,
            &mut self.memory,
        )
    }

    fn factor_blocks(&mut self, values: &[T]) -> Result<(), Failed> {
        let Numeric::Blocks(symbolic, lu) = &mut self.numeric else { return Ok(()) };
        let n = self.pattern.nrows();
        let (pattern, from, transposed) = &mut self.transposed;
        transposed.iter_mut().zip(from.iter()).for_each(|(t, &k)| *t = values[k]);
        let need =
            supernodal::factorize_supernodal_numeric_lu_scratch::<usize, T>(symbolic, Default::default());
        let done = supernodal::factorize_supernodal_numeric_lu(
            &mut self.rows,
            &mut self.rows_inverse,
            lu,
            SparseColMatRef::new(faers(&self.pattern), values),
            SparseColMatRef::new(faers(pattern), &transposed[..]),
            PermRef::new_checked(&self.order.columns, &self.order.inverse, n),
            symbolic,
            Par::Seq,
            room(&mut self.memory, need),
            Default::default(),
        );
        if let Err(LuError::Generic(_)) = done {
            return Err(Failed::Memory);
        }
        // The factors cannot be looked at: a pivot of zero is seen where it divides.
        let mut probe = std::mem::take(&mut self.probe);
        probe.clear();
        probe.extend((0..n).map(|i| T::of(1.0 + 0.5 * (i as f64).sin())));
        let finite = done.is_ok() && {
            self.solve(&mut probe, 1, false);
            probe.iter().all(|v| Scalar::is_finite(*v))
        };
        self.probe = probe;
        if finite { Ok(()) } else { Err(self.why(values)) }
    }

    /// What is wrong with a matrix that could not be factored in blocks: column by column it shows.
    fn why(&mut self, values: &[T]) -> Failed {
        let (mut lu, mut memory) = (simplicial::SimplicialLu::new(), None);
        let (rows, inverse) = (&mut self.rows, &mut self.rows_inverse);
        match columns(&self.pattern, values, &self.order, rows, inverse, &mut lu, &mut memory) {
            Err(failed) => failed,
            Ok(()) => Failed::Overflow,
        }
    }
}

/// Factors column by column and looks at the pivots.
fn columns<T: Scalar + RealField>(
    pattern: &Pattern,
    values: &[T],
    order: &Order,
    rows: &mut [usize],
    rows_inverse: &mut [usize],
    lu: &mut simplicial::SimplicialLu<usize, T>,
    memory: &mut Option<MemBuffer>,
) -> Result<(), Failed> {
    let n = pattern.nrows();
    let need = simplicial::factorize_simplicial_numeric_lu_scratch::<usize, T>(n, n);
    let a = SparseColMatRef::new(faers(pattern), values);
    let columns = PermRef::new_checked(&order.columns, &order.inverse, n);
    let stack = room(memory, need);
    match simplicial::factorize_simplicial_numeric_lu(rows, rows_inverse, lu, a, columns, stack) {
        Ok(()) => {}
        Err(LuError::SymbolicSingular { index }) => return Err(Failed::Singular(order.columns[index])),
        Err(LuError::Generic(_)) => return Err(Failed::Memory),
    }
    let (l, u) = (lu.l_factor_unsorted(), lu.u_factor_unsorted());
    for j in 0..n {
        // The pivot is the last entry of its column.
        let pivot = u.val_of_col(j).last().copied().unwrap_or(T::ZERO);
        if pivot == T::ZERO {
            return Err(Failed::Singular(order.columns[j]));
        }
        let finite = |v: &[T]| v.iter().all(|v| Scalar::is_finite(*v));
        if !(finite(u.val_of_col(j)) && finite(l.val_of_col(j))) {
            return Err(Failed::Overflow);
        }
    }
    Ok(())
}

fn faers(a: &Pattern) -> SymbolicSparseColMatRef<'_, usize> {
    SymbolicSparseColMatRef::new_checked(a.nrows(), a.ncols(), a.col_ptr(), None, a.row_idx())
}

fn memory(need: StackReq) -> Result<MemBuffer, Failed> {
    MemBuffer::try_new(need).map_err(|_| Failed::Memory)
}

/// The pattern is nearly symmetric with a full diagonal: pivots will mostly stand there.
fn is_nearly_symmetric(a: &Pattern, transposed: &Pattern) -> bool {
    let matched: usize = (0..a.ncols()).map(|j| common(a.column(j), transposed.column(j))).sum();
    let full = (0..a.ncols()).all(|j| a.column(j).binary_search(&j).is_ok());
    full && 10 * matched >= 9 * a.len()
}

/// Minimum degree of A + A': little fill while pivots stand on the diagonal.
fn minimum_degree(a: &Pattern) -> Result<Order, Failed> {
    let n = a.nrows();
    let mut order = Order { columns: vec![0; n], inverse: vec![0; n] };
    let mut memory = memory(amd::order_maybe_unsorted_scratch::<usize>(n, a.len()))?;
    let (columns, inverse, stack) = (&mut order.columns, &mut order.inverse, MemStack::new(&mut memory));
    match amd::order_maybe_unsorted(columns, inverse, faers(a), Default::default(), stack) {
        Ok(_) => Ok(order),
        Err(_) => Err(Failed::Memory),
    }
}

/// COLAMD: little fill whatever rows elimination takes.
fn column_minimum_degree(a: &Pattern) -> Result<Order, Failed> {
    let n = a.nrows();
    let mut order = Order { columns: vec![0; n], inverse: vec![0; n] };
    let mut memory = memory(colamd::order_scratch::<usize>(n, n, a.len()))?;
    let (columns, inverse, stack) = (&mut order.columns, &mut order.inverse, MemStack::new(&mut memory));
    match colamd::order(columns, inverse, faers(a), Default::default(), stack) {
        Ok(()) => Ok(order),
        Err(_) => Err(Failed::Memory),
    }
}

/// Entries that two ascending lists share.
fn common(a: &[usize], b: &[usize]) -> usize {
    let mut b = b.iter().peekable();
    let mut count = 0;
    for i in a {
        while b.next_if(|j| *j < i).is_some() {}
        count += b.next_if_eq(&i).is_some() as usize;
    }
    count
}

/// Entries of the columns of the Cholesky factor of A + A' in this order, the diagonal included (Liu's elimination tree; Davis 2005).
fn symmetric_counts(a: &Pattern, transposed: &Pattern, order: &Order) -> Vec<usize> {
    let n = a.nrows();
    let (mut parent, mut mark, mut counts) = (vec![usize::MAX; n], vec![usize::MAX; n], vec![1; n]);
    for (i, &old) in order.columns.iter().enumerate() {
        mark[i] = i;
        for &neighbour in a.column(old).iter().chain(transposed.column(old)) {
            let mut k = order.inverse[neighbour];
            while k < i && mark[k] != i {
                mark[k] = i;
                counts[k] += 1;
                if parent[k] == usize::MAX {
                    parent[k] = i;
                }
                k = parent[k];
            }
        }
    }
    counts
}

/// The column elimination tree, and counts of the rows of R in A = Q R, a bound for those of U whatever the row exchanges.
struct ColumnTree {
    tree: Vec<usize>,
    counts: Vec<usize>,
    first: Vec<usize>,
}

impl ColumnTree {
    /// Changes the order to a postorder of its tree.
    fn new(a: &Pattern, transposed: &Pattern, order: &mut Order) -> Result<Self, Failed> {
        let n = a.nrows();
        let need = qr::col_etree_scratch::<usize>(n, n)
            .or(qr::postorder_scratch::<usize>(n))
            .or(qr::column_counts_aat_scratch::<usize>(n, n));
        let mut memory = memory(need)?;
        let (mut tree, mut post) = (vec![0usize; n], vec![0usize; n]);
        let (mut counts, mut first) = (vec![0usize; n], vec![0usize; n]);
        for round in 0..2 {
            let columns = PermRef::new_checked(&order.columns, &order.inverse, n);
            let etree = qr::col_etree(faers(a), Some(columns), &mut tree, MemStack::new(&mut memory));
            qr::postorder(&mut post, etree, MemStack::new(&mut memory));
            if round == 0 {
                order.columns = post.iter().map(|&k| order.columns[k]).collect();
                order.columns.iter().enumerate().for_each(|(k, &j)| order.inverse[j] = k);
            } else {
                let (columns, stack) = (Some(columns), MemStack::new(&mut memory));
                qr::column_counts_ata(
                    &mut counts,
                    &mut first,
                    faers(transposed),
                    columns,
                    etree,
                    &post,
                    stack,
                );
            }
        }
        Ok(Self { tree, counts, first })
    }

    /// Supernodes of the columns in this (postordered) order.
    fn blocks(
        &mut self,
        a: &Pattern,
        order: &Order,
    ) -> Result<supernodal::SymbolicSupernodalLu<usize>, Failed> {
        let n = a.nrows();
        let need = supernodal::factorize_supernodal_symbolic_lu_scratch::<usize>(n, n)
            .or(qr::col_etree_scratch::<usize>(n, n));
        let mut memory = memory(need)?;
        let columns = PermRef::new_checked(&order.columns, &order.inverse, n);
        // faer's tree can only be had from the function that makes it.
        let etree = qr::col_etree(faers(a), Some(columns), &mut self.tree, MemStack::new(&mut memory));
        let (stack, options) = (MemStack::new(&mut memory), SymbolicSupernodalParams::default());
        let (first, counts) = (&self.first, &self.counts);
        supernodal::factorize_supernodal_symbolic_lu(
            faers(a),
            Some(columns),
            first,
            etree,
            counts,
            stack,
            options,
        )
        .map_err(|_| Failed::Memory)
    }
}

/// Operations and entries of an LU with these column counts of both factors.
fn predict(counts: &[usize]) -> Predicted {
    counts.iter().fold(Predicted::default(), |p, &c| {
        let below = c as f64 - 1.0;
        Predicted { flops: p.flops + below + 2.0 * below * below, fill: p.fill + 2.0 * below + 1.0 }
    })
}

impl<T: Scalar + RealField> SparseBackend<T> for SparseLuBackend<T> {
    fn analyze(&mut self, a: &Pattern) -> Result<Predicted, Failed> {
        let n = a.nrows();
        let (transposed, from) = a.transpose();
        let mut predicted = None;
        self.pattern = a.clone();
        (self.rows, self.rows_inverse) = (vec![0; n], vec![0; n]);
        self.numeric = Numeric::Columns(simplicial::SimplicialLu::new());
        self.transposed = Default::default();
        if is_nearly_symmetric(a, &transposed) {
            let order = minimum_degree(a)?;
            let p = predict(&symmetric_counts(a, &transposed, &order));
            if p.flops <= BLOCKS_PAY * p.fill {
                self.order = order;
                return Ok(p);
            }
            predicted = Some(p);
        }
        // Blocks are found in the column elimination tree, which suits this order.
        self.order = column_minimum_degree(a)?;
        let mut tree = ColumnTree::new(a, &transposed, &mut self.order)?;
        let predicted = predicted.unwrap_or_else(|| predict(&tree.counts));
        if predicted.flops > BLOCKS_PAY * predicted.fill {
            self.numeric = Numeric::Blocks(tree.blocks(a, &self.order)?, supernodal::SupernodalLu::new());
            self.transposed = (transposed, from, vec![T::ZERO; a.len()]);
        }
        Ok(predicted)
    }

    fn factor(&mut self, values: &[T]) -> Result<(), Failed> {
        if matches!(self.numeric, Numeric::Columns(_)) {
            self.factor_columns(values)
        } else {
            self.factor_blocks(values)
        }
    }

    fn solve(&mut self, b: &mut [T], k: usize, transposed: bool) {
        let n = self.pattern.nrows();
        let rows = PermRef::new_checked(&self.rows, &self.rows_inverse, n);
        let columns = PermRef::new_checked(&self.order.columns, &self.order.inverse, n);
        let b = MatMut::from_column_major_slice_mut(b, n, k);
        match &self.numeric {
            Numeric::Columns(lu) => {
                let need = simplicial::solve_in_place_scratch::<usize, T>(n, k, Par::Seq);
                let stack = room(&mut self.memory, need);
                if transposed {
                    lu.solve_transpose_in_place_with_conj(rows, columns, Conj::No, b, Par::Seq, stack);
                } else {
                    lu.solve_in_place_with_conj(rows, columns, Conj::No, b, Par::Seq, stack);
                }
            }
            Numeric::Blocks(_, lu) => {
                let need = supernodal::solve_in_place_scratch::<usize, T>(n, k, Par::Seq);
                let stack = room(&mut self.memory, need);
                if transposed {
                    lu.solve_transpose_in_place_with_conj(rows, columns, Conj::No, b, Par::Seq, stack);
                } else {
                    lu.solve_in_place_with_conj(rows, columns, Conj::No, b, Par::Seq, stack);
                }
            }
        }
    }

    fn fill(&self) -> Option<usize> {
        match &self.numeric {
            Numeric::Columns(lu) => {
                Some(lu.l_factor_unsorted().compute_nnz() + lu.u_factor_unsorted().compute_nnz() - lu.ncols())
            }
            Numeric::Blocks(..) => None,
        }
    }
}

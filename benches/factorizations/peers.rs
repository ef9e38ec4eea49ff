//! One matrix, one solver: times, fill, residual, inertia. One thread each, unless it says otherwise.

use std::time::Instant;

use costate::linalg::{LinOp, SparseMatrix};
use costate::linsol::{Accuracy, Ldl, LdlOptions, LinearSolver};
use costate::observe::StopToken;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::ldlt::factor::LdltRegularization;
use faer::sparse::linalg::SupernodalThreshold;
use faer::sparse::linalg::cholesky::supernodal::SupernodalLdltRef;
use faer::sparse::linalg::cholesky::{
    CholeskySymbolicParams, LdltRef, SymbolicCholesky, SymbolicCholeskyRaw, SymmetricOrdering,
    factorize_symbolic_cholesky,
};
use faer::sparse::{SparseColMatRef, SymbolicSparseColMatRef};
use faer::{Conj, MatMut, Par, Side, Spec};

/// Seconds to go on repeating a measurement for, unless it is done so often.
const ENOUGH: f64 = 0.3;
const OFTEN: usize = 50;
/// Steps of refinement after the first solution.
const REFINEMENTS: usize = 2;
/// Pivots of faer's up to the first become the second.
const TINY: f64 = 1e-13;
const IN_ITS_PLACE: f64 = 1e-8;

type Measure = fn(&SparseMatrix) -> Result<Measured, String>;
/// The first is ours.
pub const PEERS: [(&str, Measure); 5] = [
    ("ours", |a| ours(a, 1)),
    ("faer, supernodal", |a| faer_ldlt(a, SupernodalThreshold::FORCE_SUPERNODAL)),
    ("faer, simplicial", |a| faer_ldlt(a, SupernodalThreshold::FORCE_SIMPLICIAL)),
    ("feral", feral),
    ("ours, 2 threads", |a| ours(a, 2)),
];

#[derive(Debug, Clone)]
pub struct Measured {
    pub unknowns: usize,
    pub entries: usize,
    /// Of `analyse`, what the orderings took, where it is known.
    pub ordering: f64,
    /// Ordering and symbolic analysis, and one numeric factorization, in seconds.
    pub analyse: f64,
    pub factorize: f64,
    /// Entries of L, those of the diagonal included.
    pub fill: usize,
    /// |b - A x| / |b|, maximum norms, after at most two steps of refinement.
    pub residual: f64,
    /// +, -, 0.
    pub inertia: [usize; 3],
}

impl Measured {
    pub fn to_line(&self) -> String {
        let Self { unknowns, entries, ordering, analyse, factorize, fill, residual, inertia: [p, m, z] } =
            self;
        format!("{unknowns} {entries} {ordering} {analyse} {factorize} {fill} {residual} {p} {m} {z}")
    }

    pub fn from_line(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [n, e, ordering, analyse, factorize, fill, residual, p, m, z] = words.as_slice() else {
            return None;
        };
        Some(Self {
            unknowns: n.parse().ok()?,
            entries: e.parse().ok()?,
            ordering: ordering.parse().ok()?,
            analyse: analyse.parse().ok()?,
            factorize: factorize.parse().ok()?,
            fill: fill.parse().ok()?,
            residual: residual.parse().ok()?,
            inertia: [p.parse().ok()?, m.parse().ok()?, z.parse().ok()?],
        })
    }

    /// The same matrix and solver, the smaller times.
    pub fn faster_of(self, other: &Self) -> Self {
        Self {
            ordering: self.ordering.min(other.ordering),
            analyse: self.analyse.min(other.analyse),
            factorize: self.factorize.min(other.factorize),
            ..self
        }
    }
}

/// Seconds of the fastest of several calls.
fn fastest(mut f: impl FnMut() -> Result<(), String>) -> Result<f64, String> {
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    for _ in 0..OFTEN {
        let start = Instant::now();
        f()?;
        best = best.min(start.elapsed().as_secs_f64());
        if begin.elapsed().as_secs_f64() > ENOUGH {
            break;
        }
    }
    Ok(best)
}

/// Solves A x = A (1, .., 1)' with refinement; `solve` overwrites a right-hand side. Returns the smallest residual.
fn residual(
    a: &SparseMatrix,
    mut solve: impl FnMut(&mut [f64]) -> Result<(), String>,
) -> Result<f64, String> {
    let (mut a, n) = (a.clone(), a.ncols);
    let norm = |v: &[f64]| v.iter().fold(0.0f64, |m, v| if v.is_nan() { f64::NAN } else { m.max(v.abs()) });
    let (mut b, mut x) = (vec![0.0; n], vec![0.0; n]);
    a.apply(1.0, &vec![1.0; n], 0.0, &mut b);
    let (mut r, mut best) = (b.clone(), f64::INFINITY);
    for _ in 0..=REFINEMENTS {
        solve(&mut r)?;
        x.iter_mut().zip(&r).for_each(|(x, d)| *x += d);
        r.copy_from_slice(&b);
        a.apply(-1.0, &x, 1.0, &mut r);
        best = best.min(norm(&r) / norm(&b));
    }
    Ok(best)
}

fn ours(a: &SparseMatrix, threads: usize) -> Result<Measured, String> {
    let stop = StopToken::default();
    let new = || Ldl::new(LdlOptions { threads, ..LdlOptions::default() });
    let (mut a, mut solver) = (a.clone(), new());
    let mut first = |solver: &mut Ldl| {
        fastest(|| {
            *solver = new();
            solver.prepare(&mut a, &stop).map(drop).map_err(|e| e.to_string())
        })
    };
    let first = first(&mut solver)?;
    let ordering = solver.times().ordering;
    let factorize = fastest(|| solver.prepare(&mut a, &stop).map(drop).map_err(|e| e.to_string()))?;
    let prepared = solver.prepare(&mut a, &stop).map_err(|e| e.to_string())?;
    let matrix = a.clone();
    let once = Accuracy { relative: 0.0, max_iterations: 1 };
    let residual = residual(&matrix, |r| {
        let mut x = vec![0.0; r.len()];
        solver.solve(&mut a, r, &mut x, once, &stop).map_err(|e| e.to_string())?;
        r.copy_from_slice(&x);
        Ok(())
    })?;
    let inertia = prepared.inertia.map_or([0; 3], |i| [i.positive, i.negative, i.zero]);
    let fill = prepared.factor_nonzeros;
    let analyse = (first - factorize).max(0.0);
    let (unknowns, entries) = (a.ncols, a.values.len());
    Ok(Measured { unknowns, entries, ordering, analyse, factorize, fill, residual, inertia })
}

fn faer_ldlt(a: &SparseMatrix, kind: SupernodalThreshold) -> Result<Measured, String> {
    let n = a.ncols;
    let pattern = SymbolicSparseColMatRef::new_checked(n, n, &a.col_ptr, None, &a.row_idx);
    let params = CholeskySymbolicParams { supernodal_flop_ratio_threshold: kind, ..Default::default() };
    let mut symbolic = None;
    let analyse = fastest(|| {
        let made = factorize_symbolic_cholesky(pattern, Side::Lower, SymmetricOrdering::Amd, params);
        symbolic = Some(made.map_err(|e| format!("{e:?}"))?);
        Ok(())
    })?;
    let symbolic = symbolic.ok_or("no analysis")?;
    let matrix = SparseColMatRef::new(pattern, a.values.as_slice());
    let (par, spec) = (Par::Seq, Spec::default());
    let mut values = vec![0.0; symbolic.len_val()];
    let mut memory = MemBuffer::new(symbolic.factorize_numeric_ldlt_scratch::<f64>(par, spec));
    let regularization = LdltRegularization {
        dynamic_regularization_signs: None,
        dynamic_regularization_delta: IN_ITS_PLACE,
        dynamic_regularization_epsilon: TINY,
    };
    let factorize = fastest(|| {
        let stack = MemStack::new(&mut memory);
        symbolic
            .factorize_numeric_ldlt(&mut values, matrix, Side::Lower, regularization, par, stack, spec)
            .map(drop)
            .map_err(|e| format!("{e:?}"))
    })?;
    let mut memory = MemBuffer::new(symbolic.solve_in_place_scratch::<f64>(1, par));
    let residual = residual(a, |r| {
        let rhs = MatMut::from_column_major_slice_mut(r, n, 1);
        let factor = LdltRef::new(&symbolic, &values);
        factor.solve_in_place_with_conj(Conj::No, rhs, par, MemStack::new(&mut memory));
        Ok(())
    })?;
    let (fill, diagonal) = faer_factor(&symbolic, &values);
    let mut inertia = [0; 3];
    for d in diagonal {
        inertia[if d > 0.0 {
            0
        } else if d < 0.0 {
            1
        } else {
            2
        }] += 1;
    }
    let entries = a.values.len();
    Ok(Measured { unknowns: n, entries, ordering: 0.0, analyse, factorize, fill, residual, inertia })
}

/// Entries of L, and D.
fn faer_factor(symbolic: &SymbolicCholesky<usize>, values: &[f64]) -> (usize, Vec<f64>) {
    match symbolic.raw() {
        SymbolicCholeskyRaw::Simplicial(s) => {
            (s.len_val(), s.col_ptr()[..s.ncols()].iter().map(|&p| values[p]).collect())
        }
        SymbolicCholeskyRaw::Supernodal(s) => {
            let factor = SupernodalLdltRef::new(s, values);
            let (mut fill, mut diagonal) = (0, Vec::new());
            for k in 0..s.n_supernodes() {
                let block = factor.supernode(k).val();
                let (rows, columns) = (block.nrows(), block.ncols());
                fill += rows * columns - columns * columns.saturating_sub(1) / 2;
                diagonal.extend((0..columns).map(|j| block[(j, j)]));
            }
            (fill, diagonal)
        }
    }
}

fn feral(a: &SparseMatrix) -> Result<Measured, String> {
    let (n, entries) = (a.ncols, a.values.len());
    let matrix = feral::CscMatrix {
        n,
        col_ptr: a.col_ptr.clone(),
        row_idx: a.row_idx.clone(),
        values: a.values.clone(),
    };
    // Fused multiply-add is off by default there; ours uses it.
    let new = || feral::Solver::new().with_parallel(false).with_fma(true);
    let factor = |solver: &mut feral::Solver| match solver.factor(&matrix, None) {
        feral::FactorStatus::Success => Ok(()),
        other => Err(format!("{other:?}")),
    };
    let mut solver = new();
    let first = fastest(|| {
        solver = new();
        factor(&mut solver)
    })?;
    let factorize = fastest(|| factor(&mut solver))?;
    let residual = residual(a, |r| {
        let x = solver.solve(r).map_err(|e| format!("{e:?}"))?;
        r.copy_from_slice(&x);
        Ok(())
    })?;
    let inertia = solver.inertia().map_or([0; 3], |i| [i.positive, i.negative, i.zero]);
    let fill = solver.factors().map_or(0, |f| f.factor_nnz());
    let analyse = (first - factorize).max(0.0);
    Ok(Measured { unknowns: n, entries, ordering: 0.0, analyse, factorize, fill, residual, inertia })
}

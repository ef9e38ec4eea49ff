//! Multifrontal LDL' with threshold pivoting and delayed pivots (Duff and Reid 1983).
//!
//! Each node of the assembly tree sums its entries and what its children left into a front, eliminates the pivots that
//! pass the threshold test, and leaves the rest, columns without a pivot included, to its parent.
//! The inertia is that of D. A warm factorization allocates nothing unless more columns are delayed than ever before.

use std::sync::Arc;

use rayon::ThreadPool;

use crate::linsol::{Inertia, LinSolError};
use crate::observe::StopToken;

use super::NAME;
use super::front::{Pivot, Thresholds, Work, axpy, eliminate};
use super::symbolic::{Node, ROOT, Symbolic};

/// Mean length of runs from which a child is summed run by run.
const LONG_RUN: usize = 8;
/// Multiplications between looks at the stop token.
const PATIENCE: f64 = 1e6;

/// The factor of a node.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    /// Start of L, s x pivots, in `factor`, and of its rows in `index`.
    factor: usize,
    index: usize,
    s: usize,
    pivots: usize,
    /// Start in `Work::pivots`.
    first_pivot: usize,
}

/// What a child left: lower triangle of size `delayed + rows`, at the end of `stack`.
#[derive(Debug, Clone, Copy, Default)]
struct Left {
    node: usize,
    start: usize,
    delayed: usize,
}

/// Rows of a child that follow each other in its parent's front, too.
#[derive(Debug, Clone, Copy)]
struct Run {
    child: usize,
    parent: usize,
    len: usize,
}

fn find_runs(map: &[u32], runs: &mut Vec<Run>) {
    runs.clear();
    for (child, &parent) in map.iter().enumerate() {
        let parent = parent as usize;
        match runs.last_mut() {
            Some(run) if run.parent + run.len == parent => run.len += 1,
            _ => runs.push(Run { child, parent, len: 1 }),
        }
    }
}

pub(super) struct Multifrontal {
    pub symbolic: Symbolic,
    factor: Vec<f64>,
    index: Vec<u32>,
    blocks: Vec<Block>,
    stack: Vec<f64>,
    left: Vec<Left>,
    front: Vec<f64>,
    /// Place in the front of each row of a child.
    map: Vec<u32>,
    /// The same where neighbours stay neighbours.
    runs: Vec<Run>,
    work: Work,
    /// Right-hand side by positions, and the rows of a block.
    x: Vec<f64>,
    local: Vec<f64>,
    /// Columns that the last factorization handed from a front to its parent.
    pub delayed: usize,
}

impl Multifrontal {
    /// `values`: see [`Symbolic::new`].
    pub fn new(n: usize, col_ptr: &[usize], row_idx: &[usize], values: &[f64]) -> Result<Self, LinSolError> {
        let symbolic = Symbolic::new(n, col_ptr, row_idx, values)?;
        let mut factor = Vec::new();
        // Delayed columns may need more.
        factor.try_reserve(symbolic.factor_nonzeros + symbolic.factor_nonzeros / 4).map_err(|_| {
            let reason = format!("no memory for {} entries of the factor", symbolic.factor_nonzeros);
            LinSolError::TooLarge { solver: NAME, reason }
        })?;
        Ok(Self {
            blocks: vec![Block::default(); symbolic.nodes.len()],
            symbolic,
            factor,
            index: Vec::new(),
            stack: Vec::new(),
            left: Vec::new(),
            front: Vec::new(),
            map: Vec::new(),
            runs: Vec::new(),
            work: Work::default(),
            x: vec![0.0; n],
            local: Vec::new(),
            delayed: 0,
        })
    }

    /// Shares out large updates among the threads of a pool.
    pub fn use_pool(&mut self, pool: Option<Arc<ThreadPool>>) {
        self.work.pool = pool;
    }

    /// Entries of L.
    pub fn factor_nonzeros(&self) -> usize {
        self.blocks.iter().map(|b| b.pivots * b.s - b.pivots * b.pivots.saturating_sub(1) / 2).sum()
    }

    /// Factorizes the matrix with these entries in the pattern given to `new`.
    pub fn factor(
        &mut self,
        values: &[f64],
        limits: Thresholds,
        stop: &StopToken,
    ) -> Result<Inertia, LinSolError> {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || self.factor_all(values, limits, stop),
        )
    }

    #[inline(always)]
    fn factor_all(
        &mut self,
        values: &[f64],
        limits: Thresholds,
        stop: &StopToken,
    ) -> Result<Inertia, LinSolError> {
        self.factor.clear();
        self.index.clear();
        self.work.pivots.clear();
        self.stack.clear();
        self.left.clear();
        self.delayed = 0;
        let mut since = 0.0;
        for s in 0..self.symbolic.nodes.len() {
            let size = self.factor_node(s, values, limits, stop).ok_or(LinSolError::Stopped)?;
            since += size;
            if since > PATIENCE {
                if stop.check().is_some() {
                    return Err(LinSolError::Stopped);
                }
                since = 0.0;
            }
        }
        Ok(self.inertia(limits.zero))
    }

    /// Returns the multiplications, about; None if stopped.
    #[inline(always)]
    fn factor_node(&mut self, s: usize, values: &[f64], limits: Thresholds, stop: &StopToken) -> Option<f64> {
        let node = self.symbolic.nodes[s];
        let k = node.ncols as usize;
        let children = self.left.len() - node.children as usize;
        let delayed: usize = self.left[children..].iter().map(|c| c.delayed).sum();
        let rows = node.rows.1 - node.rows.0;
        let (p, size) = (k + delayed, k + delayed + rows);
        if self.front.len() < size * size {
            self.front.resize(size * size, 0.0);
        }
        self.front[..size * size].fill(0.0);
        let index = self.index.len();
        self.index.extend(node.first..node.first + node.ncols);
        for c in children..self.left.len() {
            let Left { node, delayed, .. } = self.left[c];
            let b = self.blocks[node];
            self.index.extend_from_within(b.index + b.pivots..b.index + b.pivots + delayed);
        }
        self.index.extend_from_slice(&self.symbolic.rows[node.rows.0..node.rows.1]);
        self.assemble(node, children, delayed, values, size);
        let first_pivot = self.work.pivots.len();
        let front = &mut self.front[..size * size];
        let rows_of = &mut self.index[index..];
        let all = node.parent == ROOT;
        let done = eliminate(front, p, rows_of, limits, all, &mut self.work, stop)?;
        self.blocks[s] = Block { factor: self.factor.len(), index, s: size, pivots: done, first_pivot };
        self.factor.extend_from_slice(&front[..done * size]);
        let top = self.left.get(children).map_or(self.stack.len(), |c| c.start);
        self.stack.truncate(top);
        self.left.truncate(children);
        if node.parent != ROOT {
            self.delayed += p - done;
            self.left.push(Left { node: s, start: top, delayed: p - done });
            for j in done..size {
                // Only the lower triangle counts.
                self.stack.extend_from_slice(&front[j * size + done..(j + 1) * size]);
            }
        }
        let (d, f) = (done as f64, size as f64);
        Some(f * f + d * f * f)
    }

    /// Sums the entries of a node and what its children left.
    #[inline(always)]
    fn assemble(&mut self, node: Node, children: usize, delayed: usize, values: &[f64], size: usize) {
        let k = node.ncols;
        let shifted = |row: u32| (if row < k { row } else { row + delayed as u32 }) as usize;
        for e in &self.symbolic.entries[node.entries.0..node.entries.1] {
            self.front[e.col as usize * size + shifted(e.row)] += values[e.value as usize];
        }
        let mut before = k;
        for c in children..self.left.len() {
            let Left { node, start, delayed: own } = self.left[c];
            let (a, b) = self.symbolic.nodes[node].rows;
            self.map.clear();
            self.map.extend(before..before + own as u32);
            self.map.extend(self.symbolic.to_parent[a..b].iter().map(|&r| shifted(r) as u32));
            before += own as u32;
            let n = self.map.len();
            let left = &self.stack[start..start + n * n];
            find_runs(&self.map, &mut self.runs);
            let whole = self.runs.len() * LONG_RUN <= n;
            for j in 0..n {
                let pj = self.map[j] as usize;
                let column = &left[j * n + j..(j + 1) * n];
                if j < own {
                    // Delayed columns lie behind the parent's own.
                    for (v, &pi) in column.iter().zip(&self.map[j..]) {
                        let (pi, pj) = (pi as usize, pj);
                        self.front[pi.min(pj) * size + pi.max(pj)] += v;
                    }
                } else if whole {
                    let to = &mut self.front[pj * size..(pj + 1) * size];
                    for run in &self.runs {
                        let (from, end) = (run.child.max(j), run.child + run.len);
                        if from < end {
                            let at = run.parent + (from - run.child);
                            let to = &mut to[at..at + (end - from)];
                            to.iter_mut().zip(&column[from - j..end - j]).for_each(|(t, v)| *t += v);
                        }
                    }
                } else {
                    let to = &mut self.front[pj * size..(pj + 1) * size];
                    for (v, &pi) in column.iter().zip(&self.map[j..]) {
                        to[pi as usize] += v;
                    }
                }
            }
        }
    }

    fn inertia(&self, zero: f64) -> Inertia {
        let mut inertia = Inertia { positive: 0, negative: 0, zero: 0 };
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
        while k < self.work.pivots.len() {
            let Pivot { diagonal, below } = self.work.pivots[k];
            if below == 0.0 {
                count(diagonal);
                k += 1;
            } else {
                let (a, b) = eigenvalues(diagonal, below, self.work.pivots[k + 1].diagonal);
                count(a);
                count(b);
                k += 2;
            }
        }
        inertia
    }

    /// x <- A^-1 x with the last factors.
    pub fn solve(&mut self, x: &mut [f64]) {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || self.solve_all(x),
        );
    }

    #[inline(always)]
    fn solve_all(&mut self, x: &mut [f64]) {
        for (p, &j) in self.x.iter_mut().zip(&self.symbolic.order) {
            *p = x[j as usize];
        }
        self.local.resize(self.blocks.iter().map(|b| b.s).max().unwrap_or(0), 0.0);
        for b in &self.blocks {
            let (l, rows) = (&self.factor[b.factor..], &self.index[b.index..b.index + b.s]);
            let local = &mut self.local[..b.s];
            for (v, &i) in local.iter_mut().zip(rows) {
                *v = self.x[i as usize];
            }
            for c in 0..b.pivots {
                let v = local[c];
                if v != 0.0 {
                    axpy(-v, &l[c * b.s + c + 1..(c + 1) * b.s], &mut local[c + 1..]);
                }
            }
            divide(&self.work.pivots[b.first_pivot..b.first_pivot + b.pivots], local);
            for (v, &i) in local.iter().zip(rows) {
                self.x[i as usize] = *v;
            }
        }
        for b in self.blocks.iter().rev() {
            let (l, rows) = (&self.factor[b.factor..], &self.index[b.index..b.index + b.s]);
            let local = &mut self.local[..b.s];
            for (v, &i) in local.iter_mut().zip(rows) {
                *v = self.x[i as usize];
            }
            for c in (0..b.pivots).rev() {
                local[c] -= dot4(&l[c * b.s + c + 1..(c + 1) * b.s], &local[c + 1..]);
            }
            for (v, &i) in local[..b.pivots].iter().zip(rows) {
                self.x[i as usize] = *v;
            }
        }
        for (p, &j) in self.x.iter().zip(&self.symbolic.order) {
            x[j as usize] = *p;
        }
    }
}

/// v <- D^-1 v.
#[inline(always)]
fn divide(pivots: &[Pivot], v: &mut [f64]) {
    let mut k = 0;
    while k < pivots.len() {
        let Pivot { diagonal: d, below: b } = pivots[k];
        if b == 0.0 {
            v[k] /= d;
            k += 1;
        } else {
            let (db, eb) = (d / b, pivots[k + 1].diagonal / b);
            let scale = 1.0 / (b * (db * eb - 1.0));
            (v[k], v[k + 1]) = (scale * (eb * v[k] - v[k + 1]), scale * (db * v[k + 1] - v[k]));
            k += 2;
        }
    }
}

/// x'y in four chains.
#[inline(always)]
fn dot4(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (xs, ys) = (x.chunks_exact(4), y.chunks_exact(4));
    let tail: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in xs.zip(ys) {
        for ((s, x), y) in sums.iter_mut().zip(x).zip(y) {
            *s += x * y;
        }
    }
    sums[0] + sums[1] + (sums[2] + sums[3]) + tail
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

//! A part of the assembly tree: nodes that one thread factorizes one after another, with storage of their own, when the parts
//! below are done. Parts beside each other may be factorized at the same time.
//!
//! The arithmetic of a front depends on its matrix and its children only, and solves go through the nodes of all parts in one
//! order, that of the whole tree: results are the same bits however the tree is cut, and whoever computes what.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::observe::StopToken;

use super::front::{Pivot, Thresholds, Work, axpy, eliminate};
use super::symbolic::{Node, Symbolic};
use super::tree::ROOT;

/// Mean length of runs from which a child is summed run by run.
const LONG_RUN: usize = 8;
/// Multiplications between looks at the stop token.
const PATIENCE: f64 = 1e6;

/// What a factorization of all parts is given.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub symbolic: &'a Symbolic,
    pub values: &'a [f64],
    pub limits: Thresholds,
    pub stop: &'a StopToken,
    /// Twice the multiplications so far, over all parts, and how many there may be. Whether they are exceeded does not depend on the threads.
    pub spent: &'a AtomicU64,
    pub most: u64,
    /// Parts beside each other and strips of large updates are handed to the threads of the current pool.
    pub parallel: bool,
}

/// In the order of the whole tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Nodes of this part; where their blocks begin in `Own::blocks`.
    Nodes(Range<usize>, usize),
    /// The part below with this index.
    Below(usize),
}

#[derive(Debug, Default)]
pub(super) struct Part {
    pub steps: Vec<Step>,
    pub below: Vec<Part>,
    pub own: Own,
}

/// The factor of a part's own nodes, and what is needed to make it.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub blocks: Vec<Block>,
    pub pivots: Vec<Pivot>,
    /// Columns handed from a front to its parent.
    pub delayed: usize,
    factor: Vec<f64>,
    index: Vec<u32>,
    stack: Vec<f64>,
    left: Vec<Left>,
    front: Vec<f64>,
    /// Place in the front of each row of a child.
    map: Vec<u32>,
    /// The same where neighbours stay neighbours.
    runs: Vec<Run>,
    work: Work,
}

/// The factor of a node.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Block {
    /// Start of L, s x pivots, in `factor`, and of its rows in `index`.
    factor: usize,
    index: usize,
    pub s: usize,
    pub pivots: usize,
    /// Start in `Own::pivots`.
    first_pivot: usize,
}

/// What a child left: lower triangle of size `delayed + rows` in a stack.
#[derive(Debug, Clone, Copy)]
struct Left {
    /// The part below whose stack it is, or this one.
    below: Option<usize>,
    node: usize,
    block: usize,
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

/// The sum of the squares of the columns of L of `pivots` pivots in a front of `size`.
pub(super) fn twice_the_work(size: usize, pivots: usize) -> u64 {
    let squares = |m: usize| {
        let m = m as u128;
        m * (m + 1) * (2 * m + 1) / 6
    };
    (squares(size) - squares(size - pivots)) as u64
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

impl Part {
    /// Appends nodes, or what lies below them as `part`.
    pub fn push_nodes(&mut self, nodes: Range<usize>) {
        if let Some(Step::Nodes(last, _)) = self.steps.last_mut()
            && last.end == nodes.start
        {
            last.end = nodes.end;
            return;
        }
        let before = self.own_nodes().map(|r| r.len()).sum();
        self.steps.push(Step::Nodes(nodes, before));
    }

    pub fn push_below(&mut self, part: Part) {
        self.steps.push(Step::Below(self.below.len()));
        self.below.push(part);
    }

    fn own_nodes(&self) -> impl Iterator<Item = Range<usize>> {
        self.steps.iter().filter_map(|s| if let Step::Nodes(r, _) = s { Some(r.clone()) } else { None })
    }

    /// Memory for the factor; false if there is none.
    pub fn reserve(&mut self, symbolic: &Symbolic) -> bool {
        let (mut entries, mut nodes) = (0, 0);
        for range in self.own_nodes() {
            nodes += range.len();
            for node in &symbolic.nodes[range] {
                let (k, f) = (node.ncols as usize, node.ncols as usize + node.rows.1 - node.rows.0);
                entries += k * f;
            }
        }
        self.own.blocks.reserve(nodes);
        // Delayed columns may need more.
        self.own.factor.try_reserve(entries + entries / 4).is_ok()
            && self.below.iter_mut().all(|part| part.reserve(symbolic))
    }

    /// Factorizes what is below, then the nodes of this part; None if stopped.
    pub fn factor(&mut self, task: Task<'_>) -> Option<()> {
        let Self { steps, below, own } = self;
        if task.parallel && below.len() > 1 {
            below.par_iter_mut().with_max_len(1).try_for_each(|part| part.factor(task))?;
        } else {
            below.iter_mut().try_for_each(|part| part.factor(task))?;
        }
        // Those below are done: their largest front serves here, too.
        let lender = (0..below.len()).max_by_key(|&k| below[k].own.front.len());
        let lend = |own: &mut Own, below: &mut [Part]| {
            if let Some(k) = lender {
                std::mem::swap(&mut own.front, &mut below[k].own.front);
            }
        };
        lend(own, below);
        own.clear();
        let done = own.factor_steps(steps, below, task);
        lend(own, below);
        done
    }

    /// x <- D^-1 L^-1 x.
    pub fn solve_lower(&self, x: &mut [f64], local: &mut [f64]) {
        for step in &self.steps {
            match step {
                Step::Nodes(nodes, first) => {
                    let blocks = *first..first + nodes.len();
                    pulp::Arch::new().dispatch(Solve { own: &self.own, blocks, x, local, upper: false });
                }
                Step::Below(k) => self.below[*k].solve_lower(x, local),
            }
        }
    }

    /// x <- L'^-1 x.
    pub fn solve_upper(&self, x: &mut [f64], local: &mut [f64]) {
        for step in self.steps.iter().rev() {
            match step {
                Step::Nodes(nodes, first) => {
                    let blocks = *first..first + nodes.len();
                    pulp::Arch::new().dispatch(Solve { own: &self.own, blocks, x, local, upper: true });
                }
                Step::Below(k) => self.below[*k].solve_upper(x, local),
            }
        }
    }

    /// Calls `f` for this part and all below.
    pub fn visit(&self, f: &mut impl FnMut(&Own)) {
        f(&self.own);
        self.below.iter().for_each(|part| part.visit(f));
    }
}

/// [`Own::factor_nodes`] for the vector instructions of the machine. A closure would not do: what calls one that may be called
/// again is not inlined, and its body then compiled for the oldest machine.
struct Factor<'a> {
    own: &'a mut Own,
    nodes: Range<usize>,
    below: &'a [Part],
    task: Task<'a>,
}

impl pulp::WithSimd for Factor<'_> {
    type Output = Option<()>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Option<()> {
        self.own.factor_nodes(self.nodes, self.below, self.task)
    }
}

/// [`Own::solve_lower`] or [`Own::solve_upper`], likewise.
struct Solve<'a> {
    own: &'a Own,
    blocks: Range<usize>,
    x: &'a mut [f64],
    local: &'a mut [f64],
    upper: bool,
}

impl pulp::WithSimd for Solve<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Self { own, blocks, x, local, upper } = self;
        if upper { own.solve_upper(blocks, x, local) } else { own.solve_lower(blocks, x, local) }
    }
}

impl Own {
    fn clear(&mut self) {
        self.blocks.clear();
        self.pivots.clear();
        self.factor.clear();
        self.index.clear();
        self.stack.clear();
        self.left.clear();
        self.delayed = 0;
        self.work.largest_l = 0.0;
    }

    /// The largest entry of L, about.
    pub fn largest_l(&self) -> f64 {
        self.work.largest_l
    }

    fn factor_steps(&mut self, steps: &[Step], below: &[Part], task: Task<'_>) -> Option<()> {
        for step in steps {
            match step {
                Step::Nodes(nodes, _) => {
                    let nodes = nodes.clone();
                    pulp::Arch::new().dispatch(Factor { own: self, nodes, below, task })?;
                }
                Step::Below(k) => {
                    let of_below = |left: &Left| Left { below: Some(*k), ..*left };
                    self.left.extend(below[*k].own.left.iter().map(of_below));
                }
            }
        }
        Some(())
    }

    #[inline(always)]
    fn factor_nodes(&mut self, nodes: Range<usize>, below: &[Part], task: Task<'_>) -> Option<()> {
        let mut since = 0.0;
        for s in nodes {
            since += self.factor_node(s, below, task)?;
            if since > PATIENCE {
                if task.stop.check().is_some() {
                    return None;
                }
                since = 0.0;
            }
        }
        Some(())
    }

    /// Returns the multiplications, about; None if stopped.
    #[inline(always)]
    fn factor_node(&mut self, s: usize, below: &[Part], task: Task<'_>) -> Option<f64> {
        let symbolic = task.symbolic;
        let node = symbolic.nodes[s];
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
            let Left { below: part, block, delayed, .. } = self.left[c];
            let range = |b: Block| b.index + b.pivots..b.index + b.pivots + delayed;
            match part {
                None => self.index.extend_from_within(range(self.blocks[block])),
                Some(k) => {
                    self.index.extend_from_slice(&below[k].own.index[range(below[k].own.blocks[block])])
                }
            }
        }
        self.index.extend_from_slice(&symbolic.rows[node.rows.0..node.rows.1]);
        self.assemble(node, children, delayed, size, below, task);
        let first_pivot = self.pivots.len();
        let front = &mut self.front[..size * size];
        let rows_of = &mut self.index[index..];
        let all = node.parent == ROOT;
        let Task { limits, stop, .. } = task;
        self.work.parallel = task.parallel;
        let done = eliminate(front, p, rows_of, limits, all, (&mut self.work, &mut self.pivots), stop)?;
        if task.most < u64::MAX {
            let work = twice_the_work(size, done);
            if task.spent.fetch_add(work, Ordering::Relaxed) + work > task.most {
                return None;
            }
        }
        let block = self.blocks.len();
        self.blocks.push(Block { factor: self.factor.len(), index, s: size, pivots: done, first_pivot });
        self.factor.extend_from_slice(&front[..done * size]);
        let mine = self.left[children..].iter().find(|l| l.below.is_none());
        let top = mine.map_or(self.stack.len(), |l| l.start);
        self.stack.truncate(top);
        self.left.truncate(children);
        if node.parent != ROOT {
            self.delayed += p - done;
            self.left.push(Left { below: None, node: s, block, start: top, delayed: p - done });
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
    fn assemble(
        &mut self,
        node: Node,
        children: usize,
        delayed: usize,
        size: usize,
        below: &[Part],
        task: Task<'_>,
    ) {
        let Task { symbolic, values, .. } = task;
        let k = node.ncols;
        let shifted = |row: u32| (if row < k { row } else { row + delayed as u32 }) as usize;
        for e in &symbolic.entries[node.entries.0..node.entries.1] {
            self.front[e.col as usize * size + shifted(e.row)] += values[e.value as usize];
        }
        let mut before = k;
        for c in children..self.left.len() {
            let Left { below: part, node, start, delayed: own, .. } = self.left[c];
            let (a, b) = symbolic.nodes[node].rows;
            self.map.clear();
            self.map.extend(before..before + own as u32);
            self.map.extend(symbolic.to_parent[a..b].iter().map(|&r| shifted(r) as u32));
            before += own as u32;
            let n = self.map.len();
            let stack = part.map_or(&self.stack, |k| &below[k].own.stack);
            let left = &stack[start..start + n * n];
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

    #[inline(always)]
    fn solve_lower(&self, blocks: Range<usize>, x: &mut [f64], local: &mut [f64]) {
        for b in &self.blocks[blocks] {
            let (l, rows) = (&self.factor[b.factor..], &self.index[b.index..b.index + b.s]);
            let local = &mut local[..b.s];
            for (v, &i) in local.iter_mut().zip(rows) {
                *v = x[i as usize];
            }
            for c in 0..b.pivots {
                let v = local[c];
                if v != 0.0 {
                    axpy(-v, &l[c * b.s + c + 1..(c + 1) * b.s], &mut local[c + 1..]);
                }
            }
            divide(&self.pivots[b.first_pivot..b.first_pivot + b.pivots], local);
            for (v, &i) in local.iter().zip(rows) {
                x[i as usize] = *v;
            }
        }
    }

    #[inline(always)]
    fn solve_upper(&self, blocks: Range<usize>, x: &mut [f64], local: &mut [f64]) {
        for b in self.blocks[blocks].iter().rev() {
            let (l, rows) = (&self.factor[b.factor..], &self.index[b.index..b.index + b.s]);
            let local = &mut local[..b.s];
            for (v, &i) in local.iter_mut().zip(rows) {
                *v = x[i as usize];
            }
            for c in (0..b.pivots).rev() {
                local[c] -= dot4(&l[c * b.s + c + 1..(c + 1) * b.s], &local[c + 1..]);
            }
            for (v, &i) in local[..b.pivots].iter().zip(rows) {
                x[i as usize] = *v;
            }
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

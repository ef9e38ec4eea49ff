//! Sketch-and-project: x <- x - A'S (S'A A'S)^+ S'(A x - b).
//!
//! Gower and Richtarik, "Randomized iterative methods for linear systems", SIMAX 36 (2015). Each step projects x onto the
//! solutions of S'A x = S'b, so that the distance from x to the solution set never grows; the residual may. The plain
//! methods: no momentum, no averaging.

mod alias;
mod gram;
mod rows;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

use crate::linalg::{LinOp, axpy, dot};
use crate::linsol::common::{begin, check_matrix, residual, resize};
use crate::linsol::{Accuracy, LinSolError, LinearSolver, Prepared, SolveEnd, Solved, SolverFacts};
use crate::observe::StopToken;

use alias::Alias;
use gram::Gram;
use rows::Rows;

/// The distribution of S.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sketch {
    /// One Gaussian vector: a product with A' a step.
    Gaussian,
    /// A unit vector, drawn uniformly among the rows that are not zero: a row of A a step.
    Row,
    /// A unit vector, row i with probability ~ |a_i|^2.
    RowByNorm,
    /// Gaussian vectors: as many products with A' a step.
    GaussianBlock,
    /// Distinct unit vectors.
    RowBlock,
    /// Each row goes with a random sign to one of the columns of S (Clarkson and Woodruff 2013).
    Count,
}

impl Sketch {
    fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Row => "kaczmarz",
            Self::RowByNorm => "kaczmarz-norm",
            Self::GaussianBlock => "block-gaussian",
            Self::RowBlock => "block-kaczmarz",
            Self::Count => "count-sketch",
        }
    }

    fn needs_rows(self) -> bool {
        matches!(self, Self::Row | Self::RowByNorm | Self::RowBlock)
    }

    fn is_block(self) -> bool {
        matches!(self, Self::GaussianBlock | Self::RowBlock | Self::Count)
    }
}

/// Columns of a block sketch unless told otherwise: an eighth of the dimension within 10..64.
fn default_block(n: usize) -> usize {
    (n / 8).clamp(10, 64).min(n)
}

/// Sketch-and-project with any of the [`Sketch`]es.
#[derive(Debug)]
pub struct SketchProject {
    sketch: Sketch,
    block_wanted: Option<usize>,
    random: StdRng,
    n: usize,
    block: usize,
    rows: Rows,
    alias: Alias,
    gram: Gram,
    /// A'S, its columns one after the other (one for single vectors).
    q: Vec<f64>,
    /// A column of S.
    s: Vec<f64>,
    /// S'(b - A x), then the coefficients of the step.
    t: Vec<f64>,
    r: Vec<f64>,
    /// Permutation from which blocks of rows are drawn; for count sketches the column of each row.
    pick: Vec<usize>,
    sign: Vec<f64>,
}

impl SketchProject {
    /// A solver without a matrix yet. `block`: columns of a block sketch.
    pub fn new(sketch: Sketch, seed: u64, block: Option<usize>) -> Self {
        Self {
            sketch,
            block_wanted: block,
            random: StdRng::seed_from_u64(seed),
            n: 0,
            block: 0,
            rows: Rows::default(),
            alias: Alias::default(),
            gram: Gram::default(),
            q: Vec::new(),
            s: Vec::new(),
            t: Vec::new(),
            r: Vec::new(),
            pick: Vec::new(),
            sign: Vec::new(),
        }
    }

    /// One step from x.
    fn step(&mut self, a: &mut dyn LinOp, b: &[f64], x: &mut [f64]) {
        match self.sketch {
            Sketch::Gaussian => self.gaussian(a, b, x),
            Sketch::Row => {
                let i = self.rows.nonzero()[self.random.random_range(0..self.rows.nonzero().len())];
                self.rows.project(i, b, x);
            }
            Sketch::RowByNorm => {
                let i = self.alias.draw(&mut self.random);
                self.rows.project(i, b, x);
            }
            Sketch::GaussianBlock => {
                for c in 0..self.block {
                    self.s.iter_mut().for_each(|v| *v = StandardNormal.sample(&mut self.random));
                    let q = &mut self.q[c * self.n..(c + 1) * self.n];
                    a.apply_t(1.0, &self.s, 0.0, q);
                    self.t[c] = dot(&self.s, b) - dot(q, x);
                }
                self.project_block(x);
            }
            Sketch::RowBlock => self.row_block(b, x),
            Sketch::Count => {
                self.count_sketch(a, b, x);
                self.project_block(x);
            }
        }
    }

    /// q = A's: x += q (s'b - q'x)/|q|^2, without the residual.
    fn gaussian(&mut self, a: &mut dyn LinOp, b: &[f64], x: &mut [f64]) {
        self.s.iter_mut().for_each(|v| *v = StandardNormal.sample(&mut self.random));
        a.apply_t(1.0, &self.s, 0.0, &mut self.q);
        let size = dot(&self.q, &self.q);
        if size > 0.0 {
            axpy((dot(&self.s, b) - dot(&self.q, x)) / size, &self.q, x);
        }
    }

    /// Draws `block` distinct rows (a partial Fisher-Yates shuffle) and projects onto them.
    fn row_block(&mut self, b: &[f64], x: &mut [f64]) {
        for c in 0..self.block {
            let other = self.random.random_range(c..self.pick.len());
            self.pick.swap(c, other);
        }
        let rows = &self.rows;
        let picked = &self.pick[..self.block];
        for (c, &i) in picked.iter().enumerate() {
            self.t[c] = b[i] - rows.dot(i, x);
        }
        let g = self.gram.reset(self.block);
        for (c, &i) in picked.iter().enumerate() {
            rows.scatter(i, 1.0, &mut self.s);
            for (d, &k) in picked.iter().enumerate().skip(c) {
                g[c * self.block + d] = rows.dot(k, &self.s);
            }
            rows.clear(i, &mut self.s);
        }
        self.gram.solve(&mut self.t[..self.block]);
        for (&i, t) in picked.iter().zip(&self.t) {
            rows.scatter(i, *t, x);
        }
    }

    /// Fills q = A'S and t = S'b - q'x.
    fn count_sketch(&mut self, a: &mut dyn LinOp, b: &[f64], x: &[f64]) {
        let n = self.n;
        for i in 0..n {
            self.pick[i] = self.random.random_range(0..self.block);
            self.sign[i] = if self.random.random::<bool>() { 1.0 } else { -1.0 };
        }
        self.t.fill(0.0);
        for ((c, sign), bi) in self.pick.iter().zip(&self.sign).zip(b) {
            self.t[*c] += sign * bi;
        }
        if self.rows.is_empty() {
            for c in 0..self.block {
                for i in 0..n {
                    self.s[i] = if self.pick[i] == c { self.sign[i] } else { 0.0 };
                }
                a.apply_t(1.0, &self.s, 0.0, &mut self.q[c * n..(c + 1) * n]);
            }
        } else {
            self.q.fill(0.0);
            for i in 0..n {
                let c = self.pick[i];
                self.rows.scatter(i, self.sign[i], &mut self.q[c * n..(c + 1) * n]);
            }
        }
        for (t, q) in self.t.iter_mut().zip(self.q.chunks_exact(n)) {
            *t -= dot(q, x);
        }
    }

    /// x += q (q'q)^+ t.
    fn project_block(&mut self, x: &mut [f64]) {
        let (n, block) = (self.n, self.block);
        let g = self.gram.reset(block);
        for c in 0..block {
            for d in c..block {
                g[c * block + d] = dot(&self.q[c * n..(c + 1) * n], &self.q[d * n..(d + 1) * n]);
            }
        }
        self.gram.solve(&mut self.t);
        for (t, q) in self.t.iter().zip(self.q.chunks_exact(n)) {
            axpy(*t, q, x);
        }
    }
}

impl LinearSolver for SketchProject {
    fn name(&self) -> &'static str {
        self.sketch.name()
    }

    fn facts(&self) -> SolverFacts {
        SolverFacts { inertia: false, needs_entries: self.sketch.needs_rows() }
    }

    fn prepare(&mut self, a: &mut dyn LinOp, _: &StopToken) -> Result<Prepared, LinSolError> {
        let n = check_matrix(self.name(), a)?;
        self.n = n;
        let sketch = self.sketch;
        self.rows.clear_all();
        match a.as_sparse() {
            Some(s) if sketch.needs_rows() || sketch == Sketch::Count => self.rows.fill(s),
            None if sketch.needs_rows() => return Err(LinSolError::NeedsEntries { solver: sketch.name() }),
            _ => {}
        }
        if sketch == Sketch::RowByNorm {
            self.alias.build(self.rows.squares());
        }
        self.block = if sketch.is_block() {
            self.block_wanted.map_or(default_block(n), |w| w.clamp(1, n.max(1)))
        } else {
            1
        };
        if sketch == Sketch::RowBlock {
            self.block = self.block.min(self.rows.nonzero().len());
            self.pick.clear();
            self.pick.extend_from_slice(self.rows.nonzero());
        } else {
            self.pick.resize(n, 0);
        }
        let columns = if sketch.needs_rows() { 0 } else { self.block };
        resize(n * columns, &mut [&mut self.q]);
        resize(n, &mut [&mut self.s, &mut self.r, &mut self.sign]);
        self.s.fill(0.0);
        resize(self.block, &mut [&mut self.t]);
        Ok(Prepared::default())
    }

    fn solve(
        &mut self,
        a: &mut dyn LinOp,
        b: &[f64],
        x: &mut [f64],
        accuracy: Accuracy,
        stop: &StopToken,
    ) -> Result<Solved, LinSolError> {
        let name = self.name();
        let Some(start) = begin(name, self.n, a, b, x, &mut self.r)? else {
            return Ok(Solved {
                relative_residual: 0.0,
                at_rounding: false,
                iterations: 0,
                end: SolveEnd::Reached,
            });
        };
        let (norm_b, mut norm_r) = (start.norm_b, start.norm_r);
        let target = accuracy.relative * norm_b;
        // The true residual costs a product: once every n rows or n/16 products.
        let interval = match self.sketch {
            Sketch::Row | Sketch::RowByNorm => self.n.max(1),
            Sketch::Gaussian => self.n.div_ceil(16),
            _ => self.n.div_ceil(4 * self.block.max(1)).clamp(1, 16),
        };
        let no_rows = self.sketch.needs_rows() && self.rows.nonzero().is_empty();
        let mut iterations = 0;
        let end = loop {
            if norm_r <= target {
                break SolveEnd::Reached;
            }
            if iterations >= accuracy.max_iterations {
                break SolveEnd::MaxIterations;
            }
            if no_rows {
                break SolveEnd::Stagnated;
            }
            let mut stopped = false;
            for k in 0..interval.min(accuracy.max_iterations - iterations) {
                if k % 64 == 0 && stop.check().is_some() {
                    stopped = true;
                    break;
                }
                self.step(a, b, x);
                iterations += 1;
            }
            norm_r = residual(a, b, x, &mut self.r);
            if !norm_r.is_finite() {
                return Err(LinSolError::NotFinite { solver: name, what: "matrix" });
            }
            if stopped && norm_r > target {
                break SolveEnd::Stopped;
            }
        };
        Ok(Solved { relative_residual: norm_r / norm_b, at_rounding: false, iterations, end })
    }
}

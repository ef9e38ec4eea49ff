//! Brownian paths as functions of (seed, trajectory, t).
//!
//! # The pair (w, H)
//!
//! Over an interval [s, u] of length h a Brownian motion W has the increment w and the space-time Levy area H,
//!
//! ```text
//! w = W(u) - W(s) ~ N(0, h),   H = (1/h) int_s^u (W(r) - W(s) - (r - s)/h w) dr ~ N(0, h/12),   independent
//! I10 = int_s^u (W(r) - W(s)) dr = h (w/2 + H)
//! ```
//!
//! Two neighbouring intervals join, and one interval with middle m splits, by
//!
//! ```text
//! join:   w = w1 + w2,   H = (h1 H1 + h2 H2 + (h2 w1 - h1 w2)/2) / h
//! split:  d = 3 H + sqrt(h)/2 X1,   w1 = (w + d)/2,   w2 = (w - d)/2,
//!         q = H/2 - sqrt(h)/4 X1,   e = sqrt(h/12) X2,   H1 = (q + e)/2,   H2 = (q - e)/2
//! ```
//!
//! with X1, X2 independent standard normals. Why: w1, w2 ~ N(0, h/2) and H1, H2 ~ N(0, h/24) are independent, so w = w1 + w2, d = w1 - w2 ~ N(0, h),
//! q = H1 + H2 and e = H1 - H2 ~ N(0, h/12) are; e is free of (w, H), and joining gives H = q/2 + d/4. Hence cov(d, H) = h/4,
//! E[d | H] = 3 H, var(d | H) = h - 9 h/12 = h/4, and q = 2 H - d/2. Split and join are inverse, and the law of the four
//! numbers is exact. (Foster, Lyons, Oberhauser, SIAM J. Numer. Anal. 58, 2020; Jelincic, Foster, Kidger 2024.)
//!
//! # The tree
//!
//! The interval of the path is divided into `cells` of equal length, each with its own (w, H), and each cell into 2^depth ticks by splitting;
//! X1, X2 of every node are a pure function of (seed, trajectory, component, cell, node). Between ticks nothing is interpolated: times are
//! rounded to ticks, steps end on ticks, and save points are off by half a tick at most (2^-25 of a cell by default).
//! The path so depends on seed, trajectory, interval and cells, and not on the steps tried, the batch, or the number of threads.
//! An interval is always assembled from the same pieces, the largest nodes that fit, so even the rounding is the same each time.

use crate::ode::OdeError;
use crate::random::fill;
use crate::simd::vectorized;

/// Which Brownian path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Brownian {
    /// Seed.
    pub seed: u64,
    /// Number of the first column's trajectory; column j is number `first_trajectory + j`.
    pub first_trajectory: u32,
    /// The interval of the path; the span of the integration if absent. Paths agree only if their intervals do.
    pub interval: Option<(f64, f64)>,
    /// Cells of the interval. If absent: one, and with a fixed step as many as steps (which is fastest: one pair of normals a step).
    pub cells: Option<u32>,
    /// A cell has 2^depth ticks; at most 30.
    pub depth: u32,
}

impl Brownian {
    /// The paths of a seed. With a fixed step they depend on the step, too (one cell a step): to run different steps, or fixed and adaptive ones, on the
    /// same paths, give [`with_cells`](Self::with_cells).
    pub fn new(seed: u64) -> Self {
        Self { seed, first_trajectory: 0, interval: None, cells: None, depth: 24 }
    }
    /// From another first trajectory: for parts of an ensemble.
    pub fn trajectories_from(self, first: u32) -> Self {
        Self { first_trajectory: first, ..self }
    }
    /// From a later first trajectory, by this many.
    pub(crate) fn skip(self, by: u32) -> Result<Self, OdeError> {
        let Some(first_trajectory) = self.first_trajectory.checked_add(by) else {
            let value = self.first_trajectory as f64;
            let must = "such that all trajectories are below 2^32";
            return Err(OdeError::Option { option: "first_trajectory", value, must });
        };
        Ok(Self { first_trajectory, ..self })
    }
    /// Over a fixed interval, whatever the span.
    pub fn over(self, t0: f64, t1: f64) -> Self {
        Self { interval: Some((t0, t1)), ..self }
    }
    /// With this many cells.
    pub fn with_cells(self, cells: u32) -> Self {
        Self { cells: Some(cells), ..self }
    }
}

/// A node of a cell's tree: [start, start + 2^(depth - level)) in ticks.
#[derive(Debug, Clone, Copy)]
struct Piece {
    start: u64,
    level: u32,
    buffer: usize,
}

/// The paths of a batch, read from left to right: increments from the position to a later time can be looked at any number of times, then accepted.
#[derive(Debug, Clone)]
pub struct BrownianPath {
    seed: u64,
    t0: f64,
    /// Length of a tick.
    tick: f64,
    depth: u32,
    cells: u64,
    component: Vec<u64>,
    trajectory: Vec<u64>,
    position: u64,
    target: u64,
    /// The rest of the current cell from the position on, first piece last.
    pieces: Vec<Piece>,
    /// What looking at `target` did: how many pieces it used up, and the rest of the piece it cut.
    used: usize,
    tail: Vec<Piece>,
    /// (w, H) of pieces.
    buffers: Vec<Vec<f64>>,
    free: Vec<usize>,
    x: Vec<f64>,
    z: Vec<f64>,
    w: Vec<f64>,
    area: Vec<f64>,
    length: f64,
}

impl BrownianPath {
    /// At the start of the interval (the span, unless `brownian` has its own), for `width` motions of each of `batch` trajectories.
    pub fn new(brownian: &Brownian, span: (f64, f64), width: usize, batch: usize) -> Result<Self, OdeError> {
        let n = width * batch;
        let mut path = Self {
            seed: 0,
            t0: 0.0,
            tick: 0.0,
            depth: 0,
            cells: 0,
            component: (0..n).map(|i| (i % width.max(1)) as u64).collect(),
            trajectory: vec![0; n],
            position: 0,
            target: 0,
            pieces: Vec::with_capacity(64),
            used: 0,
            tail: Vec::with_capacity(32),
            buffers: vec![],
            free: vec![],
            x: vec![0.0; n],
            z: vec![0.0; n],
            w: vec![0.0; n],
            area: vec![0.0; n],
            length: 0.0,
        };
        path.set(brownian, span)?;
        Ok(path)
    }

    /// Whether it has this many motions and trajectories.
    pub(crate) fn fits(&self, width: usize, batch: usize) -> bool {
        self.component.len() == width * batch && self.width() == width
    }
    fn width(&self) -> usize {
        self.component.last().map_or(1, |last| *last as usize + 1)
    }

    /// Another path in the same storage.
    pub fn set(&mut self, b: &Brownian, span: (f64, f64)) -> Result<(), OdeError> {
        let (t0, t1) = b.interval.unwrap_or(span);
        let cells = b.cells.unwrap_or(1);
        for (option, value, ok, must) in [
            ("depth", b.depth as f64, b.depth <= 30, "at most 30"),
            ("cells", cells as f64, cells > 0, "at least one"),
            ("interval", t1 - t0, t1 - t0 > 0.0 && (t1 - t0).is_finite(), "of positive, finite length"),
            ("interval", t0, t0 <= span.0, "such that it contains the span"),
            ("interval", t1, t1 >= span.1, "such that it contains the span"),
        ] {
            if !ok {
                return Err(OdeError::Option { option, value, must });
            }
        }
        let width = self.width();
        if (self.trajectory.len() / width) as u64 + b.first_trajectory as u64 > 1 << 32 {
            let (option, value) = ("first_trajectory", b.first_trajectory as f64);
            return Err(OdeError::Option {
                option,
                value,
                must: "such that all trajectories are below 2^32",
            });
        }
        self.trajectory
            .iter_mut()
            .enumerate()
            .for_each(|(i, t)| *t = b.first_trajectory as u64 + (i / width) as u64);
        (self.seed, self.depth, self.cells) = (b.seed, b.depth, cells as u64);
        (self.t0, self.tick) = (t0, (t1 - t0) / (cells as f64 * (1u64 << b.depth) as f64));
        self.rewind();
        Ok(())
    }

    /// Back to the start of the interval.
    pub fn rewind(&mut self) {
        (self.position, self.target, self.used) = (0, 0, 0);
        self.tail.clear();
        self.pieces.clear();
        self.free.clear();
        self.free.extend((0..self.buffers.len()).rev());
    }

    /// The tick nearest to t.
    pub fn tick_of(&self, t: f64) -> u64 {
        // A cast from f64 saturates.
        (((t - self.t0) / self.tick).round() as u64).min(self.cells << self.depth)
    }
    /// Time of a tick.
    pub fn time_of(&self, tick: u64) -> f64 {
        self.t0 + tick as f64 * self.tick
    }
    /// Length of a tick.
    pub fn tick(&self) -> f64 {
        self.tick
    }
    /// The position, in ticks.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Increments w and space-time Levy areas H, each width x batch, from the position to the tick nearest t, which becomes the position. An error
    /// if t is before the position or after the end of the interval: the path stays where it is.
    pub fn advance(&mut self, t: f64) -> Result<(&[f64], &[f64]), OdeError> {
        let (target, end) = (self.tick_of(t), self.time_of(self.cells << self.depth));
        if !(target >= self.position && t <= end + self.tick) {
            let must = "from the path's position to the end of its interval";
            return Err(OdeError::Option { option: "t", value: t, must });
        }
        self.look(target);
        self.accept();
        Ok((&self.w, &self.area))
    }

    /// w and H from the position to a later tick; the position stays.
    pub(crate) fn look(&mut self, target: u64) -> (&[f64], &[f64]) {
        debug_assert!(target >= self.position && target <= self.cells << self.depth);
        while let Some(piece) = self.tail.pop() {
            self.free.push(piece.buffer);
        }
        (self.target, self.used, self.length) = (target, 0, 0.0);
        self.w.fill(0.0);
        self.area.fill(0.0);
        let mut at = self.position;
        while at < target {
            let (piece, stored) = if let Some(i) = self.pieces.len().checked_sub(self.used + 1) {
                self.used += 1;
                (self.pieces[i], true)
            } else {
                (self.cell(at >> self.depth), false)
            };
            let end = piece.start + (1 << (self.depth - piece.level));
            if end <= target {
                self.join(piece);
                if !stored {
                    self.free.push(piece.buffer);
                }
                at = end;
            } else {
                self.cut(piece, stored, target);
                at = target;
            }
        }
        (&self.w, &self.area)
    }

    /// Moves to what was looked at last.
    pub(crate) fn accept(&mut self) {
        for _ in 0..self.used {
            if let Some(piece) = self.pieces.pop() {
                self.free.push(piece.buffer);
            }
        }
        self.pieces.append(&mut self.tail);
        (self.position, self.used) = (self.target, 0);
    }

    /// Moves anywhere.
    pub(crate) fn seek(&mut self, tick: u64) {
        if tick == self.position {
            return;
        }
        self.rewind();
        self.position = tick >> self.depth << self.depth;
        if tick > self.position {
            self.look(tick);
            self.accept();
        }
    }

    fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.buffers.push(vec![0.0; 2 * self.w.len()]);
            self.free.reserve(self.buffers.capacity());
            self.buffers.len() - 1
        })
    }

    /// The whole of a cell.
    fn cell(&mut self, cell: u64) -> Piece {
        let buffer = self.take();
        fill(self.seed, (0, cell), &self.component, &self.trajectory, &mut self.x, &mut self.z);
        let h = self.tick * (1u64 << self.depth) as f64;
        let (a, b) = (h.sqrt(), (h / 12.0).sqrt());
        let (w, area) = self.buffers[buffer].split_at_mut(self.x.len());
        w.iter_mut().zip(&self.x).for_each(|(w, x)| *w = a * x);
        area.iter_mut().zip(&self.z).for_each(|(h, z)| *h = b * z);
        Piece { start: cell << self.depth, level: 0, buffer }
    }

    /// (w, H) so far and a piece behind it, joined.
    fn join(&mut self, piece: Piece) {
        let (h1, h2) = (self.length, self.tick * (1u64 << (self.depth - piece.level)) as f64);
        let h = h1 + h2;
        let (a, b, c, d) = (h1 / h, h2 / h, 0.5 * h2 / h, 0.5 * h1 / h);
        let n = self.w.len();
        let (w2, area2) = self.buffers[piece.buffer].split_at(n);
        let (w1, area1, w2, area2) = (&mut self.w[..n], &mut self.area[..n], &w2[..n], &area2[..n]);
        vectorized(
            n,
            #[inline(always)]
            || {
                for i in 0..n {
                    area1[i] = (a * area1[i] + b * area2[i]) + (c * w1[i] - d * w2[i]);
                    w1[i] += w2[i];
                }
            },
        );
        self.length = h;
    }

    /// Joins the part of a piece before `target`; the rest goes to the tail.
    fn cut(&mut self, piece: Piece, stored: bool, target: u64) {
        let mut now = piece;
        let mut own = !stored;
        loop {
            let half = 1u64 << (self.depth - now.level - 1);
            let right = Piece { start: now.start + half, level: now.level + 1, buffer: self.take() };
            // The left half takes the parent's buffer, unless the parent must stay.
            let left = Piece {
                start: now.start,
                level: now.level + 1,
                buffer: if own { now.buffer } else { self.take() },
            };
            self.split(now, left.buffer, right.buffer);
            own = true;
            if target < right.start {
                self.tail.push(right);
                now = left;
                continue;
            }
            self.join(left);
            self.free.push(left.buffer);
            if target == right.start {
                self.tail.push(right);
                return;
            }
            now = right;
        }
    }

    fn split(&mut self, parent: Piece, left: usize, right: usize) {
        let inside = parent.start & ((1u64 << self.depth) - 1);
        let node = (1u64 << parent.level) + (inside >> (self.depth - parent.level));
        let cell = parent.start >> self.depth;
        fill(self.seed, (node, cell), &self.component, &self.trajectory, &mut self.x, &mut self.z);
        let h = self.tick * (1u64 << (self.depth - parent.level)) as f64;
        let (root, free) = (h.sqrt(), (h / 12.0).sqrt());
        let n = self.w.len();
        let mut l = std::mem::take(&mut self.buffers[left]);
        let mut r = std::mem::take(&mut self.buffers[right]);
        {
            let (lw, la) = l.split_at_mut(n);
            let (rw, ra) = r.split_at_mut(n);
            if left != parent.buffer {
                lw.copy_from_slice(&self.buffers[parent.buffer][..n]);
                la.copy_from_slice(&self.buffers[parent.buffer][n..]);
            }
            let (x, z) = (&self.x[..n], &self.z[..n]);
            let (lw, la, rw, ra) = (&mut lw[..n], &mut la[..n], &mut rw[..n], &mut ra[..n]);
            vectorized(
                n,
                #[inline(always)]
                || {
                    for i in 0..n {
                        let (w, area) = (lw[i], la[i]);
                        let d = 3.0 * area + 0.5 * root * x[i];
                        let q = 0.5 * area - 0.25 * root * x[i];
                        let e = free * z[i];
                        (lw[i], rw[i]) = (0.5 * (w + d), 0.5 * (w - d));
                        (la[i], ra[i]) = (0.5 * (q + e), 0.5 * (q - e));
                    }
                },
            );
        }
        self.buffers[left] = l;
        self.buffers[right] = r;
    }
}

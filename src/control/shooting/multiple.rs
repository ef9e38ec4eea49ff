//! Multiple shooting (Bock and Plitt, IFAC 1984): states at the nodes of a grid are unknown, and the pieces between them are integrated apart.
//!
//! ```text
//!     z = (s_0, u_0, s_1, u_1, .., s_K, p)
//!     min sum of functions at nodes   subject to   X_k(s_k, p, u_k) - s_{k+1} = 0,  constraints at nodes,  bounds
//! ```
//!
//! X_k is the solution at t_{k+1} of what starts with s_k at t_k, the control u_k held between. The problem is sparse: derivatives are dense blocks of one piece each, computed in
//! parallel with the same bits for any number of threads, first by one pass along all that a piece depends on, second by one pass and one sweep for each. Multipliers of the first
//! rows are the costates: with L = f + y'c those of piece k are lambda(t_{k+1}), the derivative of what is left to minimize from t_{k+1} on by the state there.

use rayon::prelude::*;

use super::trajectory::{OfTrajectory, Trajectory};
use crate::adjoint::{Reverse, Transpose};
use crate::diff::{At, BarsMut, Dots, Kept, Map, Variational};
use crate::error::{Error, OdeError};
use crate::expr::{RecordedMap, Sizes, Var, record_map};
use crate::nlp::{EvalError, Nlp, NlpMeta, Pattern};
use crate::ode::{Integrate, Method, Options};

/// A function of (s_k, (p; u_k)) at some nodes.
#[derive(Debug)]
struct AtNodes {
    nodes: Vec<usize>,
    map: RecordedMap,
    /// Its first row; none: it is added to the objective.
    row: Option<usize>,
}

/// Sizes of the parts of the unknowns.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// Components of a state, controls, parameters, pieces.
    dim: usize,
    controls: usize,
    params: usize,
    pieces: usize,
}

impl Layout {
    fn state(&self, k: usize) -> usize {
        k * (self.dim + self.controls)
    }
    fn control(&self, k: usize) -> usize {
        self.state(k) + self.dim
    }
    fn param(&self) -> usize {
        self.state(self.pieces) + self.dim
    }
    fn unknowns(&self) -> usize {
        self.param() + self.params
    }
    /// What node k depends on: s_k, p, u_k; the last node has no control.
    fn of_node(&self, k: usize) -> Vec<usize> {
        let controls = if k < self.pieces { self.controls } else { 0 };
        let state = self.state(k)..self.state(k) + self.dim;
        let params = self.param()..self.unknowns();
        state.chain(params).chain(self.control(k)..self.control(k) + controls).collect()
    }
    /// s_k and (p; u_k); the control of the last node is zero.
    fn gather(&self, z: &[f64], k: usize) -> (Vec<f64>, Vec<f64>) {
        let mut q = z[self.param()..].to_vec();
        if k < self.pieces {
            q.extend_from_slice(&z[self.control(k)..][..self.controls]);
        }
        q.resize(self.params + self.controls, 0.0);
        (z[self.state(k)..][..self.dim].to_vec(), q)
    }
    /// All numbers of a node.
    fn width(&self) -> usize {
        self.dim + self.params + self.controls
    }
}

/// An optimal control or estimation problem by multiple shooting; see the module.
///
/// ```
/// use costate::control::shooting::{MultipleShooting, solve};
/// use costate::expr::record;
/// use costate::observe::Silent;
/// use costate::ode::{Options, TSIT54};
/// // y'' = u from rest at 0 to rest at 1 with the least integral of u^2, which is the third component.
/// let field = record(3, 1, |_, y, u, dy| (dy[0], dy[1], dy[2]) = (y[1], u[0], u[0] * u[0]))?.into_map();
/// let grid: Vec<f64> = (0..=20).map(|k| k as f64 / 20.0).collect();
/// let mut problem = MultipleShooting::new("energy", field, &TSIT54, &Options::default(), &grid, 1)?
///     .start(&[0.0; 3])?
///     .objective_at(&[20], |y, _| y[2])?
///     .subject_to_at(&[20], (&[1.0, 0.0], &[1.0, 0.0]), |y, _, c| c.copy_from_slice(&y[..2]))?;
/// let report = solve(&mut problem, &Default::default(), &mut Silent)?;
/// assert!((report.objective - 12.0 / (1.0 - 1.0 / 400.0)).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MultipleShooting<F: Map<f64>, I: Transpose<f64>> {
    meta: NlpMeta,
    layout: Layout,
    pieces: Vec<Trajectory<F, I>>,
    functions: Vec<AtNodes>,
}

impl<F, I> MultipleShooting<F, I>
where
    F: Map<f64> + Clone + Send,
    I: Transpose<f64> + Integrate<f64, F> + Send,
    I::Back: Reverse<f64, F> + Reverse<f64, Variational<F, f64>> + Send,
{
    /// Pieces between the times of an ascending grid; the last `controls` parameters of the field are controls held on each piece, those before them p. All unknowns are free and start at 0.
    ///
    /// # Errors
    /// [`Error::Problem`]: a grid that does not ascend, more controls than parameters, or a field without the derivatives that are needed.
    pub fn new<D: Method<f64, Integrator = I>>(
        name: &str,
        field: F,
        method: D,
        options: &Options,
        grid: &[f64],
        controls: usize,
    ) -> Result<Self, Error> {
        let fail = |what: String| Error::Problem { name: name.into(), what };
        if grid.len() < 2 || grid.windows(2).any(|w| w[0] >= w[1]) || grid.iter().any(|t| !t.is_finite()) {
            return Err(fail("the grid of nodes must have at least two times that ascend".into()));
        }
        let all = field.n_params();
        if controls > all {
            return Err(fail(format!("{controls} controls of a field with {all} parameters")));
        }
        let piece = |w: &[f64]| Trajectory::new(field.clone(), method, options, (w[0], w[1]), &[w[1]]);
        let pieces: Result<Vec<_>, _> = grid.windows(2).map(piece).collect();
        let pieces = pieces.map_err(|e| fail(e.to_string()))?;
        let layout =
            Layout { dim: field.outputs(), controls, params: all - controls, pieces: grid.len() - 1 };
        let meta = NlpMeta::equality(name, layout.unknowns(), layout.dim * layout.pieces);
        let mut problem = Self { meta, layout, pieces, functions: vec![] };
        problem.patterns();
        Ok(problem)
    }

    /// The state at the first node is given; the other nodes start at what is integrated from it with the parameters and controls as they are, where that can be done, else at the same state.
    ///
    /// # Errors
    /// [`Error::Problem`]: a start of another length, or numbers that are not finite.
    pub fn start(mut self, y0: &[f64]) -> Result<Self, Error> {
        let (dim, found) = (self.layout.dim, y0.len());
        if found != dim || y0.iter().any(|v| !v.is_finite()) {
            return Err(self.fail(format!("a start of {found} numbers, expected {dim} that are finite")));
        }
        self.meta.x_lower[..dim].copy_from_slice(y0);
        self.meta.x_upper[..dim].copy_from_slice(y0);
        self.meta.x0[..dim].copy_from_slice(y0);
        for k in 0..self.layout.pieces {
            let (s, q) = self.layout.gather(&self.meta.x0, k);
            let end = self.pieces[k].states(&s, &q).map(<[f64]>::to_vec).unwrap_or(s);
            self.meta.x0[self.layout.state(k + 1)..][..dim].copy_from_slice(&end);
        }
        Ok(self)
    }
    /// States at all nodes from which to begin, one after another.
    ///
    /// # Errors
    /// [`Error::Problem`]: another number of them.
    pub fn guess(mut self, states: &[f64]) -> Result<Self, Error> {
        let Layout { dim, pieces, .. } = self.layout;
        if states.len() != dim * (pieces + 1) {
            let (found, wanted) = (states.len(), dim * (pieces + 1));
            return Err(self.fail(format!("{found} numbers of states, expected {wanted}")));
        }
        for (k, s) in states.chunks_exact(dim).enumerate() {
            self.meta.x0[self.layout.state(k)..][..dim].copy_from_slice(s);
        }
        Ok(self)
    }
    /// Start and bounds of the parameters.
    ///
    /// # Errors
    /// [`Error::Problem`]: another number of them.
    pub fn params(mut self, start: &[f64], lower: &[f64], upper: &[f64]) -> Result<Self, Error> {
        let at = self.layout.param()..self.layout.unknowns();
        self.set(&[at], (Some(start), lower, upper), "parameters")?;
        Ok(self)
    }
    /// Start and bounds of the controls of every piece.
    ///
    /// # Errors
    /// [`Error::Problem`]: another number of them.
    pub fn controls(mut self, start: &[f64], lower: &[f64], upper: &[f64]) -> Result<Self, Error> {
        let of = |k| self.layout.control(k)..self.layout.control(k) + self.layout.controls;
        let all: Vec<_> = (0..self.layout.pieces).map(of).collect();
        self.set(&all, (Some(start), lower, upper), "controls")?;
        Ok(self)
    }
    /// Bounds of the states at the nodes behind the first.
    ///
    /// # Errors
    /// [`Error::Problem`]: another number of them.
    pub fn state_bounds(mut self, lower: &[f64], upper: &[f64]) -> Result<Self, Error> {
        let of = |k| self.layout.state(k)..self.layout.state(k) + self.layout.dim;
        let all: Vec<_> = (1..=self.layout.pieces).map(of).collect();
        self.set(&all, (None, lower, upper), "states")?;
        Ok(self)
    }
    /// ADDS a function of (s_k, (p; u_k)) at these nodes to what is minimized; the controls of the last node are 0.
    ///
    /// # Errors
    /// [`Error::Problem`]: no such node.
    pub fn objective_at(
        mut self,
        nodes: &[usize],
        f: impl FnOnce(&[Var], &[Var]) -> Var,
    ) -> Result<Self, Error> {
        let map = self.record(1, nodes, |y, q, out| out[0] = f(y, q))?;
        self.functions.push(AtNodes { nodes: nodes.to_vec(), map, row: None });
        Ok(self)
    }
    /// As many constraints at each of these nodes as there are sides, formulas in s_k and (p; u_k).
    ///
    /// # Errors
    /// [`Error::Problem`]: no such node, or sides of two lengths.
    pub fn subject_to_at(
        self,
        nodes: &[usize],
        (lower, upper): (&[f64], &[f64]),
        f: impl FnOnce(&[Var], &[Var], &mut [Var]),
    ) -> Result<Self, Error> {
        let (below, above) = (lower.repeat(nodes.len()), upper.repeat(nodes.len()));
        self.sides_at(nodes, (&below, &above), f)
    }
    /// As [`subject_to_at`](Self::subject_to_at) with sides for each node: observations, say, whose rows are residuals of [`LeastSquares`](crate::fit::LeastSquares).
    ///
    /// # Errors
    /// [`Error::Problem`]: no such node, or sides that do not fit.
    pub fn sides_at(
        mut self,
        nodes: &[usize],
        (lower, upper): (&[f64], &[f64]),
        f: impl FnOnce(&[Var], &[Var], &mut [Var]),
    ) -> Result<Self, Error> {
        if lower.len() != upper.len() || nodes.is_empty() || !lower.len().is_multiple_of(nodes.len()) {
            let (a, b, n) = (lower.len(), upper.len(), nodes.len());
            return Err(self.fail(format!("{a} lower and {b} upper sides for {n} nodes")));
        }
        let map = self.record(lower.len() / nodes.len(), nodes, f)?;
        self.functions.push(AtNodes { nodes: nodes.to_vec(), map, row: Some(self.meta.m()) });
        self.meta.c_lower.extend_from_slice(lower);
        self.meta.c_upper.extend_from_slice(upper);
        self.meta.y0.resize(self.meta.c_lower.len(), 0.0);
        self.patterns();
        Ok(self)
    }
    /// The state at node k of a solution.
    pub fn state<'a>(&self, z: &'a [f64], k: usize) -> &'a [f64] {
        &z[self.layout.state(k)..][..self.layout.dim]
    }
    /// The controls of piece k of a solution.
    pub fn control<'a>(&self, z: &'a [f64], k: usize) -> &'a [f64] {
        &z[self.layout.control(k)..][..self.layout.controls]
    }
    /// The parameters of a solution.
    pub fn parameters<'a>(&self, z: &'a [f64]) -> &'a [f64] {
        &z[self.layout.param()..]
    }
    /// The costate at the end of piece k, from the multipliers of a report.
    pub fn costate<'a>(&self, y: &'a [f64], k: usize) -> &'a [f64] {
        &y[k * self.layout.dim..][..self.layout.dim]
    }

    fn fail(&self, what: String) -> Error {
        Error::Problem { name: self.meta.name.clone(), what }
    }
    fn set(
        &mut self,
        at: &[std::ops::Range<usize>],
        (start, lower, upper): (Option<&[f64]>, &[f64], &[f64]),
        what: &str,
    ) -> Result<(), Error> {
        let n = at.first().map_or(0, |r| r.len());
        if lower.len() != n || upper.len() != n || start.is_some_and(|s| s.len() != n) {
            return Err(self.fail(format!("starts and bounds of {what}: expected {n} each")));
        }
        for range in at {
            self.meta.x_lower[range.clone()].copy_from_slice(lower);
            self.meta.x_upper[range.clone()].copy_from_slice(upper);
            if let Some(start) = start {
                self.meta.x0[range.clone()].copy_from_slice(start);
            }
        }
        Ok(())
    }
    fn record(
        &self,
        outputs: usize,
        nodes: &[usize],
        f: impl FnOnce(&[Var], &[Var], &mut [Var]),
    ) -> Result<RecordedMap, Error> {
        let Layout { dim, controls, params, pieces } = self.layout;
        if let Some(k) = nodes.iter().find(|k| **k > pieces) {
            return Err(self.fail(format!("node {k}, expected at most {pieces}")));
        }
        let sizes = Sizes { inputs: dim, outputs, params: params + controls };
        let recorded = record_map(sizes, |_, y, q, out| f(y, q, out));
        recorded.map(|r| r.into_map()).map_err(|e| self.fail(e.to_string()))
    }
    /// Blocks of pieces, then of functions at nodes; of the Hessian one lower triangle a node.
    fn patterns(&mut self) {
        let l = self.layout;
        let (mut jacobian, mut hessian) = (Pattern::default(), Pattern::default());
        let mut enter = |row: usize, col: usize| {
            jacobian.rows.push(row);
            jacobian.cols.push(col);
        };
        for k in 0..l.pieces {
            for i in 0..l.dim {
                let row = k * l.dim + i;
                l.of_node(k).into_iter().for_each(|j| enter(row, j));
                enter(row, l.state(k + 1) + i);
            }
        }
        for f in &self.functions {
            let Some(first) = f.row else { continue };
            for (block, &k) in f.nodes.iter().enumerate() {
                for i in 0..f.map.outputs() {
                    let row = first + block * f.map.outputs() + i;
                    l.of_node(k).into_iter().for_each(|j| enter(row, j));
                }
            }
        }
        for k in 0..=l.pieces {
            let of = l.of_node(k);
            for (a, &i) in of.iter().enumerate() {
                for &j in &of[..=a] {
                    hessian.rows.push(i.max(j));
                    hessian.cols.push(i.min(j));
                }
            }
        }
        (self.meta.jacobian, self.meta.hessian) = (Some(jacobian), Some(hessian));
    }
    /// Ends of all pieces, computed in parallel; what was computed there already is kept.
    fn ends(&mut self, z: &[f64]) -> Result<Vec<Vec<f64>>, EvalError> {
        let layout = self.layout;
        let run = |(k, piece): (usize, &mut Trajectory<F, I>)| {
            let (s, q) = layout.gather(z, k);
            piece.states(&s, &q).map(<[f64]>::to_vec)
        };
        let ends: Result<Vec<_>, _> = self.pieces.par_iter_mut().enumerate().map(run).collect();
        ends.map_err(|e| failed("pieces", &e))
    }
}

fn failed(function: &'static str, e: &OdeError) -> EvalError {
    EvalError::Failed { function, reason: e.to_string() }
}

/// Unit directions of a node's numbers (s; p; u), of which the last may be missing.
fn units(layout: &Layout, count: usize) -> (Vec<f64>, Vec<f64>) {
    let (dim, params) = (layout.dim, layout.params + layout.controls);
    let (mut s_dot, mut q_dot) = (vec![0.0; dim * count], vec![0.0; params * count]);
    for d in 0..count {
        if d < dim {
            s_dot[d * dim + d] = 1.0;
        } else {
            q_dot[d * params + d - dim] = 1.0;
        }
    }
    (s_dot, q_dot)
}

impl<F, I> Nlp for MultipleShooting<F, I>
where
    F: Map<f64> + Clone + Send,
    I: Transpose<f64> + Integrate<f64, F> + Send,
    I::Back: Reverse<f64, F> + Reverse<f64, Variational<F, f64>> + Send,
{
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        let (mut sum, mut one) = (0.0, [0.0]);
        for f in self.functions.iter_mut().filter(|f| f.row.is_none()) {
            for &k in &f.nodes {
                let (s, q) = self.layout.gather(x, k);
                f.map.value(At::new(0.0, &s, &q), &mut one);
                sum += one[0];
            }
        }
        Ok(sum)
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        g.fill(0.0);
        let l = self.layout;
        for f in self.functions.iter_mut().filter(|f| f.row.is_none()) {
            for &k in &f.nodes {
                let (s, q) = l.gather(x, k);
                let (mut s_bar, mut q_bar) = (vec![0.0; s.len()], vec![0.0; q.len()]);
                let bars = BarsMut::new(&mut s_bar, &mut q_bar);
                f.map.vjp(At::new(0.0, &s, &q), Kept::NONE, &[1.0], bars);
                let all = s_bar.iter().chain(&q_bar);
                l.of_node(k).into_iter().zip(all).for_each(|(j, v)| g[j] += v);
            }
        }
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        let (l, ends) = (self.layout, self.ends(x)?);
        for (k, end) in ends.iter().enumerate() {
            let next = &x[l.state(k + 1)..][..l.dim];
            let row = &mut c[k * l.dim..][..l.dim];
            row.iter_mut().zip(end.iter().zip(next)).for_each(|(c, (a, b))| *c = a - b);
        }
        for f in &mut self.functions {
            let Some(first) = f.row else { continue };
            let rows = c[first..].chunks_exact_mut(f.map.outputs());
            for (&k, out) in f.nodes.iter().zip(rows) {
                let (s, q) = l.gather(x, k);
                f.map.value(At::new(0.0, &s, &q), out);
            }
        }
        Ok(())
    }
    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        let l = self.layout;
        let width = l.width();
        let (of_pieces, mut rest) = values.split_at_mut(l.pieces * l.dim * (width + 1));
        let (s_dot, q_dot) = units(&l, width);
        let run = |(k, (piece, out)): (usize, (&mut Trajectory<F, I>, &mut [f64]))| {
            let (s, q) = l.gather(x, k);
            let dot = piece.jvp((&s, &q), width, &s_dot, &q_dot)?;
            for (i, row) in out.chunks_exact_mut(width + 1).enumerate() {
                row[..width].iter_mut().enumerate().for_each(|(d, v)| *v = dot[d * l.dim + i]);
                row[width] = -1.0;
            }
            Ok::<(), OdeError>(())
        };
        let blocks = of_pieces.par_chunks_exact_mut(l.dim * (width + 1));
        let done: Result<Vec<()>, _> = self.pieces.par_iter_mut().zip(blocks).enumerate().map(run).collect();
        done.map_err(|e| failed("Jacobian", &e))?;
        for f in self.functions.iter_mut().filter(|f| f.row.is_some()) {
            let m = f.map.outputs();
            for &k in &f.nodes {
                let (count, (s, q)) = (l.of_node(k).len(), l.gather(x, k));
                let (s_dot, q_dot) = units(&l, count);
                let dots = Dots { count, t: &[], x: &s_dot, p: &q_dot };
                let mut out = vec![0.0; m * count];
                f.map.jvp(At::new(0.0, &s, &q), Kept::NONE, dots, &mut out, &mut []);
                let (mine, behind) = rest.split_at_mut(m * count);
                for (i, row) in mine.chunks_exact_mut(count).enumerate() {
                    row.iter_mut().enumerate().for_each(|(d, v)| *v = out[d * m + i]);
                }
                rest = behind;
            }
        }
        Ok(())
    }
    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        let l = self.layout;
        let width = l.width();
        let block = width * (width + 1) / 2;
        values.fill(0.0);
        let (of_pieces, of_last) = values.split_at_mut(l.pieces * block);
        let (s_dot, q_dot) = units(&l, width);
        let run = |(k, (piece, out)): (usize, (&mut Trajectory<F, I>, &mut [f64]))| {
            let (s, q) = l.gather(x, k);
            let bars = OfTrajectory { states: &y[k * l.dim..][..l.dim], steps: 0.0 };
            for d in 0..width {
                let along = (&s_dot[d * s.len()..][..s.len()], &q_dot[d * q.len()..][..q.len()]);
                let (mut s_bar, mut q_bar) = (vec![0.0; s.len()], vec![0.0; q.len()]);
                let to = (&mut s_bar[..], &mut q_bar[..]);
                piece.second((&s, &q), along, bars, |dot| vec![0.0; dot.len()], to)?;
                add_column(d, s_bar.iter().chain(&q_bar), out);
            }
            Ok::<(), OdeError>(())
        };
        let blocks = of_pieces.par_chunks_exact_mut(block);
        let done: Result<Vec<()>, _> = self.pieces.par_iter_mut().zip(blocks).enumerate().map(run).collect();
        done.map_err(|e| failed("Hessian", &e))?;
        for f in &mut self.functions {
            let m = f.map.outputs();
            for (place, &k) in f.nodes.iter().enumerate() {
                let one = [sigma];
                let w = f.row.map_or(&one[..], |first| &y[first + place * m..][..m]);
                let (count, (s, q)) = (l.of_node(k).len(), l.gather(x, k));
                let (s_dot, q_dot) = units(&l, count);
                let out = if k < l.pieces { &mut of_pieces[k * block..][..block] } else { &mut *of_last };
                for d in 0..count {
                    let (x_dot, p_dot) = (&s_dot[d * s.len()..][..s.len()], &q_dot[d * q.len()..][..q.len()]);
                    let dots = Dots { count: 1, t: &[], x: x_dot, p: p_dot };
                    let (mut s_bar, mut q_bar) = (vec![0.0; s.len()], vec![0.0; q.len()]);
                    let to = BarsMut::new(&mut s_bar, &mut q_bar);
                    f.map.vjp_tangent(At::new(0.0, &s, &q), Kept::NONE, dots, Kept::NONE, w, &[], to);
                    add_column(d, s_bar.iter().chain(&q_bar).take(count), out);
                }
            }
        }
        Ok(())
    }
}

/// ADDS column d of a symmetric matrix to its lower triangle, row by row.
fn add_column<'a>(d: usize, column: impl Iterator<Item = &'a f64>, lower: &mut [f64]) {
    for (i, v) in column.enumerate().skip(d) {
        lower[i * (i + 1) / 2 + d] += v;
    }
}

impl<F, I> super::Adaptive for MultipleShooting<F, I>
where
    F: Map<f64> + Clone + Send,
    I: Transpose<f64> + Integrate<f64, F> + Send,
    I::Back: Reverse<f64, F> + Reverse<f64, Variational<F, f64>> + Send,
{
    fn error(&mut self, x: &[f64]) -> Result<f64, OdeError> {
        self.ends(x).map_err(|e| OdeError::Mismatch { what: e.to_string() })?;
        Ok(self.pieces.iter().map(Trajectory::error).fold(0.0, f64::max))
    }
    fn adapt(&mut self, x: &[f64]) -> Result<(), OdeError> {
        let layout = self.layout;
        let run = |(k, piece): (usize, &mut Trajectory<F, I>)| {
            let (s, q) = layout.gather(x, k);
            piece.freeze(&s, &q).map(|_| ())
        };
        self.pieces.par_iter_mut().enumerate().map(run).collect()
    }
}

//! Problems in parameters, starts and controls alone: the states are a function of them.
//!
//! With z = (p, the unknown entries of y0) and X(z) the states at the save points,
//!
//! ```text
//!     min f(X, z)   subject to cl <= c(X, z) <= cu, zl <= z <= zu
//!     gradient   f_z + X_z' f_X                    one reverse sweep
//!     Jacobian   c_z + c_X X_z                     one pass along all unknowns, or one sweep a row, whichever is less work
//!     Hessian    forward over the discrete adjoint, one pass and one sweep an unknown
//! ```
//!
//! Derivatives are those of the computed solution, exactly (steps frozen). Functions of states are written once and recorded.

use std::ops::Index;

use super::trajectory::{OfTrajectory, Trajectory};
use crate::adjoint::{Reverse, Transpose};
use crate::diff::{At, BarsMut, Dots, Kept, Map, Variational};
use crate::error::{Error, OdeError};
use crate::expr::{RecordedMap, Sizes, Var, record_map};
use crate::nlp::{EvalError, Nlp, NlpMeta, Pattern};
use crate::ode::Integrate;

/// How much one reverse sweep costs more than a direction of a pass.
const SWEEP: usize = 3;

/// States at the save points while a formula is recorded: `y[k][i]` is component i at save point k.
#[derive(Debug)]
pub struct Saved<'a> {
    all: &'a [Var],
    dim: usize,
}

impl Saved<'_> {
    /// Save points.
    pub fn len(&self) -> usize {
        self.all.len() / self.dim
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
    /// The last one.
    pub fn last(&self) -> &[Var] {
        &self.all[self.all.len() - self.dim..]
    }
}

impl Index<usize> for Saved<'_> {
    type Output = [Var];
    fn index(&self, k: usize) -> &[Var] {
        &self.all[k * self.dim..][..self.dim]
    }
}

/// An estimation or control problem in its parameters and starts; see the module.
///
/// ```
/// use costate::control::shooting::{Reduced, Trajectory, solve};
/// use costate::expr::record;
/// use costate::observe::Silent;
/// use costate::ode::{TSIT54, Options};
/// // y' = -p y, y(0) = 1: the rate with which y(1) = 1/2.
/// let field = record(1, 1, |_, y, p, dy| dy[0] = -p[0] * y[0])?.into_map();
/// let trajectory = Trajectory::new(field, &TSIT54, &Options::tolerances(1e-9, 1e-9), (0.0, 1.0), &[1.0])?;
/// let mut problem = Reduced::new("half", trajectory, &[1.0], &[1.0])?.objective(|y, _| (y[0][0] - 0.5).powi(2))?;
/// let report = solve(&mut problem, &Default::default(), &mut Silent)?;
/// assert!((report.x[0] - 2.0f64.ln()).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Reduced<F: Map<f64>, I: Transpose<f64>> {
    meta: NlpMeta,
    trajectory: Trajectory<F, I>,
    /// y0; entries of `free` are overwritten.
    start: Vec<f64>,
    free: Vec<usize>,
    objective: Option<RecordedMap>,
    /// Row functions, one behind the other; before them the expected number of steps, if it is bounded.
    rows: Vec<RecordedMap>,
    steps: bool,
    exact: bool,
}

impl<F, I> Reduced<F, I>
where
    F: Map<f64> + Clone,
    I: Transpose<f64> + Integrate<f64, F>,
    I::Back: Reverse<f64, F> + Reverse<f64, Variational<F, f64>>,
{
    /// All parameters of the field are unknown, and start at `p0`; y0 is given.
    ///
    /// # Errors
    /// [`Error::Problem`]: lengths that do not fit, or numbers that are not finite.
    pub fn new(name: &str, trajectory: Trajectory<F, I>, y0: &[f64], p0: &[f64]) -> Result<Self, Error> {
        let (dim, params) = (trajectory.dim(), trajectory.field().n_params());
        if y0.len() != dim || p0.len() != params {
            let what =
                format!("a start of {} and {} parameters, expected {dim} and {params}", y0.len(), p0.len());
            return Err(wrong(name, what));
        }
        if y0.iter().chain(p0).any(|v| !v.is_finite()) {
            return Err(wrong(name, "the start or a parameter is not a finite number".into()));
        }
        let meta = NlpMeta { x0: p0.to_vec(), ..NlpMeta::equality(name, params, 0) };
        let mut problem = Self {
            meta,
            trajectory,
            start: y0.to_vec(),
            free: vec![],
            objective: None,
            rows: vec![],
            steps: false,
            exact: true,
        };
        problem.patterns();
        Ok(problem)
    }
    /// These entries of y0 are unknown too; they start at what was given and are behind the parameters. To be called before functions are.
    ///
    /// # Errors
    /// [`Error::Problem`]: no such entry, one that is there already, or functions that are known already.
    pub fn free_start(mut self, entries: &[usize]) -> Result<Self, Error> {
        if self.objective.is_some() || self.steps || !self.rows.is_empty() {
            return Err(self.fail("unknown starts come before functions".into()));
        }
        for &i in entries {
            if i >= self.start.len() || self.free.contains(&i) {
                let dim = self.start.len();
                return Err(self.fail(format!("unknown start {i}, expected different ones of {dim}")));
            }
            self.free.push(i);
            self.meta.x0.push(self.start[i]);
            self.meta.x_lower.push(f64::NEG_INFINITY);
            self.meta.x_upper.push(f64::INFINITY);
        }
        self.patterns();
        Ok(self)
    }
    /// Bounds of all unknowns.
    ///
    /// # Errors
    /// [`Error::Problem`]: another number of them.
    pub fn bounds(mut self, lower: &[f64], upper: &[f64]) -> Result<Self, Error> {
        let n = self.meta.n();
        if lower.len() != n || upper.len() != n {
            return Err(self.fail(format!("{} and {} bounds, expected {n}", lower.len(), upper.len())));
        }
        (self.meta.x_lower, self.meta.x_upper) = (lower.to_vec(), upper.to_vec());
        Ok(self)
    }
    /// Names of all unknowns.
    ///
    /// # Errors
    /// [`Error::Problem`]: another number of them.
    pub fn names<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        self.meta.variable_names = names.into_iter().map(Into::into).collect();
        let (found, n) = (self.meta.variable_names.len(), self.meta.n());
        if found == n { Ok(self) } else { Err(self.fail(format!("{found} names, expected {n}"))) }
    }
    /// What is minimized, a formula in the states and the unknowns.
    ///
    /// # Errors
    /// [`Error::Problem`]: a number of another recording.
    pub fn objective(mut self, f: impl FnOnce(&Saved<'_>, &[Var]) -> Var) -> Result<Self, Error> {
        self.objective = Some(self.record(1, |y, z, out| out[0] = f(y, z))?);
        Ok(self)
    }
    /// As many constraints as there are sides, formulas in the states and the unknowns.
    ///
    /// # Errors
    /// [`Error::Problem`]: an output that is never set, or sides of two lengths.
    pub fn subject_to(
        mut self,
        (lower, upper): (&[f64], &[f64]),
        f: impl FnOnce(&Saved<'_>, &[Var], &mut [Var]),
    ) -> Result<Self, Error> {
        if lower.len() != upper.len() {
            return Err(self.fail(format!("{} lower and {} upper sides", lower.len(), upper.len())));
        }
        let map = self.record(lower.len(), f)?;
        self.rows.push(map);
        self.meta.c_lower.extend_from_slice(lower);
        self.meta.c_upper.extend_from_slice(upper);
        self.meta.y0.resize(self.meta.c_lower.len(), 0.0);
        self.patterns();
        Ok(self)
    }
    /// At most so many expected steps ([`Trajectory::expected_steps`]): the first row. Its multiplier is the price of a step. To be called before other constraints are.
    ///
    /// # Errors
    /// [`Error::Problem`]: after other constraints.
    pub fn steps_at_most(mut self, steps: f64) -> Result<Self, Error> {
        if self.steps || !self.rows.is_empty() {
            return Err(self.fail("the number of steps is bounded once, before other constraints".into()));
        }
        self.steps = true;
        self.meta.c_lower.push(f64::NEG_INFINITY);
        self.meta.c_upper.push(steps);
        self.meta.y0.push(0.0);
        self.patterns();
        Ok(self)
    }
    /// Without second derivatives: the solver makes its own approximation, and a fit of [`LeastSquares`](crate::fit::LeastSquares) is one of Gauss and Newton.
    #[must_use]
    pub fn first_derivatives(mut self) -> Self {
        self.exact = false;
        self.patterns();
        self
    }
    /// Changes where a solve begins, n numbers; lengths are checked when it does.
    pub fn set_start(&mut self, z: &[f64]) {
        self.meta.x0 = z.to_vec();
    }
    /// From now on every evaluation chooses the steps of its integration.
    pub fn thaw(&mut self) {
        self.trajectory.thaw();
    }
    /// g <- sigma grad f + J'y, by one reverse sweep.
    ///
    /// # Errors
    /// Where the integration fails.
    pub fn gradient_of_lagrangian(
        &mut self,
        z: &[f64],
        sigma: f64,
        y: &[f64],
        g: &mut [f64],
    ) -> Result<(), EvalError> {
        self.pull(z, sigma, y, g)
    }
    /// The trajectory.
    pub fn trajectory(&self) -> &Trajectory<F, I> {
        &self.trajectory
    }
    /// States at the save points for these unknowns.
    ///
    /// # Errors
    /// Where the integration fails.
    pub fn states(&mut self, z: &[f64]) -> Result<&[f64], OdeError> {
        let (y0, p) = self.split(z);
        self.trajectory.states(&y0, &p)
    }
    /// Standard deviations of all states at the save points, one after another, to first order in those of the unknowns: the roots of the diagonal of X_z C X_z' for
    /// their covariance C, n x n.
    ///
    /// # Errors
    /// Where the integration fails, or a covariance of another size.
    pub fn deviations(&mut self, z: &[f64], covariance: &[f64]) -> Result<Vec<f64>, OdeError> {
        let n = self.meta.n();
        if covariance.len() != n * n {
            let (what, found, expected) = ("the covariance", covariance.len(), n * n);
            return Err(OdeError::Length { what, found, expected });
        }
        let ((y0, p), (y0_dot, p_dot)) = (self.split(z), self.units(0, n));
        let (dot, dim) = (self.trajectory.jvp((&y0, &p), n, &y0_dot, &p_dot)?, y0.len());
        let row = |k: usize, i: usize| (0..n).map(move |d| (k * n + d) * dim + i);
        let variance = |(k, i)| {
            let v: Vec<f64> = row(k, i).map(|at| dot[at]).collect();
            let product = |a: usize| (0..n).map(|b| covariance[b * n + a] * v[b]).sum::<f64>();
            (0..n).map(|a| v[a] * product(a)).sum::<f64>()
        };
        let places = (0..self.trajectory.times().len()).flat_map(|k| (0..dim).map(move |i| (k, i)));
        Ok(places.map(variance).map(|v| v.max(0.0).sqrt()).collect())
    }

    fn fail(&self, what: String) -> Error {
        wrong(&self.meta.name, what)
    }
    fn patterns(&mut self) {
        let (n, m) = (self.meta.n(), self.meta.m());
        self.meta.jacobian = Some(Pattern::dense(m, n));
        self.meta.hessian = self.exact.then(|| Pattern::dense_lower(n));
    }
    fn record(
        &self,
        outputs: usize,
        f: impl FnOnce(&Saved<'_>, &[Var], &mut [Var]),
    ) -> Result<RecordedMap, Error> {
        let dim = self.start.len();
        let inputs = dim * self.trajectory.times().len();
        let sizes = Sizes { inputs, outputs, params: self.meta.n() };
        let recorded = record_map(sizes, |_, y, z, out| f(&Saved { all: y, dim }, z, out));
        recorded.map(|r| r.into_map()).map_err(|e| self.fail(e.to_string()))
    }
    /// (y0, p).
    fn split(&self, z: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (p, free) = z.split_at(z.len() - self.free.len());
        let mut y0 = self.start.clone();
        self.free.iter().zip(free).for_each(|(i, v)| y0[*i] = *v);
        (y0, p.to_vec())
    }
    /// ADDS bars of y0 and p to those of z.
    fn join(&self, y0_bar: &[f64], p_bar: &[f64], z_bar: &mut [f64]) {
        z_bar.iter_mut().zip(p_bar).for_each(|(z, p)| *z += p);
        let free = &mut z_bar[p_bar.len()..];
        free.iter_mut().zip(&self.free).for_each(|(z, i)| *z += y0_bar[*i]);
    }
    /// Directions of y0 and p, from unit vectors of z.
    fn units(&self, from: usize, count: usize) -> (Vec<f64>, Vec<f64>) {
        let (dim, params) = (self.start.len(), self.meta.n() - self.free.len());
        let (mut y0_dot, mut p_dot) = (vec![0.0; dim * count], vec![0.0; params * count]);
        for d in 0..count {
            let j = from + d;
            if j < params {
                p_dot[d * params + j] = 1.0;
            } else {
                y0_dot[d * dim + self.free[j - params]] = 1.0;
            }
        }
        (y0_dot, p_dot)
    }
    fn at(&mut self, z: &[f64], function: &'static str) -> Result<Vec<f64>, EvalError> {
        let failed = |e: OdeError| EvalError::Failed { function, reason: e.to_string() };
        self.states(z).map(<[f64]>::to_vec).map_err(failed)
    }
    /// The maps that are weighted, each with its weights: sigma of the objective, y of the rows.
    fn weighted<'a>(
        objective: &'a mut Option<RecordedMap>,
        rows: &'a mut [RecordedMap],
        sigma: &'a [f64; 1],
        y: &'a [f64],
    ) -> impl Iterator<Item = (&'a mut RecordedMap, &'a [f64])> {
        let first = objective.as_mut().map(|f| (f, &sigma[..]));
        let mut next = 0;
        let rest = rows.iter_mut().map(move |map| {
            let from = next;
            next += map.outputs();
            (map, &y[from..next])
        });
        first.into_iter().chain(rest).filter(|(_, w)| w.iter().any(|w| *w != 0.0))
    }
    /// g <- sigma grad f + J'y.
    fn pull(&mut self, z: &[f64], sigma: f64, y: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        let states = self.at(z, "gradient")?;
        g.fill(0.0);
        let (steps, y) = y.split_at(usize::from(self.steps));
        let (mut bars, steps) = (vec![0.0; states.len()], steps.iter().sum());
        for (map, w) in Self::weighted(&mut self.objective, &mut self.rows, &[sigma], y) {
            map.vjp(At::new(0.0, &states, z), Kept::NONE, w, BarsMut::new(&mut bars, g));
        }
        if steps == 0.0 && bars.iter().all(|b| *b == 0.0) {
            return Ok(());
        }
        let bars = OfTrajectory { states: &bars, steps };
        let (y0, p) = self.split(z);
        let (mut y0_bar, mut p_bar) = (vec![0.0; y0.len()], vec![0.0; p.len()]);
        let done = self.trajectory.vjp((&y0, &p), bars, &mut y0_bar, &mut p_bar);
        done.map_err(|e| EvalError::Failed { function: "gradient", reason: e.to_string() })?;
        self.join(&y0_bar, &p_bar, g);
        Ok(())
    }
    /// The Jacobian, row by row, by a pass along all unknowns.
    fn along_all(&mut self, z: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        let (states, n) = (self.at(z, "Jacobian")?, z.len());
        let ((y0, p), (y0_dot, p_dot)) = (self.split(z), self.units(0, n));
        let dot = self.trajectory.jvp((&y0, &p), n, &y0_dot, &p_dot);
        let dot = dot.map_err(|e| EvalError::Failed { function: "Jacobian", reason: e.to_string() })?;
        // Blocks of directions for every time become blocks of times for every direction.
        let (dim, len) = (y0.len(), states.len());
        let mut x = vec![0.0; len * n];
        for (block, from) in dot.chunks_exact(dim).enumerate() {
            let (k, d) = (block / n, block % n);
            x[d * len + k * dim..][..dim].copy_from_slice(from);
        }
        let mut identity = vec![0.0; n * n];
        identity.iter_mut().step_by(n + 1).for_each(|v| *v = 1.0);
        let dots = Dots { count: n, t: &[], x: &x, p: &identity };
        let mut first = 0;
        for map in &mut self.rows {
            let m = map.outputs();
            let mut out = vec![0.0; m * n];
            map.jvp(At::new(0.0, &states, z), Kept::NONE, dots, &mut out, &mut []);
            for (i, row) in values[first * n..].chunks_exact_mut(n).take(m).enumerate() {
                row.iter_mut().enumerate().for_each(|(d, v)| *v = out[d * m + i]);
            }
            first += m;
        }
        Ok(())
    }
    /// Column d of sigma hess f + sum y_i hess c_i.
    fn hessian_column(
        &mut self,
        (z, states): (&[f64], &[f64]),
        (sigma, y): (f64, &[f64]),
        bars: OfTrajectory<'_>,
        d: usize,
    ) -> Result<Vec<f64>, OdeError> {
        let ((y0, p), (y0_dot, p_dot)) = (self.split(z), self.units(d, 1));
        let mut unit = vec![0.0; z.len()];
        unit[d] = 1.0;
        let (mut column, sigma) = (vec![0.0; z.len()], [sigma]);
        let (mut y0_bar, mut p_bar) = (vec![0.0; y0.len()], vec![0.0; p.len()]);
        let Self { objective, rows, trajectory, .. } = self;
        let of_bars = |dot: &[f64]| {
            let mut bars_dot = vec![0.0; dot.len()];
            for (map, w) in Self::weighted(objective, rows, &sigma, y) {
                let dots = Dots { count: 1, t: &[], x: dot, p: &unit };
                let to = BarsMut::new(&mut bars_dot, &mut column);
                map.vjp_tangent(At::new(0.0, states, z), Kept::NONE, dots, Kept::NONE, w, &[], to);
            }
            bars_dot
        };
        let to = (&mut y0_bar[..], &mut p_bar[..]);
        trajectory.second((&y0, &p), (&y0_dot, &p_dot), bars, of_bars, to)?;
        self.join(&y0_bar, &p_bar, &mut column);
        Ok(column)
    }
}

fn wrong(name: &str, what: String) -> Error {
    Error::Problem { name: name.to_string(), what }
}

impl<F, I> Nlp for Reduced<F, I>
where
    F: Map<f64> + Clone,
    I: Transpose<f64> + Integrate<f64, F>,
    I::Back: Reverse<f64, F> + Reverse<f64, Variational<F, f64>>,
{
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        let states = self.at(x, "objective")?;
        let mut f = [0.0];
        if let Some(map) = &mut self.objective {
            map.value(At::new(0.0, &states, x), &mut f);
        }
        Ok(f[0])
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        let y = vec![0.0; self.meta.m()];
        self.pull(x, 1.0, &y, g)
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        let states = self.at(x, "constraints")?;
        let (steps, mut rest) = c.split_at_mut(usize::from(self.steps));
        steps.fill(self.trajectory.expected_steps());
        for map in &mut self.rows {
            let (mine, behind) = rest.split_at_mut(map.outputs());
            map.value(At::new(0.0, &states, x), mine);
            rest = behind;
        }
        Ok(())
    }
    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        let (n, m) = (self.meta.n(), self.meta.m());
        let (first, mut y) = (usize::from(self.steps), vec![0.0; m]);
        let along = n <= SWEEP * (m - first);
        if along {
            self.along_all(x, &mut values[first * n..])?;
        }
        let by_sweeps = if along { first } else { m };
        for (i, row) in values.chunks_exact_mut(n).enumerate().take(by_sweeps) {
            y[i] = 1.0;
            self.pull(x, 0.0, &y, row)?;
            y[i] = 0.0;
        }
        Ok(())
    }
    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        let states = self.at(x, "Hessian")?;
        let (steps, y) = y.split_at(usize::from(self.steps));
        let (mut bars, mut unused) = (vec![0.0; states.len()], vec![0.0; x.len()]);
        for (map, w) in Self::weighted(&mut self.objective, &mut self.rows, &[sigma], y) {
            map.vjp(At::new(0.0, &states, x), Kept::NONE, w, BarsMut::new(&mut bars, &mut unused));
        }
        let bars = OfTrajectory { states: &bars, steps: steps.iter().sum() };
        for d in 0..x.len() {
            let column = self.hessian_column((x, &states), (sigma, y), bars, d);
            let column =
                column.map_err(|e| EvalError::Failed { function: "Hessian", reason: e.to_string() })?;
            // Row by row of the lower triangle.
            for (i, v) in column.iter().enumerate().skip(d) {
                values[i * (i + 1) / 2 + d] = *v;
            }
        }
        Ok(())
    }
}

impl<F, I> super::Adaptive for Reduced<F, I>
where
    F: Map<f64> + Clone,
    I: Transpose<f64> + Integrate<f64, F>,
    I::Back: Reverse<f64, F> + Reverse<f64, Variational<F, f64>>,
{
    fn error(&mut self, x: &[f64]) -> Result<f64, OdeError> {
        self.states(x)?;
        Ok(self.trajectory.error())
    }
    fn adapt(&mut self, x: &[f64]) -> Result<(), OdeError> {
        let (y0, p) = self.split(x);
        self.trajectory.freeze(&y0, &p).map(|_| ())
    }
}

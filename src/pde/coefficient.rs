//! Problems whose unknown is the coefficient of a state equation, reduced: -div(a grad y) = f is solved for each a.
//!
//! ```text
//!     identification:  min 1/2 |y - d|^2_M + beta TV(a),                          low <= a <= high
//!     material:        min f'M y,  a = a_min + (1 - a_min) r^q,   mean r <= share,   0 <= r <= 1
//! ```
//!
//! One solve for y and one for the adjoint state p give the gradient: the derivative of p'K(a) y with respect to the coefficient of a cell is the
//! bilinear form of that cell. The material is that of Bendsoe and Sigmund, "Topology Optimization" (2003), for heat conduction, with
//! their filter of densities; TV is sum sqrt(|grad a|^2 + eps^2) over the cells.

use super::grid::{Grid, Scheme};
use super::multigrid::{Multigrid, MultigridOptions};
use super::operator::Diffusion;
use super::parallel::sum;
use super::stencil::cell_forms;
use crate::error::Error;
use crate::nlp::{EvalError, Nlp, NlpMeta, Pattern};

const TOLERANCE: f64 = 1e-11;
const ITERATIONS: usize = 300;

/// The state equation with a coefficient that changes.
#[derive(Debug)]
struct State {
    grid: Grid,
    scheme: Scheme,
    mass: Vec<f64>,
    /// M f.
    f: Vec<f64>,
    /// a of y.
    a: Vec<f64>,
    y: Vec<f64>,
    multigrid: Option<Multigrid>,
}

impl State {
    fn new(grid: Grid, scheme: Scheme, source: &[f64]) -> Result<Self, Error> {
        let n = grid.unknowns();
        if source.len() != n || source.iter().any(|f| !f.is_finite()) {
            let what = format!("the source has {} entries, expected {n} finite numbers", source.len());
            return Err(Error::Problem { name: "coefficient".into(), what });
        }
        let constant = Multigrid::new(&grid, scheme, &Diffusion::Constant(1.0), MultigridOptions::default())?;
        if constant.is_singular() {
            let what = "the state equation is singular: no Dirichlet or Robin side".into();
            return Err(Error::Problem { name: "coefficient".into(), what });
        }
        let mass = grid.mass();
        let f = source.iter().zip(&mass).map(|(f, m)| f * m).collect();
        Ok(Self { grid, scheme, mass, f, a: Vec::new(), y: vec![0.0; n], multigrid: None })
    }

    /// y of a.
    fn update(&mut self, a: &[f64]) -> Result<(), EvalError> {
        if self.a == a && self.multigrid.is_some() {
            return Ok(());
        }
        let failed = |reason: String| EvalError::Failed { function: "state equation", reason };
        self.a.clear();
        let options = MultigridOptions::default();
        let mut multigrid = Multigrid::new(&self.grid, self.scheme, &Diffusion::Cells(a.to_vec()), options)
            .map_err(|e| failed(e.to_string()))?;
        // From 0: the same a has the same bits, whatever came before.
        self.y.fill(0.0);
        let solved = multigrid.conjugate_gradients(&self.f, &mut self.y, TOLERANCE, ITERATIONS);
        self.multigrid = Some(multigrid);
        if !solved.reached {
            return Err(failed(format!("relative residual {:.1e}", solved.relative_residual)));
        }
        self.a.extend_from_slice(a);
        Ok(())
    }

    /// p with K p = r.
    fn adjoint(&mut self, r: &[f64], p: &mut [f64]) -> Result<(), EvalError> {
        p.fill(0.0);
        let solved = self.multigrid.as_mut().map(|m| m.conjugate_gradients(r, p, TOLERANCE, ITERATIONS));
        match solved {
            Some(s) if s.reached => Ok(()),
            _ => Err(EvalError::Failed { function: "adjoint equation", reason: "not solved".into() }),
        }
    }

    /// out <- p'(dK/da_c) y for each cell.
    fn forms(&self, p: &[f64], out: &mut [f64]) {
        cell_forms(&self.grid, self.scheme, p, &self.y, out);
    }
}

/// sum over cells of sqrt(sum of (a_next - a)^2 / h^2 + eps^2), and its derivative.
fn total_variation(grid: &Grid, a: &[f64], eps: f64, mut gradient: Option<&mut [f64]>, weight: f64) -> f64 {
    let axes = grid.axes();
    let counts: [usize; 3] = std::array::from_fn(|d| axes.get(d).map_or(1, |x| x.cells));
    let strides = [1, counts[0], counts[0] * counts[1]];
    let mut total = 0.0;
    for c in 0..a.len() {
        let at = [c % counts[0], c / counts[0] % counts[1], c / strides[2]];
        let difference = |d: usize| {
            let inside = d < axes.len() && at[d] + 1 < counts[d];
            if inside { (a[c + strides[d]] - a[c]) / axes[d].spacing() } else { 0.0 }
        };
        let g = [difference(0), difference(1), difference(2)];
        let size = (g.iter().map(|g| g * g).sum::<f64>() + eps * eps).sqrt();
        total += size;
        if let Some(out) = gradient.as_deref_mut() {
            for (d, axis) in axes.iter().enumerate().filter(|(d, _)| at[*d] + 1 < counts[*d]) {
                let slope = weight * g[d] / size / axis.spacing();
                out[c + strides[d]] += slope;
                out[c] -= slope;
            }
        }
    }
    weight * total
}

/// What describes an identification.
#[derive(Debug, Clone)]
pub struct IdentificationSpec {
    /// The grid of the state; the coefficient has one number a cell.
    pub grid: Grid,
    /// f, one number an unknown.
    pub source: Vec<f64>,
    /// d, measured at the unknowns.
    pub data: Vec<f64>,
    /// Weight of the total variation.
    pub beta: f64,
    /// eps in it.
    pub smoothing: f64,
    /// Bounds of a, positive.
    pub bounds: (f64, f64),
    /// Start.
    pub initial: f64,
}

/// See the module.
#[derive(Debug)]
pub struct Identification {
    meta: NlpMeta,
    spec: IdentificationSpec,
    state: State,
    r: Vec<f64>,
    p: Vec<f64>,
}

impl Identification {
    /// Checks the description.
    ///
    /// # Errors
    /// [`Error::Problem`] for vectors of wrong lengths or numbers out of range.
    pub fn new(spec: IdentificationSpec) -> Result<Self, Error> {
        let fail = |what: String| Err(Error::Problem { name: "identification".into(), what });
        let (low, high) = spec.bounds;
        if !(low > 0.0 && low <= spec.initial && spec.initial <= high && high.is_finite()) {
            return fail(format!(
                "bounds [{low}, {high}] and start {}, expected 0 < low <= start <= high",
                spec.initial
            ));
        }
        if !(spec.beta >= 0.0 && spec.beta.is_finite() && spec.smoothing > 0.0 && spec.smoothing.is_finite())
        {
            return fail(format!(
                "beta {} and smoothing {}, expected positive numbers",
                spec.beta, spec.smoothing
            ));
        }
        let n = spec.grid.unknowns();
        if spec.data.len() != n || spec.data.iter().any(|d| !d.is_finite()) {
            return fail(format!("the data have {} entries, expected {n} finite numbers", spec.data.len()));
        }
        let state = State::new(spec.grid.clone(), Scheme::FiniteDifferences, &spec.source)?;
        let mut meta = NlpMeta::equality("identification", spec.grid.cells(), 0);
        meta.x_lower.fill(low);
        meta.x_upper.fill(high);
        meta.x0.fill(spec.initial);
        Ok(Self { meta, spec, state, r: vec![0.0; n], p: vec![0.0; n] })
    }

    /// The state of a coefficient.
    ///
    /// # Errors
    /// Where the state equation could not be solved.
    pub fn state(&mut self, a: &[f64]) -> Result<&[f64], EvalError> {
        self.state.update(a)?;
        Ok(&self.state.y)
    }

    /// The total variation of a coefficient, without its weight, times the volume of a cell.
    pub fn variation(&self, a: &[f64]) -> f64 {
        self.spec.grid.cell_volume() * total_variation(&self.spec.grid, a, self.spec.smoothing, None, 1.0)
    }
}

impl Nlp for Identification {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, a: &[f64]) -> Result<f64, EvalError> {
        self.state.update(a)?;
        let (m, y, d) = (&self.state.mass, &self.state.y, &self.spec.data);
        let misfit = sum(y.len(), |r| r.map(|p| m[p] * (y[p] - d[p]).powi(2)).sum());
        Ok(0.5 * misfit + total_variation(&self.spec.grid, a, self.spec.smoothing, None, self.spec.beta))
    }
    fn grad(&mut self, a: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.state.update(a)?;
        for (p, r) in self.r.iter_mut().enumerate() {
            *r = self.state.mass[p] * (self.spec.data[p] - self.state.y[p]);
        }
        // K p = M (d - y): then dJ/da_c = p'(dK/da_c) y.
        self.state.adjoint(&self.r, &mut self.p)?;
        self.state.forms(&self.p, g);
        total_variation(&self.spec.grid, a, self.spec.smoothing, Some(g), self.spec.beta);
        Ok(())
    }
    fn cons(&mut self, _: &[f64], _: &mut [f64]) -> Result<(), EvalError> {
        Ok(())
    }
}

/// What describes a distribution of material.
#[derive(Debug, Clone)]
pub struct MaterialSpec {
    /// The grid of the state; the density has one number a cell.
    pub grid: Grid,
    /// f, one number an unknown.
    pub source: Vec<f64>,
    /// Coefficient where there is no material, relative to 1 with it.
    pub least: f64,
    /// The exponent q >= 1 that makes densities between 0 and 1 expensive.
    pub penalty: f64,
    /// Mean density allowed.
    pub share: f64,
    /// Radius of the filter, in cells; 0: none.
    pub radius: f64,
}

/// See the module.
#[derive(Debug)]
pub struct Material {
    meta: NlpMeta,
    spec: MaterialSpec,
    state: State,
    /// The filter by rows: starts, cells, weights that add to 1.
    starts: Vec<usize>,
    entries: Vec<(u32, f64)>,
    r: Vec<f64>,
    a: Vec<f64>,
    forms: Vec<f64>,
}

impl Material {
    /// Checks the description.
    ///
    /// # Errors
    /// [`Error::Problem`] for a source of the wrong length or numbers out of range.
    pub fn new(spec: MaterialSpec) -> Result<Self, Error> {
        let fail = |what: String| Err(Error::Problem { name: "material".into(), what });
        if !(spec.least > 0.0 && spec.least < 1.0 && spec.share > 0.0 && spec.share <= 1.0) {
            return fail(format!(
                "least {} and share {}, expected numbers between 0 and 1",
                spec.least, spec.share
            ));
        }
        if !(spec.penalty >= 1.0 && spec.penalty.is_finite() && spec.radius >= 0.0 && spec.radius < 1e3) {
            return fail(format!(
                "penalty {} and radius {}, expected at least 1 and 0",
                spec.penalty, spec.radius
            ));
        }
        let cells = spec.grid.cells();
        let state = State::new(spec.grid.clone(), Scheme::Q1, &spec.source)?;
        let mut meta = NlpMeta::equality("material", cells, 1);
        meta.x_lower.fill(0.0);
        meta.x_upper.fill(1.0);
        meta.x0.fill(spec.share);
        (meta.c_lower[0], meta.c_upper[0]) = (f64::NEG_INFINITY, 0.0);
        meta.linear = vec![true];
        meta.jacobian = Some(Pattern::dense(1, cells));
        let (starts, entries) = filter(&spec.grid, spec.radius);
        let zeros = || vec![0.0; cells];
        Ok(Self { meta, spec, state, starts, entries, r: zeros(), a: zeros(), forms: zeros() })
    }

    /// The densities after the filter.
    pub fn filtered(&self, r: &[f64]) -> Vec<f64> {
        (0..r.len()).map(|c| self.row(c).iter().map(|(j, w)| w * r[*j as usize]).sum()).collect()
    }
    /// The state of densities.
    ///
    /// # Errors
    /// Where the state equation could not be solved.
    pub fn state(&mut self, r: &[f64]) -> Result<&[f64], EvalError> {
        self.update(r)?;
        Ok(&self.state.y)
    }
    fn row(&self, c: usize) -> &[(u32, f64)] {
        &self.entries[self.starts[c]..self.starts[c + 1]]
    }
    fn update(&mut self, r: &[f64]) -> Result<(), EvalError> {
        let (least, q) = (self.spec.least, self.spec.penalty);
        for c in 0..r.len() {
            self.r[c] = self.row(c).iter().map(|(j, w)| w * r[*j as usize]).sum();
            self.a[c] = least + (1.0 - least) * self.r[c].max(0.0).powf(q);
        }
        self.state.update(&self.a)
    }
}

/// Weights max(0, radius - distance) between cells, rows that add to 1.
fn filter(grid: &Grid, radius: f64) -> (Vec<usize>, Vec<(u32, f64)>) {
    let counts: [usize; 3] = std::array::from_fn(|d| grid.axes().get(d).map_or(1, |x| x.cells));
    let reach = radius.ceil() as usize;
    let (mut starts, mut entries) = (vec![0], Vec::new());
    for c in 0..grid.cells() {
        let at = [c % counts[0], c / counts[0] % counts[1], c / (counts[0] * counts[1])];
        let range = |d: usize| at[d].saturating_sub(reach)..(at[d] + reach + 1).min(counts[d]);
        let first = entries.len();
        for k in range(2) {
            for j in range(1) {
                for i in range(0) {
                    let square: f64 =
                        [i, j, k].iter().zip(at).map(|(a, b)| (*a as f64 - b as f64).powi(2)).sum();
                    let w = if square == 0.0 { radius.max(1.0) } else { radius - square.sqrt() };
                    if w > 0.0 {
                        entries.push((((k * counts[1] + j) * counts[0] + i) as u32, w));
                    }
                }
            }
        }
        let total: f64 = entries[first..].iter().map(|(_, w)| w).sum();
        entries[first..].iter_mut().for_each(|(_, w)| *w /= total);
        starts.push(entries.len());
    }
    (starts, entries)
}

impl Nlp for Material {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, r: &[f64]) -> Result<f64, EvalError> {
        self.update(r)?;
        let (f, y) = (&self.state.f, &self.state.y);
        Ok(self.spec.grid.cell_volume() * sum(f.len(), |r| r.map(|p| f[p] * y[p]).sum()))
    }
    fn grad(&mut self, r: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.update(r)?;
        let (least, q, unit) = (self.spec.least, self.spec.penalty, self.spec.grid.cell_volume());
        let mut forms = std::mem::take(&mut self.forms);
        self.state.forms(&self.state.y, &mut forms);
        g.fill(0.0);
        for (c, form) in forms.iter().enumerate() {
            let slope = -unit * form * (1.0 - least) * q * self.r[c].max(0.0).powf(q - 1.0);
            for (j, w) in self.row(c) {
                g[*j as usize] += w * slope;
            }
        }
        self.forms = forms;
        Ok(())
    }
    fn cons(&mut self, r: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        let n = r.len();
        c[0] = sum(n, |range| r[range].iter().sum()) / n as f64 - self.spec.share;
        Ok(())
    }
    fn jac_values(&mut self, r: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        values.fill(1.0 / r.len() as f64);
        Ok(())
    }
}

//! A limited-memory approximation of the Hessian of the Lagrangian, for problems without second derivatives.
//!
//! ```text
//!     B = B_0 - W M^-1 W',   W = [ B_0 S  Y ],   M = [ S'B_0 S  L  ]     S, Y: the last steps and changes of grad L
//!                                                    [ L'       -D ]     S'Y = L + D + R, L strictly lower
//! ```
//!
//! (Byrd, Nocedal, Schnabel 1994), B_0 = sigma E with E = I, or the curvatures along the variables where these differ by orders of
//! magnitude (`first_scale`). Changes are damped so that B stays positive definite (Powell 1978). A direct solver factorizes K_0,
//! which has B_0 in place of B, and the Sherman-Morrison-Woodbury formula does the rest:
//!
//! ```text
//!     K^-1 = K_0^-1 + P (M - [W; 0]'P)^-1 [W; 0]'K_0^-1,   P = K_0^-1 [W; 0]
//! ```

use super::first_scale::FirstScale;
use super::{Model, Of};
use crate::linalg::{axpy, dot};
use crate::linsol::DenseLdl;
use crate::opt::iterate::Point;
use crate::opt::problem::{At, BadEvaluation, Coordinates, Evaluator, Form};

/// Pairs kept.
const MEMORY: usize = 8;
/// sigma stays within this factor of 1 and of the first one.
const SIGMA_SPREAD: f64 = 1e8;
/// s'y is kept above this share of s'Bs.
const DAMPING: f64 = 0.2;

/// B and what it learns from: the last point that was observed, with its gradient and Jacobian.
pub(in crate::opt) struct LimitedMemory {
    b: QuasiNewton,
    /// The diagonal, where K has entries.
    places: Option<Coordinates>,
    values: Vec<f64>,
    /// The Lagrangian was observed last, not the violation, of which nothing is learned: W = 0.
    active: bool,
    known: bool,
    seen: bool,
    first: FirstScale,
    x: Vec<f64>,
    gradient: Vec<f64>,
    jacobian: Vec<f64>,
    step: Vec<f64>,
    change: Vec<f64>,
    work: Vec<f64>,
}

impl LimitedMemory {
    pub fn new(form: &Form) -> Self {
        let zeros = || vec![0.0; form.n];
        let diagonal: Vec<u32> = (0..form.n as u32).collect();
        let entries = form.has_jacobian_entries();
        Self {
            b: QuasiNewton::new(form.n),
            places: entries.then(|| Coordinates { rows: diagonal.clone(), cols: diagonal }),
            values: if entries { zeros() } else { Vec::new() },
            active: false,
            known: false,
            seen: false,
            first: FirstScale::new(form),
            x: zeros(),
            gradient: zeros(),
            jacobian: vec![0.0; form.jacobian_len()],
            step: zeros(),
            change: zeros(),
            work: zeros(),
        }
    }

    fn fill_values(&mut self) {
        let sigma = if self.active { self.b.sigma } else { 0.0 };
        self.values.iter_mut().zip(&self.b.weights).for_each(|(v, e)| *v = sigma * e);
    }

    /// step <- x - x_old, change <- grad f + J'y - (grad f + J'y)_old, both with the present y.
    fn measure_change(&mut self, p: &mut Evaluator<'_>, at: &Point) -> Result<(), BadEvaluation> {
        p.jac_t_mul(at.at(), &at.y, &mut self.change)?;
        p.jac_t_mul(At { x: &self.x, jacobian: &self.jacobian }, &at.y, &mut self.work)?;
        for (j, c) in self.change.iter_mut().enumerate() {
            *c += at.grad[j] - self.gradient[j] - self.work[j];
            self.step[j] = at.x[j] - self.x[j];
        }
        Ok(())
    }
}

impl Model for LimitedMemory {
    fn coordinates(&self) -> Option<&Coordinates> {
        self.places.as_ref()
    }

    fn observe(&mut self, p: &mut Evaluator<'_>, at: &Point, of: Of) -> Result<(), BadEvaluation> {
        self.active = of == Of::Lagrangian;
        if self.active {
            if self.known {
                self.measure_change(p, at)?;
                self.b.update(&self.step, &self.change, &mut self.work);
            } else {
                let sigma = self.first.measure(p, at, self.b.weights_mut());
                self.b.set_first(sigma);
            }
            self.known = true;
            self.x.copy_from_slice(&at.x);
            self.gradient.copy_from_slice(&at.grad);
            self.jacobian.copy_from_slice(&at.jacobian);
        }
        self.fill_values();
        Ok(())
    }

    fn learn(&mut self, step: &[f64], change: &[f64]) {
        self.b.update(step, change, &mut self.work);
        self.fill_values();
    }

    fn values(&self) -> &[f64] {
        &self.values
    }

    fn apply(
        &mut self,
        _: &mut Evaluator<'_>,
        _: &Point,
        _: Of,
        v: &[f64],
        out: &mut [f64],
    ) -> Result<(), BadEvaluation> {
        if self.active {
            self.b.apply(v, out)
        } else {
            out.fill(0.0)
        }
        Ok(())
    }

    fn low_rank(&mut self) -> Option<&mut QuasiNewton> {
        (self.active && self.b.columns() > 0).then_some(&mut self.b)
    }

    fn is_learned(&self) -> bool {
        true
    }

    fn is_unseen(&self) -> bool {
        !self.seen
    }

    fn set_seen(&mut self) {
        self.seen = true;
    }

    fn forget(&mut self) {
        self.seen = false;
        self.known = false;
        self.b.reset();
    }

    fn label(&self) -> &'static str {
        ", limited-memory Hessian"
    }
}

/// Pairs, and B in compact form.
pub(in crate::opt) struct QuasiNewton {
    n: usize,
    /// Newest last, each of length n.
    s: Vec<Vec<f64>>,
    y: Vec<Vec<f64>>,
    /// E s of each pair.
    es: Vec<Vec<f64>>,
    pub sigma: f64,
    /// The diagonal of E.
    weights: Vec<f64>,
    first_sigma: f64,
    /// M by columns, and its factors.
    m: Vec<f64>,
    middle: DenseLdl,
    /// [W; 0]'v, length 2 pairs.
    short: Vec<f64>,
    /// P by columns, of length `rows`, and M - [W; 0]'P; not valid once K_0 has changed.
    p: Vec<f64>,
    inner: DenseLdl,
    rhs: Vec<f64>,
    pub corrected: bool,
}

impl QuasiNewton {
    pub fn new(n: usize) -> Self {
        Self {
            n,
            s: Vec::with_capacity(MEMORY),
            y: Vec::with_capacity(MEMORY),
            es: Vec::with_capacity(MEMORY),
            sigma: 1.0,
            weights: vec![1.0; n],
            first_sigma: 1.0,
            m: Vec::new(),
            middle: DenseLdl::default(),
            short: vec![0.0; 2 * MEMORY],
            p: Vec::new(),
            inner: DenseLdl::default(),
            rhs: Vec::new(),
            corrected: false,
        }
    }

    /// Forgets all pairs.
    fn clear(&mut self) {
        self.s.clear();
        self.y.clear();
        self.es.clear();
        self.corrected = false;
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.clear();
        self.weights.fill(1.0);
        (self.sigma, self.first_sigma) = (1.0, 1.0);
    }

    /// The diagonal of E; while there are no pairs.
    fn weights_mut(&mut self) -> &mut [f64] {
        &mut self.weights
    }

    /// B = sigma E, while there are no pairs.
    fn set_first(&mut self, sigma: f64) {
        (self.sigma, self.first_sigma) = (sigma, sigma);
    }

    fn limited(&self, sigma: f64) -> f64 {
        sigma.clamp(self.first_sigma.min(1.0) / SIGMA_SPREAD, self.first_sigma.max(1.0) * SIGMA_SPREAD)
    }

    /// Columns of W.
    pub fn columns(&self) -> usize {
        2 * self.s.len()
    }

    /// Column k of W: v <- a W_k + v.
    fn add_column(&self, k: usize, a: f64, v: &mut [f64]) {
        let pairs = self.s.len();
        if k < pairs { axpy(a * self.sigma, &self.es[k], v) } else { axpy(a, &self.y[k - pairs], v) }
    }

    fn column_dot(&self, k: usize, v: &[f64]) -> f64 {
        let pairs = self.s.len();
        if k < pairs { self.sigma * dot(&self.es[k], v) } else { dot(&self.y[k - pairs], v) }
    }

    /// out <- B v.
    pub fn apply(&mut self, v: &[f64], out: &mut [f64]) {
        for (o, (v, e)) in out.iter_mut().zip(v.iter().zip(&self.weights)) {
            *o = self.sigma * e * v;
        }
        let columns = self.columns();
        for k in 0..columns {
            self.short[k] = self.column_dot(k, v);
        }
        if columns > 0 {
            self.middle.solve(&mut self.short[..columns]);
        }
        for k in 0..columns {
            self.add_column(k, -self.short[k], out);
        }
    }

    /// Learns from a step and the change of the gradient of the Lagrangian along it; `work` has length n.
    pub fn update(&mut self, s: &[f64], y: &[f64], work: &mut [f64]) {
        let ss = dot(s, s);
        if ss == 0.0 || !(dot(y, y).is_finite() && ss.is_finite()) {
            return;
        }
        self.apply(s, work);
        let (sy, sbs) = (dot(s, y), dot(s, work));
        let theta = if sy >= DAMPING * sbs { 1.0 } else { (1.0 - DAMPING) * sbs / (sbs - sy) };
        let (mut new_s, mut new_y, mut new_es) = if self.s.len() == MEMORY {
            (self.s.remove(0), self.y.remove(0), self.es.remove(0))
        } else {
            (vec![0.0; self.n], vec![0.0; self.n], vec![0.0; self.n])
        };
        new_s.copy_from_slice(s);
        new_es.iter_mut().zip(s.iter().zip(&self.weights)).for_each(|(o, (s, e))| *o = e * s);
        for (new, (y, bs)) in new_y.iter_mut().zip(y.iter().zip(work.iter())) {
            *new = theta * y + (1.0 - theta) * bs;
        }
        self.sigma = self.limited(dot(&new_s, &new_y) / dot(&new_s, &new_es));
        self.s.push(new_s);
        self.y.push(new_y);
        self.es.push(new_es);
        if !self.compact() {
            self.clear();
        }
    }

    /// M and its factors; false where rounding has spoilt it: it must have as many negative eigenvalues as pairs.
    fn compact(&mut self) -> bool {
        let pairs = self.s.len();
        let size = 2 * pairs;
        self.m.clear();
        self.m.resize(size * size, 0.0);
        for j in 0..pairs {
            for i in j..pairs {
                self.m[j * size + i] = self.sigma * dot(&self.s[i], &self.es[j]);
            }
            // L' below S'S: entry (pairs + j, i) is s_i'y_j for i > j.
            for i in j + 1..pairs {
                self.m[i * size + pairs + j] = dot(&self.s[i], &self.y[j]);
            }
            self.m[(pairs + j) * size + pairs + j] = -dot(&self.s[j], &self.y[j]);
        }
        self.middle.reset(size).copy_from_slice(&self.m);
        let inertia = self.middle.factor(0.0);
        self.corrected = false;
        inertia.negative == pairs && inertia.positive == pairs
    }

    /// A vector of this length to solve with, kept between calls.
    pub fn take_rhs(&mut self, rows: usize) -> Vec<f64> {
        let mut rhs = std::mem::take(&mut self.rhs);
        rhs.resize(rows, 0.0);
        rhs
    }

    /// Gives it back.
    pub fn return_rhs(&mut self, rhs: Vec<f64>) {
        self.rhs = rhs;
    }

    /// Column k of W into the first n entries of `rhs`.
    pub fn right_hand_side(&self, k: usize, rhs: &mut [f64]) {
        rhs.fill(0.0);
        self.add_column(k, 1.0, &mut rhs[..self.n]);
    }

    /// Storage for column k of P, of length `rows`.
    pub fn solution(&mut self, k: usize, rows: usize) -> &mut [f64] {
        self.p.resize((k + 1) * rows, 0.0);
        &mut self.p[k * rows..]
    }

    /// M - [W; 0]'P from the columns of P; false if it is singular.
    pub fn finish(&mut self, rows: usize) -> bool {
        let size = self.columns();
        let mut inner = std::mem::take(&mut self.inner);
        let full = inner.reset(size);
        for j in 0..size {
            for i in j..size {
                let p = &self.p[j * rows..j * rows + self.n];
                full[j * size + i] = self.m[j * size + i] - self.column_dot(i, p);
            }
        }
        let inertia = inner.factor(0.0);
        self.inner = inner;
        self.corrected = inertia.zero == 0;
        self.corrected
    }

    /// z <- z + P (M - [W; 0]'P)^-1 [W; 0]'z.
    pub fn correct(&mut self, z: &mut [f64]) {
        let (size, rows) = (self.columns(), z.len());
        for k in 0..size {
            self.short[k] = self.column_dot(k, &z[..self.n]);
        }
        if size > 0 {
            self.inner.solve(&mut self.short[..size]);
        }
        for k in 0..size {
            axpy(self.short[k], &self.p[k * rows..(k + 1) * rows], z);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B is that of the BFGS formula applied pair by pair to sigma I.
    #[test]
    fn the_compact_form_is_the_recursion() {
        let n = 5;
        let number = |k: usize| ((k * 7919 + 31) % 97) as f64 / 48.5 - 1.0;
        let mut q = QuasiNewton::new(n);
        q.weights_mut().copy_from_slice(&[1.0, 1e-2, 30.0, 1.0, 2.0]);
        let mut work = vec![0.0; n];
        for pair in 0..MEMORY + 3 {
            let s: Vec<f64> = (0..n).map(|i| number(pair * n + i)).collect();
            let y: Vec<f64> =
                (0..n).map(|i| (1.0 + i as f64) * s[i] + 0.3 * number(500 + pair * n + i)).collect();
            q.update(&s, &y, &mut work);
        }
        // B by columns from the recursion on the pairs that are kept.
        let mut b = vec![0.0; n * n];
        (0..n).for_each(|i| b[i * n + i] = q.sigma * q.weights[i]);
        for (s, y) in q.s.iter().zip(&q.y) {
            let bs: Vec<f64> = (0..n).map(|i| (0..n).map(|j| b[j * n + i] * s[j]).sum()).collect();
            let (sbs, sy) = (dot(s, &bs), dot(s, y));
            for j in 0..n {
                for i in 0..n {
                    b[j * n + i] += y[i] * y[j] / sy - bs[i] * bs[j] / sbs;
                }
            }
        }
        let mut out = vec![0.0; n];
        for j in 0..n {
            let mut e = vec![0.0; n];
            e[j] = 1.0;
            q.apply(&e, &mut out);
            for i in 0..n {
                approx::assert_relative_eq!(out[i], b[j * n + i], epsilon = 1e-10, max_relative = 1e-9);
            }
        }
    }

    /// A change against the step is damped: B stays positive definite.
    #[test]
    fn negative_curvature_is_damped() {
        let mut q = QuasiNewton::new(2);
        let (mut work, mut out) = (vec![0.0; 2], vec![0.0; 2]);
        q.update(&[1.0, 0.5], &[-3.0, 1.0], &mut work);
        for v in [[1.0, 0.0], [0.0, 1.0], [1.0, -1.0], [1.0, 0.5]] {
            q.apply(&v, &mut out);
            assert!(dot(&v, &out) > 0.0);
        }
    }
}

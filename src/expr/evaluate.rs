//! Evaluation at a point. Elements and groups are computed once for each point and level and kept.

use super::batch::{Entry, FIRST, SECOND, VALUE};
use super::hessian;
use super::parts::Parts;
use super::structure::{ElementBatch, Rows, Structure};

/// Masks of levels.
const F: usize = 1 << VALUE;
const G: usize = 1 << FIRST;
const H: usize = 1 << SECOND;

/// Rows and columns of entries.
pub(crate) type Coordinates = [Vec<usize>; 2];

/// The structure with all storage that evaluations need.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evaluator {
    pub structure: Structure,
    /// QUADRATIC entries and their places in the Hessian.
    pub quadratic: Vec<(u32, u32, f64)>,
    pub quadratic_places: Vec<u32>,
    /// The current point, then the values of all elements up to a factor.
    z: Vec<f64>,
    /// alpha of each row; for trivial groups this is c.
    alpha: Vec<f64>,
    /// Gradients of the alpha.
    q: Vec<f64>,
    /// Multiplier of each row's alpha in the Lagrangian.
    multiplier: Vec<f64>,
    registers: Vec<f64>,
    /// Sum of the q q' of a run of groups, lower triangle by rows.
    outer: Vec<f64>,
    has_alpha: bool,
    has_q: bool,
    /// Where first derivatives were asked for, second ones were, too: both are computed at once, which shares what they have in common.
    second_follows: bool,
    /// They were asked for at this point.
    asked_second: bool,
}

impl Evaluator {
    /// Allocates everything. `objects`: what the structure may cost, in units of eight numbers; `hessian`: contributions up to which
    /// the Hessian has a pattern, which is given back: rows and columns of the lower triangle.
    ///
    /// # Errors
    /// The structure would be too large.
    pub fn new(parts: &Parts<'_>, objects: u64, hessian: u64) -> Result<(Self, Option<Coordinates>), String> {
        let mut structure = Structure::new(parts, objects)?;
        let places = hessian::build(&mut structure, parts.quadratic, hessian);
        let (pattern, quadratic_places) = match places {
            Some(p) => (Some([p.rows, p.cols]), p.quadratic),
            None => (None, Vec::new()),
        };
        Ok((Self::with(structure, parts.quadratic.to_vec(), quadratic_places), pattern))
    }

    fn with(structure: Structure, quadratic: Vec<(u32, u32, f64)>, quadratic_places: Vec<u32>) -> Self {
        let rows = structure.rows.constant.len();
        Self {
            z: vec![f64::NAN; structure.n + structure.values],
            alpha: vec![0.0; rows],
            q: structure.rows.base.clone(),
            multiplier: vec![0.0; rows],
            registers: vec![0.0; structure.scratch()],
            outer: vec![0.0; structure.largest_outer()],
            has_alpha: false,
            has_q: false,
            second_follows: false,
            asked_second: false,
            quadratic,
            quadratic_places,
            structure,
        }
    }

    /// Moves to x; at another point than before everything is forgotten.
    fn move_to(&mut self, x: &[f64]) {
        if self.z.iter().zip(x).all(|(a, b)| a.to_bits() == b.to_bits()) {
            return;
        }
        self.z[..x.len()].copy_from_slice(x);
        if self.has_q {
            self.second_follows = self.asked_second;
        }
        self.asked_second = false;
        self.forget();
    }
    /// Forgets everything computed.
    pub fn forget(&mut self) {
        self.has_alpha = false;
        self.has_q = false;
        self.structure.elements.iter_mut().for_each(|b| b.batch.valid = 0);
        self.structure.groups.iter_mut().for_each(|b| b.batch.valid = 0);
    }

    /// Element values and derivatives of the levels in the mask.
    fn elements(&mut self, mask: impl Fn(&ElementBatch) -> usize) {
        for b in &mut self.structure.elements {
            let (mask, count, vars) = (mask(b), b.batch.count, &b.vars);
            let (x, values) = self.z.split_at_mut(self.structure.n);
            let values = &mut values[b.first_value - x.len()..][..b.batch.room()];
            b.batch.compute(mask, &mut self.registers, values, &|k, first, out| {
                let vars = &vars[k * count + first..][..out.len()];
                for (o, &v) in out.iter_mut().zip(vars) {
                    *o = x[v as usize];
                }
            });
        }
    }

    /// alpha of all rows.
    fn alphas(&mut self, mask: usize) {
        if self.has_alpha {
            return;
        }
        self.elements(|_| mask);
        let Rows { constant, term_start, terms, weights, .. } = &self.structure.rows;
        let z = &self.z;
        for (r, alpha) in self.alpha.iter_mut().enumerate() {
            let range = term_start[r] as usize..term_start[r + 1] as usize;
            let (terms, weights) = (&terms[range.clone()], &weights[range]);
            let sum = constant[r] + sum_by_four(terms.len(), |k| weights[k] * z[terms[k] as usize]);
            *alpha = sum;
        }
        for g in &mut self.structure.groups {
            for (alpha, w) in g.alpha.iter_mut().zip(&g.groups) {
                *alpha = self.alpha[w.row as usize];
            }
        }
        self.has_alpha = true;
    }

    /// Group values and derivatives.
    fn groups(&mut self, mask: usize) {
        for g in &mut self.structure.groups {
            let alpha = &g.alpha;
            g.batch.compute(mask, &mut self.registers, &mut g.values, &|_, first, out| {
                out.copy_from_slice(&alpha[first..first + out.len()]);
            });
        }
    }

    /// Gradients of all alpha.
    fn gradients(&mut self) {
        if self.has_q {
            return;
        }
        let mask = if self.second_follows { G | H } else { G };
        self.elements(|_| mask);
        let s = &self.structure;
        self.q.copy_from_slice(&s.rows.base);
        for b in &s.elements {
            let count = b.uses.len();
            for (k, e) in b.batch.kernel.gradient.iter().enumerate() {
                let places = &b.gradient_places[k * count..][..count];
                match b.batch.row(FIRST, e.term) {
                    Some(values) => {
                        for (&place, u) in places.iter().zip(&b.uses) {
                            self.q[place as usize] += u.weight * e.term.factor * values[u.element as usize];
                        }
                    }
                    None => {
                        for (&place, u) in places.iter().zip(&b.uses) {
                            self.q[place as usize] += u.weight * e.term.factor;
                        }
                    }
                }
            }
        }
        self.has_q = true;
    }

    /// What first derivatives of the whole problem need.
    fn first(&mut self, x: &[f64]) {
        self.move_to(x);
        if !self.structure.groups.is_empty() {
            self.alphas(F | G);
            self.groups(G);
        }
        self.gradients();
    }

    /// f(x).
    pub fn objective(&mut self, x: &[f64]) -> f64 {
        self.move_to(x);
        self.alphas(F);
        self.groups(F);
        let s = &self.structure;
        let mut f = Sum::default();
        f.add(s.objective_constant);
        let linear = &s.objective_linear;
        f = f.with(linear.len(), |k| linear[k].1 * x[linear[k].0 as usize]);
        for b in &s.elements {
            let (term, uses) = (b.batch.kernel.value, &b.objective);
            f = match term.row {
                Some(_) => {
                    let values = &self.z[b.first_value..][..b.batch.count];
                    f.with(uses.len(), |k| uses[k].1 * term.factor * values[uses[k].0 as usize])
                }
                None => f.with(uses.len(), |k| uses[k].1 * term.factor),
            };
        }
        for g in &s.groups {
            let term = g.batch.kernel.value;
            let values = term.row.map(|_| &g.values);
            for (k, w) in g.groups.iter().enumerate().filter(|(_, w)| w.row as usize >= s.m) {
                f.add(term.factor * values.map_or(1.0, |v| v[k]) * w.inverse_scale);
            }
        }
        let quadratic = &self.quadratic;
        f = f.with(quadratic.len(), |k| quadratic_value(quadratic[k], x));
        f.total()
    }

    /// c <- c(x).
    pub fn constraints(&mut self, x: &[f64], c: &mut [f64]) {
        self.move_to(x);
        self.alphas(F);
        self.groups(F);
        c.copy_from_slice(&self.alpha[..c.len()]);
        for g in &self.structure.groups {
            let term = g.batch.kernel.value;
            let values = term.row.map(|_| &g.values);
            for (k, w) in g.groups.iter().enumerate() {
                if let Some(c) = c.get_mut(w.row as usize) {
                    *c = values.map_or(1.0, |v| v[k]) * term.factor * w.inverse_scale;
                }
            }
        }
    }

    /// g <- grad f(x).
    pub fn gradient(&mut self, x: &[f64], g: &mut [f64]) {
        self.first(x);
        let s = &self.structure;
        g.fill(0.0);
        s.objective_linear.iter().for_each(|&(v, a)| g[v as usize] = a);
        for b in s.elements.iter().filter(|b| !b.objective.is_empty()) {
            for e in &b.batch.kernel.gradient {
                let vars = &b.vars[e.a as usize * b.batch.count..][..b.batch.count];
                let values = b.batch.row(FIRST, e.term);
                for &(k, w) in &b.objective {
                    let k = k as usize;
                    g[vars[k] as usize] += w * e.term.factor * values.map_or(1.0, |v| v[k]);
                }
            }
        }
        for_wrapped(s, FIRST, |row, slope| {
            if row >= s.m {
                for p in s.rows.start[row]..s.rows.start[row + 1] {
                    g[s.rows.vars[p] as usize] += slope * self.q[p];
                }
            }
        });
        for &(i, j, h) in &self.quadratic {
            g[i as usize] += h * x[j as usize];
            if i != j {
                g[j as usize] += h * x[i as usize];
            }
        }
    }

    /// Values of the Jacobian, row by row.
    pub fn jacobian(&mut self, x: &[f64], values: &mut [f64]) {
        self.first(x);
        let s = &self.structure;
        values.copy_from_slice(&self.q[..values.len()]);
        for_wrapped(s, FIRST, |row, slope| {
            if row < s.m {
                values[s.rows.start[row]..s.rows.start[row + 1]].iter_mut().for_each(|v| *v *= slope);
            }
        });
    }

    /// jv <- J v.
    pub fn jacobian_product(&mut self, x: &[f64], v: &[f64], jv: &mut [f64]) {
        self.first(x);
        let s = &self.structure;
        for (r, jv) in jv.iter_mut().enumerate() {
            let range = s.rows.start[r]..s.rows.start[r + 1];
            let (q, vars) = (&self.q[range.clone()], &s.rows.vars[range]);
            *jv = sum_by_four(q.len(), |k| q[k] * v[vars[k] as usize]);
        }
        for_wrapped(s, FIRST, |row, slope| {
            if let Some(jv) = jv.get_mut(row) {
                *jv *= slope;
            }
        });
    }

    /// jtw <- J' w.
    pub fn jacobian_transposed_product(&mut self, x: &[f64], w: &[f64], jtw: &mut [f64]) {
        self.first(x);
        let s = &self.structure;
        self.multiplier[..s.m].copy_from_slice(w);
        for_wrapped(s, FIRST, |row, slope| {
            if row < s.m {
                self.multiplier[row] *= slope;
            }
        });
        jtw.fill(0.0);
        for r in 0..s.m {
            for p in s.rows.start[r]..s.rows.start[r + 1] {
                jtw[s.rows.vars[p] as usize] += self.multiplier[r] * self.q[p];
            }
        }
    }

    /// Second derivatives of all elements and groups, and each element's factor in sigma f + y'c.
    fn second(&mut self, x: &[f64], sigma: f64, y: &[f64]) {
        self.move_to(x);
        self.asked_second = true;
        if self.structure.groups.is_empty() {
            self.elements(|_| H);
        } else {
            self.elements(|b| if b.wrapped { F | G | H } else { H });
            self.alphas(F);
            self.groups(G | H);
            self.gradients();
        }
        let m = self.structure.m;
        self.multiplier[..m].copy_from_slice(y);
        self.multiplier[m..].fill(sigma);
        let multiplier = &mut self.multiplier;
        for_wrapped(&self.structure, FIRST, |row, slope| multiplier[row] *= slope);
        for b in &mut self.structure.elements {
            if b.batch.kernel.hessian.is_empty() && b.batch.kernel.products.is_empty() {
                continue;
            }
            b.lambda.fill(0.0);
            for &(k, w) in &b.objective {
                b.lambda[k as usize] += sigma * w;
            }
            for u in &b.uses {
                b.lambda[u.element as usize] += multiplier[u.row as usize] * u.weight;
            }
        }
    }

    /// Values of the Hessian of sigma f + y'c in the order of the pattern.
    pub fn hessian(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) {
        self.second(x, sigma, y);
        values.fill(0.0);
        let s = &self.structure;
        for b in &s.elements {
            let count = b.batch.count;
            for (k, e) in b.batch.kernel.hessian.iter().enumerate() {
                let places = &b.hessian_places[k * count..][..count];
                scatter(e, b, places, values);
            }
            for &(k, i) in &b.doubled {
                let e = &b.batch.kernel.hessian[k as usize];
                let h = b.batch.row(SECOND, e.term).map_or(1.0, |v| v[i as usize]);
                let place = b.hessian_places[k as usize * count + i as usize];
                values[place as usize] += b.lambda[i as usize] * e.term.factor * h;
            }
        }
        for (&(_, _, h), &place) in self.quadratic.iter().zip(&self.quadratic_places) {
            values[place as usize] += sigma * h;
        }
        for g in &s.groups {
            let Some(e) = g.batch.kernel.hessian.first() else { continue };
            let curvature = g.batch.row(SECOND, e.term);
            let factor = |k: usize| {
                let w = &g.groups[k];
                let row = w.row as usize;
                let outer = if row < s.m { y[row] } else { sigma };
                outer * w.inverse_scale * e.term.factor * curvature.map_or(1.0, |v| v[k])
            };
            let q = |k: usize| {
                let row = g.groups[k].row as usize;
                &self.q[s.rows.start[row]..s.rows.start[row + 1]]
            };
            let mut places = g.places.as_slice();
            for run in &g.runs {
                let n = q(run.start).len();
                let (own, rest) = places.split_at(n * (n + 1) / 2);
                places = rest;
                if run.len() == 1 {
                    add_at(values, own, factor(run.start), q(run.start));
                    continue;
                }
                let sum = &mut self.outer[..own.len()];
                sum.fill(0.0);
                pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || run.clone().for_each(|k| add_outer(sum, factor(k), q(k))),
                );
                for (&place, v) in own.iter().zip(&*sum) {
                    values[place as usize] += v;
                }
            }
        }
    }

    /// The part of H v whose second derivatives are not written down.
    fn products(&mut self, x: &[f64], v: &[f64], hv: &mut [f64]) {
        for b in self.structure.elements.iter_mut().filter(|b| !b.batch.kernel.products.is_empty()) {
            let (count, vars) = (b.batch.count, &b.vars);
            let fetch = |from: &[f64], k: usize, first: usize, out: &mut [f64]| {
                let vars = &vars[k * count + first..][..out.len()];
                out.iter_mut().zip(vars).for_each(|(o, &at)| *o = from[at as usize]);
            };
            b.batch.multiply(
                &mut self.registers,
                &|k, first, out| fetch(x, k, first, out),
                &|k, first, out| {
                    fetch(v, k, first, out);
                },
            );
            for e in &b.batch.kernel.products {
                let (vars, values) = (&b.vars[e.a as usize * count..][..count], b.batch.product(e.term));
                for (k, &j) in vars.iter().enumerate() {
                    hv[j as usize] += b.lambda[k] * e.term.factor * values.map_or(1.0, |v| v[k]);
                }
            }
        }
    }

    /// hv <- (hess of sigma f + y'c) v, element by element.
    pub fn hessian_product(&mut self, x: &[f64], sigma: f64, y: &[f64], v: &[f64], hv: &mut [f64]) {
        self.second(x, sigma, y);
        hv.fill(0.0);
        self.products(x, v, hv);
        let s = &self.structure;
        for b in &s.elements {
            let count = b.batch.count;
            for e in &b.batch.kernel.hessian {
                let rows = &b.vars[e.a as usize * count..][..count];
                let cols = &b.vars[e.b as usize * count..][..count];
                let values = b.batch.row(SECOND, e.term);
                for k in 0..count {
                    let t = b.lambda[k] * e.term.factor * values.map_or(1.0, |v| v[k]);
                    let (i, j) = (rows[k] as usize, cols[k] as usize);
                    hv[i] += t * v[j];
                    if e.a != e.b {
                        hv[j] += t * v[i];
                    }
                }
            }
        }
        for g in &s.groups {
            let Some(e) = g.batch.kernel.hessian.first() else { continue };
            let curvature = g.batch.row(SECOND, e.term);
            for (k, w) in g.groups.iter().enumerate() {
                let row = w.row as usize;
                let outer = if row < s.m { y[row] } else { sigma };
                let factor = outer * w.inverse_scale * e.term.factor * curvature.map_or(1.0, |v| v[k]);
                let range = s.rows.start[row]..s.rows.start[row + 1];
                let (q, vars) = (&self.q[range.clone()], &s.rows.vars[range]);
                let qv = sum_by_four(q.len(), |k| q[k] * v[vars[k] as usize]);
                for (q, &j) in q.iter().zip(vars) {
                    hv[j as usize] += factor * qv * q;
                }
            }
        }
        for &(i, j, h) in &self.quadratic {
            hv[i as usize] += sigma * h * v[j as usize];
            if i != j {
                hv[j as usize] += sigma * h * v[i as usize];
            }
        }
    }
}

/// values[place] += lambda h for one entry of all elements.
fn scatter(e: &Entry, b: &ElementBatch, places: &[u32], values: &mut [f64]) {
    let factor = e.term.factor;
    match b.batch.row(SECOND, e.term) {
        Some(h) => {
            for ((&place, lambda), h) in places.iter().zip(&b.lambda).zip(h) {
                values[place as usize] += lambda * factor * h;
            }
        }
        None => {
            for (&place, lambda) in places.iter().zip(&b.lambda) {
                values[place as usize] += lambda * factor;
            }
        }
    }
}

/// sum += factor q q', lower triangle by rows.
#[inline(always)]
fn add_outer(sum: &mut [f64], factor: f64, q: &[f64]) {
    let mut rest = sum;
    for (a, qa) in q.iter().enumerate() {
        let (row, below) = rest.split_at_mut(a + 1);
        let fa = factor * qa;
        row.iter_mut().zip(&q[..=a]).for_each(|(s, qb)| *s += fa * qb);
        rest = below;
    }
}

/// The same, entries at their places in `values`.
fn add_at(values: &mut [f64], places: &[u32], factor: f64, q: &[f64]) {
    let mut places = places.iter();
    for (a, qa) in q.iter().enumerate() {
        let fa = factor * qa;
        for (qb, &place) in q[..=a].iter().zip(&mut places) {
            values[place as usize] += fa * qb;
        }
    }
}

/// `f(row, g'/s)` for every group with a type of its own.
fn for_wrapped(s: &Structure, level: usize, mut f: impl FnMut(usize, f64)) {
    for g in &s.groups {
        let entry = g.batch.kernel.gradient.first().map(|e| e.term);
        let values = entry.and_then(|t| g.batch.row(level, t));
        let factor = entry.map_or(0.0, |t| t.factor);
        for (k, w) in g.groups.iter().enumerate() {
            f(w.row as usize, factor * w.inverse_scale * values.map_or(1.0, |v| v[k]));
        }
    }
}

/// Sum of n terms: long sums in four chains, since one waits for the latency of each addition. The order depends on n only.
#[inline(always)]
fn sum_by_four(n: usize, term: impl Fn(usize) -> f64) -> f64 {
    let whole = if n < 16 { 0 } else { n & !3 };
    let mut sums = [0.0; 4];
    for k in (0..whole).step_by(4) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += term(k + lane);
        }
    }
    let mut total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for k in whole..n {
        total += term(k);
    }
    total
}

/// QUADRATIC: h x_j^2 / 2 on the diagonal, h x_i x_j off it.
fn quadratic_value((i, j, h): (u32, u32, f64), x: &[f64]) -> f64 {
    let product = h * x[i as usize] * x[j as usize];
    if i == j { 0.5 * product } else { product }
}

/// A sum with the rounding errors of its additions (Knuth's two-sum): objectives of many terms cancel, and line searches see it.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    #[inline(always)]
    fn add(&mut self, v: f64) {
        let sum = self.sum + v;
        let part = sum - self.sum;
        self.lost += (self.sum - (sum - part)) + (v - part);
        self.sum = sum;
    }
    /// By value, so that the sum stays in registers.
    #[inline(always)]
    fn with(mut self, n: usize, term: impl Fn(usize) -> f64) -> Self {
        (0..n).for_each(|k| self.add(term(k)));
        self
    }
    /// After an overflow the lost part is no number.
    fn total(self) -> f64 {
        if self.lost.is_finite() { self.sum + self.lost } else { self.sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_what_addition_loses() {
        let mut sum = Sum::default();
        [1e16, 1.0, -1e16, 1e-3].iter().for_each(|&v| sum.add(v));
        assert_eq!(sum.total(), 1.001);
        let mut sum = Sum::default();
        [1e308, 1e308, 1.0].iter().for_each(|&v| sum.add(v));
        assert_eq!(sum.total(), f64::INFINITY);
        sum.add(f64::NAN);
        assert!(sum.total().is_nan());
    }
}

//! First derivatives by differences that stay inside the bounds and find their steps.
//!
//! Variable j is moved to x + a and x + b, and with f0 = f(x)
//!
//! ```text
//!     f' = (b^2 (f_a - f0) - a^2 (f_b - f0)) / (a b (b - a)) + O(h^2)
//! ```
//!
//! a = h and b = -h, or h and 2 h away from a bound that is nearer than h. The step is h = eps^(1/3) max(1, |x|), which balances
//! truncation and rounding for a function that changes over lengths of that size. Whether it does is seen from the second
//! difference: if that is not small against f, or a value is not finite, shorter steps are tried until two derivatives agree. The
//! length found is kept until the variable has moved by ten of them.

use crate::nlp::EvalError;
use crate::nlp::coloring::Columns;

/// Balances truncation h^2 and rounding eps / h of a first difference.
pub(crate) fn first_order() -> f64 {
    f64::EPSILON.cbrt()
}

/// Second difference against the values from which a step is looked at closely.
const SUSPICIOUS: f64 = 1e-6;
/// Two derivatives agree up to this, relative to their size, or up to rounding.
const AGREE: f64 = 1e-7;
/// Rounding of the values, in units of eps.
const NOISE: f64 = 16.0;
/// Ratio of two steps; a power of 2.
const RATIO: f64 = 8.0;
/// Steps tried at most, and without gain.
const MOST_STEPS: usize = 48;
const PATIENCE: usize = 3;

/// What is known of a variable.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Where it was found.
    x: f64,
    /// Distance to the nearer bound there.
    room: f64,
    /// Length over which the functions change.
    length: f64,
}

/// Lengths of the variables of one vector function, and the bounds.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    lower: Vec<f64>,
    upper: Vec<f64>,
    known: Vec<Option<Known>>,
    work: Work,
}

#[derive(Debug, Default)]
struct Work {
    point: Vec<f64>,
    /// f0, f_a, f_b.
    values: [Vec<f64>; 3],
}

/// The search for the step of one column.
struct Search {
    column: usize,
    h: f64,
    last_h: f64,
    /// Derivatives of the column's rows at the step before, and those that agreed best with their neighbours.
    last: Vec<f64>,
    best: Vec<f64>,
    best_h: f64,
    best_gap: f64,
    tried: usize,
    since_best: usize,
}

impl Steps {
    pub fn new(lower: &[f64], upper: &[f64]) -> Self {
        Self {
            lower: lower.to_vec(),
            upper: upper.to_vec(),
            known: vec![None; lower.len()],
            work: Work::default(),
        }
    }

    /// Distance to the nearer bound.
    fn room(&self, j: usize, x: f64) -> f64 {
        (x - self.lower[j]).min(self.upper[j] - x)
    }

    fn known(&self, j: usize, x: f64) -> Option<Known> {
        self.known[j]
            .filter(|k| (x - k.x).abs() <= 10.0 * k.length && 10.0 * self.room(j, x) >= k.room.min(k.length))
    }

    /// Length over which the functions change with variable j, as far as is known.
    pub fn length(&self, j: usize, x: f64) -> f64 {
        self.known(j, x).map_or(x.abs().max(1.0), |k| k.length)
    }

    /// Two places for variable j, about h from x and inside the bounds. Equal to x if there is no room.
    pub fn places(&self, j: usize, x: f64, h: f64) -> (f64, f64) {
        let (down, up) = (x - self.lower[j], self.upper[j] - x);
        if down >= h && up >= h {
            return (x + h, x - h);
        }
        let (sign, far) = if up >= down { (1.0, up) } else { (-1.0, down) };
        let h = sign * h.min(0.5 * far);
        let inside = |p: f64| p.clamp(self.lower[j], self.upper[j]);
        (inside(x + h), inside(x + 2.0 * h))
    }

    /// Calls `out(row, column, derivative)` for every entry of `columns`: 1 evaluation, two a group, and two more for each step that has
    /// to be looked at closely. The derivative by a fixed variable, which cannot be moved, is 0.
    pub fn differentiate(
        &mut self,
        x: &[f64],
        columns: &Columns,
        len: usize,
        mut eval: impl FnMut(&[f64], &mut [f64]) -> Result<(), EvalError>,
        mut out: impl FnMut(usize, usize, f64),
    ) -> Result<(), EvalError> {
        let mut work = std::mem::take(&mut self.work);
        work.values.iter_mut().for_each(|v| v.resize(len, 0.0));
        work.point.clear();
        work.point.extend_from_slice(x);
        let result = eval(x, &mut work.values[0]);
        if result.is_ok() {
            for group in &columns.groups {
                self.group(x, group, columns, &mut work, &mut eval, &mut out);
            }
        }
        self.work = work;
        result
    }

    /// The columns of one group.
    fn group(
        &mut self,
        x: &[f64],
        group: &[usize],
        columns: &Columns,
        work: &mut Work,
        eval: &mut impl FnMut(&[f64], &mut [f64]) -> Result<(), EvalError>,
        out: &mut impl FnMut(usize, usize, f64),
    ) {
        let is_fixed = |steps: &Self, j: usize| steps.lower[j] >= steps.upper[j];
        let steps = group.iter().filter(|&&j| !is_fixed(self, j)).map(|&j| (j, self.step(j, x[j])));
        self.evaluate(x, steps, work, eval);
        let mut open = Vec::new();
        for &j in group {
            let rows = &columns.rows[j];
            if is_fixed(self, j) {
                rows.iter().for_each(|&i| out(i, j, 0.0));
                continue;
            }
            let h = self.step(j, x[j]);
            let stencil = self.stencil(j, x[j], h, work);
            let finite = stencil.a != 0.0 && rows.iter().all(|&i| stencil.derivative(i).is_finite());
            let suspicious = |i: usize| stencil.second_difference(i) > SUSPICIOUS * stencil.size(i);
            if finite && (self.known(j, x[j]).is_some() || !rows.iter().any(|&i| suspicious(i))) {
                rows.iter().for_each(|&i| out(i, j, stencil.derivative(i)));
            } else {
                open.push(Search::new(j, h, rows.iter().map(|&i| stencil.derivative(i)).collect()));
            }
        }
        while !open.is_empty() {
            open.iter_mut().for_each(|s| s.shorten(self.room(s.column, x[s.column])));
            self.evaluate(x, open.iter().map(|s| (s.column, s.h)), work, eval);
            open.retain_mut(|s| {
                let (j, rows) = (s.column, &columns.rows[s.column]);
                let stencil = self.stencil(j, x[j], s.h, work);
                if !s.ends(&stencil, rows) {
                    return true;
                }
                if s.best_gap.is_finite() {
                    let room = self.room(j, x[j]);
                    self.known[j] = Some(Known { x: x[j], room, length: s.best_h / first_order() });
                }
                rows.iter().zip(&s.best).for_each(|(&i, v)| out(i, j, *v));
                false
            });
        }
    }

    /// The functions with these variables moved by these steps, first to one place, then to the other.
    fn evaluate(
        &self,
        x: &[f64],
        steps: impl Iterator<Item = (usize, f64)> + Clone,
        work: &mut Work,
        eval: &mut impl FnMut(&[f64], &mut [f64]) -> Result<(), EvalError>,
    ) {
        for first in [true, false] {
            for (j, h) in steps.clone() {
                let (a, b) = self.places(j, x[j], h);
                work.point[j] = if first { a } else { b };
            }
            let values = &mut work.values[if first { 1 } else { 2 }];
            // Where the function fails, a shorter step may not.
            if eval(&work.point, values).is_err() {
                values.fill(f64::NAN);
            }
        }
        steps.for_each(|(j, _)| work.point[j] = x[j]);
    }

    fn stencil<'a>(&self, j: usize, x: f64, h: f64, work: &'a Work) -> Stencil<'a> {
        let (a, b) = self.places(j, x, h);
        let [f0, fa, fb] = &work.values;
        Stencil { a: a - x, b: b - x, f0, fa, fb }
    }

    fn step(&self, j: usize, x: f64) -> f64 {
        first_order() * self.length(j, x)
    }
}

/// Three values of the functions along one variable.
struct Stencil<'a> {
    a: f64,
    b: f64,
    f0: &'a [f64],
    fa: &'a [f64],
    fb: &'a [f64],
}

impl Stencil<'_> {
    fn derivative(&self, i: usize) -> f64 {
        let (a, b) = (self.a, self.b);
        if b == -a {
            return (self.fa[i] - self.fb[i]) / (a - b);
        }
        // Divided before they are multiplied: a^2 may underflow.
        let (da, db) = ((self.fa[i] - self.f0[i]) / a, (self.fb[i] - self.f0[i]) / b);
        (b * da - a * db) / (b - a)
    }
    /// Largest value.
    fn size(&self, i: usize) -> f64 {
        self.f0[i].abs().max(self.fa[i].abs()).max(self.fb[i].abs())
    }
    /// About h^2 f''.
    fn second_difference(&self, i: usize) -> f64 {
        let (a, b) = (self.a, self.b);
        let (da, db) = ((self.fa[i] - self.f0[i]) / a, (self.fb[i] - self.f0[i]) / b);
        ((da - db) * a).abs()
    }
}

impl Search {
    /// From the derivatives at the usual step.
    fn new(column: usize, h: f64, derivatives: Vec<f64>) -> Self {
        Self {
            column,
            h,
            last_h: h,
            best: derivatives.clone(),
            last: derivatives,
            best_h: h,
            best_gap: f64::INFINITY,
            tried: 1,
            since_best: 0,
        }
    }

    /// Takes the values at a step; true: no other one will be better.
    fn ends(&mut self, s: &Stencil<'_>, rows: &[usize]) -> bool {
        let now: Vec<f64> = rows.iter().map(|&i| s.derivative(i)).collect();
        self.tried += 1;
        let (mut gap, mut only_noise) = (0.0f64, true);
        for ((&i, new), old) in rows.iter().zip(&now).zip(&self.last) {
            let noise = NOISE * f64::EPSILON * s.size(i) / s.a.abs();
            let difference = (new - old).abs();
            only_noise &= difference <= noise;
            if !difference.is_finite() {
                gap = f64::INFINITY;
            } else if difference > 0.0 {
                gap = gap.max(difference / (noise + AGREE * new.abs()));
            }
        }
        if gap < self.best_gap || !self.best_gap.is_finite() {
            self.best_gap = gap;
            // Of two that differ by rounding only, the longer step has less of it.
            self.best_h = if only_noise { self.last_h } else { self.h };
            self.best.clone_from(if only_noise { &self.last } else { &now });
            self.since_best = 0;
        } else {
            self.since_best += 1;
        }
        self.last = now;
        let found = self.best_gap.is_finite();
        gap <= 1.0 || s.a == 0.0 || self.tried >= MOST_STEPS || (found && self.since_best >= PATIENCE)
    }

    /// The next step; beside a bound, where functions may be singular, one that belongs to the distance from it.
    fn shorten(&mut self, room: f64) {
        let jump = self.tried == 2 && room > 0.0 && room < self.h;
        self.last_h = self.h;
        self.h = if jump { (0.1 * room).min(self.h / RATIO) } else { self.h / RATIO };
    }
}

//! A problem made of closures, ready to be solved.

use super::closure::{Problem, Source};
use super::coloring::Columns;
use super::steps::{Steps, first_order};
use crate::diff::detect::{EVALUATIONS, detect};
use crate::error::Error;
use crate::linalg::{axpy, dot};
use crate::nlp::expressed::delegate_nlp;
use crate::nlp::{EvalError, Nlp, NlpMeta, Pattern};

/// Functions that a built problem may have.
pub(super) trait Functions: Nlp + Send {
    /// Starts may be changed.
    fn meta_mut(&mut self) -> &mut NlpMeta;
}

/// A problem made of closures, ready to be solved; it may go to another thread.
pub struct ClosureProblem<'a> {
    pub(super) functions: Box<dyn Functions + 'a>,
}

impl ClosureProblem<'_> {
    /// Changes where a solve begins, n numbers; lengths are checked when it does.
    pub fn set_start(&mut self, x0: &[f64]) {
        self.functions.meta_mut().x0 = x0.to_vec();
    }
    /// Changes the multipliers with which a solve begins, m numbers.
    pub fn set_start_multipliers(&mut self, y0: &[f64]) {
        self.functions.meta_mut().y0 = y0.to_vec();
    }
}

delegate_nlp!(ClosureProblem<'_>, functions);

/// Closures for f, c and their derivatives.
pub(super) struct Closures<'a> {
    pub(super) parts: Problem<'a>,
    /// The closure writes n x n, the pattern is the lower triangle.
    pub(super) dense_hessian: bool,
    pub(super) square: Vec<f64>,
    pub(super) jacobian_values: Vec<f64>,
    pub(super) point: Vec<f64>,
    pub(super) values: Vec<f64>,
    pub(super) minus: Vec<f64>,
    pub(super) transposed: Vec<f64>,
    pub(super) gradient_columns: Columns,
    pub(super) gradient_steps: Steps,
    pub(super) jacobian_columns: Columns,
    pub(super) jacobian_places: Places,
    pub(super) jacobian_steps: Steps,
    pub(super) hessian_columns: Columns,
    pub(super) hessian_places: Places,
    /// Steps of gradients of the Lagrangian.
    pub(super) hessian_steps: Steps,
}

/// Balances truncation h^2 and rounding eps / h^2 of a second difference.
fn second_order() -> f64 {
    f64::EPSILON.sqrt().sqrt()
}

/// Where a pattern has its entries; of those with the same place the first.
#[derive(Debug, Default)]
pub(super) struct Places {
    sorted: Vec<(usize, usize, usize)>,
}

impl Places {
    pub fn new(pattern: &Pattern) -> Self {
        let mut sorted: Vec<_> = pattern.entries().enumerate().map(|(k, (i, j))| (j, i, k)).collect();
        sorted.sort_unstable();
        Self { sorted }
    }
    fn find(&self, row: usize, col: usize) -> Option<usize> {
        let k = self.sorted.partition_point(|&(j, i, _)| (j, i) < (col, row));
        self.sorted.get(k).filter(|&&(j, i, _)| (j, i) == (col, row)).map(|e| e.2)
    }
}

/// The second derivative of f by variables i and j, each of which can be moved to two places; 0 if one of them is fixed.
fn second_difference(
    point: &mut [f64],
    (i, (up, down)): (usize, (f64, f64)),
    (j, (right, left)): (usize, (f64, f64)),
    center: f64,
    mut f: impl FnMut(&[f64]) -> Result<f64, EvalError>,
) -> Result<f64, EvalError> {
    if up == down || right == left {
        return Ok(0.0);
    }
    let (xi, xj) = (point[i], point[j]);
    let mut at = |a: f64, b: f64| {
        (point[i], point[j]) = (a, b);
        let value = f(point);
        (point[i], point[j]) = (xi, xj);
        value
    };
    if i != j {
        let sum = at(up, right)? - at(up, left)? - at(down, right)? + at(down, left)?;
        return Ok(sum / ((up - down) * (right - left)));
    }
    // Twice the second divided difference over x, up and down.
    let (a, b) = (up - xi, down - xi);
    let (above, below) = (at(up, up)? - center, at(down, down)? - center);
    Ok(2.0 * (above / a - below / b) / (a - b))
}

impl Closures<'_> {
    /// J'w added to out, from values or products.
    fn add_jacobian_transposed(&mut self, x: &[f64], w: &[f64], out: &mut [f64]) -> Result<(), EvalError> {
        if let Some((_, jtw)) = &mut self.parts.jacobian_products {
            self.transposed.fill(0.0);
            jtw(x, w, &mut self.transposed);
            axpy(1.0, &self.transposed, out);
            return Ok(());
        }
        let mut values = std::mem::take(&mut self.jacobian_values);
        let result = self.jac_values(x, &mut values);
        if let Some(p) = &self.parts.meta.jacobian {
            for ((&i, &j), v) in p.rows.iter().zip(&p.cols).zip(&values) {
                out[j] += v * w[i];
            }
        }
        self.jacobian_values = values;
        result
    }

    /// out <- sigma grad f + J'y.
    fn lagrangian_gradient(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        out: &mut [f64],
    ) -> Result<(), EvalError> {
        self.grad(x, out)?;
        out.iter_mut().for_each(|v| *v *= sigma);
        if y.is_empty() { Ok(()) } else { self.add_jacobian_transposed(x, y, out) }
    }

    /// The pattern of the Hessian, by NaN in the gradient of the Lagrangian.
    pub fn detected_hessian(&mut self) -> Result<Pattern, Error> {
        let (x, name) = (self.parts.meta.x0.clone(), self.parts.meta.name.clone());
        // Multipliers without a pattern of their own.
        let y: Vec<f64> = (0..self.parts.meta.m()).map(|i| 1.0 + ((i * 7919) % 101) as f64 / 211.0).collect();
        let mut gradient = |x: &[f64], g: &mut [f64]| {
            if self.lagrangian_gradient(x, 1.0, &y, g).is_err() {
                g.fill(f64::NAN);
            }
        };
        let found = detect(&mut gradient, &x, x.len(), EVALUATIONS)
            .map_err(|e| Error::Problem { name, what: e.to_string() })?;
        let mut lower: Vec<_> = found.pattern.entries().map(|(i, j)| (i.min(j), i.max(j))).collect();
        lower.sort_unstable();
        lower.dedup();
        let (cols, rows) = lower.into_iter().unzip();
        Ok(Pattern { rows, cols })
    }

    /// sigma f + y'c.
    fn lagrangian(&mut self, x: &[f64], sigma: f64, y: &[f64]) -> Result<f64, EvalError> {
        let mut c = std::mem::take(&mut self.values);
        let result = self.cons(x, &mut c);
        let yc = dot(y, &c);
        self.values = c;
        result?;
        Ok(sigma * self.obj(x)? + yc)
    }

    /// Lower triangle from differences of gradients: h_ij is the mean of both ways to compute it.
    fn hessian_of_gradients(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        values: &mut [f64],
    ) -> Result<(), EvalError> {
        values.fill(0.0);
        let columns = std::mem::take(&mut self.hessian_columns);
        let mut steps = std::mem::take(&mut self.hessian_steps);
        let places = std::mem::take(&mut self.hessian_places);
        let meta = &self.parts.meta;
        let fixed: Vec<bool> = meta.x_lower.iter().zip(&meta.x_upper).map(|(l, u)| l >= u).collect();
        let result = steps.differentiate(
            x,
            &columns,
            x.len(),
            |x, g| self.lagrangian_gradient(x, sigma, y, g),
            |i, j, derivative| {
                if let Some(k) = places.find(i.max(j), i.min(j)) {
                    // The column of a fixed variable is 0.
                    let both = i != j && !fixed[i] && !fixed[j];
                    values[k] += if both { 0.5 } else { 1.0 } * derivative;
                }
            },
        );
        self.hessian_columns = columns;
        self.hessian_places = places;
        self.hessian_steps = steps;
        result
    }

    /// Entries of the pattern from second differences of the Lagrangian.
    fn hessian_of_values(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        values: &mut [f64],
    ) -> Result<(), EvalError> {
        values.fill(0.0);
        let center = self.lagrangian(x, sigma, y)?;
        let places = std::mem::take(&mut self.hessian_places);
        let mut point = std::mem::take(&mut self.point);
        point.copy_from_slice(x);
        let ends: Vec<(f64, f64)> = (0..x.len()).map(|j| self.second_places(j, x[j])).collect();
        let mut result = Ok(());
        let mut last = None;
        for &(j, i, k) in &places.sorted {
            if last.replace((j, i)) == Some((j, i)) {
                continue;
            }
            let lagrangian = |x: &[f64]| self.lagrangian(x, sigma, y);
            match second_difference(&mut point, (i, ends[i]), (j, ends[j]), center, lagrangian) {
                Ok(value) => values[k] = value,
                Err(e) => {
                    result = Err(e);
                    break;
                }
            }
        }
        self.point = point;
        self.hessian_places = places;
        result
    }

    /// Two places for a second difference by variable j.
    fn second_places(&self, j: usize, x: f64) -> (f64, f64) {
        let length = self.gradient_steps.length(j, x).min(self.jacobian_steps.length(j, x));
        self.gradient_steps.places(j, x, second_order() * length)
    }

    /// hv <- (grad L(x + t v) - grad L(x - t v)) / 2t, with two points on one side where a bound is in the way.
    fn product_of_gradients(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        v: &[f64],
        hv: &mut [f64],
    ) -> Result<(), EvalError> {
        let size = v.iter().zip(x).fold(0.0_f64, |s, (v, x)| s.max(v.abs() / x.abs().max(1.0)));
        if size == 0.0 {
            hv.fill(0.0);
            return Ok(());
        }
        let t = first_order() / size;
        let (ahead, behind) = (self.way(x, v, 1.0), self.way(x, v, -1.0));
        let (a, b) = if ahead >= t && behind >= t {
            (t, -t)
        } else {
            let far = if ahead >= behind { ahead } else { -behind };
            let a = far.signum() * t.min(0.5 * far.abs());
            (a, 2.0 * a)
        };
        let (mut point, mut second) = (std::mem::take(&mut self.point), std::mem::take(&mut self.minus));
        let meta = &self.parts.meta;
        let (lower, upper) = (meta.x_lower.clone(), meta.x_upper.clone());
        let shift = |point: &mut [f64], t: f64| {
            for (j, p) in point.iter_mut().enumerate() {
                *p = (x[j] + t * v[j]).clamp(lower[j].min(x[j]), upper[j].max(x[j]));
            }
        };
        let mut run = || {
            shift(&mut point, a);
            self.lagrangian_gradient(&point, sigma, y, hv)?;
            shift(&mut point, b);
            self.lagrangian_gradient(&point, sigma, y, &mut second)?;
            if b == -a {
                hv.iter_mut().zip(&second).for_each(|(p, q)| *p = (*p - q) / (a - b));
                return Ok(());
            }
            // On one side: b = 2 a, (4 g(a) - g(2 a) - 3 g(0)) / (2 a).
            hv.iter_mut().zip(&second).for_each(|(p, q)| *p = (4.0 * *p - q) / (2.0 * a));
            self.lagrangian_gradient(x, sigma, y, &mut second)?;
            hv.iter_mut().zip(&second).for_each(|(p, q)| *p -= 3.0 * q / (2.0 * a));
            Ok(())
        };
        let result = run();
        self.point = point;
        self.minus = second;
        result
    }

    /// How far x + t v stays inside the bounds.
    fn way(&self, x: &[f64], v: &[f64], sign: f64) -> f64 {
        let meta = &self.parts.meta;
        let mut most = f64::INFINITY;
        for j in 0..x.len() {
            let v = sign * v[j];
            if v != 0.0 {
                let room = if v > 0.0 { meta.x_upper[j] - x[j] } else { x[j] - meta.x_lower[j] };
                most = most.min(room.max(0.0) / v.abs());
            }
        }
        most
    }
}

impl Functions for Closures<'_> {
    fn meta_mut(&mut self) -> &mut NlpMeta {
        &mut self.parts.meta
    }
}

impl Nlp for Closures<'_> {
    fn meta(&self) -> &NlpMeta {
        &self.parts.meta
    }

    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(self.parts.objective.as_mut().map_or(0.0, |f| f(x)))
    }

    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        g.fill(0.0);
        match (&mut self.parts.gradient, &mut self.parts.objective) {
            (Some(Source::Given(gradient)), _) => gradient(x, g),
            (Some(Source::Differences), Some(f)) => {
                let value = |x: &[f64], out: &mut [f64]| {
                    out[0] = f(x);
                    Ok(())
                };
                let steps = &mut self.gradient_steps;
                steps.differentiate(x, &self.gradient_columns, 1, value, |_, j, d| g[j] = d)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        c.fill(0.0);
        if let Some(constraints) = &mut self.parts.constraints {
            constraints(x, c);
        }
        Ok(())
    }

    fn jac_prod(&mut self, x: &[f64], v: &[f64], jv: &mut [f64]) -> Result<(), EvalError> {
        let (product, _) = self
            .parts
            .jacobian_products
            .as_mut()
            .ok_or(EvalError::NotProvided { function: "Jacobian product" })?;
        jv.fill(0.0);
        product(x, v, jv);
        Ok(())
    }

    fn jac_t_prod(&mut self, x: &[f64], w: &[f64], jtw: &mut [f64]) -> Result<(), EvalError> {
        let (_, product) = self
            .parts
            .jacobian_products
            .as_mut()
            .ok_or(EvalError::NotProvided { function: "transposed Jacobian product" })?;
        jtw.fill(0.0);
        product(x, w, jtw);
        Ok(())
    }

    fn hess_prod(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        v: &[f64],
        hv: &mut [f64],
    ) -> Result<(), EvalError> {
        match &mut self.parts.hessian_product {
            Some(Source::Given(product)) => {
                hv.fill(0.0);
                product(x, sigma, y, v, hv);
                Ok(())
            }
            Some(Source::Differences) => self.product_of_gradients(x, sigma, y, v, hv),
            None => Err(EvalError::NotProvided { function: "Hessian product" }),
        }
    }

    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        values.fill(0.0);
        match (&mut self.parts.jacobian, &mut self.parts.constraints) {
            (Some(Source::Given(jacobian)), _) => jacobian(x, values),
            (Some(Source::Differences), Some(c)) => {
                let places = &self.jacobian_places;
                let all = |x: &[f64], out: &mut [f64]| {
                    out.fill(0.0);
                    c(x, out);
                    Ok(())
                };
                let steps = &mut self.jacobian_steps;
                steps.differentiate(x, &self.jacobian_columns, self.parts.meta.m(), all, |i, j, d| {
                    if let Some(k) = places.find(i, j) {
                        values[k] = d;
                    }
                })?;
            }
            _ => return Err(EvalError::NotProvided { function: "Jacobian" }),
        }
        Ok(())
    }

    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        match &mut self.parts.hessian {
            Some(Source::Given(hessian)) if self.dense_hessian => {
                let n = x.len();
                self.square.fill(0.0);
                hessian(x, sigma, y, &mut self.square);
                for i in 0..n {
                    let first = i * (i + 1) / 2;
                    values[first..=first + i].copy_from_slice(&self.square[i * n..=i * n + i]);
                }
                Ok(())
            }
            Some(Source::Given(hessian)) => {
                values.fill(0.0);
                hessian(x, sigma, y, values);
                Ok(())
            }
            Some(Source::Differences) => {
                let differences = matches!(self.parts.gradient, Some(Source::Differences))
                    || (matches!(self.parts.jacobian, Some(Source::Differences))
                        && self.parts.jacobian_products.is_none());
                if differences {
                    self.hessian_of_values(x, sigma, y, values)
                } else {
                    self.hessian_of_gradients(x, sigma, y, values)
                }
            }
            None => Err(EvalError::NotProvided { function: "Hessian" }),
        }
    }
}

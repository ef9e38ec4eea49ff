//! The current point, the trial point and the best one, each with everything of first order that belongs to it.

use super::problem::{At, BadEvaluation, Bounds, Evaluator, Form, Scaled};
use crate::linalg::{dot, norm_inf, norm1};

/// A primal-dual point, scaled.
#[derive(Debug, Clone, Default)]
pub(super) struct Point {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub f: f64,
    pub c: Vec<f64>,
    /// grad f.
    pub grad: Vec<f64>,
    /// g = grad f + J'y - zl + zu.
    pub lag_grad: Vec<f64>,
    /// Multipliers of the lower bounds, >= 0, length n; empty without bounds.
    pub zl: Vec<f64>,
    /// Multipliers of the upper bounds, >= 0, length n; empty without bounds.
    pub zu: Vec<f64>,
    /// Entries of J at x, where there are any; empty at the best point.
    pub jacobian: Vec<f64>,
}

impl Point {
    pub fn new(form: &Form) -> Self {
        let zeros = |k: usize| vec![0.0; k];
        let nz = if form.bounds.count() > 0 { form.n } else { 0 };
        Self {
            x: zeros(form.n),
            y: zeros(form.m),
            f: f64::NAN,
            c: zeros(form.m),
            grad: zeros(form.n),
            lag_grad: zeros(form.n),
            zl: zeros(nz),
            zu: zeros(nz),
            jacobian: zeros(form.jacobian_len()),
        }
    }

    /// All but J.
    pub fn copy_from(&mut self, other: &Self) {
        self.x.copy_from_slice(&other.x);
        self.y.copy_from_slice(&other.y);
        self.f = other.f;
        self.c.copy_from_slice(&other.c);
        self.grad.copy_from_slice(&other.grad);
        self.lag_grad.copy_from_slice(&other.lag_grad);
        self.zl.copy_from_slice(&other.zl);
        self.zu.copy_from_slice(&other.zu);
    }

    pub fn at(&self) -> At<'_> {
        At { x: &self.x, jacobian: &self.jacobian }
    }

    /// What the way back to the user's problem needs.
    pub fn scaled(&self) -> Scaled<'_> {
        Scaled { x: &self.x, y: &self.y, zl: &self.zl, zu: &self.zu, c: &self.c, lag_grad: &self.lag_grad }
    }

    /// |b|^2 = |g|^2 + |c|^2.
    pub fn residual_squared(&self) -> f64 {
        dot(&self.lag_grad, &self.lag_grad) + dot(&self.c, &self.c)
    }

    /// f and c at x.
    pub fn functions(&mut self, p: &mut Evaluator<'_>) -> Result<(), BadEvaluation> {
        self.f = p.functions(&self.x, &mut self.c)?;
        Ok(())
    }

    /// grad f, J and g at x.
    pub fn derivatives(&mut self, p: &mut Evaluator<'_>) -> Result<(), BadEvaluation> {
        p.derivatives(&self.x, &mut self.grad, &mut self.jacobian)?;
        self.update_lagrangian_gradient(p)
    }

    /// f, c, grad f, J and g at x.
    pub fn evaluate(&mut self, p: &mut Evaluator<'_>) -> Result<(), BadEvaluation> {
        self.functions(p)?;
        self.derivatives(p)
    }

    /// g <- grad f + J'y - zl + zu.
    pub fn update_lagrangian_gradient(&mut self, p: &mut Evaluator<'_>) -> Result<(), BadEvaluation> {
        let at = At { x: &self.x, jacobian: &self.jacobian };
        p.jac_t_mul(at, &self.y, &mut self.lag_grad)?;
        for (g, gf) in self.lag_grad.iter_mut().zip(&self.grad) {
            *g += gf;
        }
        p.form.bounds.add_multipliers(&self.zl, &self.zu, &mut self.lag_grad);
        Ok(())
    }
}

/// Residuals of a point of the standard problem.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Residuals {
    /// |c|, unscaled.
    pub primal: f64,
    /// |grad f + J'y - zl + zu|, unscaled.
    pub dual: f64,
    /// max |z_j d_j - mu|, d the distances to the bounds, unscaled.
    pub complementarity: f64,
    /// max(|g~| / s_d, |c~|, |z~ d| / s_c), s_d = max(100, mean of |y~|, z~) / 100, s_c = max(100, mean of z~) / 100
    /// (Waechter and Biegler 2006, (5)-(6)).
    pub scaled: f64,
    /// |c~|.
    pub scaled_primal: f64,
    /// |grad f|, unscaled.
    pub gradient: f64,
}

impl Residuals {
    /// Of the barrier problem with parameter mu; mu = 0: of the problem itself.
    pub fn of(form: &Form, p: &Point, mu: f64) -> Self {
        let (bounds, scale) = (&form.bounds, &form.scale);
        let primal = p.c.iter().zip(&scale.constraints).fold(0.0f64, |a, (c, s)| a.max((c / s).abs()));
        let dual = norm_inf(&p.lag_grad);
        let (nb, mut mean, mut mean_z, mut complementarity) = (bounds.count(), norm1(&p.y), 0.0, 0.0);
        if nb > 0 {
            let size = bounds.multiplier_norm(&p.zl, &p.zu);
            mean += size;
            mean_z = size / nb as f64;
            complementarity = bounds.complementarity(&p.x, &p.zl, &p.zu, mu);
        }
        mean /= (form.m + nb).max(1) as f64;
        let scaled_primal = norm_inf(&p.c);
        let scaled_dual = dual * 100.0 / mean.max(100.0);
        Self {
            primal,
            dual: dual / scale.objective,
            complementarity: complementarity / scale.objective,
            scaled: scaled_primal.max(scaled_dual).max(complementarity * 100.0 / mean_z.max(100.0)),
            scaled_primal,
            gradient: norm_inf(&p.grad) / scale.objective,
        }
    }
}

/// The points of a solve.
#[derive(Debug)]
pub(super) struct Iterate {
    pub current: Point,
    pub trial: Point,
    /// The best point so far, without J; not known while its residual is NaN.
    pub best: Point,
    pub best_residuals: Residuals,
    /// The best point passed the test of a solution.
    pub best_solved: bool,
}

impl Iterate {
    pub fn new(form: &Form) -> Self {
        let current = Point::new(form);
        let best = Point { jacobian: Vec::new(), ..current.clone() };
        Self {
            trial: current.clone(),
            current,
            best,
            best_residuals: Residuals { scaled: f64::NAN, ..Residuals::default() },
            best_solved: false,
        }
    }

    /// Another solve begins: nothing is known.
    pub fn renew(&mut self) {
        self.current.zl.fill(0.0);
        self.current.zu.fill(0.0);
        self.current.f = f64::NAN;
        self.best_residuals = Residuals { scaled: f64::NAN, ..Residuals::default() };
        self.best_solved = false;
    }

    /// trial <- current + alpha step, y at most by a full step, z kept, rounding kept within the bounds.
    pub fn place(&mut self, bounds: &Bounds, step: &[f64], alpha: f64) {
        let (dx, dy) = step.split_at(self.current.x.len());
        self.place_x(bounds, dx, alpha);
        let Self { current, trial, .. } = self;
        for (t, (y, d)) in trial.y.iter_mut().zip(current.y.iter().zip(dy)) {
            *t = y + alpha.min(1.0) * d;
        }
        trial.zl.copy_from_slice(&current.zl);
        trial.zu.copy_from_slice(&current.zu);
    }

    /// trial x <- x + alpha dx.
    pub fn place_x(&mut self, bounds: &Bounds, dx: &[f64], alpha: f64) {
        let Self { current, trial, .. } = self;
        for (t, (x, d)) in trial.x.iter_mut().zip(current.x.iter().zip(dx)) {
            *t = x + alpha * d;
        }
        bounds.clamp(&mut trial.x);
    }

    /// The trial point becomes the current one.
    pub fn accept(&mut self) {
        std::mem::swap(&mut self.current, &mut self.trial);
    }

    /// The objective's scale has grown by `ratio`: so have f, its gradient and all multipliers. The best point is not known any more.
    pub fn rescale(&mut self, ratio: f64) {
        let p = &mut self.current;
        p.f *= ratio;
        for v in [&mut p.grad, &mut p.lag_grad, &mut p.y, &mut p.zl, &mut p.zu] {
            v.iter_mut().for_each(|v| *v *= ratio);
        }
        self.best_residuals = Residuals { scaled: f64::NAN, ..Residuals::default() };
        self.best_solved = false;
    }

    /// Keeps `current` if it is the best point so far: a solved point beats any other (huge multipliers can make the scaled
    /// residual of an unsolved one smaller); then the smallest residual or, without constraints, the lowest objective.
    pub fn keep_best(&mut self, r: &Residuals, solved: bool) {
        let best = &self.best_residuals;
        let better = if best.scaled.is_nan() || solved != self.best_solved {
            best.scaled.is_nan() || solved
        } else if !self.current.c.is_empty() || solved {
            r.scaled < best.scaled
        } else {
            self.current.f < self.best.f
        };
        if better {
            self.best.copy_from(&self.current);
            (self.best_residuals, self.best_solved) = (*r, solved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nlp::NlpMeta;

    #[test]
    fn a_solved_point_is_never_given_up_for_a_smaller_scaled_residual() {
        let form = Form::new(&NlpMeta::equality("test", 1, 1), 0.0);
        let mut at = Iterate::new(&form);
        // Large multipliers: the scaled residual is tiny, the gradient of the Lagrangian is not.
        let residuals = |scaled: f64| Residuals { scaled, ..Residuals::default() };
        for (x, scaled, solved) in [(1.0, 1e-11, false), (2.0, 5e-9, true), (3.0, 1e-11, false)] {
            at.current.x[0] = x;
            at.keep_best(&residuals(scaled), solved);
        }
        assert_eq!((at.best.x[0], at.best_residuals.scaled), (2.0, 5e-9));
    }

    #[test]
    fn multipliers_move_by_a_full_step_at_most_and_x_stays_within_its_bounds() {
        let mut meta = NlpMeta::equality("test", 1, 1);
        meta.x_upper[0] = 1.5;
        let form = Form::new(&meta, 0.0);
        let mut at = Iterate::new(&form);
        at.place(&form.bounds, &[1.0, 1.0], 2.0);
        assert_eq!((at.trial.x[0], at.trial.y[0]), (1.5, 1.0));
    }
}

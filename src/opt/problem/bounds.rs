//! Bounds l <= x <= u and their logarithmic barrier
//!
//! ```text
//!     B(x) = -mu sum ln(x_j - l_j) - mu sum ln(u_j - x_j) + kappa mu (sum of the distances to one-sided bounds)
//! ```
//!
//! (Waechter and Biegler 2006, sections 2 and 3.7: the last term keeps a set of minimizers bounded).

use crate::nlp::INFINITE_BOUND;

/// kappa of the linear damping term.
const DAMPING: f64 = 1e-5;
/// A multiplier stays within this factor of mu / distance.
const MULTIPLIER_SPREAD: f64 = 1e10;

/// The finite bounds of the variables.
#[derive(Debug, Clone, Default)]
pub(in crate::opt) struct Bounds {
    pub lower: Vec<f64>,
    pub upper: Vec<f64>,
    /// Variables with a finite lower bound.
    pub with_lower: Vec<usize>,
    /// Variables with a finite upper bound.
    pub with_upper: Vec<usize>,
    /// Variables with exactly one finite bound: the sign of the derivative of the distance.
    one_sided: Vec<(usize, f64)>,
}

/// Stiffness of a bound that is met exactly must stay a number.
const LARGEST_STIFFNESS: f64 = 1e300;

/// Distance of x to the bound b, not below the resolution of x.
fn distance(gap: f64, bound: f64) -> f64 {
    gap.max(0.5 * f64::EPSILON * bound.abs()).max(1e-300)
}

impl Bounds {
    /// The lists of what is finite, from `lower` and `upper`.
    pub fn find_finite(&mut self) {
        let Self { lower, upper, with_lower, with_upper, one_sided } = self;
        with_lower.clear();
        with_upper.clear();
        one_sided.clear();
        for (j, (l, u)) in lower.iter().zip(&*upper).enumerate() {
            let (has_lower, has_upper) = (*l > -INFINITE_BOUND, *u < INFINITE_BOUND);
            if has_lower {
                with_lower.push(j);
            }
            if has_upper {
                with_upper.push(j);
            }
            if has_lower != has_upper {
                one_sided.push((j, if has_lower { 1.0 } else { -1.0 }));
            }
        }
    }

    /// Variables with one finite bound, and 1 where that is the lower one, -1 else.
    pub fn one_sided(&self) -> &[(usize, f64)] {
        &self.one_sided
    }

    /// Number of finite bounds.
    pub fn count(&self) -> usize {
        self.with_lower.len() + self.with_upper.len()
    }

    pub fn below(&self, x: &[f64], j: usize) -> f64 {
        distance(x[j] - self.lower[j], self.lower[j])
    }

    pub fn above(&self, x: &[f64], j: usize) -> f64 {
        distance(self.upper[j] - x[j], self.upper[j])
    }

    /// Moves x at least `absolute` max(1, |bound|), and between two bounds at most `relative` (u - l), away from each bound.
    pub fn push_inside(&self, x: &mut [f64], absolute: f64, relative: f64) {
        let margin = |j: usize, b: f64| {
            let room = self.upper[j] - self.lower[j];
            let wanted = absolute * b.abs().max(1.0);
            if self.lower[j] > -INFINITE_BOUND && self.upper[j] < INFINITE_BOUND {
                wanted.min(relative * room)
            } else {
                wanted
            }
        };
        for &j in &self.with_lower {
            x[j] = x[j].max(self.lower[j] + margin(j, self.lower[j]));
        }
        for &j in &self.with_upper {
            x[j] = x[j].min(self.upper[j] - margin(j, self.upper[j]));
        }
    }

    /// Rounding must not carry x out of its bounds.
    pub fn clamp(&self, x: &mut [f64]) {
        for &j in &self.with_lower {
            x[j] = x[j].max(self.lower[j]);
        }
        for &j in &self.with_upper {
            x[j] = x[j].min(self.upper[j]);
        }
    }

    /// Moves the first `most` variables onto the bounds whose multipliers are larger than the distance, where that is at most `nearby`
    /// max(1, |bound|); false: none.
    pub fn settle(&self, x: &mut [f64], zl: &[f64], zu: &[f64], (most, nearby): (usize, f64)) -> bool {
        let mut moved = false;
        let mut settle = |j: usize, bound: f64, z: f64| {
            let distance = (x[j] - bound).abs();
            if j < most && distance > 0.0 && distance < z && distance <= nearby * bound.abs().max(1.0) {
                x[j] = bound;
                moved = true;
            }
        };
        self.with_lower.iter().for_each(|&j| settle(j, self.lower[j], zl[j]));
        self.with_upper.iter().for_each(|&j| settle(j, self.upper[j], zu[j]));
        moved
    }

    /// B(x).
    pub fn barrier(&self, x: &[f64], mu: f64) -> f64 {
        let mut logs = 0.0;
        for &j in &self.with_lower {
            logs += self.below(x, j).ln();
        }
        for &j in &self.with_upper {
            logs += self.above(x, j).ln();
        }
        let linear: f64 = self
            .one_sided
            .iter()
            .map(|&(j, sign)| if sign > 0.0 { x[j] - self.lower[j] } else { self.upper[j] - x[j] })
            .sum();
        mu * (DAMPING * linear - logs)
    }

    /// g <- g + grad B(x).
    pub fn add_barrier_gradient(&self, x: &[f64], mu: f64, g: &mut [f64]) {
        for &j in &self.with_lower {
            g[j] -= mu / self.below(x, j);
        }
        for &j in &self.with_upper {
            g[j] += mu / self.above(x, j);
        }
        for &(j, sign) in &self.one_sided {
            g[j] += DAMPING * mu * sign;
        }
    }

    /// S = zl / (x - l) + zu / (u - x).
    pub fn primal_dual_hessian(&self, x: &[f64], zl: &[f64], zu: &[f64], s: &mut [f64]) {
        s.fill(0.0);
        for &j in &self.with_lower {
            s[j] += (zl[j] / self.below(x, j)).min(LARGEST_STIFFNESS);
        }
        for &j in &self.with_upper {
            s[j] += (zu[j] / self.above(x, j)).min(LARGEST_STIFFNESS);
        }
    }

    /// Largest alpha <= 1 with x + alpha dx at least (1 - tau) of its present distance inside.
    pub fn primal_step(&self, x: &[f64], dx: &[f64], tau: f64) -> f64 {
        self.longest_step(x, dx, tau, 1.0)
    }

    /// The same with alpha <= `most`.
    pub fn longest_step(&self, x: &[f64], dx: &[f64], tau: f64, most: f64) -> f64 {
        let mut alpha = most;
        for &j in &self.with_lower {
            if dx[j] < 0.0 {
                alpha = alpha.min(tau * self.below(x, j) / -dx[j]);
            }
        }
        for &j in &self.with_upper {
            if dx[j] > 0.0 {
                alpha = alpha.min(tau * self.above(x, j) / dx[j]);
            }
        }
        alpha
    }

    /// Newton step of the multipliers: dzl = mu/(x - l) - zl - zl/(x - l) dx, dzu = mu/(u - x) - zu + zu/(u - x) dx.
    pub fn multiplier_step(
        &self,
        x: &[f64],
        z: (&[f64], &[f64]),
        mu: f64,
        dx: &[f64],
        dz: (&mut [f64], &mut [f64]),
    ) {
        for &j in &self.with_lower {
            let d = self.below(x, j);
            dz.0[j] = mu / d - z.0[j] - z.0[j] / d * dx[j];
        }
        for &j in &self.with_upper {
            let d = self.above(x, j);
            dz.1[j] = mu / d - z.1[j] + z.1[j] / d * dx[j];
        }
    }

    /// Keeps z within a large factor of mu / distance, so that the primal-dual Hessian stays near the primal one
    /// (Waechter and Biegler 2006, (16)).
    pub fn limit_multipliers(&self, x: &[f64], mu: f64, zl: &mut [f64], zu: &mut [f64]) {
        for &j in &self.with_lower {
            let centre = mu / self.below(x, j);
            zl[j] = zl[j].clamp(centre / MULTIPLIER_SPREAD, centre * MULTIPLIER_SPREAD);
        }
        for &j in &self.with_upper {
            let centre = mu / self.above(x, j);
            zu[j] = zu[j].clamp(centre / MULTIPLIER_SPREAD, centre * MULTIPLIER_SPREAD);
        }
    }

    /// zl and zu of z = zu - zl, times `scale`; where there is no bound they are 0.
    pub fn split_multipliers(&self, z: &[f64], scale: f64, zl: &mut [f64], zu: &mut [f64]) {
        zl.fill(0.0);
        zu.fill(0.0);
        for &j in &self.with_lower {
            zl[j] = (-z[j] * scale).max(0.0);
        }
        for &j in &self.with_upper {
            zu[j] = (z[j] * scale).max(0.0);
        }
    }

    /// z <- mu / distance, at most `largest`.
    pub fn centre_multipliers(&self, x: &[f64], mu: f64, largest: f64, zl: &mut [f64], zu: &mut [f64]) {
        for &j in &self.with_lower {
            zl[j] = (mu / self.below(x, j)).min(largest);
        }
        for &j in &self.with_upper {
            zu[j] = (mu / self.above(x, j)).min(largest);
        }
    }

    /// z <- max(z, mu / max(distance, 1)).
    pub fn raise_multipliers(&self, x: &[f64], mu: f64, zl: &mut [f64], zu: &mut [f64]) {
        for &j in &self.with_lower {
            zl[j] = zl[j].max(mu / self.below(x, j).max(1.0));
        }
        for &j in &self.with_upper {
            zu[j] = zu[j].max(mu / self.above(x, j).max(1.0));
        }
    }

    /// max |z_j d_j - mu| over all bounds.
    pub fn complementarity(&self, x: &[f64], zl: &[f64], zu: &[f64], mu: f64) -> f64 {
        let mut worst = 0.0f64;
        for &j in &self.with_lower {
            worst = worst.max((zl[j] * (x[j] - self.lower[j]) - mu).abs());
        }
        for &j in &self.with_upper {
            worst = worst.max((zu[j] * (self.upper[j] - x[j]) - mu).abs());
        }
        worst
    }

    /// g <- g - zl + zu.
    pub fn add_multipliers(&self, zl: &[f64], zu: &[f64], g: &mut [f64]) {
        for &j in &self.with_lower {
            g[j] -= zl[j];
        }
        for &j in &self.with_upper {
            g[j] += zu[j];
        }
    }

    /// |z|_1.
    pub fn multiplier_norm(&self, zl: &[f64], zu: &[f64]) -> f64 {
        self.with_lower.iter().map(|&j| zl[j]).sum::<f64>()
            + self.with_upper.iter().map(|&j| zu[j]).sum::<f64>()
    }
}

/// Largest alpha <= 1 with z + alpha dz >= (1 - tau) z, over the variables in `list`.
pub(in crate::opt) fn multiplier_length(list: &[usize], z: &[f64], dz: &[f64], tau: f64) -> f64 {
    list.iter().filter(|&&j| dz[j] < 0.0).fold(1.0f64, |a, &j| a.min(tau * z[j] / -dz[j]))
}

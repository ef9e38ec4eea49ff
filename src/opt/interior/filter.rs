//! The filter: pairs (violation, barrier objective) that no later point may be dominated by (Waechter and Biegler 2006,
//! section 2.3; constants as published).

const GAMMA_THETA: f64 = 1e-5;
const GAMMA_PHI: f64 = 1e-8;

/// Pairs (theta, phi), with their margins subtracted.
#[derive(Debug, Clone, Default)]
pub(in crate::opt) struct Filter {
    pairs: Vec<(f64, f64)>,
}

impl Filter {
    pub fn clear(&mut self) {
        self.pairs.clear();
    }

    /// Keeps later points from being worse in both respects than (theta, phi) less a margin.
    pub fn add(&mut self, theta: f64, phi: f64) {
        let pair = (theta * (1.0 - GAMMA_THETA), phi - GAMMA_PHI * theta);
        self.pairs.retain(|p| p.0 < pair.0 || p.1 < pair.1);
        self.pairs.push(pair);
    }

    pub fn accepts(&self, theta: f64, phi: f64) -> bool {
        self.pairs.iter().all(|p| theta <= p.0 || not_above(phi, p.1))
    }
}

/// a <= b up to rounding.
pub(super) fn not_above(a: f64, b: f64) -> bool {
    a - b <= 10.0 * f64::EPSILON * b.abs().max(a.abs())
}

/// Sufficient progress from (theta0, phi0) in either respect.
pub(super) fn improves(theta: f64, phi: f64, theta0: f64, phi0: f64) -> bool {
    theta <= (1.0 - GAMMA_THETA) * theta0 || not_above(phi, phi0 - GAMMA_PHI * theta0)
}

/// Shortest step that is tried before the violation is minimized instead, for a slope of phi along the step
/// (Waechter and Biegler 2006, (23)).
pub(super) fn shortest_step(theta: f64, slope: f64, theta_min: f64) -> f64 {
    const GAMMA_ALPHA: f64 = 0.05;
    let mut shortest = GAMMA_THETA;
    if slope < 0.0 {
        shortest = shortest.min(GAMMA_PHI * theta / -slope);
        if theta <= theta_min {
            shortest = shortest.min(theta.powf(1.1) / (-slope).powf(2.3));
        }
    }
    GAMMA_ALPHA * shortest
}

/// The step promises more decrease of phi than the violation is worth.
pub(super) fn switches(alpha: f64, slope: f64, theta: f64) -> bool {
    slope < 0.0 && alpha * (-slope).powf(2.3) > theta.powf(1.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dominated_points_are_refused_and_forgotten() {
        let mut f = Filter::default();
        f.add(1.0, 5.0);
        assert!(!f.accepts(1.0, 5.0) && f.accepts(0.9, 6.0) && f.accepts(2.0, 4.9));
        f.add(0.5, 4.0);
        assert_eq!(f.pairs.len(), 1);
        assert!(!f.accepts(0.9, 4.5));
    }

    #[test]
    fn the_switching_condition_compares_slope_and_violation() {
        assert!(switches(1.0, -1.0, 0.5) && !switches(1.0, -0.1, 0.5) && !switches(1.0, 1.0, 0.0));
        assert!(shortest_step(0.0, -1.0, 1e-4) == 0.0);
    }
}

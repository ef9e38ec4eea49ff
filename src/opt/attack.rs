//! Directional attacks: steps on a box of small radius along the signs of a gradient.
//!
//! ```text
//! d = r sign(g)                                                          one step: maximizes g'd over |d|_inf <= r
//! d_0 = 0,  d_k+1 = clip(d_k + (2 r / K) sign(grad(x + d_k)), -r, r)     K steps, each with a gradient of its own
//! ```
//!
//! Goodfellow, Shlens, Szegedy, "Explaining and harnessing adversarial examples", ICLR 2015 (one step); Madry et al., "Towards deep learning models
//! resistant to adversarial attacks", ICLR 2018 (K steps). As steps of an optimizer: Bouchet et al., arXiv 2510.01461.

/// Which attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttackKind {
    /// One step, one gradient.
    #[default]
    Sign,
    /// This many steps, projected on the box; a gradient each.
    Projected(usize),
}

/// d <- the attack of radius r on a function with gradient g at x; `gradient` gives those at further points (point, gradient). `point` is room for one.
/// False if it is no direction: zero, or not finite.
pub fn attack(
    kind: AttackKind,
    (x, g): (&[f64], &[f64]),
    r: f64,
    mut gradient: impl FnMut(&[f64], &mut [f64]),
    point: &mut [f64],
    d: &mut [f64],
) -> bool {
    let steps = match kind {
        AttackKind::Sign => 1,
        AttackKind::Projected(k) => k.max(1),
    };
    // One step reaches the boundary; each of K may cross the box.
    let length = if steps == 1 { r } else { 2.0 * r / steps as f64 };
    for (d, g) in d.iter_mut().zip(g) {
        *d = length * sign(*g);
    }
    if g.iter().any(|g| g.is_nan()) || d.iter().all(|d| *d == 0.0) {
        return false;
    }
    let mut other = if steps > 1 { vec![0.0; x.len()] } else { Vec::new() };
    for _ in 1..steps {
        point.iter_mut().zip(x).zip(&*d).for_each(|((p, x), d)| *p = x + d);
        gradient(point, &mut other);
        if other.iter().any(|g| g.is_nan()) {
            break;
        }
        d.iter_mut().zip(&other).for_each(|(d, g)| *d = (*d + length * sign(*g)).clamp(-r, r));
    }
    d.iter().any(|d| *d != 0.0)
}

/// -1, 0 or 1; 0 for NaN.
fn sign(g: f64) -> f64 {
    if g > 0.0 {
        1.0
    } else if g < 0.0 {
        -1.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_linear_function_it_is_the_best_point_of_the_box() {
        let g = [2.0, -0.5, 0.25, -3.0];
        let x = [0.1, 0.2, 0.3, 0.4];
        let value = |d: &[f64]| d.iter().zip(&g).map(|(d, g)| d * g).sum::<f64>();
        // Corners of the box: a linear function has its largest value at one of them.
        let mut best = f64::NEG_INFINITY;
        for corner in 0..16u32 {
            let d: Vec<f64> = (0..4).map(|j| if corner >> j & 1 == 1 { 0.125 } else { -0.125 }).collect();
            best = best.max(value(&d));
        }
        for kind in [AttackKind::Sign, AttackKind::Projected(10)] {
            let (mut point, mut d) = ([0.0; 4], [0.0; 4]);
            let found = attack(kind, (&x, &g), 0.125, |_, out| out.copy_from_slice(&g), &mut point, &mut d);
            assert!(found);
            assert!((value(&d) - best).abs() < 1e-15, "{kind:?} {d:?}");
        }
    }

    #[test]
    fn more_steps_follow_a_gradient_that_turns() {
        // -(x - 0.02)^2: one step of radius 0.1 passes the maximum, ten end within one of their steps of it.
        let slope = |x: f64| -2.0 * (x - 0.02);
        let (mut point, mut d) = ([0.0], [0.0]);
        attack(
            AttackKind::Projected(10),
            (&[0.0], &[slope(0.0)]),
            0.1,
            |x, g| g[0] = slope(x[0]),
            &mut point,
            &mut d,
        );
        assert!((d[0] - 0.02).abs() <= 0.02 + 1e-15, "{d:?}");
        attack(AttackKind::Sign, (&[0.0], &[slope(0.0)]), 0.1, |_, _| (), &mut point, &mut d);
        assert_eq!(d[0], 0.1);
    }

    #[test]
    fn no_direction_without_a_gradient() {
        let (mut point, mut d) = ([0.0; 2], [0.0; 2]);
        assert!(!attack(AttackKind::Sign, (&[0.0; 2], &[0.0; 2]), 1.0, |_, _| (), &mut point, &mut d));
        assert!(!attack(AttackKind::Sign, (&[0.0; 2], &[f64::NAN, 1.0]), 1.0, |_, _| (), &mut point, &mut d));
    }
}
